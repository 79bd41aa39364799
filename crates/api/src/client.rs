//! The same conversions from the other end: for programs that call a server through the generated clients.

use stonetown_tuple::{AttributeValue, CaveatContext, ObjectRef, Relationship, SubjectRef, Timestamp};

use crate::convert;
use crate::proto::authzed::api::v1 as wire;

/// An object as the wire has it.
#[must_use]
pub fn object_to_wire(object: &ObjectRef) -> wire::ObjectReference {
    convert::object_to_wire(object)
}

/// A subject as the wire has it.
#[must_use]
pub fn subject_to_wire(subject: &SubjectRef) -> wire::SubjectReference {
    convert::subject_to_wire(subject)
}

/// A relationship as the wire has it.
#[must_use]
pub fn relationship_to_wire(relationship: Relationship) -> wire::Relationship {
    convert::relationship_to_wire(relationship)
}

/// A caveat context as the wire has it.
#[must_use]
pub fn context_to_wire(context: CaveatContext) -> prost_types::Struct {
    convert::context::to_wire(context)
}

/// A relationship as the domain has it.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn relationship_from_wire(relationship: wire::Relationship) -> Result<Relationship, String> {
    convert::relationship(relationship).map_err(|error| format!("{}: {}", error.field, error.message))
}

/// A caveat context, or transaction metadata, as the domain has it.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn context_from_wire(context: prost_types::Struct) -> Result<CaveatContext, String> {
    convert::context::from_wire(Some(context)).map_err(|error| format!("{}: {}", error.field, error.message))
}

/// Any JSON as the wire has it.
#[must_use]
pub fn value_to_wire(value: AttributeValue) -> prost_types::Value {
    convert::context::value_to_wire(value)
}

/// Any JSON as the domain has it.
///
/// # Errors
/// For a number that is none.
pub fn value_from_wire(value: prost_types::Value) -> Result<AttributeValue, String> {
    convert::context::value(value).map_err(|error| error.message)
}

/// A moment as the wire has it.
#[must_use]
pub fn timestamp_to_wire(time: Timestamp) -> prost_types::Timestamp {
    convert::timestamp_to_wire(time)
}

/// A moment as the domain has it.
///
/// # Errors
/// For one outside of the years -9999 to 9999.
pub fn timestamp_from_wire(time: prost_types::Timestamp) -> Result<Timestamp, String> {
    convert::timestamp_from_wire(time).map_err(|error| error.message)
}

/// A relationship as `stonetown.v1` has it on the wire: with its start.
#[must_use]
pub fn whole_relationship_to_wire(relationship: Relationship) -> crate::proto::stonetown::v1::Relationship {
    crate::stonetown::relationships::to_wire(relationship)
}

/// A relationship of `stonetown.v1` as the domain has it.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn whole_relationship_from_wire(
    relationship: crate::proto::stonetown::v1::Relationship,
) -> Result<Relationship, String> {
    crate::stonetown::relationships::from_wire(relationship).map_err(|error| error.to_string())
}
