#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tuple::Relationship;

use super::{CaveatResult, Trace, explain};
use crate::testing::World;
use crate::{GraphError, Limits, Membership};

/// A trace on one line: each question with its answer, and in brackets those that it led to.
fn show(trace: &Trace) -> String {
    let result = match &trace.result {
        Some(Membership::Member) => "yes".to_owned(),
        Some(Membership::NotMember) => "no".to_owned(),
        Some(Membership::Conditional(names)) => format!("{names:?}"),
        None => "?".to_owned(),
    };
    let caveats: String = trace.caveats.iter().map(|caveat| format!(" if {}", caveat.name)).collect();
    let parts: Vec<String> = trace.parts.iter().map(show).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    let known = if trace.known { " (known)" } else { "" };
    format!("{}#{} {result}{caveats}{known}{parts}", trace.resource, trace.permission)
}

fn explained(world: &World, question: &str) -> Result<Trace, GraphError> {
    let asked: Relationship = question.parse().unwrap();
    let (_, indexed) = world.ask(world.datastore.head(), |evaluation| {
        explain(evaluation, &asked.resource, &asked.relation, &asked.subject)
    });
    let (answer, trace) = indexed?;
    assert_eq!(Ok(answer.membership), world.answer(question).map(|answer| answer.membership).map_err(|_| ()));
    Ok(trace)
}

const SCHEMA: &str = "
    caveat office(place string, floor int) { place == \"office\" && floor > 0 }
    definition user {}
    definition group { relation member: user | group#member }
    definition folder {
        relation parent: folder
        relation viewer: user
        permission view = viewer + parent->view
    }
    definition document {
        relation parent: folder
        relation viewer: user | group#member | user with office
        relation banned: user
        permission view = viewer + parent->view - banned
    }";

#[test]
fn a_trace_leads_to_what_decided() {
    let mut world = World::new(
        SCHEMA,
        &[
            "document:a#viewer@group:g#member",
            "group:g#member@user:u",
            r#"document:b#viewer@user:u[office:{"floor":3}]"#,
            "document:c#parent@folder:f",
            "folder:f#parent@folder:e",
            "folder:e#parent@folder:f",
            "folder:e#viewer@user:u",
            "document:d#viewer@user:u",
            "document:d#banned@user:u",
        ],
    );
    let line = |world: &World, question: &str| show(&explained(world, question).unwrap());
    assert_eq!(
        line(&world, "document:a#view@user:u"),
        "document:a#view yes (document:a#viewer yes (group:g#member yes), document:a#banned no)"
    );
    assert_eq!(
        line(&world, "document:c#view@user:u"),
        "document:c#view yes (document:c#viewer no, folder:f#view yes (folder:f#viewer no, \
         folder:e#view yes (folder:e#viewer yes)), document:c#banned no)"
    );
    assert_eq!(
        line(&world, "document:c#view@user:x"),
        "document:c#view no (document:c#viewer no, folder:f#view no (folder:f#viewer no, \
         folder:e#view no (folder:e#viewer no, folder:f#view no (known))))"
    );
    assert_eq!(
        line(&world, "document:d#view@user:u"),
        "document:d#view no (document:d#viewer yes, document:d#banned yes)"
    );
    assert_eq!(
        line(&world, "document:b#view@user:u"),
        r#"document:b#view {"place"} (document:b#viewer {"place"} if office, document:b#banned no)"#
    );
    world.context.insert("place".to_owned(), "home".into());
    world.context.insert("floor".to_owned(), 0.into());
    let trace = explained(&world, "document:b#view@user:u").unwrap();
    let caveat = &trace.parts[0].caveats[0];
    assert_eq!(caveat.result, Some(CaveatResult::False));
    assert_eq!(serde_json_text(&caveat.context), r#"{"floor":3,"place":"home"}"#);
    assert!(caveat.expression.contains("office"));
}

fn serde_json_text(context: &stonetown_tuple::CaveatContext) -> String {
    let mut fields: Vec<String> = context.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    fields.sort();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn traces_are_bounded() {
    let mut world = World::new(SCHEMA, &["folder:n100#viewer@user:u"]);
    let links: Vec<String> = (0..100).map(|n| format!("folder:n{n}#parent@folder:n{}", n + 1)).collect();
    world.write(&links.iter().map(String::as_str).collect::<Vec<_>>());
    fn depth(trace: &Trace) -> usize {
        1 + trace.parts.iter().map(depth).max().unwrap_or(0)
    }
    fn size(trace: &Trace) -> usize {
        1 + trace.parts.iter().map(size).sum::<usize>()
    }
    let trace = explained(&world, "folder:n0#view@user:u").unwrap();
    assert_eq!(trace.result, Some(Membership::Member));
    assert_eq!(depth(&trace), 41);
    world.limits = Limits { trace_nodes_max: 10, ..Limits::default() };
    assert!(size(&explained(&world, "folder:n0#view@user:u").unwrap()) <= 10);
}
