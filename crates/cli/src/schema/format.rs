//! `stonetown schema format`.

use std::path::PathBuf;

use serde_json::json;

use super::file::replace;
use super::{SchemaFile, is_standard_input};
use crate::Outcome;
use crate::output::Output;

/// `schema format`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Schema files, replaced by their formatted text; `-` prints that of standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing, and exit with 1 if a file is not laid out so.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for path in &args.files {
        let file = SchemaFile::read(path)?;
        let formatted = stonetown_schema::format(&file.text).map_err(|errors| file.refused(&errors))?;
        let changed = formatted != file.text;
        let mut value = json!({ "file": file.name, "changed": changed });
        if args.check {
            if changed {
                outcome = Outcome::Invalid;
                output.result(format!("{} is not formatted", file.name), || value);
            } else if output.json {
                output.result("", || value);
            }
        } else if is_standard_input(path) {
            value["schemaText"] = json!(formatted);
            output.file(formatted.trim_end(), || value);
        } else {
            if changed {
                replace(path, &formatted)?;
            }
            let what = if changed { "formatted" } else { "unchanged" };
            output.result(format!("{}: {what}", file.name), || value);
        }
    }
    Ok(outcome)
}
