//! Testing and applying a transaction. Everything is written at the revision after head, where no reader looks, and taken
//! back if a test fails.

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_tuple::{ObjectId, ObjectType, Operation, Relationship, Revision, Source, StoreId, SubjectId, Timestamp};

use super::state::{Answered, Catalogue, EdgeKey, State, Store, View};
use crate::log::{Change, EdgeState};
use crate::read;
use crate::transaction::{
    CommitError, Committed, DeleteByFilter, Guard, RequestId, SchemaWrite, StoredUpdate, Transaction,
};
use crate::{LogEntry, Ordinal, Provenance, Snapshot, StoredSchema, Table, TableId, TableKey, TypeId};

/// A transaction that has passed.
pub(super) struct Applied {
    pub(super) committed: Committed,
    /// What is to be published; `None` when an earlier answer is repeated.
    pub(super) entry: Option<LogEntry>,
    /// How many relationships were written or ended by updates.
    pub(super) changed: u64,
}

impl State {
    /// Tests a transaction and writes its versions, invisible until [`State::publish`].
    pub(super) fn apply(&mut self, transaction: Transaction) -> Result<Applied, CommitError> {
        if let Some(request) = &transaction.request_id
            && let Some(committed) = self.answered(transaction.store, request, transaction.now)?
        {
            return Ok(Applied { committed, entry: None, changed: 0 });
        }
        let revision = self.head.next();
        let (traces, deleted) = self.draft(&transaction, revision)?;
        Ok(self.resume(traces).finish(transaction, deleted))
    }

    /// Like [`State::apply`] for two transactions of different stores, at the next two revisions.
    pub(super) fn apply_both(&mut self, one: Transaction, other: Transaction) -> Result<[Applied; 2], CommitError> {
        let (first, second) = (self.head.next(), self.head.next().next());
        let (traces, deleted) = self.draft(&one, first)?;
        let (other_traces, other_deleted) = match self.draft(&other, second) {
            Ok(drafted) => drafted,
            Err(error) => {
                self.resume(traces).take_back();
                return Err(error);
            }
        };
        let one = self.resume(traces).finish(one, deleted);
        Ok([one, self.resume(other_traces).finish(other, other_deleted)])
    }

    /// Tests a transaction and writes its versions; nothing is left of one that fails.
    fn draft(&mut self, transaction: &Transaction, revision: Revision) -> Result<(Traces, Deleted), CommitError> {
        let catalogue_before = self.stores.entry(transaction.store).or_default().catalogue.clone();
        let mut draft = Draft {
            state: self,
            traces: Traces {
                store: transaction.store,
                revision,
                now: transaction.now,
                catalogue_before,
                touched: Vec::new(),
                interned: Vec::new(),
                ended: 0,
            },
        };
        match draft.run(transaction) {
            Ok(deleted) => Ok((draft.traces, deleted)),
            Err(error) => {
                draft.take_back();
                Err(error)
            }
        }
    }

    fn resume(&mut self, traces: Traces) -> Draft<'_> {
        Draft { state: self, traces }
    }

    /// Makes the newest commit visible.
    pub(super) fn publish(&mut self, entry: LogEntry) {
        let newest = self.times.last_key_value().map_or(entry.provenance.time, |(_, time)| *time);
        self.times.insert(entry.revision, newest.max(entry.provenance.time));
        self.provenance.insert(entry.revision, entry.provenance.clone());
        self.head = entry.revision;
        self.log.insert(entry.revision, entry);
    }

    fn answered(&self, store: StoreId, request: &RequestId, now: Timestamp) -> Result<Option<Committed>, CommitError> {
        match self.requests.get(&(store, request.id.clone())) {
            None => Ok(None),
            Some(answered) if RequestId::is_forgotten(answered.time, now) => Ok(None),
            Some(answered) if answered.fingerprint != request.fingerprint => {
                Err(CommitError::RequestIdReused(request.id.clone()))
            }
            Some(answered) => Ok(Some(Committed { replayed: true, ..answered.committed })),
        }
    }
}

/// How many relationships a filter deleted, and whether it left some.
type Deleted = (u64, bool);

struct Draft<'a> {
    state: &'a mut State,
    traces: Traces,
}

/// What a draft has left in the state.
struct Traces {
    store: StoreId,
    revision: Revision,
    now: Timestamp,
    catalogue_before: Arc<Catalogue>,
    /// Edges with a version at the draft's revision, in the order of their first change.
    touched: Vec<EdgeKey>,
    interned: Vec<(TypeId, Ordinal)>,
    ended: u64,
}

impl Draft<'_> {
    fn run(&mut self, transaction: &Transaction) -> Result<Deleted, CommitError> {
        if let Some(expected) = transaction.schema_at {
            self.test_schema(expected)?;
        }
        if let Some(guard) = &transaction.guard {
            self.test_guard(guard)?;
        }
        for precondition in &transaction.preconditions {
            read::test_precondition(&self.view(), precondition, self.traces.now)?;
        }
        if let Some(schema) = &transaction.schema {
            self.write_schema(schema);
        }
        for update in &transaction.updates {
            self.update(update)?;
        }
        transaction.delete.as_ref().map_or(Ok((0, false)), |delete| self.delete_by_filter(delete))
    }

    fn view(&self) -> View<'_> {
        self.state.view(self.traces.store, self.traces.revision)
    }

    fn data(&mut self) -> &mut Store {
        self.state.stores.entry(self.traces.store).or_default()
    }

    fn test_schema(&self, expected: Revision) -> Result<(), CommitError> {
        let current = self.view().schema()?.map(|schema| schema.revision).unwrap_or_default();
        if current == expected { Ok(()) } else { Err(CommitError::SchemaChanged(current)) }
    }

    fn test_guard(&self, guard: &Guard) -> Result<(), CommitError> {
        if guard.since < self.state.log_floor {
            return Err(CommitError::Conflict);
        }
        let view = self.view();
        for table in view.tables().iter() {
            let mut stands_in_the_way = Ok(false);
            view.scan_table(table.id, crate::Direction::Forward, None, &mut |edge| {
                if edge.written <= guard.since || edge.is_expired(self.traces.now) {
                    return ControlFlow::Continue(());
                }
                stands_in_the_way =
                    read::relationship(&view, table, edge).map(|relationship| (guard.refuse)(&relationship));
                if matches!(stands_in_the_way, Ok(false)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if stands_in_the_way? {
                return Err(CommitError::Conflict);
            }
        }
        Ok(())
    }

    fn write_schema(&mut self, schema: &SchemaWrite) {
        let revision = self.traces.revision;
        let data = self.data();
        data.schemas.insert(revision, StoredSchema { revision, bytes: schema.bytes.as_slice().into() });
        let catalogue = Arc::make_mut(&mut data.catalogue);
        for name in &schema.types {
            catalogue.declare_type(name);
        }
        for key in &schema.tables {
            catalogue.declare_table(key);
        }
    }

    fn update(&mut self, update: &StoredUpdate) -> Result<(), CommitError> {
        let relationship = &update.relationship;
        let key = TableKey::of(relationship);
        let table = self.data().catalogue.table(&key);
        match (update.operation, table) {
            (Operation::Delete, None) => Ok(()),
            (_, None) => Err(CommitError::NoTable(relationship.to_string())),
            (Operation::Delete, Some(table)) => self.delete(&table, relationship),
            (Operation::Create, Some(table)) => {
                let key = self.intern(&table, relationship, update.source)?;
                if self.current(&key).is_some_and(|state| !state.is_expired(self.traces.now)) {
                    return Err(CommitError::AlreadyExists(Box::new(relationship.clone())));
                }
                self.put(key, Some(relationship.into()));
                Ok(())
            }
            (Operation::Touch, Some(table)) => {
                let key = self.intern(&table, relationship, update.source)?;
                self.put(key, Some(relationship.into()));
                Ok(())
            }
        }
    }

    fn delete(&mut self, table: &Table, relationship: &Relationship) -> Result<(), CommitError> {
        let view = self.view();
        let resource = view.ordinal(table.resource_type, relationship.resource.object_id.as_str())?;
        let subject = view.ordinal(table.subject_type, relationship.subject.object_id().as_str())?;
        if let (Some(resource), Some(subject)) = (resource, subject) {
            self.traces.ended += u64::from(self.end(table.id, resource, subject));
        }
        Ok(())
    }

    fn delete_by_filter(&mut self, delete: &DeleteByFilter) -> Result<Deleted, CommitError> {
        let mut matching = Vec::new();
        read::edges(&self.view(), &delete.filter, None, &mut |table, _, edge| {
            let relationship = (table.id, edge.resource, edge.subject);
            if !edge.is_expired(self.traces.now) && matching.last() != Some(&relationship) {
                matching.push(relationship);
            }
            ControlFlow::Continue(())
        })?;
        let limit = delete.limit.unwrap_or(u64::MAX);
        let partial = matching.len() as u64 > limit;
        if partial && !delete.partial {
            return Err(CommitError::TooManyToDelete { limit });
        }
        matching.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for (table, resource, subject) in &matching {
            self.end(*table, *resource, *subject);
        }
        Ok((matching.len() as u64, partial))
    }

    /// Ends a relationship from every source; whether it was there and had not expired.
    fn end(&mut self, table: TableId, resource: Ordinal, subject: Ordinal) -> bool {
        let key = |source| EdgeKey { table, resource, subject, source: Source(source) };
        let sources: Vec<_> = self.data().edges.range(key(0)..=key(u64::MAX)).map(|(key, _)| *key).collect();
        let mut there = false;
        for key in sources {
            if let Some(state) = self.current(&key) {
                there |= !state.is_expired(self.traces.now);
                self.put(key, None);
            }
        }
        there
    }

    fn current(&self, key: &EdgeKey) -> Option<&EdgeState> {
        let versions = self.state.stores.get(&self.traces.store)?.edges.get(key)?;
        versions.last_key_value().and_then(|(_, state)| state.as_ref())
    }

    fn put(&mut self, key: EdgeKey, state: Option<EdgeState>) {
        let revision = self.traces.revision;
        let data = self.data();
        data.reverse.insert(key.reversed());
        if data.edges.entry(key).or_default().insert(revision, state).is_none() {
            self.traces.touched.push(key);
        }
    }

    fn intern(&mut self, table: &Table, relationship: &Relationship, source: Source) -> Result<EdgeKey, CommitError> {
        let resource = self.intern_object(
            table.resource_type,
            &relationship.resource.object_type,
            &relationship.resource.object_id,
        )?;
        let subject = match relationship.subject.object_id() {
            SubjectId::Wildcard => Ordinal::WILDCARD,
            SubjectId::Object(id) => self.intern_object(table.subject_type, relationship.subject.object_type(), id)?,
        };
        Ok(EdgeKey { table: table.id, resource, subject, source })
    }

    fn intern_object(&mut self, object_type: TypeId, name: &ObjectType, id: &ObjectId) -> Result<Ordinal, CommitError> {
        let names = self.data().names.entry(object_type).or_default();
        if let Some(ordinal) = names.by_id.get(id.as_str()) {
            return Ok(*ordinal);
        }
        names.last = names.last.checked_add(1).ok_or_else(|| CommitError::TooManyObjects(name.to_string()))?;
        let (ordinal, id) = (Ordinal(names.last), Arc::<str>::from(id.as_str()));
        names.by_id.insert(Arc::clone(&id), ordinal);
        names.by_ordinal.insert(ordinal, id);
        self.traces.interned.push((object_type, ordinal));
        Ok(ordinal)
    }

    fn finish(mut self, transaction: Transaction, (count, partial): Deleted) -> Applied {
        let revision = self.traces.revision;
        let committed = Committed { revision, count, partial, replayed: false };
        let mut written = 0;
        let touched = std::mem::take(&mut self.traces.touched);
        let mut changes = Vec::with_capacity(touched.len());
        for EdgeKey { table, resource, subject, source } in touched {
            let key = EdgeKey { table, resource, subject, source };
            let state = self.current(&key).cloned();
            written += u64::from(state.is_some());
            let effect = self.state.replaced(self.traces.store, key, revision, state.as_ref(), self.traces.now);
            changes.push(Change { table, resource, subject, source, state, effect });
        }
        if let Some(RequestId { id, fingerprint }) = transaction.request_id {
            let answered = Answered { fingerprint, time: transaction.now, committed };
            self.state.requests.insert((self.traces.store, id), answered);
        }
        let entry = LogEntry {
            revision,
            store: self.traces.store,
            schema_changed: transaction.schema.is_some(),
            provenance: Provenance { time: transaction.now, actor: transaction.actor, metadata: transaction.metadata },
            changes,
        };
        Applied { committed, entry: Some(entry), changed: written + self.traces.ended }
    }

    fn take_back(mut self) {
        let (revision, touched, interned) =
            (self.traces.revision, std::mem::take(&mut self.traces.touched), std::mem::take(&mut self.traces.interned));
        let catalogue = std::mem::take(&mut self.traces.catalogue_before);
        let data = self.data();
        data.schemas.remove(&revision);
        data.catalogue = catalogue;
        for key in touched {
            if let Some(versions) = data.edges.get_mut(&key) {
                versions.remove(&revision);
                if versions.is_empty() {
                    data.edges.remove(&key);
                    data.reverse.remove(&key.reversed());
                }
            }
        }
        for (object_type, ordinal) in interned {
            if let Some(names) = data.names.get_mut(&object_type) {
                names.forget(ordinal);
                names.last = names.last.min(ordinal.0 - 1);
            }
        }
    }
}

impl Catalogue {
    fn declare_type(&mut self, name: &str) -> TypeId {
        if let Some(id) = self.types.get(name) {
            return *id;
        }
        let id = TypeId(self.types.len() as u32 + 1);
        self.types.insert(name.to_owned(), id);
        id
    }

    fn declare_table(&mut self, key: &TableKey) {
        let Err(place) = self.tables.binary_search_by(|table| table.key.cmp(key)) else { return };
        let table = Table {
            id: TableId(self.tables.len() as u32 + 1),
            key: key.clone(),
            resource_type: self.declare_type(&key.resource_type),
            subject_type: self.declare_type(&key.subject_type),
        };
        let mut tables = self.tables.to_vec();
        tables.insert(place, Arc::new(table));
        self.tables = tables.into();
    }

    fn table(&self, key: &TableKey) -> Option<Arc<Table>> {
        let place = self.tables.binary_search_by(|table| table.key.cmp(key)).ok()?;
        Some(Arc::clone(&self.tables[place]))
    }
}
