//! `stonetown relationship watch`.

use std::error::Error;

use anyhow::Context;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_tuple::Timestamp;
use tonic::Code;
use tonic::metadata::MetadataValue;

use super::filter;
use crate::client::Client;
use crate::output::Output;
use crate::{Outcome, complete, wire};

/// What to watch. Without a revision it begins with what is written from now on.
#[derive(Args)]
pub(crate) struct Watch {
    /// Resource types to hear of; none for all.
    #[arg(value_name = "TYPE", conflicts_with = "filter", add = ArgValueCompleter::new(complete::object_type))]
    object_types: Vec<String>,
    /// Resource types, as `zed` takes them.
    #[arg(long = "object_types", hide = true, value_delimiter = ',', conflicts_with = "filter")]
    more_object_types: Vec<String>,
    /// Relationships to hear of: `TYPE[:ID][#RELATION][@SUBJECT]`, or the same parted by spaces as the arguments of `read` are.
    /// Repeatable: any.
    #[arg(long, value_name = "FILTER", add = ArgValueCompleter::new(complete::relationship))]
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
    /// Begin each line with the time at which it came.
    #[arg(long)]
    timestamp: bool,
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
    let request = watch.request()?;
    let mut place = Place { after: request.optional_start_cursor.clone(), ..Place::default() };
    let mut left = if watch.limit == 0 { u64::MAX } else { watch.limit };
    loop {
        match watch.follow(&mut client, request.clone(), &mut place, &mut left, output).await {
            Ok(()) => return Ok(Outcome::Done),
            // What is missing comes after the last token. Without one nothing can go on.
            Err(status) if is_broken(&status) && place.after.is_some() => {}
            Err(status) => return Err(status.into()),
        }
        tracing::warn!("the watch broke off; it goes on where it was when the server answers again");
        client.reconnect().await.context("the watch ended, and the server does not come back")?;
    }
}

impl Watch {
    fn request(&self) -> anyhow::Result<pb::WatchRequest> {
        let kinds = [
            (true, pb::WatchKind::IncludeRelationshipUpdates),
            (self.also.contains(&Kind::Schema), pb::WatchKind::IncludeSchemaUpdates),
            // Also to know where to go on, however quiet it is.
            (true, pb::WatchKind::IncludeCheckpoints),
        ];
        Ok(pb::WatchRequest {
            optional_object_types: self.object_types.iter().chain(&self.more_object_types).cloned().collect(),
            optional_start_cursor: self.revision.clone().map(|token| pb::ZedToken { token }),
            optional_relationship_filters: self.filter.iter().map(|text| filter(text)).collect::<Result<_, _>>()?,
            optional_update_kinds: kinds.into_iter().filter(|(asked, _)| *asked).map(|(_, kind)| kind.into()).collect(),
        })
    }

    /// Prints one stream, until as many updates were told as were left to tell.
    async fn follow(
        &self,
        client: &mut Client,
        mut request: pb::WatchRequest,
        place: &mut Place,
        left: &mut u64,
        output: Output,
    ) -> Result<(), tonic::Status> {
        request.optional_start_cursor = place.after.clone();
        let mut request = tonic::Request::new(request);
        if self.from_start && place.after.is_none() {
            request.metadata_mut().insert("stonetown-watch-from", MetadataValue::from_static("start"));
        }
        let mut answers = client.watch.watch(request).await?.into_inner();
        let mut again = place.told;
        while let Some(mut answer) = answers.message().await? {
            place.go_on(&mut answer, &mut again);
            self.print(&answer, output);
            *left = left.saturating_sub(answer.updates.len() as u64);
            if *left == 0 {
                return Ok(());
            }
        }
        Err(tonic::Status::unavailable("the watch ended"))
    }

    fn print(&self, answer: &pb::WatchResponse, output: Output) {
        let through = answer.changes_through.as_ref().map(|token| token.token.as_str());
        let came = self.timestamp.then(|| format!("{:.3}", Timestamp::now()));
        let show = |text: String, mut value: Value| {
            let text = came.as_ref().map(|came| format!("{came} {text}")).unwrap_or(text);
            value["changesThrough"] = json!(through);
            if let Some(came) = &came {
                value["timestamp"] = json!(came);
            }
            output.result(text, || value);
        };
        for update in &answer.updates {
            let operation = match update.operation() {
                pb::relationship_update::Operation::Delete => "DELETE",
                _ => "TOUCH",
            };
            let text = update.relationship.as_ref().map(wire::relationship_text).unwrap_or_default();
            let metadata = answer.optional_transaction_metadata.clone().map(wire::metadata_json);
            let value = json!({ "operation": operation, "relationship": text, "metadata": metadata });
            show(format!("{operation} {text}"), value);
        }
        if answer.schema_updated {
            show("SCHEMA".to_owned(), json!({ "schemaUpdated": true }));
        }
        if answer.is_checkpoint && self.also.contains(&Kind::Checkpoints) {
            show(format!("CHECKPOINT {}", through.unwrap_or_default()), json!({ "checkpoint": true }));
        }
    }
}

/// How far a watch is.
#[derive(Debug, Default, PartialEq)]
struct Place {
    /// Everything up to here was told.
    after: Option<pb::ZedToken>,
    /// So many updates of what comes next were told. A large revision comes in several answers, and whole again where they broke
    /// off.
    told: usize,
}

impl Place {
    /// Takes out of an answer the updates that are told `again`, and notes what is left of it as told.
    fn go_on(&mut self, answer: &mut pb::WatchResponse, again: &mut usize) {
        let known = answer.updates.len().min(*again);
        answer.updates.drain(..known);
        *again -= known;
        match &answer.changes_through {
            Some(through) if self.after.as_ref() != Some(through) => {
                *self = Place { after: Some(through.clone()), told: 0 };
                *again = 0;
            }
            _ => self.told += answer.updates.len(),
        }
    }
}

/// Whether the server, or the way to it, is gone, rather than that it refused.
fn is_broken(status: &tonic::Status) -> bool {
    status.code() == Code::Unavailable || (status.code() == Code::Unknown && status.source().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each answer the ids that are told, after those of another stream were.
    fn told(place: &mut Place, answers: &[(&[&str], &str)]) -> Vec<String> {
        let mut again = place.told;
        let mut ids = Vec::new();
        for (updates, through) in answers {
            let update = |id: &&str| pb::RelationshipUpdate {
                operation: 0,
                relationship: Some(pb::Relationship { relation: (*id).to_owned(), ..Default::default() }),
            };
            let mut answer = pb::WatchResponse {
                updates: updates.iter().map(update).collect(),
                changes_through: Some(pb::ZedToken { token: (*through).to_owned() }),
                ..Default::default()
            };
            place.go_on(&mut answer, &mut again);
            ids.extend(answer.updates.into_iter().filter_map(|update| Some(update.relationship?.relation)));
        }
        ids
    }

    #[test]
    fn a_revision_that_broke_off_is_told_once() {
        let mut place = Place::default();
        assert_eq!(told(&mut place, &[(&["a"], "1"), (&["b", "c"], "1"), (&["d"], "1")]), ["a", "b", "c", "d"]);
        // Broken off twice, in other places.
        assert_eq!(told(&mut place, &[(&["b", "c"], "1")]), [""; 0]);
        assert_eq!(told(&mut place, &[(&["b"], "1"), (&["c", "d", "e"], "1")]), ["e"]);
        assert_eq!(told(&mut place, &[(&["b", "c", "d"], "1"), (&["e", "f"], "2"), (&["g"], "3")]), ["f", "g"]);
        assert_eq!(place, Place { after: Some(pb::ZedToken { token: "3".to_owned() }), told: 0 });
        assert_eq!(told(&mut place, &[(&[], "3"), (&["h"], "4")]), ["h"]);
    }
}
