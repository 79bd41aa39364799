//! "Why?": an answer with its reasons, for the present, a token, a moment that has passed, or exactly as a recorded decision was
//! judged.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use stonetown_graph::{Given, Miss, Reasons, Step};
use stonetown_storage::{Provenance, Snapshot};
use stonetown_tuple::{CaveatContext, ObjectRef, ObjectType, RelationName, Revision, SubjectRef, Timestamp, ZedToken};

use crate::admission::Weight;
use crate::check::{above, refuse_wildcard};
use crate::error::RequestLimit;
use crate::gate::Act;
use crate::moment::Freshness;
use crate::question::{Concluded, Question};
use crate::recording::{self, Recording};
use crate::world::World;
use crate::{Authorizer, Call, Chain, Error, Membership};

/// A question whose answer is to be explained.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// Which state the answer must rest on.
    pub freshness: Freshness,
    /// What is asked.
    pub asked: Asked,
    /// How many of the ways that nearly lead to the subject are shown.
    pub misses_max: usize,
}

/// What a check asks, apart from when.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
    /// Who; not a wildcard.
    pub subject: SubjectRef,
    /// Values for caveats.
    pub context: CaveatContext,
}

/// A decision as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The revision that it was made at.
    pub revision: Revision,
    /// The time by which what begins and expires was judged.
    pub time: Timestamp,
    /// What was asked.
    pub asked: Asked,
    /// Those who acted for the subject.
    pub chain: Chain,
    /// The address that the call came from, where caveats of the schema look at it.
    pub peer_ip: Option<IpAddr>,
}

/// An answer and its reasons.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The revision it is true at.
    pub at: ZedToken,
    /// The time by which what begins and expires was judged.
    pub judged_at: Timestamp,
    /// Until when (exclusively) a member stays one if nothing is written; `None` if for ever or if it is none.
    pub until: Option<Timestamp>,
    /// The answer and its reasons.
    pub reasons: Reasons,
    /// Who wrote the relationships that are shown, by [`Step::written`].
    pub written: Written,
    /// Whether the subject is cut off: the answer is no, whatever is stored.
    pub is_cut_off: bool,
    /// Where the subject itself has it: who of those who act for it has not, or may not act, in words.
    pub refused_by: Option<String>,
}

/// Who wrote what, when and why, by revision. A revision whose record is gone is missing.
pub type Written = BTreeMap<Revision, Provenance>;

impl Authorizer {
    /// Answers a question with its reasons. Whoever asks must be allowed to list every type whose relationships can be shown.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn explain(&self, call: &Call, request: &ExplainRequest) -> Result<Explained, Error> {
        self.recorded(call, words("explain", &request.asked), |recording| {
            let _permit = self.admit_with_chain(call, Weight::Heavy, &acts(&request.asked))?;
            self.check_scope(call, &request.asked.resource, &request.asked.permission)?;
            let chain = self.chain_of(call, &request.asked.subject)?;
            recording.chain(&chain);
            let world = self.world_of(call, request.freshness)?;
            recording.see_page(&world, matches!(request.freshness, Freshness::At(_)));
            self.explain_in(call, &world, &request.asked, (&chain, request.freshness), request.misses_max, recording)
        })
    }

    /// Answers a recorded question once more as it was answered then: at its revision and by its time. The same answer is
    /// promised for as long as the revision is kept and the recorded context is whole.
    ///
    /// # Errors
    /// [`Error::SnapshotExpired`] when the revision is no longer kept; see [`Error`].
    pub fn replay(&self, call: &Call, recorded: &Recorded, misses_max: usize) -> Result<Explained, Error> {
        // Where this call comes from is nothing that the other one was judged by.
        let call = &Call { given: Given::Call { peer_ip: recorded.peer_ip }, ..call.clone() };
        self.recorded(call, words("replay", &recorded.asked), |recording| {
            let _permit = self.admit(call, Weight::Heavy, &acts(&recorded.asked))?;
            self.check_scope(call, &recorded.asked.resource, &recorded.asked.permission)?;
            call.note_revision(recorded.revision);
            let world = self.world_at(call.store, recorded.revision, recorded.time)?;
            recording.see_past(&world);
            recording.chain(&recorded.chain);
            let then = Freshness::Exactly(recorded.revision, recorded.time);
            self.explain_in(call, &world, &recorded.asked, (&recorded.chain, then), misses_max, recording)
        })
    }

    fn explain_in(
        &self,
        call: &Call,
        world: &World,
        asked: &Asked,
        (chain, freshness): (&Chain, Freshness),
        misses_max: usize,
        recording: &mut Recording<'_>,
    ) -> Result<Explained, Error> {
        let Asked { resource, permission, subject, context } = asked;
        self.refuse_large_context(context)?;
        refuse_wildcard(subject, "subject.id")?;
        above(RequestLimit::Misses, misses_max, self.options.limits.misses_max)?;
        self.judge_ways(call, world, &resource.object_type, permission)?;
        let evaluation = world.evaluation(call, context, None, &self.options.limits.graph)?;
        let found = stonetown_graph::reasons(&evaluation, resource, permission, subject, misses_max)?;
        self.counters.explanations_cut.fetch_add(u64::from(found.cut), Ordering::Relaxed);
        let question = Question {
            call,
            chain,
            world,
            evaluation: &evaluation,
            resource,
            permission,
            subject,
            freshness,
            wants_until: true,
        };
        let concluded = self.conclude(&question, found.answer.clone(), None, recording)?;
        let Concluded { answer, until, is_cut_off, refused_by, .. } = concluded;
        let reasons = if is_cut_off {
            Reasons { answer, path: Vec::new(), not_excluded_by: Vec::new(), misses: Vec::new(), cut: false }
        } else {
            Reasons { answer, ..found }
        };
        let steps = reasons.path.iter().chain(reasons.misses.iter().flat_map(steps_of));
        let written = written(&*world.snapshot, steps)?;
        Ok(Explained { at: world.token, judged_at: world.now, until, reasons, written, is_cut_off, refused_by })
    }

    /// Lets a caller go on that may list every type whose relationships can be on the way to a permission, whether there are
    /// any or not: a refusal tells nothing of them.
    pub(crate) fn judge_ways(
        &self,
        call: &Call,
        world: &World,
        resource_type: &ObjectType,
        permission: &RelationName,
    ) -> Result<(), Error> {
        let types = world.plan.types_on_the_way(resource_type, permission)?;
        types.iter().try_for_each(|shown| self.judge(call, Act::Enumerate(Some(shown.as_str()))))
    }
}

/// Who wrote the relationships that are about to be shown.
pub(crate) fn written<'s>(snapshot: &dyn Snapshot, steps: impl Iterator<Item = &'s Step>) -> Result<Written, Error> {
    let mut written = Written::new();
    for step in steps {
        if !written.contains_key(&step.written) {
            written.extend(snapshot.provenance(step.written)?.map(|provenance| (step.written, provenance)));
        }
    }
    Ok(written)
}

impl Explained {
    /// The answer.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.reasons.answer.membership
    }
}

/// All relationships that a miss shows.
fn steps_of(miss: &Miss) -> impl Iterator<Item = &Step> {
    miss.path.iter().chain(miss.exclusions.iter().flat_map(|excluded| &excluded.path))
}

/// A question in the words of the log.
fn words<'a>(call: &'static str, asked: &'a Asked) -> recording::Asked<'a> {
    let words = recording::Asked::of(call).resource(&asked.resource).permission(&asked.permission);
    words.subject(&asked.subject).context(&asked.context)
}

/// What it takes to ask; what is shown takes more.
fn acts(asked: &Asked) -> [Act<'_>; 2] {
    let resource_type = asked.resource.object_type.as_str();
    [Act::Check(resource_type), Act::Enumerate(Some(resource_type))]
}
