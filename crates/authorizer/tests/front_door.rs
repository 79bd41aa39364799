//! The front door over the memory store: what each call does, refuses and leaves alone.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::error::RequestLimit;
use stonetown_authorizer::lookup::{LookupResourcesRequest, LookupSubjectsRequest};
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Authorizer, Call, Effort, Error, Membership, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{
    CaveatContext, Consistency, InstanceId, Operation, Precondition, RelationshipFilter, RelationshipUpdate, Revision,
    ZedToken,
};

const SCHEMA: &str = "
use expiration

definition user {}

definition group {
  relation member: user
}

caveat in_region(region string, allowed list<string>) {
  region in allowed
}

definition document {
  relation viewer: user | user:* | group#member | user with in_region | user with expiration
  relation editor: user
  permission view = viewer + editor
}
";

struct Door {
    authorizer: Authorizer,
    call: Call,
}

impl Door {
    fn new() -> Door {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let door = Door { authorizer, call: Call::new("test") };
        door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
        door
    }

    fn write(&self, operation: Operation, relationships: &[&str]) -> Result<ZedToken, Error> {
        let updates = relationships
            .iter()
            .map(|text| RelationshipUpdate { operation, relationship: text.parse().unwrap() })
            .collect();
        self.authorizer.write(&self.call, &WriteRequest { updates, ..WriteRequest::default() })
    }

    fn touch(&self, relationships: &[&str]) -> ZedToken {
        self.write(Operation::Touch, relationships).unwrap()
    }

    fn check_at(&self, consistency: Consistency, question: &str) -> Result<Membership, Error> {
        let (resource, rest) = question.split_once('#').unwrap();
        let (permission, subject) = rest.split_once('@').unwrap();
        let request = CheckRequest {
            freshness: consistency.into(),
            resource: resource.parse().unwrap(),
            permission: permission.parse().unwrap(),
            subject: subject.parse().unwrap(),
            context: CaveatContext::new(),
            with: Vec::new(),
            trace: false,
        };
        self.authorizer.check(&self.call, &request, Effort::Full).map(|answer| answer.membership)
    }

    fn check(&self, question: &str) -> Membership {
        self.check_at(Consistency::FullyConsistent, question).unwrap()
    }

    fn read(&self, request: &ReadRequest) -> (Vec<String>, Option<ReadRequest>) {
        let (mut found, mut next) = (Vec::new(), None);
        self.authorizer
            .read(&self.call, request, &mut |item| {
                found.push(item.relationship.to_string());
                next = Some(ReadRequest { after: Some(item.cursor), ..request.clone() });
                ControlFlow::Continue(())
            })
            .unwrap();
        found.sort();
        (found, next)
    }
}

fn documents() -> RelationshipFilter {
    RelationshipFilter { resource_type: Some("document".parse().unwrap()), ..RelationshipFilter::default() }
}

#[test]
fn a_write_is_seen_by_the_next_check_and_not_by_an_older_snapshot() {
    let door = Door::new();
    let before = door.touch(&["document:one#viewer@user:alice"]);
    let after = door.touch(&["document:one#viewer@user:bob"]);
    let question = "document:one#view@user:bob";
    assert_eq!(door.check(question), Membership::Member);
    assert_eq!(door.check_at(Consistency::AtLeastAsFresh(before), question).unwrap(), Membership::Member);
    assert_eq!(door.check_at(Consistency::AtExactSnapshot(before), question).unwrap(), Membership::NotMember);
    assert_eq!(door.check_at(Consistency::AtExactSnapshot(after), question).unwrap(), Membership::Member);
}

#[test]
fn tokens_of_the_future_are_refused_and_foreign_ones_answered_at_head() {
    let door = Door::new();
    let token = door.touch(&["document:one#viewer@user:alice"]);
    let question = "document:one#view@user:alice";
    let future = ZedToken { revision: Revision(token.revision.0 + 1), ..token };
    for consistency in [Consistency::AtLeastAsFresh(future), Consistency::AtExactSnapshot(future)] {
        assert!(matches!(door.check_at(consistency, question), Err(Error::FutureToken { .. })));
    }
    let foreign = ZedToken { instance: InstanceId(token.instance.0 ^ 1), revision: Revision(1) };
    assert_eq!(door.check_at(Consistency::AtLeastAsFresh(foreign), question).unwrap(), Membership::Member);
    assert!(matches!(door.check_at(Consistency::AtExactSnapshot(foreign), question), Err(Error::ForeignToken)));
}

#[test]
fn a_refused_write_changes_nothing() {
    let door = Door::new();
    let head = door.touch(&["document:one#viewer@user:alice"]);
    let refused = |relationships: &[&str]| door.write(Operation::Create, relationships).unwrap_err();
    let new = "document:two#viewer@user:alice";
    assert!(matches!(refused(&[new, "document:one#viewer@user:alice"]), Error::AlreadyExists(_)));
    assert!(matches!(refused(&[new, new]), Error::DuplicateUpdate { .. }));
    assert!(matches!(refused(&[new, "document:two#view@user:bob"]), Error::CannotUpdatePermission { .. }));
    assert!(matches!(refused(&[new, "document:two#owner@user:bob"]), Error::UnknownRelation { .. }));
    assert!(matches!(refused(&[new, "folder:two#viewer@user:bob"]), Error::UnknownDefinition { .. }));
    assert!(matches!(refused(&[new, "document:two#editor@group:eng#member"]), Error::InvalidSubjectType { .. }));
    assert!(matches!(refused(&[new, "document:two#editor@user:bob[in_region]"]), Error::InvalidSubjectType { .. }));
    assert!(matches!(refused(&[new, "document:two#viewer@user:bob[nowhere]"]), Error::InvalidSubjectType { .. }));
    let wrong = r#"document:two#viewer@user:bob[in_region:{"allowed":"eu"}]"#;
    assert!(matches!(refused(&[new, wrong]), Error::CaveatParameterType { .. }));
    assert_eq!(door.authorizer.datastore().head(), head.revision);
    assert_eq!(door.check("document:two#view@user:alice"), Membership::NotMember);
}

#[test]
fn preconditions_are_tested_against_the_state_before() {
    let door = Door::new();
    door.touch(&["document:one#viewer@user:alice"]);
    let request = |precondition: Precondition| WriteRequest {
        updates: vec![RelationshipUpdate {
            operation: Operation::Touch,
            relationship: "document:two#viewer@user:alice".parse().unwrap(),
        }],
        preconditions: vec![precondition],
        ..WriteRequest::default()
    };
    let two = RelationshipFilter { resource_id: Some("two".parse().unwrap()), ..documents() };
    let write = |precondition| door.authorizer.write(&door.call, &request(precondition));
    assert!(matches!(write(Precondition::MustMatch(two.clone())), Err(Error::PreconditionFailed(_))));
    assert!(write(Precondition::MustNotMatch(two.clone())).is_ok());
    assert!(matches!(write(Precondition::MustNotMatch(two)), Err(Error::PreconditionFailed(_))));
    let empty = Precondition::MustMatch(RelationshipFilter::default());
    assert!(matches!(write(empty), Err(Error::InvalidFilter { .. })));
}

#[test]
fn a_repeated_request_id_answers_as_the_first_did() {
    let door = Door::new();
    let request = |text: &str| WriteRequest {
        updates: vec![RelationshipUpdate { operation: Operation::Create, relationship: text.parse().unwrap() }],
        request_id: Some("retry-1".to_owned()),
        ..WriteRequest::default()
    };
    let first = door.authorizer.write(&door.call, &request("document:one#viewer@user:alice")).unwrap();
    let again = door.authorizer.write(&door.call, &request("document:one#viewer@user:alice")).unwrap();
    assert_eq!(first, again);
    let other = door.authorizer.write(&door.call, &request("document:two#viewer@user:alice"));
    assert!(matches!(other, Err(Error::RequestIdReused(_))));
}

#[test]
fn deletions_keep_to_their_limit() {
    let door = Door::new();
    door.touch(&["document:one#viewer@user:alice", "document:one#viewer@user:bob", "document:two#viewer@user:bob"]);
    let delete = |limit, allow_partial| {
        let request = DeleteRequest { filter: documents(), limit, allow_partial, ..DeleteRequest::default() };
        door.authorizer.delete(&door.call, &request)
    };
    assert!(matches!(delete(Some(2), false), Err(Error::TooManyToDelete { limit: 2, .. })));
    assert_eq!(door.check("document:one#view@user:alice"), Membership::Member);
    let partial = delete(Some(2), true).unwrap();
    assert_eq!((partial.deleted, partial.partial), (2, true));
    let rest = delete(None, false).unwrap();
    assert_eq!((rest.deleted, rest.partial), (1, false));
    assert!(matches!(delete(Some(1001), true), Err(Error::AboveLimit { what: RequestLimit::Results, .. })));
}

#[test]
fn pages_of_a_read_stay_in_the_world_of_the_first() {
    let door = Door::new();
    door.touch(&["document:one#viewer@user:alice", "document:two#viewer@user:alice", "document:six#editor@user:bob"]);
    let (mut all, mut request) = door.read(&ReadRequest { filter: documents(), limit: Some(1), ..Default::default() });
    door.touch(&["document:aaa#viewer@user:alice", "document:zzz#viewer@user:alice"]);
    door.write(Operation::Delete, &["document:two#viewer@user:alice"]).unwrap();
    while let Some(next) = request {
        let (found, then) = door.read(&next);
        all.extend(found);
        request = then;
    }
    all.sort();
    assert_eq!(
        all,
        ["document:one#viewer@user:alice", "document:six#editor@user:bob", "document:two#viewer@user:alice"]
    );
}

#[test]
fn lookups_page_without_repetition_or_loss() {
    let door = Door::new();
    let shares: Vec<_> = (0..50).map(|n| format!("document:d{n:03}#viewer@user:alice")).collect();
    door.touch(&shares.iter().map(String::as_str).collect::<Vec<_>>());
    let mut request = LookupResourcesRequest {
        consistency: Consistency::FullyConsistent,
        resource_type: "document".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: "user:alice".parse().unwrap(),
        context: CaveatContext::new(),
        limit: Some(7),
        after: None,
    };
    let mut all = Vec::new();
    loop {
        let mut page = 0;
        let asked = request.clone();
        let mut visit = |found: stonetown_graph::FoundResource, cursor| {
            page += 1;
            all.push(found.id.to_string());
            request.after = Some(cursor);
            ControlFlow::Continue(())
        };
        door.authorizer.lookup_resources(&door.call, &asked, &mut visit).unwrap();
        door.write(Operation::Delete, &["document:d049#viewer@user:alice"]).unwrap();
        if page < 7 {
            break;
        }
    }
    let mut distinct = all.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((all.len(), distinct.len()), (50, 50));
}

#[test]
fn a_wildcard_comes_first_beside_the_limit_and_can_be_left_out() {
    let door = Door::new();
    door.touch(&["document:one#viewer@user:*", "document:one#viewer@user:alice", "document:one#viewer@user:bob"]);
    let lookup = |without_wildcard| {
        let request = LookupSubjectsRequest {
            consistency: Consistency::FullyConsistent,
            resource: "document:one".parse().unwrap(),
            permission: "view".parse().unwrap(),
            subject_type: "user".parse().unwrap(),
            subject_relation: None,
            context: CaveatContext::new(),
            limit: Some(1),
            after: None,
            without_wildcard,
        };
        let mut found = Vec::new();
        let mut visit = |subject: stonetown_graph::FoundSubject, _| {
            found.push(subject.id.to_string());
            ControlFlow::Continue(())
        };
        door.authorizer.lookup_subjects(&door.call, &request, &mut visit).unwrap();
        found
    };
    assert_eq!(lookup(false), ["*", "alice"]);
    assert_eq!(lookup(true), ["alice"]);
}

#[test]
fn a_schema_does_not_take_the_meaning_of_stored_relationships() {
    let door = Door::new();
    door.touch(&[
        "document:one#viewer@user:alice",
        "document:one#viewer@group:eng#member",
        r#"document:one#viewer@user:bob[in_region:{"allowed":["eu"]}]"#,
    ]);
    let operation = |from: &str, to: &str| {
        let schema = SCHEMA.replace(from, to);
        assert_ne!(schema, SCHEMA);
        match door.authorizer.write_schema(&door.call, &schema) {
            Err(Error::DataInTheWay(found)) => found.operation,
            Err(error) => panic!("{error}"),
            Ok(_) => "written",
        }
    };
    assert_eq!(operation("user | user:* | group#member |", "user:* | group#member |"), "remove_allowed_type");
    assert_eq!(operation("| group#member | user with in_region", "| user with in_region"), "remove_allowed_type");
    assert_eq!(operation("allowed list<string>", "allowed list<any>"), "change_parameter_type");
    let renamed = "relation reader: user | user:* | group#member | user with in_region | user with expiration\n  relation viewer: user";
    let viewer = "relation viewer: user | user:* | group#member | user with in_region | user with expiration";
    assert_eq!(operation(viewer, renamed), "remove_allowed_type");
    let gone = SCHEMA.replace(viewer, "relation reader: user with in_region").replace("viewer + editor", "editor");
    let Err(Error::DataInTheWay(found)) = door.authorizer.write_schema(&door.call, &gone) else { panic!("written") };
    assert_eq!((found.operation, found.relation.as_deref()), ("delete_relation", Some("viewer")));
}

#[test]
fn an_unused_relation_may_go_and_a_broken_schema_changes_nothing() {
    let door = Door::new();
    door.touch(&["document:one#viewer@user:alice"]);
    let without = SCHEMA.replace("  relation editor: user\n", "").replace("viewer + editor", "viewer");
    door.authorizer.write_schema(&door.call, &without).unwrap();
    assert_eq!(door.check("document:one#view@user:alice"), Membership::Member);
    let broken = door.authorizer.write_schema(&door.call, "definition user {\n  relation x: y\n}");
    assert!(matches!(broken, Err(Error::Schema(_))));
    let (_, text) = door.authorizer.read_schema(&door.call).unwrap();
    assert!(text.contains("permission view = viewer"));
}

#[test]
fn requests_above_their_limits_name_the_limit() {
    let door = Door::new();
    let update = || RelationshipUpdate {
        operation: Operation::Touch,
        relationship: "document:one#viewer@user:alice".parse().unwrap(),
    };
    let above = |request: WriteRequest| match door.authorizer.write(&door.call, &request) {
        Err(Error::AboveLimit { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let updates = std::iter::repeat_with(update).take(1001).collect();
    assert_eq!(above(WriteRequest { updates, ..Default::default() }), RequestLimit::Updates);
    let preconditions = vec![Precondition::MustMatch(documents()); 1001];
    assert_eq!(above(WriteRequest { preconditions, ..Default::default() }), RequestLimit::Preconditions);
    let metadata = Some("x".repeat(65_001));
    assert_eq!(above(WriteRequest { metadata, ..Default::default() }), RequestLimit::MetadataBytes);
    let large = format!(r#"document:one#viewer@user:alice[in_region:{{"region":"{}"}}]"#, "x".repeat(25_000));
    let updates = vec![RelationshipUpdate { operation: Operation::Touch, relationship: large.parse().unwrap() }];
    assert_eq!(above(WriteRequest { updates, ..Default::default() }), RequestLimit::RelationshipContextBytes);
}

#[test]
fn request_scoped_relationships_count_for_one_question_only() {
    let door = Door::new();
    let mut request = CheckRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: "document:one".parse().unwrap(),
        permission: "view".parse().unwrap(),
        subject: "user:nobody-yet".parse().unwrap(),
        context: CaveatContext::new(),
        with: vec![
            "document:one#viewer@group:new#member".parse().unwrap(),
            "group:new#member@user:nobody-yet".parse().unwrap(),
        ],
        trace: false,
    };
    let check = |request: &CheckRequest| door.authorizer.check(&door.call, request, Effort::Full);
    assert_eq!(check(&request).unwrap().membership, Membership::Member);
    request.with[0] = "document:one#editor@group:new#member".parse().unwrap();
    assert!(matches!(check(&request), Err(Error::InvalidSubjectType { .. })));
    request.with.clear();
    assert_eq!(check(&request).unwrap().membership, Membership::NotMember);
}
