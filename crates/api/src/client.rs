//! The same conversions from the other end: for programs that call a server through the generated clients.

use stonetown_tuple::{CaveatContext, ObjectRef, Relationship, SubjectRef};

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
