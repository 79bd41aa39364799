//! Bulks that a crash interrupts, at each step.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use stonetown_storage::{BulkMode, Datastore, SchemaWrite, StoredUpdate, TableKey, Transaction};
use stonetown_tuple::{Operation, Relationship, Source, Timestamp};

use super::*;
use crate::open::{Opened, open};
use crate::write::{Publication, Staging};
use crate::{Options, RocksDatastore};

const STORE: StoreId = StoreId(1);
const COUNT: usize = 2 * BATCH_CHANGES + 100;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn relationship(number: usize) -> Relationship {
    format!("document:d{}#viewer@user:u{}", number / 10, number % 10).parse().unwrap()
}

fn prepare(path: &Path) {
    let datastore = RocksDatastore::open(path, Options::default()).unwrap();
    let table = TableKey::of(&relationship(0));
    let schema = SchemaWrite { bytes: Vec::new(), tables: vec![table], types: Vec::new() };
    let old = StoredUpdate {
        operation: Operation::Create,
        relationship: "document:d0#viewer@user:old".parse().unwrap(),
        source: Source::STANDING,
    };
    datastore
        .commit(Transaction { schema: Some(schema), updates: vec![old], ..Transaction::new(STORE, now()) })
        .unwrap();
}

/// Stages a bulk with a writer of its own, which does not run: what it has not done when it is dropped, a crash has taken.
fn staged(path: &Path) -> (Opened, Staging) {
    let mut opened = open(path, &Options::default()).unwrap();
    let staging = Staging { store: STORE, mode: BulkMode::Touch, now: now() };
    let relationships: Vec<_> = (0..COUNT).map(relationship).collect();
    opened.writer.stage(opened.shared.next_bulk(), staging, &relationships).unwrap();
    (opened, staging)
}

fn stored_bulk() -> (StoredBulk, Mark) {
    let provenance = stonetown_storage::Provenance { time: now(), actor: None, metadata: None };
    let mark = Mark { revision: 2, schema_changed: false, provenance: (&provenance).into() };
    (StoredBulk { store: STORE.0, marked: Some(mark.clone()) }, mark)
}

fn counted(datastore: &RocksDatastore) -> (Revision, usize, usize) {
    let snapshot = datastore.snapshot(STORE, datastore.head()).unwrap();
    let count = |direction| {
        let mut count = 0;
        let table = snapshot.tables()[0].id;
        snapshot
            .scan_table(table, direction, None, &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count
    };
    (datastore.head(), count(stonetown_storage::Direction::Forward), count(stonetown_storage::Direction::Reverse))
}

fn is_clean(datastore: &RocksDatastore) {
    for kind in [keys::Kind::Bulk, keys::Kind::Staged, keys::Kind::StagedName, keys::Kind::Progress] {
        let prefix = keys::all(kind);
        let database = &datastore.shared.database;
        assert_eq!(database.last(&prefix, &keys::after(&prefix)).unwrap(), None, "{kind:?} is left behind");
    }
}

#[test]
fn what_was_only_staged_is_gone_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    drop(staged(directory.path()));
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    assert_eq!(counted(&datastore), (Revision(1), 1, 1));
    is_clean(&datastore);
    let head = datastore.head();
    while datastore.collect_garbage(head, head, 10_000).unwrap().more {}
    let snapshot = datastore.snapshot(STORE, head).unwrap();
    let user = snapshot.type_id("user").unwrap();
    assert_eq!(snapshot.ordinal(user, "u3").unwrap(), None, "a name that only the bulk mentioned is left behind");
    assert!(snapshot.ordinal(user, "old").unwrap().is_some());
}

#[test]
fn what_was_marked_is_published_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let (opened, _) = staged(directory.path());
    let mut batch = Batch::default();
    batch.put(keys::bulk(1), encode(&stored_bulk().0).unwrap());
    opened.writer.write_unsynced(batch).unwrap();
    drop(opened);
    is_published(directory.path());
}

#[test]
fn what_was_rolled_forward_halfway_is_published_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let (opened, _) = staged(directory.path());
    let (stored, mark) = stored_bulk();
    let mut batch = Batch::default();
    batch.put(keys::bulk(1), encode(&stored).unwrap());
    opened.writer.write_unsynced(batch).unwrap();
    assert!(opened.writer.roll_batch(1, STORE, &mark, &mut Progress::default()).unwrap().is_continue());
    assert_eq!(opened.shared.head(), Revision(1));
    drop(opened);
    is_published(directory.path());
}

#[test]
fn what_was_rolled_forward_whole_is_published_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let (opened, _) = staged(directory.path());
    let (stored, mark) = stored_bulk();
    let mut batch = Batch::default();
    batch.put(keys::bulk(1), encode(&stored).unwrap());
    opened.writer.write_unsynced(batch).unwrap();
    opened.writer.roll_changes(1, STORE, &mark).unwrap();
    drop(opened);
    is_published(directory.path());
}

#[test]
fn what_was_published_stays_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let (mut opened, staging) = staged(directory.path());
    let publication = Publication { schema_at: Some(Revision(1)), actor: None, metadata: None };
    opened.writer.publish_bulk(1, staging, publication).unwrap();
    drop(opened);
    is_published(directory.path());
}

fn is_published(path: &Path) {
    let datastore = Arc::new(RocksDatastore::open(path, Options::default()).unwrap());
    assert_eq!(counted(&datastore), (Revision(2), COUNT + 1, COUNT + 1));
    is_clean(&datastore);
    let log = datastore.log(Revision(1), 9).unwrap();
    assert_eq!((log.len(), log[0].changes.len()), (1, COUNT));
    let snapshot = datastore.snapshot(STORE, Revision(1)).unwrap();
    let mut before = 0;
    let table = snapshot.tables()[0].id;
    snapshot
        .scan_table(table, stonetown_storage::Direction::Forward, None, &mut |_| {
            before += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(before, 1, "an older revision shows the bulk");
    let ended = datastore
        .commit(Transaction {
            delete: Some(stonetown_storage::DeleteByFilter { filter: Default::default(), limit: None, partial: false }),
            ..Transaction::new(STORE, now())
        })
        .unwrap();
    assert_eq!(ended.count, COUNT as u64 + 1);
    drop(snapshot);
    let head = datastore.head();
    while datastore.collect_garbage(head, head, 100_000).unwrap().more {}
    assert_eq!(counted(&datastore), (Revision(3), 0, 0));
}
