//! What Explain, WhoCan and WhatCan take through the front door, without a transport: of the present, and of a moment that has passed,
//! which no index knows.
//!
//! `cargo run --release -p stonetown-benches --bin reasons -- --workload w8 --size l`

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use stonetown_authorizer::explain::{Asked, ExplainRequest};
use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::who_can::{Subjects, WhatCanRequest, WhoCanRequest};
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Error, Membership, Options};
use stonetown_benches::measure::{self, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_storage::Datastore;
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{CaveatContext, Consistency, Operation, RelationshipUpdate, SubjectRef};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Results of a list that come with their ways.
const PAGE: u64 = 100;

#[derive(Parser)]
struct Args {
    /// The data set.
    #[arg(long, value_enum, default_value = "w8")]
    workload: Name,
    /// How much of it.
    #[arg(long, value_enum, default_value = "l")]
    size: Size,
    /// Checks that are explained.
    #[arg(long, default_value_t = 2_000)]
    explained: usize,
    /// Resources of checks, and subjects of checks, that are asked about.
    #[arg(long, default_value_t = 100)]
    asked: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut workload = Workload::generate(args.workload, args.size, DEFAULT_SEED);
    let folder = tempfile::tempdir()?;
    let open = || -> anyhow::Result<Authorizer> {
        let datastore: Arc<dyn Datastore> = Arc::new(RocksDatastore::open(folder.path(), Default::default())?);
        Ok(Authorizer::open(datastore, Options::default())?)
    };
    let authorizer = open()?;
    let call = Call::new("bench");
    let begun = Instant::now();
    let count = workload.load(&authorizer, &call)?;
    println!("{}: {count} relationships, imported in {:.1} s", workload.title, begun.elapsed().as_secs_f64());
    let last = workload.relationships.last().cloned();
    workload.relationships = Vec::new();
    // What was imported at once is loaded again.
    while authorizer.index_stats().resident == 0 {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("now, memory {} MiB:", measure::resident_bytes(std::process::id()) >> 20);
    Asking { authorizer: &authorizer, call: &call, freshness: Consistency::FullyConsistent.into() }
        .ask(&workload, &args)?;

    let then = authorizer.clock().now();
    std::thread::sleep(Duration::from_millis(10));
    let updates =
        last.into_iter().map(|relationship| RelationshipUpdate { operation: Operation::Delete, relationship });
    authorizer.write(&call, &WriteRequest { updates: updates.collect(), ..WriteRequest::default() })?;
    // The index of another process has nothing of what was before it.
    drop(authorizer);
    let authorizer = open()?;
    println!("then, from the disk:");
    Asking { authorizer: &authorizer, call: &call, freshness: Freshness::At(then) }.ask(&workload, &args)
}

/// Asks about one state.
struct Asking<'a> {
    authorizer: &'a Authorizer,
    call: &'a Call,
    freshness: Freshness,
}

impl Asking<'_> {
    fn ask(&self, workload: &Workload, args: &Args) -> anyhow::Result<()> {
        self.explanations(workload, args.explained)?;
        for limit in [Some(PAGE), None] {
            self.who(workload, args.asked, limit)?;
            let mut subjects: Vec<&SubjectRef> =
                workload.checks.iter().take(args.asked).map(|check| &check.subject).collect();
            self.what("of those who are checked", &subjects, limit)?;
            // Those whose lookups are large, each by itself.
            subjects = workload.lookups.iter().map(|lookup| &lookup.subject).collect();
            subjects.dedup();
            for subject in subjects {
                self.what(&subject.to_string(), &[subject], limit)?;
            }
        }
        Ok(())
    }

    fn explanations(&self, workload: &Workload, count: usize) -> Result<(), Error> {
        let (mut allowed, mut denied, mut misses, mut cut) = (Latencies::default(), Latencies::default(), 0, 0);
        for check in workload.checks.iter().take(count) {
            let asked = Asked {
                resource: check.resource.clone(),
                permission: check.permission.clone(),
                subject: check.subject.clone(),
                context: CaveatContext::new(),
            };
            let begun = Instant::now();
            let request = ExplainRequest { freshness: self.freshness, asked, misses_max: 5 };
            let found = self.authorizer.explain(self.call, &request)?;
            let is_member = *found.membership() == Membership::Member;
            (if is_member { &mut allowed } else { &mut denied }).record(begun.elapsed());
            misses += found.reasons.misses.len();
            cut += usize::from(found.reasons.cut);
        }
        println!("  explain, {} allowed: {allowed}", allowed.count());
        println!("  explain, {} denied: {denied}; {misses} misses, {cut} cut", denied.count());
        Ok(())
    }

    fn who(&self, workload: &Workload, count: usize, limit: Option<u64>) -> Result<(), Error> {
        let (mut latencies, mut all, mut most) = (Latencies::default(), 0_u64, 0);
        for check in workload.checks.iter().take(count) {
            let request = WhoCanRequest {
                freshness: self.freshness,
                resource: check.resource.clone(),
                permission: check.permission.clone(),
                subjects: Subjects::All,
                context: CaveatContext::new(),
                with_path: limit.is_some(),
                limit,
                after: None,
            };
            let (begun, mut found) = (Instant::now(), 0);
            self.authorizer.who_can(self.call, &request, &mut |_, _| {
                found += 1;
                ControlFlow::Continue(())
            })?;
            latencies.record(begun.elapsed());
            (all, most) = (all + found, most.max(found));
        }
        println!("  who-can, {}: {latencies}; {all} found, at most {most} at once", kind(limit));
        Ok(())
    }

    fn what(&self, label: &str, subjects: &[&SubjectRef], limit: Option<u64>) -> Result<(), Error> {
        let (mut latencies, mut all, mut most) = (Latencies::default(), 0_u64, 0);
        for subject in subjects {
            let request = WhatCanRequest {
                freshness: self.freshness,
                subject: (*subject).clone(),
                resource_type: None,
                permission: None,
                context: CaveatContext::new(),
                with_path: limit.is_some(),
                limit,
                after: None,
            };
            let (begun, mut found) = (Instant::now(), 0);
            self.authorizer.what_can(self.call, &request, &mut |_, _| {
                found += 1;
                ControlFlow::Continue(())
            })?;
            latencies.record(begun.elapsed());
            (all, most) = (all + found, most.max(found));
        }
        println!("  what-can, {label}, {}: {latencies}; {all} found, at most {most} at once", kind(limit));
        Ok(())
    }
}

fn kind(limit: Option<u64>) -> String {
    limit.map_or_else(|| "all".to_owned(), |limit| format!("the first {limit} with their ways"))
}
