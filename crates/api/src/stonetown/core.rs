//! What several services of `stonetown.v1` speak of, to the domain's values and back.

use stonetown_authorizer::Membership;
use stonetown_authorizer::moment::Freshness;
use stonetown_tuple::{Consistency, ObjectId, ObjectRef, ObjectType, RelationName, SubjectId, SubjectRef};

use crate::convert::{self, At, FieldError, optional, required, timestamp_from_wire};
use crate::proto::authzed::api::v1::Cursor;
use crate::proto::stonetown::v1 as wire;
use crate::token;

pub(super) fn object(reference: Option<wire::ObjectRef>) -> Result<ObjectRef, FieldError> {
    let reference = required(reference)?;
    Ok(ObjectRef {
        object_type: ObjectType::new(reference.r#type).at("type")?,
        object_id: ObjectId::new(reference.id).at("id")?,
    })
}

pub(super) fn subject(reference: Option<wire::SubjectRef>) -> Result<SubjectRef, FieldError> {
    let reference = required(reference)?;
    let object_type = ObjectType::new(reference.r#type).at("type")?;
    let object_id = SubjectId::new(reference.id).at("id")?;
    let relation = optional(reference.relation, RelationName::new).at("relation")?;
    SubjectRef::new(object_type, object_id, relation).at("relation")
}

pub(super) fn freshness(freshness: Option<wire::Freshness>) -> Result<Freshness, FieldError> {
    use wire::freshness::Requirement;
    Ok(match freshness.and_then(|freshness| freshness.requirement) {
        None => Freshness::Of(Consistency::MinimizeLatency),
        Some(Requirement::FullyConsistent(true)) => Freshness::Of(Consistency::FullyConsistent),
        Some(Requirement::FullyConsistent(false)) => {
            return Err(FieldError::new("only true is accepted")).at("fully_consistent");
        }
        Some(Requirement::AtLeast(text)) => {
            Freshness::Of(token::decode(&text).map(Consistency::AtLeastAsFresh).at("at_least")?)
        }
        Some(Requirement::AtExactly(text)) => {
            Freshness::Of(token::decode(&text).map(Consistency::AtExactSnapshot).at("at_exactly")?)
        }
        Some(Requirement::At(time)) => Freshness::At(timestamp_from_wire(time).at("at")?),
    })
}

/// A list that must not be empty.
pub(super) fn some<T>(items: Vec<T>) -> Result<Vec<T>, FieldError> {
    if items.is_empty() { Err(FieldError::new("needs at least one")) } else { Ok(items) }
}

/// Where a page goes on.
pub(super) fn cursor(page: wire::Page) -> Option<Cursor> {
    (!page.cursor.is_empty()).then_some(Cursor { token: page.cursor })
}

/// An answer, and the names of the values that it depends on.
pub(super) fn outcome(membership: Membership) -> (wire::Outcome, Vec<String>) {
    match membership {
        Membership::Member => (wire::Outcome::Allowed, Vec::new()),
        Membership::NotMember => (wire::Outcome::Denied, Vec::new()),
        Membership::Conditional(missing) => (wire::Outcome::Conditional, missing.into_iter().collect()),
    }
}

pub(super) fn object_to_wire(object: &ObjectRef) -> wire::ObjectRef {
    wire::ObjectRef { r#type: object.object_type.as_str().to_owned(), id: object.object_id.as_str().to_owned() }
}

pub(super) fn subject_to_wire(subject: &SubjectRef) -> wire::SubjectRef {
    wire::SubjectRef {
        r#type: subject.object_type().as_str().to_owned(),
        id: subject.object_id().as_str().to_owned(),
        relation: subject.relation().map(ToString::to_string).unwrap_or_default(),
    }
}

/// What a list bounds, and the text of the cursor that it goes on behind.
pub(super) fn page(page: Option<wire::Page>) -> (Option<u64>, Option<String>) {
    let wire::Page { size, cursor } = page.unwrap_or_default();
    (convert::limit(size), (!cursor.is_empty()).then_some(cursor))
}
