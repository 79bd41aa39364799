//! Garbage collection, led by the log: it names exactly the edges of which older versions can be superseded.
//!
//! Two passes follow each other through the log.
//!
//! * **Sweeping** looks at commits up to the oldest revision that anybody can read. Each change hides the older versions of
//!   its edge: those go.
//! * **Cutting** looks at commits that are swept and that the log need not keep. An end among their changes now hides
//!   nothing, and goes; then the commit goes from the log.
//!
//! So an end never goes before what it hides, whatever interrupts the collection. And as an edge leaves its last version
//! behind until the log has forgotten it, a name that no version mentions is mentioned by nothing at all: then it goes.
//!
//! All of it happens on the writer's thread, a bounded piece at a call, so that no name can be taken up while it is removed.

use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};
use stonetown_storage::{Change, Collected, Direction, Ordinal, RequestId, StorageError, TypeId};
use stonetown_tuple::{Revision, StoreId};

use crate::changelog;
use crate::database::{Batch, storage_error};
use crate::keys::{self, EdgeKey, Kind};
use crate::shared::Shared;
use crate::values::{Answered, Cursor, LogHeader, Meta, StateReader, StoredState, damaged, decode, encode};
use crate::write::Writer;

/// Removals in one batch.
const BATCH_REMOVALS: usize = 2_000;
/// How many changes, names or records are looked at for each version that may be removed, and at least.
const LOOKS_PER_VERSION: usize = 8;
const LOOKS_MIN: usize = 1_000;

impl Writer {
    /// See [`stonetown_storage::Datastore::collect_garbage`].
    pub(crate) fn collect_garbage(
        &mut self,
        floor: Revision,
        log_floor: Revision,
        limit: usize,
    ) -> Result<Collected, StorageError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let (floor, log_floor, oldest) = shared.move_floors(floor, log_floor);
        self.meta.floor = floor.0;
        self.meta.log_floor = log_floor.0;
        let mut collection = Collection {
            shared: &shared,
            meta: self.meta.clone(),
            written: self.meta.clone(),
            batch: Batch::default(),
            removed: FxHashSet::default(),
            versions_left: FxHashMap::default(),
            collected: Collected::default(),
            limit,
            looks: limit.saturating_mul(LOOKS_PER_VERSION).max(LOOKS_MIN),
        };
        let collected = collection.run(oldest, log_floor, self.last_time, self.open_bulks.is_empty());
        self.meta = collection.written;
        collected.map_err(|error| match error {
            StorageError::Io(_) | StorageError::Full(_) => self.fail(&error),
            other => other,
        })
    }
}

/// One call of garbage collection.
struct Collection<'s> {
    shared: &'s Shared,
    meta: Meta,
    /// The state as of the last batch: what counts, should the call fail.
    written: Meta,
    batch: Batch,
    /// Versions whose removal is in the batch, still to be seen in the database.
    removed: FxHashSet<(EdgeKey, Revision)>,
    /// How many versions of a commit are left, where that changed since the last batch.
    versions_left: FxHashMap<Revision, u64>,
    collected: Collected,
    limit: usize,
    looks: usize,
}

impl Collection<'_> {
    fn run(
        &mut self,
        oldest: Revision,
        log_floor: Revision,
        now: stonetown_tuple::Timestamp,
        names_may_go: bool,
    ) -> Result<Collected, StorageError> {
        // The floor is written before anything behind it is removed.
        self.flush()?;
        let swept = self.walk(oldest, Pass::Sweep)?.is_continue();
        let cut = swept && self.walk(oldest.min(log_floor), Pass::Cut)?.is_continue();
        let names = !cut || !names_may_go || self.drop_names()?;
        let records = self.drop_times(oldest)? & self.drop_requests(now)?;
        self.flush()?;
        self.collected.more = !(swept && cut && names && records);
        Ok(self.collected)
    }

    /// Goes through the log from where the pass stopped last, up to and including `until`.
    fn walk(&mut self, until: Revision, pass: Pass) -> Result<ControlFlow<()>, StorageError> {
        loop {
            let cursor = *self.cursor(pass);
            let revision = Revision(cursor.revision);
            if revision > until {
                self.flush()?;
                return Ok(ControlFlow::Continue(()));
            }
            let header = changelog::header(&self.shared.database, revision)?;
            // That time has passed replaces nothing.
            let flow = if cursor.piece <= header.pieces && !header.time_only {
                self.walk_piece(&header, cursor, pass)?
            } else {
                self.end_commit(&header, revision, pass)?;
                *self.cursor(pass) = Cursor { revision: revision.0 + 1, piece: 1, change: 0 };
                self.look()
            };
            if flow.is_break() {
                self.flush()?;
                return Ok(ControlFlow::Break(()));
            }
            if self.batch.len() >= BATCH_REMOVALS {
                self.flush()?;
            }
        }
    }

    fn walk_piece(&mut self, header: &LogHeader, at: Cursor, pass: Pass) -> Result<ControlFlow<()>, StorageError> {
        let revision = Revision(at.revision);
        let changes = changelog::piece(&self.shared.database, revision, at.piece)?;
        for change in changes.iter().skip(at.change as usize) {
            let edge = edge_of(StoreId(header.store), change);
            let done = match pass {
                Pass::Sweep => self.remove_older(&edge, revision)?,
                Pass::Cut if change.state.is_none() => self.remove_end(&edge, revision)?,
                Pass::Cut => ControlFlow::Continue(()),
            };
            if done.is_break() {
                return Ok(done);
            }
            self.cursor(pass).change += 1;
            if self.look().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if self.batch.len() >= BATCH_REMOVALS {
                self.flush()?;
            }
        }
        *self.cursor(pass) = Cursor { piece: at.piece + 1, change: 0, ..at };
        Ok(ControlFlow::Continue(()))
    }

    /// Removes the versions of an edge that one of `revision` hides, newest first.
    fn remove_older(&mut self, edge: &EdgeKey, revision: Revision) -> Result<ControlFlow<()>, StorageError> {
        let prefix = keys::edge_versions(Direction::Forward, edge);
        let shared = self.shared;
        let mut cursor = shared.database.row_cursor(&prefix);
        cursor.seek(keys::after(&keys::version(Direction::Forward, edge, revision)));
        while let Some((key, value)) = cursor.item() {
            let (_, written) = keys::read_version(key).ok_or_else(|| damaged("key of a version"))?;
            if !self.removed.contains(&(*edge, written)) {
                if self.collected.versions as usize >= self.limit {
                    return Ok(ControlFlow::Break(()));
                }
                if decode::<StoredState<'_>>("version of an edge", value)?.is_some() {
                    self.count_down(written)?;
                }
                self.remove_version(edge, written);
            }
            cursor.next();
        }
        cursor.status().map_err(storage_error)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Removes the end of an edge if it is still there.
    fn remove_end(&mut self, edge: &EdgeKey, revision: Revision) -> Result<ControlFlow<()>, StorageError> {
        let key = keys::version(Direction::Forward, edge, revision);
        let Some(value) = self.shared.database.get(&key)? else { return Ok(ControlFlow::Continue(())) };
        if StateReader::default().read(&value)?.is_some() {
            return Err(damaged(format!("the log has an end where {edge:?} has a version, at {revision}")));
        }
        if self.collected.versions as usize >= self.limit {
            return Ok(ControlFlow::Break(()));
        }
        let mut older = self.shared.database.row_cursor(&keys::edge_versions(Direction::Forward, edge));
        older.seek(keys::after(&key));
        if older.valid() {
            return Err(damaged(format!("versions of {edge:?} are left under its end at {revision}")));
        }
        older.status().map_err(storage_error)?;
        self.remove_version(edge, revision);
        let catalogue = self.shared.catalogue(edge.store);
        let table = catalogue.table(edge.table).ok_or_else(|| damaged(format!("no table {}", edge.table.0)))?;
        for (object_type, ordinal) in [(table.resource_type, edge.resource), (table.subject_type, edge.subject)] {
            if ordinal != Ordinal::WILDCARD {
                self.batch.put(keys::suspect(edge.store, object_type, ordinal), []);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn remove_version(&mut self, edge: &EdgeKey, revision: Revision) {
        for direction in [Direction::Forward, Direction::Reverse] {
            self.batch.delete(keys::version(direction, edge, revision));
        }
        self.removed.insert((*edge, revision));
        self.collected.versions += 1;
    }

    /// After the last change of a commit.
    fn end_commit(&mut self, header: &LogHeader, revision: Revision, pass: Pass) -> Result<(), StorageError> {
        match pass {
            Pass::Sweep => {
                if header.schema_changed {
                    self.drop_older_schemas(StoreId(header.store), revision)?;
                }
                // A commit that left no relationship behind needs no provenance from here on.
                if self.left(revision)? == 0 {
                    self.versions_left.insert(revision, 0);
                }
            }
            Pass::Cut => {
                for piece in 0..=header.pieces {
                    self.batch.delete_log(&self.shared.database, &keys::log(revision, piece))?;
                }
            }
        }
        Ok(())
    }

    fn drop_older_schemas(&mut self, store: StoreId, revision: Revision) -> Result<(), StorageError> {
        let from = keys::after(&keys::schema(store, revision));
        let batch = &mut self.batch;
        self.shared.database.scan(&keys::schemas(store), &from, &mut |key, _| {
            batch.delete(key);
            Ok(ControlFlow::Continue(()))
        })
    }

    fn left(&self, revision: Revision) -> Result<u64, StorageError> {
        if let Some(left) = self.versions_left.get(&revision) {
            return Ok(*left);
        }
        let Some(bytes) = self.shared.database.get(&keys::versions(revision))? else { return Ok(0) };
        let bytes = bytes.as_ref().try_into().map_err(|_| damaged("a count has eight bytes"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn count_down(&mut self, revision: Revision) -> Result<(), StorageError> {
        let left = self.left(revision)?;
        let left = left.checked_sub(1).ok_or_else(|| damaged(format!("count of the versions of {revision}")))?;
        self.versions_left.insert(revision, left);
        Ok(())
    }

    /// Removes suspects that nothing mentions; whether all were looked at.
    fn drop_names(&mut self) -> Result<bool, StorageError> {
        let prefix = keys::all(Kind::Suspect);
        let mut suspects = Vec::new();
        let most = self.limit.min(self.looks);
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            suspects.push(keys::read_object(key).ok_or_else(|| damaged("key of a suspect"))?);
            Ok(if suspects.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let all = suspects.len() <= most;
        suspects.truncate(most);
        let mut dead = Vec::new();
        for (store, object_type, ordinal) in suspects {
            self.batch.delete(keys::suspect(store, object_type, ordinal));
            if is_mentioned(self.shared, store, object_type, ordinal)? {
                continue;
            }
            let shared = self.shared;
            if let Some(id) = shared.names.object_id(&shared.database, store, object_type, ordinal)? {
                self.batch.delete(keys::ordinal(store, object_type, &id));
                self.batch.delete(keys::object_id(store, object_type, ordinal));
                dead.push((store, object_type, ordinal, id));
            }
        }
        self.flush()?;
        for (store, object_type, ordinal, id) in &dead {
            self.shared.names.forget(*store, *object_type, *ordinal, id);
        }
        self.collected.names += dead.len() as u64;
        Ok(all)
    }

    /// Removes times of commits that cannot be opened; whether all were.
    fn drop_times(&mut self, oldest: Revision) -> Result<bool, StorageError> {
        let prefix = keys::all(Kind::Time);
        let (batch, looks) = (&mut self.batch, &mut self.looks);
        let mut all = true;
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let (_, revision) = keys::read_time(key).ok_or_else(|| damaged("key of a time"))?;
            if revision >= oldest {
                return Ok(ControlFlow::Break(()));
            }
            all = *looks > 0;
            *looks = looks.saturating_sub(1);
            if all {
                batch.delete(key);
            }
            Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(all)
    }

    /// Removes answers that are forgotten; whether all were.
    fn drop_requests(&mut self, now: stonetown_tuple::Timestamp) -> Result<bool, StorageError> {
        let prefix = keys::all(Kind::RequestTime);
        let (shared, batch, looks) = (self.shared, &mut self.batch, &mut self.looks);
        let mut all = true;
        shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let (time, store, id) = keys::read_request_time(key).ok_or_else(|| damaged("key of a request's time"))?;
            if !RequestId::is_forgotten(time, now) {
                return Ok(ControlFlow::Break(()));
            }
            all = *looks > 0;
            *looks = looks.saturating_sub(1);
            if !all {
                return Ok(ControlFlow::Break(()));
            }
            batch.delete(key);
            let request = keys::request(store, id);
            if let Some(bytes) = shared.database.get(&request)?
                // The id may have been used anew since.
                && decode::<Answered>("answered request", &bytes)?.time()? == time
            {
                batch.delete(request);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// Writes what was collected so far, with how far that is.
    fn flush(&mut self) -> Result<(), StorageError> {
        for (revision, left) in self.versions_left.drain() {
            if left == 0 {
                self.batch.delete(keys::versions(revision));
                self.batch.delete(keys::transaction(revision));
            } else {
                self.batch.put(keys::versions(revision), left.to_be_bytes());
            }
        }
        self.batch.put(keys::meta(), encode(&self.meta)?);
        self.shared.database.write(std::mem::take(&mut self.batch), false)?;
        self.written = self.meta.clone();
        self.removed.clear();
        Ok(())
    }

    fn cursor(&mut self, pass: Pass) -> &mut Cursor {
        match pass {
            Pass::Sweep => &mut self.meta.swept,
            Pass::Cut => &mut self.meta.cut,
        }
    }

    fn look(&mut self) -> ControlFlow<()> {
        match self.looks.checked_sub(1) {
            Some(left) => {
                self.looks = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Pass {
    Sweep,
    Cut,
}

/// Whether a version of any edge mentions an object.
fn is_mentioned(shared: &Shared, store: StoreId, object_type: TypeId, ordinal: Ordinal) -> Result<bool, StorageError> {
    for table in shared.catalogue(store).tables().iter() {
        for (direction, end) in [(Direction::Forward, table.resource_type), (Direction::Reverse, table.subject_type)] {
            if end == object_type {
                let prefix = keys::row_versions(direction, store, table.id, ordinal);
                let mut cursor = shared.database.row_cursor(&prefix);
                cursor.seek(&prefix);
                if cursor.valid() {
                    return Ok(true);
                }
                cursor.status().map_err(storage_error)?;
            }
        }
    }
    Ok(false)
}

fn edge_of(store: StoreId, change: &Change) -> EdgeKey {
    let Change { table, resource, subject, source, .. } = *change;
    EdgeKey { store, table, resource, subject, source }
}
