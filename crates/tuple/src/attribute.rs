//! Stored attributes of objects: values that relationships and requests cannot give.
//!
//! An attribute is a relationship of a reserved type, `stonetown/attribute:NAME#given@OBJECT`, with the value as the context
//! of a reserved caveat. So it has a history, may expire, and is replayed, indexed, kept and recovered like any other. No
//! schema can define a reserved name, so no ordinary write reaches it, nor any filter that does not name it.

use crate::Timestamp;
use crate::filter::{RelationshipFilter, SubjectFilter, SubjectRelationFilter};
use crate::name::{AttributeName, CaveatName, ObjectId, ObjectType, RelationName};
use crate::reference::{ObjectRef, SubjectId, SubjectRef};
use crate::relationship::{CaveatContext, CaveatRef, Relationship};

/// How the object types and caveats begin that Stonetown keeps for itself. No schema can define one.
pub const RESERVED_PREFIX: &str = "stonetown/";

/// What an attribute is: any JSON.
pub type AttributeValue = serde_json::Value;

/// One attribute of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The object.
    pub object: ObjectRef,
    /// The name.
    pub name: AttributeName,
    /// The value.
    pub value: AttributeValue,
    /// From when on the value is missing.
    pub expires_at: Option<Timestamp>,
}

/// Whether a name of a type or caveat is one that no schema can define.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

impl Attribute {
    /// The type of the resources of attributes.
    pub const TYPE: &str = "stonetown/attribute";
    /// The relation of attributes.
    pub const RELATION: &str = "given";
    const CAVEAT: &str = "stonetown/value";
    const VALUE: &str = "value";

    /// The relationship that it is stored as.
    #[must_use]
    pub fn relationship(&self) -> Relationship {
        let context = CaveatContext::from_iter([(Self::VALUE.to_owned(), self.value.clone())]);
        Relationship {
            resource: ObjectRef {
                object_type: ObjectType::known(Self::TYPE),
                object_id: ObjectId::known(self.name.as_str()),
            },
            relation: RelationName::known(Self::RELATION),
            subject: SubjectRef::object(self.object.clone()),
            caveat: Some(CaveatRef { name: CaveatName::known(Self::CAVEAT), context }),
            not_before: None,
            expires_at: self.expires_at,
        }
    }

    /// The attribute that a relationship stores, if it stores one.
    #[must_use]
    pub fn of(relationship: &Relationship) -> Option<Attribute> {
        let subject = &relationship.subject;
        let SubjectId::Object(object_id) = subject.object_id() else { return None };
        if relationship.resource.object_type.as_str() != Self::TYPE {
            return None;
        }
        let object = ObjectRef { object_type: subject.object_type().clone(), object_id: object_id.clone() };
        Some(Attribute {
            object,
            name: AttributeName::new(relationship.resource.object_id.as_str()).ok()?,
            value: Self::value(relationship.caveat.as_ref())?.clone(),
            expires_at: relationship.expires_at,
        })
    }

    /// The value in the caveat of such a relationship.
    #[must_use]
    pub fn value(caveat: Option<&CaveatRef>) -> Option<&AttributeValue> {
        caveat?.context.get(Self::VALUE)
    }

    /// What finds the attributes of objects of a type: of one object, of one name, or all.
    #[must_use]
    pub fn filter(
        object_type: ObjectType,
        object_id: Option<ObjectId>,
        name: Option<&AttributeName>,
    ) -> RelationshipFilter {
        RelationshipFilter {
            resource_type: Some(ObjectType::known(Self::TYPE)),
            resource_id: name.map(|name| ObjectId::known(name.as_str())),
            resource_id_prefix: None,
            relation: Some(RelationName::known(Self::RELATION)),
            subject: Some(SubjectFilter {
                subject_type: object_type,
                subject_id: object_id.map(SubjectId::Object),
                relation: SubjectRelationFilter::Ellipsis,
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_a_relationship_that_only_its_own_filter_finds() {
        let attribute = Attribute {
            object: "database:prod".parse().unwrap(),
            name: AttributeName::new("env").unwrap(),
            value: "production".into(),
            expires_at: None,
        };
        let stored = attribute.relationship();
        let text = r#"stonetown/attribute:env#given@database:prod[stonetown/value:{"value":"production"}]"#;
        assert_eq!(stored.to_string(), text);
        assert_eq!(Attribute::of(&text.parse().unwrap()), Some(attribute));
        let of = |object: &str| object.parse::<ObjectType>().unwrap();
        assert!(Attribute::filter(of("database"), None, None).matches(&stored));
        assert!(!Attribute::filter(of("user"), None, None).matches(&stored));
        let by_subject = RelationshipFilter { resource_type: None, ..Attribute::filter(of("database"), None, None) };
        assert!(!by_subject.matches(&stored) && !RelationshipFilter::default().matches(&stored));
    }
}
