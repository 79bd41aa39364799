//! `stonetown audit`: the logs of decisions and changes, of a running server or in a data directory, also while a server writes
//! them. Reads only, but for `rotate-key` and `erase`.

mod directory;
mod online;
mod print;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use stonetown_audit::layout::{CHANGES, DECISIONS, log_directory, place, store_folder, stores};
use stonetown_audit::note::{Checkpoint, KnownKey, Note};
use stonetown_audit::search::Query;
use stonetown_audit::{Against, Keys, Outcome as Recorded, untold_erasures, verify};
use stonetown_tuple::{StoreId, Timestamp};

use crate::Outcome;
use crate::client::{self, Connection};
use crate::output::Output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read every record and compare it with what was signed. Exits with 1 when anything is not as it was written.
    Verify(Verify),
    /// Print the newest checkpoint, to be kept where nobody of this machine can alter it.
    Checkpoint {
        #[command(flatten)]
        log: LogArgs,
        /// Write it to this file instead.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the proof that a record is in the log (C2SP tlog-proof; with --json its parts).
    Prove {
        /// Its index.
        index: u64,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Print the proof that the log of so many records is the beginning of the log as it is now.
    Consistency {
        /// The number of records of an earlier checkpoint.
        size: u64,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Print the records that fit, oldest first; with --json one object for each line.
    Search(Box<Search>),
    /// Print all records as JSON, one for each line, with the bytes that the proofs are about.
    Export {
        #[command(flatten)]
        log: LogArgs,
        /// From this record on.
        #[arg(long, default_value_t = 0, value_name = "INDEX")]
        from: u64,
    },
    /// Print the public keys that have signed, for clients that verify signed notes.
    Key {
        #[command(flatten)]
        data: DataArgs,
    },
    /// Erase what the logs say of somebody: the values go, the records and their proofs stay. Writes a record of the erasure to the
    /// log of changes first. Given a data directory, no server may be running on it.
    Erase(Erase),
    /// Make a new key, which signs from the next start of the server on, endorsed by the one before.
    RotateKey {
        /// Directory of the keys.
        #[arg(long, env = "STONETOWN_KEY_DIR", value_name = "DIR")]
        key_dir: PathBuf,
    },
}

/// Where the data is.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// A server's data directory, or the folder of a store's logs in it. Without it the server is asked.
    #[arg(long, env = "STONETOWN_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Which log.
    #[arg(long, value_enum, default_value_t = Log::Decisions)]
    log: Log,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Log {
    /// Every answer.
    Decisions,
    /// Every transaction.
    Changes,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The server's data directory, for the logs of all stores; or the folder of a store's logs in it, or that of one log.
    #[arg(env = "STONETOWN_DATA_DIR", default_value = "data", value_name = "DIR")]
    directory: PathBuf,
    /// A checkpoint that was exported before. Repeat the flag for several.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A public key that is known to be the logs', or its fingerprint, as `stonetown audit key` prints them, or a file with it. Repeat
    /// the flag for several.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    data: DataArgs,
    /// With --data-dir: directory of the keys that sign the logs, as the server has it; the data directory's name with `.keys` by
    /// default.
    #[arg(long, env = "STONETOWN_KEY_DIR", value_name = "DIR")]
    key_dir: Option<PathBuf>,
    /// An object: its id wherever it was a subject or a resource, and what mentions it.
    #[arg(long, value_name = "TYPE:ID", required_unless_present = "caller")]
    object: Option<String>,
    /// Who called or wrote.
    #[arg(long)]
    caller: Option<String>,
    /// With --data-dir: who erases, for the record of it. A server knows.
    #[arg(long = "as", value_name = "NAME", default_value = "operator")]
    actor: String,
    /// Why, for the record of it. Not whose data it is: that would still be there.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Args)]
pub(crate) struct Search {
    #[command(flatten)]
    log: LogArgs,
    /// Who was asked about: TYPE, TYPE:ID or TYPE:ID#RELATION.
    #[arg(long)]
    subject: Option<String>,
    /// What was asked about: TYPE or TYPE:ID.
    #[arg(long)]
    resource: Option<String>,
    /// The permission or relation.
    #[arg(long)]
    permission: Option<String>,
    /// How it ended: allowed, denied, conditional, answered, failed or begun.
    #[arg(long, value_parser = PossibleValuesParser::new(Recorded::ALL.map(Recorded::name)))]
    outcome: Option<String>,
    /// Which call, such as check or `lookup_resources`.
    #[arg(long)]
    call: Option<String>,
    /// Who called or wrote.
    #[arg(long)]
    caller: Option<String>,
    /// Not before this moment, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this moment, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// From this record on.
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    from: u64,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    limit: u64,
}

pub(crate) fn run(connection: Connection, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Verify(args) => verify_all(&args, output),
        Command::RotateKey { key_dir } => {
            let key = Keys::rotate(&key_dir)?.fingerprint();
            output.result(format_args!("made key {key}: it signs from the next start on"), || json!({ "key": key }));
            Ok(Outcome::Done)
        }
        command => match command.data_dir() {
            Some(data_dir) => directory::run(&data_dir, command, output),
            None => client::run(connection, |client| online::run(client, command, output)),
        },
    }
}

impl Command {
    /// Where the logs are to be read, if not from a server.
    fn data_dir(&self) -> Option<PathBuf> {
        let data = match self {
            Command::Checkpoint { log, .. }
            | Command::Prove { log, .. }
            | Command::Consistency { log, .. }
            | Command::Export { log, .. } => &log.data,
            Command::Search(args) => &args.log.data,
            Command::Key { data } => data,
            Command::Erase(args) => &args.data,
            Command::Verify(_) | Command::RotateKey { .. } => return None,
        };
        data.data_dir.clone()
    }
}

impl Search {
    /// What is looked for, and how many records at most.
    fn query(&self) -> (Query, u64) {
        let Search { subject, resource, permission, outcome, call, caller, since, until, from, limit, .. } = self;
        let query = Query {
            subject: subject.clone(),
            resource: resource.clone(),
            permission: permission.clone(),
            outcome: outcome.clone(),
            call: call.clone(),
            caller: caller.clone(),
            since: *since,
            until: *until,
            from: *from,
        };
        (query, if *limit == 0 { u64::MAX } else { *limit })
    }
}

fn verify_all(args: &Verify, output: Output) -> anyhow::Result<Outcome> {
    let given = args.checkpoint.iter().map(|file| checkpoint(file)).collect::<Result<Vec<_>, _>>()?;
    let against = Against {
        keys: args.key.iter().map(|key| known_key(key)).collect::<Result<_, _>>()?,
        checkpoints: given.iter().map(|(note, _)| note.clone()).collect(),
    };
    let mut origins = BTreeSet::new();
    let mut whole = true;
    for logs in logs(&args.directory)? {
        let mut reports = Vec::new();
        for directory in logs {
            let report = verify(&directory, &against)?;
            whole &= report.problems.is_empty();
            print::report(&report, &against, output);
            origins.insert(report.origin.clone());
            // What the default store's log says of one has to be there.
            for (store, times) in &report.begun {
                let Some(log) = directory.file_name() else { continue };
                let own = store_folder(&place(&args.directory).0, *store).join(log);
                if let Some(what) = missing(&own, *times) {
                    whole = false;
                    output.result(format_args!("problem: {what}"), || json!({ "problem": what }));
                }
            }
            reports.push(report);
        }
        if let [decisions, changes] = &reports[..]
            && let Some(what) = untold_erasures(decisions, changes)
        {
            whole = false;
            output.result(format_args!("problem: {what}"), || json!({ "problem": what }));
        }
    }
    // A checkpoint of no log that is here would otherwise have been compared with nothing.
    for (file, (_, Checkpoint { origin, .. })) in args.checkpoint.iter().zip(&given) {
        if !origins.contains(origin) {
            bail!("`{}` is a checkpoint of `{origin}`, which is not in `{}`", file.display(), args.directory.display());
        }
    }
    Ok(if whole { Outcome::Done } else { Outcome::Invalid })
}

/// What a store's log lacks that has begun so often.
fn missing(log: &Path, times: u64) -> Option<String> {
    let path = log.display();
    if !log.is_dir() {
        return Some(format!("`{path}` is gone: that log has begun"));
    }
    let lost = "what it held before was removed, or lost with the machine's power as it began";
    (times > 1).then(|| format!("`{path}` has begun {times} times: {lost}"))
}

/// The logs of each store of a data directory, or those that a directory is.
fn logs(directory: &Path) -> anyhow::Result<Vec<Vec<PathBuf>>> {
    let (folder, store) = place(directory);
    let stores = if store == StoreId::DEFAULT { stores(&folder)? } else { vec![store] };
    let of_store = |store| {
        let logs = [DECISIONS, CHANGES].map(|name| log_directory(&folder, store, name));
        logs.into_iter().filter(|log| log.is_dir()).collect::<Vec<_>>()
    };
    let found: Vec<_> = stores.into_iter().map(of_store).filter(|logs| !logs.is_empty()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if stonetown_audit::segment::list(directory)?.is_empty() {
        bail!("`{}` is no data directory with logs: there is no folder `audit`", directory.display());
    }
    Ok(vec![vec![directory.to_owned()]])
}

fn known_key(text: &str) -> anyhow::Result<KnownKey> {
    let text = if Path::new(text).is_file() { read(Path::new(text))? } else { text.to_owned() };
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// An exported checkpoint, as a note and read.
fn checkpoint(file: &Path) -> anyhow::Result<(String, Checkpoint)> {
    let note = read(file)?;
    let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
    Ok((note, checkpoint.with_context(|| format!("`{}` is no checkpoint", file.display()))?))
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))
}
