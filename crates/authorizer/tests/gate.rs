//! Every call asks the gate for what it takes, and a refusal is the same whether or not what is named exists.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use stonetown_authorizer::attributes::ListAttributesRequest;
use stonetown_authorizer::bulk::{BulkCheckItem, BulkCheckRequest};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::expand::ExpandRequest;
use stonetown_authorizer::explain::{Asked, ExplainRequest};
use stonetown_authorizer::export::ExportRequest;
use stonetown_authorizer::list::ListRequest;
use stonetown_authorizer::lookup::{LookupResourcesRequest, LookupSubjectsRequest};
use stonetown_authorizer::materialize::{LookupSetsRequest, Start};
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::watch::WatchRequest;
use stonetown_authorizer::who_can::{Holder, Reach, Subjects, WhatCanRequest, WhoCanRequest};
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Act, Authorizer, BulkMode, Call, Caller, Effort, Error, Gate, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{Attribute, Consistency, Operation, Precondition, RelationshipFilter, RelationshipUpdate};

const SCHEMA: &str = "definition user {}
  definition document { relation viewer: user; permission view = viewer }
  definition folder { relation viewer: user }";

/// Writes down what it is asked and lets nobody do anything but what is in `allowed`.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<String>>,
    allowed: Vec<&'static str>,
}

impl Gate for Recorder {
    fn judge(&self, call: &Call, act: Act<'_>) -> Result<(), Error> {
        let act = act.to_string();
        self.asked.lock().push(act.clone());
        let denied = || Error::Denied { caller: Arc::clone(&call.caller.name), act: act.clone() };
        if self.allowed.contains(&act.as_str()) { Ok(()) } else { Err(denied()) }
    }
}

struct Door {
    authorizer: Authorizer,
    gate: Arc<Recorder>,
    call: Call,
}

impl Door {
    fn new(allowed: &[&'static str]) -> Door {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let call = Call::new("agent");
        authorizer.write_schema(&call, SCHEMA).unwrap();
        let gate = Arc::new(Recorder { allowed: allowed.to_vec(), ..Recorder::default() });
        assert!(authorizer.set_gate(Arc::clone(&gate) as Arc<dyn Gate>).is_ok());
        Door { authorizer, gate, call }
    }

    /// What a call asks the gate for; it has to be refused.
    fn asks<T>(&self, call: impl FnOnce(&Authorizer, &Call) -> Result<T, Error>) -> Vec<String> {
        match call(&self.authorizer, &self.call) {
            Err(Error::Denied { caller, .. }) => assert_eq!(&*caller, "agent"),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("not refused"),
        }
        std::mem::take(&mut self.gate.asked.lock())
    }
}

fn filter(resource_type: &str) -> RelationshipFilter {
    RelationshipFilter { resource_type: Some(resource_type.parse().unwrap()), ..RelationshipFilter::default() }
}

fn check(resource: &str) -> CheckRequest {
    CheckRequest {
        freshness: Consistency::default().into(),
        resource: resource.parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: "user:eve".parse().unwrap(),
        context: Default::default(),
        with: Vec::new(),
        trace: false,
    }
}

fn update(operation: Operation, text: &str) -> RelationshipUpdate {
    RelationshipUpdate { operation, relationship: text.parse().unwrap() }
}

#[test]
fn every_call_asks_for_what_it_takes() {
    let door = Door::new(&[]);
    // `nothing` is no type of the schema: the refusal comes before anybody looks.
    for resource_type in ["document", "nothing"] {
        let object = format!("{resource_type}:plan");
        let asks = |expected: &str, asked: Vec<String>| {
            assert_eq!(asked, [expected.replace("TYPE", resource_type)], "{resource_type}");
        };
        let viewer = format!("{object}#viewer@user:eve");
        asks("check permissions on `TYPE`", door.asks(|a, call| a.check(call, &check(&object), Effort::Full)));
        asks("check permissions on `TYPE`", door.asks(|a, call| a.check(call, &check(&object), Effort::Inline)));
        let item = BulkCheckItem {
            resource: object.parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: "user:eve".parse().unwrap(),
            context: Default::default(),
        };
        let items = vec![item.clone(), item];
        let bulk = BulkCheckRequest { consistency: Consistency::default(), items, trace: false };
        asks("check permissions on `TYPE`", door.asks(|a, call| a.check_bulk(call, &bulk)));
        let listing = "list what there is of `TYPE`";
        let expand = ExpandRequest {
            consistency: Consistency::default(),
            resource: object.parse().unwrap(),
            permission: "view".parse().unwrap(),
        };
        asks(listing, door.asks(|a, call| a.expand(call, &expand)));
        let resources = LookupResourcesRequest {
            consistency: Consistency::default(),
            resource_type: resource_type.parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: "user:eve".parse().unwrap(),
            context: Default::default(),
            limit: None,
            after: None,
        };
        asks(listing, door.asks(|a, call| a.lookup_resources(call, &resources, &mut |_, _| ControlFlow::Continue(()))));
        let subjects = LookupSubjectsRequest {
            consistency: Consistency::default(),
            resource: object.parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject_type: "user".parse().unwrap(),
            subject_relation: None,
            context: Default::default(),
            limit: None,
            without_wildcard: false,
            after: None,
        };
        asks(listing, door.asks(|a, call| a.lookup_subjects(call, &subjects, &mut |_, _| ControlFlow::Continue(()))));
        let question = Asked {
            resource: object.parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: "user:eve".parse().unwrap(),
            context: Default::default(),
        };
        let explain =
            ExplainRequest { freshness: Consistency::default().into(), asked: question.clone(), misses_max: 5 };
        asks("check permissions on `TYPE`", door.asks(|a, call| a.explain(call, &explain)));
        let who = WhoCanRequest {
            freshness: Consistency::default().into(),
            resource: question.resource,
            permission: question.permission,
            subjects: Subjects::All,
            context: Default::default(),
            with_path: true,
            limit: None,
            after: None,
        };
        asks(listing, door.asks(|a, call| a.who_can(call, &who, &mut |_, _| ControlFlow::Continue(()))));
        let what = WhatCanRequest {
            freshness: Consistency::default().into(),
            subject: question.subject,
            resource_type: Some(resource_type.parse().unwrap()),
            permission: None,
            context: Default::default(),
            with_path: true,
            limit: None,
            after: None,
        };
        asks(listing, door.asks(|a, call| a.what_can(call, &what, &mut |_, _| ControlFlow::Continue(()))));
        let read = ReadRequest { filter: filter(resource_type), ..ReadRequest::default() };
        asks(listing, door.asks(|a, call| a.read(call, &read, &mut |_| ControlFlow::Continue(()))));
        let list = ListRequest {
            freshness: Consistency::default().into(),
            filter: filter(resource_type),
            pending: true,
            limit: None,
            after: None,
        };
        asks(listing, door.asks(|a, call| a.list_relationships(call, &list, &mut |_, _| ControlFlow::Continue(()))));
        let export = ExportRequest { filter: filter(resource_type), ..ExportRequest::default() };
        asks(listing, door.asks(|a, call| a.export(call, &export, &mut |_| ControlFlow::Continue(()))));
        let watch = WatchRequest { object_types: vec![resource_type.parse().unwrap()], ..WatchRequest::default() };
        asks(listing, door.asks(|a, call| a.watch(call, &watch).map(drop)));
        let write = |operation| WriteRequest { updates: vec![update(operation, &viewer)], ..WriteRequest::default() };
        let touch = write(Operation::Touch);
        asks("write relationships of `TYPE#viewer`", door.asks(|a, call| a.write(call, &touch)));
        let delete = write(Operation::Delete);
        asks("delete relationships of `TYPE#viewer`", door.asks(|a, call| a.write(call, &delete)));
        let delete = DeleteRequest { filter: filter(resource_type), ..DeleteRequest::default() };
        asks("delete relationships of `TYPE#*`", door.asks(|a, call| a.delete(call, &delete)));
        let import = |a: &Authorizer, call: &Call| a.import(call, BulkMode::Touch)?.push(vec![viewer.parse().unwrap()]);
        asks("write relationships of `TYPE#viewer`", door.asks(import));
    }
    assert_eq!(
        door.asks(|a, call| a.export(call, &ExportRequest::default(), &mut |_| ControlFlow::Continue(()))),
        ["list what there is of every type"]
    );
    // What names nothing takes the power over everything.
    let every = ["write relationships of every relation"];
    assert_eq!(door.asks(|a, call| a.write(call, &WriteRequest::default())), every);
    assert_eq!(door.asks(|a, call| a.import(call, BulkMode::Touch)?.finish()), every);
    assert_eq!(door.asks(|a, call| a.read_schema(call)), ["read the schema"]);
    assert_eq!(door.asks(|a, call| a.write_schema(call, SCHEMA)), ["write the schema"]);
    assert_eq!(door.asks(|a, call| a.checkpoint(call, None).map(drop)), ["operate the server"]);
}

/// Attributes decide as relationships do: to set one takes a power over its name, and to list them one over the objects, too.
#[test]
fn attributes_are_written_and_listed_by_whoever_may() {
    let door = Door::new(&["list what there is of `stonetown/attribute`"]);
    let (object, name) = ("nothing:plan".parse().unwrap(), "env".parse().unwrap());
    let put = Attribute { object, name, value: "test".into(), expires_at: None };
    assert_eq!(
        door.asks(|a, call| a.put_attributes(call, std::slice::from_ref(&put))),
        ["write relationships of `stonetown/attribute#env`"]
    );
    assert_eq!(
        door.asks(|a, call| a.delete_attributes(call, &put.object, &["env".parse().unwrap()])),
        ["delete relationships of `stonetown/attribute#env`"]
    );
    let list = ListAttributesRequest {
        freshness: Consistency::default().into(),
        object_type: "nothing".parse().unwrap(),
        object_id: None,
        name: None,
        limit: None,
        after: None,
    };
    assert_eq!(
        door.asks(|a, call| a.list_attributes(call, &list, &mut |_, _| ControlFlow::Continue(()))),
        ["list what there is of `stonetown/attribute`", "list what there is of `nothing`"]
    );
}

/// How an answer comes about tells what an expansion does.
#[test]
fn a_trace_is_no_way_to_list() {
    let door = Door::new(&["check permissions on `document`"]);
    let both = ["check permissions on `document`", "list what there is of `document`"];
    let traced = CheckRequest { trace: true, ..check("document:plan") };
    assert_eq!(door.asks(|a, call| a.check(call, &traced, Effort::Full)), both);
    let CheckRequest { resource, permission, subject, .. } = check("document:plan");
    let items = vec![BulkCheckItem { resource, permission, subject, context: Default::default() }];
    let bulk = BulkCheckRequest { consistency: Consistency::default(), items, trace: true };
    assert_eq!(door.asks(|a, call| a.check_bulk(call, &bulk)), both);
}

/// A precondition tells what is there: it takes the power to list.
#[test]
fn a_precondition_is_no_way_to_read() {
    let door = Door::new(&["write relationships of `document#viewer`"]);
    let request = WriteRequest {
        updates: vec![update(Operation::Touch, "document:plan#viewer@user:eve")],
        preconditions: vec![Precondition::MustMatch(filter("folder"))],
        ..WriteRequest::default()
    };
    let asked = door.asks(|a, call| a.write(call, &request));
    assert_eq!(asked, ["write relationships of `document#viewer`", "list what there is of `folder`"]);
    let request = WriteRequest { preconditions: Vec::new(), ..request };
    assert!(door.authorizer.write(&door.call, &request).is_ok());
}

/// Sets tell who has what on every resource of a type: whoever follows, looks up or fetches them may list it.
#[test]
fn materialized_sets_take_the_power_to_list() {
    let mut door = Door::new(&[]);
    let materialize = ["document#view@user".parse().unwrap()].into();
    let options = Options { materialize, ..Options::default() };
    door.authorizer = Authorizer::open(Arc::clone(door.authorizer.datastore()), options).unwrap();
    assert!(door.authorizer.set_gate(Arc::clone(&door.gate) as Arc<dyn Gate>).is_ok());
    let listing = ["list what there is of `document`"];
    assert_eq!(door.asks(|a, call| a.follow_sets(call, Start::Now).map(drop)), listing);
    let permissions = || vec!["document#view@user".parse().unwrap()];
    assert_eq!(door.asks(|a, call| a.follow_permissions(call, permissions(), Start::Now).map(drop)), listing);
    let lookup = LookupSetsRequest::default();
    let visit = &mut |_, _, _| ControlFlow::Continue(());
    assert_eq!(door.asks(|a, call| a.lookup_permission_sets(call, &lookup, visit).map(drop)), listing);
    assert_eq!(door.asks(|a, call| a.moment_of_sets(call, None).map(drop)), listing);
}

/// What the server does on nobody's behalf is not judged.
#[test]
fn the_server_itself_is_not_judged() {
    let door = Door::new(&[]);
    let internal = Call { caller: Caller::internal(), ..Call::new("x") };
    assert!(door.authorizer.read_schema(&internal).is_ok());
    assert!(matches!(door.authorizer.read_schema(&Call::new("stonetown")), Err(Error::Denied { .. })));
}

const GUARDED: &str = "definition agent {}
  definition folder { relation viewer: agent }
  definition record {
    relation folder: folder
    relation reader: agent
    relation lister: agent
    // @stonetown enumerate_as(list)
    permission view = reader + folder->viewer
    permission list = lister
    permission purge = reader
  }
  definition note { relation about: record; permission view = about->view }";

/// Of a guarded type one sees what the schema lists, whatever else one may list.
#[test]
fn a_guarded_type_is_listed_as_its_schema_says() {
    const EVERY: &str = "list what there is of every type";
    let listing = ["record", "folder", "note"]
        .map(|name| &*Box::leak(format!("list what there is of `{name}`").into_boxed_str()));
    let [record, folder, note] = listing;
    let door = Door::new(&[record, folder, note, "check permissions on `note`"]);
    let open = GUARDED.replace("// @stonetown enumerate_as(list)", "");
    let internal = Call { caller: Caller::internal(), ..Call::new("x") };
    let earlier = door.authorizer.write_schema(&internal, &open).unwrap();
    let lookup = |resource_type: &str, permission: &str, consistency| LookupResourcesRequest {
        consistency,
        resource_type: resource_type.parse().unwrap(),
        permission: permission.parse().unwrap(),
        subject: "agent:a".parse().unwrap(),
        context: Default::default(),
        limit: None,
        after: None,
    };
    let found = |resource_type: &str, permission: &str, consistency| {
        let mut found = Vec::new();
        let request = lookup(resource_type, permission, consistency);
        let visit = &mut |item: stonetown_graph::FoundResource, _| {
            found.push(item.id.to_string());
            ControlFlow::Continue(())
        };
        door.authorizer.lookup_resources(&door.call, &request, visit).map(|_| found)
    };
    let texts =
        ["record:1#reader@agent:a", "record:2#reader@agent:a", "record:2#lister@agent:a", "note:n#about@record:1"];
    let updates = texts.iter().map(|text| update(Operation::Touch, text)).collect();
    let before = door.authorizer.write(&internal, &WriteRequest { updates, ..WriteRequest::default() }).unwrap();
    let mut watch =
        door.authorizer.watch(&door.call, &WatchRequest { filters: vec![filter("record")], ..WatchRequest::default() });
    assert!(watch.as_mut().is_ok_and(|watch| watch.poll(&door.authorizer).is_ok()));
    assert_eq!(found("record", "view", Consistency::FullyConsistent).unwrap(), ["1", "2"]);

    door.authorizer.write_schema(&internal, GUARDED).unwrap();
    door.gate.asked.lock().clear();
    assert_eq!(found("record", "view", Consistency::FullyConsistent).unwrap(), ["2"]);
    assert_eq!(found("record", "list", Consistency::FullyConsistent).unwrap(), ["2"]);
    assert_eq!(found("note", "view", Consistency::FullyConsistent).unwrap(), ["n"]);
    let mut had = Vec::new();
    let what = WhatCanRequest {
        freshness: Consistency::default().into(),
        subject: "agent:a".parse().unwrap(),
        resource_type: Some("record".parse().unwrap()),
        permission: None,
        context: Default::default(),
        with_path: false,
        limit: None,
        after: None,
    };
    let visit = &mut |reach: Reach, _| {
        had.push(format!("{}#{}", reach.resource, reach.permission));
        ControlFlow::Continue(())
    };
    door.authorizer.what_can(&internal, &what, visit).unwrap();
    assert_eq!(had, ["record:1#view", "record:2#view", "record:2#list", "record:1#purge", "record:2#purge"]);
    door.gate.asked.lock().clear();
    let refused = |at: &str, of: &'static str, asked: Vec<String>| assert_eq!(asked, [of, EVERY], "{at}");
    // What the schema does not list, now or when it did not say so yet.
    refused("purge", record, door.asks(|_, _| found("record", "purge", Consistency::FullyConsistent)));
    for token in [earlier, before] {
        refused("the past", record, door.asks(|_, _| found("record", "view", Consistency::AtExactSnapshot(token))));
    }
    let subjects = |resource: &str, permission: &str, subject_type: &str| LookupSubjectsRequest {
        consistency: Consistency::FullyConsistent,
        resource: resource.parse().unwrap(),
        permission: permission.parse().unwrap(),
        subject_type: subject_type.parse().unwrap(),
        subject_relation: None,
        context: Default::default(),
        limit: None,
        without_wildcard: false,
        after: None,
    };
    let mut of_view = Vec::new();
    let visit = &mut |item: stonetown_graph::FoundSubject, _| {
        of_view.push(item.id.to_string());
        ControlFlow::Continue(())
    };
    door.authorizer.lookup_subjects(&door.call, &subjects("record:1", "view", "agent"), visit).unwrap();
    assert!(of_view.is_empty(), "{of_view:?} may view, but nothing lists that");
    door.gate.asked.lock().clear();
    // Records, as what something else is related to.
    let about = subjects("note:n", "about", "record");
    refused(
        "subjects",
        note,
        door.asks(|a, call| a.lookup_subjects(call, &about, &mut |_, _| ControlFlow::Continue(()))),
    );
    for (resource_type, of) in [("record", record), ("note", note)] {
        let read = ReadRequest { filter: filter(resource_type), ..ReadRequest::default() };
        refused("read", of, door.asks(|a, call| a.read(call, &read, &mut |_| ControlFlow::Continue(()))));
        let list = ListRequest {
            freshness: Consistency::default().into(),
            filter: filter(resource_type),
            pending: true,
            limit: None,
            after: None,
        };
        refused(
            "list",
            of,
            door.asks(|a, call| a.list_relationships(call, &list, &mut |_, _| ControlFlow::Continue(()))),
        );
        let export = ExportRequest { filter: filter(resource_type), ..ExportRequest::default() };
        refused("export", of, door.asks(|a, call| a.export(call, &export, &mut |_| ControlFlow::Continue(()))));
        let filters = vec![filter(resource_type)];
        let watch = WatchRequest { filters, ..WatchRequest::default() };
        refused("watch", of, door.asks(|a, call| a.watch(call, &watch).map(drop)));
        let expand = ExpandRequest {
            consistency: Consistency::default(),
            resource: format!("{resource_type}:n").parse().unwrap(),
            permission: "view".parse().unwrap(),
        };
        refused("expand", of, door.asks(|a, call| a.expand(call, &expand)));
    }
    let who = |resource: &str, permission: &str| WhoCanRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: resource.parse().unwrap(),
        permission: permission.parse().unwrap(),
        subjects: Subjects::All,
        context: Default::default(),
        with_path: false,
        limit: None,
        after: None,
    };
    let who_can = |call: &Call, request: &WhoCanRequest| {
        let mut found = Vec::new();
        let visit = &mut |holder: Holder, _| {
            found.push(holder.subject.to_string());
            ControlFlow::Continue(())
        };
        door.authorizer.who_can(call, request, visit).map(|_| found)
    };
    refused("who can", record, door.asks(|_, call| who_can(call, &who("record:1", "view"))));
    refused("who can", note, door.asks(|_, call| who_can(call, &who("note:n", "about"))));
    // A review tells of everybody.
    assert_eq!(who_can(&internal, &who("record:1", "view")).unwrap(), ["agent:a"]);
    let traced = CheckRequest { trace: true, subject: "agent:a".parse().unwrap(), ..check("note:n") };
    let asked = door.asks(|a, call| a.check(call, &traced, Effort::Full));
    assert_eq!(asked, ["check permissions on `note`", note, EVERY]);
    // A watch that was open ends.
    let mut watch = watch.unwrap();
    refused("open watch", record, door.asks(|a, _| watch.poll(a)));
    // What leads to no record is seen as ever.
    let read = ReadRequest { filter: filter("folder"), ..ReadRequest::default() };
    assert!(door.authorizer.read(&door.call, &read, &mut |_| ControlFlow::Continue(())).is_ok());
}
