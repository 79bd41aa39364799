//! Publishing what is staged, piece by piece, and doing away with it.
//!
//! A bulk that is marked will be published: its changes are written as versions of a revision that is not the head yet, in
//! bounded batches, each with how far it got. The last batch ends the commit in the log, moves the head and is synced.
//! After a crash a marked bulk is rolled forward from where it got, and one that is not marked is removed. Batches before
//! the last need no sync: what a crash takes is always an end of the sequence of batches.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use stonetown_storage::{Change, Effect, LogPart, StorageError};
use stonetown_tuple::{Revision, StoreId};

use crate::bulk::BATCH_CHANGES;
use crate::changelog;
use crate::database::Batch;
use crate::keys;
use crate::moments::{self, Before};
use crate::values::{LogHeader, Mark, Progress, StateReader, StoredBulk, damaged, decode, encode};
use crate::write::{SYNC, Writer, change, put_end, put_version};

impl Writer {
    /// Publishes a marked bulk, or what is left of it.
    pub(crate) fn roll_forward(&mut self, bulk: u64, stored: StoredBulk) -> Result<(), StorageError> {
        let (store, mark) = match stored {
            StoredBulk { store, marked: Some(mark) } => (StoreId(store), mark),
            StoredBulk { marked: None, .. } => return Err(damaged("a bulk without a mark cannot be published")),
        };
        let rolled = self.roll_changes(bulk, store, &mark).and_then(|progress| self.end(bulk, store, &mark, &progress));
        let header = rolled.map_err(|error| self.fail(&error))?;
        self.open_bulks.remove(&bulk);
        self.tell(store, &mark, header.pieces).map_err(|error| self.fail(&error))?;
        #[cfg(feature = "fault-ack-before-sync")]
        self.shared.database.sync().map_err(|error| self.fail(&error))?;
        Ok(())
    }

    /// Removes a bulk that was not published. What only it mentioned is left to garbage collection.
    pub(crate) fn abandon(&mut self, bulk: u64) -> Result<(), StorageError> {
        self.suspect_names(bulk)?;
        let mut batch = Batch::default();
        remove(&mut batch, bulk);
        self.write_unsynced(batch)?;
        self.open_bulks.remove(&bulk);
        Ok(())
    }

    /// Has garbage collection look at the names that a bulk was the first to mention.
    pub(crate) fn suspect_names(&self, bulk: u64) -> Result<(), StorageError> {
        let prefix = keys::all_staged_names(bulk);
        let mut batch = Batch::default();
        self.shared.database.scan(&prefix, &prefix, &mut |key, _| {
            let (store, object_type, ordinal) =
                keys::read_staged_name(key).ok_or_else(|| damaged("key of a staged name"))?;
            batch.put(keys::suspect(store, object_type, ordinal), []);
            if batch.len() >= BATCH_CHANGES {
                self.write_unsynced(std::mem::take(&mut batch))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.write_unsynced(batch)
    }

    fn roll_changes(&self, bulk: u64, store: StoreId, mark: &Mark) -> Result<Progress, StorageError> {
        let mut progress = match self.shared.database.get(&keys::progress(bulk))? {
            Some(bytes) => decode("progress of a bulk", &bytes)?,
            None => Progress::default(),
        };
        while self.roll_batch(bulk, store, mark, &mut progress)?.is_continue() {}
        Ok(progress)
    }

    /// Rolls some more changes forward; breaks after the last.
    fn roll_batch(
        &self,
        bulk: u64,
        store: StoreId,
        mark: &Mark,
        progress: &mut Progress,
    ) -> Result<ControlFlow<()>, StorageError> {
        let revision = Revision(mark.revision);
        let now = mark.provenance.clone().read()?.time;
        let mut batch = Batch::default();
        let mut changes: Vec<Change> = Vec::new();
        let mut states = StateReader::default();
        let mut before = Before::new(&self.shared.database);
        let after = Some(progress.last.clone()).filter(|last| !last.is_empty());
        self.scan_staged(bulk, store, after.as_deref(), &mut |edge, key, value| {
            put_version(&mut batch, &edge, revision, value);
            let state = states.read(value)?;
            progress.versions += u64::from(state.is_some());
            progress.last = key.to_vec();
            moments::put(&mut batch, &self.shared, &edge, revision, state.as_ref(), now);
            let holds = state.as_ref().is_some_and(|state| state.is_live(now));
            changes.push(change((edge, state, Effect::of(before.held(&edge, revision)?, holds))));
            Ok(if changes.len() < BATCH_CHANGES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        for piece in changes.chunks(changelog::CHANGES_PER_PIECE) {
            progress.pieces += 1;
            changelog::put_piece(&self.shared.database, &mut batch, revision, progress.pieces, piece)?;
        }
        batch.put(keys::progress(bulk), encode(progress)?);
        self.shared.database.write(batch, false)?;
        Ok(if changes.len() < BATCH_CHANGES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Writes the end of a bulk's commit, durably.
    fn end(&mut self, bulk: u64, store: StoreId, mark: &Mark, progress: &Progress) -> Result<LogHeader, StorageError> {
        let revision = Revision(mark.revision);
        let header = LogHeader {
            store: store.0,
            schema_changed: mark.schema_changed,
            provenance: mark.provenance.clone(),
            pieces: progress.pieces,
            time_only: false,
        };
        let time = self.last_time.max(mark.provenance.clone().read()?.time);
        let mut meta = self.meta.clone();
        meta.head = mark.revision;
        let mut batch = Batch::default();
        put_end(&mut batch, &self.shared, revision, &header, progress.versions, time)?;
        self.put_meta(&mut batch, &meta)?;
        remove(&mut batch, bulk);
        self.shared.database.write(batch, SYNC)?;
        self.shared.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.meta = meta;
        self.last_time = time;
        Ok(header)
    }

    /// Tells followers of a commit, piece by piece as the log has it, and makes it visible.
    fn tell(&self, store: StoreId, mark: &Mark, pieces: u32) -> Result<(), StorageError> {
        let revision = Revision(mark.revision);
        let followers = self.shared.followers.lock();
        let tell = |changes: &[Change], last| {
            let part = LogPart { revision, store, schema_changed: mark.schema_changed, changes, last };
            followers.iter().for_each(|follower| follower.follow(&part));
        };
        if pieces == 0 {
            tell(&[], true);
        }
        for number in 1..=pieces {
            if !followers.is_empty() {
                tell(&changelog::piece(&self.shared.database, revision, number)?, number == pieces);
            }
        }
        self.shared.publish(revision);
        Ok(())
    }
}

/// Puts the removal of a bulk into a batch.
fn remove(batch: &mut Batch, bulk: u64) {
    batch.delete_all(&keys::all_staged(bulk));
    batch.delete_all(&keys::all_staged_names(bulk));
    batch.delete(keys::bulk(bulk));
    batch.delete(keys::progress(bulk));
}

#[cfg(test)]
mod tests;
