//! Measures each call from its head to the end of its answer: counted in metrics, told in the log, drawn as a span.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use stonetown_api::REQUEST_ID;
use stonetown_authorizer::Notes;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::config::LoggedCalls;
use crate::metrics::{Method, Metrics, code_name};
use crate::traces::{CallSpan, Traces};

/// Where calls are reported to.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) metrics: Metrics,
    pub(crate) traces: Option<Traces>,
    pub(crate) logged: LoggedCalls,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct ObserveLayer(pub(crate) Observer);

/// See the module.
#[derive(Clone)]
pub(crate) struct Observe<S> {
    observer: Observer,
    inner: S,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;
    fn layer(&self, inner: S) -> Observe<S> {
        Observe { observer: self.0.clone(), inner }
    }
}

impl<S, B> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let method = self.observer.metrics.method(request.uri().path());
        method.begin();
        // Whoever answers repeats the id that it finds here.
        let request_id = stonetown_api::request_id(request.headers());
        request.headers_mut().insert(REQUEST_ID, request_id.clone());
        let notes = Arc::<Notes>::default();
        request.extensions_mut().insert(Arc::clone(&notes));
        let record = Record {
            span: CallSpan::begin(self.observer.traces.as_ref(), &method, request.headers()),
            observer: self.observer.clone(),
            method,
            notes,
            request_id,
            begun: Instant::now(),
            code: Code::Cancelled,
        };
        Observed { inner: Box::pin(self.inner.call(request)), record: Some(record) }
    }
}

/// A call's answer on its way.
pub(crate) struct Observed<F> {
    inner: Pin<Box<F>>,
    record: Option<Record>,
}

impl<F, E> Future for Observed<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(answer) = self.inner.as_mut().poll(cx) else { return Poll::Pending };
        Poll::Ready(answer.map(|answer| match self.record.take() {
            Some(mut record) => {
                record.read(answer.headers());
                answer.map(|inner| Body::new(ObservedBody { inner, record }))
            }
            None => answer,
        }))
    }
}

struct ObservedBody {
    inner: Body,
    record: Record,
}

impl http_body::Body for ObservedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.record.read(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is known of a call; reported when dropped, so that one whose client left is reported, too.
struct Record {
    observer: Observer,
    method: Arc<Method>,
    notes: Arc<Notes>,
    request_id: HeaderValue,
    span: CallSpan,
    begun: Instant,
    code: Code,
}

impl Record {
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }

    fn log(&self, ms: f64) {
        let logged = match self.observer.logged {
            LoggedCalls::All => true,
            LoggedCalls::Failed => !matches!(self.code, Code::Ok | Code::Cancelled),
            LoggedCalls::None => false,
        };
        if !logged {
            return;
        }
        let (method, code) = (self.method.label(), code_name(self.code));
        // A caller may send any bytes.
        let request_id = String::from_utf8_lossy(self.request_id.as_bytes());
        let (caller, revision) = (self.notes.caller(), self.notes.revision().map(|revision| revision.0));
        let trace_id = self.span.trace_id();
        if is_our_fault(self.code) {
            tracing::warn!(target: "stonetown::calls", method, code, ms, %request_id, trace_id, caller, revision, "call");
        } else {
            tracing::info!(target: "stonetown::calls", method, code, ms, %request_id, trace_id, caller, revision, "call");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        self.method.end(self.code, duration);
        self.observer.metrics.observe_work(&self.notes);
        self.log(duration.as_secs_f64() * 1e3);
        self.span.end(self.code, &self.notes, &self.request_id);
    }
}

/// Codes that an operator should look at.
fn is_our_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss)
}
