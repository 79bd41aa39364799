//! What is in a set, at one snapshot and moment.

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;
use stonetown_storage::{Direction, Ordinal};
use stonetown_tuple::{ObjectType, RelationName};

use super::change::Place;
use super::shape::{Part, Sets, Shape, ShapeBody};
use super::{Child, Kind};
use crate::conditions::Conditions;
use crate::edges::Terms;
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::limits::Meter;
use crate::lookup_subjects::{Decided, decided};
use crate::membership::Value;
use crate::plan::{NodeId, Slot, SubjectClass, TypeIndex};
use crate::relations::Relations;

/// Whether something is a child of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It is not.
    #[default]
    No,
    /// It depends on caveat parameters, or on who asks where `*` has exceptions, or cannot be decided: ask a check.
    Undecided,
    /// It is.
    Yes,
}

/// Reads sets at one snapshot and moment.
pub struct Reader<'a> {
    pub(super) evaluation: &'a Evaluation<'a>,
    pub(super) sets: &'a Sets,
    pub(super) relations: Relations<'a>,
    pub(super) meter: Meter<'a>,
    conditions: Conditions<'a>,
}

/// An object, or a relation or permission of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a> {
    /// The type.
    pub object_type: &'a ObjectType,
    /// The id, `*` for the wildcard.
    pub id: Arc<str>,
    /// The relation or permission.
    pub relation: Option<&'a RelationName>,
}

impl From<&Value> for Certainty {
    fn from(value: &Value) -> Certainty {
        match value {
            Value::No => Certainty::No,
            Value::Maybe(_) | Value::Fault(_) => Certainty::Undecided,
            Value::Yes => Certainty::Yes,
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads `sets`, compiled for the evaluation's plan. For each set, or all sets of a change, a reader may look at as many
    /// relationships as one lookup.
    #[must_use]
    pub fn new(evaluation: &'a Evaluation<'a>, sets: &'a Sets) -> Reader<'a> {
        Reader {
            evaluation,
            sets,
            relations: Relations::new(evaluation),
            meter: Meter::for_lookup(evaluation.limits, evaluation.deadline, evaluation.cancel),
            conditions: Conditions::new(evaluation, None),
        }
    }

    /// Begins to count the work anew.
    pub fn begin(&mut self) {
        let Evaluation { limits, deadline, cancel, .. } = self.evaluation;
        self.meter = Meter::for_lookup(limits, *deadline, *cancel);
    }

    /// Hands each child of a set to `visit`, after a place, in the order of places.
    ///
    /// # Errors
    /// When storage fails, or a limit is exceeded.
    pub fn children(
        &mut self,
        shape: &Shape,
        object: Ordinal,
        after: Option<Place>,
        visit: &mut dyn FnMut(Child, Certainty, Place) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, GraphError> {
        match &shape.body {
            ShapeBody::Direct { parts, .. } => self.direct_children(shape, parts, object, after, visit),
            ShapeBody::Computed { .. } => self.computed_children(shape, object, after, visit),
        }
    }

    /// Whether a set has a child for sure.
    ///
    /// # Errors
    /// As [`Reader::children`].
    pub fn has_child(&mut self, node: NodeId, object: Ordinal) -> Result<bool, GraphError> {
        let sets = self.sets;
        let Some(shape) = sets.shapes().iter().find(|shape| shape.node == node) else { return Ok(false) };
        let found = self.children(shape, object, None, &mut |_, certainty, _| {
            if certainty == Certainty::Yes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found.is_break())
    }

    /// The name of a set.
    ///
    /// # Errors
    /// When storage fails.
    pub fn set_name(&self, node: NodeId, object: Ordinal) -> Result<Name<'a>, GraphError> {
        let node = self.evaluation.plan.node(node);
        let id = self.relations.object_id(node.owner, object)?;
        let object_type = &self.evaluation.plan.object_type(node.owner).name;
        Ok(Name { object_type, id, relation: Some(&node.name) })
    }

    /// The name of a child, a set or a subject.
    ///
    /// # Errors
    /// When storage fails.
    pub fn child_name(&self, child: Child) -> Result<Name<'a>, GraphError> {
        match child.kind {
            Kind::Set(node) | Kind::Member(SubjectClass::Userset(node)) => self.set_name(node, child.object),
            Kind::Member(SubjectClass::Object(object_type)) => {
                let id = self.relations.object_id(object_type, child.object)?;
                Ok(Name { object_type: &self.evaluation.plan.object_type(object_type).name, id, relation: None })
            }
        }
    }

    /// Whether something is a child of a direct set.
    pub(super) fn direct_child(
        &mut self,
        shape: &Shape,
        object: Ordinal,
        child: Child,
    ) -> Result<Certainty, GraphError> {
        let ShapeBody::Direct { parts, .. } = &shape.body else { return Ok(Certainty::No) };
        if self.is_itself(shape, object, child)? {
            return Ok(Certainty::Yes);
        }
        self.best(parts, object, child)
    }

    /// The members of a computed set.
    pub(super) fn computed(&mut self, shape: &Shape, object: Ordinal) -> Result<Vec<Decided>, GraphError> {
        // Without this, an object that is a member of itself without any relationship would be in a set for ever.
        let is_there = !shape.is_reflexive() || self.is_mentioned(shape.owner, object)?;
        let classes = shape.classes.iter();
        let members = classes.map(|class| match is_there {
            true => decided(self.evaluation, *class, shape.node, object),
            false => Ok(Decided::default()),
        });
        members.collect()
    }

    /// Whether any relationship that is live names the object.
    pub(super) fn is_mentioned(&mut self, object_type: TypeIndex, object: Ordinal) -> Result<bool, GraphError> {
        for table in self.evaluation.plan.tables() {
            let forward =
                table.resource_type == object_type && self.has_live(table.slot, Direction::Forward, object)?;
            if forward || table.subject_type == object_type && self.has_live(table.slot, Direction::Reverse, object)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_live(&mut self, slot: Slot, direction: Direction, object: Ordinal) -> Result<bool, GraphError> {
        let mut row = self.relations.row(slot, direction, object)?;
        while let Some(link) = row.next()? {
            self.meter.edges_seen(1)?;
            if self.conditions.is_live(link.terms) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_itself(&mut self, shape: &Shape, object: Ordinal, child: Child) -> Result<bool, GraphError> {
        let (ShapeBody::Direct { itself, .. }, Kind::Member(class)) = (&shape.body, child.kind) else {
            return Ok(false);
        };
        let is_itself = child.object == object && itself.contains(&class);
        Ok(is_itself && self.is_mentioned(shape.owner, object)?)
    }

    /// How certain some of `parts` are of a child.
    fn best(&mut self, parts: &[Part], object: Ordinal, child: Child) -> Result<Certainty, GraphError> {
        let mut best = Certainty::No;
        for part in parts.iter().filter(|part| part.child == child.kind) {
            if best == Certainty::Yes || is_no_set(child) {
                break;
            }
            self.meter.edges_seen(1)?;
            if let Some(found) = self.relations.find(part.slot, object, child.object)? {
                best = best.max(Certainty::from(&self.condition(found.terms(), part.slot, object)?));
            }
        }
        Ok(best)
    }

    fn condition(&mut self, terms: Option<&Terms>, slot: Slot, object: Ordinal) -> Result<Value, GraphError> {
        self.conditions.value(terms, slot, object, &mut self.meter)
    }

    fn direct_children(
        &mut self,
        shape: &Shape,
        parts: &[Part],
        object: Ordinal,
        after: Option<Place>,
        visit: &mut dyn FnMut(Child, Certainty, Place) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, GraphError> {
        let ShapeBody::Direct { itself, .. } = &shape.body else { return Ok(ControlFlow::Continue(())) };
        if !itself.is_empty() && self.is_mentioned(shape.owner, object)? {
            for (class, number) in itself.iter().zip(0..) {
                let place = Place { part: 0, number };
                let child = Child { kind: Kind::Member(*class), object };
                if after.is_none_or(|after| after < place) && visit(child, Certainty::Yes, place).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        for (index, part) in parts.iter().enumerate() {
            let number = index as u32 + 1;
            let from = match after {
                Some(after) if after.part > number => continue,
                Some(after) if after.part == number => after.number.saturating_add(1),
                _ => 0,
            };
            let mut row = self.relations.row(part.slot, Direction::Forward, object)?;
            row.seek(Ordinal(from))?;
            while let Some(link) = row.next()? {
                self.meter.edges_seen(1)?;
                let own = Certainty::from(&self.condition(link.terms, part.slot, object)?);
                let child = Child { kind: part.child, object: link.other };
                if own == Certainty::No || is_no_set(child) || self.is_itself(shape, object, child)? {
                    continue;
                }
                // What an earlier table gives, too, came with that.
                if self.best(&parts[..index], object, child)? != Certainty::No {
                    continue;
                }
                let certainty = own.max(self.best(&parts[index + 1..], object, child)?);
                if visit(child, certainty, Place { part: number, number: child.object.0 }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn computed_children(
        &mut self,
        shape: &Shape,
        object: Ordinal,
        after: Option<Place>,
        visit: &mut dyn FnMut(Child, Certainty, Place) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, GraphError> {
        let members = self.computed(shape, object)?;
        for ((Decided { certain, undecided }, class), part) in members.iter().zip(&shape.classes).zip(0..) {
            let all: RoaringBitmap = certain | undecided;
            for number in all {
                let place = Place { part, number };
                if after.is_some_and(|after| place <= after) {
                    continue;
                }
                let certainty = if certain.contains(number) { Certainty::Yes } else { Certainty::Undecided };
                let child = Child { kind: Kind::Member(*class), object: Ordinal(number) };
                if visit(child, certainty, place).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A wildcard is a subject; no arrow leads through it.
fn is_no_set(child: Child) -> bool {
    child.object == Ordinal::WILDCARD && matches!(child.kind, Kind::Set(_))
}
