//! What the passing of time writes to the log, what is removed of what has expired, and what is kept beside it all.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::{BulkMode, Effect, LogEntry, Passed, Settled};

const PLAN: &str = "document:plan#viewer@user:eve";

/// The effects of a commit, in order.
fn effects(stage: &Stage, revision: Revision) -> Vec<Effect> {
    entry(stage, revision).changes.iter().map(|change| change.effect).collect()
}

fn entry(stage: &Stage, revision: Revision) -> LogEntry {
    stage.datastore.log(Revision(revision.0 - 1), 1).unwrap().remove(0)
}

/// Nothing has passed, and log and clock agree.
fn settled(stage: &Stage, seconds: i64) -> Passed {
    let settled = Settled { revision: stage.datastore.head(), time: at(seconds) };
    Passed { settled: Some(settled), ..Passed::default() }
}

fn pass(stage: &Stage, seconds: i64) -> Passed {
    stage.datastore.pass_time(at(seconds), 1_000).unwrap()
}

/// Writes say whether the edge held before and holds now.
pub fn effects_tell_what_holds(make: Make<'_>) {
    let stage = Stage::new(make);
    let first = stage.touch(&[PLAN]);
    assert_eq!(effects(&stage, first), [Effect::Begins]);
    let again = stage.touch(&["document:plan#viewer@user:eve[tod]"]);
    assert_eq!(effects(&stage, again), [Effect::Continues]);
    let ended = stage.write(vec![delete(rel(PLAN))]);
    assert_eq!(effects(&stage, ended), [Effect::Ends]);
    let ahead = stage.write(vec![touch(from(PLAN, 10))]);
    assert_eq!(effects(&stage, ahead), [Effect::Silent], "it has not begun");
    let now = stage.write(vec![touch(until(PLAN, 10))]);
    assert_eq!(effects(&stage, now), [Effect::Begins]);
    let over = stage.write_at(at(5), vec![touch(until(PLAN, 4))]).unwrap();
    assert_eq!(effects(&stage, over), [Effect::Ends], "it is over at the clock of the write");
    let gone = stage.write_at(at(5), vec![delete(rel(PLAN))]).unwrap();
    assert_eq!(effects(&stage, gone), [Effect::Silent], "nobody held it");
    let bulk = |mode, texts: &[&str]| {
        let mut bulk = stage.datastore.bulk(stage.store, mode, at(5)).unwrap();
        bulk.push(texts.iter().map(|text| rel(text)).collect()).unwrap();
        bulk.publish(None, None, None).unwrap().revision
    };
    let touched = bulk(BulkMode::Touch, &[PLAN, "document:two#viewer@user:eve"]);
    assert_eq!(effects(&stage, touched), [Effect::Begins, Effect::Begins]);
    let touched = bulk(BulkMode::Touch, &[PLAN, "document:three#viewer@user:eve"]);
    let mut found = effects(&stage, touched);
    found.sort_by_key(|effect| *effect == Effect::Continues);
    assert_eq!(found, [Effect::Begins, Effect::Continues]);
    let deleted = bulk(BulkMode::Delete, &[PLAN, "document:four#viewer@user:eve"]);
    assert_eq!(effects(&stage, deleted), [Effect::Ends]);
}

/// A start and an end are logged once each, when their moments have passed, with the state that is stored.
pub fn moments_are_logged_once(make: Make<'_>) {
    let stage = Stage::new(make);
    assert_eq!(stage.datastore.next_moment(), None);
    let text = "document:plan#viewer@user:eve[tod]";
    let relationship = Relationship { not_before: Some(at(10)), ..until(text, 20) };
    stage.write(vec![touch(relationship)]);
    assert!(stage.datastore.next_moment().is_some_and(|next| next <= at(10)));
    assert_eq!(pass(&stage, 9), settled(&stage, 9));
    let began = pass(&stage, 10);
    assert_eq!((began.edges, began.more), (1, false));
    let entry_ = entry(&stage, began.revision.unwrap());
    assert_eq!((entry_.provenance.time, entry_.changes[0].effect), (at(10), Effect::Begins));
    assert_eq!(entry_.changes[0].state.as_ref().unwrap().caveat.as_ref().unwrap().to_string(), "tod");
    assert_eq!(pass(&stage, 19), settled(&stage, 19), "it has been logged");
    let ended = pass(&stage, 25);
    assert_eq!(stage.datastore.head(), ended.revision.unwrap());
    let entry_ = entry(&stage, ended.revision.unwrap());
    assert_eq!((entry_.provenance.time, entry_.changes[0].effect), (at(25), Effect::Ends));
    assert_eq!(entry_.changes[0].state.as_ref().unwrap().expires_at, Some(at(20)));
    assert_eq!(pass(&stage, 99), settled(&stage, 99));
    stage.write_at(at(110), Vec::new()).unwrap();
    assert_eq!(pass(&stage, 105).settled, None, "a commit was made by a later clock");
    assert_eq!(stage.datastore.next_moment(), None);
    let stored = stored(&*stage.head());
    assert_eq!(stored[PLAN][0].relationship.not_before, Some(at(10)), "what is stored stays");
}

/// A version that was replaced before its moment leaves no trace of it.
pub fn moments_of_replaced_versions_are_forgotten(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.write(vec![touch(until(PLAN, 10))]);
    stage.write(vec![touch(until(PLAN, 30))]);
    stage.write(vec![touch(until("document:other#viewer@user:eve", 10))]);
    stage.write(vec![delete(rel("document:other#viewer@user:eve"))]);
    assert_eq!(pass(&stage, 20), settled(&stage, 20));
    assert_eq!(effects(&stage, pass(&stage, 30).revision.unwrap()), [Effect::Ends]);
    let revived = stage.write_at(at(40), vec![create(rel(PLAN))]).unwrap();
    assert_eq!(effects(&stage, revived), [Effect::Begins]);
}

/// However many moments pass at once, a commit logs a bounded number, in their order.
pub fn moments_pass_in_bounded_steps(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = |number: i64| format!("document:d{number}#viewer@user:eve");
    stage.write((0..25).map(|number| touch(until(&text(number), 100 - number))).collect());
    let mut ends = Vec::new();
    for call in 0.. {
        let passed = stage.datastore.pass_time(at(200), 10).unwrap();
        assert!(passed.edges <= 10);
        let changes = entry(&stage, passed.revision.unwrap()).changes;
        ends.extend(changes.into_iter().map(|change| change.state.unwrap().expires_at.unwrap()));
        assert_eq!(passed.more, call < 2);
        if !passed.more {
            break;
        }
    }
    assert_eq!(ends.len(), 25);
    assert!(ends.is_sorted());
}

/// What has expired is removed once the log says so, without an effect; what was written anew stays.
pub fn what_has_expired_is_removed(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = |number: i64| format!("document:d{number}#viewer@user:eve");
    stage.write((0..6).map(|number| touch(until(&text(number), 10 + number))).collect());
    stage.write(vec![touch(rel("document:kept#viewer@user:eve"))]);
    let remove = |now, until, limit| stage.datastore.remove_expired(at(now), at(until), limit).unwrap();
    assert_eq!(remove(50, 50, 99), Passed::default(), "the log does not say that it has expired");
    pass(&stage, 50);
    stage.write_at(at(50), vec![touch(until(&text(0), 99)), delete(rel(&text(1)))]).unwrap();
    let removed = remove(50, 13, 2);
    assert!(removed.more);
    let removed = (removed.edges, remove(50, 13, 99).edges);
    assert_eq!(removed.0 + removed.1, 2, "the second and the third are left of those up to then");
    let last = stage.datastore.head();
    assert!(effects(&stage, last).iter().all(|effect| *effect == Effect::Silent));
    let left: Vec<String> = stored(&*stage.head()).into_keys().collect();
    assert_eq!(left, [text(0), text(4), text(5), "document:kept#viewer@user:eve".to_owned()]);
    remove(60, 60, 99);
    let head = stage.datastore.head();
    let collected = stage.datastore.collect_garbage(head, head, 1_000).unwrap();
    assert!(!collected.more);
    let left: Vec<String> = stored(&*stage.head()).into_keys().collect();
    assert_eq!(left, [text(0), "document:kept#viewer@user:eve".to_owned()]);
    let document = stage.head().type_id("document").unwrap();
    assert_eq!(stage.head().ordinal(document, "d4").unwrap(), None, "its name went, too");
}

/// That time has passed supersedes nothing: collecting over such commits leaves everything that can be read.
pub fn collecting_over_moments_removes_nothing(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.write(vec![touch(Relationship { not_before: Some(at(10)), ..until(PLAN, 20) })]);
    pass(&stage, 15);
    let before = stored(&*stage.head());
    let head = stage.datastore.head();
    stage.datastore.collect_garbage(head, head, 1_000).unwrap();
    assert_eq!(stored(&*stage.head()), before);
    pass(&stage, 30);
    let head = stage.datastore.head();
    stage.datastore.collect_garbage(head, head, 1_000).unwrap();
    assert_eq!(stored(&*stage.head()), before);
}

/// At each revision of a random history the effects so far add up to what holds, whenever time has been let pass.
pub fn effects_add_up(make: Make<'_>) {
    for _ in 0..3 {
        random_times(make(), &mut |datastore| datastore);
    }
}

/// One random history of effects; the datastore is handed over now and then to be closed and opened again.
pub fn random_times(datastore: Arc<dyn Datastore>, reopen: &mut dyn FnMut(Arc<dyn Datastore>) -> Arc<dyn Datastore>) {
    let seed = std::env::var("STONETOWN_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("STONETOWN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage { datastore, store: StoreId::DEFAULT };
    stage.commit(Transaction { schema: Some(schema(&TABLES)), ..stage.transaction() }).unwrap();
    let mut seconds = 0;
    let (mut holding, mut followed) = (BTreeSet::new(), stage.datastore.head());
    for _ in 0..300 {
        seconds += random.random_range(0..3);
        if random.random_ratio(1, 25) {
            stage = Stage { datastore: reopen(stage.datastore), ..stage };
        }
        let some = |random: &mut StdRng| {
            let text = format!("document:d{}#viewer@user:u{}", random.random_range(0..4), random.random_range(0..3));
            let mut time = |odds| random.random_ratio(1, odds).then(|| at(seconds + random.random_range(-3..12)));
            Relationship { not_before: time(3), expires_at: time(2), ..rel(&text) }
        };
        let mut updates: Vec<StoredUpdate> = Vec::new();
        for _ in 0..random.random_range(0..4) {
            let relationship = some(&mut random);
            if !updates.iter().any(|update| update.relationship.same_key(&relationship)) {
                updates.push(if random.random_ratio(1, 4) { delete(relationship) } else { touch(relationship) });
            }
        }
        match random.random_range(0..10) {
            0 => {
                stage.datastore.remove_expired(at(seconds), at(seconds - 2), 3).unwrap();
            }
            1 => {
                let mode = if random.random() { BulkMode::Touch } else { BulkMode::Delete };
                let mut bulk = stage.datastore.bulk(stage.store, mode, at(seconds)).unwrap();
                bulk.push(updates.into_iter().map(|update| update.relationship).collect()).unwrap();
                bulk.publish(None, None, None).unwrap();
            }
            2 => {
                let filter = filter(&format!("document:d{}", random.random_range(0..4)), None);
                let delete = Some(crate::DeleteByFilter { filter, limit: None, partial: false });
                let transaction = Transaction { delete, updates, ..Transaction::new(stage.store, at(seconds)) };
                stage.commit(transaction).unwrap();
            }
            _ => drop(stage.write_at(at(seconds), updates).unwrap()),
        }
        if random.random_ratio(1, 3) {
            continue;
        }
        let settled = loop {
            let passed = stage.datastore.pass_time(at(seconds), 2).unwrap();
            if !passed.more {
                break passed.settled.unwrap();
            }
        };
        assert_eq!(settled, Settled { revision: stage.datastore.head(), time: at(seconds) });
        for entry in stage.datastore.log(followed, usize::MAX).unwrap() {
            followed = entry.revision;
            for change in entry.changes {
                let edge = (change.table, change.resource, change.subject, change.source);
                match change.effect {
                    Effect::Begins => assert!(holding.insert(edge), "{edge:?} begins twice"),
                    Effect::Ends => assert!(holding.remove(&edge), "{edge:?} ends, and did not hold"),
                    Effect::Continues => assert!(holding.contains(&edge), "{edge:?} continues, and did not hold"),
                    Effect::Silent => assert!(!holding.contains(&edge), "{edge:?} is silent, and held"),
                }
            }
        }
        let head = stage.head();
        let mut live = BTreeSet::new();
        for table in head.tables().iter() {
            let edges = scan(&*head, table.id, Direction::Forward);
            let edges = edges.iter().filter(|edge| edge.is_live(at(seconds)));
            live.extend(edges.map(|edge| (table.id, edge.resource, edge.subject, edge.source)));
        }
        assert_eq!(holding, live, "at second {seconds}");
    }
}

/// What is kept under a name is there until it is replaced or no longer kept, for each store apart.
pub fn what_is_kept_is_there(make: Make<'_>) {
    let stage = Stage::new(make);
    let (one, two) = (StoreId(1), StoreId(2));
    let head = stage.datastore.head();
    assert_eq!(stage.datastore.kept(one, "a").unwrap(), None);
    stage.datastore.keep(one, "a", Some(vec![1])).unwrap();
    stage.datastore.keep(two, "a", Some(Vec::new())).unwrap();
    stage.datastore.keep(one, "a", Some(vec![2, 3])).unwrap();
    assert_eq!(stage.datastore.kept(one, "a").unwrap(), Some(vec![2, 3]));
    assert_eq!(stage.datastore.kept(two, "a").unwrap(), Some(Vec::new()));
    assert_eq!(stage.datastore.kept(one, "ab").unwrap(), None);
    stage.datastore.keep(one, "a", None).unwrap();
    stage.datastore.keep(one, "never", None).unwrap();
    assert_eq!(stage.datastore.kept(one, "a").unwrap(), None);
    assert_eq!(stage.datastore.kept(two, "a").unwrap(), Some(Vec::new()));
    assert_eq!(stage.datastore.head(), head, "it is no part of the history");
}
