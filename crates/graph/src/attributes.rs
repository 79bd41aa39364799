//! Reading stored attributes of objects, as the caveats of one question see them.

use std::ops::ControlFlow;

use smallvec::SmallVec;
use stonetown_storage::{Direction, Ordinal, Snapshot, StorageError, TableKey};
use stonetown_tuple::{Attribute, AttributeName, ObjectType};

use crate::edges::{Term, Terms};
use crate::evaluation::Evaluation;
use crate::index::IndexView;
use crate::plan::{Plan, TypeIndex};
use crate::relations::is_local;

/// The table that holds the attributes of the objects of a type. A schema needs it for each type if a parameter is trusted.
#[must_use]
pub fn attribute_table(object_type: &ObjectType) -> TableKey {
    TableKey {
        resource_type: Attribute::TYPE.to_owned(),
        relation: Attribute::RELATION.to_owned(),
        subject_type: object_type.to_string(),
        subject_relation: None,
    }
}

/// The attributes of a snapshot.
pub(crate) struct Attributes<'a> {
    plan: &'a Plan,
    snapshot: &'a dyn Snapshot,
    view: Option<&'a IndexView>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(evaluation: &Evaluation<'a>) -> Self {
        Attributes { plan: evaluation.plan, snapshot: evaluation.snapshot, view: evaluation.index }
    }

    /// What is stored of an attribute, whatever its times; empty if nobody has set it.
    pub(crate) fn terms(
        &self,
        object_type: TypeIndex,
        object: Ordinal,
        name: &AttributeName,
    ) -> Result<SmallVec<[Term; 1]>, StorageError> {
        let mut terms = SmallVec::new();
        let (Some(table), Some(names)) = (self.plan.object_type(object_type).attributes, self.plan.attribute_names())
        else {
            return Ok(terms);
        };
        if object == Ordinal::WILDCARD || is_local(object) {
            return Ok(terms);
        }
        let Some(row) = self.snapshot.ordinal(names, name.as_str())? else { return Ok(terms) };
        if let Some(view) = self.view {
            return Ok(view.find(table, row, object).map_or(terms, |link| Terms::list(link.terms)));
        }
        self.snapshot.scan_row(table, Direction::Forward, row, object, &mut |edge| {
            if edge.subject != object {
                return ControlFlow::Break(());
            }
            terms.push(Term::from(edge));
            ControlFlow::Continue(())
        })?;
        Ok(terms)
    }

    /// Visits the objects of a type that have any attribute, whatever its times, until told to break.
    pub(crate) fn owners(
        &self,
        object_type: TypeIndex,
        visit: &mut dyn FnMut(Ordinal) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let Some(table) = self.plan.object_type(object_type).attributes else { return Ok(()) };
        self.snapshot.scan_table(table, Direction::Reverse, None, &mut |edge| visit(edge.subject))
    }
}

#[cfg(test)]
mod tests;
