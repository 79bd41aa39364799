//! Stored attributes of objects: the values of caveat parameters that the schema trusts nobody else with.

use std::collections::HashSet;
use std::ops::ControlFlow;

use stonetown_graph::attribute_table;
use stonetown_schema::Schema;
use stonetown_storage::StoredUpdate;
use stonetown_storage::read::{ReadPosition, read};
use stonetown_tuple::{
    Attribute, AttributeName, CaveatContext, ObjectId, ObjectRef, ObjectType, Operation, Source, ZedToken,
};

use crate::admission::Weight;
use crate::check::above;
use crate::error::RequestLimit;
use crate::gate::Act;
use crate::limits::encoded_bytes;
use crate::moment::Freshness;
use crate::read::to_usize;
use crate::recording::{Asked, Recording};
use crate::world::Cursor;
use crate::{Authorizer, Call, Error};

/// Which attributes to read.
#[derive(Debug, Clone)]
pub struct ListAttributesRequest {
    /// Which state the answer rests on; a cursor's comes before it.
    pub freshness: Freshness,
    /// The type of the objects.
    pub object_type: ObjectType,
    /// Of one object only.
    pub object_id: Option<ObjectId>,
    /// Of one name only.
    pub name: Option<AttributeName>,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<ReadPosition>>,
}

impl Authorizer {
    /// Sets attributes as one transaction. One that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::UntrustedAttribute`] for a name that no caveat trusts, [`Error::CaveatParameterType`] for a value that a
    /// caveat cannot take; see [`Error`]. Nothing has changed then.
    pub fn put_attributes(&self, call: &Call, attributes: &[Attribute]) -> Result<ZedToken, Error> {
        let asked = Asked::write("put_attributes");
        self.recorded(call, asked, |recording| self.answer_put_attributes(call, attributes, recording))
    }

    fn answer_put_attributes(
        &self,
        call: &Call,
        attributes: &[Attribute],
        recording: &mut Recording<'_>,
    ) -> Result<ZedToken, Error> {
        let acts = attributes
            .iter()
            .map(|attribute| Act::Write { resource_type: Attribute::TYPE, relation: attribute.name.as_str() });
        let _permit = self.admit(call, Weight::Light, &acts.collect::<Vec<_>>())?;
        let limits = &self.options.limits;
        above(RequestLimit::Updates, attributes.len(), limits.updates_max)?;
        let mut seen = HashSet::new();
        for attribute in attributes {
            if !seen.insert((&attribute.object, &attribute.name)) {
                return Err(twice(&attribute.object, &attribute.name));
            }
            let stored = attribute.relationship();
            let bytes = stored.caveat.as_ref().map_or(0, |caveat| encoded_bytes(&caveat.context));
            let (what, max) = (RequestLimit::RelationshipContextBytes, limits.relationship_context_bytes_max);
            if bytes > max {
                let (actual, max) = (bytes as u64, max as u64);
                return Err(Error::AboveLimit { what, actual, max, relationship: Some(Box::new(stored)) });
            }
        }
        let committed = self.commit(call, None, recording, |world, transaction| {
            for attribute in attributes {
                check_type(world.schema(), &attribute.object.object_type)?;
                check_value(world.schema(), attribute)?;
                transaction.updates.push(update(Operation::Touch, attribute));
            }
            Ok(())
        })?;
        Ok(self.token(committed.revision))
    }

    /// Removes attributes of an object as one transaction. One that is not there is passed over.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then.
    pub fn delete_attributes(
        &self,
        call: &Call,
        object: &ObjectRef,
        names: &[AttributeName],
    ) -> Result<ZedToken, Error> {
        let asked = Asked::write("delete_attributes").resource(object);
        self.recorded(call, asked, |recording| self.answer_delete_attributes(call, object, names, recording))
    }

    fn answer_delete_attributes(
        &self,
        call: &Call,
        object: &ObjectRef,
        names: &[AttributeName],
        recording: &mut Recording<'_>,
    ) -> Result<ZedToken, Error> {
        let acts = names
            .iter()
            .map(|name| Act::Revoke { resource_type: Some(Attribute::TYPE), relation: Some(name.as_str()) });
        let _permit = self.admit(call, Weight::Light, &acts.collect::<Vec<_>>())?;
        above(RequestLimit::Updates, names.len(), self.options.limits.updates_max)?;
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(twice(object, name));
        }
        let committed = self.commit(call, None, recording, |world, transaction| {
            check_type(world.schema(), &object.object_type)?;
            let table = attribute_table(&object.object_type);
            // Without a table there is nothing to remove, and no place to say so.
            if world.snapshot.tables().iter().any(|known| known.key == table) {
                let named = |name: &AttributeName| Attribute {
                    object: object.clone(),
                    name: name.clone(),
                    value: serde_json::Value::Null,
                    expires_at: None,
                };
                transaction.updates.extend(names.iter().map(|name| update(Operation::Delete, &named(name))));
            }
            Ok(())
        })?;
        Ok(self.token(committed.revision))
    }

    /// Hands attributes that have not expired to `visit`, each with the cursor after it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_attributes(
        &self,
        call: &Call,
        request: &ListAttributesRequest,
        visit: &mut dyn FnMut(Attribute, Cursor<ReadPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("list_attributes").resource_type(request.object_type.as_str());
        self.recorded(call, asked, |recording| self.answer_list_attributes(call, request, recording, visit))
    }

    fn answer_list_attributes(
        &self,
        call: &Call,
        request: &ListAttributesRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(Attribute, Cursor<ReadPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        /// Attributes between two looks at the deadline.
        const LOOK_EVERY: u32 = 1024;
        let acts = [Attribute::TYPE, request.object_type.as_str()].map(|name| Act::Enumerate(Some(name)));
        let _permit = self.admit(call, Weight::Heavy, &acts)?;
        let max = self.options.limits.read_limit_max;
        above(RequestLimit::Results, to_usize(request.limit.unwrap_or(0)), to_usize(max))?;
        let world = self.world_of_list(call, request.freshness, request.after.as_ref())?;
        check_type(world.schema(), &request.object_type)?;
        recording.see_page(&world, request.after.is_some() || matches!(request.freshness, Freshness::At(_)));
        recording.begin_results(self)?;
        let (token, now) = (world.token, world.now);
        let filter = Attribute::filter(request.object_type.clone(), request.object_id.clone(), request.name.as_ref());
        let mut left = request.limit.filter(|limit| *limit > 0);
        let mut seen = 0_u32;
        let mut ended = Ok(());
        let after = request.after.map(|cursor| cursor.position);
        read(&*world.snapshot, &filter, now, after, &mut |position, relationship, _| {
            seen += 1;
            if seen.is_multiple_of(LOOK_EVERY) {
                ended = call.check_alive();
            }
            let Some(attribute) = Attribute::of(&relationship).filter(|_| ended.is_ok()) else {
                return ControlFlow::Break(());
            };
            recording.result(&relationship);
            left = left.map(|left| left - 1);
            let flow = visit(attribute, Cursor { token, now, position });
            if left == Some(0) { ControlFlow::Break(()) } else { flow }
        })?;
        ended.map(|()| token)
    }
}

fn update(operation: Operation, attribute: &Attribute) -> StoredUpdate {
    StoredUpdate { operation, relationship: attribute.relationship(), source: Source::STANDING }
}

fn check_type(schema: &Schema, object_type: &ObjectType) -> Result<(), Error> {
    let name = object_type.as_str();
    schema.definition(name).map(|_| ()).ok_or_else(|| Error::UnknownDefinition { name: name.to_owned() })
}

/// Some caveat trusts an attribute of that name, and each that does can take the value.
fn check_value(schema: &Schema, attribute: &Attribute) -> Result<(), Error> {
    let mut trusted = false;
    for definition in schema.caveats() {
        for (parameter, source) in definition.given() {
            if source.attribute() != Some(&attribute.name) {
                continue;
            }
            trusted = true;
            let context = CaveatContext::from_iter([(parameter.to_owned(), attribute.value.clone())]);
            definition.caveat.bind(&context).map_err(|error| Error::CaveatParameterType {
                caveat: definition.name.to_string(),
                parameter: parameter.to_owned(),
                message: error.to_string(),
            })?;
        }
    }
    if trusted { Ok(()) } else { Err(Error::UntrustedAttribute { name: attribute.name.to_string() }) }
}

fn twice(object: &ObjectRef, name: &AttributeName) -> Error {
    Error::DuplicateUpdate {
        definition: object.object_type.to_string(),
        relationship: format!("attribute {name} of {object}"),
    }
}
