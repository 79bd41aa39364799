//! The contract between Stonetown and what holds its data: [`Datastore`] and [`Snapshot`], the in-memory reference
//! implementation, and the conformance suite that every implementation passes.
//!
//! Storage interns strings to integers, keeps versions of edges in tables, and orders all commits in one sequence. It does
//! not know what a relation means: schemas are bytes to it, and a table is just a name.
//!
//! * A **table** is one way of relating two types: (resource type, relation, subject type, subject relation). See
//!   [`TableKey`].
//! * An **ordinal** numbers the objects of one type densely from 1; ordinal 0 is the wildcard `*`.
//! * An **edge** is one relationship: a row (the resource's ordinal) and a column (the subject's) of a table, from one
//!   source.
//!
//! Reading order: this file, [`transaction`], [`log`], [`read`], [`upkeep`], then [`memory`] and [`read_only`].

pub mod conformance;
pub mod log;
pub mod memory;
pub mod read;
pub mod read_only;
pub mod transaction;
pub mod upkeep;
pub mod usage;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use stonetown_tuple::{CaveatRef, InstanceId, Relationship, Revision, Source, StoreId, Timestamp};

pub use log::{Change, EdgeState, Effect, Follower, LogEntry, LogPart, LogPiece, Moments};
pub use memory::MemoryDatastore;
pub use read_only::ReadOnly;
pub use transaction::{
    BulkMode, BulkWriter, CommitError, Committed, DeleteByFilter, Guard, RequestId, SchemaWrite, StoredUpdate,
    Transaction, of_different_stores,
};
pub use upkeep::{Checkpointed, Difference, DifferenceKind, Scrubbed};
pub use usage::{Distribution, Usage};

/// Numbers the object types of a store. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

/// Numbers the tables of a store. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// Numbers the objects of one type in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ordinal(pub u32);

impl Ordinal {
    /// The ordinal of `type:*` in every type.
    pub const WILDCARD: Ordinal = Ordinal(0);
}

/// What a table relates. Kept sorted by this order wherever tables are listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey {
    /// The resource's type.
    pub resource_type: String,
    /// The relation of the resource.
    pub relation: String,
    /// The subject's type.
    pub subject_type: String,
    /// The subject's relation; `None` for objects themselves and the wildcard, which share a table.
    pub subject_relation: Option<String>,
}

/// A table of one store with the ids of the types it relates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its number.
    pub id: TableId,
    /// What it relates.
    pub key: TableKey,
    /// The number of the resource's type.
    pub resource_type: TypeId,
    /// The number of the subject's type.
    pub subject_type: TypeId,
}

/// Which way a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From resources to subjects: the row is the resource.
    Forward,
    /// From subjects to resources: the row is the subject.
    Reverse,
}

/// One version of a relationship, live at a snapshot's revision. Whether it is live at a moment is the reader's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The resource's ordinal, whatever the direction of the scan.
    pub resource: Ordinal,
    /// The subject's ordinal, whatever the direction of the scan.
    pub subject: Ordinal,
    /// Where the relationship comes from.
    pub source: Source,
    /// Its caveat, shared between edges where the implementation can.
    pub caveat: Option<Arc<CaveatRef>>,
    /// When it begins to hold.
    pub not_before: Option<Timestamp>,
    /// When it ceases to hold.
    pub expires_at: Option<Timestamp>,
    /// The revision that wrote this version; names its [`Provenance`].
    pub written: Revision,
}

impl TableKey {
    /// The table that a relationship belongs to.
    #[must_use]
    pub fn of(relationship: &Relationship) -> Self {
        TableKey {
            resource_type: relationship.resource.object_type.as_str().to_owned(),
            relation: relationship.relation.as_str().to_owned(),
            subject_type: relationship.subject.object_type().as_str().to_owned(),
            subject_relation: relationship.subject.relation().map(|relation| relation.as_str().to_owned()),
        }
    }
}

impl Edge {
    /// Whether it holds at `now`, its caveat aside.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && !self.is_expired(now)
    }

    /// Whether it has ceased to hold at `now`. What has not begun yet counts as there.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Its position in a scan of that direction.
    #[must_use]
    pub fn position(&self, direction: Direction) -> EdgePosition {
        let (row, other) = match direction {
            Direction::Forward => (self.resource, self.subject),
            Direction::Reverse => (self.subject, self.resource),
        };
        EdgePosition { row, other, source: self.source }
    }
}

/// Where a scan goes on: just after this edge in the order of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgePosition {
    /// The row, by the direction of the scan.
    pub row: Ordinal,
    /// The other end.
    pub other: Ordinal,
    /// The source.
    pub source: Source,
}

/// A schema as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchema {
    /// The revision that wrote it; identifies it within the store.
    pub revision: Revision,
    /// The bytes given by [`SchemaWrite`].
    pub bytes: Arc<[u8]>,
}

/// Who made a transaction, when and with what remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The clock of the call that wrote.
    pub time: Timestamp,
    /// Who called, where known.
    pub actor: Option<String>,
    /// The transaction metadata as a JSON object, where given.
    pub metadata: Option<String>,
}

/// What a run of garbage collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Superseded versions that were removed.
    pub versions: u64,
    /// Names of objects that no version mentions any more.
    pub names: u64,
    /// Whether it stopped at its bound and has more to do.
    pub more: bool,
}

/// What [`Datastore::pass_time`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// The commit that logs what began or ceased to hold, if anything did.
    pub revision: Option<Revision>,
    /// How many edges began or ceased to hold.
    pub edges: u64,
    /// Whether it stopped at its bound and has more to do.
    pub more: bool,
    /// A revision and a time at which the log and the clock agree, where they do; only told by [`Datastore::pass_time`].
    pub settled: Option<Settled>,
}

/// At this revision an edge holds, as the log has it, exactly if it is live at this time. What follows the log from here on
/// can start from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The revision.
    pub revision: Revision,
    /// The time.
    pub time: Timestamp,
}

/// Storage itself has failed: nothing that a caller did.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The disk or the files on it.
    #[error("storage failed: {0}")]
    Io(String),
    /// The disk has no room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Bytes that do not have the written form. Never answered with a guess.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A directory of a newer format, of another instance, or in use by another process.
    #[error("{0}")]
    Refused(String),
}

/// Why a snapshot cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    /// The revision lies behind the retention window.
    #[error("revision {asked} is older than the oldest that is kept, {floor}")]
    Expired {
        /// The revision asked for.
        asked: Revision,
        /// The oldest that can be read.
        floor: Revision,
    },
    /// The revision has not been committed.
    #[error("revision {asked} is newer than the newest, {head}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest.
        head: Revision,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Durable, versioned storage of any number of isolated stores. All calls block and may read the disk; asynchronous
/// callers run them on a pool of their own.
///
/// Promises: a commit is durable before it is visible, and visible before [`Datastore::commit`] returns; commits of all
/// stores have one order, the revision; a snapshot never changes.
pub trait Datastore: Send + Sync + 'static {
    /// The history that this datastore's revisions belong to.
    fn instance(&self) -> InstanceId;

    /// The newest published revision.
    fn head(&self) -> Revision;

    /// The oldest revision at which a snapshot can be opened.
    fn floor(&self) -> Revision;

    /// Opens a store at a revision between [`Datastore::floor`] and [`Datastore::head`].
    ///
    /// # Errors
    /// See [`SnapshotError`].
    fn snapshot(&self, store: StoreId, at: Revision) -> Result<Arc<dyn Snapshot>, SnapshotError>;

    /// Tests and applies a transaction as a whole, and returns once it is durable and published. Once called it runs to its
    /// end, whether or not anybody waits.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing has changed then.
    fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError>;

    /// Tests and applies two transactions of different stores, both or neither, at two revisions one after the other that
    /// become visible at once. Request ids are not looked at; a delete by filter must fit into one batch.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing has changed then.
    fn commit_both(&self, one: Transaction, other: Transaction) -> Result<[Committed; 2], CommitError>;

    /// Begins a transaction of any size: staged in bounded pieces, then published at one revision.
    ///
    /// # Errors
    /// When storage fails or refuses writes.
    fn bulk(&self, store: StoreId, mode: BulkMode, now: Timestamp) -> Result<Box<dyn BulkWriter>, CommitError>;

    /// Entries of the transaction log after a revision, oldest first, whole entries only, at most `limit` and at least one
    /// if there is one.
    ///
    /// # Errors
    /// [`SnapshotError::Expired`] when the log has been cut after that revision.
    fn log(&self, after: Revision, limit: usize) -> Result<Vec<LogEntry>, SnapshotError>;

    /// One piece of a commit in the log, counted from 0: what follows a log of commits of any size in bounded memory. `None`
    /// when the commit has not been published; a commit without changes has one piece.
    ///
    /// # Errors
    /// [`SnapshotError::Expired`] when the log has been cut behind that revision, and [`StorageError::Damaged`] for a piece
    /// that the commit does not have.
    fn log_piece(&self, revision: Revision, piece: u32) -> Result<Option<LogPiece>, SnapshotError>;

    /// Has `follower` told of every commit after the returned revision, before the commit is published.
    fn follow(&self, follower: Arc<dyn Follower>) -> Revision;

    /// Makes `floor` the oldest readable revision and removes what no revision from there on can see, and names that died;
    /// at most `limit` versions in one call. The log keeps entries after `log_floor`.
    ///
    /// # Errors
    /// When storage fails; what was removed before stays removed, forward and reverse alike.
    fn collect_garbage(&self, floor: Revision, log_floor: Revision, limit: usize) -> Result<Collected, StorageError>;

    /// Logs that edges have begun or ceased to hold by `now`: at most `limit` of them in one commit, in the order of the
    /// moments. What is stored does not change; each moment is logged once, and those of a version that was replaced
    /// before its moment never. Log and clock are settled after it unless there is more, or a commit was made by a later
    /// clock than `now`.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn pass_time(&self, now: Timestamp, limit: usize) -> Result<Passed, CommitError>;

    /// A moment before which [`Datastore::pass_time`] has nothing to do; `None` when there is nothing ahead.
    fn next_moment(&self) -> Option<Timestamp>;

    /// Ends edges that ceased to hold at or before `until` and of which the log says so, at most `limit` of them, as one
    /// commit at `now` without effects. An edge that was written anew is left alone. Says how many it ended, `more` as in
    /// [`Datastore::pass_time`].
    ///
    /// # Errors
    /// See [`CommitError`].
    fn remove_expired(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Passed, CommitError>;

    /// What was kept under a name of a store by [`Datastore::keep`].
    ///
    /// # Errors
    /// When storage fails.
    fn kept(&self, store: StoreId, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Keeps some bytes, or with `None` no longer keeps any, under a name of a store: for state beside the relationships
    /// that is no part of their history. Durable when it returns. Names have at most 1,024 bytes.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn keep(&self, store: StoreId, name: &str, bytes: Option<Vec<u8>>) -> Result<(), CommitError>;

    /// The revision that was head at `time`, or the floor when that lies further back.
    ///
    /// # Errors
    /// When storage fails.
    fn revision_at(&self, time: Timestamp) -> Result<Revision, StorageError>;

    /// The time of the oldest revision at which a snapshot can be opened; `None` where that is the beginning, before which
    /// there was nothing.
    ///
    /// # Errors
    /// When storage fails.
    fn kept_since(&self) -> Result<Option<Timestamp>, StorageError>;

    /// Why no writes are taken at the moment; `None` while they are.
    fn refuses_writes(&self) -> Option<String> {
        None
    }

    /// How much is held.
    fn usage(&self) -> Usage;

    /// Copies everything that is acknowledged into a new directory, while reads and writes go on. The directory appears whole
    /// or not at all; what an interrupted copy leaves behind is named `….partial`.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the directory is there already, or when the datastore is not on a disk.
    fn checkpoint(&self, to: &Path, now: Timestamp) -> Result<Checkpointed, StorageError> {
        let _nothing_to_copy = (to, now);
        Err(StorageError::Refused("this datastore is in memory: there is nothing on disk to copy".to_owned()))
    }

    /// Proves that everything held agrees with itself, at the state of one moment, while reads and writes go on.
    ///
    /// # Errors
    /// When storage fails, [`StorageError::Refused`] when `progress` broke it off or the datastore is not on a disk. What
    /// does not agree is no error: it is in the report.
    fn scrub(&self, progress: upkeep::Progress<'_>) -> Result<Scrubbed, StorageError> {
        let _nothing_to_read = progress;
        Err(StorageError::Refused("this datastore is in memory: there is nothing on disk to prove".to_owned()))
    }
}

/// One store at one revision. Cheap to clone as an [`Arc`], safe to share, never changing.
pub trait Snapshot: Send + Sync {
    /// Which store.
    fn store(&self) -> StoreId;

    /// At which revision.
    fn revision(&self) -> Revision;

    /// The schema in force, `None` before the first was written.
    ///
    /// # Errors
    /// When storage fails.
    fn schema(&self) -> Result<Option<StoredSchema>, StorageError>;

    /// All tables of the store, sorted by key. A table stays when the schema drops it; it is then empty.
    fn tables(&self) -> Arc<[Arc<Table>]>;

    /// The number of an object type, if any schema of the store has had it.
    fn type_id(&self, object_type: &str) -> Option<TypeId>;

    /// The ordinal of an object, `None` when no relationship ever stored in the window mentions it. `*` is
    /// [`Ordinal::WILDCARD`].
    ///
    /// # Errors
    /// When storage fails.
    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError>;

    /// The id of an object, by an ordinal that this snapshot gave out.
    ///
    /// # Errors
    /// When storage fails, or [`StorageError::Damaged`] when there is no such ordinal.
    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError>;

    /// Visits the live edges of one row in ascending order of (other end, source), beginning at `from` as the other end.
    ///
    /// # Errors
    /// When storage fails; what was visited before is then worth nothing.
    fn scan_row(
        &self,
        table: TableId,
        direction: Direction,
        row: Ordinal,
        from: Ordinal,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Visits the live edges of a table in ascending order of (row, other end, source), after a position.
    ///
    /// # Errors
    /// As [`Snapshot::scan_row`].
    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Who wrote a revision; kept while any live edge needs it.
    ///
    /// # Errors
    /// When storage fails.
    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError>;
}
