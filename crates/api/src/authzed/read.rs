//! ReadRelationships.

use stonetown_authorizer::read::ReadRequest;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, MESSAGES_AHEAD, Streamed};
use crate::convert::{self, At};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ReadRelationshipsRequest>,
) -> Result<Response<Streamed<wire::ReadRelationshipsResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = std::mem::take(&mut message.optional_limit);
    let question = calls.question(&incoming.call, "ReadRelationships", &message);
    let asked = ReadRequest {
        consistency: convert::consistency(consistency).at("consistency")?,
        filter: convert::required(message.relationship_filter).and_then(convert::filter).at("relationship_filter")?,
        limit: convert::limit(limit),
        after: question.decode(cursor)?,
    };
    let stream = calls.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
        authorizer
            .read(call, &asked, &mut |item| {
                outlet.send(wire::ReadRelationshipsResponse {
                    read_at: Some(token::encode(item.cursor.token)),
                    relationship: Some(convert::relationship_to_wire(item.relationship)),
                    after_result_cursor: Some(question.encode(&item.cursor)),
                })
            })
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}
