//! What a commit is asked to do, and why it can be refused.

use stonetown_tuple::{
    Operation, Precondition, Relationship, RelationshipFilter, Revision, Source, StoreId, Timestamp,
};

use crate::{StorageError, TableKey};

/// A change of one store, applied as a whole at one new revision or not at all.
///
/// The conditions are tested in the order of the fields here, against the state just before. Then the tables of a new
/// schema are made, then the updates are applied one after the other, then what matches `delete` is deleted.
pub struct Transaction {
    /// The store that changes.
    pub store: StoreId,
    /// The clock of the call: what has expired by then does not count as there.
    pub now: Timestamp,
    /// A retry with the same id answers as the first did.
    pub request_id: Option<RequestId>,
    /// The revision of the schema that the updates were checked against; refused when another is in force.
    pub schema_at: Option<Revision>,
    /// Refused when relationships written meanwhile stand in the way.
    pub guard: Option<Guard>,
    /// Tested in order.
    pub preconditions: Vec<Precondition>,
    /// Applied in order; no two are about the same relationship and source.
    pub updates: Vec<StoredUpdate>,
    /// Deletes what matches, besides the updates.
    pub delete: Option<DeleteByFilter>,
    /// A new schema.
    pub schema: Option<SchemaWrite>,
    /// Who calls, where known.
    pub actor: Option<String>,
    /// A JSON object to be kept with the transaction.
    pub metadata: Option<String>,
}

impl Transaction {
    /// A transaction that changes nothing yet.
    #[must_use]
    pub fn new(store: StoreId, now: Timestamp) -> Self {
        Transaction {
            store,
            now,
            request_id: None,
            schema_at: None,
            guard: None,
            preconditions: Vec::new(),
            updates: Vec::new(),
            delete: None,
            schema: None,
            actor: None,
            metadata: None,
        }
    }
}

/// Refuses two transactions of one store where they are to be of different ones.
///
/// # Errors
/// [`StorageError::Refused`] when they are of one store.
pub fn of_different_stores(one: &Transaction, other: &Transaction) -> Result<(), CommitError> {
    if one.store == other.store {
        let refused = format!("two transactions of store {} cannot be committed as one pair", one.store);
        return Err(StorageError::Refused(refused).into());
    }
    Ok(())
}

/// One update with the source it acts on. A delete ends the relationship from every source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpdate {
    /// What to do.
    pub operation: Operation,
    /// With which relationship.
    pub relationship: Relationship,
    /// On behalf of which source; plain writes use [`Source::STANDING`].
    pub source: Source,
}

/// Deletes all relationships that match, from every source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteByFilter {
    /// Which.
    pub filter: RelationshipFilter,
    /// At most so many.
    pub limit: Option<u64>,
    /// Whether to delete up to the limit when more match; otherwise the transaction is refused then.
    pub partial: bool,
}

/// A schema to be stored. The tables that it needs are made with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaWrite {
    /// The bytes to hand back by [`crate::Snapshot::schema`].
    pub bytes: Vec<u8>,
    /// All tables of the schema.
    pub tables: Vec<TableKey>,
    /// All object types of the schema, those that are in no table included.
    pub types: Vec<String>,
}

/// Recognises a repeated request, for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// Chosen by the client; 1 to 128 bytes.
    pub id: String,
    /// A hash of the request; the same id with another request is refused.
    pub fingerprint: u64,
}

impl RequestId {
    /// For how long an answer is kept, by the clocks of the calls.
    pub const KEPT_SECONDS: i64 = 24 * 60 * 60;

    /// Whether an answer given at `then` is forgotten at `now`.
    #[must_use]
    pub fn is_forgotten(then: Timestamp, now: Timestamp) -> bool {
        now.as_second().saturating_sub(then.as_second()) > RequestId::KEPT_SECONDS
    }
}

/// Relationships written after `since` for which `refuse` is true make the commit fail with [`CommitError::Conflict`]: what
/// was concluded from a snapshot at `since` no longer holds.
pub struct Guard {
    /// The revision of the snapshot that was examined.
    pub since: Revision,
    /// Which new relationships would change the conclusion.
    pub refuse: Box<dyn Fn(&Relationship) -> bool + Send>,
}

/// A transaction that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// How many relationships [`Transaction::delete`] ended, or a bulk loaded.
    pub count: u64,
    /// Whether matching relationships remain because of the limit.
    pub partial: bool,
    /// Whether this is the answer to an earlier request of the same id.
    pub replayed: bool,
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A created relationship is there already.
    #[error("relationship `{0}` exists already")]
    AlreadyExists(Box<Relationship>),
    /// A precondition does not hold.
    #[error("a precondition does not hold")]
    Precondition(Box<Precondition>),
    /// More relationships match than the limit allows.
    #[error("more than {limit} relationships match")]
    TooManyToDelete {
        /// The limit.
        limit: u64,
    },
    /// The schema that the updates were checked against is no longer in force. Worth a retry.
    #[error("the schema changed at revision {0}")]
    SchemaChanged(Revision),
    /// A guard refused. Worth a retry.
    #[error("the data changed meanwhile")]
    Conflict,
    /// The request id was used for another request.
    #[error("request id `{0}` was used for another request")]
    RequestIdReused(String),
    /// A type has no ordinals left.
    #[error("type `{0}` has no room for more objects")]
    TooManyObjects(String),
    /// An update names a type or table that no schema has declared.
    #[error("no table for `{0}`")]
    NoTable(String),
    /// Too many transactions wait already. Worth a retry, later.
    #[error("too many writes are waiting ({0})")]
    Overloaded(usize),
    /// A sync has failed: no writes until a restart.
    #[error("the datastore takes no writes: {0}")]
    ReadOnly(String),
    /// Storage failed; the transaction is not visible.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How a bulk treats relationships that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkMode {
    /// Refused as a whole; so is what is pushed twice, expired or not.
    Create,
    /// Replaced.
    Touch,
    /// Everything pushed is deleted, where there.
    Delete,
}

/// A transaction that need not fit in memory. Dropped without [`BulkWriter::publish`], it has never been.
pub trait BulkWriter: Send {
    /// Stages some relationships, to be written with [`Source::STANDING`].
    ///
    /// # Errors
    /// See [`CommitError`]; the bulk is then good for nothing but dropping.
    fn push(&mut self, relationships: Vec<Relationship>) -> Result<(), CommitError>;

    /// Tests and publishes all that was staged at one revision. `schema_at`, actor and metadata as in [`Transaction`].
    ///
    /// # Errors
    /// See [`CommitError`]; nothing has changed then.
    fn publish(
        self: Box<Self>,
        schema_at: Option<Revision>,
        actor: Option<String>,
        metadata: Option<String>,
    ) -> Result<Committed, CommitError>;
}
