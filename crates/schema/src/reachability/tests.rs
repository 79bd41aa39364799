#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::testing::compiled;

const SCHEMA: &str = "use self
caveat on_day(day string) { day == '' }
definition user { permission itself = self }
definition group {
    relation member: user | group#member with on_day
    permission all = member
}
definition folder {
    relation parent: folder
    relation owner: user
    permission view = owner + parent->view
    permission alone = nil
}
definition document {
    relation folder: folder | group
    relation viewer: user:* | group#all
    relation banned: user
    permission inherited = folder->view
    permission strict = folder.all(member)
    permission view = (viewer + inherited) - banned
    permission dead = folder->none
}";

/// As `definition#name`, separated by spaces; permissions with a `!`.
fn names(reached: Vec<Reached<'_>>) -> String {
    let names = reached.iter().map(|one| {
        let mark = if matches!(one.member, Member::Permission(_)) { "!" } else { "" };
        format!("{}#{}{mark}", one.definition.name, one.member.name())
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_permission_depends_on() {
    let schema = compiled(SCHEMA);
    for (definition, member, expected) in [
        ("user", "itself", ""),
        ("group", "all", "group#member"),
        ("group", "member", ""),
        ("folder", "view", "folder#owner folder#parent"),
        ("folder", "alone", ""),
        ("document", "viewer", "group#all! group#member"),
        ("document", "inherited", "document#folder folder#owner folder#parent folder#view!"),
        ("document", "strict", "document#folder group#member"),
        ("document", "dead", "document#folder"),
        (
            "document",
            "view",
            "document#banned document#folder document#inherited! document#viewer \
             folder#owner folder#parent folder#view! group#all! group#member",
        ),
        ("document", "none", ""),
        ("none", "view", ""),
    ] {
        assert_eq!(names(dependencies(&schema, definition, member)), expected, "{definition}#{member}");
    }
}

#[test]
fn what_depends_on_a_relation_or_type() {
    let schema = compiled(SCHEMA);
    let of_view = "document#inherited! document#view! folder#view!";
    for (definition, member, expected) in [
        ("group", Some("member"), "document#strict! document#view! document#viewer group#all!"),
        ("group", Some("all"), "document#view! document#viewer"),
        ("folder", Some("owner"), of_view),
        ("folder", Some("parent"), of_view),
        ("folder", Some("view"), "document#inherited! document#view!"),
        ("document", Some("folder"), "document#dead! document#inherited! document#strict! document#view!"),
        ("document", Some("banned"), "document#view!"),
        ("document", Some("view"), ""),
        ("group", Some("none"), ""),
        ("document", Some("none"), ""),
        ("none", None, ""),
        ("document", None, ""),
        ("group", None, "document#dead! document#folder document#inherited! document#strict! document#view!"),
        (
            "user",
            None,
            "document#banned document#inherited! document#strict! document#view! document#viewer \
             folder#owner folder#view! group#all! group#member user#itself!",
        ),
    ] {
        assert_eq!(names(dependents(&schema, definition, member)), expected, "{definition}#{member:?}");
    }
}

#[test]
fn a_large_schema_takes_no_time() {
    use std::fmt::Write;
    let mut text = "definition user {}\ndefinition hub { relation user: user".to_owned();
    for number in 0..1_000 {
        write!(text, " | leaf{number}").unwrap();
    }
    text.push('\n');
    for number in 0..900 {
        writeln!(text, "permission perm{number} = user->rel{}", number % 500).unwrap();
    }
    text.push_str("}\n");
    for number in 0..1_000 {
        writeln!(text, "definition leaf{number} {{ relation rel{}: user }}", number % 500).unwrap();
    }
    let schema = compiled(&text);
    assert_eq!(dependents(&schema, "user", None).len(), 1_901);
    assert_eq!(dependents(&schema, "leaf7", Some("rel7")).len(), 2);
    assert_eq!(dependencies(&schema, "hub", "perm7").len(), 3);
}
