//! LookupResources and LookupSubjects: what they list and in which order, and that each member they list is one that a
//! check finds, and the other way round.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stonetown_graph::{
    Evaluation, FoundResources, FoundSubjects, Given, GraphError, Index, IndexOptions, IndexView, Limits, Membership,
    Overlay, Plan, check, explain, lookup_resources, lookup_subjects,
};
use stonetown_schema::{CompileOptions, Member, Schema, SubjectForm};
use stonetown_storage::{Datastore, MemoryDatastore, SchemaWrite, Snapshot, StoredUpdate, TableKey, Transaction};
use stonetown_tuple::{
    CaveatContext, ObjectType, Operation, RelationName, Relationship, Source, StoreId, SubjectRef, Timestamp,
};

const DOCUMENTS: &str = "
    definition user {}
    definition group {
        relation member: user | group#member
    }
    definition folder {
        relation parent: folder
        relation viewer: user | user:* | group#member
        relation banned: user
        permission view = (viewer - banned) + parent->view
    }
    definition document {
        relation folder: folder
        relation viewer: user | user:* | group#member
        relation banned: user | user:*
        relation auditor: user
        permission read = viewer + folder->view
        permission view = read - banned
        permission audit = read & auditor
        permission guarded = folder.all(view)
    }";

/// A store with a schema and relationships.
struct World {
    snapshot: Arc<dyn Snapshot>,
    plan: Plan,
    view: Option<IndexView>,
    overlay: Option<Overlay>,
    context: CaveatContext,
    limits: Limits,
    ids: BTreeMap<ObjectType, BTreeSet<String>>,
}

impl World {
    fn new(schema: &str, relationships: &[String]) -> World {
        let schema = Schema::compile(schema, &CompileOptions::default()).unwrap();
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let mut transaction = Transaction::new(StoreId::DEFAULT, now());
        transaction.schema = Some(SchemaWrite {
            bytes: Vec::new(),
            tables: tables(&schema),
            types: schema.definitions().iter().map(|definition| definition.name.to_string()).collect(),
        });
        datastore.commit(transaction).unwrap();
        let mut ids: BTreeMap<ObjectType, BTreeSet<String>> = BTreeMap::new();
        for chunk in relationships.chunks(1000) {
            let mut transaction = Transaction::new(StoreId::DEFAULT, now());
            for text in chunk {
                let relationship: Relationship = text.parse().unwrap();
                let resource = &relationship.resource;
                ids.entry(resource.object_type.clone()).or_default().insert(resource.object_id.to_string());
                let subject = &relationship.subject;
                if !subject.is_wildcard() {
                    let id = subject.object_id().as_str().to_owned();
                    ids.entry(subject.object_type().clone()).or_default().insert(id);
                }
                let source = Source::STANDING;
                transaction.updates.push(StoredUpdate { operation: Operation::Touch, relationship, source });
            }
            datastore.commit(transaction).unwrap();
        }
        let snapshot = datastore.snapshot(StoreId::DEFAULT, datastore.head()).unwrap();
        let plan = Plan::compile(Arc::new(schema), &*snapshot);
        let index = Index::load(&datastore, IndexOptions::default()).unwrap();
        let view = index.view(StoreId::DEFAULT, datastore.head());
        assert!(view.is_some());
        let (context, limits) = (CaveatContext::new(), Limits::default());
        World { snapshot, plan, view, overlay: None, context, limits, ids }
    }

    fn with(mut self, relationships: &[&str]) -> World {
        let relationships: Vec<Relationship> = relationships.iter().map(|text| text.parse().unwrap()).collect();
        self.overlay = Some(Overlay::new(&self.plan, &*self.snapshot, &relationships).unwrap());
        self
    }

    fn evaluation(&self) -> Evaluation<'_> {
        Evaluation {
            plan: &self.plan,
            snapshot: &*self.snapshot,
            index: self.view.as_ref(),
            overlay: self.overlay.as_ref(),
            now: now(),
            context: &self.context,
            given: Given::Call { peer_ip: None },
            limits: &self.limits,
            deadline: None,
            cancel: None,
        }
    }

    /// The resources for `type#permission@subject`, as text.
    fn resources(&self, question: &str) -> String {
        text_of_resources(self, &self.find_resources(question).unwrap(), usize::MAX)
    }

    fn find_resources(&self, question: &str) -> Result<FoundResources, GraphError> {
        let (resource, subject) = question.split_once('@').unwrap();
        let (resource_type, permission) = resource.split_once('#').unwrap();
        let (resource_type, permission) = (resource_type.parse().unwrap(), permission.parse().unwrap());
        lookup_resources(&self.evaluation(), &resource_type, &permission, &subject.parse().unwrap())
    }

    /// The subjects for `resource#permission@type` or `resource#permission@type#relation`, as text.
    fn subjects(&self, question: &str) -> String {
        text_of_subjects(self, &self.find_subjects(question).unwrap(), usize::MAX)
    }

    fn find_subjects(&self, question: &str) -> Result<FoundSubjects, GraphError> {
        let (resource, subject) = question.split_once('@').unwrap();
        let (resource, permission) = resource.split_once('#').unwrap();
        let (subject_type, relation) = subject.split_once('#').map_or((subject, None), |(t, r)| (t, Some(r)));
        let relation: Option<RelationName> = relation.map(|relation| relation.parse().unwrap());
        let (resource, permission) = (resource.parse().unwrap(), permission.parse().unwrap());
        lookup_subjects(&self.evaluation(), &resource, &permission, &subject_type.parse().unwrap(), relation.as_ref())
    }

    fn check(&self, resource: &str, permission: &RelationName, subject: &str) -> Membership {
        check(&self.evaluation(), &resource.parse().unwrap(), permission, &subject.parse().unwrap()).unwrap().membership
    }

    /// Compares both lookups with checks of everybody on everything.
    fn agrees(&self) {
        let schema = Arc::clone(self.plan.schema());
        let kinds: BTreeSet<(ObjectType, Option<RelationName>)> = schema
            .definitions()
            .iter()
            .flat_map(|definition| {
                let members = definition.members().map(|member| Some(member.name().clone()));
                members.chain([None]).map(|relation| (definition.name.clone(), relation)).collect::<Vec<_>>()
            })
            .collect();
        for definition in schema.definitions() {
            for permission in definition.members().map(|member: Member<'_>| member.name()) {
                for (kind, relation) in &kinds {
                    self.agrees_on(&definition.name, permission, kind, relation.as_ref());
                }
            }
        }
    }

    fn agrees_on(
        &self,
        resource_type: &ObjectType,
        permission: &RelationName,
        kind: &ObjectType,
        relation: Option<&RelationName>,
    ) {
        let none = BTreeSet::new();
        let resources = self.ids.get(resource_type).unwrap_or(&none);
        let subjects = self.ids.get(kind).unwrap_or(&none);
        let suffix = relation.map_or(String::new(), |relation| format!("#{relation}"));
        let mut expected: BTreeMap<(&str, &str), Membership> = BTreeMap::new();
        for resource in resources {
            for subject in subjects.iter().map(String::as_str).chain(["stranger"]) {
                let (object, who) = (format!("{resource_type}:{resource}"), format!("{kind}:{subject}{suffix}"));
                expected.insert((resource, subject), self.check(&object, permission, &who));
            }
        }
        for subject in subjects {
            let question = format!("{resource_type}#{permission}@{kind}:{subject}{suffix}");
            let found = self.find_resources(&question).unwrap();
            let page = found.page(&self.evaluation(), None, usize::MAX).unwrap();
            let found: BTreeMap<String, Membership> =
                page.into_iter().map(|item| (item.id.to_string(), item.membership)).collect();
            for resource in resources {
                let found = found.get(resource).unwrap_or(&Membership::NotMember);
                assert_eq!(*found, expected[&(resource.as_str(), subject.as_str())], "{question}: {resource}");
            }
        }
        for resource in resources {
            let question = format!("{resource_type}:{resource}#{permission}@{kind}{suffix}");
            let found = self.find_subjects(&question).unwrap();
            let found = found.page(&self.evaluation(), None, usize::MAX).unwrap();
            for subject in subjects.iter().map(String::as_str).chain(["stranger"]) {
                let listed = found.iter().find(|item| &*item.id == subject).map(|item| &item.membership);
                let wildcard = found.iter().find(|item| &*item.id == "*").map(|item| {
                    let excluded = item.excluded.iter().find(|excluded| &*excluded.id == subject);
                    excluded.map_or(&item.membership, |excluded| &excluded.membership)
                });
                let got = listed.or(wildcard).unwrap_or(&Membership::NotMember);
                assert_eq!(*got, expected[&(resource.as_str(), subject)], "{question}: {subject}");
            }
        }
    }
}

fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn tables(schema: &Schema) -> Vec<TableKey> {
    let mut tables = BTreeSet::new();
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
    tables.into_iter().collect()
}

fn text_of(membership: &Membership) -> String {
    match membership {
        Membership::Member => String::new(),
        Membership::NotMember => "!".to_owned(),
        Membership::Conditional(missing) => format!("?{}", missing.iter().cloned().collect::<Vec<_>>().join("+")),
    }
}

fn text_of_resources(world: &World, found: &FoundResources, page_size: usize) -> String {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = found.page(&world.evaluation(), after, page_size).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        items.extend(page.iter().map(|item| format!("{}{}", item.id, text_of(&item.membership))));
    }
    assert_eq!(items.len() as u64, found.len());
    items.join(" ")
}

fn text_of_subjects(world: &World, found: &FoundSubjects, page_size: usize) -> String {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = found.page(&world.evaluation(), after, page_size).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        for item in page {
            let mut text = format!("{}{}", item.id, text_of(&item.membership));
            for excluded in &item.excluded {
                write!(text, "-{}{}", excluded.id, text_of(&excluded.membership).replace('!', "")).unwrap();
            }
            items.push(text);
        }
    }
    assert_eq!(items.len() as u64, found.len());
    items.join(" ")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn documents() -> World {
    World::new(
        DOCUMENTS,
        &lines(
            "group:eng#member@user:ann
            group:all#member@group:eng#member
            group:all#member@user:bob
            group:ring#member@group:loop#member
            group:loop#member@group:ring#member
            group:ring#member@user:cid
            folder:root#viewer@group:all#member
            folder:root#banned@user:bob
            folder:sub#parent@folder:root
            folder:open#viewer@user:*
            folder:open#banned@user:ann
            document:one#folder@folder:sub
            document:one#banned@user:cid
            document:two#viewer@user:*
            document:two#viewer@user:bob
            document:two#banned@user:ann
            document:three#viewer@group:loop#member
            document:three#auditor@user:cid
            document:three#auditor@user:ann
            document:four#folder@folder:open
            document:four#folder@folder:sub",
        ),
    )
}

#[test]
fn resources_are_found_through_groups_folders_and_operators() {
    let world = documents();
    assert_eq!(world.resources("document#read@user:ann"), "one two four");
    assert_eq!(world.resources("document#view@user:ann"), "one four");
    assert_eq!(world.resources("document#view@user:bob"), "two four");
    assert_eq!(world.resources("document#view@user:cid"), "two three four");
    assert_eq!(world.resources("document#audit@user:cid"), "three");
    assert_eq!(world.resources("document#audit@user:ann"), "");
    assert_eq!(world.resources("document#guarded@user:ann"), "one");
    assert_eq!(world.resources("document#guarded@user:cid"), "");
    assert_eq!(world.resources("folder#view@user:nobody"), "open");
}

#[test]
fn usersets_are_found_as_such_and_are_members_of_themselves() {
    let world = documents();
    assert_eq!(world.resources("document#read@group:eng#member"), "one four");
    assert_eq!(world.resources("group#member@group:ring#member"), "ring loop");
    assert_eq!(world.resources("group#member@group:unheard#member"), "unheard");
    assert_eq!(world.subjects("document:one#read@group#member"), "eng all");
    assert_eq!(world.subjects("document:three#view@group#member"), "ring loop");
    assert_eq!(world.subjects("group:unheard#member@group#member"), "unheard");
}

#[test]
fn subjects_are_listed_beside_the_wildcard_if_they_are_named() {
    let world = documents();
    assert_eq!(world.subjects("document:one#view@user"), "ann");
    assert_eq!(world.subjects("document:two#read@user"), "* bob");
    assert_eq!(world.subjects("document:two#view@user"), "*-ann bob");
    assert_eq!(world.subjects("document:three#view@user"), "cid");
    assert_eq!(world.subjects("document:four#view@user"), "* ann");
    assert_eq!(world.subjects("document:four#guarded@user"), "");
    assert_eq!(world.subjects("document:unheard#view@user"), "");
    assert_eq!(world.subjects("document:one#view@folder"), "");
}

#[test]
fn lookups_agree_with_checks() {
    documents().agrees();
    let mut from_snapshot = documents();
    from_snapshot.view = None;
    from_snapshot.agrees();
}

#[test]
fn what_only_the_request_mentions_comes_last_by_name() {
    let world = documents().with(&[
        "document:zebra#viewer@user:ann",
        "document:apple#viewer@group:new#member",
        "group:new#member@user:ann",
        "document:two#viewer@user:zoe",
        "document:two#viewer@user:abe",
    ]);
    assert_eq!(world.resources("document#read@user:ann"), "one two four apple zebra");
    let found = world.find_resources("document#read@user:ann").unwrap();
    for page_size in 1..6 {
        assert_eq!(text_of_resources(&world, &found, page_size), "one two four apple zebra");
    }
    assert_eq!(world.subjects("document:two#view@user"), "*-ann bob abe zoe");
    let found = world.find_subjects("document:two#view@user").unwrap();
    for page_size in 1..6 {
        assert_eq!(text_of_subjects(&world, &found, page_size), "*-ann bob abe zoe");
    }
    assert_eq!(world.subjects("document:two#view@user"), "*-ann bob abe zoe");
}

const CONDITIONS: &str = "
    definition user {}
    definition group {
        relation member: user with on_day | group#member with in_net | user
    }
    definition document {
        relation viewer: user:* with on_day | user with in_net | user | group#member | group#member with on_day
        relation banned: user with on_day | user | user:* with in_net
        relation parent: document with on_day | document
        permission view = viewer - banned
        permission tree = viewer + parent->tree
        permission both = viewer & banned
        permission every = parent.all(viewer)
    }
    caveat on_day(day string, wanted string) { day == wanted }
    caveat in_net(net int) { net == 1 }";

fn conditions() -> World {
    World::new(
        CONDITIONS,
        &lines(
            r#"group:one#member@user:ann[on_day:{"wanted":"monday"}]
            group:two#member@group:one#member[in_net]
            group:one#member@group:two#member[in_net]
            group:two#member@user:bob
            document:a#viewer@user:*[on_day:{"wanted":"monday"}]
            document:a#viewer@user:ann[in_net]
            document:a#viewer@user:bob
            document:a#banned@user:bob[on_day:{"wanted":"sunday"}]
            document:b#viewer@group:one#member[on_day:{"wanted":"monday"}]
            document:b#banned@user:*[in_net]
            document:c#viewer@group:two#member
            document:c#parent@document:a[on_day:{"wanted":"monday"}]
            document:c#parent@document:b
            document:d#parent@document:d
            document:d#parent@document:c[on_day]
            document:e#parent@document:a
            document:e#parent@document:c
            document:f#viewer@user:*[on_day:{"day":"monday","wanted":"monday"}]
            document:f#viewer@user:bob[in_net:{"net":2}]
            document:f#banned@user:ann[on_day:{"wanted":"sunday"}]"#,
        ),
    )
}

#[test]
fn conditions_are_listed_with_what_is_missing() {
    let world = conditions();
    assert_eq!(world.resources("document#viewer@user:ann"), "a?day+net b?day+net c?day+net f");
    assert_eq!(world.resources("document#viewer@user:bob"), "a b?day+net c f");
    assert_eq!(world.resources("document#view@user:bob"), "a?day b?day+net c f");
    assert_eq!(world.subjects("document:a#viewer@user"), "*?day ann?day+net bob");
    assert_eq!(world.subjects("document:a#view@user"), "*?day ann?day+net bob?day");
    assert_eq!(world.subjects("document:f#view@user"), "*-ann?day");
    assert_eq!(world.subjects("group:one#member@user"), "ann?day+net bob?net");
    world.agrees();
}

#[test]
fn a_context_decides_conditions() {
    for (day, net) in [("monday", 1), ("monday", 2), ("sunday", 1)] {
        let mut world = conditions();
        world.context.insert("day".to_owned(), day.into());
        world.context.insert("net".to_owned(), net.into());
        world.agrees();
    }
}

#[test]
fn exclusions_that_lead_back_are_decided_for_each_subject() {
    let world = World::new(
        "definition user {}
        definition node {
            relation base: user | user:*
            relation other: node
            relation member: user
            permission open = base - other->open
            permission safe = member + (base - other->safe)
        }",
        &lines(
            "node:a#base@user:ann
            node:a#other@node:b
            node:b#base@user:ann
            node:b#base@user:bob
            node:b#other@node:c
            node:c#base@user:*
            node:x#base@user:ann
            node:x#member@user:ann
            node:x#other@node:x",
        ),
    );
    assert_eq!(world.subjects("node:a#open@user"), "ann");
    assert_eq!(world.subjects("node:b#open@user"), "");
    assert_eq!(world.subjects("node:x#safe@user"), "ann");
    assert_eq!(world.resources("node#safe@user:ann"), "a c x");
    assert!(matches!(world.find_subjects("node:x#open@user"), Err(GraphError::Cycle { .. })));
    assert!(matches!(world.find_resources("node#open@user:ann"), Err(GraphError::Cycle { .. })));
    assert_eq!(world.resources("node#open@user:bob"), "c");
}

#[test]
fn wide_sides_of_operators_are_computed_and_narrow_ones_checked() {
    let mut relationships = Vec::new();
    for number in 0..600 {
        relationships.push(format!("document:d{number}#folder@folder:f{}", number % 7));
        if number % 3 == 0 {
            relationships.push(format!("document:d{number}#banned@user:wide"));
        }
        if number % 5 == 0 {
            relationships.push(format!("document:d{number}#auditor@user:wide"));
        }
    }
    for folder in 0..7 {
        relationships.push(format!("folder:f{folder}#viewer@user:wide"));
    }
    relationships.push("folder:f1#viewer@user:narrow".to_owned());
    relationships.push("document:d8#banned@user:narrow".to_owned());
    relationships.push("document:d9#auditor@user:narrow".to_owned());
    relationships.push("document:d15#auditor@user:narrow".to_owned());
    let world = World::new(DOCUMENTS, &relationships);
    assert_eq!(world.find_resources("document#view@user:wide").unwrap().len(), 400);
    assert_eq!(world.find_resources("document#audit@user:wide").unwrap().len(), 120);
    assert_eq!(world.find_resources("document#view@user:narrow").unwrap().len(), 85);
    assert_eq!(world.resources("document#audit@user:narrow"), "d15");
    let user: ObjectType = "user".parse().unwrap();
    for permission in ["view", "audit", "guarded"] {
        world.agrees_on(&"document".parse().unwrap(), &permission.parse().unwrap(), &user, None);
    }
}

#[test]
fn a_lookup_beyond_a_limit_or_cancelled_is_an_error() {
    let mut world = documents();
    world.limits.edges_max_lookup = 3;
    let limited = |error| matches!(error, GraphError::LimitExceeded { limit: "edges_max_lookup", value: 3 });
    assert!(limited(world.find_resources("document#view@user:ann").unwrap_err()));
    assert!(limited(world.find_subjects("document:four#view@user").unwrap_err()));
    let world = documents();
    let cancel = AtomicBool::new(true);
    let evaluation = Evaluation { cancel: Some(&cancel), ..world.evaluation() };
    let subject: SubjectRef = "user:ann".parse().unwrap();
    let found = lookup_resources(&evaluation, &"document".parse().unwrap(), &"view".parse().unwrap(), &subject);
    assert!(matches!(found, Err(GraphError::Cancelled)));
}

/// The smallest bound within which a question is answered at all is found; one step less is an error that names the bound, and
/// never another answer.
#[test]
fn caveats_of_one_question_are_bounded_together() {
    const GATES: usize = 40;
    let schema = "
        caveat slow(n int, text string) { n > 0 && text.matches('^[a-z]+$') }
        definition user {}
        definition group { relation member: user with slow }
        definition document {
            relation viewer: group#member with slow
            relation barred: user with slow
            permission view = viewer
            permission open = view - barred
        }";
    let mut relationships = Vec::new();
    for n in 1..=GATES {
        let with = format!(r#"[slow:{{"n":{n},"text":"{}"}}]"#, "x".repeat(n));
        relationships.push(format!("document:a#viewer@group:g{n}#member{with}"));
        relationships.push(format!("group:g{n}#member@user:u{n}{with}"));
        relationships.push(format!("document:a#barred@user:u{n}{}", with.replace(&format!(":{n},"), ":0,")));
    }
    let mut world = World::new(schema, &relationships);
    type Ask = fn(&World) -> Result<String, GraphError>;
    let asks: [(&str, Ask); 4] = [
        ("check", |world| {
            let subject = format!("user:u{GATES}").parse().unwrap();
            let answer =
                check(&world.evaluation(), &"document:a".parse().unwrap(), &"open".parse().unwrap(), &subject)?;
            Ok(format!("{:?}", answer.membership))
        }),
        ("explain", |world| {
            let subject = format!("user:u{GATES}").parse().unwrap();
            let (resource, permission) = ("document:a".parse().unwrap(), "open".parse().unwrap());
            let (answer, _) = explain(&world.evaluation(), &resource, &permission, &subject)?;
            Ok(format!("{:?}", answer.membership))
        }),
        ("resources", |world| {
            let found = world.find_resources(&format!("document#open@user:u{GATES}"))?;
            Ok(found.len().to_string())
        }),
        ("subjects", |world| Ok(world.find_subjects("document:a#open@user")?.len().to_string())),
    ];
    for (name, ask) in asks {
        world.limits = Limits::default();
        let expected = ask(&world).unwrap();
        let (mut short, mut enough) = (0, Limits::default().caveat_steps_max);
        while short + 1 < enough {
            let middle = u64::midpoint(short, enough);
            world.limits.caveat_steps_max = middle;
            match ask(&world) {
                Ok(answer) => {
                    assert_eq!(answer, expected, "{name} within {middle} steps");
                    enough = middle;
                }
                Err(GraphError::LimitExceeded { limit: "caveat_steps_max", value }) => {
                    assert_eq!(value, middle);
                    short = middle;
                }
                Err(other) => panic!("{name} within {middle} steps: {other}"),
            }
        }
        assert!((10..1_000_000).contains(&enough), "{name}: {enough}");
    }
}

#[test]
fn unknown_names_are_errors() {
    let world = documents();
    let unknown = |error| matches!(error, GraphError::UnknownDefinition { .. } | GraphError::UnknownRelation { .. });
    for question in
        ["paper#view@user:ann", "document#edit@user:ann", "document#view@robot:ann", "document#view@user:ann#pal"]
    {
        assert!(unknown(world.find_resources(question).unwrap_err()), "{question}");
    }
    for question in
        ["paper:one#view@user", "document:one#edit@user", "document:one#view@robot", "document:one#view@user#pal"]
    {
        assert!(unknown(world.find_subjects(question).unwrap_err()), "{question}");
    }
}
