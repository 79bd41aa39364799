//! The wire: the services of `authzed.api.v1`, `authzed.api.materialize.v0` and `stonetown.v1` over the authorizer, health and
//! reflection. Messages are parsed into the domain's
//! values, questions are put to [`stonetown_authorizer::Authorizer`], answers and errors are mapped back. Nothing is decided
//! here, and no type of the wire goes further than here.
//!
//! The server crate merges what [`services`], [`Health::new`] and [`reflection()`] return and puts authentication before the
//! first: it must add a [`stonetown_authorizer::Caller`] to the extensions of each request that it lets through. It may add
//! [`stonetown_authorizer::Notes`], in which it then finds what became known of the call.
//!
//! Reading order: this file, `services`, `authzed`, `stonetown`, `calls` (how calls are run), `convert`, `token`, `cursor`, `status`,
//! `trailers`; then `gateway` (the same calls as HTTP/JSON) and [`client`], the same conversions for programs that call.

mod authzed;
mod calls;
pub mod client;
mod commits;
mod convert;
mod cursor;
mod gateway;
mod health;
mod incoming;
mod materialize;
mod methods;
pub mod proto;
mod reflection;
mod services;
mod settings;
mod status;
mod stonetown;
mod token;
mod trailers;

use std::sync::Arc;

use http::HeaderValue;
use stonetown_authorizer::Authorizer;
use tonic::codec::CompressionEncoding;

pub use cursor::CursorKey;
pub use gateway::{Gateway, GatewayLayer};
pub use health::Health;
pub use incoming::{DurationMax, PeerIp};
pub use materialize::{DownloadLayer, Downloads};
pub use methods::{Method, methods};
pub use reflection::reflection;
pub use services::Services;
pub use settings::ApiSettings;
pub use status::limits::hits as limit_hits;
pub use stonetown::GrantMessages;
pub use trailers::{REQUEST_ID, request_id};

use crate::calls::Calls;
use crate::proto::authzed::api::materialize::v0::relationships_service_server::RelationshipsServiceServer;
use crate::proto::authzed::api::materialize::v0::watch_permission_sets_service_server::WatchPermissionSetsServiceServer;
use crate::proto::authzed::api::materialize::v0::watch_permissions_service_server::WatchPermissionsServiceServer;
use crate::proto::authzed::api::v1::experimental_service_server::ExperimentalServiceServer;
use crate::proto::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use crate::proto::authzed::api::v1::schema_service_server::SchemaServiceServer;
use crate::proto::authzed::api::v1::watch_service_server::WatchServiceServer;
use crate::proto::stonetown::v1::admin_service_server::AdminServiceServer;
use crate::proto::stonetown::v1::attributes_service_server::AttributesServiceServer;
use crate::proto::stonetown::v1::audit_service_server::AuditServiceServer;
use crate::proto::stonetown::v1::decision_service_server::DecisionServiceServer;
use crate::proto::stonetown::v1::grant_service_server::GrantServiceServer;
use crate::proto::stonetown::v1::principal_service_server::PrincipalServiceServer;
use crate::proto::stonetown::v1::relationships_service_server::RelationshipsServiceServer as StonetownRelationshipsServer;
use crate::proto::stonetown::v1::store_service_server::StoreServiceServer;
use crate::trailers::WithTrailers;

/// The four services of `authzed.api.v1`, the three of `authzed.api.materialize.v0` and those of `stonetown.v1`. A request
/// without a [`stonetown_authorizer::Caller`] among its extensions is refused.
#[must_use]
pub fn services(authorizer: Arc<Authorizer>, settings: &ApiSettings) -> Services {
    let calls = Arc::new(Calls::new(authorizer, settings));
    // A version that no header can hold is told to nobody.
    let version = settings.version.as_ref().and_then(|version| HeaderValue::from_str(version).ok());
    let trailers = WithTrailers { version };
    macro_rules! services {
        ($($server:ident)*) => {
            Services::default()$(.add(
                $server::from_arc(Arc::clone(&calls))
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(settings.request_bytes_max),
                Some(trailers.clone()),
            ))*
        };
    }
    services! {
        PermissionsServiceServer
        SchemaServiceServer
        WatchServiceServer
        ExperimentalServiceServer
        AdminServiceServer
        AttributesServiceServer
        AuditServiceServer
        StonetownRelationshipsServer
        DecisionServiceServer
        GrantServiceServer
        PrincipalServiceServer
        StoreServiceServer
        WatchPermissionsServiceServer
        WatchPermissionSetsServiceServer
        RelationshipsServiceServer
    }
}
