//! Recording while calls are answered. A call hands its record to a queue of bounded size and goes on; one thread takes what
//! waits, appends it to the log, and syncs and signs at least once a second. A call whose record must not be lost waits until it
//! is synced, together with all others that wait.
//!
//! Nothing is lost in silence: what found no room in the queue, or on the disk, is counted, and a record of the gap is the first
//! that is written when there is room again.

mod indexer;
mod mapped;
mod queue;
pub(crate) mod shelf;
#[cfg(test)]
mod tests;
mod worker;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stonetown_storage::Datastore;
use stonetown_tuple::{CaveatContext, InstanceId, Revision, StoreId, Timestamp};

use crate::calls::CALLS;
use crate::changes::Changes;
use crate::erase::{self, EraseError, Erasure, Fields};
use crate::keys::Keys;
use crate::layout::{CHANGES, DECISIONS, LOGS_MAX, log_directory, log_of, store_folder};
use crate::log::{Log, LogError, Setup};
use crate::reader::{LogReader, ReadError};
use crate::record::{Body, Decision, Draft, Outcome};
use crate::strict::Strict;
use indexer::Indexer;
use mapped::{Half, Mapped, Omitted, Table, Tally};
use queue::{Batch, Queue};
use shelf::{Maker, Shelf};
use worker::Worker;

/// What waits to be written to the logs of decisions, in the folder of the logs. Whoever has it locked writes the logs.
const QUEUE: &str = "queue";
/// Up to where the logs of changes are whole, in that folder.
const POSITION: &str = "position";

/// Refused log-ins of one second that are recorded one by one.
const LOG_INS_PER_SECOND: u32 = 10;
/// Longest detail of a refused log-in, in bytes.
const LOG_IN_DETAIL_BYTES_MAX: usize = 256;
/// What stands for a value that is masked.
pub const MASKED: &str = "[masked]";
/// How long a strict call waits for the disk before it is refused. Once the disk has kept everybody waiting for so long, strict calls
/// are refused at once, so that they do not hold the threads that all other calls need.
const STRICT_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long an erasure waits until it is recorded.
const ERASURE_WAIT_MAX: Duration = Duration::from_secs(10);

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
    /// How long a strict call waits for the disk before it is refused.
    pub strict_wait_max: Duration,
    /// How long an erasure waits until it is recorded, before it is refused.
    pub erasure_wait_max: Duration,
    /// Bytes that may wait to be written.
    pub queue_bytes_max: usize,
    /// Bytes that the log of decisions of each store may have on disk; beyond, its oldest segments go. 0 for no bound.
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
            strict_wait_max: STRICT_WAIT_MAX,
            erasure_wait_max: ERASURE_WAIT_MAX,
            queue_bytes_max: 16 << 20,
            decisions_bytes_max: 0,
        }
    }
}

/// Why a record that must be on disk before its call is answered is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// There is nothing to record to.
    #[error("this server keeps no log")]
    NoLog,
    /// What waits to be written has no room for more.
    #[error("too much waits to be written to the log")]
    QueueFull,
    /// Writing or syncing failed.
    #[error("the log cannot be written")]
    NotSynced,
    /// Nothing has been synced for as long as a call may wait.
    #[error("the disk of the log has stalled")]
    Stalled,
    /// The wait, or the time of the call, was over.
    #[error("the log was not synced in time")]
    OutOfTime,
    /// The server is ending.
    #[error("the log is closed")]
    Closed,
}

/// What happened so far, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records written to logs of decisions.
    pub decisions: AtomicU64,
    /// Records written to logs of changes.
    pub changes: AtomicU64,
    /// Decisions that were lost; the log says so in a gap.
    pub lost: AtomicU64,
    /// Records that their calls waited for.
    pub strict: AtomicU64,
    /// Microseconds that strict calls waited for the disk together.
    pub strict_wait_micros: AtomicU64,
    /// Strict calls that wait for the disk.
    pub strict_waiting: AtomicU64,
    /// Strict calls that were refused because their record could not be synced.
    pub refused: AtomicU64,
    /// Syncs of logs of decisions.
    pub syncs: AtomicU64,
    /// Microseconds that they took together.
    pub sync_micros: AtomicU64,
    /// 1 while a log cannot be written.
    pub failing: AtomicU64,
    /// Decisions in logs that are not synced.
    pub unsynced: AtomicU64,
    /// The last revision in the logs of changes.
    pub position: AtomicU64,
}

/// Records decisions and changes for as long as it lives. Shared by all calls.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    strict: Strict,
    strict_wait_max: Duration,
    erasure_wait_max: Duration,
    masked: Vec<String>,
    folder: PathBuf,
    /// The second of the last refused log-in, and how many there were in it.
    log_ins: Mutex<(i64, u32)>,
    /// One erasure at a time.
    erasing: Mutex<()>,
}

struct Shared {
    queue: Queue,
    counters: Counters,
    /// Since when the writer has been at its present batch.
    busy_since: Mutex<Option<Instant>>,
    erasures: Mutex<Vec<PendingErasure>>,
}

/// An erasure that is to be recorded before it is done.
struct PendingErasure {
    /// Whose logs.
    of: StoreId,
    fields: Fields,
    actor: String,
    why: String,
    /// Told whether that lasts.
    recorded: SyncSender<bool>,
}

/// What is to be waited for before a strict call is answered: the batches that its records went into.
#[derive(Debug, Default)]
pub struct Receipt(Vec<Arc<Batch>>);

thread_local! {
    static DRAFT: RefCell<Draft> = RefCell::default();
}

impl Recorder {
    /// Opens the logs of the default store, made if they are not there, and begins to record: what was committed without being
    /// recorded first. Those of other stores are opened at their first record.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(options: Options, datastore: Arc<dyn Datastore>) -> Result<Recorder, LogError> {
        Recorder::open_with(options, datastore, Setup::new)
    }

    fn open_with(
        options: Options,
        datastore: Arc<dyn Datastore>,
        setup: fn(PathBuf, String) -> Setup,
    ) -> Result<Recorder, LogError> {
        let Options { folder, keys, instance, node, build, .. } = options;
        let mut mapped = open_queue(&folder, instance, options.queue_bytes_max)?;
        let maker = Maker { folder: folder.clone(), kind: DECISIONS, instance, keys, node, build, setup };
        let mut decisions = Shelf::new(maker.clone());
        recover_all(&mut decisions, &mut mapped)?;
        let mut changes = Shelf::new(Maker { kind: CHANGES, ..maker });
        let main = changes.get(StoreId::DEFAULT)?;
        main.log.publish()?;
        let main = main.position;
        let changes = Changes::new(changes, datastore, folder.join(POSITION), main)?;
        let (queue, half) = Queue::new(mapped, options.queue_bytes_max);
        let shared = Arc::new(Shared {
            queue,
            counters: Counters::default(),
            busy_since: Mutex::default(),
            erasures: Mutex::default(),
        });
        shared.counters.position.store(changes.recorded().0, Ordering::Relaxed);
        let indexer = Indexer::start(folder.clone());
        let worker = Worker::new(Arc::clone(&shared), half, decisions, changes, options.decisions_bytes_max, indexer);
        let thread = std::thread::Builder::new().name("audit-write".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(|source| LogError::Io { path: folder.clone(), source })?;
        Ok(Recorder {
            shared,
            thread: Mutex::new(Some(thread)),
            strict: options.strict,
            strict_wait_max: options.strict_wait_max,
            erasure_wait_max: options.erasure_wait_max,
            masked: options.masked,
            folder,
            log_ins: Mutex::default(),
            erasing: Mutex::default(),
        })
    }

    /// Whether the settings say that a permission is answered only after its record is synced.
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
                *value = MASKED.into();
            }
        }
        serde_json::to_string(&masked).unwrap_or_default()
    }

    /// Records a decision in the log of its store. Never blocks. When it is `strict`, the answer must not be
    /// given before [`Recorder::wait`].
    ///
    /// # Errors
    /// [`Unrecorded`] for a strict one that finds no room, or a disk that has stalled. Any other that finds no room is counted.
    pub fn record(&self, decision: Decision<'_>, strict: bool) -> Result<Receipt, Unrecorded> {
        if strict && self.has_stalled() {
            return Err(self.refused(Unrecorded::Stalled));
        }
        debug_assert!(CALLS.contains(&decision.call), "a search cannot find `{}`", decision.call);
        let (time, of) = (decision.time, log_of(decision.store));
        let pushed = DRAFT.with_borrow_mut(|draft| {
            draft.set(&Body::Decision(decision));
            self.shared.queue.push(of, &draft.bytes, time.as_microsecond(), strict)
        });
        match pushed {
            Ok(batch) => {
                self.shared.counters.strict.fetch_add(u64::from(strict), Ordering::Relaxed);
                Ok(Receipt(batch.into_iter().collect()))
            }
            Err(why) if strict => Err(self.refused(why)),
            Err(_) => {
                self.shared.counters.lost.fetch_add(1, Ordering::Relaxed);
                Ok(Receipt::default())
            }
        }
    }

    /// Records that somebody could not prove who they are: `why` in one word, and what they tried. Of many in a second the first
    /// are recorded one by one; the rest is counted, and the log says how many.
    pub fn record_refused_log_in(&self, why: &'static str, tried: &str) {
        let time = Timestamp::now();
        let in_this_second = {
            let mut log_ins = self.log_ins.lock();
            let second = time.as_second();
            *log_ins = if log_ins.0 == second { (second, log_ins.1.saturating_add(1)) } else { (second, 1) };
            log_ins.1
        };
        if in_this_second > LOG_INS_PER_SECOND {
            let micros = time.as_microsecond();
            self.shared.queue.omit(StoreId::DEFAULT, Omitted::LogIns, Tally { count: 1, from: micros, until: micros });
            return;
        }
        let _counted_if_lost = self.record(
            Decision {
                time,
                start: 0,
                call: "authenticate",
                outcome: Outcome::Failed,
                reason: why,
                store: StoreId::DEFAULT,
                revision: Revision(0),
                schema: Revision(0),
                duration: Duration::ZERO,
                judged_at: None,
                resource_type: "",
                permission: "",
                subject_type: "",
                subject_relation: "",
                count: 0,
                digest: None,
                caller: "",
                resource_id: "",
                subject_id: "",
                context: "",
                detail: &tried[..tried.floor_char_boundary(LOG_IN_DETAIL_BYTES_MAX)],
                actors: Vec::new(),
            },
            false,
        );
    }

    /// Erases personal fields from both logs of a store, after the erasure itself, by `actor` and for the reason `why`, is recorded
    /// in the log of changes. Proofs stay valid. Reads both logs; blocks until it is done.
    ///
    /// # Errors
    /// See [`EraseError`].
    pub fn erase(&self, store: StoreId, erasure: &Erasure, actor: &str, why: &str) -> Result<Fields, EraseError> {
        let _alone = self.erasing.lock();
        let of = log_of(store);
        erase::erase_recorded(&store_folder(&self.folder, of), erasure, |fields| {
            let (recorded, is_recorded) = sync_channel(1);
            let pending = PendingErasure { of, fields, actor: actor.to_owned(), why: why.to_owned(), recorded };
            self.shared.erasures.lock().push(pending);
            let is_recorded = is_recorded.recv_timeout(self.erasure_wait_max);
            // What the writer has not come to is not to be recorded once it is refused.
            self.shared.erasures.lock().clear();
            match is_recorded {
                Ok(true) => Ok(()),
                _ => Err(EraseError::Unrecorded),
            }
        })
    }

    /// Waits until everything that `receipt` stands for is synced, until `deadline` at the latest.
    ///
    /// # Errors
    /// [`Unrecorded`] when it could not be, or not in time.
    pub fn wait(&self, receipt: &Receipt, deadline: Option<Instant>) -> Result<(), Unrecorded> {
        if receipt.0.is_empty() {
            return Ok(());
        }
        let counters = &self.shared.counters;
        let begun = Instant::now();
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(begun));
        counters.strict_waiting.fetch_add(1, Ordering::Relaxed);
        let patience = left.min(self.strict_wait_max);
        let mut outcomes = receipt.0.iter().map(|batch| batch.wait(patience.saturating_sub(begun.elapsed())));
        let unsynced = outcomes.find(|synced| *synced != Some(true));
        counters.strict_waiting.fetch_sub(1, Ordering::Relaxed);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(0);
        counters.strict_wait_micros.fetch_add(micros, Ordering::Relaxed);
        match unsynced {
            None => Ok(()),
            Some(Some(_)) => Err(self.refused(Unrecorded::NotSynced)),
            Some(None) => Err(self.refused(Unrecorded::OutOfTime)),
        }
    }

    /// Whether the disk has kept everybody waiting for as long as a strict call waits.
    fn has_stalled(&self) -> bool {
        self.shared.busy_since.lock().is_some_and(|since| since.elapsed() >= self.strict_wait_max)
    }

    fn refused(&self, why: Unrecorded) -> Unrecorded {
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        why
    }

    /// A store's log of decisions or of changes ([`DECISIONS`], [`CHANGES`]) as it is on disk, which has a record some 50 ms after
    /// the answer or the commit.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn log(&self, store: StoreId, log: &str) -> Result<LogReader, ReadError> {
        LogReader::open(&log_directory(&self.folder, store, log))
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

    /// The last revision that is in the logs of changes: the transaction log is still needed behind it.
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
        self.shared.queue.release();
    }
}

/// Takes the logs of a folder for this process.
fn open_queue(folder: &Path, instance: InstanceId, bytes_max: usize) -> Result<Mapped, LogError> {
    let path = folder.join(QUEUE);
    let opened = std::fs::create_dir_all(folder).and_then(|()| Mapped::open(&path, instance, bytes_max));
    opened.map_err(|source| LogError::Io { path, source })
}

/// Takes the logs of a folder that no process writes, and that lack no record.
pub(crate) fn lock_idle(folder: &Path) -> Result<Option<File>, ReadError> {
    let path = folder.join(QUEUE);
    mapped::lock_idle(&path).map_err(|source| ReadError::Io { path, source })
}

/// Writes to the logs what a process that was killed had answered and not written, and leaves both halves empty. A store's log that
/// cannot be opened lacks what was for it, which is counted; without that of the default store there is no recording.
fn recover_all(logs: &mut Shelf, mapped: &mut Mapped) -> Result<(), LogError> {
    let Mapped { table, halves, .. } = mapped;
    let drafted = halves.iter().flat_map(|half| worker::drafts(half.bytes())).map(worker::log_of_draft);
    let mut drafted: BTreeSet<StoreId> = drafted.collect();
    drafted.insert(StoreId::DEFAULT);
    for of in drafted {
        let opened = logs.open(of, |log, size| recover(log, of, size, halves, table)).map(drop);
        match opened {
            Err(error) if of != StoreId::DEFAULT => {
                tracing::error!(%error, "a log of decisions cannot be opened: what a killed process left for it is lost");
                omit_left(of, halves, table);
            }
            opened => opened?,
        }
    }
    // What was recovered is synced before it is gone from the queue.
    for (of, kept) in logs.each() {
        if let Err(error) = kept.log.publish() {
            if of == StoreId::DEFAULT {
                return Err(error);
            }
            tracing::error!(%error, "what was recovered of a log of decisions is not synced");
        }
    }
    halves.iter_mut().for_each(Half::clear);
    (0..LOGS_MAX).for_each(|number| table.set_start(StoreId(number), None));
    Ok(())
}

/// Writes to a log what waits for it; `size` is how many records it had when it was opened. Returns how many.
fn recover(log: &mut Log, of: StoreId, size: u64, halves: &mut [Half], table: &Table) -> Result<u64, LogError> {
    let drafts = |half: &Half| worker::drafts(half.bytes()).filter(|draft| worker::log_of_draft(draft) == of).count();
    let in_log = |half: &Half| half.begins(of).map_or(0, |begins| size.saturating_sub(begins));
    let waiting = |half: &Half| (drafts(half) as u64).saturating_sub(in_log(half));
    let recovered = halves.iter().map(waiting).sum();
    // Who was killed before the record of the start was written has none: that of the process that follows stands after these.
    let start = table.start(of).unwrap_or(log.size() + recovered);
    for half in halves.iter_mut() {
        let in_log = in_log(half);
        half.begin_at(of, log.size().saturating_sub(in_log));
        let drafts = worker::drafts(half.bytes()).filter(|draft| worker::log_of_draft(draft) == of);
        for draft in drafts.skip(usize::try_from(in_log).unwrap_or(usize::MAX)) {
            log.make_room()?;
            log.append(draft, start)?;
        }
    }
    log.write()?;
    Ok(recovered)
}

/// Counts what waits for a log.
fn omit_left(of: StoreId, halves: &[Half], table: &mut Table) {
    let mut tally = table.tally(of, Omitted::Unwritten);
    for draft in halves.iter().flat_map(|half| worker::drafts(half.bytes())) {
        if worker::log_of_draft(draft) == of {
            tally.add(worker::micros(draft));
        }
    }
    table.set_tally(of, Omitted::Unwritten, tally);
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Receipt {
    /// Stands for both.
    pub fn join(&mut self, other: Receipt) {
        // A batch that is synced says nothing of the one before, which may fail.
        for batch in other.0 {
            if !self.0.last().is_some_and(|last| Arc::ptr_eq(last, &batch)) {
                self.0.push(batch);
            }
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("folder", &self.folder).finish_non_exhaustive()
    }
}
