//! All services behind one door: a call is led to the service that its path names.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, StdError};
use tonic::server::NamedService;
use tower::Service;

use crate::trailers::{Answer, WithTrailers};

/// Services by their names. Clones are the same; a call that no service is named for is answered by `UNIMPLEMENTED`.
#[derive(Clone, Default)]
pub struct Services(Arc<HashMap<&'static str, Served>>);

#[derive(Clone)]
struct Served {
    service: Arc<dyn Serve>,
    /// What its answers carry besides their messages, if anything.
    trailers: Option<WithTrailers>,
}

/// What the code that tonic generates for a service is.
pub(crate) trait Serve: Send + Sync {
    fn serve(&self, request: Request<Body>) -> BoxFuture<Response<Body>, Infallible>;
}

impl<S> Serve for S
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + Sync,
{
    fn serve(&self, request: Request<Body>) -> BoxFuture<Response<Body>, Infallible> {
        self.clone().call(request)
    }
}

impl Services {
    /// Serves one more; its answers carry trailers where that is asked for.
    #[must_use]
    pub(crate) fn add<S: NamedService + Serve + 'static>(mut self, service: S, trailers: Option<WithTrailers>) -> Self {
        let service: Arc<dyn Serve> = Arc::new(service);
        Arc::make_mut(&mut self.0).insert(S::NAME, Served { service, trailers });
        self
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Services) -> Services {
        let others = others.0.iter().map(|(name, served)| (*name, served.clone()));
        Arc::make_mut(&mut self.0).extend(others);
        self
    }

    /// The service of a path such as `/authzed.api.v1.PermissionsService/CheckPermission`.
    fn of(&self, path: &str) -> Option<&Served> {
        let (name, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.get(name)
    }
}

impl<B> Service<Request<B>> for Services
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let mut request = request.map(Body::new);
        match self.of(request.uri().path()) {
            Some(Served { service, trailers }) => {
                let trailers = trailers.as_ref().map(|trailers| trailers.begin(&mut request));
                Answer::new(service.serve(request), trailers)
            }
            None => {
                let unknown = Status::unimplemented("there is no such service").into_http();
                Answer::new(Box::pin(std::future::ready(Ok(unknown))), None)
            }
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tonic::Code;

    #[derive(Clone)]
    struct Hello;

    impl NamedService for Hello {
        const NAME: &'static str = "some.v1.Hello";
    }

    impl Service<Request<Body>> for Hello {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Response<Body>, Infallible>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            Box::pin(async { Ok(Status::new(Code::Ok, "hello").into_http()) })
        }
    }

    #[tokio::test]
    async fn a_path_leads_to_the_service_it_names_and_to_no_other() {
        let mut services = Services::default().and(Services::default().add(Hello, None));
        for (path, expected) in [
            ("/some.v1.Hello/Say", Code::Ok),
            ("/some.v1.Hello/Say/More", Code::Ok),
            ("/some.v1.Hello/", Code::Ok),
            ("/some.v1.Hello", Code::Unimplemented),
            ("/some.v1.Hell/Say", Code::Unimplemented),
            ("/SOME.v1.Hello/Say", Code::Unimplemented),
            ("//some.v1.Hello/Say", Code::Unimplemented),
            ("/", Code::Unimplemented),
        ] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let answer = services.call(request).await.unwrap();
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), expected, "{path}");
        }
    }
}
