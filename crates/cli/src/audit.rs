//! `stonetown audit`: the logs of decisions and changes in a data directory, also while a server writes them. Reads only, but
//! for `rotate-key` and `erase`.

mod print;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use stonetown_audit::merkle::{self, Hash};
use stonetown_audit::note::{Checkpoint, Note, PublicKey};
use stonetown_audit::reader::RawRecord;
use stonetown_audit::recorder::{CHANGES, DECISIONS, FOLDER, log_directory};
use stonetown_audit::search::{Query, search};
use stonetown_audit::{
    Against, EraseError, Erasure, Fields, Keys, LogReader, ReadError, erase_offline, untold_erasures, verify,
};
use stonetown_tuple::Timestamp;

use crate::Outcome;
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
    /// log of changes first. No server may be running on the data.
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
    /// The server's data directory.
    #[arg(long, env = "STONETOWN_DATA_DIR", default_value = "data", value_name = "DIR")]
    data_dir: PathBuf,
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
    /// The server's data directory, or that of one log.
    #[arg(env = "STONETOWN_DATA_DIR", default_value = "data", value_name = "DIR")]
    directory: PathBuf,
    /// A checkpoint that was exported before. Repeat the flag for several.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A public key that is known to be the logs', as `stonetown audit key` prints it, or a file with it. Repeat the flag for
    /// several.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    data: DataArgs,
    /// Directory of the keys that sign the logs, as the server has it; the data directory's name with `.keys` by default.
    #[arg(long, env = "STONETOWN_KEY_DIR", value_name = "DIR")]
    key_dir: Option<PathBuf>,
    /// An object: its id wherever it was a subject or a resource, and what mentions it.
    #[arg(long, value_name = "TYPE:ID", required_unless_present = "caller")]
    object: Option<String>,
    /// Who called or wrote.
    #[arg(long)]
    caller: Option<String>,
    /// Who erases, for the record of it.
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
    #[arg(long, value_parser = ["allowed", "denied", "conditional", "answered", "failed", "begun"])]
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

pub(crate) fn run(command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Verify(args) => return verify_all(&args, output),
        Command::Checkpoint { log, output: file } => checkpoint(&log.open()?, file.as_deref(), output)?,
        Command::Prove { index, log } => prove(&log.open()?, index, output)?,
        Command::Consistency { size, log } => consistency(&log.open()?, size, output)?,
        Command::Search(args) => find(*args, output)?,
        Command::Export { log, from } => export(&log.open()?, from)?,
        Command::Key { data } => keys(&data.data_dir, output)?,
        Command::Erase(args) => erase(args, output)?,
        Command::RotateKey { key_dir } => {
            let key = Keys::rotate(&key_dir)?.fingerprint();
            output.result(format_args!("made key {key}: it signs from the next start on"), || json!({ "key": key }));
        }
    }
    Ok(Outcome::Done)
}

impl LogArgs {
    fn open(&self) -> anyhow::Result<LogReader> {
        let name = match self.log {
            Log::Decisions => DECISIONS,
            Log::Changes => CHANGES,
        };
        Ok(LogReader::open(&log_directory(&self.data.data_dir, name))?)
    }
}

fn verify_all(args: &Verify, output: Output) -> anyhow::Result<Outcome> {
    let against = Against {
        keys: args.key.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?,
        checkpoints: args.checkpoint.iter().map(|file| read(file)).collect::<Result<_, _>>()?,
    };
    let mut origins = BTreeSet::new();
    let mut whole = true;
    let mut reports = Vec::new();
    for directory in logs(&args.directory)? {
        let report = verify(&directory, &against)?;
        whole &= report.problems.is_empty();
        print::report(&report, &against, output);
        origins.insert(report.origin.clone());
        reports.push(report);
    }
    if let [decisions, changes] = &reports[..]
        && let Some(what) = untold_erasures(decisions, changes)
    {
        whole = false;
        output.result(format_args!("problem: {what}"), || json!({ "problem": what }));
    }
    // A checkpoint of no log that is here would otherwise have been compared with nothing.
    for (file, note) in args.checkpoint.iter().zip(&against.checkpoints) {
        let origin = Note::parse(note).and_then(|note| Checkpoint::parse(note.text())).map(|found| found.origin);
        if let Ok(origin) = origin
            && !origins.contains(&origin)
        {
            bail!("`{}` is a checkpoint of `{origin}`, which is not in `{}`", file.display(), args.directory.display());
        }
    }
    Ok(if whole { Outcome::Done } else { Outcome::Invalid })
}

/// The logs of a data directory, or the one that a directory is.
fn logs(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let own = [DECISIONS, CHANGES].map(|name| log_directory(directory, name));
    let found: Vec<_> = own.into_iter().filter(|log| log.is_dir()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if stonetown_audit::segment::list(directory)?.is_empty() {
        bail!("`{}` is no data directory with logs: there is no folder `audit`", directory.display());
    }
    Ok(vec![directory.to_owned()])
}

fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    let text = if Path::new(text).is_file() { read(Path::new(text))? } else { text.to_owned() };
    let line = text.lines().next().unwrap_or_default();
    Ok(PublicKey::parse_verifier(line.split_whitespace().next().unwrap_or_default())?.1)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))
}

fn newest(log: &LogReader) -> anyhow::Result<(String, Checkpoint)> {
    log.newest_checkpoint()?.context("the log has no checkpoint yet: there is one within a second of its first record")
}

fn checkpoint(log: &LogReader, file: Option<&Path>, output: Output) -> anyhow::Result<()> {
    let (note, checkpoint) = newest(log)?;
    let value = || json!({ "origin": checkpoint.origin, "size": checkpoint.size, "root": BASE64.encode(checkpoint.root), "note": note });
    match file {
        None => output.result(note.trim_end_matches('\n'), value),
        Some(file) => {
            std::fs::write(file, &note).with_context(|| format!("`{}`", file.display()))?;
            output.result(format_args!("{} records of {}", checkpoint.size, checkpoint.origin), value);
        }
    }
    Ok(())
}

fn prove(log: &LogReader, index: u64, output: Output) -> anyhow::Result<()> {
    let (note, checkpoint) = newest(log)?;
    if index >= checkpoint.size {
        bail!("record {index} is not signed for yet: the newest checkpoint has {} records", checkpoint.size);
    }
    let proof = merkle::inclusion(&mut log.subtrees(checkpoint.size), index, checkpoint.size)?;
    let mut found = None;
    log.records(index, &mut |raw| {
        found = Some((BASE64.encode(raw.entry), raw.leaf, raw.record.to_json()));
        ControlFlow::Break(())
    })?;
    let (entry, leaf, record) = found.context("the record is gone")?;
    if !merkle::is_included(&leaf, index, checkpoint.size, &proof, &checkpoint.root) {
        bail!("record {index} is not the one that was signed for: run `stonetown audit verify`");
    }
    let text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n{}\n{}", lines(&proof), note.trim_end_matches('\n'));
    output.result(text, || {
        json!({
            "origin": checkpoint.origin,
            "index": index,
            "size": checkpoint.size,
            "root": BASE64.encode(checkpoint.root),
            "leaf_hash": BASE64.encode(leaf),
            "entry": entry,
            "proof": proof.iter().map(|hash| BASE64.encode(hash)).collect::<Vec<_>>(),
            "checkpoint": note,
            "record": record,
        })
    });
    Ok(())
}

fn consistency(log: &LogReader, size: u64, output: Output) -> anyhow::Result<()> {
    let (note, checkpoint) = newest(log)?;
    if size == 0 || size > checkpoint.size {
        bail!("a size from 1 to {} is expected", checkpoint.size);
    }
    let mut subtrees = log.subtrees(checkpoint.size);
    let proof = merkle::consistency(&mut subtrees, size, checkpoint.size)?;
    let old_root = merkle::root(&mut subtrees, size)?;
    if !merkle::is_consistent(size, checkpoint.size, &old_root, &checkpoint.root, &proof) {
        bail!("the log is not the one that was signed for: run `stonetown audit verify`");
    }
    output.result(format!("{}\n{}", lines(&proof), note.trim_end_matches('\n')), || {
        json!({
            "origin": checkpoint.origin,
            "old_size": size,
            "old_root": BASE64.encode(old_root),
            "size": checkpoint.size,
            "root": BASE64.encode(checkpoint.root),
            "proof": proof.iter().map(|hash| BASE64.encode(hash)).collect::<Vec<_>>(),
            "checkpoint": note,
        })
    });
    Ok(())
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| BASE64.encode(hash) + "\n").collect()
}

fn find(args: Search, output: Output) -> anyhow::Result<()> {
    let log = args.log.open()?;
    let Search { subject, resource, permission, outcome, call, caller, since, until, from, limit, .. } = args;
    let query = Query { subject, resource, permission, outcome, call, caller, since, until, from };
    let mut left = if limit == 0 { u64::MAX } else { limit };
    search(&log, &query, &mut |raw| {
        print::record(&raw.record, output);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(())
}

fn erase(args: Erase, output: Output) -> anyhow::Result<()> {
    let data = args.data.data_dir;
    let key_dir = args.key_dir.unwrap_or_else(|| stonetown_server::keys::beside(&data));
    let keys = Keys::open(&key_dir)?;
    let erasure = Erasure { object: args.object, caller: args.caller };
    let folder = data.join(FOLDER);
    let Fields { decisions, changes } =
        erase_offline(&folder, &keys, &erasure, &args.actor, &args.reason).map_err(|error| match error {
            EraseError::Read(ReadError::Io { source, .. }) if source.kind() == ErrorKind::ResourceBusy => {
                anyhow::anyhow!("a server has these logs, or was killed and not started since: start and stop it first")
            }
            error => error.into(),
        })?;
    output.result(
        format_args!("erased {decisions} field(s) of decisions and {changes} of changes"),
        || json!({ "decisions": decisions, "changes": changes }),
    );
    Ok(())
}

fn export(log: &LogReader, from: u64) -> anyhow::Result<()> {
    let mut line = |raw: &RawRecord<'_>| {
        let (entry, leaf) = (BASE64.encode(raw.entry), BASE64.encode(raw.leaf));
        println!("{}", json!({ "record": raw.record.to_json(), "entry": entry, "leaf_hash": leaf }));
        ControlFlow::Continue(())
    };
    Ok(log.records(from, &mut line)?)
}

fn keys(data: &Path, output: Output) -> anyhow::Result<()> {
    for directory in logs(data)? {
        let log = LogReader::open(&directory)?;
        for key in log.keys()? {
            let (verifier, fingerprint) = (key.verifier(log.origin()), key.fingerprint());
            output.result(
                format_args!("{verifier} {fingerprint}"),
                || json!({ "origin": log.origin(), "key": verifier, "fingerprint": fingerprint }),
            );
        }
    }
    Ok(())
}
