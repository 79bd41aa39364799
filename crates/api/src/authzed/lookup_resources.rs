//! LookupResources.

use stonetown_authorizer::Membership;
use stonetown_authorizer::lookup::LookupResourcesRequest;
use stonetown_tuple::{ObjectType, RelationName};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, MESSAGES_AHEAD, Streamed};
use crate::convert::{self, At, FieldError, context};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::LookupResourcesRequest>,
) -> Result<Response<Streamed<wire::LookupResourcesResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = std::mem::take(&mut message.optional_limit);
    message.with_debug = false;
    let question = calls.question(&incoming.call, "LookupResources", &message);
    let mut asked = parse(message)?;
    asked.consistency = convert::consistency(consistency).at("consistency")?;
    asked.limit = convert::limit(limit);
    asked.after = question.decode(cursor)?;
    let stream = calls.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
        authorizer
            .lookup_resources(call, &asked, &mut |found, cursor| {
                let (permissionship, partial_caveat_info) = lookup_membership(found.membership);
                outlet.send(wire::LookupResourcesResponse {
                    looked_up_at: Some(token::encode(cursor.token)),
                    resource_object_id: found.id.to_string(),
                    permissionship: permissionship.into(),
                    partial_caveat_info,
                    after_result_cursor: Some(question.encode(&cursor)),
                })
            })
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}

fn parse(message: wire::LookupResourcesRequest) -> Result<LookupResourcesRequest, FieldError> {
    Ok(LookupResourcesRequest {
        consistency: stonetown_tuple::Consistency::default(),
        resource_type: ObjectType::new(message.resource_object_type).at("resource_object_type")?,
        permission: RelationName::new(message.permission).at("permission")?,
        subject: convert::subject(message.subject).at("subject")?,
        context: context::from_wire(message.context).at("context")?,
        limit: None,
        after: None,
    })
}

/// A lookup's result as the wire has it. Lookups never name who has no permission, but as an exclusion that always holds.
pub(super) fn lookup_membership(
    membership: Membership,
) -> (wire::LookupPermissionship, Option<wire::PartialCaveatInfo>) {
    match membership {
        Membership::Member | Membership::NotMember => (wire::LookupPermissionship::HasPermission, None),
        Membership::Conditional(missing) => {
            (wire::LookupPermissionship::ConditionalPermission, Some(convert::missing(missing)))
        }
    }
}
