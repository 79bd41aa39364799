//! Which relationships a read, a delete or a precondition is about.

use crate::attribute::is_reserved;
use crate::name::{ObjectId, ObjectType, RelationName};
use crate::reference::{SubjectId, SubjectRef};
use crate::relationship::Relationship;

/// A conjunction of conditions on relationships; a field that is `None` matches everything, but for reserved types: only a
/// filter that names a reserved type ([`is_reserved`]) as the resource's matches relationships of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelationshipFilter {
    /// The resource's type.
    pub resource_type: Option<ObjectType>,
    /// The resource's id. Never set together with the prefix.
    pub resource_id: Option<ObjectId>,
    /// How the resource's id begins.
    pub resource_id_prefix: Option<ObjectId>,
    /// The relation.
    pub relation: Option<RelationName>,
    /// The subject.
    pub subject: Option<SubjectFilter>,
}

/// Conditions on the subject of a relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectFilter {
    /// The subject's type.
    pub subject_type: ObjectType,
    /// The subject's id; the wildcard matches only the wildcard itself.
    pub subject_id: Option<SubjectId>,
    /// The subject's relation.
    pub relation: SubjectRelationFilter,
}

/// Which relations of a subject match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SubjectRelationFilter {
    /// Every one, and none.
    #[default]
    Any,
    /// Only subjects without a relation.
    Ellipsis,
    /// Only usersets of this relation.
    Relation(RelationName),
}

impl RelationshipFilter {
    /// Whether `relationship` fulfils all conditions. Caveats and times play no part.
    #[must_use]
    pub fn matches(&self, relationship: &Relationship) -> bool {
        let resource = &relationship.resource;
        self.takes_type(resource.object_type.as_str())
            && self.resource_id.as_ref().is_none_or(|wanted| *wanted == resource.object_id)
            && self
                .resource_id_prefix
                .as_ref()
                .is_none_or(|prefix| resource.object_id.as_str().starts_with(prefix.as_str()))
            && self.relation.as_ref().is_none_or(|wanted| *wanted == relationship.relation)
            && self.subject.as_ref().is_none_or(|subject| subject.matches(&relationship.subject))
    }

    /// Whether relationships of resources of that type can match.
    #[must_use]
    pub fn takes_type(&self, resource_type: &str) -> bool {
        match &self.resource_type {
            Some(wanted) => wanted.as_str() == resource_type,
            None => !is_reserved(resource_type),
        }
    }

    /// Whether no condition is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == RelationshipFilter::default()
    }
}

impl SubjectFilter {
    /// Whether `subject` fulfils all conditions.
    #[must_use]
    pub fn matches(&self, subject: &SubjectRef) -> bool {
        self.subject_type == *subject.object_type()
            && self.subject_id.as_ref().is_none_or(|wanted| wanted == subject.object_id())
            && self.relation.matches(subject.relation())
    }
}

impl SubjectRelationFilter {
    /// Whether a subject with this relation matches.
    #[must_use]
    pub fn matches(&self, relation: Option<&RelationName>) -> bool {
        match self {
            SubjectRelationFilter::Any => true,
            SubjectRelationFilter::Ellipsis => relation.is_none(),
            SubjectRelationFilter::Relation(wanted) => relation == Some(wanted),
        }
    }
}
