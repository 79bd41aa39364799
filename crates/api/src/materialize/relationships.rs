//! ExperimentalCountRelationshipsByFilter.

use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{self, At};
use crate::incoming::Incoming;
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::token;

#[tonic::async_trait]
impl wire::relationships_service_server::RelationshipsService for Calls {
    async fn experimental_count_relationships_by_filter(
        &self,
        request: Request<wire::ExperimentalCountRelationshipsByFilterRequest>,
    ) -> Result<Response<wire::ExperimentalCountRelationshipsByFilterResponse>, Status> {
        let (mut incoming, _, message) = Incoming::open(request)?;
        let _cancel = incoming.cancel_on_drop();
        let filter = convert::required(message.relationship_filter).and_then(convert::filter);
        let filter = filter.at("relationship_filter")?;
        incoming.cost.add(1, 0);
        let call = incoming.call;
        let (count, at) = self.run(Pool::Heavy, move |authorizer| authorizer.count(&call, &filter)).await?;
        let (relationship_count, read_at) = (count, Some(token::encode(at)));
        Ok(Response::new(wire::ExperimentalCountRelationshipsByFilterResponse { relationship_count, read_at }))
    }
}
