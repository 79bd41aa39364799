//! Comparing schemas and asking what hangs on what: which revision is looked at, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use stonetown_authorizer::computable::ComputableRequest;
use stonetown_authorizer::{Authorizer, Call, Error, Limits, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Consistency;

const FULL: Consistency = Consistency::FullyConsistent;

fn door(limits: Limits) -> (Authorizer, Call) {
    let options = Options { limits, ..Options::default() };
    (Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap(), Call::new("test"))
}

fn computable(definition: &str, relation: Option<&str>, consistency: Consistency) -> ComputableRequest {
    ComputableRequest {
        consistency,
        definition: definition.parse().unwrap(),
        relation: relation.map(|relation| relation.parse().unwrap()),
        definition_prefix: String::new(),
    }
}

#[test]
fn answers_are_about_the_schema_of_their_revision() {
    let (door, call) = door(Limits::default());
    let one = "definition user {}";
    let two = "definition user {} definition doc { relation rel: user; permission view = rel }";
    let first = door.write_schema(&call, one).unwrap();
    let second = door.write_schema(&call, two).unwrap();
    for (token, changes, found) in [(first, 1, None), (second, 0, Some(2))] {
        let exact = Consistency::AtExactSnapshot(token);
        let answer = door.diff_schema(&call, exact, two).unwrap();
        assert_eq!((answer.at, answer.differences().len()), (token, changes));
        match door.computable_permissions(&call, &computable("doc", Some("rel"), exact)) {
            Err(Error::UnknownDefinition { name }) => assert_eq!((name.as_str(), found), ("doc", None)),
            Ok((at, members)) => assert_eq!((at, members.len()), (token, 1)),
            Err(error) => panic!("{error}"),
        }
        let dependent = door.dependent_relations(&call, exact, &"doc".parse().unwrap(), &"view".parse().unwrap());
        assert_eq!(dependent.map(|(_, members)| members.len()).ok(), found.map(|_| 1));
    }
}

#[test]
fn without_a_schema_everything_is_new_and_nothing_is_known() {
    let (door, call) = door(Limits::default());
    let answer = door.diff_schema(&call, FULL, "definition user {} caveat one(a int) { a == 1 }").unwrap();
    assert_eq!(answer.differences().len(), 2);
    assert!(door.diff_schema(&call, FULL, "").unwrap().differences().is_empty());
    let refused = door.computable_permissions(&call, &computable("user", None, FULL)).unwrap_err();
    assert!(matches!(refused, Error::UnknownDefinition { .. }), "{refused}");
}

#[test]
fn a_comparison_schema_must_compile() {
    let (door, call) = door(Limits::default());
    for broken in ["definition", "definition doc { relation rel: none }", "use import\nimport 'other.zed'"] {
        let refused = door.diff_schema(&call, FULL, broken).unwrap_err();
        assert!(matches!(refused, Error::Schema(_)), "{refused}");
    }
}

#[test]
fn the_answer_of_a_diff_is_bounded() {
    // Each of the two changed types comes with both types of the relation.
    let comparison = "definition user {} definition doc { relation rel: user:* | doc }";
    for (max, fits) in [(4, true), (3, false)] {
        let (door, call) = door(Limits { diff_types_max: max, ..Limits::default() });
        door.write_schema(&call, "definition user {} definition doc { relation rel: user:* | user }").unwrap();
        match door.diff_schema(&call, FULL, comparison) {
            Ok(answer) => assert!(fits && answer.differences().len() == 2),
            Err(Error::WorkLimit { limit: "diff_types_max", max: 3 }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
    }
}
