#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tuple::Relationship;

use super::{ExpandNode, ExpandOperation, ExpandTree, expand};
use crate::testing::World;
use crate::{GraphError, Limits};

/// A tree on one line: `document:a#view=(… + …)`.
fn show(tree: &ExpandTree) -> String {
    let name = format!("{}#{}", tree.object, tree.relation);
    match &tree.node {
        ExpandNode::Leaf(subjects) => {
            let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
            format!("{name}[{}]", subjects.join(" "))
        }
        ExpandNode::Operation(operation, parts) => {
            let sign = match operation {
                ExpandOperation::Union => " + ",
                ExpandOperation::Intersection => " & ",
                ExpandOperation::Exclusion => " - ",
            };
            let parts: Vec<String> = parts.iter().map(show).collect();
            format!("{name}({})", if parts.is_empty() { "nobody".to_owned() } else { parts.join(sign) })
        }
    }
}

fn expanded(world: &World, question: &str) -> Result<String, GraphError> {
    let asked: Relationship = format!("{question}@none:none").parse().unwrap();
    let (read, indexed) =
        world.ask(world.datastore.head(), |evaluation| expand(evaluation, &asked.resource, &asked.relation));
    assert_eq!(read.as_ref().ok(), indexed.as_ref().ok());
    indexed.map(|tree| show(&tree))
}

#[test]
fn trees_follow_the_expression_and_stop_at_usersets() {
    let world = World::new(
        "use expiration
         use self
         definition user {}
         definition group { relation member: user | group#member }
         definition folder { relation viewer: user | user:*; permission view = viewer }
         definition document {
            relation parent: folder | group
            relation viewer: user | group#member | user with expiration
            relation owner: user
            relation banned: user
            permission one = viewer
            permission several = viewer + owner & viewer
            permission view = (viewer + parent->view) - banned
            permission on_all = parent.all(view)
            permission nobody = nil
            permission itself = self
         }",
        &[
            "document:a#viewer@user:u",
            "document:a#viewer@user:gone[expiration:2029-01-01T00:00:00Z]",
            "document:a#viewer@group:g#member",
            "group:g#member@user:inside",
            "document:a#owner@user:o",
            "document:a#parent@folder:f",
            "document:a#parent@group:g",
            "folder:f#viewer@user:*",
            "document:b#parent@folder:f",
        ],
    );
    let all = |question: &str| expanded(&world, question).unwrap();
    assert_eq!(all("document:a#viewer"), "document:a#viewer[user:u group:g#member]");
    assert_eq!(all("document:a#one"), "document:a#one(document:a#viewer[user:u group:g#member])");
    assert_eq!(
        all("document:a#several"),
        "document:a#several(document:a#several(document:a#viewer[user:u group:g#member] + document:a#owner[user:o]) & \
         document:a#viewer[user:u group:g#member])"
    );
    assert_eq!(
        all("document:a#view"),
        "document:a#view(document:a#view(document:a#viewer[user:u group:g#member] + \
         document:a#view(folder:f#view(folder:f#viewer[user:*]))) - document:a#banned[])"
    );
    assert_eq!(
        all("document:b#on_all"),
        "document:b#on_all(document:b#on_all(folder:f#view(folder:f#viewer[user:*])))"
    );
    assert!(all("document:a#on_all").ends_with("(nobody)))"), "{}", all("document:a#on_all"));
    assert_eq!(all("document:a#nobody"), "document:a#nobody(document:a#nobody(nobody))");
    assert_eq!(all("document:a#itself"), "document:a#itself(document:a#itself[document:a])");
    assert_eq!(all("document:unknown#one"), "document:unknown#one(document:unknown#viewer[])");
}

#[test]
fn cycles_end_and_large_trees_are_refused() {
    let mut world = World::new(
        "definition user {}
         definition folder { relation parent: folder; relation viewer: user; permission view = viewer + parent->view }",
        &["folder:a#parent@folder:b", "folder:b#parent@folder:a", "folder:b#viewer@user:u"],
    );
    assert_eq!(
        expanded(&world, "folder:a#view").unwrap(),
        "folder:a#view(folder:a#viewer[] + folder:a#view(folder:b#view(folder:b#viewer[user:u] + \
         folder:b#view(folder:a#view(nobody)))))"
    );
    world.limits = Limits { trace_nodes_max: 5, ..Limits::default() };
    let error = expanded(&world, "folder:a#view");
    assert!(matches!(error, Err(GraphError::LimitExceeded { limit: "trace_nodes_max", value: 5 })));
}
