//! LookupSubjects.

use stonetown_authorizer::lookup::LookupSubjectsRequest;
use stonetown_authorizer::world::Cursor;
use stonetown_authorizer::{FoundSubject, Membership, Position};
use stonetown_tuple::{ObjectType, RelationName};
use tonic::{Request, Response, Status};

use super::lookup_resources::lookup_membership;
use crate::calls::{Calls, MESSAGES_AHEAD, Streamed};
use crate::convert::{self, At, FieldError, context};
use crate::cursor::Question;
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::lookup_subjects_request::WildcardOption;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::LookupSubjectsRequest>,
) -> Result<Response<Streamed<wire::LookupSubjectsResponse>>, Status> {
    let (incoming, _, mut message) = Incoming::open(request)?;
    let consistency = message.consistency.take();
    let cursor = message.optional_cursor.take();
    let limit = std::mem::take(&mut message.optional_concrete_limit);
    let question = calls.question(&incoming.call, "LookupSubjects", &message);
    let mut asked = parse(message)?;
    asked.consistency = convert::consistency(consistency).at("consistency")?;
    asked.limit = convert::limit(limit);
    asked.after = question.decode(cursor)?;
    let stream = calls.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
        let asked = &asked;
        authorizer
            .lookup_subjects(call, asked, &mut |found, cursor| outlet.send(to_wire(found, &cursor, &question)))
            .map(|_| ())
    });
    Ok(Response::new(stream.await?))
}

fn parse(message: wire::LookupSubjectsRequest) -> Result<LookupSubjectsRequest, FieldError> {
    let without_wildcard = message.wildcard_option() == WildcardOption::ExcludeWildcards;
    Ok(LookupSubjectsRequest {
        consistency: stonetown_tuple::Consistency::default(),
        resource: convert::object(message.resource).at("resource")?,
        permission: RelationName::new(message.permission).at("permission")?,
        subject_type: ObjectType::new(message.subject_object_type).at("subject_object_type")?,
        subject_relation: convert::optional(message.optional_subject_relation, RelationName::new)
            .at("optional_subject_relation")?,
        context: context::from_wire(message.context).at("context")?,
        limit: None,
        after: None,
        without_wildcard,
    })
}

fn to_wire(found: FoundSubject, cursor: &Cursor<Position>, question: &Question) -> wire::LookupSubjectsResponse {
    let excluded_subjects: Vec<_> =
        found.excluded.into_iter().map(|excluded| resolved(excluded.id.to_string(), excluded.membership)).collect();
    let subject = resolved(found.id.to_string(), found.membership);
    wire::LookupSubjectsResponse {
        looked_up_at: Some(token::encode(cursor.token)),
        subject_object_id: subject.subject_object_id.clone(),
        excluded_subject_ids: excluded_subjects.iter().map(|excluded| excluded.subject_object_id.clone()).collect(),
        permissionship: subject.permissionship,
        partial_caveat_info: subject.partial_caveat_info.clone(),
        subject: Some(subject),
        excluded_subjects,
        after_result_cursor: Some(question.encode(cursor)),
    }
}

fn resolved(id: String, membership: Membership) -> wire::ResolvedSubject {
    let (permissionship, partial_caveat_info) = lookup_membership(membership);
    wire::ResolvedSubject { subject_object_id: id, permissionship: permissionship.into(), partial_caveat_info }
}
