//! `stonetown relationship`.

mod bulk_delete;
mod pending;
mod watch;

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_tuple::Relationship;

use crate::client::{Client, Freshness};
use crate::output::Output;
use crate::why::Why;
use crate::{Outcome, complete, wire};

/// Commands on relationships.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add relationships; one that exists already refuses its batch.
    Create(Write),
    /// Add relationships, or replace their caveat and expiration.
    Touch(Write),
    /// Delete relationships.
    Delete(Write),
    /// Print relationships as they are stored.
    Read(Read),
    /// Delete all relationships that match.
    BulkDelete(bulk_delete::BulkDelete),
    /// Print what changes, as it changes.
    Watch(watch::Watch),
}

/// Which relationships to write: the arguments, or one per line on standard input.
#[derive(Args)]
pub(crate) struct Write {
    /// The resource, or a whole relationship such as `document:readme#viewer@user:alice`.
    #[arg(value_name = "RESOURCE:ID", add = ArgValueCompleter::new(complete::relationship))]
    resource: Option<String>,
    /// The relation.
    #[arg(requires = "resource", add = ArgValueCompleter::new(complete::relation))]
    relation: Option<String>,
    /// The subject.
    #[arg(value_name = "SUBJECT:ID[#RELATION]", requires = "relation", add = ArgValueCompleter::new(complete::subject))]
    subject: Option<String>,
    /// Caveat as `name` or `name:{json}`.
    #[arg(long)]
    caveat: Option<String>,
    /// When it ends, RFC 3339, UTC.
    #[arg(long, value_name = "TIME")]
    expiration_time: Option<String>,
    /// When it begins, RFC 3339, UTC; until then it does not hold.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Relationships written together.
    #[arg(long, short, default_value_t = 100, value_name = "N")]
    batch_size: usize,
    #[command(flatten)]
    why: Why,
}

/// Conditions on relationships.
#[derive(Args)]
struct Selection {
    /// The resource's type, perhaps with an id, or the beginning of one and `%`.
    #[arg(value_name = "TYPE[:ID]", add = ArgValueCompleter::new(complete::resource))]
    resource: String,
    /// The relation.
    #[arg(add = ArgValueCompleter::new(complete::relation))]
    relation: Option<String>,
    /// The subject's type, perhaps with an id and a relation.
    #[arg(value_name = "TYPE[:ID[#RELATION]]", add = ArgValueCompleter::new(complete::subject))]
    subject: Option<String>,
    /// The subject, in the place of the third argument, whatever the relation is.
    #[arg(long, value_name = "TYPE[:ID[#RELATION]]", conflicts_with = "subject", add = ArgValueCompleter::new(complete::subject))]
    subject_filter: Option<String>,
}

/// Which relationships to read.
#[derive(Args)]
pub(crate) struct Read {
    #[command(flatten)]
    selection: Selection,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    limit: u32,
    /// Relationships asked for at a time.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    page_limit: u32,
    /// Go on after this cursor.
    #[arg(long)]
    cursor: Option<String>,
    /// Those that have yet to begin, too, each with when it begins.
    #[arg(long, conflicts_with = "cursor")]
    pending: bool,
    #[command(flatten)]
    freshness: Freshness,
}

pub(crate) async fn run(client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    use pb::relationship_update::Operation;
    match command {
        Command::Create(write) => run_write(client, Operation::Create, &write, output).await,
        Command::Touch(write) => run_write(client, Operation::Touch, &write, output).await,
        Command::Delete(write) => run_write(client, Operation::Delete, &write, output).await,
        Command::Read(read) => run_read(client, read, output).await,
        Command::BulkDelete(delete) => bulk_delete::run(client, delete, output).await,
        Command::Watch(watch) => watch::run(client, watch, output).await,
    }
}

async fn run_write(
    mut client: Client,
    operation: pb::relationship_update::Operation,
    write: &Write,
    output: Output,
) -> anyhow::Result<Outcome> {
    let relationships = write.relationships()?;
    if relationships.is_empty() {
        bail!("no relationship was given");
    }
    for batch in relationships.chunks(write.batch_size.max(1)) {
        if batch.iter().any(|relationship| relationship.not_before.is_some()) {
            let token = pending::write(&mut client, operation, batch, &write.why).await?;
            output.result(&token, || json!({ "writtenAt": { "token": token } }));
            continue;
        }
        let updates = batch.iter().map(|relationship| pb::RelationshipUpdate {
            operation: operation.into(),
            relationship: Some(wire::relationship(relationship)),
        });
        let request = pb::WriteRelationshipsRequest { updates: updates.collect(), ..Default::default() };
        let answer = client.permissions.write_relationships(write.why.request(request)).await?.into_inner();
        let token = answer.written_at.unwrap_or_default().token;
        output.result(&token, || json!({ "writtenAt": { "token": token } }));
    }
    Ok(Outcome::Done)
}

impl Write {
    fn relationships(&self) -> anyhow::Result<Vec<Relationship>> {
        match (&self.resource, &self.relation, &self.subject) {
            (Some(resource), Some(relation), Some(subject)) => {
                Ok(vec![self.parse(&format!("{resource}#{relation}@{subject}"))?])
            }
            (Some(whole), None, None) => Ok(vec![self.parse(whole)?]),
            (None, ..) if std::io::stdin().is_terminal() => {
                bail!("give RESOURCE:ID RELATION SUBJECT:ID, or relationships on standard input, one per line")
            }
            (None, ..) => {
                let mut relationships = Vec::new();
                for (n, line) in std::io::stdin().lock().lines().enumerate() {
                    let place = || format!("standard input, line {}", n + 1);
                    let line = line.with_context(place)?;
                    if !line.trim().is_empty() && !line.trim().starts_with("//") {
                        relationships.push(self.parse(&line).with_context(place)?);
                    }
                }
                Ok(relationships)
            }
            _ => bail!("a subject is missing: give RESOURCE:ID RELATION SUBJECT:ID"),
        }
    }

    /// Reads a relationship with the caveat and times of the flags.
    fn parse(&self, text: &str) -> anyhow::Result<Relationship> {
        let mut whole = wire::spaced_relationship(text);
        if let Some(caveat) = &self.caveat {
            whole.push_str(&format!("[{caveat}]"));
        }
        if let Some(time) = &self.expiration_time {
            whole.push_str(&format!("[expiration:{time}]"));
        }
        if let Some(time) = &self.not_before {
            whole.push_str(&format!("[starts:{time}]"));
        }
        Ok(whole.parse()?)
    }
}

async fn run_read(mut client: Client, read: Read, output: Output) -> anyhow::Result<Outcome> {
    let filter = read.selection.filter()?;
    if read.pending {
        return pending::read(client, filter, &read, output).await;
    }
    let mut cursor = read.cursor.clone();
    let mut left = if read.limit == 0 { u32::MAX } else { read.limit };
    while left > 0 {
        let asked = left.min(read.page_limit);
        let request = pb::ReadRelationshipsRequest {
            consistency: Some(read.freshness.to_wire()),
            relationship_filter: Some(filter.clone()),
            optional_limit: asked,
            optional_cursor: cursor.take().map(|token| pb::Cursor { token }),
        };
        let mut answers = client.permissions.read_relationships(request).await?.into_inner();
        let mut found = 0;
        while let Some(answer) = answers.message().await? {
            let relationship = answer.relationship.context("the server sent no relationship")?;
            let text = wire::relationship_text(&relationship);
            cursor = answer.after_result_cursor.map(|cursor| cursor.token);
            output.result(&text, || json!({ "relationship": text, "afterResultCursor": cursor }));
            found += 1;
        }
        // A page that is not full is the last; one without a cursor cannot be gone on from.
        if found < asked || cursor.is_none() {
            break;
        }
        left -= found;
    }
    Ok(Outcome::Done)
}

impl Selection {
    fn filter(&self) -> anyhow::Result<pb::RelationshipFilter> {
        let (resource_type, id) = self.resource.split_once(':').unwrap_or((&self.resource, ""));
        let (id, prefix) = match id.strip_suffix('%') {
            Some(prefix) => ("", prefix),
            None => (id, ""),
        };
        let subject = self.subject.as_deref().or(self.subject_filter.as_deref()).map(|subject| {
            let (subject_type, rest) = subject.split_once(':').unwrap_or((subject, ""));
            let (id, relation) = match rest.split_once('#') {
                Some((id, relation)) => (id, Some(if relation == "..." { "" } else { relation })),
                None => (rest, None),
            };
            pb::SubjectFilter {
                subject_type: subject_type.to_owned(),
                optional_subject_id: id.to_owned(),
                optional_relation: relation
                    .map(|relation| pb::subject_filter::RelationFilter { relation: relation.to_owned() }),
            }
        });
        Ok(pb::RelationshipFilter {
            resource_type: resource_type.to_owned(),
            optional_resource_id: id.to_owned(),
            optional_resource_id_prefix: prefix.to_owned(),
            optional_relation: self.relation.clone().unwrap_or_default(),
            optional_subject_filter: subject,
        })
    }
}

/// Conditions in one text: `TYPE[:ID][#RELATION][@SUBJECT]`, or the same parted by spaces.
fn filter(text: &str) -> anyhow::Result<pb::RelationshipFilter> {
    let words: Vec<_> = text.split_whitespace().collect();
    let (resource, relation, subject) = match *words {
        [whole] => {
            let (left, subject) = parted(whole, '@');
            let (resource, relation) = parted(left, '#');
            (resource, relation, subject)
        }
        [resource, relation] => (resource, Some(relation), None),
        [resource, relation, subject] => (resource, Some(relation), Some(subject)),
        _ => bail!("`{text}` is no filter: expected TYPE[:ID][#RELATION][@SUBJECT]"),
    };
    let [relation, subject] = [relation, subject].map(|part| part.map(str::to_owned));
    Selection { resource: resource.to_owned(), relation, subject, subject_filter: None }.filter()
}

/// What stands before a sign, and what stands after it.
fn parted(text: &str, sign: char) -> (&str, Option<&str>) {
    text.split_once(sign).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::filter;

    #[test]
    fn a_filter_may_be_one_text() {
        let whole = filter("document:readme viewer group:eng#member").unwrap();
        assert_eq!((whole.resource_type.as_str(), whole.optional_resource_id.as_str()), ("document", "readme"));
        assert_eq!(whole.optional_relation, "viewer");
        assert_eq!(whole.optional_subject_filter.as_ref().unwrap().optional_subject_id, "eng");
        assert_eq!(filter("document:readme#viewer@group:eng#member").unwrap(), whole);
        assert_eq!(filter("document#viewer").unwrap(), filter("document viewer").unwrap());
        assert_eq!(filter("document:re%").unwrap().optional_resource_id_prefix, "re");
        assert!(filter(" ").is_err() && filter("a b c d").is_err());
    }
}
