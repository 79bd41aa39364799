//! Streams that their clients leave: lookups, reads, exports and watches, begun and abandoned.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::{Response, Status, Streaming};

use super::held::Held;
use crate::client::{Client, fully_consistent, object, relationship};
use crate::operated::Operated;

const SCHEMA: &str = "definition agent {} definition document { relation viewer: agent; permission view = viewer }";
/// Those who begin and leave at the same time.
const WORKERS: usize = 8;
/// Streams of one connection: one on which much is taken back is ended by the server.
const STREAMS_PER_CONNECTION: usize = 8;
/// Time that open calls have to end once nobody waits for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was left, and what the server held before and after.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Streams that were asked for.
    pub asked: usize,
    /// Streams that had begun when they were left.
    pub begun: usize,
    before: Held,
    after: Held,
    took: Duration,
}

/// Leaves about so many streams of a server of its own, and waits until it holds what it held before.
///
/// # Errors
/// If it keeps something.
pub async fn run(streams: usize) -> Result<Report> {
    let server = Operated::start(&["--watch-api-heartbeat", "10ms"]).await?;
    let mut client = Client::connect(&server.grpc).await?;
    client.write_schema(SCHEMA).await?;
    let of = |document: &str, agent: &str| relationship(("document", document), "viewer", ("agent", agent));
    let documents = (0..5_000).map(|number| of(&format!("d{number}"), "seven"));
    let agents = (0..5_000).map(|number| of("wide", &format!("a{number}")));
    client.import(documents.chain(agents).collect::<Vec<_>>().chunks(1_000).map(<[_]>::to_vec).collect()).await?;

    leave(&server.grpc, 3).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (Held::of(&server)?, Instant::now());
    let connections = streams.div_ceil(WORKERS * STREAMS_PER_CONNECTION);
    let left = leave(&server.grpc, connections).await?;
    let took = begun.elapsed();
    let begun = Instant::now();
    while open(&server.scrape().await?) > 0.0 {
        ensure!(begun.elapsed() < PATIENCE, "calls stay open: {}", server.scrape().await?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.until("stonetown_datastore_snapshots_open", |open| open == 0.0).await?;
    let after = before.until_back(&server).await?;
    Ok(Report { asked: connections * WORKERS * STREAMS_PER_CONNECTION, begun: left, before, after, took })
}

/// Calls that have not ended.
fn open(page: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with("stonetown_grpc_calls_open{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Begins and leaves streams over so many connections of each worker; says how many had begun.
async fn leave(address: &str, connections: usize) -> Result<usize> {
    let workers = (0..WORKERS).map(|offset| {
        let address = address.to_owned();
        tokio::spawn(async move {
            let mut left = 0;
            for number in 0..connections {
                let mut client = Client::connect(&address).await?;
                for more in 0..STREAMS_PER_CONNECTION {
                    left += usize::from(abandon(&mut client, number + more + offset).await);
                }
            }
            anyhow::Ok(left)
        })
    });
    let mut left = 0;
    for worker in workers.collect::<Vec<_>>() {
        left += worker.await??;
    }
    Ok(left)
}

/// Begins one of the streams there are, reads some of it, and leaves; whether it came to that.
async fn abandon(client: &mut Client, number: usize) -> bool {
    let first = async {
        match number % 5 {
            0 => {
                let request = wire::LookupResourcesRequest {
                    resource_object_type: "document".to_owned(),
                    permission: "view".to_owned(),
                    subject: relationship(("document", "x"), "viewer", ("agent", "seven")).subject,
                    ..wire::LookupResourcesRequest::default()
                };
                begins(client.permissions.lookup_resources(request).await).await
            }
            1 => {
                let request = wire::LookupSubjectsRequest {
                    resource: Some(object("document", "wide")),
                    permission: "view".to_owned(),
                    subject_object_type: "agent".to_owned(),
                    ..wire::LookupSubjectsRequest::default()
                };
                begins(client.permissions.lookup_subjects(request).await).await
            }
            2 => {
                let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
                let request = wire::ReadRelationshipsRequest {
                    consistency: Some(fully_consistent()),
                    relationship_filter: Some(filter),
                    ..wire::ReadRelationshipsRequest::default()
                };
                begins(client.permissions.read_relationships(request).await).await
            }
            3 => {
                let request = wire::ExportBulkRelationshipsRequest { optional_limit: 10, ..Default::default() };
                begins(client.permissions.export_bulk_relationships(request).await).await
            }
            _ => client.watch.watch(wire::WatchRequest::default()).await.map(|_| true),
        }
    };
    // Some do not even wait for the beginning.
    let patience = Duration::from_millis(if number.is_multiple_of(7) { 1 } else { 500 });
    matches!(tokio::time::timeout(patience, first).await, Ok(Ok(true)))
}

/// Whether a stream has a first message.
async fn begins<T>(answer: Result<Response<Streaming<T>>, Status>) -> Result<bool, Status> {
    Ok(answer?.into_inner().message().await?.is_some())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { asked, begun, before, after, took } = self;
        writeln!(f, "{begun} of {asked} streams had begun when they were left, in {} s", took.as_secs())?;
        write!(f, "before: {before}\nafter:  {after}")
    }
}
