#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use smallvec::smallvec;
use stonetown_storage::Ordinal;
use stonetown_tuple::{CaveatRef, Relationship, Source};

use super::Conditions;
use crate::edges::{Term, Terms};
use crate::membership::{Fault, Membership, Value};
use crate::plan::Slot;
use crate::testing::World;

/// Any table and object: no caveat here looks at them.
const SLOT: Slot = Slot(0);
const DOCUMENT: Ordinal = Ordinal(1);

const SCHEMA: &str = "
    use expiration
    caveat over(age int, least int) { age >= least }
    definition user {}
    definition document { relation viewer: user | user with over | user with expiration }";

fn terms(relationships: &[&str]) -> Terms {
    let term = |(text, source): (&&str, u64)| {
        let relationship: Relationship = format!("document:a#viewer@user:u{text}").parse().unwrap();
        Term {
            source: Source(source),
            caveat: relationship.caveat.map(Arc::new),
            not_before: relationship.not_before,
            expires_at: relationship.expires_at,
        }
    };
    Terms(relationships.iter().zip(0..).map(term).collect())
}

#[test]
fn an_edge_holds_while_any_of_its_terms_does() {
    let world = World::new(SCHEMA, &[]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        let (past, future) = ("[expiration:2029-01-01T00:00:00Z]", "[starts:2031-01-01T00:00:00Z]");
        assert_eq!(conditions.value(None, SLOT, DOCUMENT), Value::Yes);
        assert_eq!(conditions.value(Some(&terms(&[past, future])), SLOT, DOCUMENT), Value::No);
        assert_eq!(conditions.value(Some(&terms(&[past, "", future])), SLOT, DOCUMENT), Value::Yes);
        let maybe = conditions.value(Some(&terms(&[past, r#"[over:{"least":1}]"#])), SLOT, DOCUMENT);
        let names = |names: &[&str]| Membership::Conditional(names.iter().map(ToString::to_string).collect());
        assert_eq!(conditions.membership(&maybe, String::new).unwrap(), names(&["age"]));
        let both = maybe.or(conditions.value(Some(&terms(&["[over]"])), SLOT, DOCUMENT));
        assert_eq!(conditions.membership(&both, String::new).unwrap(), names(&["age", "least"]));
    });
}

#[test]
fn the_moment_of_expiry_is_past_and_that_of_the_start_is_not() {
    let world = World::new(SCHEMA, &[]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        let now = evaluation.now;
        assert_eq!(conditions.value(Some(&terms(&[&format!("[expiration:{now}]")])), SLOT, DOCUMENT), Value::No);
        assert_eq!(conditions.value(Some(&terms(&[&format!("[starts:{now}]")])), SLOT, DOCUMENT), Value::Yes);
        assert!(!conditions.is_live(Some(&terms(&[&format!("[expiration:{now}]")]))));
    });
}

#[test]
fn equal_contexts_are_evaluated_once() {
    let mut world = World::new(SCHEMA, &[]);
    world.context.insert("age".to_owned(), 30.into());
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        for least in [18, 18, 50, 18, 50] {
            let value = conditions.value(Some(&terms(&[&format!("[over:{{\"least\":{least}}}]")])), SLOT, DOCUMENT);
            assert_eq!(value.is_yes(), least == 18);
        }
        assert_eq!(conditions.by_content.len(), 2);
    });
}

#[test]
fn an_unknown_caveat_is_a_fault() {
    let world = World::new(SCHEMA, &[]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        let caveat = CaveatRef { name: "gone".parse().unwrap(), context: Default::default() };
        let gone = Term { caveat: Some(Arc::new(caveat)), ..Term::STANDING };
        let value = conditions.value(Some(&Terms(smallvec![gone])), SLOT, DOCUMENT);
        assert!(matches!(&value, Value::Fault(Fault::Caveat(fault)) if fault.caveat == "gone"));
        assert!(conditions.membership(&value, String::new).is_err());
    });
}
