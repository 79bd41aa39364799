//! The calls of SchemaService.

use tonic::{Request, Response, Status};

use super::{computable, dependent, diff, reflect, schema};
use crate::calls::Calls;
use crate::proto::authzed::api::v1 as wire;

#[tonic::async_trait]
impl wire::schema_service_server::SchemaService for Calls {
    async fn read_schema(
        &self,
        request: Request<wire::ReadSchemaRequest>,
    ) -> Result<Response<wire::ReadSchemaResponse>, Status> {
        schema::read(self, request).await
    }

    async fn write_schema(
        &self,
        request: Request<wire::WriteSchemaRequest>,
    ) -> Result<Response<wire::WriteSchemaResponse>, Status> {
        schema::write(self, request).await
    }

    async fn reflect_schema(
        &self,
        request: Request<wire::ReflectSchemaRequest>,
    ) -> Result<Response<wire::ReflectSchemaResponse>, Status> {
        reflect::answer(self, request).await
    }

    async fn computable_permissions(
        &self,
        request: Request<wire::ComputablePermissionsRequest>,
    ) -> Result<Response<wire::ComputablePermissionsResponse>, Status> {
        computable::answer(self, request).await
    }

    async fn dependent_relations(
        &self,
        request: Request<wire::DependentRelationsRequest>,
    ) -> Result<Response<wire::DependentRelationsResponse>, Status> {
        dependent::answer(self, request).await
    }

    async fn diff_schema(
        &self,
        request: Request<wire::DiffSchemaRequest>,
    ) -> Result<Response<wire::DiffSchemaResponse>, Status> {
        diff::answer(self, request).await
    }
}
