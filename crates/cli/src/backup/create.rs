//! `stonetown backup create`: schema and relationships of one moment, in a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use tonic::Code;

use super::file::{self, Writer};
use super::rewrite::Rewrite;
use crate::client::Client;
use crate::output::{Output, relationships_text};
use crate::{Outcome, progress};

/// `backup create`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to make; `-` for standard output. If an earlier run was interrupted it goes on with what that left.
    file: PathBuf,
    /// Relationships asked for at a time; 0 for as many as the server gives.
    #[arg(long, default_value_t = 0, value_name = "N")]
    page_limit: u32,
    #[command(flatten)]
    rewrite: Rewrite,
}

pub(crate) async fn run(mut client: Client, args: Args, output: Output) -> anyhow::Result<Outcome> {
    if args.file == Path::new("-") {
        let folder = tempfile::tempdir().context("no room for the backup before it is whole")?;
        let path = folder.path().join("backup");
        create(&mut client, &path, &args, Output { json: true }).await?;
        std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::stdout().lock())?;
        return Ok(Outcome::Done);
    }
    let (relationships, token) = create(&mut client, &args.file, &args, output).await?;
    let name = args.file.display().to_string();
    output.result(
        format!("{name}: {}", relationships_text(relationships)),
        || json!({ "file": name, "relationships": relationships, "zedToken": token }),
    );
    Ok(Outcome::Done)
}

async fn create(client: &mut Client, path: &Path, args: &Args, output: Output) -> anyhow::Result<(u64, String)> {
    file::refuse_existing(path)?;
    let selection = args.rewrite.describe();
    let mut writer = match Writer::resume(path, &selection)? {
        Some(writer) => {
            if !output.json {
                eprintln!("going on after {} relationships of an interrupted backup", writer.state.relationships);
            }
            writer
        }
        None => {
            let read = client.schema.read_schema(pb::ReadSchemaRequest {}).await?.into_inner();
            let token = read.read_at.context("the server does not say which revision its schema is of")?.token;
            let schema = args.rewrite.schema(&read.schema_text)?;
            Writer::begin(path, &schema, &token, &selection)
                .with_context(|| format!("`{}` cannot be written", file::incomplete(path).display()))?
        }
    };
    let bar = progress::count(output, "relationships");
    bar.set_position(writer.state.relationships);
    let token = writer.state.token.clone();
    let outcome = export(client, &mut writer, args, &bar).await;
    bar.finish_and_clear();
    outcome.map_err(|error| unfinished(error, path))?;
    let relationships =
        writer.finish().with_context(|| format!("`{}` cannot be finished", file::incomplete(path).display()))?;
    Ok((relationships, token))
}

async fn export(
    client: &mut Client,
    writer: &mut Writer,
    args: &Args,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    let exactly = pb::consistency::Requirement::AtExactSnapshot(pb::ZedToken { token: writer.state.token.clone() });
    let cursor = Some(writer.state.cursor.clone()).filter(|cursor| !cursor.is_empty());
    let request = pb::ExportBulkRelationshipsRequest {
        consistency: Some(pb::Consistency { requirement: Some(exactly) }),
        optional_limit: args.page_limit,
        optional_cursor: cursor.map(|token| pb::Cursor { token }),
        optional_relationship_filter: None,
    };
    let mut batches = client.permissions.export_bulk_relationships(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        let cursor = batch.after_result_cursor.context("the server sends no cursors")?.token;
        let taken = batch.relationships.into_iter().filter_map(|relationship| args.rewrite.relationship(relationship));
        let taken: Vec<_> = taken.collect();
        writer.batch(&taken, &cursor)?;
        bar.set_position(writer.state.relationships);
    }
    Ok(())
}

/// Says what an interrupted backup leaves, and whether it can be gone on with.
fn unfinished(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let left = file::incomplete(path);
    let advice = match error.downcast_ref::<tonic::Status>().map(tonic::Status::code) {
        Some(Code::OutOfRange | Code::FailedPrecondition | Code::InvalidArgument) => format!(
            "the revision that `{}` is of can no longer be read there: remove it and `{}.json` to begin anew",
            left.display(),
            left.display()
        ),
        _ => format!("the backup is unfinished; the same command goes on with `{}`", left.display()),
    };
    error.context(advice)
}

/// Refuses to write over a file, for commands that make one from another.
pub(super) fn same_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from == to { bail!("`{}` would be written over", from.display()) } else { file::refuse_existing(to) }
}
