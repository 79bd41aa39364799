//! `stonetown relationship watch`.

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use tonic::Code;
use tonic::metadata::MetadataValue;

use super::filter;
use crate::Outcome;
use crate::client::Client;
use crate::output::Output;
use crate::wire;

/// What to watch. Without a revision it begins with what is written from now on.
#[derive(Args)]
pub(crate) struct Watch {
    /// Resource types to hear of; none for all.
    #[arg(value_name = "TYPE", conflicts_with = "filter")]
    object_types: Vec<String>,
    /// Relationships to hear of, as the arguments of `read` in one text: `TYPE[:ID] [RELATION [SUBJECT]]`. Repeatable: any.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Go on after this token.
    #[arg(long, value_name = "ZEDTOKEN", conflicts_with = "from_start")]
    revision: Option<String>,
    /// Begin with everything that holds now.
    #[arg(long)]
    from_start: bool,
    /// What to hear of besides relationships.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Schema])]
    also: Vec<Kind>,
    /// End once so many updates were told, the revision of the last one whole; 0 for never.
    #[arg(long, default_value_t = 0, value_name = "N")]
    limit: u64,
}

/// What a watch tells besides updates of relationships.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// New schemas.
    Schema,
    /// How far it is, now and then.
    Checkpoints,
    /// Neither.
    Nothing,
}

pub(crate) async fn run(mut client: Client, watch: Watch, output: Output) -> anyhow::Result<Outcome> {
    let mut left = (watch.limit > 0).then_some(watch.limit);
    let mut from = watch.revision.clone();
    loop {
        let mut request = tonic::Request::new(watch.request(from.as_deref())?);
        if watch.from_start && from.is_none() {
            request.metadata_mut().insert("stonetown-watch-from", MetadataValue::from_static("start"));
        }
        let mut answers = client.watch.watch(request).await?.into_inner();
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                // A server that stops or restarts: what is missing comes after the last token. Without one nothing can go on.
                Ok(None) if from.is_some() => break,
                Ok(None) => return Ok(Outcome::Done),
                Err(status) if status.code() == Code::Unavailable && from.is_some() => break,
                Err(status) => return Err(status.into()),
            };
            print(&answer, output);
            if let Some(through) = answer.changes_through {
                from = Some(through.token);
            }
            if let Some(left) = &mut left {
                *left = left.saturating_sub(answer.updates.len() as u64);
                if *left == 0 {
                    return Ok(Outcome::Done);
                }
            }
        }
        client.reconnect().await.context("the watch ended, and the server does not come back")?;
    }
}

impl Watch {
    fn request(&self, from: Option<&str>) -> anyhow::Result<pb::WatchRequest> {
        let asked = |kind| self.also.contains(&kind);
        let kinds = [
            (true, pb::WatchKind::IncludeRelationshipUpdates),
            (asked(Kind::Schema), pb::WatchKind::IncludeSchemaUpdates),
            (asked(Kind::Checkpoints), pb::WatchKind::IncludeCheckpoints),
        ];
        Ok(pb::WatchRequest {
            optional_object_types: self.object_types.clone(),
            optional_start_cursor: from.map(|token| pb::ZedToken { token: token.to_owned() }),
            optional_relationship_filters: self.filter.iter().map(|text| filter(text)).collect::<Result<_, _>>()?,
            optional_update_kinds: kinds.into_iter().filter(|(asked, _)| *asked).map(|(_, kind)| kind.into()).collect(),
        })
    }
}

fn print(answer: &pb::WatchResponse, output: Output) {
    let through = answer.changes_through.as_ref().map(|token| token.token.as_str());
    for update in &answer.updates {
        let operation = match update.operation() {
            pb::relationship_update::Operation::Delete => "DELETE",
            _ => "TOUCH",
        };
        let text = update.relationship.as_ref().map(wire::relationship_text).unwrap_or_default();
        output.result(format_args!("{operation} {text}"), || {
            let metadata = answer.optional_transaction_metadata.clone().map(wire::metadata_json);
            json!({ "operation": operation, "relationship": text, "changesThrough": through, "metadata": metadata })
        });
    }
    if answer.schema_updated {
        output.result("SCHEMA", || json!({ "schemaUpdated": true, "changesThrough": through }));
    }
    if answer.is_checkpoint {
        let text = through.unwrap_or_default();
        output.result(format_args!("CHECKPOINT {text}"), || json!({ "checkpoint": true, "changesThrough": through }));
    }
}
