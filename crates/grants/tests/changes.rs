//! Grants while what they rest on changes: people who leave, templates that go, records that become too large.
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::{Caller, Error as EngineError};
use stonetown_grants::{Ask, AutoRule, Emergency, Error, Grant, Limits, State, Template};
use stonetown_identity::manage::{Wanted, Why};
use stonetown_identity::principal::StandIn;
use stonetown_identity::{DEFAULT_STORE, Identity, Kind, PrincipalKind, Start};
use stonetown_storage::MemoryDatastore;
use world::{World, approve, ask, call, scale, wait, with};

/// Who manages the principals of a world. Whoever owns a template there may write.
fn managing(world: &World) -> Identity {
    let (identity, _) = Identity::open(Arc::clone(world.system.authorizer()), Start::default()).unwrap();
    world.empower("owner");
    identity
}

fn retire(identity: &Identity, who: &str) {
    identity.retire(&Caller::named("root"), who, false, &Why::default()).unwrap();
}

/// Somebody for whom these agents stand.
fn human(agents: &[&str]) -> Wanted {
    let subject = |agent: &&str| StandIn { store: DEFAULT_STORE.to_owned(), subject: format!("agent:{agent}") };
    Wanted {
        kind: PrincipalKind::Human,
        owner: None,
        labels: Default::default(),
        subjects: agents.iter().map(subject).collect(),
        external: vec![],
    }
}

/// Makes a principal for whom an agent stands from now on that nobody's is any more.
fn take_over(identity: &Identity, id: &str, agent: &str) {
    identity.create_principal(&Caller::named("root"), id, human(&[agent]), &Why::default()).unwrap();
}

#[test]
fn the_retired_are_given_nothing() {
    for (retired, why) in [("bot", "bot is retired"), ("rita", "rita is retired"), ("owner", "owner is retired")] {
        let world = with(&scale());
        let identity = managing(&world);
        world.own("bot", "rita");
        let grant = world.desk.request(&call("rita"), &Ask { beneficiary: "bot".to_owned(), ..ask("a") }).unwrap();
        retire(&identity, retired);
        let grant = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
        assert_eq!(grant.state, State::Failed, "{retired}");
        assert!(grant.because.contains(why), "{}", grant.because);
        assert!(!world.may("a", "bot"));
    }
}

#[test]
fn nobody_asks_for_the_retired() {
    let mut template = scale();
    template.auto = vec![AutoRule { name: "all".to_owned(), when: "true".to_owned(), approve: true, ttl_max: 0 }];
    let world = with(&template);
    let identity = managing(&world);
    world.own("bot", "rita");
    let for_bot = |renews| Ask { beneficiary: "bot".to_owned(), renews, ..ask("a") };
    let given = world.desk.request(&call("rita"), &for_bot(None)).unwrap();
    assert!(world.may("a", "bot"));
    retire(&identity, "bot");
    take_over(&identity, "heir", "bot");
    assert!(!world.may("a", "bot"), "what it had is gone before another is known by its name");
    for renews in [None, Some(given.id)] {
        let refused = world.desk.request(&call("rita"), &for_bot(renews));
        assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == "subject"), "{refused:?}");
    }
    assert!(!world.may("a", "bot"));
}

#[test]
fn who_is_no_principal_has_no_vote_and_gives_nothing() {
    let world = with(&Template { owner: "nobody".to_owned(), ..scale() });
    world.join("sre", "ghost");
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    assert!(matches!(world.desk.decide(&call("ghost"), &grant.id, &approve()), Err(Error::Denied { .. })));
    let failed = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!((failed.state, world.may("a", "bot")), (State::Failed, false));
}

/// What an agent has stays when it stands for another, but for what was given to the former and has not begun.
#[test]
fn what_was_to_begin_does_not_begin_for_another() {
    let world = with(&scale());
    let identity = managing(&world);
    let start = world.now().checked_add(Duration::from_secs(100)).unwrap();
    let ahead = |cluster| {
        let grant = world.desk.request(&call("bot"), &Ask { starts_at: Some(start), ..ask(cluster) }).unwrap();
        world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap()
    };
    let grants = [ahead("a"), ahead("b")];
    identity.update_principal(&Caller::named("root"), "bot", human(&[]), &Why::default()).unwrap();
    take_over(&identity, "heir", "bot");
    wait(100);
    assert_eq!(world.desk.tick().unwrap(), 2);
    for (grant, cluster) in grants.iter().zip(["a", "b"]) {
        assert!(!world.may(cluster, "bot"));
        let grant = world.desk.get(&call("sam"), &grant.id).unwrap();
        assert_eq!((grant.state, grant.activated), (State::Revoked, false));
        assert_eq!(grant.because, "agent:bot no longer stands for bot");
    }
}

#[test]
fn a_bound_on_the_contexts_of_users_is_none_on_what_is_kept_of_grants() {
    let of_engine = stonetown_authorizer::Limits { relationship_context_bytes_max: 100, ..Default::default() };
    let world = World::open_within(Arc::new(MemoryDatastore::new()), Limits::default(), of_engine);
    world.prepare();
    world.desk.put_template(&call("admin"), &scale(), "").unwrap();
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!(world.desk.revoke(&call("sam"), &grant.id, "enough").unwrap().state, State::Revoked);
}

/// What is asked for and voted on is bounded, and what then ends it is not: nothing is given that could not be taken away.
#[test]
fn what_is_kept_of_a_grant_has_a_bound_that_its_end_never_meets() {
    let bytes = |grant: &Grant| serde_json::to_string(grant).unwrap().len();
    let within = |document_bytes_max| World::with_limits(Limits { document_bytes_max, ..Limits::default() });
    let prepared = |document_bytes_max| {
        let world = within(document_bytes_max);
        let mut template = scale();
        template.stages[0].need = 2;
        world.desk.put_template(&call("admin"), &template, "").map(|_| world)
    };
    let asked = |world: &World| world.desk.request(&call("bot"), &Ask { reason: "r".repeat(1_000), ..ask("a") });
    let default = prepared(Limits::default().document_bytes_max).unwrap();
    let first = default.desk.decide(&call("sam"), &asked(&default).unwrap().id, &approve()).unwrap();

    // One byte less than the second vote needs. Random numbers in it may have a digit less.
    let world = prepared(bytes(&first) + 8).unwrap();
    let grant = asked(&world).unwrap();
    world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    let refused = world.desk.decide(&call("rita"), &grant.id, &approve());
    assert!(matches!(&refused, Err(Error::TooMany { what: "bytes of a grant", .. })), "{refused:?}");
    assert_eq!(world.desk.revoke(&call("bot"), &grant.id, &"w".repeat(1_000)).unwrap().state, State::Cancelled);

    let small = prepared(1_000).unwrap();
    assert!(matches!(asked(&small), Err(Error::TooMany { .. })));
    assert!(matches!(prepared(100), Err(Error::TooMany { what: "bytes of a template", .. })));
}

/// Of one whose end cannot be written, the others know nothing.
#[test]
fn a_grant_that_cannot_be_ended_leaves_the_others_their_end() {
    let world = with(&scale());
    let given = |cluster: String| {
        let grant = world.desk.request(&call("bot"), &ask(&cluster)).unwrap();
        world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap()
    };
    let grants: Vec<Grant> = (0..20).map(|number| given(format!("c{number}"))).collect();
    // As large as what is kept there can be: its end says more.
    let put = |bytes: usize| {
        let mut change = world.system.change();
        let large = Grant { reason: "r".repeat(bytes), because: String::new(), ..grants[0].clone() };
        change.put(Kind::Grant, &large.id, &large).unwrap();
        change.commit(&Caller::internal(), None)
    };
    let refused = put(1_050_000).unwrap_err();
    let EngineError::AboveLimit { actual, max, .. } = refused else { panic!("{refused}") };
    put(1_050_000 - usize::try_from(actual - max).unwrap()).unwrap();

    let world = world.reopened();
    wait(60);
    let error = world.desk.tick().unwrap_err();
    assert!(matches!(error, Error::Engine(EngineError::AboveLimit { .. })), "{error}");
    let kept = world.system.documents::<Grant>(Kind::Grant).unwrap();
    let unended: Vec<&String> = kept.iter().filter(|(_, kept)| !kept.state.is_final()).map(|(id, _)| id).collect();
    assert_eq!(unended, [&grants[0].id]);
    assert!(!world.may("c0", "bot"), "it ended all the same");
}

#[test]
fn a_template_stays_as_long_as_somebody_has_to_answer_for_what_it_gave() {
    let mut template = scale();
    template.emergency = Some(Emergency { ttl: 30, reviewers: vec!["sys/principal:lead".to_owned()] });
    let world = with(&template);
    let delete = || world.desk.delete_template(&call("owner"), "scale", "no longer wanted");
    let in_use = |open, unreviewed| {
        let refused = delete().unwrap_err();
        let Error::InUse { open: of_open, unreviewed: of_unreviewed, .. } = &refused else { panic!("{refused}") };
        assert_eq!((*of_open, *of_unreviewed), (open, unreviewed), "{refused}");
    };
    let pending = world.desk.request(&call("bot"), &ask("a")).unwrap();
    in_use(1, 0);
    world.desk.decide(&call("sam"), &pending.id, &approve()).unwrap();
    let urgent = world.desk.request(&call("bot"), &Ask { emergency: true, ttl: 0, ..ask("b") }).unwrap();
    in_use(2, 1);
    wait(30);
    // Before it was written down that its time is over.
    in_use(1, 1);
    world.desk.revoke(&call("owner"), &pending.id, "enough").unwrap();
    in_use(0, 1);
    world.desk.review(&call("lead"), &urgent.id, true, "a real outage").unwrap();
    delete().unwrap();
    assert!(world.desk.templates(&call("admin")).unwrap().is_empty());
    // Under the same name there is another, to which nothing of the old one belongs.
    world.desk.put_template(&call("admin"), &scale(), "").unwrap();
    world.desk.request(&call("bot"), &ask("a")).unwrap();
    let other = world.desk.put_template(&call("admin"), &Template { name: "other".to_owned(), ..scale() }, "").unwrap();
    world.desk.delete_template(&call("owner"), &other.name, "").unwrap();
}

#[test]
fn whoever_is_a_principal_can_own_a_template() {
    let world = World::new();
    let owned_by = |owner: &str| {
        world.desk.put_template(&call("admin"), &Template { owner: owner.to_owned(), ..scale() }, "a test")
    };
    for owner in ["ci|deploy=prod+1", &"x".repeat(128)] {
        owned_by(owner).unwrap();
        world.desk.put_template(&call(owner), &Template { owner: owner.to_owned(), ..scale() }, "").unwrap();
    }
    for owner in ["", "*", "a b", "a#member", "a@b", &"x".repeat(129)] {
        let refused = owned_by(owner);
        assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == "owner"), "{owner:?}: {refused:?}");
    }
}
