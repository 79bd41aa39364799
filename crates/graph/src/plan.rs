//! A schema compiled onto the tables of a store: names become numbers, references become edges between numbered nodes.
//!
//! A **node** is one relation or permission of one type. Whoever evaluates walks pairs (node, object); [`Body`] says how a
//! node's members follow from other nodes (read from the resource), [`Use`] says the same the other way round (read from
//! the subject). Facts that hold for every store with the schema are computed here, once, so that evaluators can prune.

mod bitset;
mod compile;
mod facts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_schema::{CaveatDefinition, ParameterSource, Schema};
use stonetown_storage::{Snapshot, TableId, TypeId};
use stonetown_tuple::{ObjectType, RelationName, SubjectRef};

pub use bitset::BitSet;

use crate::error::GraphError;
use crate::fault::{PlantedFault, planted};

/// Numbers the object types of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeIndex(pub u32);

/// Numbers the relations and permissions of a plan, all types together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Numbers the tables of a plan. Unlike a [`TableId`], every table of the schema has one, stored or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What a subject is: an object of some type, or a userset of some relation or permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectClass {
    /// An object itself.
    Object(TypeIndex),
    /// Whoever is in that node for an object of its type.
    Userset(NodeId),
}

/// A schema compiled onto the tables of a store. Good for every snapshot of the store in which this schema is in force.
#[derive(Debug)]
pub struct Plan {
    schema: Arc<Schema>,
    types: Vec<PlanType>,
    nodes: Vec<Node>,
    tables: Vec<PlanTable>,
    type_indexes: FxHashMap<ObjectType, TypeIndex>,
    attribute_names: Option<TypeId>,
    /// By the names of parameters that have a source, a caveat that has it, by its place in the schema.
    sourced: FxHashMap<Box<str>, usize>,
    /// Whether a caveat has a parameter that is an attribute of its relationship's object.
    local: bool,
    /// Whether a caveat has a parameter that is the address of the call.
    peer: bool,
    /// Relations whose relationships can carry a caveat with a parameter that is an attribute of the question's subject, and
    /// permissions with an arrow over such a relation.
    personal: Vec<NodeId>,
    /// For each node that names its lister, the node of those who have both.
    listings: FxHashMap<NodeId, NodeId>,
    /// The types that are guarded, and those whose relations lead to one.
    guarded: BitSet,
}

/// An object type of the schema.
#[derive(Debug)]
pub struct PlanType {
    /// Its name.
    pub name: ObjectType,
    /// Its number in storage; `None` where the store has never had it.
    pub id: Option<TypeId>,
    /// The table of the attributes of its objects; `None` where the store has none, or the schema trusts none.
    pub attributes: Option<TableId>,
    nodes: FxHashMap<RelationName, NodeId>,
}

/// A relation or permission with what is known about it.
#[derive(Debug)]
pub struct Node {
    /// The type it belongs to.
    pub owner: TypeIndex,
    /// Its name.
    pub name: RelationName,
    /// Where its members come from.
    pub body: Body,
    /// Where its members go to: all places that mention the node.
    pub uses: Vec<Use>,
    /// Nodes that depend on each other share a component, and only they; a node's dependencies have the same or lower
    /// numbers.
    pub component: u32,
    /// Whether the node depends on itself.
    pub recursive: bool,
    /// Whether it and all that it depends on are relations, unions, computed usersets and plain arrows. Membership is
    /// then mere reachability.
    pub monotone: bool,
    /// For a monotone node, its members at once instead of step by step.
    pub walk: Option<Walk>,
    depends: BitSet,
    subject_types: BitSet,
    subject_nodes: BitSet,
}

/// Where the members of a node come from.
#[derive(Debug)]
pub enum Body {
    /// From relationships in these tables.
    Relation(Vec<Slot>),
    /// From an expression.
    Permission(Expression),
}

/// The expression of a permission. Operands of unions and intersections are ordered, cheap ones first.
#[derive(Debug, Clone)]
pub enum Expression {
    /// Nobody.
    Nil,
    /// The object itself, as a subject.
    Itself,
    /// Another node of the same object.
    Node(NodeId),
    /// The members of nodes of related objects.
    Arrow(Arc<Arrow>),
    /// In any.
    Union(Vec<Expression>),
    /// In all.
    Intersection(Vec<Expression>),
    /// In one and not in the other.
    Exclusion(Box<Exclusion>),
}

/// `relation->target`.
#[derive(Debug)]
pub struct Arrow {
    /// The relation that leads to the objects.
    pub relation: NodeId,
    /// The name of the node that the subject is to be in there.
    pub target: RelationName,
    /// Whether the subject must be in it on all of them.
    pub all: bool,
    /// The tables of the relation, each with the node of its subject type; `None` where the type has none of that name.
    pub hops: Vec<Hop>,
}

/// One table of an arrow's relation.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// The table.
    pub table: Slot,
    /// The node that subjects must be in.
    pub target: Option<NodeId>,
}

/// `left - right`.
#[derive(Debug, Clone)]
pub struct Exclusion {
    /// Who is in.
    pub left: Expression,
    /// Who is not.
    pub right: Expression,
    /// Whether the right side can lead back to the permission that the exclusion stands in.
    pub cyclic: bool,
}

/// A table as the schema sees it.
#[derive(Debug)]
pub struct PlanTable {
    /// Its number in this plan.
    pub slot: Slot,
    /// Its number in storage; `None` where the store has never had it, so it is empty.
    pub id: Option<TableId>,
    /// The relation.
    pub relation: NodeId,
    /// The type of its resources.
    pub resource_type: TypeIndex,
    /// The type of its subjects.
    pub subject_type: TypeIndex,
    /// What its subjects are.
    pub class: SubjectClass,
    /// Whether the subject can be the wildcard.
    pub may_wildcard: bool,
    /// Whether relationships can carry a caveat.
    pub may_caveat: bool,
    /// Whether the schema lets relationships expire. They can also begin late or come from several sources in any table.
    pub may_expire: bool,
}

/// A place that mentions a node, as seen from a member (node, object).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// This node's expression names it, for the same object.
    Computed(NodeId),
    /// The table's subjects are usersets of the node: its reverse row at the object leads to the resources whose
    /// relation takes it in.
    Userset(Slot),
    /// An arrow of `permission` leads to it: the reverse row of `table` at the object leads to the resources whose
    /// permission takes it in.
    Arrow {
        /// A table of the arrow's relation.
        table: Slot,
        /// The permission that the arrow stands in.
        permission: NodeId,
        /// Whether it is an arrow of the kind `all`.
        all: bool,
    },
}

/// A monotone node with all that is computed on the same object unfolded: the subject is a member if it is in one of the
/// direct tables, or a member of the target of a step.
#[derive(Debug)]
pub struct Walk {
    /// Tables of objects: whoever stands in one is a member.
    pub direct: Vec<Slot>,
    /// Rows to follow: whoever is in the target on the other end of an edge is a member.
    pub steps: Vec<Step>,
    /// Whether the object itself, as a subject, is a member.
    pub itself: bool,
    /// All nodes of the same object whose members are members, the node itself included.
    pub nodes: BitSet,
}

/// One row to follow from an object, because it holds usersets or because an arrow says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: Slot,
    /// The node to be in on the other end.
    pub target: NodeId,
}

impl Plan {
    /// Compiles a schema for the store of a snapshot. Tables and types that the store does not have are empty.
    #[must_use]
    pub fn compile(schema: Arc<Schema>, snapshot: &dyn Snapshot) -> Plan {
        compile::compile(schema, snapshot)
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// All types.
    #[must_use]
    pub fn types(&self) -> &[PlanType] {
        &self.types
    }

    /// All nodes, by their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All tables, by their numbers.
    #[must_use]
    pub fn tables(&self) -> &[PlanTable] {
        &self.tables
    }

    /// A type.
    #[must_use]
    pub fn object_type(&self, index: TypeIndex) -> &PlanType {
        &self.types[index.0 as usize]
    }

    /// A node.
    #[must_use]
    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// A table.
    #[must_use]
    #[inline]
    pub fn table(&self, slot: Slot) -> &PlanTable {
        &self.tables[slot.0 as usize]
    }

    /// The number of a type.
    ///
    /// # Errors
    /// [`GraphError::UnknownDefinition`].
    pub fn find_type(&self, name: &ObjectType) -> Result<TypeIndex, GraphError> {
        let found = self.type_indexes.get(name).copied();
        found.ok_or_else(|| GraphError::UnknownDefinition { name: name.to_string() })
    }

    /// The number of a relation or permission.
    ///
    /// # Errors
    /// [`GraphError::UnknownRelation`].
    pub fn find_node(&self, owner: TypeIndex, name: &RelationName) -> Result<NodeId, GraphError> {
        let owner = self.object_type(owner);
        owner.nodes.get(name).copied().ok_or_else(|| GraphError::UnknownRelation {
            definition: owner.name.to_string(),
            relation: name.to_string(),
        })
    }

    /// The number of what lookups of a relation or permission list: of itself, or of those members that also have what lists it
    /// ([`stonetown_schema::Definition::lister`]).
    ///
    /// # Errors
    /// [`GraphError::UnknownRelation`].
    pub fn find_listing(&self, owner: TypeIndex, name: &RelationName) -> Result<NodeId, GraphError> {
        let node = self.find_node(owner, name)?;
        let lister_ignored = planted(PlantedFault::ListerIgnored);
        Ok(self.listings.get(&node).copied().filter(|_| !lister_ignored).unwrap_or(node))
    }

    /// Whether relationships of the type tell of objects of a guarded type ([`stonetown_schema::Definition::is_guarded`]): it is
    /// one, or its relations lead to one. Not of a type that there is none of.
    #[must_use]
    pub fn leads_to_guarded(&self, object_type: &str) -> bool {
        let known = ObjectType::new(object_type).ok().and_then(|name| self.type_indexes.get(&name));
        known.is_some_and(|index| self.guarded.contains(index.0))
    }

    /// What a subject of that type, with that relation if it has one, is.
    ///
    /// # Errors
    /// [`GraphError::UnknownDefinition`], [`GraphError::UnknownRelation`].
    pub fn find_class(
        &self,
        subject_type: &ObjectType,
        relation: Option<&RelationName>,
    ) -> Result<SubjectClass, GraphError> {
        let object_type = self.find_type(subject_type)?;
        match relation {
            None => Ok(SubjectClass::Object(object_type)),
            Some(relation) => self.find_node(object_type, relation).map(SubjectClass::Userset),
        }
    }

    /// The type of the objects that subjects of a class are made of.
    #[must_use]
    pub fn type_of(&self, class: SubjectClass) -> TypeIndex {
        match class {
            SubjectClass::Object(object_type) => object_type,
            SubjectClass::Userset(node) => self.node(node).owner,
        }
    }

    /// The types whose objects can be members of a relation or permission at all, in the order of their names.
    ///
    /// # Errors
    /// [`GraphError::UnknownDefinition`], [`GraphError::UnknownRelation`].
    pub fn subject_types(
        &self,
        resource_type: &ObjectType,
        name: &RelationName,
    ) -> Result<Vec<ObjectType>, GraphError> {
        let node = self.find_node(self.find_type(resource_type)?, name)?;
        let types = (0..).zip(&self.types).filter(|(index, _)| self.node(node).subject_types.contains(*index));
        Ok(types.map(|(_, object_type)| object_type.name.clone()).collect())
    }

    /// The types whose relationships a relation or permission can depend on, in the order of their names.
    ///
    /// # Errors
    /// [`GraphError::UnknownDefinition`], [`GraphError::UnknownRelation`].
    pub fn types_on_the_way(
        &self,
        resource_type: &ObjectType,
        name: &RelationName,
    ) -> Result<Vec<ObjectType>, GraphError> {
        let node = self.find_node(self.find_type(resource_type)?, name)?;
        let owners: BTreeSet<TypeIndex> =
            self.node(node).depends.iter().map(|on| self.node(NodeId(on)).owner).collect();
        Ok(owners.into_iter().map(|owner| self.object_type(owner).name.clone()).collect())
    }

    /// What a subject can have at all, by type: every permission, or what has this name, of every type or of this one; in the
    /// order of the schema.
    ///
    /// # Errors
    /// [`GraphError::UnknownDefinition`]; [`GraphError::UnknownRelation`] where a name is asked for that no type asked for has.
    pub fn reachable(
        &self,
        subject: &SubjectRef,
        resource_type: Option<&ObjectType>,
        name: Option<&RelationName>,
    ) -> Result<Vec<(ObjectType, RelationName)>, GraphError> {
        let class = self.find_class(subject.object_type(), subject.relation())?;
        let owner = resource_type.map(|name| self.find_type(name)).transpose()?;
        let asked = |node: &Node| {
            owner.is_none_or(|owner| owner == node.owner)
                && name.map_or(matches!(node.body, Body::Permission(_)), |name| *name == node.name)
        };
        // The nodes that list guarded ones have their names, and no name finds them.
        let is_named =
            |number, node: &Node| self.object_type(node.owner).nodes.get(&node.name) == Some(&NodeId(number));
        let nodes = (0..).zip(&self.nodes);
        let wanted: Vec<_> = nodes.filter(|(number, node)| asked(node) && is_named(*number, node)).collect();
        if let (Some(name), true) = (name, wanted.is_empty()) {
            let definition = resource_type.map_or("*", AsRef::as_ref).to_owned();
            return Err(GraphError::UnknownRelation { definition, relation: name.to_string() });
        }
        let can_hold = wanted.into_iter().filter(|(number, _)| self.can_hold(NodeId(*number), class));
        Ok(can_hold.map(|(_, node)| (self.object_type(node.owner).name.clone(), node.name.clone())).collect())
    }

    /// Whether a subject of the class can be a member of the node at all, whatever the relationships.
    #[must_use]
    #[inline]
    pub fn can_hold(&self, node: NodeId, class: SubjectClass) -> bool {
        match class {
            SubjectClass::Object(object_type) => self.node(node).subject_types.contains(object_type.0),
            SubjectClass::Userset(subject) => self.node(node).subject_nodes.contains(subject.0),
        }
    }

    /// The caveat, parameter and source for the name of a parameter that no request can give.
    #[must_use]
    pub fn sourced(&self, parameter: &str) -> Option<(&CaveatDefinition, &str, &ParameterSource)> {
        let caveat = &self.schema.caveats()[*self.sourced.get(parameter)?];
        let (name, source) = caveat.given().find(|(name, _)| *name == parameter)?;
        Some((caveat, name, source))
    }

    /// Whether an answer can depend on the address that its call came from.
    #[must_use]
    pub fn asks_for_peer(&self) -> bool {
        self.peer
    }

    /// The number of the type whose ids are the names of attributes; `None` where the store has never had one.
    pub(crate) fn attribute_names(&self) -> Option<TypeId> {
        self.attribute_names
    }

    /// Whether what a caveat says can depend on the object that its relationship is on.
    #[inline]
    pub(crate) fn has_local_caveats(&self) -> bool {
        self.local
    }

    /// Whether what a caveat says of a relationship on the way to the node's members can depend on who they are.
    pub(crate) fn is_personal(&self, node: NodeId) -> bool {
        self.personal.iter().any(|relation| self.depends(node, *relation))
    }

    /// Whether the members of `node` can depend on those of `other`, through the right side of an exclusion or not. Every
    /// node depends on itself here.
    #[must_use]
    #[inline]
    pub fn depends(&self, node: NodeId, other: NodeId) -> bool {
        self.node(node).depends.contains(other.0)
    }
}
