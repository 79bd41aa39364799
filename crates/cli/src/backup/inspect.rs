//! What is in a backup file: `verify`, `parse-schema`, `parse-relationships`, `parse-revision`. No server is asked.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::file;
use super::rewrite::{Rewrite, compile};
use crate::output::{Output, relationships_text};
use crate::{Outcome, progress, wire};

/// `backup verify` and `backup parse-revision`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup.
    file: PathBuf,
}

/// `backup parse-schema` and `backup parse-relationships`.
#[derive(clap::Args)]
pub(crate) struct Parse {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    rewrite: Rewrite,
}

/// Tests a file whole: checksums, form, that its schema compiles and every relationship can be read.
pub(crate) fn verify(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let name = args.file.display().to_string();
    let bytes = std::fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
    let bar = progress::bytes(output, bytes, "checking");
    let contents = file::verify(&args.file, &|_| false, &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    compile(&contents.schema).with_context(|| format!("`{name}`: its schema does not compile"))?;
    let checksum = if contents.has_checksum {
        "a checksum over the whole file fits"
    } else {
        "it has a checksum for each block but none over the whole, so that blocks missing at its end would not be noticed"
    };
    output.result(format!("{name}: sound, {}; {checksum}", relationships_text(contents.relationships)), || {
        json!({
            "file": name,
            "relationships": contents.relationships,
            "zedToken": contents.token,
            "wholeFileChecksum": contents.has_checksum,
        })
    });
    Ok(Outcome::Done)
}

/// Prints the schema.
pub(crate) fn schema(args: &Parse, output: Output) -> anyhow::Result<Outcome> {
    let (schema, ..) = open(&args.file)?;
    let schema = args.rewrite.schema(&schema)?;
    output.result(schema.trim_end(), || json!({ "schemaText": schema }));
    Ok(Outcome::Done)
}

/// Prints the relationships, one per line.
pub(crate) fn relationships(args: &Parse, output: Output) -> anyhow::Result<Outcome> {
    let (.., mut relationships) = open(&args.file)?;
    let name = || format!("`{}`", args.file.display());
    while let Some(relationship) = relationships.next().with_context(name)? {
        if let Some(relationship) = args.rewrite.relationship(relationship) {
            let text = wire::relationship_text(&relationship);
            output.result(&text, || json!({ "relationship": text }));
        }
    }
    Ok(Outcome::Done)
}

/// Prints the revision.
pub(crate) fn revision(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let (_, token, _) = open(&args.file)?;
    let token = token.with_context(|| format!("`{}` does not say which revision it is of", args.file.display()))?;
    output.result(&token, || json!({ "zedToken": token }));
    Ok(Outcome::Done)
}

fn open(path: &Path) -> anyhow::Result<(String, Option<String>, file::Relationships)> {
    file::open(path).with_context(|| format!("`{}`", path.display()))
}
