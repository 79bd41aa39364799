//! The thread that writes: takes what waits, appends, writes, syncs, signs; follows the transaction log; keeps the log of
//! decisions within its bound.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stonetown_tuple::Timestamp;

use super::Shared;
use super::queue::{Lost, Taken};
use crate::bytes::Reader;
use crate::changes::Changes;
use crate::log::{Log, LogError};
use crate::record::{Body, Gap};
use crate::segment;

/// How long a record waits at most before it is handed to the system.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long a record waits at most before it is synced and signed for.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often a failure that lasts is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a buffer that is kept for the next batch; a larger one is given back.
const SPARE_BYTES_MAX: usize = 4 << 20;

pub(super) struct Worker {
    shared: Arc<Shared>,
    decisions: Log,
    changes: Changes,
    decisions_bytes_max: u64,
    /// Decisions that are appended and not written.
    in_flight: Lost,
    /// Decisions that are lost and of which the log does not tell yet.
    lost: Lost,
    reason: &'static str,
    published_at: Instant,
    changes_synced_at: Instant,
    told_at: Option<Instant>,
    segment: u64,
}

/// Fails whoever waits when the thread ends early, and takes no more.
struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        if let Some(batch) = self.0.queue.take(Duration::ZERO, Vec::new()).batch {
            batch.settle(false);
        }
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, decisions: Log, changes: Changes, decisions_bytes_max: u64) -> Worker {
        Worker {
            shared,
            decisions,
            changes,
            decisions_bytes_max,
            in_flight: Lost::default(),
            lost: Lost::default(),
            reason: "queue_full",
            published_at: Instant::now(),
            changes_synced_at: Instant::now(),
            told_at: None,
            segment: 0,
        }
    }

    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _close = CloseOnDrop(&shared);
        let mut spare = Vec::new();
        loop {
            let taken = shared.queue.take(WRITE_EVERY, spare);
            let closed = taken.closed;
            if taken.lost.count > 0 {
                self.lost.merge(taken.lost);
            }
            // A bug, or a standard error that cannot be written to, ends one batch and not the recording.
            let worked = catch_unwind(AssertUnwindSafe(|| {
                self.write(&taken);
                self.follow();
            }));
            if worked.is_err() {
                shared.counters.failing.store(1, Ordering::Relaxed);
                taken.batch.iter().for_each(|batch| batch.settle_if_open(false));
            }
            if closed {
                self.end();
                return;
            }
            self.keep_within_bound();
            spare = taken.bytes;
            spare.clear();
            spare.shrink_to(SPARE_BYTES_MAX);
        }
    }

    /// Appends and writes a batch; syncs it when somebody waits for it, or it is time.
    fn write(&mut self, taken: &Taken) {
        let size_before = self.decisions.size();
        let written = self.append_all(&taken.bytes).and_then(|()| {
            self.decisions.write()?;
            self.settled();
            let due = taken.closed || self.published_at.elapsed() >= SYNC_EVERY;
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
    }

    fn append_all(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let mut first_error = None;
        if self.lost.count > 0 {
            first_error = self.append_gap().err();
        }
        let mut drafts = Reader(bytes);
        while let Some(draft) = drafts.u32().and_then(|length| drafts.take(length as usize)) {
            let appended = match first_error {
                None => self.append(draft),
                // One failure is enough for a batch: the disk is not asked again for each of thousands.
                Some(_) => {
                    self.lose(micros(draft));
                    continue;
                }
            };
            if let Err(error) = appended {
                self.lose(micros(draft));
                first_error = Some(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn append(&mut self, draft: &[u8]) -> Result<(), LogError> {
        self.decisions.make_room()?;
        if self.decisions.unwritten() == 0 {
            self.settled();
        }
        self.decisions.append(draft)?;
        self.in_flight.add(micros(draft));
        Ok(())
    }

    /// Says in the log what it lacks. What is lost is forgotten only when that is written.
    fn append_gap(&mut self) -> Result<(), LogError> {
        let Lost { count, from, until } = self.lost;
        let number = |micros: i64| u64::try_from(micros).unwrap_or(0);
        let gap = Gap { time: Timestamp::now(), reason: self.reason, count, from: number(from), until: number(until) };
        self.decisions.add(&Body::Gap(gap))?;
        self.decisions.write()?;
        tracing::warn!(count, reason = self.reason, "decisions were lost: the log says so");
        self.lost = Lost::default();
        self.reason = "queue_full";
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
        self.in_flight = Lost::default();
    }

    /// Counts one decision that is in no batch any more.
    fn lose(&mut self, micros: i64) {
        self.lost.add(micros);
        self.reason = "write_failed";
        self.shared.counters.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what was appended and could not be written.
    fn failed(&mut self, error: &LogError) {
        if self.decisions.unwritten() == 0 && self.in_flight.count > 0 {
            self.shared.counters.lost.fetch_add(self.in_flight.count, Ordering::Relaxed);
            self.lost.merge(self.in_flight);
            self.reason = "write_failed";
            self.settled();
        }
        self.tell("the log of decisions cannot be written", error);
    }

    fn follow(&mut self) {
        let before = self.changes.log.size();
        let followed = self.changes.follow();
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

    /// Removes the oldest segments of the log of decisions while it has too many bytes, after saying so in the log.
    fn keep_within_bound(&mut self) {
        let segment = self.decisions.size() >> crate::log::SEGMENT_BITS;
        if self.decisions_bytes_max == 0 || segment == self.segment {
            return;
        }
        self.segment = segment;
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
        total -= size;
    }
    Ok(())
}

/// When the decision of a draft was made: it stands after the length and the kind.
fn micros(draft: &[u8]) -> i64 {
    let mut reader = Reader(draft.get(5..).unwrap_or_default());
    reader.u64().map_or(0, u64::cast_signed)
}
