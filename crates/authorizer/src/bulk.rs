//! Many checks at once, all in one world. Each item has its own answer or error.

use std::collections::HashSet;
use std::sync::Arc;

use stonetown_audit::Receipt;
use stonetown_graph::{Answer, Trace};
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, RelationName, SubjectRef, ZedToken};

use crate::admission::Weight;
use crate::check::{above, refuse_wildcard};
use crate::error::RequestLimit;
use crate::gate::Act;
use crate::question::{Concluded, Question};
use crate::recording::{Asked, Recording};
use crate::world::World;
use crate::{Authorizer, Call, Error};

/// Several questions.
#[derive(Debug, Clone)]
pub struct BulkCheckRequest {
    /// How fresh the answers must be.
    pub consistency: Consistency,
    /// The questions.
    pub items: Vec<BulkCheckItem>,
    /// Whether to explain the answers.
    pub trace: bool,
}

/// One of several questions.
#[derive(Debug, Clone)]
pub struct BulkCheckItem {
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
    /// Who; not a wildcard.
    pub subject: SubjectRef,
    /// Values for caveats; items may share them.
    pub context: Arc<CaveatContext>,
}

/// The answers, in the order of the questions.
#[derive(Debug)]
pub struct BulkCheckAnswer {
    /// The revision they are true at.
    pub at: ZedToken,
    /// One for each item.
    pub answers: Vec<Result<(Answer, Option<Trace>), Error>>,
    /// The text of the schema they were decided by, beside traces.
    pub schema: Option<String>,
}

impl Authorizer {
    /// Answers all items at one revision. An item that cannot be answered has an error of its own; running out of time ends
    /// the whole call.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check_bulk(&self, call: &Call, request: &BulkCheckRequest) -> Result<BulkCheckAnswer, Error> {
        let answered = self.answer_bulk(call, request);
        // Items were recorded one by one; a call that has none to show for it, or broke off, is recorded itself.
        match answered {
            Err(error) if !matches!(error, Error::Unrecorded(_)) => {
                self.recorded(call, Asked::of("check_bulk"), |_| Err(error))
            }
            answered => answered,
        }
    }

    fn answer_bulk(&self, call: &Call, request: &BulkCheckRequest) -> Result<BulkCheckAnswer, Error> {
        let types: HashSet<&str> = request.items.iter().map(|item| item.resource.object_type.as_ref()).collect();
        let mut acts: Vec<Act<'_>> = types.iter().copied().map(Act::Check).collect();
        if request.trace {
            // As with a single check.
            acts.extend(types.iter().copied().map(|resource_type| Act::Enumerate(Some(resource_type))));
        }
        if acts.is_empty() {
            acts.push(Act::CHECK_ALL);
        }
        let _permit = self.admit_with_chain(call, Weight::Heavy, &acts)?;
        request.items.iter().try_for_each(|item| self.check_scope(call, &item.resource, &item.permission))?;
        above(RequestLimit::BulkChecks, request.items.len(), self.options.limits.bulk_checks_max)?;
        let world = self.world(call, request.consistency)?;
        let mut answers = Vec::with_capacity(request.items.len());
        let mut receipt = Receipt::default();
        for item in &request.items {
            let asked = Asked::of("check_bulk").resource(&item.resource).permission(&item.permission);
            let mut recording = self.recording(call, asked.subject(&item.subject).context(&item.context));
            recording.see(&world);
            match self.check_item(call, &world, item, request.trace, &mut recording) {
                Err(error @ (Error::Deadline | Error::Cancelled)) => return Err(error),
                answer => {
                    receipt.join(recording.end(self, answer.as_ref().err())?);
                    answers.push(answer);
                }
            }
        }
        self.wait_recorded(call, &receipt)?;
        let schema = request.trace.then(|| world.schema().text());
        Ok(BulkCheckAnswer { at: world.token, answers, schema })
    }

    fn check_item(
        &self,
        call: &Call,
        world: &World,
        item: &BulkCheckItem,
        trace: bool,
        recording: &mut Recording<'_>,
    ) -> Result<(Answer, Option<Trace>), Error> {
        self.refuse_large_context(&item.context)?;
        refuse_wildcard(&item.subject, "subject.object_id")?;
        let chain = self.chain_of(call, &item.subject)?;
        recording.chain(&chain);
        let evaluation = world.evaluation(call, &item.context, None, &self.options.limits.graph)?;
        let (resource, permission, subject) = (&item.resource, &item.permission, &item.subject);
        let (answer, why) = if trace {
            let (answer, why) = stonetown_graph::explain(&evaluation, resource, permission, subject)?;
            (answer, Some(why))
        } else {
            (stonetown_graph::check(&evaluation, resource, permission, subject)?, None)
        };
        let question = Question {
            call,
            chain: &chain,
            world,
            evaluation: &evaluation,
            resource,
            permission,
            subject,
            freshness: Consistency::default().into(),
            wants_until: trace,
        };
        let Concluded { answer, trace, .. } = self.conclude(&question, answer, why, recording)?;
        Ok((answer, trace))
    }
}
