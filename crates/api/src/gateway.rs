//! HTTP/JSON: the same calls for programs that speak no gRPC. A request is translated, message by message, into the gRPC
//! request that it stands for, put to the very service that answers gRPC, and the answer is translated back. So
//! authentication, limits, metrics and trailers apply once, and no call has a second implementation: a service is reachable
//! here as soon as its descriptors are compiled.
//!
//! Bodies are read as the service asks for them: nothing of a request is parsed before its caller is known, and a client
//! that does not read holds its stream back, one that leaves ends it.
//!
//! Reading order: this file, `routes`, `read`, `values`, `codec`, `answer`, `metadata`, `openapi`.

mod answer;
mod codec;
mod metadata;
mod openapi;
mod read;
mod routes;
mod values;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either};
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use prost_reflect::DescriptorError;
use stonetown_authorizer::Authorizer;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, Service, ServiceExt};

use crate::settings::ApiSettings;
use crate::trailers::{REQUEST_ID, request_id};
use answer::{Answers, json};
use codec::JsonCodec;
pub(crate) use codec::WRITE;
use routes::Route;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Puts HTTP/JSON before a service that speaks gRPC. What comes as gRPC or gRPC-web goes through untouched.
#[derive(Clone)]
pub struct GatewayLayer(Arc<Shared>);

/// A service that speaks gRPC, and HTTP/JSON beside it. See [`GatewayLayer`].
#[derive(Clone)]
pub struct Gateway<S> {
    shared: Arc<Shared>,
    inner: S,
}

struct Shared {
    routes: HashMap<String, Route>,
    answers: Answers,
    openapi: Bytes,
    json_bytes_max: usize,
    /// Who knows whether writes are taken.
    authorizer: Option<Arc<Authorizer>>,
}

impl GatewayLayer {
    /// The routes of all compiled services. `/readyz` says whether `authorizer` takes writes, where there is one for all calls.
    ///
    /// # Errors
    /// When the compiled descriptors cannot be read, which would be a broken build.
    pub fn new(settings: &ApiSettings, authorizer: Option<Arc<Authorizer>>) -> Result<GatewayLayer, DescriptorError> {
        let pool = routes::pool()?;
        let routes = routes::of(&pool);
        let openapi = openapi::document(&routes, settings.version.as_deref().unwrap_or("unknown"));
        Ok(GatewayLayer(Arc::new(Shared {
            openapi: openapi.to_string().into(),
            routes: routes.into_iter().map(|route| (route.path.clone(), route)).collect(),
            answers: Answers::new(pool),
            json_bytes_max: settings.json_bytes_max,
            authorizer,
        })))
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = Gateway<S>;
    fn layer(&self, inner: S) -> Gateway<S> {
        Gateway { shared: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Request<Body>> for Gateway<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_grpc(&request) {
            return Either::Left(self.inner.call(request));
        }
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        Either::Right(Box::pin(async move { Ok(shared.answer(request, inner).await) }))
    }
}

/// Whether a request is gRPC or gRPC-web.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl Shared {
    async fn answer<S>(&self, request: Request<Body>, inner: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let path = request.uri().path();
        let (route, allowed) = match (self.routes.get(path), path) {
            (Some(route), _) => (Some(route), Method::POST),
            (None, "/openapi.json" | "/healthz" | "/readyz") => (None, Method::GET),
            (None, _) => return self.answers.refusal(StatusCode::NOT_FOUND, "there is no such path"),
        };
        if *request.method() != allowed {
            let mut refusal = self.answers.refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {allowed}"));
            refusal
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(if route.is_some() { "POST" } else { "GET" }));
            return refusal;
        }
        match route {
            Some(route) => self.call(route, request, inner).await,
            None if path == "/openapi.json" => json(StatusCode::OK, self.openapi.clone()),
            None => {
                let readiness = path == "/readyz";
                self.health(request.uri().query().unwrap_or_default(), readiness, inner).await
            }
        }
    }

    /// Makes the call that a route leads to.
    async fn call<S>(&self, route: &Route, request: Request<Body>, inner: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        let (head, body) = request.into_parts();
        let id = request_id(&head.headers);
        let (input, many) = (route.method.input(), route.method.is_client_streaming());
        let mut body = Some(read::translated(body, input, many, self.json_bytes_max));
        let inner = inner.map_request(move |request: Request<Body>| request.map(|_| body.take().unwrap_or_default()));
        let mut client = tonic::client::Grpc::new(inner).max_decoding_message_size(usize::MAX);
        let Ok(()) = client.ready().await;
        let mut question = tonic::Request::new(stream::empty());
        *question.metadata_mut() = metadata::of_request(&head.headers, &id);
        // What the connection says of its client.
        *question.extensions_mut() = head.extensions;
        let answer = client.streaming(question, route.call.clone(), JsonCodec::new(route.method.output())).await;
        let mut response = if route.method.is_server_streaming() {
            self.answers.of_stream(answer).await
        } else {
            self.answers.of_one(answer).await
        };
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    /// What the health service says of the server, or of the service that the query names. A server that takes no writes is
    /// ready all the same, as it answers everything else; whoever asks for its readiness is told.
    async fn health<S>(&self, query: &str, readiness: bool, inner: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        let service = query.strip_prefix("service=").unwrap_or_default();
        let asked = HealthCheckRequest { service: service.to_owned() };
        match HealthClient::new(inner).check(asked).await {
            Ok(answer) => {
                let status = answer.into_inner().status();
                let code =
                    if status == ServingStatus::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let refuses_writes =
                    readiness && self.authorizer.as_ref().is_some_and(|asked| asked.refuses_writes().is_some());
                let writes = if refuses_writes { ",\"takesWrites\":false" } else { "" };
                json(code, format!("{{\"status\":\"{}\"{writes}}}", status.as_str_name()))
            }
            Err(status) => self.answers.of_status(&status),
        }
    }
}
