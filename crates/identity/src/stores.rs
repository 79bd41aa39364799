//! Stores by the names that the system store knows them by. A name is used once: one of a store that was deleted means nothing
//! ever after, as powers and templates go by it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stonetown_authorizer::{Error, Quota};
use stonetown_tuple::{StoreId, Timestamp};

use crate::system::{Kind, System};

/// The name of the default store.
pub const DEFAULT_STORE: &str = "default";
/// What a name that no store has is resolved to: a store in which nobody may do anything.
pub const NO_STORE: StoreId = StoreId(u32::MAX);
/// The name of what is no store.
const NO_NAME: &str = "-";

/// What is kept about a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Its number: what its data lie under. Never used again.
    pub id: u32,
    /// When it was made.
    #[serde(with = "crate::moment")]
    pub created_at: Timestamp,
    /// How much it may hold and ask.
    #[serde(default, skip_serializing_if = "is_unbounded")]
    pub quota: Quota,
    /// Whether it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

fn is_unbounded(quota: &Quota) -> bool {
    *quota == Quota::default()
}

/// All stores that there are, and the numbers of those that there were.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    by_name: HashMap<Arc<str>, Arc<Store>>,
    by_id: HashMap<StoreId, (Arc<str>, Arc<Store>)>,
    newest: u32,
    gone: u32,
}

impl Catalog {
    /// Reads the catalog.
    pub(crate) fn read(system: &System) -> Result<Catalog, Error> {
        let mut catalog = Catalog { newest: StoreId::DEFAULT.0, ..Catalog::default() };
        for (name, store) in system.documents::<Store>(Kind::Store)? {
            catalog.newest = catalog.newest.max(store.id);
            if store.deleted {
                catalog.gone += 1;
                continue;
            }
            let (name, store): (Arc<str>, _) = (name.into(), Arc::new(store));
            catalog.by_id.insert(StoreId(store.id), (Arc::clone(&name), Arc::clone(&store)));
            catalog.by_name.insert(name, store);
        }
        Ok(catalog)
    }

    /// The number of the next store.
    pub(crate) fn next_id(&self) -> u32 {
        self.newest + 1
    }

    /// How many there are, and were.
    pub(crate) fn count(&self) -> usize {
        self.by_name.len() + self.gone as usize
    }

    /// Those that there are, but for the default one, which needs no entry.
    pub(crate) fn stores(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Store>)> {
        self.by_name.iter()
    }
}

impl System {
    /// The name of a store. One that there is not, or not any more, has a name that no store can have: nobody holds anything
    /// over it, and it is refused in the same words as one that is not the caller's.
    #[must_use]
    pub fn store_name(&self, store: StoreId) -> Arc<str> {
        if store == StoreId::DEFAULT {
            return DEFAULT_STORE.into();
        }
        let catalog = self.catalog();
        catalog.by_id.get(&store).map_or_else(|| NO_NAME.into(), |(name, _)| Arc::clone(name))
    }

    /// The store of a name, `None` if there is none.
    #[must_use]
    pub fn store_id(&self, name: &str) -> Option<StoreId> {
        if name == DEFAULT_STORE {
            return Some(StoreId::DEFAULT);
        }
        self.catalog().by_name.get(name).map(|store| StoreId(store.id))
    }

    /// How much a store may hold and ask.
    #[must_use]
    pub fn quota(&self, store: StoreId) -> Quota {
        let catalog = self.catalog();
        let entry = catalog.by_id.get(&store).map(|(_, store)| store.quota);
        entry.unwrap_or_default()
    }
}
