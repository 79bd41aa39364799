//! Garbage collection.

use super::*;
use crate::{Collected, RequestId, SnapshotError};

/// Collects everything up to head, log included.
fn collect(stage: &Stage) -> Collected {
    let head = stage.datastore.head();
    collect_to(stage, head, head)
}

fn collect_to(stage: &Stage, floor: Revision, log_floor: Revision) -> Collected {
    let collected = stage.datastore.collect_garbage(floor, log_floor, 1_000_000).unwrap();
    assert!(!collected.more);
    collected
}

/// What newer versions hide goes, what holds stays as it is.
pub fn superseded_versions_go(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.touch(&[text, "document:kept#viewer@user:eve"]);
    for _ in 0..3 {
        stage.touch(&["document:plan#viewer@user:eve[tod]"]);
    }
    stage.write(vec![granted(3, touch(rel(text)))]);
    let before = stored(&*stage.head());
    let collected = collect(&stage);
    assert_eq!((collected.versions, collected.names), (3, 0));
    assert_eq!(stored(&*stage.head()), before);
    assert_eq!(collect(&stage), Collected::default(), "nothing is left to do");
    assert_eq!(stored(&*stage.head()), before);
}

/// However little a call may remove, an end never goes before the versions that it hides.
pub fn an_end_above_older_versions_never_revives(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    for _ in 0..4 {
        stage.touch(&[text, "document:other#viewer@user:eve"]);
        stage.write(vec![granted(3, touch(rel(text)))]);
        stage.write(vec![delete(rel(text))]);
    }
    let head = stage.datastore.head();
    for call in 0.. {
        assert!(call < 1_000, "collecting does not end");
        let collected = stage.datastore.collect_garbage(head, head, 1).unwrap();
        assert!(collected.versions <= 1, "the limit is kept");
        stage.expect(&["document:other#viewer@user:eve"]);
        if !collected.more && collected == Collected::default() {
            break;
        }
    }
    let head = stage.head();
    let document = head.type_id("document").unwrap();
    assert_eq!(head.ordinal(document, "plan").unwrap(), None, "all of it went");
}

/// Revisions behind the floor cannot be opened, those from there on can; the floor never falls.
pub fn the_floor_is_enforced(make: Make<'_>) {
    let stage = Stage::new(make);
    for number in 0..6 {
        stage.touch(&[&format!("document:d{number}#viewer@user:eve")]);
    }
    let head = stage.datastore.head();
    collect_to(&stage, Revision(4), Revision(0));
    assert_eq!(stage.datastore.floor(), Revision(4));
    for asked in 0..=head.0 {
        match stage.datastore.snapshot(stage.store, Revision(asked)) {
            Ok(snapshot) => assert_eq!(stored(&*snapshot).len() as u64, asked - 1),
            Err(SnapshotError::Expired { asked: named, floor }) => {
                assert!(asked < 4 && named == Revision(asked) && floor == Revision(4));
            }
            Err(error) => panic!("{error}"),
        }
    }
    collect_to(&stage, Revision(2), Revision(0));
    assert_eq!(stage.datastore.floor(), Revision(4));
    collect_to(&stage, Revision(u64::MAX), Revision(u64::MAX));
    assert_eq!(stage.datastore.floor(), head);
    assert_eq!(stage.datastore.revision_at(at(-100)).unwrap(), head, "not further back than the floor");
    assert_eq!(stage.all().len(), 6);
}

/// The time that is kept begins with the oldest revision that can be opened, not with the oldest commit that is remembered.
pub fn the_time_that_is_kept_begins_with_the_floor(make: Make<'_>) {
    let stage = Stage { datastore: make(), store: StoreId::DEFAULT };
    assert_eq!(stage.datastore.kept_since().unwrap(), None);
    for seconds in [10, 20, 15, 30] {
        stage.write_at(at(seconds), Vec::new()).unwrap();
    }
    assert_eq!(stage.datastore.kept_since().unwrap(), None, "all of it can be read");
    for (floor, seconds) in [(1, 10), (3, 20), (4, 30)] {
        collect_to(&stage, Revision(floor), Revision(0));
        let kept_since = stage.datastore.kept_since().unwrap();
        assert_eq!(kept_since, Some(at(seconds)), "floor {floor}");
        let oldest = stage.datastore.revision_at(at(seconds)).unwrap();
        assert!(stage.datastore.snapshot(stage.store, oldest).is_ok());
    }
}

/// A snapshot that is open sees to its end what it saw at first, names included.
pub fn an_open_snapshot_keeps_what_it_sees(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve", "document:b#viewer@user:bob[tod]"]);
    let open = stage.head();
    let before = stored(&*open);
    stage.write(vec![delete(rel("document:plan#viewer@user:eve")), touch(rel("document:b#viewer@user:bob"))]);
    collect(&stage);
    assert_eq!(stored(&*open), before);
    assert!(stage.datastore.snapshot(stage.store, open.revision()).is_err(), "but it cannot be opened again");
    drop(open);
    let collected = collect(&stage);
    assert_eq!((collected.versions, collected.names), (3, 2));
    stage.expect(&["document:b#viewer@user:bob"]);
}

/// A name that nothing mentions any more goes, and comes back as another ordinal.
pub fn dead_names_go_and_come_back_anew(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.touch(&[text, "document:kept#viewer@user:eve", "group:plan#member@user:bob"]);
    let head = stage.head();
    let (document, user) = (head.type_id("document").unwrap(), head.type_id("user").unwrap());
    let plan = head.ordinal(document, "plan").unwrap().unwrap();
    let eve = head.ordinal(user, "eve").unwrap();
    drop(head);
    stage.write(vec![delete(rel(text))]);
    assert_eq!(collect(&stage).names, 1);
    let head = stage.head();
    assert_eq!(head.ordinal(document, "plan").unwrap(), None);
    assert!(head.object_id(document, plan).is_err());
    assert_eq!(head.ordinal(user, "eve").unwrap(), eve);
    drop(head);
    stage.touch(&["document:new#viewer@user:eve", text]);
    let head = stage.head();
    for id in ["new", "plan"] {
        assert!(head.ordinal(document, id).unwrap().unwrap() > plan, "an ordinal is never given out again");
    }
    stage.expect(&[
        text,
        "document:kept#viewer@user:eve",
        "document:new#viewer@user:eve",
        "group:plan#member@user:bob",
    ]);
}

/// Names that an entry of the log mentions stay as long as it does.
pub fn the_log_keeps_names(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.touch(&[text]);
    let ended = stage.write(vec![delete(rel(text))]);
    stage.touch(&["folder:a#viewer@user:bob"]);
    let before_end = Revision(ended.0 - 1);
    let collected = collect_to(&stage, stage.datastore.head(), before_end);
    assert_eq!((stage.datastore.floor(), collected.names), (stage.datastore.head(), 0));
    stage.expect(&["folder:a#viewer@user:bob"]);
    let entry = &stage.datastore.log(before_end, 1).unwrap()[0];
    let head = stage.head();
    let document = head.type_id("document").unwrap();
    assert_eq!(&*head.object_id(document, entry.changes[0].resource).unwrap(), "plan");
    drop(head);
    assert_eq!(collect(&stage).names, 2);
    assert_eq!(stage.head().ordinal(document, "plan").unwrap(), None);
    stage.expect(&["folder:a#viewer@user:bob"]);
}

/// The log is cut where it is told to, apart from the floor.
pub fn the_log_is_cut(make: Make<'_>) {
    let stage = Stage::new(make);
    for number in 0..6 {
        stage.touch(&[&format!("document:d{number}#viewer@user:eve")]);
    }
    let whole = stage.datastore.log(Revision(0), 99).unwrap();
    collect_to(&stage, Revision(3), Revision(5));
    for after in 0..5 {
        let cut = stage.datastore.log(Revision(after), 9);
        assert!(matches!(cut, Err(SnapshotError::Expired { floor: Revision(5), .. })), "{cut:?}");
        let cut = stage.datastore.log_piece(Revision(after + 1), 0);
        assert!(matches!(cut, Err(SnapshotError::Expired { floor: Revision(5), .. })), "{cut:?}");
    }
    assert!(stage.datastore.log_piece(Revision(6), 0).unwrap().is_some());
    assert_eq!(stage.datastore.log(Revision(5), 9).unwrap(), whole[5..]);
    assert_eq!(stage.datastore.usage().log_entries, 2);
    stage.snapshot(Revision(3));
    collect_to(&stage, Revision(6), Revision(5));
    assert_eq!(stage.datastore.log(Revision(5), 9).unwrap(), whole[5..]);
    stage.touch(&["document:e#viewer@user:eve"]);
    assert_eq!(stage.datastore.log(Revision(6), 9).unwrap().len(), 2);
}

/// A transaction is known for as long as an edge of it is there.
pub fn provenance_goes_with_its_last_edge(make: Make<'_>) {
    let stage = Stage::new(make);
    let first = stage.touch(&["document:a#viewer@user:eve", "document:b#viewer@user:eve"]);
    let second = stage.touch(&["document:c#viewer@user:eve"]);
    stage.touch(&["document:a#viewer@user:eve"]);
    let third = stage.write(vec![delete(rel("document:c#viewer@user:eve"))]);
    collect(&stage);
    let known = |revision| stage.head().provenance(revision).unwrap().is_some();
    assert_eq!((known(first), known(second), known(third)), (true, false, false));
    stage.write(vec![delete(rel("document:b#viewer@user:eve"))]);
    collect(&stage);
    assert!(!known(first));
    stage.expect(&["document:a#viewer@user:eve"]);
}

/// Collecting a little at a time ends where collecting at once does.
pub fn collecting_in_small_steps_ends_the_same(make: Make<'_>) {
    let ends: Vec<_> = [1_000_000, 1, 7]
        .into_iter()
        .map(|limit| {
            let stage = Stage::new(make);
            for round in 0..4 {
                let texts: Vec<String> =
                    (0..10).map(|n| format!("document:d{}#viewer@user:u{n}", (n * 3 + round) % 11)).collect();
                stage.write(texts.iter().map(|text| touch(rel(text))).collect());
                stage.write(texts.iter().step_by(2).map(|text| delete(rel(text))).collect());
            }
            let before = stored(&*stage.head());
            let head = stage.datastore.head();
            let (mut versions, mut names) = (0, 0);
            for call in 0.. {
                assert!(call < 10_000, "collecting does not end");
                let collected = stage.datastore.collect_garbage(head, head, limit).unwrap();
                versions += collected.versions;
                names += collected.names;
                if !collected.more {
                    break;
                }
            }
            assert_eq!(stored(&*stage.head()), before);
            (versions, names, before)
        })
        .collect();
    assert!(ends[0].0 > 20);
    assert_eq!(ends[1], ends[0]);
    assert_eq!(ends[2], ends[0]);
}

/// Schemas behind the floor go, but for the one in force there.
pub fn old_schemas_go(make: Make<'_>) {
    let stage = Stage::new(make);
    for bytes in 1..5u8 {
        let schema = SchemaWrite { bytes: vec![bytes], tables: Vec::new(), types: Vec::new() };
        stage.commit(Transaction { schema: Some(schema), ..stage.transaction() }).unwrap();
        stage.write(Vec::new());
    }
    collect_to(&stage, Revision(5), Revision(5));
    let at = |revision: u64| stage.snapshot(Revision(revision)).schema().unwrap().map(|schema| schema.bytes.to_vec());
    assert_eq!((at(5), at(6), at(9)), (Some(vec![2]), Some(vec![3]), Some(vec![4])));
    collect(&stage);
    assert_eq!(at(9), Some(vec![4]));
}

/// Answers are forgotten after a day, not before, whatever is collected.
pub fn forgotten_requests_go(make: Make<'_>) {
    let stage = Stage::new(make);
    let ask = |seconds, id: &str| {
        let request_id = Some(RequestId { id: id.to_owned(), fingerprint: 1 });
        stage.commit(Transaction { request_id, ..Transaction::new(stage.store, at(seconds)) }).unwrap().replayed
    };
    let day = RequestId::KEPT_SECONDS;
    assert!(!ask(0, "old") && !ask(0, "reused") && !ask(100, "young"));
    stage.write_at(at(day + 50), Vec::new()).unwrap();
    assert!(!ask(day + 50, "reused"));
    collect(&stage);
    assert!(ask(day + 50, "young") && ask(day + 50, "reused"));
    assert!(!ask(10, "old"), "it is gone even for a call of an older clock");
}
