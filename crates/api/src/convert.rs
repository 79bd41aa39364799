//! The wire's messages to the domain's values and back. What comes in is checked here once, against the patterns and limits of
//! the interface; what is wrong is a [`FieldError`] that names the field.

pub(crate) mod context;
pub(crate) mod reflect;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
pub(crate) mod tree;

use stonetown_tuple::{
    CaveatName, CaveatRef, Consistency, NameError, ObjectId, ObjectRef, ObjectType, Operation, ParseReferenceError,
    Precondition, RelationName, Relationship, RelationshipFilter, RelationshipUpdate, SubjectFilter, SubjectId,
    SubjectRef, SubjectRelationFilter, Timestamp,
};

use crate::proto::authzed::api::v1 as wire;
use crate::token;

/// 9999-12-31T23:59:59Z, the last second that the wire has.
const LAST_SECOND: i64 = 253_402_300_799;

/// A field that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {message}")]
pub(crate) struct FieldError {
    /// The path from the request to the field, such as `updates[2].relationship.resource.object_id`.
    pub(crate) field: String,
    /// What was found and what is expected.
    pub(crate) message: String,
}

impl FieldError {
    /// An error about a value whose place the caller knows.
    pub(crate) fn new(message: impl Into<String>) -> FieldError {
        FieldError { field: String::new(), message: message.into() }
    }

    /// The same error, seen from the message that has the field as `parent`.
    pub(crate) fn within(mut self, parent: &str) -> FieldError {
        let joint = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{parent}{joint}{}", self.field);
        self
    }
}

/// Says which field a failure is about. Each level adds its own name, so that nothing is built unless something is wrong.
pub(crate) trait At<T> {
    /// The failure is inside the field `name`.
    fn at(self, name: &str) -> Result<T, FieldError>;
    /// The failure is inside an item of the repeated field `name`.
    fn at_item(self, name: &str, index: usize) -> Result<T, FieldError>;
}

impl<T, E: Into<FieldError>> At<T> for Result<T, E> {
    fn at(self, name: &str) -> Result<T, FieldError> {
        self.map_err(|error| error.into().within(name))
    }

    fn at_item(self, name: &str, index: usize) -> Result<T, FieldError> {
        self.map_err(|error| error.into().within(&format!("{name}[{index}]")))
    }
}

impl From<NameError> for FieldError {
    fn from(error: NameError) -> Self {
        FieldError::new(error.to_string())
    }
}

impl From<ParseReferenceError> for FieldError {
    fn from(error: ParseReferenceError) -> Self {
        FieldError::new(error.to_string())
    }
}

/// A message that must be there.
pub(crate) fn required<T>(message: Option<T>) -> Result<T, FieldError> {
    message.ok_or_else(|| FieldError::new("is required"))
}

/// Each item of a repeated field.
pub(crate) fn each<W, T>(
    name: &str,
    items: Vec<W>,
    convert: impl Fn(W) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    items.into_iter().enumerate().map(|(index, item)| convert(item).at_item(name, index)).collect()
}

pub(crate) fn object(reference: Option<wire::ObjectReference>) -> Result<ObjectRef, FieldError> {
    let reference = required(reference)?;
    Ok(ObjectRef {
        object_type: ObjectType::new(reference.object_type).at("object_type")?,
        object_id: ObjectId::new(reference.object_id).at("object_id")?,
    })
}

pub(crate) fn subject(reference: Option<wire::SubjectReference>) -> Result<SubjectRef, FieldError> {
    let reference = required(reference)?;
    let object = required(reference.object).at("object")?;
    let object_type = ObjectType::new(object.object_type).at("object_type").at("object")?;
    let object_id = SubjectId::new(object.object_id).at("object_id").at("object")?;
    let relation = optional(reference.optional_relation, RelationName::new).at("optional_relation")?;
    SubjectRef::new(object_type, object_id, relation).at("optional_relation")
}

/// A text that stands for "not set" when it is empty.
pub(crate) fn optional<T, E>(text: String, parse: impl FnOnce(String) -> Result<T, E>) -> Result<Option<T>, E> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// A limit of 0 is none.
pub(crate) fn limit(limit: u32) -> Option<u64> {
    (limit > 0).then_some(u64::from(limit))
}

pub(crate) fn consistency(consistency: Option<wire::Consistency>) -> Result<Consistency, FieldError> {
    use wire::consistency::Requirement;
    let only_true = |name: &str| Err(FieldError::new("only true is accepted")).at(name);
    match consistency.and_then(|consistency| consistency.requirement) {
        None | Some(Requirement::MinimizeLatency(true)) => Ok(Consistency::MinimizeLatency),
        Some(Requirement::FullyConsistent(true)) => Ok(Consistency::FullyConsistent),
        Some(Requirement::MinimizeLatency(false)) => only_true("minimize_latency"),
        Some(Requirement::FullyConsistent(false)) => only_true("fully_consistent"),
        Some(Requirement::AtLeastAsFresh(text)) => {
            token::decode(&text.token).map(Consistency::AtLeastAsFresh).at("at_least_as_fresh")
        }
        Some(Requirement::AtExactSnapshot(text)) => {
            token::decode(&text.token).map(Consistency::AtExactSnapshot).at("at_exact_snapshot")
        }
    }
}

pub(crate) fn relationship(relationship: wire::Relationship) -> Result<Relationship, FieldError> {
    Ok(Relationship {
        resource: object(relationship.resource).at("resource")?,
        relation: RelationName::new(relationship.relation).at("relation")?,
        subject: subject(relationship.subject).at("subject")?,
        caveat: relationship.optional_caveat.map(caveat).transpose().at("optional_caveat")?,
        not_before: None,
        expires_at: relationship.optional_expires_at.map(timestamp_from_wire).transpose().at("optional_expires_at")?,
    })
}

fn caveat(caveat: wire::ContextualizedCaveat) -> Result<CaveatRef, FieldError> {
    Ok(CaveatRef {
        name: CaveatName::new(caveat.caveat_name).at("caveat_name")?,
        context: context::from_wire(caveat.context).at("context")?,
    })
}

pub(crate) fn timestamp_from_wire(time: prost_types::Timestamp) -> Result<Timestamp, FieldError> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(FieldError::new("must be from 0 to 999999999")).at("nanos");
    }
    // The last day of the year 9999, which stands for "never" with many, lies just behind the last moment that is counted.
    if (Timestamp::MAX.as_second()..=LAST_SECOND).contains(&time.seconds) {
        return Ok(Timestamp::MAX);
    }
    Timestamp::new(time.seconds, time.nanos)
        .map_err(|_| FieldError::new("lies outside of the years -9999 to 9999"))
        .at("seconds")
}

pub(crate) fn update(update: wire::RelationshipUpdate) -> Result<RelationshipUpdate, FieldError> {
    use wire::relationship_update::Operation as Wire;
    let operation = match update.operation() {
        Wire::Create => Operation::Create,
        Wire::Touch => Operation::Touch,
        Wire::Delete => Operation::Delete,
        Wire::Unspecified => {
            return Err(FieldError::new("must be OPERATION_CREATE, OPERATION_TOUCH or OPERATION_DELETE"))
                .at("operation");
        }
    };
    let relationship = required(update.relationship).and_then(relationship).at("relationship")?;
    Ok(RelationshipUpdate { operation, relationship })
}

pub(crate) fn precondition(precondition: wire::Precondition) -> Result<Precondition, FieldError> {
    use wire::precondition::Operation as Wire;
    let operation = precondition.operation();
    let filter = required(precondition.filter).and_then(filter).at("filter")?;
    match operation {
        Wire::MustMatch => Ok(Precondition::MustMatch(filter)),
        Wire::MustNotMatch => Ok(Precondition::MustNotMatch(filter)),
        Wire::Unspecified => {
            Err(FieldError::new("must be OPERATION_MUST_MATCH or OPERATION_MUST_NOT_MATCH")).at("operation")
        }
    }
}

pub(crate) fn filter(filter: wire::RelationshipFilter) -> Result<RelationshipFilter, FieldError> {
    Ok(RelationshipFilter {
        resource_type: optional(filter.resource_type, ObjectType::new).at("resource_type")?,
        resource_id: optional(filter.optional_resource_id, ObjectId::new).at("optional_resource_id")?,
        resource_id_prefix: optional(filter.optional_resource_id_prefix, ObjectId::new)
            .at("optional_resource_id_prefix")?,
        relation: optional(filter.optional_relation, RelationName::new).at("optional_relation")?,
        subject: filter.optional_subject_filter.map(subject_filter).transpose().at("optional_subject_filter")?,
    })
}

fn subject_filter(filter: wire::SubjectFilter) -> Result<SubjectFilter, FieldError> {
    let relation = match filter.optional_relation {
        None => SubjectRelationFilter::Any,
        Some(relation) if relation.relation.is_empty() => SubjectRelationFilter::Ellipsis,
        Some(relation) => {
            let name = RelationName::new(relation.relation).at("relation").at("optional_relation")?;
            SubjectRelationFilter::Relation(name)
        }
    };
    Ok(SubjectFilter {
        subject_type: ObjectType::new(filter.subject_type).at("subject_type")?,
        subject_id: optional(filter.optional_subject_id, SubjectId::new).at("optional_subject_id")?,
        relation,
    })
}

pub(crate) fn object_to_wire(object: &ObjectRef) -> wire::ObjectReference {
    wire::ObjectReference {
        object_type: object.object_type.as_str().to_owned(),
        object_id: object.object_id.as_str().to_owned(),
    }
}

pub(crate) fn subject_to_wire(subject: &SubjectRef) -> wire::SubjectReference {
    wire::SubjectReference {
        object: Some(wire::ObjectReference {
            object_type: subject.object_type().as_str().to_owned(),
            object_id: subject.object_id().as_str().to_owned(),
        }),
        optional_relation: subject.relation().map(|relation| relation.as_str().to_owned()).unwrap_or_default(),
    }
}

/// A start that lies ahead has no field on the wire; nor is such a relationship ever read.
pub(crate) fn relationship_to_wire(relationship: Relationship) -> wire::Relationship {
    let subject = subject_to_wire(&relationship.subject);
    wire::Relationship {
        resource: Some(wire::ObjectReference {
            object_type: relationship.resource.object_type.into(),
            object_id: relationship.resource.object_id.into(),
        }),
        relation: relationship.relation.into(),
        subject: Some(subject),
        optional_caveat: relationship.caveat.map(|caveat| wire::ContextualizedCaveat {
            caveat_name: caveat.name.into(),
            context: context::to_wire_if_any(caveat.context),
        }),
        optional_expires_at: relationship.expires_at.map(timestamp_to_wire),
    }
}

pub(crate) fn timestamp_to_wire(time: Timestamp) -> prost_types::Timestamp {
    if time == Timestamp::MAX {
        return prost_types::Timestamp { seconds: LAST_SECOND, nanos: 999_999_999 };
    }
    // The domain counts nanoseconds towards zero, the wire always forward.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
    } else {
        prost_types::Timestamp { seconds, nanos }
    }
}

/// Why an answer is conditional.
pub(crate) fn missing(parameters: std::collections::BTreeSet<String>) -> wire::PartialCaveatInfo {
    wire::PartialCaveatInfo { missing_required_context: parameters.into_iter().collect() }
}
