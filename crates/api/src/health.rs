//! `grpc.health.v1`: of the server as a whole and of each service that is served.

use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Services;
use crate::calls::Calls;
use crate::proto::authzed::api::materialize::v0::relationships_service_server::RelationshipsServiceServer;
use crate::proto::authzed::api::materialize::v0::watch_permission_sets_service_server::WatchPermissionSetsServiceServer;
use crate::proto::authzed::api::materialize::v0::watch_permissions_service_server::WatchPermissionsServiceServer;
use crate::proto::authzed::api::v1::permissions_service_server::PermissionsServiceServer;
use crate::proto::authzed::api::v1::schema_service_server::SchemaServiceServer;
use crate::proto::authzed::api::v1::watch_service_server::WatchServiceServer;

/// What health says: `""` for the server, and the services by their full names. Others are not found.
const REPORTED: [&str; 7] = [
    "",
    PermissionsServiceServer::<Calls>::NAME,
    SchemaServiceServer::<Calls>::NAME,
    RelationshipsServiceServer::<Calls>::NAME,
    WatchPermissionSetsServiceServer::<Calls>::NAME,
    WatchPermissionsServiceServer::<Calls>::NAME,
    WatchServiceServer::<Calls>::NAME,
];

/// Sets what the health service answers. Clones set the same.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// A health service, which needs no token, and the handle to it. Reports `NOT_SERVING` until told otherwise.
    pub async fn new() -> (Health, Services) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Health { reporter };
        health.set_serving(false).await;
        (health, Services::default().add(service, None))
    }

    /// Reports whether calls are answered, at once to those who watch.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in REPORTED {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tonic::Code;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response};

    #[tokio::test]
    async fn health_follows_the_handle_and_knows_only_what_is_served() {
        let (health, services) = Health::new().await;
        let mut client = HealthClient::new(services);
        let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
        for service in
            ["", "authzed.api.v1.PermissionsService", "authzed.api.v1.SchemaService", "authzed.api.v1.WatchService"]
        {
            health.set_serving(false).await;
            let answer = client.check(check(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), health_check_response::ServingStatus::NotServing);
            health.set_serving(true).await;
            let answer = client.check(check(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), health_check_response::ServingStatus::Serving);
        }
        for service in ["authzed.api.v1.ExperimentalService", "nothing"] {
            assert_eq!(client.check(check(service)).await.unwrap_err().code(), Code::NotFound, "{service}");
        }
    }
}
