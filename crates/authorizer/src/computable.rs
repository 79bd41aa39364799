//! Which relations and permissions a relation can affect.

use stonetown_schema::dependents;
use stonetown_tuple::{Consistency, ObjectType, RelationName, ZedToken};

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

/// What is asked: a relation or permission, or a type.
#[derive(Debug, Clone)]
pub struct ComputableRequest {
    /// Which state of the schema.
    pub consistency: Consistency,
    /// The definition.
    pub definition: ObjectType,
    /// The relation or permission; without one, objects of the type as subjects.
    pub relation: Option<RelationName>,
    /// Only what is in definitions whose name begins so; empty for all.
    pub definition_prefix: String,
}

/// A relation or permission by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberName {
    /// The definition.
    pub definition: ObjectType,
    /// The relation or permission.
    pub name: RelationName,
    /// Which of the two it is.
    pub is_permission: bool,
}

impl Authorizer {
    /// The relations and permissions that depend on one, itself left out, sorted by definition and name.
    ///
    /// # Errors
    /// [`Error::UnknownDefinition`], [`Error::UnknownRelation`], and see [`Error`].
    pub fn computable_permissions(
        &self,
        call: &Call,
        request: &ComputableRequest,
    ) -> Result<(ZedToken, Vec<MemberName>), Error> {
        self.recorded(call, Asked::of("computable_permissions"), |recording| {
            let _permit = self.admit(call, Weight::Light, &[Act::ReadSchema])?;
            let world = self.world(call, request.consistency)?;
            recording.see(&world);
            let schema = world.schema();
            let definition = request.definition.as_str();
            let Some(found) = schema.definition(definition) else {
                return Err(Error::UnknownDefinition { name: definition.to_owned() });
            };
            let relation = request.relation.as_ref().map(RelationName::as_str);
            if let Some(relation) = relation
                && found.member(relation).is_none()
            {
                return Err(Error::UnknownRelation {
                    definition: definition.to_owned(),
                    relation: relation.to_owned(),
                });
            }
            let reached = dependents(schema, definition, relation).into_iter();
            let wanted = reached.filter(|one| one.definition.name.as_str().starts_with(&request.definition_prefix));
            Ok((world.token, wanted.map(MemberName::from).collect()))
        })
    }
}

impl From<stonetown_schema::Reached<'_>> for MemberName {
    fn from(reached: stonetown_schema::Reached<'_>) -> Self {
        MemberName {
            definition: reached.definition.name.clone(),
            name: reached.member.name().clone(),
            is_permission: matches!(reached.member, stonetown_schema::Member::Permission(_)),
        }
    }
}
