//! Making, bounding and deleting stores.

use stonetown_authorizer::write::DeleteRequest;
use stonetown_authorizer::{Call, Caller, Error, Quota, justification};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_tuple::{RelationshipFilter, StoreId, ZedToken};

use super::{Why, valid_id};
use crate::Identity;
use crate::principal::Holder;
use crate::start::POWERS;
use crate::stores::{Catalog, DEFAULT_STORE, Store};
use crate::system::{Change, Kind, parsed};

/// Stores of a server at most, those that were deleted among them.
pub const STORES_MAX: usize = 1_000;
/// Bytes of a store's name at most.
pub const STORE_NAME_BYTES_MAX: usize = 63;

/// A store as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What is kept about it; `None` for the default store, about which nothing has to be.
    pub store: Option<Store>,
}

impl Identity {
    /// Makes a store, empty and without a schema. Where a holder is given, it gets all powers over the store.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server, [`Error::Exists`] for a name that is or was another's,
    /// [`Error::Invalid`] for what is no name, [`Error::Refused`] above [`STORES_MAX`].
    pub fn create_store(
        &self,
        caller: &Caller,
        name: &str,
        holder: Option<&Holder>,
        quota: Quota,
        why: &Why,
    ) -> Result<Store, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "make stores")?;
        check_name(name)?;
        if name == DEFAULT_STORE || self.system().document::<Store>(Kind::Store, name)?.is_some() {
            return Err(Error::Exists(format!("store `{name}`, now or before: a name is used once")));
        }
        let catalog = Catalog::read(self.system())?;
        if catalog.count() >= STORES_MAX {
            return Err(Error::Refused(format!("a server has at most {STORES_MAX} stores, deleted ones among them")));
        }
        let store = Store { id: catalog.next_id(), created_at: self.system().now(), quota, deleted: false };
        change.put(Kind::Store, name, &store)?;
        change.touch(&format!("sys/store:{name}#parent@sys/root:self"))?;
        if let Some(holder) = holder {
            self.holder_exists(holder)?;
            for power in POWERS {
                change.touch(&format!("sys/store:{name}#{power}@{}", holder.subject()))?;
            }
        }
        self.commit_stores(change, caller, why, "create store")?;
        Ok(store)
    }

    /// Bounds how much a store may hold and ask. What it holds already stays.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server, [`Error::NoSuch`], [`Error::Refused`] for the default store.
    pub fn set_quota(&self, caller: &Caller, name: &str, quota: Quota, why: &Why) -> Result<Store, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "set the quota of a store")?;
        let store = Store { quota, ..self.store(name)? };
        change.put(Kind::Store, name, &store)?;
        self.commit_stores(change, caller, why, "set quota")?;
        Ok(store)
    }

    /// Deletes a store: from the returned state on nobody can use it. Then its relationships are deleted, which a crash may
    /// leave to be done again by the same call.
    ///
    /// # Errors
    /// As [`Identity::set_quota`].
    pub fn delete_store(&self, caller: &Caller, name: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "delete a store")?;
        let kept = self.system().document::<Store>(Kind::Store, name);
        let store = match kept {
            Ok(Some(store)) if store.deleted => store,
            _ => self.store(name)?,
        };
        let metadata = why.metadata("delete store")?;
        let inside = Call { store: StoreId(store.id), caller: Caller::on_behalf_of(caller), ..Call::new("") };
        let schema = self.schema_of(&inside)?;
        if let Some(schema) = &schema {
            justification::check_deletion(schema, &RelationshipFilter::default(), metadata.as_deref())?;
        }
        change.put(Kind::Store, name, &Store { deleted: true, ..store.clone() })?;
        let at = self.commit_stores(change, caller, why, "delete store")?;
        for definition in schema.iter().flat_map(Schema::definitions) {
            let resource_type = Some(parsed(definition.name.as_str())?);
            let filter = RelationshipFilter { resource_type, ..RelationshipFilter::default() };
            let request = DeleteRequest { filter, metadata: metadata.clone(), ..DeleteRequest::default() };
            self.system().authorizer().delete(&inside, &request)?;
        }
        Ok(at)
    }

    /// The schema of the store of a call; `None` for one that never had any, and has nothing in it.
    pub(super) fn schema_of(&self, inside: &Call) -> Result<Option<Schema>, Error> {
        let text = match self.system().authorizer().read_schema(inside) {
            Ok((_, text)) => text,
            Err(Error::NoSchema) => return Ok(None),
            Err(error) => return Err(error),
        };
        let compiled = Schema::compile(&text, &CompileOptions::default());
        compiled.map(Some).map_err(|errors| Error::Internal(format!("the schema of a store: {errors:?}")))
    }

    /// All stores, by name.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server.
    pub fn list_stores(&self, caller: &Caller) -> Result<Vec<Named>, Error> {
        self.require_administrator(caller, "list stores")?;
        let catalog = self.system().catalog();
        let named =
            catalog.stores().map(|(name, store)| Named { name: name.to_string(), store: Some((**store).clone()) });
        let mut found: Vec<_> = named.collect();
        found.push(Named { name: DEFAULT_STORE.to_owned(), store: None });
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// What is kept about a store that there is.
    fn store(&self, name: &str) -> Result<Store, Error> {
        if name == DEFAULT_STORE {
            return Err(Error::Refused("the default store has no quota, and is always there".to_owned()));
        }
        valid_id(name)?;
        let store = self.system().document::<Store>(Kind::Store, name)?.filter(|store| !store.deleted);
        store.ok_or_else(|| Error::NoSuch(format!("store `{name}`")))
    }

    fn commit_stores(&self, mut change: Change<'_>, caller: &Caller, why: &Why, what: &str) -> Result<ZedToken, Error> {
        let at = change.commit(caller, why.metadata(what)?)?;
        // Reading them anew waits until nobody changes anything.
        drop(change);
        self.system().read_catalog()?;
        Ok(at)
    }
}

/// Refuses what is no name of a store: letters, digits, `-` and `_`, a letter first.
fn check_name(name: &str) -> Result<(), Error> {
    let is_name = name.len() <= STORE_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if is_name {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a store's name has 1 to {STORE_NAME_BYTES_MAX} small letters, digits, `-` and `_`, and begins with a letter"
    )))
}
