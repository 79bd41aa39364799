//! Loading many relationships as one transaction that need not fit in memory.

use std::convert::Infallible;

use stonetown_storage::{BulkMode, BulkWriter};
use stonetown_tuple::{Consistency, Relationship, Revision, ZedToken};

use crate::admission::{Permit, Weight};
use crate::gate::Act;
use crate::justification;
use crate::recording::Asked;
use crate::typecheck::Purpose;
use crate::world::World;
use crate::write::relation_of;
use crate::{Authorizer, Call, Error};

/// An import under way. Dropped before [`Import::finish`], it has never been.
pub struct Import<'a> {
    authorizer: &'a Authorizer,
    writer: Box<dyn BulkWriter>,
    world: World,
    schema_at: Option<Revision>,
    call: Call,
    /// A JSON object to be kept with the transaction.
    metadata: Option<String>,
    /// Whether relations that demand to be told why are told.
    demanding: bool,
    /// Relationships taken so far.
    taken: usize,
    _permit: Permit,
}

impl Authorizer {
    /// Begins an import. With [`BulkMode::Create`] one relationship that exists already refuses the whole.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn import(&self, call: &Call, mode: BulkMode) -> Result<Import<'_>, Error> {
        self.begin_import(call, mode).map_err(|error| self.record_refused_import(call, error))
    }

    /// What comes to its end is recorded there.
    fn record_refused_import(&self, call: &Call, error: Error) -> Error {
        match self.recorded(call, Asked::write("import"), |_| Err::<Infallible, _>(error)) {
            Err(error) => error,
        }
    }

    fn begin_import(&self, call: &Call, mode: BulkMode) -> Result<Import<'_>, Error> {
        let permit = self.admit(call, Weight::Heavy, &[])?;
        let world = self.world(call, Consistency::FullyConsistent)?;
        let writer = self.datastore.bulk(call.store, mode, world.now)?;
        let schema_at = world.snapshot.schema()?.map(|schema| schema.revision);
        Ok(Import {
            authorizer: self,
            writer,
            world,
            schema_at,
            call: call.clone(),
            metadata: None,
            demanding: true,
            taken: 0,
            _permit: permit,
        })
    }
}

impl Import<'_> {
    /// Keeps a JSON object with the transaction.
    ///
    /// # Errors
    /// [`Error::AboveLimit`].
    pub fn with_metadata(self, metadata: Option<String>) -> Result<Self, Error> {
        let checked = self.authorizer.check_extras(&[], metadata.as_deref());
        checked.map_err(|error| self.authorizer.record_refused_import(&self.call, error))?;
        Ok(Import { metadata, ..self })
    }

    /// Demands not to be told why: for files that a store begins with.
    pub(crate) fn of_a_file(self) -> Self {
        Import { demanding: false, ..self }
    }

    /// Takes some relationships, each tested against the schema.
    ///
    /// # Errors
    /// See [`Error`]; the import is then to be dropped.
    pub fn push(&mut self, relationships: Vec<Relationship>) -> Result<(), Error> {
        self.take(relationships).map_err(|error| self.authorizer.record_refused_import(&self.call, error))
    }

    fn take(&mut self, relationships: Vec<Relationship>) -> Result<(), Error> {
        for relationship in &relationships {
            let (resource_type, relation) = relation_of(relationship);
            self.authorizer.judge(&self.call, Act::Write { resource_type, relation })?;
            self.authorizer.check_scope(&self.call, &relationship.resource, &relationship.relation)?;
            self.authorizer.check_relationship(&self.world, relationship, Purpose::Write)?;
        }
        if self.demanding {
            let relations = relationships.iter().map(relation_of);
            justification::check_changes(self.world.schema(), relations, self.metadata.as_deref())?;
        }
        self.taken += relationships.len();
        self.authorizer.within_quota(self.call.store, self.taken)?;
        Ok(self.writer.push(relationships)?)
    }

    /// Makes all of it visible at one revision. Returns how many relationships were loaded.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then.
    pub fn finish(self) -> Result<(ZedToken, u64), Error> {
        let Import { authorizer, writer, world, schema_at, call, metadata, taken, demanding: _, _permit } = self;
        authorizer.recorded(&call, Asked::write("import"), |recording| {
            if taken == 0 {
                authorizer.judge(&call, Act::WRITE_ALL)?;
            }
            recording.see(&world);
            let committed = writer.publish(schema_at, Some(call.caller.name.to_string()), metadata)?;
            call.note_revision(committed.revision);
            recording.committed(committed.revision);
            Ok((authorizer.token(committed.revision), committed.count))
        })
    }
}
