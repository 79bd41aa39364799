//! Clients that keep sets by what followers tell them hold, at every completed revision, exactly those whom checks find: over
//! random schemas and histories, through reconnects, restarts and places in the log that are gone. And each bound and refusal.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../graph/tests/scenario/mod.rs"]
mod scenario;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use scenario::dice::Dice;
use scenario::history::{Author, Model, Step};
use scenario::sets::{Item, State, Tally, all_watched, compare};
use scenario::world::World;
use stonetown_authorizer::materialize::{
    Certainty, Event, Follower, Keeper, LookupSetsRequest, Progress, SetChild, SetRef, Start, Watched,
};
use stonetown_authorizer::{Authorizer, Call, Error, Limits, Options};
use stonetown_graph::IndexOptions;
use stonetown_storage::{Datastore, MemoryDatastore, Transaction};
use stonetown_tuple::{Operation, RelationshipUpdate, Revision, StoreId, Timestamp, ZedToken};

/// Pairs that are compared in one run of the test.
const COMPARISONS: u64 = 40_000;

#[test]
fn clients_agree_with_checks_at_every_completed_revision() {
    let seed: u64 = std::env::var("STONETOWN_SEED").map_or(20_261_121, |text| text.parse().unwrap());
    println!("STONETOWN_SEED={seed}");
    let (mut tally, mut told) = (Tally::default(), Told::default());
    while tally.comparisons < COMPARISONS {
        let seed = seed.wrapping_add(tally.cases);
        case(seed, &mut tally, &mut told).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        tally.cases += 1;
    }
    println!("{tally:?} {told:?}");
    let least = tally.comparisons / 200;
    assert!(tally.members > least && tally.undecided > 0 && tally.through_sets > 0, "{tally:?}");
    assert!(told.resumed > 100 && told.lost > 10 && told.restarts > 10 && told.times > 10, "{told:?}");
}

#[derive(Debug, Default)]
struct Told {
    resumed: u64,
    lost: u64,
    restarts: u64,
    times: u64,
}

/// Somebody who keeps what is told.
struct Client {
    flat: bool,
    follower: Option<Follower>,
    state: State,
    completed: Option<ZedToken>,
}

fn case(seed: u64, tally: &mut Tally, told: &mut Told) -> Result<(), String> {
    let (mut author, schema) = Author::new(Dice::new(seed));
    let mut world = World::new(&schema, IndexOptions::default());
    let all = all_watched(&world.head().plan);
    if all.is_empty() {
        return Ok(());
    }
    let count = author.dice.between(1, 3);
    let watched = author.dice.some(&all, count);
    let open = |world: &World| {
        let options = Options { materialize: watched.clone().into(), ..Options::default() };
        Authorizer::open(Arc::clone(&world.datastore), options).unwrap()
    };
    let mut authorizer = open(&world);
    let mut models: BTreeMap<Revision, Model> = BTreeMap::new();
    models.insert(world.datastore.head(), world.head().model.clone());
    let new = |flat| Client { flat, follower: None, state: State::new(), completed: None };
    let mut clients = [new(false), new(true)];
    for step in 0..24 {
        let step = if step == 0 { author.first(&world.head().model) } else { author.next(&world.head().model) };
        match step {
            Step::Wait(_) => {
                world.apply(step);
                // As the server does when something begins or ends.
                let now = world.head().model.now;
                world.datastore.commit(Transaction::new(StoreId::DEFAULT, now)).unwrap();
                told.times += 1;
            }
            Step::Reload => {
                authorizer = open(&world);
                clients.iter_mut().for_each(|client| client.follower = None);
                told.restarts += 1;
            }
            Step::Collect => {
                world.apply(step);
                // The model's clock is not the machine's, by which an empty log would be told the time.
                let now = world.head().model.now;
                world.datastore.commit(Transaction::new(StoreId::DEFAULT, now)).unwrap();
            }
            step => world.apply(step),
        }
        models.insert(world.datastore.head(), world.head().model.clone());
        for client in &mut clients {
            match author.dice.below(4) {
                // Behind for a while.
                0 => {}
                1 => {
                    client.follower = None;
                    client.drain(&authorizer, &watched, &models, &mut author.dice, tally, told)?;
                }
                _ => client.drain(&authorizer, &watched, &models, &mut author.dice, tally, told)?,
            }
        }
    }
    Ok(())
}

impl Client {
    /// Takes in what there is, and compares at each completed revision.
    fn drain(
        &mut self,
        authorizer: &Authorizer,
        watched: &[Watched],
        models: &BTreeMap<Revision, Model>,
        dice: &mut Dice,
        tally: &mut Tally,
        told: &mut Told,
    ) -> Result<(), String> {
        let call = Call::new("client");
        loop {
            let mut follower = match self.follower.take() {
                Some(follower) => follower,
                None => match self.follow(authorizer, &call, watched, told) {
                    Ok(follower) => follower,
                    Err(Error::SnapshotExpired { .. }) if self.flat => {
                        // There is no listing of permissions: all over again.
                        (self.state, self.completed) = (State::new(), None);
                        told.lost += 1;
                        continue;
                    }
                    Err(error) => return Err(error.to_string()),
                },
            };
            let mut events = Vec::new();
            let stepped = follower.step(authorizer, &call, &mut |event| {
                events.push(event);
                ControlFlow::Continue(())
            });
            match stepped {
                Err(Error::SnapshotExpired { .. }) if self.flat => continue,
                Err(error) => return Err(error.to_string()),
                Ok(Progress::CaughtUp) => {
                    self.follower = Some(follower);
                    return Ok(());
                }
                Ok(_) => self.follower = Some(follower),
            }
            for event in events {
                let at = match event {
                    Event::Changed { set, child, before, after, .. } => {
                        self.change(&set, &child, before, after)?;
                        continue;
                    }
                    Event::Breaking { .. } => return Err("nothing was dropped".to_owned()),
                    Event::Completed(at) => at,
                    Event::LookupRequired(at) => {
                        told.lost += 1;
                        self.state = lookup(authorizer, at, dice)?;
                        at
                    }
                };
                self.completed = Some(at);
                let (_, model) = models.range(..=at.revision).next_back().unwrap();
                let flat = self.flat;
                compare(&self.state, watched, model, tally)
                    .map_err(|error| format!("revision {}, flat {flat}: {error}", at.revision))?;
            }
        }
    }

    fn follow(
        &self,
        authorizer: &Authorizer,
        call: &Call,
        watched: &[Watched],
        told: &mut Told,
    ) -> Result<Follower, Error> {
        told.resumed += u64::from(self.completed.is_some());
        let start = self.completed.map_or(Start::Everything, Start::After);
        if self.flat {
            authorizer.follow_permissions(call, watched.to_vec(), start)
        } else {
            authorizer.follow_sets(call, start)
        }
    }

    fn change(&mut self, set: &SetRef, child: &SetChild, before: Certainty, after: Certainty) -> Result<(), String> {
        let name = format!("{}#{}", set.object, set.relation);
        let children = self.state.entry(name.clone()).or_default();
        let item = item(child);
        let known = children.get(&item).copied().unwrap_or_default();
        // After a lookup, what is in doubt is not known.
        let certain = |certainty| certainty == Certainty::Yes;
        if certain(known) != certain(before) || before == after {
            return Err(format!("{name}: {item:?} was {known:?}, told {before:?} to {after:?}"));
        }
        if after == Certainty::No {
            children.remove(&item)
        } else {
            children.insert(item, after)
        };
        Ok(())
    }
}

fn item(child: &SetChild) -> Item {
    match child {
        SetChild::Member(subject) => Item::Member(subject.to_string()),
        SetChild::Set(set) => Item::Set(format!("{}#{}", set.object, set.relation)),
    }
}

/// All sets at a revision, in pages. Those in doubt are not listed, so the comparison takes them from a reader of its own.
fn lookup(authorizer: &Authorizer, at: ZedToken, dice: &mut Dice) -> Result<State, String> {
    let call = Call::new("client");
    let mut state = State::new();
    let mut after = None;
    loop {
        let limit = dice.between(1, 9) as u64;
        let request = LookupSetsRequest { at: Some(at), limit: Some(limit), after };
        let mut listed = 0;
        let visit = &mut |set: SetRef, child: SetChild, cursor| {
            listed += 1;
            after = Some(cursor);
            let name = format!("{}#{}", set.object, set.relation);
            let twice = state.entry(name).or_default().insert(item(&child), Certainty::Yes);
            assert_eq!(twice, None, "listed twice");
            ControlFlow::Continue(())
        };
        authorizer.lookup_permission_sets(&call, &request, visit).map_err(|error| error.to_string())?;
        if listed < limit {
            break;
        }
    }
    let mut everything = authorizer.follow_sets(&call, Start::Everything).map_err(|error| error.to_string())?;
    let visit = &mut |event| {
        if let Event::Changed { set, child, after: Certainty::Undecided, .. } = event {
            let name = format!("{}#{}", set.object, set.relation);
            state.entry(name).or_default().insert(item(&child), Certainty::Undecided);
        }
        ControlFlow::Continue(())
    };
    everything.step(authorizer, &call, visit).map_err(|error| error.to_string())?;
    Ok(state)
}

const SCHEMA: &str = "
use expiration

definition user {}

definition group {
  relation member: user | group#member
}

caveat workday(day string) {
  day != 'Sunday'
}

definition document {
  relation viewer: user | user:* | group#member | user with workday | user with expiration
  relation banned: user
  permission view = viewer
  permission read = viewer - banned
}
";

struct Door {
    authorizer: Arc<Authorizer>,
    datastore: Arc<dyn Datastore>,
    call: Call,
}

impl Door {
    fn new(permissions: &[&str]) -> Door {
        Door::with(permissions, Limits::default())
    }

    fn with(permissions: &[&str], limits: Limits) -> Door {
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let materialize = permissions.iter().map(|text| text.parse().unwrap()).collect();
        let options = Options { materialize, limits, ..Options::default() };
        let authorizer = Arc::new(Authorizer::open(Arc::clone(&datastore), options).unwrap());
        let door = Door { authorizer, datastore, call: Call::new("test") };
        door.schema(SCHEMA);
        door
    }

    fn schema(&self, text: &str) {
        self.authorizer.write_schema(&self.call, text).unwrap();
    }

    fn write(&self, operation: Operation, relationships: &[&str]) -> ZedToken {
        let update = |text: &&str| RelationshipUpdate { operation, relationship: text.parse().unwrap() };
        let updates = relationships.iter().map(update).collect();
        let request = stonetown_authorizer::write::WriteRequest { updates, ..Default::default() };
        self.authorizer.write(&self.call, &request).unwrap()
    }

    fn touch(&self, relationships: &[&str]) -> ZedToken {
        self.write(Operation::Touch, relationships)
    }

    fn follow(&self, start: Start) -> Follower {
        self.authorizer.follow_sets(&self.call, start).unwrap()
    }

    /// What a follower tells until it has caught up, completed revisions left out.
    fn told(&self, follower: &mut Follower) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let progress = follower.step(&self.authorizer, &self.call, &mut |event| {
                told.extend(text(&event));
                ControlFlow::Continue(())
            });
            if progress.unwrap() == Progress::CaughtUp {
                return told;
            }
        }
    }

    fn listed(&self) -> Vec<String> {
        let mut listed = Vec::new();
        let visit = &mut |set: SetRef, child: SetChild, _| {
            listed.push(format!("{}#{} {}", set.object, set.relation, child_text(&child)));
            ControlFlow::Continue(())
        };
        self.authorizer.lookup_permission_sets(&self.call, &LookupSetsRequest::default(), visit).unwrap();
        listed
    }
}

fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::Completed(_) => return None,
        Event::LookupRequired(_) => "lookup".to_owned(),
        Event::Breaking { permissions, .. } => {
            let names: Vec<String> = permissions.iter().map(ToString::to_string).collect();
            format!("breaking {}", names.join(" "))
        }
        Event::Changed { set, child, before, after, .. } => {
            format!("{}#{} {} {before:?} {after:?}", set.object, set.relation, child_text(child))
        }
    })
}

fn child_text(child: &SetChild) -> String {
    match child {
        SetChild::Member(subject) => subject.to_string(),
        SetChild::Set(set) => format!("<{}#{}>", set.object, set.relation),
    }
}

#[test]
fn a_change_of_a_group_is_one_change_however_many_documents_it_reaches() {
    let door = Door::new(&["document#view@user"]);
    let mut follower = door.follow(Start::Now);
    for number in 0..50 {
        door.touch(&[&format!("document:{number}#viewer@group:eng#member")]);
    }
    assert_eq!(door.told(&mut follower).len(), 50);
    door.touch(&["group:eng#member@user:ann"]);
    assert_eq!(door.told(&mut follower), ["group:eng#member user:ann No Yes"]);
    door.write(Operation::Delete, &["group:eng#member@user:ann"]);
    assert_eq!(door.told(&mut follower), ["group:eng#member user:ann Yes No"]);
}

#[test]
fn a_wildcard_is_the_member_star_and_in_doubt_where_it_has_exceptions() {
    let door = Door::new(&["document#read@user"]);
    let mut follower = door.follow(Start::Now);
    door.touch(&["document:a#viewer@user:*", "document:a#viewer@user:ann"]);
    assert_eq!(door.told(&mut follower), ["document:a#read user:* No Yes", "document:a#read user:ann No Yes"]);
    door.touch(&["document:a#banned@user:eve"]);
    assert_eq!(door.told(&mut follower), ["document:a#read user:* Yes Undecided"]);
    assert_eq!(door.listed(), ["document:a#read user:ann"]);
    door.write(Operation::Delete, &["document:a#banned@user:eve"]);
    assert_eq!(door.told(&mut follower), ["document:a#read user:* Undecided Yes"]);
}

#[test]
fn what_is_conditional_is_in_doubt() {
    let door = Door::new(&["document#view@user", "document#read@user"]);
    let mut follower = door.follow(Start::Now);
    door.touch(&["document:a#viewer@user:ann[workday]"]);
    assert_eq!(
        door.told(&mut follower),
        ["document:a#view user:ann No Undecided", "document:a#read user:ann No Undecided"]
    );
    door.touch(&["document:a#viewer@user:ann[workday:{\"day\":\"Monday\"}]"]);
    assert_eq!(
        door.told(&mut follower),
        ["document:a#view user:ann Undecided Yes", "document:a#read user:ann Undecided Yes"]
    );
    door.touch(&["document:a#viewer@user:ann[workday:{\"day\":\"Sunday\"}]"]);
    assert_eq!(door.listed(), Vec::<String>::new());
}

#[test]
fn an_expiry_is_a_revision_of_its_own_and_counts_are_kept() {
    let door = Door::new(&["document#view@user"]);
    let mut keeper = Keeper::new(Arc::clone(&door.authorizer));
    keeper.run().unwrap();
    let mut follower = door.follow(Start::Now);
    let end = Timestamp::now().as_second() + 2;
    let end = Timestamp::from_second(end).unwrap();
    let written = door.touch(&[&format!("document:a#viewer@user:ann[expiration:{end}]"), "document:a#viewer@user:*"]);
    door.touch(&["document:b#viewer@user:bob[workday]"]);
    keeper.run().unwrap();
    let stats = &door.authorizer.sets().stats;
    let load = |gauge: &std::sync::atomic::AtomicI64| gauge.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((load(&stats.sets), load(&stats.members), load(&stats.undecided)), (1, 2, 1));
    assert_eq!(door.told(&mut follower).len(), 3);
    while Timestamp::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(door.told(&mut follower), Vec::<String>::new(), "there is no revision yet");
    while door.authorizer.pass_time().unwrap() {}
    keeper.run().unwrap();
    assert!(door.datastore.head() > written.revision.next());
    assert_eq!(door.told(&mut follower), ["document:a#view user:ann Yes No"]);
    assert_eq!((load(&stats.sets), load(&stats.members), load(&stats.undecided)), (1, 1, 1));
    assert_eq!(door.listed(), ["document:a#view user:*"]);
}

#[test]
fn a_schema_without_a_permission_removes_its_sets_and_says_that_it_breaks() {
    let door = Door::new(&["document#read@user"]);
    door.touch(&["document:a#viewer@user:ann"]);
    let mut follower = door.follow(Start::Now);
    door.schema(&SCHEMA.replace("permission read = viewer - banned", ""));
    assert_eq!(door.told(&mut follower), ["document:a#read user:ann Yes No", "breaking document#read@user"]);
    door.schema(SCHEMA);
    assert_eq!(door.told(&mut follower), ["document:a#read user:ann No Yes"]);
    door.schema(&SCHEMA.replace("viewer - banned", "viewer & banned"));
    assert_eq!(door.told(&mut follower), ["document:a#read user:ann Yes No"]);
}

#[test]
fn a_place_that_the_log_has_left_asks_for_a_lookup_or_is_refused() {
    let door = Door::new(&["document#view@user"]);
    let old = door.touch(&["document:a#viewer@user:ann"]);
    door.touch(&["document:b#viewer@user:ann"]);
    let head = door.datastore.head();
    door.datastore.collect_garbage(head, head, usize::MAX).unwrap();
    let mut follower = door.follow(Start::After(old));
    assert_eq!(door.told(&mut follower), ["lookup"]);
    door.touch(&["document:c#viewer@user:ann"]);
    assert_eq!(door.told(&mut follower), ["document:c#view user:ann No Yes"]);
    let permissions = vec!["document#view@user".parse().unwrap()];
    let refused = door.authorizer.follow_permissions(&door.call, permissions, Start::After(old)).err();
    assert!(matches!(refused, Some(Error::SnapshotExpired { .. })), "{refused:?}");
    let request = LookupSetsRequest { at: Some(old), ..LookupSetsRequest::default() };
    let refused =
        door.authorizer.lookup_permission_sets(&door.call, &request, &mut |_, _, _| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::SnapshotExpired { .. })), "{refused:?}");
}

#[test]
fn what_is_not_materialized_is_refused() {
    let door = Door::new(&["document#view@user"]);
    let other = vec!["document#read@user".parse().unwrap()];
    let refused = door.authorizer.follow_permissions(&door.call, other, Start::Now).err().unwrap();
    assert!(refused.to_string().contains("document#read@user"), "{refused}");
    let none = Door::new(&[]);
    assert!(matches!(none.authorizer.follow_sets(&none.call, Start::Now), Err(Error::NotMaterialized(None))));
    let foreign = ZedToken { instance: stonetown_tuple::InstanceId(1), revision: Revision(1) };
    assert!(matches!(door.authorizer.follow_sets(&door.call, Start::After(foreign)), Err(Error::ForeignToken)));
    let instance = door.authorizer.instance();
    let future = ZedToken { instance, revision: Revision(u64::MAX) };
    assert!(matches!(door.authorizer.follow_sets(&door.call, Start::After(future)), Err(Error::FutureToken { .. })));
}

#[test]
fn bounds_are_kept() {
    let expiring = |number: usize| format!("document:{number}#viewer@user:ann[expiration:2999-01-01T00:00:00Z]");
    let measured = Door::new(&["document#view@user"]);
    for number in 0..3 {
        measured.touch(&[&expiring(number)]);
    }
    let mut follower = measured.follow(Start::Everything);
    measured.told(&mut follower);
    let three = measured.authorizer.sets().held_bytes();
    assert!(three > 0);
    drop(follower);
    assert_eq!(measured.authorizer.sets().held_bytes(), 0, "what is held is given back");
    let door = Door::with(&["document#view@user"], Limits { sets_bytes_max: three, ..Limits::default() });
    for number in 0..3 {
        door.touch(&[&expiring(number)]);
    }
    let mut follower = door.follow(Start::Everything);
    assert_eq!(door.told(&mut follower).len(), 3, "at the limit");
    door.touch(&[&expiring(3)]);
    let beyond = follower.step(&door.authorizer, &door.call, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(beyond, Err(Error::WorkLimit { limit: "sets_bytes_max", max }) if max == three), "{beyond:?}");
    drop(follower);
    // What all hold counts together.
    let mut second = measured.follow(Start::Everything);
    measured.told(&mut second);
    let mut third = measured.follow(Start::Everything);
    measured.told(&mut third);
    assert_eq!(measured.authorizer.sets().held_bytes(), 2 * three);

    // More changes at once than are looked at one by one: the same is told.
    let door = Door::with(&["document#view@user"], Limits { sets_touched_max: 1, ..Limits::default() });
    let mut follower = door.follow(Start::Now);
    door.touch(&["document:a#viewer@user:ann", "document:b#viewer@user:ann"]);
    let told = ["document:a#view user:ann No Yes", "document:b#view user:ann No Yes"];
    assert_eq!(door.told(&mut follower), told);

    let mut limits = Limits::default();
    limits.graph.edges_max_lookup = 3;
    let door = Door::with(&["document#read@user"], limits);
    let many: Vec<String> = (0..9).map(|number| format!("document:a#viewer@user:u{number}")).collect();
    door.touch(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let mut follower = door.follow(Start::Everything);
    let beyond = follower.step(&door.authorizer, &door.call, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(beyond, Err(Error::WorkLimit { limit: "edges_max_lookup", .. })), "{beyond:?}");
}

#[test]
fn whoever_leaves_is_told_no_more_and_a_cancelled_call_ends() {
    let mut door = Door::new(&["document#view@user"]);
    door.touch(&["document:a#viewer@user:ann", "document:b#viewer@user:ann"]);
    let mut follower = door.follow(Start::Everything);
    let mut told = 0;
    let progress = follower.step(&door.authorizer, &door.call, &mut |_| {
        told += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(progress, Ok(Progress::Left)) && told == 1, "{progress:?} {told}");
    let cancelled = Arc::new(std::sync::atomic::AtomicBool::new(true));
    door.call.cancelled = Some(cancelled);
    let progress = follower.step(&door.authorizer, &door.call, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(progress, Err(Error::Cancelled)), "{progress:?}");
}

#[test]
fn relationships_are_counted_at_the_newest_revision() {
    let door = Door::new(&[]);
    let at = door.touch(&["document:a#viewer@user:ann", "document:a#viewer@user:bob", "document:b#viewer@user:ann"]);
    let filter = |text: &str| stonetown_tuple::RelationshipFilter {
        resource_type: Some("document".parse().unwrap()),
        resource_id: Some(text.parse().unwrap()),
        ..Default::default()
    };
    assert_eq!(door.authorizer.count(&door.call, &filter("a")).unwrap(), (2, at));
    assert_eq!(door.authorizer.count(&door.call, &filter("none")).unwrap(), (0, at));
    let refused = door.authorizer.count(&door.call, &stonetown_tuple::RelationshipFilter::default());
    assert!(matches!(refused, Err(Error::InvalidFilter { .. })), "{refused:?}");
}
