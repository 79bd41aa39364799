//! The semantics of a question in the plainest possible form: what [`crate::check()`], expand and the lookups are tested
//! against, and what to read when in doubt about an answer.
//!
//! No index, no cache, no plan, no integers: names, maps and the equations of `docs/semantics.md`, iterated until nothing
//! changes. It is slow, has no limits, and is not meant to serve requests.
//!
//! Reading order: [`Value`] (the chain and its operators), `Question::expression` (the equations), `Question::solve`
//! (their least solution), then the lookups, which only ask [`Reference::check`] about everybody.

mod tree;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use stonetown_schema::{ArrowFunction, Expression, ParameterSource, Schema};
use stonetown_tuple::{
    Attribute, AttributeName, AttributeValue, CaveatContext, CaveatRef, ObjectId, ObjectRef, ObjectType, RelationName,
    Relationship, Source, SubjectId, SubjectRef, Timestamp,
};

use crate::evaluation::Given;

pub use tree::{Parts, Tree};

/// The answer to "is this subject a member?", lowest first: `No < Maybe < Fault < Yes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not a member.
    No,
    /// It depends on caveat parameters that neither the relationships nor the request give: these.
    Maybe(BTreeSet<String>),
    /// It cannot be decided.
    Fault(Fault),
    /// A member.
    Yes,
}

/// Why a value cannot be decided; where two meet, the later one here is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The question comes back to itself through the right side of an exclusion.
    Cycle,
    /// A caveat fails to evaluate.
    Caveat,
}

impl Value {
    /// The greater of two; both sets of names if both are [`Value::Maybe`].
    #[must_use]
    pub fn or(self, other: Value) -> Value {
        match (self, other) {
            (Value::Yes, _) | (_, Value::Yes) => Value::Yes,
            (Value::Fault(a), Value::Fault(b)) => Value::Fault(a.max(b)),
            (Value::Fault(fault), _) | (_, Value::Fault(fault)) => Value::Fault(fault),
            (Value::Maybe(a), Value::Maybe(b)) => Value::Maybe(a.into_iter().chain(b).collect()),
            (Value::Maybe(names), Value::No) | (Value::No, Value::Maybe(names)) => Value::Maybe(names),
            (Value::No, Value::No) => Value::No,
        }
    }

    /// The lesser of two; both sets of names if both are [`Value::Maybe`].
    #[must_use]
    pub fn and(self, other: Value) -> Value {
        match (self, other) {
            (Value::No, _) | (_, Value::No) => Value::No,
            (Value::Maybe(a), Value::Maybe(b)) => Value::Maybe(a.into_iter().chain(b).collect()),
            (Value::Maybe(names), _) | (_, Value::Maybe(names)) => Value::Maybe(names),
            (Value::Fault(a), Value::Fault(b)) => Value::Fault(a.max(b)),
            (Value::Fault(fault), _) | (_, Value::Fault(fault)) => Value::Fault(fault),
            (Value::Yes, Value::Yes) => Value::Yes,
        }
    }

    fn not(self) -> Value {
        match self {
            Value::No => Value::Yes,
            Value::Yes => Value::No,
            undecided => undecided,
        }
    }

    /// The same step of the chain without what is told beside it.
    fn bare(self) -> Value {
        match self {
            Value::Maybe(_) => Value::Maybe(BTreeSet::new()),
            Value::Fault(_) => Value::Fault(Fault::Cycle),
            decided => decided,
        }
    }

    fn yes_if(condition: bool) -> Value {
        if condition { Value::Yes } else { Value::No }
    }
}

/// The subjects of one resource and relation, each with the caveats of its sources.
type Row = BTreeMap<SubjectRef, Vec<Option<CaveatRef>>>;

/// A schema and the relationships that hold at one moment.
#[derive(Debug, Clone)]
pub struct Reference {
    schema: Arc<Schema>,
    /// Resource and relation, to subjects, to the caveats under which some source says so (`None`: unconditionally).
    edges: BTreeMap<(ObjectRef, RelationName), Row>,
    attributes: BTreeMap<(ObjectRef, AttributeName), AttributeValue>,
    now: Timestamp,
    given: Given,
}

/// Who is a member, among objects of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// The value of whoever no relationship mentions: that of `*`. [`Value::No`] when usersets were asked for.
    pub star: Value,
    /// The value of everybody who is mentioned, and of the resource itself where it is of that type.
    pub mentioned: BTreeMap<ObjectId, Value>,
}

impl Reference {
    /// Takes those of `relationships` that are live at `now`, attributes included. The same relationship may come once for
    /// each source.
    #[must_use]
    pub fn new<'r>(
        schema: Arc<Schema>,
        relationships: impl IntoIterator<Item = &'r (Relationship, Source)>,
        now: Timestamp,
    ) -> Reference {
        let given = Given::Call { peer_ip: None };
        let mut reference = Reference { schema, edges: BTreeMap::new(), attributes: BTreeMap::new(), now, given };
        for (relationship, _) in relationships {
            if !relationship.is_live(now) {
                continue;
            }
            if let Some(Attribute { object, name, value, .. }) = Attribute::of(relationship) {
                reference.attributes.insert((object, name), value);
            } else {
                let row = (relationship.resource.clone(), relationship.relation.clone());
                let subjects = reference.edges.entry(row).or_default();
                subjects.entry(relationship.subject.clone()).or_default().push(relationship.caveat.clone());
            }
        }
        reference
    }

    /// The same, for questions with other values from the server.
    #[must_use]
    pub fn with(self, given: Given) -> Reference {
        Reference { given, ..self }
    }

    /// Whether `subject` (never a wildcard) has `name`, a relation or permission, on `resource`. What the schema does
    /// not know is [`Value::No`].
    #[must_use]
    pub fn check(
        &self,
        resource: &ObjectRef,
        name: &RelationName,
        subject: &SubjectRef,
        context: &CaveatContext,
    ) -> Value {
        let question =
            Question { reference: self, subject, context, edges: RefCell::default(), right_sides: RefCell::default() };
        let node = Node { object_type: &resource.object_type, object_id: &resource.object_id, name };
        question.solve(&Expression::Reference(name.clone()), node, &BTreeSet::new())
    }

    /// Whether lookups list that the subject has `name` on the resource: it has, and has what the schema says lists it.
    fn listed(
        &self,
        resource: &ObjectRef,
        name: &RelationName,
        subject: &SubjectRef,
        context: &CaveatContext,
    ) -> Value {
        let value = self.check(resource, name, subject, context);
        let definition = self.schema.definition(resource.object_type.as_str());
        match definition.and_then(|definition| definition.lister(name.as_str())) {
            Some(lister) => value.and(self.check(resource, lister, subject, context)),
            None => value,
        }
    }

    /// All objects of a type on which the subject has `name`, or may have, and is listed.
    #[must_use]
    pub fn lookup_resources(
        &self,
        resource_type: &ObjectType,
        name: &RelationName,
        subject: &SubjectRef,
        context: &CaveatContext,
    ) -> BTreeMap<ObjectId, Value> {
        let mut candidates = self.mentioned(resource_type);
        if let (true, SubjectId::Object(id)) = (subject.object_type() == resource_type, subject.object_id()) {
            candidates.insert(id.clone());
        }
        let value = |id: ObjectId| {
            let resource = ObjectRef { object_type: resource_type.clone(), object_id: id.clone() };
            let value = self.listed(&resource, name, subject, context);
            (id, value)
        };
        candidates.into_iter().map(value).filter(|(_, value)| *value != Value::No).collect()
    }

    /// The value of every subject of a type (with a relation: of every userset) that is mentioned, and of all others, where it is
    /// listed.
    #[must_use]
    pub fn lookup_subjects(
        &self,
        resource: &ObjectRef,
        name: &RelationName,
        subject_type: &ObjectType,
        subject_relation: Option<&RelationName>,
        context: &CaveatContext,
    ) -> Subjects {
        let value = |id: &ObjectId| {
            let id = SubjectId::Object(id.clone());
            let subject = SubjectRef::new(subject_type.clone(), id, subject_relation.cloned());
            subject.map_or(Value::No, |subject| self.listed(resource, name, &subject, context))
        };
        let mut candidates = self.mentioned(subject_type);
        let owners = self.attributes.keys().map(|(owner, _)| owner).filter(|owner| owner.object_type == *subject_type);
        candidates.extend(owners.map(|owner| owner.object_id.clone()));
        if resource.object_type == *subject_type {
            candidates.insert(resource.object_id.clone());
        }
        let names = (0..).filter_map(|n| ObjectId::new(format!("nobody{n}")).ok());
        let nobody = names.into_iter().find(|id| !candidates.contains(id));
        let star = match (subject_relation, nobody) {
            (None, Some(nobody)) => value(&nobody),
            _ => Value::No,
        };
        Subjects { star, mentioned: candidates.into_iter().map(|id| (id.clone(), value(&id))).collect() }
    }

    /// All objects of a type in any relationship, on either side.
    #[must_use]
    pub fn mentioned(&self, object_type: &ObjectType) -> BTreeSet<ObjectId> {
        let resources = self.edges.keys().map(|(resource, _)| (&resource.object_type, &resource.object_id));
        let subjects = self.edges.values().flat_map(BTreeMap::keys).filter_map(object_of);
        resources.chain(subjects).filter(|(found, _)| *found == object_type).map(|(_, id)| id.clone()).collect()
    }
}

/// The object of a subject, none for a wildcard.
fn object_of(subject: &SubjectRef) -> Option<(&ObjectType, &ObjectId)> {
    match subject.object_id() {
        SubjectId::Object(id) => Some((subject.object_type(), id)),
        SubjectId::Wildcard => None,
    }
}

/// A relation or permission of one object: an unknown of the equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Node<'a> {
    object_type: &'a ObjectType,
    object_id: &'a ObjectId,
    name: &'a RelationName,
}

/// What is known so far of every node met, while the equations are iterated.
#[derive(Default)]
struct Values<'a> {
    nodes: BTreeMap<Node<'a>, Value>,
}

/// One subject and one context: what is the same in all equations of a question.
struct Question<'a> {
    reference: &'a Reference,
    subject: &'a SubjectRef,
    context: &'a CaveatContext,
    /// Of every relation met: its edges, whose conditions depend on nothing but the question.
    edges: RefCell<BTreeMap<Node<'a>, Edges<'a>>>,
    /// Of every right side met: its value, which depends on nothing but the question and the nodes that are open.
    right_sides: RefCell<BTreeMap<RightSide<'a>, Value>>,
}

/// The open nodes, the one of them that it stands in, and its address.
type RightSide<'a> = (BTreeSet<Node<'a>>, Node<'a>, *const Expression);

/// Subjects, each with the condition under which it counts.
type Edges<'a> = Rc<[(&'a SubjectRef, Value)]>;

impl<'a> Question<'a> {
    /// The value of `expression` at `node` in the least solution of the equations it leads to. `open` holds the nodes in
    /// whose expression the right side of an exclusion is being solved: meeting one is a cycle through that right side.
    ///
    /// First the steps of the chain are found, from [`Value::No`] upwards; then, with these fixed, the names and kinds of
    /// fault that come with them, from none upwards. Done at once, a name could stay that only an unfinished round needed.
    fn solve(&self, expression: &'a Expression, node: Node<'a>, open: &BTreeSet<Node<'a>>) -> Value {
        let mut values = Values::default();
        self.iterate(expression, node, open, &mut values, Value::bare);
        self.iterate(expression, node, open, &mut values, |value| value)
    }

    fn iterate(
        &self,
        expression: &'a Expression,
        node: Node<'a>,
        open: &BTreeSet<Node<'a>>,
        values: &mut Values<'a>,
        keep: fn(Value) -> Value,
    ) -> Value {
        loop {
            let before = values.nodes.clone();
            let answer = self.expression(expression, node, open, values);
            for node in before.keys() {
                let value = keep(self.node(*node, open, values));
                values.nodes.insert(*node, value);
            }
            if values.nodes == before {
                return answer;
            }
        }
    }

    /// The equation of a node.
    fn node(&self, node: Node<'a>, open: &BTreeSet<Node<'a>>, values: &mut Values<'a>) -> Value {
        let itself = Some((node.object_type, node.object_id)) == object_of(self.subject);
        if itself && self.subject.relation() == Some(node.name) {
            return Value::Yes;
        }
        if open.contains(&node) {
            return Value::Fault(Fault::Cycle);
        }
        let Some(definition) = self.reference.schema.definition(node.object_type.as_str()) else { return Value::No };
        match definition.permission(node.name.as_str()) {
            Some(permission) => self.expression(&permission.expression, node, open, values),
            None => self.relation(node, values),
        }
    }

    /// The equation of a relation: some edge holds whose subject is, covers or contains the subject.
    fn relation(&self, node: Node<'a>, values: &mut Values<'a>) -> Value {
        let mut any = Value::No;
        for (subject, condition) in &*self.edges(node) {
            let covered = subject.is_wildcard()
                && self.subject.relation().is_none()
                && subject.object_type() == self.subject.object_type();
            let member = match (object_of(subject), subject.relation()) {
                (Some((object_type, object_id)), Some(name)) => values.of(Node { object_type, object_id, name }),
                _ => Value::yes_if(covered || *subject == self.subject),
            };
            any = any.or(condition.clone().and(member));
        }
        any
    }

    /// The value of a permission's expression, or a part of it, at the node that has the permission.
    fn expression(
        &self,
        expression: &'a Expression,
        node: Node<'a>,
        open: &BTreeSet<Node<'a>>,
        values: &mut Values<'a>,
    ) -> Value {
        let mut part = |part: &'a Expression| self.expression(part, node, open, values);
        match expression {
            Expression::Nil => Value::No,
            Expression::Itself => Value::yes_if(
                self.subject.relation().is_none()
                    && Some((node.object_type, node.object_id)) == object_of(self.subject),
            ),
            Expression::Reference(name) => values.of(Node { name, ..node }),
            Expression::Arrow { relation, target, function } => self.arrow(node, relation, target, *function, values),
            Expression::Union(parts) => parts.iter().map(part).fold(Value::No, Value::or),
            Expression::Intersection(parts) => parts.iter().map(part).fold(Value::Yes, Value::and),
            Expression::Exclusion(left, right) => {
                let left = part(left);
                if left == Value::No { left } else { left.and(self.right_side(right, node, open).not()) }
            }
        }
    }

    /// The right side of an exclusion must be known before it is negated: a question of its own.
    fn right_side(&self, expression: &'a Expression, node: Node<'a>, open: &BTreeSet<Node<'a>>) -> Value {
        let inside = open.iter().copied().chain([node]).collect();
        let right_side: RightSide<'a> = (inside, node, std::ptr::from_ref(expression));
        if let Some(known) = self.right_sides.borrow().get(&right_side) {
            return known.clone();
        }
        let value = self.solve(expression, node, &right_side.0);
        self.right_sides.borrow_mut().insert(right_side, value.clone());
        value
    }

    /// An arrow leads to the objects that a relation names, whatever their relation, and on to their `target`.
    fn arrow(
        &self,
        node: Node<'a>,
        relation: &'a RelationName,
        target: &'a RelationName,
        function: ArrowFunction,
        values: &mut Values<'a>,
    ) -> Value {
        let mut members = Vec::new();
        for (subject, condition) in &*self.edges(Node { name: relation, ..node }) {
            let Some((object_type, object_id)) = object_of(subject) else { continue };
            let definition = self.reference.schema.definition(object_type.as_str());
            let member = match definition.and_then(|definition| definition.member(target.as_str())) {
                Some(_) => values.of(Node { object_type, object_id, name: target }),
                None => Value::No,
            };
            members.push(condition.clone().and(member));
        }
        match function {
            ArrowFunction::Any => members.into_iter().fold(Value::No, Value::or),
            ArrowFunction::All if members.is_empty() => Value::No,
            ArrowFunction::All => members.into_iter().fold(Value::Yes, Value::and),
        }
    }

    /// The subjects that stand in a relation to an object, each with its condition.
    fn edges(&self, node: Node<'a>) -> Edges<'a> {
        if let Some(known) = self.edges.borrow().get(&node) {
            return Rc::clone(known);
        }
        let object = ObjectRef { object_type: node.object_type.clone(), object_id: node.object_id.clone() };
        let row = (object, node.name.clone());
        let condition = |caveats: &Vec<Option<CaveatRef>>| {
            caveats.iter().map(|caveat| self.condition(caveat.as_ref(), &row.0)).fold(Value::No, Value::or)
        };
        let subjects = self.reference.edges.get(&row).into_iter().flatten();
        let edges: Edges<'a> = subjects.map(|(subject, caveats)| (subject, condition(caveats))).collect();
        self.edges.borrow_mut().insert(node, Rc::clone(&edges));
        edges
    }

    /// What a caveat says under its stored values and, where these are silent, those of the request. A parameter with a source
    /// has what the source gives, and nothing else.
    fn condition(&self, caveat: Option<&CaveatRef>, resource: &ObjectRef) -> Value {
        use stonetown_caveat::Outcome;
        let Some(caveat) = caveat else { return Value::Yes };
        let Some(definition) = self.reference.schema.caveat(caveat.name.as_str()) else {
            return Value::Fault(Fault::Caveat);
        };
        let rule = &definition.caveat;
        let (mut stored, mut request) = (caveat.context.clone(), self.context.clone());
        for (parameter, source) in definition.given() {
            if *source != ParameterSource::Relationship {
                stored.remove(parameter);
            }
            request.remove(parameter);
            request.extend(self.given(source, resource).map(|value| (parameter.to_owned(), value)));
        }
        let outcome = rule
            .bind(&stored)
            .and_then(|stored| Ok((stored, rule.bind_request(&request)?)))
            .map(|(stored, request)| rule.evaluate(&stored, &request));
        match outcome {
            Ok(Ok(Outcome::True)) => Value::Yes,
            Ok(Ok(Outcome::False)) => Value::No,
            Ok(Ok(Outcome::Missing(names))) => Value::Maybe(names.into_iter().collect()),
            Ok(Err(_)) | Err(_) => Value::Fault(Fault::Caveat),
        }
    }
}

impl Question<'_> {
    /// What a source gives, if it gives anything.
    fn given(&self, source: &ParameterSource, resource: &ObjectRef) -> Option<AttributeValue> {
        let Given::Call { peer_ip } = self.reference.given else { return None };
        let attribute =
            |object: ObjectRef, name: &AttributeName| self.reference.attributes.get(&(object, name.clone())).cloned();
        match source {
            ParameterSource::Relationship => None,
            ParameterSource::Now => Some(self.reference.now.to_string().into()),
            ParameterSource::PeerIp => peer_ip.map(|address| address.to_string().into()),
            ParameterSource::Resource(name) => attribute(resource.clone(), name),
            ParameterSource::Subject(name) => {
                let (object_type, object_id) = object_of(self.subject)?;
                let object = ObjectRef { object_type: object_type.clone(), object_id: object_id.clone() };
                attribute(object, name)
            }
        }
    }
}

impl<'a> Values<'a> {
    /// What is known of a node; a new one begins as [`Value::No`].
    fn of(&mut self, node: Node<'a>) -> Value {
        self.nodes.entry(node).or_insert(Value::No).clone()
    }
}
