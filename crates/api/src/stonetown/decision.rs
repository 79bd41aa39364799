//! DecisionService: who may do what, and why.

mod check;

use tonic::{Request, Response, Status};

use crate::calls::Calls;
use crate::proto::stonetown::v1 as wire;

#[tonic::async_trait]
impl wire::decision_service_server::DecisionService for Calls {
    async fn check(&self, request: Request<wire::CheckRequest>) -> Result<Response<wire::CheckResponse>, Status> {
        check::answer(self, request).await
    }
}
