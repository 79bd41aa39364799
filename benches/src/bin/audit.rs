//! What recording costs: the same checks with the log of decisions off and on, in turns, in one process; then at a steady pace,
//! with the CPU of the whole process counted.
//!
//! `cargo run --release -p stonetown-benches --bin audit -- --workload w2 --size m`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use stonetown_audit::{Against, Keys, Options as AuditOptions, Recorder, verify};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::{Authorizer, Call, Effort, Error, Options};
use stonetown_benches::measure::{self, CountingAllocator, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_storage::{BulkMode, Datastore, MemoryDatastore};
use stonetown_tuple::{CaveatContext, Consistency};

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
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Turns, each of off and on.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Checks a second at the steady pace.
    #[arg(long, default_value_t = 10_000)]
    pace: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let workload = Workload::generate(args.workload, args.size, DEFAULT_SEED);
    ensure!(!workload.checks.is_empty(), "this data set has no checks");
    let folder = tempfile::tempdir()?;
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let call = Call::new("bench");
    let off = Authorizer::open(Arc::clone(&datastore), Options::default())?;
    off.write_schema(&call, workload.schema)?;
    let mut import = off.import(&call, BulkMode::Create)?;
    for batch in workload.relationships.chunks(10_000) {
        import.push(batch.to_vec())?;
    }
    import.finish()?;
    let keys = Keys::open(&folder.path().join("keys"))?;
    let options = AuditOptions::new(folder.path().join("audit"), keys, datastore.instance());
    let recorder = Arc::new(Recorder::open(options, Arc::clone(&datastore))?);
    let on = Authorizer::open(Arc::clone(&datastore), Options::default())?.recording_to(Arc::clone(&recorder));
    println!("{}: {} relationships", workload.title, workload.relationships.len());

    let requests: Vec<_> = workload.checks.iter().map(request).collect();
    let time = Duration::from_secs(args.seconds);
    let mut asked = 0;
    for round in 1..=args.rounds {
        for (name, authorizer) in [("off", &off), ("on", &on)] {
            let (latencies, allocations) = flat_out(authorizer, &call, &requests, time)?;
            asked += if name == "on" { latencies.count() } else { 0 };
            println!("round {round}, log {name}: {latencies}, {allocations:.2} allocations each");
        }
    }
    for (name, authorizer) in [("off", &off), ("on", &on)] {
        let before = measure::cpu_time(std::process::id());
        let count = at_pace(authorizer, &call, &requests, args.pace, time)?;
        asked += if name == "on" { count } else { 0 };
        let cpu = measure::cpu_time(std::process::id()).saturating_sub(before);
        #[allow(clippy::cast_precision_loss)] // shown with one decimal
        let share = cpu.as_secs_f64() / time.as_secs_f64() * 100.0;
        println!("{} checks a second, log {name}: {share:.1} % of one CPU", args.pace);
    }
    recorder.close();
    let counters = recorder.counters();
    let (written, lost) = (counters.decisions.load(Ordering::Relaxed), counters.lost.load(Ordering::Relaxed));
    ensure!(written + lost >= asked, "{asked} checks, {written} records, {lost} lost");
    let report = verify(&folder.path().join("audit").join("decisions"), &Against::default())?;
    ensure!(report.problems.is_empty(), "{:?}", report.problems);
    println!("{asked} checks were recorded: {written} written, {lost} counted as lost; the log verifies");
    Ok(())
}

fn flat_out(
    authorizer: &Authorizer,
    call: &Call,
    requests: &[CheckRequest],
    time: Duration,
) -> anyhow::Result<(Latencies, f64)> {
    let mut latencies = Latencies::default();
    let allocations = measure::allocations();
    let start = Instant::now();
    for request in requests.iter().cycle() {
        let begun = Instant::now();
        check(authorizer, call, request)?;
        latencies.record(begun.elapsed());
        if start.elapsed() >= time {
            break;
        }
    }
    #[allow(clippy::cast_precision_loss)] // shown with two decimals
    let each = (measure::allocations() - allocations) as f64 / latencies.count() as f64;
    Ok((latencies, each))
}

fn at_pace(
    authorizer: &Authorizer,
    call: &Call,
    requests: &[CheckRequest],
    pace: u32,
    time: Duration,
) -> anyhow::Result<u64> {
    /// Checks are asked in groups, so that sleeping is not what is measured.
    const GROUPS_PER_SECOND: u32 = 200;
    let group = (pace / GROUPS_PER_SECOND).max(1);
    let (start, mut count) = (Instant::now(), 0);
    let mut requests = requests.iter().cycle();
    while start.elapsed() < time {
        for request in requests.by_ref().take(group as usize) {
            check(authorizer, call, request)?;
            count += 1;
        }
        let due = Duration::from_secs(1).mul_f64(f64::from(u32::try_from(count)?) / f64::from(pace));
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(count)
}

fn check(authorizer: &Authorizer, call: &Call, request: &CheckRequest) -> anyhow::Result<()> {
    match authorizer.check(call, request, Effort::Inline) {
        Err(Error::NeedsPool) => authorizer.check(call, request, Effort::Full)?,
        answer => answer?,
    };
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
