//! Decisions out of the log are explained as they were made, or it is said why they cannot be.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stonetown_audit::Options as AuditOptions;
use stonetown_audit::layout::DECISIONS;
use stonetown_audit::record::Body;
use stonetown_audit::{Erasure, Keys, LogReader, Recorder};
use stonetown_authorizer::bulk::{BulkCheckItem, BulkCheckRequest};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::gate::CutOff;
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::replay::{Obstacle, Outcome, Replay};
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Act, Acting, Authorizer, Call, Chain, Delegated, Effort, Error, Gate, Given, Options};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{
    Attribute, CaveatContext, Consistency, Operation, Relationship, RelationshipUpdate, Revision, StoreId, SubjectRef,
    Timestamp,
};

const SCHEMA: &str = "
use expiration
caveat on_day(day string, secret string) { day == \"tuesday\" && secret == \"x\" }
definition user {}
definition group { relation member: user | group#member }
definition document {
  relation viewer: user | group#member | user with on_day | user with expiration
  relation banned: user
  permission view = viewer - banned
}";

struct Door {
    authorizer: Authorizer,
    call: Call,
    folder: tempfile::TempDir,
}

impl Door {
    fn new(masked: &[&str]) -> Door {
        let folder = tempfile::tempdir().unwrap();
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let keys = Keys::open(&folder.path().join("keys")).unwrap();
        let mut options = AuditOptions::new(folder.path().join("audit"), keys, datastore.instance());
        options.masked = masked.iter().map(|name| (*name).to_owned()).collect();
        options.node = "stone".to_owned();
        options.build = "stonetown 1".to_owned();
        let recorder = Arc::new(Recorder::open(options, Arc::clone(&datastore)).unwrap());
        let authorizer = Authorizer::open(datastore, Options::default()).unwrap().recording_to(recorder);
        let door = Door { authorizer, call: Call::new("ann's key"), folder };
        door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
        door
    }

    fn write(&self, operation: Operation, relationships: &[&str]) {
        let updates = relationships.iter();
        let updates = updates.map(|text| RelationshipUpdate { operation, relationship: text.parse().unwrap() });
        let request = WriteRequest { updates: updates.collect(), ..WriteRequest::default() };
        self.authorizer.write(&self.call, &request).unwrap();
    }

    fn touch(&self, relationships: &[&str]) {
        self.write(Operation::Touch, relationships);
    }

    fn check_with(&self, freshness: Freshness, who: &str, context: &str, with: &[&str]) {
        let request = CheckRequest {
            freshness,
            resource: "document:plan".parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject: who.parse().unwrap(),
            context: serde_json::from_str::<CaveatContext>(context).unwrap(),
            with: with.iter().map(|text| text.parse::<Relationship>().unwrap()).collect(),
            trace: false,
        };
        let _answer_or_error = self.authorizer.check(&self.call, &request, Effort::Full);
    }

    fn check(&self, who: &str, context: &str) {
        self.check_with(NEWEST, who, context, &[]);
    }

    /// The numbers of the decisions of these calls, once there are so many of them.
    fn numbers(&self, calls: &[&str], count: usize) -> Vec<u64> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let log = LogReader::open(&self.folder.path().join("audit").join(DECISIONS)).unwrap();
            let mut numbers = Vec::new();
            log.records(0, &mut |raw| {
                if let Body::Decision(decision) = &raw.record.body
                    && calls.contains(&decision.call)
                {
                    numbers.push(raw.record.index);
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            if numbers.len() >= count || Instant::now() > until {
                assert_eq!(numbers.len(), count);
                return numbers;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn explain(&self, number: u64) -> Replay {
        self.authorizer.explain_decision(&self.call, number, 5).unwrap()
    }
}

const NEWEST: Freshness = Freshness::Of(Consistency::FullyConsistent);

fn obstacle(replay: &Replay) -> &Obstacle {
    assert!(!replay.reproduces);
    replay.again.as_ref().err().unwrap()
}

#[test]
fn every_decision_comes_out_as_it_was_whatever_happened_since() {
    let door = Door::new(&[]);
    let then = door.authorizer.clock().now();
    let soon = Timestamp::from_microsecond(then.as_microsecond() + 300_000).unwrap();
    door.touch(&[
        "document:plan#viewer@group:eng#member",
        "group:eng#member@user:ann",
        "document:plan#viewer@user:cid[on_day]",
        &format!("document:plan#viewer@user:dan[expiration:{soon}]"),
    ]);
    let context = r#"{"day":"tuesday"}"#;
    for who in ["user:ann", "user:bob", "user:cid", "user:dan", "group:eng#member"] {
        door.check(who, context);
    }
    let item = |who: &str| BulkCheckItem {
        resource: "document:plan".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: who.parse::<SubjectRef>().unwrap(),
        context: Arc::new(serde_json::from_str(r#"{"day":"tuesday","secret":"x"}"#).unwrap()),
    };
    let bulk = BulkCheckRequest {
        consistency: Consistency::FullyConsistent,
        items: vec![item("user:cid"), item("user:eve")],
        trace: false,
    };
    door.authorizer.check_bulk(&door.call, &bulk).unwrap();
    let before = door.authorizer.clock().now();
    std::thread::sleep(Duration::from_millis(5));
    door.write(Operation::Delete, &["group:eng#member@user:ann"]);
    door.touch(&["document:plan#banned@user:cid", "document:plan#viewer@user:bob"]);
    std::thread::sleep(Duration::from_millis(400));
    // About the past, from now on.
    door.check_with(Freshness::At(before), "user:ann", "{}", &[]);

    let mut outcomes = Vec::new();
    for number in door.numbers(&["check", "check_bulk"], 8) {
        let replay = door.explain(number);
        let again = replay.again.as_ref().unwrap();
        assert!(replay.reproduces, "{replay:?}");
        assert_eq!((again.at, again.judged_at), (replay.decision.at, replay.decision.judged_at));
        assert_eq!((&*replay.decision.caller, &*replay.decision.node), ("ann's key", "stone"));
        outcomes.push(replay.decision.outcome);
    }
    use Outcome::{Allowed, Conditional, Denied};
    assert_eq!(outcomes, [Allowed, Denied, Conditional, Allowed, Allowed, Allowed, Denied, Allowed]);
    let ann = door.explain(door.numbers(&["check"], 6)[0]);
    let path: Vec<_> = ann.again.unwrap().reasons.path.iter().map(|step| step.relationship.to_string()).collect();
    assert_eq!(path, ["document:plan#viewer@group:eng#member", "group:eng#member@user:ann"]);
    assert_eq!(ann.decision.question, "document:plan#view@user:ann");
}

#[test]
fn what_the_log_does_not_have_is_never_guessed() {
    let door = Door::new(&["secret"]);
    door.touch(&["document:plan#viewer@user:ann[on_day]", "document:plan#viewer@user:bob"]);
    door.check("user:ann", r#"{"day":"tuesday","secret":"x"}"#);
    // Bob does not depend on it, but that is known of the answer of now only.
    door.check("user:bob", r#"{"secret":"x"}"#);
    door.check("user:bob", r#"{"day":"tuesday"}"#);
    let [ann, bob, open] = door.numbers(&["check"], 3)[..] else { panic!("not three") };
    for number in [ann, bob] {
        let replay = door.explain(number);
        assert_eq!(obstacle(&replay), &Obstacle::Masked(vec!["secret".to_owned()]));
        assert_eq!(replay.decision.outcome, Outcome::Allowed);
    }
    assert!(door.explain(open).reproduces);

    // With relationships that only the question had: without them the answer would be another.
    door.check_with(NEWEST, "user:eve", "{}", &["document:plan#viewer@user:eve"]);
    let replay = door.explain(door.numbers(&["check_with"], 1)[0]);
    assert_eq!((obstacle(&replay), replay.decision.outcome), (&Obstacle::Overlaid, Outcome::Allowed));

    // A call that failed.
    door.check_with(NEWEST, "user:*", "{}", &[]);
    let failed = *door.numbers(&["check"], 4).last().unwrap();
    assert_eq!(obstacle(&door.explain(failed)), &Obstacle::NoAnswer);

    // Erased.
    let recorder = door.authorizer.recorder().unwrap();
    let erasure = Erasure { object: Some("user:bob".to_owned()), caller: None };
    recorder.erase(StoreId::DEFAULT, &erasure, "operator", "she asked").unwrap();
    let replay = door.explain(open);
    assert_eq!(obstacle(&replay), &Obstacle::Erased);
    assert_eq!(replay.decision.question, "document:plan#view@user:[erased]");

    // Collected.
    door.check("user:ann", "{}");
    let last = *door.numbers(&["check"], 5).last().unwrap();
    assert!(door.explain(last).reproduces);
    door.touch(&["document:plan#viewer@user:fay"]);
    let now = door.authorizer.clock().now();
    door.authorizer.collect_garbage(now, now).unwrap();
    assert_eq!(obstacle(&door.explain(last)), &Obstacle::NotKept);
}

#[test]
fn only_decisions_of_the_store_are_found_and_only_a_yes_or_no_is_explained() {
    let door = Door::new(&[]);
    door.check("user:ann", "{}");
    let number = door.numbers(&["check"], 1)[0];
    let ask = |call: &Call, number| door.authorizer.explain_decision(call, number, 5).map(|_| ());
    let other = Call { store: StoreId(7), ..door.call.clone() };
    assert!(ask(&door.call, number).is_ok());
    assert!(matches!(ask(&other, number), Err(Error::NoSuch(_))));
    // The start of the log, and what is not there yet.
    for number in [0, 10_000, u64::MAX] {
        assert!(matches!(ask(&door.call, number), Err(Error::NoSuch(_))), "{number}");
    }
    let schema = door.numbers(&["write_schema"], 1)[0];
    assert!(matches!(ask(&door.call, schema), Err(Error::Refused(_))));
    let silent = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    assert!(matches!(silent.explain_decision(&door.call, 1, 5), Err(Error::Refused(_))));
}

/// Cuts everybody off who is named ann, while it is told to, and lets everybody act for everybody else.
#[derive(Default)]
struct WithoutAnn(AtomicBool);

impl Gate for WithoutAnn {
    fn judge(&self, _: &Call, _: Act<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn cut_off(&self, _: StoreId, then: Option<Revision>) -> Result<Option<Arc<CutOff>>, Error> {
        assert!(then.is_none(), "nobody asks about a moment here");
        let cut_off = || Arc::new(CutOff::from(["user:ann".parse().unwrap()]));
        Ok(self.0.load(Ordering::SeqCst).then(cut_off))
    }

    fn assert_chain(&self, _: &Call, _: &SubjectRef) -> Result<(), Error> {
        Ok(())
    }

    fn acting(&self, _: &Delegated<'_>) -> Result<Acting, Error> {
        Ok(Acting { missing: None, until: None })
    }
}

#[test]
fn a_quarantine_does_not_change_what_was_decided_and_what_it_decided_is_told() {
    let mut door = Door::new(&[]);
    let gate = Arc::new(WithoutAnn::default());
    assert!(door.authorizer.set_gate(Arc::clone(&gate) as Arc<dyn Gate>).is_ok());
    door.touch(&["document:plan#viewer@user:ann", "document:plan#viewer@user:bob"]);
    let through_ann = Chain::new(vec!["user:ann".parse().unwrap()]).unwrap();
    for is_cut_off in [false, true] {
        gate.0.store(is_cut_off, Ordering::SeqCst);
        door.check("user:ann", "{}");
        door.call.chain = through_ann.clone();
        door.check("user:bob", "{}");
        // Who is not allowed by herself is not refused for who acts.
        door.check("user:cid", "{}");
        door.call.chain = Chain::default();
    }
    let numbers = door.numbers(&["check"], 6);
    for before in &numbers[..3] {
        assert!(door.explain(*before).reproduces);
    }
    for after in &numbers[3..5] {
        let replay = door.explain(*after);
        assert_eq!((obstacle(&replay), replay.decision.outcome), (&Obstacle::CutOff, Outcome::Denied));
    }
    assert_eq!(door.explain(numbers[5]).decision.reason, "not_related");
    assert!(door.explain(numbers[5]).reproduces);
}

#[test]
fn what_the_server_and_attributes_gave_is_given_again() {
    let mut door = Door::new(&[]);
    let schema = "
        // @stonetown trusted(subject.risk) server(peer_ip, now)
        caveat here(risk string, peer_ip ipaddress, now timestamp) {
          risk == 'low' && peer_ip.in_cidr('10.0.0.0/8') && now < timestamp('2999-01-01T00:00:00Z')
        }
        definition user {}
        definition document { relation viewer: user with here; permission view = viewer }";
    door.authorizer.write_schema(&door.call, schema).unwrap();
    door.touch(&["document:plan#viewer@user:ann[here]"]);
    let risk = |door: &Door, value: &str| {
        let (object, name) = ("user:ann".parse().unwrap(), "risk".parse().unwrap());
        let attribute = Attribute { object, name, value: value.into(), expires_at: None };
        door.authorizer.put_attributes(&door.call, &[attribute]).unwrap();
    };
    let from = |door: &mut Door, peer: Option<&str>| {
        door.call.given = Given::Call { peer_ip: peer.map(|peer| peer.parse().unwrap()) };
    };
    risk(&door, "low");
    for peer in [Some("10.1.2.3"), Some("192.0.2.1"), None] {
        from(&mut door, peer);
        door.check("user:ann", "{}");
    }
    // What a request says of its address itself is nothing, neither to the answer nor to the log.
    door.check("user:ann", r#"{"server(peer_ip)":"10.1.2.3"}"#);
    risk(&door, "high");
    from(&mut door, Some("10.1.2.3"));
    door.check("user:ann", "{}");
    risk(&door, "low");
    from(&mut door, Some("198.51.100.7"));

    let mut outcomes = Vec::new();
    for number in door.numbers(&["check"], 5) {
        let replay = door.explain(number);
        assert!(replay.reproduces, "{replay:?}");
        outcomes.push(replay.decision.outcome);
    }
    use Outcome::{Allowed, Conditional, Denied};
    assert_eq!(outcomes, [Allowed, Denied, Conditional, Conditional, Denied]);
    // Asking again is a decision, too, and can be asked again.
    for number in door.numbers(&["replay"], 5) {
        assert!(door.explain(number).reproduces);
    }
}

#[test]
fn an_address_that_is_masked_is_not_guessed() {
    let mut door = Door::new(&["server(peer_ip)"]);
    let schema = "
        // @stonetown server(peer_ip)
        caveat here(peer_ip ipaddress) { peer_ip.in_cidr('10.0.0.0/8') }
        definition user {}
        definition document { relation viewer: user with here; permission view = viewer }";
    door.authorizer.write_schema(&door.call, schema).unwrap();
    door.touch(&["document:plan#viewer@user:ann[here]"]);
    door.call.given = Given::Call { peer_ip: Some("10.1.2.3".parse().unwrap()) };
    door.check("user:ann", "{}");
    let replay = door.explain(door.numbers(&["check"], 1)[0]);
    assert_eq!(obstacle(&replay), &Obstacle::Masked(vec!["server(peer_ip)".to_owned()]));
    assert_eq!(replay.decision.outcome, Outcome::Allowed);
}

/// Lets everything pass but one power.
struct All(&'static str);

impl Gate for All {
    fn judge(&self, _: &Call, act: Act<'_>) -> Result<(), Error> {
        if act.to_string() == self.0 { Err(Error::Refused(format!("not {act}"))) } else { Ok(()) }
    }
}

#[test]
fn it_takes_the_powers_to_read_the_log_and_to_see_what_is_shown() {
    for missing in ["read the audit logs", "check permissions on `document`", "list what there is of `group`"] {
        let door = Door::new(&[]);
        door.touch(&["document:plan#viewer@user:ann"]);
        door.check("user:ann", "{}");
        let number = door.numbers(&["check"], 1)[0];
        assert!(door.explain(number).reproduces);
        assert!(door.authorizer.set_gate(Arc::new(All(missing))).is_ok());
        let refused = door.authorizer.explain_decision(&door.call, number, 5);
        assert!(matches!(refused, Err(Error::Refused(_))), "{missing}: {refused:?}");
    }
}
