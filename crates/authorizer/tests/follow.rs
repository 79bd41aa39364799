//! Following the log: every change of every commit, in order, from any place.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stonetown_authorizer::follow::LogFollower;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, BulkMode, Call, Effect, Error, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{Operation, RelationshipUpdate, Revision, StoreId, Timestamp};

const SCHEMA: &str = "definition user {}  definition document { relation viewer: user }";

fn open() -> Arc<Authorizer> {
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    authorizer.write_schema(&Call::new("test"), SCHEMA).unwrap();
    Arc::new(authorizer)
}

fn write(authorizer: &Authorizer, operation: Operation, texts: &[String]) -> Revision {
    let update = |text: &String| RelationshipUpdate { operation, relationship: text.parse().unwrap() };
    let request = WriteRequest {
        updates: texts.iter().map(update).collect(),
        metadata: Some("{\"n\":1}".to_owned()),
        ..WriteRequest::default()
    };
    authorizer.write(&Call::new("test"), &request).unwrap().revision
}

fn viewer(number: usize) -> String {
    format!("document:d{number}#viewer@user:eve")
}

/// Applies steps to a set until there is nothing more.
fn apply(follower: &mut LogFollower, set: &mut BTreeSet<String>) {
    while let Some(step) = follower.next_step().unwrap() {
        for change in step.changes {
            let text = change.relationship.to_string();
            match change.operation() {
                Operation::Delete => assert!(set.remove(&text), "{text} ends, and was not there"),
                _ => drop(set.insert(text)),
            }
        }
    }
}

#[test]
fn a_follower_hears_every_change_and_who_made_it() {
    let authorizer = open();
    let mut follower = authorizer.follow(StoreId::DEFAULT, Revision(0));
    let schema = follower.next_step().unwrap().unwrap();
    assert!(schema.schema_changed && schema.last && schema.changes.is_empty());
    assert!(follower.next_step().unwrap().is_none());
    let written = write(&authorizer, Operation::Touch, &[viewer(1), viewer(2)]);
    let step = follower.next_step().unwrap().unwrap();
    assert_eq!(
        (step.revision, step.actor.as_deref(), step.metadata.as_deref()),
        (written, Some("test"), Some("{\"n\":1}"))
    );
    assert_eq!(step.changes.len(), 2);
    assert_eq!(follower.position(), written);
    write(&authorizer, Operation::Delete, &[viewer(1)]);
    let step = follower.next_step().unwrap().unwrap();
    assert_eq!(step.changes[0].effect, Effect::Ends);
    assert_eq!(step.changes[0].relationship.to_string(), viewer(1));
}

#[test]
fn a_large_revision_comes_in_steps_and_only_the_last_completes_it() {
    let authorizer = open();
    let mut follower = authorizer.follow(StoreId::DEFAULT, Revision(1));
    let call = Call::new("test");
    let mut import = authorizer.import(&call, BulkMode::Create).unwrap();
    import.push((0..5_000).map(|number| viewer(number).parse().unwrap()).collect()).unwrap();
    let (token, _) = import.finish().unwrap();
    let mut seen = 0;
    for part in 0.. {
        let step = follower.next_step().unwrap().unwrap();
        assert_eq!(step.revision, token.revision);
        assert!(step.changes.len() <= 1_100);
        seen += step.changes.len();
        assert_eq!(follower.position() == token.revision, step.last);
        if step.last {
            assert!(part > 1);
            break;
        }
    }
    assert_eq!(seen, 5_000);
    // Half-way through it, following anew from the position loses nothing.
    let mut half = authorizer.follow(StoreId::DEFAULT, Revision(1));
    half.next_step().unwrap().unwrap();
    let mut set = BTreeSet::new();
    apply(&mut authorizer.follow(StoreId::DEFAULT, half.position()), &mut set);
    assert_eq!(set.len(), 5_000);
}

#[test]
fn a_follower_goes_on_where_another_stopped() {
    let authorizer = open();
    let (mut whole, mut pieces) = (BTreeSet::new(), BTreeSet::new());
    let mut at = Revision(0);
    for round in 0..50 {
        let operation = if round % 3 == 2 { Operation::Delete } else { Operation::Touch };
        write(&authorizer, operation, &[viewer(round - round % 3)]);
        let mut follower = authorizer.follow(StoreId::DEFAULT, at);
        apply(&mut follower, &mut pieces);
        at = follower.position();
    }
    apply(&mut authorizer.follow(StoreId::DEFAULT, Revision(0)), &mut whole);
    assert_eq!(pieces, whole);
    assert_eq!(at, authorizer.datastore().head());
}

#[test]
fn waiting_ends_with_the_commit_or_with_its_time() {
    let authorizer = open();
    let follower = authorizer.follow(StoreId::DEFAULT, Revision(1));
    let begun = Instant::now();
    assert!(!follower.wait(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    let told = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&told);
    authorizer.on_commit(move |_, revision| heard.store(revision.0, Ordering::SeqCst));
    let writer = Arc::clone(&authorizer);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        write(&writer, Operation::Touch, &[viewer(1)])
    });
    assert!(follower.wait(Duration::from_secs(30)));
    assert_eq!(thread.join().unwrap().0, told.load(Ordering::SeqCst));
}

#[test]
fn a_log_that_was_cut_is_told_as_such() {
    let authorizer = open();
    for number in 0..10 {
        write(&authorizer, Operation::Touch, &[viewer(number)]);
    }
    authorizer.collect_garbage(Timestamp::MAX, Timestamp::MAX).unwrap();
    let cut = authorizer.follow(StoreId::DEFAULT, Revision(3)).next_step();
    assert!(matches!(cut, Err(Error::SnapshotExpired { .. })), "{cut:?}");
    let mut head = authorizer.follow(StoreId::DEFAULT, authorizer.datastore().head());
    assert!(head.next_step().unwrap().is_none());
}

#[test]
fn time_is_heard_of_as_a_revision_of_its_own() {
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    let schema = "use expiration  definition user {}  definition document { relation viewer: user with expiration }";
    authorizer.write_schema(&Call::new("test"), schema).unwrap();
    let end = Timestamp::now().checked_add(Duration::from_millis(60)).unwrap();
    let text = format!("document:one#viewer@user:eve[expiration:{end}]");
    let written = write(&authorizer, Operation::Touch, std::slice::from_ref(&text));
    assert!(!authorizer.pass_time().unwrap());
    assert_eq!(authorizer.datastore().head(), written, "its time has not come");
    std::thread::sleep(Duration::from_millis(80));
    authorizer.pass_time().unwrap();
    let mut follower = authorizer.follow(StoreId::DEFAULT, written);
    let step = follower.next_step().unwrap().unwrap();
    assert_eq!((step.changes.len(), step.changes[0].effect), (1, Effect::Ends));
    assert_eq!(step.changes[0].relationship.to_string(), text, "an end by time carries the whole relationship");
    assert!(step.time >= end);
    let (removed, more) = authorizer.remove_expired(Timestamp::now()).unwrap();
    assert_eq!((removed, more), (1, false));
    let silent = follower.next_step().unwrap().unwrap();
    assert!(silent.changes.is_empty() && silent.last, "nobody hears of the removal");
}
