//! Recording what was answered: every call of the front door passes through [`Authorizer::recorded`], and nothing else hands
//! records to the log. A call whose record must be on disk first is not answered before it is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use stonetown_audit::{Decision, Outcome, Receipt, Recorder, ResultDigest, Unrecorded};
use stonetown_graph::{Given, Membership, Trace};
use stonetown_tuple::{
    CaveatContext, ObjectRef, RelationName, RelationshipFilter, Revision, SubjectRef, SubjectRelationFilter, Timestamp,
};

use crate::materialize::Watched;
use crate::world::World;
use crate::{Authorizer, Call, Chain, Error};

/// Longest detail of a reason, in bytes: a path, missing parameters, the text of an error.
const DETAIL_BYTES_MAX: usize = 2048;
/// A check with relationships of its own: another call than a check of what is stored, as the log does not have them.
pub(crate) const CHECK_WITH: &str = "check_with";
/// The reason of a no to a question about, or through, somebody who is cut off.
pub(crate) const CUT_OFF: &str = "cut_off";

/// The name of the caller's address among the values for caveats: what an annotation calls it, and no name of a parameter.
pub(crate) const PEER: &str = "server(peer_ip)";

/// What a call asks, in the words of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    call: &'static str,
    resource_type: &'a str,
    resource_id: &'a str,
    permission: &'a str,
    subject_type: &'a str,
    subject_id: &'a str,
    subject_relation: &'a str,
    context: Option<&'a CaveatContext>,
    /// A write: its record follows the commit, which the log of changes has in any case.
    writes: bool,
    /// About relationships, of which those of all types and relations that are not named.
    spans: bool,
}

impl<'a> Asked<'a> {
    /// A call about the whole store.
    pub(crate) fn of(call: &'static str) -> Asked<'a> {
        Asked { call, ..Asked::default() }
    }

    /// A call that writes.
    pub(crate) fn write(call: &'static str) -> Asked<'a> {
        Asked { writes: true, ..Asked::of(call) }
    }

    pub(crate) fn resource(self, resource: &'a ObjectRef) -> Asked<'a> {
        let (resource_type, resource_id) = (resource.object_type.as_str(), resource.object_id.as_str());
        Asked { resource_type, resource_id, ..self }
    }

    pub(crate) fn resource_type(self, resource_type: &'a str) -> Asked<'a> {
        Asked { resource_type, ..self }
    }

    /// About all relationships of a type; `""` for those of all types.
    pub(crate) fn relationships_of(self, resource_type: &'a str) -> Asked<'a> {
        Asked { resource_type, spans: true, ..self }
    }

    pub(crate) fn permission(self, permission: &'a RelationName) -> Asked<'a> {
        Asked { permission: permission.as_str(), ..self }
    }

    pub(crate) fn subject(self, subject: &'a SubjectRef) -> Asked<'a> {
        Asked {
            subject_type: subject.object_type().as_str(),
            subject_id: subject.object_id().as_str(),
            subject_relation: subject.relation().map_or("", RelationName::as_str),
            ..self
        }
    }

    pub(crate) fn subject_type(self, subject_type: &'a str, relation: Option<&'a RelationName>) -> Asked<'a> {
        Asked { subject_type, subject_relation: relation.map_or("", RelationName::as_str), ..self }
    }

    pub(crate) fn filter(self, filter: &'a RelationshipFilter) -> Asked<'a> {
        let subject = filter.subject.as_ref();
        let subject_relation = match subject.map(|subject| &subject.relation) {
            Some(SubjectRelationFilter::Relation(relation)) => relation.as_str(),
            _ => "",
        };
        Asked {
            resource_type: filter.resource_type.as_ref().map_or("", AsRef::as_ref),
            resource_id: filter.resource_id.as_ref().map_or("", AsRef::as_ref),
            permission: filter.relation.as_ref().map_or("", AsRef::as_ref),
            subject_type: subject.map_or("", |subject| subject.subject_type.as_ref()),
            subject_id: subject.and_then(|subject| subject.subject_id.as_ref()).map_or("", |id| id.as_str()),
            subject_relation,
            spans: true,
            ..self
        }
    }

    pub(crate) fn context(self, context: &'a CaveatContext) -> Asked<'a> {
        Asked { context: Some(context), ..self }
    }
}

/// A call under way, and what will be recorded of it.
pub(crate) struct Recording<'a> {
    /// `None` when nothing is recorded.
    recorder: Option<&'a Recorder>,
    call: &'a Call,
    asked: Asked<'a>,
    begun: Option<Instant>,
    /// Whether it matters what a schema says to be audited strictly.
    guarded: bool,
    strict: bool,
    time: Option<Timestamp>,
    judged_at: Option<Timestamp>,
    revision: Revision,
    schema: Revision,
    /// The address that the call came from, where the answer can depend on it.
    peer: Option<IpAddr>,
    outcome: Outcome,
    reason: &'static str,
    detail: Cow<'a, str>,
    chain: Chain,
    results: Option<ResultDigest>,
}

impl Authorizer {
    /// Does the work of a call and records how it ended. The answer is given only when its record is safe, where that is asked
    /// for.
    pub(crate) fn recorded<T>(
        &self,
        call: &Call,
        asked: Asked<'_>,
        work: impl FnOnce(&mut Recording<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut recording = self.recording(call, asked);
        let answered = work(&mut recording);
        let receipt = recording.end(self, answered.as_ref().err());
        let safe = receipt.and_then(|receipt| self.wait_recorded(call, &receipt));
        answered.and_then(|answer| safe.map(|()| answer))
    }

    /// Does the work of a call that another part of the server judges, `name` in the words of the log, and records how it ended;
    /// `why` says of a refusal the reason in one word, and its text. A record that finds no room is counted.
    pub fn record_call<T, E>(
        &self,
        call: &Call,
        name: &'static str,
        why: impl FnOnce(&E) -> (&'static str, String),
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut recording = self.recording(call, Asked::write(name));
        let answered = work();
        if let Err(error) = &answered {
            let (reason, detail) = why(error);
            (recording.outcome, recording.reason, recording.detail) = (Outcome::Failed, reason, detail.into());
        }
        let (outcome, reason) = (recording.outcome, recording.reason);
        let _counted = recording.record(self, outcome, reason, false);
        answered
    }

    /// A call of which several records are made: to be ended by [`Recording::end`], and waited for together.
    pub(crate) fn recording<'a>(&'a self, call: &'a Call, asked: Asked<'a>) -> Recording<'a> {
        // What the server asks itself to judge a call is a part of that call.
        let recorder = self.recorder.as_deref().filter(|_| !call.caller.is_itself());
        let strict =
            recorder.is_some_and(|recorder| !asked.writes && recorder.is_strict(asked.resource_type, asked.permission));
        Recording {
            recorder,
            call,
            asked,
            begun: recorder.map(|_| Instant::now()),
            guarded: (recorder.is_some() || self.options.strict_needs_log) && !asked.writes && !call.caller.is_itself(),
            strict,
            time: None,
            judged_at: None,
            revision: Revision(0),
            schema: Revision(0),
            peer: None,
            outcome: Outcome::Answered,
            reason: "answered",
            detail: Cow::Borrowed(""),
            chain: Chain::default(),
            results: None,
        }
    }

    /// Waits until what a receipt stands for is on disk.
    pub(crate) fn wait_recorded(&self, call: &Call, receipt: &Receipt) -> Result<(), Error> {
        self.recorder.as_ref().map_or(Ok(()), |recorder| Ok(recorder.wait(receipt, call.deadline)?))
    }
}

impl Recording<'_> {
    /// Whether the answer has to wait for the disk.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Notes what the answer rests on; from now on it is known whether it has to wait for the disk.
    pub(crate) fn see(&mut self, world: &World) {
        let Asked { resource_type, permission, spans, .. } = self.asked;
        if spans || !permission.is_empty() {
            self.see_asked(world, resource_type, permission);
        }
        self.time = Some(world.now);
        self.revision = world.token.revision;
        self.schema = world.schema_at;
        if let (Given::Call { peer_ip }, true) = (self.call.given, world.plan.asks_for_peer()) {
            self.peer = peer_ip;
        }
    }

    /// Notes one of the permissions that the call is about, where it cannot say so when it begins.
    pub(crate) fn see_asked(&mut self, world: &World, resource_type: &str, permission: &str) {
        self.strict |= self.guarded && world.is_audited_strictly(resource_type, permission);
    }

    /// The same for permissions whose sets are handed out.
    pub(crate) fn see_watched(&mut self, world: &World, watched: &[Watched]) {
        for Watched { resource_type, permission, .. } in watched {
            self.see_asked(world, resource_type.as_str(), permission.as_str());
        }
    }

    /// Notes what an answer rests on that is judged at another moment than now.
    pub(crate) fn see_past(&mut self, world: &World) {
        self.see(world);
        self.judged_at = self.time.take();
    }

    /// Notes what a page rests on; a later one is judged at the time of the first.
    pub(crate) fn see_page(&mut self, world: &World, is_later: bool) {
        if is_later { self.see_past(world) } else { self.see(world) }
    }

    /// Notes the revision of an answer that rests on the log alone.
    pub(crate) fn see_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Notes what the call is about, beyond its question.
    pub(crate) fn explain(&mut self, detail: &str) {
        if self.recorder.is_some() {
            self.detail = Cow::Owned(detail.to_owned());
        }
    }

    /// Notes the revision that a write was committed at.
    pub(crate) fn committed(&mut self, revision: Revision) {
        (self.revision, self.reason) = (revision, "committed");
    }

    /// Notes a yes, a no, or what it depends on.
    pub(crate) fn decided(&mut self, membership: &Membership, trace: Option<&Trace>) {
        if self.recorder.is_none() {
            return;
        }
        (self.outcome, self.reason) = match membership {
            Membership::Member => (Outcome::Allowed, "related"),
            Membership::NotMember => (Outcome::Denied, "not_related"),
            Membership::Conditional(_) => (Outcome::Conditional, "missing_context"),
        };
        self.detail = match (membership, trace) {
            (Membership::Conditional(missing), _) => missing_detail(missing).into(),
            (Membership::Member, Some(trace)) => path(trace).into(),
            _ => Cow::Borrowed(""),
        };
    }

    /// Notes who acts for the subject.
    pub(crate) fn chain(&mut self, chain: &Chain) {
        self.chain = chain.clone();
    }

    /// Notes that the yes to the subject was taken back by one of those who act for it.
    pub(crate) fn refused_in_chain(&mut self, why: &str) {
        if self.recorder.is_some() {
            (self.outcome, self.reason, self.detail) = (Outcome::Denied, "chain", why.to_owned().into());
        }
    }

    /// Notes that the no rests on nothing that is stored: the subject is cut off, or who acts for it, whom the detail names.
    pub(crate) fn cut_off(&mut self) {
        self.reason = CUT_OFF;
    }

    /// Prepares for results that are handed out one after the other. Where the answer has to wait for the disk, none is handed
    /// out before a record says that it is about to be.
    pub(crate) fn begin_results(&mut self, authorizer: &Authorizer) -> Result<(), Error> {
        self.results = self.recorder.map(|_| ResultDigest::default());
        self.begin(authorizer)
    }

    /// The same for results that are not counted.
    pub(crate) fn begin(&mut self, authorizer: &Authorizer) -> Result<(), Error> {
        if self.strict {
            let receipt = self.record(authorizer, Outcome::Begun, "begun", true)?;
            authorizer.wait_recorded(self.call, &receipt)?;
            self.strict = false;
        }
        Ok(())
    }

    /// Notes one result that is handed out.
    pub(crate) fn result(&mut self, result: impl std::fmt::Display) {
        if let Some(results) = &mut self.results {
            results.add(result);
        }
    }

    /// Records how the call ended. What must be asked again is not recorded.
    pub(crate) fn end(mut self, authorizer: &Authorizer, error: Option<&Error>) -> Result<Receipt, Error> {
        if matches!(error, Some(Error::NeedsPool)) {
            return Ok(Receipt::default());
        }
        if let (Some(error), Some(_)) = (error, self.recorder) {
            (self.outcome, self.reason) = (Outcome::Failed, error.name());
            self.detail = error.to_string().into();
        }
        // Nobody waits for the record of a call that has ended already.
        let strict = self.strict && !matches!(error, Some(Error::Unrecorded(_) | Error::Deadline | Error::Cancelled));
        let (outcome, reason) = (self.outcome, self.reason);
        self.record(authorizer, outcome, reason, strict)
    }

    fn record(
        &mut self,
        authorizer: &Authorizer,
        outcome: Outcome,
        reason: &str,
        strict: bool,
    ) -> Result<Receipt, Error> {
        let Some(recorder) = self.recorder else {
            return if strict { Err(Unrecorded::NoLog.into()) } else { Ok(Receipt::default()) };
        };
        let results = if outcome == Outcome::Begun { None } else { self.results.take() };
        let (count, digest) = results.map(ResultDigest::finish).map_or((0, None), |(n, hash)| (n, Some(hash)));
        let context = self.asked.context.map(|context| recorder.context(&with_peer(context, self.peer)));
        let context = context.unwrap_or_default();
        let asked = &self.asked;
        let actors: Vec<String> = self.chain.actors().iter().map(ToString::to_string).collect();
        let decision = Decision {
            time: self.time.unwrap_or_else(|| authorizer.clock.now()),
            start: 0,
            call: asked.call,
            outcome,
            reason,
            store: self.call.store,
            revision: self.revision,
            schema: self.schema,
            duration: self.begun.map(|begun| begun.elapsed()).unwrap_or_default(),
            resource_type: asked.resource_type,
            permission: asked.permission,
            subject_type: asked.subject_type,
            subject_relation: asked.subject_relation,
            count,
            digest,
            caller: &self.call.caller.name,
            resource_id: asked.resource_id,
            subject_id: asked.subject_id,
            context: &context,
            judged_at: self.judged_at,
            actors: actors.iter().map(String::as_str).collect(),
            detail: &self.detail[..self.detail.floor_char_boundary(DETAIL_BYTES_MAX)],
        };
        Ok(recorder.record(decision, strict)?)
    }
}

/// The values that a request gave, and the address that it came from; what it says of that itself counts for nothing.
fn with_peer(context: &CaveatContext, peer: Option<IpAddr>) -> Cow<'_, CaveatContext> {
    let mut context = Cow::Borrowed(context);
    if context.contains_key(PEER) {
        context.to_mut().remove(PEER);
    }
    if let Some(peer) = peer {
        context.to_mut().insert(PEER.to_owned(), peer.to_string().into());
    }
    context
}

/// The parameters that an answer depends on, as a detail has them.
pub(crate) fn missing_detail(missing: &BTreeSet<String>) -> String {
    let names = missing.iter().cloned().collect::<Vec<_>>().join(",");
    names[..names.floor_char_boundary(DETAIL_BYTES_MAX)].to_owned()
}

/// The way on which a question was answered with yes: each step the first that was enough.
fn path(trace: &Trace) -> String {
    let mut path = format!("{}#{}", trace.resource, trace.permission);
    let mut at = trace;
    while let Some(next) = at.parts.iter().find(|part| part.result == Some(Membership::Member))
        && path.len() < DETAIL_BYTES_MAX
    {
        path.push_str(&format!(" > {}#{}", next.resource, next.permission));
        at = next;
    }
    path
}
