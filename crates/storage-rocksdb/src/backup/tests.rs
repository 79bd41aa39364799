#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use stonetown_storage::conformance::random::random_history;
use stonetown_storage::{
    BulkMode, CommitError, Datastore, Direction, RequestId, SchemaWrite, Snapshot, SnapshotError, StoredUpdate,
    TableKey, Transaction, read,
};
use stonetown_tuple::{Operation, Relationship, Source, StoreId};
use tempfile::TempDir;

use super::*;
use crate::{RocksDatastore, scrub};

const STORE: StoreId = StoreId(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn open(path: &Path) -> RocksDatastore {
    RocksDatastore::open(path, Options::default()).unwrap()
}

fn write(datastore: &dyn Datastore, seconds: i64, operation: Operation, text: &str) -> Result<Revision, CommitError> {
    let relationship: Relationship = text.parse().unwrap();
    let schema = SchemaWrite { bytes: b"schema".to_vec(), tables: vec![TableKey::of(&relationship)], types: vec![] };
    let update = StoredUpdate { operation, relationship, source: Source::STANDING };
    let now = at(seconds);
    let transaction = Transaction { schema: Some(schema), updates: vec![update], ..Transaction::new(STORE, now) };
    datastore.commit(transaction).map(|committed| committed.revision)
}

/// Everything that a store has at a revision: its schema, and each edge in both directions.
fn contents(datastore: &dyn Datastore, store: StoreId, at: Revision) -> (Option<Vec<u8>>, Vec<String>) {
    contents_of(&*datastore.snapshot(store, at).unwrap())
}

fn contents_of(snapshot: &dyn Snapshot) -> (Option<Vec<u8>>, Vec<String>) {
    let mut edges = Vec::new();
    for table in snapshot.tables().iter() {
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut found = Vec::new();
            snapshot
                .scan_table(table.id, direction, None, &mut |edge| {
                    let relationship = read::relationship(snapshot, table, edge).unwrap();
                    let provenance = snapshot.provenance(edge.written).unwrap();
                    found.push(format!("{relationship} {} {} {provenance:?}", edge.source.0, edge.written));
                    ControlFlow::Continue(())
                })
                .unwrap();
            edges.extend(found);
        }
    }
    (snapshot.schema().unwrap().map(|schema| schema.bytes.to_vec()), edges)
}

fn clean(path: &Path) {
    let report = scrub(path, &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{:#?}", report.differences);
}

fn restored(from: &Path, to: &Path, until: Until) -> Result<Restored, StorageError> {
    restore(from, to, until, &Options::default(), &mut |_, _| ControlFlow::Continue(()))
}

fn refused<T>(outcome: Result<T, StorageError>) -> String {
    match outcome {
        Err(StorageError::Refused(why)) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Random histories with garbage collection, bulks and several stores: what is restored to a revision is what could be read
/// at that revision.
#[test]
fn a_restore_to_a_revision_is_what_was_read_there() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut random = rand::rng();
    let mut round = 0;
    let (mut restores, mut too_old) = (0, 0);
    let mut reopen = |datastore: Arc<dyn Datastore>| {
        round += 1;
        let report = datastore.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
        assert!(report.is_clean(), "{:#?}", report.differences);
        let backup = home.path().join(format!("backup-{round}"));
        let checkpointed = datastore.checkpoint(&backup, at(0)).unwrap();
        assert_eq!((checkpointed.instance, checkpointed.revision), (datastore.instance(), datastore.head()));
        clean(&backup);
        for turn in 0..3 {
            let revision = Revision(random.random_range(datastore.floor().0..=datastore.head().0));
            let target = home.path().join(format!("restored-{round}-{turn}"));
            match restored(&backup, &target, Until::Revision(revision)) {
                Ok(restored) => {
                    restores += 1;
                    assert_eq!(restored.left_out, datastore.head().0 - revision.0);
                    clean(&target);
                    let copy = open(&target);
                    assert_eq!((copy.head(), copy.instance()), (revision, restored.instance));
                    assert_ne!(copy.instance(), datastore.instance());
                    for store in [StoreId(1), StoreId(2)] {
                        assert_eq!(contents(&copy, store, revision), contents(&*datastore, store, revision));
                    }
                    while copy.collect_garbage(revision, revision, 50).unwrap().more {}
                    for store in [StoreId(1), StoreId(2)] {
                        assert_eq!(contents(&copy, store, revision), contents(&*datastore, store, revision));
                    }
                    let report = copy.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
                    assert!(report.is_clean(), "{:#?}", report.differences);
                }
                Err(StorageError::Refused(why)) => {
                    too_old += 1;
                    assert!(matches!(datastore.log(revision, 1), Err(SnapshotError::Expired { .. })), "{why}");
                }
                Err(error) => panic!("{error}"),
            }
            fs::remove_dir_all(target).unwrap();
        }
        drop(datastore);
        clean(&data);
        Arc::new(open(&data)) as Arc<dyn Datastore>
    };
    random_history(Arc::new(open(&data)), &mut reopen, 600);
    println!("{restores} restores, {too_old} too old");
    assert!(restores > 0, "nothing was restored");
}

#[test]
fn a_restored_directory_goes_on_and_forgets_what_was_undone() {
    let home = tempfile::tempdir().unwrap();
    let (data, backup, target) = (home.path().join("data"), home.path().join("backup"), home.path().join("restored"));
    let datastore = open(&data);
    write(&datastore, 10, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let ask = |datastore: &RocksDatastore| {
        let relationship: Relationship = "document:plan#viewer@user:bob".parse().unwrap();
        datastore.commit(Transaction {
            request_id: Some(RequestId { id: "one".to_owned(), fingerprint: 1 }),
            updates: vec![StoredUpdate { operation: Operation::Touch, relationship, source: Source::STANDING }],
            ..Transaction::new(STORE, at(20))
        })
    };
    ask(&datastore).unwrap();
    write(&datastore, 30, Operation::Delete, "document:plan#viewer@user:eve").unwrap();
    datastore.checkpoint(&backup, at(31)).unwrap();
    drop(datastore);

    let report = restored(&backup, &target, Until::Time(at(19))).unwrap();
    assert_eq!((report.revision, report.left_out), (Revision(1), 2));
    let copy = open(&target);
    assert_eq!(contents(&copy, STORE, Revision(1)).1.len(), 2, "one edge in both directions");
    assert!(!ask(&copy).unwrap().replayed, "what was undone is done again");
    assert_eq!(copy.head(), Revision(2));
    assert_eq!(copy.revision_at(at(20)).unwrap(), Revision(2));
    drop(copy);
    clean(&target);
}

#[test]
fn a_time_between_commits_includes_what_came_before() {
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let datastore = open(&home.path().join("data"));
    for (number, seconds) in [(1, 10), (2, 20), (3, 20), (4, 40)] {
        write(&datastore, seconds, Operation::Create, &format!("document:d{number}#viewer@user:eve")).unwrap();
    }
    datastore.checkpoint(&backup, at(50)).unwrap();
    for (seconds, revision) in [(9, 0), (10, 1), (19, 1), (20, 3), (39, 3), (40, 4), (99, 4)] {
        let target = home.path().join(format!("restored-{seconds}"));
        assert_eq!(restored(&backup, &target, Until::Time(at(seconds))).unwrap().revision, Revision(revision));
        clean(&target);
    }
    // Once the beginning is no longer held, a time before it names no commit.
    while datastore.collect_garbage(Revision(2), Revision(0), 99).unwrap().more {}
    let backup = home.path().join("later");
    datastore.checkpoint(&backup, at(50)).unwrap();
    let why = refused(restored(&backup, &home.path().join("too-old"), Until::Time(at(9))));
    assert!(why.contains("no longer held"), "{why}");
    let why = refused(restored(&backup, &home.path().join("too-old-too"), Until::Revision(Revision(1))));
    assert!(why.contains("the oldest that it still holds whole is 2"), "{why}");
    let why = refused(restored(&backup, &home.path().join("future"), Until::Revision(Revision(5))));
    assert!(why.contains("the newest is 4"), "{why}");
    // The log's window counts, too.
    while datastore.collect_garbage(Revision(2), Revision(3), 99).unwrap().more {}
    let backup = home.path().join("latest");
    datastore.checkpoint(&backup, at(50)).unwrap();
    let why = refused(restored(&backup, &home.path().join("cut"), Until::Revision(Revision(2))));
    assert!(why.contains("the oldest that it still holds whole is 3"), "{why}");
}

#[test]
fn a_backup_is_no_data_directory_and_the_other_way_round() {
    let home = tempfile::tempdir().unwrap();
    let (data, backup) = (home.path().join("data"), home.path().join("backup"));
    let datastore = open(&data);
    write(&datastore, 1, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    datastore.checkpoint(&backup, at(2)).unwrap();
    let why = refused(RocksDatastore::open(&backup, Options::default()));
    assert!(why.contains("is a backup, up to revision 1"), "{why}");
    let why = refused(restored(&data, &home.path().join("of-used"), Until::Newest));
    assert!(why.contains("in use by another process"), "{why}");
    let why = refused(datastore.checkpoint(&backup, at(2)));
    assert!(why.contains("is there already"), "{why}");
    drop(datastore);
    // A data directory that nobody uses can be restored from.
    let report = restored(&data, &home.path().join("of-data"), Until::Revision(Revision(0))).unwrap();
    assert_eq!((report.revision, report.left_out), (Revision(0), 1));
    let why = refused(restored(&home.path().join("nothing"), &home.path().join("x"), Until::Newest));
    assert!(why.contains("neither a data directory nor a backup"), "{why}");
    assert!(!home.path().join("x").exists(), "nothing was made");
    fs::create_dir(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/holiday.jpg"), "sun").unwrap();
    let why = refused(restored(&backup, &home.path().join("full"), Until::Newest));
    assert!(why.contains("is not empty: it has `holiday.jpg`"), "{why}");
}

#[test]
fn a_restore_that_is_broken_off_leaves_no_data_directory() {
    let home = tempfile::tempdir().unwrap();
    let (data, backup, target) = (home.path().join("data"), home.path().join("backup"), home.path().join("restored"));
    let datastore = open(&data);
    write(&datastore, 1, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    datastore.checkpoint(&backup, at(2)).unwrap();
    let broken = restore(&backup, &target, Until::Newest, &Options::default(), &mut |_, _| ControlFlow::Break(()));
    assert!(refused(broken).contains("broken off"));
    let why = refused(RocksDatastore::open(&target, Options::default()));
    assert!(why.contains("interrupted restore"), "{why}");
    let why = refused(restored(&backup, &target, Until::Newest));
    assert!(why.contains("is not empty"), "{why}");
}

#[test]
fn a_changed_backup_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let datastore = open(&home.path().join("data"));
    write(&datastore, 1, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    datastore.checkpoint(&backup, at(2)).unwrap();
    let file = backup.join("BACKUP");
    let good = fs::read(&file).unwrap();
    for place in 0..good.len() {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let outcome = restored(&backup, &home.path().join("restored"), Until::Newest);
        assert!(outcome.is_err(), "flipped at {place}");
        assert!(!home.path().join("restored").exists());
    }
    // A backup whose database ends before what it promises lacks acknowledged writes.
    let promise = BackupFile { instance: datastore.instance(), revision: Revision(2), time: at(2) };
    promise.write(&backup).unwrap();
    let why = refused(restored(&backup, &home.path().join("restored"), Until::Newest));
    assert!(why.contains("acknowledged writes are missing"), "{why}");
    assert!(RocksDatastore::open(home.path().join("restored"), Options::default()).is_err());
}

/// Each byte of a backup's database in turn: the restore fails, or a scrub of what was restored does, or nothing was changed
/// that matters. It is never something else than what was backed up.
#[test]
fn a_damaged_backup_is_never_restored_as_something_else() {
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let datastore = open(&home.path().join("data"));
    for number in 0..40 {
        write(&datastore, number, Operation::Create, &format!("document:d{number}#viewer@user:eve")).unwrap();
    }
    datastore.checkpoint(&backup, at(2)).unwrap();
    let head = datastore.head();
    let expected = contents(&datastore, STORE, head);
    let (mut failed, mut same) = (0, 0);
    for (path, bytes) in files(&backup.join("rocksdb")).unwrap() {
        let good = fs::read(&path).unwrap();
        let step = usize::try_from(bytes / 6).unwrap().max(1);
        for place in (0..good.len()).step_by(step) {
            let mut flipped = good.clone();
            flipped[place] ^= 0x10;
            fs::remove_file(&path).unwrap();
            fs::write(&path, &flipped).unwrap();
            let target = home.path().join("restored");
            let outcome = restored(&backup, &target, Until::Newest).and_then(|_| {
                let copy = RocksDatastore::open(&target, Options::default())?;
                let report = copy.scrub(&mut |_| ControlFlow::Continue(()))?;
                if report.is_clean() { Ok(contents(&copy, STORE, copy.head())) } else { Err(io_error()) }
            });
            match outcome {
                Ok(found) => {
                    same += 1;
                    assert_eq!(found, expected, "{} flipped at {place}", path.display());
                }
                Err(_) => failed += 1,
            }
            let _gone = fs::remove_dir_all(&target);
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, &good).unwrap();
    }
    println!("{failed} refused, {same} without effect");
    assert!(failed > 10, "hardly any damage was noticed");
}

fn io_error() -> StorageError {
    StorageError::Io("the scrub found differences".to_owned())
}

#[test]
fn copies_made_under_load_have_all_that_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let datastore = Arc::new(open(&home.path().join("data")));
    write(&*datastore, 0, Operation::Create, "document:first#viewer@user:eve").unwrap();
    let done = AtomicBool::new(false);
    /// Ends the writers also when an assertion fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for writer in 0..3 {
            let (datastore, done) = (&datastore, &done);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("document:w{writer}-{number}#viewer@user:u{}", number % 7);
                    write(&**datastore, number, Operation::Touch, &text).unwrap();
                    if number % 20 == 0 {
                        let mut bulk = datastore.bulk(STORE, BulkMode::Touch, at(number)).unwrap();
                        let rows = (0..50).map(|row| format!("document:b{row}#viewer@user:w{writer}").parse().unwrap());
                        bulk.push(rows.collect()).unwrap();
                        bulk.publish(None, None, None).unwrap();
                    }
                    if number % 30 == 0 {
                        let before = |commits| Revision(datastore.head().0.saturating_sub(commits));
                        datastore.collect_garbage(before(200), before(300), 100).unwrap();
                    }
                }
            });
        }
        for round in 0..6 {
            let backup = home.path().join(format!("backup-{round}"));
            let acknowledged = datastore.head();
            let made = datastore.checkpoint(&backup, at(0)).unwrap();
            let expected = datastore.snapshot(STORE, made.revision).unwrap();
            assert!(made.revision >= acknowledged);
            let report = datastore.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
            assert!(report.is_clean(), "{:#?}", report.differences);
            clean(&backup);
            let target = home.path().join(format!("restored-{round}"));
            let report = restored(&backup, &target, Until::Revision(made.revision)).unwrap();
            assert_eq!(report.revision, made.revision);
            clean(&target);
            assert_eq!(contents(&open(&target), STORE, made.revision), contents_of(&*expected));
        }
    });
}

#[test]
fn what_a_crash_left_of_a_copy_is_replaced_by_the_next() {
    let home: TempDir = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let datastore = open(&home.path().join("data"));
    write(&datastore, 1, Operation::Create, "document:plan#viewer@user:eve").unwrap();
    let left = home.path().join("backup.partial");
    fs::create_dir_all(left.join("rocksdb")).unwrap();
    fs::write(left.join("rocksdb/000001.sst"), "half").unwrap();
    assert!(refused(restored(&left, &home.path().join("x"), Until::Newest)).contains("neither a data directory"));
    datastore.checkpoint(&backup, at(2)).unwrap();
    assert!(!left.exists());
    clean(&backup);
}

/// What passes in time is no damage, and a copy that has gone back knows of every moment that lies ahead of it there.
#[test]
fn a_restore_knows_what_begins_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let datastore = open(&data);
    write(&datastore, 0, Operation::Touch, "document:a#viewer@user:eve[expiration:1970-01-01T00:00:10Z]").unwrap();
    let before = write(
        &datastore,
        1,
        Operation::Touch,
        "document:b#viewer@user:eve[expiration:1970-01-01T00:00:20Z][starts:1970-01-01T00:00:05Z]",
    )
    .unwrap();
    datastore.pass_time(at(12), 100).unwrap();
    write(&datastore, 13, Operation::Touch, "document:b#viewer@user:eve").unwrap();
    datastore.pass_time(at(30), 100).unwrap();
    datastore.remove_expired(at(30), at(30), 100).unwrap();
    let report = datastore.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{:#?}", report.differences);
    assert_eq!(datastore.next_moment(), None);
    drop(datastore);

    let back = home.path().join("back");
    restored(&data, &back, Until::Revision(before)).unwrap();
    clean(&back);
    let datastore = open(&back);
    assert_eq!(datastore.next_moment(), Some(at(5)));
    assert_eq!(datastore.pass_time(at(15), 100).unwrap().edges, 2, "one begins, one ends");
    assert_eq!(datastore.pass_time(at(30), 100).unwrap().edges, 1);
    assert_eq!(datastore.remove_expired(at(30), at(30), 100).unwrap().edges, 2);
    drop(datastore);
    clean(&back);
}
