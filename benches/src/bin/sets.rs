//! Materialized permissions as a client has them: writes of a data set followed over gRPC, by a client of WatchPermissionSets in
//! the same process as the server. First as many writes as there can be, then fewer, at random moments, each timed from its
//! commit to its `completed_revision`.
//!
//! `cargo run --release -p stonetown-benches --bin sets -- --workload w2 --size m --permission doc#see@user`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use stonetown_api::ApiSettings;
use stonetown_api::proto::authzed::api::materialize::v0 as wire;
use stonetown_authorizer::materialize::Watched;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Caller, Options};
use stonetown_benches::measure::{self, Latencies};
use stonetown_benches::random::{DEFAULT_SEED, Random};
use stonetown_benches::workload::{Name, Size, Workload};
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{Operation, Relationship, RelationshipUpdate, Revision};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::{Channel, Server};
use tonic::{Request, Streaming};
use wire::watch_permission_sets_response::Response as Told;
use wire::watch_permission_sets_service_client::WatchPermissionSetsServiceClient;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// The permissions that are followed.
    #[arg(long, default_value = "doc#see@user")]
    permission: Vec<Watched>,
    /// Seconds of each of the two measurements.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Threads that write as fast as they can, at first.
    #[arg(long, default_value_t = 16)]
    writers: usize,
    /// Writes a second, then.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
}

/// When each revision was committed, and what followed from it.
struct Watch {
    stream: Streaming<wire::WatchPermissionSetsResponse>,
    /// The last revision that was completed: they come without gaps.
    completed: Revision,
    changes: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let time = Duration::from_secs(args.seconds);
    let workload = Workload::generate(args.workload, args.size, args.seed);
    let folder = tempfile::tempdir()?;
    let datastore = RocksDatastore::open(folder.path(), stonetown_storage_rocksdb::Options::default())?;
    let options = Options { materialize: args.permission.clone().into(), ..Options::default() };
    let authorizer = Arc::new(Authorizer::open(Arc::new(datastore), options)?);
    workload.load(&authorizer, &Call::new("bench"))?;
    let mut watch = Watch::begin(&authorizer).await?;
    let names: Vec<String> = args.permission.iter().map(ToString::to_string).collect();
    println!(
        "{}: {} relationships, {}; resident memory {} MiB",
        workload.title,
        workload.relationships.len(),
        names.join(", "),
        measure::resident_bytes(std::process::id()) >> 20
    );

    let workload = Arc::new(workload);
    let (begun, first) = (Instant::now(), watch.completed);
    let writing = write_at_once(&authorizer, &workload, args.writers, time);
    let writes = tokio::task::spawn_blocking(move || {
        writing.into_iter().try_fold(0, |sum, thread| {
            let written = thread.join().map_err(|_| anyhow::anyhow!("a writer ended early"))??;
            anyhow::Ok(sum + written)
        })
    });
    tokio::pin!(writes);
    let (mut written, mut written_in) = (None, Duration::ZERO);
    while written.is_none_or(|written| watch.completed.0 < first.0 + written) {
        tokio::select! {
            done = &mut writes, if written.is_none() => {
                (written, written_in) = (Some(done??), begun.elapsed());
            }
            completed = watch.completed() => completed?,
        }
    }
    let (written, followed_in) = (written.unwrap_or(0), begun.elapsed());
    #[allow(clippy::cast_precision_loss)] // shown without decimals
    let per_second = |took: Duration| written as f64 / took.as_secs_f64();
    println!(
        "{} writers: {:.0} writes a second, followed at {:.0} a second ({written} writes, {} changes of sets); memory {} MiB, \
         held for the stream {} bytes",
        args.writers,
        per_second(written_in),
        per_second(followed_in),
        watch.changes,
        measure::resident_bytes(std::process::id()) >> 20,
        authorizer.sets().held_bytes()
    );

    let latencies = latencies(&authorizer, &workload, &mut watch, args.rate, time).await?;
    println!("{:.0} writes a second: commit to completed_revision {latencies}", args.rate);
    Ok(())
}

impl Watch {
    /// Serves the authorizer on a port of its own, and follows it from now on.
    async fn begin(authorizer: &Arc<Authorizer>) -> anyhow::Result<Watch> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let services = stonetown_api::services(Arc::clone(authorizer), &ApiSettings::default());
        let mut routes = Routes::default();
        let router = std::mem::take(routes.axum_router_mut()).fallback_service(services);
        *routes.axum_router_mut() = router;
        let named = InterceptorLayer::new(|mut request: Request<()>| {
            request.extensions_mut().insert(Caller::named("bench"));
            Ok(request)
        });
        let server = Server::builder().tcp_nodelay(true).layer(named).add_routes(routes);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
        let request = wire::WatchPermissionSetsRequest::default();
        let stream = WatchPermissionSetsServiceClient::new(channel).watch_permission_sets(request).await?.into_inner();
        let mut watch = Watch { stream, completed: Revision::default(), changes: 0 };
        watch.completed().await?;
        watch.completed = authorizer.datastore().head();
        Ok(watch)
    }

    /// Reads until a revision is completed.
    async fn completed(&mut self) -> anyhow::Result<()> {
        loop {
            match self.stream.message().await?.context("the stream ended")?.response {
                Some(Told::CompletedRevision(_)) => {
                    self.completed = self.completed.next();
                    return Ok(());
                }
                Some(Told::Change(_)) => self.changes += 1,
                other => bail!("{other:?}"),
            }
        }
    }
}

/// Takes a relationship of the data set away, or gives back the one that was taken before.
struct Writer {
    workload: Arc<Workload>,
    random: Random,
    taken: Option<Relationship>,
    number: usize,
    writers: usize,
}

impl Writer {
    fn new(workload: &Arc<Workload>, number: usize, writers: usize) -> Writer {
        let random = Random::new(DEFAULT_SEED, &format!("writer {number}"));
        Writer { workload: Arc::clone(workload), random, taken: None, number, writers }
    }

    fn write(&mut self, authorizer: &Authorizer) -> anyhow::Result<()> {
        let (operation, relationship) = match self.taken.take() {
            Some(relationship) => (Operation::Touch, relationship),
            None => {
                // Each writer has relationships of its own.
                let all = &self.workload.relationships;
                let among = all.len() / self.writers;
                let relationship = all[self.random.below(among) * self.writers + self.number].clone();
                self.taken = Some(relationship.clone());
                (Operation::Delete, relationship)
            }
        };
        let updates = vec![RelationshipUpdate { operation, relationship }];
        authorizer.write(&Call::new("bench"), &WriteRequest { updates, ..WriteRequest::default() })?;
        Ok(())
    }
}

/// Threads that write until the time is over, and say how often each did.
fn write_at_once(
    authorizer: &Arc<Authorizer>,
    workload: &Arc<Workload>,
    writers: usize,
    time: Duration,
) -> Vec<std::thread::JoinHandle<anyhow::Result<u64>>> {
    let end = Instant::now() + time;
    let begin = |number| {
        let (authorizer, mut writer) = (Arc::clone(authorizer), Writer::new(workload, number, writers));
        std::thread::spawn(move || {
            let mut written = 0;
            while Instant::now() < end {
                writer.write(&authorizer)?;
                written += 1;
            }
            Ok(written)
        })
    };
    (0..writers).map(begin).collect()
}

/// Writes at random moments, and how long after its commit each was completed.
async fn latencies(
    authorizer: &Arc<Authorizer>,
    workload: &Arc<Workload>,
    watch: &mut Watch,
    rate: f64,
    time: Duration,
) -> anyhow::Result<Latencies> {
    let start = Instant::now();
    let (tell, committed) = std::sync::mpsc::channel();
    let count = Arc::new(AtomicU64::new(0));
    authorizer.on_commit(move |_, _| {
        // Nobody takes it at the end.
        let _ = tell.send(Instant::now());
    });
    let over = Arc::new(AtomicBool::new(false));
    let (door, mut writer) = (Arc::clone(authorizer), Writer::new(workload, 0, 1));
    let (written, ended) = (Arc::clone(&count), Arc::clone(&over));
    let writing = std::thread::spawn(move || -> anyhow::Result<()> {
        let mut random = Random::new(DEFAULT_SEED, "arrivals");
        let mut intended = start;
        while start.elapsed() < time {
            intended += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / rate);
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            writer.write(&door)?;
            written.fetch_add(1, Ordering::SeqCst);
        }
        // One more, so that whoever waits for it hears of the end.
        ended.store(true, Ordering::SeqCst);
        writer.write(&door)
    });
    let mut latencies = Latencies::default();
    while !over.load(Ordering::SeqCst) || latencies.count() < count.load(Ordering::SeqCst) {
        watch.completed().await?;
        latencies.record(committed.recv()?.elapsed());
    }
    writing.join().map_err(|_| anyhow::anyhow!("the writer ended early"))??;
    Ok(latencies)
}
