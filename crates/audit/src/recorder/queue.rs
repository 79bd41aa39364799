//! Records on their way to the thread that writes them: bytes behind a lock, of bounded number, in memory that outlives the
//! process ([`super::mapped`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use stonetown_tuple::StoreId;

use super::Unrecorded;
use super::mapped::{Half, Mapped, Omitted, Table, Tally};

/// The share of a half at which the writer is woken early.
const FULL_SHARE: usize = 2;

/// Records that are settled together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Whether they were synced; `None` before that is known.
    outcome: Mutex<Option<bool>>,
    known: Condvar,
}

impl Batch {
    pub(crate) fn settle(&self, synced: bool) {
        *self.outcome.lock() = Some(synced);
        self.known.notify_all();
    }

    /// Settles what nobody has settled.
    pub(crate) fn settle_if_open(&self, synced: bool) {
        self.outcome.lock().get_or_insert(synced);
        self.known.notify_all();
    }

    /// Whether it was synced; `None` if that is not known within `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Option<bool> {
        let mut outcome = self.outcome.lock();
        if outcome.is_none() {
            self.known.wait_while_for(&mut outcome, |outcome| outcome.is_none(), patience);
        }
        *outcome
    }
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Bytes that one half takes.
    half_bytes_max: usize,
}

struct Waiting {
    half: Half,
    table: Table,
    /// The logs that lack what is not told.
    untold: BTreeSet<StoreId>,
    /// Settled with what is in the half for a log, where somebody waits for that.
    batches: BTreeMap<StoreId, Arc<Batch>>,
    closed: bool,
    /// Locked for this process.
    file: Option<File>,
}

/// What the writer took, beside drafts.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) batches: BTreeMap<StoreId, Arc<Batch>>,
    /// The logs that lack what is not told.
    pub(crate) untold: BTreeSet<StoreId>,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

impl Queue {
    /// The queue, and the half that the writer begins with. Both halves are empty.
    pub(crate) fn new(mapped: Mapped, bytes_max: usize) -> (Queue, Half) {
        let Mapped { file, table, halves: [half, mut spare] } = mapped;
        spare.follow(&half);
        let (untold, batches) = (table.untold().collect(), BTreeMap::new());
        let waiting = Waiting { half, table, untold, batches, closed: false, file: Some(file) };
        (Queue { waiting: Mutex::new(waiting), wake: Condvar::new(), half_bytes_max: bytes_max / 2 }, spare)
    }

    /// Adds a draft for a log; a strict one gets the batch that it will be settled with. One that finds no room is counted,
    /// unless it is strict: then nobody is answered.
    pub(crate) fn push(
        &self,
        of: StoreId,
        draft: &[u8],
        micros: i64,
        strict: bool,
    ) -> Result<Option<Arc<Batch>>, Unrecorded> {
        let mut waiting = self.waiting.lock();
        let is_full = waiting.half.used() + 4 + draft.len() > self.half_bytes_max;
        if waiting.closed || is_full {
            if !strict {
                waiting.omit(of, Omitted::QueueFull, Tally { count: 1, from: micros, until: micros });
            }
            return Err(if waiting.closed { Unrecorded::Closed } else { Unrecorded::QueueFull });
        }
        let early = self.half_bytes_max / FULL_SHARE;
        let was_early = waiting.half.used() < early;
        waiting.half.push(draft);
        let batch = strict.then(|| Arc::clone(waiting.batches.entry(of).or_default()));
        let wake = strict || (was_early && waiting.half.used() >= early);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(batch)
    }

    /// Takes everything, after at most `patience`; at once when it is urgent. `spare`, which is empty, changes places with the
    /// half that has the drafts.
    pub(crate) fn take(&self, patience: Duration, spare: &mut Half) -> Taken {
        let mut waiting = self.waiting.lock();
        let early = self.half_bytes_max / FULL_SHARE;
        let calm = |waiting: &mut Waiting| waiting.batches.is_empty() && waiting.half.used() < early && !waiting.closed;
        if calm(&mut waiting) {
            self.wake.wait_while_for(&mut waiting, calm, patience);
        }
        if waiting.half.used() > 0 {
            spare.follow(&waiting.half);
            std::mem::swap(&mut waiting.half, spare);
        }
        let batches = std::mem::take(&mut waiting.batches);
        Taken { batches, untold: waiting.untold.clone(), closed: waiting.closed }
    }

    /// Counts records that were left out of a log.
    pub(crate) fn omit(&self, of: StoreId, omitted: Omitted, tally: Tally) {
        self.waiting.lock().omit(of, omitted, tally);
    }

    /// What was left out of a log and is not told.
    pub(crate) fn omitted(&self, of: StoreId, omitted: Omitted) -> Tally {
        self.waiting.lock().table.tally(of, omitted)
    }

    /// Forgets what has been told.
    pub(crate) fn forget(&self, of: StoreId, omitted: Omitted, told: Tally) {
        let mut waiting = self.waiting.lock();
        let mut tally = waiting.table.tally(of, omitted);
        tally.forget(told);
        waiting.table.set_tally(of, omitted, tally);
        if Omitted::ALL.iter().all(|omitted| waiting.table.tally(of, *omitted).count == 0) {
            waiting.untold.remove(&of);
        }
    }

    /// Notes the record of this process's start in a log, for the process that may have to write what this one left.
    pub(crate) fn set_start(&self, of: StoreId, start: u64) {
        self.waiting.lock().table.set_start(of, Some(start));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.waiting.lock().half.used()
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    /// Fails whoever still waits: nobody writes any more.
    pub(crate) fn fail_waiting(&self) {
        let batches = std::mem::take(&mut self.waiting.lock().batches);
        batches.values().for_each(|batch| batch.settle(false));
    }

    /// Leaves the file to the next process.
    pub(crate) fn release(&self) {
        if let Some(file) = self.waiting.lock().file.take() {
            let _ends_with_the_process_at_the_latest = file.unlock();
        }
    }
}

impl Waiting {
    fn omit(&mut self, of: StoreId, omitted: Omitted, more: Tally) {
        // Once it is left to the next process, the file is no longer ours.
        if self.file.is_some() {
            let mut tally = self.table.tally(of, omitted);
            tally.merge(more);
            self.table.set_tally(of, omitted, tally);
            self.untold.insert(of);
        }
    }
}
