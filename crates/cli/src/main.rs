//! The `stonetown` command: the server, and a client for it.
//!
//! Reading order: this file (what can be asked for), then a file per group of commands.

mod allocator;
mod attribute;
mod audit;
mod backup;
mod channel;
mod client;
mod complete;
mod config;
mod context;
mod decision;
mod export;
mod grant;
mod grpc_health_probe;
mod health;
mod import;
mod lsp;
mod output;
mod permission;
mod principal;
mod progress;
mod relationship;
mod restore;
mod retry;
mod schema;
mod scrub;
mod serve;
mod serve_testing;
mod shell;
mod store;
mod validate;
mod version;
mod why;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use stonetown_server::config::{layers, spicedb};

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
    /// Print the settings that a server would have, and where each comes from.
    Config(Box<config::Args>),
    /// Ask a server whether it answers calls; exit code 1 if not.
    Health(health::Args),
    /// Read, write, compare, format, lint and compile schemas.
    #[command(subcommand)]
    Schema(schema::Command),
    /// Create, touch, delete and read relationships.
    #[command(subcommand)]
    Relationship(relationship::Command),
    /// Put, get, delete and list the attributes of objects that caveats trust.
    #[command(subcommand)]
    Attribute(attribute::Command),
    /// Ask questions: check, bulk, expand, lookup-resources, lookup-subjects.
    #[command(subcommand)]
    Permission(permission::Command),
    /// Access just in time: ask for it, vote on it, end it.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Make, cut off and retire those who can call the server; give powers and take them away.
    #[command(subcommand)]
    Principal(principal::Command),
    /// Hand out, rotate and take back credentials.
    #[command(subcommand)]
    Credential(principal::CredentialCommand),
    /// Make, bound and delete stores.
    #[command(subcommand)]
    Store(store::Command),
    /// Show who one is to the server, and what one may do.
    Whoami,
    /// Say why a subject has a permission, or what is missing: now, or as of an earlier time.
    Explain(decision::Explain),
    /// List who has a permission on a resource.
    WhoCan(decision::WhoCan),
    /// List what a subject has permissions on.
    WhatCan(decision::WhatCan),
    /// Back up what a server holds.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Make a data directory from a checkpoint, perhaps as of an earlier time.
    Restore(restore::Args),
    /// Prove that everything stored agrees with itself.
    Scrub(scrub::Args),
    /// Verify, search and prove the logs of decisions and changes, of a server or in a data directory.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Write schema and relationships of a validation file to a server.
    Import(import::Args),
    /// Write a server's schema and relationships as a validation file.
    Export(export::Args),
    /// Test validation files (schema, relationships, assertions) and schemas without a server.
    Validate(validate::Args),
    /// Remember servers by name.
    #[command(subcommand)]
    Context(context::Command),
    /// Use a context from now on, as `context use`.
    Use(context::Use),
    /// Print the version, and the server's.
    Version(version::Args),
    /// Print a script that completes commands in a shell.
    Completion(shell::Completion),
    /// Write manual pages.
    Man(shell::Man),
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
    /// What was tested does not hold, or a part of what was asked has no answer.
    Invalid,
}

fn main() -> ExitCode {
    complete::answer(command);
    let args = match grpc_health_probe::translated(std::env::args_os().collect()) {
        Ok(args) => args,
        Err(why) => {
            output::complain(&why);
            return ExitCode::from(1);
        }
    };
    let parsed = layers::parse(&command(), &args).unwrap_or_else(|error| error.exit());
    let chosen = parsed.matches.subcommand().filter(|(name, _)| SERVERS.contains(name));
    let ignored = chosen.map(|(_, own)| spicedb::ignored(own)).unwrap_or_default();
    let cli = Cli::from_arg_matches(&parsed.matches).unwrap_or_else(|error| error.exit());
    let output = output::Output { json: cli.json };
    if chosen.is_none()
        && let Err(error) = cli.connection.start_logging(output)
    {
        output.error(&error);
        return ExitCode::from(1);
    }
    let outcome = match cli.command {
        Command::Serve(config) => serve::run(*config, &ignored),
        Command::ServeTesting(config) => serve_testing::run(*config, &ignored),
        Command::Config(args) => config::run(&args, &parsed, output),
        Command::Health(args) => health::run(&cli.connection, &args, output),
        Command::Validate(args) => validate::run(&args, output),
        Command::Lsp => lsp::run(),
        Command::Backup(command) => backup::run(cli.connection, command, output),
        Command::Import(args) => client::run(cli.connection, |client| import::run(client, args, output)),
        Command::Export(args) => client::run(cli.connection, |client| export::run(client, args, output)),
        Command::Context(command) => context::run(cli.connection.into_reach(), command, output),
        Command::Use(args) => context::run_use(&args, output),
        Command::Version(args) => version::run(cli.connection, &args, output),
        Command::Completion(args) => shell::completion(&args),
        Command::Man(args) => shell::man(&args, command()),
        Command::Restore(args) => restore::run(&args, output),
        Command::Scrub(args) => scrub::run(cli.connection, &args, output),
        Command::Audit(command) => audit::run(cli.connection, command, output),
        Command::Schema(command) => schema::run(cli.connection, command, output),
        Command::Relationship(command) => {
            client::run(cli.connection, |client| relationship::run(client, command, output))
        }
        Command::Grant(command) => client::run(cli.connection, |client| grant::run(client, command, output)),
        Command::Principal(command) => client::run(cli.connection, |client| principal::run(client, command, output)),
        Command::Credential(command) => {
            client::run(cli.connection, |client| principal::run_credential(client, command, output))
        }
        Command::Store(command) => client::run(cli.connection, |client| store::run(client, command, output)),
        Command::Whoami => client::run(cli.connection, |client| principal::whoami(client, output)),
        Command::Attribute(command) => client::run(cli.connection, |client| attribute::run(client, command, output)),
        Command::Explain(args) => client::run(cli.connection, |client| decision::explain(client, args, output)),
        Command::WhoCan(args) => client::run(cli.connection, |client| decision::who_can(client, args, output)),
        Command::WhatCan(args) => client::run(cli.connection, |client| decision::what_can(client, args, output)),
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
    SERVERS
        .into_iter()
        .chain(["config"])
        .fold(Cli::command(), |command, name| command.mut_subcommand(name, spicedb::accept_names))
}

#[cfg(test)]
mod tests {
    /// Commands whose help is reviewed as a text: what is said to those who back up, move and test.
    const REVIEWED: [&str; 11] = [
        "backup",
        "restore",
        "scrub",
        "import",
        "export",
        "validate",
        "context",
        "use",
        "version",
        "completion",
        "man",
    ];

    /// `UPDATE_HELP=1` writes the text anew.
    #[test]
    fn the_help_is_as_it_was_reviewed() {
        fn write(command: &clap::Command, path: &str, text: &mut String) {
            // Apart from its parent: without the flags that all commands have.
            let help = command.clone().bin_name(path.to_owned()).term_width(100).render_long_help();
            let lines: Vec<_> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
            text.push_str(&format!("# {path}\n\n{}\n\n", lines.join("\n").trim_end()));
            for inner in command.get_subcommands() {
                write(inner, &format!("{path} {}", inner.get_name()), text);
            }
        }
        let mut text = String::new();
        for name in REVIEWED {
            let command = super::command();
            let command = command.find_subcommand(name).expect(name);
            write(command, &format!("stonetown {name}"), &mut text);
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(file, &text).expect(file);
        }
        assert_eq!(text, std::fs::read_to_string(file).expect(file), "UPDATE_HELP=1 writes {file} anew");
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
