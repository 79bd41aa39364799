//! Errors as gRPC statuses: the one place that knows code, reason and metadata of each. Reasons and metadata keys are those of
//! `authzed.api.v1`, texts are our own.

use std::collections::HashMap;

use prost::Message;
use stonetown_authorizer::Error;
use stonetown_authorizer::error::{DataInTheWay, RequestLimit};
use stonetown_schema::{SchemaError, SchemaErrorKind};
use stonetown_tuple::{Precondition, Relationship, RelationshipFilter, SubjectRelationFilter};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::convert::FieldError;
use crate::cursor::CursorError;
use crate::proto::authzed::api::v1::ErrorReason;
use crate::proto::google::rpc;

const DOMAIN: &str = "authzed.com";

/// Longest text of a status, in bytes. Clients take no more than 8 KiB of trailers, and the text goes out twice.
const MESSAGE_BYTES_MAX: usize = 1200;
/// Longest value of a status's metadata, in bytes.
const METADATA_BYTES_MAX: usize = 800;

/// What a call is answered with instead of a result.
pub(crate) fn status(error: &Error) -> Status {
    let code = code(error);
    if let Some(limit) = error.limit() {
        limits::hit(limit);
    }
    match error {
        Error::Internal(what) => tracing::error!(what, "a call failed for a reason of our own"),
        Error::NeedsPool => tracing::error!("a check was left half-way"),
        _ => {}
    }
    match reason(error) {
        Some((reason, metadata)) => explained(code, &error.to_string(), reason, metadata),
        None => worded(code, &error.to_string()),
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::NotAPermission { .. }
        | Error::CannotUpdatePermission { .. }
        | Error::InvalidSubjectType { .. }
        | Error::WildcardNotAllowed { .. }
        | Error::CaveatParameterType { .. }
        | Error::ParameterNotYours { .. }
        | Error::CaveatEvaluation { .. }
        | Error::DuplicateUpdate { .. }
        | Error::TooManyToDelete { .. }
        | Error::InvalidFilter { .. }
        | Error::AboveLimit { .. }
        | Error::DataInTheWay(_)
        | Error::Invalid(_)
        | Error::ForeignToken => Code::InvalidArgument,
        Error::Schema(errors) => match errors.first().map(|error| error.kind) {
            Some(SchemaErrorKind::Type) => Code::FailedPrecondition,
            Some(SchemaErrorKind::Parse) | None => Code::InvalidArgument,
        },
        Error::WatchDisabled
        | Error::UntrustedAttribute { .. }
        | Error::CounterRegistered { .. }
        | Error::CounterNotRegistered { .. }
        | Error::UnknownDefinition { .. }
        | Error::UnknownRelation { .. }
        | Error::PreconditionFailed(_)
        | Error::ImpossibleFilter { .. }
        | Error::Cycle { .. }
        | Error::WorkLimit { limit: "depth_max", .. }
        | Error::NotMaterialized(_)
        | Error::RequestIdReused(_)
        | Error::Unjustified { .. }
        | Error::Refused(_) => Code::FailedPrecondition,
        Error::WorkLimit { .. }
        | Error::WritesOverloaded
        | Error::TooManyCounters { .. }
        | Error::TooManyCalls { .. }
        | Error::AboveQuota { .. }
        | Error::TooManyStreams { .. }
        | Error::MemoryPressure { .. } => Code::ResourceExhausted,
        Error::Denied { .. } => Code::PermissionDenied,
        Error::NoSchema | Error::NoSuch(_) => Code::NotFound,
        Error::AlreadyExists(_) | Error::Exists(_) => Code::AlreadyExists,
        Error::SnapshotExpired { .. }
        | Error::FutureToken { .. }
        | Error::TimeNotKept { .. }
        | Error::TimeAhead { .. } => Code::OutOfRange,
        Error::Serialization => Code::Aborted,
        Error::ReadOnly(_) | Error::Unrecorded(_) => Code::Unavailable,
        Error::Deadline => Code::DeadlineExceeded,
        Error::Cancelled => Code::Cancelled,
        Error::NeedsPool | Error::Internal(_) => Code::Internal,
    }
}

type Metadata = HashMap<String, String>;

fn reason(error: &Error) -> Option<(ErrorReason, Metadata)> {
    Some(match error {
        Error::UnknownDefinition { name } => {
            (ErrorReason::UnknownDefinition, metadata([("definition_name", name.clone())]))
        }
        Error::UnknownRelation { definition, relation } => (
            ErrorReason::UnknownRelationOrPermission,
            metadata([("definition_name", definition.clone()), ("relation_or_permission_name", relation.clone())]),
        ),
        // The last key is the reference's own.
        Error::NotAPermission { definition, relation } => (
            ErrorReason::UnknownRelationOrPermission,
            metadata([
                ("definition_name", definition.clone()),
                ("relation_or_permission_name", relation.clone()),
                ("relationName", relation.clone()),
            ]),
        ),
        Error::CannotUpdatePermission { definition, permission } => (
            ErrorReason::CannotUpdatePermission,
            metadata([("definition_name", definition.clone()), ("permission_name", permission.clone())]),
        ),
        Error::InvalidSubjectType { definition, relation, subject_type, allowed_caveats, .. } => {
            let mut metadata = metadata([
                ("definition_name", definition.clone()),
                ("relation_name", relation.clone()),
                ("subject_type", subject_type.clone()),
            ]);
            metadata.extend(allowed_caveats.clone().map(|caveats| ("allowed_caveats".to_owned(), caveats)));
            (ErrorReason::InvalidSubjectType, metadata)
        }
        Error::WildcardNotAllowed { field } => {
            (ErrorReason::WildcardNotAllowed, metadata([("field", (*field).to_owned())]))
        }
        Error::CaveatParameterType { caveat, parameter, .. } | Error::ParameterNotYours { caveat, parameter, .. } => (
            ErrorReason::CaveatParameterTypeError,
            metadata([("caveat_name", caveat.clone()), ("parameter_name", parameter.clone())]),
        ),
        Error::CaveatEvaluation { caveat, .. } => {
            (ErrorReason::CaveatEvaluationError, metadata([("caveat_name", caveat.clone())]))
        }
        Error::DuplicateUpdate { definition, relationship } => (
            ErrorReason::UpdatesOnSameRelationship,
            metadata([("definition_name", definition.clone()), ("relationship", relationship.clone())]),
        ),
        Error::AlreadyExists(relationship) => (ErrorReason::AttemptToRecreateRelationship, of_existing(relationship)),
        Error::PreconditionFailed(precondition) => {
            (ErrorReason::WriteOrDeletePreconditionFailure, of_precondition(precondition))
        }
        Error::TooManyToDelete { limit, filter } => {
            let mut metadata = of_filter("filter_", filter);
            metadata.insert("limit".to_owned(), limit.to_string());
            (ErrorReason::TooManyRelationshipsForTransactionalDelete, metadata)
        }
        Error::InvalidFilter { filter, .. } => (ErrorReason::InvalidFilter, metadata([("filter", filter.clone())])),
        Error::ImpossibleFilter { .. } => (ErrorReason::SchemaTypeError, Metadata::new()),
        Error::AboveLimit { what, actual, max, relationship } => {
            return of_limit(*what, *actual, *max, relationship.as_deref());
        }
        Error::Schema(errors) => of_schema(errors.first()?),
        Error::DataInTheWay(data) => (ErrorReason::SchemaTypeError, of_data(data)),
        Error::Cycle { .. } | Error::WorkLimit { limit: "depth_max", .. } => {
            (ErrorReason::MaximumDepthExceeded, Metadata::new())
        }
        Error::CounterRegistered { name, filter } => {
            let mut metadata = of_filter("", filter);
            metadata.insert("counter_name".to_owned(), name.clone());
            (ErrorReason::CounterAlreadyRegistered, metadata)
        }
        Error::CounterNotRegistered { name } => {
            (ErrorReason::CounterNotRegistered, metadata([("counter_name", name.clone())]))
        }
        Error::Serialization => (ErrorReason::SerializationFailure, Metadata::new()),
        Error::ReadOnly(_) => (ErrorReason::ServiceReadOnly, Metadata::new()),
        Error::NoSchema
        | Error::UntrustedAttribute { .. }
        | Error::WatchDisabled
        | Error::TooManyCounters { .. }
        | Error::WorkLimit { .. }
        | Error::NeedsPool
        | Error::Deadline
        | Error::Cancelled
        | Error::SnapshotExpired { .. }
        | Error::ForeignToken
        | Error::FutureToken { .. }
        | Error::TimeNotKept { .. }
        | Error::TimeAhead { .. }
        | Error::NotMaterialized(_)
        | Error::RequestIdReused(_)
        | Error::Refused(_)
        | Error::NoSuch(_)
        | Error::Exists(_)
        | Error::Invalid(_)
        | Error::WritesOverloaded
        | Error::TooManyCalls { .. }
        | Error::AboveQuota { .. }
        | Error::Denied { .. }
        | Error::TooManyStreams { .. }
        | Error::MemoryPressure { .. }
        | Error::Unjustified { .. }
        | Error::Unrecorded(_)
        | Error::Internal(_) => return None,
    })
}

fn of_existing(relationship: &Relationship) -> Metadata {
    let Relationship { resource, relation, subject, .. } = relationship;
    metadata([
        ("relationship", format!("{resource}#{relation}@{subject}")),
        ("resource_type", resource.object_type.to_string()),
        ("resource_object_id", resource.object_id.to_string()),
        ("resource_relation", relation.to_string()),
        ("subject_type", subject.object_type().to_string()),
        ("subject_object_id", subject.object_id().as_str().to_owned()),
        ("subject_relation", subject.relation().map(ToString::to_string).unwrap_or_default()),
    ])
}

fn of_precondition(precondition: &Precondition) -> Metadata {
    let (operation, filter) = match precondition {
        Precondition::MustMatch(filter) => ("OPERATION_MUST_MATCH", filter),
        Precondition::MustNotMatch(filter) => ("OPERATION_MUST_NOT_MATCH", filter),
    };
    let mut metadata = of_filter("precondition_", filter);
    metadata.insert("precondition_operation".to_owned(), operation.to_owned());
    metadata
}

/// The conditions that a filter sets.
fn of_filter(prefix: &str, filter: &RelationshipFilter) -> Metadata {
    let subject = filter.subject.as_ref();
    let subject_relation = match subject.map(|subject| &subject.relation) {
        None | Some(SubjectRelationFilter::Any) => None,
        Some(SubjectRelationFilter::Ellipsis) => Some(""),
        Some(SubjectRelationFilter::Relation(relation)) => Some(relation.as_str()),
    };
    [
        ("resource_type", filter.resource_type.as_ref().map(AsRef::as_ref)),
        ("resource_id", filter.resource_id.as_ref().map(AsRef::as_ref)),
        ("resource_id_prefix", filter.resource_id_prefix.as_ref().map(AsRef::as_ref)),
        ("relation", filter.relation.as_ref().map(AsRef::as_ref)),
        ("subject_type", subject.map(|subject| subject.subject_type.as_ref())),
        ("subject_id", subject.and_then(|subject| subject.subject_id.as_ref()).map(|id| id.as_str())),
        ("subject_relation", subject_relation),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("{prefix}{key}"), value?.to_owned())))
    .collect()
}

fn of_limit(
    what: RequestLimit,
    actual: u64,
    max: u64,
    relationship: Option<&Relationship>,
) -> Option<(ErrorReason, Metadata)> {
    let (reason, actual_key, max_key) = match what {
        RequestLimit::Updates => (ErrorReason::TooManyUpdatesInRequest, "update_count", "maximum_updates_allowed"),
        // The second key is the reference's own, odd as it is.
        RequestLimit::Preconditions => {
            (ErrorReason::TooManyPreconditionsInRequest, "precondition_count", "maximum_updates_allowed")
        }
        RequestLimit::MetadataBytes => {
            (ErrorReason::TransactionMetadataTooLarge, "metadata_byte_size", "maximum_allowed_metadata_byte_size")
        }
        RequestLimit::RelationshipContextBytes => {
            (ErrorReason::MaxRelationshipContextSize, "context_size", "max_allowed_size")
        }
        RequestLimit::BulkChecks => (ErrorReason::TooManyChecksInRequest, "check_count", "maximum_checks_allowed"),
        RequestLimit::Results => (ErrorReason::ExceedsMaximumAllowableLimit, "limit_provided", "maximum_limit_allowed"),
        RequestLimit::RequestContextBytes | RequestLimit::Overlay | RequestLimit::Misses => return None,
    };
    let mut metadata = metadata([(actual_key, actual.to_string()), (max_key, max.to_string())]);
    metadata.extend(relationship.map(|relationship| ("relationship".to_owned(), relationship.to_string())));
    Some((reason, metadata))
}

fn of_schema(error: &SchemaError) -> (ErrorReason, Metadata) {
    let mut metadata = metadata([
        ("start_line_number", error.span.start_line.to_string()),
        ("start_column_position", error.span.start_column.to_string()),
        ("end_line_number", error.span.end_line.to_string()),
        ("end_column_position", error.span.end_column.to_string()),
        ("source_code", error.source_code.clone()),
    ]);
    let named = |key: &str, name: &Option<String>| Some((key.to_owned(), name.clone()?));
    let reason = match error.kind {
        SchemaErrorKind::Parse => ErrorReason::SchemaParseError,
        SchemaErrorKind::Type => {
            metadata.extend(named("definition_name", &error.definition));
            metadata.extend(named("relation_or_permission_name", &error.member));
            ErrorReason::SchemaTypeError
        }
    };
    (reason, metadata)
}

fn of_data(data: &DataInTheWay) -> Metadata {
    let mut metadata = metadata([
        ("operation", data.operation.to_owned()),
        ("resource_type", data.definition.clone()),
        ("relationship", data.relationship.to_string()),
    ]);
    metadata.extend(data.relation.clone().map(|relation| ("relation".to_owned(), relation)));
    metadata.extend(data.allowed_type.clone().map(|allowed| ("allowed_type".to_owned(), allowed)));
    metadata
}

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        violation(&error, ErrorDetails::new())
    }
}

fn violation(error: &FieldError, mut details: ErrorDetails) -> Status {
    details.add_bad_request_violation(cut(&error.field, METADATA_BYTES_MAX), cut(&error.message, METADATA_BYTES_MAX));
    Status::with_error_details(Code::InvalidArgument, cut(&error.to_string(), MESSAGE_BYTES_MAX), details)
}

impl From<CursorError> for Status {
    fn from(error: CursorError) -> Self {
        // By the reason clients know that they have to begin again.
        let reason = ErrorReason::InvalidCursor;
        let why = error.to_string();
        match error {
            CursorError::Undecodable(field) => {
                violation(&field, ErrorDetails::with_error_info(reason.as_str_name(), DOMAIN, Metadata::new()))
            }
            CursorError::Mismatch => {
                explained(Code::FailedPrecondition, &why, reason, metadata([("reason", why.clone())]))
            }
        }
    }
}

/// The error of one item of a bulk call, which has no status of its own.
pub(crate) fn to_message(status: &Status) -> rpc::Status {
    // The details are this very message; one without details has them empty.
    let details = rpc::Status::decode(status.details()).map(|full| full.details).unwrap_or_default();
    rpc::Status { code: status.code() as i32, message: status.message().to_owned(), details }
}

/// A tree that clients could not decode.
pub(crate) fn too_deep(levels_max: usize) -> Status {
    let message = format!("the tree is deeper than {levels_max} levels: expand a part of it");
    explained(Code::FailedPrecondition, &message, ErrorReason::MaximumDepthExceeded, Metadata::new())
}

/// A request over HTTP that is not what its call takes.
pub(crate) fn malformed(why: &str) -> Status {
    Status::invalid_argument(cut(why, MESSAGE_BYTES_MAX))
}

/// A request over HTTP with a message that is too large. The code is that of gRPC for the same.
pub(crate) fn too_large(bytes_max: usize) -> Status {
    Status::out_of_range(format!("a message of the request has more than {bytes_max} bytes"))
}

/// A request over HTTP whose body has no proper end.
pub(crate) fn broken_off(error: &Status) -> Status {
    Status::aborted(cut(&format!("the request broke off: {}", error.message()), MESSAGE_BYTES_MAX))
}

/// The end of a call whose thread ended early. What happened is in the log.
pub(crate) fn lost() -> Status {
    Status::internal("internal error")
}

/// The end of a stream on which nothing moved for too long.
pub(crate) fn stalled(seconds: u64) -> Status {
    Status::deadline_exceeded(format!("nothing was sent for {seconds} seconds"))
}

/// The end of a stream whose client takes nothing for too long. It can go on from the last token or cursor that it has.
pub(crate) fn not_read(seconds: u64) -> Status {
    Status::deadline_exceeded(format!(
        "nothing was taken for {seconds} seconds, and there is more: go on after the last token or cursor, or begin again"
    ))
}

/// The end of a watch whose client does not read.
pub(crate) fn watch_not_read(seconds: u64) -> Status {
    Status::resource_exhausted(format!(
        "watch disconnected: nothing was read for {seconds} seconds; go on from the last token"
    ))
}

/// The end of a watch when the server stops.
pub(crate) fn stopping() -> Status {
    Status::unavailable("the server is stopping: go on from the last token")
}

/// The end of a call that came in without going through authentication.
pub(crate) fn nobody() -> Status {
    Status::unauthenticated("the caller is not known: send a bearer token")
}

fn explained(code: Code, message: &str, reason: ErrorReason, metadata: Metadata) -> Status {
    let metadata: Metadata = metadata.into_iter().map(|(key, value)| (key, cut(&value, METADATA_BYTES_MAX))).collect();
    let details = ErrorDetails::with_error_info(reason.as_str_name(), DOMAIN, metadata);
    Status::with_error_details(code, cut(message, MESSAGE_BYTES_MAX), details)
}

fn metadata<const N: usize>(entries: [(&str, String); N]) -> Metadata {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A status without a reason, whose text may hold what a client sent.
pub(crate) fn worded(code: Code, text: &str) -> Status {
    Status::new(code, cut(text, MESSAGE_BYTES_MAX))
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    format!("{}…", &text[..end])
}

pub(crate) mod limits;

#[cfg(test)]
mod tests;
