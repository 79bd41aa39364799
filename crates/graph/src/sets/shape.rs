//! Which sets there are under a schema, and where the children of each come from.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use stonetown_storage::TableId;

use super::{Kind, Watched};
use crate::plan::{BitSet, Body, Expression, NodeId, Plan, Slot, SubjectClass, TypeIndex};

/// How far permissions are taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Usersets and the targets of arrows are sets of their own, wherever that is exact: one change of a group is one change.
    Shared,
    /// Every set holds its members.
    Flat,
}

/// The sets of some watched permissions under one schema.
#[derive(Debug)]
pub struct Sets {
    shapes: Vec<Shape>,
    slots: FxHashMap<TableId, Slot>,
    /// By slot: the direct sets that read it, as (shape, part).
    readers: Vec<Vec<(usize, usize)>>,
    /// By slot: the permissions with an arrow over it.
    arrows: Vec<Vec<NodeId>>,
    /// By node: its computed set.
    computed: FxHashMap<NodeId, usize>,
    /// The nodes that computed sets depend on.
    below: BitSet,
    unknown: Vec<Watched>,
}

/// The sets of one relation or permission.
#[derive(Debug)]
pub struct Shape {
    /// The relation or permission.
    pub node: NodeId,
    /// The type of the objects.
    pub owner: TypeIndex,
    /// Which subjects are members.
    pub classes: Vec<SubjectClass>,
    pub(super) body: ShapeBody,
}

/// Where the children of a set come from.
#[derive(Debug)]
pub(super) enum ShapeBody {
    /// From relationships of the object.
    Direct {
        parts: Vec<Part>,
        /// The object itself, or a userset of it, is a member of the set by identity or by `self`.
        itself: Vec<SubjectClass>,
    },
    /// From a lookup.
    Computed {
        /// Whether the object itself, or a userset of it, can be a member without any relationship.
        reflexive: bool,
    },
}

/// The children that one table gives to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) slot: Slot,
    pub(super) child: Kind,
}

/// A union, with all that is computed on the same object unfolded.
#[derive(Debug, Default)]
struct Union {
    nodes: Vec<NodeId>,
    direct: Vec<Slot>,
    steps: Vec<(Slot, NodeId)>,
    itself: bool,
}

impl Sets {
    /// The sets of `watched` under a schema. What the schema does not have is left out, see [`Sets::unknown`].
    #[must_use]
    pub fn compile(plan: &Plan, watched: &[Watched], form: Form) -> Sets {
        let mut unknown = Vec::new();
        let mut open = Vec::new();
        for permission in watched {
            match find(plan, permission) {
                Some(found) => open.push(found),
                None => unknown.push(permission.clone()),
            }
        }
        let mut wanted: BTreeMap<NodeId, BTreeSet<SubjectClass>> = BTreeMap::new();
        while let Some((node, class)) = open.pop() {
            if !plan.can_hold(node, class) || !wanted.entry(node).or_default().insert(class) || form == Form::Flat {
                continue;
            }
            let steps = unfold(plan, node).map(|union| union.steps).unwrap_or_default();
            open.extend(steps.into_iter().map(|(_, target)| (target, class)));
        }
        let shape = |(node, classes)| Shape::new(plan, node, classes, form);
        Sets::of(plan, wanted.into_iter().map(shape).collect(), unknown)
    }

    fn of(plan: &Plan, shapes: Vec<Shape>, unknown: Vec<Watched>) -> Sets {
        let mut readers = vec![Vec::new(); plan.tables().len()];
        let mut computed = FxHashMap::default();
        let mut below = BitSet::new(plan.nodes().len());
        for (shape, index) in shapes.iter().zip(0..) {
            match &shape.body {
                ShapeBody::Direct { parts, .. } => {
                    for (part, number) in parts.iter().zip(0..) {
                        readers[part.slot.0 as usize].push((index, number));
                    }
                }
                ShapeBody::Computed { .. } => {
                    computed.insert(shape.node, index);
                    (0..plan.nodes().len() as u32)
                        .filter(|node| plan.depends(shape.node, NodeId(*node)))
                        .for_each(|node| below.insert(node));
                }
            }
        }
        let mut arrows = vec![Vec::new(); plan.tables().len()];
        for (node, id) in plan.nodes().iter().zip((0..).map(NodeId)) {
            if let Body::Permission(expression) = &node.body {
                arrows_of(expression, &mut |slot| {
                    let over: &mut Vec<NodeId> = &mut arrows[slot.0 as usize];
                    if !over.contains(&id) {
                        over.push(id);
                    }
                });
            }
        }
        let slots = plan.tables().iter().filter_map(|table| Some((table.id?, table.slot))).collect();
        Sets { shapes, slots, readers, arrows, computed, below, unknown }
    }

    /// All sets, by the node; a position in a listing names one by its number here.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Watched permissions that the schema does not have.
    #[must_use]
    pub fn unknown(&self) -> &[Watched] {
        &self.unknown
    }

    pub(super) fn slot(&self, table: TableId) -> Option<Slot> {
        self.slots.get(&table).copied()
    }

    pub(super) fn readers(&self, slot: Slot) -> &[(usize, usize)] {
        &self.readers[slot.0 as usize]
    }

    pub(super) fn arrows(&self, slot: Slot) -> &[NodeId] {
        &self.arrows[slot.0 as usize]
    }

    pub(super) fn computed(&self, node: NodeId) -> Option<usize> {
        self.computed.get(&node).copied()
    }

    pub(super) fn is_below(&self, node: NodeId) -> bool {
        self.below.contains(node.0)
    }
}

impl Shape {
    fn new(plan: &Plan, node: NodeId, classes: BTreeSet<SubjectClass>, form: Form) -> Shape {
        let owner = plan.node(node).owner;
        let classes: Vec<SubjectClass> = classes.into_iter().collect();
        let union = if form == Form::Shared { unfold(plan, node) } else { None };
        let body = match union {
            Some(union) => direct(plan, &union, owner, &classes),
            None => ShapeBody::Computed { reflexive: classes.iter().any(|class| plan.type_of(*class) == owner) },
        };
        Shape { node, owner, classes, body }
    }

    /// Whether objects that only stand as subjects in relationships can have children.
    pub(super) fn is_reflexive(&self) -> bool {
        match &self.body {
            ShapeBody::Direct { itself, .. } => !itself.is_empty(),
            ShapeBody::Computed { reflexive } => *reflexive,
        }
    }
}

fn find(plan: &Plan, watched: &Watched) -> Option<(NodeId, SubjectClass)> {
    let owner = plan.find_type(&watched.resource_type).ok()?;
    let node = plan.find_node(owner, &watched.permission).ok()?;
    let class = plan.find_class(&watched.subject_type, watched.subject_relation.as_ref()).ok()?;
    Some((node, class))
}

fn direct(plan: &Plan, union: &Union, owner: TypeIndex, classes: &[SubjectClass]) -> ShapeBody {
    let mut parts: Vec<Part> = Vec::new();
    let mut add = |part: Part| {
        if !parts.contains(&part) {
            parts.push(part);
        }
    };
    for slot in &union.direct {
        let class = plan.table(*slot).class;
        if classes.contains(&class) {
            add(Part { slot: *slot, child: Kind::Member(class) });
        }
    }
    for (slot, target) in &union.steps {
        if classes.iter().any(|class| plan.can_hold(*target, *class)) {
            add(Part { slot: *slot, child: Kind::Set(*target) });
        }
    }
    let is_itself = |class: &&SubjectClass| match class {
        SubjectClass::Object(of) => union.itself && *of == owner,
        SubjectClass::Userset(node) => union.nodes.contains(node),
    };
    ShapeBody::Direct { parts, itself: classes.iter().filter(is_itself).copied().collect() }
}

/// The union that a node is on its object; `None` if an intersection, an exclusion or `.all` stands in it.
fn unfold(plan: &Plan, node: NodeId) -> Option<Union> {
    let mut union = Union { nodes: vec![node], ..Union::default() };
    let mut next = 0;
    while let Some(node) = union.nodes.get(next).copied() {
        next += 1;
        match &plan.node(node).body {
            Body::Relation(slots) => {
                for slot in slots {
                    match plan.table(*slot).class {
                        SubjectClass::Object(_) => union.direct.push(*slot),
                        SubjectClass::Userset(target) => union.steps.push((*slot, target)),
                    }
                }
            }
            Body::Permission(expression) => unfold_expression(expression, &mut union)?,
        }
    }
    Some(union)
}

fn unfold_expression(expression: &Expression, union: &mut Union) -> Option<()> {
    match expression {
        Expression::Nil => {}
        Expression::Itself => union.itself = true,
        Expression::Node(node) if union.nodes.contains(node) => {}
        Expression::Node(node) => union.nodes.push(*node),
        Expression::Arrow(arrow) if arrow.all => return None,
        Expression::Arrow(arrow) => {
            union.steps.extend(arrow.hops.iter().filter_map(|hop| Some((hop.table, hop.target?))));
        }
        Expression::Union(operands) => {
            for operand in operands {
                unfold_expression(operand, union)?;
            }
        }
        Expression::Intersection(_) | Expression::Exclusion(_) => return None,
    }
    Some(())
}

fn arrows_of(expression: &Expression, visit: &mut impl FnMut(Slot)) {
    match expression {
        Expression::Nil | Expression::Itself | Expression::Node(_) => {}
        Expression::Arrow(arrow) => arrow.hops.iter().for_each(|hop| visit(hop.table)),
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().for_each(|operand| arrows_of(operand, visit));
        }
        Expression::Exclusion(exclusion) => {
            arrows_of(&exclusion.left, visit);
            arrows_of(&exclusion.right, visit);
        }
    }
}
