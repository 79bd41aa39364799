#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use stonetown_tuple::{Attribute, Source};

use crate::testing::World;
use crate::{FoundSubject, Membership, lookup_subjects};

const SCHEMA: &str = "
    use expiration
    // @stonetown trusted(resource.env) stored(envs)
    caveat in_env(env string, envs list<string>) { env in envs }
    // @stonetown trusted(subject.risk)
    caveat calm(risk int, amount int) { risk < 5 && amount < 10 }
    // @stonetown trusted(env: resource.env, home: subject.env)
    caveat at_home(env string, home string) { env == home }
    // @stonetown server(now)
    caveat early(now timestamp) { now < timestamp('2030-01-01T00:00:01Z') }
    // @stonetown server(peer_ip)
    caveat near(peer_ip ipaddress) { peer_ip.in_cidr('10.0.0.0/8') }
    definition user {}
    definition document {
        relation writer: user with in_env
        relation reader: user:* with calm | user with calm
        relation owner: user with at_home
        relation guest: user with early | user with near
        relation banned: user with in_env
        permission view = reader
        permission edit = reader - banned
    }";

fn world(relationships: &[&str]) -> World {
    World::new(SCHEMA, relationships)
}

/// As an attribute is stored.
fn attribute(object: &str, name: &str, value: &str) -> String {
    format!("stonetown/attribute:{name}#given@{object}[stonetown/value:{{\"value\":{value}}}]")
}

#[test]
fn each_object_has_its_own_attributes_at_its_own_revisions() {
    let stored = r#"document:a#writer@user:u[in_env:{"envs":["test"]}]"#;
    let world = world(&[stored, &stored.replace("document:a", "document:b")]);
    world.expect("document:a#writer@user:u env\ndocument:b#writer@user:u env");
    world.write(&[&attribute("document:a", "env", r#""test""#), &attribute("document:b", "env", r#""prod""#)]);
    world.expect("document:a#writer@user:u yes\ndocument:b#writer@user:u no");
    let before = world.datastore.head();
    world.write(&[&attribute("document:a", "env", r#""prod""#)]);
    world.delete(&[&attribute("document:b", "env", "null")]);
    world.expect("document:a#writer@user:u no\ndocument:b#writer@user:u env");
    assert_eq!(world.check_at(before, "document:a#writer@user:u"), "yes");
    assert_eq!(world.check_at(before, "document:b#writer@user:u"), "no");
}

#[test]
fn a_value_of_another_type_is_an_error_and_one_that_is_missing_conditional_also_where_it_is_negated() {
    let world = world(&[
        r#"document:a#writer@user:u[in_env:{"envs":["test"]}]"#,
        "document:a#reader@user:u[calm:{\"amount\":1}]",
        r#"document:a#banned@user:u[in_env:{"envs":["test"]}]"#,
        &attribute("user:u", "risk", "1"),
    ]);
    world.expect("document:a#edit@user:u env");
    world.write(&[&attribute("document:a", "env", "17")]);
    let error = world.check("document:a#writer@user:u");
    assert!(error.contains("`env` takes string, found the number `17`"), "{error}");
    assert!(world.check("document:a#edit@user:u").contains("takes string"));
}

#[test]
fn neither_request_nor_relationship_can_give_what_has_a_source() {
    let mut world = world(&[r#"document:a#writer@user:u[in_env:{"env":"test","envs":["test"]}]"#]);
    world.context.insert("env".to_owned(), "test".into());
    world.context.insert("envs".to_owned(), serde_json::json!(["prod"]));
    world.expect("document:a#writer@user:u env");
    world.write(&[&attribute("document:a", "env", r#""prod""#)]);
    world.expect("document:a#writer@user:u no");
    world.write(&["document:b#writer@user:u[in_env]", &attribute("document:b", "env", r#""prod""#)]);
    world.expect("document:b#writer@user:u envs");
}

#[test]
fn a_signal_counts_until_it_expires() {
    let mut world = world(&["document:a#reader@user:u[calm:{\"amount\":1}]"]);
    world.write(&[&format!("{}[expiration:2030-01-01T00:05:00Z]", attribute("user:u", "risk", "1"))]);
    let answer = world.answer("document:a#view@user:u").unwrap();
    assert_eq!(answer.membership, Membership::Member);
    assert_eq!(answer.changes_at, Some("2030-01-01T00:05:00Z".parse().unwrap()));
    world.now = "2030-01-01T00:05:00Z".parse().unwrap();
    world.expect("document:a#view@user:u risk");
}

#[test]
fn an_answer_that_rests_on_the_time_promises_nothing_about_later() {
    let mut world = world(&["document:a#guest@user:u[early]", "document:a#guest@user:v[near]"]);
    let answer = world.answer("document:a#guest@user:u").unwrap();
    assert_eq!((answer.membership, answer.changes_at), (Membership::Member, Some(world.now)));
    world.now = "2030-01-01T00:00:01Z".parse().unwrap();
    world.expect("document:a#guest@user:u no\ndocument:a#guest@user:v peer_ip");
    world.peer_ip = Some("::ffff:10.2.3.4".parse().unwrap());
    world.expect("document:a#guest@user:v yes");
    world.peer_ip = Some("11.2.3.4".parse().unwrap());
    world.expect("document:a#guest@user:v no");
}

#[test]
fn a_lookup_of_subjects_judges_each_by_its_own_attributes() {
    let world = world(&[
        "document:a#reader@user:*[calm:{\"amount\":1}]",
        "document:a#owner@user:ann[at_home]",
        "document:a#owner@user:bob[at_home]",
        "document:a#owner@user:eve[at_home]",
        &attribute("document:a", "env", r#""x""#),
        &attribute("user:ann", "env", r#""x""#),
        &attribute("user:bob", "env", r#""y""#),
        &attribute("user:ann", "risk", "1"),
        &attribute("user:bob", "risk", "9"),
    ]);
    let found = |permission: &str| {
        let list = |evaluation: &crate::Evaluation<'_>| {
            let resource = "document:a".parse().unwrap();
            let (permission, user) = (permission.parse().unwrap(), "user".parse().unwrap());
            let found = lookup_subjects(evaluation, &resource, &permission, &user, None).unwrap();
            let line = |item: &FoundSubject| {
                let mut line = format!("{} {:?}", item.id, item.membership);
                item.excluded.iter().for_each(|one| line.push_str(&format!(" -{}", one.id)));
                line
            };
            found.page(evaluation, None, 100).unwrap().iter().map(line).collect::<Vec<_>>()
        };
        let (read, indexed) = world.ask(world.datastore.head(), list);
        assert_eq!(read, indexed);
        read
    };
    // Eve's home is not known; of everybody else nothing is known, but of Ann and Bob.
    assert_eq!(found("owner"), ["ann Member", "eve Conditional({\"home\"})"]);
    assert_eq!(found("view"), ["* Conditional({\"risk\"}) -bob", "ann Member"]);
}

#[test]
fn attributes_of_a_type_are_listed_once_each() {
    let world = world(&[
        &attribute("user:ann", "env", "1"),
        &attribute("user:ann", "risk", "1"),
        &attribute("user:bob", "env", "1"),
    ]);
    world.update(stonetown_tuple::Operation::Touch, Source(7), &[&attribute("user:bob", "env", "2")]);
    world.ask(world.datastore.head(), |evaluation| {
        let mut seen = Vec::new();
        let user = evaluation.plan.find_type(&"user".parse().unwrap()).unwrap();
        let mut visit = |object| {
            seen.push(object);
            ControlFlow::Continue(())
        };
        super::Attributes::new(evaluation).owners(user, &mut visit).unwrap();
        seen.dedup();
        assert_eq!(seen.len(), 2);
    });
    assert!(Attribute::of(&attribute("user:ann", "env", "1").parse().unwrap()).is_some());
}
