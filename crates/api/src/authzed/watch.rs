//! The call of WatchService.

use tonic::{Request, Response, Status};

use crate::calls::{Calls, Streamed};
use crate::proto::authzed::api::v1 as wire;
use crate::status::not_served;

#[tonic::async_trait]
impl wire::watch_service_server::WatchService for Calls {
    type WatchStream = Streamed<wire::WatchResponse>;

    async fn watch(&self, _: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_served("Watch"))
    }
}
