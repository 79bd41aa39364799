//! Where requests are made and decided. Every call here is one change of the system store: what it read is still true when it
//! commits. Here are votes, ends, and what a grant is written by; `request` asks, `templates` keeps what can be asked for.

mod follow;
mod request;
mod templates;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::watch::{Watch, WatchMessage, WatchRequest, WatchStart, Watched};
use stonetown_authorizer::write::StoreUpdates;
use stonetown_authorizer::{Act, Call, Caller, Effort, Membership, StoredUpdate, justification};
use stonetown_identity::principal::{self, stand_ins};
use stonetown_identity::{Change, Kind, System};
use stonetown_tuple::{
    CaveatContext, Consistency, ObjectRef, Operation, Relationship, RelationshipFilter, StoreId, Timestamp, ZedToken,
};

pub use follow::{Follow, Happened};
pub use request::Ask;
pub use templates::Requestable;

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
    /// Bytes of a template, and of what is kept of a grant as long as it is asked for and voted on, as JSON. What ends a grant or
    /// reviews it adds a few texts, and is never refused for it.
    pub document_bytes_max: usize,
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
            document_bytes_max: 128 << 10,
            ahead_max: Duration::from_secs(90 * DAY),
            retention: Duration::from_secs(400 * DAY),
        }
    }
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

/// What has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenCounts {
    /// Requests that wait for votes.
    pub pending: usize,
    /// Grants.
    pub approved: usize,
    /// Emergencies that nobody has reviewed.
    pub unreviewed: usize,
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
    /// Emergencies that have not been reviewed, by id.
    unreviewed: HashMap<String, Grant>,
    /// When it was last looked for what need not be kept.
    looked: Option<Timestamp>,
}

impl Books {
    /// The templates of a store, by name.
    fn templates_of(&self, system: &System, store: StoreId) -> impl Iterator<Item = (&String, &Arc<Template>)> {
        let prefix = template_id(system, store, "");
        self.templates.range(prefix.clone()..).take_while(move |(id, _)| id.starts_with(&prefix))
    }

    fn enter(&mut self, grant: &Grant) {
        if grant.state.is_final() {
            self.open.remove(&grant.id);
        } else {
            self.open.insert(grant.id.clone(), grant.clone());
        }
        if grant.needs_review() {
            self.unreviewed.insert(grant.id.clone(), grant.clone());
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

    /// Whether a grant gives its access now: its time is now, what it wrote has not been deleted since, and its beneficiary is not cut
    /// off.
    ///
    /// # Errors
    /// When it cannot be known.
    pub fn gives_access(&self, grant: &Grant) -> Result<bool, Error> {
        if !grant.is_active(self.now()) || self.inactive(&grant.beneficiary)?.is_some() {
            return Ok(false);
        }
        let call = Call { store: StoreId(grant.store), caller: Caller::internal(), ..Call::new("") };
        for edge in &grant.edges {
            let Relationship { resource, relation, subject, .. } = parsed(edge)?;
            let question = CheckRequest {
                freshness: Consistency::FullyConsistent.into(),
                resource,
                permission: relation,
                subject,
                context: CaveatContext::new(),
                with: Vec::new(),
                trace: false,
            };
            if self.system.authorizer().check(&call, &question, Effort::Full)?.membership == Membership::NotMember {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follows the grants of all stores as they change, after a token, or from now on. What is read of it is for
    /// [`Desk::in_message`] before anybody sees it.
    ///
    /// # Errors
    /// As those of a watch.
    pub fn watch(&self, call: &Call, after: Option<ZedToken>) -> Result<Watch, Error> {
        let request = WatchRequest {
            start: after.map_or(WatchStart::Head, WatchStart::After),
            filters: vec![documents()?],
            ..WatchRequest::default()
        };
        let call = Call { store: StoreId::SYSTEM, caller: Caller::on_behalf_of(&call.caller), ..Call::new("") };
        Ok(self.system.authorizer().watch(&call, &request)?)
    }

    /// What comes next in such a watch. Reads the disk for a bounded time, never waits for a change.
    ///
    /// # Errors
    /// As [`Watch::poll`].
    pub fn poll(&self, watch: &mut Watch) -> Result<Watched, Error> {
        Ok(watch.poll(self.system.authorizer())?)
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

    /// How much has not ended, as written.
    #[must_use]
    pub fn open_counts(&self) -> OpenCounts {
        let books = self.books.lock();
        let pending = books.open.values().filter(|grant| grant.state == State::Pending).count();
        OpenCounts { pending, approved: books.open.len() - pending, unreviewed: books.unreviewed.len() }
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
        self.bound_document("bytes of a grant", &grant, "say less in the comment, or have less asked for at once")?;
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
        // With the end that time has brought meanwhile, so that none comes after it.
        self.keep(change, &call.caller, Grant { review: Some(review), ..shown(grant, now) }, now)
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

    /// Writes down what time has done: requests whose stage is over, access that has begun or ended, and what need not be kept any
    /// longer is deleted. Access does not wait for it. Says how many grants were written or deleted.
    ///
    /// # Errors
    /// When the system store cannot be read or written: the first error, after all the others were looked after.
    pub fn tick(&self) -> Result<u64, Error> {
        let now = self.system.now();
        let due = |grant: &&Grant| grant.state_at(now) != grant.state || grant.is_to_activate(now);
        let ids: Vec<String> = self.books.lock().open.values().filter(due).map(|grant| grant.id.clone()).collect();
        let written = each(&ids, |id| self.advance(id));
        let forgotten = self.forget(now);
        Ok(written? + forgotten?)
    }

    /// Writes down what time has done to one grant, if anything.
    fn advance(&self, id: &str) -> Result<bool, Error> {
        let change = self.system.change();
        let Some(grant) = self.books.lock().open.get(id).cloned() else { return Ok(false) };
        let now = self.system.now();
        let activates = grant.is_to_activate(now);
        if activates && let Some(because) = self.unseated(&grant)? {
            self.end(change, &Caller::internal(), Grant { state: State::Revoked, because, ..grant }, now)?;
            return Ok(true);
        }
        let grant = Grant { activated: grant.activated || activates, ..shown(grant, now) };
        if !grant.state.is_final() && !activates {
            return Ok(false);
        }
        self.keep(change, &Caller::internal(), grant, now)?;
        Ok(true)
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
        each(&old, |id| {
            let mut change = self.system.change();
            self.remove_relationships(&mut change, Kind::Grant, id)?;
            change.take(Kind::Grant, id)?;
            change.commit(&Caller::internal(), metadata(&[("stonetown.grant", id)]))?;
            Ok(true)
        })
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
        for who in [&grant.requester, &grant.beneficiary, &template.owner] {
            if let Some(why) = self.inactive(who)? {
                return Ok(Some(format!("{who} {why}")));
            }
        }
        if let Some(why) = self.unseated(grant)? {
            return Ok(Some(why));
        }
        // The ceiling: nobody gets what the one who answers for the template may not write.
        let owner = Call { store: StoreId(grant.store), ..Call::new(&template.owner) };
        let mut edges = Vec::new();
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
            edges.push(edge);
        }
        match self.system.authorizer().check_justified(owner.store, &edges, describing(grant).as_deref()) {
            Err(why @ stonetown_authorizer::Error::Unjustified { .. }) => Ok(Some(why.to_string())),
            justified => Ok(justified.map(|()| None)?),
        }
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
        write_grant(&self.system, &mut change, &grant, is_new)?;
        let (store, metadata) = (StoreId(grant.store), describing(&grant));
        if updates.is_empty() {
            change.commit(caller, metadata)?;
        } else {
            change.commit_with(caller, metadata.clone(), StoreUpdates { store, updates, metadata })?;
        }
        self.books.lock().enter(&grant);
        Ok(shown(grant, now))
    }

    fn bound(&self, what: &'static str, count: u64, limit: u64, remedy: &'static str) -> Result<(), Error> {
        if count > limit { Err(Error::TooMany { what, limit, remedy }) } else { Ok(()) }
    }

    /// Refuses what would be too large to be kept, and to be added to when it ends.
    fn bound_document(&self, what: &'static str, document: &impl Serialize, remedy: &'static str) -> Result<(), Error> {
        let json = serde_json::to_string(document).map_err(|error| Error::invalid("document", error.to_string()))?;
        self.bound(what, json.len() as u64, self.limits.document_bytes_max as u64, remedy)
    }

    fn check_texts(&self, texts: &[(&str, &str)]) -> Result<(), Error> {
        let max = self.limits.text_bytes_max;
        match texts.iter().find(|(_, text)| text.len() > max) {
            Some((field, _)) => Err(Error::invalid(field, format!("must have at most {max} bytes"))),
            None => Ok(()),
        }
    }

    /// A grant that the caller may see.
    fn seen(&self, call: &Call, id: &str) -> Result<Grant, Error> {
        let not_found = || Error::NotFound { kind: "grant", id: id.to_owned() };
        let object = Kind::Grant.object(id).map_err(|_| not_found())?;
        let grant: Option<Grant> = self.system.document(Kind::Grant, id)?;
        let is_seen = self.holds(call, &object, "see")?;
        grant.filter(|grant| is_seen && grant.store == call.store.0).ok_or_else(not_found)
    }

    /// Whether a principal may vote in a stage now: it is an approver, and neither asked nor benefits.
    fn may_vote(&self, grant: &Grant, stage: &str, who: &str) -> Result<bool, Error> {
        let id = template_id(&self.system, StoreId(grant.store), &grant.template);
        let stage: ObjectRef = parsed(&format!("sys/stage:{id}|{stage}"))?;
        let voter = Call::new(who);
        Ok(self.holds(&voter, &stage, "vote")?
            && self.holds(&voter, &Kind::Grant.object(&grant.id)?, "decide")?
            && self.inactive(who)?.is_none())
    }

    /// Approvals in a stage whose voters may still vote.
    fn standing_votes(&self, grant: &Grant, stage: &str) -> Result<u64, Error> {
        let mut count = 0;
        for vote in grant.votes.iter().filter(|vote| vote.approve && vote.stage == stage) {
            count += u64::from(self.may_vote(grant, stage, &vote.by)?);
        }
        Ok(count)
    }

    /// Why somebody has no part in grants now; `None` for a principal that may call.
    fn inactive(&self, who: &str) -> Result<Option<&'static str>, Error> {
        Ok(match principal::state(&self.system, who)? {
            Some(principal::State::Active) => None,
            Some(principal::State::Quarantined) => Some("is quarantined"),
            Some(principal::State::Retired) => Some("is retired"),
            None => Some("is no principal"),
        })
    }

    /// Why the access of a grant would not be its beneficiary's any more, if so.
    fn unseated(&self, grant: &Grant) -> Result<Option<String>, Error> {
        if stand_ins(&self.system, &grant.beneficiary, StoreId(grant.store))?.contains(&grant.subject) {
            return Ok(None);
        }
        Ok(Some(format!("{} no longer stands for {}", grant.subject, grant.beneficiary)))
    }

    /// Whether the caller has a permission in the system store. A credential that is narrowed covers resources of stores, and
    /// nothing here.
    fn holds(&self, call: &Call, object: &ObjectRef, permission: &str) -> Result<bool, Error> {
        if call.caller.scope().is_some() {
            return Ok(false);
        }
        let subject = parsed(&format!("sys/principal:{}", call.caller.name))?;
        Ok(self.system.holds(object, permission, &subject, CaveatContext::new())?)
    }

    fn demand(&self, call: &Call, object: &ObjectRef, permission: &str, what: &str) -> Result<(), Error> {
        if self.holds(call, object, permission)? { Ok(()) } else { Err(denied(call, what)) }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("open", &self.open_counts()).finish_non_exhaustive()
    }
}

/// Does something about each grant, whatever becomes of the others. Says for how many there was something to do.
///
/// # Errors
/// The first one, after all were tried.
fn each(ids: &[String], work: impl Fn(&str) -> Result<bool, Error>) -> Result<u64, Error> {
    let mut done = Ok(0);
    for id in ids {
        let outcome = work(id);
        done = done.and_then(|count| Ok(count + u64::from(outcome?)));
    }
    done
}

/// What holds the documents of grants.
fn documents() -> Result<RelationshipFilter, Error> {
    Ok(RelationshipFilter {
        resource_type: Some(parsed("sys/grant")?),
        relation: Some(parsed("document")?),
        ..RelationshipFilter::default()
    })
}

/// A grant's document and, when it is new, the relationships that say whose it is.
fn write_grant(system: &System, change: &mut Change<'_>, grant: &Grant, is_new: bool) -> Result<(), Error> {
    change.put(Kind::Grant, &grant.id, grant)?;
    if is_new {
        let Grant { id, store, template, requester, beneficiary, .. } = grant;
        let template = template_id(system, StoreId(*store), template);
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
        (justification::REASON, &grant.reason),
        (justification::TICKET, &grant.ticket),
        ("stonetown.task", &grant.task),
    ])
}

/// What is kept with a transaction: a JSON object of what is not empty.
fn metadata(values: &[(&str, &str)]) -> Option<String> {
    let values = values.iter().filter(|(_, value)| !value.is_empty());
    let object: serde_json::Map<_, _> = values.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Some(serde_json::Value::Object(object).to_string())
}

fn after(time: Timestamp, seconds: u64) -> Result<Timestamp, Error> {
    time.checked_add(Duration::from_secs(seconds))
        .map_err(|_| Error::invalid("ttl", "ends after the last day there is"))
}

fn template_id(system: &System, store: StoreId, name: &str) -> String {
    format!("{}|{name}", system.store_name(store))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::invalid("id", format!("`{text}`: {error}")))
}
