//! DiffSchema.

use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At, reflect};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::DiffSchemaRequest>,
) -> Result<Response<wire::DiffSchemaResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let consistency = convert::consistency(message.consistency).at("consistency")?;
    let call = incoming.call;
    let (at, diffs) = calls
        .run(Pool::Heavy, move |authorizer| {
            let answer = authorizer.diff_schema(&call, consistency, &message.comparison_schema)?;
            Ok((answer.at, answer.differences().into_iter().filter_map(reflect::difference).collect()))
        })
        .await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::DiffSchemaResponse { diffs, read_at: Some(token::encode(at)) }))
}
