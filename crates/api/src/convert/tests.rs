#![allow(clippy::unwrap_used, clippy::panic)]

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::json;

use super::*;

fn wire_object(object_type: &str, object_id: &str) -> wire::ObjectReference {
    wire::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() }
}

fn wire_subject(object_type: &str, object_id: &str, relation: &str) -> wire::SubjectReference {
    wire::SubjectReference { object: Some(wire_object(object_type, object_id)), optional_relation: relation.to_owned() }
}

fn wire_relationship() -> wire::Relationship {
    wire::Relationship {
        resource: Some(wire_object("document", "readme")),
        relation: "viewer".to_owned(),
        subject: Some(wire_subject("user", "alice", "")),
        optional_caveat: None,
        optional_expires_at: None,
    }
}

fn number(number: f64) -> WireValue {
    WireValue { kind: Some(Kind::NumberValue(number)) }
}

/// The field that is refused, and why.
fn refused<T: std::fmt::Debug>(result: Result<T, FieldError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.field, error.message)
}

#[test]
fn relationships_go_to_the_domain_and_back() {
    for text in [
        "document:readme#viewer@user:alice",
        "document:readme#viewer@group:eng#member",
        "tenant/document:a|b#viewer@user:*",
        r#"document:readme#viewer@user:alice[in_net:{"cidr":"10.0.0.0/8","n":[1,2.5,null,{"deep":true}]}]"#,
        "document:readme#viewer@user:alice[expiration:2030-01-01T00:00:00.5Z]",
    ] {
        let known: Relationship = text.parse().unwrap();
        assert_eq!(relationship(relationship_to_wire(known.clone())), Ok(known), "{text}");
    }
}

#[test]
fn errors_name_the_field_and_what_is_expected() {
    type Change = fn(&mut wire::Relationship);
    let update_of = |change: Change| {
        let mut relationship = wire_relationship();
        change(&mut relationship);
        let update = wire::RelationshipUpdate {
            operation: wire::relationship_update::Operation::Touch.into(),
            relationship: Some(relationship),
        };
        refused(each("updates", vec![update], super::update))
    };
    let cases: [(Change, &str, &str); 11] = [
        (|r| r.resource = None, "resource", "is required"),
        (|r| r.resource = Some(wire_object("Document", "a")), "resource.object_type", "`Document`"),
        (|r| r.resource = Some(wire_object("document", "*")), "resource.object_id", "`*`"),
        (|r| r.resource = Some(wire_object("document", "a b")), "resource.object_id", "1 to 1024 characters"),
        (|r| r.relation = String::new(), "relation", "3 to 64 characters"),
        (|r| r.subject = None, "subject", "is required"),
        (|r| r.subject = Some(wire::SubjectReference::default()), "subject.object", "is required"),
        (|r| r.subject = Some(wire_subject("user", "", "")), "subject.object.object_id", "1 to 1024 characters"),
        (|r| r.subject = Some(wire_subject("group", "eng", "...")), "subject.optional_relation", "`...`"),
        (|r| r.subject = Some(wire_subject("group", "*", "member")), "subject.optional_relation", "wildcard"),
        (
            |r| r.optional_caveat = Some(wire::ContextualizedCaveat::default()),
            "optional_caveat.caveat_name",
            "1 to 128 characters",
        ),
    ];
    for (change, field, part) in cases {
        let (found, message) = update_of(change);
        assert_eq!(found, format!("updates[0].relationship.{field}"));
        assert!(message.contains(part), "{field}: {message}");
    }
}

#[test]
fn an_unspecified_or_unknown_operation_is_refused() {
    for operation in [0, 99] {
        let update = wire::RelationshipUpdate { operation, relationship: Some(wire_relationship()) };
        assert_eq!(refused(super::update(update)).0, "operation");
        let precondition = wire::Precondition { operation, filter: Some(wire::RelationshipFilter::default()) };
        assert_eq!(refused(super::precondition(precondition)).0, "operation");
    }
}

#[test]
fn consistency_defaults_to_minimize_latency_and_takes_only_true() {
    use wire::consistency::Requirement;
    let of = |requirement| consistency(Some(wire::Consistency { requirement }));
    assert_eq!(consistency(None), Ok(Consistency::MinimizeLatency));
    assert_eq!(of(None), Ok(Consistency::MinimizeLatency));
    assert_eq!(of(Some(Requirement::FullyConsistent(true))), Ok(Consistency::FullyConsistent));
    assert_eq!(refused(of(Some(Requirement::FullyConsistent(false)))).0, "fully_consistent");
    assert_eq!(refused(of(Some(Requirement::MinimizeLatency(false)))).0, "minimize_latency");
    let token = wire::ZedToken { token: "not-a-token".to_owned() };
    assert_eq!(refused(of(Some(Requirement::AtExactSnapshot(token)))).0, "at_exact_snapshot.token");
}

#[test]
fn the_subject_relation_of_a_filter_has_three_states() {
    let of = |relation: Option<&str>| {
        let filter = wire::SubjectFilter {
            subject_type: "group".to_owned(),
            optional_subject_id: "*".to_owned(),
            optional_relation: relation
                .map(|relation| wire::subject_filter::RelationFilter { relation: relation.to_owned() }),
        };
        let filter = wire::RelationshipFilter { optional_subject_filter: Some(filter), ..Default::default() };
        super::filter(filter).unwrap().subject.unwrap()
    };
    assert_eq!(of(None).relation, SubjectRelationFilter::Any);
    assert_eq!(of(Some("")).relation, SubjectRelationFilter::Ellipsis);
    assert_eq!(of(Some("member")).relation, SubjectRelationFilter::Relation("member".parse().unwrap()));
    assert_eq!(of(None).subject_id, Some(SubjectId::Wildcard));
}

#[test]
fn an_empty_filter_is_parsed_and_left_to_the_authorizer() {
    assert_eq!(super::filter(wire::RelationshipFilter::default()), Ok(RelationshipFilter::default()));
}

#[test]
fn whole_numbers_become_integers_and_what_is_not_finite_is_refused() {
    let list = ListValue { values: vec![number(1.0), number(1.5), number(f64::NAN)] };
    let mut context = Struct::default();
    context.fields.insert("whole".to_owned(), number(-3.0));
    assert_eq!(context::from_wire(Some(context.clone())), Ok(json!({"whole": -3}).as_object().unwrap().clone()));
    context.fields.insert("list".to_owned(), WireValue { kind: Some(Kind::ListValue(list)) });
    assert_eq!(refused(context::from_wire(Some(context))).0, "list[2]");
}

#[test]
fn times_before_1970_keep_their_fraction() {
    for text in
        ["1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00Z", "2262-04-11T23:47:16.854775807Z", "0001-01-01T00:00:00Z"]
    {
        let time: Timestamp = text.parse().unwrap();
        let wire = timestamp_to_wire(time);
        assert!((0..1_000_000_000).contains(&wire.nanos), "{text}");
        assert_eq!(timestamp_from_wire(wire), Ok(time));
    }
    let at = |seconds, nanos| timestamp_from_wire(prost_types::Timestamp { seconds, nanos });
    assert_eq!(refused(at(0, -1)).0, "nanos");
    assert_eq!(refused(at(0, 1_000_000_000)).0, "nanos");
    assert_eq!(refused(at(i64::MAX, 0)).0, "seconds");
}
