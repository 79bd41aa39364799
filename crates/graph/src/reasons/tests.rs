#![allow(clippy::unwrap_used)]

use stonetown_tuple::{Operation, Relationship, Source};

use super::{Hold, Reasons, Step, reasons};
use crate::Limits;
use crate::membership::Membership;
use crate::testing::World;

const SCHEMA: &str = "
    use expiration
    caveat on_day(day string) { day == \"tuesday\" }
    definition user {}
    definition group { relation member: user | group#member | user with expiration }
    definition folder { relation viewer: user; permission view = viewer }
    definition document {
        relation viewer: user | group#member | user with on_day | user with expiration
        relation banned: user
        relation pardoned: user
        relation parent: folder
        permission view = viewer - (banned - pardoned)
        permission all_parents = parent.all(view)
        permission both = viewer & pardoned
    }";

/// The reasons of `document:a#view@user:b`, the same from the snapshot and from the index.
fn ask(world: &World, question: &str) -> Reasons {
    let asked: Relationship = question.parse().unwrap();
    let (read, indexed) = world.ask(world.datastore.head(), |evaluation| {
        reasons(evaluation, &asked.resource, &asked.relation, &asked.subject, 5).unwrap()
    });
    assert_eq!((&read.path, &read.misses, read.cut), (&indexed.path, &indexed.misses, indexed.cut), "{question}");
    indexed
}

/// A line for each step, `!` before those that are essential.
fn lines(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| format!("{}{}", if step.essential { "!" } else { "" }, step.relationship);
    steps.iter().map(line).collect()
}

#[test]
fn a_way_leads_through_groups_that_contain_each_other() {
    let world = World::new(
        SCHEMA,
        &[
            "document:a#viewer@group:a#member",
            "group:a#member@group:b#member",
            "group:b#member@group:a#member",
            "group:b#member@group:c#member",
            "group:c#member@user:ann",
        ],
    );
    let found = ask(&world, "document:a#view@user:ann");
    assert_eq!(
        lines(&found.path),
        [
            "!document:a#viewer@group:a#member",
            "!group:a#member@group:b#member",
            "!group:b#member@group:c#member",
            "!group:c#member@user:ann"
        ]
    );
    assert!(ask(&world, "document:a#view@user:bob").misses.is_empty());
}

#[test]
fn what_keeps_an_exclusion_from_applying_is_shown_and_not_essential() {
    let world = World::new(
        SCHEMA,
        &["document:a#viewer@user:ann", "document:a#banned@user:ann", "document:a#pardoned@user:ann"],
    );
    let found = ask(&world, "document:a#view@user:ann");
    assert_eq!(lines(&found.path), ["!document:a#viewer@user:ann", "document:a#pardoned@user:ann"]);
    assert_eq!(found.not_excluded_by, ["(document:a#banned - document:a#pardoned)"]);
    world.delete(&["document:a#pardoned@user:ann"]);
    let found = ask(&world, "document:a#view@user:ann");
    assert_eq!(lines(&found.misses[0].path), ["!document:a#viewer@user:ann"]);
    assert_eq!(lines(&found.misses[0].exclusions[0].path), ["!document:a#banned@user:ann"]);
}

#[test]
fn all_parents_are_part_of_the_way_and_one_that_is_lacking_is_named() {
    let world =
        World::new(SCHEMA, &["document:a#parent@folder:f", "document:a#parent@folder:g", "folder:f#viewer@user:ann"]);
    let found = ask(&world, "document:a#all_parents@user:ann");
    assert_eq!(found.misses[0].lacking, ["folder:g#view"]);
    world.write(&["folder:g#viewer@user:ann"]);
    assert_eq!(ask(&world, "document:a#all_parents@user:ann").path.len(), 4);
}

#[test]
fn a_relationship_of_several_sources_is_shown_by_the_one_that_counts() {
    let world = World::new(SCHEMA, &["document:a#viewer@user:ann[expiration:2020-01-01T00:00:00Z]"]);
    let found = ask(&world, "document:a#view@user:ann");
    assert_eq!(found.misses[0].path[0].state, Hold::Expired);
    world.update(Operation::Touch, Source(7), &["document:a#viewer@user:ann[expiration:2031-01-01T00:00:00Z]"]);
    world.update(Operation::Touch, Source(8), &["document:a#viewer@user:ann[expiration:2032-01-01T00:00:00Z]"]);
    let found = ask(&world, "document:a#view@user:ann");
    assert_eq!((found.path[0].source, found.path[0].essential), (Source(8), true));
}

#[test]
fn a_search_is_cut_at_its_limit_and_the_answer_stays() {
    let chain: Vec<String> = (0..50).map(|n| format!("group:g{n}#member@group:g{}#member", n + 1)).collect();
    let mut relationships: Vec<&str> = chain.iter().map(String::as_str).collect();
    relationships.extend(["document:a#viewer@group:g0#member", "group:g50#member@user:ann"]);
    let mut world = World::new(SCHEMA, &relationships);
    let found = ask(&world, "document:a#view@user:ann");
    assert!(found.path.len() == 52 && !found.cut);
    world.limits = Limits { weighed_max: 20, ..Limits::default() };
    let found = ask(&world, "document:a#view@user:ann");
    assert!(found.path.is_empty() && found.cut);
    assert_eq!(found.answer.membership, Membership::Member);
}

#[test]
fn misses_begin_with_the_fewest_obstacles() {
    let world = World::new(
        SCHEMA,
        &[
            "document:a#viewer@group:g#member",
            "group:g#member@user:ann[expiration:2020-01-01T00:00:00Z]",
            "document:a#viewer@user:ann[on_day:{\"day\":\"monday\"}]",
            "document:a#banned@user:ann",
        ],
    );
    let found = ask(&world, "document:a#both@user:ann");
    let obstacles: Vec<usize> = found
        .misses
        .iter()
        .map(|miss| miss.path.iter().filter(|step| step.state != Hold::Holds).count() + 4 * miss.lacking.len())
        .collect();
    assert!(obstacles.len() == 2 && obstacles.is_sorted(), "{obstacles:?}");
}

#[test]
fn the_relationships_that_are_shown_are_limited_and_a_way_is_shown_whole_or_not_at_all() {
    let mut world = World::new(
        SCHEMA,
        &["document:a#viewer@group:a#member", "group:a#member@group:b#member", "group:b#member@user:ann"],
    );
    for (shown_max, shown) in [(3, 3), (2, 0)] {
        world.limits = Limits { shown_max, ..Limits::default() };
        let found = ask(&world, "document:a#view@user:ann");
        assert_eq!((found.path.len(), found.cut), (shown, shown == 0));
        assert_eq!(found.answer.membership, Membership::Member);
    }
}

/// Does it on a stack as small as that of no thread of a server.
fn on_a_small_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

#[test]
fn long_ways_take_no_stack() {
    const LENGTH: usize = 5_000;
    let mut relationships: Vec<String> =
        (0..LENGTH).map(|n| format!("group:g{n}#member@group:g{}#member", n + 1)).collect();
    relationships.push("document:a#viewer@group:g0#member".to_owned());
    relationships.push(format!("group:g{LENGTH}#member@user:ann"));
    relationships.push(format!("group:g{LENGTH}#member@user:bob[expiration:2020-01-01T00:00:00Z]"));
    let relationships: Vec<&str> = relationships.iter().map(String::as_str).collect();
    let mut world = World::new(SCHEMA, &relationships);
    world.limits = Limits { shown_max: 10 * LENGTH, ..Limits::default() };
    on_a_small_stack(|| {
        let found = ask(&world, "document:a#view@user:ann");
        assert_eq!((found.path.len(), found.cut), (LENGTH + 2, false));
        let missed = ask(&world, "document:a#view@user:bob");
        assert_eq!((missed.misses.len(), missed.cut), (1, false));
    });
}

#[test]
fn long_ways_through_exclusions_take_no_stack() {
    const LENGTH: usize = 2_000;
    let schema = "
        definition user {}
        definition folder {
            relation parent: folder
            relation viewer: user
            relation banned: user
            permission barred = banned + parent->barred - viewer
            permission view = viewer + parent->view - barred
        }";
    let mut relationships: Vec<String> = (0..LENGTH).map(|n| format!("folder:f{n}#parent@folder:f{}", n + 1)).collect();
    relationships.push(format!("folder:f{LENGTH}#viewer@user:ann"));
    relationships.push(format!("folder:f{LENGTH}#banned@user:ann"));
    relationships.push(format!("folder:f{LENGTH}#banned@user:bob"));
    let relationships: Vec<&str> = relationships.iter().map(String::as_str).collect();
    let mut world = World::new(schema, &relationships);
    world.limits = Limits { shown_max: 10 * LENGTH, ..Limits::default() };
    on_a_small_stack(|| {
        let found = ask(&world, "folder:f0#view@user:ann");
        assert_eq!(found.answer.membership, Membership::Member);
        assert!(found.path.len() >= LENGTH || found.cut);
        assert!(ask(&world, "folder:f0#view@user:bob").path.is_empty());
    });
}

#[test]
fn exclusions_within_exclusions_beyond_the_bound_are_cut() {
    let levels = 40;
    let relations: String = (0..=levels).map(|n| format!("relation rel{n}: user\n")).collect();
    let expression = (0..levels).rev().fold(format!("rel{levels}"), |inner, n| format!("rel{n} - ({inner})"));
    let schema = format!("definition user {{}}\ndefinition document {{\n{relations}permission view = {expression}\n}}");
    let relationships: Vec<String> = (0..=levels).map(|n| format!("document:a#rel{n}@user:ann")).collect();
    let relationships: Vec<&str> = relationships.iter().map(String::as_str).collect();
    let world = World::new(&schema, &relationships);
    on_a_small_stack(|| {
        let found = ask(&world, "document:a#view@user:ann");
        assert_eq!(found.answer.membership, Membership::Member);
        assert!(found.cut);
    });
}

/// Each level is needed twice by the one above: as a tree the way would have more relationships than there is time for.
#[test]
fn what_is_needed_twice_is_followed_once() {
    let schema = "
        definition user {}
        definition folder {
            relation left: folder
            relation right: folder
            relation viewer: user
            permission view = viewer + (left->view & right->view)
        }";
    let mut relationships = vec!["folder:f80#viewer@user:ann".to_owned()];
    for n in 0..80 {
        relationships.push(format!("folder:f{n}#left@folder:f{}", n + 1));
        relationships.push(format!("folder:f{n}#right@folder:f{}", n + 1));
    }
    let relationships: Vec<&str> = relationships.iter().map(String::as_str).collect();
    let world = World::new(schema, &relationships);
    assert_eq!(ask(&world, "folder:f0#view@user:ann").path.len(), 161);
    assert!(ask(&world, "folder:f0#view@user:bob").misses.is_empty());
}
