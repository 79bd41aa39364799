//! ExportBulkRelationships.

use stonetown_authorizer::export::ExportRequest;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Streamed};
use crate::convert::{self, At};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;

/// Batches between the thread that reads them and the connection that sends them. A batch may have megabytes.
const BATCHES_AHEAD: usize = 2;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ExportBulkRelationshipsRequest>,
) -> Result<Response<Streamed<wire::ExportBulkRelationshipsResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = std::mem::take(&mut message.optional_limit);
    let question = calls.question(&incoming.call, "ExportBulkRelationships", &message);
    let filter = message.optional_relationship_filter.map(convert::filter).transpose();
    let asked = ExportRequest {
        consistency: convert::consistency(consistency).at("consistency")?,
        filter: filter.at("optional_relationship_filter")?.unwrap_or_default(),
        batch: convert::limit(limit),
        after: question.decode(cursor)?,
    };
    let stream = calls.stream(incoming, BATCHES_AHEAD, move |authorizer, call, outlet| {
        authorizer
            .export(call, &asked, &mut |batch| {
                outlet.send(wire::ExportBulkRelationshipsResponse {
                    after_result_cursor: Some(question.encode(&batch.cursor)),
                    relationships: batch.relationships.into_iter().map(convert::relationship_to_wire).collect(),
                })
            })
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}
