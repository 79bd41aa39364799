//! RelationshipsService: relationships with all that is stored of them.

use stonetown_authorizer::Authorizer;
use stonetown_authorizer::list::ListRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_tuple::{
    CaveatName, CaveatRef, ObjectId, ObjectType, Operation, RelationName, Relationship, RelationshipFilter,
    RelationshipUpdate, SubjectFilter, SubjectId, SubjectRelationFilter,
};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, MESSAGES_AHEAD, Pool, Streamed};
use crate::convert::{
    At, FieldError, context, each, limit, optional, required, timestamp_from_wire, timestamp_to_wire,
};
use crate::incoming::{Incoming, transaction_metadata, write_id};
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::core;
use crate::token;

#[tonic::async_trait]
impl wire::relationships_service_server::RelationshipsService for Calls {
    type ListStream = Streamed<wire::ListRelationshipsResponse>;

    async fn write(
        &self,
        request: Request<wire::WriteRelationshipsRequest>,
    ) -> Result<Response<wire::WriteRelationshipsResponse>, Status> {
        let (incoming, metadata, message) = Incoming::open(request)?;
        let updates = each("updates", core::some(message.updates).at("updates")?, update)?;
        let (request_id, metadata) = (write_id(&metadata)?, transaction_metadata(&metadata, None)?);
        let asked = WriteRequest { updates, metadata, request_id, ..WriteRequest::default() };
        let write = move |authorizer: &Authorizer| authorizer.write(&incoming.call, &asked);
        let token = token::encode(self.run(Pool::Light, write).await?).token;
        Ok(Response::new(wire::WriteRelationshipsResponse { token }))
    }

    async fn list(
        &self,
        request: Request<wire::ListRelationshipsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let (incoming, _, mut message) = Incoming::open(request)?;
        let freshness = core::freshness(message.freshness.take()).at("freshness")?;
        let page = message.page.take().unwrap_or_default();
        let question = self.question(&incoming.call, "ListRelationships", &message);
        let asked = ListRequest {
            freshness,
            pending: message.include_pending,
            limit: limit(page.size),
            after: question.decode(core::cursor(page))?,
            filter: filter(message)?,
        };
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            let listed = authorizer.list_relationships(call, &asked, &mut |relationship, cursor| {
                outlet.send(wire::ListRelationshipsResponse {
                    relationship: Some(to_wire(relationship)),
                    token: token::encode(cursor.token).token,
                    cursor: question.encode(&cursor).token,
                })
            });
            listed.map(|_| ())
        });
        Ok(Response::new(stream.await?))
    }
}

fn update(update: wire::RelationshipUpdate) -> Result<RelationshipUpdate, FieldError> {
    use wire::relationship_update::Operation as Wire;
    let operation = match update.operation() {
        Wire::Create => Operation::Create,
        Wire::Touch => Operation::Touch,
        Wire::Delete => Operation::Delete,
        Wire::Unspecified => {
            let message = "must be OPERATION_CREATE, OPERATION_TOUCH or OPERATION_DELETE";
            return Err(FieldError::new(message)).at("operation");
        }
    };
    let relationship = required(update.relationship).and_then(from_wire).at("relationship")?;
    Ok(RelationshipUpdate { operation, relationship })
}

/// A relationship as the domain has it.
pub(crate) fn from_wire(message: wire::Relationship) -> Result<Relationship, FieldError> {
    let context = context::from_wire(message.caveat_context).at("caveat_context")?;
    let caveat = optional(message.caveat, CaveatName::new).at("caveat")?;
    if caveat.is_none() && !context.is_empty() {
        return Err(FieldError::new("is there without a caveat")).at("caveat_context");
    }
    Ok(Relationship {
        resource: core::object(message.resource).at("resource")?,
        relation: RelationName::new(message.relation).at("relation")?,
        subject: core::subject(message.subject).at("subject")?,
        caveat: caveat.map(|name| CaveatRef { name, context }),
        not_before: message.not_before.map(timestamp_from_wire).transpose().at("not_before")?,
        expires_at: message.expires_at.map(timestamp_from_wire).transpose().at("expires_at")?,
    })
}

fn filter(message: wire::ListRelationshipsRequest) -> Result<RelationshipFilter, FieldError> {
    let subject_type = optional(message.subject_type, ObjectType::new).at("subject_type")?;
    let subject_id = optional(message.subject_id, SubjectId::new).at("subject_id")?;
    let subject = match (subject_type, subject_id) {
        (None, Some(_)) => return Err(FieldError::new("needs the type")).at("subject_id"),
        (None, None) => None,
        (Some(subject_type), subject_id) => {
            Some(SubjectFilter { subject_type, subject_id, relation: SubjectRelationFilter::Any })
        }
    };
    Ok(RelationshipFilter {
        resource_type: Some(ObjectType::new(message.resource_type).at("resource_type")?),
        resource_id: optional(message.resource_id, ObjectId::new).at("resource_id")?,
        resource_id_prefix: None,
        relation: optional(message.relation, RelationName::new).at("relation")?,
        subject,
    })
}

/// A relationship as this package has it on the wire.
pub(crate) fn to_wire(relationship: Relationship) -> wire::Relationship {
    let Relationship { resource, relation, subject, caveat, not_before, expires_at } = relationship;
    let (caveat, caveat_context) = match caveat {
        None => (String::new(), None),
        Some(caveat) => (caveat.name.into(), context::to_wire_if_any(caveat.context)),
    };
    wire::Relationship {
        resource: Some(wire::ObjectRef { r#type: resource.object_type.into(), id: resource.object_id.into() }),
        relation: relation.into(),
        subject: Some(wire::SubjectRef {
            r#type: subject.object_type().as_str().to_owned(),
            id: subject.object_id().as_str().to_owned(),
            relation: subject.relation().map(|relation| relation.as_str().to_owned()).unwrap_or_default(),
        }),
        caveat,
        caveat_context,
        not_before: not_before.map(timestamp_to_wire),
        expires_at: expires_at.map(timestamp_to_wire),
    }
}
