//! The thread that writes: takes what waits, appends, writes, syncs, signs; follows the transaction log; keeps the log of
//! decisions within its bound.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stonetown_tuple::{StoreId, Timestamp};

use super::indexer::Indexer;
use super::mapped::{Half, Omitted, Tally};
use super::queue::Taken;
use super::shelf::{Kept, Shelf};
use super::{PendingErasure, Shared};
use crate::bytes::Reader;
use crate::changes::Changes;
use crate::erase::entry;
use crate::layout::log_of;
use crate::log::{Log, LogError};
use crate::record::{Body, Gap, micros_of_draft, store_of_draft};
use crate::segment;

/// How long a record waits at most before it is handed to the system.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long a record waits at most before it is synced and signed for.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long changes are taken from the transaction log before decisions have their turn again.
const FOLLOW_MAX: Duration = Duration::from_millis(200);
/// How long logs are synced and signed for, where nobody waits for that, before others have their turn again.
const PUBLISH_MAX: Duration = Duration::from_millis(200);
/// How often a failure that lasts is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    shared: Arc<Shared>,
    decisions: Shelf,
    changes: Changes,
    decisions_bytes_max: u64,
    /// The half of the queue that is not being filled.
    half: Half,
    changes_synced_at: Instant,
    told_at: Option<Instant>,
    indexer: Indexer,
}

/// Fails whoever waits when the thread ends early, and takes no more.
struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.queue.fail_waiting();
    }
}

/// The logs that could not be written in one batch.
type Failed = BTreeSet<StoreId>;

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        half: Half,
        decisions: Shelf,
        changes: Changes,
        decisions_bytes_max: u64,
        indexer: Indexer,
    ) -> Worker {
        Worker {
            shared,
            decisions,
            changes,
            decisions_bytes_max,
            half,
            changes_synced_at: Instant::now(),
            told_at: None,
            indexer,
        }
    }

    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _close = CloseOnDrop(&shared);
        loop {
            let taken = shared.queue.take(WRITE_EVERY, &mut self.half);
            let closed = taken.closed;
            *shared.busy_since.lock() = Some(Instant::now());
            // A bug, or a standard error that cannot be written to, ends one batch and not the recording.
            let worked = catch_unwind(AssertUnwindSafe(|| {
                self.write(&taken);
                self.follow(if closed { Duration::MAX } else { FOLLOW_MAX });
                self.record_erasures();
            }));
            if worked.is_err() {
                shared.counters.failing.store(1, Ordering::Relaxed);
                taken.batches.values().for_each(|batch| batch.settle_if_open(false));
                self.omit_rest();
            }
            if closed {
                self.end();
                return;
            }
            self.keep_within_bound();
            *shared.busy_since.lock() = None;
        }
    }

    /// Appends and writes a batch; syncs the logs for which somebody waits, or whose time it is. What fails with one log leaves
    /// the others alone.
    fn write(&mut self, taken: &Taken) {
        let mut failed = Failed::new();
        self.tell_untold(taken, &mut failed);
        let begun = self.begin(&mut failed);
        self.append_all(&mut failed);
        for (of, size_before) in begun {
            let written = self.decisions.get(of).and_then(|kept| {
                kept.log.write()?;
                kept.in_flight = Tally::default();
                Ok(kept.log.size().saturating_sub(size_before))
            });
            let written = written.map(|count| self.shared.counters.decisions.fetch_add(count, Ordering::Relaxed));
            self.note(of, written.map(drop), &mut failed);
        }
        self.half.clear();
        for of in taken.batches.keys().filter(|of| !failed.contains(*of)).copied().collect::<Vec<_>>() {
            let synced = self.sync(of);
            self.note(of, synced, &mut failed);
        }
        self.count(&failed);
        taken.batches.iter().for_each(|(of, batch)| batch.settle(!failed.contains(of)));
        self.publish_due(taken.closed, &mut failed);
        self.count(&failed);
    }

    fn count(&self, failed: &Failed) {
        let counters = &self.shared.counters;
        counters.unsynced.store(self.decisions.unsynced(), Ordering::Relaxed);
        counters.failing.store(u64::from(!failed.is_empty()), Ordering::Relaxed);
    }

    /// Says in each log what it lacks, as far as it is time.
    fn tell_untold(&mut self, taken: &Taken, failed: &mut Failed) {
        for of in &taken.untold {
            for omitted in Omitted::ALL {
                // Log-ins are told of together.
                let is_due = || taken.closed || self.decisions.is_due(*of, SYNC_EVERY);
                if omitted != Omitted::LogIns || is_due() {
                    let told = self.tell_omitted(*of, omitted);
                    self.note(*of, told, failed);
                }
            }
        }
    }

    /// Prepares the logs for the drafts of the half; returns how many records each has.
    fn begin(&mut self, failed: &mut Failed) -> Vec<(StoreId, u64)> {
        let drafted: BTreeSet<_> = drafts(self.half.bytes()).map(log_of_draft).collect();
        // All are opened first: to open one adds a record to that of the default store.
        for of in &drafted {
            let opened = self.decisions.get(*of).map(drop);
            self.note(*of, opened, failed);
        }
        let mut begun = Vec::with_capacity(drafted.len());
        for of in drafted {
            if let Some(kept) = self.decisions.opened(of) {
                let size = kept.log.size();
                self.half.begin_at(of, size);
                self.shared.queue.set_start(of, kept.start);
                begun.push((of, size));
            }
        }
        begun
    }

    /// Appends the drafts of the half to their logs.
    fn append_all(&mut self, failed: &mut Failed) {
        let mut lost = BTreeMap::<StoreId, Tally>::new();
        let mut first_errors = Vec::new();
        for draft in drafts(self.half.bytes()) {
            let of = log_of_draft(draft);
            // One failure is enough for a batch: the disk is not asked again for each of thousands.
            if !failed.contains(&of) {
                match self.decisions.get(of).and_then(|kept| append(kept, draft)) {
                    Ok(()) => continue,
                    Err(error) => {
                        failed.insert(of);
                        first_errors.push((of, error));
                    }
                }
            }
            lost.entry(of).or_default().add(micros(draft));
        }
        lost.into_iter().for_each(|(of, lost)| self.omit(of, lost));
        first_errors.into_iter().for_each(|(of, error)| self.failed(of, &error));
    }

    /// Says in a log what it lacks; that is forgotten only when it is written.
    fn tell_omitted(&mut self, of: StoreId, omitted: Omitted) -> Result<(), LogError> {
        let tally = self.shared.queue.omitted(of, omitted);
        if tally.count == 0 {
            return Ok(());
        }
        let number = |micros: i64| u64::try_from(micros).unwrap_or(0);
        let (from, until) = (number(tally.from), number(tally.until));
        let (reason, count) = (omitted.reason(), tally.count);
        let log = &mut self.decisions.get(of)?.log;
        log.add(&Body::Gap(Gap { time: Timestamp::now(), reason, count, from, until }))?;
        log.write()?;
        self.shared.queue.forget(of, omitted, tally);
        self.shared.counters.decisions.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(count, reason, log = log.origin(), "records were left out: the log says so");
        Ok(())
    }

    fn sync(&mut self, of: StoreId) -> Result<(), LogError> {
        let begun = Instant::now();
        self.decisions.get(of)?.log.sync()?;
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.sync_micros.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    /// Syncs and signs for the logs whose time it is, those that wait for longest first, for a while.
    fn publish_due(&mut self, all: bool, failed: &mut Failed) {
        let begun = Instant::now();
        let patience = if all { Duration::MAX } else { PUBLISH_MAX };
        for of in self.decisions.due(if all { Duration::ZERO } else { SYNC_EVERY }) {
            if begun.elapsed() >= patience {
                break;
            }
            let unsynced = self.decisions.get(of).map_or(0, |kept| kept.log.unsynced());
            let synced = if unsynced > 0 { self.sync(of) } else { Ok(()) };
            let published = synced.and_then(|()| {
                let kept = self.decisions.get(of)?;
                kept.published_at = Instant::now();
                kept.log.publish()
            });
            self.note(of, published, failed);
        }
    }

    /// Notes what came of working on a log.
    fn note(&mut self, of: StoreId, result: Result<(), LogError>, failed: &mut Failed) {
        if let Err(error) = result {
            failed.insert(of);
            self.failed(of, &error);
        }
    }

    /// Counts decisions that are in no batch any more.
    fn omit(&self, of: StoreId, lost: Tally) {
        if lost.count > 0 {
            self.shared.queue.omit(of, Omitted::Unwritten, lost);
            self.shared.counters.lost.fetch_add(lost.count, Ordering::Relaxed);
        }
    }

    /// Counts what is in the half, after a bug.
    fn omit_rest(&mut self) {
        let mut lost = BTreeMap::<StoreId, Tally>::new();
        drafts(self.half.bytes()).for_each(|draft| lost.entry(log_of_draft(draft)).or_default().add(micros(draft)));
        lost.into_iter().for_each(|(of, lost)| self.omit(of, lost));
        self.half.clear();
    }

    /// Counts what was appended and could not be written.
    fn failed(&mut self, of: StoreId, error: &LogError) {
        if let Some(kept) = self.decisions.opened(of)
            && kept.log.unwritten() == 0
        {
            let lost = std::mem::take(&mut kept.in_flight);
            self.omit(of, lost);
        }
        self.tell("the log of decisions cannot be written", error);
    }

    fn follow(&mut self, patience: Duration) {
        let (recorded, followed) = self.changes.follow(patience);
        let counters = &self.shared.counters;
        counters.changes.fetch_add(recorded, Ordering::Relaxed);
        counters.position.store(self.changes.recorded().0, Ordering::Relaxed);
        if let Err(error) = followed {
            self.shared.counters.failing.store(1, Ordering::Relaxed);
            return self.tell("changes cannot be recorded, for now", &error);
        }
        if self.changes_synced_at.elapsed() >= SYNC_EVERY {
            self.changes_synced_at = Instant::now();
            if let Err(error) = self.changes.sync(PUBLISH_MAX) {
                self.tell("the log of changes cannot be synced", &error);
            }
        }
    }

    fn record_erasures(&mut self) {
        let pending = std::mem::take(&mut *self.shared.erasures.lock());
        for PendingErasure { of, fields, actor, why, recorded } in pending {
            let added = self.changes.add_now(of, &entry(fields, &actor, &why));
            if let Err(error) = &added {
                self.tell("an erasure cannot be recorded", error);
            }
            let _has_left = recorded.try_send(added.is_ok());
        }
    }

    /// Removes the oldest segments of the logs of decisions that have too many bytes, after saying so in the log.
    fn keep_within_bound(&mut self) {
        let mut pruned = Ok(());
        let mut has_new = self.changes.logs().each().any(|(_, kept)| kept.begins_segment());
        for (_, kept) in self.decisions.each() {
            if kept.begins_segment() {
                has_new = true;
                if self.decisions_bytes_max > 0 {
                    pruned = pruned.and(prune(&mut kept.log, self.decisions_bytes_max));
                }
            }
        }
        if has_new {
            self.indexer.wake();
        }
        if let Err(error) = pruned {
            self.tell("old decisions cannot be removed", &error);
        }
    }

    fn end(&mut self) {
        let time = Timestamp::now();
        for logs in [&mut self.decisions, self.changes.logs()] {
            for (_, kept) in logs.each() {
                let ended = kept.log.add(&Body::Stop(time)).and_then(|()| kept.log.publish());
                if let Err(error) = ended {
                    tracing::error!(%error, origin = kept.log.origin(), "the log was not closed properly");
                }
            }
        }
        if let Err(error) = self.changes.sync(Duration::MAX) {
            tracing::error!(%error, "how far the logs of changes go is not kept: the next start looks for it");
        }
    }

    fn tell(&mut self, what: &str, error: &dyn std::fmt::Display) {
        if self.told_at.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told_at = Some(Instant::now());
            tracing::error!(%error, "{what}");
        }
    }
}

/// Removes the oldest segments until at most `bytes_max` are left, the last one always.
pub(super) fn prune(log: &mut Log, bytes_max: u64) -> Result<(), LogError> {
    let directory = log.directory().to_owned();
    let io = |source| LogError::Io { path: directory.clone(), source };
    let segments = segment::list(&directory).map_err(io)?;
    let mut sizes = Vec::with_capacity(segments.len());
    for first in &segments {
        sizes.push(std::fs::metadata(segment::path(&directory, *first)).map_err(io)?.len());
    }
    let mut total: u64 = sizes.iter().sum();
    for (at, size) in sizes.iter().enumerate() {
        let Some(kept) = segments.get(at + 1) else { break };
        if total <= bytes_max {
            break;
        }
        log.add(&Body::Pruned(Timestamp::now(), *kept))?;
        log.sync()?;
        log.publish()?;
        std::fs::remove_file(segment::path(&directory, segments[at])).map_err(io)?;
        let _there_may_be_none = std::fs::remove_file(crate::index::path(&directory, segments[at]));
        total -= size;
    }
    Ok(())
}

fn append(kept: &mut Kept, draft: &[u8]) -> Result<(), LogError> {
    kept.log.make_room()?;
    if kept.log.unwritten() == 0 {
        kept.in_flight = Tally::default();
    }
    kept.log.append(draft, kept.start)?;
    kept.in_flight.add(micros(draft));
    Ok(())
}

/// The drafts of a half, in order.
pub(super) fn drafts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut drafts = Reader(bytes);
    std::iter::from_fn(move || drafts.u32().and_then(|length| drafts.take(length as usize)))
}

/// The log that a draft belongs to.
pub(super) fn log_of_draft(draft: &[u8]) -> StoreId {
    store_of_draft(draft).map_or(StoreId::DEFAULT, log_of)
}

/// When the decision of a draft was made.
pub(super) fn micros(draft: &[u8]) -> i64 {
    micros_of_draft(draft).unwrap_or(0)
}
