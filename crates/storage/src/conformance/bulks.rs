//! Transactions of any size.

use super::*;
use crate::{BulkMode, DeleteByFilter};

fn bulk(stage: &Stage, mode: BulkMode, pushes: &[&[&str]]) -> Result<Committed, CommitError> {
    let mut bulk = stage.datastore.bulk(stage.store, mode, now())?;
    for texts in pushes {
        bulk.push(texts.iter().map(|text| rel(text)).collect())?;
    }
    bulk.publish(None, None, None)
}

/// All of a bulk appears at one revision, with its provenance.
pub fn a_bulk_creates_at_one_revision(make: Make<'_>) {
    let stage = Stage::new(make);
    let before = stage.datastore.head();
    let mut bulk = stage.datastore.bulk(stage.store, BulkMode::Create, at(5)).unwrap();
    bulk.push(vec![rel("document:a#viewer@user:eve[tod]"), rel("document:a#viewer@user:*")]).unwrap();
    bulk.push(vec![until("group:eng#member@user:eve", 90)]).unwrap();
    stage.expect(&[]);
    let committed = bulk.publish(None, Some("alice".to_owned()), Some("{}".to_owned())).unwrap();
    assert_eq!(committed, Committed { revision: before.next(), count: 3, partial: false, replayed: false });
    let expiring = until("group:eng#member@user:eve", 90).to_string();
    stage.expect(&["document:a#viewer@user:eve[tod]", "document:a#viewer@user:*", &expiring]);
    assert!(stored(&*stage.snapshot(before)).is_empty());
    let head = stage.head();
    assert!(stored(&*head).values().flatten().all(|copy| copy.written == committed.revision));
    let provenance = head.provenance(committed.revision).unwrap().unwrap();
    assert_eq!((provenance.time, provenance.actor.as_deref()), (at(5), Some("alice")));
    let log = stage.datastore.log(before, 9).unwrap();
    assert_eq!((log.len(), log[0].changes.len(), &log[0].provenance), (1, 3, &provenance));
}

/// A create of what is there refuses the whole; what has expired is not there.
pub fn a_bulk_that_creates_what_is_there_is_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:b#viewer@user:eve"]);
    stage.write(vec![touch(until("document:c#viewer@user:eve", -1))]);
    stage.write(vec![granted(5, touch(rel("document:d#viewer@user:eve")))]);
    let before = stage.datastore.head();
    let refused = bulk(&stage, BulkMode::Create, &[&["document:a#viewer@user:eve", "document:b#viewer@user:eve[tod]"]]);
    let Err(CommitError::AlreadyExists(which)) = refused else { panic!("{refused:?}") };
    assert_eq!(key(&which), "document:b#viewer@user:eve");
    assert_eq!(stage.datastore.head(), before);
    let loaded = bulk(&stage, BulkMode::Create, &[&["document:c#viewer@user:eve", "document:d#viewer@user:eve"]]);
    assert_eq!(loaded.unwrap().count, 2);
    stage.expect(&["document:b#viewer@user:eve", "document:c#viewer@user:eve", "document:d#viewer@user:eve"]);
}

/// Creating the same relationship twice in one bulk refuses it, within a piece and across pieces, expired or not.
pub fn a_bulk_that_creates_the_same_twice_is_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    let (one, other) = ("document:a#viewer@user:eve", "document:a#viewer@user:eve[tod]");
    for pushes in [&[&[one, other][..]][..], &[&[one], &[other]]] {
        let refused = bulk(&stage, BulkMode::Create, pushes);
        assert!(matches!(refused, Err(CommitError::AlreadyExists(_))), "{refused:?}");
    }
    let expired = until(one, -1).to_string();
    let refused = bulk(&stage, BulkMode::Create, &[&[&expired, &expired]]);
    assert!(matches!(refused, Err(CommitError::AlreadyExists(_))), "{refused:?}");
    stage.expect(&[]);
}

/// A touch replaces, and what comes twice is there as it came last.
pub fn a_bulk_touches_and_the_last_wins(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:a#viewer@user:eve", "document:b#viewer@user:eve"]);
    let committed = bulk(
        &stage,
        BulkMode::Touch,
        &[
            &["document:a#viewer@user:eve[one]", "document:a#viewer@user:eve[two]", "document:c#viewer@user:eve"],
            &["document:c#viewer@user:eve[tod]"],
        ],
    )
    .unwrap();
    assert_eq!(committed.count, 2);
    stage.expect(&["document:a#viewer@user:eve[two]", "document:b#viewer@user:eve", "document:c#viewer@user:eve[tod]"]);
}

/// A bulk ends what is there of what it names, from every source, and counts it.
pub fn a_bulk_deletes(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:a#viewer@user:eve";
    stage.write(vec![touch(rel(text)), granted(4, touch(rel(text))), touch(until("document:p#viewer@user:eve", -1))]);
    stage.touch(&["document:b#viewer@user:eve", "document:c#viewer@user:eve"]);
    let before = stage.datastore.head();
    let committed = bulk(
        &stage,
        BulkMode::Delete,
        &[
            &[text, "document:none#viewer@user:eve", "planet:mars#orbits@star:sun"],
            &["document:b#viewer@user:eve[tod]", "document:b#viewer@user:eve", "document:p#viewer@user:eve"],
        ],
    )
    .unwrap();
    assert_eq!(committed.count, 2, "what was there and had not expired");
    assert_eq!(stored(&*stage.head()).keys().collect::<Vec<_>>(), ["document:c#viewer@user:eve"]);
    assert_eq!(stored(&*stage.snapshot(before)).len(), 4);
}

/// A bulk that is dropped leaves nothing behind, and its names can be used.
pub fn a_dropped_bulk_has_never_been(make: Make<'_>) {
    let stage = Stage::new(make);
    let before = stage.datastore.head();
    let mut dropped = stage.datastore.bulk(stage.store, BulkMode::Create, now()).unwrap();
    dropped.push(vec![rel("document:a#viewer@user:newcomer")]).unwrap();
    drop(dropped);
    assert_eq!(stage.datastore.head(), before);
    assert_eq!(stage.datastore.log(before, 9).unwrap(), []);
    assert!(stored(&*stage.head()).is_empty());
    let committed = bulk(&stage, BulkMode::Create, &[&["document:a#viewer@user:newcomer"]]).unwrap();
    assert_eq!((committed.count, committed.revision), (1, before.next()));
    stage.expect(&["document:a#viewer@user:newcomer"]);
}

/// A bulk is tested against what was committed while it was staged, and several can be staged at once.
pub fn a_bulk_beside_other_commits(make: Make<'_>) {
    let stage = Stage::new(make);
    let mut one = stage.datastore.bulk(stage.store, BulkMode::Create, now()).unwrap();
    let mut two = stage.datastore.bulk(stage.store, BulkMode::Create, now()).unwrap();
    let mut gone = stage.datastore.bulk(stage.store, BulkMode::Touch, now()).unwrap();
    one.push(vec![rel("document:a#viewer@user:eve"), rel("document:b#viewer@user:new")]).unwrap();
    two.push(vec![rel("document:b#viewer@user:new"), rel("document:c#viewer@user:new")]).unwrap();
    gone.push(vec![rel("document:b#viewer@user:new"), rel("document:z#viewer@user:zoe")]).unwrap();
    stage.touch(&["document:a#viewer@user:eve"]);
    drop(gone);
    stage.datastore.collect_garbage(stage.datastore.head(), stage.datastore.head(), 1_000).unwrap();
    let refused = one.publish(None, None, None);
    assert!(matches!(refused, Err(CommitError::AlreadyExists(_))), "{refused:?}");
    stage.datastore.collect_garbage(stage.datastore.head(), stage.datastore.head(), 1_000).unwrap();
    two.publish(None, None, None).unwrap();
    stage.expect(&["document:a#viewer@user:eve", "document:b#viewer@user:new", "document:c#viewer@user:new"]);
}

/// A bulk can name the schema that it was checked against.
pub fn a_bulk_with_a_changed_schema_is_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    let load = |schema_at: u64, text: &str| {
        let mut bulk = stage.datastore.bulk(stage.store, BulkMode::Touch, now()).unwrap();
        bulk.push(vec![rel(text)]).unwrap();
        bulk.publish(Some(Revision(schema_at)), None, None)
    };
    load(1, "document:a#viewer@user:eve").unwrap();
    assert!(matches!(load(2, "document:b#viewer@user:eve"), Err(CommitError::SchemaChanged(Revision(1)))));
    stage.expect(&["document:a#viewer@user:eve"]);
}

/// A bulk for which there is no table is refused.
pub fn a_bulk_of_an_unknown_table_is_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    let refused = bulk(&stage, BulkMode::Touch, &[&["document:a#viewer@user:eve", "planet:mars#orbits@star:sun"]]);
    assert!(matches!(refused, Err(CommitError::NoTable(_))), "{refused:?}");
    stage.expect(&[]);
}

/// More than one piece of everything: pushes, chunks of the log, parts for followers.
pub fn a_large_bulk_comes_in_parts(make: Make<'_>) {
    const COUNT: usize = 25_000;
    let stage = Stage::new(make);
    let listener = Arc::new(Listener::default());
    let after = stage.datastore.follow(Arc::clone(&listener) as Arc<dyn Follower>);
    let mut bulk = stage.datastore.bulk(stage.store, BulkMode::Create, now()).unwrap();
    let relationship = |number: usize| rel(&format!("document:d{}#viewer@user:u{}", number / 7, number % 7));
    for begin in (0..COUNT).step_by(1_000) {
        bulk.push((begin..begin + 1_000).map(relationship).collect()).unwrap();
    }
    assert_eq!(bulk.publish(None, None, None).unwrap().count, COUNT as u64);
    listener.agrees_with_log(&*stage.datastore, after);
    assert!(listener.heard.lock()[0].parts > 1);
    let head = stage.head();
    let table = head.tables().iter().find(|candidate| candidate.key == table("document#viewer@user")).unwrap().id;
    assert_eq!(scan(&*head, table, Direction::Forward).len(), COUNT);
    assert_eq!(scan(&*head, table, Direction::Reverse).len(), COUNT);
    assert_eq!(matching(&*head, &filter("document:d3", None)).len(), 7);
    assert_eq!(stage.datastore.log(after, 5).unwrap()[0].changes.len(), COUNT);
    let mut ends = stage.datastore.bulk(stage.store, BulkMode::Delete, now()).unwrap();
    for begin in (0..COUNT).step_by(5_000) {
        ends.push((begin..begin + 5_000).map(relationship).collect()).unwrap();
    }
    assert_eq!(ends.publish(None, None, None).unwrap().count, COUNT as u64);
    assert!(scan(&*stage.head(), table, Direction::Forward).is_empty());
    assert!(scan(&*stage.head(), table, Direction::Reverse).is_empty());
    assert_eq!(scan(&*head, table, Direction::Forward).len(), COUNT, "a snapshot never changes");
    listener.agrees_with_log(&*stage.datastore, after);
}

/// A delete by filter of more than a piece, beside updates, under a request id.
pub fn a_large_delete_by_filter(make: Make<'_>) {
    const COUNT: usize = 25_000;
    let stage = Stage::new(make);
    stage.touch(&["folder:kept#viewer@user:u1"]);
    let mut bulk = stage.datastore.bulk(stage.store, BulkMode::Create, now()).unwrap();
    let relationship = |number: usize| rel(&format!("document:d{}#viewer@user:u{}", number / 7, number % 7));
    bulk.push((0..COUNT).map(relationship).collect()).unwrap();
    bulk.publish(None, None, None).unwrap();
    let listener = Arc::new(Listener::default());
    let after = stage.datastore.follow(Arc::clone(&listener) as Arc<dyn Follower>);
    let clear = |limit| {
        stage.commit(Transaction {
            request_id: Some(crate::RequestId { id: format!("{limit:?}"), fingerprint: 1 }),
            updates: vec![touch(rel("folder:new#viewer@user:new"))],
            delete: Some(DeleteByFilter { filter: filter("document", None), limit, partial: true }),
            metadata: Some("{}".to_owned()),
            ..stage.transaction()
        })
    };
    let first = clear(Some(20_000)).unwrap();
    assert_eq!((first.count, first.partial, first.revision), (20_000, true, after.next()));
    let rest = clear(None).unwrap();
    assert_eq!((rest.count, rest.partial), (5_000, false));
    assert_eq!(clear(Some(20_000)).unwrap(), Committed { replayed: true, ..first });
    stage.expect(&["folder:kept#viewer@user:u1", "folder:new#viewer@user:new"]);
    listener.agrees_with_log(&*stage.datastore, after);
    assert_eq!(stage.datastore.log(after, 1).unwrap()[0].changes.len(), 20_001);
    assert_eq!(matching(&*stage.snapshot(after), &filter("document", None)).len(), COUNT);
    assert_eq!(matching(&*stage.snapshot(first.revision), &filter("document", None)).len(), 5_000);
}

/// A bulk without relationships is a commit.
pub fn an_empty_bulk_is_a_revision(make: Make<'_>) {
    let stage = Stage::new(make);
    let before = stage.datastore.head();
    let committed = bulk(&stage, BulkMode::Create, &[]).unwrap();
    assert_eq!((committed.count, committed.revision), (0, before.next()));
    assert_eq!(stage.datastore.log(before, 9).unwrap().len(), 1);
}
