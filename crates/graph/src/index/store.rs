//! One store in memory at its newest revisions.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use stonetown_storage::{Change, Direction, LogPart, Ordinal, TableId};
use stonetown_tuple::Revision;

use super::IndexOptions;
use super::pool::Pool;
use super::table::{EdgeChange, StoredRow, TableState};
use crate::edges::Link;
use crate::fault::{PlantedFault, planted};

/// A store at one revision; never changes.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) revision: Revision,
    /// By [`TableId`].
    tables: Vec<Option<Arc<TableState>>>,
}

/// A store that is kept in step with its datastore.
pub(super) struct ResidentStore {
    head: ArcSwap<Root>,
    /// The newest roots, oldest first; the last is the head.
    recent: Mutex<VecDeque<Arc<Root>>>,
    /// Held while the head changes.
    writer: Mutex<Writer>,
}

struct Writer {
    pool: Pool,
    /// The parts so far of a commit that comes in several.
    pending: FxHashMap<TableId, Vec<EdgeChange>>,
    pending_count: usize,
    /// Whether a table is being rebuilt.
    rebuilding: bool,
}

/// The store cannot be kept in memory any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outgrown {
    /// It is larger than it may be.
    Memory,
    /// One commit was too large to follow; reading it all again would do.
    Commit,
}

impl Root {
    pub(super) fn new(revision: Revision, tables: Vec<Option<Arc<TableState>>>) -> Root {
        Root { revision, tables }
    }

    pub(super) fn edges(&self) -> u64 {
        self.tables.iter().flatten().map(|table| table.edges()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.bytes()).sum()
    }

    #[inline]
    pub(super) fn table(&self, table: TableId) -> Option<&TableState> {
        self.tables.get(table.0 as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn row(&self, table: TableId, direction: Direction, row: Ordinal) -> StoredRow<'_> {
        self.table(table).map_or_else(StoredRow::empty, |table| table.row(direction, row.0))
    }

    /// Looks where there are fewer edges to look through.
    #[inline]
    pub(super) fn find(&self, table: TableId, resource: Ordinal, subject: Ordinal) -> Option<Link<'_>> {
        /// A row of so few edges is searched at once.
        const SHORT: usize = 16;
        let table = self.table(table)?;
        let forward = table.row(Direction::Forward, resource.0);
        if let StoredRow::Span(span) = &forward
            && span.len() <= SHORT
        {
            return span.find(subject.0);
        }
        let reverse = table.row(Direction::Reverse, subject.0);
        match forward.len() <= reverse.len() {
            true => forward.find(subject.0),
            false => reverse.find(resource.0).map(|link| Link { other: subject, ..link }),
        }
    }
}

impl ResidentStore {
    pub(super) fn new(root: Root, pool: Pool) -> ResidentStore {
        let root = Arc::new(root);
        let writer = Writer { pool, pending: FxHashMap::default(), pending_count: 0, rebuilding: false };
        ResidentStore {
            head: ArcSwap::new(root.clone()),
            recent: Mutex::new(VecDeque::from([root])),
            writer: Mutex::new(writer),
        }
    }

    pub(super) fn head(&self) -> Arc<Root> {
        self.head.load_full()
    }

    /// The store as it was at a revision that has been published, if that is kept.
    pub(super) fn at(&self, revision: Revision) -> Option<Arc<Root>> {
        let head = self.head.load();
        if head.revision <= revision || planted(PlantedFault::OldRevisionAnsweredAtHead) {
            return Some(Arc::clone(&head));
        }
        let recent = self.recent.lock();
        let after = recent.partition_point(|root| root.revision <= revision);
        after.checked_sub(1).map(|at| recent[at].clone())
    }

    /// Takes a piece of a commit; with the last, the head moves on.
    pub(super) fn follow(self: &Arc<Self>, part: &LogPart<'_>, options: &IndexOptions) -> Result<(), Outgrown> {
        let mut writer = self.writer.lock();
        writer.pending_count += part.changes.len();
        if writer.pending_count > options.changes_max {
            return Err(Outgrown::Commit);
        }
        writer.take(part.changes);
        if !part.last {
            return Ok(());
        }
        let mut tables = self.head.load().tables.clone();
        let mut worn = Vec::new();
        writer.pending_count = 0;
        for (table, mut changes) in std::mem::take(&mut writer.pending) {
            let at = table.0 as usize;
            if tables.len() <= at {
                tables.resize(at + 1, None);
            }
            let old = tables[at].take().unwrap_or_default();
            let mut changed = old.changed(&mut changes).ok_or(Outgrown::Memory)?;
            if changed.is_worn(options.written_share_max, options.written_edges_min) {
                if changed.edges() <= options.rebuild_inline_edges_max {
                    changed = changed.rebuilt().ok_or(Outgrown::Memory)?;
                } else {
                    worn.push(table);
                }
            }
            tables[at] = Some(Arc::new(changed));
        }
        let root = Root::new(part.revision, tables);
        if root.bytes() > options.bytes_max {
            return Err(Outgrown::Memory);
        }
        self.publish(root, options.revisions_kept);
        if !worn.is_empty() && !writer.rebuilding {
            writer.rebuilding = self.rebuild_aside(worn);
        }
        Ok(())
    }

    fn publish(&self, root: Root, kept: usize) {
        let root = Arc::new(root);
        let mut recent = self.recent.lock();
        if recent.back().is_some_and(|last| last.revision == root.revision) {
            recent.pop_back();
        }
        recent.push_back(root.clone());
        while recent.len() > kept.max(1) {
            recent.pop_front();
        }
        self.head.store(root);
    }

    /// Rebuilds tables on a thread of its own while commits go on; whether one could be started.
    fn rebuild_aside(self: &Arc<Self>, tables: Vec<TableId>) -> bool {
        let store = Arc::downgrade(self);
        let rebuild = move || {
            for table in tables {
                let Some(store) = store.upgrade() else { return };
                store.rebuild(table);
            }
            if let Some(store) = store.upgrade() {
                store.writer.lock().rebuilding = false;
            }
        };
        std::thread::Builder::new().name("graph-index".to_owned()).spawn(rebuild).is_ok()
    }

    fn rebuild(&self, table: TableId) {
        let at = table.0 as usize;
        let Some(Some(old)) = self.head.load().tables.get(at).cloned() else { return };
        // One that has too many edges to be rebuilt stays as it is: correct, and larger than it need be.
        let Some(rebuilt) = old.rebuilt() else { return };
        let _writer = self.writer.lock();
        let head = self.head.load_full();
        let Some(Some(newest)) = head.tables.get(at) else { return };
        let mut tables = head.tables.clone();
        tables[at] = Some(Arc::new(newest.rebased(&old, &rebuilt)));
        self.publish(Root::new(head.revision, tables), usize::MAX);
    }
}

impl Writer {
    fn take(&mut self, changes: &[Change]) {
        for change in changes {
            let term = self.pool.term(change.source, change.state.as_ref());
            self.pending.entry(change.table).or_default().push(EdgeChange {
                resource: change.resource.0,
                subject: change.subject.0,
                source: change.source,
                term,
            });
        }
    }
}
