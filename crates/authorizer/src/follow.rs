//! Following the transaction log of a store: commit after commit, in order and without gaps, from any revision that the log
//! still reaches back to. Watches, counters and materialized sets are built on it.
//!
//! * Nothing is queued between a commit and those who follow: each [`LogFollower`] reads the log itself, a bounded piece at a
//!   time, so one that stands still costs nothing but its place.
//! * A revision of many changes comes in several [`Step`]s; only the last completes it.
//! * That a relationship begins or ends by the passing of time is a revision of its own ([`Authorizer::pass_time`]): nothing
//!   but the log has to be looked at to know what holds at each revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use stonetown_storage::{
    Change, Datastore, Edge, Effect, Follower, LogPart, LogPiece, Settled, Snapshot, StorageError, Table, TableId, read,
};
use stonetown_tuple::{Operation, Relationship, Revision, Source, StoreId, Timestamp};

use crate::{Authorizer, Error};

/// Relationships that begin, end or are removed in one commit, so that other commits need not wait long.
const MOMENTS_PER_STEP: usize = 1_000;

/// What one revision changed, or a part of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The revision. Those of other stores come, too, without changes, so that the position moves on.
    pub revision: Revision,
    /// The clock of the commit.
    pub time: Timestamp,
    /// Who made it, where known.
    pub actor: Option<String>,
    /// The transaction metadata as a JSON object, where given.
    pub metadata: Option<String>,
    /// Whether it wrote a schema. Told with each part.
    pub schema_changed: bool,
    /// Changes in order; at most about a thousand.
    pub changes: Vec<FollowedChange>,
    /// Whether the revision is complete with this. Nothing of it may be taken for done before.
    pub last: bool,
}

/// One relationship that begins to hold, holds on in another state, or ceases to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedChange {
    /// What happens to it; never [`Effect::Silent`].
    pub effect: Effect,
    /// The relationship; without caveat and times where somebody deleted it.
    pub relationship: Relationship,
}

impl FollowedChange {
    /// What to do to a set of relationships to keep it in step: touch or delete.
    #[must_use]
    pub fn operation(&self) -> Operation {
        if self.effect == Effect::Ends { Operation::Delete } else { Operation::Touch }
    }
}

/// A reader of the log with a place of its own.
pub struct LogFollower {
    datastore: Arc<dyn Datastore>,
    commits: Arc<Commits>,
    store: StoreId,
    /// The last revision that was completed.
    completed: Revision,
    /// Pieces of the next revision that were read.
    pieces: u32,
    tables: HashMap<TableId, Arc<Table>>,
}

impl Authorizer {
    /// Follows what is committed after a revision, which the log must still reach back to: that is found out by the first
    /// [`LogFollower::next_step`].
    #[must_use]
    pub fn follow(&self, store: StoreId, after: Revision) -> LogFollower {
        LogFollower {
            datastore: Arc::clone(&self.datastore),
            commits: Arc::clone(&self.commits),
            store,
            completed: after,
            pieces: 0,
            tables: HashMap::new(),
        }
    }

    /// Logs what has begun and ended by now, so that those who follow hear of it. Bounded: `true` when it is to be called
    /// again at once. Cheap when nothing has.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn pass_time(&self) -> Result<bool, Error> {
        let now = self.clock.now();
        if self.datastore.next_moment().is_none_or(|next| next > now) {
            return Ok(false);
        }
        let passed = self.datastore.pass_time(now, MOMENTS_PER_STEP)?;
        self.counters.moments_passed.fetch_add(passed.edges, Ordering::Relaxed);
        Ok(passed.more)
    }

    /// A revision and a time at which the log and the clock agree: whoever counts or copies at both what holds, and follows
    /// the log from there on, misses nothing and has nothing twice.
    ///
    /// # Errors
    /// When nothing can be written, or commits by later clocks come in all the time.
    pub(crate) fn settle(&self) -> Result<Settled, Error> {
        /// Tries, a moment apart, before commits are taken to have a clock that is ahead for good.
        const TRIES_MAX: u32 = 1_000;
        const APART: Duration = Duration::from_millis(1);
        let mut tries = 0;
        while tries < TRIES_MAX {
            let passed = self.datastore.pass_time(self.clock.now(), MOMENTS_PER_STEP)?;
            self.counters.moments_passed.fetch_add(passed.edges, Ordering::Relaxed);
            match passed.settled {
                Some(settled) => return Ok(settled),
                None if passed.more => {}
                None => {
                    tries += 1;
                    std::thread::sleep(APART);
                }
            }
        }
        Err(Error::Serialization)
    }

    /// Removes from storage what ended before a moment, as far as the log says so; nobody hears of it again, and what was
    /// written anew since is left alone. Returns how many, and whether it is to be called again at once.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn remove_expired(&self, until: Timestamp) -> Result<(u64, bool), Error> {
        let removed = self.datastore.remove_expired(self.clock.now(), until, MOMENTS_PER_STEP)?;
        self.counters.expired_removed.fetch_add(removed.edges, Ordering::Relaxed);
        Ok((removed.edges, removed.more))
    }

    /// Has `told` called with the store and the revision of each commit, on the committing thread just before the commit is
    /// visible: it must be quick. For those who cannot block a thread on [`LogFollower::wait`].
    pub fn on_commit(&self, told: impl Fn(StoreId, Revision) + Send + Sync + 'static) {
        self.commits.listeners.lock().push(Box::new(told));
    }
}

impl LogFollower {
    /// The last revision that was completed: following anew after it goes on without loss or repetition.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.completed
    }

    /// The next step, `None` when everything that is committed has been read. Reads the disk, never waits for a commit.
    ///
    /// # Errors
    /// [`Error::SnapshotExpired`] when the log has been cut behind the position.
    pub fn next_step(&mut self) -> Result<Option<Step>, Error> {
        let place = (self.completed, self.pieces);
        let Some(piece) = self.next_piece()? else { return Ok(None) };
        let changes = match self.named(&piece) {
            Ok(changes) => changes,
            Err(error) => {
                // Names go with the last entry that mentions them: where the log was cut meanwhile, nothing is damaged.
                (self.completed, self.pieces) = place;
                let again = self.next_piece();
                (self.completed, self.pieces) = place;
                return Err(match again {
                    Err(expired @ Error::SnapshotExpired { .. }) => expired,
                    _ => error,
                });
            }
        };
        let LogPiece { revision, schema_changed, provenance, last, .. } = piece;
        let (time, actor, metadata) = (provenance.time, provenance.actor, provenance.metadata);
        Ok(Some(Step { revision, time, actor, metadata, schema_changed, changes, last }))
    }

    /// The next step as numbers, for whoever needs no names: changes of other stores left out, those that are silent not.
    ///
    /// # Errors
    /// As [`LogFollower::next_step`].
    pub(crate) fn next_piece(&mut self) -> Result<Option<LogPiece>, Error> {
        let revision = self.completed.next();
        let Some(mut piece) = self.datastore.log_piece(revision, self.pieces)? else { return Ok(None) };
        if piece.store != self.store {
            piece.changes.clear();
            piece.schema_changed = false;
        }
        if piece.last {
            (self.completed, self.pieces) = (revision, 0);
        } else {
            self.pieces += 1;
        }
        Ok(Some(piece))
    }

    /// Waits until [`LogFollower::next_step`] has something, or the time is over; whether it has.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.commits.wait(&*self.datastore, self.completed, timeout)
    }

    fn named(&mut self, piece: &LogPiece) -> Result<Vec<FollowedChange>, Error> {
        if piece.changes.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.datastore.snapshot(self.store, self.datastore.head())?;
        let heard = piece.changes.iter().filter(|change| change.effect != Effect::Silent);
        heard.map(|change| self.change(&*snapshot, change)).collect()
    }

    fn change(&mut self, snapshot: &dyn Snapshot, change: &Change) -> Result<FollowedChange, Error> {
        let state = change.state.clone().unwrap_or_default();
        let edge = Edge {
            resource: change.resource,
            subject: change.subject,
            source: Source::STANDING,
            caveat: state.caveat,
            not_before: state.not_before,
            expires_at: state.expires_at,
            written: Revision::default(),
        };
        let relationship = read::relationship(snapshot, self.table(snapshot, change.table)?, &edge)?;
        Ok(FollowedChange { effect: change.effect, relationship })
    }

    fn table(&mut self, snapshot: &dyn Snapshot, id: TableId) -> Result<&Table, StorageError> {
        if !self.tables.contains_key(&id) {
            self.tables = snapshot.tables().iter().map(|table| (table.id, Arc::clone(table))).collect();
        }
        let table = self.tables.get(&id).map(|table| &**table);
        table.ok_or_else(|| StorageError::Damaged(format!("the log names table {}, which is not there", id.0)))
    }
}

/// Called with the store and the revision of each commit.
type Told = Box<dyn Fn(StoreId, Revision) + Send + Sync>;

/// Wakes those who wait for commits.
#[derive(Default)]
pub(crate) struct Commits {
    newest: Mutex<Revision>,
    committed: Condvar,
    listeners: Mutex<Vec<Told>>,
}

impl Follower for Commits {
    fn follow(&self, part: &LogPart<'_>) {
        if part.last {
            *self.newest.lock() = part.revision;
            self.committed.notify_all();
            self.listeners.lock().iter().for_each(|told| told(part.store, part.revision));
        }
    }
}

impl Commits {
    fn wait(&self, datastore: &dyn Datastore, past: Revision, timeout: Duration) -> bool {
        /// A commit is told of just before it is visible: the rest of the wait is in steps of this.
        const LOOK_EVERY: Duration = Duration::from_micros(100);
        let end = Instant::now() + timeout;
        while datastore.head() <= past {
            let mut newest = self.newest.lock();
            if *newest > past {
                drop(newest);
                std::thread::sleep(LOOK_EVERY);
            } else if self.committed.wait_until(&mut newest, end).timed_out() {
                return datastore.head() > past;
            }
            if Instant::now() >= end {
                return datastore.head() > past;
            }
        }
        true
    }
}
