//! WriteRelationships.

use stonetown_authorizer::write::WriteRequest;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert;
use crate::incoming::{Incoming, transaction_metadata, write_id};
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::WriteRelationshipsRequest>,
) -> Result<Response<wire::WriteRelationshipsResponse>, Status> {
    let (incoming, metadata, message) = Incoming::open(request)?;
    let asked = WriteRequest {
        updates: convert::each("updates", message.updates, convert::update)?,
        preconditions: convert::each("optional_preconditions", message.optional_preconditions, convert::precondition)?,
        metadata: transaction_metadata(&metadata, message.optional_transaction_metadata)?,
        request_id: write_id(&metadata)?,
    };
    let call = incoming.call;
    let at = calls.run(Pool::Light, move |authorizer| authorizer.write(&call, &asked)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::WriteRelationshipsResponse { written_at: Some(token::encode(at)) }))
}
