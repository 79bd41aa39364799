//! Versions in both directions: each in itself, and the one direction against the other.

use rustc_hash::FxHashMap;
use stonetown_storage::{DifferenceKind, Direction, Ordinal, StorageError, Table, TableId};
use stonetown_tuple::{Revision, StoreId};

use super::Scrub;
use super::sums::weight;
use crate::keys::{self, EdgeKey, Kind};
use crate::values::StateReader;

use std::sync::Arc;

/// The row that a pass is in.
#[derive(Default)]
struct Row {
    at: Option<(StoreId, TableId, Ordinal)>,
    table: Option<Arc<Table>>,
}

impl Scrub<'_, '_> {
    /// Forward versions.
    pub(super) fn forward(&mut self) -> Result<(), StorageError> {
        let mut row = Row::default();
        let mut states = StateReader::default();
        // The edge, and whether a version of it was swept already: then nothing older may follow.
        let mut edge_before: Option<(EdgeKey, bool)> = None;
        self.each(Kind::Forward, |scrub, key, value| {
            let Some((edge, revision)) = keys::read_edge_version(Direction::Forward, key) else {
                scrub.unreadable_key("a version", key);
                return Ok(());
            };
            scrub.report.versions += 1;
            scrub.row(&mut row, Direction::Forward, &edge, revision)?;
            scrub.sums.directions.entry((edge.store, edge.table)).or_default().0.add(&[key, value]);
            scrub.revision(&edge, revision);
            let hidden = matches!(edge_before, Some((before, true)) if before == edge);
            if hidden {
                let what =
                    format!("{} should have been swept: a newer version hides it", scrub.describe(&edge, revision));
                scrub.differ(DifferenceKind::Version, what);
            }
            edge_before = Some((edge, hidden || revision < scrub.swept));
            match states.read(value) {
                Ok(state) => {
                    if state.is_some() && revision.0 <= scrub.meta.head {
                        let stored = &mut scrub.sums.counted.of(revision).0;
                        *stored = stored.wrapping_add(weight(revision));
                    }
                }
                Err(error) => {
                    let what = format!("{}: {error}", scrub.describe(&edge, revision));
                    scrub.differ(DifferenceKind::Unreadable, what);
                }
            }
            if revision >= scrub.first_logged {
                scrub.sums.logged.of(revision).0.add(&[key, value]);
            }
            Ok(())
        })
    }

    /// Reverse versions.
    pub(super) fn reverse(&mut self) -> Result<(), StorageError> {
        let mut row = Row::default();
        self.each(Kind::Reverse, |scrub, key, value| {
            let Some((edge, revision)) = keys::read_edge_version(Direction::Reverse, key) else {
                scrub.unreadable_key("a reverse version", key);
                return Ok(());
            };
            scrub.row(&mut row, Direction::Reverse, &edge, revision)?;
            let forward = keys::version(Direction::Forward, &edge, revision);
            scrub.sums.directions.entry((edge.store, edge.table)).or_default().1.add(&[&forward, value]);
            Ok(())
        })
    }

    fn revision(&mut self, edge: &EdgeKey, revision: Revision) {
        if !self.is_committed(revision) {
            let what = format!("{} is of no commit: the head is {}", self.describe(edge, revision), self.meta.head);
            self.differ(DifferenceKind::Version, what);
        }
    }

    /// What holds for all versions of a row is looked at once for each.
    fn row(
        &mut self,
        row: &mut Row,
        direction: Direction,
        edge: &EdgeKey,
        revision: Revision,
    ) -> Result<(), StorageError> {
        let ordinal = edge.position(direction).row;
        let at = Some((edge.store, edge.table, ordinal));
        if row.at == at {
            return Ok(());
        }
        row.at = at;
        row.table = self.tables.get(&(edge.store, edge.table)).cloned();
        let Some(table) = &row.table else {
            let what = format!("{}: there is no such table", self.describe(edge, revision));
            self.differ(DifferenceKind::Names, what);
            return Ok(());
        };
        let object_type = match direction {
            Direction::Forward => table.resource_type,
            Direction::Reverse => table.subject_type,
        };
        let may_be_wildcard = direction == Direction::Reverse && table.key.subject_relation.is_none();
        if ordinal == Ordinal::WILDCARD && !may_be_wildcard {
            let what = format!("{}: a wildcard stands where none may", self.describe(edge, revision));
            self.differ(DifferenceKind::Version, what);
        } else if self.object(edge.store, object_type, ordinal)?.is_none() {
            let what = format!("{}: object {} has no name", self.describe(edge, revision), ordinal.0);
            self.differ(DifferenceKind::Names, what);
        }
        Ok(())
    }

    /// Finds the versions of the tables whose directions differ.
    pub(super) fn compare_directions(&mut self) -> Result<(), StorageError> {
        let differ = self.sums.directions.iter().filter(|(_, (forward, reverse))| forward != reverse);
        for (store, table) in differ.map(|(table, _)| *table).collect::<Vec<_>>() {
            self.compare_table(store, table, Direction::Forward)?;
            self.compare_table(store, table, Direction::Reverse)?;
        }
        Ok(())
    }

    /// Looks for the twin of each version in one direction.
    fn compare_table(&mut self, store: StoreId, table: TableId, direction: Direction) -> Result<(), StorageError> {
        let (other, here, there) = match direction {
            Direction::Forward => (Direction::Reverse, "forward", "reverse"),
            Direction::Reverse => (Direction::Forward, "reverse", "forward"),
        };
        let frozen = self.frozen;
        frozen.scan(&keys::table_versions(direction, store, table), &mut |key, value| {
            self.look()?;
            if let Some((edge, revision)) = keys::read_edge_version(direction, key) {
                match frozen.get(&keys::version(other, &edge, revision))? {
                    None => {
                        let what = format!("{} is there {here} but not {there}", self.describe(&edge, revision));
                        self.differ(DifferenceKind::Directions, what);
                    }
                    // Said once, on the way forward.
                    Some(twin) if *twin != *value && direction == Direction::Forward => {
                        let what = format!("{} is not the same forward and reverse", self.describe(&edge, revision));
                        self.differ(DifferenceKind::Directions, what);
                    }
                    Some(_) => {}
                }
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })
    }

    /// Finds the commits whose versions are not as many as their count.
    pub(super) fn compare_counts(&mut self) -> Result<(), StorageError> {
        if !self.sums.counted.differ() {
            return Ok(());
        }
        let mut stored: FxHashMap<Revision, u64> = FxHashMap::default();
        let mut states = StateReader::default();
        self.each(Kind::Forward, |scrub, key, value| {
            let Some((_, revision)) = keys::read_edge_version(Direction::Forward, key) else { return Ok(()) };
            let counts = revision.0 <= scrub.meta.head && matches!(states.read(value), Ok(Some(_)));
            if counts && scrub.sums.counted.differ_at(revision) {
                *stored.entry(revision).or_default() += 1;
            }
            Ok(())
        })?;
        self.each(Kind::Versions, |scrub, key, value| {
            let (Some(revision), Some(count)) = (keys::read_revision(key), read_count(value)) else { return Ok(()) };
            if scrub.sums.counted.differ_at(revision) {
                let found = stored.remove(&revision).unwrap_or_default();
                if found != count {
                    let what = format!("commit {revision} has {found} relationships stored, and a count of {count}");
                    scrub.differ(DifferenceKind::Commits, what);
                }
            }
            Ok(())
        })?;
        let mut uncounted: Vec<_> = stored.into_iter().collect();
        uncounted.sort_unstable();
        for (revision, found) in uncounted {
            let what = format!("commit {revision} has {found} relationships stored, and no count");
            self.differ(DifferenceKind::Commits, what);
        }
        Ok(())
    }
}

/// The number in a count.
pub(super) fn read_count(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}
