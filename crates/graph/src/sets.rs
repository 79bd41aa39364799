//! Permissions as sets that a client can join: for each watched permission the set of its members on every object, and what a
//! change of relationships does to them.
//!
//! A set is a relation or permission of one object. Where it is a union of relationships, computed usersets and plain arrows,
//! its children are read off the relationships of the object alone: members, and the sets of other objects (*direct*). Where
//! it has an intersection, an exclusion or `.all`, its children are its members, found by a lookup (*computed*). Either way a
//! subject is a certain member of the permission exactly if it can be reached from the set through children. The proof is
//! short: the equation of a union says that its members are those of its operands, and least solutions of unions over sets
//! that are given are what reachability finds.
//!
//! Nothing is kept between questions: the children of a set are a function of a snapshot and a moment, and a change is the
//! difference of two such. Reading order: [`shape`] (which sets there are), [`objects`] (of which objects), [`content`] (what
//! is in one), [`change`].

pub mod change;
pub mod content;
pub mod objects;
pub mod shape;

pub use change::{Change, Place, Side, Touched, changes, rebuilt};
pub use content::{Certainty, Name, Reader};
pub use objects::Objects;
pub use shape::{Form, Sets, Shape};

use std::fmt;
use std::str::FromStr;

use stonetown_storage::Ordinal;
use stonetown_tuple::{ObjectType, RelationName};

use crate::plan::{NodeId, SubjectClass};

/// A permission to be watched, for subjects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watched {
    /// The type of the resources.
    pub resource_type: ObjectType,
    /// A permission or relation of theirs.
    pub permission: RelationName,
    /// The type of the subjects.
    pub subject_type: ObjectType,
    /// The relation of the subjects, where usersets are watched.
    pub subject_relation: Option<RelationName>,
}

/// What kind of child a set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A subject.
    Member(SubjectClass),
    /// The set of that relation or permission, on another object.
    Set(NodeId),
}

/// One child of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Child {
    /// A subject or a set.
    pub kind: Kind,
    /// Of which object; [`Ordinal::WILDCARD`] for the member `*`.
    pub object: Ordinal,
}

/// `document#view@user`, or `document#view@group#member` for usersets.
impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.resource_type, self.permission, self.subject_type)?;
        match &self.subject_relation {
            Some(relation) => write!(f, "#{relation}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Watched, String> {
        let refused = || format!("`{text}` names no permission: expected TYPE#PERMISSION@SUBJECT_TYPE or …#RELATION");
        let (resource, subject) = text.split_once('@').ok_or_else(refused)?;
        let (resource_type, permission) = resource.split_once('#').ok_or_else(refused)?;
        let (subject_type, subject_relation) = match subject.split_once('#') {
            Some((subject_type, relation)) => (subject_type, Some(relation)),
            None => (subject, None),
        };
        Ok(Watched {
            resource_type: resource_type.parse().map_err(|_| refused())?,
            permission: permission.parse().map_err(|_| refused())?,
            subject_type: subject_type.parse().map_err(|_| refused())?,
            subject_relation: subject_relation.map(str::parse).transpose().map_err(|_| refused())?,
        })
    }
}
