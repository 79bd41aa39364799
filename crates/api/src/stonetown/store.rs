//! StoreService: which stores there are, and how much each may hold and ask.

use stonetown_authorizer::Quota;
use stonetown_identity::Store;
use tonic::{Request, Response, Status};

use super::principal::convert;
use crate::calls::{Calls, Pool};
use crate::convert::{At, timestamp_to_wire};
use crate::proto::stonetown::v1 as wire;
use crate::token;

#[tonic::async_trait]
impl wire::store_service_server::StoreService for Calls {
    async fn create_store(
        &self,
        request: Request<wire::CreateStoreRequest>,
    ) -> Result<Response<wire::CreateStoreResponse>, Status> {
        let parse = |message: wire::CreateStoreRequest| {
            let holder = message.holder.map(|holder| convert::holder(Some(holder))).transpose().at("holder")?;
            Ok((message.name, holder, quota(message.quota), convert::why(message.why)))
        };
        let answer = self.managed(
            Pool::Light,
            "create_store",
            request,
            parse,
            |identity, caller, (name, holder, quota, why)| {
                let store = identity.create_store(caller, &name, holder.as_ref(), quota, &why)?;
                Ok(wire::CreateStoreResponse { store: Some(to_wire(name, Some(&store))) })
            },
        );
        answer.await
    }

    async fn list_stores(
        &self,
        request: Request<wire::ListStoresRequest>,
    ) -> Result<Response<wire::ListStoresResponse>, Status> {
        let answer = self.managed(
            Pool::Heavy,
            "list_stores",
            request,
            |_| Ok(()),
            |identity, caller, ()| {
                let found = identity.list_stores(caller)?;
                let stores = found.into_iter().map(|named| to_wire(named.name, named.store.as_ref())).collect();
                Ok(wire::ListStoresResponse { stores })
            },
        );
        answer.await
    }

    async fn set_quota(
        &self,
        request: Request<wire::SetQuotaRequest>,
    ) -> Result<Response<wire::SetQuotaResponse>, Status> {
        let parse =
            |message: wire::SetQuotaRequest| Ok((message.name, quota(message.quota), convert::why(message.why)));
        let answer = self.managed(Pool::Light, "set_quota", request, parse, |identity, caller, (name, quota, why)| {
            let store = identity.set_quota(caller, &name, quota, &why)?;
            Ok(wire::SetQuotaResponse { store: Some(to_wire(name, Some(&store))) })
        });
        answer.await
    }

    async fn delete_store(
        &self,
        request: Request<wire::DeleteStoreRequest>,
    ) -> Result<Response<wire::DeleteStoreResponse>, Status> {
        let parse = |message: wire::DeleteStoreRequest| Ok((message.name, convert::why(message.why)));
        let answer = self.managed(Pool::Light, "delete_store", request, parse, |identity, caller, (name, why)| {
            let token = token::encode(identity.delete_store(caller, &name, &why)?).token;
            Ok(wire::DeleteStoreResponse { token })
        });
        answer.await
    }
}

fn quota(quota: Option<wire::Quota>) -> Quota {
    let wire::Quota { relationships_max, schema_bytes_max, calls_max } = quota.unwrap_or_default();
    Quota { relationships_max, schema_bytes_max, calls_max }
}

fn to_wire(name: String, store: Option<&Store>) -> wire::Store {
    let Quota { relationships_max, schema_bytes_max, calls_max } = store.map(|store| store.quota).unwrap_or_default();
    wire::Store {
        name,
        quota: Some(wire::Quota { relationships_max, schema_bytes_max, calls_max }),
        created_at: store.map(|store| timestamp_to_wire(store.created_at)),
    }
}
