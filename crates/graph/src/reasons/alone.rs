//! Relationships that stand alone: the same question in a world that holds nothing else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_storage::{
    Direction, Edge, EdgePosition, Ordinal, Provenance, Snapshot, StorageError, StoredSchema, Table, TableId, TypeId,
};
use stonetown_tuple::{Attribute, ObjectRef, RelationName, Relationship, Revision, StoreId, SubjectRef};

use super::{Hold, Miss, Step};
use crate::check::check;
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::membership::Membership;
use crate::overlay::Overlay;

/// Ways with more relationships are not tried one relationship less at a time.
const TRIED_MAX: usize = 64;

/// A question that is put to other worlds.
pub(super) struct Alone<'q> {
    pub(super) evaluation: &'q Evaluation<'q>,
    pub(super) resource: &'q ObjectRef,
    pub(super) permission: &'q RelationName,
    pub(super) subject: &'q SubjectRef,
}

impl Alone<'_> {
    /// Marks relationships of a member's way without which the rest would not do: guards are given up first, then what lies
    /// farthest from the resource.
    pub(super) fn mark_essential(&self, path: &mut [Step]) -> Result<(), GraphError> {
        let relationships: Vec<_> = path.iter().map(|step| step.relationship.clone()).collect();
        for (step, essential) in path.iter_mut().zip(self.essential(&relationships)?) {
            step.essential = essential;
        }
        Ok(())
    }

    /// Marks what a miss needs, and keeps it only if it is one: with its obstacles gone the way is one, as it is it is none.
    pub(super) fn mark_needed(&self, miss: &mut Miss) -> Result<Option<Miss>, GraphError> {
        let repaired: Vec<_> = miss.path.iter().map(repaired).collect();
        if !miss.lacking.is_empty() {
            // Nothing can be put in the place of what is not there; that it is not there has been asked.
            return Ok(Some(miss.clone()));
        }
        if self.member_among(&repaired)? != Some(true) {
            return Ok(None);
        }
        for (step, essential) in miss.path.iter_mut().zip(self.essential(&repaired)?) {
            step.essential = essential;
        }
        let excluding = miss.exclusions.iter().flat_map(|excluded| &excluded.path);
        let as_they_are: Vec<_> = miss.path.iter().chain(excluding).map(|step| step.relationship.clone()).collect();
        let is_miss = self.member_among(&as_they_are)? != Some(true);
        for step in miss.exclusions.iter_mut().flat_map(|excluded| &mut excluded.path) {
            step.essential = true;
        }
        Ok(is_miss.then(|| miss.clone()))
    }

    /// Which of these are needed for the answer that all of them give; none if that is not yes.
    fn essential(&self, relationships: &[Relationship]) -> Result<Vec<bool>, GraphError> {
        let mut kept = vec![true; relationships.len()];
        if relationships.len() > TRIED_MAX || self.member_among(relationships)? != Some(true) {
            return Ok(vec![false; relationships.len()]);
        }
        loop {
            let mut given_up = false;
            for at in (0..relationships.len()).rev() {
                if !kept[at] {
                    continue;
                }
                kept[at] = false;
                let rest: Vec<_> =
                    relationships.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(one, _)| one.clone()).collect();
                let enough = self.member_among(&rest)? == Some(true);
                kept[at] = !enough;
                given_up |= enough;
            }
            if !given_up {
                return Ok(kept);
            }
        }
    }

    /// Whether the subject is a member in a world of these relationships; `None` if that cannot be decided.
    fn member_among(&self, relationships: &[Relationship]) -> Result<Option<bool>, GraphError> {
        let nothing = Nothing::of(self.evaluation.snapshot);
        let overlay = Overlay::new(self.evaluation.plan, &nothing, relationships)?;
        let alone = Evaluation { snapshot: &nothing, index: None, overlay: Some(&overlay), ..*self.evaluation };
        match check(&alone, self.resource, self.permission, self.subject) {
            Ok(answer) => Ok(Some(answer.membership == Membership::Member)),
            Err(GraphError::Cycle { .. } | GraphError::Caveat { .. } | GraphError::ContextType { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A relationship without what keeps it from counting.
fn repaired(step: &Step) -> Relationship {
    let mut relationship = step.relationship.clone();
    if step.state != Hold::Holds {
        relationship.caveat = None;
        relationship.not_before = None;
        relationship.expires_at = None;
    }
    relationship
}

/// A snapshot with its names and the attributes of its objects, and without its relationships.
struct Nothing<'a>(&'a dyn Snapshot, BTreeSet<TableId>);

impl<'a> Nothing<'a> {
    fn of(snapshot: &'a dyn Snapshot) -> Self {
        let tables = snapshot.tables();
        let attributes = tables.iter().filter(|table| table.key.resource_type == Attribute::TYPE);
        Nothing(snapshot, attributes.map(|table| table.id).collect())
    }
}

impl Snapshot for Nothing<'_> {
    fn store(&self) -> StoreId {
        self.0.store()
    }

    fn revision(&self) -> Revision {
        self.0.revision()
    }

    fn schema(&self) -> Result<Option<StoredSchema>, StorageError> {
        self.0.schema()
    }

    fn tables(&self) -> Arc<[Arc<Table>]> {
        self.0.tables()
    }

    fn type_id(&self, object_type: &str) -> Option<TypeId> {
        self.0.type_id(object_type)
    }

    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError> {
        self.0.ordinal(object_type, object_id)
    }

    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError> {
        self.0.object_id(object_type, ordinal)
    }

    fn scan_row(
        &self,
        table: TableId,
        direction: Direction,
        row: Ordinal,
        from: Ordinal,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if self.1.contains(&table) { self.0.scan_row(table, direction, row, from, visit) } else { Ok(()) }
    }

    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if self.1.contains(&table) { self.0.scan_table(table, direction, after, visit) } else { Ok(()) }
    }

    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError> {
        self.0.provenance(written)
    }
}
