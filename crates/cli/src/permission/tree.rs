//! An expanded permission, as an indented tree.

use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1::PermissionRelationshipTree;
use stonetown_api::proto::authzed::api::v1::algebraic_subject_set::Operation;
use stonetown_api::proto::authzed::api::v1::permission_relationship_tree::TreeType;

use crate::wire;

/// The tree as text.
pub(crate) fn text(tree: &PermissionRelationshipTree) -> String {
    let mut text = String::new();
    write_node(tree, 0, &mut text);
    text
}

fn write_node(tree: &PermissionRelationshipTree, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}{}", name(tree)));
    match &tree.tree_type {
        Some(TreeType::Intermediate(set)) => {
            text.push_str(&format!(" {}\n", operation(set.operation())));
            set.children.iter().for_each(|child| write_node(child, depth + 1, text));
        }
        Some(TreeType::Leaf(leaf)) => {
            text.push('\n');
            for subject in &leaf.subjects {
                text.push_str(&format!("{indent}  {}\n", wire::subject_text(subject)));
            }
        }
        None => text.push('\n'),
    }
}

fn name(tree: &PermissionRelationshipTree) -> String {
    let object = tree.expanded_object.as_ref().map(wire::object_text).unwrap_or_default();
    format!("{object}#{}", tree.expanded_relation)
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Union => "union",
        Operation::Intersection => "intersection",
        Operation::Exclusion => "exclusion",
        Operation::Unspecified => "",
    }
}

/// The tree as JSON.
pub(crate) fn json(tree: &PermissionRelationshipTree) -> Value {
    match &tree.tree_type {
        Some(TreeType::Intermediate(set)) => json!({
            "expanded": name(tree),
            "operation": operation(set.operation()),
            "children": set.children.iter().map(json).collect::<Vec<_>>(),
        }),
        Some(TreeType::Leaf(leaf)) => json!({
            "expanded": name(tree),
            "subjects": leaf.subjects.iter().map(wire::subject_text).collect::<Vec<_>>(),
        }),
        None => json!({ "expanded": name(tree) }),
    }
}
