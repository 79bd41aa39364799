//! What readers and the writer share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use stonetown_storage::{CommitError, Follower, SnapshotError};
use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

use crate::catalogue::Catalogue;
use crate::database::Database;
use crate::directory::Directory;
use crate::names::Names;
use crate::usage::{Counters, free_bytes};

/// The open datastore. Fields are dropped in order: the directory is given up last.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) names: Names,
    pub(crate) instance: InstanceId,
    /// The newest revision that readers may open.
    head: AtomicU64,
    window: Mutex<Window>,
    catalogues: RwLock<FxHashMap<StoreId, Arc<Catalogue>>>,
    pub(crate) followers: Mutex<Vec<Arc<dyn Follower>>>,
    /// Why no writes are taken.
    halt: RwLock<Option<Halt>>,
    /// Bytes of the disk that commits leave free.
    disk_free_bytes_min: u64,
    pub(crate) counters: Counters,
    /// Transactions handed to the writer and not taken up yet.
    pub(crate) queued: AtomicUsize,
    /// Nothing begins or ceases to hold before this moment.
    next_moment: Mutex<Option<Timestamp>>,
    /// The last number given to a bulk.
    last_bulk: AtomicU64,
    /// Held while a copy is made.
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) directory: Directory,
}

/// What can be read.
#[derive(Debug, Clone, Default)]
struct Window {
    floor: Revision,
    log_floor: Revision,
    /// How many snapshots are open at each revision.
    pins: BTreeMap<Revision, usize>,
}

/// Why no writes are taken.
#[derive(Debug, Clone)]
enum Halt {
    /// The disk was full; it ends when there is room again.
    Full(String),
    /// What the disk has is unknown, until the datastore is opened anew.
    Unknown(String),
}

/// Keeps what a revision sees from garbage collection.
pub(crate) struct Pin {
    shared: Arc<Shared>,
    revision: Revision,
}

/// What [`Shared::new`] starts from.
pub(crate) struct Start {
    pub(crate) instance: InstanceId,
    pub(crate) head: Revision,
    pub(crate) floor: Revision,
    pub(crate) log_floor: Revision,
    pub(crate) catalogues: FxHashMap<StoreId, Arc<Catalogue>>,
    pub(crate) next_moment: Option<Timestamp>,
    pub(crate) last_bulk: u64,
    pub(crate) disk_free_bytes_min: u64,
}

impl Shared {
    pub(crate) fn new(database: Database, directory: Directory, names: Names, start: Start) -> Self {
        Shared {
            database,
            names,
            instance: start.instance,
            head: AtomicU64::new(start.head.0),
            window: Mutex::new(Window { floor: start.floor, log_floor: start.log_floor, pins: BTreeMap::new() }),
            catalogues: RwLock::new(start.catalogues),
            followers: Mutex::default(),
            halt: RwLock::default(),
            disk_free_bytes_min: start.disk_free_bytes_min,
            counters: Counters::default(),
            queued: AtomicUsize::new(0),
            next_moment: Mutex::new(start.next_moment),
            last_bulk: AtomicU64::new(start.last_bulk),
            checkpointing: Mutex::new(()),
            directory,
        }
    }

    pub(crate) fn head(&self) -> Revision {
        Revision(self.head.load(Ordering::Acquire))
    }

    /// Makes a revision visible.
    pub(crate) fn publish(&self, head: Revision) {
        self.head.store(head.0, Ordering::Release);
    }

    pub(crate) fn floor(&self) -> Revision {
        self.window.lock().floor
    }

    pub(crate) fn log_floor(&self) -> Revision {
        self.window.lock().log_floor
    }

    /// Moves the floors; they never fall. Says where they are then, and the oldest revision that anybody can still read.
    pub(crate) fn move_floors(&self, floor: Revision, log_floor: Revision) -> (Revision, Revision, Revision) {
        let head = self.head();
        let mut window = self.window.lock();
        window.floor = floor.clamp(window.floor, head);
        window.log_floor = log_floor.clamp(window.log_floor, head);
        let pinned = window.pins.first_key_value().map_or(window.floor, |(revision, _)| *revision);
        (window.floor, window.log_floor, window.floor.min(pinned))
    }

    /// Pins a revision within the window.
    pub(crate) fn pin(self: &Arc<Self>, asked: Revision) -> Result<Pin, SnapshotError> {
        let mut window = self.window.lock();
        if asked < window.floor {
            return Err(SnapshotError::Expired { asked, floor: window.floor });
        }
        let head = self.head();
        if asked > head {
            return Err(SnapshotError::Future { asked, head });
        }
        *window.pins.entry(asked).or_default() += 1;
        Ok(Pin { shared: Arc::clone(self), revision: asked })
    }

    pub(crate) fn catalogue(&self, store: StoreId) -> Arc<Catalogue> {
        self.catalogues.read().get(&store).map(Arc::clone).unwrap_or_default()
    }

    pub(crate) fn set_catalogue(&self, store: StoreId, catalogue: Arc<Catalogue>) {
        self.catalogues.write().insert(store, catalogue);
    }

    /// A number that no bulk has had since the datastore was opened, nor has one that was left over then.
    pub(crate) fn next_bulk(&self) -> u64 {
        self.last_bulk.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn next_moment(&self) -> Option<Timestamp> {
        *self.next_moment.lock()
    }

    /// Notes a moment that lies ahead.
    pub(crate) fn expect_moment(&self, time: Timestamp) {
        let mut next = self.next_moment.lock();
        *next = Some(next.map_or(time, |next| next.min(time)));
    }

    /// Notes which moment is next, where all before it have passed.
    pub(crate) fn set_next_moment(&self, next: Option<Timestamp>) {
        *self.next_moment.lock() = next;
    }

    /// Takes no more writes until the datastore is opened anew. The first reason stays.
    pub(crate) fn halt(&self, why: String) {
        let mut halt = self.halt.write();
        if !matches!(*halt, Some(Halt::Unknown(_))) {
            *halt = Some(Halt::Unknown(why));
        }
    }

    /// Takes no writes until [`Shared::resume`].
    pub(crate) fn suspend(&self, why: String) {
        self.halt.write().get_or_insert(Halt::Full(why));
    }

    /// Takes writes again, if it was a full disk that kept them away.
    pub(crate) fn resume(&self) {
        let mut halt = self.halt.write();
        if matches!(*halt, Some(Halt::Full(_))) {
            *halt = None;
        }
    }

    /// Whether no writes are taken because the disk was full.
    pub(crate) fn is_suspended(&self) -> bool {
        matches!(*self.halt.read(), Some(Halt::Full(_)))
    }

    /// How many snapshots are open.
    pub(crate) fn snapshots(&self) -> u64 {
        self.window.lock().pins.values().map(|count| *count as u64).sum()
    }

    /// Fails when no writes of callers are taken: as [`Shared::writable`], and when the disk is nearly full, until it no longer
    /// is. After a failed write to a full disk it takes a while to go on, so the disk is not let get there; and what is left
    /// is what garbage collection and compaction need to make room.
    pub(crate) fn takes_writes(&self) -> Result<(), CommitError> {
        self.writable()?;
        let Some(free) = free_bytes(self.directory.path()) else { return Ok(()) };
        if free >= self.disk_free_bytes_min {
            return Ok(());
        }
        Err(CommitError::ReadOnly(format!(
            "the disk of `{}` is nearly full: {} MiB are free, and the last {} MiB are not for writes",
            self.directory.path().display(),
            free >> 20,
            self.disk_free_bytes_min >> 20
        )))
    }

    /// Fails while nothing at all is written.
    pub(crate) fn writable(&self) -> Result<(), CommitError> {
        match &*self.halt.read() {
            None => Ok(()),
            Some(Halt::Full(why) | Halt::Unknown(why)) => Err(CommitError::ReadOnly(why.clone())),
        }
    }
}

impl Pin {
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut window = self.shared.window.lock();
        if let Some(count) = window.pins.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                window.pins.remove(&self.revision);
            }
        }
    }
}
