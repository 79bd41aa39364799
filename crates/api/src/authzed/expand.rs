//! ExpandPermissionTree.

use stonetown_authorizer::expand::ExpandRequest;
use stonetown_tuple::RelationName;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, FieldError, tree};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ExpandPermissionTreeRequest>,
) -> Result<Response<wire::ExpandPermissionTreeResponse>, Status> {
    let (mut incoming, _, message) = Incoming::open(request)?;
    let question = parse(message)?;
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let (at, expanded) = calls.run(Pool::Heavy, move |authorizer| authorizer.expand(&call, &question)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ExpandPermissionTreeResponse {
        expanded_at: Some(token::encode(at)),
        tree_root: Some(tree::to_wire(&expanded)?),
    }))
}

fn parse(message: wire::ExpandPermissionTreeRequest) -> Result<ExpandRequest, FieldError> {
    Ok(ExpandRequest {
        consistency: convert::consistency(message.consistency).at("consistency")?,
        resource: convert::object(message.resource).at("resource")?,
        permission: RelationName::new(message.permission).at("permission")?,
    })
}
