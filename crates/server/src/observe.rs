//! Measures each call from its head to the end of its answer: counted in metrics, told in the log, drawn as a span.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Request};
use stonetown_api::REQUEST_ID;
use stonetown_authorizer::Notes;
use tonic::{Code, Status};

use crate::config::LoggedCalls;
use crate::metrics::{Method, Metrics, code_name};
use crate::traces::{CallSpan, Traces};

/// Where calls are reported to.
pub(crate) struct Observer {
    pub(crate) metrics: Metrics,
    pub(crate) traces: Option<Traces>,
    pub(crate) logged: LoggedCalls,
}

impl Observer {
    /// Begins the record of a call, of which more becomes known in the [`Notes`] that the request then has.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &mut Request<B>) -> Record {
        let method = self.metrics.method(request.uri().path());
        method.begin();
        // Whoever answers repeats the id that it finds here.
        let request_id = stonetown_api::request_id(request.headers());
        request.headers_mut().insert(REQUEST_ID, request_id.clone());
        let notes = Arc::<Notes>::default();
        request.extensions_mut().insert(Arc::clone(&notes));
        Record {
            span: CallSpan::begin(self.traces.as_ref(), &method.described, request.headers()),
            observer: Arc::clone(self),
            method,
            notes,
            request_id,
            begun: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

/// What is known of a call; reported when dropped, so that one whose client left is reported, too.
pub(crate) struct Record {
    observer: Arc<Observer>,
    method: Arc<Method>,
    notes: Arc<Notes>,
    request_id: HeaderValue,
    span: Option<Box<CallSpan>>,
    begun: Instant,
    code: Code,
}

impl Record {
    /// The method that is called.
    pub(crate) fn method(&self) -> &stonetown_api::Method {
        &self.method.described
    }

    /// Reads the head or the trailers of the answer, one of which has its code.
    pub(crate) fn read(&mut self, headers: &HeaderMap) {
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
        let trace_id = self.span.as_ref().and_then(|span| span.trace_id());
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
        if let Some(span) = &mut self.span {
            span.end(self.code, &self.notes, &self.request_id);
        }
    }
}

/// Codes that an operator should look at.
fn is_our_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss)
}
