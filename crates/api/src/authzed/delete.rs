//! DeleteRelationships.

use stonetown_authorizer::write::DeleteRequest;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At};
use crate::incoming::{Incoming, transaction_metadata, write_id};
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::delete_relationships_response::DeletionProgress;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::DeleteRelationshipsRequest>,
) -> Result<Response<wire::DeleteRelationshipsResponse>, Status> {
    let (incoming, metadata, message) = Incoming::open(request)?;
    let asked = DeleteRequest {
        filter: convert::required(message.relationship_filter).and_then(convert::filter).at("relationship_filter")?,
        preconditions: convert::each("optional_preconditions", message.optional_preconditions, convert::precondition)?,
        limit: convert::limit(message.optional_limit),
        allow_partial: message.optional_allow_partial_deletions,
        metadata: transaction_metadata(&metadata, message.optional_transaction_metadata)?,
        request_id: write_id(&metadata)?,
    };
    let call = incoming.call;
    let answer = calls.run(Pool::Heavy, move |authorizer| authorizer.delete(&call, &asked)).await?;
    incoming.cost.add(1, 0);
    let progress = if answer.partial { DeletionProgress::Partial } else { DeletionProgress::Complete };
    Ok(Response::new(wire::DeleteRelationshipsResponse {
        deleted_at: Some(token::encode(answer.at)),
        deletion_progress: progress.into(),
        relationships_deleted_count: answer.deleted,
    }))
}
