//! Stores: nothing of one can influence an answer in another, and what is no store is refused as what is not one's own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::lookup::LookupResourcesRequest;
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::watch::{WatchRequest, WatchStart, Watched};
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Authorizer, Call, Caller, Effort, Error, Membership, Options, Quota};
use stonetown_identity::manage::{Mandate, Over, Power, Terms, Wanted, Why};
use stonetown_identity::principal::StandIn;
use stonetown_identity::{Holder, Identity, NO_STORE, PrincipalKind, Refusal, Start};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{Consistency, Operation, RelationshipFilter, RelationshipUpdate, StoreId};

const SCHEMA: &str = "definition agent {}
  definition doc { relation viewer: agent; permission view = viewer }";
/// The same names with the opposite meaning.
const TURNED: &str = "definition agent {}
  definition doc { relation viewer: agent; relation all: agent; permission view = all - viewer }";

struct Server {
    authorizer: Arc<Authorizer>,
    identity: Identity,
    root: Caller,
}

fn open(datastore: &Arc<dyn Datastore>) -> Server {
    let authorizer = Arc::new(Authorizer::open(Arc::clone(datastore), Options::default()).unwrap());
    let (identity, _) = Identity::open(Arc::clone(&authorizer), Start { keys: 1, ..Start::default() }).unwrap();
    let root = identity.by_key(1).unwrap();
    Server { authorizer, identity, root }
}

fn memory() -> Arc<dyn Datastore> {
    Arc::new(MemoryDatastore::new())
}

fn why() -> Why {
    Why::default()
}

impl Server {
    /// A store in which the holder of the key may do everything.
    fn store(&self, name: &str, quota: Quota) -> StoreId {
        let holder = Holder::Group("preshared".to_owned());
        StoreId(self.identity.create_store(&self.root, name, Some(&holder), quota, &why()).unwrap().id)
    }

    fn in_store(&self, store: StoreId) -> Call {
        Call { store, caller: self.root.clone(), ..Call::new("") }
    }

    fn write(&self, store: StoreId, operation: Operation, text: &str) -> Result<(), Error> {
        let updates = vec![RelationshipUpdate { operation, relationship: text.parse().unwrap() }];
        let request = WriteRequest { updates, ..WriteRequest::default() };
        self.authorizer.write(&self.in_store(store), &request).map(drop)
    }

    fn may(&self, call: &Call, doc: &str, agent: &str) -> Result<bool, Error> {
        let request = CheckRequest {
            freshness: Consistency::FullyConsistent.into(),
            resource: format!("doc:{doc}").parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: format!("agent:{agent}").parse().unwrap(),
            context: Default::default(),
            with: Vec::new(),
            trace: false,
        };
        Ok(self.authorizer.check(call, &request, Effort::Full)?.membership == Membership::Member)
    }

    fn viewable(&self, store: StoreId, agent: &str) -> BTreeSet<String> {
        let request = LookupResourcesRequest {
            consistency: Consistency::FullyConsistent,
            resource_type: "doc".parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: format!("agent:{agent}").parse().unwrap(),
            context: Default::default(),
            limit: None,
            after: None,
        };
        let mut found = BTreeSet::new();
        self.authorizer
            .lookup_resources(&self.in_store(store), &request, &mut |item, _| {
                found.insert(item.id.to_string());
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }
}

/// Two stores with equal names and opposite answers, asked in turn: no answer is of the other.
#[test]
fn nothing_of_a_store_is_seen_in_another() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let datastore = memory();
    let mut server = open(&datastore);
    let (one, other) = (server.store("one", Quota::default()), server.store("other", Quota::default()));
    assert_eq!(server.may(&server.in_store(one), "d0", "a0").unwrap_err().to_string(), unknown());
    server.authorizer.write_schema(&server.in_store(one), SCHEMA).unwrap();
    server.authorizer.write_schema(&server.in_store(other), TURNED).unwrap();
    assert!(matches!(server.authorizer.read_schema(&server.in_store(StoreId::DEFAULT)), Err(Error::NoSchema)));
    let name = |kind: char, number: u32| format!("{kind}{number}");
    for doc in 0..8 {
        for agent in 0..4 {
            let all = format!("doc:{}#all@agent:{}", name('d', doc), name('a', agent));
            server.write(other, Operation::Touch, &all).unwrap();
        }
    }
    let mut viewers: BTreeSet<(u32, u32)> = BTreeSet::new();
    for round in 0..2_000 {
        let (doc, agent) = (random.random_range(0..8), random.random_range(0..4));
        if random.random_bool(0.2) {
            let operation = if viewers.remove(&(doc, agent)) { Operation::Delete } else { Operation::Touch };
            if operation == Operation::Touch {
                viewers.insert((doc, agent));
            }
            let viewer = format!("doc:{}#viewer@agent:{}", name('d', doc), name('a', agent));
            server.write(one, operation, &viewer).unwrap();
            server.write(other, operation, &viewer).unwrap();
        }
        let expected = viewers.contains(&(doc, agent));
        let (doc, of) = (name('d', doc), name('a', agent));
        assert_eq!(server.may(&server.in_store(one), &doc, &of).unwrap(), expected, "round {round}");
        assert_eq!(server.may(&server.in_store(other), &doc, &of).unwrap(), !expected, "round {round}");
        if round % 50 == 0 {
            let in_one: BTreeSet<_> =
                viewers.iter().filter(|(_, who)| *who == agent).map(|(doc, _)| name('d', *doc)).collect();
            let all: BTreeSet<_> = (0..8).map(|doc| name('d', doc)).collect();
            assert_eq!(server.viewable(one, &of), in_one);
            assert_eq!(server.viewable(other, &of), &all - &in_one);
        }
        if round == 1_000 {
            drop(server);
            server = open(&datastore);
        }
    }
    let filter = RelationshipFilter { resource_type: Some("doc".parse().unwrap()), ..RelationshipFilter::default() };
    let all = DeleteRequest { filter, ..DeleteRequest::default() };
    let deleted = server.authorizer.delete(&server.in_store(one), &all).unwrap().deleted;
    assert_eq!(deleted, viewers.len() as u64);
    assert!(viewers.iter().next().is_none_or(|(doc, agent)| {
        !server.may(&server.in_store(other), &name('d', *doc), &name('a', *agent)).unwrap()
    }));
}

fn unknown() -> String {
    let authorizer = Authorizer::open(memory(), Options::default()).unwrap();
    let server_less = Call { caller: Caller::internal(), ..Call::new("") };
    let request = CheckRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: "doc:d0".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: "agent:a0".parse().unwrap(),
        context: Default::default(),
        with: Vec::new(),
        trace: false,
    };
    authorizer.check(&server_less, &request, Effort::Full).unwrap_err().to_string()
}

/// A write id, a watch and a count are of one store.
#[test]
fn what_is_kept_beside_relationships_is_of_one_store() {
    let server = open(&memory());
    let (one, other) = (server.store("one", Quota::default()), server.store("other", Quota::default()));
    for store in [one, other] {
        server.authorizer.write_schema(&server.in_store(store), SCHEMA).unwrap();
    }
    let watch = WatchRequest { start: WatchStart::Head, ..WatchRequest::default() };
    let mut watch = server.authorizer.watch(&server.in_store(other), &watch).unwrap();
    let write = |store, text: &str| {
        let updates = vec![RelationshipUpdate { operation: Operation::Touch, relationship: text.parse().unwrap() }];
        let request = WriteRequest { updates, request_id: Some("once".to_owned()), ..WriteRequest::default() };
        server.authorizer.write(&server.in_store(store), &request)
    };
    write(one, "doc:a#viewer@agent:x").unwrap();
    // The same id in another store is another write, whatever it holds.
    write(other, "doc:b#viewer@agent:y").unwrap();
    assert!(write(one, "doc:c#viewer@agent:z").is_err());
    assert_eq!([one, other].map(|store| server.viewable(store, "y").len()), [0, 1]);
    let mut told = Vec::new();
    loop {
        match watch.poll(&server.authorizer).unwrap() {
            Watched::Message(message) => {
                told.extend(message.updates.into_iter().map(|update| update.relationship.to_string()));
            }
            Watched::More => {}
            Watched::CaughtUp => break,
        }
    }
    assert_eq!(told, ["doc:b#viewer@agent:y"]);
    let read = |store| {
        let mut found = 0;
        let filter =
            RelationshipFilter { resource_type: Some("doc".parse().unwrap()), ..RelationshipFilter::default() };
        let request = ReadRequest { filter, ..ReadRequest::default() };
        let read = server.authorizer.read(&server.in_store(store), &request, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        read.map(|_| found)
    };
    assert_eq!([read(one).unwrap(), read(other).unwrap()], [1, 1]);
    // Sets, and the files of them, are of the default store.
    let sets = server.authorizer.moment_of_sets(&server.in_store(one), None);
    assert!(matches!(sets, Err(Error::NotMaterialized(None))), "{sets:?}");
}

#[test]
fn a_store_that_is_not_there_is_refused_as_one_that_is_not_the_callers() {
    let server = open(&memory());
    let one = server.store("one", Quota::default());
    let wanted = |owner: &str| Wanted {
        kind: PrincipalKind::Agent,
        owner: Some(Holder::Principal(owner.to_owned())),
        labels: Default::default(),
        subjects: Vec::new(),
        external: Vec::new(),
    };
    server.identity.create_principal(&server.root, "tenant", wanted("key-1"), &why()).unwrap();
    let power = Power { name: "checker".to_owned(), over: Over::Store("one".to_owned()) };
    server.identity.give_power(&server.root, &Holder::Principal("tenant".to_owned()), &power, &why()).unwrap();
    let other = server.store("other", Quota::default());
    for store in [one, other] {
        server.authorizer.write_schema(&server.in_store(store), SCHEMA).unwrap();
    }
    let as_tenant = |store| Call { store, ..Call::new("tenant") };
    assert!(!server.may(&as_tenant(one), "a", "x").unwrap());
    let refusal = |store| server.may(&as_tenant(store), "a", "x").unwrap_err().to_string();
    assert_eq!(refusal(other), refusal(NO_STORE));
    assert_eq!(refusal(other), refusal(StoreId::DEFAULT));
    assert!(matches!(server.may(&as_tenant(StoreId::SYSTEM), "a", "x"), Err(Error::Denied { .. })));
    // Nor does a tenant make, see or delete stores, or touch the server.
    let tenant = Caller::named("tenant");
    assert!(matches!(server.identity.list_stores(&tenant), Err(Error::Denied { .. })));
    let refused = server.identity.create_store(&tenant, "mine", None, Quota::default(), &why());
    assert!(matches!(refused, Err(Error::Denied { .. })));
    let words = |name: &str| server.identity.delete_store(&tenant, name, &why()).unwrap_err().to_string();
    assert_eq!(words("one"), words("nothing"));
    let admin = Power { name: "admin".to_owned(), over: Over::Store("one".to_owned()) };
    server.identity.give_power(&server.root, &Holder::Principal("tenant".to_owned()), &admin, &why()).unwrap();
    assert!(matches!(server.authorizer.checkpoint(&as_tenant(one), None), Err(Error::Denied { .. })));
}

#[test]
fn a_store_that_was_deleted_is_gone_and_its_name_is_used_up() {
    let datastore = memory();
    let server = open(&datastore);
    let one = server.store("one", Quota::default());
    server.authorizer.write_schema(&server.in_store(one), SCHEMA).unwrap();
    server.write(one, Operation::Touch, "doc:a#viewer@agent:x").unwrap();
    let issue = |store: &str| {
        let terms = Terms { store: Some(store.to_owned()), ..Terms::default() };
        server.identity.issue_credential(&server.root, "key-1", terms, &why())
    };
    let issued = issue("one").unwrap();
    let shown = server.identity.by_token(issued.token.reveal()).unwrap();
    assert_eq!(shown.proof.unwrap().store.as_deref(), Some("one"));
    assert!(matches!(issue("two"), Err(Error::NoSuch(_))));
    server.identity.delete_store(&server.root, "one", &why()).unwrap();
    assert_eq!(server.identity.system().store_id("one"), None);
    assert!(matches!(server.may(&server.in_store(one), "a", "x"), Err(Error::Denied { .. })));
    let internal = Call { store: one, caller: Caller::internal(), ..Call::new("") };
    assert!(!server.may(&internal, "a", "x").unwrap());
    let again = server.identity.create_store(&server.root, "one", None, Quota::default(), &why());
    assert!(matches!(again, Err(Error::Exists(_))));
    let two = server.store("two", Quota::default());
    assert_ne!(one, two);
    drop(server);
    let server = open(&datastore);
    let names: Vec<_> =
        server.identity.list_stores(&server.root).unwrap().into_iter().map(|store| store.name).collect();
    assert_eq!(names, ["default", "two"]);
    for name in ["default", "", "Two", "-", "a|b", "a b", "0"] {
        let refused = server.identity.create_store(&server.root, name, None, Quota::default(), &why());
        assert!(refused.is_err(), "{name}");
    }
}

#[test]
fn a_quota_holds_one_store_and_no_other() {
    let server = open(&memory());
    let quota = Quota { relationships_max: 2, schema_bytes_max: SCHEMA.len() as u64, calls_max: 0 };
    let (small, free) = (server.store("small", quota), server.store("free", Quota::default()));
    let too_long = format!("{SCHEMA}\n// a line more");
    let refused = server.authorizer.write_schema(&server.in_store(small), &too_long);
    assert!(matches!(refused, Err(Error::AboveQuota { .. })), "{refused:?}");
    server.authorizer.write_schema(&server.in_store(small), SCHEMA).unwrap();
    server.authorizer.write_schema(&server.in_store(free), &too_long).unwrap();
    for store in [small, free] {
        server.write(store, Operation::Touch, "doc:a#viewer@agent:x").unwrap();
        server.write(store, Operation::Touch, "doc:b#viewer@agent:x").unwrap();
    }
    server.write(free, Operation::Touch, "doc:c#viewer@agent:x").unwrap();
    let refused = server.write(small, Operation::Touch, "doc:c#viewer@agent:x");
    assert!(matches!(refused, Err(Error::AboveQuota { limit: 2, .. })), "{refused:?}");
    // What is deleted makes room, and a raised quota does.
    server.write(small, Operation::Delete, "doc:a#viewer@agent:x").unwrap();
    server.write(small, Operation::Touch, "doc:c#viewer@agent:x").unwrap();
    let quota = Quota { relationships_max: 3, ..quota };
    server.identity.set_quota(&server.root, "small", quota, &why()).unwrap();
    server.write(small, Operation::Touch, "doc:a#viewer@agent:x").unwrap();
    assert!(server.write(small, Operation::Touch, "doc:d#viewer@agent:x").is_err());
}

/// An agent for which the subject of its name stands in these stores.
fn agent_in(server: &Server, id: &str, owner: &str, stores: &[&str]) {
    let stand_in = |store: &&str| StandIn { store: (*store).to_owned(), subject: format!("agent:{id}") };
    let wanted = Wanted {
        kind: PrincipalKind::Agent,
        owner: Some(Holder::Principal(owner.to_owned())),
        labels: Default::default(),
        subjects: stores.iter().map(stand_in).collect(),
        external: Vec::new(),
    };
    server.identity.create_principal(&server.root, id, wanted, &why()).unwrap();
}

fn denied<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Denied { .. }))
}

/// Even one of an administrator of the server, which manages every principal.
#[test]
fn a_credential_for_one_store_reaches_no_other_and_not_the_server() {
    let server = open(&memory());
    let (one, other) = (server.store("one", Quota::default()), server.store("other", Quota::default()));
    for store in [one, other] {
        server.authorizer.write_schema(&server.in_store(store), SCHEMA).unwrap();
        server.write(store, Operation::Touch, "doc:a#viewer@agent:x").unwrap();
    }
    agent_in(&server, "agent", "key-1", &["one", "other"]);
    let terms = |store: &str| Terms { store: Some(store.to_owned()), ..Terms::default() };
    let identity = &server.identity;
    let kept = identity.issue_credential(&server.root, "key-1", terms("other"), &why()).unwrap();
    let issued = identity.issue_credential(&server.root, "key-1", terms("one"), &why()).unwrap();
    let bound = identity.by_token(issued.token.reveal()).unwrap();

    let (from, to) = ("agent:x".parse().unwrap(), "agent:y".parse().unwrap());
    assert!(denied(identity.replace_subject(&bound, "other", &from, &to, &why())));
    assert!(denied(server.may(&Call { store: other, caller: bound.clone(), ..Call::new("") }, "a", "x")));
    assert_eq!(identity.replace_subject(&bound, "one", &from, &to, &why()).unwrap().moved, 1);
    for terms in [Terms::default(), terms("one"), terms("other")] {
        assert!(denied(identity.issue_credential(&bound, "key-1", terms.clone(), &why())));
        assert!(denied(identity.issue_credential(&bound, "agent", terms, &why())));
    }
    assert!(denied(identity.rotate_credential(&bound, &kept.id, None, Default::default(), &why())));
    assert!(denied(identity.revoke_credential(&bound, &kept.id, &why())));
    assert!(denied(identity.revoke_credentials(&bound, "key-1", &why())));
    assert!(denied(identity.list_credentials(&bound, "key-1")));
    assert!(denied(identity.powers_of(&bound, "key-1")));
    assert!(denied(identity.get_principal(&bound, "agent")));
    assert!(denied(identity.list_principals(&bound, "", 10)));
    let mandate = Mandate { types: vec!["*".to_owned()], permissions: vec!["*".to_owned()], ttl: None };
    assert!(denied(identity.delegate(&bound, "key-1", "agent", &mandate, &why())));
    assert!(denied(identity.undelegate(&bound, "agent", "key-1", &why())));
    assert!(denied(identity.quarantine(&bound, "agent", &why())));
    assert!(denied(identity.release(&bound, "agent", &why())));
    assert!(denied(identity.retire(&bound, "agent", false, &why())));
    assert!(denied(identity.list_stores(&bound)));
    assert!(denied(identity.create_store(&bound, "third", None, Quota::default(), &why())));
    for name in ["one", "other"] {
        assert!(denied(identity.set_quota(&bound, name, Quota::default(), &why())));
        assert!(denied(identity.delete_store(&bound, name, &why())));
    }
    for store in [one, other] {
        let call = Call { store, caller: bound.clone(), ..Call::new("") };
        assert!(denied(server.authorizer.checkpoint(&call, None)));
        assert!(denied(server.authorizer.scrub(&call, &mut |_| ControlFlow::Continue(()))));
    }
    // Who holds powers over the store it is for is that store's own matter.
    let agent = Holder::Principal("agent".to_owned());
    let give = |name: &str, over: Over| {
        let power = Power { name: name.to_owned(), over };
        let given = identity.give_power(&bound, &agent, &power, &why());
        (denied(given), denied(identity.take_power(&bound, &agent, &power, &why())))
    };
    let of = |store: &str| {
        let (store, doc, viewer) = (store.to_owned(), "doc".to_owned(), "viewer".to_owned());
        let relation = Over::Relation(store.clone(), doc.clone(), viewer);
        [("checker", Over::Store(store.clone())), ("checker", Over::Type(store, doc)), ("writer", relation)]
    };
    for (name, over) in of("one") {
        assert_eq!(give(name, over), (false, false));
    }
    let server_wide = [("operator", Over::Server), ("member", Over::Group("preshared".to_owned()))];
    for (name, over) in of("other").into_iter().chain(server_wide) {
        assert_eq!(give(name, over), (true, true));
    }
    // It is rotated and taken back as any other, and what comes of it is for the same store.
    let next = identity.rotate_credential(&bound, &issued.id, None, Default::default(), &why()).unwrap();
    let bound = identity.by_token(next.token.reveal()).unwrap();
    assert_eq!(bound.bound_to(), Some("one"));
    identity.revoke_credential(&bound, &next.id, &why()).unwrap();
    assert!(matches!(identity.still(&bound), Err(Refusal::Revoked)));
}

#[test]
fn a_retirement_that_may_not_delete_what_its_subjects_have_changes_nothing() {
    let server = open(&memory());
    for name in ["one", "gone"] {
        let store = server.store(name, Quota::default());
        server.authorizer.write_schema(&server.in_store(store), SCHEMA).unwrap();
    }
    let one = server.identity.system().store_id("one").unwrap();
    server.write(one, Operation::Touch, "doc:a#viewer@agent:helper").unwrap();
    agent_in(&server, "ada", "key-1", &[]);
    agent_in(&server, "helper", "ada", &["gone", "one"]);
    server.identity.delete_store(&server.root, "gone", &why()).unwrap();
    let ada = Caller::named("ada");
    assert!(denied(server.identity.retire(&ada, "helper", false, &why())));
    server.identity.still(&Caller::named("helper")).unwrap();
    assert!(server.may(&server.in_store(one), "a", "helper").unwrap());
    // In a store that is gone there is nothing that anybody would have to be allowed to delete.
    let power = Power { name: "revoker".to_owned(), over: Over::Store("one".to_owned()) };
    server.identity.give_power(&server.root, &Holder::Principal("ada".to_owned()), &power, &why()).unwrap();
    assert_eq!(server.identity.retire(&ada, "helper", false, &why()).unwrap().relationships, 1);
    assert!(matches!(server.identity.still(&Caller::named("helper")), Err(Refusal::Retired)));
    // Whoever retires itself may delete what it has, though no more than that.
    agent_in(&server, "last", "key-1", &["one"]);
    server.write(one, Operation::Touch, "doc:a#viewer@agent:last").unwrap();
    let last = Holder::Principal("last".to_owned());
    let operator = Power { name: "operator".to_owned(), over: Over::Server };
    for power in [power, operator] {
        server.identity.give_power(&server.root, &last, &power, &why()).unwrap();
    }
    assert_eq!(server.identity.retire(&Caller::named("last"), "last", false, &why()).unwrap().relationships, 1);
}
