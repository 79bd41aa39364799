//! The change log, derived from the transaction log: it follows that log from the last revision that it has itself. So a crash
//! between a commit and its record loses nothing, and a commit needs not wait for the record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stonetown_storage::{
    Change as EdgeChange, Datastore, Edge, Effect, LogPiece, Snapshot, SnapshotError, StorageError, Table, read,
};
use stonetown_tuple::{Revision, Source, Timestamp};

use crate::log::{Found, Log, LogError};
use crate::merkle::sha256;
use crate::record::{Body, Change, Gap};

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

/// The change log and how far it has come.
pub(crate) struct Changes {
    pub(crate) log: Log,
    datastore: Arc<dyn Datastore>,
    position: Revision,
    /// The position that is not only in memory.
    written: Revision,
}

impl Changes {
    pub(crate) fn new(log: Log, datastore: Arc<dyn Datastore>, found: &Found) -> Changes {
        Changes { log, datastore, position: found.position, written: found.position }
    }

    /// The last revision whose record is not only in memory.
    pub(crate) fn recorded(&self) -> Revision {
        self.written
    }

    /// Records what has been committed since, until about `patience` is over. What fails, and what is left, is tried at the next
    /// call.
    pub(crate) fn follow(&mut self, patience: Duration) -> Result<(), ChangesError> {
        let followed = self.follow_to_head(patience);
        if followed.is_err() {
            self.position = self.written;
        }
        followed
    }

    fn follow_to_head(&mut self, patience: Duration) -> Result<(), ChangesError> {
        let begun = Instant::now();
        let head = self.datastore.head();
        if self.position > head {
            self.gap(HISTORY_WENT_BACK, head, self.position, 0)?;
            self.position = head;
        }
        while self.position < self.datastore.head() && begun.elapsed() < patience {
            let revision = self.position.next();
            match self.record(revision)? {
                Recorded::Whole => self.position = revision,
                Recorded::NotYet => break,
                Recorded::Cut { floor } => {
                    self.gap(LOG_CUT, revision, floor, floor.0 - self.position.0)?;
                    self.position = floor;
                }
            }
            if self.log.unwritten() >= RECORDS_AT_ONCE {
                self.log.write()?;
                self.written = self.position;
            }
        }
        self.log.write()?;
        self.written = self.position;
        Ok(())
    }

    fn gap(&mut self, reason: &str, from: Revision, until: Revision, count: u64) -> Result<(), LogError> {
        tracing::warn!(reason, %from, %until, "the log of changes has a gap");
        self.log.add(&Body::Gap(Gap { time: Timestamp::now(), reason, count, from: from.0, until: until.0 }))
    }

    /// Records a transaction, a bounded piece of it at a time.
    fn record(&mut self, revision: Revision) -> Result<Recorded, ChangesError> {
        let (mut part, mut count) = (0, 0);
        for number in 0.. {
            let piece = match self.datastore.log_piece(revision, number) {
                Ok(Some(piece)) => piece,
                Ok(None) | Err(SnapshotError::Future { .. }) => return Ok(Recorded::NotYet),
                Err(SnapshotError::Expired { floor, .. }) => return Ok(Recorded::Cut { floor }),
                Err(SnapshotError::Storage(error)) => return Err(error.into()),
            };
            self.record_piece(&piece, &mut part, &mut count)?;
            if piece.last {
                break;
            }
            // Its first parts are there twice, should the rest fail: those that end in one that is the last count.
            self.log.write()?;
        }
        Ok(Recorded::Whole)
    }

    fn record_piece(&mut self, piece: &LogPiece, part: &mut u64, count: &mut u64) -> Result<(), ChangesError> {
        let snapshot = self.snapshot(piece)?;
        let schema = match snapshot.schema()? {
            Some(schema) if piece.schema_changed && schema.revision == piece.revision => Some(sha256(&schema.bytes)),
            _ => None,
        };
        let mut chunks = piece.changes.chunks(UPDATES_MAX).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let texts = chunk.iter().map(|change| text(&*snapshot, change)).collect::<Result<Vec<_>, _>>()?;
            *count += chunk.len() as u64;
            let is_end = chunks.peek().is_none();
            self.log.add(&Body::Change(Change {
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
            if is_end {
                return Ok(());
            }
        }
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
