//! What runs beside the calls: the passing of time, the clean-up behind grants, garbage collection behind the retention windows,
//! and the reading of the memory gate.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use stonetown_authorizer::Authorizer;
use stonetown_authorizer::materialize::Keeper;
use stonetown_grants::Desk;
use stonetown_storage::Collected;
use tokio::sync::watch;

use crate::Config;
use crate::metrics::Page;

/// Time between two looks at what has begun or ended: how late a watch hears of it.
const MOMENTS_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two looks at how far ahead time is written down.
const TIME_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two looks at what time has done to grants. Access does not wait for it.
const GRANTS_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two runs of the removal of what has expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two readings of the process's memory.
const MEMORY_READ_INTERVAL: Duration = Duration::from_millis(200);

/// The shortest time between two runs of garbage collection.
const COLLECT_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Time between two looks at what the log says of materialized permissions.
const SETS_INTERVAL: Duration = Duration::from_millis(100);
/// The same after a failure: the next look counts anew.
const SETS_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What garbage collection did so far.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    runs: AtomicU64,
    failed: AtomicU64,
    versions: AtomicU64,
    names: AtomicU64,
    micros: AtomicU64,
}

impl Collections {
    fn add(&self, took: Duration, outcome: Option<Collected>) {
        let add = |number: &AtomicU64, more| number.fetch_add(more, Ordering::Relaxed);
        add(&self.runs, 1);
        add(&self.micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match outcome {
            Some(collected) => {
                add(&self.versions, collected.versions);
                add(&self.names, collected.names);
            }
            None => {
                add(&self.failed, 1);
            }
        }
    }

    /// Writes it down for whoever scrapes.
    pub(crate) fn put(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        page.count("gc_runs", "Runs of garbage collection", load(&self.runs))?;
        page.count("gc_runs_failed", "Runs of garbage collection that failed", load(&self.failed))?;
        page.count("gc_versions", "Superseded versions that were removed", load(&self.versions))?;
        page.count("gc_names", "Names of objects that were removed", load(&self.names))?;
        page.count("gc_milliseconds", "Time spent in garbage collection", load(&self.micros) / 1000)
    }
}

/// Collects garbage until `stop` turns true.
pub(crate) async fn collect_garbage(
    authorizer: Arc<Authorizer>,
    config: Config,
    collections: Arc<Collections>,
    mut stop: watch::Receiver<bool>,
) {
    let interval = config.datastore_gc_interval.0.max(COLLECT_INTERVAL_MIN);
    let mut more = false;
    loop {
        // A run that stopped at its bound goes on soon, after others had their turn at the disk.
        let pause = if more { Duration::from_millis(100) } else { interval };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let (authorizer, window, log_window) =
            (Arc::clone(&authorizer), config.datastore_gc_window.0, config.log_window.0);
        let run = tokio::task::spawn_blocking(move || {
            let now = authorizer.clock().now();
            let before = |age: Duration| now.saturating_sub(age).unwrap_or(now);
            authorizer.collect_garbage(before(window), before(log_window))
        });
        let begun = Instant::now();
        let run = run.await;
        collections.add(begun.elapsed(), run.as_ref().ok().and_then(|run| run.as_ref().ok().copied()));
        more = match run {
            Ok(Ok(collected)) => {
                if collected.versions + collected.names > 0 {
                    tracing::info!(versions = collected.versions, names = collected.names, "garbage collected");
                }
                collected.more
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "garbage collection failed");
                false
            }
            Err(error) => {
                tracing::error!(%error, "garbage collection ended early");
                false
            }
        };
    }
}

/// Follows the sets of materialized permissions, until `stop` turns true.
pub(crate) async fn keep_sets(authorizer: Arc<Authorizer>, mut stop: watch::Receiver<bool>) {
    if authorizer.materialized().is_empty() {
        return;
    }
    let mut keeper = Keeper::new(authorizer);
    let mut pause = SETS_INTERVAL;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let run = tokio::task::spawn_blocking(move || {
            let kept = keeper.run();
            (keeper, kept)
        });
        let (again, kept) = match run.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "following permission sets ended early");
                return;
            }
        };
        keeper = again;
        pause = match kept {
            Ok(()) => SETS_INTERVAL,
            Err(error) => {
                tracing::error!(%error, "permission sets cannot be followed");
                SETS_RETRY_INTERVAL
            }
        };
    }
}

/// Tells the log what begins and ends by the passing of time, and removes what ended longer than `retention` ago, until
/// `stop` turns true.
pub(crate) async fn pass_time(authorizer: Arc<Authorizer>, retention: Duration, mut stop: watch::Receiver<bool>) {
    let begun = Instant::now();
    let mut swept = begun;
    let mut failed = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(MOMENTS_INTERVAL) => {}
        }
        // A clock that is wrong from the start must not end grants for good before somebody can see it.
        let sweep = begun.elapsed() >= retention && swept.elapsed() >= SWEEP_INTERVAL;
        let authorizer = Arc::clone(&authorizer);
        let run = tokio::task::spawn_blocking(move || -> Result<(u64, bool), stonetown_authorizer::Error> {
            while authorizer.pass_time()? {}
            if !sweep {
                return Ok((0, true));
            }
            let now = authorizer.clock().now();
            authorizer.remove_expired(now.saturating_sub(retention).unwrap_or(now))
        });
        match run.await {
            Ok(Ok((removed, more))) => {
                failed = false;
                if !more {
                    swept = Instant::now();
                }
                if removed > 0 {
                    tracing::info!(removed, "expired relationships removed");
                }
            }
            // Told once: without writes it fails each time.
            Ok(Err(error)) if !failed => {
                failed = true;
                tracing::error!(%error, "what began or ended could not be logged");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "the passing of time ended early"),
        }
    }
}

/// Writes down ahead until when time may be told, until `stop` turns true, when no more is told.
pub(crate) async fn keep_time(authorizer: Arc<Authorizer>, stop: watch::Receiver<bool>) {
    let words = Words {
        failed: "the time that is told cannot be written down: a restart could go by a clock that was set back meanwhile",
        ended_early: "writing down the time ended early",
    };
    let keeper = Arc::clone(&authorizer);
    regularly(TIME_INTERVAL, stop, words, move || keeper.keep_time()).await;
    match tokio::task::spawn_blocking(move || authorizer.leave_time()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the last time that was told is not written down: the next start may wait")
        }
        Err(error) => tracing::error!(%error, "writing down the time ended early"),
    }
}

/// Keeps the relationship counters in step with the log until `stop` turns true.
pub(crate) async fn advance_counters(authorizer: Arc<Authorizer>, stop: watch::Receiver<bool>) {
    let words = Words {
        failed: "the relationship counters cannot be kept",
        ended_early: "keeping the relationship counters ended early",
    };
    regularly(MOMENTS_INTERVAL, stop, words, move || authorizer.advance_counters()).await;
}

/// Writes down which grants have ended, until `stop` turns true.
pub(crate) async fn end_grants(desk: Arc<Desk>, stop: watch::Receiver<bool>) {
    let words = Words {
        failed: "grants that have ended could not be written down",
        ended_early: "looking after grants ended early",
    };
    regularly(GRANTS_INTERVAL, stop, words, move || desk.tick()).await;
}

/// What is told of work that is done regularly.
struct Words {
    failed: &'static str,
    ended_early: &'static str,
}

/// Does some work again and again, on a thread that may block, until `stop` turns true.
async fn regularly<T: Send + 'static, E: Display + Send + 'static>(
    interval: Duration,
    mut stop: watch::Receiver<bool>,
    Words { failed, ended_early }: Words,
    work: impl Fn() -> Result<T, E> + Send + Sync + 'static,
) {
    let work = Arc::new(work);
    let mut fails = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(interval) => {}
        }
        let work = Arc::clone(&work);
        match tokio::task::spawn_blocking(move || work()).await {
            Ok(Ok(_)) => fails = false,
            // Told once: what failed is tried again each time.
            Ok(Err(error)) if !fails => {
                fails = true;
                tracing::error!(%error, "{failed}");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "{ended_early}"),
        }
    }
}

/// Does for a store that comes and goes what [`pass_time`] and [`advance_counters`] do, until nobody uses it.
pub(crate) async fn keep_up(authorizer: Weak<Authorizer>) {
    loop {
        tokio::time::sleep(MOMENTS_INTERVAL).await;
        let Some(authorizer) = authorizer.upgrade() else { return };
        let run = tokio::task::spawn_blocking(move || -> Result<(), stonetown_authorizer::Error> {
            while authorizer.pass_time()? {}
            authorizer.advance_counters().map(|_| ())
        });
        if !matches!(run.await, Ok(Ok(()))) {
            tracing::warn!("what began or ended in a test store could not be logged");
        }
    }
}

/// Tells the memory gate how much the process uses, until `stop` turns true.
pub(crate) async fn watch_memory(authorizer: Arc<Authorizer>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(MEMORY_READ_INTERVAL) => authorizer.admission().set_memory_used(process_memory_bytes()),
        }
    }
}

/// The resident memory of this process; 0 where the system does not tell.
pub(crate) fn process_memory_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmRSS:") * 1024
}

/// The memory of the machine, or of the control group where that is less; 0 where the system does not tell.
pub(crate) fn machine_memory_bytes() -> u64 {
    let machine = kilobytes("/proc/meminfo", "MemTotal:") * 1024;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    group.map_or(machine, |group: u64| group.min(machine))
}

fn kilobytes(path: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
