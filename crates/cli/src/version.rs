//! `stonetown version`.

use serde_json::json;
use stonetown_api::proto::authzed::api::v1::ReadSchemaRequest;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::Outcome;
use crate::client::{self, Connection};
use crate::output::Output;

/// Asks a server for its version, and what it answers under.
const ASK: &str = "io.spicedb.requestversion";
const ANSWER: &str = "io.spicedb.debug.version";

/// `version`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ask the server for its version, too.
    #[arg(long)]
    include_remote_version: bool,
}

pub(crate) fn run(connection: Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let ours = concat!("v", env!("CARGO_PKG_VERSION"));
    if !args.include_remote_version {
        output.result(format!("stonetown {ours}"), || json!({ "client": ours }));
        return Ok(Outcome::Done);
    }
    client::run(connection, async |mut client| {
        let mut request = Request::new(ReadSchemaRequest {});
        request.metadata_mut().insert(ASK, MetadataValue::from_static("1"));
        let metadata = match client.schema.read_schema(request).await {
            Ok(answer) => answer.metadata().clone(),
            // A server without a schema has a version all the same.
            Err(status) if status.code() == Code::NotFound => status.metadata().clone(),
            Err(status) => return Err(status.into()),
        };
        let theirs = metadata.get(ANSWER).and_then(|version| version.to_str().ok());
        let shown = theirs.unwrap_or("unknown: the server does not tell");
        output.result(format!("stonetown {ours}\nserver {shown}"), || json!({ "client": ours, "server": theirs }));
        Ok(Outcome::Done)
    })
}
