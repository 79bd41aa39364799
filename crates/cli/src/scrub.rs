//! `stonetown scrub`: proves that what is stored agrees with itself.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_server::upkeep;

use crate::client::{self, Client, Connection};
use crate::output::Output;
use crate::{Outcome, progress};

/// `scrub`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A data directory that no server uses, or a checkpoint. Without it the running server is asked to look at its own.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Scrubs; [`Outcome::Invalid`] when something does not agree.
pub(crate) fn run(connection: Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    match &args.directory {
        Some(directory) => report(&offline(directory, output)?, output),
        None => client::run(connection, |client| async move { report(&online(client, output).await?, output) }),
    }
}

fn offline(directory: &Path, output: Output) -> anyhow::Result<pb::ScrubReport> {
    let bar = progress::count(output, "keys looked at");
    let found = upkeep::scrub(directory, &mut |keys| {
        bar.set_position(keys);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let differences = found.differences.into_iter();
    Ok(pb::ScrubReport {
        revision: found.revision.0,
        versions: found.versions,
        commits: found.commits,
        names: found.names,
        differences: differences
            .map(|difference| pb::Difference { kind: difference.kind.as_str().to_owned(), what: difference.what })
            .collect(),
        more_differences: found.more,
    })
}

async fn online(mut client: Client, output: Output) -> anyhow::Result<pb::ScrubReport> {
    let bar = progress::count(output, "keys looked at");
    let mut answers = client.admin.scrub(pb::ScrubRequest {}).await?.into_inner();
    let mut report = None;
    while let Some(answer) = answers.message().await? {
        bar.set_position(answer.keys);
        report = answer.report;
    }
    bar.finish_and_clear();
    report.context("the server ended the scrub without a report")
}

fn report(report: &pb::ScrubReport, output: Output) -> anyhow::Result<Outcome> {
    let pb::ScrubReport { revision, versions, commits, names, differences, more_differences } = report;
    let is_clean = differences.is_empty();
    let mut lines = vec![format!(
        "{} at revision {revision}: {versions} versions, {commits} commits in the log, {names} names",
        if is_clean { "everything agrees" } else { "DIFFERENCES" }
    )];
    lines.extend(differences.iter().map(|difference| format!("  {}: {}", difference.kind, difference.what)));
    if *more_differences > 0 {
        lines.push(format!("  and {more_differences} more"));
    }
    output.result(lines.join("\n"), || {
        let differences: Vec<_> = differences.iter().map(|it| json!({ "kind": it.kind, "what": it.what })).collect();
        json!({
            "clean": is_clean,
            "revision": revision,
            "versions": versions,
            "commits": commits,
            "names": names,
            "differences": differences,
            "moreDifferences": more_differences,
        })
    });
    Ok(if is_clean { Outcome::Done } else { Outcome::Invalid })
}
