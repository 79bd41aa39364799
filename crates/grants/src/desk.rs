//! Where requests are made and decided. Every call here is one change of the system store: what it read is still true when it
//! commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stonetown_authorizer::watch::{Watch, WatchMessage, WatchRequest, WatchStart};
use stonetown_authorizer::write::StoreUpdates;
use stonetown_authorizer::{Act, Call, Caller, StoredUpdate};
use stonetown_identity::{Change, Kind, System};
use stonetown_tuple::{
    CaveatContext, ObjectRef, Operation, Relationship, RelationshipFilter, Source, StoreId, SubjectRef, Timestamp,
    ZedToken,
};

use crate::grant::Moment;
use crate::{Error, Grant, State, Template, Vote, rules};

/// Bounds on requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests and grants of one requester that have not ended.
    pub open_per_requester_max: u64,
    /// Requests of one requester in a minute.
    pub requests_per_minute_max: u64,
    /// Templates of one store.
    pub templates_max: u64,
    /// Bytes of a reason, comment, ticket or task.
    pub text_bytes_max: usize,
    /// How far ahead a grant may begin.
    pub ahead_max: Duration,
    /// For how long what has ended is kept to be read; the logs keep it longer.
    pub retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Limits {
            open_per_requester_max: 100,
            requests_per_minute_max: 60,
            templates_max: 1_000,
            text_bytes_max: 1_024,
            ahead_max: Duration::from_secs(90 * DAY),
            retention: Duration::from_secs(400 * DAY),
        }
    }
}

/// A request for access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The template's name.
    pub template: String,
    /// The principal who is to get it; the caller where empty.
    pub beneficiary: String,
    /// The subject that stands for the beneficiary in the store, such as `agent:7`.
    pub subject: String,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// For how long, in seconds; as long as the template allows where 0.
    pub ttl: u64,
    /// When it is to begin; at once where `None`.
    pub starts_at: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The ticket it belongs to.
    pub ticket: String,
    /// The task it belongs to.
    pub task: String,
    /// Access now, for the template's emergency time, and a review afterwards.
    pub emergency: bool,
    /// The grant that this one prolongs.
    pub renews: Option<String>,
    /// Chosen by the client: the same request under the same key is the same grant.
    pub idempotency_key: String,
}

/// An approver's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The version of the grant that the approver has seen; refused when it has another. 0 for any.
    pub version: u64,
    /// For or against.
    pub approve: bool,
    /// Why.
    pub comment: String,
    /// For how long at most, in seconds; as asked where 0.
    pub ttl_max: u64,
}

/// What to ask for, where a permission was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requestable {
    /// The template's name.
    pub template: String,
    /// The values of its parameters.
    pub parameters: BTreeMap<String, String>,
}

/// Where requests are made and decided.
pub struct Desk {
    system: Arc<System>,
    limits: Limits,
    /// Changed only inside a change of the system store.
    books: Mutex<Books>,
    /// When each requester asked within the last minute.
    asked: Mutex<HashMap<String, Vec<Timestamp>>>,
}

/// What is at hand of the system store.
#[derive(Default)]
struct Books {
    /// By id within the system store.
    templates: BTreeMap<String, Arc<Template>>,
    /// What has not ended, by id.
    open: HashMap<String, Grant>,
    /// Emergencies that have not been reviewed, with who asked for them.
    unreviewed: HashMap<String, String>,
    /// When it was last looked for what need not be kept.
    looked: Option<Timestamp>,
}

impl Books {
    /// The templates of a store, by name.
    fn templates_of(&self, store: StoreId) -> impl Iterator<Item = (&String, &Arc<Template>)> {
        let prefix = template_id(store, "");
        self.templates.range(prefix.clone()..).take_while(move |(id, _)| id.starts_with(&prefix))
    }

    fn enter(&mut self, grant: &Grant) {
        if grant.state.is_final() {
            self.open.remove(&grant.id);
        } else {
            self.open.insert(grant.id.clone(), grant.clone());
        }
        if grant.needs_review() {
            self.unreviewed.insert(grant.id.clone(), grant.requester.clone());
        } else {
            self.unreviewed.remove(&grant.id);
        }
    }
}

impl Desk {
    /// Opens the desk with what is written in the system store.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn open(system: Arc<System>, limits: Limits) -> Result<Desk, Error> {
        let mut books = Books::default();
        system.documents::<Grant>(Kind::Grant)?.iter().for_each(|(_, grant)| books.enter(grant));
        for (id, template) in system.documents::<Template>(Kind::Template)? {
            books.templates.insert(id, Arc::new(template));
        }
        Ok(Desk { books: Mutex::new(books), system, limits, asked: Mutex::default() })
    }

    /// The time that calls are judged at.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.system.now()
    }

    /// Follows the grants of all stores as they change, after a token, or from now on. What is read of it is for
    /// [`Desk::in_message`] before anybody sees it.
    ///
    /// # Errors
    /// As those of a watch.
    pub fn watch(&self, after: Option<ZedToken>) -> Result<Watch, Error> {
        let filter = RelationshipFilter {
            resource_type: Some(parsed("sys/grant")?),
            relation: Some(parsed("document")?),
            ..RelationshipFilter::default()
        };
        let request = WatchRequest {
            start: after.map_or(WatchStart::Head, WatchStart::After),
            filters: vec![filter],
            ..WatchRequest::default()
        };
        let call = Call { store: StoreId::SYSTEM, caller: Caller::internal(), ..Call::new("") };
        Ok(self.system.authorizer().watch(&call, &request)?)
    }

    /// The grants that a message of [`Desk::watch`] tells of, as they were written, where the caller may see them.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn in_message(&self, call: &Call, message: &WatchMessage) -> Result<Vec<Grant>, Error> {
        let mut seen = Vec::new();
        for update in message.updates.iter().filter(|update| update.operation != Operation::Delete) {
            let grant: Grant = System::of_relationship(&update.relationship)?;
            if grant.store == call.store.0 && self.holds(call, &update.relationship.resource, "see")? {
                seen.push(grant);
            }
        }
        Ok(seen)
    }

    /// How many requests and grants have not ended, as written.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.books.lock().open.len()
    }

    /// Makes or replaces a template. Requests under its earlier version will not be given.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn put_template(&self, call: &Call, template: &Template, why: &str) -> Result<Template, Error> {
        template.check()?;
        let mut change = self.system.change();
        let id = template_id(call.store, &template.name);
        let old = self.template(&id);
        let what = format!("manage template `{}`", template.name);
        match &old {
            Some(_) => self.demand(call, &Kind::Template.object(&id)?, "manage", &what)?,
            None => self.demand(call, &store_object(call.store)?, "administer", &what)?,
        }
        if old.is_none() {
            let count = self.books.lock().templates_of(call.store).count();
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
        change.touch(&format!("{object}#store@{}", store_object(call.store)?))?;
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
        change.commit(&call.caller, metadata(&[("stonetown.template", &template.name), ("stonetown.reason", why)]))?;
        self.books.lock().templates.insert(id, Arc::new(template.clone()));
        Ok(template)
    }

    /// Takes a template away. What is active under it goes on to its end; open requests are not given.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_template(&self, call: &Call, name: &str, why: &str) -> Result<ZedToken, Error> {
        let mut change = self.system.change();
        let id = template_id(call.store, name);
        let not_found = || Error::NotFound { kind: "template", id: name.to_owned() };
        let object = Kind::Template.object(&id).map_err(|_| not_found())?;
        let template = self.template(&id).ok_or_else(not_found)?;
        if !self.holds(call, &object, "manage")? {
            return Err(not_found());
        }
        self.remove_relationships(&mut change, Kind::Template, &id)?;
        for stage in &template.stages {
            self.remove_relationships_of(&mut change, &format!("sys/stage:{id}|{}", stage.name))?;
        }
        change.take(Kind::Template, &id)?;
        let written_at =
            change.commit(&call.caller, metadata(&[("stonetown.template", name), ("stonetown.reason", why)]))?;
        self.books.lock().templates.remove(&id);
        Ok(written_at)
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
        self.books.lock().templates_of(store).next().is_some()
    }

    /// What the caller could ask for, to be allowed `permission` on an object: template and parameters.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn requestable(&self, call: &Call, object: &ObjectRef, permission: &str) -> Result<Vec<Requestable>, Error> {
        let mut found = Vec::new();
        for (id, template) in self.templates_of(call.store) {
            let answer = template.answer(object.object_type.as_str(), object.object_id.as_str(), permission);
            if let Some(parameters) = answer
                && self.holds(call, &Kind::Template.object(&id)?, "request")?
            {
                found.push(Requestable { template: template.name.clone(), parameters });
            }
        }
        Ok(found)
    }

    /// Asks for access. The answer is pending, or already decided by a rule.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn request(&self, call: &Call, ask: &Ask) -> Result<Grant, Error> {
        self.check_texts(&[("reason", &ask.reason), ("ticket", &ask.ticket), ("task", &ask.task)])?;
        let change = self.system.change();
        let now = self.system.now();
        let id = grant_id(&call.caller, ask)?;
        if let Some(known) = self.system.document::<Grant>(Kind::Grant, &id)? {
            return self.repeated(call, ask, known);
        }
        let template = self.template_to_request(call, &ask.template)?;
        let mut grant = self.drafted(call, ask, &template, id, now)?;
        self.bound_requests(&call.caller, now)?;
        if grant.emergency {
            grant.because = "emergency: access before approval".to_owned();
            return self.give(change, &call.caller, &template, grant, now);
        }
        for (number, rule) in template.auto.iter().enumerate() {
            if rules::holds(&format!("auto[{number}].when"), &rule.when, &grant)? {
                grant.because = format!("rule `{}`", rule.name);
                if !rule.approve {
                    grant.state = State::Denied;
                    return self.keep(change, &call.caller, grant, now);
                }
                grant.ttl = if rule.ttl_max == 0 { grant.ttl } else { grant.ttl.min(rule.ttl_max) };
                return self.give(change, &call.caller, &template, grant, now);
            }
        }
        self.next_stage(&template, &mut grant, now)?;
        if grant.stage.is_empty() {
            grant.state = State::Denied;
            grant.because = "no stage and no rule of the template applies: nobody could approve it".to_owned();
        }
        self.keep(change, &call.caller, grant, now)
    }

    /// Votes on a pending request. The last vote that is needed gives the access.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decide(&self, call: &Call, id: &str, decision: &Decision) -> Result<Grant, Error> {
        self.check_texts(&[("comment", &decision.comment)])?;
        let change = self.system.change();
        let now = self.system.now();
        let mut grant = self.seen(call, id)?;
        let object = Kind::Grant.object(id)?;
        if !self.holds(call, &object, "decide")? {
            return Err(denied(call, "decide on this request"));
        }
        if decision.version != 0 && decision.version != grant.version {
            return Err(Error::Changed { id: id.to_owned(), expected: decision.version, found: grant.version });
        }
        demand_state(&grant, now, State::Pending, "only a pending request is decided")?;
        let Some(template) = self.template_of(&grant) else {
            return self.fail(change, call, grant, "the template was changed after the request: ask again", now);
        };
        if !self.may_vote(&grant, &grant.stage, &call.caller.name)? {
            return Err(denied(call, &format!("vote in stage `{}`", grant.stage)));
        }
        if grant.has_voted(&call.caller.name) {
            let why = "you have voted in this stage already".to_owned();
            return Err(Error::WrongState { id: id.to_owned(), state: "pending", why });
        }
        grant.votes.push(Vote {
            by: call.caller.name.to_string(),
            stage: grant.stage.clone(),
            approve: decision.approve,
            comment: decision.comment.clone(),
            at: Moment(now),
        });
        if !decision.approve {
            grant.state = State::Denied;
            grant.because = format!("{} denied it in stage `{}`", call.caller.name, grant.stage);
            return self.keep(change, &call.caller, grant, now);
        }
        if decision.ttl_max != 0 {
            grant.ttl = grant.ttl.min(decision.ttl_max);
        }
        let stage = template.stages.iter().find(|stage| stage.name == grant.stage);
        let need = stage.map_or(u64::MAX, |stage| u64::from(stage.need));
        if self.standing_votes(&grant, &grant.stage)? >= need {
            self.next_stage(&template, &mut grant, now)?;
        }
        if grant.stage.is_empty() {
            grant.because = "approved".to_owned();
            return self.give(change, &call.caller, &template, grant, now);
        }
        self.keep(change, &call.caller, grant, now)
    }

    /// Ends a grant early, or takes a pending request back. The access is gone at the returned grant's revision.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn revoke(&self, call: &Call, id: &str, why: &str) -> Result<Grant, Error> {
        self.check_texts(&[("reason", why)])?;
        let change = self.system.change();
        let now = self.system.now();
        let grant = self.seen(call, id)?;
        let object = Kind::Grant.object(id)?;
        match grant.state_at(now) {
            State::Pending if self.holds(call, &object, "cancel")? => {
                let because = format!("taken back by {}: {why}", call.caller.name);
                self.keep(change, &call.caller, Grant { state: State::Cancelled, because, ..grant }, now)
            }
            State::Approved if self.holds(call, &object, "revoke")? => {
                let because = format!("ended by {}: {why}", call.caller.name);
                self.end(change, &call.caller, Grant { state: State::Revoked, because, ..grant }, now)
            }
            State::Pending | State::Approved => Err(denied(call, "end this grant")),
            state => {
                let why = "it has ended already".to_owned();
                Err(Error::WrongState { id: id.to_owned(), state: state.name(), why })
            }
        }
    }

    /// Ends every open grant and request of a task that the caller may end. Says how many.
    ///
    /// # Errors
    /// See [`Error`]; grants that were ended before the error stay so.
    pub fn complete_task(&self, call: &Call, task: &str) -> Result<u64, Error> {
        if task.is_empty() {
            return Err(Error::invalid("task", "must not be empty"));
        }
        let of_task = |grant: &&Grant| grant.task == task && grant.store == call.store.0;
        let ids: Vec<String> = self.books.lock().open.values().filter(of_task).map(|grant| grant.id.clone()).collect();
        let mut ended = 0;
        for id in ids {
            match self.revoke(call, &id, &format!("task `{task}` is complete")) {
                Ok(_) => ended += 1,
                Err(Error::Denied { .. } | Error::NotFound { .. } | Error::WrongState { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// Says afterwards what was found of an emergency. Until then its requester gets no other.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn review(&self, call: &Call, id: &str, justified: bool, comment: &str) -> Result<Grant, Error> {
        self.check_texts(&[("comment", comment)])?;
        let change = self.system.change();
        let now = self.system.now();
        let grant = self.seen(call, id)?;
        if !self.holds(call, &Kind::Grant.object(id)?, "review")? {
            return Err(denied(call, "review this grant"));
        }
        if !grant.needs_review() {
            let why = "there is nothing to review".to_owned();
            return Err(Error::WrongState { id: id.to_owned(), state: grant.state_at(now).name(), why });
        }
        let (by, comment) = (call.caller.name.to_string(), comment.to_owned());
        let review = Vote { by, stage: "review".to_owned(), approve: justified, comment, at: Moment(now) };
        self.keep(change, &call.caller, Grant { review: Some(review), ..grant }, now)
    }

    /// A grant that the caller may see, in the state of now.
    ///
    /// # Errors
    /// [`Error::NotFound`], whether or not there is one that the caller may not see.
    pub fn get(&self, call: &Call, id: &str) -> Result<Grant, Error> {
        let now = self.system.now();
        self.seen(call, id).map(|grant| shown(grant, now))
    }

    /// The grants of the store that the caller may see and `keep` picks, newest first.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn list(&self, call: &Call, open_only: bool, keep: &dyn Fn(&Grant) -> bool) -> Result<Vec<Grant>, Error> {
        let now = self.system.now();
        let all: Vec<Grant> = if open_only {
            self.books.lock().open.values().cloned().collect()
        } else {
            self.system.documents(Kind::Grant)?.into_iter().map(|(_, grant)| grant).collect()
        };
        let mut found = Vec::new();
        for grant in all.into_iter().map(|grant| shown(grant, now)) {
            let picked = grant.store == call.store.0 && !(open_only && grant.state.is_final()) && keep(&grant);
            if picked && self.holds(call, &Kind::Grant.object(&grant.id)?, "see")? {
                found.push(grant);
            }
        }
        found.sort_by(|one, other| (other.asked_at, &other.id).cmp(&(one.asked_at, &one.id)));
        Ok(found)
    }

    /// Whether a request waits for the caller's vote.
    ///
    /// # Errors
    /// When the system store cannot be read.
    pub fn awaits(&self, call: &Call, grant: &Grant) -> Result<bool, Error> {
        Ok(grant.state == State::Pending
            && !grant.has_voted(&call.caller.name)
            && self.may_vote(grant, &grant.stage, &call.caller.name)?)
    }

    /// Writes down what time has done: requests whose stage is over, access that has ended, and what need not be kept any
    /// longer is deleted. Access does not wait for it.
    ///
    /// # Errors
    /// When the system store cannot be read or written.
    pub fn tick(&self) -> Result<u64, Error> {
        let mut written = 0;
        let now = self.system.now();
        let due = |grant: &&Grant| grant.state_at(now) != grant.state;
        let ids: Vec<String> = self.books.lock().open.values().filter(due).map(|grant| grant.id.clone()).collect();
        for id in ids {
            let change = self.system.change();
            let Some(grant) = self.books.lock().open.get(&id).cloned() else { continue };
            let grant = shown(grant, self.system.now());
            if grant.state.is_final() {
                self.keep(change, &Caller::internal(), grant, now)?;
                written += 1;
            }
        }
        Ok(written + self.forget(now)?)
    }

    fn forget(&self, now: Timestamp) -> Result<u64, Error> {
        /// It reads all grants, and nothing waits for it.
        const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
        let looked = self.books.lock().looked;
        if looked.is_some_and(|looked| looked.checked_add(LOOK_EVERY).is_ok_and(|next| now < next)) {
            return Ok(0);
        }
        self.books.lock().looked = Some(now);
        let Ok(before) = now.checked_sub(self.limits.retention) else { return Ok(0) };
        let ended = |grant: &Grant| grant.state.is_final() && !grant.needs_review();
        let old: Vec<String> = self
            .system
            .documents::<Grant>(Kind::Grant)?
            .into_iter()
            .filter(|(_, grant)| ended(grant) && grant.ends.unwrap_or(grant.asked_at).0 < before)
            .map(|(id, _)| id)
            .collect();
        for id in &old {
            let mut change = self.system.change();
            self.remove_relationships(&mut change, Kind::Grant, id)?;
            change.take(Kind::Grant, id)?;
            change.commit(&Caller::internal(), metadata(&[("stonetown.grant", id)]))?;
        }
        Ok(old.len() as u64)
    }

    /// The grant that an earlier request of the same key made.
    fn repeated(&self, call: &Call, ask: &Ask, known: Grant) -> Result<Grant, Error> {
        let same = known.template == ask.template
            && known.parameters == ask.parameters
            && known.subject == ask.subject
            && known.emergency == ask.emergency
            && known.store == call.store.0;
        if !same {
            return Err(Error::invalid("idempotency_key", "was used for another request"));
        }
        Ok(shown(known, self.system.now()))
    }

    /// A template that the caller may ask for. Whether another exists is not told.
    fn template_to_request(&self, call: &Call, name: &str) -> Result<Arc<Template>, Error> {
        let not_found = || Error::NotFound { kind: "template", id: name.to_owned() };
        let id = template_id(call.store, name);
        let object = Kind::Template.object(&id).map_err(|_| not_found())?;
        if !self.holds(call, &object, "request")? {
            return Err(not_found());
        }
        self.template(&id).ok_or_else(not_found)
    }

    /// A request as it is before anybody has decided, after all that it says has been tested.
    fn drafted(&self, call: &Call, ask: &Ask, template: &Template, id: String, now: Timestamp) -> Result<Grant, Error> {
        let requester = call.caller.name.to_string();
        let beneficiary = if ask.beneficiary.is_empty() { requester.clone() } else { ask.beneficiary.clone() };
        let principal = Kind::Principal.object(&beneficiary)?;
        if beneficiary != requester && !self.holds(call, &principal, "manage")? {
            return Err(denied(call, "ask for that beneficiary"));
        }
        for (field, wanted, text) in
            [("reason", template.reason_required, &ask.reason), ("ticket", template.ticket_required, &ask.ticket)]
        {
            if wanted && text.trim().is_empty() {
                return Err(Error::invalid(field, "is required by this template"));
            }
        }
        let longest = match &template.emergency {
            Some(emergency) if ask.emergency => emergency.ttl,
            None if ask.emergency => return Err(Error::invalid("emergency", "this template allows none")),
            _ => template.ttl_max,
        };
        if ask.emergency && self.books.lock().unreviewed.values().any(|other| *other == requester) {
            return Err(Error::invalid("emergency", "an earlier emergency of yours has not been reviewed yet"));
        }
        let ttl = if ask.ttl == 0 { longest } else { ask.ttl };
        if ttl > longest {
            return Err(Error::invalid("ttl", format!("{ttl} s is above the maximum of {longest} s")));
        }
        let begins = ask.starts_at.filter(|start| *start > now);
        if begins.is_some_and(|start| now.checked_add(self.limits.ahead_max).is_ok_and(|latest| start > latest)) {
            return Err(Error::invalid("starts_at", "is too far ahead"));
        }
        if begins.is_some() && (ask.emergency || ask.renews.is_some()) {
            return Err(Error::invalid("starts_at", "emergencies and renewals begin at once"));
        }
        let subject: SubjectRef =
            ask.subject.parse().map_err(|error| Error::invalid("subject", format!("`{}`: {error}", ask.subject)))?;
        if subject.object_id().as_str() == "*" || subject.object_type().as_str().starts_with("sys/") {
            return Err(Error::invalid("subject", "must be one subject of the store"));
        }
        let edges = template.edges_for(&subject, &ask.parameters, None, now)?;
        let edges = edges.into_iter().map(|edge| Relationship { expires_at: None, ..edge }.to_string()).collect();
        let grant = Grant {
            id,
            store: call.store.0,
            template: template.name.clone(),
            template_version: template.version,
            requester,
            beneficiary,
            subject: subject.to_string(),
            parameters: ask.parameters.clone(),
            ttl,
            starts_at: begins.map(Moment),
            reason: ask.reason.clone(),
            ticket: ask.ticket.clone(),
            task: ask.task.clone(),
            emergency: ask.emergency,
            renews: ask.renews.clone(),
            first_began: None,
            asked_at: Moment(now),
            version: 0,
            state: State::Pending,
            because: "waits for votes".to_owned(),
            stage: String::new(),
            stage_ends: None,
            votes: Vec::new(),
            begins: None,
            ends: None,
            source: rand::random_range(1..=u64::MAX),
            edges,
            review: None,
        };
        let trial = updates(&grant, begins, after(now, ttl)?)?;
        let trial = StoreUpdates { store: call.store, updates: trial, metadata: None };
        self.system.authorizer().check_updates(call, &trial)?;
        match &ask.renews {
            Some(earlier) => self.renewing(call, grant, earlier, template, now),
            None => Ok(grant),
        }
    }

    /// A renewal is a grant of its own for the same, within what the template allows in total.
    fn renewing(
        &self,
        call: &Call,
        grant: Grant,
        id: &str,
        template: &Template,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let earlier = self.seen(call, id)?;
        demand_state(&earlier, now, State::Approved, "only what is approved is renewed")?;
        let same = earlier.store == grant.store
            && earlier.edges == grant.edges
            && earlier.template == grant.template
            && earlier.beneficiary == grant.beneficiary;
        if !same || earlier.emergency || grant.emergency {
            return Err(Error::invalid(
                "renews",
                "a renewal is for the same template, parameters and beneficiary, and no emergency",
            ));
        }
        let first = earlier.first_began.or(earlier.begins).unwrap_or(Moment(now));
        let last = after(first.0, template.longest())?;
        let left = u64::try_from(last.duration_since(now).as_secs()).unwrap_or(0);
        if left == 0 {
            return Err(Error::invalid(
                "renews",
                format!("renewals end {} s after the first began", template.longest()),
            ));
        }
        Ok(Grant { first_began: Some(first), ttl: grant.ttl.min(left), ..grant })
    }

    /// Puts the request into the next stage that applies; none is left where `stage` is empty afterwards.
    fn next_stage(&self, template: &Template, grant: &mut Grant, now: Timestamp) -> Result<(), Error> {
        let done = template.stages.iter().position(|stage| stage.name == grant.stage).map_or(0, |at| at + 1);
        (grant.stage, grant.stage_ends) = (String::new(), None);
        for (number, stage) in template.stages.iter().enumerate().skip(done) {
            let applies = match &stage.when {
                Some(when) => rules::holds(&format!("stages[{number}].when"), when, grant)?,
                None => true,
            };
            if applies {
                grant.stage.clone_from(&stage.name);
                grant.stage_ends = Some(Moment(after(now, stage.timeout)?));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives the access: the grant and its relationships in one transaction, after everything was judged once more.
    fn give(
        &self,
        change: Change<'_>,
        caller: &Caller,
        template: &Template,
        grant: Grant,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        if let Some(why) = self.obstacle(template, &grant)? {
            let because = format!("could not be given: {why}");
            return self.keep(change, caller, Grant { state: State::Failed, because, ..grant }, now);
        }
        let begins = grant.starts_at.map_or(now, |start| start.0.max(now));
        let mut ends = after(begins, grant.ttl)?;
        if let Some(first) = grant.first_began {
            ends = ends.min(after(first.0, template.longest())?);
        }
        let not_before = (begins > now).then_some(begins);
        let (stage, stage_ends) = (String::new(), None);
        let grant = Grant { begins: Some(Moment(begins)), ends: Some(Moment(ends)), stage, stage_ends, ..grant };
        let updates = updates(&grant, not_before, ends)?;
        self.write(change, caller, Grant { state: State::Approved, ..grant }, updates, now)
    }

    /// Why a request that has its approvals is not to be given after all.
    fn obstacle(&self, template: &Template, grant: &Grant) -> Result<Option<String>, Error> {
        for vote in grant.votes.iter().filter(|vote| vote.approve) {
            if !self.may_vote(grant, &vote.stage, &vote.by)? {
                return Ok(Some(format!("{} may no longer vote in stage `{}`", vote.by, vote.stage)));
            }
        }
        for who in [&grant.requester, &grant.beneficiary] {
            if self.is_quarantined(who)? {
                return Ok(Some(format!("{who} is quarantined")));
            }
        }
        // The ceiling: nobody gets what the one who answers for the template may not write.
        let owner = Call { store: StoreId(grant.store), ..Call::new(&template.owner) };
        for text in &grant.edges {
            let edge: Relationship = text.parse().map_err(|_| Error::invalid("template", format!("`{text}`")))?;
            let (resource_type, relation) = (edge.resource.object_type.as_str(), edge.relation.as_str());
            match self.system.authorizer().judge(&owner, Act::Write { resource_type, relation }) {
                Ok(()) => {}
                Err(stonetown_authorizer::Error::Denied { .. }) => {
                    return Ok(Some(format!("{} may not write `{resource_type}#{relation}`", template.owner)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Ends the relationships of a grant now.
    fn end(&self, change: Change<'_>, caller: &Caller, grant: Grant, now: Timestamp) -> Result<Grant, Error> {
        let ends = grant.begins.map_or(now, |begins| begins.0.min(now));
        let updates = updates(&grant, None, ends)?;
        self.write(change, caller, Grant { ends: Some(Moment(now)), ..grant }, updates, now)
    }

    fn fail(&self, change: Change<'_>, call: &Call, grant: Grant, why: &str, now: Timestamp) -> Result<Grant, Error> {
        self.keep(change, &call.caller, Grant { state: State::Failed, because: why.to_owned(), ..grant }, now)
    }

    /// Writes a grant that gives nothing, or nothing new.
    fn keep(&self, change: Change<'_>, caller: &Caller, grant: Grant, now: Timestamp) -> Result<Grant, Error> {
        let stage_ends = grant.stage_ends.filter(|_| !grant.state.is_final());
        self.write(change, caller, Grant { stage_ends, ..grant }, Vec::new(), now)
    }

    /// Writes a grant as its next version, and the relationships that change with it in the same transaction.
    fn write(
        &self,
        mut change: Change<'_>,
        caller: &Caller,
        grant: Grant,
        updates: Vec<StoredUpdate>,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let (is_new, grant) = (grant.version == 0, Grant { version: grant.version + 1, ..grant });
        write_grant(&mut change, &grant, is_new)?;
        let (store, metadata) = (StoreId(grant.store), describing(&grant));
        if updates.is_empty() {
            change.commit(caller, metadata)?;
        } else {
            change.commit_with(caller, metadata.clone(), StoreUpdates { store, updates, metadata })?;
        }
        self.books.lock().enter(&grant);
        Ok(shown(grant, now))
    }

    /// Refuses a requester who has too much open, or asks too often.
    fn bound_requests(&self, caller: &Caller, now: Timestamp) -> Result<(), Error> {
        let mine = self.books.lock().open.values().filter(|grant| *grant.requester == *caller.name).count() as u64;
        let remedy = "wait until some have ended, or take some back";
        self.bound("open requests and grants", mine + 1, self.limits.open_per_requester_max, remedy)?;
        let mut asked = self.asked.lock();
        let is_recent = |then: &Timestamp| now.duration_since(*then).as_secs() < 60;
        asked.retain(|_, times| times.last().is_some_and(is_recent));
        let times = asked.entry(caller.name.to_string()).or_default();
        times.retain(is_recent);
        let count = times.len() as u64 + 1;
        self.bound("requests in a minute", count, self.limits.requests_per_minute_max, "wait a minute")?;
        times.push(now);
        Ok(())
    }

    fn bound(&self, what: &'static str, count: u64, limit: u64, remedy: &'static str) -> Result<(), Error> {
        if count > limit { Err(Error::TooMany { what, limit, remedy }) } else { Ok(()) }
    }

    fn check_texts(&self, texts: &[(&str, &str)]) -> Result<(), Error> {
        let max = self.limits.text_bytes_max;
        match texts.iter().find(|(_, text)| text.len() > max) {
            Some((field, _)) => Err(Error::invalid(field, format!("must have at most {max} bytes"))),
            None => Ok(()),
        }
    }

    /// Refuses a template whose relations the store does not have. Whether they take the beneficiary is seen at the request.
    fn check_edges(&self, call: &Call, template: &Template) -> Result<(), Error> {
        for (number, (object_type, relation)) in template.relations()?.into_iter().enumerate() {
            let edge: Relationship = parsed(&format!("{object_type}:any#{relation}@{object_type}:any"))?;
            let update = StoredUpdate { operation: Operation::Touch, relationship: edge, source: Source::STANDING };
            let updates = StoreUpdates { store: call.store, updates: vec![update], metadata: None };
            match self.system.authorizer().check_updates(call, &updates) {
                Ok(()) | Err(stonetown_authorizer::Error::InvalidSubjectType { .. }) => {}
                Err(error) => return Err(Error::invalid(&format!("edges[{number}]"), error.to_string())),
            }
        }
        Ok(())
    }

    /// A grant that the caller may see.
    fn seen(&self, call: &Call, id: &str) -> Result<Grant, Error> {
        let not_found = || Error::NotFound { kind: "grant", id: id.to_owned() };
        let object = Kind::Grant.object(id).map_err(|_| not_found())?;
        let grant: Option<Grant> = self.system.document(Kind::Grant, id)?;
        let is_seen = self.holds(call, &object, "see")?;
        grant.filter(|grant| is_seen && grant.store == call.store.0).ok_or_else(not_found)
    }

    /// The template of a grant, if it is still as it was asked for.
    fn template_of(&self, grant: &Grant) -> Option<Arc<Template>> {
        let id = template_id(StoreId(grant.store), &grant.template);
        self.template(&id).filter(|template| template.version == grant.template_version)
    }

    fn template(&self, id: &str) -> Option<Arc<Template>> {
        self.books.lock().templates.get(id).cloned()
    }

    /// The templates of a store, by name.
    fn templates_of(&self, store: StoreId) -> Vec<(String, Arc<Template>)> {
        let books = self.books.lock();
        books.templates_of(store).map(|(id, template)| (id.clone(), Arc::clone(template))).collect()
    }

    /// Whether a principal may vote in a stage now: it is an approver, and neither asked nor benefits.
    fn may_vote(&self, grant: &Grant, stage: &str, who: &str) -> Result<bool, Error> {
        let id = template_id(StoreId(grant.store), &grant.template);
        let stage: ObjectRef = parsed(&format!("sys/stage:{id}|{stage}"))?;
        let voter = Call::new(who);
        Ok(self.holds(&voter, &stage, "vote")?
            && self.holds(&voter, &Kind::Grant.object(&grant.id)?, "decide")?
            && !self.is_quarantined(who)?)
    }

    /// Approvals in a stage whose voters may still vote.
    fn standing_votes(&self, grant: &Grant, stage: &str) -> Result<u64, Error> {
        let mut count = 0;
        for vote in grant.votes.iter().filter(|vote| vote.approve && vote.stage == stage) {
            count += u64::from(self.may_vote(grant, stage, &vote.by)?);
        }
        Ok(count)
    }

    fn is_quarantined(&self, who: &str) -> Result<bool, Error> {
        let (object, root) = (Kind::Principal.object(who)?, parsed("sys/root:self")?);
        Ok(self.system.holds(&object, "quarantined", &root, CaveatContext::new())?)
    }

    fn holds(&self, call: &Call, object: &ObjectRef, permission: &str) -> Result<bool, Error> {
        let subject = parsed(&format!("sys/principal:{}", call.caller.name))?;
        Ok(self.system.holds(object, permission, &subject, CaveatContext::new())?)
    }

    fn demand(&self, call: &Call, object: &ObjectRef, permission: &str, what: &str) -> Result<(), Error> {
        if self.holds(call, object, permission)? { Ok(()) } else { Err(denied(call, what)) }
    }

    /// Deletes what an object of the system store has beside its document.
    fn remove_relationships(&self, change: &mut Change<'_>, kind: Kind, id: &str) -> Result<(), Error> {
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

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("open", &self.open_count()).finish_non_exhaustive()
    }
}

/// A grant's document and, when it is new, the relationships that say whose it is.
fn write_grant(change: &mut Change<'_>, grant: &Grant, is_new: bool) -> Result<(), Error> {
    change.put(Kind::Grant, &grant.id, grant)?;
    if is_new {
        let Grant { id, store, template, requester, beneficiary, .. } = grant;
        let template = template_id(StoreId(*store), template);
        change.touch(&format!("sys/grant:{id}#template@sys/template:{template}"))?;
        change.touch(&format!("sys/grant:{id}#requester@sys/principal:{requester}"))?;
        change.touch(&format!("sys/grant:{id}#beneficiary@sys/principal:{beneficiary}"))?;
    }
    Ok(())
}

/// Writes a grant's relationships with these times, from its own source.
fn updates(grant: &Grant, not_before: Option<Timestamp>, ends: Timestamp) -> Result<Vec<StoredUpdate>, Error> {
    let update = |text: &String| {
        let edge: Relationship = parsed(text)?;
        let relationship = Relationship { not_before, expires_at: Some(ends), ..edge };
        Ok(StoredUpdate { operation: Operation::Touch, relationship, source: grant.source() })
    };
    grant.edges.iter().map(update).collect()
}

/// A grant as it stands at `now`.
fn shown(grant: Grant, now: Timestamp) -> Grant {
    let state = grant.state_at(now);
    if state == grant.state {
        return grant;
    }
    let because = match state {
        State::Denied => format!("stage `{}` was not decided in time", grant.stage),
        _ => "its time is over".to_owned(),
    };
    Grant { state, because, ..grant }
}

fn demand_state(grant: &Grant, now: Timestamp, wanted: State, why: &str) -> Result<(), Error> {
    let state = grant.state_at(now);
    if state == wanted {
        return Ok(());
    }
    Err(Error::WrongState { id: grant.id.clone(), state: state.name(), why: why.to_owned() })
}

fn denied(call: &Call, what: &str) -> Error {
    Error::Denied { caller: call.caller.name.to_string(), what: what.to_owned() }
}

fn describing(grant: &Grant) -> Option<String> {
    metadata(&[
        ("stonetown.grant", &grant.id),
        ("stonetown.template", &grant.template),
        ("stonetown.state", grant.state.name()),
        ("stonetown.reason", &grant.reason),
        ("stonetown.ticket", &grant.ticket),
        ("stonetown.task", &grant.task),
    ])
}

/// What is kept with a transaction: a JSON object of what is not empty.
fn metadata(values: &[(&str, &str)]) -> Option<String> {
    let values = values.iter().filter(|(_, value)| !value.is_empty());
    let object: serde_json::Map<_, _> = values.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Some(serde_json::Value::Object(object).to_string())
}

/// The grant's id: random, or of the requester and the key that it chose, so that a repeated request finds it.
fn grant_id(caller: &Caller, ask: &Ask) -> Result<String, Error> {
    if ask.idempotency_key.is_empty() {
        return Ok(format!("{:032x}", rand::random::<u128>()));
    }
    if ask.idempotency_key.len() > 128 {
        return Err(Error::invalid("idempotency_key", "must have at most 128 bytes"));
    }
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(&(caller.name.len() as u64).to_be_bytes());
    digest.update(caller.name.as_bytes());
    digest.update(ask.idempotency_key.as_bytes());
    Ok(digest.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

fn after(time: Timestamp, seconds: u64) -> Result<Timestamp, Error> {
    time.checked_add(Duration::from_secs(seconds))
        .map_err(|_| Error::invalid("ttl", "ends after the last day there is"))
}

fn template_id(store: StoreId, name: &str) -> String {
    format!("{}|{name}", store_name(store))
}

fn store_object(store: StoreId) -> Result<ObjectRef, Error> {
    Ok(Kind::Store.object(&store_name(store))?)
}

fn store_name(store: StoreId) -> String {
    if store == StoreId::DEFAULT { "default".to_owned() } else { store.to_string() }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::invalid("id", format!("`{text}`: {error}")))
}
