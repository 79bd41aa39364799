//! ReflectSchema.

use stonetown_authorizer::reflect::ReflectFilter;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, reflect};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ReflectSchemaRequest>,
) -> Result<Response<wire::ReflectSchemaResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let consistency = convert::consistency(message.consistency).at("consistency")?;
    let filters: Vec<_> = message.optional_filters.into_iter().map(filter).collect();
    let call = incoming.call;
    let answer =
        calls.run(Pool::Light, move |authorizer| authorizer.reflect_schema(&call, consistency, &filters)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ReflectSchemaResponse {
        definitions: answer.definitions.iter().map(reflect::definition).collect(),
        caveats: answer.caveats.iter().map(reflect::caveat).collect(),
        read_at: Some(token::encode(answer.at)),
    }))
}

fn filter(filter: wire::ReflectionSchemaFilter) -> ReflectFilter {
    let set = |text: String| (!text.is_empty()).then_some(text);
    ReflectFilter {
        definition: set(filter.optional_definition_name_filter),
        caveat: set(filter.optional_caveat_name_filter),
        relation: set(filter.optional_relation_name_filter),
        permission: set(filter.optional_permission_name_filter),
    }
}
