//! Durable storage on RocksDB: the implementation of [`Datastore`] that servers use.
//!
//! * **Versions.** An edge is stored once for each revision that changed it, forward and in reverse, newest first; a snapshot
//!   takes the newest that is not newer than itself. See `keys` for the layout, which `docs/storage-format.md` describes
//!   byte by byte.
//! * **One writer.** A single thread tests and writes all commits, many in one synced batch. See `write`.
//! * **Durable, then visible, then answered.** In this order; so no answer ever rests on a commit that a crash can take.
//! * **Restart.** A bulk that was being published is published when the datastore is opened; one that was only being staged
//!   is gone. The file `HIGHWATER` tells at the next start if acknowledged commits are missing.
//!
//! A snapshot that is open keeps what it sees: garbage collection moves the floor past it, and removes nothing that it can
//! read. The directory stays taken until the datastore, its snapshots and its bulks are all dropped.
//!
//! Reading order: `keys`, `values`, `database`, `snapshot`, `write`, `apply`, `pending`, `bulk`, `roll`, `moments`, `gc`,
//! `open`, `resume`; then `backup`, `rewind`, `scrub`.

mod apply;
mod backup;
mod bulk;
mod catalogue;
mod changelog;
mod database;
mod directory;
mod gc;
mod keys;
mod moments;
mod names;
mod open;
mod options;
mod pending;
mod resume;
mod rewind;
mod roll;
mod scrub;
mod shared;
mod snapshot;
mod usage;
mod values;
mod write;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use stonetown_storage::upkeep::Progress;
use stonetown_storage::{
    BulkMode, BulkWriter, Checkpointed, Collected, CommitError, Committed, Datastore, Follower, LogEntry, LogPiece,
    Passed, Scrubbed, Snapshot, SnapshotError, StorageError, Transaction, Usage, of_different_stores,
};
use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

pub use backup::{Copying, Restored, Until, restore};
pub use directory::FORMAT;
pub use options::Options;
pub use scrub::scrub;

use bulk::RocksBulk;
use keys::Kind;
use shared::Shared;
use snapshot::RocksSnapshot;
use values::damaged;
use write::{Job, Reply, Staging};

/// A datastore in a data directory. Dropping it finishes what was handed to the writer and closes the directory.
pub struct RocksDatastore {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    queued_max: usize,
    writer: Option<JoinHandle<()>>,
}

impl RocksDatastore {
    /// Opens a data directory; an empty or missing one is made a new datastore with an instance of its own.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the directory is in use, holds something else, is of a newer format, or lacks commits
    /// that were acknowledged; [`StorageError::Damaged`] when what it holds cannot be read.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<RocksDatastore, StorageError> {
        let open::Opened { shared, writer, jobs, queue } = open::open(path.as_ref(), &options)?;
        let thread = std::thread::Builder::new()
            .name("stonetown-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| StorageError::Io(format!("no thread for the writer: {error}")))?;
        Ok(RocksDatastore { shared, jobs, queued_max: options.queued_max, writer: Some(thread) })
    }
}

impl Drop for RocksDatastore {
    fn drop(&mut self) {
        let _already_stopped = self.jobs.send(Job::Stop);
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

impl Datastore for RocksDatastore {
    fn instance(&self) -> InstanceId {
        self.shared.instance
    }

    fn head(&self) -> Revision {
        self.shared.head()
    }

    fn floor(&self) -> Revision {
        self.shared.floor()
    }

    fn snapshot(&self, store: StoreId, at: Revision) -> Result<Arc<dyn Snapshot>, SnapshotError> {
        let pin = self.shared.pin(at)?;
        Ok(Arc::new(RocksSnapshot::pinned(&self.shared, store, pin)))
    }

    fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        self.shared.takes_writes()?;
        let (reply, answer) = sync_channel(1);
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.jobs.try_send(Job::Commit(Box::new(transaction), reply)) {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => CommitError::Overloaded(self.queued_max),
                TrySendError::Disconnected(_) => stopped(&self.shared),
            });
        }
        answer.recv().unwrap_or_else(|_| Err(stopped(&self.shared)))
    }

    fn commit_both(&self, one: Transaction, other: Transaction) -> Result<[Committed; 2], CommitError> {
        of_different_stores(&one, &other)?;
        ask(&self.shared, &self.jobs, |reply| Job::CommitBoth(Box::new([one, other]), reply))
    }

    fn bulk(&self, store: StoreId, mode: BulkMode, now: Timestamp) -> Result<Box<dyn BulkWriter>, CommitError> {
        self.shared.takes_writes()?;
        Ok(Box::new(RocksBulk {
            shared: Arc::clone(&self.shared),
            jobs: self.jobs.clone(),
            bulk: self.shared.next_bulk(),
            staging: Staging { store, mode, now },
            settled: false,
        }))
    }

    fn log(&self, after: Revision, limit: usize) -> Result<Vec<LogEntry>, SnapshotError> {
        changelog::entries(&self.shared, after, limit)
    }

    fn log_piece(&self, revision: Revision, piece: u32) -> Result<Option<LogPiece>, SnapshotError> {
        changelog::log_piece(&self.shared, revision, piece)
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> Revision {
        let mut followers = self.shared.followers.lock();
        followers.push(follower);
        self.shared.head()
    }

    fn collect_garbage(&self, floor: Revision, log_floor: Revision, limit: usize) -> Result<Collected, StorageError> {
        let (reply, answer) = sync_channel(1);
        let sent = self.jobs.send(Job::Collect { floor, log_floor, limit, reply });
        let stopped = || StorageError::Refused(stopped(&self.shared).to_string());
        sent.map_err(|_| stopped())?;
        answer.recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn pass_time(&self, now: Timestamp, limit: usize) -> Result<Passed, CommitError> {
        ask(&self.shared, &self.jobs, |reply| Job::PassTime { now, limit, reply })
    }

    fn next_moment(&self) -> Option<Timestamp> {
        self.shared.next_moment()
    }

    fn remove_expired(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Passed, CommitError> {
        ask(&self.shared, &self.jobs, |reply| Job::RemoveExpired { now, until, limit, reply })
    }

    fn kept(&self, store: StoreId, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.shared.database.get(&keys::kept(store, name))?.map(|bytes| bytes.to_vec()))
    }

    fn keep(&self, store: StoreId, name: &str, bytes: Option<Vec<u8>>) -> Result<(), CommitError> {
        ask(&self.shared, &self.jobs, |reply| Job::Keep { key: keys::kept(store, name), bytes, reply })
    }

    fn revision_at(&self, time: Timestamp) -> Result<Revision, StorageError> {
        let until = keys::time(time, Revision(u64::MAX));
        let revision = match self.shared.database.last(&keys::all(Kind::Time), &until)? {
            Some(key) => keys::read_time(&key).ok_or_else(|| damaged("key of a time"))?.1,
            None => Revision(0),
        };
        Ok(revision.min(self.shared.head()).max(self.shared.floor()))
    }

    fn kept_since(&self) -> Result<Option<Timestamp>, StorageError> {
        let (prefix, floor) = (keys::all(Kind::Time), self.shared.floor());
        let mut kept_since = None;
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let (time, revision) = keys::read_time(key).ok_or_else(|| damaged("key of a time"))?;
            kept_since = (revision == floor).then_some(time);
            // Times behind the floor go a little later than what they are times of.
            Ok(if revision < floor { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(kept_since)
    }

    fn refuses_writes(&self) -> Option<String> {
        self.shared.takes_writes().err().map(|error| error.to_string())
    }

    fn usage(&self) -> Usage {
        usage::usage(&self.shared)
    }

    fn checkpoint(&self, to: &Path, now: Timestamp) -> Result<Checkpointed, StorageError> {
        backup::checkpoint(&self.shared, to, now)
    }

    fn scrub(&self, progress: Progress<'_>) -> Result<Scrubbed, StorageError> {
        scrub::scrub_frozen(&self.shared.database.frozen(), progress)
    }
}

/// Asks the writer for something and waits for it, for room in its queue as well.
fn ask<T>(
    shared: &Shared,
    jobs: &SyncSender<Job>,
    job: impl FnOnce(Reply<T, CommitError>) -> Job,
) -> Result<T, CommitError> {
    let (reply, answer) = sync_channel(1);
    jobs.send(job(reply)).map_err(|_| stopped(shared))?;
    answer.recv().unwrap_or_else(|_| Err(stopped(shared)))
}

/// Why there is no answer: what the writer failed on, or that the datastore was closed.
fn stopped(shared: &Shared) -> CommitError {
    shared.writable().err().unwrap_or_else(|| CommitError::ReadOnly("the datastore is closed".to_owned()))
}

#[cfg(test)]
mod tests;
