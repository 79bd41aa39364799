//! "May this subject do this?" — one question, with its reason on demand.

use std::sync::atomic::Ordering;

use stonetown_graph::{Answer as CheckedAnswer, Limits as GraphLimits, Membership, Overlay, Trace, Work};
use stonetown_tuple::{CaveatContext, ObjectRef, RelationName, Relationship, SubjectRef, Timestamp, ZedToken};

use crate::admission::Weight;
use crate::error::RequestLimit;
use crate::gate::Act;
use crate::limits::encoded_bytes;
use crate::moment::Freshness;
use crate::question::{Concluded, Question};
use crate::recording::{Asked, CHECK_WITH, Recording};
use crate::typecheck::Purpose;
use crate::world::World;
use crate::{Authorizer, Call, Effort, Error};

/// A question about one resource and one subject.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// Which state the answer must rest on.
    pub freshness: Freshness,
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
    /// Who; not a wildcard.
    pub subject: SubjectRef,
    /// Values for caveats.
    pub context: CaveatContext,
    /// Relationships laid over the stored ones for this question only.
    pub with: Vec<Relationship>,
    /// Whether to explain the answer.
    pub trace: bool,
}

/// The answer to a check.
#[derive(Debug, Clone)]
pub struct CheckAnswer {
    /// The revision it is true at.
    pub at: ZedToken,
    /// The time by which what begins and expires was judged.
    pub judged_at: Timestamp,
    /// The answer.
    pub membership: Membership,
    /// Until when (exclusively) a member stays one if nothing is written, `None` if for ever or if it is none. Exact, or too
    /// early where too much begins and ends before.
    pub until: Option<Timestamp>,
    /// What it took.
    pub work: Work,
    /// Why, where asked for.
    pub trace: Option<Trace>,
    /// The text of the schema it was decided by, beside a trace.
    pub schema: Option<String>,
}

impl Authorizer {
    /// Answers a check.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::NeedsPool`] only with [`Effort::Inline`].
    pub fn check(&self, call: &Call, request: &CheckRequest, effort: Effort) -> Result<CheckAnswer, Error> {
        let made_by = if request.with.is_empty() { "check" } else { CHECK_WITH };
        let asked = Asked::of(made_by).resource(&request.resource).permission(&request.permission);
        let asked = asked.subject(&request.subject).context(&request.context);
        self.recorded(call, asked, |recording| self.answer_check(call, request, effort, recording))
    }

    fn answer_check(
        &self,
        call: &Call,
        request: &CheckRequest,
        effort: Effort,
        recording: &mut Recording<'_>,
    ) -> Result<CheckAnswer, Error> {
        // A refusal may have to wait for the disk, too.
        if effort == Effort::Inline && recording.is_strict() {
            return Err(self.needs_pool());
        }
        let resource_type = request.resource.object_type.as_ref();
        // How an answer comes about tells what is related to what, as an expansion does.
        let acts = [Act::Check(resource_type), Act::Enumerate(Some(resource_type))];
        let _permit = self.admit_with_chain(call, Weight::Light, &acts[..1 + usize::from(request.trace)])?;
        self.check_scope(call, &request.resource, &request.permission)?;
        self.refuse_large_context(&request.context)?;
        refuse_wildcard(&request.subject, "subject.object_id")?;
        let chain = self.chain_of(call, &request.subject)?;
        recording.chain(&chain);
        let world = self.world_of(call, request.freshness)?;
        recording.see_page(&world, matches!(request.freshness, Freshness::At(_)));
        let resident = world.index.is_some();
        let is_long = request.trace || !request.with.is_empty() || !chain.is_empty();
        let may_block = !resident || recording.is_strict() || is_long;
        if effort == Effort::Inline && may_block {
            return Err(self.needs_pool());
        }
        let overlay = self.overlay(&world, &request.with)?;
        let graph = &self.options.limits.graph;
        let inline;
        let limits = if effort == Effort::Inline {
            inline = GraphLimits {
                edges_max_check: self.options.limits.inline_edges_max,
                caveat_steps_max: self.options.limits.inline_caveat_steps_max,
                ..graph.clone()
            };
            &inline
        } else {
            graph
        };
        let evaluation = world.evaluation(call, &request.context, overlay.as_ref(), limits)?;
        let (resource, permission, subject) = (&request.resource, &request.permission, &request.subject);
        let answered = if request.trace {
            stonetown_graph::explain(&evaluation, resource, permission, subject).map(|(a, trace)| (a, Some(trace)))
        } else {
            stonetown_graph::check(&evaluation, resource, permission, subject).map(|answer| (answer, None))
        };
        match answered {
            Ok((answer, trace)) => {
                // What the server asks itself is nobody's check.
                if !call.caller.is_internal() {
                    let counter = if resident { &self.counters.checks_resident } else { &self.counters.checks_stored };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                let question = Question {
                    call,
                    chain: &chain,
                    world: &world,
                    evaluation: &evaluation,
                    resource,
                    permission,
                    subject,
                    freshness: request.freshness,
                    wants_until: true,
                };
                let Concluded { answer, trace, until, .. } = self.conclude(&question, answer, trace, recording)?;
                let schema = trace.is_some().then(|| world.schema().text());
                let CheckedAnswer { membership, work, .. } = answer;
                Ok(CheckAnswer { at: world.token, judged_at: world.now, membership, until, work, trace, schema })
            }
            Err(stonetown_graph::GraphError::LimitExceeded { .. }) if effort == Effort::Inline => {
                Err(self.needs_pool())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn needs_pool(&self) -> Error {
        self.counters.checks_rerun.fetch_add(1, Ordering::Relaxed);
        Error::NeedsPool
    }

    /// Refuses what the caller's credential does not cover.
    pub(crate) fn check_scope(&self, call: &Call, resource: &ObjectRef, name: &RelationName) -> Result<(), Error> {
        call.caller.within_scope(resource.object_type.as_str(), name.as_str(), resource.object_id.as_str())
    }

    pub(crate) fn refuse_large_context(&self, context: &CaveatContext) -> Result<(), Error> {
        let (actual, max) = (encoded_bytes(context), self.options.limits.request_context_bytes_max);
        above(RequestLimit::RequestContextBytes, actual, max)
    }

    /// Lays relationships over a world, after the checks that writing them would meet.
    pub(crate) fn overlay(&self, world: &World, with: &[Relationship]) -> Result<Option<Overlay>, Error> {
        if with.is_empty() {
            return Ok(None);
        }
        above(RequestLimit::Overlay, with.len(), self.options.limits.overlay_max)?;
        for relationship in with {
            self.check_relationship(world, relationship, Purpose::Write)?;
        }
        Ok(Some(Overlay::new(&world.plan, &*world.snapshot, with)?))
    }
}

/// Refuses a number above its limit.
pub(crate) fn above(what: RequestLimit, actual: usize, max: usize) -> Result<(), Error> {
    if actual <= max {
        return Ok(());
    }
    Err(Error::AboveLimit { what, actual: actual as u64, max: max as u64, relationship: None })
}

pub(crate) fn refuse_wildcard(subject: &SubjectRef, field: &'static str) -> Result<(), Error> {
    if subject.is_wildcard() { Err(Error::WildcardNotAllowed { field }) } else { Ok(()) }
}
