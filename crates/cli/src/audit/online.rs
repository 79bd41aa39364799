//! The logs of a running server, which is not believed where it can be verified: what it sends of a record has to be what its leaf
//! commits to, and its proofs have to hold.

use anyhow::{Context, bail};
use stonetown_api::client::timestamp_to_wire;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_audit::merkle::{Hash, is_consistent, is_included, leaf_hash};
use stonetown_audit::note::{Checkpoint, Note, PublicKey};
use stonetown_audit::record::Entry;
use stonetown_audit::search::Query;
use stonetown_audit::{Consistency, Inclusion};

use super::{Command, Erase, Log, Search, print};
use crate::Outcome;
use crate::client::Client;
use crate::output::Output;

pub(super) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Checkpoint { log, output: file } => {
            let found = checkpoint(&mut client, log.log).await?;
            print::checkpoint(&found.note, &parse(&found.note)?, file.as_deref(), output)?;
        }
        Command::Prove { index, log } => {
            let proof = prove_record(&mut client, log.log, index).await?;
            let query = Query { from: index, ..Query::default() };
            let mut shown = None;
            each(&mut client, log.log, query, 1, |record, entry, leaf| {
                shown = (record.index == index && *leaf == proof.leaf).then(|| print::proved(record, entry));
            })
            .await?;
            print::inclusion(&proof, shown.context("the record is gone")?, output);
        }
        Command::Consistency { size, log } => {
            print::consistency(&prove_growth(&mut client, log.log, size).await?, output);
        }
        Command::Search(args) => find(&mut client, *args, output).await?,
        Command::Export { log, from } => {
            let query = Query { from, ..Query::default() };
            each(&mut client, log.log, query, 0, print::exported).await?;
        }
        Command::Key { .. } => {
            for log in [Log::Decisions, Log::Changes] {
                let found = checkpoint(&mut client, log).await?;
                for key in found.keys {
                    let (origin, key) = PublicKey::parse_verifier(&key)?;
                    print::key(&key, &origin, output);
                }
            }
        }
        Command::Erase(args) => erase(&mut client, args, output).await?,
        Command::Verify(_) | Command::RotateKey { .. } => {}
    }
    Ok(Outcome::Done)
}

async fn checkpoint(client: &mut Client, log: Log) -> anyhow::Result<pb::GetCheckpointResponse> {
    Ok(client.audit.get_checkpoint(pb::GetCheckpointRequest { log: kind(log) }).await?.into_inner())
}

async fn prove_record(client: &mut Client, log: Log, index: u64) -> anyhow::Result<Inclusion> {
    let answer = client.audit.prove_record(pb::ProveRecordRequest { log: kind(log), index }).await?.into_inner();
    let (checkpoint, leaf, path) = (parse(&answer.note)?, hash(&answer.leaf_hash)?, hashes(&answer.path)?);
    if !is_included(&leaf, index, checkpoint.size, &path, &checkpoint.root) {
        bail!("the proof of the server does not hold");
    }
    Ok(Inclusion { index, leaf, path, checkpoint, note: answer.note })
}

async fn prove_growth(client: &mut Client, log: Log, size: u64) -> anyhow::Result<Consistency> {
    let answer = client.audit.prove_growth(pb::ProveGrowthRequest { log: kind(log), size }).await?.into_inner();
    let (checkpoint, old_root, path) = (parse(&answer.note)?, hash(&answer.old_root)?, hashes(&answer.path)?);
    if !is_consistent(size, checkpoint.size, &old_root, &checkpoint.root, &path) {
        bail!("the proof of the server does not hold");
    }
    Ok(Consistency { old_size: size, old_root, path, checkpoint, note: answer.note })
}

async fn find(client: &mut Client, args: Search, output: Output) -> anyhow::Result<()> {
    let (query, _) = args.query();
    each(client, args.log.log, query, args.limit, |record, _, _| print::record(record, output)).await
}

/// Hands the records that fit to `visit`, with the bytes of each and their hash.
async fn each(
    client: &mut Client,
    log: Log,
    query: Query,
    limit: u64,
    mut visit: impl FnMut(&Entry<'_>, &[u8], &Hash),
) -> anyhow::Result<()> {
    let request = pb::SearchRecordsRequest {
        log: kind(log),
        subject: query.subject.unwrap_or_default(),
        resource: query.resource.unwrap_or_default(),
        permission: query.permission.unwrap_or_default(),
        outcome: query.outcome.unwrap_or_default(),
        call: query.call.unwrap_or_default(),
        caller: query.caller.unwrap_or_default(),
        since: query.since.map(timestamp_to_wire),
        until: query.until.map(timestamp_to_wire),
        from: query.from,
        limit,
    };
    let mut answers = client.audit.search_records(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let Some(record) = answer.record else { continue };
        let read = Entry::read(&record.entry, &record.beside).filter(|read| read.index == record.index);
        let read = read.with_context(|| format!("record {} is of another version of the log", record.index))?;
        let leaf = hash(&record.leaf_hash)?;
        if leaf_hash(&record.entry) != leaf {
            bail!("record {} is not what its hash says", record.index);
        }
        visit(&read, &record.entry, &leaf);
    }
    Ok(())
}

async fn erase(client: &mut Client, args: Erase, output: Output) -> anyhow::Result<()> {
    let request = pb::EraseFieldsRequest {
        object: args.object.unwrap_or_default(),
        caller: args.caller.unwrap_or_default(),
        why: Some(pb::Why { reason: args.reason, ticket: String::new() }),
    };
    let pb::EraseFieldsResponse { decisions, changes } = client.audit.erase_fields(request).await?.into_inner();
    print::erased(decisions, changes, output);
    Ok(())
}

fn kind(log: Log) -> i32 {
    let kind = match log {
        Log::Decisions => pb::LogKind::Decisions,
        Log::Changes => pb::LogKind::Changes,
    };
    kind.into()
}

fn parse(note: &str) -> anyhow::Result<Checkpoint> {
    Ok(Checkpoint::parse(Note::parse(note)?.text())?)
}

fn hash(bytes: &[u8]) -> anyhow::Result<Hash> {
    bytes.try_into().context("a hash of 32 bytes is expected")
}

fn hashes(path: &[Vec<u8>]) -> anyhow::Result<Vec<Hash>> {
    path.iter().map(|bytes| hash(bytes)).collect()
}
