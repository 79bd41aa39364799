//! DecisionService: who may do what, and why.

mod check;
mod explain;
mod reasons;
mod replay;
mod what_can;
mod who_can;

use tonic::{Request, Response, Status};

use crate::calls::{Calls, Streamed};
use crate::proto::stonetown::v1 as wire;

#[tonic::async_trait]
impl wire::decision_service_server::DecisionService for Calls {
    type WhoCanStream = Streamed<wire::WhoCanResponse>;
    type WhatCanStream = Streamed<wire::WhatCanResponse>;

    async fn check(&self, request: Request<wire::CheckRequest>) -> Result<Response<wire::CheckResponse>, Status> {
        check::answer(self, request).await
    }

    async fn explain(&self, request: Request<wire::ExplainRequest>) -> Result<Response<wire::ExplainResponse>, Status> {
        explain::answer(self, request).await
    }

    async fn who_can(&self, request: Request<wire::WhoCanRequest>) -> Result<Response<Self::WhoCanStream>, Status> {
        who_can::answer(self, request).await
    }

    async fn what_can(&self, request: Request<wire::WhatCanRequest>) -> Result<Response<Self::WhatCanStream>, Status> {
        what_can::answer(self, request).await
    }
}
