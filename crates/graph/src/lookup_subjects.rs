//! Which subjects of a type have that permission on this resource?
//!
//! The walk goes downwards from the resource. It writes down, for each node and object that it comes to, how the members
//! follow from those of others ([`equations`]), and solves these for all subjects at once ([`solve`]). Only where an answer
//! depends on a cycle through the right side of an exclusion, or a caveat on attributes of the subject, is each subject checked
//! by itself.

mod equations;
mod solve;
use roaring::RoaringBitmap;
use stonetown_storage::Ordinal;
use stonetown_tuple::{ObjectRef, ObjectType, RelationName};

use crate::check::{Checker, State};
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::found::{FoundSubjects, Listing, Wildcard, insert};
use crate::limits::Meter;
use crate::membership::{Membership, Value};
use crate::plan::{NodeId, Plan, SubjectClass, TypeIndex};
use crate::relations::{NOBODY, Relations};
use crate::subject_set::SubjectSet;
use equations::{Equations, Term};
use solve::solve;

/// All subjects of a type, or with `subject_relation` all usersets of that relation, that have the relation or permission
/// on `resource`, or may have it. For each the answer is that of [`crate::check()`]; one that has no answer fails the whole
/// lookup. Where the wildcard has it, `*` is listed with those whom it does not cover, and beside it those members that
/// are named themselves.
///
/// # Errors
/// See [`GraphError`].
pub fn lookup_subjects(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject_type: &ObjectType,
    subject_relation: Option<&RelationName>,
) -> Result<FoundSubjects, GraphError> {
    let node = |object_type| evaluation.plan.find_node(object_type, permission);
    subjects(evaluation, resource, &node, subject_type, subject_relation)
}

/// As [`lookup_subjects`], but where the schema names what lists the relation or permission, only those that have both.
///
/// # Errors
/// See [`GraphError`].
pub fn listed_subjects(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject_type: &ObjectType,
    subject_relation: Option<&RelationName>,
) -> Result<FoundSubjects, GraphError> {
    let node = |object_type| evaluation.plan.find_listing(object_type, permission);
    subjects(evaluation, resource, &node, subject_type, subject_relation)
}

fn subjects(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    node: &dyn Fn(TypeIndex) -> Result<NodeId, GraphError>,
    subject_type: &ObjectType,
    subject_relation: Option<&RelationName>,
) -> Result<FoundSubjects, GraphError> {
    let plan = evaluation.plan;
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = node(object_type)?;
    let class = plan.find_class(subject_type, subject_relation)?;
    let meter = Meter::for_lookup(evaluation.limits, evaluation.deadline, evaluation.cancel);
    let mut checker = Checker::new(evaluation, relations, class, NOBODY).with_meter(meter);
    checker.meter().edges_seen(1)?;
    let members = members(plan, &mut checker, class, State::new(node, object))?;
    let subject_type = plan.type_of(class);
    let list = |parts| Listing::new(plan, checker.relations(), subject_type, parts);
    let wildcard = match members.star {
        Membership::NotMember => None,
        membership => Some(Wildcard { membership, excluded: list(members.excluded)? }),
    };
    let listing = list(members.listed)?;
    Ok(FoundSubjects { wildcard, listing, work: checker.work(), changes_at: checker.conditions().changes_at() })
}

/// Who is a member of a node on an object, by ordinal. [`Ordinal::WILDCARD`] is among the certain if everybody is one, and
/// among the undecided if whoever is not mentioned is or may be one, but not everybody.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    /// Members for sure.
    pub(crate) certain: RoaringBitmap,
    /// Those for whom it depends on parameters, or cannot be decided.
    pub(crate) undecided: RoaringBitmap,
}

/// The members of a node on a stored object. Unlike [`lookup_subjects`] it does not fail for a subject without an answer.
///
/// # Errors
/// When the lookup exceeds a limit, is cancelled, or storage fails.
pub(crate) fn decided(
    evaluation: &Evaluation<'_>,
    class: SubjectClass,
    node: NodeId,
    object: Ordinal,
) -> Result<Decided, GraphError> {
    let plan = evaluation.plan;
    let mut decided = Decided::default();
    if !plan.can_hold(node, class) {
        return Ok(decided);
    }
    let meter = Meter::for_lookup(evaluation.limits, evaluation.deadline, evaluation.cancel);
    let mut checker = Checker::new(evaluation, Relations::new(evaluation), class, NOBODY).with_meter(meter);
    checker.meter().edges_seen(1)?;
    let mut equations = Equations::new(plan, &mut checker, class);
    let root = equations.number(node, object)?;
    match solve(&mut equations, root)? {
        Some(set) => {
            set.parts().iter().for_each(|(value, subjects)| decided.add(value, subjects));
            decided.add(set.star(), &(set.named().as_ref() - set.mentioned().as_ref()));
            decided.everybody(set.star(), set.parts().is_empty());
        }
        None => {
            let state = State::new(node, object);
            let candidates = mentioned(equations, state)?;
            let star = match class {
                SubjectClass::Object(_) => checker.member(node, object)?,
                SubjectClass::Userset(_) => Value::No,
            };
            let mut whole = true;
            for subject in candidates {
                checker.turn_to(Ordinal(subject));
                let value = checker.member(node, object)?;
                whole &= value.is_yes();
                decided.add(&value, &RoaringBitmap::from_iter([subject]));
            }
            decided.everybody(&star, whole);
        }
    }
    Ok(decided)
}

impl Decided {
    fn add(&mut self, value: &Value, subjects: &RoaringBitmap) {
        match value {
            Value::No => {}
            Value::Yes => self.certain |= subjects,
            Value::Maybe(_) | Value::Fault(_) => self.undecided |= subjects,
        }
    }

    /// `star` is what whoever is not mentioned is; `whole` whether nobody is mentioned who is something else.
    fn everybody(&mut self, star: &Value, whole: bool) {
        if star.is_yes() && whole {
            self.certain.insert(Ordinal::WILDCARD.0);
        } else if !star.is_no() {
            self.undecided.insert(Ordinal::WILDCARD.0);
        }
    }
}

/// The members as they are listed.
struct Members {
    /// Of whoever is not mentioned.
    star: Membership,
    listed: Vec<(Membership, RoaringBitmap)>,
    excluded: Vec<(Membership, RoaringBitmap)>,
}

fn members<'a>(
    plan: &'a Plan,
    checker: &mut Checker<'a>,
    class: SubjectClass,
    state: State,
) -> Result<Members, GraphError> {
    if !plan.can_hold(state.node(), class) {
        return list(checker, &SubjectSet::default());
    }
    if plan.is_personal(state.node()) {
        return check_each(plan, checker, class, state);
    }
    let mut equations = Equations::new(plan, checker, class);
    let root = equations.number(state.node(), state.object())?;
    match solve(&mut equations, root)? {
        Some(set) => list(checker, &set),
        None => check_each(plan, checker, class, state),
    }
}

/// Checks everybody who is mentioned on the way down, everybody with attributes where these count, and somebody who is
/// neither.
fn check_each<'a>(
    plan: &'a Plan,
    checker: &mut Checker<'a>,
    class: SubjectClass,
    state: State,
) -> Result<Members, GraphError> {
    let named = mentioned(Equations::new(plan, checker, class), state)?;
    let mut candidates = named.clone();
    if plan.is_personal(state.node()) && class == SubjectClass::Object(plan.type_of(class)) {
        candidates |= checker.attribute_owners(plan.type_of(class))?;
    }
    let mut ask = |subject| {
        checker.turn_to(subject);
        let value = checker.member(state.node(), state.object())?;
        checker.membership(&value)
    };
    let star = match class {
        SubjectClass::Object(_) => ask(NOBODY)?,
        SubjectClass::Userset(_) => Membership::NotMember,
    };
    let mut parts = Vec::new();
    for subject in &candidates {
        let membership = ask(Ordinal(subject))?;
        if membership != star {
            insert(&mut parts, membership, subject);
        }
    }
    Ok(arrange(star, parts, &named))
}

/// All subjects that relationships on the way down from a state name.
fn mentioned(mut equations: Equations<'_, '_>, state: State) -> Result<RoaringBitmap, GraphError> {
    let mut mentioned = RoaringBitmap::new();
    let mut next = equations.number(state.node(), state.object())?;
    while (next.0 as usize) < equations.len() {
        equations.write(next)?.visit(false, &mut |part, _| {
            if let Term::Set(set) = part {
                mentioned |= set.mentioned().as_ref();
            }
        });
        next.0 += 1;
    }
    Ok(mentioned)
}

fn list(checker: &Checker<'_>, set: &SubjectSet) -> Result<Members, GraphError> {
    let star = checker.membership(set.star())?;
    let part = |(value, subjects): &(Value, RoaringBitmap)| Ok((checker.membership(value)?, subjects.clone()));
    let parts = set.parts().iter().map(part).collect::<Result<_, GraphError>>()?;
    Ok(arrange(star, parts, &set.named()))
}

/// Puts everybody where a listing has them. `parts` are those who differ from `star`.
fn arrange(star: Membership, parts: Vec<(Membership, RoaringBitmap)>, named: &RoaringBitmap) -> Members {
    if star == Membership::NotMember {
        let listed = parts.into_iter().filter(|(membership, _)| *membership != Membership::NotMember).collect();
        return Members { star, listed, excluded: Vec::new() };
    }
    let (mut listed, mut excluded) = (Vec::new(), Vec::new());
    let mut covered = named.clone();
    for (membership, subjects) in parts {
        covered -= &subjects;
        match (&membership, &star) {
            (Membership::NotMember, _) => excluded.push((membership, subjects)),
            (Membership::Member, _) => listed.push((membership, subjects)),
            (Membership::Conditional(_), Membership::Member) => {
                listed.push((membership.clone(), &subjects & named));
                excluded.push((membership, subjects));
            }
            // Neither condition implies the other, so one of the two places must say what holds.
            (Membership::Conditional(_), _) => {
                listed.push((membership.clone(), &subjects & named));
                excluded.push((membership, subjects - named));
            }
        }
    }
    listed.push((star.clone(), covered));
    Members { star, listed, excluded }
}
