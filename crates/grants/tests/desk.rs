//! Templates, requests, votes and what comes of them: the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::collections::BTreeMap;

use stonetown_authorizer::{Act, Call, Caller, Error as EngineError, Gate};
use stonetown_grants::{
    Ask, AutoRule, Decision, Emergency, Error, Grant, Happened, Limits, OpenCounts, Requestable, Stage, State, Template,
};
use stonetown_tuple::{Operation, Revision, StoreId};
use world::{World, approve, ask, call, scale, set_clock, wait, with};

fn is_denied<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Denied { .. } | Error::NotFound { .. }))
}

#[test]
fn access_comes_with_the_approval_and_ends_by_itself() {
    let world = with(&scale());
    assert!(!world.may("a", "bot"));
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    assert_eq!((grant.state, grant.stage.as_str()), (State::Pending, "sre"));
    assert!(!world.may("a", "bot"));
    let grant = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!(grant.state, State::Approved);
    assert!(world.may("a", "bot"));
    // A narrow approval never satisfies a wider action.
    assert!(!world.may("b", "bot"));
    assert!(!world.may("a", "other"));
    wait(59);
    assert!(world.may("a", "bot"));
    // Nothing ran meanwhile: the end is the evaluator's.
    wait(1);
    assert!(!world.may("a", "bot"));
    assert_eq!(world.desk.get(&call("bot"), &grant.id).unwrap().state, State::Expired);
    assert_eq!(world.desk.tick().unwrap(), 1);
    assert_eq!(world.desk.open_counts(), OpenCounts::default());
    // Nor does a clock that is set back revive it, here or after a restart.
    set_clock(-30);
    assert!(!world.may("a", "bot"));
    let world = world.reopened();
    assert!(!world.may("a", "bot"));
    assert_eq!(world.desk.get(&call("bot"), &grant.id).unwrap().state, State::Expired);
}

#[test]
fn nobody_decides_on_an_own_request() {
    let world = with(&scale());
    // Rita is an approver, asks for herself, and for an agent of hers.
    let own = world.desk.request(&call("rita"), &Ask { subject: "agent:rita".to_owned(), ..ask("a") }).unwrap();
    assert!(is_denied(world.desk.decide(&call("rita"), &own.id, &approve())));
    world.own("bot", "rita");
    let hers = Ask { beneficiary: "bot".to_owned(), ..ask("a") };
    let hers = world.desk.request(&call("rita"), &hers).unwrap();
    assert!(is_denied(world.desk.decide(&call("rita"), &hers.id, &approve())));
    assert!(is_denied(world.desk.decide(&call("bot"), &hers.id, &approve())));
    // The one who benefits cannot vote either, whoever asked.
    world.join("sre", "bot");
    assert!(is_denied(world.desk.decide(&call("bot"), &hers.id, &approve())));
    // Whoever is in no stage is told of no grant at all.
    assert!(matches!(world.desk.decide(&call("stranger"), &hers.id, &approve()), Err(Error::NotFound { .. })));
    assert!(matches!(world.desk.decide(&call("stranger"), "nothing", &approve()), Err(Error::NotFound { .. })));
    assert!(!world.may("a", "bot"));
    assert_eq!(world.desk.decide(&call("sam"), &hers.id, &approve()).unwrap().state, State::Approved);
}

#[test]
fn a_stage_needs_as_many_as_it_says_and_each_votes_once() {
    let mut template = scale();
    template.stages[0].need = 2;
    template.stages.push(Stage {
        name: "lead".to_owned(),
        approvers: vec!["sys/principal:lead".to_owned()],
        need: 1,
        when: Some("ttl_seconds > 30".to_owned()),
        timeout: 60,
    });
    let world = with(&template);
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    let grant = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!(grant.state, State::Pending);
    assert!(matches!(world.desk.decide(&call("sam"), &grant.id, &approve()), Err(Error::WrongState { .. })));
    // The next stage's approver cannot vote in this one.
    assert!(is_denied(world.desk.decide(&call("lead"), &grant.id, &approve())));
    let stale = Decision { version: 1, ..approve() };
    assert!(matches!(world.desk.decide(&call("rita"), &grant.id, &stale), Err(Error::Changed { found: 2, .. })));
    let grant = world.desk.decide(&call("rita"), &grant.id, &approve()).unwrap();
    assert_eq!((grant.state, grant.stage.as_str()), (State::Pending, "lead"));
    assert!(!world.may("a", "bot"));
    assert_eq!(world.desk.decide(&call("lead"), &grant.id, &approve()).unwrap().state, State::Approved);
    assert!(world.may("a", "bot"));
    // A shorter one leaves the second stage out.
    let short = world.desk.request(&call("bot"), &Ask { ttl: 30, ..ask("b") }).unwrap();
    world.desk.decide(&call("sam"), &short.id, &approve()).unwrap();
    assert_eq!(world.desk.decide(&call("rita"), &short.id, &approve()).unwrap().state, State::Approved);
}

#[test]
fn one_denial_ends_a_request_and_so_does_a_timeout() {
    let world = with(&scale());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    let denied =
        world.desk.decide(&call("sam"), &grant.id, &Decision { comment: "no".to_owned(), ..Decision::default() });
    assert_eq!(denied.unwrap().state, State::Denied);
    assert!(matches!(world.desk.decide(&call("rita"), &grant.id, &approve()), Err(Error::WrongState { .. })));
    let late = world.desk.request(&call("bot"), &ask("a")).unwrap();
    wait(600);
    assert_eq!(world.desk.get(&call("bot"), &late.id).unwrap().state, State::Denied);
    assert!(matches!(world.desk.decide(&call("sam"), &late.id, &approve()), Err(Error::WrongState { .. })));
    assert!(!world.may("a", "bot"));
}

#[test]
fn votes_are_counted_again_when_the_access_is_given() {
    let mut template = scale();
    template.stages[0].need = 2;
    let world = with(&template);
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    world.leave("sre", "sam");
    let grant = world.desk.decide(&call("rita"), &grant.id, &approve()).unwrap();
    assert_eq!(grant.state, State::Pending, "a vote of one who may no longer vote does not count");
    world.join("sre", "sam");
    world.join("sre", "zoe");
    assert_eq!(world.desk.decide(&call("zoe"), &grant.id, &approve()).unwrap().state, State::Approved);
}

#[test]
fn a_template_changed_under_a_request_gives_nothing() {
    let world = with(&scale());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    let mut wider = scale();
    wider.edges.push("cluster:everything#scaler@${beneficiary}".to_owned());
    world.desk.put_template(&call("owner"), &wider, "wider").unwrap();
    assert_eq!(world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap().state, State::Failed);
    assert!(!world.may("a", "bot") && !world.may("everything", "bot"));
    // Only who answers for it, or administers the store, changes it.
    assert!(is_denied(world.desk.put_template(&call("bot"), &wider, "mine")));
    assert!(is_denied(world.desk.delete_template(&call("bot"), "scale", "mine")));
}

#[test]
fn the_owner_of_a_template_names_no_mightier_one() {
    let world = with(&scale());
    let others = Template { owner: "mightier".to_owned(), ..scale() };
    assert!(is_denied(world.desk.put_template(&call("owner"), &others, "wider")));
    world.desk.put_template(&call("owner"), &scale(), "the same").unwrap();
    world.desk.put_template(&call("admin"), &others, "another").unwrap();
    // Who is cut off gives nothing, either.
    world.quarantine("mightier");
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    assert_eq!(world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap().state, State::Failed);
}

#[test]
fn parameters_are_ids_and_nothing_else() {
    let mut template = scale();
    template.parameters.get_mut("cluster").unwrap().prefix = "staging-".to_owned();
    let world = with(&template);
    for value in
        ["prod", "*", "staging-a#admin@agent:bot", "staging-a@agent:*", "", "staging-${x}", "staging-\n", "staging-a "]
    {
        let refused = world.desk.request(&call("bot"), &ask(value));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{value:?}: {refused:?}");
    }
    for subject in ["agent:*", "sys/principal:root", "agent", "agent:x#member", "nothing:x"] {
        let refused = world.desk.request(&call("bot"), &Ask { subject: subject.to_owned(), ..ask("staging-a") });
        assert!(refused.is_err(), "{subject}: {refused:?}");
    }
    let missing = Ask { parameters: BTreeMap::new(), ..ask("") };
    assert!(matches!(world.desk.request(&call("bot"), &missing), Err(Error::Invalid { .. })));
    assert_eq!(world.desk.open_counts(), OpenCounts::default());
    world.desk.request(&call("bot"), &ask("staging-a")).unwrap();
}

#[test]
fn templates_that_could_be_read_in_two_ways_are_refused() {
    let world = World::new();
    let refused = |change: &dyn Fn(&mut Template)| {
        let mut template = scale();
        change(&mut template);
        let refused = world.desk.put_template(&call("admin"), &template, "");
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    };
    refused(&|it| it.edges = vec![]);
    for edge in [
        "cluster:${cluster}#scaler@agent:7",
        "cluster:${cluster}#${cluster}@${beneficiary}",
        "${cluster}:x#scaler@${beneficiary}",
        "cluster:a${cluster}#scaler@${beneficiary}",
        "cluster:*#scaler@${beneficiary}",
        "cluster:${other}#scaler@${beneficiary}",
        "cluster:${beneficiary}#scaler@${beneficiary}",
        "cluster:${cluster}#nothing@${beneficiary}",
        "nothing:${cluster}#scaler@${beneficiary}",
        "cluster:${cluster}#scale@${beneficiary}",
        "cluster:${cluster}#scaler@${beneficiary}#member",
        "cluster:${cluster}#scaler@${beneficiary}[expiration:2099-01-01T00:00:00Z]",
    ] {
        refused(&|it| it.edges = vec![edge.to_owned()]);
    }
    refused(&|it| it.edges.push("cluster:fixed#scaler@x".to_owned()));
    refused(&|it| it.answers = vec!["cluster:fixed#scale".to_owned()]);
    refused(&|it| it.ttl_max = 0);
    refused(&|it| it.total_max = 1);
    refused(&|it| it.stages.clear());
    refused(&|it| it.stages[0].need = 0);
    refused(&|it| it.stages[0].approvers = vec!["sys/principal:*".to_owned()]);
    refused(&|it| it.stages[0].approvers = vec!["agent:7".to_owned()]);
    refused(&|it| it.stages[0].when = Some("nonsense(".to_owned()));
    refused(&|it| it.requesters = vec!["sys/group:sre".to_owned()]);
    refused(&|it| it.name = "a|b".to_owned());
    refused(&|it| it.emergency = Some(Emergency { ttl: 60, reviewers: vec![] }));
    assert!(world.desk.templates(&call("admin")).unwrap().is_empty());
}

#[test]
fn rules_decide_at_once_and_can_only_shorten() {
    let mut template = scale();
    let rule = |name: &str, when: &str, approve, ttl_max| AutoRule {
        name: name.to_owned(),
        when: when.to_owned(),
        approve,
        ttl_max,
    };
    template.auto = vec![
        rule("never production", "parameters.cluster.startsWith('prod')", false, 0),
        rule("staging is free", "parameters.cluster.startsWith('staging') && requester == 'bot'", true, 30),
    ];
    let world = with(&template);
    let denied = world.desk.request(&call("bot"), &ask("prod-1")).unwrap();
    assert_eq!((denied.state, denied.because.as_str()), (State::Denied, "rule `never production`"));
    let given = world.desk.request(&call("bot"), &ask("staging-1")).unwrap();
    assert_eq!((given.state, given.ttl), (State::Approved, 30));
    assert!(world.may("staging-1", "bot"));
    wait(30);
    assert!(!world.may("staging-1", "bot"));
    assert_eq!(world.desk.request(&call("bot"), &ask("other")).unwrap().state, State::Pending);
}

#[test]
fn a_grant_begins_when_it_says() {
    let world = with(&scale());
    let start = world.now().checked_add(std::time::Duration::from_secs(100)).unwrap();
    let grant = world.desk.request(&call("bot"), &Ask { starts_at: Some(start), ..ask("a") }).unwrap();
    let grant = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert!(!grant.is_active(world.now()) && !world.may("a", "bot"));
    wait(100);
    assert!(world.desk.get(&call("bot"), &grant.id).unwrap().is_active(world.now()) && world.may("a", "bot"));
    wait(60);
    assert!(!world.may("a", "bot"));
    // What has not begun can be taken away, and never begins then.
    let start = world.now().checked_add(std::time::Duration::from_secs(100)).unwrap();
    let grant = world.desk.request(&call("bot"), &Ask { starts_at: Some(start), ..ask("a") }).unwrap();
    world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!(world.desk.revoke(&call("sam"), &grant.id, "not needed").unwrap().state, State::Revoked);
    wait(120);
    assert!(!world.may("a", "bot"));
}

#[test]
fn grants_and_standing_access_do_not_touch_each_other() {
    let world = with(&scale());
    let given = |ttl| {
        let grant = world.desk.request(&call("bot"), &Ask { ttl, ..ask("a") }).unwrap();
        world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap()
    };
    let (long, short) = (given(100), given(10));
    wait(10);
    assert!(world.may("a", "bot"), "the end of one does not end the other");
    let other = given(10);
    assert_eq!(world.desk.revoke(&call("sam"), &long.id, "enough").unwrap().state, State::Revoked);
    assert!(world.may("a", "bot"));
    wait(10);
    assert!(!world.may("a", "bot"), "{short:?} {other:?}");
    world.touch("cluster:a#scaler@agent:bot");
    let grant = given(10);
    world.desk.revoke(&call("sam"), &grant.id, "enough").unwrap();
    assert!(world.may("a", "bot"), "what stands stays");
    let again = given(10);
    wait(10);
    assert!(world.may("a", "bot"));
    assert!(matches!(
        world.desk.revoke(&call("sam"), &again.id, "late"),
        Err(Error::WrongState { state: "expired", .. })
    ));
}

#[test]
fn a_grant_is_told_to_give_access_while_it_does() {
    let world = with(&scale());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    assert!(!world.desk.gives_access(&grant).unwrap(), "nobody has decided");
    let grant = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert!(world.desk.gives_access(&grant).unwrap() && world.may("a", "bot"));
    world.write(Operation::Delete, "cluster:a#scaler@agent:bot");
    assert!(!world.desk.gives_access(&grant).unwrap() && !world.may("a", "bot"));
    world.touch("cluster:a#scaler@agent:bot");
    assert!(world.desk.gives_access(&grant).unwrap() && world.may("a", "bot"));
    world.quarantine("bot");
    assert!(!world.desk.gives_access(&grant).unwrap());
}

#[test]
fn renewals_end_at_the_total() {
    let mut template = scale();
    template.auto = vec![AutoRule { name: "all".to_owned(), when: "true".to_owned(), approve: true, ttl_max: 0 }];
    (template.ttl_max, template.total_max) = (60, 100);
    let world = with(&template);
    let first = world.desk.request(&call("bot"), &ask("a")).unwrap();
    wait(50);
    let renewal =
        |of: &Grant, cluster| world.desk.request(&call("bot"), &Ask { renews: Some(of.id.clone()), ..ask(cluster) });
    assert!(matches!(renewal(&first, "b"), Err(Error::Invalid { .. })), "another resource is no renewal");
    let second = renewal(&first, "a").unwrap();
    assert_eq!(second.ttl, 50);
    wait(49);
    assert!(world.may("a", "bot"));
    assert_eq!(renewal(&second, "a").unwrap().ttl, 1);
    wait(1);
    assert!(!world.may("a", "bot"));
    assert!(renewal(&second, "a").is_err());
}

#[test]
fn emergencies_come_first_and_are_reviewed_afterwards() {
    let mut template = scale();
    template.emergency = Some(Emergency { ttl: 30, reviewers: vec!["sys/principal:lead".to_owned()] });
    let world = with(&template);
    let urgent = |cluster| Ask { emergency: true, ttl: 0, ..ask(cluster) };
    let grant = world.desk.request(&call("bot"), &urgent("a")).unwrap();
    assert_eq!(grant.state, State::Approved);
    assert!(world.may("a", "bot"));
    wait(30);
    assert!(!world.may("a", "bot"));
    assert!(matches!(world.desk.request(&call("bot"), &urgent("b")), Err(Error::Invalid { .. })), "review first");
    assert!(is_denied(world.desk.review(&call("bot"), &grant.id, true, "fine")));
    let reviewed = world.desk.review(&call("lead"), &grant.id, true, "a real outage").unwrap();
    assert!(!reviewed.needs_review());
    assert!(matches!(world.desk.review(&call("lead"), &grant.id, true, "again"), Err(Error::WrongState { .. })));
    assert_eq!(world.desk.request(&call("bot"), &urgent("b")).unwrap().state, State::Approved);
    let world = with(&scale());
    assert!(matches!(world.desk.request(&call("bot"), &urgent("a")), Err(Error::Invalid { .. })));
}

#[test]
fn completing_a_task_ends_what_belongs_to_it() {
    let world = with(&scale());
    let of = |task: &str, cluster| Ask { task: task.to_owned(), ..ask(cluster) };
    for (task, cluster) in [("t1", "a"), ("t1", "b"), ("t2", "c")] {
        let grant = world.desk.request(&call("bot"), &of(task, cluster)).unwrap();
        world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    }
    let pending = world.desk.request(&call("bot"), &of("t1", "d")).unwrap();
    assert_eq!(world.desk.complete_task(&call("stranger"), "t1").unwrap(), 0);
    assert_eq!(world.desk.complete_task(&call("bot"), "t1").unwrap(), 3);
    assert!(!world.may("a", "bot") && !world.may("b", "bot") && world.may("c", "bot"));
    assert_eq!(world.desk.get(&call("bot"), &pending.id).unwrap().state, State::Cancelled);
}

/// Lets nobody write `cluster#scaler` but `owner`, while it is told so.
struct Ceiling(std::sync::atomic::AtomicBool);

impl Gate for Ceiling {
    fn judge(&self, call: &Call, act: Act<'_>) -> Result<(), EngineError> {
        let may = self.0.load(std::sync::atomic::Ordering::SeqCst) && &*call.caller.name == "owner";
        match act {
            Act::Write { .. } if !may => {
                Err(EngineError::Denied { caller: call.caller.name.clone(), act: act.to_string() })
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn nothing_is_given_that_the_owner_may_not_write() {
    let world = with(&scale());
    let ceiling = std::sync::Arc::new(Ceiling(true.into()));
    assert!(world.authorizer().set_gate(ceiling.clone()).is_ok());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    assert_eq!(world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap().state, State::Approved);
    let grant = world.desk.request(&call("bot"), &ask("b")).unwrap();
    ceiling.0.store(false, std::sync::atomic::Ordering::SeqCst);
    let failed = world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap();
    assert_eq!(failed.state, State::Failed);
    assert!(failed.because.contains("owner may not write `cluster#scaler`"), "{}", failed.because);
    assert!(!world.may("b", "bot"));
}

#[test]
fn the_quarantined_get_nothing_and_their_votes_count_nothing() {
    let world = with(&scale());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    world.quarantine("sam");
    assert!(is_denied(world.desk.decide(&call("sam"), &grant.id, &approve())));
    world.quarantine("bot");
    assert_eq!(world.desk.decide(&call("rita"), &grant.id, &approve()).unwrap().state, State::Failed);
    assert!(!world.may("a", "bot"));
}

#[test]
fn requests_are_bounded_and_a_repeated_one_is_the_same() {
    let limits = Limits { open_per_requester_max: 3, requests_per_minute_max: 5, ..Limits::default() };
    let world = World::with_limits(limits);
    world.desk.put_template(&call("admin"), &scale(), "").unwrap();
    let keyed = |key: &str, cluster| Ask { idempotency_key: key.to_owned(), ..ask(cluster) };
    let first = world.desk.request(&call("bot"), &keyed("k", "a")).unwrap();
    assert_eq!(world.desk.request(&call("bot"), &keyed("k", "a")).unwrap(), first);
    assert!(matches!(world.desk.request(&call("bot"), &keyed("k", "b")), Err(Error::Invalid { .. })));
    // Where the subject is the only one, naming it changes nothing; another's access is another request.
    let unnamed = Ask { subject: String::new(), ..keyed("k", "a") };
    assert_eq!(world.desk.request(&call("bot"), &unnamed).unwrap(), first);
    let for_another = Ask { beneficiary: "bit".to_owned(), ..keyed("k", "a") };
    assert!(matches!(world.desk.request(&call("bot"), &for_another), Err(Error::Invalid { .. })));
    // Another's key is another key.
    let others = Ask { subject: "agent:rita".to_owned(), ..keyed("k", "a") };
    assert_ne!(world.desk.request(&call("rita"), &others).unwrap().id, first.id);
    for cluster in ["b", "c"] {
        world.desk.request(&call("bot"), &ask(cluster)).unwrap();
    }
    let many = world.desk.request(&call("bot"), &ask("d"));
    assert!(matches!(many, Err(Error::TooMany { limit: 3, .. })), "{many:?}");
    let own = |grant: &Grant| grant.requester == "bot";
    for grant in world.desk.list(&call("bot"), true, &own).unwrap() {
        world.desk.revoke(&call("bot"), &grant.id, "").unwrap();
    }
    world.desk.request(&call("bot"), &ask("d")).unwrap();
    world.desk.request(&call("bot"), &ask("e")).unwrap();
    let often = world.desk.request(&call("bot"), &ask("f"));
    assert!(matches!(often, Err(Error::TooMany { limit: 5, .. })), "{often:?}");
    wait(60);
    world.desk.request(&call("bot"), &ask("f")).unwrap();
    assert_eq!((world.desk.open_counts().pending, world.desk.open_counts().approved), (4, 0));
}

#[test]
fn each_sees_what_concerns_them() {
    let world = with(&scale());
    let grant = world.desk.request(&call("bot"), &ask("a")).unwrap();
    let count = |who: &str| world.desk.list(&call(who), false, &|_| true).unwrap().len();
    assert_eq!(["bot", "sam", "owner", "admin", "lead", "stranger"].map(count), [1, 1, 1, 1, 0, 0]);
    let awaits = |who: &str| world.desk.awaits(&call(who), &grant).unwrap();
    assert_eq!(["bot", "sam", "owner", "admin"].map(awaits), [false, true, false, false]);
    let other_store = Call { store: StoreId(9), ..call("sam") };
    assert!(matches!(world.desk.get(&other_store, &grant.id), Err(Error::NotFound { .. })));
    let object = "cluster:a".parse().unwrap();
    let requestable = world.desk.requestable(&call("bot"), &object, "scale", None).unwrap();
    let parameters = BTreeMap::from([("cluster".to_owned(), "a".to_owned())]);
    assert_eq!(requestable, [Requestable { template: "scale".to_owned(), parameters }]);
    assert!(world.desk.requestable(&call("stranger"), &object, "scale", None).unwrap().is_empty());
    // Whoever asks for the agent learns what the agent can ask for, and of nobody else.
    let of = |agent: &str| agent.parse().unwrap();
    let found = world.desk.requestable(&call("stranger"), &object, "scale", Some(&of("agent:bot"))).unwrap();
    assert_eq!(found, requestable);
    assert!(world.desk.requestable(&call("stranger"), &object, "scale", Some(&of("agent:other"))).unwrap().is_empty());
    assert!(world.desk.requestable(&call("bot"), &object, "restart", None).unwrap().is_empty());
    assert!(matches!(world.desk.request(&call("stranger"), &ask("a")), Err(Error::NotFound { .. })));
}

/// What became of grants after a revision, to the end.
fn followed(world: &World, after: Revision) -> Vec<Happened> {
    let mut follow = world.desk.follow(after).unwrap();
    let all = std::iter::from_fn(|| follow.poll().unwrap()).flatten().collect();
    assert_eq!(follow.position(), world.authorizer().head());
    all
}

#[test]
fn what_becomes_of_grants_is_followed_in_order_and_from_any_place() {
    let mut template = scale();
    template.emergency = Some(Emergency { ttl: 30, reviewers: vec!["sys/principal:lead".to_owned()] });
    template.stages[0].need = 2;
    let world = with(&template);
    let begun = world.authorizer().head();
    let asked = world.desk.request(&call("bot"), &ask("a")).unwrap();
    for voter in ["sam", "rita"] {
        world.desk.decide(&call(voter), &asked.id, &approve()).unwrap();
    }
    let urgent = Ask { emergency: true, ttl: 0, ..ask("b") };
    let urgent = world.desk.request(&call("bot"), &urgent).unwrap();
    wait(30);
    // Before it was written down that its time is over: that comes with the review, and not after it.
    world.desk.review(&call("lead"), &urgent.id, true, "a real outage").unwrap();
    wait(30);
    world.desk.tick().unwrap();

    let all = followed(&world, begun);
    let said: Vec<_> = all.iter().map(|one| (one.grant.last_change(), one.grant.state, one.grant.version)).collect();
    assert_eq!(
        said,
        [
            ("requested", State::Pending, 1),
            ("voted", State::Pending, 2),
            ("approved", State::Approved, 3),
            ("approved", State::Approved, 1),
            ("reviewed", State::Expired, 2),
            ("expired", State::Expired, 4),
        ]
    );
    assert!(all.iter().all(|one| &*one.store == "default" && one.number == 0));
    assert!(all.is_sorted_by_key(|one| (one.revision, one.at)));
    for (at, one) in all.iter().enumerate() {
        assert_eq!(followed(&world, one.revision), all[at + 1..]);
    }
    assert!(followed(&world, world.authorizer().head()).is_empty());
}

/// What was approved to begin later is told of twice: when it is approved, and when it begins.
#[test]
fn that_a_grant_begins_by_the_passing_of_time_is_told_once() {
    let world = with(&scale());
    let begun = world.authorizer().head();
    let ahead = |seconds| Some(world.now().checked_add(std::time::Duration::from_secs(seconds)).unwrap());
    let ask_for = |starts_at| {
        let grant = world.desk.request(&call("bot"), &Ask { starts_at, ..ask("a") }).unwrap();
        world.desk.decide(&call("sam"), &grant.id, &approve()).unwrap()
    };
    let (ahead_of_all, taken_back, at_once) = (ask_for(ahead(100)), ask_for(ahead(100)), ask_for(None));
    world.desk.revoke(&call("sam"), &taken_back.id, "not needed").unwrap();
    let told = |id: &str| -> Vec<_> {
        let all = followed(&world, begun).into_iter().filter(|one| one.grant.id == id);
        all.map(|one| (one.grant.last_change(), one.grant.state)).collect()
    };
    world.desk.tick().unwrap();
    let approved = [("requested", State::Pending), ("approved", State::Approved)];
    assert_eq!(told(&ahead_of_all.id), approved, "not yet");
    wait(100);
    for _ in 0..3 {
        world.desk.tick().unwrap();
    }
    let activated = [&approved[..], &[("activated", State::Approved)]].concat();
    assert_eq!(told(&ahead_of_all.id), activated);
    assert!(world.may("a", "bot"), "and nothing else has changed");
    wait(60);
    world.desk.tick().unwrap();
    assert_eq!(told(&ahead_of_all.id), [&activated[..], &[("expired", State::Expired)]].concat());
    assert_eq!(told(&taken_back.id), [&approved[..], &[("revoked", State::Revoked)]].concat());
    assert_eq!(told(&at_once.id), [&approved[..], &[("expired", State::Expired)]].concat());

    // Nobody looked from its start to its end: that it is over is all there is to tell.
    let unseen = ask_for(ahead(100));
    wait(300);
    world.desk.tick().unwrap();
    assert_eq!(told(&unseen.id), [&approved[..], &[("expired", State::Expired)]].concat());
}

#[test]
fn a_relation_that_demands_to_be_told_why_gets_the_reason_of_the_grant() {
    let world = with(&scale());
    let grant = |ask: &Ask| {
        let grant = world.desk.request(&call("bot"), ask)?;
        world.desk.decide(&call("sam"), &grant.id, &approve())
    };
    let before = grant(&ask("a")).unwrap();
    let between = world.desk.request(&call("bot"), &ask("b")).unwrap();
    let (_, schema) = world.authorizer().read_schema(&call("admin")).unwrap();
    let demanding = schema.replace("\trelation scaler", "\t// @stonetown requires(reason, ticket)\n\trelation scaler");
    assert_ne!(demanding, schema);
    let internal = Call { caller: Caller::internal(), ..Call::new("") };
    world.authorizer().write_schema(&internal, &demanding).unwrap();

    let failed = world.desk.decide(&call("sam"), &between.id, &approve()).unwrap();
    assert_eq!(failed.state, State::Failed);
    assert!(failed.because.contains("a change of `cluster#scaler` has to say why"), "{}", failed.because);

    // It is asked for before anybody has to decide.
    let reason = Ask { reason: "the queue is full".to_owned(), ..ask("b") };
    for (incomplete, missing) in [(ask("b"), "stonetown.reason"), (reason.clone(), "stonetown.ticket")] {
        let error = grant(&incomplete).unwrap_err();
        assert!(
            matches!(&error, Error::Engine(EngineError::Unjustified { relation, key })
                if relation == "cluster#scaler" && *key == missing),
            "{error:?}"
        );
    }
    assert_eq!(world.desk.open_counts().pending, 0);
    let after = grant(&Ask { ticket: "OPS-7".to_owned(), ..reason }).unwrap();
    assert!(world.may("a", "bot") && world.may("b", "bot"));
    let head = world.authorizer().head();
    let entry = world.datastore.log_piece(head, 0).unwrap().unwrap();
    let told: serde_json::Value = serde_json::from_str(&entry.provenance.metadata.unwrap()).unwrap();
    assert_eq!((&told["stonetown.reason"], &told["stonetown.ticket"]), (&"the queue is full".into(), &"OPS-7".into()));

    // What was given before can be ended, though its record has no reason.
    for id in [&before.id, &after.id] {
        assert_eq!(world.desk.revoke(&call("sam"), id, "enough").unwrap().state, State::Revoked);
    }
    assert!(!world.may("a", "bot") && !world.may("b", "bot"));
}
