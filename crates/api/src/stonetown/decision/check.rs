//! Check. Asked as CheckPermission is: on the spot, and on a thread that may block where that does not suffice.

use stonetown_authorizer::check::{CheckAnswer, CheckRequest};
use stonetown_authorizer::explain::{Asked, ExplainRequest};
use stonetown_authorizer::{Effort, Error};
use stonetown_tuple::RelationName;
use tonic::{Request, Response, Status};

use super::explain;
use crate::calls::{Calls, Pool};
use crate::convert::{At, FieldError, context, timestamp_to_wire};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::status::status;
use crate::stonetown::{core, grant};
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::CheckRequest>,
) -> Result<Response<wire::CheckResponse>, Status> {
    let (mut incoming, _, mut message) = Incoming::open_check(request)?;
    explain::name_chain(&mut incoming, std::mem::take(&mut message.chain))?;
    let explain = message.explain;
    let question = parse(message)?;
    let call = incoming.call.clone();
    let (resource, permission, subject) =
        (question.resource.clone(), question.permission.clone(), question.subject.clone());
    let mut wire =
        if explain { explained(calls, incoming, question).await? } else { answered(calls, incoming, question).await? };
    if wire.outcome() == wire::Outcome::Denied
        && let Some(desk) = calls.grants().filter(|desk| desk.has_templates(call.store)).cloned()
    {
        let found = calls
            .run(Pool::Light, move |_| Ok(desk.requestable(&call, &resource, permission.as_str(), Some(&subject))))
            .await?;
        wire.requestable = found.map_err(|error| grant::status(&error))?.into_iter().map(grant::requestable).collect();
    }
    Ok(Response::new(wire))
}

/// The answer without reasons.
async fn answered(
    calls: &Calls,
    mut incoming: Incoming,
    question: CheckRequest,
) -> Result<wire::CheckResponse, Status> {
    let answer = match calls.authorizer().check(&incoming.call, &question, Effort::Inline) {
        Err(Error::NeedsPool) => {
            let _cancel = incoming.cancel_on_drop();
            let call = incoming.call.clone();
            calls.run(Pool::Light, move |authorizer| authorizer.check(&call, &question, Effort::Full)).await?
        }
        answered => answered.map_err(|error| status(&error))?,
    };
    incoming.cost.add(answer.work.subproblems.max(1), answer.work.cached);
    Ok(to_wire(answer))
}

/// The answer with its reasons.
async fn explained(calls: &Calls, incoming: Incoming, question: CheckRequest) -> Result<wire::CheckResponse, Status> {
    let CheckRequest { freshness, resource, permission, subject, context, .. } = question;
    let asked = Asked { resource, permission, subject, context };
    let request = ExplainRequest { freshness, asked, misses_max: explain::MISSES };
    let explained = explain::explained(calls, incoming, request).await?;
    let (outcome, missing_context) = core::outcome(explained.membership().clone());
    Ok(wire::CheckResponse {
        outcome: outcome.into(),
        missing_context,
        token: token::encode(explained.at).token,
        judged_at: Some(timestamp_to_wire(explained.judged_at)),
        until: explained.until.map(timestamp_to_wire),
        reasons: Some(explain::reasons(explained)),
        requestable: Vec::new(),
    })
}

fn parse(message: wire::CheckRequest) -> Result<CheckRequest, FieldError> {
    Ok(CheckRequest {
        freshness: core::freshness(message.freshness).at("freshness")?,
        resource: core::object(message.resource).at("resource")?,
        permission: RelationName::new(message.permission).at("permission")?,
        subject: core::subject(message.subject).at("subject")?,
        context: context::from_wire(message.context).at("context")?,
        with: Vec::new(),
        trace: false,
    })
}

fn to_wire(answer: CheckAnswer) -> wire::CheckResponse {
    let (outcome, missing_context) = core::outcome(answer.membership);
    wire::CheckResponse {
        outcome: outcome.into(),
        missing_context,
        token: token::encode(answer.at).token,
        judged_at: Some(timestamp_to_wire(answer.judged_at)),
        until: answer.until.map(timestamp_to_wire),
        requestable: Vec::new(),
        reasons: None,
    }
}
