//! Request-scoped relationships: laid over a snapshot for one question as if they had been written just before it.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use stonetown_storage::{Direction, EdgeState, Ordinal, Snapshot};
use stonetown_tuple::{ObjectId, Relationship, Source, SubjectId};

use crate::edges::Term;
use crate::error::GraphError;
use crate::plan::{Plan, Slot, TypeIndex};

/// Most relationships that can be laid over a snapshot at once.
pub const OVERLAY_RELATIONSHIPS_MAX: usize = 100_000;

/// Relationships laid over a snapshot. Objects that only they mention have ordinals of their own, counted down from the
/// greatest, and are never stored.
#[derive(Debug, Default)]
pub struct Overlay {
    names: FxHashMap<(TypeIndex, ObjectId), Ordinal>,
    ids: Vec<(TypeIndex, ObjectId)>,
    rows: FxHashMap<(Slot, Direction, Ordinal), BTreeMap<u32, Term>>,
    touched: Vec<bool>,
}

impl Overlay {
    /// Lays relationships over a snapshot. One that is there already is replaced; of two that are the same, the last
    /// counts.
    ///
    /// # Errors
    /// [`GraphError::NotAllowed`] and unknown names when the schema has no place for one,
    /// [`GraphError::LimitExceeded`] beyond [`OVERLAY_RELATIONSHIPS_MAX`], and failing storage.
    pub fn new(plan: &Plan, snapshot: &dyn Snapshot, relationships: &[Relationship]) -> Result<Overlay, GraphError> {
        if relationships.len() > OVERLAY_RELATIONSHIPS_MAX {
            let value = OVERLAY_RELATIONSHIPS_MAX as u64;
            return Err(GraphError::LimitExceeded { limit: "overlay_relationships_max", value });
        }
        let mut overlay = Overlay { touched: vec![false; plan.tables().len()], ..Overlay::default() };
        for relationship in relationships {
            overlay.lay(plan, snapshot, relationship)?;
        }
        Ok(overlay)
    }

    fn lay(&mut self, plan: &Plan, snapshot: &dyn Snapshot, relationship: &Relationship) -> Result<(), GraphError> {
        let subject = &relationship.subject;
        let resource_type = plan.find_type(&relationship.resource.object_type)?;
        let relation = plan.find_node(resource_type, &relationship.relation)?;
        let class = plan.find_class(subject.object_type(), subject.relation())?;
        let table = plan.tables().iter().find(|table| {
            table.relation == relation && table.class == class && (table.may_wildcard || !subject.is_wildcard())
        });
        let table = table.ok_or_else(|| GraphError::NotAllowed { relationship: relationship.to_string() })?;
        let row = self.intern(plan, snapshot, resource_type, &relationship.resource.object_id)?;
        let column = match subject.object_id() {
            SubjectId::Wildcard => Ordinal::WILDCARD,
            SubjectId::Object(id) => self.intern(plan, snapshot, plan.type_of(class), id)?,
        };
        let term = Term::new(Source::STANDING, &EdgeState::from(relationship));
        for (direction, row, other) in [(Direction::Forward, row, column), (Direction::Reverse, column, row)] {
            self.rows.entry((table.slot, direction, row)).or_default().insert(other.0, term.clone());
        }
        self.touched[table.slot.0 as usize] = true;
        Ok(())
    }

    fn intern(
        &mut self,
        plan: &Plan,
        snapshot: &dyn Snapshot,
        object_type: TypeIndex,
        id: &ObjectId,
    ) -> Result<Ordinal, GraphError> {
        if let Some(stored) = plan.object_type(object_type).id
            && let Some(ordinal) = snapshot.ordinal(stored, id.as_str())?
        {
            return Ok(ordinal);
        }
        let fresh = Ordinal(u32::MAX - self.ids.len() as u32);
        let ordinal = *self.names.entry((object_type, id.clone())).or_insert(fresh);
        if ordinal == fresh {
            self.ids.push((object_type, id.clone()));
        }
        Ok(ordinal)
    }

    /// What is laid over one row, by the other end.
    pub(crate) fn row(&self, slot: Slot, direction: Direction, row: Ordinal) -> Option<&BTreeMap<u32, Term>> {
        if !self.touched[slot.0 as usize] {
            return None;
        }
        self.rows.get(&(slot, direction, row))
    }

    /// Whether nothing is laid over a table.
    pub(crate) fn is_empty(&self, slot: Slot) -> bool {
        !self.touched[slot.0 as usize]
    }

    /// The ordinal of an object that storage does not know.
    pub(crate) fn ordinal(&self, object_type: TypeIndex, id: &ObjectId) -> Option<Ordinal> {
        self.names.get(&(object_type, id.clone())).copied()
    }

    /// The id of an object that storage does not know.
    pub(crate) fn object_id(&self, object_type: TypeIndex, ordinal: Ordinal) -> Option<&ObjectId> {
        let known = self.ids.get((u32::MAX - ordinal.0) as usize)?;
        (known.0 == object_type).then_some(&known.1)
    }

    /// How many objects storage does not know.
    pub(crate) fn names(&self) -> usize {
        self.ids.len()
    }
}
