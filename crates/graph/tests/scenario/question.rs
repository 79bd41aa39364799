//! What is asked, what the reference answers, what the engine answers on each of its ways, and whether these agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stonetown_graph::reference::{Fault, Reference, Subjects, Value};
use stonetown_graph::{
    Evaluation, Given, GraphError, Limits, Membership, Overlay, Trace, check, expand, explain, listed_resources,
    listed_subjects, member_until,
};
use stonetown_tuple::{
    CaveatContext, ObjectId, ObjectRef, ObjectType, RelationName, Relationship, Source, SubjectRef, Timestamp,
};

use super::dice::Dice;
use super::history::{Author, Model};
use super::schemas::cyclic_exclusions;
use super::tree;
use super::world::World;

/// Larger trees are not compared.
const PARTS_MAX: usize = 2000;

/// Of larger traces, a part is verified.
const TRACE_PARTS_MAX: usize = 20;

/// A question with all that comes with it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub question: Question,
    pub context: CaveatContext,
    /// Where the question comes from.
    pub given: Given,
    /// Relationships for this question only.
    pub overlay: Vec<Relationship>,
}

#[derive(Debug, Clone)]
pub enum Question {
    Check { resource: ObjectRef, name: RelationName, subject: SubjectRef },
    Expand { resource: ObjectRef, name: RelationName },
    Resources { object_type: ObjectType, name: RelationName, subject: SubjectRef },
    Subjects { resource: ObjectRef, name: RelationName, kind: ObjectType, relation: Option<RelationName> },
}

/// A way to ask the engine. All of them must give the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// From the resident index where it has the revision, else from the snapshot.
    pub index: bool,
    /// Checks: with the trace. Lookups: in pages of so many.
    pub detail: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Value(Value),
    Resources(BTreeMap<String, Value>),
    /// The value of everybody: of `*`, and of the rest where it differs from that of `*`.
    Subjects(Value, BTreeMap<String, Value>),
    /// Text of the tree.
    Tree(String),
    /// A lookup that fails with one of these.
    Faults(BTreeSet<Fault>),
    /// It would take more than the limits allow.
    Refused,
    /// Something else went wrong.
    Error(String),
}

impl Asked {
    /// A question about something in the model.
    pub fn random(author: &mut Author, model: &Model) -> Option<Asked> {
        let resource = author.object(model);
        let name = author.name(model, &resource.object_type)?;
        let question = match author.dice.below(20) {
            0..=10 => Question::Check { resource, name, subject: author.subject(model) },
            11..=12 => Question::Expand { resource, name },
            13..=15 => Question::Resources { object_type: resource.object_type, name, subject: author.subject(model) },
            _ => {
                let (kind, relation) = author.subject_kind(model);
                Question::Subjects { resource, name, kind, relation }
            }
        };
        let count = if author.dice.percent(20) { author.dice.between(1, 4) } else { 0 };
        let overlay = (0..count).filter_map(|_| author.relationship(model.now)).collect();
        let peers = [None, Some("10.1.2.3"), Some("::ffff:10.1.2.3"), Some("192.0.2.7"), Some("2001:db8::1")];
        let peer_ip = author.dice.pick(&peers).map(|peer| peer.parse().expect("an address"));
        Some(Asked { question, context: author.request_context(), given: Given::Call { peer_ip }, overlay })
    }

    /// The ways to ask it.
    pub fn ways(&self, dice: &mut Dice) -> Vec<Way> {
        let detail = match self.question {
            Question::Expand { .. } => None,
            Question::Check { .. } => Some(0),
            Question::Resources { .. } | Question::Subjects { .. } => Some(dice.between(1, 4)),
        };
        let details: &[Option<usize>] = if detail.is_some() { &[None, detail] } else { &[None] };
        let way = |index| details.iter().map(move |detail| Way { index, detail: *detail });
        way(true).chain(way(false)).collect()
    }

    /// What must be answered; `None` if that is too large to tell.
    pub fn expected(&self, model: &Model, now: Timestamp) -> Option<Answer> {
        let mut model = model.clone();
        for fact in &self.overlay {
            let key = (fact.resource.clone(), fact.relation.clone(), fact.subject.clone(), Source::STANDING);
            model.facts.insert(key, fact.clone());
        }
        let reference = Reference::new(model.schema.clone(), &model.relationships(), now).with(self.given);
        let context = &self.context;
        let expected = match &self.question {
            Question::Check { resource, name, subject } => {
                Answer::Value(reference.check(resource, name, subject, context))
            }
            Question::Expand { resource, name } => {
                Answer::Tree(tree::of_reference(&reference.expand(resource, name, PARTS_MAX)?))
            }
            Question::Resources { object_type, name, subject } => {
                let found = reference.lookup_resources(object_type, name, subject, context);
                match faults(found.values()) {
                    None => Answer::Resources(by_text(found)),
                    Some(faults) => faults,
                }
            }
            Question::Subjects { resource, name, kind, relation } => {
                let Subjects { star, mentioned } =
                    reference.lookup_subjects(resource, name, kind, relation.as_ref(), context);
                match faults(mentioned.values().chain([&star])) {
                    None => {
                        let mut others = by_text(mentioned);
                        others.retain(|_, value| *value != star);
                        Answer::Subjects(star, others)
                    }
                    Some(faults) => faults,
                }
            }
        };
        Some(expected)
    }

    /// What the engine answers.
    pub fn ask(&self, world: &World, moment: usize, way: Way) -> Answer {
        let answered = catch_unwind(AssertUnwindSafe(|| self.engine(world, moment, way)));
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(GraphError::Cycle { .. })) => Answer::Value(Value::Fault(Fault::Cycle)),
            Ok(Err(GraphError::Caveat { .. } | GraphError::ContextType { .. })) => {
                Answer::Value(Value::Fault(Fault::Caveat))
            }
            Ok(Err(GraphError::LimitExceeded { .. })) if self.may_be_refused(&world.moments[moment].model) => {
                Answer::Refused
            }
            Ok(Err(error)) => Answer::Error(error.to_string()),
            Err(_) => Answer::Error("a panic".to_owned()),
        }
    }

    /// Cycles through exclusions can take exponentially long; nothing else that is drawn comes near a limit.
    fn may_be_refused(&self, model: &Model) -> bool {
        cyclic_exclusions(&model.schema) > 0
    }

    fn engine(&self, world: &World, moment: usize, way: Way) -> Result<Answer, GraphError> {
        let snapshot = world.snapshot(moment);
        let moment = &world.moments[moment];
        let view = if way.index { world.index.view(snapshot.store(), moment.revision) } else { None };
        let overlay = match self.overlay.as_slice() {
            [] => None,
            overlay => Some(Overlay::new(&moment.plan, &*snapshot, overlay)?),
        };
        let evaluation = Evaluation {
            plan: &moment.plan,
            snapshot: &*snapshot,
            index: view.as_ref(),
            overlay: overlay.as_ref(),
            now: world.head().model.now,
            context: &self.context,
            given: self.given,
            limits: &Limits::default(),
            deadline: Some(Instant::now() + Duration::from_secs(20)),
            cancel: None,
        };
        match &self.question {
            Question::Check { resource, name, subject } => {
                if way.detail.is_none() {
                    let answer = check(&evaluation, resource, name, subject)?;
                    return Ok(match changes_elsewhere(&evaluation, (resource, name, subject), &answer) {
                        None => Answer::Value(value(answer.membership)),
                        Some(contradiction) => Answer::Error(contradiction),
                    });
                }
                let (answer, trace) = explain(&evaluation, resource, name, subject)?;
                Ok(match contradiction(&evaluation, &trace, subject) {
                    None => Answer::Value(value(answer.membership)),
                    Some(contradiction) => Answer::Error(contradiction),
                })
            }
            Question::Expand { resource, name } => {
                expand(&evaluation, resource, name).map(|tree| Answer::Tree(tree::of_engine(&tree)))
            }
            Question::Resources { object_type, name, subject } => {
                let found = listed_resources(&evaluation, object_type, name, subject)?;
                let size = way.detail.unwrap_or(usize::MAX);
                let mut items = BTreeMap::new();
                let mut after = None;
                loop {
                    let page = found.page(&evaluation, after, size)?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.position);
                    for item in page {
                        if items.insert(item.id.to_string(), value(item.membership)).is_some() {
                            return Ok(Answer::Error(format!("`{}` was found twice", item.id)));
                        }
                    }
                }
                if items.len() as u64 != found.len() {
                    return Ok(Answer::Error(format!("{} announced, {} found", found.len(), items.len())));
                }
                let then = |later: &Evaluation<'_>| {
                    listed_resources(later, object_type, name, subject)?.page(later, None, usize::MAX)
                };
                if let Some(contradiction) = finds_else(&evaluation, found.changes_at(), then) {
                    return Ok(Answer::Error(contradiction));
                }
                Ok(Answer::Resources(items))
            }
            Question::Subjects { resource, name, kind, relation } => {
                let found = listed_subjects(&evaluation, resource, name, kind, relation.as_ref())?;
                let size = way.detail.unwrap_or(usize::MAX);
                let mut items = BTreeMap::new();
                let mut star = Value::No;
                let mut excluded = BTreeMap::new();
                let mut after = None;
                loop {
                    let page = found.page(&evaluation, after, size)?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.position);
                    for item in page {
                        if &*item.id == "*" {
                            star = value(item.membership.clone());
                            for exclusion in &item.excluded {
                                excluded.insert(exclusion.id.to_string(), value(exclusion.membership.clone()));
                            }
                        } else if items.insert(item.id.to_string(), value(item.membership)).is_some() {
                            return Ok(Answer::Error(format!("`{}` was found twice", item.id)));
                        }
                    }
                }
                if items.len() as u64 + u64::from(star != Value::No) != found.len() {
                    return Ok(Answer::Error(format!("{} announced, {} found", found.len(), items.len())));
                }
                let then = |later: &Evaluation<'_>| {
                    listed_subjects(later, resource, name, kind, relation.as_ref())?.page(later, None, usize::MAX)
                };
                if let Some(contradiction) = finds_else(&evaluation, found.changes_at(), then) {
                    return Ok(Answer::Error(contradiction));
                }
                for (id, value) in &items {
                    if excluded.get(id).is_some_and(|excluded| excluded != value) {
                        return Ok(Answer::Error(format!("`{id}` is excluded otherwise than listed")));
                    }
                }
                excluded.extend(items);
                excluded.retain(|_, value| *value != star);
                Ok(Answer::Subjects(star, excluded))
            }
        }
    }
}

/// What an answer says about later times must be what is answered at those times.
fn changes_elsewhere(
    evaluation: &Evaluation<'_>,
    (resource, name, subject): (&ObjectRef, &RelationName, &SubjectRef),
    answer: &stonetown_graph::Answer,
) -> Option<String> {
    /// More moments than any answer of a scenario rests on.
    const STEPS: usize = 1_000;
    let at = |now: Timestamp| check(&Evaluation { now, deadline: None, ..*evaluation }, resource, name, subject);
    let just_before = |moment: Timestamp| moment.checked_sub(Duration::from_nanos(1)).unwrap_or(moment);
    let half_way = |from: Timestamp, to: Timestamp| {
        Timestamp::from_nanosecond((from.as_nanosecond() + to.as_nanosecond()) / 2).unwrap_or(from)
    };
    let changes_at = answer.changes_at.unwrap_or(Timestamp::MAX);
    if changes_at <= evaluation.now {
        // A caveat depends on the time: nothing is said of any other.
        let until = member_until(evaluation, resource, name, subject, answer, STEPS);
        return (until != answer.changes_at).then(|| format!("changes at once, and is a member until {until:?}"));
    }
    for time in [half_way(evaluation.now, changes_at), just_before(changes_at)] {
        match at(time) {
            Ok(then) if then.membership == answer.membership => {}
            // A question that is asked again and again may run out of its time.
            Err(GraphError::LimitExceeded { .. } | GraphError::Deadline) => return None,
            other => return Some(format!("certain before {changes_at}, and at {time} it is {other:?}")),
        }
    }
    if answer.membership != Membership::Member {
        return None;
    }
    let until = member_until(evaluation, resource, name, subject, answer, STEPS);
    let end = until.unwrap_or(Timestamp::MAX);
    let times = [half_way(evaluation.now, end), half_way(changes_at, end), just_before(end)];
    for time in times.into_iter().filter(|time| *time < end) {
        match at(time) {
            Ok(then) if then.membership == Membership::Member => {}
            Err(GraphError::LimitExceeded { .. } | GraphError::Deadline) => return None,
            other => return Some(format!("a member until {end}, and at {time} it is {other:?}")),
        }
    }
    match until.map(at) {
        // Where a caveat begins to depend on the time, the end may be too early.
        Some(Ok(then)) if then.membership == Membership::Member && then.changes_at != until => {
            Some(format!("still a member at {end}"))
        }
        _ => None,
    }
}

/// Until anything changes, a lookup must find the same.
fn finds_else<F: PartialEq + fmt::Debug>(
    evaluation: &Evaluation<'_>,
    changes_at: Option<Timestamp>,
    lookup: impl Fn(&Evaluation<'_>) -> Result<Vec<F>, GraphError>,
) -> Option<String> {
    let end = changes_at.unwrap_or(Timestamp::MAX);
    let time = end.checked_sub(Duration::from_nanos(1)).unwrap_or(end);
    if time <= evaluation.now {
        return None;
    }
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    let at = |now| lookup(&Evaluation { now, deadline, ..*evaluation });
    match (at(evaluation.now), at(time)) {
        (Err(GraphError::LimitExceeded { .. } | GraphError::Deadline), _) => None,
        (_, Err(GraphError::LimitExceeded { .. } | GraphError::Deadline)) => None,
        (Ok(now), Ok(then)) if now == then => None,
        (now, then) => Some(format!("the same until {end}, and at {time} it is {then:?} in place of {now:?}")),
    }
}

impl Answer {
    /// Whether an engine that answers `got` answers right.
    pub fn admits(&self, got: &Answer) -> bool {
        match (self, got) {
            (_, Answer::Refused) => true,
            (Answer::Faults(faults), Answer::Value(Value::Fault(fault))) => faults.contains(fault),
            _ => self == got,
        }
    }
}

/// Something that a trace says otherwise than a check of its own.
fn contradiction(evaluation: &Evaluation<'_>, trace: &Trace, subject: &SubjectRef) -> Option<String> {
    let mut left = vec![trace];
    let mut looked_at = 0;
    while let Some(part) = left.pop() {
        looked_at += 1;
        if looked_at > TRACE_PARTS_MAX {
            break;
        }
        let checked = check(evaluation, &part.resource, &part.permission, subject).ok();
        if part.result != checked.map(|answer| answer.membership) {
            return Some(format!("the trace says {:?} of {}#{}", part.result, part.resource, part.permission));
        }
        left.extend(&part.parts);
    }
    None
}

fn faults<'v>(values: impl Iterator<Item = &'v Value>) -> Option<Answer> {
    let faults: BTreeSet<Fault> = values
        .filter_map(|value| match value {
            Value::Fault(fault) => Some(*fault),
            _ => None,
        })
        .collect();
    (!faults.is_empty()).then_some(Answer::Faults(faults))
}

fn by_text(values: BTreeMap<ObjectId, Value>) -> BTreeMap<String, Value> {
    values.into_iter().map(|(id, value)| (id.to_string(), value)).collect()
}

fn value(membership: Membership) -> Value {
    match membership {
        Membership::Member => Value::Yes,
        Membership::NotMember => Value::No,
        Membership::Conditional(names) => Value::Maybe(names),
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.question {
            Question::Check { resource, name, subject } => write!(f, "check {resource}#{name}@{subject}")?,
            Question::Expand { resource, name } => write!(f, "expand {resource}#{name}")?,
            Question::Resources { object_type, name, subject } => {
                write!(f, "lookup resources {object_type}#{name}@{subject}")?;
            }
            Question::Subjects { resource, name, kind, relation } => {
                let relation = relation.as_ref().map_or(String::new(), |relation| format!("#{relation}"));
                write!(f, "lookup subjects {resource}#{name}@{kind}{relation}")?;
            }
        }
        if !self.context.is_empty() {
            write!(f, " with {}", serde_json::Value::Object(self.context.clone()))?;
        }
        write!(f, " given {:?}", self.given)?;
        for relationship in &self.overlay {
            write!(f, "\n  as if written: {relationship}")?;
        }
        Ok(())
    }
}
