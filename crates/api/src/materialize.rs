//! The services of `authzed.api.materialize.v0`: permissions and permission sets as they change, as they are, and as files.
//!
//! `feed` is what both change streams share, `download` serves the files.

mod download;
mod feed;
mod permissions;
mod relationships;
mod sets;
#[cfg(test)]
mod tests;

use stonetown_authorizer::materialize::{SetChild, SetRef, Watched};
use stonetown_tuple::{ObjectType, RelationName, ZedToken};

pub use download::{DownloadLayer, Downloads};

use crate::convert::{At, FieldError, optional};
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::proto::authzed::api::materialize::v0::permission_set_change::{Child, SetOperation};
use crate::token;

fn watched(permission: wire::WatchedPermission) -> Result<Watched, FieldError> {
    Ok(Watched {
        resource_type: ObjectType::new(permission.resource_type).at("resource_type")?,
        permission: RelationName::new(permission.permission).at("permission")?,
        subject_type: ObjectType::new(permission.subject_type).at("subject_type")?,
        subject_relation: optional(permission.optional_subject_relation, RelationName::new)
            .at("optional_subject_relation")?,
    })
}

fn watched_to_wire(permission: &Watched) -> wire::WatchedPermission {
    wire::WatchedPermission {
        resource_type: permission.resource_type.to_string(),
        permission: permission.permission.to_string(),
        subject_type: permission.subject_type.to_string(),
        optional_subject_relation: permission.subject_relation.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn change(at: ZedToken, operation: SetOperation, set: SetRef, child: SetChild) -> wire::PermissionSetChange {
    let child = match child {
        SetChild::Set(set) => Child::ChildSet(set_to_wire(set)),
        SetChild::Member(subject) => Child::ChildMember(wire::MemberReference {
            object_type: subject.object_type().to_string(),
            object_id: subject.object_id().as_str().to_owned(),
            optional_permission_or_relation: subject.relation().map(ToString::to_string).unwrap_or_default(),
        }),
    };
    wire::PermissionSetChange {
        at_revision: Some(token::encode(at)),
        operation: operation.into(),
        parent_set: Some(set_to_wire(set)),
        child: Some(child),
    }
}

fn set_to_wire(set: SetRef) -> wire::SetReference {
    wire::SetReference {
        object_type: set.object.object_type.into(),
        object_id: set.object.object_id.into(),
        permission_or_relation: set.relation.into(),
    }
}
