//! `stonetown restore`: a data directory from a checkpoint, perhaps as of an earlier time.

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::json;
use stonetown_server::upkeep::{self, Until};
use stonetown_tuple::{Revision, Timestamp};

use crate::output::Output;
use crate::{Outcome, progress};

/// `restore`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A checkpoint, or a data directory that no server uses.
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The new data directory; made if it is not there, refused if it is not empty.
    #[arg(value_name = "DATA_DIR")]
    to: PathBuf,
    /// Leave out all commits after this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "until_time")]
    until_revision: Option<u64>,
    /// Leave out all commits after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until_time: Option<Timestamp>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let until = match (args.until_revision, args.until_time) {
        (Some(revision), _) => Until::Revision(Revision(revision)),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::Newest,
    };
    let bar = progress::bytes(output, 0, "copying");
    let restored = upkeep::restore(&args.from, &args.to, until, &mut |copied, total| {
        bar.set_length(total);
        bar.set_position(copied);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let left_out = match restored.left_out {
        0 => String::new(),
        1 => ", 1 newer commit left out".to_owned(),
        more => format!(", {more} newer commits left out"),
    };
    let text = format!("restored to `{}`, up to revision {}{left_out}", args.to.display(), restored.revision);
    output.result(text, || {
        json!({
            "dataDir": args.to.display().to_string(),
            "revision": restored.revision.0,
            "leftOut": restored.left_out,
            "instance": format!("{:016x}", restored.instance.0),
            "restoredFromInstance": format!("{:016x}", restored.from.0),
        })
    });
    Ok(Outcome::Done)
}
