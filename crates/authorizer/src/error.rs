//! Everything that can go wrong behind the front door. The variant carries the data; the wire decides code and reason.

use std::sync::Arc;

use stonetown_audit::Unrecorded;
use stonetown_graph::GraphError;
use stonetown_schema::{CaveatDefinition, ParameterSource, SchemaError};
use stonetown_storage::{CommitError, SnapshotError, StorageError};
use stonetown_tuple::{Precondition, Relationship, RelationshipFilter, Revision, Timestamp};

/// Why a call was not answered. Never means "no permission".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No schema has been written.
    #[error("no schema has been written; write one first")]
    NoSchema,
    /// A definition that the schema does not have.
    #[error("object definition `{name}` not found")]
    UnknownDefinition {
        /// Its name.
        name: String,
    },
    /// A relation or permission that a definition does not have.
    #[error("relation or permission `{relation}` not found in definition `{definition}`")]
    UnknownRelation {
        /// The definition.
        definition: String,
        /// The relation or permission.
        relation: String,
    },
    /// A relation where a permission is needed.
    #[error("`{relation}` of `{definition}` is a relation: only permissions are computed from others")]
    NotAPermission {
        /// The definition.
        definition: String,
        /// The relation.
        relation: String,
    },
    /// A relationship cannot be written on a permission.
    #[error("`{permission}` of `{definition}` is a permission: relationships are written on relations")]
    CannotUpdatePermission {
        /// The definition.
        definition: String,
        /// The permission.
        permission: String,
    },
    /// The relation does not allow such a subject, under this caveat, with this expiration.
    #[error(
        "subjects of type `{subject_type}` are not allowed on relation `{definition}#{relation}`; allowed: {allowed}"
    )]
    InvalidSubjectType {
        /// The resource's definition.
        definition: String,
        /// The relation.
        relation: String,
        /// The refused subject, as in a schema.
        subject_type: String,
        /// What is allowed, as in a schema.
        allowed: String,
        /// The caveats allowed for such subjects, comma-separated, where that is the difference.
        allowed_caveats: Option<String>,
    },
    /// A wildcard where a single object is needed.
    #[error("a wildcard is not allowed in `{field}`")]
    WildcardNotAllowed {
        /// The field of the request.
        field: &'static str,
    },
    /// A value of a caveat context that does not fit its parameter.
    #[error("parameter `{parameter}` of caveat `{caveat}`: {message}")]
    CaveatParameterType {
        /// The caveat.
        caveat: String,
        /// The parameter.
        parameter: String,
        /// What was expected and found.
        message: String,
    },
    /// A value for a parameter that only its source gives.
    #[error("parameter `{parameter}` of caveat `{caveat}` is {source_of}: it cannot be given here")]
    ParameterNotYours {
        /// The caveat.
        caveat: String,
        /// The parameter.
        parameter: String,
        /// Who gives it, as the schema says.
        source_of: String,
    },
    /// An attribute that no caveat of the schema looks at.
    #[error("no caveat of the schema trusts an attribute `{name}`: nothing would ever read it")]
    UntrustedAttribute {
        /// Its name.
        name: String,
    },
    /// A caveat that could not be evaluated.
    #[error("caveat `{caveat}` could not be evaluated: {message}")]
    CaveatEvaluation {
        /// The caveat.
        caveat: String,
        /// What its evaluation says.
        message: String,
    },
    /// Two updates of one write about the same relationship.
    #[error("more than one update is about `{relationship}`")]
    DuplicateUpdate {
        /// The resource's definition.
        definition: String,
        /// The relationship, without caveat and times.
        relationship: String,
    },
    /// A created relationship is there already.
    #[error("relationship `{0}` exists already: use touch to replace it")]
    AlreadyExists(Box<Relationship>),
    /// A precondition does not hold.
    #[error("a precondition does not hold: {}", describe(.0))]
    PreconditionFailed(Box<Precondition>),
    /// More relationships match a delete than its limit.
    #[error("more than {limit} relationships match: raise the limit or allow a partial deletion")]
    TooManyToDelete {
        /// The limit.
        limit: u64,
        /// The filter.
        filter: Box<RelationshipFilter>,
    },
    /// A filter that selects nothing in particular, or contradicts itself.
    #[error("invalid filter: {message}")]
    InvalidFilter {
        /// What is wrong.
        message: String,
        /// The filter, in words.
        filter: String,
    },
    /// A filter that no relationship of this schema can match.
    #[error("{message}")]
    ImpossibleFilter {
        /// What is wrong.
        message: String,
    },
    /// A size or number in the request above its limit.
    #[error("{what}: {actual} is above the maximum of {max}")]
    AboveLimit {
        /// Which limit.
        what: RequestLimit,
        /// The number in the request.
        actual: u64,
        /// The limit.
        max: u64,
        /// The relationship it is about, where it is about one.
        relationship: Option<Box<Relationship>>,
    },
    /// A schema that does not compile.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Schema(Vec<SchemaError>),
    /// A schema under which stored relationships would lose their meaning.
    #[error("{}; one of them is `{}`: delete such relationships first", .0.message, .0.relationship)]
    DataInTheWay(Box<DataInTheWay>),
    /// A cycle through the right side of an exclusion.
    #[error("the question depends on its own exclusion: {path}")]
    Cycle {
        /// The cycle.
        path: String,
    },
    /// A question too large for its limits.
    #[error("the question exceeds the limit `{limit}` of {max}")]
    WorkLimit {
        /// Which limit.
        limit: &'static str,
        /// The limit.
        max: u64,
    },
    /// An inline check that is to be asked again with [`crate::Effort::Full`].
    #[error("the check needs more than its inline budget")]
    NeedsPool,
    /// The caller's deadline has passed.
    #[error("the deadline passed before the answer was known")]
    Deadline,
    /// The caller has left.
    #[error("the call was cancelled")]
    Cancelled,
    /// A snapshot that is no longer kept.
    #[error("revision {asked} is no longer kept; the oldest is {floor}")]
    SnapshotExpired {
        /// The revision asked for.
        asked: Revision,
        /// The oldest kept.
        floor: Revision,
    },
    /// A moment before the oldest state that is kept.
    #[error("the state of {asked} is no longer kept; the oldest is that of {oldest}")]
    TimeNotKept {
        /// The moment asked for.
        asked: Timestamp,
        /// The earliest that can be asked for.
        oldest: Timestamp,
    },
    /// A moment that has not come.
    #[error("{asked} is still to come; it is {now}")]
    TimeAhead {
        /// The moment asked for.
        asked: Timestamp,
        /// The time of the call.
        now: Timestamp,
    },
    /// A token of another history where only one's own will do.
    #[error("the token belongs to another instance or to a restored backup's past")]
    ForeignToken,
    /// A token that names a revision not yet made.
    #[error("the token names revision {asked}, which has not been made; the newest is {head}")]
    FutureToken {
        /// The revision asked for.
        asked: Revision,
        /// The newest.
        head: Revision,
    },
    /// A permission that the settings do not name for being kept as sets; `None` where they name none.
    #[error("{}", not_materialized(.0.as_deref()))]
    NotMaterialized(Option<Box<crate::materialize::Watched>>),
    /// Concurrent changes won every retry.
    #[error("concurrent changes got in the way: try again")]
    Serialization,
    /// A request id that was used for another request.
    #[error("request id `{0}` was used for another request")]
    RequestIdReused(String),
    /// No writes are taken.
    #[error("the server takes no writes: {0}")]
    ReadOnly(String),
    /// What an operator asked for cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// What is named is not there. Told only to those who may know.
    #[error("there is no {0}")]
    NoSuch(String),
    /// What is to be made is there already.
    #[error("there is already {0}")]
    Exists(String),
    /// A value that can never be accepted.
    #[error("{0}")]
    Invalid(String),
    /// Too many writes wait.
    #[error("too many writes are waiting: try again later")]
    WritesOverloaded,
    /// A counter of that name is there already.
    #[error("relationship counter `{name}` is registered already")]
    CounterRegistered {
        /// Its name.
        name: String,
        /// What it counts.
        filter: Box<RelationshipFilter>,
    },
    /// There is no counter of that name.
    #[error("relationship counter `{name}` is not registered")]
    CounterNotRegistered {
        /// The name.
        name: String,
    },
    /// No more counters are taken.
    #[error("no more than {limit} relationship counters can be registered")]
    TooManyCounters {
        /// The limit.
        limit: usize,
    },
    /// The server has no watch.
    #[error("watching is turned off on this server")]
    WatchDisabled,
    /// The caller may not do that, whether or not what it names exists.
    #[error("{caller} may not {act}")]
    Denied {
        /// The caller's name.
        caller: Arc<str>,
        /// What it would have done.
        act: String,
    },
    /// The caller has too many calls running.
    #[error("too many calls at once: at most {limit}")]
    TooManyCalls {
        /// The limit.
        limit: u32,
    },
    /// The store holds or asks as much as it may.
    #[error("the store's quota is {limit} {what}: have it raised, or delete what is not needed")]
    AboveQuota {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Too many streams that stay open.
    #[error("too many streams at once: `{limit}` is {max}")]
    TooManyStreams {
        /// Which limit: of the caller, or of all.
        limit: &'static str,
        /// The limit.
        max: u32,
    },
    /// The server is near its memory limit.
    #[error("the server is near its memory limit ({used_bytes} of {limit_bytes} bytes): try again later")]
    MemoryPressure {
        /// Bytes in use.
        used_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A relation demands to be told why it is changed.
    #[error("a change of `{relation}` has to say why: `{key}` is missing in the metadata of the transaction")]
    Unjustified {
        /// As `type#relation`.
        relation: String,
        /// The name in the metadata.
        key: &'static str,
    },
    /// The decision could not be recorded, and its permission requires that it is.
    #[error("the decision could not be recorded, which this permission requires: {0}")]
    Unrecorded(#[from] Unrecorded),
    /// Something in the server; what, is in its log.
    #[error("internal error")]
    Internal(String),
}

impl Error {
    pub(crate) fn parameter_not_yours(caveat: &CaveatDefinition, parameter: &str, source: &ParameterSource) -> Error {
        Error::ParameterNotYours {
            caveat: caveat.name.to_string(),
            parameter: parameter.to_owned(),
            source_of: source.to_string(),
        }
    }

    /// The limit that was met, by the name that [`crate::Limits::named`] gives it, where it is one.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        Some(match self {
            Error::AboveLimit { what, .. } => what.name(),
            Error::WorkLimit { limit, .. } | Error::TooManyStreams { limit, .. } => limit,
            Error::TooManyToDelete { .. } => RequestLimit::Results.name(),
            Error::TooManyCalls { .. } => "calls_per_caller_max",
            Error::MemoryPressure { .. } => "memory_bytes_max",
            Error::WritesOverloaded => "writes_queued_max",
            _ => return None,
        })
    }
}

/// Which bound of a request was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestLimit {
    /// Updates in a write.
    Updates,
    /// Preconditions in a write or delete.
    Preconditions,
    /// Transaction metadata, in bytes.
    MetadataBytes,
    /// The caveat context of a relationship, in bytes.
    RelationshipContextBytes,
    /// The caveat context of a question, in bytes.
    RequestContextBytes,
    /// Items in a bulk check.
    BulkChecks,
    /// The number of results asked for.
    Results,
    /// Request-scoped relationships.
    Overlay,
    /// Ways that nearly lead to a subject.
    Misses,
}

/// A stored relationship that a new schema would leave without meaning.
#[derive(Debug)]
pub struct DataInTheWay {
    /// What the schema would do, in the field's words: `delete_object_definition`, `delete_relation`,
    /// `delete_relation_reverse_check`, `remove_allowed_type`, `remove_parameter`, `change_parameter_type`.
    pub operation: &'static str,
    /// What is in the way of what.
    pub message: String,
    /// The definition or caveat that changes.
    pub definition: String,
    /// The relation or parameter that changes.
    pub relation: Option<String>,
    /// The allowed type that goes, as in a schema.
    pub allowed_type: Option<String>,
    /// One relationship in the way.
    pub relationship: Relationship,
}

impl RequestLimit {
    /// The name of the limit in [`crate::Limits::named`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RequestLimit::Updates => "updates_max",
            RequestLimit::Preconditions => "preconditions_max",
            RequestLimit::MetadataBytes => "metadata_bytes_max",
            RequestLimit::RelationshipContextBytes => "relationship_context_bytes_max",
            RequestLimit::RequestContextBytes => "request_context_bytes_max",
            RequestLimit::BulkChecks => "bulk_checks_max",
            RequestLimit::Results => "results_max",
            RequestLimit::Overlay => "overlay_max",
            RequestLimit::Misses => "misses_max",
        }
    }
}

impl Error {
    /// Which error it is, in one word; part of the format of the log of decisions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Error::NoSchema => "no_schema",
            Error::UnknownDefinition { .. } => "unknown_definition",
            Error::UnknownRelation { .. } => "unknown_relation",
            Error::NotAPermission { .. } => "not_a_permission",
            Error::CannotUpdatePermission { .. } => "cannot_update_permission",
            Error::InvalidSubjectType { .. } => "invalid_subject_type",
            Error::WildcardNotAllowed { .. } => "wildcard_not_allowed",
            Error::CaveatParameterType { .. } => "caveat_parameter_type",
            Error::ParameterNotYours { .. } => "parameter_not_yours",
            Error::UntrustedAttribute { .. } => "untrusted_attribute",
            Error::CaveatEvaluation { .. } => "caveat_evaluation",
            Error::DuplicateUpdate { .. } => "duplicate_update",
            Error::AlreadyExists(_) => "already_exists",
            Error::PreconditionFailed(_) => "precondition_failed",
            Error::TooManyToDelete { .. } => "too_many_to_delete",
            Error::InvalidFilter { .. } => "invalid_filter",
            Error::ImpossibleFilter { .. } => "impossible_filter",
            Error::AboveLimit { .. } => "above_limit",
            Error::Schema(_) => "schema",
            Error::DataInTheWay(_) => "data_in_the_way",
            Error::Cycle { .. } => "cycle",
            Error::WorkLimit { .. } => "work_limit",
            Error::NeedsPool => "needs_pool",
            Error::Deadline => "deadline",
            Error::Cancelled => "cancelled",
            Error::SnapshotExpired { .. } => "snapshot_expired",
            Error::ForeignToken => "foreign_token",
            Error::FutureToken { .. } => "future_token",
            Error::TimeNotKept { .. } => "time_not_kept",
            Error::TimeAhead { .. } => "time_ahead",
            Error::Denied { .. } => "refused_by_gate",
            Error::TooManyStreams { .. } => "too_many_streams",
            Error::Serialization => "serialization",
            Error::RequestIdReused(_) => "request_id_reused",
            Error::ReadOnly(_) => "read_only",
            Error::WritesOverloaded => "writes_overloaded",
            Error::TooManyCalls { .. } => "too_many_calls",
            Error::AboveQuota { .. } => "above_quota",
            Error::MemoryPressure { .. } => "memory_pressure",
            Error::Unjustified { .. } => "unjustified",
            Error::Unrecorded(_) => "unrecorded",
            Error::Refused(_) => "refused",
            Error::NoSuch(_) => "no_such",
            Error::Exists(_) => "exists",
            Error::Invalid(_) => "invalid",
            Error::NotMaterialized(_) => "not_materialized",
            Error::CounterRegistered { .. } => "counter_registered",
            Error::CounterNotRegistered { .. } => "counter_not_registered",
            Error::TooManyCounters { .. } => "too_many_counters",
            Error::WatchDisabled => "watch_disabled",
            Error::Internal(_) => "internal",
        }
    }
}

impl std::fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RequestLimit::Updates => "number of updates",
            RequestLimit::Preconditions => "number of preconditions",
            RequestLimit::MetadataBytes => "size of the transaction metadata in bytes",
            RequestLimit::RelationshipContextBytes => "size of a relationship's caveat in bytes",
            RequestLimit::RequestContextBytes => "size of the caveat context in bytes",
            RequestLimit::BulkChecks => "number of checks",
            RequestLimit::Results => "limit on results",
            RequestLimit::Overlay => "number of request-scoped relationships",
            RequestLimit::Misses => "number of near misses",
        })
    }
}

fn not_materialized(permission: Option<&crate::materialize::Watched>) -> String {
    let hint = "name it with --materialize-permission";
    match permission {
        None => format!("no permission of this store is materialized: {hint}"),
        Some(permission) => format!("`{permission}` is not materialized: {hint}"),
    }
}

fn describe(precondition: &Precondition) -> String {
    let (kind, filter) = match precondition {
        Precondition::MustMatch(filter) => ("no relationship matches", filter),
        Precondition::MustNotMatch(filter) => ("a relationship matches", filter),
    };
    format!("{kind} {}", describe_filter(filter))
}

/// The conditions that a filter sets, in words.
pub(crate) fn describe_filter(filter: &RelationshipFilter) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            parts.push(format!("{name} `{value}`"));
        }
    };
    part("resource type", filter.resource_type.as_ref().map(AsRef::as_ref));
    part("resource id", filter.resource_id.as_ref().map(AsRef::as_ref));
    part("resource id prefix", filter.resource_id_prefix.as_ref().map(AsRef::as_ref));
    part("relation", filter.relation.as_ref().map(AsRef::as_ref));
    if let Some(subject) = &filter.subject {
        part("subject type", Some(subject.subject_type.as_ref()));
        part("subject id", subject.subject_id.as_ref().map(|id| id.as_str()));
    }
    parts.join(", ")
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            // Only what writes meets it, and is to be tried again when there is room.
            StorageError::Full(_) => Error::ReadOnly(error.to_string()),
            StorageError::Io(_) | StorageError::Damaged(_) | StorageError::Refused(_) => {
                Error::Internal(error.to_string())
            }
        }
    }
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Expired { asked, floor } => Error::SnapshotExpired { asked, floor },
            SnapshotError::Future { asked, head } => Error::FutureToken { asked, head },
            SnapshotError::Storage(error) => error.into(),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::AlreadyExists(relationship) => Error::AlreadyExists(relationship),
            CommitError::Precondition(precondition) => Error::PreconditionFailed(precondition),
            CommitError::TooManyToDelete { limit } => Error::TooManyToDelete { limit, filter: Box::default() },
            CommitError::SchemaChanged(_) | CommitError::Conflict => Error::Serialization,
            CommitError::RequestIdReused(id) => Error::RequestIdReused(id),
            CommitError::Overloaded(_) => Error::WritesOverloaded,
            CommitError::ReadOnly(why) => Error::ReadOnly(why),
            CommitError::TooManyObjects(_) | CommitError::NoTable(_) => Error::Internal(error.to_string()),
            CommitError::Storage(error) => error.into(),
        }
    }
}

impl From<GraphError> for Error {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::UnknownDefinition { name } => Error::UnknownDefinition { name },
            GraphError::UnknownRelation { definition, relation } => Error::UnknownRelation { definition, relation },
            GraphError::NotAllowed { relationship } => {
                Error::Internal(format!("`{relationship}` passed the type check but has no table"))
            }
            GraphError::Cycle { path } => Error::Cycle { path },
            GraphError::Caveat { name, message } => Error::CaveatEvaluation { caveat: name, message },
            GraphError::ContextType { caveat, parameter, message } => {
                Error::CaveatParameterType { caveat, parameter, message }
            }
            GraphError::LimitExceeded { limit, value } => Error::WorkLimit { limit, max: value },
            GraphError::Deadline => Error::Deadline,
            GraphError::Cancelled => Error::Cancelled,
            GraphError::Storage(error) => error.into(),
        }
    }
}
