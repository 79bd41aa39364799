//! The types, the tables and the newest schema of a store, held in memory.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_storage::{StoredSchema, Table, TableId, TableKey, TypeId};
use stonetown_tuple::Relationship;

/// The types and tables of one store, which only ever grow, and its newest schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    types: FxHashMap<String, TypeId>,
    tables: Arc<[Arc<Table>]>,
    /// Every check asks for it, so it is not read from disk. May be newer than a reader's revision.
    schema: Option<StoredSchema>,
}

impl Catalogue {
    /// All tables, sorted by key.
    pub(crate) fn tables(&self) -> &Arc<[Arc<Table>]> {
        &self.tables
    }

    /// The newest schema.
    pub(crate) fn schema(&self) -> Option<&StoredSchema> {
        self.schema.as_ref()
    }

    /// Takes a newer schema.
    pub(crate) fn set_schema(&mut self, schema: StoredSchema) {
        self.schema = Some(schema);
    }

    /// The number of a type.
    pub(crate) fn type_id(&self, name: &str) -> Option<TypeId> {
        self.types.get(name).copied()
    }

    /// The table that a relationship belongs to.
    pub(crate) fn table_of(&self, relationship: &Relationship) -> Option<&Arc<Table>> {
        let wanted = TableKey::of(relationship);
        self.tables.binary_search_by(|table| table.key.cmp(&wanted)).ok().map(|place| &self.tables[place])
    }

    /// The table of a number.
    pub(crate) fn table(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// The number of a type, and whether it was given just now.
    pub(crate) fn declare_type(&mut self, name: &str) -> (TypeId, bool) {
        if let Some(id) = self.type_id(name) {
            return (id, false);
        }
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX).saturating_add(1));
        self.add_type(id, name.to_owned());
        (id, true)
    }

    /// The table of a key if it is new.
    pub(crate) fn declare_table(&mut self, key: &TableKey, ends: (TypeId, TypeId)) -> Option<Arc<Table>> {
        let place = self.tables.binary_search_by(|table| table.key.cmp(key)).err()?;
        let id = TableId(u32::try_from(self.tables.len()).unwrap_or(u32::MAX).saturating_add(1));
        let table = Arc::new(Table { id, key: key.clone(), resource_type: ends.0, subject_type: ends.1 });
        let mut tables = self.tables.to_vec();
        tables.insert(place, Arc::clone(&table));
        self.tables = tables.into();
        Some(table)
    }

    /// Adds a type that is stored.
    pub(crate) fn add_type(&mut self, id: TypeId, name: String) {
        self.types.insert(name, id);
    }

    /// Takes the tables that are stored.
    pub(crate) fn set_tables(&mut self, mut tables: Vec<Arc<Table>>) {
        tables.sort_by(|a, b| a.key.cmp(&b.key));
        self.tables = tables.into();
    }

    /// The name of a type, by looking at all.
    pub(crate) fn type_name(&self, id: TypeId) -> Option<&str> {
        self.types.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }
}
