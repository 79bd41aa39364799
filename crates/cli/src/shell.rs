//! `stonetown completion` and `stonetown man`: what a shell and a reader of manuals want of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use crate::Outcome;

/// `completion`.
#[derive(clap::Args)]
pub(crate) struct Completion {
    /// For which shell, such as `stonetown completion bash > /etc/bash_completion.d/stonetown`.
    shell: Shell,
}

/// `man`.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// Where the pages go, one for each command; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completion(args: &Completion, mut command: Command) -> Outcome {
    clap_complete::generate(args.shell, &mut command, "stonetown", &mut std::io::stdout().lock());
    Outcome::Done
}

pub(crate) fn man(args: &Man, command: Command) -> anyhow::Result<Outcome> {
    let name = || format!("`{}`", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(name)?;
    clap_mangen::generate_to(command, &args.folder).with_context(name)?;
    Ok(Outcome::Done)
}
