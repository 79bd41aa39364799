//! Going back to an older revision, in a copy that nobody uses yet.
//!
//! Versions are never changed and the log names what each commit wrote; so the commits after a revision are undone by
//! removing exactly that. It reaches as far back as both the snapshot window and the log: behind the window superseded
//! versions are gone, behind the log nobody knows what a commit wrote.

use std::ops::ControlFlow;

use stonetown_storage::{Change, Direction, Ordinal, StorageError};
use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

use crate::backup::Until;
use crate::changelog;
use crate::database::Batch;
use crate::keys::{self, EdgeKey, Kind};
use crate::moments;
use crate::values::{Answered, Cursor, LogHeader, damaged, decode};
use crate::write::Writer;

/// Removals in one batch.
const BATCH_REMOVALS: usize = 8_192;

impl Writer {
    /// The newest revision that `until` includes.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when it lies outside of what can be gone back to.
    pub(crate) fn revision_until(&self, until: Until) -> Result<Revision, StorageError> {
        let head = Revision(self.meta.head);
        let oldest = Revision(self.meta.floor.max(self.meta.log_floor));
        let revision = match until {
            Until::Newest => return Ok(head),
            Until::Revision(revision) => revision,
            Until::Time(time) => self.revision_at(time)?,
        };
        if revision > head {
            return Err(StorageError::Refused(format!("revision {revision} is not in it: the newest is {head}")));
        }
        if revision < oldest {
            return Err(StorageError::Refused(format!(
                "it cannot be restored to revision {revision}: the oldest that it still holds whole is {oldest}. Take an \
                 older backup"
            )));
        }
        Ok(revision)
    }

    fn revision_at(&self, time: Timestamp) -> Result<Revision, StorageError> {
        let until = keys::time(time, Revision(u64::MAX));
        let read = |key: Vec<u8>| keys::read_time(&key).ok_or_else(|| damaged("key of a time"));
        let last = self.shared.database.last(&keys::all(Kind::Time), &until)?.map(read).transpose()?;
        match last {
            Some((_, revision)) => Ok(revision),
            None if self.meta.floor == 0 => Ok(Revision(0)),
            None => Err(StorageError::Refused(format!(
                "it cannot be restored to {time}: the commits of that time are no longer held. Take an older backup"
            ))),
        }
    }

    /// Undoes all commits after `revision` and begins a history of its own.
    pub(crate) fn rewind(&mut self, revision: Revision) -> Result<InstanceId, StorageError> {
        for undone in (revision.0 + 1..=self.meta.head).map(Revision) {
            self.undo(undone)?;
        }
        self.forget_times(revision)?;
        self.forget_answers(revision)?;
        let next = Cursor { revision: revision.0 + 1, piece: 1, change: 0 };
        self.meta.head = revision.0;
        self.meta.swept = self.meta.swept.min(next);
        self.meta.cut = self.meta.cut.min(next);
        self.meta.instance = other_than(self.meta.instance);
        let mut batch = Batch::default();
        self.put_meta(&mut batch, &self.meta)?;
        self.shared.database.write(batch, true)?;
        self.shared.publish(revision);
        // Which moments the log had been told of by then nobody knows any more: it is told of all again.
        moments::put_all(&self.shared)?;
        Ok(InstanceId(self.meta.instance))
    }

    fn undo(&self, revision: Revision) -> Result<(), StorageError> {
        let database = &self.shared.database;
        let header = changelog::header(database, revision)?;
        let mut batch = Batch::default();
        for piece in 1..=header.pieces {
            for change in changelog::piece(database, revision, piece)? {
                self.undo_change(&mut batch, &header, revision, &change)?;
            }
            batch.delete_log(database, &keys::log(revision, piece))?;
            self.write_if_many(&mut batch)?;
        }
        if header.schema_changed {
            batch.delete(keys::schema(StoreId(header.store), revision));
        }
        batch.delete(keys::transaction(revision));
        batch.delete(keys::versions(revision));
        batch.delete_log(database, &keys::log(revision, 0))?;
        self.write_unsynced(batch)
    }

    /// Removes the version that a change wrote. Garbage collection is to see whether anything else mentions its ends.
    fn undo_change(
        &self,
        batch: &mut Batch,
        header: &LogHeader,
        revision: Revision,
        change: &Change,
    ) -> Result<(), StorageError> {
        let Change { table, resource, subject, source, .. } = *change;
        let edge = EdgeKey { store: StoreId(header.store), table, resource, subject, source };
        for direction in [Direction::Forward, Direction::Reverse] {
            batch.delete(keys::version(direction, &edge, revision));
        }
        let catalogue = self.shared.catalogue(edge.store);
        let table = catalogue.table(table).ok_or_else(|| damaged(format!("no table {}", table.0)))?;
        for (object_type, ordinal) in [(table.resource_type, resource), (table.subject_type, subject)] {
            if ordinal != Ordinal::WILDCARD {
                batch.put(keys::suspect(edge.store, object_type, ordinal), []);
            }
        }
        Ok(())
    }

    fn forget_times(&self, revision: Revision) -> Result<(), StorageError> {
        let prefix = keys::all(Kind::Time);
        let mut batch = Batch::default();
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let (_, committed) = keys::read_time(key).ok_or_else(|| damaged("key of a time"))?;
            if committed > revision {
                batch.delete(key);
            }
            self.write_if_many(&mut batch)?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.write_unsynced(batch)
    }

    /// Forgets what was answered to requests that are undone: repeated, they are to be done again.
    fn forget_answers(&self, revision: Revision) -> Result<(), StorageError> {
        let prefix = keys::all(Kind::Request);
        let mut batch = Batch::default();
        self.shared.database.scan(&prefix, &prefix, &mut |key, value| {
            let answered: Answered = decode("answered request", value)?;
            if answered.replay().revision > revision {
                let (store, id) = keys::read_request(key).ok_or_else(|| damaged("key of a request"))?;
                batch.delete(keys::request_time(answered.time()?, store, id));
                batch.delete(key);
            }
            self.write_if_many(&mut batch)?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.write_unsynced(batch)
    }

    fn write_if_many(&self, batch: &mut Batch) -> Result<(), StorageError> {
        if batch.len() < BATCH_REMOVALS { Ok(()) } else { self.write_unsynced(std::mem::take(batch)) }
    }
}

/// A new instance id, which 0 is not: it stands for foreign ones.
fn other_than(instance: u64) -> u64 {
    loop {
        let new = rand::random();
        if new != instance && new != 0 {
            return new;
        }
    }
}
