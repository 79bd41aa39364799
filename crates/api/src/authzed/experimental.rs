//! The calls of ExperimentalService. Those that became stable under another name kept their shape, field by field, so they are
//! carried over as bytes.

use futures::StreamExt;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::{bulk, computable, counters, dependent, diff, export, import, reflect};
use crate::calls::{Calls, Streamed};
use crate::proto::authzed::api::v1 as wire;
use crate::status::lost;

#[tonic::async_trait]
impl wire::experimental_service_server::ExperimentalService for Calls {
    type BulkExportRelationshipsStream = Streamed<wire::BulkExportRelationshipsResponse>;

    async fn bulk_import_relationships(
        &self,
        request: Request<Streaming<wire::BulkImportRelationshipsRequest>>,
    ) -> Result<Response<wire::BulkImportRelationshipsResponse>, Status> {
        let request = request.map(|batches| batches.map(|batch| twin(&batch?)));
        twin_answer(import::answer(self, request).await?)
    }

    async fn bulk_export_relationships(
        &self,
        request: Request<wire::BulkExportRelationshipsRequest>,
    ) -> Result<Response<Self::BulkExportRelationshipsStream>, Status> {
        let answer = export::answer(self, twin_request(request)?).await?;
        Ok(answer.map(|batches| -> Streamed<_> { Box::pin(batches.map(|batch| twin(&batch?))) }))
    }

    async fn bulk_check_permission(
        &self,
        request: Request<wire::BulkCheckPermissionRequest>,
    ) -> Result<Response<wire::BulkCheckPermissionResponse>, Status> {
        twin_answer(bulk::answer(self, twin_request(request)?).await?)
    }

    async fn experimental_reflect_schema(
        &self,
        request: Request<wire::ExperimentalReflectSchemaRequest>,
    ) -> Result<Response<wire::ExperimentalReflectSchemaResponse>, Status> {
        twin_answer(reflect::answer(self, twin_request(request)?).await?)
    }

    async fn experimental_computable_permissions(
        &self,
        request: Request<wire::ExperimentalComputablePermissionsRequest>,
    ) -> Result<Response<wire::ExperimentalComputablePermissionsResponse>, Status> {
        twin_answer(computable::answer(self, twin_request(request)?).await?)
    }

    async fn experimental_dependent_relations(
        &self,
        request: Request<wire::ExperimentalDependentRelationsRequest>,
    ) -> Result<Response<wire::ExperimentalDependentRelationsResponse>, Status> {
        twin_answer(dependent::answer(self, twin_request(request)?).await?)
    }

    async fn experimental_diff_schema(
        &self,
        request: Request<wire::ExperimentalDiffSchemaRequest>,
    ) -> Result<Response<wire::ExperimentalDiffSchemaResponse>, Status> {
        twin_answer(diff::answer(self, twin_request(request)?).await?)
    }

    async fn experimental_register_relationship_counter(
        &self,
        request: Request<wire::ExperimentalRegisterRelationshipCounterRequest>,
    ) -> Result<Response<wire::ExperimentalRegisterRelationshipCounterResponse>, Status> {
        counters::register(self, request).await
    }

    async fn experimental_count_relationships(
        &self,
        request: Request<wire::ExperimentalCountRelationshipsRequest>,
    ) -> Result<Response<wire::ExperimentalCountRelationshipsResponse>, Status> {
        counters::count(self, request).await
    }

    async fn experimental_unregister_relationship_counter(
        &self,
        request: Request<wire::ExperimentalUnregisterRelationshipCounterRequest>,
    ) -> Result<Response<wire::ExperimentalUnregisterRelationshipCounterResponse>, Status> {
        counters::unregister(self, request).await
    }
}

/// The same message under its other name.
fn twin<A: Message, B: Message + Default>(message: &A) -> Result<B, Status> {
    B::decode(&*message.encode_to_vec()).map_err(|_| lost())
}

fn twin_request<A: Message, B: Message + Default>(request: Request<A>) -> Result<Request<B>, Status> {
    let (metadata, extensions, message) = request.into_parts();
    Ok(Request::from_parts(metadata, extensions, twin(&message)?))
}

fn twin_answer<A: Message, B: Message + Default>(answer: Response<A>) -> Result<Response<B>, Status> {
    let (metadata, message, extensions) = answer.into_parts();
    Ok(Response::from_parts(metadata, twin(&message)?, extensions))
}
