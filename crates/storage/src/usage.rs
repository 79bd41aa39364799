//! How much a datastore holds and how it fares: for metrics and reports, never for decisions.

/// The state of a datastore. What an implementation does not have is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes that the disk has left; `None` without a disk.
    pub disk_free_bytes: Option<u64>,
    /// Commits in the log.
    pub log_entries: u64,
    /// Transactions waiting to be committed.
    pub queued: u64,
    /// Transactions committed since the datastore was opened.
    pub commits: u64,
    /// Transactions written and synced at once, for each such group.
    pub group_transactions: Distribution,
    /// Bytes of each such group.
    pub group_bytes: Distribution,
    /// Seconds that writing and syncing each took.
    pub group_seconds: Distribution,
    /// Snapshots that are open, which keep what they see from garbage collection.
    pub snapshots: u64,
    /// Bytes written and not yet moved to tables.
    pub buffered_bytes: u64,
    /// Bytes of stored blocks kept in memory.
    pub block_cache_bytes: u64,
    /// Bytes of names of objects kept in memory.
    pub name_cache_bytes: u64,
    /// Bytes that compaction has yet to rewrite: when this grows for long, the disk does not keep up.
    pub pending_compaction_bytes: u64,
    /// Files that no compaction has looked at; many slow reads and in the end writes.
    pub uncompacted_files: u64,
    /// Whether writes are held up until compaction has caught up.
    pub writes_stalled: bool,
    /// Failures of work in the background.
    pub background_errors: u64,
}

/// How measured values are distributed over classes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// For each class but the last its upper bound, included, and how many values it holds; the last has no bound.
    pub classes: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Distribution {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|(_, count)| count).sum()
    }
}
