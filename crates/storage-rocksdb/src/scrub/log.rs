//! The log: that it is whole, and that it tells what the versions tell.

use std::ops::ControlFlow;

use stonetown_storage::{DifferenceKind, Direction, StorageError};
use stonetown_tuple::{Revision, StoreId};

use super::Scrub;
use crate::keys::{self, EdgeKey, Kind};
use crate::values::{Cursor, LogHeader, RawChange, StoredProvenance, decode, raw_changes};

/// The commit that a pass is in.
struct Commit {
    revision: Revision,
    store: StoreId,
    /// The last piece that was met.
    piece: u32,
    /// The last piece that there should be.
    pieces: u32,
    /// Whether it tells only that time has passed, and so of versions of other commits.
    time_only: bool,
}

impl Scrub<'_, '_> {
    /// All commits of the log, in order.
    pub(super) fn log(&mut self) -> Result<(), StorageError> {
        let mut commit: Option<Commit> = None;
        let mut next = self.first_logged;
        let frozen = self.frozen;
        frozen.scan_log(&[], &mut |key, value| {
            self.look()?;
            let Some((revision, piece)) = keys::read_log(key) else {
                self.unreadable_key("the log", key);
                return Ok(ControlFlow::Continue(()));
            };
            if piece == 0 {
                self.end(commit.take());
                self.gap(next, revision);
                next = revision.next();
                commit = self.header(revision, value)?;
            } else if revision.0 == self.meta.head + 1 && revision == self.limit {
                // A bulk that is being published: its header comes last.
                self.end(commit.take());
                if let Some(store) = self.store_of_bulk()? {
                    self.piece(store, revision, piece, value)?;
                }
            } else if let Some(current) = commit.as_mut().filter(|current| current.revision == revision) {
                if piece != current.piece + 1 || piece > current.pieces {
                    let what = format!("commit {revision} of the log has piece {piece} after {}", current.piece);
                    self.differ(DifferenceKind::Log, what);
                }
                current.piece = piece;
                let store = current.store;
                if current.time_only {
                    raw_changes(value)?;
                } else {
                    self.piece(store, revision, piece, value)?;
                }
            } else {
                let what = format!("commit {revision} of the log has piece {piece}, but no header");
                self.differ(DifferenceKind::Log, what);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.end(commit);
        self.gap(next, Revision(self.meta.head + 1));
        Ok(())
    }

    /// The end of a commit: all of its pieces were met.
    fn end(&mut self, commit: Option<Commit>) {
        if let Some(Commit { revision, piece, pieces, .. }) = commit.filter(|commit| commit.piece < commit.pieces) {
            let what = format!("commit {revision} of the log ends with piece {piece} of {pieces}");
            self.differ(DifferenceKind::Log, what);
        }
    }

    /// Commits that are missing before `met`.
    fn gap(&mut self, expected: Revision, met: Revision) {
        if met < self.first_logged {
            self.differ(DifferenceKind::Log, format!("commit {met} should have been cut from the log"));
        } else if met.0 > self.meta.head + 1 {
            self.differ(DifferenceKind::Log, format!("commit {met} of the log is not committed"));
        } else if expected < met {
            let what = match met.0 - expected.0 {
                1 => format!("the log has no commit {expected}"),
                _ => format!("the log has no commits {expected} to {}", met.0 - 1),
            };
            self.differ(DifferenceKind::Log, what);
        }
    }

    fn header(&mut self, revision: Revision, value: &[u8]) -> Result<Option<Commit>, StorageError> {
        self.report.commits += 1;
        let header = match LogHeader::decode(value) {
            Ok(header) => header,
            Err(error) => {
                self.differ(DifferenceKind::Unreadable, format!("commit {revision}: {error}"));
                return Ok(None);
            }
        };
        let store = StoreId(header.store);
        if revision.0 > self.meta.head {
            self.differ(DifferenceKind::Log, format!("commit {revision} of the log is not committed"));
        }
        let stored = self.frozen.get(&keys::transaction(revision))?;
        let stored = stored.map(|bytes| decode::<StoredProvenance>("provenance", &bytes)).transpose();
        match stored {
            Ok(None) if revision > self.swept => {
                self.differ(DifferenceKind::Commits, format!("commit {revision} has no provenance"));
            }
            Ok(Some(stored)) if stored != header.provenance => {
                let what = format!("commit {revision} has another provenance than the log tells");
                self.differ(DifferenceKind::Commits, what);
            }
            // What cannot be read was reported with the provenances.
            Ok(_) | Err(_) => {}
        }
        let has_schema = self.frozen.get(&keys::schema(store, revision))?.is_some();
        if revision > self.swept && header.schema_changed && !has_schema {
            self.differ(DifferenceKind::Schemas, format!("commit {revision} wrote a schema, which is not there"));
        }
        Ok(Some(Commit { revision, store, piece: 0, pieces: header.pieces, time_only: header.time_only }))
    }

    fn piece(&mut self, store: StoreId, revision: Revision, piece: u32, value: &[u8]) -> Result<(), StorageError> {
        let changes = match raw_changes(value) {
            Ok(changes) => changes,
            Err(error) => {
                self.differ(DifferenceKind::Unreadable, format!("commit {revision}, piece {piece}: {error}"));
                return Ok(());
            }
        };
        for (place, change) in (0..).zip(&changes) {
            self.change(store, Cursor { revision: revision.0, piece, change: place }, change)?;
        }
        Ok(())
    }

    fn change(&mut self, store: StoreId, at: Cursor, change: &RawChange) -> Result<(), StorageError> {
        let edge = change.edge(store);
        let revision = Revision(at.revision);
        let key = keys::version(Direction::Forward, &edge, revision);
        if revision > self.swept {
            self.sums.logged.of(revision).1.add(&[&key, &change.state]);
            return Ok(());
        }
        match self.frozen.get(&key)? {
            Some(stored) if *stored == *change.state => {
                self.sums.logged.of(revision).1.add(&[&key, &change.state]);
            }
            Some(stored) => {
                // Counted as it is stored, so that it is reported here alone.
                self.sums.logged.of(revision).1.add(&[&key, &stored]);
                self.differ_from_log(&edge, revision, "has another state");
            }
            None if change.is_end && at < self.meta.cut => {}
            None if self.newest(&edge)?.is_some_and(|newest| newest > revision) => {}
            None => self.differ_from_log(&edge, revision, "is missing"),
        }
        Ok(())
    }

    fn differ_from_log(&mut self, edge: &EdgeKey, revision: Revision, how: &str) {
        let what = format!("{} {how}, by what the log tells", self.describe(edge, revision));
        self.differ(DifferenceKind::LogAgainstVersions, what);
    }

    fn newest(&self, edge: &EdgeKey) -> Result<Option<Revision>, StorageError> {
        let mut newest = None;
        self.frozen.scan(&keys::edge_versions(Direction::Forward, edge), &mut |key, _| {
            newest = keys::read_edge_version(Direction::Forward, key).map(|(_, revision)| revision);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(newest)
    }

    fn store_of_bulk(&self) -> Result<Option<StoreId>, StorageError> {
        let mut store = None;
        self.frozen.scan(&keys::all(Kind::Bulk), &mut |_, value| {
            if let Ok(bulk) = decode::<crate::values::StoredBulk>("bulk", value)
                && bulk.marked.is_some()
            {
                store = Some(StoreId(bulk.store));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(store)
    }

    /// Looks again where sums differed.
    pub(super) fn compare(&mut self) -> Result<(), StorageError> {
        // Where something could not be read the sums lack it, and would only repeat that.
        if self.report.differences.iter().any(|difference| difference.kind == DifferenceKind::Unreadable) {
            return Ok(());
        }
        for pass in [Scrub::compare_directions, Scrub::compare_names, Scrub::compare_counts, Scrub::compare_log] {
            self.run(pass)?;
        }
        Ok(())
    }

    /// Finds the versions that the log does not tell of, and the changes that are no versions.
    fn compare_log(&mut self) -> Result<(), StorageError> {
        if !self.sums.logged.differ() {
            return Ok(());
        }
        let frozen = self.frozen;
        frozen.scan_log(&keys::log(self.swept.next(), 1), &mut |key, value| {
            self.look()?;
            let Some((revision, piece)) = keys::read_log(key) else { return Ok(ControlFlow::Continue(())) };
            if piece > 0 && self.sums.logged.differ_at(revision) {
                let Some(store) = self.store_of(revision)? else { return Ok(ControlFlow::Continue(())) };
                for change in raw_changes(value)? {
                    let edge = change.edge(store);
                    match frozen.get(&keys::version(Direction::Forward, &edge, revision))? {
                        None => self.differ_from_log(&edge, revision, "is missing"),
                        Some(stored) if *stored != *change.state => {
                            self.differ_from_log(&edge, revision, "has another state");
                        }
                        Some(_) => {}
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.each(Kind::Forward, |scrub, key, _| {
            let Some((edge, revision)) = keys::read_edge_version(Direction::Forward, key) else { return Ok(()) };
            let suspicious = revision >= scrub.first_logged && scrub.sums.logged.differ_at(revision);
            if suspicious && !scrub.is_logged(&edge, revision)? {
                let what = format!("{} is there, but the log does not tell of it", scrub.describe(&edge, revision));
                scrub.differ(DifferenceKind::LogAgainstVersions, what);
            }
            Ok(())
        })
    }

    fn store_of(&self, revision: Revision) -> Result<Option<StoreId>, StorageError> {
        match self.frozen.get_log(&keys::log(revision, 0))? {
            Some(bytes) => {
                let header = LogHeader::decode(&bytes)?;
                // That time has passed is told of versions of other commits.
                Ok((!header.time_only).then_some(StoreId(header.store)))
            }
            None if revision == self.limit => self.store_of_bulk(),
            None => Ok(None),
        }
    }

    fn is_logged(&self, edge: &EdgeKey, revision: Revision) -> Result<bool, StorageError> {
        if self.store_of(revision)? != Some(edge.store) {
            return Ok(false);
        }
        for piece in 1.. {
            let Some(bytes) = self.frozen.get_log(&keys::log(revision, piece))? else { break };
            if raw_changes(&bytes)?.iter().any(|change| change.edge(edge.store) == *edge) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
