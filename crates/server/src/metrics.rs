//! Prometheus metrics: calls as they end, and the state of engine and storage at the moment of the scrape.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use stonetown_authorizer::Authorizer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::housekeeping::process_memory_bytes;

/// The metrics of a server.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    calls: Calls,
}

#[derive(Clone)]
struct Calls {
    handled: Family<CallLabels, Counter>,
    seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

impl Metrics {
    pub(crate) fn new(authorizer: Arc<Authorizer>) -> Metrics {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_05, 2.5, 14));
        let calls = Calls { handled: Family::default(), seconds: Family::new_with_constructor(buckets) };
        let mut registry = Registry::with_prefix("stonetown");
        registry.register("grpc_calls", "Calls that ended, by method and status code", calls.handled.clone());
        registry.register(
            "grpc_call_duration_seconds",
            "Time from a call's head to the end of its answer",
            calls.seconds.clone(),
        );
        registry.register_collector(Box::new(State(authorizer)));
        Metrics { registry: Arc::new(registry), calls }
    }

    /// Counts a call that ended.
    pub(crate) fn observe(&self, method: &'static str, code: tonic::Code, duration: Duration) {
        self.calls.handled.get_or_create(&CallLabels { method, code: code_name(code) }).inc();
        self.calls.seconds.get_or_create(&MethodLabels { method }).observe(duration.as_secs_f64());
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Serves `/metrics` until `stop` turns true.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, mut stop: watch::Receiver<bool>) {
    let scrape = move || {
        let metrics = metrics.clone();
        async move {
            let content_type =
                [(http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            match metrics.text() {
                Ok(text) => Ok((content_type, text)),
                Err(_) => Err(http::StatusCode::INTERNAL_SERVER_ERROR),
            }
        }
    };
    let app = Router::new().route("/metrics", get(scrape)).route("/healthz", get(|| async { "ok\n" }));
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let served = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, %address, "the metrics port failed");
    }
}

/// Engine and storage, read when scraped.
struct State(Arc<Authorizer>);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let authorizer = &self.0;
        let (datastore, counters) = (authorizer.datastore(), authorizer.counters());
        let (usage, index) = (datastore.usage(), authorizer.index_stats());
        let (running, refused) = authorizer.admission().counts();
        let (backward, forward_refused) = authorizer.clock().steps();
        let sets = authorizer.sets_stats();
        let set_gauge = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        let failures = sets.failures.load(Ordering::Relaxed);
        let head = datastore.head().0;
        let completed = sets.completed.load(Ordering::Relaxed);
        let lag = if authorizer.materialized().is_empty() { 0 } else { head.saturating_sub(completed) };
        let watches = authorizer.watchers().stats();
        let watch_lag = watches.slowest.map_or(0, |slowest| datastore.head().0.saturating_sub(slowest.0));
        let (relationship_counters, counter_lag) = authorizer.counter_stats();
        let gauges: [(&str, &str, u64); 17] = [
            ("materialize_sets", "Permission sets that have a child", set_gauge(&sets.sets)),
            ("materialize_children", "Members and child sets of permission sets", set_gauge(&sets.members)),
            (
                "materialize_undecided",
                "Children left out of permission sets: a caveat, or a wildcard with exceptions",
                set_gauge(&sets.undecided),
            ),
            ("materialize_lag_revisions", "Revisions that the counts of permission sets are behind", lag),
            ("relationship_counters", "Relationship counters registered", relationship_counters),
            ("relationship_counter_lag_revisions", "Revisions that the counters are behind the newest", counter_lag),
            ("watchers", "Watches under way", watches.watchers),
            ("watch_lag_revisions", "Revisions that the slowest watch is behind the newest", watch_lag),
            ("revision_head", "Newest revision", datastore.head().0),
            ("revision_floor", "Oldest readable revision", datastore.floor().0),
            ("datastore_disk_bytes", "Bytes of the data on disk", usage.disk_bytes),
            ("datastore_log_entries", "Entries of the transaction log", usage.log_entries),
            ("datastore_queued_writes", "Transactions waiting to be committed", usage.queued),
            ("index_bytes", "Memory of the resident index", index.bytes as u64),
            ("index_relationships", "Relationships in the resident index", index.edges),
            ("calls_running", "Calls let in and not yet ended", running),
            ("process_resident_memory_bytes", "Resident memory of the process", process_memory_bytes()),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let counts: [(&str, &str, u64); 12] = [
            ("materialize_failures", "Changes of permission sets that could not be followed", failures),
            ("watch_events", "Updates handed to watches", watches.events),
            ("watch_disconnects", "Watches ended because nobody read them", watches.disconnected),
            (
                "moments_passed",
                "Relationships that began or ended by the passing of time",
                counters.moments_passed.load(Ordering::Relaxed),
            ),
            (
                "expired_removed",
                "Expired relationships removed from storage",
                counters.expired_removed.load(Ordering::Relaxed),
            ),
            ("calls_refused", "Calls refused for concurrency or memory", refused),
            ("checks_resident", "Checks answered from the index", counters.checks_resident.load(Ordering::Relaxed)),
            ("checks_stored", "Checks answered from the store", counters.checks_stored.load(Ordering::Relaxed)),
            ("checks_rerun", "Checks moved to the pool", counters.checks_rerun.load(Ordering::Relaxed)),
            ("foreign_tokens", "Tokens of other instances", counters.foreign_tokens.load(Ordering::Relaxed)),
            ("clock_backward_steps", "Readings of the clock before an earlier one", backward),
            ("clock_forward_steps_refused", "Readings of the clock too far ahead", forward_refused),
        ];
        for (name, help, value) in counts {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
