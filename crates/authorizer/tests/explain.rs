//! Reasons at the front door: of the present, of a moment that has passed, of a decision that was recorded; who can, and what
//! can.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::error::RequestLimit;
use stonetown_authorizer::explain::{Asked, ExplainRequest, Explained, Recorded};
use stonetown_authorizer::gate::CutOff;
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::who_can::{Holder, Reach, Subjects, WhatCanRequest, WhoCanRequest};
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Act, Authorizer, Call, Chain, Effort, Error, Gate, Hold, Membership, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{
    CaveatContext, Consistency, Operation, RelationshipUpdate, Revision, StoreId, Timestamp, ZedToken,
};

const SCHEMA: &str = "
use expiration
caveat on_day(day string) { day == \"tuesday\" }
definition user {}
definition robot {}
definition group { relation member: user | group#member }
definition folder {
  relation viewer: user | group#member
  permission view = viewer
}
definition document {
  relation parent: folder
  relation viewer: user | robot | user:* | group#member | user with on_day | user with expiration
  relation banned: user
  relation approver: user
  permission view = (viewer + parent->view) - banned
  permission approve = view & approver
}";

const NEWEST: Freshness = Freshness::Of(Consistency::FullyConsistent);

struct Door {
    authorizer: Authorizer,
    call: Call,
}

impl Door {
    fn new(relationships: &[&str]) -> Door {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let door = Door { authorizer, call: Call::new("test") };
        door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
        door.touch(relationships);
        door
    }

    fn write(&self, operation: Operation, relationships: &[&str], metadata: Option<&str>) -> ZedToken {
        let updates = relationships.iter();
        let updates = updates.map(|text| RelationshipUpdate { operation, relationship: text.parse().unwrap() });
        let metadata = metadata.map(ToOwned::to_owned);
        let request = WriteRequest { updates: updates.collect(), metadata, ..WriteRequest::default() };
        self.authorizer.write(&self.call, &request).unwrap()
    }

    fn touch(&self, relationships: &[&str]) -> ZedToken {
        self.write(Operation::Touch, relationships, None)
    }

    fn delete(&self, relationships: &[&str]) -> ZedToken {
        self.write(Operation::Delete, relationships, None)
    }

    fn explain_at(&self, freshness: Freshness, question: &str) -> Result<Explained, Error> {
        self.authorizer.explain(&self.call, &ExplainRequest { freshness, asked: asked(question), misses_max: 5 })
    }

    fn explain(&self, question: &str) -> Explained {
        self.explain_at(NEWEST, question).unwrap()
    }

    fn member(&self, question: &str) -> bool {
        *self.explain(question).membership() == Membership::Member
    }

    fn who_can(&self, request: &WhoCanRequest) -> Vec<Holder> {
        let mut found = Vec::new();
        self.authorizer
            .who_can(&self.call, request, &mut |holder, _| {
                found.push(holder);
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    fn what_can(&self, request: &WhatCanRequest) -> Vec<Reach> {
        let mut found = Vec::new();
        self.authorizer
            .what_can(&self.call, request, &mut |reach, _| {
                found.push(reach);
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }
}

fn asked(question: &str) -> Asked {
    let (resource, rest) = question.split_once('#').unwrap();
    let (permission, subject) = rest.split_once('@').unwrap();
    Asked {
        resource: resource.parse().unwrap(),
        permission: permission.parse().unwrap(),
        subject: subject.parse().unwrap(),
        context: CaveatContext::new(),
    }
}

fn who(resource: &str, permission: &str) -> WhoCanRequest {
    WhoCanRequest {
        freshness: NEWEST,
        resource: resource.parse().unwrap(),
        permission: permission.parse().unwrap(),
        subjects: Subjects::All,
        context: CaveatContext::new(),
        with_path: true,
        limit: None,
        after: None,
    }
}

fn what(subject: &str) -> WhatCanRequest {
    WhatCanRequest {
        freshness: NEWEST,
        subject: subject.parse().unwrap(),
        resource_type: None,
        permission: None,
        context: CaveatContext::new(),
        with_path: true,
        limit: None,
        after: None,
    }
}

fn path(explained: &Explained) -> Vec<String> {
    explained.reasons.path.iter().map(|step| step.relationship.to_string()).collect()
}

fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

#[test]
fn a_yes_comes_with_the_shortest_way_and_who_wrote_it() {
    let door =
        Door::new(&["document:a#parent@folder:f", "group:eng#member@group:web#member", "group:web#member@user:ann"]);
    door.write(Operation::Touch, &["folder:f#viewer@group:eng#member"], Some(r#"{"reason":"release","ticket":"T-1"}"#));
    let found = door.explain("document:a#view@user:ann");
    assert_eq!(
        path(&found),
        [
            "document:a#parent@folder:f",
            "folder:f#viewer@group:eng#member",
            "group:eng#member@group:web#member",
            "group:web#member@user:ann"
        ]
    );
    assert!(found.reasons.path.iter().all(|step| step.essential && step.state == Hold::Holds));
    assert_eq!(found.reasons.not_excluded_by, ["document:a#banned"]);
    let step = &found.reasons.path[1];
    let provenance = &found.written[&step.written];
    assert_eq!(provenance.actor.as_deref(), Some("test"));
    assert!(provenance.metadata.as_deref().unwrap().contains("T-1"));
    assert_eq!((step.depth, step.name.as_str(), found.reasons.path[3].depth), (1, "view", 3));
}

#[test]
fn a_no_names_what_is_in_the_way() {
    let door = Door::new(&[
        "document:a#viewer@user:bob",
        "document:a#banned@user:bob",
        "document:a#viewer@user:cid[on_day:{\"day\":\"monday\"}]",
        "document:a#viewer@user:dan[on_day]",
        "document:a#viewer@user:eve[expiration:2020-01-01T00:00:00Z]",
        "document:a#viewer@user:fay",
    ]);
    let bob = door.explain("document:a#view@user:bob").reasons.misses;
    assert_eq!(bob.len(), 1);
    assert_eq!(bob[0].exclusions[0].by, "document:a#banned");
    assert_eq!(bob[0].exclusions[0].path[0].relationship.to_string(), "document:a#banned@user:bob");
    let state = |who: &str| {
        let found = door.explain(&format!("document:a#view@user:{who}"));
        assert_eq!(found.reasons.misses.len(), 1, "{who}");
        found.reasons.misses[0].path[0].state.clone()
    };
    assert_eq!(state("cid"), Hold::ConditionFalse);
    assert_eq!(state("dan"), Hold::MissingContext(BTreeSet::from(["day".to_owned()])));
    assert_eq!(state("eve"), Hold::Expired);
    let fay = door.explain("document:a#approve@user:fay").reasons.misses;
    assert_eq!(fay[0].lacking, ["document:a#approver"]);
    let nobody = door.explain("document:a#view@user:nobody");
    assert!(nobody.reasons.misses.is_empty() && !nobody.reasons.cut);
}

#[test]
fn a_moment_is_answered_as_it_was_and_one_outside_of_what_is_kept_is_refused() {
    let door = Door::new(&[]);
    let question = "document:a#view@user:ann";
    let end = door.authorizer.clock().now().checked_add(Duration::from_secs(1)).unwrap();
    door.touch(&[&format!("document:a#viewer@user:ann[expiration:{end}]")]);
    pause();
    let then = door.authorizer.clock().now();
    assert!(then < end);
    let at = |moment| door.explain_at(Freshness::At(moment), question);
    while door.authorizer.clock().now() < end {
        pause();
    }
    assert!(!door.member(question), "it has ended");
    let found = at(then).unwrap();
    assert_eq!((found.membership(), found.judged_at, found.until), (&Membership::Member, then, Some(end)));
    door.delete(&["document:a#viewer@user:ann"]);
    assert_eq!(at(then).unwrap().membership(), &Membership::Member, "nor does it matter that it was deleted since");
    assert_eq!(at(end).unwrap().membership(), &Membership::NotMember, "an end is exclusive");
    let before = at(Timestamp::UNIX_EPOCH);
    assert!(matches!(before, Err(Error::UnknownDefinition { .. })), "there was no schema yet: {before:?}");
}

#[test]
fn a_moment_that_is_no_longer_kept_is_refused_with_the_oldest_that_is() {
    let door = Door::new(&["document:a#viewer@user:ann"]);
    let question = "document:a#view@user:ann";
    pause();
    let then = door.authorizer.clock().now();
    pause();
    door.delete(&["document:a#viewer@user:ann"]);
    pause();
    let now = door.authorizer.clock().now();
    assert!(door.explain_at(Freshness::At(then), question).is_ok());
    door.authorizer.collect_garbage(now, now).unwrap();
    let Err(Error::TimeNotKept { asked, oldest }) = door.explain_at(Freshness::At(then), question) else {
        panic!("a moment that is gone was answered");
    };
    assert!(asked == then && oldest > then && oldest <= now);
    assert!(door.explain_at(Freshness::At(oldest), question).is_ok());
    let ahead = now.checked_add(Duration::from_secs(3600)).unwrap();
    let refused = door.explain_at(Freshness::At(ahead), question);
    assert!(matches!(refused, Err(Error::TimeAhead { asked, .. }) if asked == ahead), "{refused:?}");
}

#[test]
fn a_recorded_decision_is_answered_again_as_it_was() {
    let door = Door::new(&["document:a#viewer@user:ann[on_day]", "document:a#viewer@user:bob"]);
    let mut recorded = Vec::new();
    for round in 0..6 {
        let end = door.authorizer.clock().now().checked_add(Duration::from_millis(8)).unwrap();
        door.touch(&[&format!("document:a#viewer@user:cid[expiration:{end}]")]);
        if round % 2 == 0 {
            door.touch(&["document:a#banned@user:bob"]);
        } else {
            door.delete(&["document:a#banned@user:bob"]);
        }
        for who in ["ann", "bob", "cid", "dan"] {
            let Asked { resource, permission, subject, .. } = asked(&format!("document:a#view@user:{who}"));
            let context = serde_json::from_str(r#"{"day":"tuesday"}"#).unwrap();
            let asked = Asked { resource, permission, subject, context };
            let Asked { resource, permission, subject, context } = asked.clone();
            let request = CheckRequest {
                freshness: NEWEST,
                resource,
                permission,
                subject,
                context,
                with: Vec::new(),
                trace: false,
            };
            let answer = door.authorizer.check(&door.call, &request, Effort::Full).unwrap();
            let decision = Recorded {
                revision: answer.at.revision,
                time: answer.judged_at,
                asked,
                chain: Chain::default(),
                peer_ip: None,
            };
            recorded.push((decision, answer.membership));
        }
        pause();
    }
    std::thread::sleep(Duration::from_millis(20));
    for (decision, membership) in &recorded {
        let again = door.authorizer.replay(&door.call, decision, 5).unwrap();
        assert_eq!(
            (again.membership(), again.judged_at, again.at.revision),
            (membership, decision.time, decision.revision)
        );
    }
    let members = recorded.iter().filter(|(_, membership)| *membership == Membership::Member).count();
    assert!((7..recorded.len() - 6).contains(&members), "{members} of {}", recorded.len());
    let now = door.authorizer.clock().now();
    door.authorizer.collect_garbage(now, now).unwrap();
    let gone = door.authorizer.replay(&door.call, &recorded[0].0, 5);
    assert!(matches!(gone, Err(Error::SnapshotExpired { .. })), "{gone:?}");
}

#[test]
fn who_can_lists_every_type_with_ways_and_goes_on_at_the_same_state() {
    let door = Door::new(&[
        "document:a#viewer@robot:r2",
        "document:a#viewer@user:ann",
        "document:a#viewer@user:bob[on_day]",
        "document:a#viewer@group:eng#member",
        "group:eng#member@user:cid",
        "group:eng#member@user:dan",
        "document:a#banned@user:dan",
        "document:a#viewer@user:eve[expiration:2999-01-01T00:00:00Z]",
    ]);
    let all = door.who_can(&who("document:a", "view"));
    let names: BTreeSet<_> = all.iter().map(|holder| holder.subject.to_string()).collect();
    assert_eq!(names, ["robot:r2", "user:ann", "user:bob", "user:cid", "user:eve"].map(str::to_owned).into());
    for holder in &all {
        let conditional = holder.subject.to_string() == "user:bob";
        assert_eq!(holder.membership != Membership::Member, conditional);
        assert_eq!(holder.way.path.is_empty(), conditional, "{}", holder.subject);
        assert_eq!(holder.way.until.is_some(), holder.subject.to_string() == "user:eve");
        assert!(holder.way.path.iter().all(|step| holder.way.written.contains_key(&step.written)));
    }
    // Page by page, one at a time, while others write.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let request = WhoCanRequest { limit: Some(1), after: after.take(), ..who("document:a", "view") };
        door.authorizer
            .who_can(&door.call, &request, &mut |holder, cursor| {
                paged.push(holder.subject.to_string());
                after = Some(cursor);
                ControlFlow::Continue(())
            })
            .unwrap();
        if after.is_none() {
            break;
        }
        door.touch(&[&format!("document:a#viewer@user:late{}", paged.len())]);
    }
    assert_eq!(paged, all.iter().map(|holder| holder.subject.to_string()).collect::<Vec<_>>());

    let named = WhoCanRequest { subjects: Subjects::Named, ..who("document:a", "view") };
    let named: BTreeSet<_> = door.who_can(&named).iter().map(|holder| holder.subject.to_string()).collect();
    assert!(named.contains("group:eng#member") && named.contains("user:ann") && named.contains("robot:r2"));
    assert!(!named.contains("user:cid") && !named.contains("user:dan"), "{named:?}");
    let robots = WhoCanRequest { subjects: Subjects::Of("robot".parse().unwrap()), ..who("document:a", "view") };
    assert_eq!(door.who_can(&robots).len(), 1);
}

#[test]
fn everybody_is_listed_with_those_who_are_not() {
    let door = Door::new(&["document:a#viewer@user:*", "document:a#banned@user:bob"]);
    for subjects in [Subjects::All, Subjects::Named] {
        let found = door.who_can(&WhoCanRequest { subjects, ..who("document:a", "view") });
        let everybody = found.iter().find(|holder| holder.subject.is_wildcard()).unwrap();
        assert_eq!(everybody.excluded.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["bob"]);
        assert_eq!(everybody.way.path[0].relationship.to_string(), "document:a#viewer@user:*");
    }
}

#[test]
fn what_can_agrees_with_checks_over_all_types_and_permissions() {
    let door = Door::new(&[
        "folder:f#viewer@user:ann",
        "document:a#parent@folder:f",
        "document:b#viewer@user:ann",
        "document:b#approver@user:ann",
        "document:c#viewer@user:ann",
        "document:c#banned@user:ann",
    ]);
    let text = |reach: &Reach| format!("{}#{}", reach.resource, reach.permission);
    let all: Vec<_> = door.what_can(&what("user:ann")).iter().map(text).collect();
    let expected = ["document:a#view", "document:b#approve", "document:b#view", "folder:f#view"].map(str::to_owned);
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), expected.into());
    assert!(all.iter().all(|one| door.member(&format!("{one}@user:ann"))));
    let relation = WhatCanRequest { permission: Some("viewer".parse().unwrap()), ..what("user:ann") };
    let relation: Vec<_> = door.what_can(&relation).iter().map(text).collect();
    assert_eq!(relation.len(), 3, "{relation:?}");
    let unknown = WhatCanRequest { permission: Some("veiw".parse().unwrap()), ..what("user:ann") };
    let refused = door.authorizer.what_can(&door.call, &unknown, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::UnknownRelation { .. })));
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let request = WhatCanRequest { limit: Some(2), after: after.take(), ..what("user:ann") };
        door.authorizer
            .what_can(&door.call, &request, &mut |reach, cursor| {
                paged.push(text(&reach));
                after = Some(cursor);
                ControlFlow::Continue(())
            })
            .unwrap();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
}

#[test]
fn misses_and_results_have_a_limit() {
    let door = Door::new(&[]);
    let ask = |misses_max| {
        let asked = asked("document:a#view@user:ann");
        door.authorizer.explain(&door.call, &ExplainRequest { freshness: NEWEST, asked, misses_max }).map(|_| ())
    };
    let most = door.authorizer.limits().misses_max;
    assert!(ask(most).is_ok());
    assert!(matches!(ask(most + 1), Err(Error::AboveLimit { what: RequestLimit::Misses, .. })));
    let most = door.authorizer.limits().lookup_limit_max;
    let list = |limit| {
        let request = WhoCanRequest { limit: Some(limit), ..who("document:a", "view") };
        door.authorizer.who_can(&door.call, &request, &mut |_, _| ControlFlow::Continue(()))
    };
    assert!(list(most).is_ok());
    assert!(matches!(list(most + 1), Err(Error::AboveLimit { what: RequestLimit::Results, .. })));
}

/// Lets everything pass but listing groups.
struct NoGroups;

impl Gate for NoGroups {
    fn judge(&self, _: &Call, act: Act<'_>) -> Result<(), Error> {
        match act {
            Act::Enumerate(Some("group")) => Err(Error::Refused("not groups".to_owned())),
            _ => Ok(()),
        }
    }
}

#[test]
fn relationships_are_shown_to_those_only_who_may_list_them() {
    let door =
        Door::new(&["document:a#viewer@group:eng#member", "group:eng#member@user:ann", "document:a#viewer@user:bob"]);
    assert!(door.authorizer.set_gate(Arc::new(NoGroups)).is_ok());
    // Whether there is a group on the way makes no difference.
    for who in ["ann", "bob", "nobody"] {
        let refused = door.explain_at(NEWEST, &format!("document:a#view@user:{who}"));
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    assert!(door.explain_at(NEWEST, "document:a#banned@user:bob").is_ok());
    let with_path =
        door.authorizer.who_can(&door.call, &who("document:a", "view"), &mut |_, _| ControlFlow::Continue(()));
    assert!(with_path.is_err());
    let without = WhoCanRequest { with_path: false, ..who("document:a", "view") };
    assert!(door.authorizer.who_can(&door.call, &without, &mut |_, _| ControlFlow::Continue(())).is_ok());
}

/// Cuts `user:ann` off, from this revision on.
struct WithoutAnn(Revision);

impl Gate for WithoutAnn {
    fn judge(&self, _: &Call, _: Act<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn cut_off(&self, _: StoreId, then: Option<Revision>) -> Result<Option<Arc<CutOff>>, Error> {
        let cut_off = || Arc::new(CutOff::from(["user:ann".parse().unwrap()]));
        Ok(then.is_none_or(|then| then >= self.0).then(cut_off))
    }
}

#[test]
fn who_is_cut_off_has_nothing_now_and_had_what_it_had() {
    let door = Door::new(&["document:a#viewer@user:ann", "document:a#viewer@user:bob", "document:b#viewer@user:*"]);
    pause();
    let then = Freshness::At(door.authorizer.clock().now());
    pause();
    assert!(door.member("document:a#view@user:ann"));
    let since = door.touch(&["document:c#viewer@user:bob"]).revision;
    pause();
    let later = Freshness::At(door.authorizer.clock().now());
    pause();
    assert!(door.authorizer.set_gate(Arc::new(WithoutAnn(since))).is_ok());
    let found = door.explain("document:a#view@user:ann");
    assert_eq!((found.membership(), found.is_cut_off), (&Membership::NotMember, true));
    assert!(found.reasons.path.is_empty() && found.until.is_none());
    let before = door.explain_at(then, "document:a#view@user:ann").unwrap();
    assert_eq!((before.membership(), before.is_cut_off), (&Membership::Member, false));
    assert!(door.member("document:a#view@user:bob"));

    for subjects in [Subjects::All, Subjects::Named] {
        let of = |resource| WhoCanRequest { subjects: subjects.clone(), ..who(resource, "view") };
        let names: Vec<_> = door.who_can(&of("document:a")).iter().map(|holder| holder.subject.to_string()).collect();
        assert_eq!(names, ["user:bob"]);
        let everybody = &door.who_can(&of("document:b"))[0];
        assert!(everybody.subject.is_wildcard());
        assert_eq!(everybody.excluded.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["ann"]);
    }
    assert_eq!(door.who_can(&WhoCanRequest { freshness: then, ..who("document:a", "view") }).len(), 2);
    assert!(door.what_can(&what("user:ann")).is_empty());
    assert_eq!(door.what_can(&WhatCanRequest { freshness: then, ..what("user:ann") }).len(), 2);

    // A moment that has passed is no way around it.
    let before = door.explain_at(later, "document:a#view@user:ann").unwrap();
    assert_eq!((before.membership(), before.is_cut_off), (&Membership::NotMember, true));
    assert!(door.what_can(&WhatCanRequest { freshness: later, ..what("user:ann") }).is_empty());
    let held = door.who_can(&WhoCanRequest { freshness: later, ..who("document:a", "view") });
    assert!(held.iter().all(|holder| holder.subject.to_string() != "user:ann"), "{held:?}");
}
