//! The conformance suite, and what only a store on disk can do: be closed, opened, refused and damaged.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;

use stonetown_storage::conformance::random::random_history;
use stonetown_storage::conformance::time::random_times;
use stonetown_storage::{Direction, Guard, LogPart, Ordinal, RequestId, SchemaWrite, StoredUpdate, TableKey, TypeId};
use stonetown_tuple::{Operation, Relationship, Source};
use tempfile::TempDir;

use super::*;
use crate::database::Batch;
use crate::keys::EdgeKey;

stonetown_storage::conformance_tests! {
    |kept| {
        let directory = tempfile::tempdir().unwrap();
        let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
        kept.push(Box::new(directory));
        Arc::new(datastore)
    }
}

const STORE: StoreId = StoreId(1);

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn open(directory: &TempDir) -> RocksDatastore {
    RocksDatastore::open(directory.path(), Options::default()).unwrap()
}

fn refused(directory: &TempDir) -> String {
    match RocksDatastore::open(directory.path(), Options::default()) {
        Err(StorageError::Refused(why)) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened"),
    }
}

fn write(datastore: &RocksDatastore, operation: Operation, text: &str) -> Result<Revision, CommitError> {
    let relationship: Relationship = text.parse().unwrap();
    let schema = SchemaWrite { bytes: b"schema".to_vec(), tables: vec![TableKey::of(&relationship)], types: vec![] };
    let update = StoredUpdate { operation, relationship, source: Source::STANDING };
    let transaction = Transaction { schema: Some(schema), updates: vec![update], ..Transaction::new(STORE, now()) };
    datastore.commit(transaction).map(|committed| committed.revision)
}

fn edges(datastore: &RocksDatastore, at: Revision) -> Result<usize, StorageError> {
    let snapshot = datastore.snapshot(STORE, at).unwrap();
    let mut count = 0;
    for table in snapshot.tables().iter() {
        snapshot.scan_table(table.id, Direction::Forward, None, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })?;
    }
    Ok(count)
}

#[test]
fn effects_add_up_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Arc::new(RocksDatastore::open(directory.path(), Options::default()).unwrap()) as Arc<dyn Datastore>;
    random_times(open(), &mut |datastore| {
        drop(datastore);
        open()
    });
}

/// A directory of format 1 has no moments: they are found when it is opened, once.
#[test]
fn a_directory_of_format_1_is_brought_up() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    for (text, seconds) in [("gone", -5), ("later", 100), ("kept", 0)] {
        let relationship = Relationship {
            expires_at: (seconds != 0).then(|| time(seconds)),
            ..format!("document:{text}#viewer@user:eve").parse().unwrap()
        };
        let update = StoredUpdate { operation: Operation::Touch, relationship, source: Source::STANDING };
        let schema =
            SchemaWrite { bytes: vec![1], tables: vec![TableKey::of(&update.relationship)], types: Vec::new() };
        let transaction =
            Transaction { schema: Some(schema), updates: vec![update], ..Transaction::new(STORE, time(-10)) };
        datastore.commit(transaction).unwrap();
    }
    write(&datastore, Operation::Touch, "document:last#viewer@user:eve").unwrap();
    let mut batch = Batch::default();
    batch.delete_all(&keys::all(Kind::Ahead));
    datastore.shared.database.write(batch, true).unwrap();
    drop(datastore);
    fs::write(directory.path().join("FORMAT"), "stonetown format 1\n").unwrap();

    for _ in 0..2 {
        let datastore = open(&directory);
        assert_eq!(fs::read_to_string(directory.path().join("FORMAT")).unwrap(), "stonetown format 2\n");
        assert_eq!(datastore.next_moment(), Some(time(-5)));
    }
    let datastore = open(&directory);
    assert_eq!(datastore.pass_time(time(200), 10).unwrap().edges, 2);
    assert_eq!(datastore.remove_expired(time(200), time(200), 10).unwrap().edges, 2);
    assert_eq!(edges(&datastore, datastore.head()).unwrap(), 2);
}

#[test]
fn what_is_kept_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory).keep(STORE, "counters", Some(vec![1, 2])).unwrap();
    assert_eq!(open(&directory).kept(STORE, "counters").unwrap(), Some(vec![1, 2]));
}

#[test]
fn random_histories_survive_being_closed_and_opened() {
    let directory = tempfile::tempdir().unwrap();
    // Caches too small to help, and groups of few.
    let options = Options {
        block_cache_bytes_max: 64 << 10,
        name_cache_bytes_max: 500,
        group_transactions_max: 2,
        ..Options::default()
    };
    let open = || Arc::new(RocksDatastore::open(directory.path(), options.clone()).unwrap()) as Arc<dyn Datastore>;
    let mut reopen = |datastore: Arc<dyn Datastore>| {
        drop(datastore);
        open()
    };
    random_history(open(), &mut reopen, 600);
}

#[test]
fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let text = "document:plan#viewer@user:eve[tod:{\"a\":1}]";
    let ask = |datastore: &RocksDatastore| {
        datastore.commit(Transaction {
            request_id: Some(RequestId { id: "one".to_owned(), fingerprint: 1 }),
            actor: Some("eve".to_owned()),
            ..Transaction::new(STORE, now())
        })
    };
    let look = |datastore: &RocksDatastore| {
        let snapshot = datastore.snapshot(STORE, datastore.head()).unwrap();
        let counts: Vec<_> = (0..=datastore.head().0).map(|at| edges(datastore, Revision(at)).unwrap()).collect();
        (
            (datastore.instance(), datastore.head(), datastore.floor(), counts),
            (snapshot.tables(), snapshot.schema().unwrap(), snapshot.provenance(Revision(3)).unwrap()),
            (datastore.log(Revision(0), 99).unwrap(), datastore.revision_at(now()).unwrap()),
        )
    };
    let datastore = open(&directory);
    write(&datastore, Operation::Create, text).unwrap();
    write(&datastore, Operation::Delete, text).unwrap();
    ask(&datastore).unwrap();
    let before = look(&datastore);
    drop(datastore);
    let datastore = open(&directory);
    assert_eq!(look(&datastore), before);
    assert!(ask(&datastore).unwrap().replayed);
    write(&datastore, Operation::Create, "group:eng#member@user:bob").unwrap();
    assert_eq!(edges(&datastore, datastore.head()).unwrap(), 1);
}

/// What a crash leaves is what the operating system has been given: a copy of the directory is just that.
#[test]
fn a_copy_of_an_open_directory_has_every_acknowledged_commit() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    for number in 0..50 {
        let revision = write(&datastore, Operation::Create, &format!("document:d{number}#viewer@user:eve")).unwrap();
        if number % 10 == 0 {
            let copy = tempfile::tempdir().unwrap();
            copy_all(directory.path(), copy.path());
            let copied = open(&copy);
            assert_eq!(copied.head(), revision);
            assert_eq!(edges(&copied, revision).unwrap(), number + 1);
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    let file = directory.path().join("FORMAT");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("stonetown format {FORMAT}\n"));
    fs::write(&file, format!("stonetown format {}\n", FORMAT + 1)).unwrap();
    let why = refused(&directory);
    assert!(why.contains(&format!("has format {}", FORMAT + 1)) && why.contains("at least as new"), "{why}");
    fs::write(&file, "nonsense").unwrap();
    let unreadable = RocksDatastore::open(directory.path(), Options::default());
    assert!(matches!(unreadable, Err(StorageError::Damaged(_))));
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("holiday.jpg"), "sun").unwrap();
    let why = refused(&directory);
    assert!(why.contains("not a Stonetown data directory") && why.contains("holiday.jpg"), "{why}");
    let left: Vec<PathBuf> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_second_opener_is_refused_until_all_of_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    assert!(refused(&directory).contains("in use by another process"));
    let snapshot = datastore.snapshot(STORE, Revision(0)).unwrap();
    drop(datastore);
    assert!(refused(&directory).contains("in use by another process"));
    drop(snapshot);
    drop(open(&directory));
}

#[test]
fn missing_acknowledged_commits_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let old = tempfile::tempdir().unwrap();
    copy_all(directory.path(), old.path());
    write(&datastore, Operation::Create, "document:plan#viewer@user:bob").unwrap();
    drop(datastore);
    let file = directory.path().join("HIGHWATER");
    assert!(fs::read_to_string(&file).unwrap().starts_with("2\n"), "a clean end records the head");
    // The database as it was before the last commit, beside the file of after.
    fs::copy(&file, old.path().join("HIGHWATER")).unwrap();
    let why = refused(&old);
    assert!(why.contains("revision 2 was acknowledged") && why.contains("ends at 1"), "{why}");
    assert!(why.contains("HIGHWATER"), "{why}");
    fs::remove_file(old.path().join("HIGHWATER")).unwrap();
    assert_eq!(open(&old).head(), Revision(1));
    assert!(fs::read_to_string(old.path().join("HIGHWATER")).unwrap().starts_with("1\n"), "it is written anew");
}

#[test]
fn a_damaged_high_water_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    drop(datastore);
    let file = directory.path().join("HIGHWATER");
    let good = fs::read(&file).unwrap();
    for length in 0..good.len() {
        fs::write(&file, &good[..length]).unwrap();
        let why = refused(&directory);
        assert!(why.contains("HIGHWATER") && why.contains("damaged"), "cut to {length}: {why}");
    }
    for place in 0..good.len() {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert!(refused(&directory).contains("damaged"), "flipped at {place}");
    }
    fs::write(&file, good).unwrap();
    drop(open(&directory));
}

#[test]
fn too_many_waiting_transactions_are_refused() {
    struct Slow(parking_lot::Mutex<mpsc::Receiver<()>>);
    impl Follower for Slow {
        fn follow(&self, _: &LogPart<'_>) {
            let _released = self.0.lock().recv();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let options = Options { queued_max: 2, ..Options::default() };
    let datastore = RocksDatastore::open(directory.path(), options).unwrap();
    let (release, gate) = mpsc::channel();
    datastore.follow(Arc::new(Slow(parking_lot::Mutex::new(gate))));
    std::thread::scope(|scope| {
        let commit = || datastore.commit(Transaction::new(STORE, now()));
        let first = scope.spawn(commit);
        while datastore.shared.database.get(&keys::transaction(Revision(1))).unwrap().is_none() {
            std::thread::yield_now();
        }
        // The first is held up by its follower: two may wait, the others come back at once.
        let others: Vec<_> = (0..8).map(|_| scope.spawn(commit)).collect();
        while others.iter().filter(|outcome| outcome.is_finished()).count() < 6 {
            std::thread::yield_now();
        }
        assert_eq!(datastore.usage().queued, 2);
        drop(release);
        first.join().unwrap().unwrap();
        let outcomes: Vec<_> = others.into_iter().map(|outcome| outcome.join().unwrap()).collect();
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(CommitError::Overloaded(2)))).count();
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!((refused, done), (6, 2), "{outcomes:?}");
        assert_eq!(datastore.head(), Revision(3));
    });
}

#[test]
fn a_writer_that_failed_takes_no_more_writes_and_serves_reads() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let written = write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let since = Revision(0);
    let bug = Guard { since, refuse: Box::new(|_| panic!("a bug")) };
    let failed = datastore.commit(Transaction { guard: Some(bug), ..Transaction::new(STORE, now()) });
    assert!(matches!(failed, Err(CommitError::ReadOnly(_))), "{failed:?}");
    let refused = write(&datastore, Operation::Create, "document:plan#viewer@user:bob");
    assert!(matches!(refused, Err(CommitError::ReadOnly(_))), "{refused:?}");
    assert!(datastore.bulk(STORE, BulkMode::Touch, now()).is_err());
    assert!(datastore.collect_garbage(written, written, 9).is_err());
    assert_eq!((datastore.head(), edges(&datastore, written).unwrap()), (written, 1));
    drop(datastore);
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:bob").unwrap();
    assert_eq!(edges(&datastore, datastore.head()).unwrap(), 2);
}

/// Waits until the writer has looked whether it can go on.
fn tried(datastore: &RocksDatastore, outcome: impl Fn(&Result<(), CommitError>) -> bool) {
    let begun = std::time::Instant::now();
    while !outcome(&datastore.shared.writable()) {
        assert!(begun.elapsed().as_secs() < 30, "{:?}", datastore.shared.writable());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn after_a_full_disk_the_writer_goes_on_and_settles_bulks() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let bulk = |text: &str| {
        let mut bulk = datastore.bulk(STORE, BulkMode::Touch, now()).unwrap();
        bulk.push(vec![text.parse().unwrap()]).unwrap();
        bulk
    };
    let (held, given_up) = (bulk("document:held#viewer@user:eve"), bulk("document:given-up#viewer@user:eve"));
    datastore.shared.suspend("the disk is full".to_owned());
    drop(given_up);
    let refused = write(&datastore, Operation::Create, "document:refused#viewer@user:eve");
    assert!(matches!(refused, Err(CommitError::ReadOnly(_))), "{refused:?}");
    // RocksDB has not gone on as long as it holds keys outside of tables.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert!(datastore.refuses_writes().unwrap().contains("the disk is full"));

    datastore.shared.database.flush().unwrap();
    tried(&datastore, Result::is_ok);
    write(&datastore, Operation::Create, "document:refused#viewer@user:eve").unwrap();
    held.publish(None, None, None).unwrap();
    assert_eq!(edges(&datastore, datastore.head()).unwrap(), 3);
    for kind in [Kind::Bulk, Kind::Staged, Kind::StagedName] {
        assert_eq!(datastore.shared.database.last(&keys::all(kind), &keys::after(&keys::all(kind))).unwrap(), None);
    }
    assert!(datastore.scrub(&mut |_| ControlFlow::Continue(())).unwrap().is_clean());
}

#[test]
fn a_database_that_does_not_end_where_it_should_after_a_full_disk_takes_no_more_writes() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let head = write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let mut batch = Batch::default();
    batch.put(keys::transaction(head.next()), []);
    datastore.shared.database.write(batch, true).unwrap();
    datastore.shared.suspend("the disk is full".to_owned());
    datastore.shared.database.flush().unwrap();
    tried(&datastore, |now| now.as_ref().is_err_and(|error| error.to_string().contains("restart the server")));
    datastore.shared.resume();
    let refused = write(&datastore, Operation::Create, "document:refused#viewer@user:eve").unwrap_err();
    assert!(refused.to_string().contains("does not end at 1 after the disk was full"), "{refused}");
    assert_eq!(edges(&datastore, head).unwrap(), 1);
}

#[test]
fn a_bulk_that_outlives_its_datastore_fails() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let mut bulk = datastore.bulk(STORE, BulkMode::Touch, now()).unwrap();
    drop(datastore);
    let pushed = bulk.push(vec!["document:plan#viewer@user:eve".parse().unwrap()]);
    assert!(matches!(pushed, Err(CommitError::ReadOnly(_))), "{pushed:?}");
    drop(bulk);
    drop(open(&directory));
}

#[test]
fn a_type_without_ordinals_left_refuses_new_objects() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let user = datastore.snapshot(STORE, Revision(1)).unwrap().type_id("user").unwrap();
    let mut batch = Batch::default();
    batch.put(keys::last_ordinal(STORE, user), (u32::MAX - 1).to_be_bytes());
    datastore.shared.database.write(batch, false).unwrap();
    write(&datastore, Operation::Create, "document:plan#viewer@user:last").unwrap();
    let snapshot = datastore.snapshot(STORE, Revision(2)).unwrap();
    assert_eq!(snapshot.ordinal(user, "last").unwrap(), Some(Ordinal(u32::MAX)));
    let refused = write(&datastore, Operation::Create, "document:plan#viewer@user:more");
    assert!(matches!(refused, Err(CommitError::TooManyObjects(ref name)) if name == "user"), "{refused:?}");
    write(&datastore, Operation::Create, "document:other#viewer@user:last").unwrap();
}

#[test]
fn a_context_that_is_nested_too_deep_is_refused_alone() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let nested = format!("document:a#viewer@user:eve[tod:{{\"a\":{}{}}}]", "[".repeat(110), "]".repeat(110));
    let refused = write(&datastore, Operation::Create, &nested);
    assert!(matches!(refused, Err(CommitError::Storage(StorageError::Refused(_)))), "{refused:?}");
    assert_eq!(write(&datastore, Operation::Create, "document:a#viewer@user:eve").unwrap(), Revision(1));
}

#[test]
fn damaged_data_is_an_error_and_never_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    let written = write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let snapshot = datastore.snapshot(STORE, written).unwrap();
    let table = snapshot.tables()[0].clone();
    let edge = EdgeKey { store: STORE, table: table.id, resource: Ordinal(1), subject: Ordinal(1), source: Source(0) };
    let damage = |key: Vec<u8>, value: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key, value);
        datastore.shared.database.write(batch, false).unwrap();
    };
    for value in [&b""[..], b"\x01", b"\x01\x07", b"\x09\x00"] {
        damage(keys::version(Direction::Forward, &edge, written), value);
        assert!(matches!(edges(&datastore, written), Err(StorageError::Damaged(_))), "{value:?}");
        let refused = write(&datastore, Operation::Create, "document:plan#viewer@user:eve");
        assert!(matches!(refused, Err(CommitError::Storage(StorageError::Damaged(_)))), "{refused:?}");
    }
    damage(keys::ordinal(STORE, TypeId(1), "odd"), b"\x01");
    assert!(matches!(snapshot.ordinal(TypeId(1), "odd"), Err(StorageError::Damaged(_))));
    assert_eq!(datastore.head(), written);
}

#[test]
fn garbage_collection_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    for number in 0..5 {
        let text = format!("document:d{number}#viewer@user:eve");
        write(&datastore, Operation::Create, &text).unwrap();
        write(&datastore, Operation::Touch, &text).unwrap();
        let mut bulk = datastore.bulk(STORE, BulkMode::Touch, now()).unwrap();
        bulk.push(vec!["document:dropped#viewer@user:dropped".parse().unwrap()]).unwrap();
        drop(bulk);
        write(&datastore, Operation::Delete, &text).unwrap();
    }
    let head = datastore.head();
    while datastore.collect_garbage(head, head, 3).unwrap().more {}
    let count = |kind| {
        let prefix = keys::all(kind);
        let mut count = 0;
        let count_key = &mut |_: &[u8], _: &[u8]| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        };
        datastore.shared.database.scan(&prefix, &prefix, count_key).unwrap();
        count
    };
    for kind in [
        Kind::Forward,
        Kind::Reverse,
        Kind::Ordinal,
        Kind::ObjectId,
        Kind::Suspect,
        Kind::Transaction,
        Kind::Versions,
        Kind::Bulk,
        Kind::Staged,
        Kind::StagedName,
        Kind::Progress,
    ] {
        assert_eq!(count(kind), 0, "{kind:?}");
    }
    for kind in [Kind::Meta, Kind::Schema, Kind::Table, Kind::Time] {
        assert_eq!(count(kind), 1, "{kind:?}");
    }
    for revision in 0..=head.0 {
        assert!(datastore.shared.database.get_log(&keys::log(Revision(revision), 0)).unwrap().is_none());
    }
}

#[test]
fn questions_intern_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = open(&directory);
    write(&datastore, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    write(&datastore, Operation::Delete, "document:other#viewer@user:nobody").unwrap();
    let snapshot = datastore.snapshot(STORE, datastore.head()).unwrap();
    let user = snapshot.type_id("user").unwrap();
    assert_eq!(snapshot.ordinal(user, "somebody").unwrap(), None);
    assert_eq!(datastore.shared.database.get(&keys::ordinal(STORE, user, "somebody")).unwrap().as_deref(), None);
    assert_eq!(datastore.shared.database.get(&keys::ordinal(STORE, user, "nobody")).unwrap().as_deref(), None);
}

#[test]
fn with_too_little_room_on_the_disk_writes_are_refused_and_all_else_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let open = |disk_free_bytes_min| {
        RocksDatastore::open(directory.path(), Options { disk_free_bytes_min, ..Options::default() }).unwrap()
    };
    let text = "document:plan#viewer@user:eve";
    let datastore = open(0);
    write(&datastore, Operation::Touch, text).unwrap();
    let usage = datastore.usage();
    assert_eq!((datastore.refuses_writes(), usage.commits, usage.group_seconds.count()), (None, 1, 1));
    drop(datastore);

    let datastore = open(u64::MAX);
    let refused = write(&datastore, Operation::Touch, text).unwrap_err();
    assert!(matches!(&refused, CommitError::ReadOnly(text) if text.contains("nearly full")), "{refused}");
    assert!(datastore.bulk(STORE, BulkMode::Create, now()).is_err());
    assert!(datastore.refuses_writes().unwrap().contains("nearly full"));
    assert_eq!(edges(&datastore, datastore.head()).unwrap(), 1);
    // Collecting garbage makes room.
    datastore.collect_garbage(datastore.head(), datastore.head(), 100).unwrap();
}
