//! Transactions of one group: each is tested against those before it, and one that fails disturbs no other.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::mpsc;

use parking_lot::Mutex;
use stonetown_storage::{
    Datastore, DeleteByFilter, Follower, Guard, SchemaWrite, StoredUpdate, TableKey, Transaction, read,
};
use stonetown_tuple::{Operation, Precondition, RelationshipFilter, Source};

use super::*;
use crate::{Options, RocksDatastore};

const STORE: StoreId = StoreId(1);

fn rel(text: &str) -> Relationship {
    text.parse().unwrap()
}

fn transaction(updates: &[(Operation, &str)]) -> Transaction {
    let update = |(operation, text): &(Operation, &str)| StoredUpdate {
        operation: *operation,
        relationship: rel(text),
        source: Source::STANDING,
    };
    Transaction { updates: updates.iter().map(update).collect(), ..Transaction::new(STORE, Timestamp::UNIX_EPOCH) }
}

fn with_table(updates: &[(Operation, &str)]) -> Transaction {
    let tables = updates.iter().map(|(_, text)| TableKey::of(&rel(text))).collect();
    let schema = SchemaWrite { bytes: updates[0].1.as_bytes().to_vec(), tables, types: Vec::new() };
    Transaction { schema: Some(schema), ..transaction(updates) }
}

fn about(object_type: &str) -> RelationshipFilter {
    RelationshipFilter { resource_type: Some(object_type.parse().unwrap()), ..RelationshipFilter::default() }
}

fn all(datastore: &RocksDatastore) -> Vec<String> {
    let snapshot = datastore.snapshot(STORE, datastore.head()).unwrap();
    let mut texts = Vec::new();
    read::read(&*snapshot, &RelationshipFilter::default(), Timestamp::UNIX_EPOCH, None, &mut |_, relationship, _| {
        texts.push(relationship.to_string());
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    texts.sort();
    texts
}

/// Holds the writer up until it is released.
struct Gate(Mutex<mpsc::Receiver<()>>);

impl Follower for Gate {
    fn follow(&self, _: &LogPart<'_>) {
        let _released = self.0.lock().recv();
    }
}

/// Has all transactions wait while the writer is held up by one before them, so that they make one group.
fn commit_as_group(datastore: &RocksDatastore, transactions: Vec<Transaction>) -> Vec<Result<Committed, CommitError>> {
    let (release, gate) = mpsc::channel();
    datastore.follow(Arc::new(Gate(Mutex::new(gate))));
    std::thread::scope(|scope| {
        let head = datastore.head();
        let first = scope.spawn(|| datastore.commit(transaction(&[])));
        let mut waiting = Vec::new();
        for (number, transaction) in transactions.into_iter().enumerate() {
            // The first is taken up before the others are queued, and they in this order.
            while datastore.usage().queued != number as u64 || !is_written(datastore, Revision(head.0 + 1)) {
                std::thread::yield_now();
            }
            waiting.push(scope.spawn(move || datastore.commit(transaction)));
        }
        while datastore.usage().queued != waiting.len() as u64 {
            std::thread::yield_now();
        }
        drop(release);
        first.join().unwrap().unwrap();
        waiting.into_iter().map(|commit| commit.join().unwrap()).collect()
    })
}

fn is_written(datastore: &RocksDatastore, revision: Revision) -> bool {
    datastore.shared.database.get(&keys::transaction(revision)).unwrap().is_some()
}

#[test]
fn each_transaction_of_a_group_sees_those_before_it() {
    use Operation::{Create, Delete, Touch};
    let directory = tempfile::tempdir().unwrap();
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    datastore.commit(with_table(&[(Create, "document:old#viewer@user:eve")])).unwrap();
    let since = datastore.head();
    let guarded = |relation: &'static str| {
        let refuse = Box::new(move |relationship: &Relationship| relationship.relation.as_str() == relation);
        Transaction { guard: Some(Guard { since, refuse }), ..transaction(&[]) }
    };
    let asked = |fingerprint| Transaction {
        request_id: Some(RequestId { id: "one".to_owned(), fingerprint }),
        ..transaction(&[(Create, "document:asked#viewer@user:eve")])
    };
    let needing = |precondition| Transaction { preconditions: vec![precondition], ..transaction(&[]) };
    let deleting = |limit| Transaction {
        delete: Some(DeleteByFilter { filter: about("document"), limit, partial: false }),
        ..transaction(&[])
    };
    let outcomes = commit_as_group(
        &datastore,
        vec![
            transaction(&[(Create, "document:a#viewer@user:new")]),
            transaction(&[(Create, "document:b#viewer@user:newer"), (Create, "document:a#viewer@user:new")]),
            transaction(&[(Create, "document:b#viewer@user:newer")]),
            needing(Precondition::MustMatch(about("document"))),
            needing(Precondition::MustNotMatch(about("document"))),
            transaction(&[(Create, "folder:a#owner@user:eve")]),
            with_table(&[(Touch, "folder:a#owner@user:eve"), (Create, "document:a#viewer@user:new")]),
            with_table(&[(Create, "folder:a#owner@user:eve")]),
            Transaction { schema_at: Some(since), ..transaction(&[]) },
            guarded("owner"),
            guarded("parent"),
            asked(1),
            asked(1),
            asked(2),
            transaction(&[(Delete, "document:a#viewer@user:new")]),
            deleting(Some(2)),
            deleting(Some(3)),
            transaction(&[(Create, "document:old#viewer@user:eve")]),
            needing(Precondition::MustNotMatch(about("folder"))),
        ],
    );
    let outcomes: Vec<String> = outcomes.iter().map(told).collect();
    assert_eq!(
        outcomes,
        [
            "3",
            "exists",
            "4",
            "5",
            "precondition",
            "no table",
            "exists",
            "6",
            "schema changed at 6",
            "conflict",
            "7",
            "8",
            "8 again",
            "reused",
            "9",
            "too many",
            "10 deleted 3",
            "11",
            "precondition",
        ]
    );
    assert_eq!(all(&datastore), ["document:old#viewer@user:eve", "folder:a#owner@user:eve"]);
    let head = datastore.head();
    assert_eq!(head, Revision(11));
    let log = datastore.log(Revision(0), 99).unwrap();
    assert_eq!(log.iter().map(|entry| entry.revision.0).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    drop(datastore);
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    assert_eq!((datastore.head(), datastore.log(Revision(0), 99).unwrap()), (head, log));
    assert_eq!(all(&datastore), ["document:old#viewer@user:eve", "folder:a#owner@user:eve"]);
}

fn told(outcome: &Result<Committed, CommitError>) -> String {
    match outcome {
        Ok(Committed { revision, replayed: true, .. }) => format!("{revision} again"),
        Ok(Committed { revision, count: 0, .. }) => revision.to_string(),
        Ok(Committed { revision, count, .. }) => format!("{revision} deleted {count}"),
        Err(CommitError::AlreadyExists(_)) => "exists".to_owned(),
        Err(CommitError::Precondition(_)) => "precondition".to_owned(),
        Err(CommitError::NoTable(_)) => "no table".to_owned(),
        Err(CommitError::SchemaChanged(at)) => format!("schema changed at {at}"),
        Err(CommitError::Conflict) => "conflict".to_owned(),
        Err(CommitError::RequestIdReused(_)) => "reused".to_owned(),
        Err(CommitError::TooManyToDelete { .. }) => "too many".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_delete_too_large_for_a_group_comes_between_two() {
    let directory = tempfile::tempdir().unwrap();
    let datastore = RocksDatastore::open(directory.path(), Options::default()).unwrap();
    datastore.commit(with_table(&[(Operation::Create, "document:a#viewer@user:eve")])).unwrap();
    let mut bulk = datastore.bulk(STORE, BulkMode::Touch, Timestamp::UNIX_EPOCH).unwrap();
    let many = (0..=DELETED_AT_ONCE_MAX).map(|number| rel(&format!("document:d{number}#viewer@user:eve")));
    bulk.push(many.collect()).unwrap();
    bulk.publish(None, None, None).unwrap();
    let clear = || Transaction {
        delete: Some(DeleteByFilter { filter: about("document"), limit: None, partial: false }),
        ..transaction(&[])
    };
    let outcomes = commit_as_group(
        &datastore,
        vec![
            transaction(&[(Operation::Create, "document:before#viewer@user:eve")]),
            clear(),
            transaction(&[(Operation::Create, "document:before#viewer@user:eve")]),
            clear(),
        ],
    );
    let outcomes: Vec<String> = outcomes.iter().map(told).collect();
    assert_eq!(outcomes, ["4", &format!("5 deleted {}", DELETED_AT_ONCE_MAX + 3), "6", "7 deleted 1"]);
    assert!(all(&datastore).is_empty());
}
