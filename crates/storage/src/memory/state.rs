//! What the memory store holds, and reading it at a revision.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_tuple::{Revision, Source, StoreId, Timestamp};

use super::Pins;
use crate::log::EdgeState;
use crate::{
    Committed, Direction, Edge, EdgePosition, LogEntry, Ordinal, Provenance, Snapshot, StorageError, StoredSchema,
    Table, TableId, TypeId,
};

/// Everything, of all stores.
#[derive(Default)]
pub(super) struct State {
    pub(super) head: Revision,
    pub(super) floor: Revision,
    pub(super) log_floor: Revision,
    pub(super) log: BTreeMap<Revision, LogEntry>,
    pub(super) provenance: BTreeMap<Revision, Provenance>,
    /// The clock at each commit, never running backwards.
    pub(super) times: BTreeMap<Revision, Timestamp>,
    pub(super) requests: BTreeMap<(StoreId, String), Answered>,
    pub(super) pins: Pins,
    pub(super) stores: BTreeMap<StoreId, Store>,
    /// Moments at which versions begin or cease to hold, not logged yet.
    pub(super) ahead: BTreeSet<Moment>,
    /// Versions that have ceased to hold, which the log says, by that moment.
    pub(super) expired: BTreeSet<Moment>,
    pub(super) kept: BTreeMap<(StoreId, String), Vec<u8>>,
}

/// When something happens to a version of an edge.
pub(super) type Moment = (Timestamp, StoreId, EdgeKey, Revision);

/// How a request with an id was answered.
pub(super) struct Answered {
    pub(super) fingerprint: u64,
    pub(super) time: Timestamp,
    pub(super) committed: Committed,
}

/// One store.
#[derive(Default)]
pub(super) struct Store {
    pub(super) schemas: BTreeMap<Revision, StoredSchema>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) names: BTreeMap<TypeId, Names>,
    /// The versions of each edge; `None` is its end.
    pub(super) edges: BTreeMap<EdgeKey, BTreeMap<Revision, Option<EdgeState>>>,
    /// The keys of `edges`, subject first.
    pub(super) reverse: BTreeSet<(TableId, EdgePosition)>,
}

/// The types and tables of a store.
#[derive(Clone, Default)]
pub(super) struct Catalogue {
    pub(super) types: BTreeMap<String, TypeId>,
    pub(super) tables: Arc<[Arc<Table>]>,
}

/// The objects of one type.
#[derive(Default)]
pub(super) struct Names {
    pub(super) by_id: BTreeMap<Arc<str>, Ordinal>,
    pub(super) by_ordinal: BTreeMap<Ordinal, Arc<str>>,
    /// The last ordinal given out; none is ever reused.
    pub(super) last: u32,
}

/// Which edge, whatever its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EdgeKey {
    pub(super) table: TableId,
    pub(super) resource: Ordinal,
    pub(super) subject: Ordinal,
    pub(super) source: Source,
}

impl EdgeKey {
    pub(super) fn reversed(&self) -> (TableId, EdgePosition) {
        (self.table, EdgePosition { row: self.subject, other: self.resource, source: self.source })
    }
}

impl State {
    pub(super) fn view(&self, store: StoreId, revision: Revision) -> View<'_> {
        View { state: self, data: self.stores.get(&store), store, revision }
    }
}

/// One store at one revision, under the lock.
pub(super) struct View<'a> {
    state: &'a State,
    data: Option<&'a Store>,
    store: StoreId,
    revision: Revision,
}

/// What part of a table a scan is about.
pub(super) struct Bounds {
    table: TableId,
    pub(super) direction: Direction,
    first: EdgePosition,
    last: EdgePosition,
    pub(super) after: Option<EdgePosition>,
}

impl Bounds {
    pub(super) fn row(table: TableId, direction: Direction, row: Ordinal, from: Ordinal) -> Self {
        let first = EdgePosition { row, other: from, source: Source(0) };
        let last = EdgePosition { row, other: Ordinal(u32::MAX), source: Source(u64::MAX) };
        Bounds { table, direction, first, last, after: None }
    }

    pub(super) fn table(table: TableId, direction: Direction, after: Option<EdgePosition>) -> Self {
        let first = EdgePosition { row: Ordinal(0), other: Ordinal(0), source: Source(0) };
        let last = EdgePosition { row: Ordinal(u32::MAX), other: Ordinal(u32::MAX), source: Source(u64::MAX) };
        Bounds { table, direction, first, last, after }
    }
}

impl View<'_> {
    /// The first `limit` edges within bounds.
    pub(super) fn chunk(&self, bounds: &Bounds, limit: usize) -> Vec<Edge> {
        let Some(data) = self.data else { return Vec::new() };
        let begin = bounds.after.map_or(Bound::Included(bounds.first), Bound::Excluded);
        let forward = |position: EdgePosition| EdgeKey {
            table: bounds.table,
            resource: position.row,
            subject: position.other,
            source: position.source,
        };
        match bounds.direction {
            Direction::Forward => data
                .edges
                .range((begin.map(forward), Bound::Included(forward(bounds.last))))
                .filter_map(|(key, _)| self.edge(data, key))
                .take(limit)
                .collect(),
            Direction::Reverse => data
                .reverse
                .range((begin.map(|at| (bounds.table, at)), Bound::Included((bounds.table, bounds.last))))
                .filter_map(|(table, at)| {
                    let key = EdgeKey { table: *table, resource: at.other, subject: at.row, source: at.source };
                    self.edge(data, &key)
                })
                .take(limit)
                .collect(),
        }
    }

    fn edge(&self, data: &Store, key: &EdgeKey) -> Option<Edge> {
        let (written, state) = data.edges.get(key)?.range(..=self.revision).next_back()?;
        let state = state.as_ref()?;
        Some(Edge {
            resource: key.resource,
            subject: key.subject,
            source: key.source,
            caveat: state.caveat.clone(),
            not_before: state.not_before,
            expires_at: state.expires_at,
            written: *written,
        })
    }

    fn visit(&self, bounds: &Bounds, visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>) {
        let _visited = self.chunk(bounds, usize::MAX).iter().any(|edge| visit(edge).is_break());
    }
}

impl Snapshot for View<'_> {
    fn store(&self) -> StoreId {
        self.store
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn schema(&self) -> Result<Option<StoredSchema>, StorageError> {
        let newest = self.data.and_then(|data| data.schemas.range(..=self.revision).next_back());
        Ok(newest.map(|(_, schema)| schema.clone()))
    }

    fn tables(&self) -> Arc<[Arc<Table>]> {
        self.data.map(|data| Arc::clone(&data.catalogue.tables)).unwrap_or_default()
    }

    fn type_id(&self, object_type: &str) -> Option<TypeId> {
        self.data?.catalogue.types.get(object_type).copied()
    }

    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError> {
        if object_id == "*" {
            return Ok(Some(Ordinal::WILDCARD));
        }
        let names = self.data.and_then(|data| data.names.get(&object_type));
        Ok(names.and_then(|names| names.by_id.get(object_id).copied()))
    }

    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError> {
        if ordinal == Ordinal::WILDCARD {
            return Ok(Arc::from("*"));
        }
        let names = self.data.and_then(|data| data.names.get(&object_type));
        names.and_then(|names| names.by_ordinal.get(&ordinal).cloned()).ok_or_else(|| {
            StorageError::Damaged(format!("type {} has no object of ordinal {}", object_type.0, ordinal.0))
        })
    }

    fn scan_row(
        &self,
        table: TableId,
        direction: Direction,
        row: Ordinal,
        from: Ordinal,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.visit(&Bounds::row(table, direction, row, from), visit);
        Ok(())
    }

    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.visit(&Bounds::table(table, direction, after), visit);
        Ok(())
    }

    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError> {
        Ok(self.state.provenance.get(&written).cloned())
    }
}
