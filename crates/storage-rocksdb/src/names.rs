//! Object ids and their ordinals, both ways, with a bounded cache.
//!
//! The id behind an ordinal never changes, so that way may be cached for ever. The ordinal behind an id changes when the id
//! has died and come back; each cached ordinal therefore carries the generation of its id, read before the database was,
//! and counts only while that is current. Garbage collection removes a name first and then moves its generation on.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use rustc_hash::FxBuildHasher;
use stonetown_storage::{Ordinal, StorageError, TypeId};
use stonetown_tuple::StoreId;

use crate::database::Database;
use crate::keys;
use crate::values::damaged;

/// Generations are kept for so many groups of ids.
const GENERATIONS: usize = 4_096;
/// What an entry costs besides its text, in bytes.
const ENTRY_BYTES: u64 = 80;

/// The cache of names.
pub(crate) struct Names {
    ordinals: Cache<Name, (Ordinal, u32), TextBytes>,
    ids: Cache<(StoreId, TypeId, Ordinal), Arc<str>, TextBytes>,
    generations: Box<[AtomicU32]>,
}

impl Names {
    /// An empty cache of at most so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let half = bytes_max / 2;
        let entries = usize::try_from(half / (ENTRY_BYTES + 20)).unwrap_or(usize::MAX);
        Names {
            ordinals: Cache::with_weighter(entries, half, TextBytes),
            ids: Cache::with_weighter(entries, half, TextBytes),
            generations: (0..GENERATIONS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.ordinals.weight() + self.ids.weight()
    }

    /// The ordinal of an object that is stored.
    pub(crate) fn ordinal(
        &self,
        database: &Database,
        store: StoreId,
        object_type: TypeId,
        id: &str,
    ) -> Result<Option<Ordinal>, StorageError> {
        let name = NameRef { store, object_type, id };
        let generation = self.generation(&name).load(Ordering::Acquire);
        if let Some((ordinal, _)) = self.ordinals.get(&name).filter(|(_, cached)| *cached == generation) {
            return Ok(Some(ordinal));
        }
        let Some(bytes) = database.get(&keys::ordinal(store, object_type, id))? else { return Ok(None) };
        let ordinal = read_ordinal(&bytes)?;
        self.ordinals.insert(Name { store, object_type, id: id.into() }, (ordinal, generation));
        Ok(Some(ordinal))
    }

    /// The id of an object that is stored.
    pub(crate) fn object_id(
        &self,
        database: &Database,
        store: StoreId,
        object_type: TypeId,
        ordinal: Ordinal,
    ) -> Result<Option<Arc<str>>, StorageError> {
        let key = (store, object_type, ordinal);
        if let Some(id) = self.ids.get(&key) {
            return Ok(Some(id));
        }
        let Some(bytes) = database.get(&keys::object_id(store, object_type, ordinal))? else { return Ok(None) };
        let id: Arc<str> = std::str::from_utf8(&bytes).map_err(|error| damaged(format!("object id: {error}")))?.into();
        self.ids.insert(key, Arc::clone(&id));
        Ok(Some(id))
    }

    /// Forgets an object after it was removed from the database.
    pub(crate) fn forget(&self, store: StoreId, object_type: TypeId, ordinal: Ordinal, id: &str) {
        self.generation(&NameRef { store, object_type, id }).fetch_add(1, Ordering::AcqRel);
        self.ids.remove(&(store, object_type, ordinal));
    }

    fn generation(&self, name: &NameRef<'_>) -> &AtomicU32 {
        let hash = FxBuildHasher.hash_one(name);
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let place = hash as usize % GENERATIONS;
        &self.generations[place]
    }
}

/// The ordinal in a value.
pub(crate) fn read_ordinal(bytes: &[u8]) -> Result<Ordinal, StorageError> {
    let bytes = bytes.try_into().map_err(|_| damaged("an ordinal has four bytes"))?;
    Ok(Ordinal(u32::from_be_bytes(bytes)))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    store: StoreId,
    object_type: TypeId,
    id: Box<str>,
}

/// A [`Name`] to look up by.
struct NameRef<'a> {
    store: StoreId,
    object_type: TypeId,
    id: &'a str,
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NameRef { store: self.store, object_type: self.object_type, id: &self.id }.hash(state);
    }
}

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.store.hash(state);
        self.object_type.hash(state);
        self.id.hash(state);
    }
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.store == name.store && self.object_type == name.object_type && *self.id == *name.id
    }
}

#[derive(Clone)]
struct TextBytes;

impl Weighter<Name, (Ordinal, u32)> for TextBytes {
    fn weight(&self, name: &Name, _: &(Ordinal, u32)) -> u64 {
        name.id.len() as u64 + ENTRY_BYTES
    }
}

impl Weighter<(StoreId, TypeId, Ordinal), Arc<str>> for TextBytes {
    fn weight(&self, _: &(StoreId, TypeId, Ordinal), id: &Arc<str>) -> u64 {
        id.len() as u64 + ENTRY_BYTES
    }
}
