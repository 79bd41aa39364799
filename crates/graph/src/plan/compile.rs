//! From names to numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_schema::{self as schema, ArrowFunction, Definition, ParameterSource, Relation, Schema, SubjectForm};
use stonetown_storage::{Snapshot, TableId};
use stonetown_tuple::{Attribute, ObjectType, RelationName};

use crate::attributes::attribute_table;

use super::{
    Arrow, BitSet, Body, Exclusion, Expression, Hop, Node, NodeId, Plan, PlanTable, PlanType, Slot, SubjectClass,
    TypeIndex, facts,
};

pub(super) fn compile(schema: Arc<Schema>, snapshot: &dyn Snapshot) -> Plan {
    let mut compiler = Compiler::new(&schema, snapshot);
    for (definition, owner) in schema.definitions().iter().zip(0..) {
        compiler.relations(definition, TypeIndex(owner));
    }
    for (definition, owner) in schema.definitions().iter().zip(0..) {
        for permission in &definition.permissions {
            let node = compiler.types[owner].nodes[&permission.name];
            let expression = compiler.expression(TypeIndex(owner as u32), &permission.expression);
            compiler.nodes[node.0 as usize].body = Body::Permission(expression);
        }
    }
    let personal = compiler.personal(&schema);
    let listings = compiler.listings(&schema);
    let Compiler { types, mut nodes, tables, type_indexes, .. } = compiler;
    let guarded = guarded(&schema, &tables);
    facts::derive(&mut nodes, &tables, types.len());
    let asks = |of: fn(&ParameterSource) -> bool| {
        schema.caveats().iter().any(|caveat| caveat.given().any(|(_, source)| of(source)))
    };
    let local = asks(|source| matches!(source, ParameterSource::Resource(_)));
    let peer = asks(|source| *source == ParameterSource::PeerIp);
    let sourced = schema.caveats().iter().enumerate();
    let sourced =
        sourced.flat_map(|(index, caveat)| caveat.given().map(move |(name, _)| (name.into(), index))).collect();
    let attribute_names = snapshot.type_id(Attribute::TYPE);
    Plan {
        schema,
        types,
        nodes,
        tables,
        type_indexes,
        attribute_names,
        sourced,
        local,
        peer,
        personal,
        listings,
        guarded,
    }
}

struct Compiler {
    stored: FxHashMap<(String, String, String, Option<String>), TableId>,
    types: Vec<PlanType>,
    nodes: Vec<Node>,
    tables: Vec<PlanTable>,
    type_indexes: FxHashMap<ObjectType, TypeIndex>,
}

impl Compiler {
    /// Numbers all types, relations and permissions.
    fn new(schema: &Schema, snapshot: &dyn Snapshot) -> Self {
        let stored_tables = snapshot.tables();
        let stored = stored_tables.iter().map(|table| {
            let key = table.key.clone();
            ((key.resource_type, key.relation, key.subject_type, key.subject_relation), table.id)
        });
        let stored: FxHashMap<_, _> = stored.collect();
        let mut nodes = Vec::new();
        let mut types = Vec::new();
        let mut type_indexes = FxHashMap::default();
        for (definition, index) in schema.definitions().iter().zip(0..) {
            let owner = TypeIndex(index);
            let mut of_type = FxHashMap::default();
            let relations = definition.relations.iter().map(|relation| &relation.name);
            for name in relations.chain(definition.permissions.iter().map(|permission| &permission.name)) {
                of_type.insert(name.clone(), NodeId(nodes.len() as u32));
                nodes.push(blank_node(owner, name));
            }
            let id = snapshot.type_id(definition.name.as_str());
            let key = attribute_table(&definition.name);
            let attributes = (key.resource_type, key.relation, key.subject_type, key.subject_relation);
            let attributes = stored.get(&attributes).copied();
            types.push(PlanType { name: definition.name.clone(), id, attributes, nodes: of_type });
            type_indexes.insert(definition.name.clone(), owner);
        }
        Compiler { stored, types, nodes, tables: Vec::new(), type_indexes }
    }

    /// The relations that allow a caveat with a parameter that is an attribute of the subject, and the permissions with an
    /// arrow over one.
    fn personal(&self, schema: &Schema) -> Vec<NodeId> {
        let is_personal = |name: &str| {
            let given = |(_, source): (_, &ParameterSource)| matches!(source, ParameterSource::Subject(_));
            schema.caveat(name).is_some_and(|caveat| caveat.given().any(given))
        };
        let mut found = Vec::new();
        for (definition, owner) in schema.definitions().iter().zip(&self.types) {
            for relation in &definition.relations {
                let mut caveats = relation.allowed.iter().filter_map(|allowed| allowed.caveat.as_ref());
                if caveats.any(|caveat| is_personal(caveat.as_str())) {
                    found.push(owner.nodes[&relation.name]);
                }
            }
        }
        let relations = found.clone();
        for (node, id) in self.nodes.iter().zip(0..) {
            if let Body::Permission(expression) = &node.body
                && walks(expression, &relations)
            {
                found.push(NodeId(id));
            }
        }
        found
    }

    /// Adds a node for each relation and permission that names its lister: its members that also have that. No name finds it,
    /// so nothing but lookups leads to it.
    fn listings(&mut self, schema: &Schema) -> FxHashMap<NodeId, NodeId> {
        let mut listings = FxHashMap::default();
        for (definition, owner) in schema.definitions().iter().zip((0..).map(TypeIndex)) {
            for member in definition.members() {
                let Some(lister) = definition.lister(member.name().as_str()) else { continue };
                let of = |name| schema::Expression::Reference(RelationName::clone(name));
                let both = schema::Expression::Intersection(vec![of(member.name()), of(lister)]);
                let body = Body::Permission(self.expression(owner, &both));
                let listed = self.types[owner.0 as usize].nodes[member.name()];
                listings.insert(listed, NodeId(self.nodes.len() as u32));
                self.nodes.push(Node { body, ..blank_node(owner, member.name()) });
            }
        }
        listings
    }

    fn relations(&mut self, definition: &Definition, owner: TypeIndex) {
        for relation in &definition.relations {
            let node = self.types[owner.0 as usize].nodes[&relation.name];
            let slots = self.tables(definition, owner, node, relation);
            self.nodes[node.0 as usize].body = Body::Relation(slots);
        }
    }

    /// The tables of a relation, objects before usersets. Allowed types that differ only in wildcard, caveat or expiration
    /// share one.
    fn tables(&mut self, definition: &Definition, owner: TypeIndex, node: NodeId, relation: &Relation) -> Vec<Slot> {
        let mut kinds: BTreeMap<(Option<&RelationName>, &ObjectType), (bool, bool, bool)> = BTreeMap::new();
        for allowed in &relation.allowed {
            let (userset, wildcard) = match &allowed.form {
                SubjectForm::Object => (None, false),
                SubjectForm::Wildcard => (None, true),
                SubjectForm::Userset(name) => (Some(name), false),
            };
            let flags = kinds.entry((userset, &allowed.subject_type)).or_default();
            flags.0 |= wildcard;
            flags.1 |= allowed.caveat.is_some();
            flags.2 |= allowed.expiration;
        }
        let mut slots = Vec::new();
        for ((userset, type_name), (may_wildcard, may_caveat, may_expire)) in kinds {
            let Some(&subject_type) = self.type_indexes.get(type_name) else { continue };
            let class = match userset {
                None => SubjectClass::Object(subject_type),
                Some(name) => match self.types[subject_type.0 as usize].nodes.get(name) {
                    Some(node) => SubjectClass::Userset(*node),
                    None => continue,
                },
            };
            let key = (
                definition.name.to_string(),
                relation.name.to_string(),
                type_name.to_string(),
                userset.map(RelationName::to_string),
            );
            let slot = Slot(self.tables.len() as u32);
            slots.push(slot);
            self.tables.push(PlanTable {
                slot,
                id: self.stored.get(&key).copied(),
                relation: node,
                resource_type: owner,
                subject_type,
                class,
                may_wildcard,
                may_caveat,
                may_expire,
            });
        }
        slots
    }

    fn expression(&self, owner: TypeIndex, expression: &schema::Expression) -> Expression {
        let all = |operands: &[schema::Expression]| {
            let mut operands: Vec<_> = operands.iter().map(|operand| self.expression(owner, operand)).collect();
            operands.sort_by_key(|operand| self.cost(operand));
            operands
        };
        match expression {
            schema::Expression::Nil => Expression::Nil,
            schema::Expression::Itself => Expression::Itself,
            schema::Expression::Reference(name) => match self.types[owner.0 as usize].nodes.get(name) {
                Some(node) => Expression::Node(*node),
                None => Expression::Nil,
            },
            schema::Expression::Arrow { relation, target, function } => {
                self.arrow(owner, relation, target, *function == ArrowFunction::All)
            }
            schema::Expression::Union(operands) => Expression::Union(all(operands)),
            schema::Expression::Intersection(operands) => Expression::Intersection(all(operands)),
            schema::Expression::Exclusion(left, right) => Expression::Exclusion(Box::new(Exclusion {
                left: self.expression(owner, left),
                right: self.expression(owner, right),
                cyclic: false, // known once all nodes are
            })),
        }
    }

    fn arrow(&self, owner: TypeIndex, relation: &RelationName, target: &RelationName, all: bool) -> Expression {
        let Some(&relation) = self.types[owner.0 as usize].nodes.get(relation) else { return Expression::Nil };
        let Body::Relation(slots) = &self.nodes[relation.0 as usize].body else { return Expression::Nil };
        let hop = |slot: &Slot| {
            let subject_type = self.tables[slot.0 as usize].subject_type;
            Hop { table: *slot, target: self.types[subject_type.0 as usize].nodes.get(target).copied() }
        };
        let hops = slots.iter().map(hop).collect();
        Expression::Arrow(Arc::new(Arrow { relation, target: target.clone(), all, hops }))
    }

    /// A guess at what deciding an expression takes: direct relations first, then what stays on the object, then the rest.
    fn cost(&self, expression: &Expression) -> u32 {
        match expression {
            Expression::Nil | Expression::Itself => 0,
            Expression::Node(node) => match &self.nodes[node.0 as usize].body {
                Body::Relation(slots) => 1 + slots.iter().map(|slot| self.table_cost(*slot)).max().unwrap_or(0),
                Body::Permission(_) => 20,
            },
            Expression::Arrow(_) => 30,
            Expression::Union(operands) | Expression::Intersection(operands) => {
                operands.iter().map(|operand| self.cost(operand)).max().unwrap_or(0) + 1
            }
            Expression::Exclusion(exclusion) => self.cost(&exclusion.left).max(self.cost(&exclusion.right)) + 1,
        }
    }

    fn table_cost(&self, slot: Slot) -> u32 {
        match self.tables[slot.0 as usize].class {
            SubjectClass::Object(_) => 0,
            SubjectClass::Userset(_) => 10,
        }
    }
}

/// The guarded types, and those whose relations lead to one, over any number of others.
fn guarded(schema: &Schema, tables: &[PlanTable]) -> BitSet {
    let mut found = BitSet::new(schema.definitions().len());
    let guarded = schema.definitions().iter().zip(0..).filter(|(definition, _)| definition.is_guarded());
    let mut pending: Vec<u32> = guarded.map(|(_, index)| index).collect();
    let mut users: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    if !pending.is_empty() {
        for table in tables {
            users.entry(table.subject_type.0).or_default().push(table.resource_type.0);
        }
    }
    while let Some(index) = pending.pop() {
        if !found.contains(index) {
            found.insert(index);
            pending.extend(users.remove(&index).unwrap_or_default());
        }
    }
    found
}

/// Whether an expression has an arrow over one of the relations.
fn walks(expression: &Expression, relations: &[NodeId]) -> bool {
    match expression {
        Expression::Nil | Expression::Itself | Expression::Node(_) => false,
        Expression::Arrow(arrow) => relations.contains(&arrow.relation),
        Expression::Union(parts) | Expression::Intersection(parts) => parts.iter().any(|part| walks(part, relations)),
        Expression::Exclusion(exclusion) => walks(&exclusion.left, relations) || walks(&exclusion.right, relations),
    }
}

fn blank_node(owner: TypeIndex, name: &RelationName) -> Node {
    Node {
        owner,
        name: name.clone(),
        body: Body::Permission(Expression::Nil),
        uses: Vec::new(),
        component: 0,
        recursive: false,
        monotone: false,
        walk: None,
        depends: BitSet::default(),
        subject_types: BitSet::default(),
        subject_nodes: BitSet::default(),
    }
}
