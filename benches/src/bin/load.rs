//! Checks or lookups of one data set over gRPC, in a closed or an open loop, against any endpoint that speaks
//! `authzed.api.v1`.
//!
//! `load --endpoint 127.0.0.1:50051 --token KEY --workload w2 --size s --load`, then the same without `--load`.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use stonetown_api::client::subject_to_wire;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_api::proto::authzed::api::v1::check_permission_response::Permissionship;
use stonetown_api::proto::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use stonetown_authorizer::Error;
use stonetown_benches::client::{Pace, Target, wire_check};
use stonetown_benches::measure::{self, Latencies};
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_graph::reference::{Reference, Value};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_tuple::{CaveatContext, Source, Timestamp};

#[derive(Parser)]
struct Args {
    /// The server, as host:port. Only ever a machine of your own.
    #[arg(long, default_value = "127.0.0.1:50051")]
    endpoint: String,
    /// The key to call with.
    #[arg(long, env = "STONETOWN_TOKEN", hide_env_values = true)]
    token: String,
    /// The data set.
    #[arg(long, value_enum, default_value = "w2")]
    workload: Name,
    /// How much of it.
    #[arg(long, value_enum, default_value = "s")]
    size: Size,
    /// Seed of the generator.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// First write schema and relationships into the server, which must be empty.
    #[arg(long)]
    load: bool,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Closed loop: checks in flight. Repeatable.
    #[arg(long, default_values_t = [1, 16, 64])]
    in_flight: Vec<usize>,
    /// Open loop: checks a second. Repeatable.
    #[arg(long)]
    rate: Vec<f64>,
    /// Seconds of measuring at each pace, at most 300.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Process id of the server, to print its CPU time and memory.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Checks compared with the reference evaluator before timing.
    #[arg(long, default_value_t = 200)]
    compare: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let target = Target::new(&args.endpoint, &args.token)?;
    let workload = Workload::generate(args.workload, args.size, args.seed);
    println!("{}: {} relationships", workload.title, workload.relationships.len());
    if args.load {
        let took = target.load(&workload).await?;
        println!("import: {:.1} s", took.as_secs_f64());
    }
    compare(&target, &workload, args.compare).await?;
    let paces = args.in_flight.iter().map(|n| Pace::Closed(*n)).chain(args.rate.iter().map(|rate| Pace::Open(*rate)));
    for pace in paces.filter(|_| !workload.checks.is_empty()) {
        let time = Duration::from_secs(args.seconds);
        target.run_checks(&workload.checks, args.connections, pace, Duration::from_secs(1)).await?;
        let cpu = |pid: Option<u32>| pid.map(measure::cpu_time).unwrap_or_default();
        let (server, own) = (cpu(args.server_pid), cpu(Some(std::process::id())));
        let latencies = target.run_checks(&workload.checks, args.connections, pace, time).await?;
        #[allow(clippy::cast_precision_loss)] // shown with one decimal
        let (n, us) = (latencies.count() as f64, |cpu: Duration| cpu.as_secs_f64() * 1e6);
        let per_check = |before: Duration, pid: Option<u32>| us(cpu(pid).saturating_sub(before)) / n;
        println!(
            "check, {pace:?}: {:.0}/s, {latencies}; CPU per check: server {:.1} us, client {:.1} us",
            n / time.as_secs_f64(),
            per_check(server, args.server_pid),
            per_check(own, Some(std::process::id()))
        );
    }
    lookups(&target, &workload).await?;
    if let Some(pid) = args.server_pid {
        println!("server memory: {} MiB", measure::resident_bytes(pid) >> 20);
    }
    Ok(())
}

async fn compare(target: &Target, workload: &Workload, count: usize) -> anyhow::Result<()> {
    let schema = Schema::compile(workload.schema, &CompileOptions::default()).map_err(Error::Schema)?;
    let relationships: Vec<_> = workload.relationships.iter().map(|r| (r.clone(), Source::STANDING)).collect();
    let reference = Reference::new(std::sync::Arc::new(schema), &relationships, Timestamp::now());
    let channel = target.connect(1).await?.remove(0);
    let mut client = PermissionsServiceClient::new(channel);
    for check in workload.checks.iter().take(count) {
        let answer = client.check_permission(target.request(wire_check(check))).await?.into_inner();
        let expected = reference.check(&check.resource, &check.permission, &check.subject, &CaveatContext::new());
        let has = answer.permissionship() == Permissionship::HasPermission;
        ensure!(has == (expected == Value::Yes), "{check:?}: the reference says {expected:?}");
    }
    println!("{} checks agree with the reference evaluator", count.min(workload.checks.len()));
    Ok(())
}

async fn lookups(target: &Target, workload: &Workload) -> anyhow::Result<()> {
    /// Repetitions of each lookup.
    const TIMES: usize = 5;
    let channel = target.connect(1).await?.remove(0);
    let mut client = PermissionsServiceClient::new(channel);
    for lookup in &workload.lookups {
        let (mut first, mut whole, mut found) = (Latencies::default(), Latencies::default(), 0_u64);
        for _ in 0..TIMES {
            let request = pb::LookupResourcesRequest {
                resource_object_type: lookup.resource_type.to_string(),
                permission: lookup.permission.to_string(),
                subject: Some(subject_to_wire(&lookup.subject)),
                ..Default::default()
            };
            let begun = Instant::now();
            let mut answers = client.lookup_resources(target.request(request)).await?.into_inner();
            found = 0;
            while answers.message().await?.is_some() {
                if found == 0 {
                    first.record(begun.elapsed());
                }
                found += 1;
            }
            whole.record(begun.elapsed());
        }
        println!("lookup, {}: {found} found; first {first}; whole {whole}", lookup.label);
    }
    Ok(())
}
