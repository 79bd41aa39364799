//! Testing a transaction and laying it over what is pending.

use std::ops::ControlFlow;

use stonetown_storage::log::EdgeState;
use stonetown_storage::read;
use stonetown_storage::{
    CommitError, DeleteByFilter, Edge, Guard, Ordinal, Snapshot, StorageError, StoredSchema, StoredUpdate, Table,
    TableId, Transaction,
};
use stonetown_tuple::{Operation, Relationship, Revision, Source, StoreId, SubjectId, Timestamp};

use crate::changelog::changes_since;
use crate::keys::EdgeKey;
use crate::pending::{Pending, PendingSnapshot};
use crate::values::stored_state;

/// A transaction on its way into what is pending.
pub(crate) struct Draft<'p> {
    pub(crate) pending: &'p mut Pending,
    pub(crate) store: StoreId,
    pub(crate) revision: Revision,
    pub(crate) now: Timestamp,
}

/// How many relationships a delete by filter ends, and whether more match.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deleted {
    pub(crate) count: u64,
    pub(crate) partial: bool,
}

impl Draft<'_> {
    /// Tests the conditions of a transaction and applies it but for its delete by filter.
    ///
    /// # Errors
    /// See [`CommitError`]; what was applied is to be taken back then.
    pub(crate) fn apply(&mut self, transaction: &Transaction) -> Result<(), CommitError> {
        if let Some(expected) = transaction.schema_at {
            self.test_schema(expected)?;
        }
        if let Some(guard) = &transaction.guard {
            self.test_guard(guard)?;
        }
        for precondition in &transaction.preconditions {
            read::test_precondition(&self.snapshot(), precondition, self.now)?;
        }
        if let Some(schema) = &transaction.schema {
            let stored = StoredSchema { revision: self.revision, bytes: schema.bytes.as_slice().into() };
            self.pending.write_schema(self.store, stored, schema);
        }
        transaction.updates.iter().try_for_each(|update| self.update(update))
    }

    /// Fails unless `expected` is the revision of the schema in force.
    pub(crate) fn test_schema(&self, expected: Revision) -> Result<(), CommitError> {
        let current = self.snapshot().schema()?.map(|schema| schema.revision).unwrap_or_default();
        if current == expected { Ok(()) } else { Err(CommitError::SchemaChanged(current)) }
    }

    /// Hands the edges of each relationship that matches to `end`, relationship by relationship.
    ///
    /// # Errors
    /// [`CommitError::TooManyToDelete`], or what `end` fails with.
    pub(crate) fn delete_by_filter(
        &self,
        delete: &DeleteByFilter,
        end: &mut dyn FnMut(&[EdgeKey]) -> Result<(), CommitError>,
    ) -> Result<Deleted, CommitError> {
        let mut doomed = Doomed { limit: delete.limit.unwrap_or(u64::MAX), deleted: Deleted::default(), end };
        let mut edges: Vec<EdgeKey> = Vec::new();
        let mut is_there = false;
        let mut outcome = Ok(());
        read::edges(&self.snapshot(), &delete.filter, None, &mut |table, _, edge| {
            let key = edge_key(self.store, table.id, edge);
            let next = edges.first().is_some_and(|first| {
                (first.table, first.resource, first.subject) != (key.table, key.resource, key.subject)
            });
            if next {
                outcome = doomed.take(&edges, is_there);
                edges.clear();
                is_there = false;
            }
            edges.push(key);
            is_there |= !edge.is_expired(self.now);
            if outcome.is_err() || doomed.deleted.partial { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        outcome?;
        if !doomed.deleted.partial {
            doomed.take(&edges, is_there)?;
        }
        match doomed.deleted {
            deleted if deleted.partial && !delete.partial => {
                Err(CommitError::TooManyToDelete { limit: delete.limit.unwrap_or_default() })
            }
            deleted => Ok(deleted),
        }
    }

    /// Ends an edge.
    pub(crate) fn end(&mut self, edge: EdgeKey) {
        self.pending.put(edge, self.revision, self.now, None);
    }

    /// The ordinals of a relationship's ends, given to them if they have none.
    pub(crate) fn intern(
        &mut self,
        table: &Table,
        relationship: &Relationship,
        source: Source,
    ) -> Result<EdgeKey, CommitError> {
        let Relationship { resource, subject, .. } = relationship;
        let resource = self.pending.intern(
            self.store,
            table.resource_type,
            &table.key.resource_type,
            resource.object_id.as_str(),
        )?;
        let subject = match subject.object_id() {
            SubjectId::Wildcard => Ordinal::WILDCARD,
            SubjectId::Object(id) => {
                self.pending.intern(self.store, table.subject_type, &table.key.subject_type, id.as_str())?
            }
        };
        Ok(EdgeKey { store: self.store, table: table.id, resource, subject, source })
    }

    fn snapshot(&self) -> PendingSnapshot<'_> {
        self.pending.snapshot(self.store)
    }

    /// Looks at the edges that were written since and still stand.
    fn test_guard(&self, guard: &Guard) -> Result<(), CommitError> {
        if guard.since < self.pending.shared().log_floor() {
            return Err(CommitError::Conflict);
        }
        let snapshot = self.snapshot();
        let mut refused = false;
        changes_since(self.pending.shared(), self.store, guard.since, &mut |change| {
            let key = EdgeKey {
                store: self.store,
                table: change.table,
                resource: change.resource,
                subject: change.subject,
                source: change.source,
            };
            refused = change.state.is_some() && self.is_refused(&snapshot, guard, &key)?;
            Ok(if refused { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        for key in self.pending.edges_of(self.store) {
            refused = refused || self.is_refused(&snapshot, guard, key)?;
        }
        if refused { Err(CommitError::Conflict) } else { Ok(()) }
    }

    fn is_refused(&self, snapshot: &PendingSnapshot<'_>, guard: &Guard, key: &EdgeKey) -> Result<bool, StorageError> {
        let Some(state) = snapshot.state(key)?.filter(|state| !state.is_expired(self.now)) else { return Ok(false) };
        let relationship = relationship(snapshot, key, state)?;
        Ok((guard.refuse)(&relationship))
    }

    fn update(&mut self, update: &StoredUpdate) -> Result<(), CommitError> {
        let relationship = &update.relationship;
        let table = self.pending.catalogue(self.store).table_of(relationship).cloned();
        match (update.operation, table) {
            (Operation::Delete, None) => Ok(()),
            (_, None) => Err(CommitError::NoTable(relationship.to_string())),
            (Operation::Delete, Some(table)) => self.delete(&table, relationship),
            (operation, Some(table)) => {
                let state = EdgeState::from(relationship);
                // Fails here, alone, rather than when the whole group is written.
                stored_state(Some(&state))?;
                let key = self.intern(&table, relationship, update.source)?;
                if operation == Operation::Create && self.is_there(&table, &key)? {
                    return Err(CommitError::AlreadyExists(Box::new(relationship.clone())));
                }
                self.pending.put(key, self.revision, self.now, Some(state));
                Ok(())
            }
        }
    }

    fn is_there(&self, table: &Table, key: &EdgeKey) -> Result<bool, StorageError> {
        let is_new = self.pending.is_new(self.store, table.resource_type, key.resource)
            || self.pending.is_new(self.store, table.subject_type, key.subject);
        let state = match self.pending.state(key) {
            Some(state) => state.cloned(),
            None if is_new => None,
            None => self.snapshot().state(key)?,
        };
        Ok(state.is_some_and(|state| !state.is_expired(self.now)))
    }

    fn delete(&mut self, table: &Table, relationship: &Relationship) -> Result<(), CommitError> {
        let snapshot = self.snapshot();
        let resource = snapshot.ordinal(table.resource_type, relationship.resource.object_id.as_str())?;
        let subject = snapshot.ordinal(table.subject_type, relationship.subject.object_id().as_str())?;
        let (Some(resource), Some(subject)) = (resource, subject) else { return Ok(()) };
        let edges = edges_between(&snapshot, self.store, table.id, resource, subject)?;
        edges.into_iter().for_each(|(key, _)| self.end(key));
        Ok(())
    }
}

/// Counts the relationships of a delete by filter and hands them on.
struct Doomed<'e> {
    limit: u64,
    deleted: Deleted,
    end: &'e mut dyn FnMut(&[EdgeKey]) -> Result<(), CommitError>,
}

impl Doomed<'_> {
    fn take(&mut self, edges: &[EdgeKey], is_there: bool) -> Result<(), CommitError> {
        if !is_there {
            return Ok(());
        }
        if self.deleted.count == self.limit {
            self.deleted.partial = true;
            return Ok(());
        }
        self.deleted.count += 1;
        (self.end)(edges)
    }
}

/// The edges of a relationship, from each source.
pub(crate) fn edges_between(
    snapshot: &dyn Snapshot,
    store: StoreId,
    table: TableId,
    resource: Ordinal,
    subject: Ordinal,
) -> Result<Vec<(EdgeKey, Edge)>, StorageError> {
    let mut edges = Vec::new();
    snapshot.scan_row(table, stonetown_storage::Direction::Forward, resource, subject, &mut |edge| {
        if edge.subject != subject {
            return ControlFlow::Break(());
        }
        edges.push((edge_key(store, table, edge), edge.clone()));
        ControlFlow::Continue(())
    })?;
    Ok(edges)
}

/// The relationship of an edge in a state.
pub(crate) fn relationship(
    snapshot: &dyn Snapshot,
    key: &EdgeKey,
    state: EdgeState,
) -> Result<Relationship, StorageError> {
    let tables = snapshot.tables();
    let table = tables.iter().find(|table| table.id == key.table);
    let table = table.ok_or_else(|| crate::values::damaged(format!("no table {}", key.table.0)))?;
    let at = key.position(stonetown_storage::Direction::Forward);
    let edge = crate::snapshot::edge_of(stonetown_storage::Direction::Forward, at, state, Revision(0));
    read::relationship(snapshot, table, &edge)
}

fn edge_key(store: StoreId, table: TableId, edge: &Edge) -> EdgeKey {
    EdgeKey { store, table, resource: edge.resource, subject: edge.subject, source: edge.source }
}
