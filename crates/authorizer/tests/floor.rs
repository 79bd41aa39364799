//! Time does not run backwards over a restart, and is not ahead after one.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Effort, Membership, Options};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{Consistency, Operation, RelationshipUpdate, StoreId, Timestamp};

const SCHEMA: &str = "use expiration
definition user {}
definition document {
  relation viewer: user with expiration
  permission view = viewer
}";

thread_local! {
    /// The machine's clock, in milliseconds.
    static WALL: Cell<i64> = const { Cell::new(1_900_000_000_000) };
}

fn wall() -> Timestamp {
    Timestamp::from_millisecond(WALL.get()).unwrap()
}

/// Sets the machine's clock by so many milliseconds.
fn set_clock(millis: i64) {
    WALL.set(WALL.get() + millis);
}

fn opened(datastore: &Arc<dyn Datastore>) -> Authorizer {
    let options = Options { wall_clock: Some(wall), ..Options::default() };
    Authorizer::open(Arc::clone(datastore), options).unwrap()
}

/// Writes that somebody may view until so many milliseconds have passed.
fn lend(authorizer: &Authorizer, who: &str, millis: u64) {
    let ends = authorizer.clock().now().checked_add(Duration::from_millis(millis)).unwrap();
    let relationship = format!("document:plan#viewer@user:{who}[expiration:{ends}]").parse().unwrap();
    let updates = vec![RelationshipUpdate { operation: Operation::Touch, relationship }];
    authorizer.write(&Call::new("key"), &WriteRequest { updates, ..WriteRequest::default() }).unwrap();
}

fn may(authorizer: &Authorizer, who: &str) -> bool {
    let request = CheckRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: "document:plan".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: format!("user:{who}").parse().unwrap(),
        context: Default::default(),
        with: Vec::new(),
        trace: false,
    };
    let answer = authorizer.check(&Call::new("key"), &request, Effort::Full).unwrap();
    answer.membership == Membership::Member
}

#[test]
fn what_was_told_to_have_ended_does_not_live_again_after_a_kill() {
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let authorizer = opened(&datastore);
    authorizer.write_schema(&Call::new("key"), SCHEMA).unwrap();
    lend(&authorizer, "ada", 10_000);
    assert!(may(&authorizer, "ada"));
    set_clock(10_100);
    authorizer.keep_time().unwrap();
    assert!(!may(&authorizer, "ada"));
    drop(authorizer);
    // No commit tells of the end.
    set_clock(-600);
    let authorizer = opened(&datastore);
    assert!(!may(&authorizer, "ada"), "an end that was told is taken back");

    // Over a clean end, too, and without waiting.
    lend(&authorizer, "eve", 10_000);
    set_clock(20_000);
    authorizer.keep_time().unwrap();
    assert!(!may(&authorizer, "eve"));
    authorizer.leave_time().unwrap();
    drop(authorizer);
    set_clock(-20_000);
    let begun = Instant::now();
    assert!(!may(&opened(&datastore), "eve"));
    assert!(begun.elapsed() < Duration::from_millis(500), "nothing lies ahead");

    // Unless somebody who knows that the clock was wrong says so.
    let options = Options { wall_clock: Some(wall), time_forgotten: true, ..Options::default() };
    let authorizer = Authorizer::open(Arc::clone(&datastore), options).unwrap();
    assert!(may(&authorizer, "eve"));
    authorizer.keep_time().unwrap();
    authorizer.leave_time().unwrap();
    assert!(may(&opened(&datastore), "eve"));
}

#[test]
fn time_is_not_ahead_after_a_kill() {
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let authorizer = Authorizer::open(Arc::clone(&datastore), Options::default()).unwrap();
    authorizer.keep_time().unwrap();
    let told = authorizer.clock().now();
    drop(authorizer);
    let authorizer = Authorizer::open(Arc::clone(&datastore), Options::default()).unwrap();
    let (now, machine) = (authorizer.clock().now(), Timestamp::now());
    assert!(
        told < now && now <= machine,
        "{told} was told, it is {machine}, and {now} is told: what begins then is early"
    );
}

#[test]
fn a_start_is_refused_where_it_cannot_be_known_what_was_told() {
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    datastore.keep(StoreId::SYSTEM, "time", Some(b"yesterday".to_vec())).unwrap();
    let refused = Authorizer::open(datastore, Options::default()).unwrap_err();
    assert!(refused.to_string().contains("the time that was told last"), "{refused}");
}
