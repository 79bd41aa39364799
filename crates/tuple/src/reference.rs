//! References to objects and subjects, and their text forms `type:id` and `type:id#relation`.

use std::fmt;
use std::str::FromStr;

use crate::name::{NameError, ObjectId, ObjectType, RelationName};

/// The relation that stands for "the object itself" in text and on the wire: `user:alice#...` is `user:alice`.
pub const ELLIPSIS: &str = "...";

/// One object, `document:readme`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its type.
    pub object_type: ObjectType,
    /// Its id within the type.
    pub object_id: ObjectId,
}

/// The id of a subject: one object, or all of its type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectId {
    /// `*`: every object of the type, those that no relationship mentions included.
    Wildcard,
    /// One object.
    Object(ObjectId),
}

/// Who a relationship or a question is about: an object (`user:alice`), a userset (`group:eng#member`) or a public
/// wildcard (`user:*`).
///
/// Invariant: a wildcard has no relation; [`SubjectRef::new`] holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectRef {
    object_type: ObjectType,
    object_id: SubjectId,
    relation: Option<RelationName>,
}

/// A reference that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// There is no `:` between type and id.
    #[error("`{0}` is not a reference: expected `type:id`")]
    NoColon(String),
    /// `type:*#relation`.
    #[error("`{0}`: a wildcard subject has no relation")]
    WildcardWithRelation(String),
    /// A part does not fit its pattern.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl SubjectId {
    /// Reads `*` or an object id.
    ///
    /// # Errors
    /// [`NameError`] when it is neither.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
        let text = text.into();
        if &*text == "*" { Ok(SubjectId::Wildcard) } else { ObjectId::new(text).map(SubjectId::Object) }
    }

    /// The id as text, `*` for the wildcard.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            SubjectId::Wildcard => "*",
            SubjectId::Object(id) => id.as_str(),
        }
    }
}

impl SubjectRef {
    /// Puts a subject together.
    ///
    /// # Errors
    /// [`ParseReferenceError::WildcardWithRelation`].
    pub fn new(
        object_type: ObjectType,
        object_id: SubjectId,
        relation: Option<RelationName>,
    ) -> Result<Self, ParseReferenceError> {
        if object_id == SubjectId::Wildcard && relation.is_some() {
            return Err(ParseReferenceError::WildcardWithRelation(format!("{object_type}:*")));
        }
        Ok(SubjectRef { object_type, object_id, relation })
    }

    /// The subject that is this object itself.
    #[must_use]
    pub fn object(object: ObjectRef) -> Self {
        SubjectRef { object_type: object.object_type, object_id: SubjectId::Object(object.object_id), relation: None }
    }

    /// The type of the subject's object.
    #[must_use]
    pub fn object_type(&self) -> &ObjectType {
        &self.object_type
    }

    /// The id of the subject's object, or the wildcard.
    #[must_use]
    pub fn object_id(&self) -> &SubjectId {
        &self.object_id
    }

    /// The relation of a userset; `None` for the object itself and for wildcards.
    #[must_use]
    pub fn relation(&self) -> Option<&RelationName> {
        self.relation.as_ref()
    }

    /// Whether this is `type:*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.object_id == SubjectId::Wildcard
    }
}

impl FromStr for ObjectRef {
    type Err = ParseReferenceError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (object_type, object_id) =
            text.split_once(':').ok_or_else(|| ParseReferenceError::NoColon(text.to_owned()))?;
        Ok(ObjectRef { object_type: ObjectType::new(object_type)?, object_id: ObjectId::new(object_id)? })
    }
}

impl FromStr for SubjectRef {
    type Err = ParseReferenceError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (object_type, rest) = text.split_once(':').ok_or_else(|| ParseReferenceError::NoColon(text.to_owned()))?;
        let (object_id, relation) = match rest.split_once('#') {
            None | Some((_, ELLIPSIS)) => (rest.split('#').next().unwrap_or(rest), None),
            Some((object_id, relation)) => (object_id, Some(RelationName::new(relation)?)),
        };
        SubjectRef::new(ObjectType::new(object_type)?, SubjectId::new(object_id)?, relation)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object_type, self.object_id)
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object_type, self.object_id)?;
        match &self.relation {
            Some(relation) => write!(f, "#{relation}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn subjects_print_as_they_are_read() {
        for text in ["user:alice", "group:eng#member", "user:*", "tenant/user:a|b"] {
            assert_eq!(text.parse::<SubjectRef>().unwrap().to_string(), text);
        }
        assert_eq!("user:alice#...".parse::<SubjectRef>().unwrap().to_string(), "user:alice");
    }

    #[test]
    fn a_wildcard_with_a_relation_is_refused() {
        assert!(matches!("group:*#member".parse::<SubjectRef>(), Err(ParseReferenceError::WildcardWithRelation(_))));
        assert!("user".parse::<SubjectRef>().is_err());
        assert!("user:*".parse::<ObjectRef>().is_err());
    }
}
