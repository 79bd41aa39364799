//! `stonetown backup checkpoint`: a copy of the data directory, made by the server that uses it.

use anyhow::Context;
use serde_json::json;
use stonetown_api::proto::stonetown::v1 as pb;

use crate::client::Client;
use crate::output::Output;
use crate::{Outcome, progress};

/// `backup checkpoint`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its name in the server's directory for checkpoints; made of the time and the newest revision by default.
    name: Option<String>,
}

pub(crate) async fn run(mut client: Client, args: Args, output: Output) -> anyhow::Result<Outcome> {
    let bar = progress::count(output, "the server copies its data");
    let request = pb::CheckpointRequest { name: args.name.unwrap_or_default() };
    let mut answers = client.admin.checkpoint(request).await?.into_inner();
    let mut done = None;
    while let Some(answer) = answers.message().await? {
        bar.tick();
        done = answer.done;
    }
    bar.finish_and_clear();
    let pb::CheckpointDone { path, revision, token, bytes } =
        done.context("the server ended the checkpoint without saying what it made")?;
    let text = format!("{path}\n  on the server; everything up to revision {revision}, {bytes} bytes");
    output.result(text, || json!({ "path": path, "revision": revision, "zedToken": token, "bytes": bytes }));
    Ok(Outcome::Done)
}
