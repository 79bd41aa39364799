//! DependentRelations.

use stonetown_tuple::{ObjectType, RelationName};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, reflect};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::DependentRelationsRequest>,
) -> Result<Response<wire::DependentRelationsResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let consistency = convert::consistency(message.consistency).at("consistency")?;
    let definition = ObjectType::new(message.definition_name).at("definition_name")?;
    let permission = RelationName::new(message.permission_name).at("permission_name")?;
    let call = incoming.call;
    let (at, found) = calls
        .run(Pool::Light, move |authorizer| {
            authorizer.dependent_relations(&call, consistency, &definition, &permission)
        })
        .await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::DependentRelationsResponse {
        relations: found.into_iter().map(reflect::member).collect(),
        read_at: Some(token::encode(at)),
    }))
}
