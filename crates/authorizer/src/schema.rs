//! Reading and replacing the schema. A schema is stored as its canonical text, and is not replaced while stored relationships
//! would lose their meaning.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_graph::attribute_table;
use stonetown_schema::{AllowedType, CaveatDefinition, CompileOptions, Definition, Schema, SubjectForm};
use stonetown_storage::read::relationship;
use stonetown_storage::{CommitError, Direction, Guard, SchemaWrite, TableKey, Transaction};
use stonetown_tuple::{CaveatRef, Consistency, Relationship, StoreId, ZedToken};

use crate::admission::Weight;
use crate::error::DataInTheWay;
use crate::gate::Act;
use crate::recording::{Asked, Recording};
use crate::world::{World, stored_text};
use crate::{Authorizer, Call, Error};

impl Authorizer {
    /// The newest schema as canonical text.
    ///
    /// # Errors
    /// [`Error::NoSchema`] before the first was written.
    pub fn read_schema(&self, call: &Call) -> Result<(ZedToken, String), Error> {
        self.recorded(call, Asked::of("read_schema"), |recording| {
            let _permit = self.admit(call, Weight::Light, &[Act::ReadSchema])?;
            let world = self.world(call, Consistency::FullyConsistent)?;
            recording.see(&world);
            let stored = world.snapshot.schema()?.ok_or(Error::NoSchema)?;
            Ok((world.token, stored_text(&stored)?.to_owned()))
        })
    }

    /// Replaces the schema.
    ///
    /// # Errors
    /// [`Error::Schema`] when it does not compile, [`Error::DataInTheWay`] when relationships are stored that it has no place
    /// for; nothing has changed then.
    pub fn write_schema(&self, call: &Call, text: &str) -> Result<ZedToken, Error> {
        self.recorded(call, Asked::write("write_schema"), |recording| self.replace_schema(call, text, recording))
    }

    fn replace_schema(&self, call: &Call, text: &str, recording: &mut Recording<'_>) -> Result<ZedToken, Error> {
        let _permit = self.admit(call, Weight::Heavy, &[Act::WriteSchema])?;
        let limit = self.quota(call.store).schema_bytes_max;
        if limit > 0 && text.len() as u64 > limit {
            return Err(Error::AboveQuota { what: "bytes of schema", limit });
        }
        let options =
            CompileOptions { prefixes_required: self.options.schema_prefixes_required, ..CompileOptions::default() };
        let schema = Schema::compile(text, &options).map_err(Error::Schema)?;
        refuse_reserved(call, &schema)?;
        for _ in 0..=self.options.limits.write_retries_max {
            let world = self.world(call, Consistency::FullyConsistent)?;
            recording.see(&world);
            let obstacles = obstacles(world.schema(), &schema);
            call.check_alive()?;
            find_in_the_way(&world, &obstacles)?;
            let mut transaction = Transaction::new(call.store, world.now);
            transaction.schema_at = world.snapshot.schema()?.map(|stored| stored.revision);
            transaction.guard = Some(Guard {
                since: world.snapshot.revision(),
                refuse: Box::new(move |relationship| obstacles.iter().any(|obstacle| obstacle.bars(relationship))),
            });
            transaction.schema = Some(stored_form(&schema));
            transaction.actor = Some(call.caller.name.to_string());
            match self.datastore.commit(transaction) {
                Err(CommitError::SchemaChanged(_) | CommitError::Conflict) => {}
                outcome => {
                    let revision = outcome?.revision;
                    call.note_revision(revision);
                    recording.committed(revision);
                    return Ok(self.token(revision));
                }
            }
        }
        Err(Error::Serialization)
    }
}

/// How the names of the system store's types and caveats begin, which no other store has.
const RESERVED_PREFIX: &str = "sys/";

fn refuse_reserved(call: &Call, schema: &Schema) -> Result<(), Error> {
    let types = schema.definitions().iter().map(|definition| definition.name.as_str());
    let mut names = types.chain(schema.caveats().iter().map(|caveat| caveat.name.as_str()));
    match names.find(|name| name.starts_with(RESERVED_PREFIX)) {
        Some(name) if call.store != StoreId::SYSTEM => {
            Err(Error::Refused(format!("`{name}`: names that begin with `{RESERVED_PREFIX}` are the server's own")))
        }
        _ => Ok(()),
    }
}

/// What a schema needs of storage: its text, its types and a table for each way of relating two of them.
fn stored_form(schema: &Schema) -> SchemaWrite {
    let mut tables = BTreeSet::new();
    let trusts =
        schema.caveats().iter().flat_map(CaveatDefinition::given).any(|(_, source)| source.attribute().is_some());
    for definition in schema.definitions() {
        if trusts {
            tables.insert(attribute_table(&definition.name));
        }
        for relation in &definition.relations {
            tables
                .extend(relation.allowed.iter().map(|allowed| table_key(definition, relation.name.as_str(), allowed)));
        }
    }
    SchemaWrite {
        bytes: schema.text().into_bytes(),
        tables: tables.into_iter().collect(),
        types: schema.definitions().iter().map(|definition| definition.name.to_string()).collect(),
    }
}

fn table_key(definition: &Definition, relation: &str, allowed: &AllowedType) -> TableKey {
    TableKey {
        resource_type: definition.name.to_string(),
        relation: relation.to_owned(),
        subject_type: allowed.subject_type.to_string(),
        subject_relation: match &allowed.form {
            SubjectForm::Userset(relation) => Some(relation.to_string()),
            SubjectForm::Object | SubjectForm::Wildcard => None,
        },
    }
}

/// Something that the new schema takes away, and which relationships need it.
struct Obstacle {
    operation: &'static str,
    message: String,
    definition: String,
    relation: Option<String>,
    allowed_type: Option<String>,
    table: Box<dyn Fn(&TableKey) -> bool + Send>,
    edge: Box<dyn Fn(&EdgeShape<'_>) -> bool + Send>,
}

/// What allowed types tell edges of one table apart by.
struct EdgeShape<'a> {
    wildcard: bool,
    expires: bool,
    caveat: Option<&'a CaveatRef>,
}

impl Obstacle {
    fn bars(&self, relationship: &Relationship) -> bool {
        let subject = &relationship.subject;
        let key = TableKey {
            resource_type: relationship.resource.object_type.to_string(),
            relation: relationship.relation.to_string(),
            subject_type: subject.object_type().to_string(),
            subject_relation: subject.relation().map(ToString::to_string),
        };
        let shape = EdgeShape {
            wildcard: subject.is_wildcard(),
            expires: relationship.expires_at.is_some(),
            caveat: relationship.caveat.as_ref(),
        };
        (self.table)(&key) && (self.edge)(&shape)
    }
}

/// Everything that `new` takes away from `old`, the widest first.
fn obstacles(old: &Schema, new: &Schema) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for definition in old.definitions() {
        let name = definition.name.to_string();
        let Some(kept) = new.definition(&name) else {
            obstacles.push(Obstacle {
                operation: "delete_object_definition",
                message: format!("cannot delete definition `{name}`, as relationships of it exist"),
                definition: name.clone(),
                relation: None,
                allowed_type: None,
                table: Box::new(move |key| key.resource_type == name || key.subject_type == name),
                edge: Box::new(|_| true),
            });
            continue;
        };
        for relation in &definition.relations {
            match kept.relation(relation.name.as_str()) {
                None => obstacles.extend(removed_relation(&name, relation.name.as_str(), kept)),
                Some(kept) => {
                    let gone = relation.allowed.iter().filter(|allowed| !kept.allowed.contains(allowed));
                    obstacles.extend(gone.map(|allowed| removed_type(definition, relation.name.as_str(), allowed)));
                }
            }
        }
    }
    for caveat in old.caveats() {
        // A caveat that is gone altogether is gone from the allowed types too.
        let Some(kept) = new.caveat(caveat.name.as_str()) else { continue };
        for parameter in caveat.caveat.parameters() {
            let now = kept.caveat.parameters().iter().find(|other| other.name == parameter.name);
            let (operation, what) = match now {
                None => ("remove_parameter", "removed"),
                Some(now) if now.parameter_type != parameter.parameter_type => ("change_parameter_type", "changed"),
                Some(_) => continue,
            };
            obstacles.push(changed_parameter(caveat.name.as_str(), &parameter.name, operation, what));
        }
    }
    obstacles
}

fn removed_relation(definition: &str, relation: &str, kept: &Definition) -> Vec<Obstacle> {
    let (definition, relation) = (definition.to_owned(), relation.to_owned());
    let (d, r) = (definition.clone(), relation.clone());
    let mut obstacles = vec![Obstacle {
        operation: "delete_relation",
        message: format!(
            "cannot delete relation `{relation}` of definition `{definition}`, as relationships exist on it"
        ),
        definition: definition.clone(),
        relation: Some(relation.clone()),
        allowed_type: None,
        table: Box::new(move |key| key.resource_type == d && key.relation == r),
        edge: Box::new(|_| true),
    }];
    // A permission of the same name takes a relation's place in subjects.
    if kept.permission(&relation).is_none() {
        let (d, r) = (definition.clone(), relation.clone());
        obstacles.push(Obstacle {
            operation: "delete_relation_reverse_check",
            message: format!(
                "cannot delete relation `{relation}` of definition `{definition}`, as relationships have it as their subject's"
            ),
            definition,
            relation: Some(relation),
            allowed_type: None,
            table: Box::new(move |key| key.subject_type == d && key.subject_relation.as_ref() == Some(&r)),
            edge: Box::new(|_| true),
        });
    }
    obstacles
}

fn removed_type(definition: &Definition, relation: &str, allowed: &AllowedType) -> Obstacle {
    let wanted = table_key(definition, relation, allowed);
    let gone = allowed.clone();
    Obstacle {
        operation: "remove_allowed_type",
        message: format!(
            "cannot remove `{allowed}` from relation `{relation}` of definition `{}`, as such relationships exist",
            definition.name
        ),
        definition: definition.name.to_string(),
        relation: Some(relation.to_owned()),
        allowed_type: Some(allowed.to_string()),
        table: Box::new(move |key| *key == wanted),
        edge: Box::new(move |edge| {
            edge.wildcard == (gone.form == SubjectForm::Wildcard)
                && edge.expires == gone.expiration
                && edge.caveat.map(|caveat| &caveat.name) == gone.caveat.as_ref()
        }),
    }
}

fn changed_parameter(caveat: &str, parameter: &str, operation: &'static str, what: &str) -> Obstacle {
    let (name, key) = (caveat.to_owned(), parameter.to_owned());
    Obstacle {
        operation,
        message: format!(
            "parameter `{parameter}` of caveat `{caveat}` cannot be {what}, as relationships store a value for it"
        ),
        definition: caveat.to_owned(),
        relation: Some(parameter.to_owned()),
        allowed_type: None,
        table: Box::new(|_| true),
        edge: Box::new(move |edge| {
            edge.caveat.is_some_and(|caveat| caveat.name.as_str() == name && caveat.context.contains_key(&key))
        }),
    }
}

/// Looks for one stored relationship that has not expired and that an obstacle is about.
fn find_in_the_way(world: &World, obstacles: &[Obstacle]) -> Result<(), Error> {
    for obstacle in obstacles {
        for table in world.snapshot.tables().iter().filter(|table| (obstacle.table)(&table.key)) {
            let mut found = None;
            world.snapshot.scan_table(table.id, Direction::Forward, None, &mut |edge| {
                let shape = EdgeShape {
                    wildcard: edge.subject == stonetown_storage::Ordinal::WILDCARD,
                    expires: edge.expires_at.is_some(),
                    caveat: edge.caveat.as_deref(),
                };
                let expired = edge.expires_at.is_some_and(|end| end <= world.now);
                if expired || !(obstacle.edge)(&shape) {
                    return ControlFlow::Continue(());
                }
                found = Some(edge.clone());
                ControlFlow::Break(())
            })?;
            if let Some(edge) = found {
                return Err(Error::DataInTheWay(Box::new(DataInTheWay {
                    operation: obstacle.operation,
                    message: obstacle.message.clone(),
                    definition: obstacle.definition.clone(),
                    relation: obstacle.relation.clone(),
                    allowed_type: obstacle.allowed_type.clone(),
                    relationship: relationship(&*world.snapshot, &Arc::clone(table), &edge)?,
                })));
            }
        }
    }
    Ok(())
}
