//! Proving that what is stored agrees with itself: both directions of all versions, the log, the names, and what is kept
//! about each commit.
//!
//! Everything is read once, at the state of one moment, with bounded memory. Sets that must be equal are compared by sums of
//! hashes; where two sums differ, a second look finds which members do.
//!
//! What must hold, and so what is looked for:
//!
//! * Each version stands in both directions with the same bytes; its table and the objects at its ends have names, and each
//!   name leads back to its object.
//! * No version is newer than the head, or the bulk that is being published; none lies below one that was swept.
//! * The log has every commit after the last that was cut, with all of its pieces. Commits behind the sweep have exactly the
//!   versions that the log names; before it, a version may be gone only if a newer one hid it, or it was an end.
//! * Each commit in the window has its provenance, its place in time and its schema; counts are right.

mod commits;
mod log;
mod names;
mod sums;
mod versions;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use stonetown_storage::upkeep::{DIFFERENCES_MAX, Progress};
use stonetown_storage::{Difference, DifferenceKind, Ordinal, Scrubbed, StorageError, Table, TableId, TypeId};
use stonetown_tuple::{Revision, StoreId};

use crate::database::{Database, Frozen};
use crate::directory::Directory;
use crate::keys::{self, EdgeKey, Kind};
use crate::options::Options;
use crate::values::{Meta, StoredBulk, StoredTable, decode};

use sums::Sums;

/// Keys looked at between two reports of progress.
const LOOKS_PER_REPORT: u64 = 4_096;
/// Why a scrub that `progress` ended has no report.
const BROKEN_OFF: &str = "the scrub was broken off";

/// Proves that a data directory or a backup agrees with itself, without changing it. A data directory must not be in use.
///
/// # Errors
/// [`StorageError::Refused`] when the directory is in use, holds something else, or when `progress` broke the scrub off;
/// [`StorageError::Damaged`] when it cannot be opened at all. What does not agree is in the report.
pub fn scrub(path: &Path, options: &Options, progress: Progress<'_>) -> Result<Scrubbed, StorageError> {
    let source = Directory::reading(path)?;
    let database = Database::open_read_only(&Directory::database_in(path), options.block_cache_bytes_max)?;
    let mut report = scrub_frozen(&database.frozen(), progress)?;
    if report.revision < source.acknowledged {
        let what = format!(
            "acknowledged writes are missing: revision {} was acknowledged, but the database ends at {}",
            source.acknowledged, report.revision
        );
        add(&mut report, DifferenceKind::State, what);
    }
    Ok(report)
}

/// Proves that a database agrees with itself.
///
/// # Errors
/// As [`scrub`].
pub(crate) fn scrub_frozen(frozen: &Frozen<'_>, progress: Progress<'_>) -> Result<Scrubbed, StorageError> {
    let mut report = Scrubbed::default();
    let meta = match frozen.get(&keys::meta())?.map(|bytes| decode::<Meta>("state of the database", &bytes)) {
        Some(Ok(meta)) => meta,
        Some(Err(error)) => {
            add(&mut report, DifferenceKind::Unreadable, error.to_string());
            return Ok(report);
        }
        None => {
            add(&mut report, DifferenceKind::State, "the state of the whole is missing".to_owned());
            return Ok(report);
        }
    };
    report.revision = Revision(meta.head);
    let mut scrub = Scrub {
        frozen,
        first_logged: Revision(meta.cut.revision.max(1)),
        swept: Revision(meta.swept.revision),
        limit: Revision(meta.head),
        meta,
        types: FxHashMap::default(),
        tables: FxHashMap::default(),
        bulks: FxHashSet::default(),
        sums: Sums::default(),
        report,
        progress,
        looks: 0,
    };
    scrub.state();
    for pass in [
        Scrub::read_types,
        Scrub::read_tables,
        Scrub::read_bulks,
        Scrub::unknown_kinds,
        Scrub::forward,
        Scrub::reverse,
        Scrub::names,
        Scrub::commits,
        Scrub::log,
    ] {
        scrub.run(pass)?;
    }
    scrub.compare()?;
    Ok(scrub.report)
}

/// A scrub under way.
struct Scrub<'d, 'p> {
    frozen: &'d Frozen<'d>,
    meta: Meta,
    /// The oldest commit that the log must have.
    first_logged: Revision,
    /// Versions of later commits are all there.
    swept: Revision,
    /// The newest commit that can have written anything: the head, or the bulk that is being published.
    limit: Revision,
    types: FxHashMap<(StoreId, TypeId), String>,
    tables: FxHashMap<(StoreId, TableId), Arc<Table>>,
    bulks: FxHashSet<u64>,
    sums: Sums,
    report: Scrubbed,
    progress: Progress<'p>,
    looks: u64,
}

impl Scrub<'_, '_> {
    /// Runs a pass. What cannot be read is a difference, and the other passes go on.
    fn run(&mut self, pass: fn(&mut Self) -> Result<(), StorageError>) -> Result<(), StorageError> {
        match pass(self) {
            Err(StorageError::Damaged(what)) => {
                self.differ(DifferenceKind::Unreadable, what);
                Ok(())
            }
            other => other,
        }
    }

    fn differ(&mut self, kind: DifferenceKind, what: String) {
        add(&mut self.report, kind, what);
    }

    /// A key that was looked at.
    fn look(&mut self) -> Result<(), StorageError> {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_REPORT) && (self.progress)(self.looks).is_break() {
            return Err(StorageError::Refused(BROKEN_OFF.to_owned()));
        }
        Ok(())
    }

    /// Visits all keys of a kind.
    fn each(
        &mut self,
        kind: Kind,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let frozen = self.frozen;
        frozen.scan(&keys::all(kind), &mut |key, value| {
            self.look()?;
            visit(self, key, value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    fn unreadable_key(&mut self, what: &str, key: &[u8]) {
        self.differ(DifferenceKind::Unreadable, format!("key of {what}: {}", hex(key)));
    }

    /// The state of the whole, in itself.
    fn state(&mut self) {
        let Meta { head, floor, log_floor, swept, cut, .. } = self.meta;
        for (holds, what) in [
            (floor <= head, format!("the oldest readable revision is {floor}, after the head {head}")),
            (log_floor <= head, format!("the log begins after {log_floor}, after the head {head}")),
            (
                swept.revision <= floor + 1,
                format!("swept up to {}, beyond the oldest readable {floor}", swept.revision),
            ),
            (cut <= swept, format!("cut up to {}, but swept only up to {}", cut.revision, swept.revision)),
            (cut.revision <= log_floor + 1, format!("cut up to {}, beyond {log_floor}", cut.revision)),
        ] {
            if !holds {
                self.differ(DifferenceKind::State, what);
            }
        }
    }

    fn read_types(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Type, |scrub, key, value| {
            match (keys::read_numbered(key), std::str::from_utf8(value)) {
                (Some((store, id)), Ok(name)) => {
                    scrub.types.insert((store, TypeId(id)), name.to_owned());
                }
                (None, _) => scrub.unreadable_key("a type", key),
                (_, Err(_)) => scrub.differ(DifferenceKind::Unreadable, format!("name of a type: {}", hex(key))),
            }
            Ok(())
        })
    }

    fn read_tables(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Table, |scrub, key, value| {
            let Some((store, id)) = keys::read_numbered(key) else {
                scrub.unreadable_key("a table", key);
                return Ok(());
            };
            let stored: StoredTable = match decode("table", value) {
                Ok(stored) => stored,
                Err(error) => {
                    scrub.differ(DifferenceKind::Unreadable, format!("store {store}, table {id}: {error}"));
                    return Ok(());
                }
            };
            let ends = [stored.resource_type, stored.subject_type].map(TypeId);
            for end in ends.into_iter().filter(|end| !scrub.types.contains_key(&(store, *end))).collect::<Vec<_>>() {
                let what = format!("store {store}, table {id} (`{}`): type {} has no name", stored.relation, end.0);
                scrub.differ(DifferenceKind::Names, what);
            }
            let name = |end| scrub.types.get(&(store, end)).cloned().unwrap_or_else(|| format!("type {}", end.0));
            let table = Table {
                id: TableId(id),
                key: stonetown_storage::TableKey {
                    resource_type: name(ends[0]),
                    relation: stored.relation,
                    subject_type: name(ends[1]),
                    subject_relation: stored.subject_relation,
                },
                resource_type: ends[0],
                subject_type: ends[1],
            };
            scrub.tables.insert((store, TableId(id)), Arc::new(table));
            Ok(())
        })
    }

    fn read_bulks(&mut self) -> Result<(), StorageError> {
        let next = self.meta.head + 1;
        self.each(Kind::Bulk, |scrub, key, value| {
            let Some(bulk) = keys::read_bulk(key) else {
                scrub.unreadable_key("a bulk", key);
                return Ok(());
            };
            scrub.bulks.insert(bulk);
            match decode::<StoredBulk>("bulk", value) {
                Ok(StoredBulk { marked: Some(mark), .. }) if mark.revision == next => scrub.limit = Revision(next),
                Ok(StoredBulk { marked: Some(mark), .. }) => {
                    let what = format!("bulk {bulk} is marked as revision {}, where {next} is next", mark.revision);
                    scrub.differ(DifferenceKind::Bulks, what);
                }
                Ok(StoredBulk { marked: None, .. }) => {}
                Err(error) => scrub.differ(DifferenceKind::Unreadable, format!("bulk {bulk}: {error}")),
            }
            Ok(())
        })
    }

    /// Keys of a kind that nobody writes.
    fn unknown_kinds(&mut self) -> Result<(), StorageError> {
        let frozen = self.frozen;
        for kind in
            (0..u8::MAX).filter(|kind| *kind == Kind::Log as u8 || !Kind::ALL.iter().any(|known| *known as u8 == *kind))
        {
            frozen.scan(&[kind], &mut |key, _| {
                self.look()?;
                self.unreadable_key("an unknown kind", key);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    /// Whether a revision is that of a commit.
    fn is_committed(&self, revision: Revision) -> bool {
        revision > Revision(0) && revision <= self.limit
    }

    fn object(&self, store: StoreId, object_type: TypeId, ordinal: Ordinal) -> Result<Option<String>, StorageError> {
        if ordinal == Ordinal::WILDCARD {
            return Ok(Some("*".to_owned()));
        }
        let bytes = self.frozen.get(&keys::object_id(store, object_type, ordinal))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Which version this is, in words, with the names that can be found.
    fn describe(&self, edge: &EdgeKey, revision: Revision) -> String {
        let EdgeKey { store, table, resource, subject, source } = edge;
        let numbers = format!(
            "store {store}, table {}, resource {}, subject {}, source {}, revision {revision}",
            table.0, resource.0, subject.0, source.0
        );
        let Some(table) = self.tables.get(&(*store, *table)) else { return numbers };
        let name = |object_type, ordinal: &Ordinal| match self.object(*store, object_type, *ordinal) {
            Ok(Some(id)) => id,
            _ => "?".to_owned(),
        };
        let key = &table.key;
        let relation = key.subject_relation.as_deref().map(|relation| format!("#{relation}")).unwrap_or_default();
        format!(
            "`{}:{}#{}@{}:{}{relation}` ({numbers})",
            key.resource_type,
            name(table.resource_type, resource),
            key.relation,
            key.subject_type,
            name(table.subject_type, subject),
        )
    }
}

fn add(report: &mut Scrubbed, kind: DifferenceKind, what: String) {
    if report.differences.len() < DIFFERENCES_MAX {
        report.differences.push(Difference { kind, what });
    } else {
        report.more += 1;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
