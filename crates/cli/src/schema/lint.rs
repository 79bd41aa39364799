//! `stonetown schema lint`.

use std::path::PathBuf;

use serde_json::json;

use super::{SchemaFile, in_force};
use crate::Outcome;
use crate::client::{self, Connection};
use crate::output::Output;

/// `schema lint`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Schema files, `-` for standard input; the server's schema if there is none.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 1 also when there are only warnings.
    #[arg(long)]
    fail_on_warn: bool,
}

pub(crate) fn run(connection: Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    if args.files.is_empty() {
        return client::run(connection, async |client| {
            let (text, _) = in_force(client).await?;
            let file = SchemaFile::new("the server's schema".to_owned(), text, PathBuf::new());
            Ok(outcome(report(&file, output), args))
        });
    }
    let mut worst = Found::Nothing;
    for path in &args.files {
        worst = worst.max(report(&SchemaFile::read(path)?, output));
    }
    Ok(outcome(worst, args))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Warnings,
    Errors,
}

fn outcome(found: Found, args: &Args) -> Outcome {
    match found {
        Found::Nothing => Outcome::Done,
        Found::Warnings if !args.fail_on_warn => Outcome::Done,
        Found::Warnings | Found::Errors => Outcome::Invalid,
    }
}

fn report(file: &SchemaFile, output: Output) -> Found {
    match file.lint() {
        Err(refused) => {
            let value = json!({ "file": file.name, "errors": refused.problems, "warnings": [] });
            output.result(refused, || value);
            Found::Errors
        }
        Ok(warnings) => {
            let shown: String = warnings.iter().map(|warning| file.render(warning)).collect();
            let count = match warnings.len() {
                0 => "no warnings".to_owned(),
                1 => "1 warning".to_owned(),
                count => format!("{count} warnings"),
            };
            output.result(format!("{shown}{}: {count}", file.name), || {
                let warnings = warnings.iter().map(|warning| {
                    let mut value = file.place(warning.file.as_deref(), &warning.span);
                    value["id"] = json!(warning.id);
                    value["message"] = json!(warning.message);
                    value
                });
                json!({ "file": file.name, "errors": [], "warnings": warnings.collect::<Vec<_>>() })
            });
            if warnings.is_empty() { Found::Nothing } else { Found::Warnings }
        }
    }
}
