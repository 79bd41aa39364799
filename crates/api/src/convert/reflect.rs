//! The compiled schema as ReflectSchema describes it.

use stonetown_schema::{AllowedType, CaveatDefinition, Definition, SubjectForm};

use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::reflection_type_reference::Typeref;

pub(crate) fn definition(definition: &Definition) -> wire::ReflectionDefinition {
    let parent = definition.name.as_str();
    let relation = |relation: &stonetown_schema::Relation| wire::ReflectionRelation {
        name: relation.name.as_str().to_owned(),
        comment: relation.doc.clone(),
        parent_definition_name: parent.to_owned(),
        subject_types: relation.allowed.iter().map(allowed_type).collect(),
    };
    let permission = |permission: &stonetown_schema::Permission| wire::ReflectionPermission {
        name: permission.name.as_str().to_owned(),
        comment: permission.doc.clone(),
        parent_definition_name: parent.to_owned(),
    };
    wire::ReflectionDefinition {
        name: parent.to_owned(),
        comment: definition.doc.clone(),
        relations: definition.relations.iter().map(relation).collect(),
        permissions: definition.permissions.iter().map(permission).collect(),
    }
}

/// The wire has no field for expiration: `user` and `user with expiration` look the same.
fn allowed_type(allowed: &AllowedType) -> wire::ReflectionTypeReference {
    wire::ReflectionTypeReference {
        subject_definition_name: allowed.subject_type.as_str().to_owned(),
        optional_caveat_name: allowed.caveat.as_ref().map(ToString::to_string).unwrap_or_default(),
        typeref: Some(match &allowed.form {
            SubjectForm::Object => Typeref::IsTerminalSubject(true),
            SubjectForm::Wildcard => Typeref::IsPublicWildcard(true),
            SubjectForm::Userset(relation) => Typeref::OptionalRelationName(relation.as_str().to_owned()),
        }),
    }
}

pub(crate) fn caveat(definition: &CaveatDefinition) -> wire::ReflectionCaveat {
    let name = definition.name.as_str();
    let parameters = definition.caveat.parameters().iter().map(|parameter| wire::ReflectionCaveatParameter {
        name: parameter.name.clone(),
        r#type: parameter.parameter_type.to_string(),
        parent_caveat_name: name.to_owned(),
    });
    wire::ReflectionCaveat {
        name: name.to_owned(),
        comment: definition.doc.clone(),
        parameters: parameters.collect(),
        expression: definition.caveat.expression().to_owned(),
    }
}
