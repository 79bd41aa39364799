//! The suite that every implementation of [`Datastore`] passes. [`crate::conformance_tests`] makes a `#[test]` of each case.
//!
//! Cases get an empty datastore and panic where it breaks a promise. Each looks at what it wrote in every way there is:
//! forward and in reverse, row by row and as a whole, by filter, at older revisions and through followers.

#![allow(clippy::unwrap_used, clippy::panic)] // A suite of tests: to panic is how it reports.

pub mod bulks;
pub mod collecting;
pub mod conditions;
pub mod history;
pub mod random;
pub mod reading;
pub mod time;
pub mod writes;

mod model;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use stonetown_tuple::{
    ObjectId, Operation, Relationship, RelationshipFilter, Revision, Source, StoreId, SubjectFilter, Timestamp,
};

use crate::read::{ReadPosition, read, relationship};
use crate::{
    Change, CommitError, Committed, Datastore, Direction, Edge, Follower, LogEntry, LogPart, Ordinal, SchemaWrite,
    Snapshot, StoredUpdate, TableKey, Transaction,
};

/// Makes a `#[test]` of each case of the suite. The argument is called for an empty datastore, an `Arc<dyn Datastore>`,
/// which may come in a tuple before something that is kept until the case ends, such as its directory.
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance_tests! { $make =>
            writes: a_created_relationship_is_there, create_refuses_what_is_there, create_replaces_what_has_expired,
                create_counts_what_has_not_begun_as_there, touch_adds_and_replaces, delete_ends_what_is_there_only,
                delete_needs_no_table, updates_of_unknown_tables_are_refused, a_failed_transaction_leaves_no_trace,
                the_same_relationship_comes_once_from_several_sources, delete_ends_every_source,
                a_wildcard_is_a_subject_of_ordinal_zero, updates_apply_in_order, an_empty_transaction_is_a_revision,
                schema_and_relationships_come_in_one_transaction;
            conditions: preconditions_see_what_is_live, preconditions_are_tested_before_the_updates,
                a_schema_that_changed_is_refused, a_guard_sees_what_was_written_since,
                a_guard_ignores_what_is_gone_again, a_request_id_repeats_its_answer, a_request_id_fits_one_request,
                a_request_id_is_forgotten_after_a_day, a_failed_request_id_is_free, delete_by_filter_counts,
                delete_by_filter_keeps_its_limit, delete_by_filter_ends_every_source,
                delete_by_filter_skips_what_expired;
            history: a_snapshot_never_changes, revisions_have_one_order_for_all_stores, stores_are_isolated,
                two_stores_commit_both_or_neither,
                snapshots_outside_the_window_are_refused, schemas_are_versioned, types_and_tables_keep_their_numbers,
                the_log_tells_every_change, the_log_comes_in_pages, the_log_comes_in_pieces, followers_hear_before_the_head_moves,
                followers_hear_what_the_log_tells, provenance_is_kept, a_time_names_the_revision_that_was_head,
                concurrent_commits_have_one_order;
            reading: filters_select_what_they_name, every_filter_agrees_with_its_definition,
                a_read_goes_on_after_any_position, scans_stop_when_told, a_scan_of_a_row_begins_where_asked,
                a_scan_of_a_table_goes_on_after_a_position, unknown_things_are_not_found;
            bulks: a_bulk_creates_at_one_revision, a_bulk_that_creates_what_is_there_is_refused,
                a_bulk_that_creates_the_same_twice_is_refused, a_bulk_touches_and_the_last_wins, a_bulk_deletes,
                a_dropped_bulk_has_never_been, a_bulk_beside_other_commits, a_bulk_with_a_changed_schema_is_refused,
                a_bulk_of_an_unknown_table_is_refused, a_large_bulk_comes_in_parts, a_large_delete_by_filter,
                an_empty_bulk_is_a_revision;
            collecting: superseded_versions_go, an_end_above_older_versions_never_revives, the_floor_is_enforced,
                an_open_snapshot_keeps_what_it_sees, dead_names_go_and_come_back_anew, the_log_keeps_names,
                the_log_is_cut, the_time_that_is_kept_begins_with_the_floor, provenance_goes_with_its_last_edge, collecting_in_small_steps_ends_the_same,
                old_schemas_go, forgotten_requests_go;
            time: effects_tell_what_holds, moments_are_logged_once, moments_of_replaced_versions_are_forgotten,
                moments_pass_in_bounded_steps, what_has_expired_is_removed, collecting_over_moments_removes_nothing,
                effects_add_up, what_is_kept_is_there;
            random: random_histories_agree_with_a_model;
        }
    };
    ($make:expr => $($group:ident: $($case:ident),+;)+) => {
        $(
            mod $group {
                #[allow(unused_imports, clippy::wildcard_imports)] // what the argument names
                use super::*;
                $(
                    #[test]
                    fn $case() {
                        let make: $crate::conformance::MakeKeeping = $make;
                        let mut kept = Vec::new();
                        $crate::conformance::$group::$case(&mut || make(&mut kept));
                    }
                )+
            }
        )+
    };
}

/// Makes an empty datastore.
pub type Make<'m> = &'m mut dyn FnMut() -> Arc<dyn Datastore>;

/// Makes an empty datastore and keeps what it needs.
pub type MakeKeeping = fn(&mut Vec<Box<dyn std::any::Any>>) -> Arc<dyn Datastore>;

/// The clock of a call that happens `seconds` into a case.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + seconds).unwrap()
}

/// The clock where it plays no part.
fn now() -> Timestamp {
    at(0)
}

fn rel(text: &str) -> Relationship {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `rel` with an expiry so many seconds into the case.
fn until(text: &str, seconds: i64) -> Relationship {
    Relationship { expires_at: Some(at(seconds)), ..rel(text) }
}

/// `rel` with a start so many seconds into the case.
fn from(text: &str, seconds: i64) -> Relationship {
    Relationship { not_before: Some(at(seconds)), ..rel(text) }
}

fn table(text: &str) -> TableKey {
    let (resource, subject) = text.split_once('@').unwrap();
    let (resource_type, relation) = resource.split_once('#').unwrap();
    let (subject_type, subject_relation) = match subject.split_once('#') {
        None => (subject, None),
        Some((subject_type, relation)) => (subject_type, Some(relation.to_owned())),
    };
    TableKey {
        resource_type: resource_type.to_owned(),
        relation: relation.to_owned(),
        subject_type: subject_type.to_owned(),
        subject_relation,
    }
}

const TABLES: [&str; 6] = [
    "document#viewer@user",
    "document#viewer@group#member",
    "document#editor@user",
    "folder#viewer@user",
    "group#member@user",
    "group#member@group#member",
];

fn schema(tables: &[&str]) -> SchemaWrite {
    let tables: Vec<TableKey> = tables.iter().map(|text| table(text)).collect();
    SchemaWrite { bytes: format!("{} tables", tables.len()).into_bytes(), tables, types: vec!["idle".to_owned()] }
}

/// A datastore under test, seen as one of its stores.
#[derive(Clone)]
struct Stage {
    datastore: Arc<dyn Datastore>,
    store: StoreId,
}

impl Stage {
    /// A store that has the usual tables.
    fn new(make: Make<'_>) -> Self {
        let stage = Stage { datastore: make(), store: StoreId::DEFAULT };
        stage.commit(Transaction { schema: Some(schema(&TABLES)), ..stage.transaction() }).unwrap();
        stage
    }

    fn transaction(&self) -> Transaction {
        Transaction::new(self.store, now())
    }

    fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        self.datastore.commit(transaction)
    }

    fn write_at(&self, time: Timestamp, updates: Vec<StoredUpdate>) -> Result<Revision, CommitError> {
        let transaction = Transaction { updates, ..Transaction::new(self.store, time) };
        self.commit(transaction).map(|committed| committed.revision)
    }

    fn write(&self, updates: Vec<StoredUpdate>) -> Revision {
        self.write_at(now(), updates).unwrap()
    }

    fn touch(&self, texts: &[&str]) -> Revision {
        self.write(texts.iter().map(|text| touch(rel(text))).collect())
    }

    fn head(&self) -> Arc<dyn Snapshot> {
        self.snapshot(self.datastore.head())
    }

    fn snapshot(&self, at: Revision) -> Arc<dyn Snapshot> {
        self.datastore.snapshot(self.store, at).unwrap_or_else(|error| panic!("snapshot at {at}: {error}"))
    }

    /// What holds at head and the usual time, as sorted texts.
    fn all(&self) -> Vec<String> {
        live(&*self.head(), now())
    }

    fn expect(&self, texts: &[&str]) {
        let mut texts: Vec<String> = texts.iter().map(|text| rel(text).to_string()).collect();
        texts.sort();
        assert_eq!(self.all(), texts);
    }
}

fn update(operation: Operation, relationship: Relationship) -> StoredUpdate {
    StoredUpdate { operation, relationship, source: Source::STANDING }
}

fn create(relationship: Relationship) -> StoredUpdate {
    update(Operation::Create, relationship)
}

fn touch(relationship: Relationship) -> StoredUpdate {
    update(Operation::Touch, relationship)
}

fn delete(relationship: Relationship) -> StoredUpdate {
    update(Operation::Delete, relationship)
}

fn granted(source: u64, update: StoredUpdate) -> StoredUpdate {
    StoredUpdate { source: Source(source), ..update }
}

/// The relationships that hold, as sorted texts, after looking at them in every way.
fn live(snapshot: &dyn Snapshot, now: Timestamp) -> Vec<String> {
    let every_way = stored(snapshot);
    let mut texts = Vec::new();
    read(snapshot, &RelationshipFilter::default(), now, None, &mut |_, relationship, written| {
        let copies = every_way.get(&key(&relationship)).unwrap();
        assert!(copies.iter().any(|copy| copy.relationship == relationship && copy.written == written));
        texts.push(relationship.to_string());
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected = every_way.values().filter(|copies| copies.iter().any(|copy| copy.relationship.is_live(now))).count();
    assert_eq!(texts.len(), expected, "a read skips what has copies that hold");
    texts.sort();
    texts
}

/// One source's copy of a relationship.
#[derive(Debug, Clone, PartialEq)]
struct Copy {
    source: Source,
    relationship: Relationship,
    written: Revision,
}

/// The text of a relationship without caveat and times.
fn key(relationship: &Relationship) -> String {
    Relationship::new(relationship.resource.clone(), relationship.relation.clone(), relationship.subject.clone())
        .to_string()
}

/// Everything stored, by relationship, after making sure that all ways of scanning agree.
fn stored(snapshot: &dyn Snapshot) -> BTreeMap<String, Vec<Copy>> {
    let mut all: BTreeMap<String, Vec<Copy>> = BTreeMap::new();
    let tables = snapshot.tables();
    assert!(tables.is_sorted_by(|a, b| a.key < b.key), "tables are sorted by key");
    for table in tables.iter() {
        let forward = scan(snapshot, table.id, Direction::Forward);
        let reverse = scan(snapshot, table.id, Direction::Reverse);
        assert_eq!(forward.len(), reverse.len(), "forward and reverse differ in length");
        for direction in [Direction::Forward, Direction::Reverse] {
            let edges = if direction == Direction::Forward { &forward } else { &reverse };
            assert!(edges.is_sorted_by(|a, b| a.position(direction) < b.position(direction)), "a scan is in order");
            for edge in edges {
                assert!(forward.contains(edge), "in reverse only: {edge:?}");
                assert!(edge.written <= snapshot.revision(), "a snapshot shows the future");
                assert!(snapshot.provenance(edge.written).unwrap().is_some(), "no provenance for {edge:?}");
            }
            let mut rows: Vec<Ordinal> = edges.iter().map(|edge| edge.position(direction).row).collect();
            rows.dedup();
            for row in rows {
                let expected: Vec<_> = edges.iter().filter(|edge| edge.position(direction).row == row).collect();
                let found = scan_row(snapshot, table.id, direction, row);
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "a row differs from the table");
            }
        }
        for edge in &forward {
            let relationship = relationship(snapshot, table, edge).unwrap();
            let resource = snapshot.ordinal(table.resource_type, relationship.resource.object_id.as_str());
            assert_eq!(resource.unwrap(), Some(edge.resource), "name and ordinal differ");
            let subject = snapshot.ordinal(table.subject_type, relationship.subject.object_id().as_str());
            assert_eq!(subject.unwrap(), Some(edge.subject), "name and ordinal differ");
            let copy = Copy { source: edge.source, written: edge.written, relationship };
            all.entry(key(&copy.relationship)).or_default().push(copy);
        }
    }
    all
}

fn scan(snapshot: &dyn Snapshot, table: crate::TableId, direction: Direction) -> Vec<Edge> {
    let mut edges = Vec::new();
    snapshot
        .scan_table(table, direction, None, &mut |edge| {
            edges.push(edge.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    edges
}

fn scan_row(snapshot: &dyn Snapshot, table: crate::TableId, direction: Direction, row: Ordinal) -> Vec<Edge> {
    let mut edges = Vec::new();
    snapshot
        .scan_row(table, direction, row, Ordinal(0), &mut |edge| {
            edges.push(edge.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    edges
}

/// The texts of what matches a filter, in the order of the read.
fn matching(snapshot: &dyn Snapshot, filter: &RelationshipFilter) -> Vec<(ReadPosition, String)> {
    let mut found = Vec::new();
    read(snapshot, filter, now(), None, &mut |position, relationship, _| {
        found.push((position, relationship.to_string()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// A filter by the parts of `type[:id][#relation]` and `type[:id]` of a subject.
fn filter(resource: &str, subject: Option<&str>) -> RelationshipFilter {
    let (resource, relation) = resource.split_once('#').map_or((resource, None), |(r, relation)| (r, Some(relation)));
    let (object_type, id) = resource.split_once(':').map_or((resource, None), |(t, id)| (t, Some(id)));
    RelationshipFilter {
        resource_type: (!object_type.is_empty()).then(|| object_type.parse().unwrap()),
        resource_id: id.filter(|id| !id.ends_with('%')).map(|id| id.parse().unwrap()),
        resource_id_prefix: id.and_then(|id| id.strip_suffix('%')).map(|prefix| prefix.parse::<ObjectId>().unwrap()),
        relation: relation.map(|relation| relation.parse().unwrap()),
        subject: subject.map(|subject| {
            let (subject_type, id) = subject.split_once(':').map_or((subject, None), |(t, id)| (t, Some(id)));
            SubjectFilter {
                subject_type: subject_type.parse().unwrap(),
                subject_id: id.map(|id| stonetown_tuple::SubjectId::new(id).unwrap()),
                relation: stonetown_tuple::SubjectRelationFilter::Any,
            }
        }),
    }
}

/// Keeps what it is told as entries of a log, provenance aside.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<Heard>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Heard {
    revision: Revision,
    store: StoreId,
    schema_changed: bool,
    changes: Vec<Change>,
    parts: usize,
    whole: bool,
}

impl Follower for Listener {
    fn follow(&self, part: &LogPart<'_>) {
        let mut heard = self.heard.lock();
        match heard.last_mut() {
            Some(last) if !last.whole => {
                assert_eq!((last.revision, last.store), (part.revision, part.store), "parts of commits are mixed");
                last.changes.extend_from_slice(part.changes);
                last.schema_changed |= part.schema_changed;
                last.parts += 1;
                last.whole = part.last;
            }
            _ => heard.push(Heard {
                revision: part.revision,
                store: part.store,
                schema_changed: part.schema_changed,
                changes: part.changes.to_vec(),
                parts: 1,
                whole: part.last,
            }),
        }
    }
}

impl Listener {
    /// Asserts that what was heard after `after` is what the log tells.
    fn agrees_with_log(&self, datastore: &dyn Datastore, after: Revision) {
        let log = datastore.log(after, usize::MAX).unwrap();
        let heard = self.heard.lock();
        assert!(heard.last().is_none_or(|last| last.whole), "the last part is missing");
        let heard: Vec<_> = heard.iter().filter(|heard| heard.revision > after).collect();
        assert_eq!(heard.len(), log.len(), "followers hear every commit");
        for (heard, entry) in heard.iter().zip(&log) {
            let LogEntry { revision, store, schema_changed, changes, .. } = entry;
            assert_eq!((heard.revision, heard.store, heard.schema_changed), (*revision, *store, *schema_changed));
            assert_eq!(&heard.changes, changes, "at revision {revision}");
        }
    }
}
