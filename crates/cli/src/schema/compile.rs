//! `stonetown schema compile`.

use std::path::PathBuf;

use serde_json::json;

use super::SchemaFile;
use super::file::replace;
use crate::Outcome;
use crate::output::Output;

/// `schema compile`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The schema; `-` for standard input.
    file: PathBuf,
    /// Write the result there instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let text = SchemaFile::read(&args.file)?.compile()?.text();
    match &args.out {
        None => output.file(text.trim_end(), || json!({ "schemaText": text })),
        Some(path) => {
            replace(path, &text)?;
            output.result(format!("wrote {}", path.display()), || json!({ "out": path.display().to_string() }));
        }
    }
    Ok(Outcome::Done)
}
