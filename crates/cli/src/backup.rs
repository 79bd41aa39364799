//! `stonetown backup`.

mod checkpoint;
mod create;
mod file;
mod inspect;
mod ocf;
mod records;
mod redact;
mod restore;
pub(crate) mod rewrite;

use clap::Subcommand;

use crate::Outcome;
use crate::client::{self, Connection};
use crate::output::Output;

/// Commands on backups.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write schema and relationships of one moment into a file that `zed` reads, too.
    Create(create::Args),
    /// Load a file that `stonetown` or `zed` made into a server.
    Restore(restore::Args),
    /// Test a file whole.
    Verify(inspect::Args),
    /// Print the schema in a file.
    ParseSchema(inspect::Parse),
    /// Print the relationships in a file.
    ParseRelationships(inspect::Parse),
    /// Print the revision that a file is of.
    ParseRevision(inspect::Args),
    /// Make a file without names out of one, to show to others.
    Redact(redact::Args),
    /// Have the server copy its data directory while it goes on serving; `stonetown restore` makes a data directory of the
    /// copy.
    Checkpoint(checkpoint::Args),
}

pub(crate) fn run(connection: Connection, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Create(args) => client::run(connection, |client| create::run(client, args, output)),
        Command::Restore(args) => client::run(connection, |client| restore::run(client, args, output)),
        Command::Verify(args) => inspect::verify(&args, output),
        Command::ParseSchema(args) => inspect::schema(&args, output),
        Command::ParseRelationships(args) => inspect::relationships(&args, output),
        Command::ParseRevision(args) => inspect::revision(&args, output),
        Command::Redact(args) => redact::run(&args, output),
        Command::Checkpoint(args) => client::run(connection, |client| checkpoint::run(client, args, output)),
    }
}
