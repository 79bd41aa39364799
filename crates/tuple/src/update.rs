//! What a write changes, and what must hold for it to be done.

use crate::filter::RelationshipFilter;
use crate::relationship::Relationship;

/// One change of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationshipUpdate {
    /// What to do.
    pub operation: Operation,
    /// With which relationship.
    pub relationship: Relationship,
}

/// What an update does with its relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Adds it; the whole write fails if it is there and has not expired.
    Create,
    /// Adds it, or replaces its caveat and times.
    Touch,
    /// Ends it, from all sources; nothing happens if it is not there. Caveat and times are ignored.
    Delete,
}

/// A condition on the state before the write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// At least one live relationship matches.
    MustMatch(RelationshipFilter),
    /// No live relationship matches.
    MustNotMatch(RelationshipFilter),
}

/// Where a stored relationship comes from. The same relationship may be stored once for each source and holds while any
/// of them does, so that a grant and a standing relationship never overwrite each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(pub u64);

impl Source {
    /// Written as a plain relationship.
    pub const STANDING: Source = Source(0);
}
