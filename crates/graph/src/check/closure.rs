//! The question seen from the subject: all objects for which the subject is a member of one monotone node.
//!
//! It is computed piece by piece, as far as whoever needs it allows, so that a walk from the resource and this one from
//! the subject together cost no more than a few times the cheaper of the two.

use rustc_hash::FxHashSet;
use stonetown_storage::{Direction, Ordinal};

use super::{Checker, State};
use crate::error::GraphError;
use crate::fault::{PlantedFault, planted};
use crate::plan::{Body, NodeId, Slot, SubjectClass, Use};

/// What a state that was seen holds, roughly, its rows included.
const STATE_BYTES: u64 = 64;

/// The objects for which the subject may be a member of `target`.
#[derive(Default)]
pub(super) struct Closure {
    pub(super) target: NodeId,
    seen: FxHashSet<State>,
    /// Rows to be read.
    tasks: Vec<Task>,
    /// Objects of the target; ascending once complete.
    members: Vec<u32>,
    /// Whether some edge on the way does not hold for sure.
    uncertain: bool,
    stage: Stage,
    spent: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    New,
    Begun,
    Complete,
}

/// A reverse row that leads from a member to members of `to`.
#[derive(Clone, Copy)]
struct Task {
    slot: Slot,
    row: Ordinal,
    to: NodeId,
}

impl Closure {
    pub(super) fn new(target: NodeId) -> Self {
        Closure { target, ..Closure::default() }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// Whether the subject surely is a member for all of [`Closure::members`], rather than perhaps.
    pub(super) fn is_certain(&self) -> bool {
        !self.uncertain
    }

    /// All objects for which the subject may be a member; for no others it is. Ascending. Only when complete.
    pub(super) fn members(&self) -> &[u32] {
        &self.members
    }

    pub(super) fn contains(&self, object: Ordinal) -> bool {
        self.members.binary_search(&object.0).is_ok()
    }

    /// Edges read so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    /// Goes on until it is complete or has read `allowance` edges altogether; whether it is complete.
    pub(super) fn advance(&mut self, checker: &mut Checker<'_>, allowance: u64) -> Result<bool, GraphError> {
        if self.stage == Stage::New {
            self.stage = Stage::Begun;
            self.begin(checker);
        }
        let is_leaf = self.is_leaf(checker);
        while let Some(task) = self.tasks.last().copied() {
            if is_leaf && task.to != self.target {
                self.tasks.pop();
                continue;
            }
            let left = allowance.saturating_sub(self.spent) as usize;
            let size = checker.relations.degree(task.slot, Direction::Reverse, task.row, left + 1)?;
            if size > left {
                return Ok(false);
            }
            self.tasks.pop();
            self.spent += size as u64 + 1;
            if !is_leaf {
                self.seen.reserve(size);
            }
            let mut row = checker.relations.row(task.slot, Direction::Reverse, task.row)?;
            while let Some(link) = row.next()? {
                checker.meter.edges_seen(1)?;
                let value = checker.condition(link.terms, task.slot, link.other)?;
                if value.is_no() {
                    continue;
                }
                self.uncertain |= !value.is_yes();
                checker.meter.bytes_held(if is_leaf { 4 } else { STATE_BYTES })?;
                if is_leaf {
                    self.members.push(link.other.0);
                } else {
                    self.arrive(checker, task.to, link.other);
                }
            }
        }
        self.members.sort_unstable();
        self.members.dedup();
        self.stage = Stage::Complete;
        Ok(true)
    }

    /// Where the subject is a member without anybody between.
    fn begin(&mut self, checker: &Checker<'_>) {
        let plan = checker.plan;
        for number in 0..plan.nodes().len() as u32 {
            let id = NodeId(number);
            if !plan.depends(self.target, id) {
                continue;
            }
            let node = plan.node(id);
            let SubjectClass::Object(object_type) = checker.class else {
                if checker.class == SubjectClass::Userset(id) {
                    self.arrive(checker, id, checker.subject);
                }
                continue;
            };
            if object_type == node.owner && node.walk.as_ref().is_some_and(|walk| walk.itself) {
                self.arrive(checker, id, checker.subject);
            }
            let Body::Relation(slots) = &node.body else { continue };
            for slot in slots.iter().filter(|slot| plan.table(**slot).class == checker.class) {
                self.tasks.push(Task { slot: *slot, row: checker.subject, to: id });
                if plan.table(*slot).may_wildcard {
                    self.tasks.push(Task { slot: *slot, row: Ordinal::WILDCARD, to: id });
                }
            }
        }
    }

    /// Whether nothing leads from the target back to it, so that nothing need be remembered on the way.
    fn is_leaf(&self, checker: &Checker<'_>) -> bool {
        let Body::Relation(slots) = &checker.plan.node(self.target).body else { return false };
        self.seen.is_empty()
            && slots.iter().all(|slot| {
                let is_userset = matches!(checker.plan.table(*slot).class, SubjectClass::Userset(_));
                !is_userset || checker.relations.is_empty(*slot)
            })
    }

    fn arrive(&mut self, checker: &Checker<'_>, node: NodeId, object: Ordinal) {
        let plan = checker.plan;
        let mut open = smallvec::SmallVec::<[NodeId; 8]>::from_elem(node, 1);
        while let Some(node) = open.pop() {
            if !self.seen.insert(State::new(node, object)) {
                continue;
            }
            if node == self.target {
                self.members.push(object.0);
            }
            for used in &plan.node(node).uses {
                let (slot, to) = match *used {
                    Use::Computed(to) => {
                        if plan.depends(self.target, to) {
                            open.push(to);
                        }
                        continue;
                    }
                    Use::Userset(_) if planted(PlantedFault::ClosureStopsEarly) => continue,
                    Use::Userset(slot) => (slot, plan.table(slot).relation),
                    Use::Arrow { table, permission, .. } => (table, permission),
                };
                if plan.depends(self.target, to) && checker.relations.may_have(slot, Direction::Reverse, object) {
                    self.tasks.push(Task { slot, row: object, to });
                }
            }
        }
    }
}
