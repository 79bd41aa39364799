//! What can be called, as the descriptors say: for those who count calls by name, and let no caller make names up.

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::proto::DESCRIPTORS;

/// One method of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method {
    /// The full name of its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Whether it answers with a stream.
    pub streams: bool,
    /// Whether it is asked by a stream.
    pub takes_stream: bool,
}

/// All methods that this crate serves, health included and reflection not.
#[must_use]
pub fn methods() -> Vec<Method> {
    [DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET].into_iter().flat_map(described).collect()
}

impl Method {
    /// The path of a request for it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }

    /// Whether a call of it can last: one message is not all that is sent either way.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.streams || self.takes_stream
    }
}

fn described(descriptors: &[u8]) -> Vec<Method> {
    // Both are made by the build, and reflection reads them, too.
    let files = FileDescriptorSet::decode(descriptors).unwrap_or_default().file;
    let mut methods = Vec::new();
    for file in &files {
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| Method {
                service: format!("{}.{}", file.package(), service.name()),
                name: method.name().to_owned(),
                streams: method.server_streaming(),
                takes_stream: method.client_streaming(),
            }));
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_health_are_told_with_what_streams() {
        let methods = methods();
        let streams = |path: &str| methods.iter().find(|method| method.path() == path).map(|method| method.streams);
        assert_eq!(streams("/authzed.api.v1.PermissionsService/CheckPermission"), Some(false));
        assert_eq!(streams("/authzed.api.v1.PermissionsService/LookupResources"), Some(true));
        assert_eq!(streams("/grpc.health.v1.Health/Check"), Some(false));
        assert_eq!(streams("/authzed.api.v1.PermissionsService/Nothing"), None);
    }
}
