//! The `stonetown` command: the server, and a client for it.
//!
//! Reading order: this file (what can be asked for), then a file per group of commands.

mod backup;
mod client;
mod lsp;
mod output;
mod permission;
mod progress;
mod relationship;
mod restore;
mod schema;
mod scrub;
mod serve;
mod serve_testing;
mod validate;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use stonetown_server::config::spicedb;

/// Allocates for many threads at once; the system's allocator contends.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An authorization database: who may do what, from relationships.
#[derive(Parser)]
#[command(name = "stonetown", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    connection: client::Connection,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server.
    Serve(Box<stonetown_server::Config>),
    /// Run a server for test suites: every token has a store of its own, in memory.
    ServeTesting(Box<stonetown_server::TestingConfig>),
    /// Read, write, compare, format, lint and compile schemas.
    #[command(subcommand)]
    Schema(schema::Command),
    /// Create, touch, delete and read relationships.
    #[command(subcommand)]
    Relationship(relationship::Command),
    /// Ask questions: check, bulk, expand, lookup-resources, lookup-subjects.
    #[command(subcommand)]
    Permission(permission::Command),
    /// Back up what a server holds.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Make a data directory from a checkpoint, perhaps as of an earlier time.
    Restore(restore::Args),
    /// Prove that everything stored agrees with itself.
    Scrub(scrub::Args),
    /// Test a validation file (schema, relationships, assertions) without a server.
    Validate(validate::Args),
    /// Serve editors: the Language Server Protocol for schemas, over standard input and output.
    Lsp,
}

/// The commands that run a server.
const SERVERS: [&str; 2] = ["serve", "serve-testing"];

/// How a command ended, apart from failing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// As asked.
    Done,
    /// The answer is no, and the caller wants an exit code for that.
    NoPermission,
    /// A validation file does not hold.
    Invalid,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let ignored = matches.subcommand().filter(|(name, _)| SERVERS.contains(name)).map(|(_, own)| spicedb::ignored(own));
    let ignored = ignored.unwrap_or_default();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let output = output::Output { json: cli.json };
    let outcome = match cli.command {
        Command::Serve(config) => serve::run(*config, &ignored),
        Command::ServeTesting(config) => serve_testing::run(*config, &ignored),
        Command::Validate(args) => validate::run(&args, output),
        Command::Lsp => lsp::run(),
        Command::Backup(command) => backup::run(cli.connection, command, output),
        Command::Restore(args) => restore::run(&args, output),
        Command::Scrub(args) => scrub::run(cli.connection, &args, output),
        Command::Schema(command) => schema::run(cli.connection, command, output),
        Command::Relationship(command) => {
            client::run(cli.connection, |client| relationship::run(client, command, output))
        }
        Command::Permission(command) => client::run(cli.connection, |client| permission::run(client, command, output)),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Invalid) => ExitCode::from(1),
        Ok(Outcome::NoPermission) => ExitCode::from(3),
        Err(error) => {
            output.error(&error);
            ExitCode::from(1)
        }
    }
}

/// The command line, in which servers can be set up in SpiceDB's words, too.
fn command() -> clap::Command {
    SERVERS.into_iter().fold(Cli::command(), |command, name| command.mut_subcommand(name, spicedb::accept_names))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
