//! Who calls: preshared keys, compared in constant time, fail closed.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use stonetown_audit::Recorder;
use stonetown_authorizer::{Caller, Notes};
use subtle::{Choice, ConstantTimeEq};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::config::Secret;

/// Paths that need no key: health and reflection.
const OPEN_PREFIXES: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Whether a path needs no key.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN_PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// The preshared keys of a server.
#[derive(Clone)]
pub struct Keys(Arc<[(Secret, Caller)]>);

/// Puts the [`Caller`] into each request, or refuses it.
#[derive(Clone)]
pub(crate) struct AuthLayer {
    pub(crate) keys: Keys,
    /// Where refusals are recorded, if they are.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

/// See [`AuthLayer`].
#[derive(Clone)]
pub(crate) struct Auth<S> {
    layer: AuthLayer,
    inner: S,
}

impl Keys {
    /// Callers are told apart by the position of their key, never by the key.
    #[must_use]
    pub fn new(keys: Vec<Secret>) -> Keys {
        let caller = |n: usize| Caller::named(&format!("key-{}", n + 1));
        Keys(keys.into_iter().enumerate().map(|(n, key)| (key, caller(n))).collect())
    }

    /// The caller that the headers prove.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a bearer token, `PERMISSION_DENIED` with an unknown one: clients tell the two apart.
    // A status is large, but it is what goes over the wire.
    #[allow(clippy::result_large_err)]
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        let missing = || Status::unauthenticated("missing preshared key: send `authorization: Bearer KEY`");
        let value = headers.get(AUTHORIZATION).ok_or_else(missing)?.as_bytes();
        let is_bearer = value.len() >= 7 && value[..7].eq_ignore_ascii_case(b"bearer ");
        if !is_bearer {
            return Err(Status::unauthenticated("invalid preshared key: expected the scheme `Bearer`"));
        }
        let token = value[7..].trim_ascii();
        if token.is_empty() {
            return Err(missing());
        }
        // Every key is compared, so that the time does not tell which one was close.
        let mut found = None;
        for (key, caller) in self.0.iter() {
            let equal: Choice = key.as_bytes().ct_eq(token);
            if equal.into() {
                found = Some(caller);
            }
        }
        found.cloned().ok_or_else(|| Status::permission_denied("invalid preshared key: unknown token"))
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;
    fn layer(&self, inner: S) -> Auth<S> {
        Auth { layer: self.clone(), inner }
    }
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AuthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if !is_open(path) {
            match self.layer.keys.authenticate(request.headers()) {
                Ok(caller) => {
                    if let Some(notes) = request.extensions().get::<Arc<Notes>>() {
                        notes.set_caller(&caller);
                    }
                    request.extensions_mut().insert(caller);
                }
                Err(status) => {
                    if let Some(recorder) = &self.layer.recorder {
                        let sent = status.code() == Code::PermissionDenied;
                        let why = if sent { "unknown_credential" } else { "no_credential" };
                        recorder.record_refused_log_in(why, path);
                    }
                    return AuthFuture::Refused(Some(Box::new(status)));
                }
            }
        }
        AuthFuture::Inner(Box::pin(self.inner.call(request)))
    }
}

/// The answer of the inner service, or a refusal.
pub(crate) enum AuthFuture<F> {
    Refused(Option<Box<Status>>),
    Inner(std::pin::Pin<Box<F>>),
}

impl<F, E> Future for AuthFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            AuthFuture::Refused(status) => {
                let status = status.take().map_or_else(|| Status::internal("polled after its end"), |status| *status);
                Poll::Ready(Ok(status.into_http()))
            }
            AuthFuture::Inner(inner) => inner.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn authenticate(value: Option<&str>) -> Result<String, Code> {
        let keys = Keys::new(vec!["first".parse().unwrap(), "second".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        keys.authenticate(&headers).map(|caller| caller.name.to_string()).map_err(|status| status.code())
    }

    #[test]
    fn only_a_known_key_names_a_caller() {
        assert_eq!(authenticate(Some("Bearer first")), Ok("key-1".to_owned()));
        assert_eq!(authenticate(Some("bearer second")), Ok("key-2".to_owned()));
        assert_eq!(authenticate(Some("Bearer third")), Err(Code::PermissionDenied));
        assert_eq!(authenticate(Some("Bearer firs")), Err(Code::PermissionDenied));
        assert_eq!(authenticate(Some("Bearer ")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(Some("Basic first")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(Some("first")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(None), Err(Code::Unauthenticated));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key: Secret = "very-secret".parse().unwrap();
        assert!(!format!("{key:?}").contains("very-secret"));
    }
}
