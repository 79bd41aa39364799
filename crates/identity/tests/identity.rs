//! Who is let in, and what they may do: keys, credentials, powers, quarantine, and that nobody is locked out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::lookup::{LookupResourcesRequest, LookupSubjectsRequest};
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Caller, Effort, Error, Membership, Options};
use stonetown_identity::{Identity, Issued, Refusal, Start};
use stonetown_storage::{Datastore, MemoryDatastore, ReadOnly};
use stonetown_tuple::{Consistency, Operation, RelationshipFilter, RelationshipUpdate};

const SCHEMA: &str = "definition agent {}
  definition doc { relation viewer: agent | agent:*; permission view = viewer }
  definition secret { relation viewer: agent }";

struct Server {
    authorizer: Arc<Authorizer>,
    identity: Identity,
    issued: Option<Issued>,
}

fn start_on(datastore: &Arc<dyn Datastore>, start: Start) -> Server {
    let authorizer = Arc::new(Authorizer::open(Arc::clone(datastore), Options::default()).unwrap());
    let (identity, issued) = Identity::open(Arc::clone(&authorizer), start).unwrap();
    Server { authorizer, identity, issued }
}

fn memory() -> Arc<dyn Datastore> {
    Arc::new(MemoryDatastore::new())
}

fn with_keys(keys: usize) -> Start {
    Start { keys, ..Start::default() }
}

impl Server {
    fn call(&self, caller: Caller) -> Call {
        Call { caller, ..Call::new("") }
    }

    fn key(&self) -> Call {
        self.call(self.identity.by_key(1).unwrap())
    }

    /// Touches (or with a leading `-` deletes) relationships of the system store.
    fn system(&self, changes: &[&str]) -> Result<(), Error> {
        let mut change = self.identity.system().change();
        for text in changes {
            match text.strip_prefix('-') {
                Some(text) => change.delete(text)?,
                None => change.touch(text)?,
            };
        }
        change.commit(&Caller::internal(), None).map(drop)
    }

    /// One try of each power, by name.
    fn tries(&self, caller: &str) -> Vec<&'static str> {
        let call = Call::new(caller);
        let read = |filter| {
            let request = ReadRequest { filter, ..ReadRequest::default() };
            self.authorizer.read(&call, &request, &mut |_| ControlFlow::Continue(()))
        };
        let write = |operation, text: &str| self.authorizer.write(&call, &update(operation, text));
        let outcomes = [
            ("check doc", self.authorizer.check(&call, &check("doc:a"), Effort::Full).map(drop)),
            ("check secret", self.authorizer.check(&call, &check("secret:a"), Effort::Full).map(drop)),
            ("read doc", read(of_type("doc")).map(drop)),
            ("read secret", read(of_type("secret")).map(drop)),
            ("write doc", write(Operation::Touch, "doc:a#viewer@agent:1").map(drop)),
            ("write secret", write(Operation::Touch, "secret:a#viewer@agent:1").map(drop)),
            ("revoke doc", write(Operation::Delete, "doc:a#viewer@agent:1").map(drop)),
            ("read schema", self.authorizer.read_schema(&call).map(drop)),
            ("write schema", self.authorizer.write_schema(&call, SCHEMA).map(drop)),
            ("checkpoint", self.authorizer.checkpoint(&call, None).map(drop)),
        ];
        let allowed = outcomes.into_iter().filter(|(_, outcome)| !matches!(outcome, Err(Error::Denied { .. })));
        allowed.map(|(name, _)| name).collect()
    }
}

fn update(operation: Operation, text: &str) -> WriteRequest {
    let updates = vec![RelationshipUpdate { operation, relationship: text.parse().unwrap() }];
    WriteRequest { updates, ..WriteRequest::default() }
}

fn of_type(name: &str) -> RelationshipFilter {
    RelationshipFilter { resource_type: Some(name.parse().unwrap()), ..RelationshipFilter::default() }
}

fn check(resource: &str) -> CheckRequest {
    CheckRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: resource.parse().unwrap(),
        permission: "viewer".parse().unwrap(),
        subject: "agent:7".parse().unwrap(),
        context: Default::default(),
        with: Vec::new(),
        trace: false,
    }
}

const EVERYTHING: [&str; 10] = [
    "check doc",
    "check secret",
    "read doc",
    "read secret",
    "write doc",
    "write secret",
    "revoke doc",
    "read schema",
    "write schema",
    "checkpoint",
];

#[test]
fn whoever_holds_a_preshared_key_may_do_everything_until_it_is_taken_away() {
    let datastore = memory();
    let server = start_on(&datastore, with_keys(2));
    assert!(server.issued.is_none());
    server.authorizer.write_schema(&server.key(), SCHEMA).unwrap();
    for key in ["key-1", "key-2"] {
        assert_eq!(server.tries(key), EVERYTHING);
    }
    assert!(server.tries("key-3").is_empty());
    assert!(matches!(server.identity.by_key(3), Err(Refusal::Unknown)));

    server.system(&["-sys/store:default#lister@sys/group:preshared#member"]).unwrap();
    assert!(!server.tries("key-1").contains(&"read doc"));
    server.system(&["-sys/group:preshared#member@sys/principal:key-2"]).unwrap();
    assert!(server.tries("key-2").is_empty());
    drop(server);

    // What was taken away stays away, and a further key is one of them.
    let server = start_on(&datastore, with_keys(3));
    assert!(server.tries("key-2").is_empty());
    assert_eq!(server.tries("key-1"), server.tries("key-3"));
    assert!(!server.tries("key-3").contains(&"read doc"));
    drop(server);
    let head = datastore.head();
    drop(start_on(&datastore, with_keys(3)));
    assert_eq!(datastore.head(), head, "a start that has nothing to add writes nothing");
    let server = start_on(&datastore, Start { keys: 1, regain_control: true, ..Start::default() });
    assert_eq!(server.tries("key-1"), EVERYTHING);
}

#[test]
fn one_power_is_one_power() {
    let server = start_on(&memory(), with_keys(1));
    server.authorizer.write_schema(&server.key(), SCHEMA).unwrap();
    for (power, allowed) in [
        ("sys/store:default#checker", &["check doc", "check secret", "read schema"][..]),
        ("sys/store:default#lister", &["read doc", "read secret", "read schema"]),
        ("sys/store:default#writer", &["write doc", "write secret", "revoke doc"]),
        ("sys/store:default#revoker", &["revoke doc"]),
        ("sys/store:default#author", &["read schema", "write schema"]),
        ("sys/store:default#reader", &["read schema"]),
        ("sys/store:default#auditor", &[]),
        ("sys/store:default#admin", &["check doc", "check secret", "read schema", "write schema"]),
        ("sys/type:default|doc#checker", &["check doc"]),
        ("sys/type:default|secret#lister", &["read secret"]),
        ("sys/rel:default|doc|viewer#writer", &["write doc", "revoke doc"]),
        ("sys/rel:default|doc|viewer#revoker", &["revoke doc"]),
        ("sys/rel:default|secret|viewer#writer", &["write secret"]),
        ("sys/rel:other|secret|viewer#writer", &[]),
    ] {
        let given = format!("{power}@sys/principal:eve");
        assert!(server.tries("eve").is_empty());
        server.system(&[&given]).unwrap();
        assert_eq!(server.tries("eve"), allowed, "{power}");
        server.system(&[&format!("-{given}")]).unwrap();
    }
}

#[test]
fn ordinary_calls_never_reach_the_system_store() {
    let server = start_on(&memory(), with_keys(1));
    let call = Call { store: stonetown_tuple::StoreId::SYSTEM, ..server.key() };
    let read = ReadRequest { filter: of_type("sys/principal"), ..ReadRequest::default() };
    assert!(matches!(
        server.authorizer.read(&call, &read, &mut |_| ControlFlow::Continue(())),
        Err(Error::Denied { .. })
    ));
    let write = update(Operation::Touch, "sys/root:self#operator@sys/principal:eve");
    assert!(matches!(server.authorizer.write(&call, &write), Err(Error::Denied { .. })));
    // There is no such type elsewhere.
    assert!(matches!(
        server.authorizer.write(&server.key(), &write),
        Err(Error::NoSchema | Error::UnknownDefinition { .. })
    ));
    for schema in ["definition sys/root {}", "caveat sys/scope(a int) { a == 1 } definition user {}"] {
        assert!(matches!(server.authorizer.write_schema(&server.key(), schema), Err(Error::Refused(_))), "{schema}");
    }
}

#[test]
fn a_server_without_keys_begins_with_root_who_can_write_what_it_declares() {
    let datastore = memory();
    let server = start_on(&datastore, Start::default());
    let issued = server.issued.as_ref().unwrap();
    let root = server.identity.by_token(issued.token.reveal()).unwrap();
    assert_eq!(&*root.name, "root");
    server.authorizer.write_schema(&server.call(root), SCHEMA).unwrap();
    let tries = server.tries("root");
    assert!(tries.contains(&"write doc") && tries.contains(&"check doc") && tries.contains(&"revoke doc"), "{tries:?}");
    // Lists are a power of their own.
    assert!(!tries.contains(&"read doc"), "{tries:?}");
    assert!(matches!(server.identity.by_key(1), Err(Refusal::Unknown)));
    drop(server);

    let server = start_on(&datastore, Start::default());
    assert!(server.issued.is_none(), "root's credential is handed out once");
    drop(server);
    // The way back in for who holds the machine.
    let server = start_on(&datastore, with_keys(1));
    assert_eq!(server.tries("key-1"), EVERYTHING);
}

#[test]
fn nobody_locks_everybody_out() {
    let server = start_on(&memory(), with_keys(1));
    for change in [
        "-sys/root:self#operator@sys/group:preshared#member",
        "-sys/group:preshared#member@sys/principal:key-1",
        "sys/principal:key-1#quarantined@sys/root:self",
    ] {
        assert!(matches!(server.system(&[change]), Err(Error::Refused(_))), "{change}");
        assert_eq!(server.tries("key-1").len(), EVERYTHING.len());
    }
    // A principal that nobody made cannot call.
    let handed = ["sys/root:self#operator@sys/principal:ghost", "-sys/root:self#operator@sys/group:preshared#member"];
    assert!(matches!(server.system(&handed), Err(Error::Refused(_))));
    let two = start_on(&memory(), with_keys(2));
    two.system(&["-sys/group:preshared#member@sys/principal:key-1"]).unwrap();
    assert!(matches!(two.system(&["-sys/group:preshared#member@sys/principal:key-2"]), Err(Error::Refused(_))));
}

#[test]
fn data_that_nothing_can_be_written_to_is_served_as_it_is() {
    let datastore = memory();
    let read_only = || Arc::new(ReadOnly::new(Arc::clone(&datastore), "a test")) as Arc<dyn Datastore>;
    let authorizer = Arc::new(Authorizer::open(read_only(), Options::default()).unwrap());
    assert!(matches!(Identity::open(authorizer, with_keys(1)), Err(Error::ReadOnly(_))));

    drop(start_on(&datastore, with_keys(1)));
    let server = start_on(&read_only(), with_keys(2));
    assert!(server.identity.by_key(1).is_ok());
    assert!(matches!(server.identity.by_key(2), Err(Refusal::Unknown)));
    assert!(server.tries("key-2").is_empty());
}

/// A quarantined principal may do nothing, and nobody who asks about it is told yes.
#[test]
fn a_quarantine_is_subtracted_everywhere() {
    let server = start_on(&memory(), with_keys(2));
    let key = server.key();
    server.authorizer.write_schema(&key, SCHEMA).unwrap();
    for text in ["doc:a#viewer@agent:7", "doc:b#viewer@agent:*", "doc:a#viewer@agent:8"] {
        server.authorizer.write(&key, &update(Operation::Touch, text)).unwrap();
    }
    let membership = |resource: &str| server.authorizer.check(&key, &check(resource), Effort::Full).unwrap().membership;
    let resources = || {
        let request = LookupResourcesRequest {
            consistency: Consistency::FullyConsistent,
            resource_type: "doc".parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: "agent:7".parse().unwrap(),
            context: Default::default(),
            limit: None,
            after: None,
        };
        let mut found = Vec::new();
        let mut visit = |item: stonetown_authorizer::FoundResource, _| {
            found.push(item.id.to_string());
            ControlFlow::Continue(())
        };
        server.authorizer.lookup_resources(&key, &request, &mut visit).unwrap();
        found
    };
    let subjects = |resource: &str| {
        let request = LookupSubjectsRequest {
            consistency: Consistency::FullyConsistent,
            resource: resource.parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject_type: "agent".parse().unwrap(),
            subject_relation: None,
            context: Default::default(),
            limit: None,
            after: None,
            without_wildcard: false,
        };
        let mut found = Vec::new();
        let mut visit = |item: stonetown_authorizer::FoundSubject, _| {
            let excluded: Vec<_> = item.excluded.iter().map(|excluded| excluded.id.to_string()).collect();
            found.push(format!("{}{excluded:?}", item.id));
            ControlFlow::Continue(())
        };
        server.authorizer.lookup_subjects(&key, &request, &mut visit).unwrap();
        found
    };
    let before = (membership("doc:a"), membership("doc:b"), resources(), subjects("doc:a"), subjects("doc:b"));
    assert_eq!(before.0, Membership::Member);
    assert_eq!(before.1, Membership::Member);
    assert_eq!(before.2.len(), 2);
    assert_eq!(before.3.len(), 2);
    assert_eq!(before.4, ["*[]"]);
    // A moment between two commits.
    let moment = || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let moment = server.authorizer.clock().now();
        std::thread::sleep(std::time::Duration::from_millis(5));
        moment
    };
    let free = moment();

    let mut change = server.identity.system().change();
    let mut principal: stonetown_identity::Principal =
        server.identity.system().document(stonetown_identity::Kind::Principal, "key-2").unwrap().unwrap();
    principal
        .subjects
        .push(stonetown_identity::principal::StandIn { store: "default".to_owned(), subject: "agent:7".to_owned() });
    change.put(stonetown_identity::Kind::Principal, "key-2", &principal).unwrap();
    change.touch("sys/principal:key-2#quarantined@sys/root:self").unwrap();
    change.commit(&Caller::internal(), None).unwrap();
    drop(change);

    assert!(matches!(server.identity.by_key(2), Err(Refusal::Quarantined)));
    assert!(server.tries("key-2").is_empty());
    assert_eq!(membership("doc:a"), Membership::NotMember);
    assert_eq!(membership("doc:b"), Membership::NotMember);
    assert!(resources().is_empty());
    assert_eq!(subjects("doc:a"), ["8[]"]);
    assert_eq!(subjects("doc:b"), [r#"*["7"]"#]);
    let quarantined = moment();

    server.system(&["-sys/principal:key-2#quarantined@sys/root:self"]).unwrap();
    let after = (membership("doc:a"), membership("doc:b"), resources(), subjects("doc:a"), subjects("doc:b"));
    assert_eq!(after, before);
    assert_eq!(server.tries("key-2"), EVERYTHING);

    // The past is answered as it was then.
    let then = |moment| {
        let request = CheckRequest { freshness: Freshness::At(moment), ..check("doc:a") };
        server.authorizer.check(&key, &request, Effort::Full).unwrap().membership
    };
    assert_eq!((then(free), then(quarantined)), (Membership::Member, Membership::NotMember));
}
