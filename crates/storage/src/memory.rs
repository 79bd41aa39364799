//! The reference implementation: everything in ordered maps, plain enough to be right by reading it. For tests, validation
//! of files and servers without a data directory.
//!
//! Each edge keeps its versions by revision. A commit writes versions at the revision after head, where no reader looks;
//! it is tested on the way, taken back whole if a test fails, and published by moving head.

mod apply;
mod collect;
mod state;
mod time;

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use stonetown_tuple::{InstanceId, Operation, Relationship, Revision, Source, StoreId, Timestamp};

use crate::transaction::{
    BulkMode, BulkWriter, CommitError, Committed, StoredUpdate, Transaction, of_different_stores,
};
use crate::{
    Change, Collected, Datastore, Direction, Edge, EdgePosition, Follower, LogEntry, LogPart, LogPiece, Ordinal,
    Passed, Provenance, Settled, Snapshot, SnapshotError, StorageError, StoredSchema, Table, TableId, TypeId, Usage,
};
use apply::Applied;
use state::{Bounds, Catalogue, State, View};

/// Changes in one piece of a commit, as followers get it.
const CHANGES_PER_PART: usize = 1_000;
/// Edges that a scan copies at once.
const EDGES_PER_CHUNK: usize = 512;

/// A datastore that holds everything in memory. Clones share their data.
#[derive(Clone)]
pub struct MemoryDatastore {
    shared: Arc<Shared>,
}

struct Shared {
    instance: InstanceId,
    /// Held through a whole commit, so that commits have one order; readers don't need it.
    commits: Mutex<Vec<Arc<dyn Follower>>>,
    state: RwLock<State>,
}

impl MemoryDatastore {
    /// An empty datastore with an instance of its own.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            instance: InstanceId(rand::random()),
            commits: Mutex::default(),
            state: RwLock::new(State::default()),
        };
        MemoryDatastore { shared: Arc::new(shared) }
    }
}

impl Default for MemoryDatastore {
    fn default() -> Self {
        MemoryDatastore::new()
    }
}

impl Datastore for MemoryDatastore {
    fn instance(&self) -> InstanceId {
        self.shared.instance
    }

    fn head(&self) -> Revision {
        self.shared.state.read().head
    }

    fn floor(&self) -> Revision {
        self.shared.state.read().floor
    }

    fn snapshot(&self, store: StoreId, at: Revision) -> Result<Arc<dyn Snapshot>, SnapshotError> {
        let mut state = self.shared.state.write();
        if at < state.floor {
            return Err(SnapshotError::Expired { asked: at, floor: state.floor });
        }
        if at > state.head {
            return Err(SnapshotError::Future { asked: at, head: state.head });
        }
        *state.pins.entry(at).or_default() += 1;
        let catalogue = state.stores.get(&store).map(|data| Arc::clone(&data.catalogue)).unwrap_or_default();
        Ok(Arc::new(MemorySnapshot { shared: Arc::clone(&self.shared), store, revision: at, catalogue }))
    }

    fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let followers = self.shared.commits.lock();
        let applied = self.shared.state.write().apply(transaction)?;
        if let Some(entry) = applied.entry {
            tell(&followers, &entry);
            self.shared.state.write().publish(entry);
        }
        Ok(applied.committed)
    }

    fn commit_both(&self, one: Transaction, other: Transaction) -> Result<[Committed; 2], CommitError> {
        of_different_stores(&one, &other)?;
        let followers = self.shared.commits.lock();
        let applied = self.shared.state.write().apply_both(one, other)?;
        applied.iter().filter_map(|applied| applied.entry.as_ref()).for_each(|entry| tell(&followers, entry));
        let mut state = self.shared.state.write();
        Ok(applied.map(|Applied { committed, entry, .. }| {
            entry.into_iter().for_each(|entry| state.publish(entry));
            committed
        }))
    }

    fn bulk(&self, store: StoreId, mode: BulkMode, now: Timestamp) -> Result<Box<dyn BulkWriter>, CommitError> {
        Ok(Box::new(MemoryBulk { datastore: self.clone(), mode, transaction: Transaction::new(store, now) }))
    }

    fn log(&self, after: Revision, limit: usize) -> Result<Vec<LogEntry>, SnapshotError> {
        let state = self.shared.state.read();
        if after < state.log_floor {
            return Err(SnapshotError::Expired { asked: after, floor: state.log_floor });
        }
        Ok(state.log.range(after.next()..).take(limit.max(1)).map(|(_, entry)| entry.clone()).collect())
    }

    fn log_piece(&self, revision: Revision, piece: u32) -> Result<Option<LogPiece>, SnapshotError> {
        let state = self.shared.state.read();
        if revision <= state.log_floor {
            return Err(SnapshotError::Expired { asked: revision, floor: state.log_floor });
        }
        let Some(entry) = state.log.get(&revision) else { return Ok(None) };
        let pieces = pieces(&entry.changes);
        let number = piece as usize;
        let missing = || StorageError::Damaged(format!("the log has no piece {piece} of commit {revision}"));
        Ok(Some(LogPiece {
            revision,
            store: entry.store,
            schema_changed: entry.schema_changed,
            provenance: entry.provenance.clone(),
            changes: pieces.get(number).ok_or_else(missing)?.to_vec(),
            last: number + 1 == pieces.len(),
        }))
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> Revision {
        let mut followers = self.shared.commits.lock();
        followers.push(follower);
        self.head()
    }

    fn collect_garbage(&self, floor: Revision, log_floor: Revision, limit: usize) -> Result<Collected, StorageError> {
        let _no_commit_meanwhile = self.shared.commits.lock();
        Ok(self.shared.state.write().collect_garbage(floor, log_floor, limit))
    }

    fn pass_time(&self, now: Timestamp, limit: usize) -> Result<Passed, CommitError> {
        self.log_moments(|state| state.pass_time(now, limit))
    }

    fn next_moment(&self) -> Option<Timestamp> {
        self.shared.state.read().ahead.first().map(|(time, ..)| *time)
    }

    fn remove_expired(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Passed, CommitError> {
        let removed = self.log_moments(|state| state.remove_expired(now, until, limit))?;
        Ok(Passed { settled: None, ..removed })
    }

    fn kept(&self, store: StoreId, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.shared.state.read().kept.get(&(store, name.to_owned())).cloned())
    }

    fn keep(&self, store: StoreId, name: &str, bytes: Option<Vec<u8>>) -> Result<(), CommitError> {
        let kept = &mut self.shared.state.write().kept;
        match bytes {
            Some(bytes) => drop(kept.insert((store, name.to_owned()), bytes)),
            None => drop(kept.remove(&(store, name.to_owned()))),
        }
        Ok(())
    }

    fn revision_at(&self, time: Timestamp) -> Result<Revision, StorageError> {
        let state = self.shared.state.read();
        let newest = state.times.iter().rev().find(|(_, at)| **at <= time).map(|(revision, _)| *revision);
        Ok(newest.unwrap_or_default().max(state.floor))
    }

    fn kept_since(&self) -> Result<Option<Timestamp>, StorageError> {
        let state = self.shared.state.read();
        Ok(state.times.get(&state.floor).copied())
    }

    fn usage(&self) -> Usage {
        let state = self.shared.state.read();
        Usage { log_entries: state.log.len() as u64, commits: state.head.0, ..Usage::default() }
    }
}

impl MemoryDatastore {
    /// Publishes what `log` found, as a commit if there is any.
    fn log_moments(&self, log: impl FnOnce(&mut State) -> time::Found) -> Result<Passed, CommitError> {
        let followers = self.shared.commits.lock();
        let time::Found { entry, more, now } = log(&mut self.shared.state.write());
        let mut passed = Passed { more, ..Passed::default() };
        if let Some(entry) = entry {
            passed = Passed { revision: Some(entry.revision), edges: entry.changes.len() as u64, ..passed };
            tell(&followers, &entry);
            self.shared.state.write().publish(entry);
        }
        let state = self.shared.state.read();
        let settled = !more && state.times.last_key_value().is_none_or(|(_, newest)| *newest <= now);
        passed.settled = settled.then_some(Settled { revision: state.head, time: now });
        Ok(passed)
    }
}

/// A commit's changes in pieces, at least one.
fn pieces(changes: &[Change]) -> Vec<&[Change]> {
    if changes.is_empty() { vec![changes] } else { changes.chunks(CHANGES_PER_PART).collect() }
}

fn tell(followers: &[Arc<dyn Follower>], entry: &LogEntry) {
    let pieces = pieces(&entry.changes);
    for (number, changes) in pieces.iter().enumerate() {
        let part = LogPart {
            revision: entry.revision,
            store: entry.store,
            schema_changed: entry.schema_changed,
            changes,
            last: number + 1 == pieces.len(),
        };
        followers.iter().for_each(|follower| follower.follow(&part));
    }
}

/// A bulk is a transaction that has not been sent yet.
struct MemoryBulk {
    datastore: MemoryDatastore,
    mode: BulkMode,
    transaction: Transaction,
}

impl BulkWriter for MemoryBulk {
    fn push(&mut self, relationships: Vec<Relationship>) -> Result<(), CommitError> {
        let operation = match self.mode {
            BulkMode::Create => Operation::Create,
            BulkMode::Touch => Operation::Touch,
            BulkMode::Delete => Operation::Delete,
        };
        let update = |relationship| StoredUpdate { operation, relationship, source: Source::STANDING };
        self.transaction.updates.extend(relationships.into_iter().map(update));
        Ok(())
    }

    fn publish(
        self: Box<Self>,
        schema_at: Option<Revision>,
        actor: Option<String>,
        metadata: Option<String>,
    ) -> Result<Committed, CommitError> {
        let MemoryBulk { datastore, mode, mut transaction } = *self;
        if mode == BulkMode::Create {
            let mut seen = HashSet::new();
            for StoredUpdate { relationship: one, .. } in &transaction.updates {
                if !seen.insert((&one.resource, &one.relation, &one.subject)) {
                    return Err(CommitError::AlreadyExists(Box::new(one.clone())));
                }
            }
        }
        transaction.schema_at = schema_at;
        transaction.actor = actor;
        transaction.metadata = metadata;
        let followers = datastore.shared.commits.lock();
        let applied = datastore.shared.state.write().apply(transaction)?;
        let mut committed = applied.committed;
        if let Some(entry) = applied.entry {
            committed.count = applied.changed;
            tell(&followers, &entry);
            datastore.shared.state.write().publish(entry);
        }
        Ok(committed)
    }
}

/// Holds its revision against garbage collection until it is dropped.
struct MemorySnapshot {
    shared: Arc<Shared>,
    store: StoreId,
    revision: Revision,
    catalogue: Arc<Catalogue>,
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.shared.state.write();
        if let Some(count) = state.pins.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.revision);
            }
        }
    }
}

impl MemorySnapshot {
    fn view<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        read(&self.shared.state.read().view(self.store, self.revision))
    }

    /// Copies the edges chunk by chunk, so that no lock is held while they are visited.
    fn scan(&self, mut bounds: Bounds, visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>) {
        loop {
            let chunk = self.view(|view| view.chunk(&bounds, EDGES_PER_CHUNK));
            if chunk.iter().any(|edge| visit(edge).is_break()) || chunk.len() < EDGES_PER_CHUNK {
                return;
            }
            if let Some(last) = chunk.last() {
                bounds.after = Some(last.position(bounds.direction));
            }
        }
    }
}

impl Snapshot for MemorySnapshot {
    fn store(&self) -> StoreId {
        self.store
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn schema(&self) -> Result<Option<StoredSchema>, StorageError> {
        self.view(|view| view.schema())
    }

    fn tables(&self) -> Arc<[Arc<Table>]> {
        Arc::clone(&self.catalogue.tables)
    }

    fn type_id(&self, object_type: &str) -> Option<TypeId> {
        self.catalogue.types.get(object_type).copied()
    }

    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError> {
        self.view(|view| view.ordinal(object_type, object_id))
    }

    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError> {
        self.view(|view| view.object_id(object_type, ordinal))
    }

    fn scan_row(
        &self,
        table: TableId,
        direction: Direction,
        row: Ordinal,
        from: Ordinal,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.scan(Bounds::row(table, direction, row, from), visit);
        Ok(())
    }

    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.scan(Bounds::table(table, direction, after), visit);
        Ok(())
    }

    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError> {
        self.view(|view| view.provenance(written))
    }
}

/// How many snapshots are open at each revision.
type Pins = BTreeMap<Revision, usize>;

#[cfg(test)]
mod tests;
