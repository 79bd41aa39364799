//! Watching: what changes about the relationships that hold, revision by revision, as the log has it. `docs/watch.md` says what
//! is promised.
//!
//! A [`Watch`] holds its place and one message under way, nothing more: whoever reads slowly finds the rest in the log.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stonetown_schema::Schema;
use stonetown_storage::read::{ReadPosition, read};
use stonetown_storage::{Settled, Snapshot, SnapshotError};
use stonetown_tuple::{
    Consistency, InstanceId, ObjectType, Operation, Relationship, RelationshipFilter, RelationshipUpdate, Revision,
    Timestamp, ZedToken,
};

use crate::admission::Weight;
use crate::follow::{LogFollower, Step};
use crate::gate::{Act, enumerating};
use crate::limits::encoded_bytes;
use crate::places::{Place, Places, PlacesMax};
use crate::recording::{Asked, Recording};
use crate::write::check_filter;
use crate::{Authorizer, Call, Error};

/// Most updates in one message. A write of the usual size fits, so that its revision is one message.
const UPDATES_PER_MESSAGE: usize = 1_024;
/// Bytes of updates in one message, roughly: well below what clients take.
const BYTES_PER_MESSAGE: usize = 2 << 20;
/// Revisions that are looked at before a call returns, whether or not they say anything to this watch.
const STEPS_PER_CALL: usize = 1_000;

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchRequest {
    /// Where to begin.
    pub start: WatchStart,
    /// Resource types of the relationships to hear of; none for all.
    pub object_types: Vec<ObjectType>,
    /// Relationships to hear of: those that match any filter; none for all.
    pub filters: Vec<RelationshipFilter>,
    /// Whether to hear of new schemas.
    pub schema: bool,
    /// Whether to hear how far the watch is when nothing else says so.
    pub checkpoints: bool,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WatchStart {
    /// With what is committed from now on.
    #[default]
    Head,
    /// With what was committed after a token.
    After(ZedToken),
    /// With everything that holds now, as touches, and then what is committed.
    Everything,
}

/// One message of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchMessage {
    /// What changed, in order; only touches and deletes.
    pub updates: Vec<RelationshipUpdate>,
    /// Where a later watch goes on without loss: after this revision. Part of a larger revision has the one before, and part
    /// of everything that holds has none, as nothing can go on there.
    pub through: Option<ZedToken>,
    /// The transaction metadata as a JSON object, where given.
    pub metadata: Option<String>,
    /// Whether the revision wrote a schema.
    pub schema_updated: bool,
    /// Whether all that it says is how far the watch is.
    pub checkpoint: bool,
}

/// What [`Watch::poll`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// A message.
    Message(WatchMessage),
    /// Nothing yet: call again.
    More,
    /// Nothing until something is committed.
    CaughtUp,
}

/// A watch under way. A caller who loses the power to see what it shows is refused from then on.
pub struct Watch {
    call: Call,
    follower: LogFollower,
    instance: InstanceId,
    filters: Vec<RelationshipFilter>,
    schema: bool,
    checkpoints: bool,
    /// What is left of everything that held at the start.
    everything: Option<Everything>,
    ready: VecDeque<WatchMessage>,
    checkpointed: Revision,
    /// Whether a part of the revision under way was told.
    told: bool,
    place: Place,
    shared: Arc<Shared>,
}

/// The relationships that hold at the start of a watch, being read.
struct Everything {
    snapshot: Arc<dyn Snapshot>,
    now: Timestamp,
    /// Which filter is being read.
    filter: usize,
    after: Option<ReadPosition>,
}

impl Authorizer {
    /// Begins a watch.
    ///
    /// # Errors
    /// [`Error::WatchDisabled`], [`Error::TooManyStreams`], [`Error::SnapshotExpired`] when the log no longer reaches back to
    /// the start, those of tokens that are not one's own or of the future, and those of filters that the schema refuses.
    pub fn watch(&self, call: &Call, request: &WatchRequest) -> Result<Watch, Error> {
        // What is handed out is what the log of changes has: that a watch begins, and of what, is enough.
        let asked = match (&request.filters[..], &request.object_types[..]) {
            ([filter], _) => Asked::of("watch").filter(filter),
            (_, [object_type]) => Asked::of("watch").relationships_of(object_type.as_str()),
            _ => Asked::of("watch").relationships_of(""),
        };
        self.recorded(call, asked, |recording| self.begin_watch(call, request, recording))
    }

    fn begin_watch(&self, call: &Call, request: &WatchRequest, recording: &mut Recording<'_>) -> Result<Watch, Error> {
        if self.options.watch_disabled {
            return Err(Error::WatchDisabled);
        }
        drop(self.admit(call, Weight::Heavy, &acts(&request.object_types, &request.filters, request.schema))?);
        let world = self.world(call, Consistency::FullyConsistent)?;
        recording.see(&world);
        let filters = filters(world.schema(), request)?;
        let (after, everything) = match request.start {
            WatchStart::Head => (world.token.revision, None),
            WatchStart::After(token) => (self.after(token)?, None),
            WatchStart::Everything => {
                let Settled { revision, time } = match self.settle() {
                    // Where nothing is written, what has passed and is not in the log may be told again.
                    Err(Error::ReadOnly(_)) => Settled { revision: self.datastore.head(), time: self.clock.now() },
                    settled => settled?,
                };
                let snapshot = self.datastore.snapshot(call.store, revision)?;
                (revision, Some(Everything { now: time, snapshot, filter: 0, after: None }))
            }
        };
        let limits = &self.options.limits;
        let max = PlacesMax {
            per_caller: ("watchers_per_caller_max", limits.watchers_per_caller_max),
            all: ("watchers_max", limits.watchers_max),
        };
        let place = self.watchers.places.enter(&call.caller, after, max)?;
        Ok(Watch {
            call: Call { notes: None, ..call.clone() },
            follower: self.follow(call.store, after),
            instance: self.datastore.instance(),
            filters,
            schema: request.schema,
            checkpoints: request.checkpoints,
            everything,
            ready: VecDeque::new(),
            checkpointed: Revision::default(),
            told: false,
            place,
            shared: Arc::clone(&self.watchers.shared),
        })
    }

    /// Watches under way.
    #[must_use]
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// The revision of a token, from which the log still has to go on.
    fn after(&self, token: ZedToken) -> Result<Revision, Error> {
        if token.instance != self.datastore.instance() {
            return Err(Error::ForeignToken);
        }
        let head = self.datastore.head();
        if token.revision > head {
            return Err(Error::FutureToken { asked: token.revision, head });
        }
        match self.datastore.log_piece(token.revision.next(), 0) {
            Err(SnapshotError::Expired { floor, .. }) => Err(Error::SnapshotExpired { asked: token.revision, floor }),
            other => Ok(other.map(|_| token.revision)?),
        }
    }
}

/// What a watch shows: relationships of the types it names, or of all, and when the schema changes.
fn acts<'a>(types: &'a [ObjectType], filters: &'a [RelationshipFilter], schema: bool) -> Vec<Act<'a>> {
    let types = types.iter().map(|object_type| Act::Enumerate(Some(object_type.as_ref())));
    let mut acts: Vec<_> = types.chain(filters.iter().map(enumerating)).collect();
    if acts.is_empty() {
        acts.push(Act::Enumerate(None));
    }
    if schema {
        acts.push(Act::ReadSchema);
    }
    acts
}

/// The filters of a request as one list.
fn filters(schema: &Schema, request: &WatchRequest) -> Result<Vec<RelationshipFilter>, Error> {
    if !request.object_types.is_empty() && !request.filters.is_empty() {
        let filter = request.object_types.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        return Err(Error::InvalidFilter { message: "object types and filters cannot both be set".to_owned(), filter });
    }
    let of_type = |object_type: &ObjectType| RelationshipFilter {
        resource_type: Some(object_type.clone()),
        ..RelationshipFilter::default()
    };
    let filters: Vec<_> = request.object_types.iter().map(of_type).chain(request.filters.iter().cloned()).collect();
    filters.iter().try_for_each(|filter| check_filter(schema, filter))?;
    Ok(filters)
}

impl Watch {
    /// How far it is: everything up to this revision has been handed out, or said nothing to this watch.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.follower.position()
    }

    /// What comes next. Reads the disk for a bounded time, never waits for a commit.
    ///
    /// # Errors
    /// [`Error::SnapshotExpired`] when the log was cut before this watch had read it, [`Error::Denied`] when its caller may no
    /// longer see what it shows, and those of storage.
    pub fn poll(&mut self, authorizer: &Authorizer) -> Result<Watched, Error> {
        let acts = acts(&[], &self.filters, self.schema);
        acts.into_iter().try_for_each(|act| authorizer.judge(&self.call, act))?;
        if self.everything.is_some() {
            return self.next_of_everything().map(Watched::Message);
        }
        for _ in 0..STEPS_PER_CALL {
            if let Some(message) = self.ready.pop_front() {
                self.count(message.updates.len());
                return Ok(Watched::Message(message));
            }
            let before = self.follower.position();
            let Some(step) = self.follower.next_step()? else { return Ok(self.caught_up()) };
            self.take(before, step);
            self.place.reach(self.follower.position());
        }
        Ok(Watched::More)
    }

    /// How far it is, as a message; `None` where that was not asked for, or where nothing can go on yet.
    #[must_use]
    pub fn checkpoint(&mut self) -> Option<WatchMessage> {
        if !self.checkpoints || self.everything.is_some() || !self.ready.is_empty() {
            return None;
        }
        self.checkpointed = self.follower.position();
        Some(WatchMessage { checkpoint: true, ..self.message(Vec::new(), self.checkpointed) })
    }

    fn caught_up(&mut self) -> Watched {
        let progress = self.follower.position() > self.checkpointed;
        match self.checkpoint().filter(|_| progress) {
            Some(message) => Watched::Message(message),
            None => Watched::CaughtUp,
        }
    }

    fn message(&self, updates: Vec<RelationshipUpdate>, through: Revision) -> WatchMessage {
        WatchMessage {
            updates,
            through: Some(ZedToken { instance: self.instance, revision: through }),
            metadata: None,
            schema_updated: false,
            checkpoint: false,
        }
    }

    fn count(&self, updates: usize) {
        self.shared.events.fetch_add(updates as u64, Ordering::Relaxed);
    }

    fn is_watched(&self, relationship: &Relationship) -> bool {
        match &self.filters[..] {
            [] => RelationshipFilter::default().matches(relationship),
            filters => filters.iter().any(|filter| filter.matches(relationship)),
        }
    }

    /// Makes messages of a step: only the last of a revision says that it is complete.
    fn take(&mut self, before: Revision, step: Step) {
        let Step { revision, changes, metadata, schema_changed, last, .. } = step;
        let mut updates = Vec::new();
        let mut bytes = 0;
        for change in changes {
            if !self.is_watched(&change.relationship) {
                continue;
            }
            bytes += size(&change.relationship);
            if updates.len() >= UPDATES_PER_MESSAGE || bytes > BYTES_PER_MESSAGE && !updates.is_empty() {
                let part = self.message(std::mem::take(&mut updates), before);
                self.ready.push_back(WatchMessage { metadata: metadata.clone(), ..part });
                bytes = size(&change.relationship);
            }
            updates.push(RelationshipUpdate { operation: change.operation(), relationship: change.relationship });
        }
        self.told |= !updates.is_empty() || !self.ready.is_empty();
        // Of a revision that came in parts the end is told, though nothing is left for it.
        let ends = last && std::mem::take(&mut self.told);
        if !updates.is_empty() || ends {
            let through = if last { revision } else { before };
            let message = self.message(updates, through);
            self.ready.push_back(WatchMessage { metadata, ..message });
        }
        if last && schema_changed && self.schema {
            let message = self.message(Vec::new(), revision);
            self.ready.push_back(WatchMessage { schema_updated: true, ..message });
        }
    }

    /// The next part of everything that held at the start; the last part says where the log goes on.
    fn next_of_everything(&mut self) -> Result<WatchMessage, Error> {
        let mut updates: Vec<RelationshipUpdate> = Vec::new();
        let mut bytes = 0;
        let all = [RelationshipFilter::default()];
        let filters = if self.filters.is_empty() { &all[..] } else { &self.filters };
        let through = self.follower.position();
        let mut full = false;
        if let Some(everything) = &mut self.everything {
            while let (Some(filter), false) = (filters.get(everything.filter), full) {
                let earlier = &filters[..everything.filter];
                let mut after = everything.after;
                read(&*everything.snapshot, filter, everything.now, after, &mut |position, relationship, _| {
                    if earlier.iter().any(|earlier| earlier.matches(&relationship)) {
                        return ControlFlow::Continue(());
                    }
                    let more = size(&relationship);
                    full = updates.len() >= UPDATES_PER_MESSAGE || bytes + more > BYTES_PER_MESSAGE && bytes > 0;
                    if full {
                        return ControlFlow::Break(());
                    }
                    bytes += more;
                    after = Some(position);
                    updates.push(RelationshipUpdate { operation: Operation::Touch, relationship });
                    ControlFlow::Continue(())
                })?;
                everything.after = after;
                if !full {
                    everything.filter += 1;
                    everything.after = None;
                }
            }
        }
        self.count(updates.len());
        let message = self.message(updates, through);
        if full {
            return Ok(WatchMessage { through: None, ..message });
        }
        self.everything = None;
        Ok(message)
    }
}

/// Roughly how many bytes a relationship takes on the wire.
fn size(relationship: &Relationship) -> usize {
    /// Tags, lengths and times.
    const FRAME: usize = 64;
    let Relationship { resource, relation, subject, caveat, .. } = relationship;
    let names = resource.object_type.as_str().len()
        + resource.object_id.as_str().len()
        + relation.as_str().len()
        + subject.object_type().as_str().len()
        + subject.object_id().as_str().len();
    FRAME + names + caveat.as_ref().map_or(0, |caveat| caveat.name.as_str().len() + encoded_bytes(&caveat.context))
}

/// Watches under way, bounded for each caller and together.
#[derive(Default)]
pub struct Watchers {
    places: Places,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    events: AtomicU64,
    disconnected: AtomicU64,
}

/// Watches under way, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// How many there are.
    pub watchers: u64,
    /// Updates handed out so far, to all of them.
    pub events: u64,
    /// Watches ended because nobody read them.
    pub disconnected: u64,
    /// The revision that the slowest has reached.
    pub slowest: Option<Revision>,
}

impl Watchers {
    /// The state of all watches.
    #[must_use]
    pub fn stats(&self) -> WatchStats {
        let (watchers, slowest) = self.places.stats();
        WatchStats {
            watchers,
            events: self.shared.events.load(Ordering::Relaxed),
            disconnected: self.shared.disconnected.load(Ordering::Relaxed),
            slowest,
        }
    }

    /// Counts a watch that was ended because nobody read it.
    pub fn count_disconnected(&self) {
        self.shared.disconnected.fetch_add(1, Ordering::Relaxed);
    }
}
