//! What is done to a data directory that no server uses: proving it, and making one from a backup.

use std::path::Path;

use stonetown_storage_rocksdb::Options;

pub use stonetown_storage::upkeep::Progress;
pub use stonetown_storage::{Difference, Scrubbed, StorageError};
pub use stonetown_storage_rocksdb::{Copying, Restored, Until};

/// Proves that a data directory or a checkpoint agrees with itself, without changing it.
///
/// # Errors
/// See [`stonetown_storage_rocksdb::scrub`].
pub fn scrub(path: &Path, progress: Progress<'_>) -> Result<Scrubbed, StorageError> {
    stonetown_storage_rocksdb::scrub(path, &Options::default(), progress)
}

/// Makes a data directory at `to` from a checkpoint, or from a data directory that no server uses.
///
/// # Errors
/// See [`stonetown_storage_rocksdb::restore`].
pub fn restore(from: &Path, to: &Path, until: Until, progress: Copying<'_>) -> Result<Restored, StorageError> {
    stonetown_storage_rocksdb::restore(from, to, until, &Options::default(), progress)
}
