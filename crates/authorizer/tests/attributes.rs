//! Parameters that no request and no relationship can give: what each door does with a request that tries, and with the
//! attributes behind them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_authorizer::attributes::ListAttributesRequest;
use stonetown_authorizer::bulk::{BulkCheckItem, BulkCheckRequest};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::export::ExportRequest;
use stonetown_authorizer::lookup::{LookupResourcesRequest, LookupSubjectsRequest};
use stonetown_authorizer::materialize::LookupSetsRequest;
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::watch::{WatchRequest, Watched};
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Authorizer, BulkMode, Call, Effort, Error, Given, Membership, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{
    Attribute, Consistency, Operation, Precondition, RelationshipFilter, RelationshipUpdate, SubjectFilter,
    SubjectRelationFilter, ZedToken,
};

const SCHEMA: &str = "
use expiration
// @stonetown trusted(resource.env) stored(envs)
caveat in_env(env string, envs list<string>) { env in envs }
// @stonetown server(now, peer_ip)
caveat here(now timestamp, peer_ip ipaddress) { now > timestamp('2020-01-01T00:00:00Z') && peer_ip.in_cidr('10.0.0.0/8') }
caveat plain(amount int) { amount < 10 }
definition user {}
definition database {
  relation writer: user | user with in_env | user with here | user with plain
  permission write = writer
}
";

/// One for each parameter that has a source.
const FORGED: [&str; 4] = [
    r#"{"env": "test"}"#,
    r#"{"envs": ["prod"]}"#,
    r#"{"amount": 1, "now": "2030-01-01T00:00:00Z"}"#,
    r#"{"peer_ip": "10.1.2.3"}"#,
];

struct Door {
    authorizer: Authorizer,
    call: Call,
}

impl Door {
    fn new(relationships: &[&str]) -> Door {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let door = Door { authorizer, call: Call::new("test") };
        door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
        for text in relationships {
            door.write(text).unwrap();
        }
        door
    }

    fn write(&self, relationship: &str) -> Result<ZedToken, Error> {
        let update = RelationshipUpdate { operation: Operation::Touch, relationship: relationship.parse().unwrap() };
        self.authorizer.write(&self.call, &WriteRequest { updates: vec![update], ..WriteRequest::default() })
    }

    fn put(&self, object: &str, name: &str, value: serde_json::Value) -> Result<ZedToken, Error> {
        let (object, name) = (object.parse().unwrap(), name.parse().unwrap());
        self.authorizer.put_attributes(&self.call, &[Attribute { object, name, value, expires_at: None }])
    }

    fn list(&self, limit: Option<u64>) -> Vec<String> {
        let mut request = ListAttributesRequest {
            freshness: Freshness::Of(Consistency::FullyConsistent),
            object_type: "database".parse().unwrap(),
            object_id: None,
            name: None,
            limit,
            after: None,
        };
        let mut found = Vec::new();
        loop {
            let (before, asked) = (found.len(), request.clone());
            let visit = &mut |one: Attribute, cursor| {
                found.push(format!("{} {}={}", one.object, one.name, one.value));
                request.after = Some(cursor);
                ControlFlow::Continue(())
            };
            self.authorizer.list_attributes(&self.call, &asked, visit).unwrap();
            if limit.is_none() || found.len() == before {
                return found;
            }
        }
    }

    fn check(&self, request: &CheckRequest) -> Result<Membership, Error> {
        self.authorizer.check(&self.call, request, Effort::Full).map(|answer| answer.membership)
    }
}

fn question(id: &str, context: &str) -> CheckRequest {
    CheckRequest {
        freshness: Freshness::Of(Consistency::FullyConsistent),
        resource: format!("database:{id}").parse().unwrap(),
        permission: "write".parse().unwrap(),
        subject: "user:ann".parse().unwrap(),
        context: serde_json::from_str(context).unwrap(),
        with: Vec::new(),
        trace: false,
    }
}

const ANN: &str = r#"database:main#writer@user:ann[in_env:{"envs":["test"]}]"#;

#[test]
fn a_request_that_names_such_a_parameter_is_refused_at_every_door() {
    let door = Door::new(&[ANN]);
    let refused = |outcome: Result<(), Error>| {
        assert!(matches!(outcome, Err(Error::ParameterNotYours { .. })), "{outcome:?}");
    };
    for forged in FORGED {
        let CheckRequest { resource, permission, subject, context, .. } = question("main", forged);
        refused(door.check(&question("main", forged)).map(drop));
        refused(door.check(&CheckRequest { trace: true, ..question("main", forged) }).map(drop));
        let item = BulkCheckItem {
            resource: resource.clone(),
            permission: permission.clone(),
            subject: subject.clone(),
            context: Arc::new(context.clone()),
        };
        let honest = BulkCheckItem { context: Arc::default(), ..item.clone() };
        let bulk =
            BulkCheckRequest { consistency: Consistency::FullyConsistent, items: vec![honest, item], trace: false };
        let mut answers = door.authorizer.check_bulk(&door.call, &bulk).unwrap().answers;
        refused(answers.pop().unwrap().map(drop));
        assert!(answers.pop().unwrap().is_ok(), "an item is refused by itself");
        let lookup = LookupResourcesRequest {
            consistency: Consistency::FullyConsistent,
            resource_type: "database".parse().unwrap(),
            permission: permission.clone(),
            subject: subject.clone(),
            context: context.clone(),
            limit: None,
            after: None,
        };
        let nothing = &mut |_, _| ControlFlow::Continue(());
        refused(door.authorizer.lookup_resources(&door.call, &lookup, nothing).map(drop));
        let lookup = LookupSubjectsRequest {
            consistency: Consistency::FullyConsistent,
            resource,
            permission,
            subject_type: "user".parse().unwrap(),
            subject_relation: None,
            context,
            limit: None,
            after: None,
            without_wildcard: false,
        };
        refused(door.authorizer.lookup_subjects(&door.call, &lookup, &mut |_, _| ControlFlow::Continue(())).map(drop));
    }
    let message = door.check(&question("main", FORGED[0])).unwrap_err().to_string();
    assert_eq!(message, "parameter `env` of caveat `in_env` is trusted(resource.env): it cannot be given here");
    assert!(door.check(&question("main", r#"{"amount": 1, "other": 2}"#)).is_ok());
}

#[test]
fn a_relationship_that_names_such_a_parameter_is_refused_at_every_door() {
    let door = Door::new(&[]);
    for forged in [
        r#"database:main#writer@user:ann[in_env:{"env":"test","envs":["test"]}]"#,
        r#"database:main#writer@user:ann[here:{"now":"2030-01-01T00:00:00Z"}]"#,
        r#"database:main#writer@user:ann[here:{"peer_ip":"10.1.2.3"}]"#,
    ] {
        let refused = |outcome: Result<(), Error>| {
            assert!(matches!(outcome, Err(Error::ParameterNotYours { .. })), "{forged}: {outcome:?}");
        };
        refused(door.write(forged).map(drop));
        let with = vec![forged.parse().unwrap()];
        refused(door.check(&CheckRequest { with, ..question("main", "{}") }).map(drop));
        let mut import = door.authorizer.import(&door.call, BulkMode::Touch).unwrap();
        refused(import.push(vec![forged.parse().unwrap()]));
    }
}

#[test]
fn attributes_decide_and_an_old_revision_sees_its_own() {
    let door = Door::new(&[ANN]);
    let missing = Membership::Conditional(["env".to_owned()].into());
    assert_eq!(door.check(&question("main", "{}")).unwrap(), missing);
    let then = door.put("database:main", "env", "test".into()).unwrap();
    assert_eq!(door.check(&question("main", "{}")).unwrap(), Membership::Member);
    door.put("database:main", "env", "prod".into()).unwrap();
    assert_eq!(door.check(&question("main", "{}")).unwrap(), Membership::NotMember);
    let old = Freshness::Of(Consistency::AtExactSnapshot(then));
    assert_eq!(door.check(&CheckRequest { freshness: old, ..question("main", "{}") }).unwrap(), Membership::Member);
    let object = "database:main".parse().unwrap();
    door.authorizer.delete_attributes(&door.call, &object, &["env".parse().unwrap()]).unwrap();
    assert_eq!(door.check(&question("main", "{}")).unwrap(), missing);
}

#[test]
fn the_address_counts_as_the_server_saw_it() {
    let mut door = Door::new(&["database:main#writer@user:ann[here]"]);
    let missing = Membership::Conditional(["peer_ip".to_owned()].into());
    for (peer, expected) in [
        (None, missing),
        (Some("10.1.2.3"), Membership::Member),
        (Some("::ffff:10.1.2.3"), Membership::Member),
        (Some("192.0.2.1"), Membership::NotMember),
    ] {
        door.call.given = Given::Call { peer_ip: peer.map(|peer| peer.parse().unwrap()) };
        assert_eq!(door.check(&question("main", "{}")).unwrap(), expected, "{peer:?}");
    }
}

#[test]
fn what_nothing_reads_or_nothing_can_take_is_refused() {
    let door = Door::new(&[]);
    assert!(matches!(door.put("database:main", "enviroment", "test".into()), Err(Error::UntrustedAttribute { .. })));
    assert!(matches!(door.put("database:main", "env", 5.into()), Err(Error::CaveatParameterType { .. })));
    assert!(matches!(door.put("table:main", "env", "test".into()), Err(Error::UnknownDefinition { .. })));
    let large = "x".repeat(30_000);
    assert!(matches!(door.put("database:main", "env", large.into()), Err(Error::AboveLimit { .. })));
    let (object, name, value) = ("database:main".parse().unwrap(), "env".parse().unwrap(), "test".into());
    let one = Attribute { object, name, value, expires_at: None };
    let twice = door.authorizer.put_attributes(&door.call, &[one.clone(), one]);
    assert!(matches!(twice, Err(Error::DuplicateUpdate { .. })));
    assert!(door.list(None).is_empty());
}

#[test]
fn ordinary_calls_neither_see_nor_touch_attributes() {
    let door = Door::new(&["database:main#writer@user:ann"]);
    let mut watch = door.authorizer.watch(&door.call, &WatchRequest::default()).unwrap();
    door.put("database:main", "env", "test".into()).unwrap();
    door.put("database:other", "env", "prod".into()).unwrap();
    let all = ["database:main env=\"test\"", "database:other env=\"prod\""];
    assert_eq!(door.list(None), all);
    assert_eq!(door.list(Some(1)), all);

    let reserved = r#"stonetown/attribute:env#given@database:main[stonetown/value:{"value":"x"}]"#;
    assert!(matches!(door.write(reserved), Err(Error::UnknownDefinition { .. })));
    let by_type =
        RelationshipFilter { resource_type: Some(Attribute::TYPE.parse().unwrap()), ..RelationshipFilter::default() };
    let by_subject = RelationshipFilter {
        subject: Some(SubjectFilter {
            subject_type: "database".parse().unwrap(),
            subject_id: None,
            relation: SubjectRelationFilter::Any,
        }),
        ..RelationshipFilter::default()
    };
    let by_id = RelationshipFilter { resource_id: Some("env".parse().unwrap()), ..RelationshipFilter::default() };
    let read = |filter: &RelationshipFilter| {
        let request = ReadRequest { filter: filter.clone(), ..ReadRequest::default() };
        let mut found = 0;
        let visit = &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        };
        door.authorizer.read(&door.call, &request, visit).map(|_| found)
    };
    assert!(matches!(read(&by_type), Err(Error::UnknownDefinition { .. })));
    assert_eq!((read(&by_subject).unwrap(), read(&by_id).unwrap()), (0, 0));
    let absent = Precondition::MustNotMatch(by_subject.clone());
    for filter in [by_subject, by_id] {
        let request = DeleteRequest { filter, preconditions: vec![absent.clone()], ..DeleteRequest::default() };
        assert_eq!(door.authorizer.delete(&door.call, &request).unwrap().deleted, 0);
    }
    let mut exported = Vec::new();
    let visit = &mut |batch: stonetown_authorizer::export::ExportBatch| {
        exported.extend(batch.relationships);
        ControlFlow::Continue(())
    };
    let everything = ExportRequest {
        consistency: Consistency::FullyConsistent,
        filter: RelationshipFilter::default(),
        batch: None,
        after: None,
    };
    door.authorizer.export(&door.call, &everything, visit).unwrap();
    assert_eq!(exported.len(), 1);
    assert_eq!(door.list(None), all);
    door.write("database:main#writer@user:bob").unwrap();
    let mut heard = Vec::new();
    while heard.is_empty() {
        if let Watched::Message(message) = watch.poll(&door.authorizer).unwrap() {
            heard.extend(message.updates.iter().map(|update| update.relationship.to_string()));
        }
    }
    assert_eq!(heard, ["database:main#writer@user:bob"]);
}

#[test]
fn a_definition_with_attributes_is_not_removed() {
    let door = Door::new(&[]);
    door.put("database:main", "env", "test".into()).unwrap();
    let without = SCHEMA.split("definition database").next().unwrap();
    let error = door.authorizer.write_schema(&door.call, without).unwrap_err();
    assert!(error.to_string().contains("stonetown/attribute:env#given@database:main"), "{error}");
    let object = "database:main".parse().unwrap();
    door.authorizer.delete_attributes(&door.call, &object, &["env".parse().unwrap()]).unwrap();
    door.authorizer.write_schema(&door.call, without).unwrap();
}

#[test]
fn a_value_from_before_the_annotation_counts_for_nothing() {
    let door = Door::new(&[]);
    let free = SCHEMA.replace("// @stonetown trusted(resource.env) stored(envs)", "");
    door.authorizer.write_schema(&door.call, &free).unwrap();
    door.write(r#"database:main#writer@user:ann[in_env:{"env":"test","envs":["test"]}]"#).unwrap();
    assert_eq!(door.check(&question("main", "{}")).unwrap(), Membership::Member);
    door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
    assert_eq!(door.check(&question("main", "{}")).unwrap(), Membership::Conditional(["env".to_owned()].into()));
}

/// Whom nobody knows to be barred is not thereby let in: what is missing is never a yes, on no side of an exclusion.
#[test]
fn a_missing_value_is_a_yes_at_no_door() {
    let schema = "
        // @stonetown trusted(subject.risk)
        caveat risky(risk int) { risk > 5 }
        // @stonetown server(peer_ip)
        caveat outside(peer_ip ipaddress) { !peer_ip.in_cidr('10.0.0.0/8') }
        definition user {}
        definition database {
          relation writer: user
          relation barred: user with risky | user:* with outside
          permission write = writer - barred
        }";
    for (barred, name) in [("user:ann[risky]", "risk"), ("user:*[outside]", "peer_ip")] {
        let options = Options { materialize: ["database#write@user".parse().unwrap()].into(), ..Options::default() };
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap();
        let mut door = Door { authorizer, call: Call::new("test") };
        door.authorizer.write_schema(&door.call, schema).unwrap();
        door.write("database:main#writer@user:ann").unwrap();
        assert_eq!(door.everywhere(), [(); 5].map(|()| Some(Membership::Member)));
        door.write(&format!("database:main#barred@{barred}")).unwrap();
        let missing = || Some(Membership::Conditional([name.to_owned()].into()));
        assert_eq!(door.everywhere(), [missing(), missing(), missing(), missing(), None], "{name}");
        // Known, the value decides; in sets, which nobody in particular asks for, never.
        door.call.given = Given::Call { peer_ip: Some("10.1.2.3".parse().unwrap()) };
        door.put("user:ann", "risk", 1.into()).unwrap();
        let member = || Some(Membership::Member);
        assert_eq!(door.everywhere(), [member(), member(), member(), member(), None], "{name}");
        door.call.given = Given::Call { peer_ip: Some("192.0.2.1".parse().unwrap()) };
        door.put("user:ann", "risk", 9.into()).unwrap();
        let no = || Some(Membership::NotMember);
        assert_eq!(door.everywhere(), [no(), no(), None, None, None], "{name}");
    }
}

impl Door {
    /// Whether `user:ann` may write `database:main`, as a check, an item of a bulk, both lookups and the sets that are kept have it;
    /// `None` where it is not listed.
    fn everywhere(&self) -> [Option<Membership>; 5] {
        let CheckRequest { resource, permission, subject, .. } = question("main", "{}");
        let checked = self.check(&question("main", "{}")).unwrap();
        let item = BulkCheckItem {
            resource: resource.clone(),
            permission: permission.clone(),
            subject: subject.clone(),
            context: Arc::default(),
        };
        let consistency = Consistency::FullyConsistent;
        let bulk = BulkCheckRequest { consistency, items: vec![item], trace: false };
        let mut bulk = self.authorizer.check_bulk(&self.call, &bulk).unwrap().answers;
        let asked = LookupResourcesRequest {
            consistency,
            resource_type: "database".parse().unwrap(),
            permission: permission.clone(),
            subject,
            context: Default::default(),
            limit: None,
            after: None,
        };
        let (mut of_resources, mut of_subjects, mut of_sets) = (None, None, None);
        let visit = &mut |found: stonetown_authorizer::FoundResource, _| {
            of_resources = Some(found.membership);
            ControlFlow::Continue(())
        };
        self.authorizer.lookup_resources(&self.call, &asked, visit).unwrap();
        let asked = LookupSubjectsRequest {
            consistency,
            resource,
            permission,
            subject_type: "user".parse().unwrap(),
            subject_relation: None,
            context: Default::default(),
            limit: None,
            after: None,
            without_wildcard: false,
        };
        let visit = &mut |found: stonetown_authorizer::FoundSubject, _| {
            of_subjects = Some(found.membership);
            ControlFlow::Continue(())
        };
        self.authorizer.lookup_subjects(&self.call, &asked, visit).unwrap();
        let visit = &mut |_, _, _| {
            of_sets = Some(Membership::Member);
            ControlFlow::Continue(())
        };
        self.authorizer.lookup_permission_sets(&self.call, &LookupSetsRequest::default(), visit).unwrap();
        let bulk = bulk.pop().unwrap().unwrap().0.membership;
        [Some(checked), Some(bulk), of_resources, of_subjects, of_sets]
    }
}
