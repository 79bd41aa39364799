//! ComputablePermissions.

use stonetown_authorizer::computable::ComputableRequest;
use stonetown_tuple::{ObjectType, RelationName};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, FieldError, reflect};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ComputablePermissionsRequest>,
) -> Result<Response<wire::ComputablePermissionsResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let asked = parse(message)?;
    let call = incoming.call;
    let (at, found) =
        calls.run(Pool::Light, move |authorizer| authorizer.computable_permissions(&call, &asked)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ComputablePermissionsResponse {
        permissions: found.into_iter().map(reflect::member).collect(),
        read_at: Some(token::encode(at)),
    }))
}

fn parse(message: wire::ComputablePermissionsRequest) -> Result<ComputableRequest, FieldError> {
    Ok(ComputableRequest {
        consistency: convert::consistency(message.consistency).at("consistency")?,
        definition: ObjectType::new(message.definition_name).at("definition_name")?,
        relation: convert::optional(message.relation_name, RelationName::new).at("relation_name")?,
        definition_prefix: message.optional_definition_name_filter,
    })
}
