//! Going on after a full disk.
//!
//! A batch that could not be written is in no table and no memory, but may stand in the write-ahead log, whole or torn. When
//! there is room again RocksDB moves everything that was written before to tables, in one step for both column families, and
//! begins a new log: then that batch is nowhere. It does so by itself, seconds after the room is there, and tells nobody; but
//! until then it takes no writes, so that memory without a key is the sign of it. If a crash comes first, the batch is read
//! from the log when the datastore is opened, or not: its caller was told neither.
//!
//! What failed in the middle of a bulk is settled as it is when a datastore is opened.

use std::time::{Duration, Instant};

use stonetown_storage::StorageError;
use stonetown_tuple::Revision;

use crate::database::Batch;
use crate::keys;
use crate::open;
use crate::values::{Meta, StoredBulk, damaged, decode};
use crate::write::{SYNC, Writer};

/// Time between two attempts.
const RESUME_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    /// Tries to go on, if a full disk has stopped it and it is time.
    pub(crate) fn resume_if_due(&mut self) {
        if !self.shared.is_suspended() || self.resume_tried.elapsed() < RESUME_EVERY {
            return;
        }
        self.resume_tried = Instant::now();
        match self.resume() {
            // Not yet, and no news.
            Ok(false) | Err(StorageError::Full(_)) => {}
            Ok(true) => self.shared.resume(),
            Err(error) => {
                self.fail(&error);
            }
        }
    }

    /// Whether writes can be taken again: RocksDB has gone on, holds what was acknowledged and nothing else, and syncs.
    fn resume(&mut self) -> Result<bool, StorageError> {
        let database = &self.shared.database;
        if database.buffered_keys() > 0 {
            return Ok(false);
        }
        let next = Revision(self.meta.head + 1);
        let stored = database.get(&keys::meta())?.map(|bytes| decode::<Meta>("state of the database", &bytes));
        let head = stored.transpose()?.map(|meta| meta.head);
        if head != Some(self.meta.head) || database.get(&keys::transaction(next))?.is_some() {
            return Err(damaged(format!("the database does not end at {} after the disk was full", self.meta.head)));
        }
        let mut batch = Batch::default();
        self.put_meta(&mut batch, &self.meta)?;
        database.write(batch, SYNC)?;
        let left = open::bulks(database)?.into_iter();
        let left = left.filter(|(bulk, stored)| stored.marked.is_some() || !self.open_bulks.contains(bulk)).collect();
        self.settle_bulks(left)?;
        Ok(true)
    }

    /// Publishes those that are marked and removes the others.
    pub(crate) fn settle_bulks(&mut self, bulks: Vec<(u64, StoredBulk)>) -> Result<(), StorageError> {
        for (bulk, stored) in bulks {
            let next = self.meta.head + 1;
            match &stored.marked {
                Some(mark) if mark.revision == next => {
                    self.suspect_names(bulk)?;
                    self.roll_forward(bulk, stored)?;
                }
                Some(mark) => return Err(damaged(format!("a bulk is marked {} where {next} is next", mark.revision))),
                None => self.abandon(bulk)?,
            }
        }
        Ok(())
    }
}
