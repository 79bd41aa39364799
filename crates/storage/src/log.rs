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
    /// The edge's state from now on; `None` when it is no longer stored.
    pub state: Option<EdgeState>,
    /// What that means for who keeps the edges that hold.
    pub effect: Effect,
}

/// What a change means for who keeps the set of edges that hold, caveats aside: applying the effects of all commits up to a
/// revision to an empty set gives the edges that hold there.
///
/// An edge that is stored may hold or not: it holds from its start to its expiry. That these moments have passed is written
/// to the log as a commit of its own ([`crate::Datastore::pass_time`]); until then the log has the edge as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It holds from here on and did not before.
    Begins,
    /// It held before and holds on, perhaps in another state.
    Continues,
    /// It held before and does no longer.
    Ends,
    /// It did not hold before and does not now: it was written ahead of its start, or what had expired was removed.
    Silent,
}

impl Effect {
    /// The effect by what held before and holds after.
    #[must_use]
    pub fn of(before: bool, after: bool) -> Effect {
        match (before, after) {
            (false, true) => Effect::Begins,
            (true, true) => Effect::Continues,
            (true, false) => Effect::Ends,
            (false, false) => Effect::Silent,
        }
    }
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

    /// Whether it holds at `now`, its caveat aside.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && !self.is_expired(now)
    }

    /// The moments after `now` at which it begins and ceases to hold, by which each is to be logged. An edge that can never
    /// hold has none.
    #[must_use]
    pub fn moments(&self, now: Timestamp) -> Moments {
        let never = self.not_before.zip(self.expires_at).is_some_and(|(start, end)| end <= start);
        let ahead = |moment: &Timestamp| !never && *moment > now;
        Moments {
            start: self.not_before.filter(ahead).filter(|_| !self.is_expired(now)),
            end: self.expires_at.filter(ahead),
        }
    }
}

/// When an edge begins and ceases to hold, as far as that lies ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moments {
    /// Its start.
    pub start: Option<Timestamp>,
    /// Its end.
    pub end: Option<Timestamp>,
}

/// A piece of a commit as it is read back: a large commit comes in several, in order, each of bounded size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// The commit's revision.
    pub revision: Revision,
    /// The store that changed.
    pub store: StoreId,
    /// Whether the commit wrote a schema.
    pub schema_changed: bool,
    /// Who, when, why.
    pub provenance: Provenance,
    /// Changes of this piece, in order.
    pub changes: Vec<Change>,
    /// Whether it is the commit's last.
    pub last: bool,
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
