//! What the log alone says: which access grants gave, from when, until when, and who did what about which grant.

use std::collections::BTreeMap;

use stonetown_storage::LogEntry;
use stonetown_tuple::{Revision, Source, StoreId, Timestamp};

use super::World;

/// Access as the log has it.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) cluster: String,
    pub(crate) agent: String,
    pub(crate) begins: Timestamp,
    pub(crate) ends: Timestamp,
}

/// What somebody did about a grant.
pub(crate) struct Deed {
    pub(crate) grant: String,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

#[derive(Default)]
pub(crate) struct History {
    /// By grant.
    pub(crate) access: BTreeMap<String, Access>,
    pub(crate) deeds: Vec<Deed>,
}

impl History {
    /// Reads the whole log. What gives access without naming its grant, its template and who gave it has no place in it.
    pub(crate) fn read(world: &World) -> History {
        let (mut history, mut grants) = (History::default(), BTreeMap::new());
        let (mut after, head) = (Revision(0), world.datastore.head());
        while after < head {
            for entry in world.datastore.log(after, 1_000).unwrap() {
                after = entry.revision;
                history.take(world, &entry, &mut grants);
            }
        }
        history
    }

    fn take(&mut self, world: &World, entry: &LogEntry, grants: &mut BTreeMap<Source, String>) {
        let provenance = &entry.provenance;
        let metadata = provenance.metadata.as_deref().unwrap_or("{}");
        let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
        let said = |name: &str| metadata[name].as_str().filter(|value| !value.is_empty());
        if entry.store == StoreId::SYSTEM {
            if let (Some(grant), Some(by)) = (said("stonetown.grant"), &provenance.actor) {
                self.deeds.push(Deed { grant: grant.to_owned(), by: by.clone(), at: provenance.time });
            }
            return;
        }
        for change in entry.changes.iter().filter(|change| change.source != Source::STANDING) {
            let known = grants.get(&change.source).map(|id| (id, self.access.get_mut(id).unwrap()));
            match (said("stonetown.grant"), &change.state, known) {
                (Some(id), Some(state), None) => {
                    assert!(provenance.actor.is_some(), "nobody gave what {id} gives");
                    assert!(said("stonetown.template").is_some(), "nothing says what {id} was given by");
                    assert_eq!(said("stonetown.state"), Some("approved"), "{id} gives access");
                    grants.insert(change.source, id.to_owned());
                    let snapshot = world.datastore.snapshot(StoreId::DEFAULT, world.datastore.head()).unwrap();
                    let name = |of: &str, ordinal| {
                        snapshot.object_id(snapshot.type_id(of).unwrap(), ordinal).unwrap().to_string()
                    };
                    let access = Access {
                        cluster: name("cluster", change.resource),
                        agent: name("agent", change.subject),
                        begins: state.not_before.unwrap_or(provenance.time),
                        ends: state.expires_at.expect("a grant without an end"),
                    };
                    self.access.insert(id.to_owned(), access);
                }
                (Some(id), Some(state), Some((of, access))) => {
                    assert_eq!(id, of, "a grant changes the relationships of another");
                    assert!(state.expires_at.is_some_and(|end| end <= provenance.time), "{id} gives access twice");
                    access.end(provenance.time);
                }
                (None, None, Some((_, access))) => access.end(provenance.time),
                // That it has begun, or ended, by the passing of time.
                (None, Some(state), Some((_, access))) => {
                    assert!(state.expires_at.is_some_and(|end| end <= provenance.time || end == access.ends));
                }
                (id, state, _) => panic!("{id:?} at {}: {state:?}", entry.revision),
            }
        }
    }
}

impl Access {
    fn end(&mut self, at: Timestamp) {
        self.ends = self.ends.min(at.max(self.begins));
    }
}
