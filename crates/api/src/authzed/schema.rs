//! ReadSchema and WriteSchema.

use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn read(
    calls: &Calls,
    request: Request<wire::ReadSchemaRequest>,
) -> Result<Response<wire::ReadSchemaResponse>, Status> {
    let (incoming, ..) = Incoming::open(request)?;
    let call = incoming.call;
    let (at, text) = calls.run(Pool::Light, move |authorizer| authorizer.read_schema(&call)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::ReadSchemaResponse { schema_text: text, read_at: Some(token::encode(at)) }))
}

pub(super) async fn write(
    calls: &Calls,
    request: Request<wire::WriteSchemaRequest>,
) -> Result<Response<wire::WriteSchemaResponse>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let call = incoming.call;
    let at = calls.run(Pool::Heavy, move |authorizer| authorizer.write_schema(&call, &message.schema)).await?;
    incoming.cost.add(1, 0);
    Ok(Response::new(wire::WriteSchemaResponse { written_at: Some(token::encode(at)) }))
}
