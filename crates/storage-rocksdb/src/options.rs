//! Settings of the datastore.

/// How much memory the datastore may use, and how much it writes at once. The defaults suit a server of a few gigabytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of stored blocks that are kept in memory.
    pub block_cache_bytes_max: usize,
    /// Bytes of object ids that are kept in memory, both ways together.
    pub name_cache_bytes_max: u64,
    /// Transactions that may wait for the writer; more are refused with
    /// [`CommitError::Overloaded`](stonetown_storage::CommitError::Overloaded).
    pub queued_max: usize,
    /// Transactions that are written and synced at once.
    pub group_transactions_max: usize,
    /// Bytes after which a group of transactions is written.
    pub group_bytes_max: usize,
    /// Bytes of the disk that writes leave free; with less they are refused, until there is more again.
    pub disk_free_bytes_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            block_cache_bytes_max: 256 << 20,
            name_cache_bytes_max: 64 << 20,
            queued_max: 4_096,
            group_transactions_max: 1_024,
            group_bytes_max: 8 << 20,
            disk_free_bytes_min: 256 << 20,
        }
    }
}
