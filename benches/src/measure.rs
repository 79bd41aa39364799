//! Measuring: latencies in a histogram, allocations by a counting allocator, CPU time and memory from the system.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Counts allocations on their way to mimalloc, the allocator that the server uses.
pub struct CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)] // counting allocations needs an allocator, and that trait is unsafe
// SAFETY: every call is handed on unchanged to an allocator that keeps the contract.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { mimalloc::MiMalloc.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { mimalloc::MiMalloc.realloc(pointer, layout, size) }
    }
}

/// Allocations of this process so far, where [`CountingAllocator`] is installed.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Latencies, from 1 ns to a minute at three digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Latencies(Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order"))
    }
}

impl Latencies {
    /// Counts one call.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// The latency that a share of the calls does not exceed, in microseconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // latencies are far below 2^53 ns
    pub fn quantile_micros(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    /// The mean of the calls that took the shortest, 99 of 100, in microseconds: what other programs on the machine held up is left
    /// out.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // latencies and their numbers are far below 2^53
    pub fn trimmed_mean_micros(&self) -> f64 {
        let longest = self.0.value_at_quantile(0.99);
        let shorter = || self.0.iter_recorded().take_while(|bucket| bucket.value_iterated_to() <= longest);
        let count: u64 = shorter().map(|bucket| bucket.count_at_value()).sum();
        let nanos: f64 =
            shorter().map(|bucket| bucket.value_iterated_to() as f64 * bucket.count_at_value() as f64).sum();
        nanos / count.max(1) as f64 / 1000.0
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

impl fmt::Display for Latencies {
    #[allow(clippy::cast_precision_loss)] // shown with one decimal
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mean {:.1} us, p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1}",
            self.0.mean() / 1000.0,
            self.quantile_micros(0.5),
            self.quantile_micros(0.95),
            self.quantile_micros(0.99),
            self.0.max() as f64 / 1000.0
        )
    }
}

/// CPU time, user and system, that a process has used. Zero where the system does not tell.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    /// Ticks of `/proc/PID/stat` in a second, fixed by the kernel's interface.
    const TICKS_PER_SECOND: u64 = 100;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// CPU time, user and system, of the threads of this process that have not ended, by the first 15 bytes of their names: as exact as
/// the scheduler counts, to a few milliseconds for a thread that is running. Empty where the system does not tell.
#[must_use]
pub fn threads_cpu() -> BTreeMap<String, Duration> {
    let mut cpu = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        *cpu.entry(read("comm").trim_end().to_owned()).or_default() += Duration::from_nanos(nanos);
    }
    cpu
}

/// Resident memory of a process, in bytes. Zero where the system does not tell.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}
