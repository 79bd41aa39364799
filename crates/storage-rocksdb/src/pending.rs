//! Changes that are tested and not written yet, laid over what is stored: the transactions of one group, so that each is
//! tested against those before it.
//!
//! Changes are journaled: what a failing transaction did is taken back, what a passing one did is read off to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_storage::log::EdgeState;
use stonetown_storage::{
    CommitError, Direction, Edge, EdgePosition, Effect, Ordinal, Provenance, Snapshot, StorageError, StoredSchema,
    Table, TableId, TypeId,
};
use stonetown_tuple::{Revision, Source, StoreId, Timestamp};

use crate::catalogue::Catalogue;
use crate::keys::{self, EdgeKey};
use crate::moments;
use crate::names::read_ordinal;
use crate::shared::Shared;
use crate::snapshot::{RocksSnapshot, edge_of};
use crate::values::Answered;

/// Changes over the head.
pub(crate) struct Pending {
    shared: Arc<Shared>,
    edges: BTreeMap<EdgeKey, Version>,
    /// The keys of `edges`, subject first.
    reverse: BTreeSet<(StoreId, TableId, EdgePosition)>,
    names: FxHashMap<(StoreId, TypeId), NewNames>,
    catalogues: FxHashMap<StoreId, Arc<Catalogue>>,
    /// Answers of the transactions that passed.
    pub(crate) requests: FxHashMap<(StoreId, String), Answered>,
    journal: Vec<Entry>,
}

/// The newest version of an edge.
#[derive(Debug, Clone)]
struct Version {
    written: Revision,
    state: Option<EdgeState>,
    /// Whether it holds as the log has it: by the clock of the transaction that wrote it.
    holds: bool,
}

struct NewNames {
    last: u32,
    by_id: FxHashMap<Arc<str>, Ordinal>,
    by_ordinal: FxHashMap<Ordinal, Arc<str>>,
}

/// What was done, with what it replaced.
enum Entry {
    Edge(EdgeKey, Option<Version>),
    Name(StoreId, TypeId, Ordinal, Arc<str>),
    Catalogue(StoreId, Option<Arc<Catalogue>>),
    Type(StoreId, TypeId, String),
    Table(StoreId, Arc<Table>),
}

/// What a transaction changed.
#[derive(Default)]
pub(crate) struct Changed {
    /// Each edge once, in the order of first changes, with its state at the end and what that means.
    pub(crate) edges: Vec<(EdgeKey, Option<EdgeState>, Effect)>,
    pub(crate) names: Vec<(StoreId, TypeId, Ordinal, Arc<str>)>,
    pub(crate) types: Vec<(StoreId, TypeId, String)>,
    pub(crate) tables: Vec<(StoreId, Arc<Table>)>,
    pub(crate) schema: Option<StoredSchema>,
}

impl Pending {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// No changes yet.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Pending {
            shared: Arc::clone(shared),
            edges: BTreeMap::new(),
            reverse: BTreeSet::new(),
            names: FxHashMap::default(),
            catalogues: FxHashMap::default(),
            requests: FxHashMap::default(),
            journal: Vec::new(),
        }
    }

    /// A store with the changes.
    pub(crate) fn snapshot(&self, store: StoreId) -> PendingSnapshot<'_> {
        PendingSnapshot { pending: self, base: RocksSnapshot::head(&self.shared, store) }
    }

    /// Takes back what was done since the journal was read off last.
    pub(crate) fn take_back(&mut self) {
        while let Some(entry) = self.journal.pop() {
            match entry {
                Entry::Edge(edge, before) => self.restore_edge(edge, before),
                Entry::Name(store, object_type, ordinal, id) => {
                    if let Some(names) = self.names.get_mut(&(store, object_type)) {
                        names.by_id.remove(&id);
                        names.by_ordinal.remove(&ordinal);
                        names.last = ordinal.0 - 1;
                    }
                }
                Entry::Catalogue(store, before) => restore(&mut self.catalogues, store, before),
                Entry::Type(..) | Entry::Table(..) => {}
            }
        }
    }

    /// Reads off the journal. From here on it cannot be taken back.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) fn changed(&mut self) -> Result<Changed, StorageError> {
        let mut changed = Changed::default();
        for entry in std::mem::take(&mut self.journal) {
            match entry {
                Entry::Edge(edge, before) => {
                    let held = match before {
                        Some(before) => before.holds,
                        None => self.held(&edge)?,
                    };
                    let newest = self.edges.get(&edge);
                    let effect = Effect::of(held, newest.is_some_and(|version| version.holds));
                    changed.edges.push((edge, newest.and_then(|version| version.state.clone()), effect));
                }
                Entry::Name(store, object_type, ordinal, id) => changed.names.push((store, object_type, ordinal, id)),
                Entry::Type(store, id, name) => changed.types.push((store, id, name)),
                Entry::Table(store, table) => changed.tables.push((store, table)),
                Entry::Catalogue(store, _) => changed.schema = self.catalogue(store).schema().cloned(),
            }
        }
        Ok(changed)
    }

    /// Whether an edge of which nothing is pending holds as the log has it.
    fn held(&self, edge: &EdgeKey) -> Result<bool, StorageError> {
        let catalogue = self.catalogue(edge.store);
        let is_new = |object_type, ordinal| self.is_new(edge.store, object_type, ordinal);
        if catalogue
            .table(edge.table)
            .is_some_and(|table| is_new(table.resource_type, edge.resource) || is_new(table.subject_type, edge.subject))
        {
            return Ok(false);
        }
        let newest = RocksSnapshot::head(&self.shared, edge.store).version(edge)?;
        newest.map_or(Ok(false), |(written, state)| moments::holds(&self.shared.database, edge, written, &state))
    }

    /// Makes the changed catalogues those of the datastore.
    pub(crate) fn share_catalogues(&self) {
        for (store, catalogue) in &self.catalogues {
            self.shared.set_catalogue(*store, Arc::clone(catalogue));
        }
    }

    pub(crate) fn catalogue(&self, store: StoreId) -> Arc<Catalogue> {
        self.catalogues.get(&store).map_or_else(|| self.shared.catalogue(store), Arc::clone)
    }

    pub(crate) fn write_schema(
        &mut self,
        store: StoreId,
        schema: StoredSchema,
        write: &stonetown_storage::SchemaWrite,
    ) {
        let mut catalogue = (*self.catalogue(store)).clone();
        let declare = |journal: &mut Vec<Entry>, catalogue: &mut Catalogue, name: &str| {
            let (id, is_new) = catalogue.declare_type(name);
            if is_new {
                journal.push(Entry::Type(store, id, name.to_owned()));
            }
            id
        };
        for name in &write.types {
            declare(&mut self.journal, &mut catalogue, name);
        }
        for key in &write.tables {
            let resource_type = declare(&mut self.journal, &mut catalogue, &key.resource_type);
            let subject_type = declare(&mut self.journal, &mut catalogue, &key.subject_type);
            if let Some(table) = catalogue.declare_table(key, (resource_type, subject_type)) {
                self.journal.push(Entry::Table(store, table));
            }
        }
        catalogue.set_schema(schema);
        let before = self.catalogues.insert(store, Arc::new(catalogue));
        self.journal.push(Entry::Catalogue(store, before));
    }

    /// The ordinal of an object, given to it now if it has none.
    pub(crate) fn intern(
        &mut self,
        store: StoreId,
        object_type: TypeId,
        type_name: &str,
        id: &str,
    ) -> Result<Ordinal, CommitError> {
        if let Some(ordinal) = self.ordinal(store, object_type, id)? {
            return Ok(ordinal);
        }
        let names = match self.names.entry((store, object_type)) {
            std::collections::hash_map::Entry::Occupied(names) => names.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let stored = self.shared.database.get(&keys::last_ordinal(store, object_type))?;
                let last = stored.map_or(Ok(Ordinal(0)), |bytes| read_ordinal(&bytes))?.0;
                place.insert(NewNames { last, by_id: FxHashMap::default(), by_ordinal: FxHashMap::default() })
            }
        };
        names.last = names.last.checked_add(1).ok_or_else(|| CommitError::TooManyObjects(type_name.to_owned()))?;
        let (ordinal, id) = (Ordinal(names.last), Arc::<str>::from(id));
        names.by_id.insert(Arc::clone(&id), ordinal);
        names.by_ordinal.insert(ordinal, Arc::clone(&id));
        self.journal.push(Entry::Name(store, object_type, ordinal, id));
        Ok(ordinal)
    }

    /// Whether an object was given its ordinal here, so that nothing stored can mention it.
    pub(crate) fn is_new(&self, store: StoreId, object_type: TypeId, ordinal: Ordinal) -> bool {
        self.names.get(&(store, object_type)).is_some_and(|names| names.by_ordinal.contains_key(&ordinal))
    }

    pub(crate) fn ordinal(
        &self,
        store: StoreId,
        object_type: TypeId,
        id: &str,
    ) -> Result<Option<Ordinal>, StorageError> {
        if let Some(ordinal) = self.names.get(&(store, object_type)).and_then(|names| names.by_id.get(id)) {
            return Ok(Some(*ordinal));
        }
        self.shared.names.ordinal(&self.shared.database, store, object_type, id)
    }

    /// The pending state of an edge; the outer `None` when nothing is pending.
    pub(crate) fn state(&self, edge: &EdgeKey) -> Option<Option<&EdgeState>> {
        self.edges.get(edge).map(|version| version.state.as_ref())
    }

    /// The pending edges of a store that are not ends.
    pub(crate) fn edges_of(&self, store: StoreId) -> impl Iterator<Item = &EdgeKey> {
        self.edges
            .iter()
            .filter(move |(edge, version)| edge.store == store && version.state.is_some())
            .map(|(edge, _)| edge)
    }

    pub(crate) fn put(&mut self, edge: EdgeKey, written: Revision, now: Timestamp, state: Option<EdgeState>) {
        let holds = state.as_ref().is_some_and(|state| state.is_live(now));
        self.reverse.insert((edge.store, edge.table, edge.position(Direction::Reverse)));
        let before = self.edges.insert(edge, Version { written, state, holds });
        if before.as_ref().is_none_or(|before| before.written != written) {
            self.journal.push(Entry::Edge(edge, before));
        }
    }

    fn restore_edge(&mut self, edge: EdgeKey, before: Option<Version>) {
        match before {
            Some(before) => {
                self.edges.insert(edge, before);
            }
            None => {
                self.edges.remove(&edge);
                self.reverse.remove(&(edge.store, edge.table, edge.position(Direction::Reverse)));
            }
        }
    }

    /// Pending versions of a table from `begin` up to `end`, in the order of a scan.
    fn versions(
        &self,
        (store, table, direction): (StoreId, TableId, Direction),
        begin: Bound<EdgePosition>,
        end: EdgePosition,
    ) -> Vec<(EdgePosition, &Version)> {
        let key = |at| EdgeKey::at(store, table, direction, at);
        match direction {
            Direction::Forward => self
                .edges
                .range((begin.map(key), Bound::Included(key(end))))
                .map(|(edge, version)| (edge.position(direction), version))
                .collect(),
            Direction::Reverse => self
                .reverse
                .range((begin.map(|at| (store, table, at)), Bound::Included((store, table, end))))
                .filter_map(|(_, _, at)| Some((*at, self.edges.get(&key(*at))?)))
                .collect(),
        }
    }
}

fn restore<K: std::hash::Hash + Eq, V>(map: &mut FxHashMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}

/// A store as it will be.
pub(crate) struct PendingSnapshot<'p> {
    pending: &'p Pending,
    base: RocksSnapshot,
}

impl PendingSnapshot<'_> {
    /// The state of an edge.
    pub(crate) fn state(&self, edge: &EdgeKey) -> Result<Option<EdgeState>, StorageError> {
        match self.pending.state(edge) {
            Some(state) => Ok(state.cloned()),
            None => self.base.state(edge),
        }
    }

    /// Merges stored and pending edges, both in order; of one edge the pending version counts.
    fn merge(
        direction: Direction,
        pending: Vec<(EdgePosition, &Version)>,
        scan: impl FnOnce(&mut dyn FnMut(&Edge) -> ControlFlow<()>) -> Result<(), StorageError>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut pending = pending.into_iter().peekable();
        let mut flow = ControlFlow::Continue(());
        scan(&mut |edge| {
            let place = edge.position(direction);
            let mut replaced = false;
            while let Some((at, version)) = pending.next_if(|(at, _)| flow.is_continue() && *at <= place) {
                replaced |= at == place;
                flow = show(direction, at, version, visit);
            }
            if flow.is_continue() && !replaced {
                flow = visit(edge);
            }
            flow
        })?;
        for (at, version) in pending {
            if flow.is_break() {
                break;
            }
            flow = show(direction, at, version, visit);
        }
        Ok(())
    }
}

fn show(
    direction: Direction,
    at: EdgePosition,
    version: &Version,
    visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match version.state.clone() {
        Some(state) => visit(&edge_of(direction, at, state, version.written)),
        None => ControlFlow::Continue(()),
    }
}

impl Snapshot for PendingSnapshot<'_> {
    fn store(&self) -> StoreId {
        self.base.store()
    }

    fn revision(&self) -> Revision {
        self.base.revision()
    }

    fn schema(&self) -> Result<Option<StoredSchema>, StorageError> {
        Ok(self.pending.catalogue(self.store()).schema().cloned())
    }

    fn tables(&self) -> Arc<[Arc<Table>]> {
        Arc::clone(self.pending.catalogue(self.store()).tables())
    }

    fn type_id(&self, object_type: &str) -> Option<TypeId> {
        self.pending.catalogue(self.store()).type_id(object_type)
    }

    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError> {
        if object_id == "*" {
            return Ok(Some(Ordinal::WILDCARD));
        }
        self.pending.ordinal(self.store(), object_type, object_id)
    }

    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError> {
        let new = self.pending.names.get(&(self.store(), object_type));
        match new.and_then(|names| names.by_ordinal.get(&ordinal)) {
            Some(id) => Ok(Arc::clone(id)),
            None => self.base.object_id(object_type, ordinal),
        }
    }

    fn scan_row(
        &self,
        table: TableId,
        direction: Direction,
        row: Ordinal,
        from: Ordinal,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let begin = Bound::Included(EdgePosition { row, other: from, source: Source(0) });
        let end = EdgePosition { row, other: Ordinal(u32::MAX), source: Source(u64::MAX) };
        let pending = self.pending.versions((self.store(), table, direction), begin, end);
        Self::merge(direction, pending, |visit| self.base.scan_row(table, direction, row, from, visit), visit)
    }

    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let first = EdgePosition { row: Ordinal(0), other: Ordinal(0), source: Source(0) };
        let begin = after.map_or(Bound::Included(first), Bound::Excluded);
        let end = EdgePosition { row: Ordinal(u32::MAX), other: Ordinal(u32::MAX), source: Source(u64::MAX) };
        let pending = self.pending.versions((self.store(), table, direction), begin, end);
        Self::merge(direction, pending, |visit| self.base.scan_table(table, direction, after, visit), visit)
    }

    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError> {
        self.base.provenance(written)
    }
}
