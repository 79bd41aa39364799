//! `stonetown schema`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1::{ReadSchemaRequest, WriteSchemaRequest};
use stonetown_schema::{CompileOptions, Schema};

use crate::Outcome;
use crate::client::Client;
use crate::output::Output;

/// Commands on the schema.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the schema in force.
    Read,
    /// Replace the schema by a file's, or by standard input's.
    Write {
        /// The file; `-` for standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

pub(crate) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Read => {
            let answer = client.schema.read_schema(ReadSchemaRequest {}).await?.into_inner();
            let token = answer.read_at.unwrap_or_default().token;
            output.result(
                answer.schema_text.trim_end(),
                || json!({ "schemaText": answer.schema_text, "readAt": { "token": token } }),
            );
        }
        Command::Write { file } => {
            let schema = read_text(&file)?;
            explain_errors(&schema)?;
            let answer = client.schema.write_schema(WriteSchemaRequest { schema }).await?.into_inner();
            let token = answer.written_at.unwrap_or_default().token;
            output.result(&token, || json!({ "writtenAt": { "token": token } }));
        }
    }
    Ok(Outcome::Done)
}

/// Compiles here first: with the text at hand, errors can show the line they are about.
fn explain_errors(text: &str) -> anyhow::Result<()> {
    let Err(errors) = Schema::compile(text, &CompileOptions::default()) else { return Ok(()) };
    let shown: Vec<_> = errors.iter().map(|error| error.render(text)).collect();
    bail!("the schema does not compile\n{}", shown.join("\n"))
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))
}
