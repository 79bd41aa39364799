//! `stonetown schema`: the server's schema, and files of them.

mod compile;
mod copy;
mod diff;
mod file;
mod format;
mod lint;
mod prefix;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1::{ReadSchemaRequest, WriteSchemaRequest};

use crate::Outcome;
use crate::client::{self, Client, Connection};
use crate::output::Output;

pub(crate) use file::{Refused, SchemaFile, read_bounded};
pub(crate) use prefix::Prefix;

/// Commands on the schema.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the schema in force.
    Read,
    /// Replace the schema by a file's, or by standard input's. Imports are folded in.
    Write {
        /// The file; `-` for standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
        #[command(flatten)]
        prefix: Prefix,
    },
    /// Replace the schema of one server by that of another.
    Copy(copy::Args),
    /// List what a schema would change of the server's, or of another file's.
    Diff(diff::Args),
    /// Lay schema files out, in place.
    Format(format::Args),
    /// Warn of what is allowed but rarely meant.
    Lint(lint::Args),
    /// Fold imports and partials into one schema, in its canonical form.
    Compile(compile::Args),
}

pub(crate) fn run(connection: Connection, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Read => client::run(connection, async |client| read(client, output).await),
        Command::Write { file, prefix } => {
            let text = prefix.schema(text_to_write(&file)?)?;
            client::run(connection, async |client| write(client, text, output).await)
        }
        Command::Copy(args) => copy::run(&connection, &args, output),
        Command::Diff(args) => diff::run(connection, &args, output),
        Command::Format(args) => format::run(&args, output),
        Command::Lint(args) => lint::run(connection, &args, output),
        Command::Compile(args) => compile::run(&args, output),
    }
}

async fn read(client: Client, output: Output) -> anyhow::Result<Outcome> {
    let (text, token) = in_force(client).await?;
    output.file(text.trim_end(), || json!({ "schemaText": text, "readAt": { "token": token } }));
    Ok(Outcome::Done)
}

async fn write(mut client: Client, schema: String, output: Output) -> anyhow::Result<Outcome> {
    let answer = client.schema.write_schema(WriteSchemaRequest { schema }).await?.into_inner();
    let token = answer.written_at.unwrap_or_default().token;
    output.result(&token, || json!({ "writtenAt": { "token": token } }));
    Ok(Outcome::Done)
}

/// The server's schema, and the token of the state it was read from.
async fn in_force(mut client: Client) -> anyhow::Result<(String, String)> {
    let answer = client.schema.read_schema(ReadSchemaRequest {}).await?.into_inner();
    Ok((answer.schema_text, answer.read_at.unwrap_or_default().token))
}

/// Compiles here first: with the text at hand, errors can show the line they are about. A server takes no imports.
fn text_to_write(path: &Path) -> anyhow::Result<String> {
    let file = SchemaFile::read(path)?;
    let schema = file.compile()?;
    Ok(if file.has_imports() { schema.text() } else { file.text })
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    if is_standard_input(path) {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))
}

pub(crate) fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}
