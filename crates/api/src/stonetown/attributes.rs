//! AttributesService: what caveats trust.

use stonetown_authorizer::Authorizer;
use stonetown_authorizer::attributes::ListAttributesRequest;
use stonetown_tuple::{Attribute, AttributeName, ObjectId, ObjectType};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, MESSAGES_AHEAD, Pool, Streamed};
use crate::convert::{
    At, FieldError, context, each, limit, optional, required, timestamp_from_wire, timestamp_to_wire,
};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::core;
use crate::token;

#[tonic::async_trait]
impl wire::attributes_service_server::AttributesService for Calls {
    type ListStream = Streamed<wire::ListAttributesResponse>;

    async fn put(
        &self,
        request: Request<wire::PutAttributesRequest>,
    ) -> Result<Response<wire::PutAttributesResponse>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let attributes = each("attributes", core::some(message.attributes).at("attributes")?, attribute)?;
        let put = move |authorizer: &Authorizer| authorizer.put_attributes(&incoming.call, &attributes);
        let token = token::encode(self.run(Pool::Light, put).await?).token;
        Ok(Response::new(wire::PutAttributesResponse { token }))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteAttributesRequest>,
    ) -> Result<Response<wire::DeleteAttributesResponse>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let object = core::object(message.object).at("object")?;
        let names = each("names", core::some(message.names).at("names")?, |name| Ok(AttributeName::new(name)?))?;
        let delete = move |authorizer: &Authorizer| authorizer.delete_attributes(&incoming.call, &object, &names);
        let token = token::encode(self.run(Pool::Light, delete).await?).token;
        Ok(Response::new(wire::DeleteAttributesResponse { token }))
    }

    async fn list(&self, request: Request<wire::ListAttributesRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (incoming, _, mut message) = Incoming::open(request)?;
        let freshness = core::freshness(message.freshness.take()).at("freshness")?;
        let page = message.page.take().unwrap_or_default();
        let question = self.question(&incoming.call, "ListAttributes", &message);
        let asked = ListAttributesRequest {
            freshness,
            object_type: ObjectType::new(message.object_type).at("object_type")?,
            object_id: optional(message.object_id, ObjectId::new).at("object_id")?,
            name: optional(message.name, AttributeName::new).at("name")?,
            limit: limit(page.size),
            after: question.decode(core::cursor(page))?,
        };
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            let listed = authorizer.list_attributes(call, &asked, &mut |attribute, cursor| {
                outlet.send(wire::ListAttributesResponse {
                    attribute: Some(to_wire(attribute)),
                    token: token::encode(cursor.token).token,
                    cursor: question.encode(&cursor).token,
                })
            });
            listed.map(|_| ())
        });
        Ok(Response::new(stream.await?))
    }
}

fn attribute(message: wire::Attribute) -> Result<Attribute, FieldError> {
    Ok(Attribute {
        object: core::object(message.object).at("object")?,
        name: AttributeName::new(message.name).at("name")?,
        value: required(message.value).and_then(context::value).at("value")?,
        expires_at: message.expires_at.map(timestamp_from_wire).transpose().at("expires_at")?,
    })
}

fn to_wire(attribute: Attribute) -> wire::Attribute {
    let Attribute { object, name, value, expires_at } = attribute;
    wire::Attribute {
        object: Some(wire::ObjectRef { r#type: object.object_type.into(), id: object.object_id.into() }),
        name: name.into(),
        value: Some(context::value_to_wire(value)),
        expires_at: expires_at.map(timestamp_to_wire),
    }
}
