//! `stonetown completion` and `stonetown man`: what a shell and a reader of manuals want of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Command, ValueEnum};

use crate::{Outcome, complete};

/// `completion`.
#[derive(clap::Args)]
pub(crate) struct Completion {
    /// For which shell. The script is for this version: have it read when the shell starts, as by
    /// `source <(stonetown completion bash)` in `~/.bashrc`.
    shell: Shell,
}

/// A shell that completes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// `man`.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// Where the pages go, one for each command; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completion(args: &Completion) -> anyhow::Result<Outcome> {
    let name = args.shell.to_possible_value().context("a shell without a name")?;
    let shell = complete::SHELLS.completer(name.get_name()).context("a shell that cannot ask")?;
    let mut script = std::io::stdout().lock();
    shell.write_registration(complete::VARIABLE, "stonetown", "stonetown", "stonetown", &mut script)?;
    Ok(Outcome::Done)
}

pub(crate) fn man(args: &Man, command: Command) -> anyhow::Result<Outcome> {
    let name = || format!("`{}`", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(name)?;
    clap_mangen::generate_to(command, &args.folder).with_context(name)?;
    Ok(Outcome::Done)
}
