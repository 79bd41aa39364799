//! Which path leads to which call.

use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool, MethodDescriptor};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::proto::DESCRIPTORS;

/// The paths of `authzed.api.v1`, by service and method. Those of `stonetown.v1` follow from the names; what is neither is at
/// `/PACKAGE.SERVICE/METHOD`, where gRPC has it, too.
const PATHS: [(&str, &str); 27] = [
    ("PermissionsService/ReadRelationships", "/v1/relationships/read"),
    ("PermissionsService/WriteRelationships", "/v1/relationships/write"),
    ("PermissionsService/DeleteRelationships", "/v1/relationships/delete"),
    ("PermissionsService/ImportBulkRelationships", "/v1/relationships/importbulk"),
    ("PermissionsService/ExportBulkRelationships", "/v1/relationships/exportbulk"),
    ("PermissionsService/CheckPermission", "/v1/permissions/check"),
    ("PermissionsService/CheckBulkPermissions", "/v1/permissions/checkbulk"),
    ("PermissionsService/ExpandPermissionTree", "/v1/permissions/expand"),
    ("PermissionsService/LookupResources", "/v1/permissions/resources"),
    ("PermissionsService/LookupSubjects", "/v1/permissions/subjects"),
    ("SchemaService/ReadSchema", "/v1/schema/read"),
    ("SchemaService/WriteSchema", "/v1/schema/write"),
    ("SchemaService/ReflectSchema", "/v1/schema/reflectschema"),
    ("SchemaService/ComputablePermissions", "/v1/schema/permissions/computable"),
    ("SchemaService/DependentRelations", "/v1/schema/permissions/dependent"),
    ("SchemaService/DiffSchema", "/v1/schema/diffschema"),
    ("WatchService/Watch", "/v1/watch"),
    ("ExperimentalService/BulkImportRelationships", "/v1/experimental/relationships/bulkimport"),
    ("ExperimentalService/BulkExportRelationships", "/v1/experimental/relationships/bulkexport"),
    ("ExperimentalService/BulkCheckPermission", "/v1/experimental/permissions/bulkcheckpermission"),
    ("ExperimentalService/ExperimentalReflectSchema", "/v1/experimental/reflectschema"),
    ("ExperimentalService/ExperimentalComputablePermissions", "/v1/experimental/permissions/computable"),
    ("ExperimentalService/ExperimentalDependentRelations", "/v1/experimental/permissions/dependent"),
    ("ExperimentalService/ExperimentalDiffSchema", "/v1/experimental/diffschema"),
    ("ExperimentalService/ExperimentalRegisterRelationshipCounter", "/v1/experimental/registerrelationshipcounter"),
    ("ExperimentalService/ExperimentalCountRelationships", "/v1/experimental/countrelationships"),
    ("ExperimentalService/ExperimentalUnregisterRelationshipCounter", "/v1/experimental/unregisterrelationshipcounter"),
];
const PACKAGE: &str = "authzed.api.v1.";
const OWN_PACKAGE: &str = "stonetown.v1";

/// A call over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// Its path.
    pub(super) path: String,
    /// What it takes and gives.
    pub(super) method: MethodDescriptor,
    /// Its path in gRPC.
    pub(super) call: PathAndQuery,
}

/// The compiled descriptors, and those of the details that errors carry.
pub(super) fn pool() -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::decode(DESCRIPTORS)?;
    // What tonic compiled it has encoded itself; an empty set would show in the tests.
    let details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap_or_default();
    // Another build may have the same messages under another file name.
    let known = |file: &FileDescriptorProto| {
        let name = |message: &DescriptorProto| format!("{}.{}", file.package(), message.name());
        file.message_type.iter().any(|message| pool.get_message_by_name(&name(message)).is_some())
    };
    let new: Vec<_> = details.file.into_iter().filter(|file| !known(file)).collect();
    pool.add_file_descriptor_protos(new)?;
    Ok(pool)
}

/// The routes of all services, in the order of their names.
pub(super) fn of(pool: &DescriptorPool) -> Vec<Route> {
    let mut routes: Vec<_> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter_map(|method| {
            let call = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let listed = call[1..].strip_prefix(PACKAGE).and_then(|name| {
                let (_, path) = PATHS.into_iter().find(|(listed, _)| *listed == name)?;
                Some(path.to_owned())
            });
            let path = listed.or_else(|| own(&method)).unwrap_or_else(|| call.clone());
            Some(Route { path, method, call: call.try_into().ok()? })
        })
        .collect();
    routes.sort_by(|a, b| a.path.cmp(&b.path));
    routes
}

/// The path of a call of `stonetown.v1`: `DecisionService/WhoCan` is at `/stonetown/v1/decision/who-can`.
fn own(method: &MethodDescriptor) -> Option<String> {
    let service = method.parent_service();
    let name = service.name().strip_suffix("Service").filter(|_| service.package_name() == OWN_PACKAGE)?;
    Some(format!("/stonetown/v1/{}/{}", hyphenated(name), hyphenated(method.name())))
}

fn hyphenated(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_route_and_every_listed_path_a_call() {
        let pool = pool().unwrap();
        let routes = of(&pool);
        let methods: usize = pool.services().map(|service| service.methods().len()).sum();
        assert_eq!(routes.len(), methods);
        for (name, path) in PATHS {
            let route = routes.iter().find(|route| route.path == path);
            assert_eq!(route.map(|route| route.call.as_str().to_owned()), Some(format!("/{PACKAGE}{name}")));
        }
        for route in routes.iter().filter(|route| route.call.as_str()[1..].starts_with(PACKAGE)) {
            assert!(route.path.starts_with("/v1/"), "{} has no path of its own", route.path);
        }
        for route in routes.iter().filter(|route| route.call.as_str()[1..].starts_with(OWN_PACKAGE)) {
            assert!(route.path.starts_with("/stonetown/v1/"), "{} does not follow from the names", route.path);
        }
        assert!(routes.iter().any(|route| route.path == "/stonetown/v1/admin/get-info"));
        assert!(pool.get_message_by_name("google.rpc.ErrorInfo").is_some());
        assert!(pool.get_message_by_name("google.rpc.BadRequest").is_some());
    }
}
