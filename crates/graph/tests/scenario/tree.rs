//! Trees as text, in which the order of parts and their repetition make no difference.

use stonetown_graph::reference::{Parts, Tree};
use stonetown_graph::{ExpandNode, ExpandOperation, ExpandTree};

pub fn of_engine(tree: &ExpandTree) -> String {
    let parts = |parts: &[ExpandTree]| parts.iter().map(of_engine).collect();
    let inside = match &tree.node {
        ExpandNode::Leaf(subjects) => together("who", subjects.iter().map(ToString::to_string).collect()),
        ExpandNode::Operation(ExpandOperation::Union, union) => together("any", parts(union)),
        ExpandNode::Operation(ExpandOperation::Intersection, intersection) => together("all", parts(intersection)),
        ExpandNode::Operation(ExpandOperation::Exclusion, exclusion) => without(&parts(exclusion)),
    };
    format!("{}#{} {inside}", tree.object, tree.relation)
}

pub fn of_reference(tree: &Tree) -> String {
    let parts = |parts: &[Tree]| parts.iter().map(of_reference).collect();
    let inside = match &tree.parts {
        Parts::Subjects(subjects) => together("who", subjects.iter().map(ToString::to_string).collect()),
        Parts::Any(union) => together("any", parts(union)),
        Parts::All(intersection) => together("all", parts(intersection)),
        Parts::Without(exclusion) => without(&parts(exclusion)),
    };
    format!("{}#{} {inside}", tree.object, tree.name)
}

fn together(how: &str, mut parts: Vec<String>) -> String {
    parts.sort();
    parts.dedup();
    format!("{how}({})", parts.join(", "))
}

fn without(parts: &[String]) -> String {
    format!("without({})", parts.join(", "))
}
