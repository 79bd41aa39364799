//! Stores by the names that the system store knows them by.

use stonetown_authorizer::Error;
use stonetown_tuple::StoreId;

/// The name of the default store.
pub const DEFAULT_STORE: &str = "default";

/// The name of a store.
///
/// # Errors
/// When it has none: there is nothing that anybody could hold over it.
pub fn store_name(store: StoreId) -> Result<&'static str, Error> {
    if store == StoreId::DEFAULT {
        Ok(DEFAULT_STORE)
    } else {
        Err(Error::Internal(format!("store {store} has no name")))
    }
}

/// The store of a name, `None` if there is none.
#[must_use]
pub(crate) fn store_id(name: &str) -> Option<StoreId> {
    (name == DEFAULT_STORE).then_some(StoreId::DEFAULT)
}
