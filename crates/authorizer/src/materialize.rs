//! Watched permissions as sets: all of them at one revision, and how they change from there on. `docs/materialize.md` says what
//! the sets mean.
//!
//! Nothing is kept between calls. What is in a set follows from a snapshot and a moment, so a change is the difference of two
//! revisions, found by reading again only what the log says can differ ([`stonetown_graph::sets`]). That makes a restart, a
//! reader who pauses and one who comes back later all the same: a place in the log.
//!
//! **The moment of a revision** is the clock of its commit, never earlier than that of a revision before it. So what begins or
//! ends by the passing of time does so at the first revision whose moment lies behind it; [`Authorizer::pass_time`] sees to it
//! that there is one.
//!
//! Reading order: [`follow`], [`lookup`], [`keeper`].

pub mod expiring;
pub mod follow;
pub mod keeper;
pub mod lookup;

mod memory;

use std::sync::Arc;

use stonetown_graph::sets::{Child, Form, Kind, Name, Reader, Sets};
use stonetown_graph::{Evaluation, Given, Limits as GraphLimits};
use stonetown_storage::{Ordinal, SnapshotError};
use stonetown_tuple::{
    CaveatContext, ObjectId, ObjectRef, ObjectType, RelationName, Revision, StoreId, SubjectId, SubjectRef, Timestamp,
    ZedToken,
};

pub use follow::{Event, Follower, Progress, Start};
pub use keeper::{Keeper, SetsStats};
pub use lookup::{LookupSetsRequest, Position};
pub use stonetown_graph::sets::{Certainty, Place, Watched};

use crate::places::Places;
use crate::world::World;
use crate::{Act, Authorizer, Call, Error};

/// A revision with the moment at which it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The revision.
    pub revision: Revision,
    /// What has begun and ended by then.
    pub now: Timestamp,
}

/// A set: a relation or permission of one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetRef {
    /// The object.
    pub object: ObjectRef,
    /// The relation or permission.
    pub relation: RelationName,
}

/// A child of a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetChild {
    /// A subject: an object, a userset, or `*` for every object of its type.
    Member(SubjectRef),
    /// Everything that is in another set.
    Set(SetRef),
}

/// Those who follow sets, bounded for each caller and together.
pub struct Following {
    places: Places,
    memory: memory::Memory,
    /// What is known of the sets themselves.
    pub stats: SetsStats,
}

impl Following {
    pub(crate) fn new(bytes_max: u64) -> Following {
        Following { places: Places::default(), memory: memory::Memory::new(bytes_max), stats: SetsStats::default() }
    }

    /// How many streams of changes there are, and the revision that the slowest has reached.
    #[must_use]
    pub fn streams(&self) -> (u64, Option<Revision>) {
        self.places.stats()
    }

    /// Bytes that all who follow hold together; [`crate::Limits::sets_bytes_max`] bounds them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.memory.held_bytes()
    }
}

/// Entries of the log that are looked at for the moment of a revision: more than can overtake each other between reading the
/// clock and being committed.
const OVERTAKING_MAX: u64 = 32;

/// What sets are read from.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) sets: Sets,
    context: CaveatContext,
}

impl Scene {
    pub(crate) fn evaluation<'a>(&'a self, call: &'a Call, limits: &'a GraphLimits) -> Evaluation<'a> {
        // Sets outlive the call: what depends on its time, on its caller or on attributes is in doubt.
        self.world.surroundings(call, Given::Nothing, &self.context, None, limits)
    }
}

impl Authorizer {
    /// The permissions that are materialized: those that the settings name.
    #[must_use]
    pub fn materialized(&self) -> &[Watched] {
        &self.options.materialize
    }

    /// What it takes to see the members of some of the materialized permissions.
    pub(crate) fn enumerating_all(permissions: &[Watched]) -> Vec<Act<'_>> {
        if permissions.is_empty() {
            return vec![Act::Enumerate(None)];
        }
        permissions.iter().map(|permission| Act::Enumerate(Some(permission.resource_type.as_ref()))).collect()
    }

    /// Refuses calls about sets where no permission is materialized, or not this one.
    pub(crate) fn check_materialized(&self, store: StoreId, permissions: &[Watched]) -> Result<(), Error> {
        let named = &self.options.materialize;
        // The settings name permissions of the default store.
        if named.is_empty() || store != StoreId::DEFAULT {
            return Err(Error::NotMaterialized(None));
        }
        match permissions.iter().find(|permission| !named.contains(permission)) {
            Some(other) => Err(Error::NotMaterialized(Some(Box::new(other.clone())))),
            None => Ok(()),
        }
    }

    /// The moment of a revision; `None` when the log does not reach back to it.
    pub(crate) fn moment(&self, revision: Revision) -> Result<Option<Moment>, Error> {
        let mut now = None;
        for earlier in 0..OVERTAKING_MAX.min(revision.0) {
            match self.datastore.log_piece(Revision(revision.0 - earlier), 0) {
                Ok(Some(piece)) => now = now.max(Some(piece.provenance.time)),
                Ok(None) | Err(SnapshotError::Expired { .. }) if earlier == 0 => return Ok(None),
                Ok(None) | Err(SnapshotError::Expired { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(now.map(|now| Moment { revision, now }))
    }

    /// The moment of the newest revision.
    pub(crate) fn newest_moment(&self, store: StoreId) -> Result<Moment, Error> {
        for _ in 0..=self.options.limits.write_retries_max {
            if let Some(moment) = self.moment(self.datastore.head())? {
                return Ok(moment);
            }
            // Nothing was written for as long as the log is kept.
            self.make_moment(store)?;
        }
        Err(Error::Serialization)
    }

    /// Makes a revision that changes nothing but the moment.
    pub(crate) fn make_moment(&self, store: StoreId) -> Result<(), Error> {
        self.datastore.commit(stonetown_storage::Transaction::new(store, self.clock.now()))?;
        Ok(())
    }

    /// The moment that a client's token names, if the log reaches back to it.
    pub(crate) fn moment_of_token(&self, token: ZedToken) -> Result<Option<Moment>, Error> {
        if token.instance != self.datastore.instance() {
            return Err(Error::ForeignToken);
        }
        let head = self.datastore.head();
        if token.revision > head {
            return Err(Error::FutureToken { asked: token.revision, head });
        }
        if token.revision < self.datastore.floor() {
            return Ok(None);
        }
        self.moment(token.revision)
    }

    pub(crate) fn scene(&self, store: StoreId, at: Moment, watched: &[Watched], form: Form) -> Result<Scene, Error> {
        let world = self.world_at(store, at.revision, at.now)?;
        let sets = Sets::compile(&world.plan, watched, form);
        Ok(Scene { world, sets, context: CaveatContext::new() })
    }
}

pub(crate) fn set_ref(
    reader: &Reader<'_>,
    node: stonetown_graph::plan::NodeId,
    object: Ordinal,
) -> Result<SetRef, Error> {
    named_set(reader.set_name(node, object)?)
}

pub(crate) fn set_child(reader: &Reader<'_>, child: Child) -> Result<SetChild, Error> {
    let name = reader.child_name(child)?;
    if let Kind::Set(_) = child.kind {
        return named_set(name).map(SetChild::Set);
    }
    let id = if &*name.id == "*" { SubjectId::Wildcard } else { SubjectId::Object(object_id(&name.id)?) };
    let subject = SubjectRef::new(name.object_type.clone(), id, name.relation.cloned());
    subject.map(SetChild::Member).map_err(|error| Error::Internal(error.to_string()))
}

fn named_set(name: Name<'_>) -> Result<SetRef, Error> {
    let object_type: ObjectType = name.object_type.clone();
    let object = ObjectRef { object_type, object_id: object_id(&name.id)? };
    let relation = name.relation.cloned().ok_or_else(|| Error::Internal("a set without a relation".to_owned()))?;
    Ok(SetRef { object, relation })
}

fn object_id(id: &Arc<str>) -> Result<ObjectId, Error> {
    ObjectId::new(id.to_string()).map_err(|error| Error::Internal(error.to_string()))
}
