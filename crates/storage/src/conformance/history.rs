//! Revisions, snapshots, stores, schemas, the log, followers and provenance.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::SnapshotError;

/// Each revision shows for ever what it showed when it was head.
pub fn a_snapshot_never_changes(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    let steps: Vec<Vec<StoredUpdate>> = vec![
        vec![create(rel(text))],
        vec![touch(rel("document:plan#viewer@user:eve[tod]")), create(rel("document:b#viewer@user:*"))],
        vec![delete(rel(text))],
        vec![granted(4, create(rel(text)))],
        vec![delete(rel(text)), delete(rel("document:b#viewer@user:*"))],
    ];
    let mut seen = Vec::new();
    for updates in steps {
        stage.write(updates);
        let snapshot = stage.head();
        seen.push((stored(&*snapshot), snapshot));
    }
    for (shown, snapshot) in seen {
        assert_eq!(stored(&*snapshot), shown);
        assert_eq!(stored(&*stage.snapshot(snapshot.revision())), shown);
    }
    assert!(stored(&*stage.snapshot(Revision(0))).is_empty());
}

/// Commits of all stores are numbered one after the other.
pub fn revisions_have_one_order_for_all_stores(make: Make<'_>) {
    let datastore = make();
    assert_eq!((datastore.head(), datastore.floor()), (Revision(0), Revision(0)));
    for (number, store) in [1, 2, 1, 7, 2].into_iter().enumerate() {
        let committed = datastore.commit(Transaction::new(StoreId(store), now())).unwrap();
        assert_eq!(committed.revision, Revision(number as u64 + 1));
        assert_eq!(datastore.head(), committed.revision);
    }
}

/// A store sees nothing of another: no relationship, name, type, table or schema.
pub fn stores_are_isolated(make: Make<'_>) {
    let one = Stage::new(make);
    one.touch(&["document:plan#viewer@user:eve"]);
    let two = Stage { store: StoreId(2), ..one.clone() };
    let snapshot = two.head();
    assert!(snapshot.tables().is_empty() && snapshot.schema().unwrap().is_none());
    assert_eq!(snapshot.type_id("user"), None);
    let refused = two.write_at(now(), vec![touch(rel("document:plan#viewer@user:eve"))]);
    assert!(matches!(refused, Err(CommitError::NoTable(_))));
    two.commit(Transaction { schema: Some(schema(&TABLES)), ..two.transaction() }).unwrap();
    two.expect(&[]);
    let user = two.head().type_id("user").unwrap();
    assert_eq!(two.head().ordinal(user, "eve").unwrap(), None);
    two.touch(&["document:plan#viewer@user:bob"]);
    one.write(vec![delete(rel("document:plan#viewer@user:bob")), touch(rel("folder:plan#viewer@user:bob"))]);
    two.expect(&["document:plan#viewer@user:bob"]);
    one.expect(&["document:plan#viewer@user:eve", "folder:plan#viewer@user:bob"]);
    for store in [StoreId(0), StoreId(3), StoreId(u32::MAX)] {
        assert!(Stage { store, ..one.clone() }.head().tables().is_empty());
    }
}

/// A snapshot of what has not been committed is refused.
pub fn snapshots_outside_the_window_are_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    let head = stage.datastore.head();
    let Err(error) = stage.datastore.snapshot(stage.store, head.next()) else { panic!("a snapshot of the future") };
    assert!(matches!(error, SnapshotError::Future { asked, head: newest } if asked == head.next() && newest == head));
}

/// Each revision has the schema that was in force.
pub fn schemas_are_versioned(make: Make<'_>) {
    let stage = Stage { datastore: make(), store: StoreId::DEFAULT };
    let write = |bytes: &[u8]| {
        let schema = SchemaWrite { bytes: bytes.to_vec(), tables: Vec::new(), types: Vec::new() };
        stage.commit(Transaction { schema: Some(schema), ..stage.transaction() }).unwrap().revision
    };
    stage.write(Vec::new());
    let first = write(b"first");
    stage.write(Vec::new());
    let second = write(&[0, 255, 7]);
    let at = |revision| {
        let schema = stage.snapshot(revision).schema().unwrap();
        schema.map(|schema| (schema.revision, schema.bytes.to_vec()))
    };
    assert_eq!(at(Revision(1)), None);
    assert_eq!(at(first), Some((first, b"first".to_vec())));
    assert_eq!(at(first.next()), Some((first, b"first".to_vec())));
    assert_eq!(at(second), Some((second, vec![0, 255, 7])));
}

/// Types and tables keep their numbers from schema to schema; a dropped table stays.
pub fn types_and_tables_keep_their_numbers(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve"]);
    let before = stage.head();
    let idle = before.type_id("idle").unwrap();
    stage
        .commit(Transaction { schema: Some(schema(&["aaa#bbb@user", "zzz#bbb@aaa"])), ..stage.transaction() })
        .unwrap();
    let after = stage.head();
    for table in before.tables().iter() {
        assert!(after.tables().contains(table), "{table:?}");
        assert_eq!(after.type_id(&table.key.resource_type), Some(table.resource_type));
        assert_eq!(after.type_id(&table.key.subject_type), Some(table.subject_type));
    }
    assert_eq!(after.type_id("idle"), Some(idle));
    assert_eq!(after.tables().len(), TABLES.len() + 2);
    let mut ids: Vec<_> = after.tables().iter().map(|table| table.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), after.tables().len(), "table ids are unique");
    stage.expect(&["document:plan#viewer@user:eve"]);
    assert_eq!(before.tables().len(), TABLES.len(), "a snapshot never changes");
}

/// The log has an entry for each commit with all that changed.
pub fn the_log_tells_every_change(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage
        .commit(Transaction {
            updates: vec![
                granted(5, touch(until(text, 50))),
                create(rel("document:plan#viewer@user:bob[tod:{\"a\":1}]")),
            ],
            actor: Some("eve".to_owned()),
            metadata: Some("{\"why\":1}".to_owned()),
            ..Transaction::new(stage.store, at(3))
        })
        .unwrap();
    stage.write(vec![delete(rel(text))]);
    let log = stage.datastore.log(Revision(0), 10).unwrap();
    assert_eq!(log.iter().map(|entry| entry.revision.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log.iter().map(|entry| entry.schema_changed).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(log[1].provenance.time, at(3));
    assert_eq!(log[1].provenance.actor.as_deref(), Some("eve"));
    assert_eq!(log[1].provenance.metadata.as_deref(), Some("{\"why\":1}"));
    let changes = &log[1].changes;
    assert_eq!(changes.iter().map(|change| change.source.0).collect::<Vec<_>>(), [5, 0]);
    let states: Vec<_> = changes.iter().map(|change| change.state.clone().unwrap()).collect();
    assert_eq!(states[0].expires_at, Some(at(50)));
    assert_eq!(states[1].caveat.as_ref().unwrap().to_string(), "tod:{\"a\":1}");
    let ended = &log[2].changes[0];
    assert_eq!((ended.source.0, &ended.state, log[2].changes.len()), (5, &None, 1));
    let head = stage.head();
    let table = head.tables().iter().find(|table| table.id == ended.table).unwrap().clone();
    assert_eq!(&*head.object_id(table.resource_type, ended.resource).unwrap(), "plan");
    assert_eq!(&*head.object_id(table.subject_type, ended.subject).unwrap(), "eve");
}

/// The log is read in pages of whole entries.
pub fn the_log_comes_in_pages(make: Make<'_>) {
    let stage = Stage::new(make);
    for number in 0..5 {
        stage.touch(&[&format!("document:d{number}#viewer@user:eve")]);
    }
    let whole = stage.datastore.log(Revision(0), 100).unwrap();
    let (mut paged, mut after) = (Vec::new(), Revision(0));
    loop {
        let page = stage.datastore.log(after, 2).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = last.revision;
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    assert_eq!(stage.datastore.log(Revision(2), 0).unwrap().len(), 1, "at least one if there is one");
    assert!(stage.datastore.log(Revision(99), 9).unwrap().is_empty());
}

/// The log is read in pieces, however large a commit is: together they are its entries.
pub fn the_log_comes_in_pieces(make: Make<'_>) {
    let stage = Stage::new(make);
    let mut bulk = stage.datastore.bulk(stage.store, crate::BulkMode::Touch, now()).unwrap();
    bulk.push((0..2_500).map(|number| rel(&format!("document:d{number}#viewer@user:eve"))).collect()).unwrap();
    bulk.publish(None, None, None).unwrap();
    stage.write(Vec::new());
    stage.touch(&["document:plan#viewer@user:eve"]);
    for entry in stage.datastore.log(Revision(0), 100).unwrap() {
        let mut changes = Vec::new();
        for number in 0.. {
            let piece = stage.datastore.log_piece(entry.revision, number).unwrap().unwrap();
            assert_eq!((piece.revision, piece.store), (entry.revision, entry.store));
            assert_eq!((piece.schema_changed, &piece.provenance), (entry.schema_changed, &entry.provenance));
            assert!(piece.changes.len() <= 1_100, "{} changes in one piece", piece.changes.len());
            changes.extend(piece.changes);
            if piece.last {
                assert!(stage.datastore.log_piece(entry.revision, number + 1).is_err(), "a piece after the last");
                assert_eq!(
                    number > 0,
                    entry.changes.len() > 1_100,
                    "a large commit comes in pieces, a small one in one"
                );
                break;
            }
        }
        assert_eq!(changes, entry.changes);
    }
    let head = stage.datastore.head();
    assert!(stage.datastore.log_piece(head.next(), 0).unwrap().is_none());
    let missing = stage.datastore.log_piece(Revision(0), 0);
    assert!(matches!(missing, Err(crate::SnapshotError::Expired { .. })), "no commit has revision 0");
}

/// A follower is told before anybody can read the commit.
pub fn followers_hear_before_the_head_moves(make: Make<'_>) {
    struct Early {
        datastore: Mutex<Option<Arc<dyn Datastore>>>,
        heard: AtomicBool,
    }
    impl Follower for Early {
        fn follow(&self, part: &LogPart<'_>) {
            let datastore = self.datastore.lock();
            let head = datastore.as_ref().unwrap().head();
            assert!(head < part.revision, "told of {} at head {head}", part.revision);
            self.heard.store(true, Ordering::SeqCst);
        }
    }
    let stage = Stage::new(make);
    let early = Arc::new(Early { datastore: Mutex::new(Some(Arc::clone(&stage.datastore))), heard: false.into() });
    stage.datastore.follow(Arc::clone(&early) as Arc<dyn Follower>);
    stage.touch(&["document:plan#viewer@user:eve"]);
    assert!(early.heard.load(Ordering::SeqCst), "a commit returns after its followers were told");
    *early.datastore.lock() = None;
}

/// What followers hear is what the log tells, from the revision on that they were given.
pub fn followers_hear_what_the_log_tells(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve"]);
    let (one, two) = (Arc::new(Listener::default()), Arc::new(Listener::default()));
    let from_one = stage.datastore.follow(Arc::clone(&one) as Arc<dyn Follower>);
    assert_eq!(from_one, stage.datastore.head());
    stage.write(vec![delete(rel("document:plan#viewer@user:eve")), touch(rel("document:b#viewer@user:eve[tod]"))]);
    stage.write(Vec::new());
    let from_two = stage.datastore.follow(Arc::clone(&two) as Arc<dyn Follower>);
    let refused = stage.write_at(now(), vec![create(rel("document:b#viewer@user:eve"))]);
    assert!(refused.is_err());
    stage.commit(Transaction { schema: Some(schema(&TABLES)), ..stage.transaction() }).unwrap();
    let mut bulk = stage.datastore.bulk(stage.store, crate::BulkMode::Touch, now()).unwrap();
    bulk.push(vec![rel("document:c#viewer@user:eve"), rel("folder:c#viewer@user:eve")]).unwrap();
    bulk.publish(None, None, None).unwrap();
    one.agrees_with_log(&*stage.datastore, from_one);
    two.agrees_with_log(&*stage.datastore, from_two);
    assert_eq!((one.heard.lock().len(), two.heard.lock().len()), (4, 2));
}

/// Who wrote, when and why is known for each edge.
pub fn provenance_is_kept(make: Make<'_>) {
    let stage = Stage::new(make);
    let written = stage
        .commit(Transaction {
            updates: vec![create(rel("document:plan#viewer@user:eve"))],
            actor: Some("alice".to_owned()),
            metadata: Some("{}".to_owned()),
            ..Transaction::new(stage.store, at(77))
        })
        .unwrap()
        .revision;
    stage.touch(&["document:plan#viewer@user:bob"]);
    let head = stage.head();
    let edge = &stored(&*head)["document:plan#viewer@user:eve"][0];
    assert_eq!(edge.written, written);
    let provenance = head.provenance(written).unwrap().unwrap();
    assert_eq!(provenance.time, at(77));
    assert_eq!((provenance.actor.as_deref(), provenance.metadata.as_deref()), (Some("alice"), Some("{}")));
    assert_eq!(head.provenance(Revision(99)).unwrap(), None);
}

/// A time names the revision that was head then; clocks that run backwards change nothing about older commits.
pub fn a_time_names_the_revision_that_was_head(make: Make<'_>) {
    let stage = Stage { datastore: make(), store: StoreId::DEFAULT };
    assert_eq!(stage.datastore.revision_at(at(5)).unwrap(), Revision(0));
    for seconds in [10, 20, 15, 20, 30] {
        stage.write_at(at(seconds), Vec::new()).unwrap();
    }
    let expected = [(9, 0), (10, 1), (19, 1), (20, 4), (29, 4), (30, 5), (99, 5)];
    for (seconds, revision) in expected {
        assert_eq!(stage.datastore.revision_at(at(seconds)).unwrap(), Revision(revision), "at {seconds}");
    }
}

/// Commits from many threads come one after the other, each is readable when it returns, and of two that exclude each
/// other one fails.
pub fn concurrent_commits_have_one_order(make: Make<'_>) {
    let stage = Stage::new(make);
    let listener = Arc::new(Listener::default());
    let after = stage.datastore.follow(Arc::clone(&listener) as Arc<dyn Follower>);
    let created: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread: usize| {
                let stage = stage.clone();
                scope.spawn(move || {
                    let mut created = 0;
                    for number in 0..25 {
                        let own = format!("document:own{thread}x{number}#viewer@user:u{thread}");
                        let revision = stage.write(vec![create(rel(&own))]);
                        assert!(stage.datastore.head() >= revision);
                        let found = matching(&*stage.head(), &filter(own.split_once('#').unwrap().0, None));
                        assert_eq!(found.len(), 1, "{own}");
                        let shared = format!("document:shared{number}#viewer@user:eve");
                        match stage.write_at(now(), vec![create(rel(&shared))]) {
                            Ok(_) => created += 1,
                            Err(CommitError::AlreadyExists(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    created
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(created, 25);
    assert_eq!(stage.all().len(), 8 * 25 + 25);
    assert_eq!(stage.datastore.head(), Revision(after.0 + 8 * 25 + 25));
    listener.agrees_with_log(&*stage.datastore, after);
}

/// A pair of transactions of two stores becomes visible at once, or leaves nothing in either.
pub fn two_stores_commit_both_or_neither(make: Make<'_>) {
    let one = Stage::new(make);
    let two = Stage { store: StoreId(2), ..one.clone() };
    two.commit(Transaction { schema: Some(schema(&TABLES)), ..two.transaction() }).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (inner, datastore) = (Arc::clone(&heard), Arc::downgrade(&one.datastore));
    struct Heads<F>(F);
    impl<F: Fn(&LogPart<'_>) + Send + Sync> Follower for Heads<F> {
        fn follow(&self, part: &LogPart<'_>) {
            (self.0)(part);
        }
    }
    one.datastore.follow(Arc::new(Heads(move |part: &LogPart<'_>| {
        if let Some(datastore) = datastore.upgrade() {
            inner.lock().push((part.revision, part.store, datastore.head()));
        }
    })));
    let before = one.datastore.head();
    let pair = |plan: StoredUpdate, eve: StoredUpdate| {
        let of = |stage: &Stage, update| Transaction { updates: vec![update], ..stage.transaction() };
        one.datastore.commit_both(of(&one, plan), of(&two, eve))
    };
    let (plan, eve) = (rel("document:plan#viewer@user:eve"), rel("group:g#member@user:eve"));
    let [first, second] = pair(create(plan.clone()), create(eve.clone())).unwrap();
    assert_eq!([first.revision, second.revision], [before.next(), before.next().next()]);
    assert_eq!(*heard.lock(), [(first.revision, one.store, before), (second.revision, two.store, before)]);
    one.expect(&["document:plan#viewer@user:eve"]);
    two.expect(&["group:g#member@user:eve"]);

    let head = one.datastore.head();
    let new = rel("document:new#viewer@user:zoe");
    for (mine, theirs) in [(create(new.clone()), create(eve)), (create(plan), create(new.clone()))] {
        assert!(matches!(pair(mine, theirs), Err(CommitError::AlreadyExists(_))));
        assert_eq!(one.datastore.head(), head);
        one.expect(&["document:plan#viewer@user:eve"]);
        two.expect(&["group:g#member@user:eve"]);
    }
    let user = one.head().type_id("user").unwrap();
    assert_eq!(one.head().ordinal(user, "zoe").unwrap(), None, "a name is left of what failed");
    let same = one.datastore.commit_both(one.transaction(), one.transaction());
    assert!(matches!(same, Err(CommitError::Storage(_))));
    pair(create(new.clone()), create(new)).unwrap();
    assert_eq!(one.datastore.log(head, 9).unwrap().len(), 2);
}
