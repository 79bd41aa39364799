//! Reading relationships by filter, on top of any [`Snapshot`].
//!
//! A read goes through the matching tables in the order of their keys. Within a table the filter decides the way: a known
//! resource is one row forward, a known subject one row in reverse, anything else the whole table. The way depends on
//! nothing but the filter, so a [`ReadPosition`] stays good for as long as the filter and the revision do.

use std::ops::ControlFlow;

use stonetown_tuple::{
    ObjectId, ObjectRef, ObjectType, Precondition, RelationName, Relationship, RelationshipFilter, Revision,
    SubjectFilter, SubjectId, SubjectRef, SubjectRelationFilter, Timestamp,
};

use crate::{CommitError, Direction, Edge, EdgePosition, Ordinal, Snapshot, StorageError, Table, TableId, TypeId};

/// Where a read by filter goes on: just after this edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPosition {
    /// The table.
    pub table: TableId,
    /// The edge, in the direction that the filter decides.
    pub edge: EdgePosition,
}

/// Visits the relationships that match `filter` and hold at `now`, caveats aside, after a position, each with the revision
/// that wrote it. A relationship that comes from several sources is visited once.
///
/// # Errors
/// When storage fails; what was visited before is then worth nothing.
pub fn read(
    snapshot: &dyn Snapshot,
    filter: &RelationshipFilter,
    now: Timestamp,
    after: Option<ReadPosition>,
    visit: &mut dyn FnMut(ReadPosition, Relationship, Revision) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut visited = after.map(|position| (position.table, position.edge.row, position.edge.other));
    let mut names: Option<TableNames> = None;
    let mut failed = None;
    edges(snapshot, filter, after, &mut |table, position, edge| {
        let same = (table.id, position.edge.row, position.edge.other);
        if visited == Some(same) || !edge.is_live(now) {
            return ControlFlow::Continue(());
        }
        visited = Some(same);
        let relationship = table_names(&mut names, table).and_then(|names| names.relationship(snapshot, edge));
        match relationship {
            Ok(relationship) => visit(position, relationship, edge.written),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Fails unless what a precondition says holds at `now`.
///
/// # Errors
/// [`CommitError::Precondition`], or when storage fails.
pub fn test_precondition(
    snapshot: &dyn Snapshot,
    precondition: &Precondition,
    now: Timestamp,
) -> Result<(), CommitError> {
    let (filter, wanted) = match precondition {
        Precondition::MustMatch(filter) => (filter, true),
        Precondition::MustNotMatch(filter) => (filter, false),
    };
    let mut found = false;
    read(snapshot, filter, now, None, &mut |_, _, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    if found == wanted { Ok(()) } else { Err(CommitError::Precondition(Box::new(precondition.clone()))) }
}

/// Visits all edges that match `filter`, whatever their times and once for each source, after a position.
///
/// # Errors
/// As [`read`].
pub fn edges(
    snapshot: &dyn Snapshot,
    filter: &RelationshipFilter,
    after: Option<ReadPosition>,
    visit: &mut dyn FnMut(&Table, ReadPosition, &Edge) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let tables = snapshot.tables();
    let begin = match after {
        None => 0,
        Some(after) => tables.iter().position(|table| table.id == after.table).unwrap_or(tables.len()),
    };
    for table in tables[begin..].iter().filter(|table| has_table(filter, table)) {
        let after = after.filter(|after| after.table == table.id).map(|after| after.edge);
        let mut visit = |position, edge: &Edge| visit(table, ReadPosition { table: table.id, edge: position }, edge);
        if edges_of_table(snapshot, filter, table, after, &mut visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The relationship that an edge of a table stands for.
///
/// # Errors
/// When storage fails or a stored name is damaged.
pub fn relationship(snapshot: &dyn Snapshot, table: &Table, edge: &Edge) -> Result<Relationship, StorageError> {
    TableNames::of(table)?.relationship(snapshot, edge)
}

fn has_table(filter: &RelationshipFilter, table: &Table) -> bool {
    let key = &table.key;
    filter.takes_type(&key.resource_type)
        && filter.relation.as_ref().is_none_or(|wanted| wanted.as_str() == key.relation)
        && filter.subject.as_ref().is_none_or(|subject| has_subject(subject, table))
}

fn has_subject(subject: &SubjectFilter, table: &Table) -> bool {
    let relation = match &subject.relation {
        SubjectRelationFilter::Any => true,
        SubjectRelationFilter::Ellipsis => table.key.subject_relation.is_none(),
        SubjectRelationFilter::Relation(wanted) => table.key.subject_relation.as_deref() == Some(wanted.as_str()),
    };
    subject.subject_type.as_str() == table.key.subject_type
        && relation
        && !(subject.subject_id == Some(SubjectId::Wildcard) && table.key.subject_relation.is_some())
}

type VisitEdge<'a> = dyn FnMut(EdgePosition, &Edge) -> ControlFlow<()> + 'a;

fn edges_of_table(
    snapshot: &dyn Snapshot,
    filter: &RelationshipFilter,
    table: &Table,
    after: Option<EdgePosition>,
    visit: &mut VisitEdge<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let Some(resource) = wanted_ordinal(snapshot, table.resource_type, filter.resource_id.as_ref())? else {
        return Ok(ControlFlow::Continue(()));
    };
    let Some(subject) = wanted_subject(snapshot, filter, table)? else { return Ok(ControlFlow::Continue(())) };
    let direction = if resource.is_none() && subject.is_some() { Direction::Reverse } else { Direction::Forward };
    let mut names = PrefixFilter { snapshot, table, prefix: filter.resource_id_prefix.as_ref(), last: None };
    let mut flow = ControlFlow::Continue(());
    let mut failed = None;
    let mut step = |edge: &Edge| {
        let position = edge.position(direction);
        if after.is_some_and(|after| position <= after) {
            return ControlFlow::Continue(());
        }
        match names.passes(edge.resource) {
            Ok(true) => {
                flow = visit(position, edge);
                flow
            }
            Ok(false) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    match (resource, subject) {
        (Some(resource), Some(subject)) => {
            snapshot.scan_row(table.id, Direction::Forward, resource, subject, &mut |edge| {
                if edge.subject == subject { step(edge) } else { ControlFlow::Break(()) }
            })?;
        }
        (Some(row), None) | (None, Some(row)) => {
            let from = after.map_or(Ordinal(0), |after| after.other);
            snapshot.scan_row(table.id, direction, row, from, &mut step)?;
        }
        (None, None) => snapshot.scan_table(table.id, direction, after, &mut step)?,
    }
    failed.map_or(Ok(flow), Err)
}

/// `None` when an id is wanted that nothing mentions, `Some(None)` when any will do.
fn wanted_ordinal(
    snapshot: &dyn Snapshot,
    object_type: TypeId,
    id: Option<&ObjectId>,
) -> Result<Option<Option<Ordinal>>, StorageError> {
    match id {
        None => Ok(Some(None)),
        Some(id) => Ok(snapshot.ordinal(object_type, id.as_str())?.map(Some)),
    }
}

fn wanted_subject(
    snapshot: &dyn Snapshot,
    filter: &RelationshipFilter,
    table: &Table,
) -> Result<Option<Option<Ordinal>>, StorageError> {
    match filter.subject.as_ref().and_then(|subject| subject.subject_id.as_ref()) {
        None => Ok(Some(None)),
        Some(SubjectId::Wildcard) => Ok(Some(Some(Ordinal::WILDCARD))),
        Some(SubjectId::Object(id)) => wanted_ordinal(snapshot, table.subject_type, Some(id)),
    }
}

/// Tests the beginning of a resource's id once for each run of the same resource.
struct PrefixFilter<'a> {
    snapshot: &'a dyn Snapshot,
    table: &'a Table,
    prefix: Option<&'a ObjectId>,
    last: Option<(Ordinal, bool)>,
}

impl PrefixFilter<'_> {
    fn passes(&mut self, resource: Ordinal) -> Result<bool, StorageError> {
        let Some(prefix) = self.prefix else { return Ok(true) };
        if let Some((_, passes)) = self.last.filter(|(last, _)| *last == resource) {
            return Ok(passes);
        }
        let passes = self.snapshot.object_id(self.table.resource_type, resource)?.starts_with(prefix.as_str());
        self.last = Some((resource, passes));
        Ok(passes)
    }
}

/// The names of a table, parsed once for all its edges.
struct TableNames {
    table: TableId,
    ids: (TypeId, TypeId),
    resource_type: ObjectType,
    relation: RelationName,
    subject_type: ObjectType,
    subject_relation: Option<RelationName>,
}

fn table_names<'n>(names: &'n mut Option<TableNames>, table: &Table) -> Result<&'n TableNames, StorageError> {
    match names {
        Some(current) if current.table == table.id => {}
        _ => *names = Some(TableNames::of(table)?),
    }
    names.as_ref().ok_or_else(|| damaged("no table"))
}

impl TableNames {
    fn of(table: &Table) -> Result<Self, StorageError> {
        let key = &table.key;
        Ok(TableNames {
            resource_type: ObjectType::new(key.resource_type.as_str()).map_err(damaged)?,
            relation: RelationName::new(key.relation.as_str()).map_err(damaged)?,
            subject_type: ObjectType::new(key.subject_type.as_str()).map_err(damaged)?,
            subject_relation: key.subject_relation.as_deref().map(RelationName::new).transpose().map_err(damaged)?,
            table: table.id,
            ids: (table.resource_type, table.subject_type),
        })
    }

    fn relationship(&self, snapshot: &dyn Snapshot, edge: &Edge) -> Result<Relationship, StorageError> {
        let id = |object_type, ordinal| -> Result<ObjectId, StorageError> {
            ObjectId::new(&*snapshot.object_id(object_type, ordinal)?).map_err(damaged)
        };
        let subject_id = match edge.subject {
            Ordinal::WILDCARD => SubjectId::Wildcard,
            ordinal => SubjectId::Object(id(self.ids.1, ordinal)?),
        };
        Ok(Relationship {
            resource: ObjectRef { object_type: self.resource_type.clone(), object_id: id(self.ids.0, edge.resource)? },
            relation: self.relation.clone(),
            subject: SubjectRef::new(self.subject_type.clone(), subject_id, self.subject_relation.clone())
                .map_err(damaged)?,
            caveat: edge.caveat.as_deref().cloned(),
            not_before: edge.not_before,
            expires_at: edge.expires_at,
        })
    }
}

fn damaged(error: impl std::fmt::Display) -> StorageError {
    StorageError::Damaged(error.to_string())
}
