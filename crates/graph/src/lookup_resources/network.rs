//! The way from a subject to a permission, as a network of sets: one for each node that the permission depends on and
//! that the subject can be in, and one for each operand of its operators.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_storage::Ordinal;

use crate::plan::{Arrow, Body, Expression, NodeId, Plan, Slot, SubjectClass};

/// Numbers the sets of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SetId(pub(super) usize);

/// How a set follows from others.
#[derive(Debug)]
pub(super) enum Join {
    /// From any of these.
    Union(Vec<Inlet>),
    /// From all of these.
    Intersection(Vec<SetId>),
    /// From the first and not the second.
    Exclusion(SetId, SetId),
}

/// Where resources come into a union.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inlet {
    /// The subject's object itself.
    Itself,
    /// Whatever a table relates to this subject: its reverse row.
    Row(Slot, Ordinal),
    /// The same resources as in another set.
    Same(SetId),
    /// Whatever a table relates to the objects of another set: their reverse rows.
    Rows {
        /// The table.
        table: Slot,
        /// The other set.
        of: SetId,
        /// Whether one such object is not enough, but all that the table relates must be in the set.
        all: bool,
    },
}

/// One set of a network.
#[derive(Debug)]
pub(super) struct Vertex {
    /// The node whose members it holds, or of whose expression it is a part.
    pub(super) node: NodeId,
    /// Whether it holds the node's members themselves.
    pub(super) whole: bool,
    /// Whether the node depends on itself.
    pub(super) recursive: bool,
    /// How it follows from others.
    pub(super) join: Join,
    /// Sets with the same number follow from each other.
    group: Option<u32>,
    /// Its place among the units of the network.
    pub(super) unit: usize,
    /// The sets of its unit that follow from it.
    pub(super) passes_to: Vec<SetId>,
}

/// Sets to be filled together: one alone, or several that follow from each other.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) members: Vec<SetId>,
    /// Whether a member follows from itself.
    pub(super) cyclic: bool,
}

/// The network of one question.
#[derive(Debug)]
pub(super) struct Network<'a> {
    plan: &'a Plan,
    pub(super) subject: (SubjectClass, Ordinal),
    pub(super) vertices: Vec<Vertex>,
    pub(super) units: Vec<Unit>,
    numbers: FxHashMap<NodeId, SetId>,
}

impl<'a> Network<'a> {
    /// The network that leads from `subject` to `node`, and the set of the node.
    pub(super) fn new(plan: &'a Plan, subject: (SubjectClass, Ordinal), node: NodeId) -> (Network<'a>, SetId) {
        let (vertices, units, numbers) = (Vec::new(), Vec::new(), FxHashMap::default());
        let mut network = Network { plan, subject, vertices, units, numbers };
        let root = network.node(node);
        let mut next = 0;
        while next < network.vertices.len() {
            if network.vertices[next].whole {
                network.fill(SetId(next));
            }
            next += 1;
        }
        network.divide();
        (network, root)
    }

    /// The unit that a set belongs to.
    pub(super) fn unit(&self, of: SetId) -> &Unit {
        &self.units[self.vertices[of.0].unit]
    }

    /// The set of a node; its way of joining is filled in later.
    fn node(&mut self, node: NodeId) -> SetId {
        let next = SetId(self.vertices.len());
        let number = *self.numbers.entry(node).or_insert(next);
        if number == next {
            let plan = self.plan.node(node);
            let group = plan.recursive.then_some(plan.component);
            self.push(node, true, Join::Union(Vec::new()), group);
        }
        number
    }

    fn push(&mut self, node: NodeId, whole: bool, join: Join, group: Option<u32>) {
        let recursive = self.plan.node(node).recursive;
        self.vertices.push(Vertex { node, whole, recursive, join, group, unit: 0, passes_to: Vec::new() });
    }

    fn fill(&mut self, number: SetId) {
        let plan = self.plan;
        let id = self.vertices[number.0].node;
        let mut inlets = Vec::new();
        if self.subject.0 == SubjectClass::Userset(id) {
            inlets.push(Inlet::Itself);
        }
        match &plan.node(id).body {
            Body::Relation(slots) => {
                for slot in slots {
                    self.relation(*slot, &mut inlets);
                }
            }
            Body::Permission(expression) => self.union(expression, id, &mut inlets),
        }
        self.vertices[number.0].join = Join::Union(inlets);
    }

    fn relation(&mut self, slot: Slot, inlets: &mut Vec<Inlet>) {
        let table = self.plan.table(slot);
        match table.class {
            SubjectClass::Object(_) if table.class == self.subject.0 => {
                inlets.push(Inlet::Row(slot, self.subject.1));
                if table.may_wildcard {
                    inlets.push(Inlet::Row(slot, Ordinal::WILDCARD));
                }
            }
            SubjectClass::Userset(node) if self.plan.can_hold(node, self.subject.0) => {
                inlets.push(Inlet::Rows { table: slot, of: self.node(node), all: false });
            }
            _ => {}
        }
    }

    /// Adds an expression to a union.
    fn union(&mut self, expression: &Expression, node: NodeId, inlets: &mut Vec<Inlet>) {
        match expression {
            Expression::Nil => {}
            Expression::Itself => {
                if self.subject.0 == SubjectClass::Object(self.plan.node(node).owner) {
                    inlets.push(Inlet::Itself);
                }
            }
            Expression::Node(other) => {
                if self.plan.can_hold(*other, self.subject.0) {
                    inlets.push(Inlet::Same(self.node(*other)));
                }
            }
            Expression::Arrow(arrow) => self.arrow(arrow, inlets),
            Expression::Union(operands) => operands.iter().for_each(|operand| self.union(operand, node, inlets)),
            Expression::Intersection(_) | Expression::Exclusion(_) => {
                inlets.push(Inlet::Same(self.operand(expression, node)));
            }
        }
    }

    fn arrow(&mut self, arrow: &Arc<Arrow>, inlets: &mut Vec<Inlet>) {
        for hop in &arrow.hops {
            if let Some(target) = hop.target.filter(|target| self.plan.can_hold(*target, self.subject.0)) {
                inlets.push(Inlet::Rows { table: hop.table, of: self.node(target), all: arrow.all });
            }
        }
    }

    /// The set of an operand.
    fn operand(&mut self, expression: &Expression, node: NodeId) -> SetId {
        let join = match expression {
            Expression::Node(other) if self.plan.can_hold(*other, self.subject.0) => return self.node(*other),
            Expression::Intersection(operands) => {
                Join::Intersection(operands.iter().map(|operand| self.operand(operand, node)).collect())
            }
            Expression::Exclusion(exclusion) => {
                Join::Exclusion(self.operand(&exclusion.left, node), self.operand(&exclusion.right, node))
            }
            _ => {
                let mut inlets = Vec::new();
                self.union(expression, node, &mut inlets);
                Join::Union(inlets)
            }
        };
        let own = self.plan.node(node);
        let group = own.recursive.then_some(own.component);
        let inputs = join.inputs();
        let group = group.filter(|_| inputs.iter().any(|input| self.vertices[input.0].group == group));
        self.push(node, false, join, group);
        SetId(self.vertices.len() - 1)
    }

    /// Divides the sets into units.
    fn divide(&mut self) {
        let mut numbers = FxHashMap::default();
        for index in 0..self.vertices.len() {
            let next = self.units.len();
            let group = self.vertices[index].group;
            let unit = group.map_or(next, |group| *numbers.entry(group).or_insert(next));
            if unit == next {
                self.units.push(Unit { members: Vec::new(), cyclic: group.is_some() });
            }
            self.units[unit].members.push(SetId(index));
            self.vertices[index].unit = unit;
        }
        for index in 0..self.vertices.len() {
            for input in self.vertices[index].join.inputs() {
                let own = self.vertices[index].unit == self.vertices[input.0].unit;
                let passes_to = &mut self.vertices[input.0].passes_to;
                if own && !passes_to.contains(&SetId(index)) {
                    passes_to.push(SetId(index));
                }
            }
        }
    }
}

impl Join {
    /// The sets that it follows from, in the order in which they are worth computing.
    pub(super) fn inputs(&self) -> Vec<SetId> {
        match self {
            Join::Union(inlets) => inlets.iter().filter_map(Inlet::input).collect(),
            Join::Intersection(operands) => operands.clone(),
            Join::Exclusion(left, right) => vec![*left, *right],
        }
    }
}

impl Inlet {
    fn input(&self) -> Option<SetId> {
        match self {
            Inlet::Itself | Inlet::Row(..) => None,
            Inlet::Same(of) | Inlet::Rows { of, .. } => Some(*of),
        }
    }
}
