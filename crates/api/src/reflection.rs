//! `grpc.reflection`, of both versions that clients ask for.

use tonic_reflection::server::{Builder, Error};

use crate::Services;
use crate::proto::DESCRIPTORS;

/// A reflection service, which needs no token: it tells what is public anyway.
///
/// # Errors
/// When the compiled descriptors cannot be read, which would be a broken build.
pub fn reflection() -> Result<Services, Error> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Services::default().add(builder().build_v1()?, None).add(builder().build_v1alpha()?, None))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    #[tokio::test]
    async fn reflection_lists_the_services() {
        let mut client = ServerReflectionClient::new(reflection().unwrap());
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
        let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("no list: {answer:?}")
        };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        for name in ["PermissionsService", "SchemaService", "WatchService", "ExperimentalService"] {
            assert!(names.contains(&format!("authzed.api.v1.{name}").as_str()), "{names:?}");
        }
        assert!(names.contains(&"grpc.health.v1.Health") && names.contains(&"grpc.reflection.v1.ServerReflection"));
    }
}
