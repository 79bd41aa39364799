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
use stonetown_authorizer::lookup::LookupResourcesRequest;
use stonetown_authorizer::{Authorizer, Call, Effort, Error, Membership, Options};
use stonetown_benches::measure::{self, CountingAllocator, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_graph::reference::{Reference, Value};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::{Datastore, MemoryDatastore};
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
    let begun = Instant::now();
    let count = workload.load(&authorizer, &call)?;
    println!("import: {count} relationships in {:.1} s", begun.elapsed().as_secs_f64());
    compare(&authorizer, &call, &workload, args.compare)?;
    let before = measure::resident_bytes(std::process::id());
    println!(
        "{}: {} relationships, index resident, resident memory {} MiB",
        workload.title,
        workload.relationships.len(),
        before >> 20
    );
    checks(&authorizer, &call, &workload, Duration::from_secs(args.seconds))?;
    lookups(&authorizer, &call, &workload)
}

fn compare(authorizer: &Authorizer, call: &Call, workload: &Workload, count: usize) -> anyhow::Result<()> {
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
