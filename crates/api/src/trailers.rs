//! What each answer says besides its message: the request's id, what the answer cost, and on demand the server's version. All
//! of it goes out as trailers, after the messages, where clients of SpiceDB look for it.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;

/// The id that ties a call to its records; chosen by the client, or made here.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const DISPATCHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.dispatchedoperationscount");
const CACHED: HeaderName = HeaderName::from_static("io.spicedb.respmeta.cachedoperationscount");
const VERSION_ASKED: HeaderName = HeaderName::from_static("io.spicedb.requestversion");
const VERSION: HeaderName = HeaderName::from_static("io.spicedb.debug.version");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The token of a write whose answer has no field for it.
const WRITTEN_AT: HeaderName = HeaderName::from_static("stonetown-written-at");

/// How tonic begins to say that a request is too large.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Longest request id that is repeated, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 256;

/// What a call cost. A handler finds it among the extensions of its request and adds to it.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    dispatched: AtomicU64,
    cached: AtomicU64,
    written_at: OnceLock<HeaderValue>,
}

impl Cost {
    /// Adds operations that were carried out, and those of them whose result was known.
    pub(crate) fn add(&self, dispatched: u64, cached: u64) {
        self.dispatched.fetch_add(dispatched, Ordering::Relaxed);
        self.cached.fetch_add(cached, Ordering::Relaxed);
    }

    /// Has the token of a write sent as a trailer.
    pub(crate) fn written_at(&self, token: &str) {
        // A token is base64, which a header can hold; it is set once.
        let _ = HeaderValue::from_str(token).map(|token| self.written_at.set(token));
    }
}

/// Has the answers of a service carry trailers.
#[derive(Debug, Clone)]
pub(crate) struct WithTrailers {
    /// Told to those who ask.
    pub(crate) version: Option<HeaderValue>,
}

impl WithTrailers {
    /// The trailers of the answer to a request, whose handler then finds where to note its [`Cost`].
    pub(crate) fn begin(&self, request: &mut Request<Body>) -> Trailers {
        let trailers = Trailers {
            request_id: request_id(request.headers()),
            version: self.version.clone().filter(|_| request.headers().contains_key(VERSION_ASKED)),
            cost: Arc::default(),
        };
        request.extensions_mut().insert(Arc::clone(&trailers.cost));
        trailers
    }
}

/// The id that a client chose, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("request id"));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX);
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:012x}{:08x}", *PROCESS & 0xffff_ffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// The trailers of one answer.
pub(crate) struct Trailers {
    request_id: HeaderValue,
    version: Option<HeaderValue>,
    cost: Arc<Cost>,
}

impl Trailers {
    fn write(self, to: &mut HeaderMap) {
        // Ids never repeat: they are kept out of the connection's header table, where they would push out what does.
        let mut request_id = self.request_id;
        request_id.set_sensitive(true);
        to.insert(REQUEST_ID, request_id);
        to.insert(DISPATCHED, self.cost.dispatched.load(Ordering::Relaxed).into());
        to.insert(CACHED, self.cost.cached.load(Ordering::Relaxed).into());
        if let Some(token) = self.cost.written_at.get() {
            to.insert(WRITTEN_AT, token.clone());
        }
        if let Some(version) = self.version {
            to.insert(VERSION, version);
        }
    }
}

/// A request that is too large is refused with the code that clients of SpiceDB, whose server is Go's, expect of it.
fn say_too_large(headers: &mut HeaderMap) {
    let refused = Status::from_header_map(headers);
    if let Some(refused) = refused.filter(|status| status.message().starts_with(TOO_LARGE)) {
        let text = format!("the request is too large:{}", &refused.message()[TOO_LARGE.len()..]);
        // A status of a short text is always a header.
        let _ = Status::resource_exhausted(text).add_header(headers);
    }
}

/// An answer of a service on its way, with its trailers where it has any.
pub struct Answer {
    inner: BoxFuture<Response<Body>, Infallible>,
    trailers: Option<Trailers>,
}

impl Answer {
    pub(crate) fn new(inner: BoxFuture<Response<Body>, Infallible>, trailers: Option<Trailers>) -> Answer {
        Answer { inner, trailers }
    }
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(context).map_ok(|mut answer| match self.trailers.take() {
            // An answer without messages is one block of headers, which clients take for trailers.
            Some(trailers) if answer.headers().contains_key(GRPC_STATUS) => {
                say_too_large(answer.headers_mut());
                trailers.write(answer.headers_mut());
                answer
            }
            Some(trailers) => answer.map(|inner| Body::new(TrailedBody { inner, trailers: Some(trailers) })),
            None => answer,
        })
    }
}

struct TrailedBody {
    inner: Body,
    trailers: Option<Trailers>,
}

impl http_body::Body for TrailedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = frame else { return frame };
        let frame = match frame.into_trailers() {
            Ok(mut map) => {
                if let Some(trailers) = self.trailers.take() {
                    trailers.write(&mut map);
                }
                Frame::trailers(map)
            }
            Err(data) => data,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_request_id_is_kept_and_a_missing_one_is_made_once_only() {
        let mut headers = HeaderMap::new();
        let (first, second) = (request_id(&headers), request_id(&headers));
        assert_ne!(first, second);
        assert_eq!(first.len(), 20);
        headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        assert_eq!(request_id(&headers), "mine");
        headers.insert(REQUEST_ID, HeaderValue::from_str(&"x".repeat(257)).unwrap());
        assert_eq!(request_id(&headers).len(), 20);
    }

    #[tokio::test]
    async fn messages_are_followed_by_trailers_and_errors_carry_them_in_their_one_block() {
        let answer = call(|request| {
            let cost = request.extensions().get::<Arc<Cost>>().cloned().unwrap();
            cost.add(7, 2);
            Response::new(Body::new(Message {
                frames: vec![
                    Frame::trailers(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))])),
                    Frame::data("message".into()),
                ],
            }))
        })
        .await;
        assert!(!answer.headers().contains_key(REQUEST_ID));
        let mut body = answer.into_body();
        let data = next(&mut body).await.into_data().unwrap();
        assert_eq!(data, "message");
        let trailers = next(&mut body).await.into_trailers().unwrap();
        let text = |name| trailers.get(name).unwrap().to_str().unwrap();
        assert_eq!((text(REQUEST_ID), text(DISPATCHED), text(CACHED)), ("abc", "7", "2"));
        assert_eq!((text(VERSION), text(GRPC_STATUS)), ("v1.2.3", "0"));

        let refusal = call(|_| Status::not_found("nothing").into_http()).await;
        assert_eq!(refusal.headers().get(REQUEST_ID).unwrap(), "abc");
        assert_eq!(refusal.headers().get(DISPATCHED).unwrap(), "0");
    }

    async fn call(answer: fn(Request<Body>) -> Response<Body>) -> Response<Body> {
        let with_trailers = WithTrailers { version: Some(HeaderValue::from_static("v1.2.3")) };
        let request = Request::builder().header(REQUEST_ID, "abc").header(VERSION_ASKED, "1").body(Body::empty());
        let mut request = request.unwrap();
        let trailers = with_trailers.begin(&mut request);
        Answer::new(Box::pin(std::future::ready(Ok(answer(request)))), Some(trailers)).await.unwrap()
    }

    async fn next(body: &mut Body) -> Frame<tonic::codegen::Bytes> {
        std::future::poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context))
            .await
            .unwrap()
            .unwrap()
    }

    /// A body that is given, last frame first.
    struct Message {
        frames: Vec<Frame<tonic::codegen::Bytes>>,
    }

    impl http_body::Body for Message {
        type Data = tonic::codegen::Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Ready(self.frames.pop().map(Ok))
        }
    }
}
