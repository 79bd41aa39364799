//! Fills the sets of a network, each once all that it follows from is known; sets that follow from each other together,
//! passing on what is new until nothing is.

use std::collections::VecDeque;

use roaring::RoaringBitmap;
use stonetown_storage::{Direction, Ordinal};

use crate::check::Checker;
use crate::error::GraphError;
use crate::lookup_resources::network::{Inlet, Join, Network, SetId};
use crate::membership::Value;
use crate::plan::Slot;
use crate::resource_set::ResourceSet;

/// With so few resources on one side of an operator they are checked, rather than the other side computed, which may be
/// wide.
const FEW: u64 = 128;

/// What fills the sets.
pub(super) struct Flow<'f, 'a> {
    checker: &'f mut Checker<'a>,
    network: &'f Network<'a>,
    states: Vec<State>,
}

#[derive(Default, Clone)]
struct State {
    set: ResourceSet,
    /// What the sets of its unit have not been told yet.
    news: ResourceSet,
    queued: bool,
    done: bool,
    /// Whether a side of an operator was left out, here or in a part of the same expression.
    unsettled: bool,
}

impl<'f, 'a> Flow<'f, 'a> {
    pub(super) fn new(checker: &'f mut Checker<'a>, network: &'f Network<'a>) -> Self {
        Flow { checker, network, states: vec![State::default(); network.vertices.len()] }
    }

    /// Fills a set and all that it follows from, as far as that is worth it.
    pub(super) fn fill(mut self, root: SetId) -> Result<ResourceSet, GraphError> {
        let mut path = vec![root];
        while let Some(last) = path.last() {
            let unit = self.network.unit(*last);
            if let Some(first) = unit.members.iter().find_map(|member| self.wanted(*member)) {
                path.push(first);
                continue;
            }
            path.pop();
            match unit.members.as_slice() {
                [only] if !unit.cyclic => self.fill_one(*only, root)?,
                members => self.fill_together(members)?,
            }
        }
        Ok(std::mem::take(&mut self.states[root.0].set))
    }

    /// A set of another unit that must be filled before this one.
    fn wanted(&self, id: SetId) -> Option<SetId> {
        let vertex = &self.network.vertices[id.0];
        for input in vertex.join.inputs() {
            let state = &self.states[input.0];
            if !state.done && self.network.vertices[input.0].unit != vertex.unit {
                return Some(input);
            }
            if self.may_leave_out(id) && state.set.len() <= FEW {
                return None;
            }
        }
        None
    }

    /// Whether the other sides of an operator can be left out when one side has few resources. The doubt is settled before
    /// it spreads to other resources, which takes a node whose value can be asked for.
    fn may_leave_out(&self, id: SetId) -> bool {
        let vertex = &self.network.vertices[id.0];
        !vertex.recursive && !matches!(vertex.join, Join::Union(_))
    }

    fn fill_one(&mut self, id: SetId, root: SetId) -> Result<(), GraphError> {
        let set = self.first(id)?;
        self.checker.meter().bytes_held(set.bytes())?;
        let state = &mut self.states[id.0];
        state.set = set;
        state.done = true;
        self.settle(id, root)
    }

    fn fill_together(&mut self, members: &[SetId]) -> Result<(), GraphError> {
        let network = self.network;
        let mut queue = VecDeque::new();
        for member in members {
            let first = self.first(*member)?;
            self.add(*member, first, &mut queue)?;
        }
        while let Some(of) = queue.pop_front() {
            let state = &mut self.states[of.0];
            state.queued = false;
            let news = std::mem::take(&mut state.news);
            for to in &network.vertices[of.0].passes_to {
                let more = self.passed_on(*to, of, &news)?;
                self.add(*to, more, &mut queue)?;
            }
        }
        members.iter().for_each(|member| self.states[member.0].done = true);
        Ok(())
    }

    fn add(&mut self, to: SetId, more: ResourceSet, queue: &mut VecDeque<SetId>) -> Result<(), GraphError> {
        if more.is_empty() {
            return Ok(());
        }
        let state = &mut self.states[to.0];
        let new = state.set.absorb(more);
        if new.is_empty() {
            return Ok(());
        }
        self.checker.meter().bytes_held(new.bytes())?;
        state.news.absorb(new);
        if !state.queued {
            state.queued = true;
            queue.push_back(to);
        }
        Ok(())
    }

    /// What a set has from sets that are filled already, and from the subject.
    fn first(&mut self, id: SetId) -> Result<ResourceSet, GraphError> {
        let network = self.network;
        match &network.vertices[id.0].join {
            Join::Union(inlets) => {
                let mut sum = ResourceSet::default();
                for inlet in inlets {
                    let more = match inlet {
                        Inlet::Itself => ResourceSet::of(RoaringBitmap::from_iter([self.network.subject.1.0])),
                        Inlet::Row(table, subject) => {
                            let mut found = ResourceSet::default();
                            self.row(*table, *subject, true, &mut found)?;
                            found
                        }
                        Inlet::Same(of) if self.states[of.0].done => {
                            self.states[id.0].unsettled |= self.is_unsettled_part(*of);
                            self.states[of.0].set.clone()
                        }
                        Inlet::Rows { table, of, all } if self.states[of.0].done => {
                            let set = std::mem::take(&mut self.states[of.0].set);
                            let found = self.rows(*table, &set, *all);
                            self.states[of.0].set = set;
                            found?
                        }
                        Inlet::Same(_) | Inlet::Rows { .. } => continue,
                    };
                    sum.absorb(more);
                }
                Ok(sum)
            }
            Join::Intersection(operands) => {
                let left_out = operands.iter().any(|operand| self.is_left_out(id, *operand));
                self.states[id.0].unsettled = left_out || operands.iter().any(|part| self.is_unsettled_part(*part));
                let mut known = operands.iter().filter(|operand| !self.is_left_out(id, **operand));
                let Some(first) = known.next() else { return Ok(ResourceSet::default()) };
                let mut set = self.states[first.0].set.clone();
                known.for_each(|operand| set = set.and(&self.states[operand.0].set));
                Ok(if left_out { set.doubted() } else { set })
            }
            Join::Exclusion(left, right) => {
                let left_out = self.is_left_out(id, *right);
                let parts = [*left, *right];
                self.states[id.0].unsettled = left_out || parts.iter().any(|part| self.is_unsettled_part(*part));
                Ok(self.without(&self.states[left.0].set, *right))
            }
        }
    }

    /// What a set has from news of another of its unit.
    fn passed_on(&mut self, to: SetId, of: SetId, news: &ResourceSet) -> Result<ResourceSet, GraphError> {
        let network = self.network;
        let mut more = ResourceSet::default();
        match &network.vertices[to.0].join {
            Join::Union(inlets) => {
                for inlet in inlets {
                    match inlet {
                        Inlet::Same(source) if *source == of => {
                            more.absorb(news.clone());
                        }
                        Inlet::Rows { table, of: source, all } if *source == of => {
                            more.absorb(self.rows(*table, news, *all)?);
                        }
                        _ => {}
                    }
                }
            }
            Join::Intersection(operands) if operands.contains(&of) => {
                more = news.clone();
                let others = operands.iter().filter(|operand| **operand != of);
                others.for_each(|operand| more = more.and(&self.states[operand.0].set));
            }
            Join::Exclusion(left, right) if *left == of => more = self.without(news, *right),
            Join::Intersection(_) | Join::Exclusion(..) => {}
        }
        Ok(more)
    }

    /// A set without another, which makes it doubtful unless it is known as a whole: a right side that depends on its own
    /// exclusion never is.
    fn without(&self, left: &ResourceSet, right: SetId) -> ResourceSet {
        let right = &self.states[right.0];
        if right.done { left.minus(&right.set) } else { left.clone().doubted() }
    }

    fn is_left_out(&self, by: SetId, operand: SetId) -> bool {
        self.may_leave_out(by) && !self.states[operand.0].done
    }

    fn is_unsettled_part(&self, id: SetId) -> bool {
        self.states[id.0].unsettled && !self.network.vertices[id.0].whole
    }

    /// Checks what is doubtful only because a side of an operator was left out, so that nothing is built upon it. The
    /// answer itself needs no such care.
    fn settle(&mut self, id: SetId, root: SetId) -> Result<(), GraphError> {
        let vertex = &self.network.vertices[id.0];
        if !(self.states[id.0].unsettled && vertex.whole) || id == root {
            return Ok(());
        }
        let doubtful = std::mem::take(&mut self.states[id.0].set.doubtful);
        for resource in &doubtful {
            let set = &mut self.states[id.0].set;
            match self.checker.member(vertex.node, Ordinal(resource))? {
                Value::No => false,
                Value::Yes => set.certain.insert(resource),
                Value::Maybe(_) | Value::Fault(_) => set.doubtful.insert(resource),
            };
        }
        Ok(())
    }

    /// The resources that a table relates to the objects of a set.
    fn rows(&mut self, table: Slot, of: &ResourceSet, all: bool) -> Result<ResourceSet, GraphError> {
        let mut found = ResourceSet::default();
        for object in &of.certain {
            self.row(table, Ordinal(object), !all, &mut found)?;
        }
        for object in &of.doubtful {
            self.row(table, Ordinal(object), false, &mut found)?;
        }
        found.doubtful -= &found.certain;
        Ok(found)
    }

    /// The resources that a table relates to one subject; the parts of `found` may overlap.
    fn row(&mut self, table: Slot, subject: Ordinal, certain: bool, found: &mut ResourceSet) -> Result<(), GraphError> {
        let mut row = self.checker.relations().row(table, Direction::Reverse, subject)?;
        while let Some(link) = row.next()? {
            self.checker.meter().edges_seen(1)?;
            match self.checker.condition(link.terms, table, link.other)? {
                Value::No => continue,
                Value::Yes if certain => found.certain.insert(link.other.0),
                Value::Yes | Value::Maybe(_) | Value::Fault(_) => found.doubtful.insert(link.other.0),
            };
        }
        Ok(())
    }
}
