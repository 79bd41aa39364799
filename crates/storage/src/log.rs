//! The transaction log: what watchers, indexes, replicas and audits follow.

use std::sync::Arc;

use stonetown_tuple::{CaveatRef, Relationship, Revision, Source, StoreId, Timestamp};

use crate::{Ordinal, Provenance, TableId};

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its revision; the log has no gaps.
    pub revision: Revision,
    /// The store that changed.
    pub store: StoreId,
    /// Whether the commit wrote a schema.
    pub schema_changed: bool,
    /// Who, when, why.
    pub provenance: Provenance,
    /// What changed, in order.
    pub changes: Vec<Change>,
}

/// One edge that a commit made, replaced or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: TableId,
    /// The resource's ordinal.
    pub resource: Ordinal,
    /// The subject's ordinal.
    pub subject: Ordinal,
    /// The source.
    pub source: Source,
    /// The edge's state from now on; `None` when it ended.
    pub state: Option<EdgeState>,
}

/// The part of an edge that a touch can change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeState {
    /// Its caveat.
    pub caveat: Option<Arc<CaveatRef>>,
    /// When it begins to hold.
    pub not_before: Option<Timestamp>,
    /// When it ceases to hold.
    pub expires_at: Option<Timestamp>,
}

impl From<&Relationship> for EdgeState {
    fn from(relationship: &Relationship) -> Self {
        EdgeState {
            caveat: relationship.caveat.clone().map(Arc::new),
            not_before: relationship.not_before,
            expires_at: relationship.expires_at,
        }
    }
}

impl EdgeState {
    /// Whether it has ceased to hold at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A piece of a commit, as followers get it: a large commit comes in several, in order.
#[derive(Debug)]
pub struct LogPart<'a> {
    /// The commit's revision.
    pub revision: Revision,
    /// The store that changed.
    pub store: StoreId,
    /// Whether the commit wrote a schema.
    pub schema_changed: bool,
    /// Changes of this piece.
    pub changes: &'a [Change],
    /// Whether this is the commit's last piece: it becomes visible after the follower returns.
    pub last: bool,
}

/// Something that is told of each commit after it is durable and before it is visible, on the committing thread: the commit
/// waits, so a follower is quick.
pub trait Follower: Send + Sync {
    /// Takes a piece of a commit.
    fn follow(&self, part: &LogPart<'_>);
}
