//! What the datastore tells of itself, and the counters behind it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use stonetown_storage::{Distribution, Usage};

use crate::shared::Shared;

/// Counted by the writer as it goes.
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) group_transactions: Recorder,
    pub(crate) group_bytes: Recorder,
    /// In microseconds.
    pub(crate) group_micros: Recorder,
}

/// Values counted by class: class `n` reaches to `first · 4ⁿ`, the last has no bound.
pub(crate) struct Recorder {
    first: u64,
    counts: [AtomicU64; CLASSES],
    sum: AtomicU64,
}

const CLASSES: usize = 12;

impl Default for Counters {
    fn default() -> Self {
        Counters {
            commits: AtomicU64::new(0),
            group_transactions: Recorder::new(1),
            group_bytes: Recorder::new(256),
            group_micros: Recorder::new(16),
        }
    }
}

impl Recorder {
    fn new(first: u64) -> Self {
        Recorder { first, counts: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, value: u64) {
        let class = (0..CLASSES - 1).find(|class| value <= self.bound(*class)).unwrap_or(CLASSES - 1);
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn bound(&self, class: usize) -> u64 {
        self.first << (2 * class)
    }

    /// The values so far, each multiplied by `unit`.
    #[allow(clippy::cast_precision_loss)] // for people's eyes
    fn distribution(&self, unit: f64) -> Distribution {
        let class = |(class, count): (usize, &AtomicU64)| {
            let bound = if class == CLASSES - 1 { f64::MAX } else { self.bound(class) as f64 * unit };
            (bound, count.load(Ordering::Relaxed))
        };
        Distribution {
            classes: self.counts.iter().enumerate().map(class).collect(),
            sum: self.sum.load(Ordering::Relaxed) as f64 * unit,
        }
    }
}

/// See [`Usage`].
pub(crate) fn usage(shared: &Shared) -> Usage {
    let (database, counters) = (&shared.database, &shared.counters);
    let property = |name| database.property(name);
    Usage {
        disk_bytes: database.disk_bytes(),
        disk_free_bytes: free_bytes(shared.directory.path()),
        log_entries: shared.head().0.saturating_sub(shared.log_floor().0),
        queued: shared.queued.load(Ordering::Relaxed) as u64,
        commits: counters.commits.load(Ordering::Relaxed),
        group_transactions: counters.group_transactions.distribution(1.0),
        group_bytes: counters.group_bytes.distribution(1.0),
        group_seconds: counters.group_micros.distribution(1e-6),
        snapshots: shared.snapshots(),
        buffered_bytes: property("rocksdb.cur-size-all-mem-tables"),
        block_cache_bytes: property("rocksdb.block-cache-usage"),
        name_cache_bytes: shared.names.bytes(),
        pending_compaction_bytes: property("rocksdb.estimate-pending-compaction-bytes"),
        uncompacted_files: property("rocksdb.num-files-at-level0"),
        writes_stalled: property("rocksdb.is-write-stopped") > 0,
        background_errors: property("rocksdb.background-errors"),
    }
}

/// The bytes that this process may still write to the disk of a path; `None` where the system does not tell.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_classes_and_add_up() {
        let recorder = Recorder::new(16);
        for value in [0, 16, 17, 64, u64::from(u32::MAX)] {
            recorder.record(value);
        }
        let distribution = recorder.distribution(0.5);
        assert_eq!(&distribution.classes[..3], &[(8.0, 2), (32.0, 2), (128.0, 0)]);
        assert_eq!(distribution.classes[CLASSES - 1], (f64::MAX, 1));
        assert_eq!(distribution.count(), 5);
    }
}
