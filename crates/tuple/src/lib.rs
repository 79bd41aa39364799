//! The vocabulary of relationship-based access control, as the Zanzibar paper (§2.1) names it: objects, subjects,
//! relationships, updates, filters, preconditions, revisions and consistency, with their text forms.
//!
//! Everything here is plain data that its own parser made: a value of these types is always well-formed, so no crate
//! below checks a name twice. There is no I/O, no clock and no wire format in this crate.
//!
//! Reading order: [`name`], [`mod@reference`], [`relationship`], [`attribute`], [`filter`], [`update`], [`revision`].

pub mod attribute;
pub mod filter;
pub mod name;
pub mod reference;
pub mod relationship;
pub mod revision;
pub mod update;

pub use attribute::{Attribute, AttributeValue, RESERVED_PREFIX, is_reserved};
pub use filter::{RelationshipFilter, SubjectFilter, SubjectRelationFilter};
pub use name::{AttributeName, CaveatName, NameError, ObjectId, ObjectType, RelationName};
pub use reference::{ObjectRef, ParseReferenceError, SubjectId, SubjectRef};
pub use relationship::{CaveatContext, CaveatRef, ParseRelationshipError, Relationship};
pub use revision::{Consistency, InstanceId, Revision, StoreId, ZedToken};
pub use update::{Operation, Precondition, RelationshipUpdate, Source};

/// A moment, UTC, with nanoseconds, between the years -9999 and 9999.
pub use jiff::Timestamp;
