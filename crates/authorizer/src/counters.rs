//! Relationship counters: how many relationships match a filter, kept rather than recounted.
//!
//! A counter starts from a count of a snapshot, taken once, and from then on adds and takes away what the log says begins
//! and ends ([`crate::follow`]). It is exact at every revision: what has expired is not counted from the revision on that says
//! so, and a question has the log told first of what has passed by then. The counters of a store, with their last count, are
//! kept in the datastore, so that a restart goes on from there.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stonetown_storage::read::read;
use stonetown_storage::{Effect, Settled};
use stonetown_tuple::{
    Consistency, RelationName, RelationshipFilter, Revision, StoreId, SubjectFilter, SubjectId, SubjectRelationFilter,
    ZedToken,
};

use crate::admission::Weight;
use crate::follow::LogFollower;
use crate::gate::{Act, enumerating};
use crate::recording::{Asked, Recording};
use crate::write::check_filter;
use crate::{Authorizer, Call, Error};

/// Under which name the datastore keeps the counters of a store.
const KEPT_AS: &str = "counters";
/// The counter of all relationships of a store, which no other can be named like.
const ALL: &str = "*";
/// Revisions after which counts are kept anew, so that a restart has not much to catch up with.
const KEEP_EVERY: u64 = 10_000;
/// Steps of the log that are followed before others may have the counters.
const STEPS_AT_ONCE: usize = 1_000;

/// What a counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Its first count is not finished yet.
    StillCalculating,
    /// So many relationships match.
    Value {
        /// How many.
        relationships: u64,
        /// At which revision, never older than the question.
        at: ZedToken,
    },
}

impl Authorizer {
    /// Registers a counter. Its first count is made by [`Authorizer::advance_counters`].
    ///
    /// # Errors
    /// [`Error::CounterRegistered`], [`Error::TooManyCounters`], and those of filters that the schema refuses.
    pub fn register_counter(&self, call: &Call, name: &RelationName, filter: RelationshipFilter) -> Result<(), Error> {
        let asked = Asked::write("register_counter").filter(&filter);
        self.recorded(call, asked, |recording| self.register(call, name, &filter, recording))
    }

    fn register(
        &self,
        call: &Call,
        name: &RelationName,
        filter: &RelationshipFilter,
        recording: &mut Recording<'_>,
    ) -> Result<(), Error> {
        recording.explain(name.as_str());
        let _permit = self.admit(call, Weight::Light, &[Act::Operate, enumerating(filter)])?;
        let world = self.world(call, Consistency::FullyConsistent)?;
        recording.see(&world);
        check_filter(world.schema(), filter)?;
        let set = self.counters_of(call.store)?;
        let mut set = set.lock();
        if let Some(counter) = set.counters.get(name.as_str()) {
            let filter = Box::new(counter.filter.clone());
            return Err(Error::CounterRegistered { name: name.to_string(), filter });
        }
        let limit = self.options.limits.counters_max;
        if set.counters.keys().filter(|name| *name != ALL).count() >= limit {
            return Err(Error::TooManyCounters { limit });
        }
        set.registered += 1;
        let number = set.registered;
        set.counters.insert(name.to_string(), Counter { number, filter: filter.clone(), counted: None, under_way: 0 });
        let kept = self.keep(&set);
        if kept.is_err() {
            set.counters.remove(name.as_str());
        }
        kept
    }

    /// Takes a counter away.
    ///
    /// # Errors
    /// [`Error::CounterNotRegistered`].
    pub fn unregister_counter(&self, call: &Call, name: &str) -> Result<(), Error> {
        self.recorded(call, Asked::write("unregister_counter"), |recording| {
            recording.explain(name);
            self.unregister(call, name)
        })
    }

    fn unregister(&self, call: &Call, name: &str) -> Result<(), Error> {
        let _permit = self.admit(call, Weight::Light, &[Act::Operate])?;
        let set = self.counters_of(call.store)?;
        let mut set = set.lock();
        let unknown = || Error::CounterNotRegistered { name: name.to_owned() };
        let counter = set.counters.remove(name).ok_or_else(unknown)?;
        let kept = self.keep(&set);
        if kept.is_err() {
            set.counters.insert(name.to_owned(), counter);
        }
        kept
    }

    /// What a counter says now.
    ///
    /// # Errors
    /// [`Error::CounterNotRegistered`], and those of storage.
    pub fn read_counter(&self, call: &Call, name: &str) -> Result<Count, Error> {
        self.recorded(call, Asked::of("read_counter"), |recording| {
            recording.explain(name);
            let count = self.counted(call, name)?;
            if let Count::Value { at, .. } = &count {
                recording.see_revision(at.revision);
            }
            Ok(count)
        })
    }

    fn counted(&self, call: &Call, name: &str) -> Result<Count, Error> {
        let _permit = self.admit(call, Weight::Heavy, &[Act::Operate])?;
        let set = self.counters_of(call.store)?;
        let is_ready = {
            let set = set.lock();
            let unknown = || Error::CounterNotRegistered { name: name.to_owned() };
            set.counters.get(name).ok_or_else(unknown)?.counted.is_some()
        };
        if !is_ready {
            return Ok(Count::StillCalculating);
        }
        while self.pass_time()? {}
        let head = self.datastore.head();
        loop {
            call.check_alive()?;
            let mut set = set.lock();
            self.advance(&mut set)?;
            let counter = set.counters.get(name);
            match counter.ok_or_else(|| Error::CounterNotRegistered { name: name.to_owned() })?.counted {
                None => return Ok(Count::StillCalculating),
                Some(counted) if set.reached >= head => {
                    return Ok(Count::Value { relationships: counted.relationships, at: self.token(set.reached) });
                }
                Some(_) => {}
            }
        }
    }

    /// Makes first counts, and brings all counters of the stores in use nearer to the newest revision; to be called again
    /// and again. Whether there is more to do at once.
    ///
    /// # Errors
    /// Those of storage; the counters stay where they were.
    pub fn advance_counters(&self) -> Result<bool, Error> {
        let mut more = false;
        self.counters_of(StoreId::DEFAULT)?;
        let sets: Vec<_> = self.relationship_counters.sets.lock().values().cloned().collect();
        for set in sets {
            let waiting = set.lock().counters.iter().find_map(|(name, counter)| {
                counter.counted.is_none().then(|| (name.clone(), counter.number, counter.filter.clone()))
            });
            if let Some((name, number, filter)) = waiting {
                self.count_first(&set, &name, number, &filter)?;
                more = true;
            }
            let mut set = set.lock();
            self.advance(&mut set)?;
            more |= !set.counters.is_empty() && set.reached < self.datastore.head();
            if set.reached.0.saturating_sub(set.kept.0) >= KEEP_EVERY {
                self.keep(&set)?;
                set.kept = set.reached;
            }
        }
        Ok(more)
    }

    /// How many counters there are, and how many revisions they are behind.
    #[must_use]
    pub fn counter_stats(&self) -> (u64, u64) {
        let sets = self.relationship_counters.sets.lock();
        let head = self.datastore.head().0;
        sets.values().fold((0, 0), |(number, lag), set| {
            let Some(set) = set.try_lock() else { return (number, lag) };
            let own = if set.counters.is_empty() { 0 } else { head.saturating_sub(set.reached.0) };
            (number + set.counters.len() as u64, lag.max(own))
        })
    }

    /// Counts a snapshot for a counter that has no count, while others are followed and asked.
    fn count_first(
        &self,
        set: &Mutex<CounterSet>,
        name: &str,
        number: u64,
        filter: &RelationshipFilter,
    ) -> Result<(), Error> {
        let Settled { revision, time } = self.settle()?;
        let store = set.lock().store;
        let snapshot = self.datastore.snapshot(store, revision)?;
        let mut relationships = 0;
        read(&*snapshot, filter, time, None, &mut |_, _, _| {
            relationships += 1;
            ControlFlow::Continue(())
        })?;
        let mut set = set.lock();
        // Another of the same name may have come in its place.
        if let Some(counter) = set.counters.get_mut(name).filter(|counter| counter.number == number) {
            counter.counted = Some(Counted { relationships, at: revision });
            // The log is read again from here: those that are further along pass over what they have.
            set.start_over();
            self.keep(&set)?;
        }
        Ok(())
    }

    /// How many relationships a store holds. Counted once, and kept from then on; not over restarts.
    pub(crate) fn relationships_in(&self, store: StoreId) -> Result<u64, Error> {
        let set = self.counters_of(store)?;
        loop {
            let number = {
                let mut set = set.lock();
                if !set.counters.contains_key(ALL) {
                    set.registered += 1;
                    let number = set.registered;
                    let filter = RelationshipFilter::default();
                    set.counters.insert(ALL.to_owned(), Counter { number, filter, counted: None, under_way: 0 });
                }
                self.advance(&mut set)?;
                match set.counters.get(ALL) {
                    Some(Counter { counted: Some(counted), .. }) if set.reached >= self.datastore.head() => {
                        return Ok(counted.relationships);
                    }
                    Some(Counter { counted: None, number, .. }) => *number,
                    _ => continue,
                }
            };
            self.count_first(&set, ALL, number, &RelationshipFilter::default())?;
        }
    }

    /// Follows the log for some steps.
    fn advance(&self, set: &mut CounterSet) -> Result<(), Error> {
        let Some(from) = set.counters.values().filter_map(|counter| Some(counter.counted?.at)).min() else {
            set.reached = self.datastore.head();
            set.start_over();
            return Ok(());
        };
        let store = set.store;
        let follower = set.follower.get_or_insert_with(|| self.follow(store, from));
        for _ in 0..STEPS_AT_ONCE {
            let step = match follower.next_step() {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(Error::SnapshotExpired { .. }) => {
                    // The log has been cut in a long absence: all is counted anew.
                    set.counters.values_mut().for_each(|counter| counter.counted = None);
                    set.start_over();
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for counter in set.counters.values_mut() {
                counter.take(&step);
            }
        }
        set.reached = follower.position();
        Ok(())
    }

    /// The counters of a store, read when they are first asked for.
    fn counters_of(&self, store: StoreId) -> Result<Arc<Mutex<CounterSet>>, Error> {
        let mut sets = self.relationship_counters.sets.lock();
        if let Some(set) = sets.get(&store) {
            return Ok(Arc::clone(set));
        }
        let damaged = |why: String| Error::Internal(format!("the counters that are kept cannot be read: {why}"));
        let kept: Kept = match self.datastore.kept(store, KEPT_AS)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?,
            None => Kept::default(),
        };
        // A restored backup has a history of its own: what was counted in another means nothing in it.
        let is_own = kept.instance == self.datastore.instance().0;
        let mut set = CounterSet { store, ..CounterSet::default() };
        for kept in kept.counters {
            set.registered += 1;
            let number = set.registered;
            let filter = kept.filter.parse().map_err(damaged)?;
            let counted =
                kept.counted.filter(|_| is_own).map(|(at, relationships)| Counted { relationships, at: Revision(at) });
            set.counters.insert(kept.name, Counter { number, filter, counted, under_way: 0 });
        }
        let set = Arc::new(Mutex::new(set));
        sets.insert(store, Arc::clone(&set));
        Ok(set)
    }

    fn keep(&self, set: &CounterSet) -> Result<(), Error> {
        let named = set.counters.iter().filter(|(name, _)| *name != ALL);
        let counters = named.map(|(name, counter)| counter.to_kept(name)).collect();
        let kept = Kept { instance: self.datastore.instance().0, counters };
        let bytes = serde_json::to_vec(&kept).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(self.datastore.keep(set.store, KEPT_AS, Some(bytes))?)
    }
}

/// The counters of all stores in use.
#[derive(Default)]
pub(crate) struct CounterSets {
    sets: Mutex<HashMap<StoreId, Arc<Mutex<CounterSet>>>>,
}

#[derive(Default)]
struct CounterSet {
    store: StoreId,
    counters: BTreeMap<String, Counter>,
    /// Counters registered so far: tells those of one name apart.
    registered: u64,
    follower: Option<LogFollower>,
    /// The revision that all counters with a count have reached.
    reached: Revision,
    /// The revision at which counts were kept last.
    kept: Revision,
}

struct Counter {
    number: u64,
    filter: RelationshipFilter,
    counted: Option<Counted>,
    /// What the parts so far of a large revision add.
    under_way: i64,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    relationships: u64,
    at: Revision,
}

impl CounterSet {
    /// Has the log read again from the count that is furthest behind.
    fn start_over(&mut self) {
        self.follower = None;
        self.counters.values_mut().for_each(|counter| counter.under_way = 0);
    }
}

impl Counter {
    fn take(&mut self, step: &crate::follow::Step) {
        let Some(counted) = self.counted.as_mut().filter(|counted| counted.at < step.revision) else { return };
        for change in step.changes.iter().filter(|change| self.filter.matches(&change.relationship)) {
            self.under_way += match change.effect {
                Effect::Begins => 1,
                Effect::Ends => -1,
                Effect::Continues | Effect::Silent => 0,
            };
        }
        if step.last {
            let relationships = counted.relationships.saturating_add_signed(std::mem::take(&mut self.under_way));
            *counted = Counted { relationships, at: step.revision };
        }
    }

    fn to_kept(&self, name: &str) -> KeptCounter {
        KeptCounter {
            name: name.to_owned(),
            filter: KeptFilter::from(&self.filter),
            counted: self.counted.map(|counted| (counted.at.0, counted.relationships)),
        }
    }
}

/// The counters of a store as they are kept, in JSON; `docs/storage-format.md` lists the fields.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// The history in which was counted.
    instance: u64,
    counters: Vec<KeptCounter>,
}

#[derive(Serialize, Deserialize)]
struct KeptCounter {
    name: String,
    filter: KeptFilter,
    /// Revision and count.
    counted: Option<(u64, u64)>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct KeptFilter {
    resource_type: Option<String>,
    resource_id: Option<String>,
    resource_id_prefix: Option<String>,
    relation: Option<String>,
    subject_type: Option<String>,
    subject_id: Option<String>,
    /// Empty for subjects without a relation.
    subject_relation: Option<String>,
}

impl From<&RelationshipFilter> for KeptFilter {
    fn from(filter: &RelationshipFilter) -> Self {
        let text = |name: Option<&str>| name.map(str::to_owned);
        let subject = filter.subject.as_ref();
        KeptFilter {
            resource_type: text(filter.resource_type.as_ref().map(AsRef::as_ref)),
            resource_id: text(filter.resource_id.as_ref().map(AsRef::as_ref)),
            resource_id_prefix: text(filter.resource_id_prefix.as_ref().map(AsRef::as_ref)),
            relation: text(filter.relation.as_ref().map(AsRef::as_ref)),
            subject_type: text(subject.map(|subject| subject.subject_type.as_ref())),
            subject_id: text(subject.and_then(|subject| subject.subject_id.as_ref()).map(SubjectId::as_str)),
            subject_relation: subject.and_then(|subject| match &subject.relation {
                SubjectRelationFilter::Any => None,
                SubjectRelationFilter::Ellipsis => Some(String::new()),
                SubjectRelationFilter::Relation(relation) => Some(relation.to_string()),
            }),
        }
    }
}

impl KeptFilter {
    fn parse(self) -> Result<RelationshipFilter, String> {
        fn text<T: std::str::FromStr<Err: ToString>>(text: Option<String>) -> Result<Option<T>, String> {
            text.map(|text| text.parse().map_err(|error: T::Err| error.to_string())).transpose()
        }
        let subject = match text(self.subject_type)? {
            None => None,
            Some(subject_type) => Some(SubjectFilter {
                subject_type,
                subject_id: self.subject_id.map(SubjectId::new).transpose().map_err(|error| error.to_string())?,
                relation: match self.subject_relation.as_deref() {
                    None => SubjectRelationFilter::Any,
                    Some("") => SubjectRelationFilter::Ellipsis,
                    Some(name) => {
                        SubjectRelationFilter::Relation(RelationName::new(name).map_err(|error| error.to_string())?)
                    }
                },
            }),
        };
        Ok(RelationshipFilter {
            resource_type: text(self.resource_type)?,
            resource_id: text(self.resource_id)?,
            resource_id_prefix: text(self.resource_id_prefix)?,
            relation: text(self.relation)?,
            subject,
        })
    }
}
