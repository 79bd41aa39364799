//! What a check costs the server over gRPC, with the audit logs and without, beside what an empty call costs: a check's CPU time is
//! mostly the transport's.
//!
//! Starts all servers itself, each in a process of its own, and measures them in turns in one run:
//! `transport --server target/release/stonetown --workload w2 --size m`, and with `--rate 10000` at that pace

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_benches::client::{Pace, Target};
use stonetown_benches::measure;
use stonetown_benches::random::DEFAULT_SEED;
use stonetown_benches::workload::{Name, Size, Workload};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

const KEY: &str = "bench";

#[derive(Parser)]
struct Args {
    /// The `stonetown` binary.
    #[arg(long, default_value = "target/release/stonetown")]
    server: PathBuf,
    /// Another build of it, whose checks are measured in the same turns.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// The data set.
    #[arg(long, value_enum, default_value = "w2")]
    workload: Name,
    /// How much of it.
    #[arg(long, value_enum, default_value = "m")]
    size: Size,
    /// Checks in flight, each followed by the next.
    #[arg(long, default_value_t = 32)]
    in_flight: usize,
    /// Checks a second, at random moments, in place of a number in flight.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of measuring each server, at each of the rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Turns of each server.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Be the empty server.
    #[arg(long, hide = true)]
    empty: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.empty {
        return serve_empty().await;
    }
    let workload = Workload::generate(args.workload, args.size, DEFAULT_SEED);
    let folder = tempfile::tempdir()?;
    let (empty, empty_address) = start(Command::new(std::env::current_exe()?).arg("--empty"))?;
    let mut servers = vec![("empty call", Target::new(&empty_address, KEY)?, empty)];
    let mut builds =
        vec![("check without the logs", &args.server, "--audit=false"), ("check", &args.server, "--audit=true")];
    builds.extend(args.beside.as_ref().map(|beside| ("check of the other build", beside, "--audit=true")));
    for (name, build, audit) in builds {
        let (server, address) = start(
            Command::new(build)
                .args(["serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off", "--grpc-preshared-key", KEY])
                .args([audit, "--data-dir"])
                .arg(folder.path().join(name))
                .env("STONETOWN_LOG_LEVEL", "warn"),
        )?;
        let target = Target::new(&address, KEY)?;
        let took = target.load(&workload).await?.as_secs_f64();
        println!("{}: {} relationships, imported in {took:.1} s", workload.title, workload.relationships.len());
        servers.push((name, target, server));
    }
    for (_, _, server) in &servers {
        settle(server.0.id()).await;
    }
    let pace = args.rate.map_or(Pace::Closed(args.in_flight), Pace::Open);
    let mut ratios = vec![Vec::new(); servers.len()];
    for round in 1..=args.rounds {
        let mut empty = None;
        for ((name, target, child), ratios) in servers.iter().zip(&mut ratios) {
            target.run_checks(&workload.checks, 4, pace, Duration::from_secs(1)).await?;
            let before = measure::cpu_time(child.0.id());
            let latencies = target.run_checks(&workload.checks, 4, pace, Duration::from_secs(args.seconds)).await?;
            let cpu = measure::cpu_time(child.0.id()).saturating_sub(before);
            #[allow(clippy::cast_precision_loss)] // shown with one decimal
            let each = cpu.as_secs_f64() * 1e6 / latencies.count() as f64;
            let ratio = each / *empty.get_or_insert(each);
            let calls = latencies.count();
            println!("round {round}, {name}: server CPU {each:.1} us each, {ratio:.2}; {calls} calls, {latencies}");
            ratios.push(ratio);
        }
    }
    for ((name, _, server), mut ratios) in servers.iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let memory = measure::resident_bytes(server.0.id()) >> 20;
        println!("{name}: {:.2} times an empty call in the median round, {memory} MiB", ratios[ratios.len() / 2]);
    }
    Ok(())
}

/// Waits until a server has done what an import leaves to be done, as far as its CPU time tells.
async fn settle(pid: u32) {
    loop {
        let before = measure::cpu_time(pid);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if measure::cpu_time(pid).saturating_sub(before) <= Duration::from_millis(20) {
            return;
        }
    }
}

/// A server process, stopped with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and reads the address from its first line, `serving grpc on ADDRESS`.
fn start(command: &mut Command) -> anyhow::Result<(Process, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?} does not start"))?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let child = Process(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match line.trim().strip_prefix("serving grpc on ") {
        Some(address) => Ok((child, address.to_owned())),
        None => bail!("{command:?} did not say where it serves"),
    }
}

async fn serve_empty() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("serving grpc on {}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(Empty)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// Answers every check with the same words, at once.
#[derive(Clone)]
struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "authzed.api.v1.PermissionsService";
}

impl UnaryService<pb::CheckPermissionRequest> for Empty {
    type Response = pb::CheckPermissionResponse;
    type Future = std::future::Ready<Result<Response<pb::CheckPermissionResponse>, Status>>;

    fn call(&mut self, _: Request<pb::CheckPermissionRequest>) -> Self::Future {
        let token = pb::ZedToken { token: "GhUKATESCDAwMDAwMDAwGgYAAAAAAAA=".to_owned() };
        let answer = pb::CheckPermissionResponse { checked_at: Some(token), permissionship: 2, ..Default::default() };
        std::future::ready(Ok(Response::new(answer)))
    }
}

impl Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = tonic_prost::ProstCodec::<pb::CheckPermissionResponse, pb::CheckPermissionRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(Empty, request).await) })
    }
}
