//! Transactions that need not fit in memory: staged in bounded pieces, tested, then rolled forward (see [`crate::roll`]).
//!
//! Staged changes lie under a kind of their own, sorted as the edges are, where no reader looks. Objects that a bulk is the
//! first to mention get their ordinals at once, noted beside it, so that they can be taken back with it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rustc_hash::FxHashSet;
use stonetown_storage::log::EdgeState;
use stonetown_storage::{BulkMode, BulkWriter, CommitError, Committed, Provenance, StorageError, Transaction};
use stonetown_tuple::{Relationship, Revision, Source, Timestamp};

use crate::apply::{Draft, edges_between, relationship};
use crate::ask;
use crate::database::Batch;
use crate::keys::{self, EdgeKey};
use crate::pending::Pending;
use crate::shared::Shared;
use crate::snapshot::RocksSnapshot;
use crate::values::{Mark, StateReader, StoredBulk, StoredProvenance, StoredState, encode, stored_state};
use crate::write::{Job, Publication, Staging, Writer, provenance, put_names, put_records};

/// Relationships that the writer stages in one go, so that other writes need not wait long.
const STAGED_AT_ONCE: usize = 1_000;
/// Changes in one batch.
pub(crate) const BATCH_CHANGES: usize = 8_192;

/// The caller's end of a bulk.
pub(crate) struct RocksBulk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) bulk: u64,
    pub(crate) staging: Staging,
    /// Whether the writer has done away with it.
    pub(crate) settled: bool,
}

impl BulkWriter for RocksBulk {
    fn push(&mut self, relationships: Vec<Relationship>) -> Result<(), CommitError> {
        let mut rest = relationships.into_iter();
        while rest.len() > 0 {
            let piece = rest.by_ref().take(STAGED_AT_ONCE).collect();
            ask(&self.shared, &self.jobs, |reply| Job::Stage(self.bulk, self.staging, piece, reply))?;
        }
        Ok(())
    }

    fn publish(
        mut self: Box<Self>,
        schema_at: Option<Revision>,
        actor: Option<String>,
        metadata: Option<String>,
    ) -> Result<Committed, CommitError> {
        self.settled = true;
        let publication = Publication { schema_at, actor, metadata };
        ask(&self.shared, &self.jobs, |reply| Job::Publish(self.bulk, self.staging, publication, reply))
    }
}

impl Drop for RocksBulk {
    fn drop(&mut self) {
        if !self.settled {
            // Without a writer it is removed when the datastore is opened.
            let _no_writer = self.jobs.send(Job::Abandon(self.bulk));
        }
    }
}

/// Called with the edge, the key and the stored state of a staged change.
type VisitStaged<'v> = &'v mut dyn FnMut(EdgeKey, &[u8], &[u8]) -> Result<ControlFlow<()>, StorageError>;

impl Writer {
    /// Stages a piece of a bulk.
    pub(crate) fn stage(
        &mut self,
        bulk: u64,
        staging: Staging,
        relationships: &[Relationship],
    ) -> Result<(), CommitError> {
        let Staging { store, mode, now } = staging;
        let mut batch = Batch::default();
        if self.open_bulks.insert(bulk) {
            batch.put(keys::bulk(bulk), encode(&StoredBulk { store: store.0, marked: None })?);
        }
        let mut pending = Pending::new(&self.shared);
        let catalogue = pending.catalogue(store);
        let mut here = FxHashSet::default();
        for relationship in relationships {
            let Some(table) = catalogue.table_of(relationship) else {
                match mode {
                    BulkMode::Delete => continue,
                    _ => return Err(CommitError::NoTable(relationship.to_string())),
                }
            };
            let mut draft = Draft { pending: &mut pending, store, revision: Revision(0), now };
            let edge = draft.intern(table, relationship, Source::STANDING)?;
            let key = keys::staged(bulk, &edge);
            if mode == BulkMode::Create && (!here.insert(edge) || self.shared.database.get(&key)?.is_some()) {
                return Err(CommitError::AlreadyExists(Box::new(relationship.clone())));
            }
            let state = (mode != BulkMode::Delete).then(|| EdgeState::from(relationship));
            batch.put(key, encode(&stored_state(state.as_ref())?)?);
        }
        let changed = pending.changed()?;
        put_names(&mut batch, &changed);
        for (store, object_type, ordinal, _) in &changed.names {
            batch.put(keys::staged_name(bulk, *store, *object_type, *ordinal), []);
        }
        self.write_unsynced(batch).map_err(|error| {
            self.open_bulks.remove(&bulk);
            error.into()
        })
    }

    /// Tests and publishes a bulk; if it fails its tests it is gone.
    pub(crate) fn publish_bulk(
        &mut self,
        bulk: u64,
        staging: Staging,
        publication: Publication,
    ) -> Result<Committed, CommitError> {
        let Publication { schema_at, actor, metadata } = publication;
        let count = match self.test_bulk(bulk, staging, schema_at) {
            Ok(count) => count,
            Err(error) => {
                self.abandon(bulk)?;
                return Err(error);
            }
        };
        let provenance = StoredProvenance::from(&Provenance { time: staging.now, actor, metadata });
        let revision = Revision(self.meta.head + 1);
        let mark = Mark { revision: revision.0, schema_changed: false, provenance };
        let stored = StoredBulk { store: staging.store.0, marked: Some(mark) };
        let mut batch = Batch::default();
        batch.put(keys::bulk(bulk), encode(&stored)?);
        self.write_unsynced(batch)?;
        if staging.mode == BulkMode::Delete {
            self.suspect_names(bulk)?;
        }
        self.roll_forward(bulk, stored)?;
        Ok(Committed { revision, count, partial: false, replayed: false })
    }

    /// Commits a transaction that deletes too much for a batch, through staging.
    pub(crate) fn commit_large(&mut self, transaction: Transaction) -> Result<Committed, CommitError> {
        let bulk = self.shared.next_bulk();
        let revision = Revision(self.meta.head + 1);
        let store = transaction.store;
        let mut pending = Pending::new(&self.shared);
        let mut draft = Draft { pending: &mut pending, store, revision, now: transaction.now };
        draft.apply(&transaction)?;
        let changed = draft.pending.changed()?;
        let mut batch = Batch::default();
        batch.put(keys::bulk(bulk), encode(&StoredBulk { store: store.0, marked: None })?);
        for (edge, state, _) in &changed.edges {
            batch.put(keys::staged(bulk, edge), encode(&stored_state(state.as_ref())?)?);
        }
        let ended = encode(&StoredState::None)?;
        let staged = transaction.delete.as_ref().map_or(Ok(Default::default()), |delete| {
            draft.delete_by_filter(delete, &mut |edges| {
                edges.iter().for_each(|edge| batch.put(keys::staged(bulk, edge), &ended));
                Ok(self.write_if_full(&mut batch)?)
            })
        });
        self.write_unsynced(batch)?;
        let deleted = match staged {
            Ok(deleted) => deleted,
            Err(error) => {
                self.abandon(bulk)?;
                return Err(error);
            }
        };
        let committed = Committed { revision, count: deleted.count, partial: deleted.partial, replayed: false };
        let mark = Mark {
            revision: revision.0,
            schema_changed: changed.schema.is_some(),
            provenance: provenance(&transaction),
        };
        let stored = StoredBulk { store: store.0, marked: Some(mark) };
        let mut batch = Batch::default();
        put_records(&mut batch, &changed, &transaction, &committed)?;
        batch.put(keys::bulk(bulk), encode(&stored)?);
        self.write_unsynced(batch)?;
        pending.share_catalogues();
        self.roll_forward(bulk, stored)?;
        Ok(committed)
    }

    /// Tests a bulk against the head and counts its relationships.
    fn test_bulk(&mut self, bulk: u64, staging: Staging, schema_at: Option<Revision>) -> Result<u64, CommitError> {
        let Staging { store, mode, now } = staging;
        if let Some(expected) = schema_at {
            let mut pending = Pending::new(&self.shared);
            Draft { pending: &mut pending, store, revision: Revision(0), now }.test_schema(expected)?;
        }
        match mode {
            BulkMode::Create => self.test_created(bulk, staging),
            BulkMode::Touch => {
                let mut count = 0;
                self.scan_staged(bulk, store, None, &mut |_, _, _| {
                    count += 1;
                    Ok(ControlFlow::Continue(()))
                })?;
                Ok(count)
            }
            BulkMode::Delete => Ok(self.resolve_deleted(bulk, staging)?),
        }
    }

    /// Fails when one of the staged relationships is there.
    fn test_created(&self, bulk: u64, staging: Staging) -> Result<u64, CommitError> {
        let head = RocksSnapshot::head(&self.shared, staging.store);
        let mut count = 0;
        let mut exists = None;
        self.scan_staged(bulk, staging.store, None, &mut |edge, _, value| {
            count += 1;
            if !is_there(head.state(&edge)?.as_ref(), staging.now) {
                return Ok(ControlFlow::Continue(()));
            }
            let state = StateReader::default().read(value)?.unwrap_or_default();
            exists = Some(relationship(&head, &edge, state)?);
            Ok(ControlFlow::Break(()))
        })?;
        exists.map_or(Ok(count), |relationship| Err(CommitError::AlreadyExists(Box::new(relationship))))
    }

    /// Puts the ends of what is there in the place of what was staged to be deleted, and counts what had not expired.
    fn resolve_deleted(&self, bulk: u64, staging: Staging) -> Result<u64, StorageError> {
        let head = RocksSnapshot::head(&self.shared, staging.store);
        let ended = encode(&StoredState::None)?;
        let mut batch = Batch::default();
        let mut count = 0;
        self.scan_staged(bulk, staging.store, None, &mut |edge, key, _| {
            let edges = edges_between(&head, edge.store, edge.table, edge.resource, edge.subject)?;
            batch.delete(key);
            edges.iter().for_each(|(edge, _)| batch.put(keys::staged(bulk, edge), &ended));
            count += u64::from(edges.iter().any(|(_, stored)| !stored.is_expired(staging.now)));
            self.write_if_full(&mut batch)?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.write_unsynced(batch)?;
        Ok(count)
    }

    /// Visits the staged changes behind a key.
    pub(crate) fn scan_staged(
        &self,
        bulk: u64,
        store: stonetown_tuple::StoreId,
        after: Option<&[u8]>,
        visit: VisitStaged<'_>,
    ) -> Result<(), StorageError> {
        let prefix = keys::all_staged(bulk);
        let from = after.map_or_else(|| prefix.clone(), keys::after);
        self.shared.database.scan(&prefix, &from, &mut |key, value| {
            let edge = keys::read_staged(store, key).ok_or_else(|| crate::values::damaged("key of a staged change"))?;
            visit(edge, key, value)
        })
    }

    fn write_if_full(&self, batch: &mut Batch) -> Result<(), StorageError> {
        if batch.len() < BATCH_CHANGES { Ok(()) } else { self.write_unsynced(std::mem::take(batch)) }
    }

    /// Writes what nobody waits for and nobody reads yet.
    pub(crate) fn write_unsynced(&self, batch: Batch) -> Result<(), StorageError> {
        self.shared.database.write(batch, false).map_err(|error| self.fail(&error))
    }
}

fn is_there(state: Option<&EdgeState>, now: Timestamp) -> bool {
    state.is_some_and(|state| !state.is_expired(now))
}
