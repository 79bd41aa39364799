//! How long one check takes in process, names looked up included, with everything resident. `SCALE=10` makes the shared
//! drive ten times as large: about a million relationships.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_graph::{Evaluation, Given, Index, IndexOptions, IndexView, Limits, Membership, Plan, check};
use stonetown_schema::{CompileOptions, Schema, SubjectForm};
use stonetown_storage::{
    BulkMode, Datastore, MemoryDatastore, SchemaWrite, Snapshot, StoredUpdate, TableKey, Transaction,
};
use stonetown_tuple::{CaveatContext, Operation, Relationship, Source, StoreId, Timestamp};

criterion_group!(benches, drive, chain, wide, commit);
criterion_main!(benches);

const SEED: u64 = 20_261_121;

/// Groups within groups, folders within folders, documents shared with both; a few people are banned.
fn drive(criterion: &mut Criterion) {
    let scale: usize = std::env::var("SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    let (users, groups, folders, documents) = (10_000 * scale, 1_000 * scale, 5_000 * scale, 40_000 * scale);
    let mut dice = StdRng::seed_from_u64(SEED);
    let mut lines = Vec::new();
    for group in 0..groups {
        for _ in 0..20 {
            lines.push(format!("group:g{group:07}#member@user:u{:07}", dice.random_range(0..users)));
        }
        if group >= groups / 5 {
            let parent = dice.random_range(0..group / 2 + 1);
            lines.push(format!("group:g{parent:07}#member@group:g{group:07}#member"));
        }
    }
    for folder in 0..folders {
        if folder > 50 {
            lines.push(format!("folder:f{folder:07}#parent@folder:f{:07}", dice.random_range(0..folder / 3 + 1)));
        }
        if dice.random_bool(0.3) {
            lines.push(format!("folder:f{folder:07}#viewer@group:g{:07}#member", dice.random_range(0..groups)));
        }
        if dice.random_bool(0.1) {
            lines.push(format!("folder:f{folder:07}#editor@user:u{:07}", dice.random_range(0..users)));
        }
    }
    let mut questions = Vec::new();
    for document in 0..documents {
        let parent = dice.random_range(0..folders);
        let owner = dice.random_range(0..users);
        lines.push(format!("document:d{document:07}#parent@folder:f{parent:07}"));
        lines.push(format!("document:d{document:07}#owner@user:u{owner:07}"));
        if dice.random_bool(0.2) {
            lines.push(format!("document:d{document:07}#viewer@user:u{:07}", dice.random_range(0..users)));
        }
        if dice.random_bool(0.05) {
            lines.push(format!("document:d{document:07}#viewer@group:g{:07}#member", dice.random_range(0..groups)));
        }
        if dice.random_bool(0.001) {
            lines.push(format!("document:d{document:07}#banned@user:u{:07}", dice.random_range(0..users)));
        }
        if dice.random_bool(0.1) {
            let user = if dice.random_bool(0.5) { owner } else { dice.random_range(0..users) };
            questions.push(format!("document:d{document:07}#view@user:u{user:07}"));
        }
    }
    let world = World::new(
        "definition user {}
         definition group { relation member: user | group#member }
         definition folder {
            relation parent: folder
            relation viewer: user | group#member
            relation editor: user | group#member
            permission edit = editor + parent->edit
            permission view = viewer + edit + parent->view
         }
         definition document {
            relation parent: folder
            relation owner: user
            relation viewer: user | group#member
            relation banned: user
            permission edit = owner + parent->edit
            permission view = viewer + edit + parent->view - banned
         }",
        &lines,
    );
    let name = format!("drive of {} relationships", lines.len());
    world.bench(criterion, &name, &questions);
    let named = world.questions(&questions);
    criterion.bench_function(&format!("{name}, names only"), |bencher| {
        let (snapshot, mut next) = (&world.snapshot, named.iter().cycle());
        let id = |name: &str| snapshot.type_id(name).expect("a type");
        let (document, user) = (id("document"), id("user"));
        bencher.iter(|| {
            let question = next.next().expect("a question");
            let resource = snapshot.ordinal(document, question.resource.object_id.as_str());
            let subject = snapshot.ordinal(user, question.subject.object_id().as_str());
            black_box((resource.is_ok(), subject.is_ok()))
        });
    });
}

/// Folders within folders, forty deep, with and without an exclusion at each.
fn chain(criterion: &mut Criterion) {
    let mut lines = Vec::new();
    for chain in 0..1000 {
        lines.push(format!("folder:c{chain:04}n40#viewer@user:u{chain:04}"));
        for level in 0..40 {
            lines.push(format!("folder:c{chain:04}n{level}#parent@folder:c{chain:04}n{}", level + 1));
        }
    }
    let world = World::new(
        "definition user {}
         definition folder {
            relation parent: folder
            relation viewer: user
            relation banned: user
            permission view = viewer + parent->view
            permission strict = viewer + parent->strict - banned
         }",
        &lines,
    );
    for permission in ["view", "strict"] {
        let ask = |chain: usize| format!("folder:c{chain:04}n0#{permission}@user:u{chain:04}");
        world.bench(criterion, &format!("chain of 40, {permission}"), &(0..1000).map(ask).collect::<Vec<_>>());
    }
}

/// A resource with very many groups, a user in very many groups.
fn wide(criterion: &mut Criterion) {
    let mut lines: Vec<String> = (0..100_000).map(|n| format!("document:wide#viewer@group:g{n:06}#member")).collect();
    lines.extend((0..1000).map(|n| format!("document:less#viewer@group:g{:06}#member", n * 97)));
    lines.extend((0..10_000).map(|n| format!("group:g{:06}#member@user:busy", n * 7 + 1)));
    lines.extend((0..10_000).map(|n| format!("group:x{n:06}#member@user:away")));
    lines.extend((0..10).map(|n| format!("group:g{:06}#member@user:some", n * 9999 + 9)));
    lines.extend((0..10).map(|n| format!("group:x{n:06}#member@user:none")));
    lines.push("group:nested#member@group:nester#member".to_owned());
    let world = World::new(
        "definition user {}
         definition group { relation member: user | group#member }
         definition document { relation viewer: user | group#member }",
        &lines,
    );
    for (document, user) in
        [("wide", "some"), ("wide", "none"), ("wide", "busy"), ("wide", "away"), ("less", "busy"), ("less", "away")]
    {
        let question = format!("document:{document}#viewer@user:{user}");
        world.bench(criterion, &format!("{document} document, {user} user"), &[question]);
    }
}

/// Writes that the index follows: into a row of a hundred thousand edges, and into short rows of a large table, often
/// enough that the table is rebuilt on the way.
fn commit(criterion: &mut Criterion) {
    let lines: Vec<String> = (0..100_000)
        .map(|n| format!("document:wide#viewer@group:g{n:06}#member"))
        .chain((0..400_000).map(|n| format!("group:g{:06}#member@user:u{n}", n / 5)))
        .collect();
    let world = World::new(
        "definition user {}
         definition group { relation member: user }
         definition document { relation viewer: group#member }",
        &lines,
    );
    let (mut dice, mut written) = (StdRng::seed_from_u64(SEED), 0u64);
    let mut write = |line: String| {
        written += 1;
        let operation = if written % 2 == 0 { Operation::Delete } else { Operation::Touch };
        let mut transaction = Transaction::new(StoreId::DEFAULT, world.now);
        let relationship = line.parse().expect("a relationship");
        transaction.updates.push(StoredUpdate { operation, relationship, source: Source::STANDING });
        world.datastore.commit(transaction).expect("a commit")
    };
    criterion.bench_function("commit to a row of 100000", |bencher| {
        bencher.iter(|| write("document:wide#viewer@group:new#member".to_owned()));
    });
    criterion.bench_function("commit to rows of 5", |bencher| {
        bencher.iter(|| {
            let (group, user) = (dice.random_range(0..80_000), dice.random_range(0..400_000));
            write(format!("group:g{group:06}#member@user:u{user}"))
        });
    });
}

struct World {
    datastore: Arc<dyn Datastore>,
    _index: Arc<Index>,
    snapshot: Arc<dyn Snapshot>,
    view: IndexView,
    plan: Plan,
    now: Timestamp,
}

impl World {
    fn new(schema: &str, lines: &[String]) -> World {
        let schema = Schema::compile(schema, &CompileOptions::default());
        let schema = Arc::new(schema.unwrap_or_else(|errors| unreachable!("{errors:?}")));
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().expect("a time");
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let mut transaction = Transaction::new(StoreId::DEFAULT, now);
        transaction.schema = Some(SchemaWrite {
            bytes: Vec::new(),
            tables: tables(&schema),
            types: schema.definitions().iter().map(|definition| definition.name.to_string()).collect(),
        });
        datastore.commit(transaction).expect("a schema");
        let mut bulk = datastore.bulk(StoreId::DEFAULT, BulkMode::Touch, now).expect("a bulk");
        for lines in lines.chunks(10_000) {
            bulk.push(lines.iter().map(|line| line.parse().expect(line)).collect()).expect("relationships");
        }
        bulk.publish(None, None, None).expect("a commit");
        let index = Index::load(&datastore, IndexOptions::default()).expect("an index");
        let snapshot = datastore.snapshot(StoreId::DEFAULT, datastore.head()).expect("a snapshot");
        let view = index.view(StoreId::DEFAULT, datastore.head()).expect("a view");
        println!("{:?}", index.stats());
        let plan = Plan::compile(schema, snapshot.as_ref());
        World { datastore, _index: index, plan, snapshot, view, now }
    }

    fn questions(&self, questions: &[String]) -> Vec<Relationship> {
        questions.iter().map(|question| question.parse().expect(question)).collect()
    }

    fn bench(&self, criterion: &mut Criterion, name: &str, questions: &[String]) {
        let (context, limits) = (CaveatContext::new(), Limits::default());
        let evaluation = Evaluation {
            plan: &self.plan,
            snapshot: self.snapshot.as_ref(),
            index: Some(&self.view),
            overlay: None,
            now: self.now,
            context: &context,
            given: Given::Call { peer_ip: None },
            limits: &limits,
            deadline: None,
            cancel: None,
        };
        let questions = self.questions(questions);
        let ask = |asked: &Relationship| {
            check(&evaluation, &asked.resource, &asked.relation, &asked.subject).expect("an answer")
        };
        let answers: Vec<_> = questions.iter().map(ask).collect();
        let members = answers.iter().filter(|answer| answer.membership == Membership::Member).count();
        let edges: u64 = answers.iter().map(|answer| answer.work.edges).sum();
        println!("{name}: {members} of {} are members, {} edges each", questions.len(), edges / questions.len() as u64);
        let mut next = questions.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(ask(next.next().expect("a question"))));
        });
    }
}

fn tables(schema: &Schema) -> Vec<TableKey> {
    let mut tables = Vec::new();
    for definition in schema.definitions() {
        for relation in &definition.relations {
            for allowed in &relation.allowed {
                let subject_relation = match &allowed.form {
                    SubjectForm::Object | SubjectForm::Wildcard => None,
                    SubjectForm::Userset(relation) => Some(relation.to_string()),
                };
                tables.push(TableKey {
                    resource_type: definition.name.to_string(),
                    relation: relation.name.to_string(),
                    subject_type: allowed.subject_type.to_string(),
                    subject_relation,
                });
            }
        }
    }
    tables
}
