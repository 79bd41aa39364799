//! Prometheus metrics: calls as they end, and the state of engine, storage and process at the moment of the scrape.
//!
//! Reading order: this file (calls, and the port they are read from), then `state` (everything else).

mod state;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use stonetown_authorizer::{Notes, Work};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceBuilder;

use crate::auth;
use crate::listen::{Connections, accept};

pub(crate) use state::{Page, Sources};

/// The metrics of a server.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    /// By path; a path that is not served is not among them.
    methods: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
    engine: Engine,
    log_ins_refused: Family<RefusalLabels, Counter>,
}

/// A method that is counted by name.
pub(crate) struct Method {
    /// What it is; named `other` for all that is not served, as a caller can make up any path.
    pub(crate) described: stonetown_api::Method,
    handled: [OnceLock<Counter>; CODES.len()],
    families: Families,
    seconds: Histogram,
    open: Gauge,
}

#[derive(Clone)]
struct Families {
    handled: Family<CallLabels, Counter>,
    seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    open: Family<MethodLabels, Gauge>,
}

struct Engine {
    edges: Histogram,
    depth: Histogram,
    subproblems: Counter,
    reused: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

impl Metrics {
    pub(crate) fn new(sources: Sources) -> Metrics {
        let mut registry = Registry::with_prefix("stonetown");
        let families = Families::registered(&mut registry);
        let engine = Engine::registered(&mut registry);
        let log_ins_refused = Family::<RefusalLabels, Counter>::default();
        let help = "Calls whose caller was not let in, by reason";
        registry.register("log_ins_refused", help, log_ins_refused.clone());
        for reason in auth::reasons() {
            drop(log_ins_refused.get_or_create(&RefusalLabels { reason }));
        }
        registry.register_collector(Box::new(sources));
        let methods = stonetown_api::methods().into_iter();
        let methods = methods.map(|method| (method.path(), Arc::new(Method::new(&families, method)))).collect();
        let other = stonetown_api::Method {
            service: String::new(),
            name: "other".to_owned(),
            streams: false,
            takes_stream: false,
        };
        let other = Arc::new(Method::new(&families, other));
        Metrics(Arc::new(Inner { registry, methods, other, engine, log_ins_refused }))
    }

    /// The method of a path.
    pub(crate) fn method(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.0.methods.get(path).unwrap_or(&self.0.other))
    }

    /// Counts the engine's work for a call that ended.
    pub(crate) fn observe_work(&self, notes: &Notes) {
        let Work { edges, subproblems, cached, depth } = notes.work();
        if edges == 0 {
            return;
        }
        let engine = &self.0.engine;
        // Beyond 2⁵² a double skips numbers, which no histogram shows.
        #[allow(clippy::cast_precision_loss)]
        {
            engine.edges.observe(edges as f64);
            engine.depth.observe(depth as f64);
        }
        engine.subproblems.inc_by(subproblems);
        engine.reused.inc_by(cached);
    }

    /// Counts a caller who was not let in.
    pub(crate) fn refuse_log_in(&self, reason: &'static str) {
        self.0.log_ins_refused.get_or_create(&RefusalLabels { reason }).inc();
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Method {
    fn new(families: &Families, described: stonetown_api::Method) -> Method {
        let mut made = Method {
            described,
            handled: std::array::from_fn(|_| OnceLock::new()),
            families: families.clone(),
            seconds: (seconds_histogram)(),
            open: Gauge::default(),
        };
        let labels = MethodLabels { method: made.label() };
        made.open = families.open.get_or_create(&labels).clone();
        made.seconds = families.seconds.get_or_create(&labels).clone();
        made
    }

    /// How metrics name it: the service without its package, and the method.
    pub(crate) fn label(&self) -> String {
        let stonetown_api::Method { service, name, .. } = &self.described;
        match service.rsplit('.').next() {
            Some(service) if !service.is_empty() => format!("{service}/{name}"),
            _ => name.clone(),
        }
    }

    /// Counts a call that begins.
    pub(crate) fn begin(&self) {
        self.open.inc();
    }

    /// Counts a call that ended.
    pub(crate) fn end(&self, code: Code, duration: Duration) {
        self.open.dec();
        let handled = self.handled[code as usize].get_or_init(|| {
            let labels = CallLabels { method: self.label(), code: code_name(code) };
            self.families.handled.get_or_create(&labels).clone()
        });
        handled.inc();
        self.seconds.observe(duration.as_secs_f64());
    }
}

impl Families {
    fn registered(registry: &mut Registry) -> Families {
        let families = Families {
            handled: Family::default(),
            seconds: Family::new_with_constructor(seconds_histogram),
            open: Family::default(),
        };
        registry.register("grpc_calls", "Calls that ended, by method and status code", families.handled.clone());
        registry.register("grpc_calls_open", "Calls and streams that have not ended, by method", families.open.clone());
        registry.register(
            "grpc_call_duration_seconds",
            "Time from a call's head to the end of its answer",
            families.seconds.clone(),
        );
        families
    }
}

impl Engine {
    fn registered(registry: &mut Registry) -> Engine {
        let engine = Engine {
            edges: Histogram::new(exponential_buckets(1.0, 4.0, 13)),
            depth: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            subproblems: Counter::default(),
            reused: Counter::default(),
        };
        registry.register("engine_edges", "Edges looked at by a call", engine.edges.clone());
        registry.register("engine_depth", "How deep the questions of a call were nested", engine.depth.clone());
        registry.register(
            "engine_subproblems",
            "Questions about one object that were evaluated",
            engine.subproblems.clone(),
        );
        registry.register("engine_subproblems_reused", "Such questions that were known already", engine.reused.clone());
        engine
    }
}

/// Serves `/metrics` until `stop` turns true, with the same bounds on connections as the calls have.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, stop: watch::Receiver<bool>) {
    let scrape = move || {
        let metrics = metrics.clone();
        async move {
            let content_type =
                [(http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            // Reading the size of the data directory asks the disk.
            match tokio::task::spawn_blocking(move || metrics.text()).await {
                Ok(Ok(text)) => Ok((content_type, text)),
                _ => Err(http::StatusCode::INTERNAL_SERVER_ERROR),
            }
        }
    };
    let app = Router::new().route("/metrics", get(scrape)).route("/healthz", get(|| async { "ok\n" }));
    let service = ServiceBuilder::new().map_response(|answer: Response<_>| answer.map(Body::new)).service(app);
    accept(listener, service, Connections::default(), stop).await;
}

fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.5, 14))
}

/// The names of the codes, each at its number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a status code, as the protocol spells it.
pub(crate) fn code_name(code: Code) -> &'static str {
    CODES[code as usize]
}
