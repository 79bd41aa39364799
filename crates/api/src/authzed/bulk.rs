//! CheckBulkPermissions.

use std::sync::Arc;

use stonetown_authorizer::Error;
use stonetown_authorizer::bulk::{BulkCheckItem, BulkCheckRequest};
use stonetown_authorizer::{Answer, Trace};
use stonetown_tuple::RelationName;
use tonic::{Request, Response, Status};

use super::check::membership;
use crate::calls::{Calls, Pool};
use crate::convert::{self, At, FieldError, context, trace};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::check_bulk_permissions_pair::Response as Outcome;
use crate::status::{status, to_message};
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::CheckBulkPermissionsRequest>,
) -> Result<Response<wire::CheckBulkPermissionsResponse>, Status> {
    let (mut incoming, _, message) = Incoming::open_check(request)?;
    let asked = message.items.clone();
    let question = parse(message)?;
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let answer = calls.run(Pool::Heavy, move |authorizer| authorizer.check_bulk(&call, &question)).await?;
    let mut schema = answer.schema;
    let pairs = asked.into_iter().zip(answer.answers).map(|(asked, answer)| {
        if let Ok((answer, _)) = &answer {
            incoming.cost.add(answer.work.subproblems.max(1), answer.work.cached);
        }
        wire::CheckBulkPermissionsPair { request: Some(asked), response: Some(outcome(answer, &mut schema)) }
    });
    let pairs = pairs.collect();
    Ok(Response::new(wire::CheckBulkPermissionsResponse { checked_at: Some(token::encode(answer.at)), pairs }))
}

fn parse(message: wire::CheckBulkPermissionsRequest) -> Result<BulkCheckRequest, FieldError> {
    Ok(BulkCheckRequest {
        consistency: convert::consistency(message.consistency).at("consistency")?,
        items: convert::each("items", message.items, item)?,
        trace: message.with_tracing,
    })
}

fn item(item: wire::CheckBulkPermissionsRequestItem) -> Result<BulkCheckItem, FieldError> {
    Ok(BulkCheckItem {
        resource: convert::object(item.resource).at("resource")?,
        permission: RelationName::new(item.permission).at("permission")?,
        subject: convert::subject(item.subject).at("subject")?,
        context: Arc::new(context::from_wire(item.context).at("context")?),
    })
}

/// The schema is told with the first trace only: it is the same for all, and may be large.
fn outcome(answer: Result<(Answer, Option<Trace>), Error>, schema: &mut Option<String>) -> Outcome {
    let (answer, found) = match answer {
        Ok(answer) => answer,
        Err(error) => return Outcome::Error(to_message(&status(&error))),
    };
    let (permissionship, partial_caveat_info) = membership(answer.membership);
    Outcome::Item(wire::CheckBulkPermissionsResponseItem {
        permissionship: permissionship.into(),
        partial_caveat_info,
        debug_trace: found.map(|found| trace::to_wire(found, schema.take().unwrap_or_default())),
    })
}
