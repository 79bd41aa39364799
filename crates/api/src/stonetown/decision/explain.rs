//! Explain, and checks that ask for their reasons.

use stonetown_authorizer::Chain;
use stonetown_authorizer::explain::{Asked, ExplainRequest, Explained};
use stonetown_tuple::{RelationName, SubjectRef};
use tonic::{Request, Response, Status};

use super::reasons::Shown;
use super::replay;
use crate::calls::{Calls, Pool};
use crate::convert::{At, FieldError, context, each, timestamp_to_wire};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::status::status;
use crate::stonetown::core;
use crate::token;

/// Near misses that are shown where no number is asked for.
pub(super) const MISSES: usize = 5;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::ExplainRequest>,
) -> Result<Response<wire::ExplainResponse>, Status> {
    let (mut incoming, _, mut message) = Incoming::open_check(request)?;
    if let Some(number) = message.decision {
        return replay::answer(calls, incoming, number, message).await;
    }
    name_chain(&mut incoming, std::mem::take(&mut message.chain))?;
    let explained = explained(calls, incoming, parse(message)?).await?;
    Ok(Response::new(to_wire(explained)))
}

/// An answer with its reasons as the wire has it.
pub(super) fn to_wire(explained: Explained) -> wire::ExplainResponse {
    let (outcome, missing_context) = core::outcome(explained.membership().clone());
    wire::ExplainResponse {
        outcome: outcome.into(),
        missing_context,
        token: token::encode(explained.at).token,
        judged_at: Some(timestamp_to_wire(explained.judged_at)),
        until: explained.until.map(timestamp_to_wire),
        reasons: Some(reasons(explained)),
        replay: None,
    }
}

/// How many near misses a message asks for.
pub(super) fn misses(asked: u32) -> usize {
    if asked == 0 { MISSES } else { asked as usize }
}

/// Takes those who act for the subject out of the message, where metadata does not name them.
pub(super) fn name_chain(incoming: &mut Incoming, chain: Vec<wire::ObjectRef>) -> Result<(), Status> {
    if chain.is_empty() {
        return Ok(());
    }
    if !incoming.call.chain.is_empty() {
        return Err(FieldError::new("is named in metadata, too").within("chain").into());
    }
    let actor = |actor| Ok(SubjectRef::object(core::object(Some(actor))?));
    let actors = each("chain", chain, actor)?;
    incoming.call.chain = Chain::new(actors).map_err(|error| status(&error))?;
    Ok(())
}

/// Asks for an answer with its reasons.
pub(super) async fn explained(
    calls: &Calls,
    mut incoming: Incoming,
    question: ExplainRequest,
) -> Result<Explained, Status> {
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let explained = calls.run(Pool::Heavy, move |authorizer| authorizer.explain(&call, &question)).await?;
    let work = explained.reasons.answer.work;
    incoming.cost.add(work.subproblems.max(1), work.cached);
    Ok(explained)
}

/// The reasons of an answer as the wire has them.
pub(super) fn reasons(explained: Explained) -> wire::Reasons {
    let refused_by = explained.refused_by.unwrap_or_default();
    let shown = Shown { written: &explained.written, instance: explained.at.instance };
    wire::Reasons { cut_off: explained.is_cut_off, refused_by, ..shown.reasons(explained.reasons) }
}

fn parse(message: wire::ExplainRequest) -> Result<ExplainRequest, FieldError> {
    Ok(ExplainRequest {
        freshness: core::freshness(message.freshness).at("freshness")?,
        asked: Asked {
            resource: core::object(message.resource).at("resource")?,
            permission: RelationName::new(message.permission).at("permission")?,
            subject: core::subject(message.subject).at("subject")?,
            context: context::from_wire(message.context).at("context")?,
        },
        misses_max: misses(message.misses),
    })
}
