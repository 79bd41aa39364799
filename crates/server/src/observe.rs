//! Measures each call from its head to the end of its answer, by method and status code.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// The methods that are counted by name; all others are `other`, as a caller can make up any path.
const METHODS: [&str; 34] = [
    "PermissionsService/CheckPermission",
    "PermissionsService/CheckBulkPermissions",
    "PermissionsService/ReadRelationships",
    "PermissionsService/WriteRelationships",
    "PermissionsService/DeleteRelationships",
    "PermissionsService/ExpandPermissionTree",
    "PermissionsService/LookupResources",
    "PermissionsService/LookupSubjects",
    "PermissionsService/ImportBulkRelationships",
    "PermissionsService/ExportBulkRelationships",
    "SchemaService/ReadSchema",
    "SchemaService/WriteSchema",
    "SchemaService/ReflectSchema",
    "SchemaService/ComputablePermissions",
    "SchemaService/DependentRelations",
    "SchemaService/DiffSchema",
    "WatchService/Watch",
    "ExperimentalService/BulkImportRelationships",
    "ExperimentalService/BulkExportRelationships",
    "ExperimentalService/BulkCheckPermission",
    "ExperimentalService/ExperimentalReflectSchema",
    "ExperimentalService/ExperimentalComputablePermissions",
    "ExperimentalService/ExperimentalDependentRelations",
    "ExperimentalService/ExperimentalDiffSchema",
    "WatchPermissionsService/WatchPermissions",
    "WatchPermissionSetsService/WatchPermissionSets",
    "WatchPermissionSetsService/LookupPermissionSets",
    "WatchPermissionSetsService/DownloadPermissionSets",
    "RelationshipsService/ExperimentalCountRelationshipsByFilter",
    "ExperimentalService/ExperimentalRegisterRelationshipCounter",
    "ExperimentalService/ExperimentalCountRelationships",
    "ExperimentalService/ExperimentalUnregisterRelationshipCounter",
    "Health/Check",
    "Health/Watch",
];

/// See the module.
#[derive(Clone)]
pub(crate) struct ObserveLayer(pub(crate) Metrics);

/// See the module.
#[derive(Clone)]
pub(crate) struct Observe<S> {
    metrics: Metrics,
    inner: S,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;
    fn layer(&self, inner: S) -> Observe<S> {
        Observe { metrics: self.0.clone(), inner }
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let record = Record {
            metrics: self.metrics.clone(),
            method: method(request.uri().path()),
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

/// What is known of a call; counted when dropped, so that one whose client left is counted, too.
struct Record {
    metrics: Metrics,
    method: &'static str,
    begun: Instant,
    code: Code,
}

impl Record {
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.observe(self.method, self.code, self.begun.elapsed());
    }
}

/// The method's last two names, where it is one that is served.
fn method(path: &str) -> &'static str {
    METHODS.into_iter().find(|method| path.ends_with(method)).unwrap_or("other")
}
