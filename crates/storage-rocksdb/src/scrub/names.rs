//! Names of objects: each ordinal has its id, each id its ordinal, none beyond the last that was given out.

use rustc_hash::FxHashMap;
use stonetown_storage::{DifferenceKind, Ordinal, StorageError, TypeId};
use stonetown_tuple::StoreId;

use super::Scrub;
use crate::keys::{self, Kind};
use crate::names::read_ordinal;

impl Scrub<'_, '_> {
    /// Names in both ways, and what goes with them.
    pub(super) fn names(&mut self) -> Result<(), StorageError> {
        let mut last: FxHashMap<(StoreId, TypeId), Ordinal> = FxHashMap::default();
        self.each(Kind::LastOrdinal, |scrub, key, value| {
            match (keys::read_numbered(key), read_ordinal(value)) {
                (Some((store, object_type)), Ok(ordinal)) => {
                    last.insert((store, TypeId(object_type)), ordinal);
                }
                _ => scrub.unreadable_key("a last ordinal", key),
            }
            Ok(())
        })?;
        self.each(Kind::Ordinal, |scrub, key, value| {
            match (keys::read_ordinal_key(key), read_ordinal(value)) {
                (Some((store, object_type, id)), Ok(ordinal)) => {
                    scrub.sums.names.0.add(&[&keys::object_id(store, object_type, ordinal), id.as_bytes()]);
                }
                _ => scrub.unreadable_key("an object's ordinal", key),
            }
            Ok(())
        })?;
        self.each(Kind::ObjectId, |scrub, key, value| {
            scrub.report.names += 1;
            scrub.sums.names.1.add(&[key, value]);
            let Some((store, object_type, ordinal)) = keys::read_object(key) else {
                scrub.unreadable_key("an object's id", key);
                return Ok(());
            };
            if !scrub.types.contains_key(&(store, object_type)) {
                let what =
                    format!("store {store}: object {} is of type {}, which has no name", ordinal.0, object_type.0);
                scrub.differ(DifferenceKind::Names, what);
            }
            let last = last.get(&(store, object_type)).copied().unwrap_or(Ordinal(0));
            if ordinal == Ordinal::WILDCARD || ordinal > last {
                let what = format!(
                    "store {store}, type {}: object {} was never given out, the last is {}",
                    object_type.0, ordinal.0, last.0
                );
                scrub.differ(DifferenceKind::Names, what);
            }
            Ok(())
        })?;
        self.each(Kind::Suspect, |scrub, key, _| {
            if keys::read_object(key).is_none() {
                scrub.unreadable_key("a suspect", key);
            }
            Ok(())
        })
    }

    /// Finds the names that do not lead back.
    pub(super) fn compare_names(&mut self) -> Result<(), StorageError> {
        if self.sums.names.0 == self.sums.names.1 {
            return Ok(());
        }
        self.each(Kind::Ordinal, |scrub, key, value| {
            let (Some((store, object_type, id)), Ok(ordinal)) = (keys::read_ordinal_key(key), read_ordinal(value))
            else {
                return Ok(());
            };
            let back = scrub.object(store, object_type, ordinal)?;
            if back.as_deref() != Some(id) {
                let what = format!(
                    "store {store}, type {}: `{id}` is object {}, but that object is {}",
                    object_type.0,
                    ordinal.0,
                    back.map_or("without a name".to_owned(), |back| format!("`{back}`")),
                );
                scrub.differ(DifferenceKind::Names, what);
            }
            Ok(())
        })?;
        self.each(Kind::ObjectId, |scrub, key, value| {
            let (Some((store, object_type, ordinal)), Ok(id)) = (keys::read_object(key), std::str::from_utf8(value))
            else {
                return Ok(());
            };
            let back = scrub.frozen.get(&keys::ordinal(store, object_type, id))?;
            let back = back.and_then(|bytes| read_ordinal(&bytes).ok());
            if back != Some(ordinal) {
                let what = format!(
                    "store {store}, type {}: object {} is `{id}`, but that name is {}",
                    object_type.0,
                    ordinal.0,
                    back.map_or("nobody's".to_owned(), |back| format!("object {}'s", back.0)),
                );
                scrub.differ(DifferenceKind::Names, what);
            }
            Ok(())
        })
    }
}
