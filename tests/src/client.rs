//! Calls to a server, with relationships in their text form.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use stonetown_api::client::relationship_to_wire;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_api::proto::stonetown::v1::decision_service_client::DecisionServiceClient;
use stonetown_tuple::Relationship;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use wire::consistency::Requirement;
use wire::experimental_service_client::ExperimentalServiceClient;
use wire::permissions_service_client::PermissionsServiceClient;
use wire::relationship_update::Operation;
use wire::schema_service_client::SchemaServiceClient;
use wire::watch_service_client::WatchServiceClient;

use crate::server::KEY;

/// Time that any call of a test may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Updates in one write; the server's own limit.
const UPDATES_MAX: usize = 1000;

/// The services of a server, over one connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// Relationships and questions about them.
    pub permissions: PermissionsServiceClient<InterceptedService<Channel, Bearer>>,
    /// The schema.
    pub schema: SchemaServiceClient<InterceptedService<Channel, Bearer>>,
    /// What changes.
    pub watch: WatchServiceClient<InterceptedService<Channel, Bearer>>,
    /// Counters.
    pub experimental: ExperimentalServiceClient<InterceptedService<Channel, Bearer>>,
    /// Why, who and what.
    pub decisions: DecisionServiceClient<InterceptedService<Channel, Bearer>>,
}

/// Sends the key with each call.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// The key of test servers.
    ///
    /// # Errors
    /// None in practice: the key is valid as a header.
    pub fn new() -> Result<Bearer> {
        Bearer::of(KEY)
    }

    fn of(key: &str) -> Result<Bearer> {
        Ok(Bearer(format!("Bearer {key}").parse()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Client {
    /// Connects to `host:port` with the key of test servers.
    ///
    /// # Errors
    /// If there is no server.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::connect_as(address, KEY).await
    }

    /// Connects to `host:port` with a key.
    ///
    /// # Errors
    /// If there is no server.
    pub async fn connect_as(address: &str, key: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(CALL_TIMEOUT);
        let channel = endpoint.connect().await.with_context(|| format!("no server at {address}"))?;
        let bearer = Bearer::of(key)?;
        Ok(Self {
            permissions: PermissionsServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            schema: SchemaServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            watch: WatchServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            experimental: ExperimentalServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            decisions: DecisionServiceClient::with_interceptor(channel, bearer),
        })
    }

    /// Replaces the schema.
    ///
    /// # Errors
    /// The server's.
    pub async fn write_schema(&mut self, schema: &str) -> Result<wire::ZedToken, Status> {
        let response = self.schema.write_schema(wire::WriteSchemaRequest { schema: schema.to_owned() }).await?;
        Ok(response.into_inner().written_at.unwrap_or_default())
    }

    /// Writes relationships in one transaction; returns its token.
    ///
    /// # Errors
    /// The server's.
    pub async fn write(
        &mut self,
        touched: impl IntoIterator<Item = wire::Relationship>,
        deleted: impl IntoIterator<Item = wire::Relationship>,
    ) -> Result<wire::ZedToken, Status> {
        let update = |operation: Operation| {
            move |relationship| wire::RelationshipUpdate {
                operation: operation.into(),
                relationship: Some(relationship),
            }
        };
        let updates = touched.into_iter().map(update(Operation::Touch));
        let updates = updates.chain(deleted.into_iter().map(update(Operation::Delete))).collect();
        let request = wire::WriteRelationshipsRequest { updates, ..Default::default() };
        Ok(self.permissions.write_relationships(request).await?.into_inner().written_at.unwrap_or_default())
    }

    /// Writes any number of relationships, in as many transactions as that takes.
    ///
    /// # Errors
    /// The server's.
    pub async fn write_all(&mut self, relationships: &[Relationship]) -> Result<wire::ZedToken, Status> {
        let mut token = wire::ZedToken::default();
        for chunk in relationships.chunks(UPDATES_MAX) {
            token = self.write(chunk.iter().cloned().map(relationship_to_wire), []).await?;
        }
        Ok(token)
    }

    /// Deletes what a filter matches, in one transaction; returns how many there were.
    ///
    /// # Errors
    /// The server's.
    pub async fn delete(&mut self, filter: wire::RelationshipFilter) -> Result<u64, Status> {
        let request = wire::DeleteRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        Ok(self.permissions.delete_relationships(request).await?.into_inner().relationships_deleted_count)
    }

    /// What a filter matches, in text form.
    ///
    /// # Errors
    /// The server's.
    pub async fn read(
        &mut self,
        filter: wire::RelationshipFilter,
        consistency: wire::Consistency,
    ) -> Result<BTreeSet<String>, Status> {
        let request = wire::ReadRelationshipsRequest {
            consistency: Some(consistency),
            relationship_filter: Some(filter),
            ..Default::default()
        };
        let rows = self.permissions.read_relationships(request).await?.into_inner();
        rows.map_ok(|row| row.relationship.as_ref().map(text).unwrap_or_default()).try_collect().await
    }

    /// Imports relationships in one transaction, a message per chunk; returns how many were loaded.
    ///
    /// # Errors
    /// The server's.
    pub async fn import(&mut self, chunks: Vec<Vec<wire::Relationship>>) -> Result<u64, Status> {
        let messages = chunks.into_iter().map(|relationships| wire::ImportBulkRelationshipsRequest { relationships });
        let response = self.permissions.import_bulk_relationships(futures::stream::iter(messages)).await?;
        Ok(response.into_inner().num_loaded)
    }
}

/// At the newest state.
pub fn fully_consistent() -> wire::Consistency {
    wire::Consistency { requirement: Some(Requirement::FullyConsistent(true)) }
}

/// At exactly the state of a token.
pub fn at_exactly(token: &wire::ZedToken) -> wire::Consistency {
    wire::Consistency { requirement: Some(Requirement::AtExactSnapshot(token.clone())) }
}

/// At least as fresh as a token.
pub fn at_least(token: &wire::ZedToken) -> wire::Consistency {
    wire::Consistency { requirement: Some(Requirement::AtLeastAsFresh(token.clone())) }
}

/// A relationship without caveat or expiry from its parts.
pub fn relationship(resource: (&str, &str), relation: &str, subject: (&str, &str)) -> wire::Relationship {
    wire::Relationship {
        resource: Some(object(resource.0, resource.1)),
        relation: relation.to_owned(),
        subject: Some(wire::SubjectReference {
            object: Some(object(subject.0, subject.1)),
            optional_relation: String::new(),
        }),
        ..Default::default()
    }
}

/// An object reference.
pub fn object(object_type: &str, object_id: &str) -> wire::ObjectReference {
    wire::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() }
}

/// The text form of a relationship without its caveat and expiry.
pub fn text(relationship: &wire::Relationship) -> String {
    let (resource, subject) =
        (relationship.resource.clone().unwrap_or_default(), relationship.subject.clone().unwrap_or_default());
    let who = subject.object.unwrap_or_default();
    let mut text = format!(
        "{}:{}#{}@{}:{}",
        resource.object_type, resource.object_id, relationship.relation, who.object_type, who.object_id
    );
    if !subject.optional_relation.is_empty() {
        text.push('#');
        text.push_str(&subject.optional_relation);
    }
    text
}
