//! The way to the end: no new calls first, then no endless streams, and when the grace period is over, nothing at all. Whoever
//! is cut off is told `UNAVAILABLE`, which clients take as leave to try elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Calls that are answered to the last: who asks for health while a server stops is to hear about it.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Streams that never end by themselves: there is nothing to wait for.
const ENDLESS: [&str; 5] =
    ["/Watch", "/WatchPermissions", "/WatchPermissionSets", "/ServerReflectionInfo", "/grpc.health.v1.Health/Watch"];

/// How far a server is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// All calls are answered.
    Serving,
    /// Running calls may end, new ones are refused, endless streams are ended.
    Draining,
    /// What still runs is cut off.
    Ending,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct DrainLayer(pub(crate) watch::Receiver<Stage>);

/// See the module.
#[derive(Clone)]
pub(crate) struct Drain<S> {
    stage: watch::Receiver<Stage>,
    inner: S,
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;
    fn layer(&self, inner: S) -> Drain<S> {
        Drain { stage: self.0.clone(), inner }
    }
}

impl<S, B> Service<Request<B>> for Drain<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Drained<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let refused = *self.stage.borrow() >= Stage::Draining && !path.starts_with(HEALTH);
        let cut_at = if ENDLESS.iter().any(|end| path.ends_with(end)) { Stage::Draining } else { Stage::Ending };
        let cut = Cut { at: cut_at, stage: self.stage.clone(), reached: None };
        Drained { inner: (!refused).then(|| Box::pin(self.inner.call(request))), cut: Some(cut) }
    }
}

/// When a call is cut off.
struct Cut {
    at: Stage,
    stage: watch::Receiver<Stage>,
    /// Waits for the stage; made only for a call that has to wait itself.
    reached: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Cut {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut stage, at) = (self.stage.clone(), self.at);
        let reached = self.reached.get_or_insert_with(|| {
            Box::pin(async move {
                // A server that is gone altogether cuts off as well.
                drop(stage.wait_for(|stage| *stage >= at).await);
            })
        });
        reached.as_mut().poll(cx)
    }
}

fn stopping() -> Status {
    Status::unavailable("the server is stopping: try again, which reaches another or the next one")
}

/// A call's answer on its way, unless it is refused.
pub(crate) struct Drained<F> {
    inner: Option<Pin<Box<F>>>,
    cut: Option<Cut>,
}

impl<F, E> Future for Drained<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(stopping().into_http())) };
        if let Poll::Ready(answer) = inner.as_mut().poll(cx) {
            let cut = self.cut.take();
            return Poll::Ready(
                answer.map(|answer| answer.map(|inner| Body::new(DrainedBody { inner: Some(inner), cut }))),
            );
        }
        if self.cut.as_mut().is_some_and(|cut| cut.poll(cx).is_ready()) {
            self.inner = None;
            return Poll::Ready(Ok(stopping().into_http()));
        }
        Poll::Pending
    }
}

struct DrainedBody {
    /// `None` once it was cut off.
    inner: Option<Body>,
    cut: Option<Cut>,
}

impl http_body::Body for DrainedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.cut.as_mut().is_some_and(|cut| cut.poll(cx).is_ready()) {
            self.inner = None;
            let mut trailers: HeaderMap = stopping().into_http::<Body>().into_parts().0.headers;
            trailers.remove(CONTENT_TYPE);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Pending
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

    use super::*;
    use tonic::Code;

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

    /// Paths with `wait` are never answered, others are, with a body that never ends.
    async fn call(stage: &watch::Receiver<Stage>, path: &str) -> Response<Body> {
        let inner = tower::service_fn(|request: Request<Body>| async move {
            if request.uri().path().contains("wait") {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::new(Silent)))
        });
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        DrainLayer(stage.clone()).layer(inner).call(request).await.unwrap()
    }

    fn code(headers: &HeaderMap) -> Option<Code> {
        headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
    }

    async fn last_words(answer: Response<Body>) -> Option<Code> {
        let mut body = answer.into_body();
        let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await?;
        code(frame.unwrap().trailers_ref()?)
    }

    #[tokio::test]
    async fn endless_streams_end_first_then_new_calls_are_refused_then_all_is_cut_off() {
        let (to, stage) = watch::channel(Stage::Serving);
        let (endless, ending) =
            (call(&stage, "/authzed.api.v1.WatchService/Watch").await, call(&stage, "/s/Export").await);
        let waiting = tokio::spawn({
            let stage = stage.clone();
            async move { call(&stage, "/s/wait").await }
        });
        tokio::task::yield_now().await;

        to.send(Stage::Draining).unwrap();
        assert_eq!(last_words(endless).await, Some(Code::Unavailable));
        assert_eq!(code(call(&stage, "/s/Check").await.headers()), Some(Code::Unavailable));
        assert_eq!(code(call(&stage, "/grpc.health.v1.Health/Check").await.headers()), None);
        assert!(!waiting.is_finished());

        to.send(Stage::Ending).unwrap();
        assert_eq!(last_words(ending).await, Some(Code::Unavailable));
        assert_eq!(code(waiting.await.unwrap().headers()), Some(Code::Unavailable));
    }
}
