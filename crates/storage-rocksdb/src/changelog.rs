//! The transaction log as it is stored: for each commit a header, then its changes in pieces of bounded size.

use std::ops::ControlFlow;

use stonetown_storage::{Change, LogEntry, LogPiece, SnapshotError, StorageError};
use stonetown_tuple::{Revision, StoreId};

use crate::database::{Batch, Database};
use crate::keys;
use crate::shared::Shared;
use crate::values::{LogHeader, StateReader, damaged, decode_changes, encode_changes};

/// Most changes in one piece.
pub(crate) const CHANGES_PER_PIECE: usize = 1_024;

/// Puts a commit's pieces of changes into a batch and says how many they are.
pub(crate) fn put_changes(
    database: &Database,
    batch: &mut Batch,
    revision: Revision,
    changes: &[Change],
) -> Result<u32, StorageError> {
    let mut pieces = 0;
    for piece in changes.chunks(CHANGES_PER_PIECE) {
        pieces += 1;
        put_piece(database, batch, revision, pieces, piece)?;
    }
    Ok(pieces)
}

/// Puts one piece of a commit's changes into a batch.
pub(crate) fn put_piece(
    database: &Database,
    batch: &mut Batch,
    revision: Revision,
    number: u32,
    changes: &[Change],
) -> Result<(), StorageError> {
    batch.put_log(database, &keys::log(revision, number), &encode_changes(changes)?)
}

/// Puts a commit's header into a batch.
pub(crate) fn put_header(
    database: &Database,
    batch: &mut Batch,
    revision: Revision,
    header: &LogHeader,
) -> Result<(), StorageError> {
    batch.put_log(database, &keys::log(revision, 0), &header.encode()?)
}

/// The header of a commit.
pub(crate) fn header(database: &Database, revision: Revision) -> Result<LogHeader, StorageError> {
    let missing = || damaged(format!("the log has no commit {revision}"));
    LogHeader::decode(&database.get_log(&keys::log(revision, 0))?.ok_or_else(missing)?)
}

/// A piece of a commit's changes.
pub(crate) fn piece(database: &Database, revision: Revision, piece: u32) -> Result<Vec<Change>, StorageError> {
    let missing = || damaged(format!("the log has no piece {piece} of commit {revision}"));
    let bytes = database.get_log(&keys::log(revision, piece))?.ok_or_else(missing)?;
    decode_changes(&bytes, &mut StateReader::default())
}

/// Whole entries after a revision; see [`stonetown_storage::Datastore::log`].
pub(crate) fn entries(shared: &Shared, after: Revision, limit: usize) -> Result<Vec<LogEntry>, SnapshotError> {
    let read = || -> Result<Vec<LogEntry>, StorageError> {
        let revisions = after.0.saturating_add(1)..=shared.head().0;
        revisions.take(limit.max(1)).map(|revision| entry(&shared.database, Revision(revision))).collect()
    };
    unless_cut(shared, after, after.next(), read)
}

/// Reads commits from `first` on. The log may be cut meanwhile: then what is missing is no damage.
fn unless_cut<T>(
    shared: &Shared,
    asked: Revision,
    first: Revision,
    read: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, SnapshotError> {
    let expired = || match shared.log_floor() {
        floor if first <= floor => Err(SnapshotError::Expired { asked, floor }),
        _ => Ok(()),
    };
    expired()?;
    let found = read();
    expired()?;
    Ok(found?)
}

/// See [`stonetown_storage::Datastore::log_piece`].
pub(crate) fn log_piece(shared: &Shared, revision: Revision, number: u32) -> Result<Option<LogPiece>, SnapshotError> {
    if revision > shared.head() {
        return Ok(None);
    }
    unless_cut(shared, revision, revision, || {
        let header = header(&shared.database, revision)?;
        // Stored pieces are counted from 1, as the header is 0; a commit without changes has none.
        let changes = match header.pieces {
            0 if number == 0 => Vec::new(),
            _ => piece(&shared.database, revision, number.saturating_add(1))?,
        };
        Ok(Some(LogPiece {
            revision,
            store: StoreId(header.store),
            schema_changed: header.schema_changed,
            provenance: header.provenance.read()?,
            changes,
            last: number.saturating_add(1) >= header.pieces,
        }))
    })
}

fn entry(database: &Database, revision: Revision) -> Result<LogEntry, StorageError> {
    let header = header(database, revision)?;
    let mut changes = Vec::new();
    for number in 1..=header.pieces {
        changes.extend(piece(database, revision, number)?);
    }
    Ok(LogEntry {
        revision,
        store: StoreId(header.store),
        schema_changed: header.schema_changed,
        provenance: header.provenance.read()?,
        changes,
    })
}

/// Visits all changes of a store after a revision, piece by piece. The log must reach back so far.
pub(crate) fn changes_since(
    shared: &Shared,
    store: StoreId,
    since: Revision,
    visit: &mut dyn FnMut(&Change) -> Result<ControlFlow<()>, StorageError>,
) -> Result<(), StorageError> {
    for revision in (since.0.saturating_add(1)..=shared.head().0).map(Revision) {
        let header = header(&shared.database, revision)?;
        let pieces = if header.store == store.0 { header.pieces } else { 0 };
        for number in 1..=pieces {
            for change in &piece(&shared.database, revision, number)? {
                if visit(change)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
