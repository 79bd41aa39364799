//! The logs of a data directory.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, anyhow};
use stonetown_audit::layout::{CHANGES, DECISIONS, log_directory, place};
use stonetown_audit::search::search;
use stonetown_audit::{
    EraseError, Erasure, Keys, LogReader, ReadError, erase_offline, newest, prove_consistency, prove_inclusion,
};

use super::{Command, Erase, Log, logs, print};
use crate::Outcome;
use crate::output::Output;

pub(super) fn run(data: &Path, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Checkpoint { log, output: file } => {
            let (note, checkpoint) = newest(&open(data, log.log)?)?;
            print::checkpoint(&note, &checkpoint, file.as_deref(), output)?;
        }
        Command::Prove { index, log } => {
            let log = open(data, log.log)?;
            let proof = prove_inclusion(&log, index)?;
            let mut shown = None;
            log.record(index, &mut |raw| shown = Some(print::proved(&raw.record, raw.entry)))?;
            print::inclusion(&proof, shown.context("the record is gone")?, output);
        }
        Command::Consistency { size, log } => {
            print::consistency(&prove_consistency(&open(data, log.log)?, size)?, output);
        }
        Command::Search(args) => {
            let (query, mut left) = args.query();
            query.check(name(args.log.log)).map_err(|unfit| anyhow!("--{} {}", unfit.field, unfit.why))?;
            let log = open(data, args.log.log)?;
            search(&log, &query, &mut |_| ControlFlow::Continue(()), &mut |raw| {
                print::record(&raw.record, output);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Command::Export { log, from } => open(data, log.log)?.records(from, &mut |raw| {
            print::exported(&raw.record, raw.entry, &raw.leaf);
            ControlFlow::Continue(())
        })?,
        Command::Key { .. } => keys(data, output)?,
        Command::Erase(args) => erase(data, args, output)?,
        Command::Verify(_) | Command::RotateKey { .. } => {}
    }
    Ok(Outcome::Done)
}

fn open(data: &Path, log: Log) -> anyhow::Result<LogReader> {
    let (folder, store) = place(data);
    Ok(LogReader::open(&log_directory(&folder, store, name(log)))?)
}

fn name(log: Log) -> &'static str {
    match log {
        Log::Decisions => DECISIONS,
        Log::Changes => CHANGES,
    }
}

fn keys(data: &Path, output: Output) -> anyhow::Result<()> {
    for directory in logs(data)?.into_iter().flatten() {
        let log = LogReader::open(&directory)?;
        log.keys()?.iter().for_each(|key| print::key(key, log.origin(), output));
    }
    Ok(())
}

fn erase(data: &Path, args: Erase, output: Output) -> anyhow::Result<()> {
    let (folder, store) = place(data);
    let data = folder.parent().unwrap_or(data);
    let key_dir = args.key_dir.unwrap_or_else(|| stonetown_server::keys::beside(data));
    let keys = Keys::existing(&key_dir)?;
    let erasure = Erasure { object: args.object, caller: args.caller };
    let fields =
        erase_offline(&folder, store, &keys, &erasure, &args.actor, &args.reason).map_err(|error| match error {
            EraseError::Read(ReadError::Io { source, .. }) if source.kind() == ErrorKind::ResourceBusy => {
                anyhow::anyhow!("a server has these logs, or was killed and not started since: start and stop it first")
            }
            error => error.into(),
        })?;
    print::erased(fields.decisions, fields.changes, output);
    Ok(())
}
