//! The system store: its schema, its documents, and the one way to change it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stonetown_authorizer::check::{CheckAnswer, CheckRequest};
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::write::{StoreUpdates, WriteRequest};
use stonetown_authorizer::{Authorizer, Call, Caller, Effort, Error, Membership, StoredUpdate};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_tuple::{
    CaveatContext, CaveatRef, Consistency, ObjectRef, Operation, Relationship, RelationshipFilter, RelationshipUpdate,
    Revision, Source, StoreId, SubjectRef, Timestamp, ZedToken,
};

use crate::lockout;
use crate::stores::Catalog;

/// The schema of the system store.
pub const SCHEMA: &str = include_str!("system.zed");

const DOCUMENT: &str = "document";
const CAVEAT: &str = "sys/document";
const PARAMETER: &str = "json";

/// The types of the system store that have documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The server as a whole.
    Root,
    /// Who can ask.
    Principal,
    /// What proves who asks.
    Credential,
    /// A store.
    Store,
    /// What can be asked for.
    Template,
    /// One request, and what became of it.
    Grant,
}

impl Kind {
    /// The type's name in the schema.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Kind::Root => "sys/root",
            Kind::Principal => "sys/principal",
            Kind::Credential => "sys/credential",
            Kind::Store => "sys/store",
            Kind::Template => "sys/template",
            Kind::Grant => "sys/grant",
        }
    }

    /// The object of that id.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no object id.
    pub fn object(self, id: &str) -> Result<ObjectRef, Error> {
        parsed(&format!("{}:{id}", self.type_name()))
    }
}

/// The system store of a server. One at a time changes it; reading needs nobody's leave.
pub struct System {
    authorizer: Arc<Authorizer>,
    changing: Mutex<()>,
    changed: Changed,
    stores: ArcSwap<Catalog>,
}

/// The newest revision that changed the system store: what was found out at an older one is not known any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed(Arc<AtomicU64>);

impl Changed {
    pub(crate) fn at(&self) -> Revision {
        Revision(self.0.load(Ordering::Acquire))
    }
}

/// A change of the system store under way. What is read through [`System`] meanwhile stays true until it is committed, as
/// nobody else changes anything, nor what the caller then does about it until it drops this. Dropped before, it has never been.
pub struct Change<'a> {
    system: &'a System,
    updates: Vec<StoredUpdate>,
    _alone: MutexGuard<'a, ()>,
}

impl System {
    /// Opens the system store, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] when there is none and nothing can be written, and when the store cannot be read or written.
    pub fn open(authorizer: Arc<Authorizer>) -> Result<System, Error> {
        let changed = Changed::default();
        let told = changed.clone();
        authorizer.on_commit(move |store, revision| {
            if store == StoreId::SYSTEM {
                told.0.fetch_max(revision.0, Ordering::Release);
            }
        });
        authorizer.keep_resident(StoreId::SYSTEM)?;
        let system = System { authorizer, changing: Mutex::default(), changed, stores: ArcSwap::default() };
        let call = system.call(&Caller::internal());
        let written = match system.authorizer.read_schema(&call) {
            Ok((_, text)) => Some(text),
            Err(Error::NoSchema) => None,
            Err(error) => return Err(error),
        };
        let schema = Schema::compile(SCHEMA, &CompileOptions::default())
            .map_err(|errors| Error::Internal(format!("the system store's own schema: {errors:?}")))?;
        if written.as_ref().is_none_or(|written| *written != schema.text()) {
            match system.authorizer.write_schema(&call, SCHEMA) {
                // What was written by an earlier version is judged by its own schema, where nothing can be written.
                Err(Error::ReadOnly(_)) if written.is_some() => {}
                outcome => drop(outcome?),
            }
        }
        system.read_catalog()?;
        Ok(system)
    }

    /// The stores that there are.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.stores.load_full()
    }

    /// Reads anew which stores there are, and has their relationships in memory.
    pub(crate) fn read_catalog(&self) -> Result<(), Error> {
        // One after the other, or an older one could come last.
        let _alone = self.changing.lock();
        let catalog = Catalog::read(self)?;
        for (_, store) in catalog.stores() {
            self.authorizer.keep_resident(StoreId(store.id))?;
        }
        self.stores.store(Arc::new(catalog));
        Ok(())
    }

    pub(crate) fn changed(&self) -> &Changed {
        &self.changed
    }

    /// The engine behind it.
    #[must_use]
    pub fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    /// The newest revision.
    #[must_use]
    pub(crate) fn head(&self) -> Revision {
        self.authorizer.head()
    }

    /// The token of a revision.
    pub(crate) fn token(&self, revision: Revision) -> ZedToken {
        ZedToken { instance: self.authorizer.datastore().instance(), revision }
    }

    /// The time of a call that is made now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.authorizer.clock().now()
    }

    /// Whether `subject`, such as `sys/principal:ada`, has a permission on an object, such as `sys/store:default`, now. What
    /// depends on a caveat whose parameters are not in `context` is not held.
    ///
    /// # Errors
    /// When it cannot be known, which is never a yes.
    pub fn holds(
        &self,
        object: &ObjectRef,
        permission: &str,
        subject: &SubjectRef,
        context: CaveatContext,
    ) -> Result<bool, Error> {
        Ok(self.ask(object, permission, subject, context)?.membership == Membership::Member)
    }

    /// As [`System::holds`], with the revision of the answer, and until when it holds.
    ///
    /// # Errors
    /// As [`System::holds`].
    pub fn ask(
        &self,
        object: &ObjectRef,
        permission: &str,
        subject: &SubjectRef,
        context: CaveatContext,
    ) -> Result<CheckAnswer, Error> {
        self.ask_at(object, permission, subject, context, Consistency::FullyConsistent.into())
    }

    /// As [`System::ask`], of another state.
    ///
    /// # Errors
    /// As [`System::holds`].
    pub(crate) fn ask_at(
        &self,
        object: &ObjectRef,
        permission: &str,
        subject: &SubjectRef,
        context: CaveatContext,
        freshness: Freshness,
    ) -> Result<CheckAnswer, Error> {
        let request = CheckRequest {
            freshness,
            resource: object.clone(),
            permission: parsed(permission)?,
            subject: subject.clone(),
            context,
            with: Vec::new(),
            trace: false,
        };
        self.authorizer.check(&self.call(&Caller::internal()), &request, Effort::Full)
    }

    /// The document of an object, `None` if it has none.
    ///
    /// # Errors
    /// When the store cannot be read, or the document has not the form of a `T`.
    pub fn document<T: DeserializeOwned>(&self, kind: Kind, id: &str) -> Result<Option<T>, Error> {
        self.document_at(kind, id, Consistency::FullyConsistent)
    }

    /// As [`System::document`], of another state.
    ///
    /// # Errors
    /// As [`System::document`].
    pub(crate) fn document_at<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
        consistency: Consistency,
    ) -> Result<Option<T>, Error> {
        let filter = RelationshipFilter { resource_id: Some(kind.object(id)?.object_id), ..documents_of(kind)? };
        let mut found = None;
        self.read_at(&filter, consistency, &mut |relationship| found = Some(System::of_relationship(relationship)))?;
        found.transpose()
    }

    /// All documents of a kind, in no particular order, by id.
    ///
    /// # Errors
    /// As [`System::document`].
    pub fn documents<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<(String, T)>, Error> {
        let mut found = Vec::new();
        self.read(&documents_of(kind)?, &mut |relationship| {
            let id = relationship.resource.object_id.to_string();
            found.push(System::of_relationship(relationship).map(|document| (id, document)));
        })?;
        found.into_iter().collect()
    }

    /// Hands all relationships of the system store that match to `visit`, documents among them; returns the state they are of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(&self, filter: &RelationshipFilter, visit: &mut dyn FnMut(&Relationship)) -> Result<ZedToken, Error> {
        self.read_at(filter, Consistency::FullyConsistent, visit)
    }

    /// As [`System::read`], of another state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn read_at(
        &self,
        filter: &RelationshipFilter,
        consistency: Consistency,
        visit: &mut dyn FnMut(&Relationship),
    ) -> Result<ZedToken, Error> {
        let request = ReadRequest { consistency, filter: filter.clone(), ..ReadRequest::default() };
        self.authorizer.read(&self.call(&Caller::internal()), &request, &mut |item| {
            visit(&item.relationship);
            ControlFlow::Continue(())
        })
    }

    /// The document that a relationship of the system store holds.
    ///
    /// # Errors
    /// When it holds none, or one of another form.
    pub fn of_relationship<T: DeserializeOwned>(relationship: &Relationship) -> Result<T, Error> {
        let damaged = |why: String| Error::Internal(format!("the document of `{}`: {why}", relationship.resource));
        let text = relationship.caveat.as_ref().and_then(|caveat| caveat.context.get(PARAMETER)?.as_str());
        let text = text.ok_or_else(|| damaged("it has none".to_owned()))?;
        serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
    }

    /// Begins a change, when no other is under way.
    #[must_use]
    pub fn change(&self) -> Change<'_> {
        Change { system: self, updates: Vec::new(), _alone: self.changing.lock() }
    }

    /// A call of the server itself in the system store, whose changes are put down to `caller`.
    fn call(&self, caller: &Caller) -> Call {
        let store = StoreId::SYSTEM;
        Call { store, caller: Caller::on_behalf_of(caller), ..Call::new("") }
    }
}

impl Change<'_> {
    /// Writes a relationship, such as `sys/group:sre#member@sys/principal:sam`.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no relationship.
    pub fn touch(&mut self, relationship: &str) -> Result<&mut Self, Error> {
        let relationship = parsed(relationship)?;
        Ok(self.update(Operation::Touch, relationship))
    }

    /// Deletes a relationship, if it is there.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no relationship.
    pub fn delete(&mut self, relationship: &str) -> Result<&mut Self, Error> {
        let relationship = parsed(relationship)?;
        Ok(self.update(Operation::Delete, relationship))
    }

    /// Adds an update. The last of several about one relationship counts.
    pub fn update(&mut self, operation: Operation, relationship: Relationship) -> &mut Self {
        self.updates.retain(|earlier| !earlier.relationship.same_key(&relationship));
        self.updates.push(StoredUpdate { operation, relationship, source: Source::STANDING });
        self
    }

    /// Writes the document of an object.
    ///
    /// # Errors
    /// [`Error::Refused`] when the id is no object id, [`Error::Internal`] when the document has no JSON form.
    pub fn put<T: Serialize>(&mut self, kind: Kind, id: &str, document: &T) -> Result<&mut Self, Error> {
        let text = serde_json::to_string(document).map_err(|error| Error::Internal(error.to_string()))?;
        let context = CaveatContext::from_iter([(PARAMETER.to_owned(), text.into())]);
        let caveat = Some(CaveatRef { name: parsed(CAVEAT)?, context });
        Ok(self.update(Operation::Touch, Relationship { caveat, ..document_edge(kind, id)? }))
    }

    /// Takes the document of an object away.
    ///
    /// # Errors
    /// As [`Change::put`].
    pub fn take(&mut self, kind: Kind, id: &str) -> Result<&mut Self, Error> {
        let edge = document_edge(kind, id)?;
        Ok(self.update(Operation::Delete, edge))
    }

    /// Makes the change, put down to `caller`, with some metadata: a JSON object that says why. Others change nothing until this is
    /// dropped, so that what the caller keeps beside the store is brought up to date in the order of the changes.
    ///
    /// # Errors
    /// [`Error::Refused`] when nobody could administer the server any more, and see [`Error`]; nothing has changed then.
    pub fn commit(&mut self, caller: &Caller, metadata: Option<String>) -> Result<ZedToken, Error> {
        lockout::refuse(self.system, &self.updates)?;
        let update = |StoredUpdate { operation, relationship, .. }| RelationshipUpdate { operation, relationship };
        let updates = std::mem::take(&mut self.updates).into_iter().map(update).collect();
        let request = WriteRequest { updates, metadata, ..WriteRequest::default() };
        self.system.authorizer.write(&self.system.call(caller), &request)
    }

    /// Makes the change together with one of another store: both or neither.
    ///
    /// # Errors
    /// As [`Change::commit`].
    pub fn commit_with(
        &mut self,
        caller: &Caller,
        metadata: Option<String>,
        other: StoreUpdates,
    ) -> Result<ZedToken, Error> {
        lockout::refuse(self.system, &self.updates)?;
        let updates = std::mem::take(&mut self.updates);
        let own = StoreUpdates { store: StoreId::SYSTEM, updates, metadata };
        self.system.authorizer.write_both(&self.system.call(caller), &own, &other)
    }
}

/// Reads what is to be a name or a relationship.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::Refused(format!("`{text}`: {error}")))
}

fn document_edge(kind: Kind, id: &str) -> Result<Relationship, Error> {
    Ok(Relationship::new(kind.object(id)?, parsed(DOCUMENT)?, parsed("sys/root:self")?))
}

fn documents_of(kind: Kind) -> Result<RelationshipFilter, Error> {
    Ok(RelationshipFilter {
        resource_type: Some(parsed(kind.type_name())?),
        relation: Some(parsed(DOCUMENT)?),
        ..RelationshipFilter::default()
    })
}
