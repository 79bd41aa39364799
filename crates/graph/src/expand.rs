//! Who is in a relation or permission, as a tree that follows the expression.
//!
//! The tree is shallow: it follows computed usersets and arrows to the relations behind them, but a userset that stands in
//! a relationship stays a leaf. Relationships under a caveat are in it like others; those that do not hold at the moment
//! are not.

#[cfg(test)]
mod tests;

use stonetown_schema::{ArrowFunction, Expression};
use stonetown_storage::{Direction, Ordinal};
use stonetown_tuple::{ObjectId, ObjectRef, RelationName, SubjectId, SubjectRef};

use crate::conditions::Conditions;
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::fault::{PlantedFault, planted};
use crate::limits::Meter;
use crate::plan::{Body, NodeId, Plan, Slot, SubjectClass, TypeIndex};
use crate::relations::Relations;

/// A relation or permission of an object, or a part of its expression, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandTree {
    /// The object.
    pub object: ObjectRef,
    /// Its relation or permission.
    pub relation: RelationName,
    /// What it is made of.
    pub node: ExpandNode,
}

/// What a part is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandNode {
    /// These subjects, which stand in relationships.
    Leaf(Vec<SubjectRef>),
    /// Other parts. An empty union is nobody.
    Operation(ExpandOperation, Vec<ExpandTree>),
}

/// How parts are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpandOperation {
    /// In any.
    Union,
    /// In all.
    Intersection,
    /// In the first and in none of the others.
    Exclusion,
}

/// Takes a relation or permission apart. What leads back to a part around it is an empty union there: it adds nobody.
///
/// # Errors
/// See [`GraphError`]; beyond [`crate::Limits::trace_nodes_max`] parts the tree is refused.
pub fn expand(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
) -> Result<ExpandTree, GraphError> {
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = evaluation.plan.find_node(object_type, permission)?;
    let mut expander = Expander {
        plan: evaluation.plan,
        relations,
        conditions: Conditions::new(evaluation, None),
        meter: Meter::for_check(evaluation.limits, evaluation.deadline, evaluation.cancel),
        path: Vec::new(),
        nodes: 0,
        nodes_max: evaluation.limits.trace_nodes_max,
    };
    expander.expand(node, object)
}

/// Bytes of stack that must be left before going deeper, and bytes to add then.
const STACK_RED_ZONE: usize = 64 << 10;
const STACK_SEGMENT: usize = 1 << 20;
/// What a part or a subject holds, roughly.
const PART_BYTES: u64 = 200;

struct Expander<'a> {
    plan: &'a Plan,
    relations: Relations<'a>,
    conditions: Conditions<'a>,
    meter: Meter<'a>,
    /// The parts around, outermost first.
    path: Vec<(NodeId, Ordinal)>,
    nodes: u64,
    nodes_max: u64,
}

impl Expander<'_> {
    fn expand(&mut self, node: NodeId, object: Ordinal) -> Result<ExpandTree, GraphError> {
        if self.path.contains(&(node, object)) {
            return self.tree(node, object, ExpandNode::Operation(ExpandOperation::Union, Vec::new()));
        }
        self.path.push((node, object));
        self.meter.depth_reached(self.path.len())?;
        let tree = stacker::maybe_grow(STACK_RED_ZONE, STACK_SEGMENT, || self.expand_body(node, object));
        self.path.pop();
        tree
    }

    fn expand_body(&mut self, node: NodeId, object: Ordinal) -> Result<ExpandTree, GraphError> {
        let plan = self.plan;
        let Body::Permission(_) = &plan.node(node).body else { return self.leaf(node, object) };
        let owner = plan.object_type(plan.node(node).owner).name.as_str();
        let definition = plan.schema().definition(owner);
        match definition.and_then(|definition| definition.permission(plan.node(node).name.as_str())) {
            Some(permission) => self.expression(node, object, &permission.expression, true),
            None => self.operation(node, object, ExpandOperation::Union, Vec::new()),
        }
    }

    /// At the top of a permission, even a single operand is a union of one.
    fn expression(
        &mut self,
        node: NodeId,
        object: Ordinal,
        expression: &Expression,
        top: bool,
    ) -> Result<ExpandTree, GraphError> {
        let several = |this: &mut Self, operation, operands: &[Expression]| {
            let parts = operands.iter().map(|operand| this.expression(node, object, operand, false));
            let parts = parts.collect::<Result<_, _>>()?;
            this.operation(node, object, operation, parts)
        };
        let owner = self.plan.node(node).owner;
        let part = match expression {
            Expression::Union(operands) => return several(self, ExpandOperation::Union, operands),
            Expression::Intersection(operands) => return several(self, ExpandOperation::Intersection, operands),
            Expression::Exclusion(left, right) => {
                let left = self.expression(node, object, left, false)?;
                let right = self.expression(node, object, right, false)?;
                return self.operation(node, object, ExpandOperation::Exclusion, vec![left, right]);
            }
            Expression::Nil => self.operation(node, object, ExpandOperation::Union, Vec::new())?,
            Expression::Itself => {
                let itself = self.subject(SubjectClass::Object(owner), object)?;
                self.tree(node, object, ExpandNode::Leaf(vec![itself]))?
            }
            Expression::Reference(name) => {
                let referred = self.plan.find_node(owner, name)?;
                self.expand(referred, object)?
            }
            Expression::Arrow { relation, target, function } => {
                self.arrow(node, object, relation, target, *function)?
            }
        };
        if top { self.operation(node, object, ExpandOperation::Union, vec![part]) } else { Ok(part) }
    }

    fn arrow(
        &mut self,
        node: NodeId,
        object: Ordinal,
        relation: &RelationName,
        target: &RelationName,
        function: ArrowFunction,
    ) -> Result<ExpandTree, GraphError> {
        let plan = self.plan;
        let relation = plan.find_node(plan.node(node).owner, relation)?;
        let mut parts = Vec::new();
        for slot in slots(plan, relation) {
            let Ok(target) = plan.find_node(plan.table(*slot).subject_type, target) else {
                if function == ArrowFunction::All && !self.live_row(*slot, object)?.is_empty() {
                    // Nobody has it on such an object, so nobody has it on all.
                    parts.push(self.operation(node, object, ExpandOperation::Union, Vec::new())?);
                }
                continue;
            };
            for other in self.live_row(*slot, object)? {
                if other != Ordinal::WILDCARD {
                    parts.push(self.expand(target, other)?);
                }
            }
        }
        let operation = match function {
            ArrowFunction::All if !parts.is_empty() => ExpandOperation::Intersection,
            ArrowFunction::All | ArrowFunction::Any => ExpandOperation::Union,
        };
        self.operation(node, object, operation, parts)
    }

    fn leaf(&mut self, node: NodeId, object: Ordinal) -> Result<ExpandTree, GraphError> {
        let plan = self.plan;
        let mut subjects = Vec::new();
        for slot in slots(plan, node) {
            let class = plan.table(*slot).class;
            for other in self.live_row(*slot, object)? {
                subjects.push(self.subject(class, other)?);
            }
        }
        self.tree(node, object, ExpandNode::Leaf(subjects))
    }

    fn live_row(&mut self, slot: Slot, object: Ordinal) -> Result<Vec<Ordinal>, GraphError> {
        let mut row = self.relations.row(slot, Direction::Forward, object)?;
        let mut live = Vec::new();
        while let Some(link) = row.next()? {
            self.meter.edges_seen(1)?;
            if self.conditions.is_live(link.terms) || planted(PlantedFault::TreeShowsEnded) {
                self.meter.bytes_held(PART_BYTES)?;
                live.push(link.other);
            }
        }
        Ok(live)
    }

    fn operation(
        &mut self,
        node: NodeId,
        object: Ordinal,
        operation: ExpandOperation,
        parts: Vec<ExpandTree>,
    ) -> Result<ExpandTree, GraphError> {
        self.tree(node, object, ExpandNode::Operation(operation, parts))
    }

    fn tree(&mut self, id: NodeId, object: Ordinal, parts: ExpandNode) -> Result<ExpandTree, GraphError> {
        self.nodes += 1;
        if self.nodes > self.nodes_max {
            return Err(GraphError::LimitExceeded { limit: "trace_nodes_max", value: self.nodes_max });
        }
        self.meter.bytes_held(PART_BYTES)?;
        let node = self.plan.node(id);
        let object = object_ref(self.plan, &self.relations, node.owner, object)?;
        Ok(ExpandTree { object, relation: node.name.clone(), node: parts })
    }

    fn subject(&self, class: SubjectClass, ordinal: Ordinal) -> Result<SubjectRef, GraphError> {
        subject_ref(self.plan, &self.relations, class, ordinal)
    }
}

fn slots(plan: &Plan, relation: NodeId) -> &[Slot] {
    match &plan.node(relation).body {
        Body::Relation(slots) => slots,
        Body::Permission(_) => &[],
    }
}

/// An object by its number.
pub(crate) fn object_ref(
    plan: &Plan,
    relations: &Relations<'_>,
    object_type: TypeIndex,
    ordinal: Ordinal,
) -> Result<ObjectRef, GraphError> {
    let id = relations.object_id(object_type, ordinal)?;
    let object_id = ObjectId::new(&*id).map_err(|error| damaged(&error))?;
    Ok(ObjectRef { object_type: plan.object_type(object_type).name.clone(), object_id })
}

/// A subject by its class and number.
pub(crate) fn subject_ref(
    plan: &Plan,
    relations: &Relations<'_>,
    class: SubjectClass,
    ordinal: Ordinal,
) -> Result<SubjectRef, GraphError> {
    let object_type = plan.type_of(class);
    let id = relations.object_id(object_type, ordinal)?;
    let id = SubjectId::new(&*id).map_err(|error| damaged(&error))?;
    let relation = match class {
        SubjectClass::Object(_) => None,
        SubjectClass::Userset(node) => Some(plan.node(node).name.clone()),
    };
    SubjectRef::new(plan.object_type(object_type).name.clone(), id, relation).map_err(|error| damaged(&error))
}

fn damaged(error: &dyn std::fmt::Display) -> GraphError {
    GraphError::Storage(stonetown_storage::StorageError::Damaged(error.to_string()))
}
