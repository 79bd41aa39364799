//! The calls of PermissionsService.

use tonic::{Request, Response, Status, Streaming};

use super::{bulk, check, delete, expand, export, import, lookup_resources, lookup_subjects, read, write};
use crate::calls::{Calls, Streamed};
use crate::proto::authzed::api::v1 as wire;

#[tonic::async_trait]
impl wire::permissions_service_server::PermissionsService for Calls {
    type ReadRelationshipsStream = Streamed<wire::ReadRelationshipsResponse>;
    type LookupResourcesStream = Streamed<wire::LookupResourcesResponse>;
    type LookupSubjectsStream = Streamed<wire::LookupSubjectsResponse>;
    type ExportBulkRelationshipsStream = Streamed<wire::ExportBulkRelationshipsResponse>;

    async fn check_permission(
        &self,
        request: Request<wire::CheckPermissionRequest>,
    ) -> Result<Response<wire::CheckPermissionResponse>, Status> {
        check::answer(self, request).await
    }

    async fn check_bulk_permissions(
        &self,
        request: Request<wire::CheckBulkPermissionsRequest>,
    ) -> Result<Response<wire::CheckBulkPermissionsResponse>, Status> {
        bulk::answer(self, request).await
    }

    async fn expand_permission_tree(
        &self,
        request: Request<wire::ExpandPermissionTreeRequest>,
    ) -> Result<Response<wire::ExpandPermissionTreeResponse>, Status> {
        expand::answer(self, request).await
    }

    async fn lookup_resources(
        &self,
        request: Request<wire::LookupResourcesRequest>,
    ) -> Result<Response<Self::LookupResourcesStream>, Status> {
        lookup_resources::answer(self, request).await
    }

    async fn lookup_subjects(
        &self,
        request: Request<wire::LookupSubjectsRequest>,
    ) -> Result<Response<Self::LookupSubjectsStream>, Status> {
        lookup_subjects::answer(self, request).await
    }

    async fn read_relationships(
        &self,
        request: Request<wire::ReadRelationshipsRequest>,
    ) -> Result<Response<Self::ReadRelationshipsStream>, Status> {
        read::answer(self, request).await
    }

    async fn write_relationships(
        &self,
        request: Request<wire::WriteRelationshipsRequest>,
    ) -> Result<Response<wire::WriteRelationshipsResponse>, Status> {
        write::answer(self, request).await
    }

    async fn delete_relationships(
        &self,
        request: Request<wire::DeleteRelationshipsRequest>,
    ) -> Result<Response<wire::DeleteRelationshipsResponse>, Status> {
        delete::answer(self, request).await
    }

    async fn import_bulk_relationships(
        &self,
        request: Request<Streaming<wire::ImportBulkRelationshipsRequest>>,
    ) -> Result<Response<wire::ImportBulkRelationshipsResponse>, Status> {
        import::answer(self, request).await
    }

    async fn export_bulk_relationships(
        &self,
        request: Request<wire::ExportBulkRelationshipsRequest>,
    ) -> Result<Response<Self::ExportBulkRelationshipsStream>, Status> {
        export::answer(self, request).await
    }
}
