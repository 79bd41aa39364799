#![allow(clippy::unwrap_used, clippy::panic)]

use super::{Body, Expression, NodeId, Plan, SubjectClass};
use crate::testing::World;

fn plan(schema: &str) -> Plan {
    let world = World::new(schema, &[]);
    Plan::compile(world.schema.clone(), world.snapshot(world.datastore.head()).as_ref())
}

fn node(plan: &Plan, owner: &str, name: &str) -> NodeId {
    plan.find_node(plan.find_type(&owner.parse().unwrap()).unwrap(), &name.parse().unwrap()).unwrap()
}

fn class(plan: &Plan, owner: &str, name: Option<&str>) -> SubjectClass {
    plan.find_class(&owner.parse().unwrap(), name.map(|name| name.parse().unwrap()).as_ref()).unwrap()
}

const SCHEMA: &str = "
    use expiration
    caveat office(place string) { place == \"office\" }
    definition user {}
    definition agent {}
    definition group { relation member: user | group#member }
    definition folder {
        relation parent: folder
        relation viewer: user | user:* | user with office | group#member with expiration | agent
        relation banned: user
        permission view = parent->view + viewer
        permission strict = viewer - banned
        permission odd = viewer - parent->odd
        permission agents = viewer & banned
        permission all_parents = parent.all(view)
        permission nobody = nil
    }";

#[test]
fn tables_are_shared_by_allowed_types_that_differ_only_in_traits() {
    let plan = plan(SCHEMA);
    let Body::Relation(slots) = &plan.node(node(&plan, "folder", "viewer")).body else { panic!("a relation") };
    let flags: Vec<_> = slots
        .iter()
        .map(|slot| plan.table(*slot))
        .map(|table| (table.class, table.may_wildcard, table.may_caveat, table.may_expire))
        .collect();
    let agent = (class(&plan, "agent", None), false, false, false);
    let user = (class(&plan, "user", None), true, true, false);
    let group = (class(&plan, "group", Some("member")), false, false, true);
    assert_eq!(flags, [agent, user, group]);
    assert!(plan.tables().iter().all(|table| table.id.is_some()));
}

#[test]
fn who_can_be_a_member_follows_from_the_schema() {
    let plan = plan(SCHEMA);
    let can = |name: &str, owner: &str, relation: Option<&str>| {
        plan.can_hold(node(&plan, "folder", name), class(&plan, owner, relation))
    };
    assert!(can("view", "user", None) && can("view", "agent", None));
    assert!(can("view", "group", Some("member")) && can("view", "folder", Some("viewer")));
    assert!(!can("view", "folder", Some("banned")) && !can("view", "group", None));
    assert!(can("strict", "agent", None) && !can("banned", "agent", None));
    assert!(!can("agents", "agent", None), "an intersection needs all operands");
    assert!(can("nobody", "folder", Some("nobody")) && !can("nobody", "user", None));
}

#[test]
fn facts_about_recursion_and_negation() {
    let plan = plan(SCHEMA);
    let of = |name: &str| plan.node(node(&plan, "folder", name));
    assert!(of("view").monotone && of("view").recursive && !of("viewer").recursive);
    for name in ["strict", "odd", "agents", "all_parents"] {
        assert!(!of(name).monotone && of(name).walk.is_none(), "{name}");
    }
    let cyclic = |name: &str| match &of(name).body {
        Body::Permission(Expression::Exclusion(exclusion)) => exclusion.cyclic,
        _ => panic!("an exclusion"),
    };
    assert!(cyclic("odd") && !cyclic("strict"));
    assert!(plan.depends(node(&plan, "folder", "view"), node(&plan, "group", "member")));
    assert!(!plan.depends(node(&plan, "group", "member"), node(&plan, "folder", "view")));
    assert!(of("view").component > plan.node(node(&plan, "group", "member")).component);
}

#[test]
fn a_walk_unfolds_what_is_computed_on_the_same_object() {
    let plan = plan(SCHEMA);
    let walk = plan.node(node(&plan, "folder", "view")).walk.as_ref().unwrap();
    assert_eq!(walk.direct.len(), 2);
    let targets: Vec<_> = walk.steps.iter().map(|step| step.target).collect();
    assert_eq!(targets, [node(&plan, "group", "member"), node(&plan, "folder", "view")]);
    let nodes: Vec<_> = walk.nodes.iter().map(NodeId).collect();
    let mut expected = [node(&plan, "folder", "viewer"), node(&plan, "folder", "view")];
    expected.sort();
    assert_eq!(nodes, expected);
}
