//! Relationship counters of ExperimentalService: register, count, unregister.

use stonetown_authorizer::counters::Count;
use stonetown_tuple::RelationName;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;
use wire::experimental_count_relationships_response::CounterResult;

pub(super) async fn register(
    calls: &Calls,
    request: Request<wire::ExperimentalRegisterRelationshipCounterRequest>,
) -> Result<Response<wire::ExperimentalRegisterRelationshipCounterResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let name = RelationName::new(message.name).at("name")?;
    let filter = convert::required(message.relationship_filter).and_then(convert::filter).at("relationship_filter")?;
    let call = incoming.call.clone();
    calls.run(Pool::Light, move |authorizer| authorizer.register_counter(&call, &name, filter)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ExperimentalRegisterRelationshipCounterResponse {}))
}

pub(super) async fn count(
    calls: &Calls,
    request: Request<wire::ExperimentalCountRelationshipsRequest>,
) -> Result<Response<wire::ExperimentalCountRelationshipsResponse>, Status> {
    let (mut incoming, _, message) = Incoming::open(request)?;
    let name = RelationName::new(message.name).at("name")?;
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let count = calls.run(Pool::Heavy, move |authorizer| authorizer.read_counter(&call, name.as_str())).await?;
    incoming.cost.add(1, 0);
    let result = match count {
        Count::StillCalculating => CounterResult::CounterStillCalculating(true),
        Count::Value { relationships, at } => CounterResult::ReadCounterValue(wire::ReadCounterValue {
            relationship_count: relationships,
            read_at: Some(token::encode(at)),
        }),
    };
    Ok(Response::new(wire::ExperimentalCountRelationshipsResponse { counter_result: Some(result) }))
}

pub(super) async fn unregister(
    calls: &Calls,
    request: Request<wire::ExperimentalUnregisterRelationshipCounterRequest>,
) -> Result<Response<wire::ExperimentalUnregisterRelationshipCounterResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let name = RelationName::new(message.name).at("name")?;
    let call = incoming.call.clone();
    calls.run(Pool::Light, move |authorizer| authorizer.unregister_counter(&call, name.as_str())).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ExperimentalUnregisterRelationshipCounterResponse {}))
}
