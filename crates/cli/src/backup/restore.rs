//! `stonetown backup restore`: schema and relationships from a file into a server.
//!
//! The file is tested whole before the server is asked for anything. By default all relationships come in one transaction:
//! all of them are there at the end, or none.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use indicatif::ProgressBar;
use prost::Message;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::file::{self, Relationships};
use super::rewrite::Rewrite;
use crate::client::Client;
use crate::output::{Output, relationships_text};
use crate::why::Why;
use crate::{Outcome, progress};

/// Largest message that is sent, in bytes: below what servers take.
const MESSAGE_BYTES_MAX: usize = 3 << 20;
/// Messages between the file and the connection.
const MESSAGES_AHEAD: usize = 4;
/// Most updates of one write.
const UPDATES_MAX: usize = 1_000;

/// `backup restore`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file that `stonetown backup create` or `zed backup create` made; `-` for standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Relationships in one message.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_size: u32,
    /// Messages in one transaction; 0 for all of the backup in one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    batches_per_transaction: u32,
    /// What to do with relationships that the server has already.
    #[arg(long, value_enum, default_value_t = Conflicts::Fail)]
    conflict_strategy: Conflicts,
    /// Restore into a server that has a schema already; it is replaced by that of the backup.
    #[arg(long)]
    allow_non_empty: bool,
    /// Leave the server's schema as it is.
    #[arg(long, requires = "allow_non_empty")]
    skip_schema: bool,
    #[command(flatten)]
    rewrite: Rewrite,
    #[command(flatten)]
    why: Why,
}

/// What to do with relationships that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflicts {
    /// End with an error; the transaction leaves nothing.
    Fail,
    /// Leave them as they are.
    Skip,
    /// Replace their caveats and expirations.
    Touch,
}

/// How a restore went.
#[derive(Default)]
struct Tally {
    loaded: u64,
    skipped: u64,
    transactions: u64,
}

pub(crate) async fn run(mut client: Client, args: Args, output: Output) -> anyhow::Result<Outcome> {
    let spooled = if args.file == Path::new("-") { Some(spool()?) } else { None };
    let path = spooled.as_ref().map_or(args.file.as_path(), tempfile::NamedTempFile::path);
    let bar = progress::bytes(output, std::fs::metadata(path).map_or(0, |metadata| metadata.len()), "checking");
    let contents = file::verify(path, &|one| args.rewrite.leaves_out(one), &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    let schema = args.rewrite.schema(&contents.schema)?;

    if !args.allow_non_empty {
        refuse_non_empty(&mut client).await?;
    }
    if !args.skip_schema {
        client.schema.write_schema(pb::WriteSchemaRequest { schema }).await.context("the schema was not restored")?;
    }
    let bar = progress::count(output, "relationships restored");
    let (_, _, relationships) = file::open(path)?;
    let mut source = Source { relationships, rewrite: &args.rewrite, next: None, left_out: 0 };
    let mut tally = Tally::default();
    let loaded = load(&mut client, &mut source, &args, &mut tally, &bar).await;
    bar.finish_and_clear();
    loaded.map_err(|error| explain(error, &tally))?;

    let Tally { loaded, skipped, transactions } = tally;
    let plural = if transactions == 1 { "" } else { "s" };
    let mut text = format!("restored {} in {transactions} transaction{plural}", relationships_text(loaded));
    if skipped > 0 {
        text.push_str(&format!(", {skipped} were there already"));
    }
    let left_out = source.left_out;
    if left_out > 0 {
        text.push_str(&format!(", {left_out} were left out"));
    }
    output.result(
        text,
        || json!({ "loaded": loaded, "skipped": skipped, "leftOut": left_out, "transactions": transactions }),
    );
    Ok(Outcome::Done)
}

/// Keeps standard input in a file, so that it can be tested whole first.
fn spool() -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new().context("no room for the backup")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file).context("standard input")?;
    Ok(file)
}

async fn refuse_non_empty(client: &mut Client) -> anyhow::Result<()> {
    match client.schema.read_schema(pb::ReadSchemaRequest {}).await {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status.into()),
        Ok(_) => bail!(
            "the server is not empty: it has a schema. To restore into it all the same give --allow-non-empty, and say with \
             --conflict-strategy what becomes of relationships that it has already"
        ),
    }
}

async fn load(
    client: &mut Client,
    source: &mut Source<'_>,
    args: &Args,
    tally: &mut Tally,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    loop {
        let loaded = match args.conflict_strategy {
            Conflicts::Skip => skip_batch(client, source, args, tally).await?,
            Conflicts::Fail | Conflicts::Touch => transaction(client, source, args, tally).await?,
        };
        bar.set_position(tally.loaded + tally.skipped);
        if !loaded {
            return Ok(());
        }
    }
}

/// Sends one transaction; whether there was anything left to send.
async fn transaction(
    client: &mut Client,
    source: &mut Source<'_>,
    args: &Args,
    tally: &mut Tally,
) -> anyhow::Result<bool> {
    let Some(first) = source.batch(args.batch_size)? else { return Ok(false) };
    // Declared first, dropped last: the stream never looks properly ended when something went wrong.
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let mut request = args.why.request(ReceiverStream::new(receiver));
    if args.conflict_strategy == Conflicts::Touch {
        request.metadata_mut().insert("stonetown-import-mode", tonic::metadata::MetadataValue::from_static("touch"));
    }
    let mut call = std::pin::pin!(client.permissions.import_bulk_relationships(request));
    let mut sent = 0;
    let mut batches = 0;
    let mut next = Some(first);
    while let Some(relationships) = next.take() {
        sent += relationships.len() as u64;
        batches += 1;
        let sending = sender.send(pb::ImportBulkRelationshipsRequest { relationships });
        tokio::select! {
            // The server has had enough before the end: it says why.
            ended = &mut call => return Err(ended.err().map_or_else(|| anyhow!("the import ended early"), Into::into)),
            taken = sending => taken.context("the import ended early")?,
        }
        if args.batches_per_transaction == 0 || batches < args.batches_per_transaction {
            next = source.batch(args.batch_size)?;
        }
    }
    drop(sender);
    let loaded = call.await?.into_inner().num_loaded;
    tally.transactions += 1;
    tally.loaded += loaded;
    ensure!(loaded == sent, "the server says that it loaded {loaded} relationships of {sent}");
    Ok(true)
}

/// Writes one batch but for what is there already; whether there was anything left to write.
async fn skip_batch(
    client: &mut Client,
    source: &mut Source<'_>,
    args: &Args,
    tally: &mut Tally,
) -> anyhow::Result<bool> {
    let size = args.batch_size.min(UPDATES_MAX as u32);
    let Some(batch) = source.batch(size)? else { return Ok(false) };
    // Halves of what was refused are tried in its place, until the conflicts stand alone.
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        let updates = part.iter().cloned().map(|relationship| pb::RelationshipUpdate {
            operation: pb::relationship_update::Operation::Create.into(),
            relationship: Some(relationship),
        });
        let request = pb::WriteRelationshipsRequest { updates: updates.collect(), ..Default::default() };
        match client.permissions.write_relationships(args.why.request(request)).await {
            Ok(_) => {
                tally.loaded += part.len() as u64;
                tally.transactions += 1;
            }
            Err(status) if status.code() == Code::AlreadyExists && part.len() == 1 => tally.skipped += 1,
            Err(status) if status.code() == Code::AlreadyExists => {
                let half = part.split_off(part.len() / 2);
                parts.extend([half, part]);
            }
            Err(status) => return Err(status.into()),
        }
    }
    Ok(true)
}

/// The relationships of a file under their new names.
struct Source<'r> {
    relationships: Relationships,
    rewrite: &'r Rewrite,
    /// One that did not fit into the last message.
    next: Option<pb::Relationship>,
    /// How many the rewriting left out.
    left_out: u64,
}

impl Source<'_> {
    /// As many relationships as a message takes; `None` after the last.
    fn batch(&mut self, size: u32) -> anyhow::Result<Option<Vec<pb::Relationship>>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < size as usize {
            let Some(relationship) = self.one()? else { break };
            bytes += relationship.encoded_len() + 8;
            if bytes > MESSAGE_BYTES_MAX && !batch.is_empty() {
                self.next = Some(relationship);
                break;
            }
            batch.push(relationship);
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    fn one(&mut self) -> anyhow::Result<Option<pb::Relationship>> {
        if let Some(relationship) = self.next.take() {
            return Ok(Some(relationship));
        }
        while let Some(relationship) = self.relationships.next()? {
            match self.rewrite.relationship(relationship) {
                Some(relationship) => return Ok(Some(relationship)),
                None => self.left_out += 1,
            }
        }
        Ok(None)
    }
}

/// Says what of a failed restore is there.
fn explain(error: anyhow::Error, tally: &Tally) -> anyhow::Error {
    match tally.loaded {
        0 => error.context("no relationship was restored"),
        loaded => error.context(format!(
            "only {} were restored; to go on run it again with --allow-non-empty and --conflict-strategy \
             skip or touch",
            relationships_text(loaded)
        )),
    }
}
