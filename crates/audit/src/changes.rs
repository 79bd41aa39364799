//! The change logs, derived from the transaction log: they follow that log from the last revision that they have all recorded. So a
//! crash between a commit and its record loses nothing, and a commit needs not wait for the record.

mod position;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stonetown_storage::{
    Change as EdgeChange, Datastore, Edge, Effect, LogPiece, Snapshot, SnapshotError, StorageError, Table, read,
};
use stonetown_tuple::{Revision, Source, StoreId, Timestamp};

use crate::layout::log_of;
use crate::log::LogError;
use crate::merkle::sha256;
use crate::record::{Body, Change, Gap};
use crate::recorder::shelf::Shelf;

/// The reason of a gap when the datastore is older than its log of changes: it was restored from a copy.
pub(crate) const HISTORY_WENT_BACK: &str = "history_went_back";
/// The reason of a gap when transactions were cut from the transaction log before they were recorded.
pub(crate) const LOG_CUT: &str = "transaction_log_cut";

/// Relationships in one record.
const UPDATES_MAX: usize = 200;
/// Records that are handed to the system together.
const RECORDS_AT_ONCE: u64 = 64;

/// Why changes are not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangesError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Transactions that the logs lack.
struct Missing {
    reason: &'static str,
    from: Revision,
    until: Revision,
    count: u64,
}

/// What came of recording a transaction.
enum Recorded {
    Whole,
    /// It is not committed.
    NotYet,
    /// The transaction log no longer has it.
    Cut {
        floor: Revision,
    },
}

/// The change logs and how far they have come: that of each store has the transactions of the store.
pub(crate) struct Changes {
    logs: Shelf,
    datastore: Arc<dyn Datastore>,
    position: Revision,
    /// The position that is not only in memory.
    written: Revision,
    /// Where the position is kept up to which all logs are synced, and what is there.
    file: PathBuf,
    kept: Revision,
}

impl Changes {
    /// Goes on where the process before ended; `main` is the last revision that the default store's log has.
    ///
    /// # Errors
    /// When the position cannot be read.
    pub(crate) fn new(
        logs: Shelf,
        datastore: Arc<dyn Datastore>,
        file: PathBuf,
        main: Revision,
    ) -> Result<Changes, LogError> {
        // Data of a version with one log for all stores has no such file.
        let kept = position::read(&file, datastore.instance())?;
        let position = kept.unwrap_or(main);
        Ok(Changes { logs, datastore, position, written: position, file, kept: kept.unwrap_or_default() })
    }

    /// The last revision whose record is not only in memory.
    pub(crate) fn recorded(&self) -> Revision {
        self.written
    }

    /// Its logs.
    pub(crate) fn logs(&mut self) -> &mut Shelf {
        &mut self.logs
    }

    /// Records what has been committed since, until about `patience` is over; returns how many records. What fails, and what is
    /// left, is tried at the next call.
    pub(crate) fn follow(&mut self, patience: Duration) -> (u64, Result<(), ChangesError>) {
        let mut count = 0;
        let followed = self.follow_to_head(patience, &mut count);
        if followed.is_err() {
            self.position = self.written;
            // What could not be written is no longer in memory either.
            self.logs.each().for_each(|(_, kept)| kept.position = kept.written);
        }
        (count, followed)
    }

    fn follow_to_head(&mut self, patience: Duration, count: &mut u64) -> Result<(), ChangesError> {
        let begun = Instant::now();
        let head = self.datastore.head();
        if self.position > head {
            self.gap(&Missing { reason: HISTORY_WENT_BACK, from: head, until: self.position, count: 0 })?;
            self.position = head;
        }
        let mut unwritten = 0;
        while self.position < self.datastore.head() && begun.elapsed() < patience {
            let revision = self.position.next();
            let before = *count;
            match self.record(revision, count)? {
                Recorded::Whole => self.position = revision,
                Recorded::NotYet => break,
                Recorded::Cut { floor } => {
                    let count = floor.0 - self.position.0;
                    self.gap(&Missing { reason: LOG_CUT, from: revision, until: floor, count })?;
                    self.position = floor;
                }
            }
            unwritten += *count - before;
            if unwritten >= RECORDS_AT_ONCE {
                self.write()?;
                unwritten = 0;
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), ChangesError> {
        for (_, kept) in self.logs.each() {
            kept.log.write()?;
            kept.written = kept.position;
        }
        self.written = self.position;
        Ok(())
    }

    /// Says in each log that lacks them which transactions are missing.
    fn gap(&mut self, missing: &Missing) -> Result<(), LogError> {
        let Missing { reason, from, until, count } = *missing;
        tracing::warn!(reason, %from, %until, "the log of changes has a gap");
        for of in self.logs.stores()? {
            let kept = self.logs.get(of)?;
            let went_back = reason == HISTORY_WENT_BACK;
            let lacks = if went_back { kept.position > from } else { kept.position < until };
            if lacks || of == StoreId::DEFAULT {
                kept.log.add(&Body::Gap(Gap {
                    time: Timestamp::now(),
                    reason,
                    count,
                    from: from.0,
                    until: until.0,
                }))?;
                kept.position = if went_back { from } else { until };
            }
        }
        Ok(())
    }

    /// Records a transaction, a bounded piece of it at a time.
    fn record(&mut self, revision: Revision, records: &mut u64) -> Result<Recorded, ChangesError> {
        let (mut part, mut count) = (0, 0);
        for number in 0.. {
            let piece = match self.datastore.log_piece(revision, number) {
                Ok(Some(piece)) => piece,
                Ok(None) | Err(SnapshotError::Future { .. }) => return Ok(Recorded::NotYet),
                Err(SnapshotError::Expired { floor, .. }) => return Ok(Recorded::Cut { floor }),
                Err(SnapshotError::Storage(error)) => return Err(error.into()),
            };
            let of = log_of(piece.store);
            // Its log can be ahead of where a process before came to say that all are.
            if self.logs.get(of)?.position < revision {
                *records += self.record_piece(of, &piece, &mut part, &mut count)?;
            }
            if piece.last {
                break;
            }
            // Its first parts are there twice, should the rest fail: those that end in one that is the last count.
            self.logs.get(of)?.log.write()?;
        }
        Ok(Recorded::Whole)
    }

    fn record_piece(
        &mut self,
        of: StoreId,
        piece: &LogPiece,
        part: &mut u64,
        count: &mut u64,
    ) -> Result<u64, ChangesError> {
        let snapshot = self.snapshot(piece)?;
        let schema = match snapshot.schema()? {
            Some(schema) if piece.schema_changed && schema.revision == piece.revision => Some(sha256(&schema.bytes)),
            _ => None,
        };
        let kept = self.logs.get(of)?;
        let mut records = 0;
        let mut chunks = piece.changes.chunks(UPDATES_MAX).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let texts = chunk.iter().map(|change| text(&*snapshot, change)).collect::<Result<Vec<_>, _>>()?;
            *count += chunk.len() as u64;
            let is_end = chunks.peek().is_none();
            kept.log.add(&Body::Change(Change {
                time: piece.provenance.time,
                revision: piece.revision,
                store: piece.store,
                part: *part,
                last: piece.last && is_end,
                count: *count,
                schema,
                actor: piece.provenance.actor.as_deref().unwrap_or_default(),
                metadata: piece.provenance.metadata.as_deref().unwrap_or_default(),
                updates: texts.iter().map(String::as_str).collect(),
            }))?;
            *part += 1;
            records += 1;
            if is_end {
                if piece.last {
                    kept.position = piece.revision;
                }
                return Ok(records);
            }
        }
    }

    /// Syncs and signs what is written, until `patience` is over, and once that is all keeps how far it goes.
    ///
    /// # Errors
    /// When a log, or the position, cannot be synced.
    pub(crate) fn sync(&mut self, patience: Duration) -> Result<(), LogError> {
        let (until, begun) = (self.written, Instant::now());
        for (_, kept) in self.logs.each() {
            kept.log.publish()?;
            if begun.elapsed() >= patience {
                return Ok(());
            }
        }
        if self.kept != until {
            position::write(&self.file, self.datastore.instance(), until)?;
            self.kept = until;
        }
        Ok(())
    }

    /// Adds a record of something else to the log of a store, synced and signed for when this returns.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn add_now(&mut self, of: StoreId, body: &Body<'_>) -> Result<(), LogError> {
        let kept = self.logs.get(of)?;
        kept.log.add(body)?;
        kept.log.publish()?;
        kept.written = kept.position;
        Ok(())
    }

    /// A snapshot that knows the names in a piece: that of its own revision, or the oldest there is. Names stay for as long as
    /// the transaction log mentions them.
    fn snapshot(&self, piece: &LogPiece) -> Result<Arc<dyn Snapshot>, StorageError> {
        let mut at = piece.revision;
        loop {
            match self.datastore.snapshot(piece.store, at) {
                Ok(snapshot) => return Ok(snapshot),
                Err(SnapshotError::Expired { floor, .. }) => at = floor,
                Err(SnapshotError::Storage(error)) => return Err(error),
                Err(error @ SnapshotError::Future { .. }) => return Err(StorageError::Damaged(error.to_string())),
            }
        }
    }
}

/// `+` and the relationship as it is from now on, or `-` and the one that ended, by a write or by its expiry; with its source
/// where it has one.
fn text(snapshot: &dyn Snapshot, change: &EdgeChange) -> Result<String, StorageError> {
    let tables = snapshot.tables();
    let table: &Table = tables
        .iter()
        .find(|table| table.id == change.table)
        .ok_or_else(|| StorageError::Damaged(format!("the transaction log names table {}", change.table.0)))?;
    let state = change.state.clone().unwrap_or_default();
    let edge = Edge {
        resource: change.resource,
        subject: change.subject,
        source: change.source,
        caveat: state.caveat,
        not_before: state.not_before,
        expires_at: state.expires_at,
        written: Revision(0),
    };
    let sign = if change.state.is_some() && change.effect != Effect::Ends { '+' } else { '-' };
    let relationship = read::relationship(snapshot, table, &edge)?;
    Ok(match change.source {
        Source::STANDING => format!("{sign}{relationship}"),
        Source(number) => format!("{sign}{relationship} source {number}"),
    })
}
