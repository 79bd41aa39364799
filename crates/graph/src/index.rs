//! Relationships in memory: for each store the adjacency of all tables in both directions, kept in step with the
//! datastore by following its log.
//!
//! A table is an immutable base with the rows written since laid over it. Every commit publishes a new root that shares
//! all but the written rows with the one before; readers take a root and never wait. The newest revisions stay readable
//! beside the head. A store that outgrows its budget is no longer resident: [`Index::view`] has nothing for it, and its
//! snapshots are read instead.
//!
//! What ends is forgotten, so names that garbage collection frees never matter here.

mod pool;
mod segment;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use stonetown_storage::{
    Change, Datastore, Direction, Follower, LogPart, Ordinal, Snapshot, SnapshotError, StorageError, TableId,
};
use stonetown_tuple::{Revision, StoreId};

use crate::edges::{Link, Term};
use pool::Pool;
use segment::SegmentBuilder;
use store::{Outgrown, ResidentStore, Root};
use table::TableState;

pub(crate) use segment::WideRow;
pub(crate) use table::StoredRow;

/// How much is kept in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexOptions {
    /// Stores to load at once; others when they are added.
    pub stores: Vec<StoreId>,
    /// Bytes that one store may take, roughly. A larger one is not resident.
    pub bytes_max: usize,
    /// How many of the newest revisions of a store stay readable.
    pub revisions_kept: usize,
    /// A commit with more changes is not followed: the store is loaded anew.
    pub changes_max: usize,
    /// A table is rebuilt when the rows written since exceed this share of its edges,
    pub written_share_max: f64,
    /// and this number.
    pub written_edges_min: usize,
    /// A table of up to so many edges is rebuilt within the commit; a larger one on a thread of its own.
    pub rebuild_inline_edges_max: u64,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions {
            stores: vec![StoreId::DEFAULT],
            bytes_max: 2 << 30,
            revisions_kept: 64,
            changes_max: 4_000_000,
            written_share_max: 0.03,
            written_edges_min: 4096,
            rebuild_inline_edges_max: 20_000,
        }
    }
}

/// The resident adjacency of stores.
pub struct Index {
    datastore: Arc<dyn Datastore>,
    stores: Arc<Stores>,
}

/// One store at one revision, in memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IndexView {
    root: Arc<Root>,
}

/// How much is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Stores that are resident.
    pub resident: usize,
    /// Stores that are too large to be.
    pub outgrown: usize,
    /// Edges of all resident stores.
    pub edges: u64,
    /// Bytes that they take, roughly.
    pub bytes: usize,
}

/// What follows the log. It knows the datastore weakly, since the datastore keeps it alive.
struct Stores {
    this: Weak<Stores>,
    options: IndexOptions,
    datastore: Weak<dyn Datastore>,
    entries: RwLock<FxHashMap<StoreId, Entry>>,
    /// The newest revision of which a part has been followed.
    followed: Mutex<Revision>,
}

enum Entry {
    /// Being read from a snapshot at `after` or later; what is committed meanwhile waits.
    Loading {
        after: Revision,
        waiting: Mutex<Vec<OwnedPart>>,
    },
    Resident(Arc<ResidentStore>),
    Outgrown,
}

struct OwnedPart {
    revision: Revision,
    changes: Vec<Change>,
    last: bool,
}

impl Index {
    /// Loads stores of a datastore, and follows it from then on. Blocks until all are loaded.
    ///
    /// # Errors
    /// When storage fails. A store that is too large is no error.
    pub fn load(datastore: &Arc<dyn Datastore>, options: IndexOptions) -> Result<Arc<Index>, StorageError> {
        let stores = Arc::new_cyclic(|this| Stores {
            this: this.clone(),
            datastore: Arc::downgrade(datastore),
            entries: RwLock::default(),
            followed: Mutex::default(),
            options,
        });
        let from = datastore.follow(stores.clone());
        let mut followed = stores.followed.lock();
        *followed = from.max(*followed);
        drop(followed);
        for store in stores.options.stores.clone() {
            stores.load(datastore.as_ref(), store)?;
        }
        Ok(Arc::new(Index { datastore: datastore.clone(), stores }))
    }

    /// Loads another store, unless it has been loaded. Blocks until it is.
    ///
    /// # Errors
    /// When storage fails.
    pub fn add(&self, store: StoreId) -> Result<(), StorageError> {
        if self.stores.entries.read().contains_key(&store) {
            return Ok(());
        }
        self.stores.load(self.datastore.as_ref(), store)
    }

    /// A store at a revision that has been published. `None` if the store is not resident, or the revision older than
    /// those that are kept.
    #[must_use]
    pub fn view(&self, store: StoreId, at: Revision) -> Option<IndexView> {
        match self.stores.entries.read().get(&store)? {
            Entry::Resident(resident) => resident.at(at).map(|root| IndexView { root }),
            Entry::Loading { .. } | Entry::Outgrown => None,
        }
    }

    /// How much is in memory at the newest revision.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats::default();
        for entry in self.stores.entries.read().values() {
            match entry {
                Entry::Loading { .. } => {}
                Entry::Outgrown => stats.outgrown += 1,
                Entry::Resident(resident) => {
                    let head = resident.head();
                    stats.resident += 1;
                    stats.edges += head.edges();
                    stats.bytes += head.bytes();
                }
            }
        }
        stats
    }
}

impl IndexView {
    /// The revision of the newest commit to the store that it shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.root.revision
    }

    /// How many edges a table has.
    #[must_use]
    pub fn edges(&self, table: TableId) -> u64 {
        self.root.table(table).map_or(0, TableState::edges)
    }

    #[inline]
    pub(crate) fn row(&self, table: TableId, direction: Direction, row: Ordinal) -> StoredRow<'_> {
        self.root.row(table, direction, row)
    }

    #[inline]
    pub(crate) fn find(&self, table: TableId, resource: Ordinal, subject: Ordinal) -> Option<Link<'_>> {
        self.root.find(table, resource, subject)
    }
}

impl Follower for Stores {
    fn follow(&self, part: &LogPart<'_>) {
        // Held throughout, so that a store that is being added sees either this part or a snapshot that has it.
        let mut followed = self.followed.lock();
        *followed = part.revision.max(*followed);
        let outgrown = match self.entries.read().get(&part.store) {
            None | Some(Entry::Outgrown) => return,
            Some(Entry::Loading { after, waiting }) => {
                if part.revision > *after {
                    let changes = part.changes.to_vec();
                    waiting.lock().push(OwnedPart { revision: part.revision, changes, last: part.last });
                }
                return;
            }
            Some(Entry::Resident(resident)) => match resident.follow(part, &self.options) {
                Ok(()) => return,
                Err(outgrown) => outgrown,
            },
        };
        self.entries.write().insert(part.store, Entry::Outgrown);
        if outgrown == Outgrown::Commit {
            self.load_aside(part.store);
        }
    }
}

impl Stores {
    fn load(&self, datastore: &dyn Datastore, store: StoreId) -> Result<(), StorageError> {
        let followed = self.followed.lock();
        let after = *followed;
        let loading = Entry::Loading { after, waiting: Mutex::default() };
        self.entries.write().insert(store, loading);
        drop(followed);
        let read = read_store(datastore, store, after, &self.options);
        // No commit comes in between the parts that have waited and those that are followed.
        let _followed = self.followed.lock();
        let waiting = match self.entries.write().remove(&store) {
            Some(Entry::Loading { waiting, .. }) => waiting.into_inner(),
            _ => Vec::new(),
        };
        let entry = match read? {
            None => Entry::Outgrown,
            Some(resident) => {
                let resident = Arc::new(resident);
                let from = resident.head().revision;
                let caught_up = waiting.iter().filter(|part| part.revision > from).try_for_each(|part| {
                    let OwnedPart { revision, ref changes, last } = *part;
                    let part = LogPart { revision, store, schema_changed: false, changes, last };
                    resident.follow(&part, &self.options)
                });
                caught_up.map_or(Entry::Outgrown, |()| Entry::Resident(resident))
            }
        };
        self.entries.write().insert(store, entry);
        Ok(())
    }

    /// Loads a store anew on a thread of its own. Until then, or if that fails, it is not resident.
    fn load_aside(&self, store: StoreId) {
        let stores = self.this.clone();
        let load = move || {
            let Some(stores) = stores.upgrade() else { return };
            let Some(datastore) = stores.datastore.upgrade() else { return };
            if stores.load(datastore.as_ref(), store).is_err() {
                stores.entries.write().insert(store, Entry::Outgrown);
            }
        };
        // Without a thread the store stays as it is: not resident.
        drop(std::thread::Builder::new().name("graph-index".to_owned()).spawn(load));
    }
}

/// Reads a store at a revision not before `after`; nothing if it is too large.
fn read_store(
    datastore: &dyn Datastore,
    store: StoreId,
    after: Revision,
    options: &IndexOptions,
) -> Result<Option<ResidentStore>, StorageError> {
    while datastore.head() < after {
        // A commit that has been followed is about to be published.
        std::thread::sleep(Duration::from_millis(1));
    }
    let snapshot = datastore.snapshot(store, datastore.head()).map_err(|error| match error {
        SnapshotError::Storage(error) => error,
        other => StorageError::Refused(other.to_string()),
    })?;
    let mut pool = Pool::default();
    let mut tables: Vec<Option<Arc<TableState>>> = Vec::new();
    let mut bytes = 0;
    for table in snapshot.tables().iter() {
        let Some(state) = read_table(snapshot.as_ref(), table.id, options.bytes_max - bytes, &mut pool)? else {
            return Ok(None);
        };
        bytes += state.bytes();
        if bytes > options.bytes_max {
            return Ok(None);
        }
        let at = table.id.0 as usize;
        tables.resize(tables.len().max(at + 1), None);
        tables[at] = Some(Arc::new(state));
    }
    Ok(Some(ResidentStore::new(Root::new(snapshot.revision(), tables), pool)))
}

fn read_table(
    snapshot: &dyn Snapshot,
    table: TableId,
    bytes_max: usize,
    pool: &mut Pool,
) -> Result<Option<TableState>, StorageError> {
    /// What an edge takes at least, in both directions.
    const EDGE_BYTES: usize = 8;
    let mut builder = SegmentBuilder::default();
    let mut open: Option<(Ordinal, Ordinal, SmallVec<[Term; 1]>)> = None;
    snapshot.scan_table(table, Direction::Forward, None, &mut |edge| {
        match &mut open {
            Some((resource, subject, terms)) if (*resource, *subject) == (edge.resource, edge.subject) => {
                terms.push(Term::from(edge));
            }
            _ => {
                let next = (edge.resource, edge.subject, smallvec![Term::from(edge)]);
                if let Some((resource, subject, terms)) = open.replace(next) {
                    builder.push(resource.0, subject.0, pool.terms(terms));
                }
            }
        }
        if builder.edges() * EDGE_BYTES > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some((resource, subject, terms)) = open {
        builder.push(resource.0, subject.0, pool.terms(terms));
    }
    if builder.edges() * EDGE_BYTES > bytes_max {
        return Ok(None);
    }
    Ok(builder.finish().map(TableState::new))
}
