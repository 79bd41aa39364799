//! `stonetown export`: schema and relationships of one moment as a validation file.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;

use crate::client::Client;
use crate::output::{Output, relationships_text};
use crate::{Outcome, progress, wire};

/// `export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to make, which must not be there; standard output without one.
    file: Option<PathBuf>,
    /// Whether the schema is written.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    schema: bool,
    /// Whether the relationships are written.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    relationships: bool,
}

pub(crate) async fn run(mut client: Client, args: Args, output: Output) -> anyhow::Result<Outcome> {
    ensure!(args.schema || args.relationships, "nothing is to be exported: neither the schema nor the relationships");
    let Some(path) = &args.file else {
        export(&mut client, &args, &mut std::io::stdout().lock(), Output { json: true }).await?;
        return Ok(Outcome::Done);
    };
    let name = || format!("`{}`", path.display());
    ensure!(path.symlink_metadata().is_err(), "{} is there already: it is not overwritten", name());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    // It gets its name when it is whole.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(name)?;
    let count = export(&mut client, &args, &mut file, output).await?;
    file.as_file().sync_all().with_context(name)?;
    file.persist_noclobber(path).with_context(name)?;
    output.result(
        format!("{}: {}", path.display(), relationships_text(count)),
        || json!({ "file": path.display().to_string(), "relationships": count }),
    );
    Ok(Outcome::Done)
}

/// Writes the file; how many relationships are in it.
async fn export(client: &mut Client, args: &Args, out: &mut dyn Write, output: Output) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(out);
    let read = client.schema.read_schema(pb::ReadSchemaRequest {}).await?.into_inner();
    if args.schema {
        writeln!(out, "schema: |-")?;
        for line in read.schema_text.trim_end().lines() {
            writeln!(out, "{}", format!("  {line}").trim_end())?;
        }
    }
    if !args.relationships {
        out.flush()?;
        return Ok(0);
    }
    writeln!(out, "relationships: |-")?;
    let bar = progress::count(output, "relationships");
    let token = read.read_at.context("the server does not say which revision its schema is of")?;
    let exactly = pb::consistency::Requirement::AtExactSnapshot(token);
    let request = pb::ExportBulkRelationshipsRequest {
        consistency: Some(pb::Consistency { requirement: Some(exactly) }),
        ..Default::default()
    };
    let mut batches = client.permissions.export_bulk_relationships(request).await?.into_inner();
    let mut count = 0;
    while let Some(batch) = batches.message().await? {
        for relationship in &batch.relationships {
            writeln!(out, "  {}", wire::relationship_text(relationship))?;
            count += 1;
        }
        bar.set_position(count);
    }
    bar.finish_and_clear();
    out.flush()?;
    Ok(count)
}
