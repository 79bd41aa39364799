//! Recording while calls are answered. A call hands its record to a queue of bounded size and goes on; one thread takes what
//! waits, appends it to the log, and syncs and signs at least once a second. A call whose record must not be lost waits until it
//! is synced, together with all others that wait.
//!
//! Nothing is lost in silence: what found no room in the queue, or on the disk, is counted, and a record of the gap is the first
//! that is written when there is room again.

mod queue;
#[cfg(test)]
mod tests;
mod worker;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use stonetown_storage::Datastore;
use stonetown_tuple::{CaveatContext, InstanceId, Revision};

use crate::changes::Changes;
use crate::keys::Keys;
use crate::log::{Log, LogError, Setup};
use crate::record::{Body, Decision, Draft};
use crate::strict::Strict;
use queue::{Batch, Queue};
use worker::Worker;

/// The folder of the logs in a data directory.
pub const FOLDER: &str = "audit";
/// The log of decisions in that folder, and at the end of its name.
pub const DECISIONS: &str = "decisions";
/// The log of changes in that folder, and at the end of its name.
pub const CHANGES: &str = "changes";

/// How long a strict call waits for the disk before it is refused.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How recording is set up.
#[derive(Debug)]
pub struct Options {
    /// The folder of the logs; made if it is not there.
    pub folder: PathBuf,
    /// The keys that sign.
    pub keys: Keys,
    /// The history that the logs belong to.
    pub instance: InstanceId,
    /// The name of this machine.
    pub node: String,
    /// Name and version of this program.
    pub build: String,
    /// What is answered only after its record is synced.
    pub strict: Strict,
    /// Caveat parameters whose values are not recorded.
    pub masked: Vec<String>,
    /// Bytes that may wait to be written.
    pub queue_bytes_max: usize,
    /// Bytes that the log of decisions may have on disk; beyond, its oldest segments go. 0 for no bound.
    pub decisions_bytes_max: u64,
}

impl Options {
    /// The defaults, for logs in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf, keys: Keys, instance: InstanceId) -> Options {
        Options {
            folder,
            keys,
            instance,
            node: String::new(),
            build: String::new(),
            strict: Strict::default(),
            masked: Vec::new(),
            queue_bytes_max: 16 << 20,
            decisions_bytes_max: 0,
        }
    }
}

/// A record that must be on disk before its call is answered is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the decision cannot be recorded")]
pub struct Unrecorded;

/// What happened so far, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records written to the log of decisions.
    pub decisions: AtomicU64,
    /// Records written to the log of changes.
    pub changes: AtomicU64,
    /// Decisions that were lost; the log says so in a gap.
    pub lost: AtomicU64,
    /// Strict calls that were refused because their record could not be synced.
    pub refused: AtomicU64,
    /// Syncs of the log of decisions.
    pub syncs: AtomicU64,
    /// Microseconds that they took together.
    pub sync_micros: AtomicU64,
    /// 1 while the logs cannot be written.
    pub failing: AtomicU64,
    /// Decisions in the log that are not synced.
    pub unsynced: AtomicU64,
    /// The last revision in the log of changes.
    pub position: AtomicU64,
}

/// Records decisions and changes for as long as it lives. Shared by all calls.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The record of this process's start in the log of decisions.
    start: u64,
    strict: Strict,
    masked: Vec<String>,
}

struct Shared {
    queue: Queue,
    counters: Counters,
}

/// What is to be waited for before a strict call is answered.
#[derive(Debug, Default)]
pub struct Receipt(Option<Arc<Batch>>);

thread_local! {
    static DRAFT: RefCell<Draft> = RefCell::default();
}

impl Recorder {
    /// Opens both logs, made if they are not there, and begins to record: what was committed without being recorded first.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(options: Options, datastore: Arc<dyn Datastore>) -> Result<Recorder, LogError> {
        Recorder::open_with(options, datastore, &Setup::new)
    }

    fn open_with(
        options: Options,
        datastore: Arc<dyn Datastore>,
        setup: &dyn Fn(PathBuf, String) -> Setup,
    ) -> Result<Recorder, LogError> {
        let Options { folder, keys, instance, node, build, .. } = options;
        let open = |name: &str| -> Result<_, LogError> {
            let (mut log, found) = Log::open(setup(folder.join(name), origin(instance, name)), &keys)?;
            if found.bytes_cut > 0 || !found.clean {
                tracing::warn!(log = name, bytes_cut = found.bytes_cut, "the log was not closed properly");
            }
            let start = log.add_start(&node, &build, &found)?;
            log.sync()?;
            log.publish()?;
            Ok((log, found, start))
        };
        let (decisions, _, start) = open(DECISIONS)?;
        let (changes, found, _) = open(CHANGES)?;
        let shared = Arc::new(Shared { queue: Queue::new(options.queue_bytes_max), counters: Counters::default() });
        shared.counters.position.store(found.position.0, Ordering::Relaxed);
        let changes = Changes::new(changes, datastore, &found);
        let worker = Worker::new(Arc::clone(&shared), decisions, changes, options.decisions_bytes_max);
        let thread = std::thread::Builder::new().name("stonetown-audit".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(|source| LogError::Io { path: folder, source })?;
        Ok(Recorder { shared, thread: Mutex::new(Some(thread)), start, strict: options.strict, masked: options.masked })
    }

    /// Whether a permission is answered only after its record is synced.
    #[must_use]
    pub fn is_strict(&self, resource_type: &str, permission: &str) -> bool {
        self.strict.covers(resource_type, permission)
    }

    /// The values that a request gave for caveats as they are recorded: those that are masked are named, and not told.
    #[must_use]
    pub fn context(&self, context: &CaveatContext) -> String {
        if context.is_empty() {
            return String::new();
        }
        if !context.keys().any(|key| self.masked.contains(key)) {
            return serde_json::to_string(context).unwrap_or_default();
        }
        let mut masked = context.clone();
        for (key, value) in &mut masked {
            if self.masked.contains(key) {
                *value = "[masked]".into();
            }
        }
        serde_json::to_string(&masked).unwrap_or_default()
    }

    /// Records a decision; [`Decision::start`] is filled in here. Never blocks. When it is `strict`, the answer must not be
    /// given before [`Receipt::wait`].
    ///
    /// # Errors
    /// [`Unrecorded`] for a strict one that finds no room. Any other that finds none is counted.
    pub fn record(&self, mut decision: Decision<'_>, strict: bool) -> Result<Receipt, Unrecorded> {
        decision.start = self.start;
        let time = decision.time;
        let pushed = DRAFT.with_borrow_mut(|draft| {
            draft.set(&Body::Decision(decision));
            self.shared.queue.push(&draft.bytes, time.as_microsecond(), strict)
        });
        match pushed {
            Ok(batch) => Ok(Receipt(batch)),
            Err(Unrecorded) if strict => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Unrecorded)
            }
            Err(Unrecorded) => {
                self.shared.counters.lost.fetch_add(1, Ordering::Relaxed);
                Ok(Receipt(None))
            }
        }
    }

    /// Waits until everything that `receipt` stands for is synced.
    ///
    /// # Errors
    /// [`Unrecorded`] when it could not be, or not in time.
    pub fn wait(&self, receipt: &Receipt) -> Result<(), Unrecorded> {
        let Some(batch) = &receipt.0 else { return Ok(()) };
        if batch.wait(WAIT_MAX) {
            return Ok(());
        }
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        Err(Unrecorded)
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue.bytes()
    }

    /// The last revision that is in the log of changes: the transaction log is still needed behind it.
    #[must_use]
    pub fn position(&self) -> Revision {
        Revision(self.shared.counters.position.load(Ordering::Relaxed))
    }

    /// Writes and signs what waits, and ends recording: what comes later is counted as lost.
    pub fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that records failed on a bug");
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Receipt {
    /// Stands for both.
    pub fn join(&mut self, other: Receipt) {
        // Batches are settled in order: the later one stands for the earlier, unless that failed.
        if let Some(batch) = other.0 {
            match &self.0 {
                Some(own) if own.has_failed() => {}
                _ => self.0 = Some(batch),
            }
        }
    }
}

/// The name of a log.
#[must_use]
pub fn origin(instance: InstanceId, log: &str) -> String {
    format!("stonetown/{instance}/{log}")
}

/// The directory of a log in a data directory.
#[must_use]
pub fn log_directory(data: &Path, log: &str) -> PathBuf {
    data.join(FOLDER).join(log)
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("start", &self.start).finish_non_exhaustive()
    }
}
