//! Calls that are safe to repeat are repeated when the server is busy or away for a moment.
//!
//! Questions are; so are writes and deletes, as they carry an id under which the server does them once, however often they come.
//! Calls that stream are not: what has been sent or received cannot be taken back.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use rand::RngExt;
use tonic::Code;
use tonic::body::Body;
use tower_service::Service;

/// Pause before the first repetition; it doubles with each, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Under which a write is done once.
const WRITE_ID: &str = "stonetown-request-id";

/// Calls whose repetition changes nothing.
const QUESTIONS: [&str; 8] = [
    "CheckPermission",
    "CheckBulkPermissions",
    "ExpandPermissionTree",
    "ReadSchema",
    "ReflectSchema",
    "ComputablePermissions",
    "DependentRelations",
    "DiffSchema",
];
/// Calls that are done once for each id.
const WRITES: [&str; 2] = ["WriteRelationships", "DeleteRelationships"];

/// Most repetitions of a call that the server had no room for: perhaps it is the call that is too large.
const NO_ROOM_RETRIES_MAX: u32 = 3;

/// A connection that repeats calls.
#[derive(Debug, Clone)]
pub(crate) struct Retry<S> {
    inner: S,
    retries_max: u32,
}

/// Why there is no answer.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

impl<S> Retry<S> {
    pub(crate) fn new(inner: S, retries_max: u32) -> Self {
        Retry { inner, retries_max }
    }
}

impl<S> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that is ready, and one for later calls.
        let later = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, later);
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let is_write = WRITES.contains(&method.as_str());
        if !is_write && !QUESTIONS.contains(&method.as_str()) {
            return Box::pin(async move { told(&method, inner.call(request)).await });
        }
        if is_write && let Ok(id) = HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>())) {
            request.headers_mut().entry(WRITE_ID).or_insert(id);
        }
        Box::pin(repeat(inner, method, request, self.retries_max))
    }
}

async fn repeat<S>(
    mut inner: S,
    method: String,
    request: Request<Body>,
    retries_max: u32,
) -> Result<Response<Body>, Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<Error>,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut pause = PAUSE;
    let mut repeated = 0;
    loop {
        let body = Full::new(body.clone()).map_err(|never: Infallible| match never {});
        let outcome = told(&method, inner.call(Request::from_parts(head.clone(), Body::new(body)))).await;
        let most = match &outcome {
            Ok(response) => retries_max.min(retries_of(response)),
            // A connection that broke is made anew.
            Err(_) => retries_max,
        };
        if repeated >= most {
            return outcome;
        }
        repeated += 1;
        // Half of it at random, so that many clients do not come back together.
        let part = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        tracing::info!(method, pause_ms = part.as_millis(), "the server is away or busy: asking again");
        tokio::time::sleep(part).await;
        pause = (pause * 2).min(PAUSE_MAX);
        std::future::poll_fn(|context| inner.poll_ready(context)).await.map_err(Into::into)?;
    }
}

/// The outcome of a call, which the log is told.
async fn told<E: Into<Error>>(
    method: &str,
    call: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, Error> {
    let begun = Instant::now();
    let outcome = call.await.map_err(Into::into);
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    match &outcome {
        // Of an answer with messages the code comes after them.
        Ok(response) => tracing::debug!(method, ms, code = ?code(response).unwrap_or(Code::Ok), "call"),
        Err(error) => tracing::debug!(method, ms, error = %error, "call"),
    }
    outcome
}

fn code<B>(response: &Response<B>) -> Option<Code> {
    response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

/// How often a call that was answered so may be repeated.
fn retries_of<B>(response: &Response<B>) -> u32 {
    match code(response) {
        Some(Code::Unavailable) => u32::MAX,
        Some(Code::ResourceExhausted) => NO_ROOM_RETRIES_MAX,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// The id and the body of a call.
    type Seen = (Option<HeaderValue>, Vec<u8>);

    /// Answers with the given codes, one after the other, and keeps what it was sent.
    #[derive(Clone, Default)]
    struct Server {
        codes: Arc<Mutex<Vec<Code>>>,
        seen: Arc<Mutex<Vec<Seen>>>,
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Error;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let server = self.clone();
            Box::pin(async move {
                let id = request.headers().get(WRITE_ID).cloned();
                let body = request.into_body().collect().await?.to_bytes().to_vec();
                server.seen.lock().push((id, body));
                let code = server.codes.lock().pop().unwrap_or(Code::Ok);
                let mut response = Response::new(Body::empty());
                response.headers_mut().insert("grpc-status", (code as i32).into());
                Ok(response)
            })
        }
    }

    /// Calls a method of a server that gives these codes; how often it was called, and how it ended.
    async fn call(method: &str, codes: &[Code]) -> (Vec<Seen>, Code) {
        let server = Server::default();
        server.codes.lock().extend(codes.iter().rev());
        let body = Full::new(bytes::Bytes::from_static(b"a message")).map_err(|never: Infallible| match never {});
        let request = Request::builder().uri(format!("http://x/some.Service/{method}")).body(Body::new(body)).unwrap();
        let response = Retry::new(server.clone(), 5).call(request).await.unwrap();
        let code = Code::from_bytes(response.headers()["grpc-status"].as_bytes());
        let seen = server.seen.lock().clone();
        (seen, code)
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_again_with_the_same_words() {
        let (seen, code) = call("CheckPermission", &[Code::Unavailable, Code::Unavailable]).await;
        assert_eq!((seen.len(), code), (3, Code::Ok));
        assert!(seen.iter().all(|(id, body)| id.is_none() && body == b"a message"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_repeated_under_one_id() {
        let (seen, code) = call("WriteRelationships", &[Code::Unavailable]).await;
        assert_eq!((seen.len(), code), (2, Code::Ok));
        assert!(seen[0].0.is_some() && seen[0] == seen[1]);
        let (other, _) = call("WriteRelationships", &[]).await;
        assert_ne!(other[0].0, seen[0].0);
    }

    #[tokio::test(start_paused = true)]
    async fn repetitions_have_an_end() {
        let (seen, code) = call("CheckPermission", &[Code::Unavailable; 9]).await;
        assert_eq!((seen.len(), code), (6, Code::Unavailable));
        let (seen, code) = call("CheckPermission", &[Code::ResourceExhausted; 9]).await;
        assert_eq!((seen.len(), code), (4, Code::ResourceExhausted));
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_not_pass_and_what_streams_is_not_repeated() {
        for code in [Code::InvalidArgument, Code::PermissionDenied, Code::DeadlineExceeded, Code::Internal] {
            assert_eq!(call("CheckPermission", &[code]).await.0.len(), 1, "{code}");
        }
        for method in ["ImportBulkRelationships", "ReadRelationships", "Watch", "WriteSchema"] {
            assert_eq!(call(method, &[Code::Unavailable]).await.0.len(), 1, "{method}");
        }
    }
}
