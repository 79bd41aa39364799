//! Between what people type and read, and what goes over the wire.

use stonetown_api::client;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_tuple::{CaveatContext, ObjectRef, Relationship, SubjectRef};

pub(crate) fn object(object: &ObjectRef) -> pb::ObjectReference {
    client::object_to_wire(object)
}

pub(crate) fn subject(subject: &SubjectRef) -> pb::SubjectReference {
    client::subject_to_wire(subject)
}

pub(crate) fn relationship(relationship: &Relationship) -> pb::Relationship {
    client::relationship_to_wire(relationship.clone())
}

pub(crate) fn context(context: &CaveatContext) -> prost_types::Struct {
    client::context_to_wire(context.clone())
}

/// The transaction metadata of a message as JSON.
pub(crate) fn metadata_json(metadata: prost_types::Struct) -> serde_json::Value {
    client::context_from_wire(metadata).map_or(serde_json::Value::Null, serde_json::Value::Object)
}

/// `type:id`.
pub(crate) fn object_text(object: &pb::ObjectReference) -> String {
    format!("{}:{}", object.object_type, object.object_id)
}

/// `type:id` or `type:id#relation`.
pub(crate) fn subject_text(subject: &pb::SubjectReference) -> String {
    let object = subject.object.as_ref().map(object_text).unwrap_or_default();
    match subject.optional_relation.as_str() {
        "" => object,
        relation => format!("{object}#{relation}"),
    }
}

/// The text form, or what can be told of a relationship that this version cannot read.
pub(crate) fn relationship_text(relationship: &pb::Relationship) -> String {
    match client::relationship_from_wire(relationship.clone()) {
        Ok(relationship) => relationship.to_string(),
        Err(_) => format!("{relationship:?}"),
    }
}

/// `resource relation subject`, separated by spaces as `zed` prints them, or the text form itself.
pub(crate) fn spaced_relationship(text: &str) -> String {
    let text = text.trim();
    if text.contains('@') {
        return text.to_owned();
    }
    let mut parts = text.splitn(3, char::is_whitespace);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(resource), Some(relation), Some(rest)) => format!("{resource}#{relation}@{}", rest.trim()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::spaced_relationship;

    #[test]
    fn relationships_may_be_written_with_spaces() {
        let text = "document:readme#viewer@user:alice";
        assert_eq!(spaced_relationship("document:readme viewer user:alice"), text);
        assert_eq!(spaced_relationship(text), text);
    }
}
