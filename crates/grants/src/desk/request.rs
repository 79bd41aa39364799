//! Asking for access: what a request must say, and what becomes of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use stonetown_authorizer::write::StoreUpdates;
use stonetown_authorizer::{Call, Caller};
use stonetown_identity::Kind;
use stonetown_identity::principal::stand_ins;
use stonetown_tuple::{Relationship, StoreId, SubjectRef, Timestamp};

use super::{Desk, after, demand_state, denied, describing, parsed, shown, template_id, updates};
use crate::grant::Moment;
use crate::{Error, Grant, State, Template, rules};

/// A request for access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The template's name.
    pub template: String,
    /// The principal who is to get it; the caller where empty.
    pub beneficiary: String,
    /// Which of the subjects that stand for the beneficiary in the store, such as `agent:7`; the only one where empty.
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

impl Desk {
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

    /// The grant that an earlier request of the same key made.
    fn repeated(&self, call: &Call, ask: &Ask, known: Grant) -> Result<Grant, Error> {
        let for_same = if ask.beneficiary.is_empty() { &known.requester } else { &ask.beneficiary };
        let same = known.template == ask.template
            && known.parameters == ask.parameters
            && known.beneficiary == *for_same
            && (ask.subject.is_empty() || known.subject == ask.subject)
            && known.emergency == ask.emergency
            && known.store == call.store.0;
        if !same {
            return Err(Error::invalid("idempotency_key", "was used for another request"));
        }
        // A narrowed credential sees no grant, its holder's own neither.
        let known = self.seen(call, &known.id)?;
        Ok(shown(known, self.system.now()))
    }

    /// A template that the caller may ask for. Whether another exists is not told.
    fn template_to_request(&self, call: &Call, name: &str) -> Result<Arc<Template>, Error> {
        let not_found = || Error::NotFound { kind: "template", id: name.to_owned() };
        let id = template_id(&self.system, call.store, name);
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
        if ask.emergency && self.books.lock().unreviewed.values().any(|other| other.requester == requester) {
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
        let subject = self.subject_of(&beneficiary, ask, call.store)?;
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
            activated: false,
            ends: None,
            source: rand::random_range(1..=u64::MAX),
            edges,
            review: None,
        };
        self.bound_document("bytes of a grant", &grant, "ask for less at once")?;
        let trial = updates(&grant, begins, after(now, ttl)?)?;
        let trial = StoreUpdates { store: call.store, updates: trial, metadata: describing(&grant) };
        self.system.authorizer().check_updates(&trial)?;
        let given: Vec<_> = trial.updates.into_iter().map(|update| update.relationship).collect();
        self.system.authorizer().check_justified(call.store, &given, trial.metadata.as_deref())?;
        match &ask.renews {
            Some(earlier) => self.renewing(call, grant, earlier, template, now),
            None => Ok(grant),
        }
    }

    /// The subject that gets the access: one of those that stand for the beneficiary, or nobody would know whose votes count.
    fn subject_of(&self, beneficiary: &str, ask: &Ask, store: StoreId) -> Result<SubjectRef, Error> {
        let known = stand_ins(&self.system, beneficiary, store)?;
        let refused = |why: String| Err(Error::invalid("subject", why));
        let subject = match known.as_slice() {
            [] => {
                return refused(format!(
                    "no subject of this store stands for `{beneficiary}`: name it with the principal"
                ));
            }
            known if known.contains(&ask.subject) => &ask.subject,
            [only] if ask.subject.is_empty() => only,
            known => {
                return refused(format!("must be one of those that stand for `{beneficiary}`: {}", known.join(", ")));
            }
        };
        parsed(subject)
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
