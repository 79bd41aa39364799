//! Garbage collection, by looking at everything.

use std::collections::BTreeSet;

use stonetown_tuple::{Revision, StoreId};

use super::state::{Names, State, Store};
use crate::transaction::RequestId;
use crate::{Collected, Ordinal, TypeId};

/// An object of a store.
type Mention = (StoreId, TypeId, Ordinal);

impl State {
    pub(super) fn collect_garbage(&mut self, floor: Revision, log_floor: Revision, limit: usize) -> Collected {
        self.floor = floor.clamp(self.floor, self.head);
        self.log_floor = log_floor.clamp(self.log_floor, self.head);
        self.log = self.log.split_off(&self.log_floor.next());
        // What an open snapshot can see stays, even behind the floor.
        let oldest = self.pins.first_key_value().map_or(self.floor, |(pinned, _)| self.floor.min(*pinned));
        let mut left = limit;
        for store in self.stores.values_mut() {
            store.drop_versions(oldest, &mut left);
        }
        let more = left == 0;
        let names = if more { 0 } else { self.drop_names() };
        self.drop_records(oldest);
        Collected { versions: (limit - left) as u64, names, more }
    }

    fn drop_names(&mut self) -> u64 {
        let mentioned = self.mentioned();
        let mut dropped = 0;
        for (store_id, store) in &mut self.stores {
            for (object_type, names) in &mut store.names {
                let is_dead = |ordinal: &&Ordinal| !mentioned.contains(&(*store_id, *object_type, **ordinal));
                let dead: Vec<Ordinal> = names.by_ordinal.keys().filter(is_dead).copied().collect();
                dropped += dead.len() as u64;
                dead.into_iter().for_each(|ordinal| names.forget(ordinal));
            }
        }
        dropped
    }

    /// The objects that a version or an entry of the log mentions.
    fn mentioned(&self) -> BTreeSet<Mention> {
        let edges = self
            .stores
            .iter()
            .flat_map(|(store, data)| data.edges.keys().map(|key| (*store, key.table, key.resource, key.subject)));
        let log = self.log.values().flat_map(|entry| {
            entry.changes.iter().map(|change| (entry.store, change.table, change.resource, change.subject))
        });
        let mut mentioned = BTreeSet::new();
        for (store, table, resource, subject) in edges.chain(log) {
            let tables = self.stores.get(&store).map(|data| &data.catalogue.tables);
            if let Some(table) = tables.and_then(|tables| tables.iter().find(|candidate| candidate.id == table)) {
                mentioned.insert((store, table.resource_type, resource));
                mentioned.insert((store, table.subject_type, subject));
            }
        }
        mentioned
    }

    /// Drops transactions, times and answered requests that nobody can ask for any more.
    fn drop_records(&mut self, oldest: Revision) {
        let needed: BTreeSet<Revision> = self
            .stores
            .values()
            .flat_map(|store| store.edges.values())
            .flat_map(|versions| versions.iter().filter(|(_, state)| state.is_some()).map(|(revision, _)| *revision))
            .collect();
        self.provenance.retain(|revision, _| *revision > oldest || needed.contains(revision));
        self.times.retain(|revision, _| *revision >= oldest);
        if let Some((_, now)) = self.times.last_key_value() {
            self.requests.retain(|_, answered| !RequestId::is_forgotten(answered.time, *now));
        }
    }
}

impl Store {
    /// Drops versions and schemas that no revision from `oldest` on can see.
    fn drop_versions(&mut self, oldest: Revision, left: &mut usize) {
        let Store { edges, reverse, schemas, .. } = self;
        edges.retain(|key, versions| {
            let Some(newest) = versions.range(..=oldest).next_back().map(|(revision, _)| *revision) else {
                return true;
            };
            while *left > 0 && versions.first_key_value().is_some_and(|(revision, _)| *revision < newest) {
                versions.pop_first();
                *left -= 1;
            }
            // An end goes only once nothing is left below it that it hides.
            if *left > 0
                && versions.first_key_value().is_some_and(|(revision, state)| *revision == newest && state.is_none())
            {
                versions.pop_first();
                *left -= 1;
            }
            if versions.is_empty() {
                reverse.remove(&key.reversed());
            }
            !versions.is_empty()
        });
        if let Some(newest) = schemas.range(..=oldest).next_back().map(|(revision, _)| *revision) {
            *schemas = schemas.split_off(&newest);
        }
    }
}

impl Names {
    /// Removes an object; its ordinal is not given out again.
    pub(super) fn forget(&mut self, ordinal: Ordinal) {
        if let Some(id) = self.by_ordinal.remove(&ordinal) {
            self.by_id.remove(&id);
        }
    }
}
