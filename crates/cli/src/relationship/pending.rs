//! Relationships that begin later: by the product's own calls, since those of authzed have no field for it.

use anyhow::{Context, bail};
use serde_json::json;
use stonetown_api::client;
use stonetown_api::proto::authzed::api::v1 as authzed;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_tuple::Relationship;

use super::Read;
use crate::Outcome;
use crate::client::{Client, Freshness};
use crate::output::Output;
use crate::why::Why;

/// Writes relationships together; the token of the state that has them.
pub(super) async fn write(
    client: &mut Client,
    operation: authzed::relationship_update::Operation,
    relationships: &[Relationship],
    why: &Why,
) -> anyhow::Result<String> {
    use authzed::relationship_update::Operation as Asked;
    use pb::relationship_update::Operation;
    let operation = match operation {
        Asked::Create => Operation::Create,
        Asked::Touch => Operation::Touch,
        Asked::Delete => Operation::Delete,
        Asked::Unspecified => Operation::Unspecified,
    };
    let update = |relationship: &Relationship| pb::RelationshipUpdate {
        operation: operation.into(),
        relationship: Some(client::whole_relationship_to_wire(relationship.clone())),
    };
    let updates = relationships.iter().map(update).collect();
    let answer = client.relationships.write(why.request(pb::WriteRelationshipsRequest { updates })).await?;
    Ok(answer.into_inner().token)
}

/// Prints relationships, those that have yet to begin among them.
pub(super) async fn read(
    mut client: Client,
    filter: authzed::RelationshipFilter,
    read: &Read,
    output: Output,
) -> anyhow::Result<Outcome> {
    let subject = filter.optional_subject_filter.unwrap_or_default();
    if !filter.optional_resource_id_prefix.is_empty() || subject.optional_relation.is_some() {
        bail!("--pending knows no beginnings of ids and no relations of subjects");
    }
    let asked = pb::ListRelationshipsRequest {
        resource_type: filter.resource_type,
        resource_id: filter.optional_resource_id,
        relation: filter.optional_relation,
        subject_type: subject.subject_type,
        subject_id: subject.optional_subject_id,
        include_pending: true,
        freshness: Some(freshness(&read.freshness)),
        page: Some(pb::Page { size: read.limit, cursor: String::new() }),
    };
    let mut answers = client.relationships.list(asked).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let relationship = answer.relationship.context("the server sent no relationship")?;
        let relationship = client::whole_relationship_from_wire(relationship).map_err(anyhow::Error::msg)?;
        output.result(&relationship, || json!({ "relationship": relationship.to_string(), "cursor": answer.cursor }));
    }
    Ok(Outcome::Done)
}

/// The state asked for, as this package has it.
fn freshness(asked: &Freshness) -> pb::Freshness {
    use authzed::consistency::Requirement as Asked;
    use pb::freshness::Requirement;
    let requirement = match asked.to_wire().requirement {
        Some(Asked::AtLeastAsFresh(token)) => Some(Requirement::AtLeast(token.token)),
        Some(Asked::AtExactSnapshot(token)) => Some(Requirement::AtExactly(token.token)),
        Some(Asked::FullyConsistent(_)) => Some(Requirement::FullyConsistent(true)),
        Some(Asked::MinimizeLatency(_)) | None => None,
    };
    pb::Freshness { requirement }
}
