//! What the passing of time does to versions.
//!
//! A version that begins or ceases to hold later is noted under [`Kind::Ahead`], by the moment. When that has passed, a
//! commit that stores nothing else tells it to the log, and the note goes; one that has ceased to hold is noted under
//! [`Kind::Expired`] until it is removed. A note of a version that was replaced in the meantime leads to nothing.
//!
//! So an edge holds, as the log has it, when its start is not noted ahead any more and its end still is.

use std::ops::ControlFlow;

use stonetown_storage::log::EdgeState;
use stonetown_storage::{Change, CommitError, Direction, Effect, Passed, Provenance, Settled, StorageError};
use stonetown_tuple::{Revision, StoreId, Timestamp};

use crate::changelog;
use crate::database::{Batch, Cursor, Database, storage_error};
use crate::keys::{self, EdgeKey, Kind, Moment};
use crate::shared::Shared;
use crate::snapshot::RocksSnapshot;
use crate::values::{LogHeader, StateReader, StoredProvenance, StoredState, damaged, encode};
use crate::write::{Group, Writer, change, put_end, put_version};

/// Notes in one batch when a directory of an older format is opened.
const BATCH_NOTES: usize = 8_192;

/// Notes the moments of a version that is written at `now`.
pub(crate) fn put(
    batch: &mut Batch,
    shared: &Shared,
    edge: &EdgeKey,
    written: Revision,
    state: Option<&EdgeState>,
    now: Timestamp,
) {
    let Some(state) = state else { return };
    let moments = state.moments(now);
    let key = |kind, time| keys::moment(kind, &Moment { time, edge: *edge, written });
    for time in [moments.start, moments.end].into_iter().flatten() {
        batch.put(key(Kind::Ahead, time), []);
        shared.expect_moment(time);
    }
    if let (Some(end), None) = (state.expires_at, moments.end) {
        batch.put(key(Kind::Expired, end), []);
    }
}

/// Whether a stored version holds as the log has it.
pub(crate) fn holds(
    database: &Database,
    edge: &EdgeKey,
    written: Revision,
    state: &EdgeState,
) -> Result<bool, StorageError> {
    let ahead = |time| -> Result<bool, StorageError> {
        Ok(database.get(&keys::moment(Kind::Ahead, &Moment { time, edge: *edge, written }))?.is_some())
    };
    let begun = !state.not_before.map_or(Ok(false), ahead)?;
    Ok(begun && state.expires_at.map_or(Ok(true), ahead)?)
}

/// The first moment that is noted ahead.
pub(crate) fn first(database: &Database) -> Result<Option<Timestamp>, StorageError> {
    let prefix = keys::all(Kind::Ahead);
    let mut first = None;
    database.scan(&prefix, &prefix, &mut |key, _| {
        first = Some(read(key)?.time);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Notes the moments of all newest versions anew, those that have passed included: for a directory of a format that did not,
/// and for one that has gone back. What the log had been told of already it is told again.
pub(crate) fn put_all(shared: &Shared) -> Result<(), StorageError> {
    let mut batch = Batch::default();
    batch.delete_all(&keys::all(Kind::Ahead));
    batch.delete_all(&keys::all(Kind::Expired));
    shared.database.write(batch, false)?;
    let prefix = keys::all(Kind::Forward);
    let mut states = StateReader::default();
    let mut batch = Batch::default();
    let mut last: Option<EdgeKey> = None;
    shared.database.scan(&prefix, &prefix, &mut |key, value| {
        let (edge, written) =
            keys::read_edge_version(Direction::Forward, key).ok_or_else(|| damaged("key of a version"))?;
        if last.replace(edge) != Some(edge) {
            put(&mut batch, shared, &edge, written, states.read(value)?.as_ref(), Timestamp::MIN);
        }
        if batch.len() >= BATCH_NOTES {
            shared.database.write(std::mem::take(&mut batch), false)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    shared.database.write(batch, true)
}

/// Looks up the versions before a revision, edge by edge in the order of their keys: where there is little to be found, that
/// costs next to nothing.
pub(crate) struct Before<'d> {
    database: &'d Database,
    cursor: Cursor<'d>,
    placed: bool,
    states: StateReader,
}

impl<'d> Before<'d> {
    pub(crate) fn new(database: &'d Database) -> Self {
        let cursor = database.cursor(&keys::all(Kind::Forward));
        Before { database, cursor, placed: false, states: StateReader::default() }
    }

    /// Whether an edge, behind those asked about before, held just before a revision.
    pub(crate) fn held(&mut self, edge: &EdgeKey, revision: Revision) -> Result<bool, StorageError> {
        let from = keys::version(Direction::Forward, edge, Revision(revision.0.saturating_sub(1)));
        // Once the cursor has passed the last key there is nothing behind it either.
        let ahead = self.placed && self.cursor.key().is_none_or(|key| key >= from.as_slice());
        if !ahead {
            self.cursor.seek(&from);
            self.placed = true;
        }
        self.cursor.status().map_err(storage_error)?;
        let Some((key, value)) = self.cursor.item() else { return Ok(false) };
        let (found, written) =
            keys::read_edge_version(Direction::Forward, key).ok_or_else(|| damaged("key of a version"))?;
        if found != *edge {
            return Ok(false);
        }
        let state = self.states.read(value)?;
        state.map_or(Ok(false), |state| holds(self.database, edge, written, &state))
    }
}

impl Writer {
    /// See [`stonetown_storage::Datastore::pass_time`].
    pub(crate) fn pass_time(&mut self, now: Timestamp, limit: usize) -> Result<Passed, CommitError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let mut group = Group::new(self);
        let found = self.take_moments(&mut group, Kind::Ahead, now, limit, |batch, moment, state| {
            let ends = state.expires_at == Some(moment.time);
            if ends {
                batch.put(keys::moment(Kind::Expired, &moment), []);
            }
            Ok((Some(state), if ends { Effect::Ends } else { Effect::Begins }))
        })?;
        let next = found.next;
        let passed = self.log_moments(group, now, true, found)?;
        shared.set_next_moment(next);
        let settled = !passed.more && self.last_time <= now;
        let head = Revision(self.meta.head);
        Ok(Passed { settled: settled.then_some(Settled { revision: head, time: now }), ..passed })
    }

    /// See [`stonetown_storage::Datastore::remove_expired`].
    pub(crate) fn remove_expired(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Passed, CommitError> {
        let revision = Revision(self.meta.head + 1);
        let ended = encode(&StoredState::None)?;
        let mut group = Group::new(self);
        let found = self.take_moments(&mut group, Kind::Expired, until, limit, |batch, moment, _| {
            put_version(batch, &moment.edge, revision, &ended);
            Ok((None, Effect::Silent))
        })?;
        self.log_moments(group, now, false, found)
    }

    /// Takes the notes up to a moment, those of one store, and hands those that still count to `take`.
    fn take_moments(
        &self,
        group: &mut Group,
        kind: Kind,
        until: Timestamp,
        limit: usize,
        mut take: impl FnMut(&mut Batch, Moment, EdgeState) -> Result<(Option<EdgeState>, Effect), StorageError>,
    ) -> Result<Found, StorageError> {
        let mut found = Found::default();
        let mut looked_at = 0;
        let prefix = keys::all(kind);
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let moment = read(key)?;
            found.next = Some(moment.time);
            if moment.time > until {
                return Ok(ControlFlow::Break(()));
            }
            let store = *found.store.get_or_insert(moment.edge.store);
            found.more = looked_at >= limit || store != moment.edge.store;
            if found.more {
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            found.next = None;
            group.batch.delete(key);
            let newest = RocksSnapshot::head(&self.shared, store).version(&moment.edge)?;
            if let Some((_, state)) = newest.filter(|(written, _)| *written == moment.written) {
                let (state, effect) = take(&mut group.batch, moment, state)?;
                found.changes.push(change((moment.edge, state, effect)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Writes what was found as a commit, or only that the notes are gone.
    fn log_moments(
        &mut self,
        mut group: Group,
        now: Timestamp,
        time_only: bool,
        found: Found,
    ) -> Result<Passed, CommitError> {
        let Found { store, changes, more, .. } = found;
        let (Some(store), false) = (store, changes.is_empty()) else {
            self.write_unsynced(group.batch)?;
            return Ok(Passed { more, ..Passed::default() });
        };
        let revision = Revision(self.meta.head + 1);
        let edges = changes.len() as u64;
        let provenance = StoredProvenance::from(&Provenance { time: now, actor: None, metadata: None });
        group.meta.head = revision.0;
        group.last_time = group.last_time.max(now);
        let pieces = changelog::put_changes(&self.shared.database, &mut group.batch, revision, &changes)?;
        let header = LogHeader { store: store.0, schema_changed: false, provenance, pieces, time_only };
        let time = group.last_time;
        put_end(&mut group.batch, &self.shared, revision, &header, 0, time)?;
        group.tell(revision, store, changes);
        self.write_group(group)?;
        // A batch that could not be written has stopped all writes.
        self.shared.writable()?;
        Ok(Passed { revision: Some(revision), edges, more, settled: None })
    }
}

/// Notes that were taken.
#[derive(Default)]
struct Found {
    store: Option<StoreId>,
    changes: Vec<Change>,
    more: bool,
    /// The moment of the first note that was left.
    next: Option<Timestamp>,
}

fn read(key: &[u8]) -> Result<Moment, StorageError> {
    keys::read_moment(key).ok_or_else(|| damaged("key of a moment"))
}
