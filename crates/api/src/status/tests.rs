#![allow(clippy::unwrap_used)]

use super::*;
use stonetown_tuple::{ObjectId, Revision, SubjectFilter};

/// Code, reason and metadata of an error, as a client reads them.
fn seen(error: &Error) -> (Code, String, HashMap<String, String>) {
    let status = status(error);
    let details = status.get_error_details();
    let info = details.error_info();
    assert!(info.is_none_or(|info| info.domain == DOMAIN));
    let (reason, metadata) = info.map(|info| (info.reason.clone(), info.metadata.clone())).unwrap_or_default();
    (status.code(), reason, metadata)
}

fn entries<const N: usize>(entries: [(&str, &str); N]) -> HashMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn limit(what: RequestLimit) -> Error {
    Error::AboveLimit { what, actual: 1001, max: 1000, relationship: None }
}

#[test]
fn errors_have_the_codes_reasons_and_metadata_of_the_interface() {
    let text = |text: &str| text.to_owned();
    let relationship = || Box::new("document:d1#viewer@group:g1#member[c]".parse::<Relationship>().unwrap());
    let filter = RelationshipFilter {
        resource_type: Some("document".parse().unwrap()),
        resource_id: Some(ObjectId::new("d1").unwrap()),
        subject: Some(SubjectFilter {
            subject_type: "user".parse().unwrap(),
            subject_id: None,
            relation: SubjectRelationFilter::Ellipsis,
        }),
        ..RelationshipFilter::default()
    };
    let cases = [
        (
            Error::UnknownDefinition { name: text("folder") },
            Code::FailedPrecondition,
            "UNKNOWN_DEFINITION",
            entries([("definition_name", "folder")]),
        ),
        (
            Error::UnknownRelation { definition: text("document"), relation: text("own") },
            Code::FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
            entries([("definition_name", "document"), ("relation_or_permission_name", "own")]),
        ),
        (
            Error::NotAPermission { definition: text("document"), relation: text("viewer") },
            Code::InvalidArgument,
            "UNKNOWN_RELATION_OR_PERMISSION",
            entries([
                ("definition_name", "document"),
                ("relation_or_permission_name", "viewer"),
                ("relationName", "viewer"),
            ]),
        ),
        (
            Error::AlreadyExists(relationship()),
            Code::AlreadyExists,
            "ATTEMPT_TO_RECREATE_RELATIONSHIP",
            entries([
                ("relationship", "document:d1#viewer@group:g1#member"),
                ("resource_type", "document"),
                ("resource_object_id", "d1"),
                ("resource_relation", "viewer"),
                ("subject_type", "group"),
                ("subject_object_id", "g1"),
                ("subject_relation", "member"),
            ]),
        ),
        (
            Error::PreconditionFailed(Box::new(Precondition::MustNotMatch(filter.clone()))),
            Code::FailedPrecondition,
            "WRITE_OR_DELETE_PRECONDITION_FAILURE",
            entries([
                ("precondition_operation", "OPERATION_MUST_NOT_MATCH"),
                ("precondition_resource_type", "document"),
                ("precondition_resource_id", "d1"),
                ("precondition_subject_type", "user"),
                ("precondition_subject_relation", ""),
            ]),
        ),
        (
            Error::TooManyToDelete { limit: 2, filter: Box::new(filter) },
            Code::InvalidArgument,
            "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE",
            entries([
                ("limit", "2"),
                ("filter_resource_type", "document"),
                ("filter_resource_id", "d1"),
                ("filter_subject_type", "user"),
                ("filter_subject_relation", ""),
            ]),
        ),
        (
            limit(RequestLimit::Updates),
            Code::InvalidArgument,
            "TOO_MANY_UPDATES_IN_REQUEST",
            entries([("update_count", "1001"), ("maximum_updates_allowed", "1000")]),
        ),
        (
            limit(RequestLimit::Results),
            Code::InvalidArgument,
            "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT",
            entries([("limit_provided", "1001"), ("maximum_limit_allowed", "1000")]),
        ),
        (
            limit(RequestLimit::BulkChecks),
            Code::InvalidArgument,
            "TOO_MANY_CHECKS_IN_REQUEST",
            entries([("check_count", "1001"), ("maximum_checks_allowed", "1000")]),
        ),
        (
            Error::WildcardNotAllowed { field: "subject.object_id" },
            Code::InvalidArgument,
            "WILDCARD_NOT_ALLOWED",
            entries([("field", "subject.object_id")]),
        ),
        (Error::Cycle { path: text("a -> a") }, Code::FailedPrecondition, "MAXIMUM_DEPTH_EXCEEDED", entries([])),
        (
            Error::WorkLimit { limit: "depth_max", max: 50 },
            Code::FailedPrecondition,
            "MAXIMUM_DEPTH_EXCEEDED",
            entries([]),
        ),
        (Error::Serialization, Code::Aborted, "SERIALIZATION_FAILURE", entries([])),
        (Error::ReadOnly(text("disk full")), Code::Unavailable, "SERVICE_READ_ONLY", entries([])),
    ];
    for (error, code, reason, metadata) in cases {
        assert_eq!(seen(&error), (code, format!("ERROR_REASON_{reason}"), metadata), "{error:?}");
    }
}

#[test]
fn errors_without_a_reason_have_their_code() {
    for (error, code) in [
        (Error::NoSchema, Code::NotFound),
        (Error::Deadline, Code::DeadlineExceeded),
        (Error::Cancelled, Code::Cancelled),
        (Error::SnapshotExpired { asked: Revision(1), floor: Revision(2) }, Code::OutOfRange),
        (Error::FutureToken { asked: Revision(2), head: Revision(1) }, Code::OutOfRange),
        (Error::ForeignToken, Code::InvalidArgument),
        (Error::WorkLimit { limit: "edges_max_check", max: 5 }, Code::ResourceExhausted),
        (Error::TooManyCalls { limit: 5 }, Code::ResourceExhausted),
        (Error::AboveQuota { what: "relationships", limit: 5 }, Code::ResourceExhausted),
        (Error::Denied { caller: "key-1".into(), act: "write the schema".to_owned() }, Code::PermissionDenied),
        (Error::TooManyStreams { limit: "watchers_max", max: 5 }, Code::ResourceExhausted),
        (limit(RequestLimit::RequestContextBytes), Code::InvalidArgument),
    ] {
        assert_eq!(seen(&error), (code, String::new(), HashMap::new()), "{error:?}");
    }
}

#[test]
fn an_internal_error_does_not_say_what_happened() {
    let status = status(&Error::Internal("/data/0001.sst: bad checksum".to_owned()));
    assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
}

#[test]
fn a_schemas_errors_have_positions_from_0_and_the_code_of_their_stage() {
    let error = |kind| {
        Error::Schema(vec![SchemaError {
            kind,
            file: None,
            span: stonetown_schema::Span {
                start_line: 2,
                start_column: 4,
                end_line: 2,
                end_column: 9,
                ..Default::default()
            },
            message: "what".to_owned(),
            source_code: "boss".to_owned(),
            definition: Some("document".to_owned()),
            member: Some("edit".to_owned()),
            expected: Vec::new(),
        }])
    };
    let position = [
        ("start_line_number", "2"),
        ("start_column_position", "4"),
        ("end_line_number", "2"),
        ("end_column_position", "9"),
        ("source_code", "boss"),
    ];
    let expected = (Code::InvalidArgument, "ERROR_REASON_SCHEMA_PARSE_ERROR".to_owned(), entries(position));
    assert_eq!(seen(&error(SchemaErrorKind::Parse)), expected);
    let (code, reason, metadata) = seen(&error(SchemaErrorKind::Type));
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "ERROR_REASON_SCHEMA_TYPE_ERROR"));
    assert_eq!(metadata["definition_name"], "document");
    assert_eq!(metadata["relation_or_permission_name"], "edit");
}

#[test]
fn a_field_error_names_the_field_in_text_and_details() {
    let status = Status::from(FieldError::new("is required").within("resource"));
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "`resource`: is required"));
    let details = status.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "resource");
}

#[test]
fn a_refused_cursor_says_by_its_reason_that_the_listing_has_to_begin_again() {
    for (error, code) in [
        (CursorError::Mismatch, Code::FailedPrecondition),
        (FieldError::new("is not a cursor").within("page.cursor").into(), Code::InvalidArgument),
    ] {
        let status = Status::from(error);
        assert_eq!(status.code(), code);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "ERROR_REASON_INVALID_CURSOR");
    }
}

#[test]
fn statuses_stay_below_what_clients_take_as_trailers() {
    let long = "ä".repeat(512);
    let relationship = format!("document:{}#viewer@user:{}", "x".repeat(1024), "y".repeat(1024));
    for error in [
        Error::UnknownRelation { definition: long.clone(), relation: long },
        Error::AlreadyExists(Box::new(relationship.parse().unwrap())),
    ] {
        let headers = status(&error).into_http::<()>().headers().clone();
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 8192, "{bytes}");
    }
}

#[test]
fn a_bulk_items_error_keeps_code_text_and_details() {
    let message = to_message(&status(&Error::UnknownDefinition { name: "folder".to_owned() }));
    assert_eq!((message.code, message.details.len()), (9, 1));
    assert!(message.message.contains("folder"));
    assert!(message.details[0].type_url.ends_with("google.rpc.ErrorInfo"));
}
