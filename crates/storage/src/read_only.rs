//! A datastore that others write: all of it can be read through here, nothing changed.

use std::path::Path;
use std::sync::Arc;

use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

use crate::upkeep::Progress;
use crate::{
    BulkMode, BulkWriter, Checkpointed, Collected, CommitError, Committed, Datastore, Follower, LogEntry, LogPiece,
    Passed, Scrubbed, Snapshot, SnapshotError, StorageError, Transaction, Usage,
};

/// Reads as the datastore behind it, at once what is written there, and refuses every write as [`CommitError::ReadOnly`].
#[derive(Clone)]
pub struct ReadOnly {
    behind: Arc<dyn Datastore>,
    why: String,
}

impl ReadOnly {
    /// A view of `behind`; `why` is told to those who want to write.
    #[must_use]
    pub fn new(behind: Arc<dyn Datastore>, why: &str) -> ReadOnly {
        ReadOnly { behind, why: why.to_owned() }
    }

    fn refuse<T>(&self) -> Result<T, CommitError> {
        Err(CommitError::ReadOnly(self.why.clone()))
    }
}

impl Datastore for ReadOnly {
    fn instance(&self) -> InstanceId {
        self.behind.instance()
    }

    fn head(&self) -> Revision {
        self.behind.head()
    }

    fn floor(&self) -> Revision {
        self.behind.floor()
    }

    fn snapshot(&self, store: StoreId, at: Revision) -> Result<Arc<dyn Snapshot>, SnapshotError> {
        self.behind.snapshot(store, at)
    }

    fn commit(&self, _: Transaction) -> Result<Committed, CommitError> {
        self.refuse()
    }

    fn commit_both(&self, _: Transaction, _: Transaction) -> Result<[Committed; 2], CommitError> {
        self.refuse()
    }

    fn bulk(&self, _: StoreId, _: BulkMode, _: Timestamp) -> Result<Box<dyn BulkWriter>, CommitError> {
        self.refuse()
    }

    fn log(&self, after: Revision, limit: usize) -> Result<Vec<LogEntry>, SnapshotError> {
        self.behind.log(after, limit)
    }

    fn log_piece(&self, revision: Revision, piece: u32) -> Result<Option<LogPiece>, SnapshotError> {
        self.behind.log_piece(revision, piece)
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> Revision {
        self.behind.follow(follower)
    }

    /// Collecting is the owner's: nothing is removed through here.
    fn collect_garbage(&self, _: Revision, _: Revision, _: usize) -> Result<Collected, StorageError> {
        Ok(Collected::default())
    }

    /// Writing what passes is the owner's.
    fn pass_time(&self, _: Timestamp, _: usize) -> Result<Passed, CommitError> {
        self.refuse()
    }

    /// As there is nothing that [`Datastore::pass_time`] could do through here.
    fn next_moment(&self) -> Option<Timestamp> {
        None
    }

    fn remove_expired(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<Passed, CommitError> {
        self.refuse()
    }

    fn kept(&self, store: StoreId, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.behind.kept(store, name)
    }

    fn keep(&self, _: StoreId, _: &str, _: Option<Vec<u8>>) -> Result<(), CommitError> {
        self.refuse()
    }

    fn revision_at(&self, time: Timestamp) -> Result<Revision, StorageError> {
        self.behind.revision_at(time)
    }

    fn kept_since(&self) -> Result<Option<Timestamp>, StorageError> {
        self.behind.kept_since()
    }

    fn refuses_writes(&self) -> Option<String> {
        Some(self.why.clone())
    }

    fn usage(&self) -> Usage {
        self.behind.usage()
    }

    fn checkpoint(&self, to: &Path, now: Timestamp) -> Result<Checkpointed, StorageError> {
        self.behind.checkpoint(to, now)
    }

    fn scrub(&self, progress: Progress<'_>) -> Result<Scrubbed, StorageError> {
        self.behind.scrub(progress)
    }
}
