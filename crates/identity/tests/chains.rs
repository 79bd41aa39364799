//! Acting for another: allowed is what all are allowed and each may do for the one before, at one state; and a longer chain never
//! allows more than a shorter one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_authorizer::bulk::{BulkCheckItem, BulkCheckRequest};
use stonetown_authorizer::check::{CheckAnswer, CheckRequest};
use stonetown_authorizer::explain::{Asked, Recorded};
use stonetown_authorizer::lookup::LookupResourcesRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Caller, Chain, Effort, Error, Membership, Options, Proof};
use stonetown_identity::manage::{Mandate, Over, Power, Wanted, Why};
use stonetown_identity::principal::StandIn;
use stonetown_identity::{DEFAULT_STORE, Holder, Identity, PrincipalKind, Start};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{Consistency, Operation, RelationshipUpdate, Timestamp};

const SCHEMA: &str = "definition agent {}
  definition doc {
    relation viewer: agent
    relation editor: agent
    permission view = viewer + editor
    permission edit = editor
  }";
const NAMES: [&str; 5] = ["ann", "a1", "a2", "a3", "a4"];

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(1_900_000_000) };
}

struct World {
    authorizer: Arc<Authorizer>,
    identity: Identity,
    key: Caller,
}

impl World {
    /// Principals for whom the agents of their names stand, and a gateway that may check and say who acts.
    fn new() -> World {
        World::with(Options::default())
    }

    fn with(options: Options) -> World {
        let wall = || Timestamp::from_second(CLOCK.get()).unwrap();
        let options = Options { wall_clock: Some(wall), ..options };
        let authorizer = Arc::new(Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap());
        let (identity, _) = Identity::open(Arc::clone(&authorizer), Start { keys: 1, ..Start::default() }).unwrap();
        let key = identity.by_key(1).unwrap();
        let world = World { authorizer, identity, key };
        world.authorizer.write_schema(&world.call(&world.key), SCHEMA).unwrap();
        for name in NAMES.into_iter().chain(["gateway"]) {
            let subject = StandIn { store: DEFAULT_STORE.to_owned(), subject: format!("agent:{name}") };
            let wanted = Wanted {
                kind: PrincipalKind::Agent,
                owner: Some(Holder::Principal("key-1".to_owned())),
                labels: Default::default(),
                subjects: vec![subject],
                external: Vec::new(),
            };
            world.identity.create_principal(&world.key, name, wanted, &Why::default()).unwrap();
            world.power(name, "checker");
        }
        world.power("gateway", "chain_asserter");
        world
    }

    fn power(&self, who: &str, power: &str) {
        let power = Power { name: power.to_owned(), over: Over::Store(DEFAULT_STORE.to_owned()) };
        let holder = Holder::Principal(who.to_owned());
        self.identity.give_power(&self.key, &holder, &power, &Why::default()).unwrap();
    }

    fn call(&self, caller: &Caller) -> Call {
        Call { caller: caller.clone(), ..Call::new("") }
    }

    fn write(&self, operation: Operation, text: &str) {
        let updates = vec![RelationshipUpdate { operation, relationship: text.parse().unwrap() }];
        self.authorizer.write(&self.call(&self.key), &WriteRequest { updates, ..WriteRequest::default() }).unwrap();
    }

    fn delegate(&self, principal: &str, actor: &str, types: &[&str], permissions: &[&str], ttl: Option<u64>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let ttl = ttl.map(Duration::from_secs);
        let mandate = Mandate { types: owned(types), permissions: owned(permissions), ttl };
        self.identity.delegate(&self.key, principal, actor, &mandate, &Why::default()).unwrap();
    }

    fn check(&self, caller: &str, chain: &[&str], permission: &str) -> Result<CheckAnswer, Error> {
        self.check_as(Caller::named(caller), chain, permission)
    }

    fn check_as(&self, caller: Caller, chain: &[&str], permission: &str) -> Result<CheckAnswer, Error> {
        let actors = chain[1..].iter().map(|name| format!("agent:{name}").parse().unwrap()).collect();
        let call = Call { caller, chain: Chain::new(actors)?, ..Call::new("") };
        let request = CheckRequest {
            freshness: Consistency::FullyConsistent.into(),
            resource: "doc:d".parse().unwrap(),
            permission: permission.parse().unwrap(),
            subject: format!("agent:{}", chain[0]).parse().unwrap(),
            context: Default::default(),
            with: Vec::new(),
            trace: false,
        };
        let answer = self.authorizer.check(&call, &request, Effort::Full)?;
        // In bulk it is the same.
        let item = BulkCheckItem {
            resource: request.resource.clone(),
            permission: request.permission.clone(),
            subject: request.subject.clone(),
            context: Default::default(),
        };
        let bulk = BulkCheckRequest { consistency: Consistency::FullyConsistent, items: vec![item], trace: false };
        let bulk = self.authorizer.check_bulk(&call, &bulk)?.answers.remove(0)?.0;
        assert_eq!(bulk.membership, answer.membership);
        Ok(answer)
    }

    fn may(&self, chain: &[&str], permission: &str) -> bool {
        self.check("gateway", chain, permission).unwrap().membership == Membership::Member
    }
}

/// A chain is no way around the log: what is strict is not answered where it cannot be recorded, in bulk neither.
#[test]
fn what_is_strict_is_not_answered_unrecorded_for_a_chain_either() {
    let world = World::with(Options { strict_needs_log: true, ..Options::default() });
    let strict = SCHEMA.replace("permission edit", "// @stonetown audit(strict)\n    permission edit");
    world.authorizer.write_schema(&world.call(&world.key), &strict).unwrap();
    for name in ["ann", "a1"] {
        world.write(Operation::Touch, &format!("doc:d#editor@agent:{name}"));
    }
    world.delegate("ann", "a1", &["*"], &["*"], None);
    assert!(world.may(&["ann", "a1"], "view"));
    for chain in [&["ann"][..], &["ann", "a1"], &["ann", "a2"], &["ann", "a1", "a2"]] {
        let refused = world.check("gateway", chain, "edit");
        assert!(matches!(refused, Err(Error::Unrecorded(_))), "{chain:?}: {refused:?}");
    }
    world.authorizer.write_schema(&world.call(&world.key), SCHEMA).unwrap();
    assert!(world.may(&["ann", "a1"], "edit"));
}

#[test]
fn a_chain_is_allowed_what_each_is_and_each_may_do_for_the_one_before() {
    let world = World::new();
    for name in ["ann", "a1"] {
        world.write(Operation::Touch, &format!("doc:d#editor@agent:{name}"));
    }
    // Both are allowed, and nobody said that one acts for the other.
    assert!(world.may(&["ann"], "edit") && world.may(&["a1"], "edit"));
    assert!(!world.may(&["ann", "a1"], "edit"));
    world.delegate("ann", "a1", &["doc"], &["view"], Some(60));
    assert!(world.may(&["ann", "a1"], "view"));
    // Neither more than was delegated, nor the other way round, nor for more than who delegates is allowed.
    assert!(!world.may(&["ann", "a1"], "edit"));
    assert!(!world.may(&["a1", "ann"], "view"));
    let until = world.check("gateway", &["ann", "a1"], "view").unwrap().until.unwrap();
    assert_eq!(until.as_second(), CLOCK.get() + 60);
    world.write(Operation::Delete, "doc:d#editor@agent:a1");
    assert!(!world.may(&["ann", "a1"], "view"));
    world.write(Operation::Touch, "doc:d#editor@agent:a1");
    world.write(Operation::Delete, "doc:d#editor@agent:ann");
    assert!(!world.may(&["ann", "a1"], "view"));
    world.write(Operation::Touch, "doc:d#editor@agent:ann");
    assert!(world.may(&["ann", "a1"], "view"));
    CLOCK.set(CLOCK.get() + 60);
    assert!(!world.may(&["ann", "a1"], "view"), "the delegation has ended");
    // What is taken back is gone at once, and who is quarantined or retired acts for nobody.
    world.delegate("ann", "a1", &["*"], &["*"], None);
    assert!(world.may(&["ann", "a1"], "edit"));
    world.identity.undelegate(&Caller::named("a1"), "ann", "a1", &Why::default()).unwrap();
    assert!(!world.may(&["ann", "a1"], "edit"));
    world.delegate("ann", "a1", &["*"], &["*"], None);
    world.identity.quarantine(&world.key, "a1", &Why::default()).unwrap();
    assert!(!world.may(&["ann", "a1"], "edit"));
    world.identity.release(&world.key, "a1", &Why::default()).unwrap();
    assert!(world.may(&["ann", "a1"], "edit"));
}

#[test]
fn a_recorded_answer_through_a_chain_is_the_same_when_it_is_asked_again() {
    let world = World::new();
    world.power("gateway", "lister");
    for name in ["ann", "a1"] {
        world.write(Operation::Touch, &format!("doc:d#editor@agent:{name}"));
    }
    let ask = |expected: Membership| {
        let answer = world.check("gateway", &["ann", "a1"], "edit").unwrap();
        assert_eq!(answer.membership, expected);
        let asked = Asked {
            resource: "doc:d".parse().unwrap(),
            permission: "edit".parse().unwrap(),
            subject: "agent:ann".parse().unwrap(),
            context: Default::default(),
        };
        let chain = Chain::new(vec!["agent:a1".parse().unwrap()]).unwrap();
        (Recorded { revision: answer.at.revision, time: answer.judged_at, asked, chain, peer_ip: None }, expected)
    };
    let refused = ask(Membership::NotMember);
    world.delegate("ann", "a1", &["doc"], &["edit"], Some(60));
    let allowed = ask(Membership::Member);
    CLOCK.set(CLOCK.get() + 60);
    let ended = ask(Membership::NotMember);
    world.identity.quarantine(&world.key, "a1", &Why::default()).unwrap();
    world.write(Operation::Delete, "doc:d#editor@agent:ann");
    for (recorded, expected) in [refused, allowed, ended] {
        let again = world.authorizer.replay(&world.call(&Caller::named("gateway")), &recorded, 5).unwrap();
        assert_eq!(*again.membership(), expected, "{recorded:?}");
        assert_eq!(again.refused_by.is_some(), expected == Membership::NotMember);
        // What is told is about the subject, who had it each time.
        assert_eq!(again.reasons.path.len(), 1);
    }
}

#[test]
fn only_the_last_who_acts_or_who_is_trusted_with_it_says_who_acts() {
    let world = World::new();
    for name in NAMES {
        world.write(Operation::Touch, &format!("doc:d#viewer@agent:{name}"));
    }
    for pair in NAMES.windows(2) {
        world.delegate(pair[0], pair[1], &["doc"], &["view"], None);
    }
    let allowed = |caller: &str, chain: &[&str]| {
        world.check(caller, chain, "view").map(|answer| answer.membership == Membership::Member)
    };
    assert!(allowed("gateway", &NAMES).unwrap());
    assert!(allowed("a4", &NAMES).unwrap());
    for caller in ["ann", "a1", "a3"] {
        assert!(matches!(allowed(caller, &NAMES), Err(Error::Denied { .. })), "{caller}");
    }
    assert!(matches!(allowed("gateway", &["ann", "ann"]), Err(Error::Invalid(_))));
    // Somebody without a principal acts for nobody.
    assert!(!allowed("gateway", &["ann", "stranger"]).unwrap());
    // A list takes no chain, and says so.
    let lookup = LookupResourcesRequest {
        consistency: Consistency::FullyConsistent,
        resource_type: "doc".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: "agent:ann".parse().unwrap(),
        context: Default::default(),
        limit: None,
        after: None,
    };
    let chain = Chain::new(vec!["agent:a1".parse().unwrap()]).unwrap();
    let call = Call { chain, ..world.call(&world.key) };
    let refused = world.authorizer.lookup_resources(&call, &lookup, &mut |_, _| std::ops::ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

/// A token about ann in which a1 acts (RFC 8693): what a1 asks about ann is asked of both, without a word.
#[test]
fn what_a_token_proves_is_asked_of_all_whom_it_names() {
    let world = World::new();
    world.write(Operation::Touch, "doc:d#viewer@agent:ann");
    let proof = Proof { acting_for: vec!["ann".into()], ..Proof::default() };
    let may = |subject: &str| {
        let answer = world.check_as(Caller::proved("a1", proof.clone()), &[subject], "view").unwrap();
        answer.membership == Membership::Member
    };
    assert!(!may("ann"));
    world.write(Operation::Touch, "doc:d#viewer@agent:a1");
    assert!(!may("ann"));
    world.delegate("ann", "a1", &["doc"], &["view"], None);
    assert!(may("ann") && may("a1"));
    assert!(!may("a2"));
}

#[test]
fn only_who_it_is_about_lets_another_act() {
    let world = World::new();
    let mandate = Mandate { types: vec!["doc".to_owned()], permissions: vec!["view".to_owned()], ttl: None };
    let delegate = |caller: &str, principal: &str, actor: &str| {
        world.identity.delegate(&Caller::named(caller), principal, actor, &mandate, &Why::default())
    };
    delegate("ann", "ann", "a1").unwrap();
    for (principal, actor) in [("ann", "a2"), ("nobody", "a2")] {
        assert!(matches!(delegate("a2", principal, actor), Err(Error::Denied { .. })), "{principal}");
    }
    assert!(matches!(delegate("ann", "ann", "ann"), Err(Error::Invalid(_))));
    assert!(matches!(delegate("ann", "ann", "nobody"), Err(Error::NoSuch(_))));
    let empty = Mandate { permissions: Vec::new(), ..mandate.clone() };
    assert!(world.identity.delegate(&world.key, "ann", "a1", &empty, &Why::default()).is_err());
    let found = world.identity.delegations(&Caller::named("ann"), "ann").unwrap();
    assert_eq!(found.iter().map(|found| found.actor.as_str()).collect::<Vec<_>>(), ["a1"]);
    assert!(matches!(world.identity.delegations(&Caller::named("a1"), "ann"), Err(Error::Denied { .. })));
    world.identity.retire(&world.key, "ann", false, &Why::default()).unwrap();
    assert!(world.identity.delegations(&world.key, "ann").unwrap().is_empty());
}

#[test]
fn one_more_who_acts_never_turns_a_no_into_a_yes() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..20 {
        let world = World::new();
        for name in NAMES {
            for relation in ["viewer", "editor"] {
                if random.random_bool(0.8) {
                    world.write(Operation::Touch, &format!("doc:d#{relation}@agent:{name}"));
                }
            }
        }
        for principal in NAMES {
            for actor in NAMES {
                if principal != actor && random.random_bool(0.7) {
                    let permissions = if random.random_bool(0.5) { &["*"][..] } else { &["view"] };
                    world.delegate(principal, actor, &["doc"], permissions, None);
                }
            }
        }
        for _ in 0..20 {
            let mut left = NAMES.to_vec();
            let mut chain = Vec::new();
            let permission = if random.random_bool(0.5) { "view" } else { "edit" };
            let mut before = true;
            while !left.is_empty() {
                chain.push(left.remove(random.random_range(0..left.len())));
                let now = world.may(&chain, permission);
                assert!(before || !now, "{chain:?} {permission}");
                before = now;
                (allowed, denied) = if now { (allowed + 1, denied) } else { (allowed, denied + 1) };
            }
        }
    }
    assert!(allowed > 50 && denied > 50, "{allowed} {denied}");
}
