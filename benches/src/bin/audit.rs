//! What recording decisions costs: the same checks with the log off and on, in turns, in one process and of one index. First at an
//! exact pace, with the CPU of every thread counted, those that write and index the log apart; then one after the other, as fast as
//! they go. The log is off for the server's own questions, so they are asked as those.
//!
//! `cargo run --release -p stonetown-benches --bin audit -- --workload w2 --size m`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use stonetown_audit::{Against, Keys, Options as AuditOptions, Recorder, verify};
use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::{Authorizer, Call, Caller, Effort, Error, Options};
use stonetown_benches::measure::{self, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_storage::Datastore;
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{CaveatContext, Consistency};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The threads that write the log and that index it.
const WRITER: &str = "audit-write";
const INDEXER: &str = "audit-index";
/// Records of a segment, which is indexed once it is full.
const SEGMENT_RECORDS: u64 = 1 << 16;
/// The sides that take turns.
const NAMES: [&str; 2] = ["off", "on"];

#[derive(Parser)]
struct Args {
    /// The data set.
    #[arg(long, value_enum, default_value = "w2")]
    workload: Name,
    /// How much of it.
    #[arg(long, value_enum, default_value = "m")]
    size: Size,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Turns, each of off and on.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Checks a second at the exact pace.
    #[arg(long, default_value_t = 10_000)]
    pace: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let workload = Workload::generate(args.workload, args.size, DEFAULT_SEED);
    ensure!(!workload.checks.is_empty(), "this data set has no checks");
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let datastore: Arc<dyn Datastore> = Arc::new(RocksDatastore::open(&data, Default::default())?);
    let own = Call { caller: Caller::internal(), ..Call::new("") };
    let authorizer = Authorizer::open(Arc::clone(&datastore), Options::default())?;
    workload.load(&authorizer, &own)?;
    let keys = Keys::open(&folder.path().join("keys"))?;
    let options = AuditOptions::new(folder.path().join("audit"), keys, datastore.instance());
    let recorder = Arc::new(Recorder::open(options, Arc::clone(&datastore))?);
    let authorizer = authorizer.recording_to(Arc::clone(&recorder));
    println!("{}: {} relationships", workload.title, workload.relationships.len());
    while recorder.position() < datastore.head() {
        std::thread::sleep(Duration::from_millis(100));
    }

    let requests: Vec<_> = workload.checks.iter().map(request).collect();
    let bench = Bench { authorizer, calls: [own, Call::new("bench")], requests, recorder };
    let mut asked = bench.at_pace(&args)?;
    asked += bench.flat_out(Duration::from_secs(args.seconds * u64::from(args.rounds)))?;
    bench.recorder.close();
    let counters = bench.recorder.counters();
    let (written, lost) = (counters.decisions.load(Ordering::Relaxed), counters.lost.load(Ordering::Relaxed));
    ensure!(written + lost >= asked, "{asked} checks, {written} records, {lost} lost");
    let report = verify(&folder.path().join("audit").join("decisions"), &Against::default())?;
    ensure!(report.problems.is_empty(), "{:?}", report.problems);
    println!("{asked} checks were recorded: {written} written, {lost} counted as lost; the log verifies");
    Ok(())
}

struct Bench {
    authorizer: Authorizer,
    /// One that is not recorded, and one that is.
    calls: [Call; 2],
    requests: Vec<CheckRequest>,
    recorder: Arc<Recorder>,
}

/// CPU time so far: of the threads that answer and do everything else, that write the log, and that index it.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    answering: Duration,
    writing: Duration,
    indexing: Duration,
}

impl Cpu {
    fn now() -> Cpu {
        let threads = measure::threads_cpu();
        let of = |name: &str| threads.get(name).copied().unwrap_or_default();
        let (writing, indexing) = (of(WRITER), of(INDEXER));
        Cpu { answering: threads.values().sum::<Duration>().saturating_sub(writing + indexing), writing, indexing }
    }
}

impl Bench {
    /// Asks at the pace, in turns, and says what the log costs each check, and of one core. Returns how many were recorded.
    fn at_pace(&self, args: &Args) -> anyhow::Result<u64> {
        let turn = Duration::from_secs(args.seconds);
        let mut requests = self.requests.iter().cycle();
        let (mut latencies, mut answering) = <([Latencies; 2], [Duration; 2])>::default();
        let mut counts = [0, 0];
        let (begun, recorded) = (Cpu::now(), self.recorder.counters().decisions.load(Ordering::Relaxed));
        for round in 1..=args.rounds {
            for (which, call) in self.calls.iter().enumerate() {
                let before = Cpu::now();
                let count = self.ask_at_pace(call, &mut requests, args.pace, turn, &mut latencies[which])?;
                let cpu = Cpu::now().answering - before.answering;
                answering[which] += cpu;
                counts[which] += count;
                println!("round {round}, log {}: {:.2} us of CPU each", NAMES[which], micros_each(cpu, count));
            }
        }
        // Until all is written, synced and indexed.
        while self.recorder.counters().unsynced.load(Ordering::Relaxed) > 0 || self.recorder.queued_bytes() > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut ended = Cpu::now();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let indexing = Cpu::now().indexing;
            if indexing == ended.indexing {
                break;
            }
            ended.indexing = indexing;
        }
        let recorded = self.recorder.counters().decisions.load(Ordering::Relaxed) - recorded;
        ensure!(recorded == counts[1], "{} checks at a pace, {recorded} records", counts[1]);
        let indexed = recorded / SEGMENT_RECORDS * SEGMENT_RECORDS;
        ensure!(indexed > 0, "no segment was filled: take more rounds, or a faster pace");

        for which in [0, 1] {
            println!("{} checks a second, log {}: {}", args.pace, NAMES[which], latencies[which]);
        }
        let answers = [0, 1].map(|which| micros_each(answering[which], counts[which]));
        let parts = [
            ("the thread that asks", answers[1] - answers[0]),
            ("writing", micros_each(ended.writing - begun.writing, recorded)),
            ("indexing", micros_each(ended.indexing - begun.indexing, indexed)),
        ];
        println!("CPU of a check without the log: {:.2} us", answers[0]);
        for (part, micros) in parts {
            println!("CPU that the log adds to it, {part}: {micros:.2} us");
        }
        let all: f64 = parts.iter().map(|(_, micros)| micros).sum();
        let share = all * f64::from(args.pace) / 1e4;
        println!("together {all:.2} us, at {} checks a second {share:.1} % of one core", args.pace);
        Ok(recorded)
    }

    /// Asks for `time` and counts the latencies of the calls. Returns how many it asked.
    fn ask_at_pace<'a>(
        &self,
        call: &Call,
        requests: &mut impl Iterator<Item = &'a CheckRequest>,
        pace: u32,
        time: Duration,
        latencies: &mut Latencies,
    ) -> anyhow::Result<u64> {
        /// Checks are asked in groups, so that sleeping is not what is measured.
        const GROUPS_PER_SECOND: u32 = 200;
        let groups = u32::try_from(time.as_secs())? * GROUPS_PER_SECOND;
        let group = (pace / GROUPS_PER_SECOND).max(1);
        let start = Instant::now();
        for number in 0..groups {
            let due = Duration::from_secs(1) * number / GROUPS_PER_SECOND;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            for request in requests.take(group as usize) {
                self.ask(call, request, latencies)?;
            }
        }
        std::thread::sleep(time.saturating_sub(start.elapsed()));
        Ok(u64::from(groups) * u64::from(group))
    }

    /// Asks as fast as it goes, changing sides often, and says what recording costs its call. Returns how many were recorded.
    fn flat_out(&self, time: Duration) -> anyhow::Result<u64> {
        /// Checks between two changes.
        const CHANGE_EVERY: usize = 1000;
        let mut latencies = <[Latencies; 2]>::default();
        let start = Instant::now();
        for (number, requests) in self.requests.chunks(CHANGE_EVERY).cycle().enumerate() {
            // Each side asks the same, and is the first as often as the other.
            for which in [number % 2, (number + 1) % 2] {
                for request in requests {
                    self.ask(&self.calls[which], request, &mut latencies[which])?;
                }
            }
            if start.elapsed() >= time {
                break;
            }
        }
        println!("one after the other, log off: {}", latencies[0]);
        println!("one after the other, log on: {}", latencies[1]);
        let [off, on] = latencies.each_ref().map(Latencies::trimmed_mean_micros);
        println!(
            "recording costs its call {:.0} ns at the median, and {:.0} ns in the mean of all but the slowest of 100: {:.2} times \
             one without",
            (latencies[1].quantile_micros(0.5) - latencies[0].quantile_micros(0.5)) * 1e3,
            (on - off) * 1e3,
            on / off
        );
        Ok(latencies[1].count())
    }

    fn ask(&self, call: &Call, request: &CheckRequest, latencies: &mut Latencies) -> anyhow::Result<()> {
        let begun = Instant::now();
        match self.authorizer.check(call, request, Effort::Inline) {
            Err(Error::NeedsPool) => self.authorizer.check(call, request, Effort::Full)?,
            answer => answer?,
        };
        latencies.record(begun.elapsed());
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss)] // shown with two decimals
fn micros_each(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
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
