//! Lookups over a million documents: three users who see 10, 1,000 and 100,000 of them (a third directly, a third through
//! a group, a third through a folder), with and without an intersection or exclusion on top; and three documents that as
//! many users see, one of them public with a thousand exclusions. A fourth user is in the group of the third on a condition
//! that cannot be decided.
//!
//! All relationships are resident, and each lookup is computed anew. Reading the names of what was found is measured
//! apart.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use stonetown_graph::{Evaluation, Given, Index, IndexOptions, Limits, Plan, lookup_resources, lookup_subjects};
use stonetown_schema::{CompileOptions, Schema, SubjectForm};
use stonetown_storage::{BulkMode, Datastore, MemoryDatastore, SchemaWrite, TableKey, Transaction};
use stonetown_tuple::{CaveatContext, ObjectType, RelationName, Relationship, StoreId, SubjectRef, Timestamp};

const SCHEMA: &str = "
    definition user {}
    caveat on_day(day string) { day == \"monday\" }
    definition group { relation member: user | user with on_day | group#member }
    definition folder {
        relation parent: folder
        relation viewer: user | group#member
        permission view = viewer + parent->view
    }
    definition document {
        relation parent: folder
        relation viewer: user | user:* | group#member
        relation banned: user
        relation editor: user
        permission view = viewer + parent->view
        permission allowed = view - banned
        permission edit = view & editor
    }";

const DOCUMENTS: u32 = 1_000_000;
const CLASSES: [u32; 3] = [10, 1_000, 100_000];
/// Documents in each folder.
const FOLDER: u32 = 100;

fn lookups(criterion: &mut Criterion) {
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let schema = Arc::new(Schema::compile(SCHEMA, &CompileOptions::default()).unwrap());
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let mut transaction = Transaction::new(StoreId::DEFAULT, now);
    let types = schema.definitions().iter().map(|definition| definition.name.to_string()).collect();
    transaction.schema = Some(SchemaWrite { bytes: Vec::new(), tables: tables(&schema), types });
    datastore.commit(transaction).unwrap();
    let mut bulk = datastore.bulk(StoreId::DEFAULT, BulkMode::Touch, now).unwrap();
    let lines = relationships();
    for chunk in lines.chunks(10_000) {
        let chunk: Vec<Relationship> = chunk.iter().map(|line| line.parse().unwrap()).collect();
        bulk.push(chunk).unwrap();
    }
    bulk.publish(None, None, None).unwrap();
    let revision = datastore.head();
    let snapshot = datastore.snapshot(StoreId::DEFAULT, revision).unwrap();
    let index = Index::load(&datastore, IndexOptions::default()).unwrap();
    let view = index.view(StoreId::DEFAULT, revision).unwrap();
    let plan = Plan::compile(schema, &*snapshot);
    let (context, limits) = (CaveatContext::new(), Limits::default());
    let evaluation = Evaluation {
        plan: &plan,
        snapshot: &*snapshot,
        index: Some(&view),
        overlay: None,
        now,
        context: &context,
        given: Given::Call { peer_ip: None },
        limits: &limits,
        deadline: None,
        cancel: None,
    };

    let document: ObjectType = "document".parse().unwrap();
    let user: ObjectType = "user".parse().unwrap();
    for permission in ["view", "allowed", "edit"] {
        let name: RelationName = permission.parse().unwrap();
        let mut group = criterion.benchmark_group(format!("lookup_resources/{permission}"));
        for class in CLASSES {
            let subject: SubjectRef = format!("user:sees{class}").parse().unwrap();
            group.bench_function(class.to_string(), |bencher| {
                bencher.iter(|| lookup_resources(&evaluation, &document, &name, black_box(&subject)).unwrap().len());
            });
        }
    }
    let view: RelationName = "view".parse().unwrap();
    let perhaps: SubjectRef = "user:perhaps".parse().unwrap();
    criterion.bench_function("lookup_resources/conditional", |bencher| {
        bencher.iter(|| lookup_resources(&evaluation, &document, &view, black_box(&perhaps)).unwrap().len());
    });
    let found = lookup_resources(&evaluation, &document, &view, &"user:sees100000".parse().unwrap()).unwrap();
    assert_eq!(found.len(), 100_001, "and the public one");
    let mut group = criterion.benchmark_group("lookup_resources/page");
    for size in [100, 1_000] {
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| found.page(&evaluation, None, black_box(size)).unwrap().len());
        });
    }
    drop(group);

    let allowed: RelationName = "allowed".parse().unwrap();
    let mut group = criterion.benchmark_group("lookup_subjects");
    for resource in ["seen_by_10", "seen_by_1000", "seen_by_100000", "public"] {
        let object = format!("document:{resource}").parse().unwrap();
        group.bench_function(resource, |bencher| {
            bencher.iter(|| lookup_subjects(&evaluation, black_box(&object), &allowed, &user, None).unwrap().len());
        });
    }
}

fn relationships() -> Vec<String> {
    let mut lines = Vec::new();
    for number in 0..DOCUMENTS {
        let folder = number / FOLDER;
        lines.push(format!("document:d{number}#parent@folder:f{folder}"));
        if number.is_multiple_of(FOLDER) && !folder.is_multiple_of(10) {
            lines.push(format!("folder:f{folder}#parent@folder:f{}", folder / 10 * 10));
        }
    }
    // A third of the documents each way, from different ranges.
    for (class, at) in CLASSES.into_iter().zip([100_000, 200_000, 400_000]) {
        let (user, group, third) = (format!("user:sees{class}"), format!("group:g{class}"), class / 3);
        lines.push(format!("{group}#member@{user}"));
        lines.push(format!("{group}#member@user:perhaps[on_day]"));
        for step in 0..third {
            let spread = DOCUMENTS / 4 / third.max(1);
            lines.push(format!("document:d{}#viewer@{user}", at + step * spread.min(7)));
            lines.push(format!("document:d{}#viewer@{group}#member", 700_000 + at / 4 + step * spread.min(2)));
        }
        let rest = class - 2 * third;
        let folder = at / FOLDER / 2 / 10 * 10;
        for step in 0..rest / FOLDER {
            lines.push(format!("folder:f{}#viewer@{group}#member", folder + 1 + step + step / 9));
        }
        for step in 0..rest % FOLDER {
            lines.push(format!("document:d{}#viewer@{user}", 999_000 + class / 200 + step));
        }
        for step in 0..class / 10 {
            lines.push(format!("document:d{}#banned@{user}", at + step * 7));
            lines.push(format!("document:d{}#editor@{user}", at + step * 7));
        }
    }
    // A half of the users directly, the others in up to a hundred groups.
    for class in CLASSES {
        let groups = (class / 2).min(100);
        for step in 0..class / 2 {
            lines.push(format!("document:seen_by_{class}#viewer@user:u{step}"));
            lines.push(format!("group:wide{class}_{}#member@user:v{step}", step % groups));
        }
        for group in 0..groups {
            lines.push(format!("document:seen_by_{class}#viewer@group:wide{class}_{group}#member"));
        }
    }
    lines.push("document:public#viewer@user:*".to_owned());
    lines.extend((0..1_000).map(|step| format!("document:public#banned@user:u{step}")));
    lines
}

fn tables(schema: &Schema) -> Vec<TableKey> {
    let mut tables = Vec::new();
    for definition in schema.definitions() {
        for relation in &definition.relations {
            tables.extend(relation.allowed.iter().map(|allowed| TableKey {
                resource_type: definition.name.to_string(),
                relation: relation.name.to_string(),
                subject_type: allowed.subject_type.to_string(),
                subject_relation: match &allowed.form {
                    SubjectForm::Userset(of) => Some(of.to_string()),
                    SubjectForm::Object | SubjectForm::Wildcard => None,
                },
            }));
        }
    }
    tables.sort();
    tables.dedup();
    tables
}

criterion_group!(benches, lookups);
criterion_main!(benches);
