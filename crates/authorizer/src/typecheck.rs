//! Whether the schema allows a relationship: its type, relation, subject, caveat and expiration.

use stonetown_schema::{AllowedType, ParameterSource, Schema, SubjectForm};
use stonetown_tuple::{Operation, Relationship, StoreId, SubjectRef};

use crate::error::RequestLimit;
use crate::limits::{SYSTEM_CONTEXT_BYTES_MAX, encoded_bytes};
use crate::world::World;
use crate::{Authorizer, Error};

/// What a relationship is about to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be stored: caveat and expiration must be exactly those of an allowed type.
    Write,
    /// To be deleted: a missing caveat or expiration is no matter.
    Delete,
}

impl From<Operation> for Purpose {
    fn from(operation: Operation) -> Purpose {
        if operation == Operation::Delete { Purpose::Delete } else { Purpose::Write }
    }
}

impl Authorizer {
    /// Tests a relationship against the schema of its store, in the order in which errors are of most help.
    pub(crate) fn check_relationship(
        &self,
        world: &World,
        relationship: &Relationship,
        purpose: Purpose,
    ) -> Result<(), Error> {
        self.refuse_large_caveat(world.snapshot.store(), relationship)?;
        let schema = world.schema();
        let unknown_definition = |name: &str| Error::UnknownDefinition { name: name.to_owned() };
        let unknown_relation = |definition: &str, relation: &str| Error::UnknownRelation {
            definition: definition.to_owned(),
            relation: relation.to_owned(),
        };
        let resource_type = relationship.resource.object_type.as_str();
        let relation_name = relationship.relation.as_str();
        let definition = schema.definition(resource_type).ok_or_else(|| unknown_definition(resource_type))?;
        let is_permission = definition.permission(relation_name).is_some();
        if !is_permission && definition.relation(relation_name).is_none() {
            return Err(unknown_relation(resource_type, relation_name));
        }
        let subject = &relationship.subject;
        let subject_type = subject.object_type().as_str();
        let subject_definition = schema.definition(subject_type).ok_or_else(|| unknown_definition(subject_type))?;
        if let Some(name) = subject.relation().map(AsRef::as_ref)
            && subject_definition.relation(name).is_none()
            && subject_definition.permission(name).is_none()
        {
            return Err(unknown_relation(subject_type, name));
        }
        let Some(relation) = definition.relation(relation_name) else {
            return Err(Error::CannotUpdatePermission {
                definition: resource_type.to_owned(),
                permission: relation_name.to_owned(),
            });
        };
        if !relation.allowed.iter().any(|allowed| allows(allowed, relationship, purpose)) {
            return Err(not_allowed(resource_type, relation_name, &relation.allowed, relationship));
        }
        check_context(schema, relationship)
    }

    fn refuse_large_caveat(&self, store: StoreId, relationship: &Relationship) -> Result<(), Error> {
        let of_users = self.options.limits.relationship_context_bytes_max;
        let max = if store == StoreId::SYSTEM { SYSTEM_CONTEXT_BYTES_MAX } else { of_users };
        let actual = relationship.caveat.as_ref().map_or(0, |caveat| encoded_bytes(&caveat.context));
        if actual <= max {
            return Ok(());
        }
        Err(Error::AboveLimit {
            what: RequestLimit::RelationshipContextBytes,
            actual: actual as u64,
            max: max as u64,
            relationship: Some(Box::new(relationship.clone())),
        })
    }
}

/// Whether `relationship` has the shape that `allowed` describes.
pub(crate) fn allows(allowed: &AllowedType, relationship: &Relationship, purpose: Purpose) -> bool {
    let caveat = relationship.caveat.as_ref().map(|caveat| &caveat.name);
    let expires = relationship.expires_at.is_some();
    let deleting = purpose == Purpose::Delete;
    same_form(allowed, &relationship.subject)
        && (allowed.caveat.as_ref() == caveat || deleting && caveat.is_none())
        && (allowed.expiration == expires || deleting)
}

fn same_form(allowed: &AllowedType, subject: &SubjectRef) -> bool {
    allowed.subject_type == *subject.object_type()
        && match &allowed.form {
            SubjectForm::Wildcard => subject.is_wildcard(),
            SubjectForm::Object => !subject.is_wildcard() && subject.relation().is_none(),
            SubjectForm::Userset(relation) => subject.relation() == Some(relation),
        }
}

fn not_allowed(definition: &str, relation: &str, allowed: &[AllowedType], relationship: &Relationship) -> Error {
    let subject = &relationship.subject;
    let mut shape = subject.object_type().to_string();
    if subject.is_wildcard() {
        shape.push_str(":*");
    } else if let Some(relation) = subject.relation() {
        shape.push_str(&format!("#{relation}"));
    }
    let caveats: Vec<_> =
        allowed.iter().filter(|allowed| same_form(allowed, subject)).filter_map(|a| a.caveat.as_ref()).collect();
    let allowed_caveats = caveats.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match (&relationship.caveat, relationship.expires_at.is_some()) {
        (Some(caveat), true) => shape.push_str(&format!(" with {} and expiration", caveat.name)),
        (Some(caveat), false) => shape.push_str(&format!(" with {}", caveat.name)),
        (None, true) => shape.push_str(" with expiration"),
        (None, false) => {}
    }
    Error::InvalidSubjectType {
        definition: definition.to_owned(),
        relation: relation.to_owned(),
        subject_type: shape,
        allowed: allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        allowed_caveats: (!caveats.is_empty()).then_some(allowed_caveats),
    }
}

fn check_context(schema: &Schema, relationship: &Relationship) -> Result<(), Error> {
    let Some(caveat) = &relationship.caveat else { return Ok(()) };
    let Some(definition) = schema.caveat(caveat.name.as_str()) else { return Ok(()) };
    let sourced = caveat.context.keys().find_map(|name| {
        Some((name, definition.source(name).filter(|source| **source != ParameterSource::Relationship)?))
    });
    if let Some((parameter, source)) = sourced {
        return Err(Error::parameter_not_yours(definition, parameter, source));
    }
    match definition.caveat.bind(&caveat.context) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::CaveatParameterType {
            caveat: caveat.name.to_string(),
            parameter: error.parameter().to_owned(),
            message: error.to_string(),
        }),
    }
}
