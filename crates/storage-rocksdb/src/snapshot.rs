//! Reading a store at a revision. Scans are a critical path of performance.
//!
//! Versions are never changed, so a snapshot reads the database as it is and takes of each edge the newest version that is
//! not newer than itself. What it can see must stay: an open snapshot pins its revision against garbage collection.

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_storage::log::EdgeState;
use stonetown_storage::{
    Direction, Edge, EdgePosition, Ordinal, Provenance, Snapshot, StorageError, StoredSchema, Table, TableId, TypeId,
};
use stonetown_tuple::{Revision, Source, StoreId};

use crate::catalogue::Catalogue;
use crate::database::{Cursor, storage_error};
use crate::keys::{self, EdgeKey};
use crate::shared::{Pin, Shared};
use crate::values::{self, StateReader, StoredProvenance, damaged};

/// A store at a revision.
pub(crate) struct RocksSnapshot {
    shared: Arc<Shared>,
    store: StoreId,
    revision: Revision,
    catalogue: Arc<Catalogue>,
    _pin: Option<Pin>,
}

impl RocksSnapshot {
    /// A snapshot that others get; `pin` keeps what it can see.
    pub(crate) fn pinned(shared: &Arc<Shared>, store: StoreId, pin: Pin) -> Self {
        RocksSnapshot { revision: pin.revision(), _pin: Some(pin), ..RocksSnapshot::head(shared, store) }
    }

    /// The newest revision, for the writer, who alone could remove what it sees.
    pub(crate) fn head(shared: &Arc<Shared>, store: StoreId) -> Self {
        RocksSnapshot {
            shared: Arc::clone(shared),
            store,
            revision: shared.head(),
            catalogue: shared.catalogue(store),
            _pin: None,
        }
    }

    /// The newest version of an edge up to this revision.
    pub(crate) fn state(&self, edge: &EdgeKey) -> Result<Option<EdgeState>, StorageError> {
        Ok(self.version(edge)?.map(|(_, state)| state))
    }

    /// The newest version of an edge up to this revision, and the revision that wrote it.
    pub(crate) fn version(&self, edge: &EdgeKey) -> Result<Option<(Revision, EdgeState)>, StorageError> {
        let prefix = keys::edge_versions(Direction::Forward, edge);
        let mut cursor = self.shared.database.row_cursor(&prefix);
        cursor.seek(keys::version(Direction::Forward, edge, self.revision));
        cursor.status().map_err(storage_error)?;
        match cursor.item() {
            Some((key, value)) if key.starts_with(&prefix) => {
                let (_, written) = keys::read_version(key).ok_or_else(|| damaged("key of a version"))?;
                Ok(StateReader::default().read(value)?.map(|state| (written, state)))
            }
            _ => Ok(None),
        }
    }

    /// Visits the newest version of each edge that the cursor passes.
    fn visit(&self, cursor: &mut Cursor<'_>, direction: Direction, visit: Visit<'_>) -> Result<(), StorageError> {
        let mut states = StateReader::default();
        // The edge whose version at this revision has been found; its older versions are passed over.
        let mut found: Option<[u8; keys::EDGE_BYTES]> = None;
        while let Some((key, value)) = cursor.item() {
            let Some(edge) = key.first_chunk() else { return Err(damaged("key of a version is too short")) };
            if found.as_ref() != Some(edge) {
                let (at, written) = keys::read_version(key).ok_or_else(|| damaged("key of a version"))?;
                if written <= self.revision {
                    found = Some(*edge);
                    if let Some(state) = states.read(value)?
                        && visit(&edge_of(direction, at, state, written)).is_break()
                    {
                        return Ok(());
                    }
                }
            }
            cursor.next();
        }
        cursor.status().map_err(storage_error)
    }
}

type Visit<'a> = &'a mut dyn FnMut(&Edge) -> ControlFlow<()>;

/// An edge from its parts.
pub(crate) fn edge_of(direction: Direction, at: EdgePosition, state: EdgeState, written: Revision) -> Edge {
    let (resource, subject) = match direction {
        Direction::Forward => (at.row, at.other),
        Direction::Reverse => (at.other, at.row),
    };
    let EdgeState { caveat, not_before, expires_at } = state;
    Edge { resource, subject, source: at.source, caveat, not_before, expires_at, written }
}

impl Snapshot for RocksSnapshot {
    fn store(&self) -> StoreId {
        self.store
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn schema(&self) -> Result<Option<StoredSchema>, StorageError> {
        match self.catalogue.schema() {
            None => return Ok(None),
            Some(newest) if newest.revision <= self.revision => return Ok(Some(newest.clone())),
            Some(_) => {}
        }
        let mut newest = None;
        let from = keys::schema(self.store, self.revision);
        self.shared.database.scan(&keys::schemas(self.store), &from, &mut |key, value| {
            let (_, revision) = keys::read_schema(key).ok_or_else(|| damaged("key of a schema"))?;
            newest = Some(StoredSchema { revision, bytes: value.into() });
            Ok(ControlFlow::Break(()))
        })?;
        Ok(newest)
    }

    fn tables(&self) -> Arc<[Arc<Table>]> {
        Arc::clone(self.catalogue.tables())
    }

    fn type_id(&self, object_type: &str) -> Option<TypeId> {
        self.catalogue.type_id(object_type)
    }

    fn ordinal(&self, object_type: TypeId, object_id: &str) -> Result<Option<Ordinal>, StorageError> {
        if object_id == "*" {
            return Ok(Some(Ordinal::WILDCARD));
        }
        self.shared.names.ordinal(&self.shared.database, self.store, object_type, object_id)
    }

    fn object_id(&self, object_type: TypeId, ordinal: Ordinal) -> Result<Arc<str>, StorageError> {
        if ordinal == Ordinal::WILDCARD {
            return Ok(Arc::from("*"));
        }
        let id = self.shared.names.object_id(&self.shared.database, self.store, object_type, ordinal)?;
        id.ok_or_else(|| {
            damaged(format!("type {} of store {} has no object of ordinal {}", object_type.0, self.store, ordinal.0))
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
        let mut cursor = self.shared.database.row_cursor(&keys::row_versions(direction, self.store, table, row));
        let at = EdgePosition { row, other: from, source: Source(0) };
        cursor.seek(keys::edge_versions(direction, &EdgeKey::at(self.store, table, direction, at)));
        self.visit(&mut cursor, direction, visit)
    }

    fn scan_table(
        &self,
        table: TableId,
        direction: Direction,
        after: Option<EdgePosition>,
        visit: &mut dyn FnMut(&Edge) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let prefix = keys::table_versions(direction, self.store, table);
        let mut cursor = self.shared.database.cursor(&prefix);
        match after {
            None => cursor.seek(prefix),
            Some(at) => {
                let edge = EdgeKey::at(self.store, table, direction, at);
                cursor.seek(keys::after(&keys::edge_versions(direction, &edge)));
            }
        }
        self.visit(&mut cursor, direction, visit)
    }

    fn provenance(&self, written: Revision) -> Result<Option<Provenance>, StorageError> {
        let stored = self.shared.database.get(&keys::transaction(written))?;
        stored.map(|bytes| values::decode::<StoredProvenance>("provenance", &bytes)?.read()).transpose()
    }
}
