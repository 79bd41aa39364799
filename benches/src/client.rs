//! A closed or open loop of checks over gRPC, against any endpoint that speaks `authzed.api.v1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use stonetown_api::client::{object_to_wire, relationship_to_wire, subject_to_wire};
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_api::proto::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use stonetown_api::proto::authzed::api::v1::schema_service_client::SchemaServiceClient;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::measure::Latencies;
use crate::random::Random;
use crate::workload::{Check, Workload};

/// Relationships in one message of an import.
const IMPORT_BATCH: usize = 1_000;

/// An endpoint and the key for it.
#[derive(Clone)]
pub struct Target {
    endpoint: Endpoint,
    bearer: MetadataValue<Ascii>,
}

/// How checks are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each of so many workers sends its next check when the last is answered.
    Closed(usize),
    /// So many checks a second begin at random moments, whatever the answers do; latency counts from the intended moment.
    Open(f64),
}

impl Target {
    /// An endpoint as `host:port`.
    ///
    /// # Errors
    /// When endpoint or key cannot be written as such.
    pub fn new(endpoint: &str, token: &str) -> anyhow::Result<Target> {
        let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))?.tcp_nodelay(true);
        Ok(Target { endpoint, bearer: format!("Bearer {token}").parse()? })
    }

    /// Wraps a message with the key.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    /// Opens so many connections.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn connect(&self, connections: usize) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(self.endpoint.connect().await.context("no server answers")?);
        }
        Ok(channels)
    }

    /// Writes the schema and imports the relationships of a data set into an empty server. Returns how long the import took.
    ///
    /// # Errors
    /// When the server refuses them.
    pub async fn load(&self, workload: &Workload) -> anyhow::Result<Duration> {
        let channel = self.endpoint.connect().await.context("no server answers")?;
        let schema = pb::WriteSchemaRequest { schema: workload.schema.to_owned() };
        SchemaServiceClient::new(channel.clone()).write_schema(self.request(schema)).await?;
        let batches: Vec<_> = workload
            .relationships
            .chunks(IMPORT_BATCH)
            .map(|batch| pb::ImportBulkRelationshipsRequest {
                relationships: batch.iter().cloned().map(relationship_to_wire).collect(),
            })
            .collect();
        let start = Instant::now();
        let request = self.request(tokio_stream::iter(batches));
        let answer = PermissionsServiceClient::new(channel).import_bulk_relationships(request).await?.into_inner();
        if answer.num_loaded != workload.relationships.len() as u64 {
            bail!("{} of {} relationships were loaded", answer.num_loaded, workload.relationships.len());
        }
        Ok(start.elapsed())
    }

    /// Asks checks for some time and returns how long each took.
    ///
    /// # Errors
    /// At the first call that fails.
    pub async fn run_checks(
        &self,
        checks: &[Check],
        connections: usize,
        pace: Pace,
        time: Duration,
    ) -> anyhow::Result<Latencies> {
        let requests: Arc<[pb::CheckPermissionRequest]> = checks.iter().map(wire_check).collect();
        let channels = self.connect(connections).await?;
        match pace {
            Pace::Closed(workers) => self.closed(requests, &channels, workers, time).await,
            Pace::Open(rate) => self.open(requests, &channels, rate, time).await,
        }
    }

    async fn closed(
        &self,
        requests: Arc<[pb::CheckPermissionRequest]>,
        channels: &[Channel],
        workers: usize,
        time: Duration,
    ) -> anyhow::Result<Latencies> {
        let next = Arc::new(AtomicUsize::new(0));
        let end = Instant::now() + time;
        let mut running = JoinSet::new();
        for worker in 0..workers {
            let (target, requests, next) = (self.clone(), Arc::clone(&requests), Arc::clone(&next));
            let mut client = PermissionsServiceClient::new(channels[worker % channels.len()].clone());
            running.spawn(async move {
                let mut latencies = Latencies::default();
                while Instant::now() < end {
                    let n = next.fetch_add(1, Ordering::Relaxed) % requests.len();
                    let begun = Instant::now();
                    client.check_permission(target.request(requests[n].clone())).await?;
                    latencies.record(begun.elapsed());
                }
                anyhow::Ok(latencies)
            });
        }
        gather(running).await
    }

    async fn open(
        &self,
        requests: Arc<[pb::CheckPermissionRequest]>,
        channels: &[Channel],
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<Latencies> {
        let mut random = Random::new(1, "arrivals");
        let start = Instant::now();
        let mut intended = start;
        let mut running = JoinSet::new();
        let mut latencies = Latencies::default();
        for n in 0_usize.. {
            intended += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / rate);
            if intended > start + time {
                break;
            }
            tokio::time::sleep_until(intended.into()).await;
            let request = self.request(requests[n % requests.len()].clone());
            let mut client = PermissionsServiceClient::new(channels[n % channels.len()].clone());
            running.spawn(async move {
                client.check_permission(request).await?;
                anyhow::Ok(intended.elapsed())
            });
            while let Some(ended) = running.try_join_next() {
                latencies.record(ended??);
            }
        }
        while let Some(ended) = running.join_next().await {
            latencies.record(ended??);
        }
        Ok(latencies)
    }
}

async fn gather(mut running: JoinSet<anyhow::Result<Latencies>>) -> anyhow::Result<Latencies> {
    let mut all = Latencies::default();
    while let Some(ended) = running.join_next().await {
        all.merge(&ended??);
    }
    Ok(all)
}

/// A check at whatever is quickest.
#[must_use]
pub fn wire_check(check: &Check) -> pb::CheckPermissionRequest {
    pb::CheckPermissionRequest {
        consistency: None,
        resource: Some(object_to_wire(&check.resource)),
        permission: check.permission.to_string(),
        subject: Some(subject_to_wire(&check.subject)),
        context: None,
        with_tracing: false,
    }
}
