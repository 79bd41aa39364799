//! Writing relationships, one update at a time or by filter. All of a call or nothing.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use stonetown_schema::Schema;
use stonetown_storage::{CommitError, Committed, DeleteByFilter, RequestId, StoredUpdate, Transaction};
use stonetown_tuple::{
    Operation, Precondition, Relationship, RelationshipFilter, RelationshipUpdate, Source, StoreId, Timestamp, ZedToken,
};

use crate::admission::Weight;
use crate::check::above;
use crate::error::{RequestLimit, describe_filter};
use crate::gate::{Act, enumerating};
use crate::justification;
use crate::recording::{Asked, Recording};
use crate::world::World;
use crate::{Authorizer, Call, Error};

/// Changes to be made together.
#[derive(Debug, Clone, Default)]
pub struct WriteRequest {
    /// The changes.
    pub updates: Vec<RelationshipUpdate>,
    /// What must hold of the state before.
    pub preconditions: Vec<Precondition>,
    /// A JSON object to be kept with the transaction.
    pub metadata: Option<String>,
    /// Chosen by the client so that a retry answers as the first did; 1 to 128 bytes.
    pub request_id: Option<String>,
}

/// Updates of one store, for [`Authorizer::write_both`].
#[derive(Debug, Clone)]
pub struct StoreUpdates {
    /// The store.
    pub store: StoreId,
    /// The changes, each on behalf of its source.
    pub updates: Vec<StoredUpdate>,
    /// A JSON object to be kept with the transaction.
    pub metadata: Option<String>,
}

/// A deletion by filter.
#[derive(Debug, Clone, Default)]
pub struct DeleteRequest {
    /// What to delete.
    pub filter: RelationshipFilter,
    /// What must hold of the state before.
    pub preconditions: Vec<Precondition>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Whether to delete up to the limit when more match.
    pub allow_partial: bool,
    /// A JSON object to be kept with the transaction.
    pub metadata: Option<String>,
    /// As in [`WriteRequest`].
    pub request_id: Option<String>,
}

/// What a deletion did.
#[derive(Debug, Clone, Copy)]
pub struct DeleteAnswer {
    /// The revision from which on they are gone.
    pub at: ZedToken,
    /// How many were deleted.
    pub deleted: u64,
    /// Whether more match.
    pub partial: bool,
}

impl Authorizer {
    /// Applies updates as one transaction, acknowledged when it is durable and visible.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then.
    pub fn write(&self, call: &Call, request: &WriteRequest) -> Result<ZedToken, Error> {
        self.recorded(call, Asked::write("write"), |recording| self.answer_write(call, request, recording))
    }

    fn answer_write(
        &self,
        call: &Call,
        request: &WriteRequest,
        recording: &mut Recording<'_>,
    ) -> Result<ZedToken, Error> {
        let mut acts: Vec<Act<'_>> = request.updates.iter().map(writing).collect();
        acts.extend(request.preconditions.iter().map(testing));
        acts.dedup();
        if acts.is_empty() {
            acts.push(Act::WRITE_ALL);
        }
        let _permit = self.admit(call, Weight::Light, &acts)?;
        let changed = request.updates.iter().map(|update| &update.relationship);
        changed.into_iter().try_for_each(|changed| self.check_scope(call, &changed.resource, &changed.relation))?;
        above(RequestLimit::Updates, request.updates.len(), self.options.limits.updates_max)?;
        self.check_extras(&request.preconditions, request.metadata.as_deref())?;
        refuse_duplicates(&request.updates)?;
        let more = request.updates.iter().filter(|update| update.operation != Operation::Delete).count();
        self.within_quota(call.store, more)?;
        let request_id = request.request_id.clone().map(|id| RequestId { id, fingerprint: write_fingerprint(request) });
        let committed = self.commit(call, request_id, recording, |world, transaction| {
            let schema = world.schema();
            request.preconditions.iter().try_for_each(|precondition| check_precondition(schema, precondition))?;
            for update in &request.updates {
                self.check_relationship(world, &update.relationship, update.operation.into())?;
                transaction.updates.push(StoredUpdate {
                    operation: update.operation,
                    relationship: update.relationship.clone(),
                    source: Source::STANDING,
                });
            }
            let changed = request.updates.iter().map(|update| relation_of(&update.relationship));
            justification::check_changes(schema, changed, request.metadata.as_deref())?;
            transaction.preconditions.clone_from(&request.preconditions);
            transaction.metadata.clone_from(&request.metadata);
            Ok(())
        })?;
        Ok(self.token(committed.revision))
    }

    /// Updates two stores, both or neither, visible at once. For parts of the server that have judged the change themselves:
    /// the gate is not asked.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then.
    pub fn write_both(&self, call: &Call, one: &StoreUpdates, other: &StoreUpdates) -> Result<ZedToken, Error> {
        self.recorded(call, Asked::write("write_both"), |recording| self.commit_both(call, one, other, recording))
    }

    fn commit_both(
        &self,
        call: &Call,
        one: &StoreUpdates,
        other: &StoreUpdates,
        recording: &mut Recording<'_>,
    ) -> Result<ZedToken, Error> {
        for _ in 0..=self.options.limits.write_retries_max {
            let now = self.clock.now();
            match self.datastore.commit_both(self.prepare(call, one, now)?, self.prepare(call, other, now)?) {
                Err(CommitError::SchemaChanged(_) | CommitError::Conflict) => {}
                Ok([_, last]) => {
                    call.note_revision(last.revision);
                    recording.committed(last.revision);
                    return Ok(self.token(last.revision));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Serialization)
    }

    /// Refuses updates that the store's schema does not allow, as [`Authorizer::write_both`] would, whatever they tell of why.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check_updates(&self, asked: &StoreUpdates) -> Result<(), Error> {
        self.world_of_updates(asked, self.clock.now()).map(drop)
    }

    /// Refuses metadata that do not tell enough of why, as a change of these relationships with it would.
    ///
    /// # Errors
    /// As [`justification::check_deletion`].
    pub fn check_justified(
        &self,
        store: StoreId,
        changed: &[Relationship],
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        let world = self.world_at(store, self.datastore.head(), self.clock.now())?;
        justification::check_changes(world.schema(), changed.iter().map(relation_of), metadata)
    }

    /// The newest state of the store that some updates are for, after they were checked against its schema.
    fn world_of_updates(&self, asked: &StoreUpdates, now: Timestamp) -> Result<World, Error> {
        let world = self.world_at(asked.store, self.datastore.head(), now)?;
        for update in &asked.updates {
            self.check_relationship(&world, &update.relationship, update.operation.into())?;
        }
        Ok(world)
    }

    /// The transaction of some updates.
    fn prepare(&self, call: &Call, asked: &StoreUpdates, now: Timestamp) -> Result<Transaction, Error> {
        let world = self.world_of_updates(asked, now)?;
        // What a grant gave ends with the grant, also where the schema demands more by now than its record has.
        let ends = |update: &StoredUpdate| {
            update.operation == Operation::Delete || update.relationship.expires_at.is_some_and(|end| end <= now)
        };
        let changed = asked.updates.iter().filter(|update| update.source == Source::STANDING || !ends(update));
        let changed = changed.map(|update| relation_of(&update.relationship));
        justification::check_changes(world.schema(), changed, asked.metadata.as_deref())?;
        Ok(Transaction {
            updates: asked.updates.clone(),
            actor: Some(call.caller.name.to_string()),
            metadata: asked.metadata.clone(),
            schema_at: world.snapshot.schema()?.map(|schema| schema.revision),
            ..Transaction::new(asked.store, now)
        })
    }

    /// Deletes what matches a filter as one transaction, of any size where no limit is given.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then.
    pub fn delete(&self, call: &Call, request: &DeleteRequest) -> Result<DeleteAnswer, Error> {
        let asked = Asked::write("delete").filter(&request.filter);
        self.recorded(call, asked, |recording| self.answer_delete(call, request, recording))
    }

    fn answer_delete(
        &self,
        call: &Call,
        request: &DeleteRequest,
        recording: &mut Recording<'_>,
    ) -> Result<DeleteAnswer, Error> {
        let RelationshipFilter { resource_type, relation, .. } = &request.filter;
        let (resource_type, relation) =
            (resource_type.as_ref().map(AsRef::as_ref), relation.as_ref().map(AsRef::as_ref));
        let mut acts = vec![Act::Revoke { resource_type, relation }];
        acts.extend(request.preconditions.iter().map(testing));
        let _permit = self.admit(call, Weight::Heavy, &acts)?;
        call.caller.within_scope_of_filter(&request.filter)?;
        if let Some(limit) = request.limit {
            let max = self.options.limits.delete_limit_max;
            above(
                RequestLimit::Results,
                usize::try_from(limit).unwrap_or(usize::MAX),
                usize::try_from(max).unwrap_or(usize::MAX),
            )?;
        }
        self.check_extras(&request.preconditions, request.metadata.as_deref())?;
        let request_id =
            request.request_id.clone().map(|id| RequestId { id, fingerprint: delete_fingerprint(request) });
        let committed = self.commit(call, request_id, recording, |world, transaction| {
            let schema = world.schema();
            request.preconditions.iter().try_for_each(|precondition| check_precondition(schema, precondition))?;
            check_filter(schema, &request.filter)?;
            justification::check_deletion(schema, &request.filter, request.metadata.as_deref())?;
            transaction.delete = Some(DeleteByFilter {
                filter: request.filter.clone(),
                limit: request.limit,
                partial: request.allow_partial,
            });
            transaction.preconditions.clone_from(&request.preconditions);
            transaction.metadata.clone_from(&request.metadata);
            Ok(())
        });
        let committed = committed.map_err(|error| match error {
            Error::TooManyToDelete { limit, .. } => {
                Error::TooManyToDelete { limit, filter: Box::new(request.filter.clone()) }
            }
            other => other,
        })?;
        Ok(DeleteAnswer { at: self.token(committed.revision), deleted: committed.count, partial: committed.partial })
    }

    /// Prepares a transaction against the newest schema and commits it, again from the start when the schema changed between
    /// the two.
    pub(crate) fn commit(
        &self,
        call: &Call,
        request_id: Option<RequestId>,
        recording: &mut Recording<'_>,
        prepare: impl Fn(&World, &mut Transaction) -> Result<(), Error>,
    ) -> Result<Committed, Error> {
        for _ in 0..=self.options.limits.write_retries_max {
            let world = self.world(call, stonetown_tuple::Consistency::FullyConsistent)?;
            recording.see(&world);
            let mut transaction = Transaction::new(call.store, world.now);
            prepare(&world, &mut transaction)?;
            transaction.request_id.clone_from(&request_id);
            transaction.actor = Some(call.caller.name.to_string());
            transaction.schema_at = world.snapshot.schema()?.map(|schema| schema.revision);
            match self.datastore.commit(transaction) {
                Err(CommitError::SchemaChanged(_) | CommitError::Conflict) => {}
                outcome => {
                    let committed = outcome?;
                    call.note_revision(committed.revision);
                    recording.committed(committed.revision);
                    return Ok(committed);
                }
            }
        }
        Err(Error::Serialization)
    }

    pub(crate) fn check_extras(&self, preconditions: &[Precondition], metadata: Option<&str>) -> Result<(), Error> {
        let limits = &self.options.limits;
        above(RequestLimit::Preconditions, preconditions.len(), limits.preconditions_max)?;
        above(RequestLimit::MetadataBytes, metadata.map_or(0, str::len), limits.metadata_bytes_max)
    }
}

/// The type and the relation of a relationship.
pub(crate) fn relation_of(relationship: &Relationship) -> (&str, &str) {
    (relationship.resource.object_type.as_ref(), relationship.relation.as_ref())
}

/// What an update takes.
fn writing(update: &RelationshipUpdate) -> Act<'_> {
    let (resource_type, relation) = relation_of(&update.relationship);
    match update.operation {
        Operation::Create | Operation::Touch => Act::Write { resource_type, relation },
        Operation::Delete => Act::Revoke { resource_type: Some(resource_type), relation: Some(relation) },
    }
}

/// What a precondition takes, as it tells what is there.
fn testing(precondition: &Precondition) -> Act<'_> {
    let (Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter)) = precondition;
    enumerating(filter)
}

fn refuse_duplicates(updates: &[RelationshipUpdate]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(updates.len());
    for update in updates {
        let r = &update.relationship;
        if !seen.insert((&r.resource, &r.relation, &r.subject)) {
            return Err(Error::DuplicateUpdate {
                definition: r.resource.object_type.to_string(),
                relationship: format!("{}#{}@{}", r.resource, r.relation, r.subject),
            });
        }
    }
    Ok(())
}

fn check_precondition(schema: &Schema, precondition: &Precondition) -> Result<(), Error> {
    let (Precondition::MustMatch(filter) | Precondition::MustNotMatch(filter)) = precondition;
    check_filter(schema, filter)
}

/// Refuses a filter without conditions, one that contradicts itself, and one that names what the schema has not.
pub(crate) fn check_filter(schema: &Schema, filter: &RelationshipFilter) -> Result<(), Error> {
    if filter.is_empty() {
        return Err(Error::InvalidFilter {
            message: "at least one field must be set".to_owned(),
            filter: describe_filter(filter),
        });
    }
    if filter.resource_id.is_some() && filter.resource_id_prefix.is_some() {
        return Err(Error::InvalidFilter {
            message: "a resource id and a prefix of it cannot both be set".to_owned(),
            filter: describe_filter(filter),
        });
    }
    let definition =
        |name: &str| schema.definition(name).ok_or_else(|| Error::UnknownDefinition { name: name.to_owned() });
    let unknown = |definition: &str, relation: &str| Error::UnknownRelation {
        definition: definition.to_owned(),
        relation: relation.to_owned(),
    };
    if let Some(resource_type) = &filter.resource_type {
        let definition = definition(resource_type.as_str())?;
        if let Some(name) = filter.relation.as_ref().map(AsRef::as_ref)
            && definition.relation(name).is_none()
            && definition.permission(name).is_none()
        {
            return Err(unknown(resource_type.as_str(), name));
        }
    }
    if let Some(subject) = &filter.subject {
        let name = subject.subject_type.as_str();
        let definition = definition(name)?;
        if let stonetown_tuple::SubjectRelationFilter::Relation(relation) = &subject.relation
            && definition.relation(relation.as_str()).is_none()
            && definition.permission(relation.as_str()).is_none()
        {
            return Err(unknown(name, relation.as_str()));
        }
    }
    Ok(())
}

/// Tells two requests of the same id apart. Stable within a process and between processes of one build, which is what a retry
/// after a time-out or a restart needs.
fn write_fingerprint(request: &WriteRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    for update in &request.updates {
        (update.operation, update.relationship.to_string()).hash(&mut hasher);
    }
    (format!("{:?}", request.preconditions), &request.metadata).hash(&mut hasher);
    hasher.finish()
}

fn delete_fingerprint(request: &DeleteRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    let DeleteRequest { filter, preconditions, limit, allow_partial, metadata, request_id: _ } = request;
    (format!("{filter:?} {preconditions:?}"), limit, allow_partial, metadata).hash(&mut hasher);
    hasher.finish()
}
