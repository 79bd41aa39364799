//! The thread that writes: takes what waits, appends, writes, syncs, signs; follows the transaction log; keeps the log of
//! decisions within its bound.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stonetown_tuple::Timestamp;

use super::indexer::Indexer;
use super::mapped::{Half, Omitted, Tally};
use super::queue::Taken;
use super::{PendingErasure, Shared};
use crate::bytes::Reader;
use crate::changes::Changes;
use crate::erase::entry;
use crate::log::{Log, LogError};
use crate::record::{Body, Gap};
use crate::segment;

/// How long a record waits at most before it is handed to the system.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long a record waits at most before it is synced and signed for.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long changes are taken from the transaction log before decisions have their turn again.
const FOLLOW_MAX: Duration = Duration::from_millis(200);
/// How often a failure that lasts is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    shared: Arc<Shared>,
    decisions: Log,
    changes: Changes,
    decisions_bytes_max: u64,
    /// The half of the queue that is not being filled.
    half: Half,
    /// Decisions that are appended and not written.
    in_flight: Tally,
    published_at: Instant,
    changes_synced_at: Instant,
    told_at: Option<Instant>,
    segment: u64,
    changes_segment: u64,
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

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        half: Half,
        decisions: Log,
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
            in_flight: Tally::default(),
            published_at: Instant::now(),
            changes_synced_at: Instant::now(),
            told_at: None,
            segment: 0,
            changes_segment: 0,
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
                taken.batch.iter().for_each(|batch| batch.settle_if_open(false));
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

    /// Appends and writes a batch; syncs it when somebody waits for it, or it is time.
    fn write(&mut self, taken: &Taken) {
        let size_before = self.decisions.size();
        let due = taken.closed || self.published_at.elapsed() >= SYNC_EVERY;
        let written = self.append_all(due).and_then(|()| {
            self.decisions.write()?;
            self.settled();
            self.half.clear();
            if taken.batch.is_some() || (due && self.decisions.unsynced() > 0) {
                self.sync()?;
            }
            if due {
                self.published_at = Instant::now();
                self.decisions.publish()?;
            }
            Ok(())
        });
        let counters = &self.shared.counters;
        counters.decisions.fetch_add(self.decisions.size().saturating_sub(size_before), Ordering::Relaxed);
        counters.unsynced.store(self.decisions.unsynced(), Ordering::Relaxed);
        counters.failing.store(u64::from(written.is_err()), Ordering::Relaxed);
        if let Some(batch) = &taken.batch {
            batch.settle(written.is_ok());
        }
        if let Err(error) = &written {
            self.failed(error);
        }
        self.half.clear();
    }

    /// Appends what the log lacks, as far as it is not told, and then the drafts of the half.
    fn append_all(&mut self, due: bool) -> Result<(), LogError> {
        let told = Omitted::ALL.into_iter().filter(|omitted| due || *omitted != Omitted::LogIns);
        let mut first_error = told.map(|omitted| self.tell_omitted(omitted)).find_map(Result::err);
        self.half.begin_at(self.decisions.size());
        let mut lost = Tally::default();
        for draft in drafts(self.half.bytes()) {
            // One failure is enough for a batch: the disk is not asked again for each of thousands.
            if first_error.is_none() {
                first_error = append(&mut self.decisions, &mut self.in_flight, draft).err();
            }
            if first_error.is_some() {
                lost.add(micros(draft));
            }
        }
        self.omit(lost);
        first_error.map_or(Ok(()), Err)
    }

    /// Says in the log what it lacks; that is forgotten only when it is written.
    fn tell_omitted(&mut self, omitted: Omitted) -> Result<(), LogError> {
        let tally = self.shared.queue.omitted(omitted);
        if tally.count == 0 {
            return Ok(());
        }
        let number = |micros: i64| u64::try_from(micros).unwrap_or(0);
        let (from, until) = (number(tally.from), number(tally.until));
        let (reason, count) = (omitted.reason(), tally.count);
        self.decisions.add(&Body::Gap(Gap { time: Timestamp::now(), reason, count, from, until }))?;
        self.decisions.write()?;
        self.shared.queue.forget(omitted, tally);
        tracing::warn!(count, reason, "records were left out: the log says so");
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let begun = Instant::now();
        self.decisions.sync()?;
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.sync_micros.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    fn settled(&mut self) {
        self.in_flight = Tally::default();
    }

    /// Counts decisions that are in no batch any more.
    fn omit(&self, lost: Tally) {
        if lost.count > 0 {
            self.shared.queue.omit(Omitted::Unwritten, lost);
            self.shared.counters.lost.fetch_add(lost.count, Ordering::Relaxed);
        }
    }

    /// Counts what is in the half, after a bug.
    fn omit_rest(&mut self) {
        let mut lost = Tally::default();
        drafts(self.half.bytes()).for_each(|draft| lost.add(micros(draft)));
        self.omit(lost);
        self.half.clear();
    }

    /// Counts what was appended and could not be written.
    fn failed(&mut self, error: &LogError) {
        if self.decisions.unwritten() == 0 && self.in_flight.count > 0 {
            self.omit(self.in_flight);
            self.settled();
        }
        self.tell("the log of decisions cannot be written", error);
    }

    fn follow(&mut self, patience: Duration) {
        let before = self.changes.log.size();
        let followed = self.changes.follow(patience);
        let counters = &self.shared.counters;
        counters.changes.fetch_add(self.changes.log.size().saturating_sub(before), Ordering::Relaxed);
        counters.position.store(self.changes.recorded().0, Ordering::Relaxed);
        if let Err(error) = followed {
            self.shared.counters.failing.store(1, Ordering::Relaxed);
            return self.tell("changes cannot be recorded, for now", &error);
        }
        if self.changes.log.unsynced() > 0 && self.changes_synced_at.elapsed() >= SYNC_EVERY {
            self.changes_synced_at = Instant::now();
            let synced = self.changes.log.sync().and_then(|()| self.changes.log.publish());
            if let Err(error) = synced {
                self.tell("the log of changes cannot be synced", &error);
            }
        }
    }

    fn record_erasures(&mut self) {
        let pending = std::mem::take(&mut *self.shared.erasures.lock());
        for PendingErasure { fields, actor, why, recorded } in pending {
            let log = &mut self.changes.log;
            let added = log.add(&entry(fields, &actor, &why)).and_then(|()| log.sync()).and_then(|()| log.publish());
            if let Err(error) = &added {
                self.tell("an erasure cannot be recorded", error);
            }
            let _has_left = recorded.try_send(added.is_ok());
        }
    }

    /// Removes the oldest segments of the log of decisions while it has too many bytes, after saying so in the log.
    fn keep_within_bound(&mut self) {
        let segment = |size: u64| size >> crate::log::SEGMENT_BITS;
        let (decisions, changes) = (segment(self.decisions.size()), segment(self.changes.log.size()));
        if (decisions, changes) != (self.segment, self.changes_segment) {
            self.indexer.wake();
        }
        self.changes_segment = changes;
        if decisions == self.segment {
            return;
        }
        self.segment = decisions;
        if self.decisions_bytes_max == 0 {
            return;
        }
        let pruned = prune(&mut self.decisions, self.decisions_bytes_max);
        if let Err(error) = pruned {
            self.tell("old decisions cannot be removed", &error);
        }
    }

    fn end(&mut self) {
        let time = Timestamp::now();
        for log in [&mut self.decisions, &mut self.changes.log] {
            let ended = log.add(&Body::Stop(time)).and_then(|()| log.sync()).and_then(|()| log.publish());
            if let Err(error) = ended {
                tracing::error!(%error, origin = log.origin(), "the log was not closed properly");
            }
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

fn append(log: &mut Log, in_flight: &mut Tally, draft: &[u8]) -> Result<(), LogError> {
    log.make_room()?;
    if log.unwritten() == 0 {
        *in_flight = Tally::default();
    }
    log.append(draft)?;
    in_flight.add(micros(draft));
    Ok(())
}

/// The drafts of a half, in order.
pub(super) fn drafts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut drafts = Reader(bytes);
    std::iter::from_fn(move || drafts.u32().and_then(|length| drafts.take(length as usize)))
}

/// When the decision of a draft was made: it stands after the length and the kind.
fn micros(draft: &[u8]) -> i64 {
    let mut reader = Reader(draft.get(5..).unwrap_or_default());
    reader.u64().map_or(0, u64::cast_signed)
}
