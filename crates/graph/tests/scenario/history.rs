//! Random relationships and what happens to them: a history of steps, and the plain model of its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use stonetown_schema::{AllowedType, Schema, SubjectForm};
use stonetown_tuple::{
    Attribute, AttributeName, CaveatContext, CaveatName, CaveatRef, ObjectId, ObjectRef, ObjectType, Operation,
    RelationName, Relationship, RelationshipFilter, Source, SubjectFilter, SubjectId, SubjectRef,
    SubjectRelationFilter, Timestamp,
};

use super::dice::Dice;
use super::schemas::{self, Draft};
use stonetown_storage::StoredUpdate;

/// Pairs of an object and a permission that can come back to itself through the right side of an exclusion.
const CYCLES_MAX: usize = 5;

/// One thing that happens to a store.
#[derive(Debug, Clone)]
pub enum Step {
    /// A schema is written that allows all relationships there are.
    Schema(Arc<Schema>),
    /// One transaction.
    Write(Vec<StoredUpdate>),
    /// All that matches is deleted.
    Delete(RelationshipFilter),
    /// Time passes until this moment.
    Wait(Timestamp),
    /// What only revisions before the head can see is collected.
    Collect,
    /// The index is loaded from what is stored, instead of having followed it.
    Reload,
}

/// What a store holds: the outcome of its steps.
#[derive(Debug, Clone)]
pub struct Model {
    pub schema: Arc<Schema>,
    pub facts: BTreeMap<(ObjectRef, RelationName, SubjectRef, Source), Relationship>,
    pub now: Timestamp,
}

impl Model {
    pub fn new(schema: Arc<Schema>) -> Model {
        Model { schema, facts: BTreeMap::new(), now: "2030-01-01T00:00:00Z".parse().expect("a time") }
    }

    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Schema(schema) => self.schema = schema.clone(),
            Step::Write(updates) => updates.iter().for_each(|update| self.update(update)),
            Step::Delete(filter) => self.facts.retain(|_, relationship| !filter.matches(relationship)),
            Step::Wait(now) => self.now = *now,
            Step::Collect | Step::Reload => {}
        }
    }

    fn update(&mut self, update: &StoredUpdate) {
        let fact = &update.relationship;
        if update.operation == Operation::Delete {
            self.facts.retain(|_, relationship| !relationship.same_key(fact));
        } else {
            let key = (fact.resource.clone(), fact.relation.clone(), fact.subject.clone(), update.source);
            self.facts.insert(key, fact.clone());
        }
    }

    pub fn relationships(&self) -> Vec<(Relationship, Source)> {
        self.facts.iter().map(|(key, relationship)| (relationship.clone(), key.3)).collect()
    }
}

/// Draws steps, and all else that takes its names from a model.
pub struct Author {
    pub dice: Dice,
    draft: Draft,
    ids: Vec<ObjectId>,
    /// In percent: how often an attribute is written instead of a relationship.
    attributes: usize,
    /// What relations allow, as (type, relation, allowed type).
    kinds: Vec<(ObjectType, RelationName, AllowedType)>,
}

impl Author {
    /// An author with a schema of its own.
    pub fn new(mut dice: Dice) -> (Author, Arc<Schema>) {
        let (draft, schema, ids_max) = loop {
            let (draft, schema) = Draft::random(&mut dice);
            match schemas::cyclic_exclusions(&schema) {
                0 => break (draft, schema, usize::MAX),
                few @ ..=CYCLES_MAX => break (draft, schema, CYCLES_MAX / few),
                _ => {}
            }
        };
        let id_count = match dice.below(1000) {
            0..=3 => 700,
            4..=20 => 150,
            21..=80 => 40,
            _ => *dice.pick(&[1, 2, 2, 3, 3, 4, 6]),
        };
        let id_count = ids_max.min(id_count);
        let ids = (0..id_count).map(|n| ObjectId::new(format!("id{n}")).expect("an id")).collect();
        let kinds = kinds(&schema);
        let attributes = if schema.caveats().iter().any(|caveat| caveat.given().next().is_some()) { 15 } else { 1 };
        (Author { dice, draft, ids, attributes, kinds }, schema)
    }

    /// Relationships to begin with.
    pub fn first(&mut self, model: &Model) -> Step {
        let count = match self.ids.len() {
            many @ 7.. => many * 5,
            _ => *self.dice.pick(&[0, 4, 10, 20, 30, 40, 60, 80, 200]),
        };
        self.write(model, count)
    }

    /// Something that may happen to the model.
    pub fn next(&mut self, model: &Model) -> Step {
        match self.dice.below(21) {
            0..=12 => {
                let count = self.dice.between(1, 6);
                self.write(model, count)
            }
            13..=14 => Step::Delete(self.filter()),
            15..=16 => {
                let pause = *self.dice.pick(&[1_i64, 1800, 3600, 7200]);
                Step::Wait(Timestamp::from_second(model.now.as_second() + pause).expect("in range"))
            }
            17 => Step::Collect,
            18 => Step::Reload,
            _ => match self.draft.changed(&mut self.dice) {
                Some((draft, schema)) if schemas::cyclic_exclusions(&schema) * self.ids.len() <= CYCLES_MAX => {
                    self.kinds = kinds(&schema);
                    self.draft = draft;
                    Step::Schema(schema)
                }
                _ => Step::Collect,
            },
        }
    }

    fn write(&mut self, model: &Model, count: usize) -> Step {
        let mut updates: Vec<StoredUpdate> = Vec::new();
        for _ in 0..count {
            let Some(update) = self.update(model) else { break };
            if !updates.iter().any(|other| other.relationship.same_key(&update.relationship)) {
                updates.push(update);
            }
        }
        Step::Write(updates)
    }

    fn update(&mut self, model: &Model) -> Option<StoredUpdate> {
        let there = model.facts.len();
        let again = there > 0 && self.dice.percent(25);
        let relationship = if again {
            // The same relationship once more: ended, or with other conditions.
            let old = model.facts.values().nth(self.dice.below(there))?.clone();
            let attribute = Attribute::of(&old);
            if self.dice.percent(60) {
                return Some(StoredUpdate {
                    operation: Operation::Delete,
                    relationship: old,
                    source: Source::STANDING,
                });
            }
            if let Some(attribute) = attribute {
                return Some(self.attribute(model.now, attribute.object));
            }
            let fitting = self.kinds.iter().filter(|kind| fits(kind, &old)).cloned().collect::<Vec<_>>();
            let kind = self.dice.pick(&fitting).clone();
            self.conditions(model.now, kind.2, Relationship::new(old.resource, old.relation, old.subject))
        } else if self.dice.percent(self.attributes) {
            let object = self.object(model);
            return Some(self.attribute(model.now, object));
        } else {
            self.relationship(model.now)?
        };
        let source = if self.dice.percent(80) { Source::STANDING } else { Source(self.dice.between(1, 3) as u64) };
        let key = (relationship.resource.clone(), relationship.relation.clone(), relationship.subject.clone(), source);
        let operation = match model.facts.get(&key) {
            None if self.dice.percent(50) => Operation::Create,
            _ => Operation::Touch,
        };
        Some(StoredUpdate { operation, relationship, source })
    }

    /// Sets an attribute of an object, perhaps for a time, and now and then to a value of another type.
    fn attribute(&mut self, now: Timestamp, object: ObjectRef) -> StoredUpdate {
        let value = if self.dice.percent(3) { json!(17) } else { self.value("name") };
        let expires_at = self.dice.percent(25).then(|| self.moment(now));
        let attribute = Attribute { object, name: AttributeName::new("env").expect("a name"), value, expires_at };
        let relationship = attribute.relationship();
        StoredUpdate { operation: Operation::Touch, relationship, source: Source::STANDING }
    }

    /// Any relationship that the schema allows; none if it has no relations.
    pub fn relationship(&mut self, now: Timestamp) -> Option<Relationship> {
        if self.kinds.is_empty() {
            return None;
        }
        let (object_type, relation, allowed) = self.dice.pick(&self.kinds).clone();
        let resource = ObjectRef { object_type, object_id: self.skewed(50) };
        let (id, of) = match &allowed.form {
            SubjectForm::Object => (SubjectId::Object(self.skewed(20)), None),
            SubjectForm::Wildcard => (SubjectId::Wildcard, None),
            SubjectForm::Userset(of) => (SubjectId::Object(self.skewed(20)), Some(of.clone())),
        };
        let subject = SubjectRef::new(allowed.subject_type.clone(), id, of).expect("wildcards have no relation");
        Some(self.conditions(now, allowed, Relationship::new(resource, relation, subject)))
    }

    /// Any id, so often one of the first few: where there are many objects, some have long rows.
    fn skewed(&mut self, percent: usize) -> ObjectId {
        let among = if self.dice.percent(percent) { self.ids.len().min(3) } else { self.ids.len() };
        self.ids[self.dice.below(among)].clone()
    }

    fn conditions(&mut self, now: Timestamp, allowed: AllowedType, mut relationship: Relationship) -> Relationship {
        relationship.caveat = allowed.caveat.map(|name| {
            let context = self.stored_context(&name);
            CaveatRef { name, context }
        });
        // Grants bring times of their own, whatever the relation says of expiration.
        if self.dice.percent(if allowed.expiration { 80 } else { 5 }) {
            relationship.expires_at = Some(self.moment(now));
        }
        if self.dice.percent(8) {
            relationship.not_before = Some(self.moment(now));
        }
        relationship
    }

    fn moment(&mut self, now: Timestamp) -> Timestamp {
        let distance = *self.dice.pick(&[-3600_i64, -1, 0, 1, 1800, 3600, 3600, 7200, 86_400, 86_400]);
        Timestamp::from_second(now.as_second() + distance).expect("in range")
    }

    fn stored_context(&mut self, caveat: &CaveatName) -> CaveatContext {
        let mut context = CaveatContext::new();
        for parameter in schemas::parameters(caveat.as_str()) {
            if self.dice.percent(40) {
                context.insert(parameter.to_owned(), self.value(parameter));
            }
        }
        context
    }

    /// What a request may bring along: everything, something, nothing; seldom a value of a wrong type.
    pub fn request_context(&mut self) -> CaveatContext {
        let chance = *self.dice.pick(&[0, 0, 40, 70, 100]);
        let mut context = CaveatContext::new();
        for parameter in
            ["used", "limit", "flag", "name", "names", "facts", "unheard_of", "env", "posture", "now", "own"]
        {
            if self.dice.percent(chance) {
                let value = if self.dice.percent(2) { json!({"wrong": ["type"]}) } else { self.value(parameter) };
                context.insert(parameter.to_owned(), value);
            }
        }
        context
    }

    fn value(&mut self, parameter: &str) -> serde_json::Value {
        match parameter {
            "used" | "limit" | "own" => json!(self.dice.below(5)),
            "flag" => json!(self.dice.percent(50)),
            "name" | "env" | "posture" => json!(self.dice.pick(&["x", "y", "z"])),
            "names" => {
                let count = self.dice.below(3);
                json!(self.dice.some(&["x", "y", "z"], count))
            }
            "facts" if self.dice.percent(80) => json!({"level": self.dice.below(4)}),
            "facts" => json!({}),
            "now" => json!("2030-01-01T00:30:00Z"),
            "peer_ip" => json!("10.0.0.1"),
            _ => json!("anything"),
        }
    }

    fn filter(&mut self) -> RelationshipFilter {
        let mut filter = RelationshipFilter::default();
        if self.kinds.is_empty() {
            return filter;
        }
        let (object_type, relation, allowed) = self.dice.pick(&self.kinds).clone();
        filter.resource_type = Some(object_type);
        if self.dice.percent(60) {
            filter.resource_id = Some(self.dice.pick(&self.ids).clone());
        }
        if self.dice.percent(60) {
            filter.relation = Some(relation);
        }
        if self.dice.percent(40) {
            filter.subject = Some(SubjectFilter {
                subject_type: allowed.subject_type,
                subject_id: self.dice.percent(50).then(|| SubjectId::Object(self.dice.pick(&self.ids).clone())),
                relation: match allowed.form {
                    _ if self.dice.percent(50) => SubjectRelationFilter::Any,
                    SubjectForm::Userset(of) => SubjectRelationFilter::Relation(of),
                    _ => SubjectRelationFilter::Ellipsis,
                },
            });
        }
        filter
    }

    /// An object of the schema, mostly one that is mentioned.
    pub fn object(&mut self, model: &Model) -> ObjectRef {
        let facts = model.facts.len();
        if facts > 0 && self.dice.percent(80) {
            let fact = model.facts.values().nth(self.dice.below(facts)).expect("there are so many");
            return Attribute::of(fact).map_or_else(|| fact.resource.clone(), |attribute| attribute.object);
        }
        let definition = self.dice.pick(model.schema.definitions());
        ObjectRef { object_type: definition.name.clone(), object_id: self.id() }
    }

    fn id(&mut self) -> ObjectId {
        if self.dice.percent(5) {
            return ObjectId::new("ghost").expect("an id");
        }
        self.dice.pick(&self.ids).clone()
    }

    /// A relation or permission of a type, sooner a permission.
    pub fn name(&mut self, model: &Model, object_type: &ObjectType) -> Option<RelationName> {
        let definition = model.schema.definition(object_type.as_str())?;
        let permissions: Vec<_> = definition.permissions.iter().map(|permission| permission.name.clone()).collect();
        let relations: Vec<_> = definition.relations.iter().map(|relation| relation.name.clone()).collect();
        let names = if permissions.is_empty() || self.dice.percent(25) { relations } else { permissions };
        (!names.is_empty()).then(|| self.dice.pick(&names).clone())
    }

    /// An object or, less often, a userset.
    pub fn subject(&mut self, model: &Model) -> SubjectRef {
        let facts = model.facts.len();
        if facts > 0 && self.dice.percent(60) {
            let (.., subject, _) = model.facts.keys().nth(self.dice.below(facts)).expect("there are so many");
            if !subject.is_wildcard() && (subject.relation().is_none() || self.dice.percent(30)) {
                return subject.clone();
            }
        }
        let (object_type, relation) = self.subject_kind(model);
        let id = SubjectId::Object(self.id());
        SubjectRef::new(object_type, id, relation).expect("not a wildcard")
    }

    /// A kind of subjects to be asked about: mostly one that some relation allows.
    pub fn subject_kind(&mut self, model: &Model) -> (ObjectType, Option<RelationName>) {
        if !self.kinds.is_empty() && self.dice.percent(85) {
            let allowed = &self.dice.pick(&self.kinds).2;
            let subject_type = allowed.subject_type.clone();
            return match &allowed.form {
                SubjectForm::Userset(of) if self.dice.percent(60) => (subject_type, Some(of.clone())),
                _ => (subject_type, None),
            };
        }
        let object_type = self.dice.pick(model.schema.definitions()).name.clone();
        let relation = if self.dice.percent(50) { self.name(model, &object_type) } else { None };
        (object_type, relation)
    }
}

fn kinds(schema: &Schema) -> Vec<(ObjectType, RelationName, AllowedType)> {
    let mut kinds = Vec::new();
    for definition in schema.definitions() {
        for relation in &definition.relations {
            for allowed in &relation.allowed {
                kinds.push((definition.name.clone(), relation.name.clone(), allowed.clone()));
            }
        }
    }
    kinds
}

/// Whether a kind allows the relationship's subject, conditions aside.
fn fits((object_type, relation, allowed): &(ObjectType, RelationName, AllowedType), old: &Relationship) -> bool {
    let form = match &allowed.form {
        SubjectForm::Object => !old.subject.is_wildcard() && old.subject.relation().is_none(),
        SubjectForm::Wildcard => old.subject.is_wildcard(),
        SubjectForm::Userset(of) => old.subject.relation() == Some(of),
    };
    form && *object_type == old.resource.object_type
        && *relation == old.relation
        && allowed.subject_type == *old.subject.object_type()
}
