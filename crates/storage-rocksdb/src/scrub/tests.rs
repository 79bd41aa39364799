//! Each kind of damage is planted, and must be found, named and told apart.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;

use stonetown_storage::{BulkMode, Datastore, Direction, RequestId, SchemaWrite, StoredUpdate, TableKey, Transaction};
use stonetown_tuple::{Operation, Relationship, Source, StoreId, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::RocksDatastore;
use crate::database::Batch;
use crate::values::{LogHeader, encode};

const STORE: StoreId = StoreId(1);

struct Planted {
    _directory: TempDir,
    datastore: RocksDatastore,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

impl Planted {
    /// Five commits: a create (1), a touch of another (2), a delete of the first (3), a bulk (4), an answered request (5).
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
        let write = |operation, text: &str| {
            let relationship: Relationship = text.parse().unwrap();
            let schema =
                SchemaWrite { bytes: b"schema".to_vec(), tables: vec![TableKey::of(&relationship)], types: vec![] };
            let update = StoredUpdate { operation, relationship, source: Source::STANDING };
            datastore
                .commit(Transaction { schema: Some(schema), updates: vec![update], ..Transaction::new(STORE, at(1)) })
                .unwrap();
        };
        write(Operation::Create, "document:plan#viewer@user:eve");
        write(Operation::Touch, "document:plan#viewer@user:bob");
        write(Operation::Delete, "document:plan#viewer@user:eve");
        let mut bulk = datastore.bulk(STORE, BulkMode::Create, at(2)).unwrap();
        bulk.push(vec!["document:other#viewer@user:bob".parse().unwrap()]).unwrap();
        bulk.publish(None, None, None).unwrap();
        let request_id = Some(RequestId { id: "one".to_owned(), fingerprint: 1 });
        datastore.commit(Transaction { request_id, ..Transaction::new(STORE, at(3)) }).unwrap();
        let planted = Planted { _directory: directory, datastore };
        assert!(planted.scrub().is_clean(), "{:#?}", planted.scrub());
        planted
    }

    fn scrub(&self) -> Scrubbed {
        self.datastore.scrub(&mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn put(&self, key: Vec<u8>, value: impl AsRef<[u8]>) -> &Self {
        let mut batch = Batch::default();
        batch.put(key, value);
        self.datastore.shared.database.write(batch, false).unwrap();
        self
    }

    fn delete(&self, key: Vec<u8>) -> &Self {
        let mut batch = Batch::default();
        batch.delete(key);
        self.datastore.shared.database.write(batch, false).unwrap();
        self
    }

    fn delete_log(&self, key: &[u8]) -> &Self {
        let mut batch = Batch::default();
        batch.delete_log(&self.datastore.shared.database, key).unwrap();
        self.datastore.shared.database.write(batch, false).unwrap();
        self
    }

    fn put_log(&self, key: &[u8], value: &[u8]) -> &Self {
        let mut batch = Batch::default();
        batch.put_log(&self.datastore.shared.database, key, value).unwrap();
        self.datastore.shared.database.write(batch, false).unwrap();
        self
    }

    fn get(&self, key: &[u8]) -> Vec<u8> {
        self.datastore.shared.database.get(key).unwrap().unwrap().to_vec()
    }

    fn get_log(&self, key: &[u8]) -> Vec<u8> {
        self.datastore.shared.database.get_log(key).unwrap().unwrap().to_vec()
    }

    fn edge(&self, resource: &str, subject: &str) -> EdgeKey {
        let snapshot = self.datastore.snapshot(STORE, self.datastore.head()).unwrap();
        let table = snapshot.tables()[0].clone();
        let ordinal = |object_type, id| snapshot.ordinal(object_type, id).unwrap().unwrap();
        EdgeKey {
            store: STORE,
            table: table.id,
            resource: ordinal(table.resource_type, resource),
            subject: ordinal(table.subject_type, subject),
            source: Source::STANDING,
        }
    }

    /// There is a difference of that kind which says all of that.
    fn finds(&self, kind: DifferenceKind, what: &[&str]) {
        let report = self.scrub();
        let says = |found: &Difference| found.kind == kind && what.iter().all(|part| found.what.contains(part));
        assert!(report.differences.iter().any(says), "no {kind:?} with {what:?} in {:#?}", report.differences);
    }

    /// As [`Planted::finds`], and there is no other kind.
    fn finds_only(&self, kind: DifferenceKind, what: &[&str]) {
        self.finds(kind, what);
        let report = self.scrub();
        assert!(report.differences.iter().all(|difference| difference.kind == kind), "{:#?}", report.differences);
    }
}

const END: &[u8] = b"\x01\x00";

#[test]
fn a_version_without_its_twin_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "bob");
    planted.delete(keys::version(Direction::Reverse, &edge, Revision(2)));
    planted.finds_only(
        DifferenceKind::Directions,
        &["`document:plan#viewer@user:bob`", "revision 2", "is there forward but not reverse"],
    );
    let planted = Planted::new();
    planted.delete(keys::version(Direction::Forward, &edge, Revision(2)));
    planted.finds(DifferenceKind::Directions, &["`document:plan#viewer@user:bob`", "is there reverse but not forward"]);
    planted.finds(DifferenceKind::LogAgainstVersions, &["revision 2", "is missing, by what the log tells"]);
    planted.finds(DifferenceKind::Commits, &["commit 2 has 0 relationships stored, and a count of 1"]);
}

#[test]
fn a_version_that_is_another_in_reverse_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "bob");
    planted.put(keys::version(Direction::Reverse, &edge, Revision(2)), END);
    planted.finds_only(
        DifferenceKind::Directions,
        &["`document:plan#viewer@user:bob`", "not the same forward and reverse"],
    );
}

#[test]
fn a_version_that_nobody_wrote_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("other", "eve");
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.put(keys::version(direction, &edge, Revision(2)), END);
    }
    planted.finds_only(
        DifferenceKind::LogAgainstVersions,
        &["`document:other#viewer@user:eve`", "revision 2", "the log does not tell of it"],
    );
    let planted = Planted::new();
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.put(keys::version(direction, &edge, Revision(9)), END);
    }
    planted.finds(DifferenceKind::Version, &["revision 9", "is of no commit: the head is 5"]);
}

#[test]
fn a_version_with_another_state_than_the_log_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "bob");
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.put(keys::version(direction, &edge, Revision(2)), END);
    }
    planted.finds(DifferenceKind::LogAgainstVersions, &["`document:plan#viewer@user:bob`", "has another state"]);
}

/// What was deleted must not come back: the end of an edge is gone in both directions.
#[test]
fn a_lost_end_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "eve");
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.delete(keys::version(direction, &edge, Revision(3)));
    }
    planted.finds_only(
        DifferenceKind::LogAgainstVersions,
        &["`document:plan#viewer@user:eve`", "revision 3", "is missing, by what the log tells"],
    );
}

#[test]
fn damage_behind_the_sweep_is_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "bob");
    let sweep = |planted: &Planted| {
        while planted.datastore.collect_garbage(Revision(4), Revision(1), 99).unwrap().more {}
        assert!(planted.scrub().is_clean(), "{:#?}", planted.scrub());
    };
    sweep(&planted);
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.delete(keys::version(direction, &edge, Revision(2)));
    }
    planted.finds(DifferenceKind::LogAgainstVersions, &["`document:plan#viewer@user:bob`", "revision 2", "is missing"]);

    // A version that an end of before the sweep hides: once the end is cut it would come back.
    let planted = Planted::new();
    let eve = planted.edge("plan", "eve");
    sweep(&planted);
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.put(keys::version(direction, &eve, Revision(1)), b"\x01\x01\x00\x00\x00");
    }
    planted.finds(DifferenceKind::Version, &["`document:plan#viewer@user:eve`", "should have been swept"]);
}

#[test]
fn gaps_in_the_log_are_found() {
    let planted = Planted::new();
    planted.delete_log(&keys::log(Revision(2), 0));
    planted.finds(DifferenceKind::Log, &["the log has no commit 2"]);
    let planted = Planted::new();
    for revision in [2, 3] {
        planted.delete_log(&keys::log(Revision(revision), 0)).delete_log(&keys::log(Revision(revision), 1));
    }
    planted.finds(DifferenceKind::Log, &["the log has no commits 2 to 3"]);
    planted.finds(DifferenceKind::LogAgainstVersions, &["revision 2", "the log does not tell of it"]);
    let planted = Planted::new();
    planted.delete_log(&keys::log(Revision(2), 1));
    planted.finds(DifferenceKind::Log, &["commit 2 of the log ends with piece 0 of 1"]);
    let planted = Planted::new();
    planted.delete_log(&keys::log(Revision(5), 0));
    planted.finds(DifferenceKind::Log, &["the log has no commit 5"]);
    let planted = Planted::new();
    let header = planted.get_log(&keys::log(Revision(5), 0));
    planted.put_log(&keys::log(Revision(6), 0), &header);
    planted.finds(DifferenceKind::Log, &["commit 6 of the log is not committed"]);
    let planted = Planted::new();
    let piece = planted.get_log(&keys::log(Revision(2), 1));
    planted.put_log(&keys::log(Revision(2), 2), &piece);
    planted.finds(DifferenceKind::Log, &["commit 2 of the log has piece 2 after 1"]);
}

#[test]
fn names_that_do_not_lead_back_are_found() {
    let planted = Planted::new();
    let edge = planted.edge("plan", "bob");
    let user = planted.datastore.shared.catalogue(STORE).type_id("user").unwrap();
    planted.delete(keys::object_id(STORE, user, edge.subject));
    planted.finds_only(DifferenceKind::Names, &["object", "has no name"]);
    let planted = Planted::new();
    planted.delete(keys::ordinal(STORE, user, "bob"));
    planted.finds_only(DifferenceKind::Names, &["is `bob`, but that name is nobody's"]);
    let planted = Planted::new();
    planted.put(keys::ordinal(STORE, user, "bob"), planted.edge("plan", "eve").subject.0.to_be_bytes());
    planted.finds_only(DifferenceKind::Names, &["`bob` is object 1, but that object is `eve`"]);
    let planted = Planted::new();
    planted.put(keys::last_ordinal(STORE, user), 1_u32.to_be_bytes());
    planted.finds_only(DifferenceKind::Names, &["object 2 was never given out, the last is 1"]);
    let planted = Planted::new();
    planted.delete(keys::object_type(STORE, user));
    planted.finds_only(DifferenceKind::Names, &["type", "has no name"]);
    let planted = Planted::new();
    planted.delete(keys::table(STORE, edge.table));
    planted.finds_only(DifferenceKind::Names, &["there is no such table"]);
}

#[test]
fn records_of_commits_that_are_missing_are_found() {
    for (key, kind, what) in [
        (keys::transaction(Revision(2)), DifferenceKind::Commits, "commit 2 has no provenance"),
        (keys::versions(Revision(2)), DifferenceKind::Commits, "commit 2 has a provenance, but no count"),
        (keys::time(at(1), Revision(2)), DifferenceKind::Commits, "the times of commits have 3 after 1"),
        (keys::time(at(3), Revision(5)), DifferenceKind::Commits, "the times of commits end at 4, the head is 5"),
        (keys::schema(STORE, Revision(2)), DifferenceKind::Schemas, "commit 2 wrote a schema, which is not there"),
        (keys::request(STORE, "one"), DifferenceKind::Requests, "`one` has a time, but no answer"),
        (keys::request_time(at(3), STORE, "one"), DifferenceKind::Requests, "`one` would never be forgotten"),
    ] {
        let planted = Planted::new();
        planted.delete(key);
        let report = planted.scrub();
        assert!(
            report.differences.iter().any(|found| found.kind == kind && found.what.contains(what)),
            "`{what}` is not in {:#?}",
            report.differences
        );
    }
}

#[test]
fn records_that_should_not_be_are_found() {
    let planted = Planted::new();
    planted.put(keys::versions(Revision(2)), 7_u64.to_be_bytes());
    planted.finds_only(DifferenceKind::Commits, &["commit 2 has 1 relationships stored, and a count of 7"]);
    let planted = Planted::new();
    planted.put(keys::schema(STORE, Revision(5)), b"schema");
    planted.finds_only(DifferenceKind::Schemas, &["a schema of revision 5, which wrote none by the log"]);
    let planted = Planted::new();
    planted.put(keys::schema(STORE, Revision(8)), b"schema");
    planted.finds_only(DifferenceKind::Schemas, &["a schema of revision 8, which is not committed"]);
    let planted = Planted::new();
    let other = LogHeader::decode(&planted.get_log(&keys::log(Revision(5), 0))).unwrap();
    planted.put(keys::transaction(Revision(2)), encode(&other.provenance).unwrap());
    planted.finds_only(DifferenceKind::Commits, &["commit 2 has another provenance than the log tells"]);
    let planted = Planted::new();
    planted.put(keys::progress(4), encode(&crate::values::Progress::default()).unwrap());
    planted.finds_only(DifferenceKind::Bulks, &["a part of bulk 4, which is not there"]);
}

#[test]
fn a_state_of_the_whole_that_contradicts_itself_is_found() {
    let planted = Planted::new();
    let meta: Meta = decode("state", &planted.get(&keys::meta())).unwrap();
    planted.put(keys::meta(), encode(&Meta { floor: 9, ..meta.clone() }).unwrap());
    planted.finds(DifferenceKind::State, &["the oldest readable revision is 9, after the head 5"]);
    // A head that lies: commits behind it are none.
    planted.put(keys::meta(), encode(&Meta { head: 4, ..meta }).unwrap());
    planted.finds(DifferenceKind::Log, &["commit 5 of the log is not committed"]);
    planted.delete(keys::meta());
    planted.finds(DifferenceKind::State, &["the state of the whole is missing"]);
}

#[test]
fn what_cannot_be_read_is_found() {
    let edge = Planted::new().edge("plan", "bob");
    for (key, value) in [
        (keys::meta(), &b"\x01"[..]),
        (keys::version(Direction::Forward, &edge, Revision(2)), b"\x07"),
        (vec![0x10, 1, 2], b""),
        (vec![0x11, 1, 2], b""),
        (vec![0x07, 1, 2], b""),
        (vec![0x80, 1, 2], b""),
        (keys::transaction(Revision(2)), b"\x01\xff"),
        (keys::versions(Revision(2)), b"\x01"),
        (keys::request(STORE, "one"), b""),
        (keys::bulk(3), b"\x09"),
        (keys::ordinal(STORE, TypeId(1), "odd"), b"\x01"),
    ] {
        let planted = Planted::new();
        planted.put(key.clone(), value);
        let report = planted.scrub();
        assert!(
            report.differences.iter().any(|found| found.kind == DifferenceKind::Unreadable),
            "{}: {:#?}",
            hex(&key),
            report.differences
        );
    }
    let planted = Planted::new();
    planted.put_log(&keys::log(Revision(2), 1), b"\x01\x05");
    planted.finds(DifferenceKind::Unreadable, &["commit 2, piece 1"]);
}

#[test]
fn only_the_first_differences_are_listed_and_the_others_counted() {
    let planted = Planted::new();
    for number in 0..(u32::try_from(DIFFERENCES_MAX).unwrap() + 20) {
        planted.put(keys::progress(u64::from(number) + 10), encode(&crate::values::Progress::default()).unwrap());
    }
    let report = planted.scrub();
    assert_eq!((report.differences.len(), report.more), (DIFFERENCES_MAX, 20));
}

/// A bulk that a crash interrupted between its mark and its end is no damage.
#[test]
fn a_bulk_that_is_being_published_is_no_difference() {
    use crate::values::{Mark, StoredBulk, StoredProvenance};
    let planted = Planted::new();
    let mut bulk = planted.datastore.bulk(STORE, BulkMode::Create, at(2)).unwrap();
    bulk.push(vec!["document:third#viewer@user:bob".parse().unwrap()]).unwrap();
    assert!(planted.scrub().is_clean(), "{:#?}", planted.scrub());
    let provenance = stonetown_storage::Provenance { time: at(4), actor: None, metadata: None };
    let mark = Mark { revision: 6, schema_changed: false, provenance: StoredProvenance::from(&provenance) };
    let marked = StoredBulk { store: STORE.0, marked: Some(mark) };
    // The number of the first bulk of the process was taken by the one in `new`.
    planted.put(keys::bulk(2), encode(&marked).unwrap());
    assert!(planted.scrub().is_clean(), "{:#?}", planted.scrub());
    let edge = planted.edge("third", "bob");
    for direction in [Direction::Forward, Direction::Reverse] {
        planted.put(keys::version(direction, &edge, Revision(6)), b"\x01\x01\x00\x00\x00");
    }
    planted
        .finds_only(DifferenceKind::LogAgainstVersions, &["`document:third#viewer@user:bob`", "does not tell of it"]);
    planted.put(keys::bulk(2), encode(&StoredBulk { store: STORE.0, marked: None }).unwrap());
    planted.finds(DifferenceKind::Version, &["revision 6", "is of no commit"]);
}

/// A table of the database with a flipped byte: the disk no longer gives back what was written.
#[test]
fn a_flipped_byte_on_disk_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    let relationship: Relationship = "document:plan#viewer@user:eve".parse().unwrap();
    let schema = SchemaWrite { bytes: b"schema".to_vec(), tables: vec![TableKey::of(&relationship)], types: vec![] };
    for number in 0..300 {
        let relationship: Relationship = format!("document:d{number}#viewer@user:eve").parse().unwrap();
        let update = StoredUpdate { operation: Operation::Create, relationship, source: Source::STANDING };
        let schema = (number == 0).then(|| schema.clone());
        datastore.commit(Transaction { schema, updates: vec![update], ..Transaction::new(STORE, at(1)) }).unwrap();
    }
    drop(datastore);
    let run = || scrub(directory.path(), &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert!(run().unwrap().is_clean());
    let tables = std::fs::read_dir(directory.path().join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    for table in tables.filter(|path| path.extension().is_some_and(|name| name == "sst")).collect::<Vec<_>>() {
        let good = std::fs::read(&table).unwrap();
        let mut flipped = good.clone();
        flipped[40] ^= 0x20;
        std::fs::write(&table, flipped).unwrap();
        match run() {
            Ok(report) => assert!(
                report.differences.iter().any(|found| found.kind == DifferenceKind::Unreadable),
                "{:#?}",
                report.differences
            ),
            Err(error) => assert!(matches!(error, StorageError::Damaged(_)), "{error}"),
        }
        std::fs::write(&table, good).unwrap();
    }
    assert!(run().unwrap().is_clean());
}

#[test]
fn a_scrub_can_be_broken_off_and_needs_the_directory_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    let why = match scrub(directory.path(), &Options::default(), &mut |_| ControlFlow::Continue(())) {
        Err(StorageError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("in use by another process"), "{why}");
    let schema = SchemaWrite {
        bytes: b"schema".to_vec(),
        tables: vec![TableKey::of(&"document:plan#viewer@user:eve".parse().unwrap())],
        types: vec![],
    };
    datastore.commit(Transaction { schema: Some(schema), ..Transaction::new(STORE, at(1)) }).unwrap();
    let mut bulk = datastore.bulk(STORE, BulkMode::Create, at(2)).unwrap();
    bulk.push((0..5_000).map(|row| format!("document:d{row}#viewer@user:bob").parse().unwrap()).collect()).unwrap();
    bulk.publish(None, None, None).unwrap();
    let broken = datastore.scrub(&mut |_| ControlFlow::Break(()));
    assert!(matches!(broken, Err(StorageError::Refused(_))), "{broken:?}");
    let mut reported = 0;
    datastore
        .scrub(&mut |looked| {
            reported = looked;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(reported >= 4_096, "{reported}");
}
