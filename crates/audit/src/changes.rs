//! The change log, derived from the transaction log: it follows that log from the last revision that it has itself. So a crash
//! between a commit and its record loses nothing, and a commit needs not wait for the record.

use std::sync::Arc;

use stonetown_storage::{
    Change as EdgeChange, Datastore, Edge, Effect, LogEntry, Snapshot, SnapshotError, StorageError, Table, read,
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
/// Transactions taken from the transaction log at once.
const TRANSACTIONS_AT_ONCE: usize = 64;

/// Why changes are not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangesError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
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

    /// The last revision that is recorded.
    pub(crate) fn position(&self) -> Revision {
        self.written
    }

    /// Records what has been committed since. What fails is tried again at the next call.
    pub(crate) fn follow(&mut self) -> Result<(), ChangesError> {
        let followed = self.follow_to_head();
        if followed.is_err() {
            self.position = self.written;
        }
        followed
    }

    fn follow_to_head(&mut self) -> Result<(), ChangesError> {
        let head = self.datastore.head();
        if self.position > head {
            self.gap(HISTORY_WENT_BACK, head, self.position, 0)?;
            self.position = head;
        }
        while self.position < self.datastore.head() {
            match self.datastore.log(self.position, TRANSACTIONS_AT_ONCE) {
                Ok(entries) if entries.is_empty() => break,
                Ok(entries) => {
                    for entry in &entries {
                        self.record(entry)?;
                        self.position = entry.revision;
                    }
                }
                Err(SnapshotError::Expired { floor, .. }) => {
                    self.gap(LOG_CUT, self.position.next(), floor, floor.0 - self.position.0)?;
                    self.position = floor;
                }
                Err(SnapshotError::Future { .. }) => break,
                Err(SnapshotError::Storage(error)) => return Err(error.into()),
            }
            self.log.write()?;
            self.written = self.position;
        }
        self.log.write()?;
        self.written = self.position;
        Ok(())
    }

    fn gap(&mut self, reason: &str, from: Revision, until: Revision, count: u64) -> Result<(), LogError> {
        tracing::warn!(reason, %from, %until, "the log of changes has a gap");
        self.log.add(&Body::Gap(Gap { time: Timestamp::now(), reason, count, from: from.0, until: until.0 }))
    }

    fn record(&mut self, entry: &LogEntry) -> Result<(), ChangesError> {
        let snapshot = self.snapshot(entry)?;
        let schema = match snapshot.schema()? {
            Some(schema) if entry.schema_changed && schema.revision == entry.revision => Some(sha256(&schema.bytes)),
            _ => None,
        };
        let parts = entry.changes.len().div_ceil(UPDATES_MAX).max(1);
        let mut chunks = entry.changes.chunks(UPDATES_MAX);
        for part in 0..parts {
            let chunk = chunks.next().unwrap_or_default();
            let texts = chunk.iter().map(|change| text(&*snapshot, change)).collect::<Result<Vec<_>, _>>()?;
            self.log.add(&Body::Change(Change {
                time: entry.provenance.time,
                revision: entry.revision,
                store: entry.store,
                part: part as u64,
                last: part + 1 == parts,
                count: entry.changes.len() as u64,
                schema,
                actor: entry.provenance.actor.as_deref().unwrap_or_default(),
                metadata: entry.provenance.metadata.as_deref().unwrap_or_default(),
                updates: texts.iter().map(String::as_str).collect(),
            }))?;
        }
        Ok(())
    }

    /// A snapshot that knows the names in an entry: that of its own revision, or the oldest there is. Names stay for as long as
    /// the transaction log mentions them.
    fn snapshot(&self, entry: &LogEntry) -> Result<Arc<dyn Snapshot>, StorageError> {
        let mut at = entry.revision;
        loop {
            match self.datastore.snapshot(entry.store, at) {
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
