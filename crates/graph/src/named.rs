//! Who has a permission, as relationships name them: groups as they are instead of their members.
//!
//! Whoever a relationship names on the way down from the resource may have the permission; each is then checked, so that
//! intersections and exclusions are heeded.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;
use stonetown_storage::{Direction, Ordinal};
use stonetown_tuple::{ObjectRef, RelationName, SubjectRef};

use crate::check::{State, check};
use crate::error::GraphError;
use crate::evaluation::{Evaluation, Work};
use crate::expand::subject_ref;
use crate::found::{ExcludedSubject, Position};
use crate::limits::Meter;
use crate::lookup_subjects::lookup_subjects;
use crate::membership::Membership;
use crate::plan::{Body, Expression, NodeId, Plan, Slot, SubjectClass};
use crate::relations::Relations;

/// Bytes that a subject takes while it is kept.
const SUBJECT_BYTES: u64 = 64;

/// Those whom relationships name, in an order that is the same each time.
#[derive(Debug)]
pub struct NamedSubjects {
    found: Vec<NamedSubject>,
    work: Work,
}

/// One of [`NamedSubjects`].
#[derive(Debug, Clone)]
pub struct NamedSubject {
    /// An object, a userset, or a wildcard.
    pub subject: SubjectRef,
    /// [`Membership::Member`] or [`Membership::Conditional`].
    pub membership: Membership,
    /// Of a wildcard: whom it does not cover, or not to the same extent.
    pub excluded: Vec<ExcludedSubject>,
    /// A page after this one goes on behind it.
    pub position: Position,
}

impl NamedSubjects {
    /// What it took to find them.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The next `limit` behind `after`, fewer only at the end.
    #[must_use]
    pub fn page(&self, after: Option<Position>, limit: usize) -> Vec<NamedSubject> {
        let passed = self.found.partition_point(|found| after.is_some_and(|after| found.position <= after));
        self.found[passed..].iter().take(limit).cloned().collect()
    }
}

/// All subjects named by a relationship that have the permission on the resource, or may have it, because of it.
///
/// # Errors
/// As [`crate::lookup_subjects()`].
pub fn named_subjects(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
) -> Result<NamedSubjects, GraphError> {
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = evaluation.plan.find_node(object_type, permission)?;
    let mut walk = Walk {
        plan: evaluation.plan,
        relations,
        meter: Meter::for_lookup(evaluation.limits, evaluation.deadline, evaluation.cancel),
        seen: FxHashSet::default(),
        open: vec![(node, object)],
        named: BTreeSet::new(),
    };
    while let Some((node, object)) = walk.open.pop() {
        if walk.seen.insert(State::new(node, object)) {
            walk.meter.bytes_held(SUBJECT_BYTES)?;
            walk.look_at(node, object)?;
        }
    }
    let mut work = Work { edges: walk.meter.edges(), ..Work::default() };
    let mut found = Vec::new();
    for (number, (class, ordinal)) in (0..).zip(&walk.named) {
        let subject = subject_ref(evaluation.plan, &walk.relations, *class, *ordinal)?;
        let (membership, excluded) = if subject.is_wildcard() {
            let all = lookup_subjects(evaluation, resource, permission, subject.object_type(), subject.relation())?;
            let first = all.page(evaluation, None, 1)?.into_iter().find(|first| first.id.as_ref() == "*");
            first.map_or((Membership::NotMember, Vec::new()), |everybody| (everybody.membership, everybody.excluded))
        } else {
            let answer = check(evaluation, resource, permission, &subject)?;
            work.subproblems += answer.work.subproblems;
            work.edges += answer.work.edges;
            (answer.membership, Vec::new())
        };
        if membership != Membership::NotMember {
            found.push(NamedSubject { subject, membership, excluded, position: Position::from_u64(number) });
        }
    }
    Ok(NamedSubjects { found, work })
}

/// The way down from the resource.
struct Walk<'a> {
    plan: &'a Plan,
    relations: Relations<'a>,
    meter: Meter<'a>,
    seen: FxHashSet<State>,
    open: Vec<(NodeId, Ordinal)>,
    named: BTreeSet<(SubjectClass, Ordinal)>,
}

impl Walk<'_> {
    fn look_at(&mut self, node: NodeId, object: Ordinal) -> Result<(), GraphError> {
        let plan = self.plan;
        match &plan.node(node).body {
            Body::Relation(slots) => slots.iter().try_for_each(|slot| {
                let class = plan.table(*slot).class;
                self.row(*slot, object, |walk, other| {
                    walk.meter.bytes_held(SUBJECT_BYTES)?;
                    walk.named.insert((class, other));
                    Ok(())
                })
            }),
            Body::Permission(expression) => self.expression(expression, node, object),
        }
    }

    fn expression(&mut self, expression: &Expression, owner: NodeId, object: Ordinal) -> Result<(), GraphError> {
        match expression {
            Expression::Nil => Ok(()),
            Expression::Itself => {
                self.named.insert((SubjectClass::Object(self.plan.node(owner).owner), object));
                Ok(())
            }
            Expression::Node(node) => {
                self.open.push((*node, object));
                Ok(())
            }
            Expression::Arrow(arrow) => arrow.hops.iter().try_for_each(|hop| {
                let Some(target) = hop.target else { return Ok(()) };
                self.row(hop.table, object, |walk, other| {
                    if other != Ordinal::WILDCARD {
                        walk.open.push((target, other));
                    }
                    Ok(())
                })
            }),
            Expression::Union(parts) | Expression::Intersection(parts) => {
                parts.iter().try_for_each(|part| self.expression(part, owner, object))
            }
            Expression::Exclusion(exclusion) => self.expression(&exclusion.left, owner, object),
        }
    }

    fn row(
        &mut self,
        slot: Slot,
        object: Ordinal,
        mut each: impl FnMut(&mut Self, Ordinal) -> Result<(), GraphError>,
    ) -> Result<(), GraphError> {
        let mut row = self.relations.row(slot, Direction::Forward, object)?;
        while let Some(link) = row.next()? {
            let other = link.other;
            self.meter.edges_seen(1)?;
            each(self, other)?;
        }
        Ok(())
    }
}
