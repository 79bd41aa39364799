#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use smallvec::smallvec;
use stonetown_storage::Ordinal;
use stonetown_tuple::{CaveatRef, Relationship, Source};

use super::Conditions;
use crate::edges::{Term, Terms};
use crate::limits::{Limits, Meter};
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

fn value(conditions: &mut Conditions<'_>, terms: Option<&Terms>) -> Value {
    let mut meter = Meter::for_check(&Limits::default(), None, None);
    conditions.value(terms, SLOT, DOCUMENT, &mut meter).unwrap()
}

#[test]
fn an_edge_holds_while_any_of_its_terms_does() {
    let world = World::new(SCHEMA, &[]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        let (past, future) = ("[expiration:2029-01-01T00:00:00Z]", "[starts:2031-01-01T00:00:00Z]");
        assert_eq!(value(&mut conditions, None), Value::Yes);
        assert_eq!(value(&mut conditions, Some(&terms(&[past, future]))), Value::No);
        assert_eq!(value(&mut conditions, Some(&terms(&[past, "", future]))), Value::Yes);
        let maybe = value(&mut conditions, Some(&terms(&[past, r#"[over:{"least":1}]"#])));
        let names = |names: &[&str]| Membership::Conditional(names.iter().map(ToString::to_string).collect());
        assert_eq!(conditions.membership(&maybe, String::new).unwrap(), names(&["age"]));
        let both = maybe.or(value(&mut conditions, Some(&terms(&["[over]"]))));
        assert_eq!(conditions.membership(&both, String::new).unwrap(), names(&["age", "least"]));
    });
}

#[test]
fn the_moment_of_expiry_is_past_and_that_of_the_start_is_not() {
    let world = World::new(SCHEMA, &[]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut conditions = Conditions::new(evaluation, None);
        let now = evaluation.now;
        assert_eq!(value(&mut conditions, Some(&terms(&[&format!("[expiration:{now}]")]))), Value::No);
        assert_eq!(value(&mut conditions, Some(&terms(&[&format!("[starts:{now}]")]))), Value::Yes);
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
            let value = value(&mut conditions, Some(&terms(&[&format!("[over:{{\"least\":{least}}}]")])));
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
        let value = value(&mut conditions, Some(&Terms(smallvec![gone])));
        assert!(matches!(&value, Value::Fault(Fault::Caveat(fault)) if fault.caveat == "gone"));
        assert!(conditions.membership(&value, String::new).is_err());
    });
}
