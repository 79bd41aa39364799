//! What stands around each call, as one layer: it is measured to the end of its answer (`observe`), its caller is proved (`auth`),
//! and it ends early when that caller is no longer let in (`auth::guard`) or the server stops (`drain`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::auth::{Auth, Guard};
use crate::deadline::Bound;
use crate::drain::{Cut, Drain};
use crate::observe::{Observer, Record};

/// See the module. In the order in which a call meets them.
pub(crate) struct Around {
    pub(crate) observer: Arc<Observer>,
    pub(crate) auth: Auth,
    pub(crate) drain: Drain,
    pub(crate) bound: Bound,
}

/// Puts an [`Around`] around a service.
#[derive(Clone)]
pub(crate) struct AroundLayer(pub(crate) Arc<Around>);

/// A service with an [`Around`] around it.
#[derive(Clone)]
pub(crate) struct AroundService<S> {
    around: Arc<Around>,
    inner: S,
}

/// What may end a call before its time.
struct Ends {
    /// Of a call that lasts.
    guard: Option<Box<Guard>>,
    cut: Cut,
}

impl Around {
    /// Lets a call in, with what may end it.
    fn let_in<B>(&self, request: &mut Request<B>, record: &Record) -> Result<Ends, Box<Status>> {
        let method = record.method();
        let guard = self.auth.let_in(request, method)?.map(Box::new);
        let cut = self.drain.let_in(request.uri().path())?;
        self.bound.put(request, method);
        Ok(Ends { guard, cut })
    }
}

impl Ends {
    /// Ready with what the caller is told once the call is to end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(guard) = &mut self.guard
            && let Poll::Ready(status) = guard.poll(cx)
        {
            return Poll::Ready(status);
        }
        self.cut.poll(cx)
    }
}

impl<S> Layer<S> for AroundLayer {
    type Service = AroundService<S>;
    fn layer(&self, inner: S) -> AroundService<S> {
        AroundService { around: Arc::clone(&self.0), inner }
    }
}

impl<S, B> Service<Request<B>> for AroundService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let record = self.around.observer.begin(&mut request);
        let outcome = match self.around.let_in(&mut request, &record) {
            Ok(ends) => Outcome::LetIn(self.inner.call(request), ends),
            Err(status) => Outcome::Refused(status),
        };
        Answer(Some((outcome, record)))
    }
}

/// A call's answer on its way; `None` when it has been given.
pub(crate) struct Answer<F>(Option<(Outcome<F>, Record)>);

/// What became of a call.
enum Outcome<F> {
    LetIn(F, Ends),
    Refused(Box<Status>),
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.0 {
            Some((Outcome::LetIn(inner, ends), _)) => match Pin::new(inner).poll(cx)? {
                Poll::Ready(answer) => answer,
                Poll::Pending => match ends.poll(cx) {
                    Poll::Ready(status) => status.into_http(),
                    Poll::Pending => return Poll::Pending,
                },
            },
            Some((Outcome::Refused(status), _)) => status.clone().into_http(),
            None => Status::internal("polled after its end").into_http(),
        };
        let Some((outcome, mut record)) = self.0.take() else { return Poll::Ready(Ok(answer)) };
        record.read(answer.headers());
        Poll::Ready(Ok(match outcome {
            Outcome::LetIn(_, ends) => answer.map(|inner| Body::new(AroundBody { inner: Some(inner), ends, record })),
            Outcome::Refused(_) => answer,
        }))
    }
}

struct AroundBody {
    /// `None` once it was ended.
    inner: Option<Body>,
    ends: Ends,
    record: Record,
}

impl AroundBody {
    fn end(&mut self, status: Status) -> Frame<<Body as http_body::Body>::Data> {
        self.inner = None;
        let mut trailers = status.into_http::<Body>().into_parts().0.headers;
        trailers.remove(CONTENT_TYPE);
        self.record.read(&trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for AroundBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // Before the next frame of one that lasts, so that one who is sent something all the time is ended as well.
        if this.ends.guard.is_some()
            && let Poll::Ready(status) = this.ends.poll(cx)
        {
            return Poll::Ready(Some(Ok(this.end(status))));
        }
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()) {
                    this.record.read(trailers);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => this.ends.poll(cx).map(|status| Some(Ok(this.end(status)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http::HeaderMap;
    use stonetown_authorizer::{Authorizer, Options};
    use stonetown_storage::MemoryDatastore;
    use tokio::sync::watch;
    use tonic::Code;

    use super::*;
    use crate::auth::Authentication;
    use crate::config::LoggedCalls;
    use crate::drain::Stage;
    use crate::metrics::{Metrics, Sources};
    use crate::oidc::Issuers;

    /// A body that never says anything.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = <Body as http_body::Body>::Data;
        type Error = Status;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Pending
        }
    }

    /// What stands around the calls of a server at a stage, where `key` lets in.
    fn around(stage: &watch::Receiver<Stage>) -> (AroundLayer, Metrics) {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let metrics = Metrics::new(Sources {
            authorizer: Arc::new(authorizer),
            collections: Arc::default(),
            tls: Vec::new(),
            traces: None,
            desk: None,
            issuers: Issuers::default(),
            webhooks: crate::webhooks::Webhooks::default(),
        });
        let around = Around {
            observer: Arc::new(Observer { metrics: metrics.clone(), traces: None, logged: LoggedCalls::None }),
            auth: Auth {
                authentication: Authentication::new(vec!["key".parse().unwrap()], None, Issuers::default()),
                recorder: None,
                metrics: metrics.clone(),
            },
            drain: Drain(stage.clone()),
            bound: Bound(Duration::ZERO),
        };
        (AroundLayer(Arc::new(around)), metrics)
    }

    /// Paths with `Expand` are never answered, others are, with a body that never ends.
    async fn call(layer: &AroundLayer, key: &str, path: &str) -> Response<Body> {
        let inner = tower::service_fn(|request: Request<Body>| {
            Box::pin(async move {
                if request.uri().path().contains("Expand") {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(Body::new(Silent)))
            })
        });
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {key}"));
        layer.layer(inner).call(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn code(headers: &HeaderMap) -> Option<Code> {
        headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
    }

    async fn last_words(answer: Response<Body>) -> Option<Code> {
        let mut body = answer.into_body();
        let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await?;
        code(frame.unwrap().trailers_ref()?)
    }

    const WATCH: &str = "/authzed.api.v1.WatchService/Watch";
    const EXPORT: &str = "/authzed.api.v1.PermissionsService/ExportBulkRelationships";
    const EXPAND: &str = "/authzed.api.v1.PermissionsService/ExpandPermissionTree";

    #[tokio::test]
    async fn endless_streams_end_first_then_new_calls_are_refused_then_all_is_cut_off() {
        let (to, stage) = watch::channel(Stage::Serving);
        let (layer, metrics) = around(&stage);
        let (endless, ending) = (call(&layer, "key", WATCH).await, call(&layer, "key", EXPORT).await);
        let waiting = tokio::spawn({
            let layer = layer.clone();
            async move { call(&layer, "key", EXPAND).await }
        });
        tokio::task::yield_now().await;

        to.send(Stage::Draining).unwrap();
        assert_eq!(last_words(endless).await, Some(Code::Unavailable));
        assert_eq!(code(call(&layer, "key", EXPORT).await.headers()), Some(Code::Unavailable));
        assert_eq!(code(call(&layer, "key", "/grpc.health.v1.Health/Check").await.headers()), None);
        assert!(!waiting.is_finished());

        to.send(Stage::Ending).unwrap();
        assert_eq!(last_words(ending).await, Some(Code::Unavailable));
        assert_eq!(code(waiting.await.unwrap().headers()), Some(Code::Unavailable));

        let told = metrics.text().unwrap();
        for (method, code, calls) in [
            ("WatchService/Watch", "UNAVAILABLE", 1),
            ("PermissionsService/ExportBulkRelationships", "UNAVAILABLE", 2),
            ("PermissionsService/ExpandPermissionTree", "UNAVAILABLE", 1),
            ("Health/Check", "CANCELLED", 1),
        ] {
            let line = format!("stonetown_grpc_calls_total{{method=\"{method}\",code=\"{code}\"}} {calls}\n");
            assert!(told.contains(&line), "{line} in {told}");
        }
    }

    #[tokio::test]
    async fn who_is_not_let_in_reaches_nothing_and_is_counted() {
        let (_to, stage) = watch::channel(Stage::Serving);
        let (layer, metrics) = around(&stage);
        // It would not be answered.
        assert_eq!(code(call(&layer, "other", EXPAND).await.headers()), Some(Code::PermissionDenied));
        let told = metrics.text().unwrap();
        let line = "stonetown_grpc_calls_total{method=\"PermissionsService/ExpandPermissionTree\",code=\"PERMISSION_DENIED\"} 1\n";
        assert!(
            told.contains(line) && told.contains("stonetown_log_ins_refused_total{reason=\"unknown\"} 1\n"),
            "{told}"
        );
        // A call whose answer nobody waits for is counted when it is given up.
        let waiting = tokio::time::timeout(Duration::from_millis(1), call(&layer, "key", EXPAND)).await;
        assert!(waiting.is_err());
        let line =
            "stonetown_grpc_calls_total{method=\"PermissionsService/ExpandPermissionTree\",code=\"CANCELLED\"} 1\n";
        assert!(metrics.text().unwrap().contains(line));
    }
}
