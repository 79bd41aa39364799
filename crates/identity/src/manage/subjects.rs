//! The relationships of a subject in a store, moved to another or taken away.

use std::ops::ControlFlow;

use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Act, Call, Caller, Error, justification};
use stonetown_tuple::{
    Consistency, ObjectRef, Operation, Precondition, Relationship, RelationshipFilter, RelationshipUpdate,
    SubjectFilter, SubjectId, SubjectRef, SubjectRelationFilter, ZedToken,
};

use super::Why;
use crate::Identity;
use crate::principal::StandIn;
use crate::stores::NO_STORE;
use crate::system::parsed;

/// Relationships that one call moves at most, as it does all of them or none.
pub const MOVED_MAX: usize = 500;

/// What was moved from one subject to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// How many relationships.
    pub moved: u64,
    /// The state from which on they are the other's; `None` if there were none.
    pub at: Option<ZedToken>,
}

impl Identity {
    /// Gives all relationships of one subject in a store to another, all at once or none: their caveats and times stay. The
    /// caller needs the powers to list, write and delete them.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::NoSuch`] for a store, [`Error::Refused`] for more than [`MOVED_MAX`],
    /// [`Error::PreconditionFailed`] when one of them was deleted meanwhile, and those of writes.
    pub fn replace_subject(
        &self,
        caller: &Caller,
        store: &str,
        from: &ObjectRef,
        to: &ObjectRef,
        why: &Why,
    ) -> Result<Replaced, Error> {
        let call = self.call_in(caller, store);
        let mut found: Vec<Relationship> = Vec::new();
        let read = ReadRequest {
            consistency: Consistency::FullyConsistent,
            filter: of_subject(from),
            limit: None,
            after: None,
        };
        self.system().authorizer().read(&call, &read, &mut |item| {
            found.push(item.relationship);
            if found.len() > MOVED_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.len() > MOVED_MAX {
            return Err(Error::Refused(format!("`{from}` is in more than {MOVED_MAX} relationships")));
        }
        if found.is_empty() {
            return Ok(Replaced { moved: 0, at: None });
        }
        let moved = found.len() as u64;
        let preconditions = found.iter().map(|relationship| Precondition::MustMatch(exactly(relationship))).collect();
        let updates = found.into_iter().flat_map(|old| {
            let new = Relationship { subject: SubjectRef::object(to.clone()), ..old.clone() };
            let old = Relationship { caveat: None, expires_at: None, not_before: None, ..old };
            [(Operation::Delete, old), (Operation::Touch, new)]
        });
        let updates = updates.map(|(operation, relationship)| RelationshipUpdate { operation, relationship }).collect();
        let metadata = why.metadata("replace subject")?;
        let request = WriteRequest { updates, preconditions, metadata, request_id: None };
        let at = self.system().authorizer().write(&call, &request)?;
        Ok(Replaced { moved, at: Some(at) })
    }

    /// How many relationships a subject is in.
    pub(super) fn relationships_of(&self, caller: &Caller, stand_in: &StandIn) -> Result<u64, Error> {
        let call = self.call_in(caller, &stand_in.store);
        let filter = of_subject(&parsed(&stand_in.subject)?);
        let read = ReadRequest { consistency: Consistency::FullyConsistent, filter, limit: None, after: None };
        let mut count = 0;
        let counted = self.system().authorizer().read(&call, &read, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        counted.map(|_| count).or_else(none_of_the_type)
    }

    /// Refuses what [`Identity::delete_relationships_of`] would refuse for want of the power or of a reason.
    pub(super) fn check_retirement(&self, caller: &Caller, stand_in: &StandIn, why: &Why) -> Result<(), Error> {
        let own = self.call_in(caller, &stand_in.store);
        self.system().authorizer().judge(&own, Act::Revoke { resource_type: None, relation: None })?;
        let inside = Call { caller: Caller::on_behalf_of(caller), ..own };
        let Some(schema) = self.schema_of(&inside)? else { return Ok(()) };
        let metadata = why.metadata("retire principal")?;
        justification::check_deletion(&schema, &of_subject(&parsed(&stand_in.subject)?), metadata.as_deref())
    }

    /// Deletes the relationships of a subject for a caller whom [`Identity::check_retirement`] has judged, and who may be the
    /// one that has no powers any more; how many there were.
    pub(super) fn delete_relationships_of(&self, caller: &Caller, stand_in: &StandIn, why: &Why) -> Result<u64, Error> {
        let call = self.call_in(&Caller::on_behalf_of(caller), &stand_in.store);
        let filter = of_subject(&parsed(&stand_in.subject)?);
        let metadata = why.metadata("retire principal")?;
        let request = DeleteRequest { filter, metadata, ..DeleteRequest::default() };
        let deleted = self.system().authorizer().delete(&call, &request);
        deleted.map(|answer| answer.deleted).or_else(none_of_the_type)
    }

    /// A call of the caller's own in a store, judged as any other; where there is none of that name, nobody may do anything.
    fn call_in(&self, caller: &Caller, store: &str) -> Call {
        let store = self.system().store_id(store).unwrap_or(NO_STORE);
        Call { store, caller: caller.clone(), ..Call::new("") }
    }
}

/// A schema without the subject's type has no relationships of it.
fn none_of_the_type(error: Error) -> Result<u64, Error> {
    match error {
        Error::UnknownDefinition { .. } | Error::NoSchema => Ok(0),
        error => Err(error),
    }
}

fn of_subject(subject: &ObjectRef) -> RelationshipFilter {
    RelationshipFilter {
        subject: Some(SubjectFilter {
            subject_type: subject.object_type.clone(),
            subject_id: Some(SubjectId::Object(subject.object_id.clone())),
            relation: SubjectRelationFilter::Ellipsis,
        }),
        ..RelationshipFilter::default()
    }
}

fn exactly(relationship: &Relationship) -> RelationshipFilter {
    let Relationship { resource, relation, subject, .. } = relationship;
    RelationshipFilter {
        resource_type: Some(resource.object_type.clone()),
        resource_id: Some(resource.object_id.clone()),
        relation: Some(relation.clone()),
        subject: Some(SubjectFilter {
            subject_type: subject.object_type().clone(),
            subject_id: Some(subject.object_id().clone()),
            relation: SubjectRelationFilter::Ellipsis,
        }),
        ..RelationshipFilter::default()
    }
}
