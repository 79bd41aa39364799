//! Walking where membership is reachability: in monotone nodes the subject is a member if some way leads to it.
//!
//! The walk follows edges that hold. An edge to the subject itself that holds under conditions counts at once; one in the
//! middle of a way makes the walk uncertain, and unless another way succeeds the exact values must be computed.

use stonetown_storage::{Direction, Ordinal};

use super::{Checker, Closure, State};
use crate::edges::gallop;
use crate::error::GraphError;
use crate::fault::{PlantedFault, planted};
use crate::membership::Value;
use crate::plan::{NodeId, Slot, Step, SubjectClass};
use crate::relations::Row;

/// From so many edges on, a row may be worth looking at from the subject's side.
const WIDE: usize = 32;
/// A walk of so many edges may be worth it, too.
const LONG: u64 = 256;

/// Edges that are counted to learn how wide a row is that is not in memory.
const READ_MAX: usize = 1024;

/// What a state that was seen holds, roughly.
const STATE_BYTES: u64 = 24;

/// How far a walk has come.
struct Walked {
    value: Value,
    /// Whether no edge was left out that might have led somewhere.
    certain: bool,
}

impl Checker<'_> {
    /// The value of a monotone state, unless it takes more than a walk.
    pub(super) fn reach(&mut self, node: NodeId, object: Ordinal) -> Result<Option<Value>, GraphError> {
        let start = State::new(node, object);
        if let Some(known) = self.reached(start) {
            self.cached += 1;
            return Ok(Some(known));
        }
        self.scratch.open.clear();
        self.scratch.trail.clear();
        self.open(start);
        let mut walked = Walked { value: Value::No, certain: true };
        while let Some(state) = self.scratch.open.pop() {
            self.look_at(state, &mut walked)?;
            if walked.value.is_yes() {
                break;
            }
        }
        if walked.value.is_no() && walked.certain {
            return Ok(Some(Value::No));
        }
        for state in &self.scratch.trail {
            self.scratch.outside.remove(state);
        }
        if !walked.certain && !walked.value.is_yes() {
            return Ok(None);
        }
        self.scratch.inside.insert(start, walked.value.clone());
        Ok(Some(walked.value))
    }

    /// The value of a monotone state that is known already.
    pub(super) fn reached(&self, state: State) -> Option<Value> {
        if self.scratch.outside.contains(&state) {
            return Some(Value::No);
        }
        if !self.scratch.inside.is_empty()
            && let Some(known) = self.scratch.inside.get(&state)
        {
            return Some(known.clone());
        }
        let closure = self.closures.iter().find(|closure| closure.target == state.node() && closure.is_complete())?;
        match closure.contains(state.object()) {
            false => Some(Value::No),
            true => closure.is_certain().then_some(Value::Yes),
        }
    }

    fn open(&mut self, state: State) {
        if self.scratch.outside.insert(state) {
            self.scratch.open.push(state);
            self.scratch.trail.push(state);
        }
    }

    fn look_at(&mut self, state: State, walked: &mut Walked) -> Result<(), GraphError> {
        self.subproblems += 1;
        self.meter.edges_seen(1)?;
        self.meter.bytes_held(STATE_BYTES)?;
        let plan = self.plan;
        let (node, object) = (plan.node(state.node()), state.object());
        let Some(walk) = &node.walk else { return Ok(()) };
        if object == self.subject {
            let is_subject = match self.class {
                SubjectClass::Object(object_type) => walk.itself && object_type == node.owner,
                SubjectClass::Userset(subject) => {
                    walk.nodes.contains(subject.0) && !planted(PlantedFault::IdentityIgnored)
                }
            };
            if is_subject {
                walked.value = Value::Yes;
                return Ok(());
            }
        }
        for slot in &walk.direct {
            if plan.table(*slot).class == self.class || self.covers_usersets(*slot) {
                let value = self.direct(*slot, object)?;
                walked.value = std::mem::take(&mut walked.value).or(value);
                if walked.value.is_yes() {
                    return Ok(());
                }
            }
        }
        for step in &walk.steps {
            if plan.can_hold(step.target, self.class) && !self.relations.is_empty(step.table) {
                self.follow(*step, object, walked)?;
                if walked.value.is_yes() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the subject itself, or the wildcard for it, stands in a table of objects.
    pub(super) fn direct(&mut self, slot: Slot, object: Ordinal) -> Result<Value, GraphError> {
        self.meter.edges_seen(1)?;
        let mut value = Value::No;
        if let Some(found) = self.relations.find(slot, object, self.subject)? {
            value = self.condition(found.terms(), slot, object)?;
        }
        if !value.is_yes()
            && self.plan.table(slot).may_wildcard
            && let Some(found) = self.relations.find(slot, object, Ordinal::WILDCARD)?
        {
            value = value.or(self.condition(found.terms(), slot, object)?);
        }
        Ok(value)
    }

    /// Whether a wildcard table is taken to cover usersets of its type, too.
    pub(super) fn covers_usersets(&self, slot: Slot) -> bool {
        let table = self.plan.table(slot);
        planted(PlantedFault::WildcardCoversUsersets)
            && table.may_wildcard
            && table.subject_type == self.plan.type_of(self.class)
    }

    /// Follows one row.
    fn follow(&mut self, step: Step, object: Ordinal, walked: &mut Walked) -> Result<(), GraphError> {
        let mut row = self.relations.row(step.table, Direction::Forward, object)?;
        if let Some(closure) = self.closure_for(step, object, &row)? {
            let certain = self.closures[closure].is_certain();
            for (other, value) in self.hits(&mut row, step.table, object, closure)? {
                match value {
                    value if certain => walked.value = std::mem::take(&mut walked.value).or(value),
                    Value::Yes => self.open(State::new(step.target, other)),
                    _ => walked.certain = false,
                }
            }
            return Ok(());
        }
        while let Some(link) = row.next()? {
            self.meter.edges_seen(1)?;
            match self.condition(link.terms, step.table, object)? {
                // No arrow leads through everybody.
                _ if link.other == Ordinal::WILDCARD => {}
                Value::Yes => self.open(State::new(step.target, link.other)),
                Value::No => {}
                Value::Maybe(_) | Value::Fault(_) => walked.certain = false,
            }
        }
        Ok(())
    }

    /// Where the subject is a member of the target, if looking from the subject is cheaper than following the row.
    pub(super) fn closure_for(
        &mut self,
        step: Step,
        object: Ordinal,
        row: &Row<'_>,
    ) -> Result<Option<usize>, GraphError> {
        let known = self.closures.iter().position(|closure| closure.target == step.target);
        if let Some(at) = known
            && self.closures[at].is_complete()
        {
            return Ok(Some(at));
        }
        let size = match row.size() {
            Some(size) => size,
            None => self.relations.degree(step.table, Direction::Forward, object, READ_MAX)?,
        };
        if size < WIDE && self.meter.edges() < LONG {
            return Ok(None);
        }
        let at = known.unwrap_or_else(|| {
            self.closures.push(Closure::new(step.target));
            self.closures.len() - 1
        });
        // Neither side may ever cost much more than the other would have.
        let spent: u64 = self.closures.iter().map(Closure::spent).sum();
        let allowance = 2 * (self.meter.edges().saturating_sub(spent) + size as u64);
        let mut closure = std::mem::take(&mut self.closures[at]);
        let complete = closure.advance(self, allowance);
        self.closures[at] = closure;
        Ok(complete?.then_some(at))
    }

    /// What the row of an object and a closure have in common: the other ends, and whether their edges hold, if that is not a no. One
    /// that decides the question is the last.
    pub(super) fn hits(
        &mut self,
        row: &mut Row<'_>,
        table: Slot,
        object: Ordinal,
        closure: usize,
    ) -> Result<Vec<(Ordinal, Value)>, GraphError> {
        let certain = self.closures[closure].is_certain();
        let mut found = Vec::new();
        let mut at = 0;
        // Each side jumps to where the other is.
        while let Some(member) = self.closures[closure].members().get(at).copied() {
            row.seek(Ordinal(member))?;
            let Some(link) = row.next()? else { break };
            self.meter.edges_seen(1)?;
            if link.other.0 == member {
                let value = self.condition(link.terms, table, object)?;
                let decides = certain && value.is_yes();
                if !value.is_no() {
                    found.push((link.other, value));
                }
                if decides {
                    break;
                }
                at += 1;
            } else {
                at = gallop(self.closures[closure].members(), at, link.other.0);
                // The edge may be to that very member.
                if self.closures[closure].members().get(at) == Some(&link.other.0)
                    && !planted(PlantedFault::JumpPassesEdge)
                {
                    row.back();
                }
            }
        }
        Ok(found)
    }
}
