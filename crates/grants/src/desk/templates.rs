//! Templates as they are kept: the document, and the relationships that say who may ask, vote and review.

use std::collections::BTreeMap;
use std::sync::Arc;

use stonetown_authorizer::write::StoreUpdates;
use stonetown_authorizer::{Call, StoredUpdate, justification};
use stonetown_identity::principal::behind;
use stonetown_identity::{Change, Kind};
use stonetown_tuple::{ObjectRef, Operation, Relationship, RelationshipFilter, Source, StoreId, SubjectRef, ZedToken};

use super::{Desk, metadata, parsed, template_id};
use crate::{Error, Grant, Template};

/// What to ask for, where a permission was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requestable {
    /// The template's name.
    pub template: String,
    /// The values of its parameters.
    pub parameters: BTreeMap<String, String>,
}

impl Desk {
    /// Makes or replaces a template. Requests under its earlier version will not be given. Who answers for it may replace it, and
    /// remains its owner; only who administers the store makes another the owner.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn put_template(&self, call: &Call, template: &Template, why: &str) -> Result<Template, Error> {
        template.check()?;
        self.bound_document("bytes of a template", template, "make several of it")?;
        let mut change = self.system.change();
        let id = template_id(&self.system, call.store, &template.name);
        let store = Kind::Store.object(&self.system.store_name(call.store))?;
        let old = self.template(&id);
        let what = format!("manage template `{}`", template.name);
        match &old {
            Some(_) => self.demand(call, &Kind::Template.object(&id)?, "manage", &what)?,
            None => self.demand(call, &store, "administer", &what)?,
        }
        // What is given is bounded by what the owner may write: nobody names a mightier one without administering the store.
        if template.owner != *call.caller.name {
            let what = format!("make `{}` the owner of a template", template.owner);
            self.demand(call, &store, "administer", &what)?;
        }
        if old.is_none() {
            let count = self.books.lock().templates_of(&self.system, call.store).count();
            self.bound("templates of a store", count as u64 + 1, self.limits.templates_max, "delete one first")?;
        }
        self.check_edges(call, template)?;
        let version = old.as_ref().map_or(0, |old| old.version) + 1;
        let template = Template { version, ..template.clone() };
        let object = format!("sys/template:{id}");
        self.remove_relationships(&mut change, Kind::Template, &id)?;
        for stage in old.iter().flat_map(|old| &old.stages) {
            self.remove_relationships_of(&mut change, &format!("sys/stage:{id}|{}", stage.name))?;
        }
        change.touch(&format!("{object}#store@{store}"))?;
        change.touch(&format!("{object}#owner@sys/principal:{}", template.owner))?;
        for requester in &template.requesters {
            change.touch(&format!("{object}#requester@{requester}"))?;
        }
        for reviewer in template.emergency.iter().flat_map(|emergency| &emergency.reviewers) {
            change.touch(&format!("{object}#reviewer@{reviewer}"))?;
        }
        for stage in &template.stages {
            let stage_object = format!("sys/stage:{id}|{}", stage.name);
            change.touch(&format!("{object}#stage@{stage_object}"))?;
            for approver in &stage.approvers {
                change.touch(&format!("{stage_object}#approver@{approver}"))?;
            }
        }
        change.put(Kind::Template, &id, &template)?;
        change
            .commit(&call.caller, metadata(&[("stonetown.template", &template.name), (justification::REASON, why)]))?;
        self.books.lock().templates.insert(id, Arc::new(template.clone()));
        Ok(template)
    }

    /// Takes a template away, when nothing that was asked for under it is open or to be reviewed: what says who may end and review
    /// it goes with the template.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_template(&self, call: &Call, name: &str, why: &str) -> Result<ZedToken, Error> {
        let mut change = self.system.change();
        let id = template_id(&self.system, call.store, name);
        let not_found = || Error::NotFound { kind: "template", id: name.to_owned() };
        let object = Kind::Template.object(&id).map_err(|_| not_found())?;
        let template = self.template(&id).ok_or_else(not_found)?;
        if !self.holds(call, &object, "manage")? {
            return Err(not_found());
        }
        self.refuse_in_use(call.store, name)?;
        self.remove_relationships(&mut change, Kind::Template, &id)?;
        for stage in &template.stages {
            self.remove_relationships_of(&mut change, &format!("sys/stage:{id}|{}", stage.name))?;
        }
        change.take(Kind::Template, &id)?;
        let written_at =
            change.commit(&call.caller, metadata(&[("stonetown.template", name), (justification::REASON, why)]))?;
        self.books.lock().templates.remove(&id);
        Ok(written_at)
    }

    fn refuse_in_use(&self, store: StoreId, name: &str) -> Result<(), Error> {
        let now = self.system.now();
        let books = self.books.lock();
        let is_of = |grant: &&Grant| grant.store == store.0 && grant.template == name;
        let is_open = |grant: &&Grant| !grant.state_at(now).is_final();
        let open = books.open.values().filter(is_of).filter(is_open).count();
        let unreviewed = books.unreviewed.values().filter(is_of).count();
        if open + unreviewed == 0 {
            return Ok(());
        }
        Err(Error::InUse { template: name.to_owned(), open, unreviewed })
    }

    /// The templates of the store that the caller may see, by name.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn templates(&self, call: &Call) -> Result<Vec<Arc<Template>>, Error> {
        let mut seen = Vec::new();
        for (id, template) in self.templates_of(call.store) {
            if self.holds(call, &Kind::Template.object(&id)?, "see")? {
                seen.push(template);
            }
        }
        Ok(seen)
    }

    /// Whether a store has any template.
    #[must_use]
    pub fn has_templates(&self, store: StoreId) -> bool {
        self.books.lock().templates_of(&self.system, store).next().is_some()
    }

    /// What the caller could ask for, or the principal that `subject` stands for, to be allowed `permission` on an object:
    /// template and parameters.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn requestable(
        &self,
        call: &Call,
        object: &ObjectRef,
        permission: &str,
        subject: Option<&SubjectRef>,
    ) -> Result<Vec<Requestable>, Error> {
        let behind = subject.map(|subject| behind(&self.system, subject, call.store)).transpose()?.flatten();
        let behind = behind.map(|principal| Call { store: call.store, ..Call::new(&principal) });
        let mut found = Vec::new();
        for (id, template) in self.templates_of(call.store) {
            let answer = template.answer(object.object_type.as_str(), object.object_id.as_str(), permission);
            if let Some(parameters) = answer
                && self.may_request(call, behind.as_ref(), &id)?
            {
                found.push(Requestable { template: template.name.clone(), parameters });
            }
        }
        Ok(found)
    }

    fn may_request(&self, call: &Call, behind: Option<&Call>, template: &str) -> Result<bool, Error> {
        let template = Kind::Template.object(template)?;
        for asker in [Some(call), behind].into_iter().flatten() {
            if self.holds(asker, &template, "request")? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses a template whose relations the store does not have. Whether they take the beneficiary is seen at the request.
    fn check_edges(&self, call: &Call, template: &Template) -> Result<(), Error> {
        for (number, (object_type, relation)) in template.relations()?.into_iter().enumerate() {
            let edge: Relationship = parsed(&format!("{object_type}:any#{relation}@{object_type}:any"))?;
            let update = StoredUpdate { operation: Operation::Touch, relationship: edge, source: Source::STANDING };
            let updates = StoreUpdates { store: call.store, updates: vec![update], metadata: None };
            match self.system.authorizer().check_updates(&updates) {
                Ok(()) | Err(stonetown_authorizer::Error::InvalidSubjectType { .. }) => {}
                Err(error) => return Err(Error::invalid(&format!("edges[{number}]"), error.to_string())),
            }
        }
        Ok(())
    }

    /// The template of a grant, if it is still as it was asked for.
    pub(super) fn template_of(&self, grant: &Grant) -> Option<Arc<Template>> {
        let id = template_id(&self.system, StoreId(grant.store), &grant.template);
        self.template(&id).filter(|template| template.version == grant.template_version)
    }

    pub(super) fn template(&self, id: &str) -> Option<Arc<Template>> {
        self.books.lock().templates.get(id).cloned()
    }

    /// The templates of a store, by name.
    pub(super) fn templates_of(&self, store: StoreId) -> Vec<(String, Arc<Template>)> {
        let books = self.books.lock();
        let templates = books.templates_of(&self.system, store);
        templates.map(|(id, template)| (id.clone(), Arc::clone(template))).collect()
    }

    /// Deletes what an object of the system store has beside its document.
    pub(super) fn remove_relationships(&self, change: &mut Change<'_>, kind: Kind, id: &str) -> Result<(), Error> {
        self.remove_relationships_of(change, &kind.object(id)?.to_string())
    }

    fn remove_relationships_of(&self, change: &mut Change<'_>, object: &str) -> Result<(), Error> {
        let object: ObjectRef = parsed(object)?;
        let filter = RelationshipFilter {
            resource_type: Some(object.object_type),
            resource_id: Some(object.object_id),
            ..RelationshipFilter::default()
        };
        self.system.read(&filter, &mut |relationship| {
            if relationship.relation.as_str() != "document" {
                change.update(Operation::Delete, relationship.clone());
            }
        })?;
        Ok(())
    }
}
