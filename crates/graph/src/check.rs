//! Is this subject a member of that relation or permission of that object?
//!
//! Where membership is mere reachability, [`reach`] walks; elsewhere [`solve`] computes values. Either works on pairs of
//! a node and an object, *states*, packed into integers. [`closure`] comes from the other side, the subject, when that is
//! cheaper.
//!
//! Performance-critical: a check allocates nothing in the common case. What it needs is kept by the thread.

mod closure;
mod reach;
mod scratch;
mod solve;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;
use stonetown_storage::Ordinal;
use stonetown_tuple::{CaveatRef, ObjectRef, RelationName, SubjectRef, Timestamp};

use crate::attributes::Attributes;
use crate::conditions::Conditions;
use crate::edges::Terms;
use crate::error::GraphError;
use crate::evaluation::{Evaluation, Work};
use crate::fault::{PlantedFault, planted};
use crate::limits::Meter;
use crate::membership::{Membership, Value};
use crate::plan::{NodeId, Plan, Slot, SubjectClass, TypeIndex};
use crate::relations::Relations;
use closure::Closure;
use scratch::Scratch;
use solve::Frame;

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the subject is a member.
    pub membership: Membership,
    /// What it took to find out.
    pub work: Work,
    /// Before this moment the answer is certain to stay the same, if nothing is written; `None` if it is for ever, and the
    /// moment of the question itself if a caveat depends on the time. Nothing says that it changes then: see
    /// [`member_until`].
    pub changes_at: Option<Timestamp>,
}

/// Whether `subject` is in the relation or permission of `resource`. Objects need not exist; a userset is a member of
/// itself. A wildcard as the subject asks for the wildcard itself; callers refuse it.
///
/// # Errors
/// See [`GraphError`].
pub fn check(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<Answer, GraphError> {
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = evaluation.plan.find_node(object_type, permission)?;
    let (class, subject) = relations.subject(subject)?;
    let mut checker = Checker::new(evaluation, relations, class, subject);
    let value = checker.member(node, object)?;
    let membership = checker.membership(&value)?;
    Ok(Answer { membership, work: checker.work(), changes_at: checker.conditions.changes_at() })
}

/// Until when (exclusively) a member stays one, if nothing is written; `None` if for ever. `answer` is that of [`check`] to
/// the same question. The question is put again at the moments at which something that it rests on begins or ends, at most
/// `steps` times: the moment is exact if that suffices, and too early otherwise, never too late.
#[must_use]
pub fn member_until(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject: &SubjectRef,
    answer: &Answer,
    steps: usize,
) -> Option<Timestamp> {
    let mut next = answer.changes_at?;
    if next <= evaluation.now {
        return Some(next);
    }
    for _ in 0..steps {
        let later = Evaluation { now: next, ..*evaluation };
        match check(&later, resource, permission, subject) {
            Ok(Answer { membership: Membership::Member, changes_at, .. }) => {
                let changes_at = changes_at?;
                if changes_at <= next {
                    return Some(next);
                }
                next = changes_at;
            }
            // Also where there is no answer then: that it is yes is certain up to here.
            Ok(_) | Err(_) => return Some(next),
        }
    }
    Some(next)
}

/// A node and an object, packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State(u64);

impl State {
    #[inline]
    pub(crate) fn new(node: NodeId, object: Ordinal) -> State {
        State(u64::from(node.0) << 32 | u64::from(object.0))
    }

    #[inline]
    pub(crate) fn node(self) -> NodeId {
        NodeId((self.0 >> 32) as u32)
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the lower half
    pub(crate) fn object(self) -> Ordinal {
        Ordinal(self.0 as u32)
    }
}

/// Answers questions about one subject. What one question found out serves the next.
pub(crate) struct Checker<'a> {
    plan: &'a Plan,
    relations: Relations<'a>,
    conditions: Conditions<'a>,
    attributes: Attributes<'a>,
    meter: Meter<'a>,
    class: SubjectClass,
    subject: Ordinal,
    scratch: Box<Scratch>,
    /// Where the subject is a member, seen from the subject, by the target.
    closures: Vec<Closure>,
    /// The exclusions whose right sides are being evaluated, outermost first, where these can lead back.
    frames: Vec<Frame>,
    /// States that are being evaluated, outermost first.
    path: Vec<State>,
    /// The first way round an exclusion that was found.
    cycle: Option<String>,
    /// The number of the outermost call that what is being evaluated depends on.
    low: u64,
    subproblems: u64,
    cached: u64,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        evaluation: &Evaluation<'a>,
        relations: Relations<'a>,
        class: SubjectClass,
        subject: Ordinal,
    ) -> Self {
        Checker {
            plan: evaluation.plan,
            relations,
            conditions: Conditions::new(evaluation, Some((evaluation.plan.type_of(class), subject))),
            attributes: Attributes::new(evaluation),
            meter: Meter::for_check(evaluation.limits, evaluation.deadline, evaluation.cancel),
            class,
            subject,
            scratch: Scratch::take(),
            closures: Vec::new(),
            frames: Vec::new(),
            path: Vec::new(),
            cycle: None,
            low: u64::MAX,
            subproblems: 0,
            cached: 0,
        }
    }

    /// A checker to which every relationship holds, whatever its caveat and times say.
    pub(crate) fn lenient(
        evaluation: &Evaluation<'a>,
        relations: Relations<'a>,
        class: SubjectClass,
        subject: Ordinal,
    ) -> Self {
        let mut checker = Checker::new(evaluation, relations, class, subject);
        checker.conditions.be_lenient();
        checker
    }

    /// The same, with the meter of a larger question.
    pub(crate) fn with_meter(mut self, meter: Meter<'a>) -> Self {
        self.meter = meter;
        self
    }

    /// Whether the subject is a member of the node for the object.
    pub(crate) fn member(&mut self, node: NodeId, object: Ordinal) -> Result<Value, GraphError> {
        self.meter.edges_seen(1)?;
        if !self.plan.can_hold(node, self.class) {
            return Ok(Value::No);
        }
        if self.plan.node(node).monotone
            && let Some(value) = self.reach(node, object)?
        {
            return Ok(value);
        }
        self.solve(node, object, None)
    }

    /// What a value means to a caller.
    pub(crate) fn membership(&self, value: &Value) -> Result<Membership, GraphError> {
        self.conditions.membership(value, || self.cycle.clone().unwrap_or_default())
    }

    /// What all questions so far took.
    pub(crate) fn work(&self) -> Work {
        Work {
            edges: self.meter.edges(),
            subproblems: self.subproblems,
            cached: self.cached,
            depth: self.meter.depth(),
        }
    }

    /// Goes on with another subject of the same class. What was found out about the former is forgotten.
    pub(crate) fn turn_to(&mut self, subject: Ordinal) {
        self.subject = subject;
        if !planted(PlantedFault::SubjectAttributeShared) {
            self.conditions.turn_to((self.plan.type_of(self.class), subject));
        }
        self.closures.clear();
        self.cycle = None;
        std::mem::take(&mut self.scratch).give_back();
        self.scratch = Scratch::take();
    }

    /// The objects of a type that have attributes.
    pub(crate) fn attribute_owners(&mut self, object_type: TypeIndex) -> Result<RoaringBitmap, GraphError> {
        let mut owners = RoaringBitmap::new();
        let mut exceeded = Ok(());
        self.attributes.owners(object_type, &mut |object| {
            owners.insert(object.0);
            exceeded = self.meter.edges_seen(1);
            if exceeded.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        exceeded.map(|()| owners)
    }

    /// Whether an edge with these terms holds, of that table and on that resource.
    #[inline]
    pub(crate) fn condition(
        &mut self,
        terms: Option<&Terms>,
        table: Slot,
        resource: Ordinal,
    ) -> Result<Value, GraphError> {
        self.conditions.value(terms, table, resource, &mut self.meter)
    }

    /// What a caveat says on a relationship of that table and resource.
    pub(crate) fn caveat(
        &mut self,
        caveat: &Arc<CaveatRef>,
        table: Slot,
        resource: Ordinal,
    ) -> Result<Value, GraphError> {
        self.conditions.caveat(caveat, table, resource, &mut self.meter)
    }

    /// The meter of the questions.
    pub(crate) fn meter(&mut self) -> &mut Meter<'a> {
        &mut self.meter
    }

    /// The relationships that the questions see.
    pub(crate) fn relations(&self) -> &Relations<'a> {
        &self.relations
    }

    /// The subject that the questions are about.
    pub(crate) fn subject(&self) -> Ordinal {
        self.subject
    }

    /// The conditions of the questions.
    pub(crate) fn conditions(&mut self) -> &mut Conditions<'a> {
        &mut self.conditions
    }

    /// Whether this is the subject itself.
    #[inline]
    fn is_subject(&self, class: SubjectClass, object: Ordinal) -> bool {
        object == self.subject && class == self.class
    }
}

impl Drop for Checker<'_> {
    fn drop(&mut self) {
        std::mem::take(&mut self.scratch).give_back();
    }
}
