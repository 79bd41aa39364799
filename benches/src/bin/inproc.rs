//! The engine without a transport: checks and lookups of one data set through the front door, answers compared with the
//! reference evaluator first.
//!
//! `cargo run --release -p stonetown-benches --bin inproc -- --workload w2 --size m`

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::explain::{Asked, ExplainRequest};
use stonetown_authorizer::lookup::LookupResourcesRequest;
use stonetown_authorizer::who_can::{Subjects, WhatCanRequest, WhoCanRequest};
use stonetown_authorizer::{Authorizer, Call, Effort, Error, Membership, Options};
use stonetown_benches::measure::{self, CountingAllocator, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_graph::reference::{Reference, Value};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::{BulkMode, Datastore, MemoryDatastore};
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{CaveatContext, Consistency, Source, Timestamp};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[derive(Parser)]
struct Args {
    /// The data set.
    #[arg(long, value_enum, default_value = "w2")]
    workload: Name,
    /// How much of it.
    #[arg(long, value_enum, default_value = "m")]
    size: Size,
    /// Seed of the generator.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Seconds of measuring, after as many seconds of warming up at most 3.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Keep the data in the memory store instead of RocksDB.
    #[arg(long)]
    memory: bool,
    /// Checks compared with the reference evaluator before timing.
    #[arg(long, default_value_t = 500)]
    compare: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let workload = Workload::generate(args.workload, args.size, args.seed);
    let folder = tempfile::tempdir()?;
    let datastore: Arc<dyn Datastore> = if args.memory {
        Arc::new(MemoryDatastore::new())
    } else {
        Arc::new(RocksDatastore::open(folder.path(), stonetown_storage_rocksdb::Options::default())?)
    };
    let authorizer = Authorizer::open(datastore, Options::default())?;
    let call = Call::new("bench");
    load(&authorizer, &call, &workload)?;
    compare(&authorizer, &call, &workload, args.compare)?;
    let before = measure::resident_bytes(std::process::id());
    println!(
        "{}: {} relationships, index resident, resident memory {} MiB",
        workload.title,
        workload.relationships.len(),
        before >> 20
    );
    checks(&authorizer, &call, &workload, Duration::from_secs(args.seconds))?;
    lookups(&authorizer, &call, &workload)?;
    explanations(&authorizer, &call, &workload)?;
    lists(&authorizer, &call, &workload)
}

fn load(authorizer: &Authorizer, call: &Call, workload: &Workload) -> anyhow::Result<()> {
    let start = Instant::now();
    authorizer.write_schema(call, workload.schema)?;
    let mut import = authorizer.import(call, BulkMode::Create)?;
    for batch in workload.relationships.chunks(10_000) {
        import.push(batch.to_vec())?;
    }
    let (_, count) = import.finish()?;
    println!("import: {count} relationships in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn compare(authorizer: &Authorizer, call: &Call, workload: &Workload, count: usize) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let schema = Schema::compile(workload.schema, &CompileOptions::default()).map_err(Error::Schema)?;
    let relationships: Vec<_> = workload.relationships.iter().map(|r| (r.clone(), Source::STANDING)).collect();
    let reference = Reference::new(Arc::new(schema), &relationships, Timestamp::now());
    let mut allowed = 0;
    for check in workload.checks.iter().take(count) {
        let answer = authorizer.check(call, &request(check), Effort::Full)?;
        let expected = reference.check(&check.resource, &check.permission, &check.subject, &CaveatContext::new());
        let agree = (answer.membership == Membership::Member) == (expected == Value::Yes);
        ensure!(agree, "{check:?}: {:?}, and the reference says {expected:?}", answer.membership);
        allowed += usize::from(answer.membership == Membership::Member);
    }
    println!("{count} checks agree with the reference evaluator, {allowed} of them allowed");
    Ok(())
}

fn checks(authorizer: &Authorizer, call: &Call, workload: &Workload, time: Duration) -> anyhow::Result<()> {
    let requests: Vec<_> = workload.checks.iter().map(request).collect();
    if requests.is_empty() {
        return Ok(());
    }
    let run = |time: Duration| -> anyhow::Result<(Latencies, u64, u64, Duration)> {
        let (mut latencies, mut edges) = (Latencies::default(), 0);
        let allocations = measure::allocations();
        let start = Instant::now();
        for request in requests.iter().cycle() {
            let begun = Instant::now();
            let answer = match authorizer.check(call, request, Effort::Inline) {
                Err(Error::NeedsPool) => authorizer.check(call, request, Effort::Full)?,
                answer => answer?,
            };
            latencies.record(begun.elapsed());
            edges += answer.work.edges;
            if start.elapsed() >= time {
                break;
            }
        }
        Ok((latencies, edges, measure::allocations() - allocations, start.elapsed()))
    };
    run(time.min(Duration::from_secs(3)))?;
    let (latencies, edges, allocations, elapsed) = run(time)?;
    let n = latencies.count();
    #[allow(clippy::cast_precision_loss)] // shown with one decimal
    let per = |total: u64| total as f64 / n as f64;
    println!(
        "check, warm, one thread: {:.0}/s, {latencies}, {:.1} edges, {:.1} allocations each",
        per(n * n) / elapsed.as_secs_f64(),
        per(edges),
        per(allocations)
    );
    Ok(())
}

fn lookups(authorizer: &Authorizer, call: &Call, workload: &Workload) -> anyhow::Result<()> {
    for lookup in &workload.lookups {
        let request = LookupResourcesRequest {
            consistency: Consistency::FullyConsistent,
            resource_type: lookup.resource_type.clone(),
            permission: lookup.permission.clone(),
            subject: lookup.subject.clone(),
            context: CaveatContext::new(),
            limit: None,
            after: None,
        };
        let (mut latencies, mut first, mut found) = (Latencies::default(), Latencies::default(), 0_u64);
        for _ in 0..10 {
            let begun = Instant::now();
            found = 0;
            authorizer.lookup_resources(call, &request, &mut |_, _| {
                if found == 0 {
                    first.record(begun.elapsed());
                }
                found += 1;
                ControlFlow::Continue(())
            })?;
            latencies.record(begun.elapsed());
        }
        println!("lookup, {}: {found} found; first {first}; whole {latencies}", lookup.label);
    }
    Ok(())
}

/// Why checks are answered as they are.
fn explanations(authorizer: &Authorizer, call: &Call, workload: &Workload) -> anyhow::Result<()> {
    let (mut allowed, mut others, mut steps, mut misses, mut cut) =
        (Latencies::default(), Latencies::default(), 0, 0, 0);
    for check in workload.checks.iter().take(2_000) {
        let CheckRequest { freshness, resource, permission, subject, context, .. } = request(check);
        let asked = Asked { resource, permission, subject, context };
        let begun = Instant::now();
        let found = authorizer.explain(call, &ExplainRequest { freshness, asked, misses_max: 5 })?;
        let is_member = *found.membership() == Membership::Member;
        (if is_member { &mut allowed } else { &mut others }).record(begun.elapsed());
        steps += found.reasons.path.len();
        misses += found.reasons.misses.len();
        cut += usize::from(found.reasons.cut);
    }
    println!("explain, allowed: {allowed}, {steps} relationships in all");
    println!("explain, denied: {others}, {misses} misses in all, {cut} cut");
    Ok(())
}

/// Who can, of resources that are checked, and what can, of those who look up.
fn lists(authorizer: &Authorizer, call: &Call, workload: &Workload) -> anyhow::Result<()> {
    for (label, with_path, limit) in [("100 with ways", true, Some(100)), ("all", false, None)] {
        let (mut who, mut what, mut holders, mut reached, mut most) =
            (Latencies::default(), Latencies::default(), 0_u64, 0_u64, 0_u64);
        for check in workload.checks.iter().take(200) {
            let request = WhoCanRequest {
                freshness: Consistency::FullyConsistent.into(),
                resource: check.resource.clone(),
                permission: check.permission.clone(),
                subjects: Subjects::All,
                context: CaveatContext::new(),
                with_path,
                limit,
                after: None,
            };
            let (begun, before) = (Instant::now(), holders);
            authorizer.who_can(call, &request, &mut |_, _| {
                holders += 1;
                ControlFlow::Continue(())
            })?;
            who.record(begun.elapsed());
            most = most.max(holders - before);
        }
        println!("who-can, {label}: {who}; {holders} found, at most {most} at once");
        let subjects = workload.lookups.iter().map(|lookup| &lookup.subject);
        for subject in subjects.chain(workload.checks.iter().map(|check| &check.subject)).take(50) {
            let request = WhatCanRequest {
                freshness: Consistency::FullyConsistent.into(),
                subject: subject.clone(),
                resource_type: None,
                permission: None,
                context: CaveatContext::new(),
                with_path,
                limit,
                after: None,
            };
            let begun = Instant::now();
            authorizer.what_can(call, &request, &mut |_, _| {
                reached += 1;
                ControlFlow::Continue(())
            })?;
            what.record(begun.elapsed());
        }
        println!("what-can over all types and permissions, {label}: {what}; {reached} found");
    }
    Ok(())
}

fn request(check: &stonetown_benches::workload::Check) -> CheckRequest {
    CheckRequest {
        freshness: Consistency::MinimizeLatency.into(),
        resource: check.resource.clone(),
        permission: check.permission.clone(),
        subject: check.subject.clone(),
        context: CaveatContext::new(),
        with: Vec::new(),
        trace: false,
    }
}
