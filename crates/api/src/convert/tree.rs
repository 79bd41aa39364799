//! An expanded permission as the wire's tree.

use stonetown_authorizer::{ExpandNode, ExpandOperation, ExpandTree};
use tonic::Status;

use super::{object_to_wire, subject_to_wire};
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::algebraic_subject_set::Operation;
use crate::proto::authzed::api::v1::permission_relationship_tree::TreeType;
use crate::status;

/// Levels of a tree that is sent. Each is two nested messages, and common clients decode no more than a hundred.
const DEPTH_MAX: usize = 48;

/// The tree as a message.
///
/// # Errors
/// `FAILED_PRECONDITION` for one that is deeper than clients can read.
pub(crate) fn to_wire(tree: &ExpandTree) -> Result<wire::PermissionRelationshipTree, Status> {
    part(tree, DEPTH_MAX)
}

fn part(tree: &ExpandTree, levels_left: usize) -> Result<wire::PermissionRelationshipTree, Status> {
    let Some(levels_left) = levels_left.checked_sub(1) else { return Err(status::too_deep(DEPTH_MAX)) };
    let tree_type = match &tree.node {
        ExpandNode::Leaf(subjects) => {
            TreeType::Leaf(wire::DirectSubjectSet { subjects: subjects.iter().map(subject_to_wire).collect() })
        }
        ExpandNode::Operation(operation, parts) => {
            let operation = match operation {
                ExpandOperation::Union => Operation::Union,
                ExpandOperation::Intersection => Operation::Intersection,
                ExpandOperation::Exclusion => Operation::Exclusion,
            };
            let children: Result<_, Status> = parts.iter().map(|child| part(child, levels_left)).collect();
            TreeType::Intermediate(wire::AlgebraicSubjectSet { operation: operation.into(), children: children? })
        }
    };
    Ok(wire::PermissionRelationshipTree {
        expanded_object: Some(object_to_wire(&tree.object)),
        expanded_relation: tree.relation.as_str().to_owned(),
        tree_type: Some(tree_type),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use prost::Message;

    use super::*;

    fn leaf() -> ExpandTree {
        ExpandTree {
            object: "document:readme".parse().unwrap(),
            relation: "viewer".parse().unwrap(),
            node: ExpandNode::Leaf(vec!["user:alice".parse().unwrap(), "group:eng#member".parse().unwrap()]),
        }
    }

    fn nested(levels: usize) -> ExpandTree {
        (1..levels).fold(leaf(), |tree, _| ExpandTree {
            node: ExpandNode::Operation(ExpandOperation::Exclusion, vec![tree]),
            ..leaf()
        })
    }

    #[test]
    fn operations_and_leaves_keep_their_shape() {
        let tree = to_wire(&nested(2)).unwrap();
        let Some(TreeType::Intermediate(operation)) = tree.tree_type else { panic!("no operation") };
        assert_eq!(operation.operation(), Operation::Exclusion);
        let Some(TreeType::Leaf(leaf)) = &operation.children[0].tree_type else { panic!("no leaf") };
        assert_eq!(leaf.subjects[1].optional_relation, "member");
        assert_eq!(operation.children[0].expanded_relation, "viewer");
    }

    #[test]
    fn a_tree_at_the_depth_limit_can_be_decoded_and_a_deeper_one_is_refused() {
        let tree_root = Some(to_wire(&nested(DEPTH_MAX)).unwrap());
        let response = wire::ExpandPermissionTreeResponse { tree_root, ..Default::default() };
        assert_eq!(wire::ExpandPermissionTreeResponse::decode(&*response.encode_to_vec()).unwrap(), response);
        assert_eq!(to_wire(&nested(DEPTH_MAX + 1)).unwrap_err().code(), tonic::Code::FailedPrecondition);
    }
}
