//! CheckPermission. Most checks are answered on the spot; one that needs the disk, or more than a few microseconds, is asked
//! again on a thread that may block.

use stonetown_authorizer::check::{CheckAnswer, CheckRequest};
use stonetown_authorizer::{Effort, Error, Membership};
use stonetown_tuple::{RelationName, Relationship};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, FieldError, context, trace};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::check_permission_response::Permissionship;
use crate::status::status;
use crate::token;

/// The older way to ask for a trace.
const TRACE_ASKED: &str = "io.spicedb.requestdebuginfo";
/// Relationships to ask with as if they were stored, in their text form; as often as wanted.
const WITH: &str = "stonetown-with";

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::CheckPermissionRequest>,
) -> Result<Response<wire::CheckPermissionResponse>, Status> {
    let (mut incoming, metadata, mut message) = Incoming::open_check(request)?;
    message.with_tracing |= metadata.contains_key(TRACE_ASKED);
    let mut question = parse(message)?;
    question.with = with_relationships(&metadata)?;
    let answer = match calls.authorizer().check(&incoming.call, &question, Effort::Inline) {
        Err(Error::NeedsPool) => {
            let _cancel = incoming.cancel_on_drop();
            let call = incoming.call.clone();
            calls.run(Pool::Light, move |authorizer| authorizer.check(&call, &question, Effort::Full)).await?
        }
        answered => answered.map_err(|error| status(&error))?,
    };
    incoming.cost.add(answer.work.subproblems.max(1), answer.work.cached);
    Ok(Response::new(to_wire(answer)))
}

fn with_relationships(metadata: &MetadataMap) -> Result<Vec<Relationship>, FieldError> {
    let read = |value: &MetadataValue<Ascii>| {
        let text = value.to_str().map_err(|error| FieldError::new(error.to_string()))?;
        text.parse::<Relationship>().map_err(|error| FieldError::new(error.to_string()))
    };
    metadata.get_all(WITH).iter().map(|value| read(value).map_err(|error| error.within(WITH))).collect()
}

fn parse(message: wire::CheckPermissionRequest) -> Result<CheckRequest, FieldError> {
    Ok(CheckRequest {
        freshness: convert::consistency(message.consistency).at("consistency")?.into(),
        resource: convert::object(message.resource).at("resource")?,
        permission: RelationName::new(message.permission).at("permission")?,
        subject: convert::subject(message.subject).at("subject")?,
        context: context::from_wire(message.context).at("context")?,
        with: Vec::new(),
        trace: message.with_tracing,
    })
}

fn to_wire(answer: CheckAnswer) -> wire::CheckPermissionResponse {
    let (permissionship, partial_caveat_info) = membership(answer.membership);
    wire::CheckPermissionResponse {
        checked_at: Some(token::encode(answer.at)),
        permissionship: permissionship.into(),
        partial_caveat_info,
        debug_trace: answer.trace.map(|found| trace::to_wire(found, answer.schema.unwrap_or_default())),
        optional_expires_at: answer.until.map(convert::timestamp_to_wire),
    }
}

/// A check's answer as the wire has it.
pub(super) fn membership(membership: Membership) -> (Permissionship, Option<wire::PartialCaveatInfo>) {
    match membership {
        Membership::Member => (Permissionship::HasPermission, None),
        Membership::NotMember => (Permissionship::NoPermission, None),
        Membership::Conditional(missing) => (Permissionship::ConditionalPermission, Some(convert::missing(missing))),
    }
}
