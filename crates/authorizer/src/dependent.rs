//! Which relations and permissions a permission depends on.

use stonetown_schema::{Member, dependencies};
use stonetown_tuple::{Consistency, ObjectType, RelationName, ZedToken};

use crate::admission::Weight;
use crate::computable::MemberName;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

impl Authorizer {
    /// The relations and permissions that a permission is computed from, itself left out, sorted by definition and name.
    ///
    /// # Errors
    /// [`Error::UnknownDefinition`], [`Error::UnknownRelation`], [`Error::NotAPermission`], and see [`Error`].
    pub fn dependent_relations(
        &self,
        call: &Call,
        consistency: Consistency,
        definition: &ObjectType,
        permission: &RelationName,
    ) -> Result<(ZedToken, Vec<MemberName>), Error> {
        self.recorded(call, Asked::of("dependent_relations"), |recording| {
            let _permit = self.admit(call, Weight::Light, &[Act::ReadSchema])?;
            let world = self.world(call, consistency)?;
            recording.see(&world);
            let schema = world.schema();
            let Some(found) = schema.definition(definition.as_str()) else {
                return Err(Error::UnknownDefinition { name: definition.to_string() });
            };
            let (definition, name) = (definition.to_string(), permission.to_string());
            match found.member(&name) {
                None => return Err(Error::UnknownRelation { definition, relation: name }),
                Some(Member::Relation(_)) => return Err(Error::NotAPermission { definition, relation: name }),
                Some(Member::Permission(_)) => {}
            }
            let reached = dependencies(schema, &definition, &name);
            Ok((world.token, reached.into_iter().map(MemberName::from).collect()))
        })
    }
}
