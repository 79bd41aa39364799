//! Check. Asked as CheckPermission is: on the spot, and on a thread that may block where that does not suffice.

use stonetown_authorizer::check::{CheckAnswer, CheckRequest};
use stonetown_authorizer::{Chain, Effort, Error};
use stonetown_tuple::{RelationName, SubjectRef};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert::{At, FieldError, context, each, timestamp_to_wire};
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
    if !message.chain.is_empty() {
        if !incoming.call.chain.is_empty() {
            return Err(FieldError::new("is named in metadata, too").within("chain").into());
        }
        let actor = |actor| Ok(SubjectRef::object(core::object(Some(actor))?));
        let actors = each("chain", std::mem::take(&mut message.chain), actor)?;
        incoming.call.chain = Chain::new(actors).map_err(|error| status(&error))?;
    }
    let question = parse(message)?;
    let (resource, permission, subject) =
        (question.resource.clone(), question.permission.clone(), question.subject.clone());
    let answer = match calls.authorizer().check(&incoming.call, &question, Effort::Inline) {
        Err(Error::NeedsPool) => {
            let _cancel = incoming.cancel_on_drop();
            let call = incoming.call.clone();
            calls.run(Pool::Light, move |authorizer| authorizer.check(&call, &question, Effort::Full)).await?
        }
        answered => answered.map_err(|error| status(&error))?,
    };
    incoming.cost.add(answer.work.subproblems.max(1), answer.work.cached);
    let mut wire = to_wire(answer);
    if wire.outcome() == wire::Outcome::Denied
        && let Some(desk) = calls.grants().filter(|desk| desk.has_templates(incoming.call.store)).cloned()
    {
        let call = incoming.call;
        let found = calls
            .run(Pool::Light, move |_| Ok(desk.requestable(&call, &resource, permission.as_str(), Some(&subject))))
            .await?;
        wire.requestable = found.map_err(|error| grant::status(&error))?.into_iter().map(grant::requestable).collect();
    }
    Ok(Response::new(wire))
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
    }
}
