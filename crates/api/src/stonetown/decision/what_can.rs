//! WhatCan.

use stonetown_authorizer::who_can::{PartPosition, Reach, WhatCanRequest};
use stonetown_authorizer::world::Cursor;
use stonetown_tuple::{ObjectType, RelationName};
use tonic::{Request, Response, Status};

use super::reasons::Shown;
use crate::calls::{Calls, MESSAGES_AHEAD, Streamed};
use crate::convert::{At, FieldError, context, optional, timestamp_to_wire};
use crate::cursor::Question;
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::core;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::WhatCanRequest>,
) -> Result<Response<Streamed<wire::WhatCanResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let freshness = message.freshness.take();
    let (limit, cursor) = core::page(message.page.take());
    let question = calls.question(&incoming.call, "WhatCan", &message);
    let mut asked = parse(message)?;
    asked.freshness = core::freshness(freshness).at("freshness")?;
    asked.limit = limit;
    asked.after = question.decode_text(cursor, "page.cursor")?;
    let stream = calls.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
        let asked = &asked;
        authorizer
            .what_can(call, asked, &mut |found, cursor| outlet.send(to_wire(found, &cursor, &question)))
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}

fn parse(message: wire::WhatCanRequest) -> Result<WhatCanRequest, FieldError> {
    Ok(WhatCanRequest {
        freshness: stonetown_tuple::Consistency::default().into(),
        subject: core::subject(message.subject).at("subject")?,
        resource_type: optional(message.resource_type, ObjectType::new).at("resource_type")?,
        permission: optional(message.permission, RelationName::new).at("permission")?,
        context: context::from_wire(message.context).at("context")?,
        with_path: message.with_path,
        limit: None,
        after: None,
    })
}

fn to_wire(found: Reach, cursor: &Cursor<PartPosition>, question: &Question) -> wire::WhatCanResponse {
    let (outcome, missing_context) = core::outcome(found.membership);
    let shown = Shown { written: &found.way.written, instance: cursor.token.instance };
    wire::WhatCanResponse {
        resource: Some(core::object_to_wire(&found.resource)),
        permission: found.permission.into(),
        outcome: outcome.into(),
        missing_context,
        until: found.way.until.map(timestamp_to_wire),
        path: shown.path(found.way.path),
        token: token::encode(cursor.token).token,
        cursor: question.encode(cursor).token,
    }
}
