//! OpenTelemetry traces: a span for each sampled call, with the caller's span as its parent, exported over OTLP.
//!
//! Spans that end wait in a bounded queue for a thread of their own. When the collector does not keep up or is not there, spans
//! are dropped and counted; no call ever waits for one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status as SpanStatus, TraceContextExt, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
};
use stonetown_api::Method;
use stonetown_authorizer::Notes;
use tonic::Code;

use crate::ServeError;
use crate::config::Telemetry;
use crate::metrics::code_name;

/// Spans that wait for the exporter at most; more are dropped.
const QUEUED_MAX: usize = 8192;
/// Spans in one export.
const EXPORTED_AT_ONCE_MAX: usize = 512;
/// Time between two exports when few spans come.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time that an export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that what still waits has at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the caller says of which trace its call is a part (W3C Trace Context).
const TRACE_PARENT: &str = "traceparent";

/// Makes and exports spans. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    ended: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
}

impl Traces {
    /// Sets up the export, where the settings name a collector. The collector need not be there.
    ///
    /// # Errors
    /// When its URL cannot be used.
    pub(crate) fn open(settings: &Telemetry) -> Result<Option<Traces>, ServeError> {
        let Some(collector) = settings.collector() else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(collector)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| ServeError::Traces { endpoint: collector.to_owned(), why: error.to_string() })?;
        let counts = Arc::<Counts>::default();
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUED_MAX)
            .with_max_export_batch_size(EXPORTED_AT_ONCE_MAX)
            .with_scheduled_delay(EXPORT_INTERVAL)
            .build();
        let processor = BatchSpanProcessor::builder(Counting { inner: exporter, counts: Arc::clone(&counts) })
            .with_batch_config(batches)
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.otel_sample_ratio)));
        let resource = Resource::builder()
            .with_service_name(settings.otel_service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("stonetown");
        Ok(Some(Traces { provider, tracer, counts }))
    }

    /// Spans that ended, spans that the collector took, exports that failed.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (load(&self.counts.ended), load(&self.counts.exported), load(&self.counts.failed))
    }

    /// Exports what still waits, for a few seconds at most. Blocks.
    pub(crate) fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(%error, "spans were left behind");
        }
    }
}

/// The place of a call in a trace.
pub(crate) struct CallSpan {
    /// What the caller said, where it said anything that can be read.
    remote: Option<SpanContext>,
    span: Option<(Span, Arc<Counts>)>,
}

impl CallSpan {
    /// Begins the span of a call, where it has a place in any trace. Large, beside all else that is kept of a call.
    pub(crate) fn begin(traces: Option<&Traces>, method: &Method, headers: &HeaderMap) -> Option<Box<CallSpan>> {
        if traces.is_none() && !headers.contains_key(TRACE_PARENT) {
            return None;
        }
        let parent = if headers.contains_key(TRACE_PARENT) {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
        } else {
            Context::new()
        };
        let remote = Some(parent.span().span_context().clone()).filter(SpanContext::is_valid);
        let span = traces.map(|traces| {
            let builder = SpanBuilder::from_name(format!("{}/{}", method.service, method.name))
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("rpc.system", "grpc"),
                    KeyValue::new("rpc.service", method.service.clone()),
                    KeyValue::new("rpc.method", method.name.clone()),
                ]);
            (traces.tracer.build_with_context(builder, &parent), Arc::clone(&traces.counts))
        });
        Some(Box::new(CallSpan { remote, span: span.filter(|(span, _)| span.is_recording()) }))
    }

    /// The trace that the call is a part of, in hexadecimal, where there is one.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let own = self.span.as_ref().map(|(span, _)| span.span_context());
        own.or(self.remote.as_ref()).map(|context| context.trace_id().to_string())
    }

    /// Ends the span with what became known of the call.
    pub(crate) fn end(&mut self, code: Code, notes: &Notes, request_id: &HeaderValue) {
        let Some((mut span, counts)) = self.span.take() else { return };
        let attribute = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)));
        span.set_attribute(KeyValue::new(
            "stonetown.request_id",
            String::from_utf8_lossy(request_id.as_bytes()).into_owned(),
        ));
        if let Some(caller) = notes.caller() {
            span.set_attribute(KeyValue::new("stonetown.caller", caller.to_owned()));
        }
        if let Some(revision) = notes.revision() {
            span.set_attribute(KeyValue::new("stonetown.revision", attribute(revision.0)));
        }
        let work = notes.work();
        if work.edges > 0 {
            span.set_attribute(KeyValue::new("stonetown.edges", attribute(work.edges)));
            span.set_attribute(KeyValue::new("stonetown.subproblems", attribute(work.subproblems)));
            span.set_attribute(KeyValue::new("stonetown.depth", attribute(work.depth)));
        }
        if code != Code::Ok {
            span.set_status(SpanStatus::error(code_name(code)));
        }
        counts.ended.fetch_add(1, Ordering::Relaxed);
        span.end();
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// An exporter that counts.
struct Counting {
    inner: SpanExporter,
    counts: Arc<Counts>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.inner.export(batch).await;
        let (counter, more) = if exported.is_ok() { (&self.counts.exported, spans) } else { (&self.counts.failed, 1) };
        counter.fetch_add(more, Ordering::Relaxed);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
