//! Records on their way to the thread that writes them: bytes behind a lock, of bounded number. Nothing is allocated for a
//! record.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Unrecorded;

/// The share of the bound at which the writer is woken early.
const FULL_SHARE: usize = 4;

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

    /// Whether it was synced within `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let mut outcome = self.outcome.lock();
        if outcome.is_none() {
            self.known.wait_while_for(&mut outcome, |outcome| outcome.is_none(), patience);
        }
        *outcome == Some(true)
    }

    pub(crate) fn has_failed(&self) -> bool {
        *self.outcome.lock() == Some(false)
    }
}

/// Decisions that were not recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// When the first and the last were decided, in microseconds since 1970.
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Lost {
    pub(crate) fn add(&mut self, micros: i64) {
        self.merge(Lost { count: 1, from: micros, until: micros });
    }

    pub(crate) fn merge(&mut self, other: Lost) {
        if self.count == 0 {
            *self = other;
        } else if other.count > 0 {
            self.count += other.count;
            (self.from, self.until) = (self.from.min(other.from), self.until.max(other.until));
        }
    }
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    /// Drafts, each after its length.
    bytes: Vec<u8>,
    /// Settled with what is in `bytes`, where somebody waits for that.
    batch: Option<Arc<Batch>>,
    lost: Lost,
    closed: bool,
}

/// What the writer took.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    pub(crate) batch: Option<Arc<Batch>>,
    /// What found no room since the last time.
    pub(crate) lost: Lost,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Queue {
        Queue { waiting: Mutex::default(), wake: Condvar::new(), bytes_max }
    }

    /// Adds a draft; a strict one gets the batch that it will be settled with.
    pub(crate) fn push(&self, draft: &[u8], micros: i64, strict: bool) -> Result<Option<Arc<Batch>>, Unrecorded> {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.bytes.len() + 4 + draft.len() > self.bytes_max {
            if !strict {
                waiting.lost.add(micros);
            }
            return Err(Unrecorded);
        }
        let early = self.bytes_max / FULL_SHARE;
        let was_early = waiting.bytes.len() < early;
        waiting.bytes.extend_from_slice(&u32::try_from(draft.len()).map_err(|_| Unrecorded)?.to_be_bytes());
        waiting.bytes.extend_from_slice(draft);
        let batch = strict.then(|| Arc::clone(waiting.batch.get_or_insert_default()));
        let wake = strict || (was_early && waiting.bytes.len() >= early);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(batch)
    }

    /// Takes everything, after at most `patience`; at once when it is urgent. `spare` is the buffer to go on with.
    pub(crate) fn take(&self, patience: Duration, spare: Vec<u8>) -> Taken {
        let mut waiting = self.waiting.lock();
        let early = self.bytes_max / FULL_SHARE;
        let calm = |waiting: &mut Waiting| waiting.batch.is_none() && waiting.bytes.len() < early && !waiting.closed;
        if calm(&mut waiting) {
            self.wake.wait_while_for(&mut waiting, calm, patience);
        }
        Taken {
            bytes: std::mem::replace(&mut waiting.bytes, spare),
            batch: waiting.batch.take(),
            lost: std::mem::take(&mut waiting.lost),
            closed: waiting.closed,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.waiting.lock().bytes.len()
    }

    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }
}
