//! WhoCan.

use stonetown_authorizer::who_can::{Holder, PartPosition, Subjects, WhoCanRequest};
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
    request: Request<wire::WhoCanRequest>,
) -> Result<Response<Streamed<wire::WhoCanResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let freshness = message.freshness.take();
    let (limit, cursor) = core::page(message.page.take());
    let question = calls.question(&incoming.call, "WhoCan", &message);
    let mut asked = parse(message)?;
    asked.freshness = core::freshness(freshness).at("freshness")?;
    asked.limit = limit;
    asked.after = question.decode_text(cursor, "page.cursor")?;
    let stream = calls.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
        let asked = &asked;
        authorizer
            .who_can(call, asked, &mut |found, cursor| outlet.send(to_wire(found, &cursor, &question)))
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}

fn parse(message: wire::WhoCanRequest) -> Result<WhoCanRequest, FieldError> {
    let groups = message.groups();
    let subject_type = optional(message.subject_type, ObjectType::new).at("subject_type")?;
    let relation = optional(message.subject_relation, RelationName::new).at("subject_relation")?;
    let subjects = match (groups, subject_type, relation) {
        (wire::Groups::Flattened, None, None) => Subjects::All,
        (wire::Groups::Flattened, Some(subject_type), None) => Subjects::Of(subject_type),
        (wire::Groups::Flattened, Some(subject_type), Some(relation)) => Subjects::Usersets(subject_type, relation),
        (_, None, Some(_)) => return Err(FieldError::new("needs a subject_type")).at("subject_relation"),
        (wire::Groups::AsNamed, None, None) => Subjects::Named,
        (wire::Groups::AsNamed, Some(_), _) => {
            return Err(FieldError::new("goes with no subject_type")).at("groups");
        }
    };
    Ok(WhoCanRequest {
        freshness: stonetown_tuple::Consistency::default().into(),
        resource: core::object(message.resource).at("resource")?,
        permission: RelationName::new(message.permission).at("permission")?,
        subjects,
        context: context::from_wire(message.context).at("context")?,
        with_path: message.with_path,
        limit: None,
        after: None,
    })
}

fn to_wire(found: Holder, cursor: &Cursor<PartPosition>, question: &Question) -> wire::WhoCanResponse {
    let (outcome, missing_context) = core::outcome(found.membership);
    let excluded = found.excluded.into_iter().map(|excluded| {
        let (outcome, missing_context) = core::outcome(excluded.membership);
        wire::ExcludedSubject { id: excluded.id.to_string(), outcome: outcome.into(), missing_context }
    });
    let shown = Shown { written: &found.way.written, instance: cursor.token.instance };
    wire::WhoCanResponse {
        subject: Some(core::subject_to_wire(&found.subject)),
        outcome: outcome.into(),
        missing_context,
        excluded: excluded.collect(),
        until: found.way.until.map(timestamp_to_wire),
        path: shown.path(found.way.path),
        token: token::encode(cursor.token).token,
        cursor: question.encode(cursor).token,
    }
}
