//! "Why was that decided, and would it be again?": a decision out of the log, asked once more as it was then: at its revision,
//! by its time, with the values it was given. Where that is not all known any more, nothing is asked: an answer to another
//! question proves nothing.

use std::fmt;
use std::net::IpAddr;

/// How a recorded call ended.
pub use stonetown_audit::Outcome;
use stonetown_audit::layout::DECISIONS;
use stonetown_audit::record::{Body, Entry};
use stonetown_audit::recorder::MASKED;
use stonetown_audit::sealed::Field;
use stonetown_audit::{Decision, ReadError, Recorder};
use stonetown_tuple::{
    CaveatContext, ObjectId, ObjectRef, ObjectType, RelationName, StoreId, SubjectId, SubjectRef, Timestamp, ZedToken,
};

use crate::admission::Weight;
use crate::explain::{Asked, Explained, Recorded};
use crate::gate::Act;
use crate::logs::unreadable;
use crate::recording;
use crate::{Authorizer, Call, Chain, Error, Membership};

/// The calls that answer one question with yes or no, as the log names them.
const CALLS: [&str; 4] = ["check", "check_bulk", "explain", "replay"];

/// A decision out of the log, and what comes of asking again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What the log says.
    pub decision: Logged,
    /// The answer of now with its reasons, or why the question was not asked again.
    pub again: Result<Explained, Obstacle>,
    /// Whether it was asked again and the answer was the same: the outcome, and the parameters that it depends on.
    pub reproduces: bool,
}

/// What the log says of a decision.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its place in the log.
    pub number: u64,
    /// When it was made.
    pub time: Timestamp,
    /// The moment that what begins and expires was judged at.
    pub judged_at: Timestamp,
    /// Who called; empty where that was erased.
    pub caller: String,
    /// Those through whom the caller called.
    pub actors: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: String,
    /// The state that it rests on.
    pub at: ZedToken,
    /// What was asked, as far as it is still known, such as `document:plan#view@user:ann`.
    pub question: String,
    /// The name of the machine, and name and version of the program that decided; empty where the log has it no longer.
    pub node: String,
    /// See `node`.
    pub build: String,
    store: StoreId,
    detail: Option<String>,
}

/// Why a question cannot be asked again as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The log does not have the values of these parameters.
    Masked(Vec<String>),
    /// Personal fields were erased from the record.
    Erased,
    /// The state is no longer kept.
    NotKept,
    /// Relationships were laid over the stored ones for the question, which the log does not have.
    Overlaid,
    /// The subject was cut off, or who acted for it, which is no matter of the state that the decision rests on.
    CutOff,
    /// The call ended without an answer.
    NoAnswer,
}

impl Authorizer {
    /// Explains a decision out of the log: asks again what it was about, as it was asked then. Takes the power to read the
    /// logs beside those of [`Authorizer::explain`].
    ///
    /// # Errors
    /// [`Error::NoSuch`] where the log has no such decision of the call's store, [`Error::Refused`] where there is no log or
    /// the record is of a call without a yes or no; see [`Error`].
    pub fn explain_decision(&self, call: &Call, number: u64, misses_max: usize) -> Result<Replay, Error> {
        self.recorded(call, recording::Asked::of("explain_decision"), |recording| {
            let permit = self.admit(call, Weight::Heavy, &[Act::Audit])?;
            recording.explain(&format!("decision {number}"));
            let recorder = self.logs()?;
            let (decision, recorded) = self.logged(recorder, call.store, number)?;
            // The question itself is admitted by itself.
            drop(permit);
            let again = match recorded {
                Err(obstacle) => Err(obstacle),
                Ok(recorded) => match self.replay(call, &recorded, misses_max) {
                    Err(Error::SnapshotExpired { .. }) => Err(Obstacle::NotKept),
                    again => Ok(again?),
                },
            };
            let reproduces = again.as_ref().is_ok_and(|again| decision.agrees(again.membership()));
            Ok(Replay { decision, again, reproduces })
        })
    }

    /// What the log says, and what was asked.
    fn logged(
        &self,
        recorder: &Recorder,
        store: StoreId,
        number: u64,
    ) -> Result<(Logged, Result<Recorded, Obstacle>), Error> {
        let none = || Error::NoSuch(format!("decision {number} of this store in the log, not yet or no longer"));
        let log = match recorder.log(store, DECISIONS) {
            Err(ReadError::NoLog(_)) => return Err(none()),
            log => log.map_err(unreadable)?,
        };
        let mut found = None;
        let mut start = 0;
        log.record(number, &mut |raw| {
            if let Body::Decision(decision) = &raw.record.body {
                start = decision.start;
                let recorded = recorded(&raw.record, decision);
                found = Some((self.of_entry(&raw.record, decision), decision.call.to_owned(), recorded));
            }
        })
        .map_err(unreadable)?;
        let (mut decision, made_by, recorded) =
            found.filter(|(decision, ..)| decision.store == store).ok_or_else(none)?;
        let overlaid = made_by == recording::CHECK_WITH;
        if !overlaid && !CALLS.contains(&made_by.as_str()) {
            let why = format!("record {number} is of `{made_by}`: only answers of yes or no can be explained");
            return Err(Error::Refused(why));
        }
        log.record(start, &mut |raw| {
            if let Body::Start(start) = &raw.record.body {
                (decision.node, decision.build) = (start.node.to_owned(), start.build.to_owned());
            }
        })
        .map_err(unreadable)?;
        let answered = matches!(decision.outcome, Outcome::Allowed | Outcome::Denied | Outcome::Conditional);
        let recorded = match recorded {
            _ if !answered => Err(Obstacle::NoAnswer),
            _ if decision.reason == recording::CUT_OFF => Err(Obstacle::CutOff),
            _ if overlaid => Err(Obstacle::Overlaid),
            recorded => recorded,
        };
        Ok((decision, recorded))
    }

    fn of_entry(&self, entry: &Entry<'_>, decision: &Decision<'_>) -> Logged {
        let erased_or = |value: &str| if value.is_empty() { "[erased]".to_owned() } else { value.to_owned() };
        let resource_id = erased_or(decision.resource_id);
        let question = format!("{}:{resource_id}#{}@{}", decision.resource_type, decision.permission, entry.subject());
        Logged {
            number: entry.index,
            time: decision.time,
            judged_at: decision.judged_at.unwrap_or(decision.time),
            caller: decision.caller.to_owned(),
            actors: decision.actors.iter().map(|actor| erased_or(actor)).collect(),
            outcome: decision.outcome,
            reason: decision.reason.to_owned(),
            at: self.token(decision.revision),
            question,
            node: String::new(),
            build: String::new(),
            store: decision.store,
            detail: (!is_erased(entry, Field::Detail)).then(|| decision.detail.to_owned()),
        }
    }
}

impl Logged {
    /// Whether an answer is the one that was recorded.
    fn agrees(&self, membership: &Membership) -> bool {
        match (self.outcome, membership) {
            (Outcome::Allowed, Membership::Member) | (Outcome::Denied, Membership::NotMember) => true,
            (Outcome::Conditional, Membership::Conditional(missing)) => {
                let missing = recording::missing_detail(missing);
                self.detail.as_ref().is_none_or(|recorded| missing == *recorded)
            }
            _ => false,
        }
    }
}

/// The question of a record, if the log has all of it.
fn recorded(entry: &Entry<'_>, decision: &Decision<'_>) -> Result<Recorded, Obstacle> {
    let fields = [Field::ResourceId, Field::SubjectId, Field::Context, Field::Actor];
    if fields.into_iter().any(|field| is_erased(entry, field)) {
        return Err(Obstacle::Erased);
    }
    let mut context: CaveatContext = match decision.context {
        "" => CaveatContext::new(),
        text => serde_json::from_str(text).map_err(|_| Obstacle::NoAnswer)?,
    };
    let masked: Vec<String> =
        context.iter().filter(|(_, value)| value.as_str() == Some(MASKED)).map(|(name, _)| name.clone()).collect();
    if !masked.is_empty() {
        return Err(Obstacle::Masked(masked));
    }
    let peer_ip = context.remove(recording::PEER);
    let peer_ip = peer_ip.and_then(|address| address.as_str()?.parse::<IpAddr>().ok());
    let (asked, chain) = question(decision, context).ok_or(Obstacle::NoAnswer)?;
    let time = decision.judged_at.unwrap_or(decision.time);
    Ok(Recorded { revision: decision.revision, time, asked, chain, peer_ip })
}

fn question(decision: &Decision<'_>, context: CaveatContext) -> Option<(Asked, Chain)> {
    let actors: Option<Vec<SubjectRef>> = decision.actors.iter().map(|actor| actor.parse().ok()).collect();
    let chain = Chain::new(actors?).ok()?;
    let relation = match decision.subject_relation {
        "" => None,
        relation => Some(RelationName::new(relation).ok()?),
    };
    let subject_type = ObjectType::new(decision.subject_type).ok()?;
    let asked = Asked {
        resource: ObjectRef {
            object_type: ObjectType::new(decision.resource_type).ok()?,
            object_id: ObjectId::new(decision.resource_id).ok()?,
        },
        permission: RelationName::new(decision.permission).ok()?,
        subject: SubjectRef::new(subject_type, SubjectId::new(decision.subject_id).ok()?, relation).ok()?,
        context,
    };
    Some((asked, chain))
}

fn is_erased(entry: &Entry<'_>, field: Field) -> bool {
    entry.personal.iter().any(|personal| personal.field == field && personal.value.is_none())
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Masked(names) => {
                write!(f, "the log does not have the values of {}, which are masked", names.join(", "))
            }
            Obstacle::Erased => f.write_str("personal fields of the record were erased"),
            Obstacle::NotKept => f.write_str("the state that the decision rests on is no longer kept"),
            Obstacle::Overlaid => {
                f.write_str("it was asked with relationships of its own, which the log does not have")
            }
            Obstacle::CutOff => {
                f.write_str("the subject was cut off then, or who acted for it: nothing that was stored mattered")
            }
            Obstacle::NoAnswer => f.write_str("the call ended without an answer"),
        }
    }
}
