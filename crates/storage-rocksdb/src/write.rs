//! The writer: one thread, the only one that ever changes the database.
//!
//! It takes as many waiting transactions as one batch should hold, tests each against the head and those before it in the
//! batch, and writes the batch with a sync. Then followers are told, the head is moved, the callers are answered, in this
//! order. A transaction that fails its tests leaves nothing in the batch and disturbs no other.
//!
//! When a batch cannot be written, or the writer panics, nobody knows what is on disk: no write is taken from then on, until
//! the datastore is opened anew. A full disk is the exception: see [`crate::resume`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use stonetown_storage::{
    BulkMode, Change, Collected, CommitError, Committed, EdgeState, Effect, LogPart, Passed, Provenance, RequestId,
    StorageError, Transaction,
};
use stonetown_tuple::{Relationship, Revision, StoreId, Timestamp};

use crate::apply::{Deleted, Draft};
use crate::changelog::{self, CHANGES_PER_PIECE};
use crate::database::Batch;
use crate::keys::{self, EdgeKey};
use crate::moments;
use crate::pending::{Changed, Pending};
use crate::shared::Shared;
use crate::values::{Answered, LogHeader, Meta, StoredProvenance, StoredTable, decode, encode, stored_state};

/// A delete by filter of more relationships than this is staged.
pub(crate) const DELETED_AT_ONCE_MAX: usize = 10_000;
/// How far the high-water file may lag behind.
const HIGH_WATER_EVERY: Duration = Duration::from_secs(1);
/// How many commits it may lag behind.
const HIGH_WATER_COMMITS: u64 = 10_000;

/// Where an answer goes.
pub(crate) type Reply<T, E> = SyncSender<Result<T, E>>;

/// What the writer is asked to do.
pub(crate) enum Job {
    Commit(Box<Transaction>, Reply<Committed, CommitError>),
    CommitBoth(Box<[Transaction; 2]>, Reply<[Committed; 2], CommitError>),
    Stage(u64, Staging, Vec<Relationship>, Reply<(), CommitError>),
    Publish(u64, Staging, Publication, Reply<Committed, CommitError>),
    Abandon(u64),
    PassTime { now: Timestamp, limit: usize, reply: Reply<Passed, CommitError> },
    RemoveExpired { now: Timestamp, until: Timestamp, limit: usize, reply: Reply<Passed, CommitError> },
    Keep { key: Vec<u8>, bytes: Option<Vec<u8>>, reply: Reply<(), CommitError> },
    Collect { floor: Revision, log_floor: Revision, limit: usize, reply: Reply<Collected, StorageError> },
    Stop,
}

/// What a bulk is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staging {
    pub(crate) store: StoreId,
    pub(crate) mode: BulkMode,
    pub(crate) now: Timestamp,
}

/// With what a bulk is published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) schema_at: Option<Revision>,
    pub(crate) actor: Option<String>,
    pub(crate) metadata: Option<String>,
}

/// The writer's own state.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) meta: Meta,
    /// The clock of the newest commit; it never runs backwards.
    pub(crate) last_time: Timestamp,
    /// Bulks that are staged and neither published nor abandoned.
    pub(crate) open_bulks: FxHashSet<u64>,
    pub(crate) group: GroupLimits,
    pub(crate) acknowledged: HighWater,
    /// When it was last tried to go on after a full disk.
    pub(crate) resume_tried: Instant,
}

/// When a group of transactions is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub(crate) transactions_max: usize,
    pub(crate) bytes_max: usize,
}

/// What the high-water file says, and since when.
pub(crate) struct HighWater {
    pub(crate) revision: Revision,
    pub(crate) written: Instant,
}

impl Writer {
    /// Does what it is asked until it is told to stop, or nobody can ask any more.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => job,
                None => match jobs.recv_timeout(HIGH_WATER_EVERY) {
                    Ok(job) => self.taken(job),
                    Err(RecvTimeoutError::Timeout) => {
                        self.record_high_water(HIGH_WATER_EVERY);
                        self.resume_if_due();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            if matches!(job, Job::Stop) {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| self.work(job, jobs))) {
                Ok(left_over) => next = left_over,
                Err(_) => self.shared.halt("the writer failed on a bug; restart the server and report it".to_owned()),
            }
            self.record_high_water(HIGH_WATER_EVERY);
            self.resume_if_due();
        }
        self.record_high_water(Duration::ZERO);
        // Only a matter of a quicker start: all of it is in the write-ahead log.
        let _slower_start = self.shared.database.flush();
    }

    /// Does one job, or a group of commits; hands back a job that it took from the queue on the way.
    fn work(&mut self, job: Job, jobs: &Receiver<Job>) -> Option<Job> {
        match job {
            Job::Commit(transaction, reply) => return self.commit_group(*transaction, reply, jobs),
            Job::CommitBoth(transactions, reply) => {
                answer(&reply, self.taking(|writer| writer.commit_both(*transactions)));
            }
            Job::Stage(bulk, staging, relationships, reply) => {
                answer(&reply, self.taking(|writer| writer.stage(bulk, staging, &relationships)));
            }
            Job::Publish(bulk, staging, publication, reply) => {
                let published = self.taking(|writer| writer.publish_bulk(bulk, staging, publication));
                // Whatever became of it, its caller is done with it.
                if self.open_bulks.contains(&bulk) {
                    self.give_up(bulk);
                }
                answer(&reply, published);
            }
            Job::Abandon(bulk) => self.give_up(bulk),
            Job::Collect { floor, log_floor, limit, reply } => {
                let collected = match self.shared.writable() {
                    Ok(()) => self.collect_garbage(floor, log_floor, limit),
                    Err(error) => Err(StorageError::Refused(error.to_string())),
                };
                answer(&reply, collected);
            }
            Job::PassTime { now, limit, reply } => {
                answer(&reply, self.guarded(|writer| writer.pass_time(now, limit)));
            }
            Job::RemoveExpired { now, until, limit, reply } => {
                answer(&reply, self.guarded(|writer| writer.remove_expired(now, until, limit)));
            }
            Job::Keep { key, bytes, reply } => answer(&reply, self.guarded(|writer| Ok(writer.keep(&key, bytes)?))),
            Job::Stop => {}
        }
        None
    }

    /// Removes a bulk that nobody will publish: now, or when writing goes on or the datastore is opened.
    fn give_up(&mut self, bulk: u64) {
        let _left_for_later = self.guarded(|writer| Ok(writer.abandon(bulk)?));
        self.open_bulks.remove(&bulk);
    }

    fn taking<T>(&mut self, job: impl FnOnce(&mut Self) -> Result<T, CommitError>) -> Result<T, CommitError> {
        self.shared.takes_writes()?;
        job(self)
    }

    fn guarded<T>(&mut self, job: impl FnOnce(&mut Self) -> Result<T, CommitError>) -> Result<T, CommitError> {
        self.shared.writable()?;
        job(self)
    }

    fn commit_group(
        &mut self,
        first: Transaction,
        reply: Reply<Committed, CommitError>,
        jobs: &Receiver<Job>,
    ) -> Option<Job> {
        let mut group = Group::new(self);
        let mut next = Some((first, reply));
        let mut left_over = None;
        while let Some((transaction, reply)) = next.take() {
            if let Err(error) = self.shared.takes_writes() {
                answer(&reply, Err(error));
            } else if let Some((large, reply)) = self.add(&mut group, transaction, reply) {
                let _each_was_told = self.write_group(std::mem::replace(&mut group, Group::new(self)));
                let committed = self.guarded(|writer| writer.commit_large(large));
                answer(&reply, committed);
                group = Group::new(self);
            }
            if group.replies.len() >= self.group.transactions_max || group.batch.bytes() >= self.group.bytes_max {
                break;
            }
            match jobs.try_recv().map(|job| self.taken(job)) {
                Ok(Job::Commit(transaction, reply)) => next = Some((*transaction, reply)),
                Ok(other) => left_over = Some(other),
                Err(_) => {}
            }
        }
        let _each_was_told = self.write_group(group);
        left_over
    }

    /// Two transactions as a group of their own: one batch, visible at once.
    fn commit_both(&mut self, transactions: [Transaction; 2]) -> Result<[Committed; 2], CommitError> {
        let mut group = Group::new(self);
        let mut add =
            |transaction: Transaction| match test(&mut group.pending, &transaction, Revision(group.meta.head + 1))? {
                Tested::Passed(deleted) => {
                    group.put(&self.shared, Transaction { request_id: None, ..transaction }, deleted)
                }
                Tested::Large | Tested::Known(_) => {
                    Err(CommitError::TooManyToDelete { limit: DELETED_AT_ONCE_MAX as u64 })
                }
            };
        let [one, other] = transactions;
        let committed = [add(one)?, add(other)?];
        self.write_group(group)?;
        Ok(committed)
    }

    /// Tests a transaction and adds it to the group; hands it back if it is too large for one.
    fn add(
        &mut self,
        group: &mut Group,
        transaction: Transaction,
        reply: Reply<Committed, CommitError>,
    ) -> Option<(Transaction, Reply<Committed, CommitError>)> {
        let revision = Revision(group.meta.head + 1);
        let tested = answered(&group.pending, &transaction).and_then(|known| match known {
            Some(committed) => Ok(Tested::Known(committed)),
            None => test(&mut group.pending, &transaction, revision),
        });
        let outcome = match tested {
            Ok(Tested::Known(committed)) => Ok(committed),
            Ok(Tested::Large) => {
                group.pending.take_back();
                return Some((transaction, reply));
            }
            Ok(Tested::Passed(deleted)) => group.put(&self.shared, transaction, deleted),
            Err(error) => {
                group.pending.take_back();
                Err(error)
            }
        };
        group.replies.push((reply, outcome));
        None
    }

    /// Writes and publishes a group, and answers each of its callers.
    ///
    /// # Errors
    /// When the batch could not be written: all of them have been told.
    pub(crate) fn write_group(&mut self, group: Group) -> Result<(), CommitError> {
        let Group { pending, mut batch, meta, last_time, parts, replies, broken } = group;
        if meta.head == self.meta.head && broken.is_none() {
            replies.into_iter().for_each(|(reply, outcome)| answer(&reply, outcome));
            return Ok(());
        }
        let (begun, bytes) = (Instant::now(), batch.bytes() as u64);
        let written = match broken {
            Some(error) => Err(error),
            None => self.put_meta(&mut batch, &meta).and_then(|()| self.shared.database.write(batch, SYNC)),
        };
        if let Err(error) = written {
            let error = self.fail(&error);
            let refused = || CommitError::ReadOnly(error.to_string());
            replies.into_iter().for_each(|(reply, _)| answer(&reply, Err(refused())));
            return Err(refused());
        }
        self.count_group(meta.head - self.meta.head, bytes, begun.elapsed());
        pending.share_catalogues();
        self.meta = meta;
        self.last_time = last_time;
        let followers = self.shared.followers.lock();
        for told in &parts {
            let mut pieces = told.changes.chunks(CHANGES_PER_PIECE).peekable();
            loop {
                let changes = pieces.next().unwrap_or_default();
                let last = pieces.peek().is_none();
                let Told { revision, store, schema_changed, .. } = *told;
                let part = LogPart { revision, store, schema_changed, changes, last };
                followers.iter().for_each(|follower| follower.follow(&part));
                if last {
                    break;
                }
            }
        }
        self.shared.publish(Revision(self.meta.head));
        drop(followers);
        replies.into_iter().for_each(|(reply, outcome)| answer(&reply, outcome));
        #[cfg(feature = "fault-ack-before-sync")]
        if let Err(error) = self.shared.database.sync() {
            self.fail(&error);
        }
        Ok(())
    }

    fn keep(&mut self, key: &[u8], bytes: Option<Vec<u8>>) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        match bytes {
            Some(bytes) => batch.put(key, bytes),
            None => batch.delete(key),
        }
        self.shared.database.write(batch, SYNC).map_err(|error| self.fail(&error))
    }

    fn count_group(&self, transactions: u64, bytes: u64, took: Duration) {
        let counters = &self.shared.counters;
        counters.commits.fetch_add(transactions, Ordering::Relaxed);
        counters.group_transactions.record(transactions);
        counters.group_bytes.record(bytes);
        counters.group_micros.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Puts the state of the whole into a batch.
    pub(crate) fn put_meta(&self, batch: &mut Batch, meta: &Meta) -> Result<(), StorageError> {
        batch.put(keys::meta(), encode(meta)?);
        Ok(())
    }

    /// Takes no more writes: for now where the disk is full, else for good, as it is unknown what the disk has.
    pub(crate) fn fail(&self, error: &StorageError) -> StorageError {
        match error {
            StorageError::Full(_) => self.shared.suspend(format!("{error}; writing goes on when there is room")),
            _ => self.shared.halt(format!("{error}; restart the server")),
        }
        error.clone()
    }

    fn taken(&self, job: Job) -> Job {
        if matches!(job, Job::Commit(..)) {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }

    fn record_high_water(&mut self, lag_max: Duration) {
        let head = self.shared.head();
        let lag = head.0 - self.acknowledged.revision.0;
        if lag == 0 || (self.acknowledged.written.elapsed() < lag_max && lag < HIGH_WATER_COMMITS) {
            return;
        }
        // A stale file misses a loss at worst; it is tried again.
        if self.shared.directory.set_high_water(head).is_ok() {
            self.acknowledged.revision = head;
        }
        self.acknowledged.written = Instant::now();
    }
}

/// Whether commits are synced before they are acknowledged: always, but in the build that proves the tests of it.
pub(crate) const SYNC: bool = !cfg!(feature = "fault-ack-before-sync");

/// Transactions that are written at once.
pub(crate) struct Group {
    pending: Pending,
    pub(crate) batch: Batch,
    pub(crate) meta: Meta,
    pub(crate) last_time: Timestamp,
    parts: Vec<Told>,
    replies: Vec<(Reply<Committed, CommitError>, Result<Committed, CommitError>)>,
    /// Set when a tested transaction could not be put into the batch, which is then worth nothing.
    broken: Option<StorageError>,
}

/// What followers are told of a transaction.
struct Told {
    revision: Revision,
    store: StoreId,
    schema_changed: bool,
    changes: Vec<Change>,
}

enum Tested {
    /// It was answered before.
    Known(Committed),
    Passed(Deleted),
    /// It deletes too much for a batch.
    Large,
}

/// Tests a transaction against what is pending and applies it there.
fn test(pending: &mut Pending, transaction: &Transaction, revision: Revision) -> Result<Tested, CommitError> {
    let mut draft = Draft { pending, store: transaction.store, revision, now: transaction.now };
    draft.apply(transaction)?;
    let Some(delete) = &transaction.delete else { return Ok(Tested::Passed(Deleted::default())) };
    let mut doomed: Vec<EdgeKey> = Vec::new();
    let mut large = false;
    let deleted = draft.delete_by_filter(delete, &mut |edges| {
        large |= doomed.len() + edges.len() > DELETED_AT_ONCE_MAX;
        doomed.extend_from_slice(edges);
        // Any error will do to stop it.
        if large { Err(CommitError::TooManyToDelete { limit: 0 }) } else { Ok(()) }
    });
    if large {
        return Ok(Tested::Large);
    }
    let deleted = deleted?;
    doomed.into_iter().for_each(|edge| draft.end(edge));
    Ok(Tested::Passed(deleted))
}

/// The answer that a request got before.
pub(crate) fn answered(pending: &Pending, transaction: &Transaction) -> Result<Option<Committed>, CommitError> {
    let Some(request) = &transaction.request_id else { return Ok(None) };
    let known = match pending.requests.get(&(transaction.store, request.id.clone())) {
        Some(answered) => answered.clone(),
        None => match pending.shared().database.get(&keys::request(transaction.store, &request.id))? {
            Some(bytes) => decode::<Answered>("answered request", &bytes)?,
            None => return Ok(None),
        },
    };
    if RequestId::is_forgotten(known.time()?, transaction.now) {
        Ok(None)
    } else if known.fingerprint == request.fingerprint {
        Ok(Some(known.replay()))
    } else {
        Err(CommitError::RequestIdReused(request.id.clone()))
    }
}

impl Group {
    pub(crate) fn new(writer: &Writer) -> Self {
        Group {
            pending: Pending::new(&writer.shared),
            batch: Batch::default(),
            meta: writer.meta.clone(),
            last_time: writer.last_time,
            parts: Vec::new(),
            replies: Vec::new(),
            broken: None,
        }
    }

    /// Has followers told of a commit whose changes are in the batch.
    pub(crate) fn tell(&mut self, revision: Revision, store: StoreId, changes: Vec<Change>) {
        self.parts.push(Told { revision, store, schema_changed: false, changes });
    }

    /// Puts a transaction that has passed into the batch.
    fn put(&mut self, shared: &Shared, transaction: Transaction, deleted: Deleted) -> Result<Committed, CommitError> {
        self.meta.head += 1;
        let revision = Revision(self.meta.head);
        self.last_time = self.last_time.max(transaction.now);
        let committed = Committed { revision, count: deleted.count, partial: deleted.partial, replayed: false };
        let put = self.pending.changed().and_then(|changed| {
            put_transaction(&mut self.batch, shared, &changed, &transaction, self.last_time, &committed)?;
            Ok(changed)
        });
        let changed = match put {
            Ok(changed) => changed,
            Err(error) => {
                self.broken = Some(error.clone());
                return Err(error.into());
            }
        };
        if let Some(RequestId { id, fingerprint }) = transaction.request_id {
            let answered = Answered::new(fingerprint, transaction.now, &committed);
            self.pending.requests.insert((transaction.store, id), answered);
        }
        self.parts.push(Told {
            revision,
            store: transaction.store,
            schema_changed: changed.schema.is_some(),
            changes: changed.edges.into_iter().map(change).collect(),
        });
        Ok(committed)
    }
}

fn put_transaction(
    batch: &mut Batch,
    shared: &Shared,
    changed: &Changed,
    transaction: &Transaction,
    time: Timestamp,
    committed: &Committed,
) -> Result<(), StorageError> {
    let revision = committed.revision;
    put_records(batch, changed, transaction, committed)?;
    let mut versions = 0;
    for (edge, state, _) in &changed.edges {
        versions += u64::from(state.is_some());
        put_version(batch, edge, revision, &encode(&stored_state(state.as_ref())?)?);
        moments::put(batch, shared, edge, revision, state.as_ref(), transaction.now);
    }
    let changes: Vec<Change> = changed.edges.iter().cloned().map(change).collect();
    let header = LogHeader {
        store: transaction.store.0,
        schema_changed: changed.schema.is_some(),
        provenance: provenance(transaction),
        pieces: changelog::put_changes(&shared.database, batch, revision, &changes)?,
        time_only: false,
    };
    put_end(batch, shared, revision, &header, versions, time)
}

/// Puts everything of a transaction but its edges and its end.
pub(crate) fn put_records(
    batch: &mut Batch,
    changed: &Changed,
    transaction: &Transaction,
    committed: &Committed,
) -> Result<(), StorageError> {
    put_names(batch, changed);
    for (store, id, name) in &changed.types {
        batch.put(keys::object_type(*store, *id), name);
    }
    for (store, table) in &changed.tables {
        let stored = StoredTable {
            resource_type: table.resource_type.0,
            relation: table.key.relation.clone(),
            subject_type: table.subject_type.0,
            subject_relation: table.key.subject_relation.clone(),
        };
        batch.put(keys::table(*store, table.id), encode(&stored)?);
    }
    if let Some(schema) = &changed.schema {
        batch.put(keys::schema(transaction.store, schema.revision), &schema.bytes);
    }
    if let Some(RequestId { id, fingerprint }) = &transaction.request_id {
        let answered = Answered::new(*fingerprint, transaction.now, committed);
        batch.put(keys::request(transaction.store, id), encode(&answered)?);
        batch.put(keys::request_time(transaction.now, transaction.store, id), []);
    }
    Ok(())
}

/// Puts objects that got their ordinals.
pub(crate) fn put_names(batch: &mut Batch, changed: &Changed) {
    for (store, object_type, ordinal, id) in &changed.names {
        batch.put(keys::ordinal(*store, *object_type, id), ordinal.0.to_be_bytes());
        batch.put(keys::object_id(*store, *object_type, *ordinal), id.as_bytes());
        batch.put(keys::last_ordinal(*store, *object_type), ordinal.0.to_be_bytes());
    }
}

/// Puts a version, forward and reverse. Both hold the state, so that neither way of reading needs the other.
pub(crate) fn put_version(batch: &mut Batch, edge: &EdgeKey, revision: Revision, state: &[u8]) {
    for direction in [stonetown_storage::Direction::Forward, stonetown_storage::Direction::Reverse] {
        batch.put(keys::version(direction, edge, revision), state);
    }
}

/// Puts what ends a commit: its header in the log, its provenance, its place in time.
pub(crate) fn put_end(
    batch: &mut Batch,
    shared: &Shared,
    revision: Revision,
    header: &LogHeader,
    versions: u64,
    time: Timestamp,
) -> Result<(), StorageError> {
    batch.put(keys::transaction(revision), encode(&header.provenance)?);
    batch.put(keys::versions(revision), versions.to_be_bytes());
    batch.put(keys::time(time, revision), []);
    changelog::put_header(&shared.database, batch, revision, header)
}

/// The provenance of a transaction.
pub(crate) fn provenance(transaction: &Transaction) -> StoredProvenance {
    StoredProvenance::from(&Provenance {
        time: transaction.now,
        actor: transaction.actor.clone(),
        metadata: transaction.metadata.clone(),
    })
}

/// The change of an edge, for the log.
pub(crate) fn change((edge, state, effect): (EdgeKey, Option<EdgeState>, Effect)) -> Change {
    let EdgeKey { table, resource, subject, source, .. } = edge;
    Change { table, resource, subject, source, state, effect }
}

fn answer<T, E>(reply: &Reply<T, E>, outcome: Result<T, E>) {
    // A caller that has gone does not want it.
    let _gone = reply.send(outcome);
}

#[cfg(test)]
mod tests;
