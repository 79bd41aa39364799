//! The compiled schema as ReflectSchema describes it, and what DiffSchema says of two.

use stonetown_authorizer::computable::MemberName;
use stonetown_schema::{
    AllowedType, CaveatChange, CaveatDefinition, Definition, Difference, Parameter, Permission, PermissionChange,
    Relation, RelationChange, SubjectForm,
};

use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::reflection_schema_diff::Diff;
use crate::proto::authzed::api::v1::reflection_type_reference::Typeref;

pub(crate) fn definition(definition: &Definition) -> wire::ReflectionDefinition {
    wire::ReflectionDefinition {
        name: definition.name.to_string(),
        comment: definition.doc.clone(),
        relations: definition.relations.iter().map(|one| relation(definition, one)).collect(),
        permissions: definition.permissions.iter().map(|one| permission(definition, one)).collect(),
    }
}

fn relation(parent: &Definition, relation: &Relation) -> wire::ReflectionRelation {
    wire::ReflectionRelation {
        name: relation.name.to_string(),
        comment: relation.doc.clone(),
        parent_definition_name: parent.name.to_string(),
        subject_types: relation.allowed.iter().map(allowed_type).collect(),
    }
}

fn permission(parent: &Definition, permission: &Permission) -> wire::ReflectionPermission {
    wire::ReflectionPermission {
        name: permission.name.to_string(),
        comment: permission.doc.clone(),
        parent_definition_name: parent.name.to_string(),
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
    wire::ReflectionCaveat {
        name: definition.name.to_string(),
        comment: definition.doc.clone(),
        parameters: definition.caveat.parameters().iter().map(|one| parameter(definition, one)).collect(),
        expression: definition.caveat.expression().to_owned(),
    }
}

fn parameter(parent: &CaveatDefinition, parameter: &Parameter) -> wire::ReflectionCaveatParameter {
    wire::ReflectionCaveatParameter {
        name: parameter.name.clone(),
        r#type: parameter.parameter_type.to_string(),
        parent_caveat_name: parent.name.to_string(),
    }
}

pub(crate) fn member(member: MemberName) -> wire::ReflectionRelationReference {
    wire::ReflectionRelationReference {
        definition_name: member.definition.to_string(),
        relation_name: member.name.to_string(),
        is_permission: member.is_permission,
    }
}

/// `None` for a change that the interface has no place for: it comes with another that it has one for.
pub(crate) fn difference(difference: Difference<'_>) -> Option<wire::ReflectionSchemaDiff> {
    let diff = match difference {
        Difference::DefinitionAdded(one) => Diff::DefinitionAdded(definition(one)),
        Difference::DefinitionRemoved(one) => Diff::DefinitionRemoved(definition(one)),
        Difference::DefinitionDocChanged(one) => Diff::DefinitionDocCommentChanged(definition(one)),
        Difference::Relation(parent, changed, change) => relation_change(relation(parent, changed), change)?,
        Difference::Permission(parent, changed, change) => {
            let changed = permission(parent, changed);
            match change {
                PermissionChange::Added => Diff::PermissionAdded(changed),
                PermissionChange::Removed => Diff::PermissionRemoved(changed),
                PermissionChange::DocChanged => Diff::PermissionDocCommentChanged(changed),
                PermissionChange::ExpressionChanged(_) => Diff::PermissionExprChanged(changed),
                PermissionChange::GuardAdded(_) | PermissionChange::GuardRemoved(_) => return None,
            }
        }
        Difference::Caveat(changed, change) => caveat_change(changed, change)?,
    };
    Some(wire::ReflectionSchemaDiff { diff: Some(diff) })
}

/// As [`difference`]: a guard is part of a comment.
fn relation_change(relation: wire::ReflectionRelation, change: RelationChange<'_>) -> Option<Diff> {
    let of_type = |relation, allowed| wire::ReflectionRelationSubjectTypeChange {
        relation: Some(relation),
        changed_subject_type: Some(allowed_type(allowed)),
    };
    Some(match change {
        RelationChange::Added => Diff::RelationAdded(relation),
        RelationChange::Removed => Diff::RelationRemoved(relation),
        RelationChange::DocChanged => Diff::RelationDocCommentChanged(relation),
        RelationChange::TypeAdded(allowed) => Diff::RelationSubjectTypeAdded(of_type(relation, allowed)),
        RelationChange::TypeRemoved(allowed) => Diff::RelationSubjectTypeRemoved(of_type(relation, allowed)),
        RelationChange::GuardAdded(_) | RelationChange::GuardRemoved(_) => return None,
    })
}

/// As [`difference`]: a source is part of a comment.
fn caveat_change(changed: &CaveatDefinition, change: CaveatChange<'_>) -> Option<Diff> {
    Some(match change {
        CaveatChange::Added => Diff::CaveatAdded(caveat(changed)),
        CaveatChange::Removed => Diff::CaveatRemoved(caveat(changed)),
        CaveatChange::DocChanged => Diff::CaveatDocCommentChanged(caveat(changed)),
        CaveatChange::ExpressionChanged(_) => Diff::CaveatExprChanged(caveat(changed)),
        CaveatChange::ParameterAdded(one) => Diff::CaveatParameterAdded(parameter(changed, one)),
        CaveatChange::ParameterRemoved(one) => Diff::CaveatParameterRemoved(parameter(changed, one)),
        CaveatChange::ParameterTypeChanged(one, previous) => {
            Diff::CaveatParameterTypeChanged(wire::ReflectionCaveatParameterTypeChange {
                parameter: Some(parameter(changed, one)),
                previous_type: previous.to_string(),
            })
        }
        CaveatChange::SourceAdded(..) | CaveatChange::SourceRemoved(..) | CaveatChange::SourceChanged(..) => {
            return None;
        }
    })
}
