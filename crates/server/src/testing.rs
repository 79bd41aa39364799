//! A server for test suites: every bearer token, whatever it is, has a store in memory of its own, made when it is first
//! used. Suites that run side by side do not see each other, and none has to clean up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use stonetown_api::{ApiSettings, GatewayLayer, Health, Services};
use stonetown_authorizer::validation::ValidationFile;
use stonetown_authorizer::{Authorizer, Call, Caller, Options};
use stonetown_storage::MemoryDatastore;
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Service, ServiceBuilder};

use crate::auth::is_open;
use crate::bootstrap;
use crate::config::{ListenAddr, TestingConfig};
use crate::housekeeping;
use crate::listen::{Connections, accept};
use crate::peer::Proxies;
use crate::run::{ServeError, listen};

/// Time that running calls have at the end: nothing is lost that anybody keeps.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// A test server that is taking calls.
pub struct RunningTesting {
    /// The addresses, each with what it is for.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a test server; it takes calls when this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_testing(config: TestingConfig) -> Result<RunningTesting, ServeError> {
    let begin_with = bootstrap::read(&config.load_configs)?;
    let stores = Arc::new(Stores {
        places: Mutex::default(),
        stores_max: config.max_stores as usize,
        options: Options { limits: config.limits.of_authorizer(), ..Options::default() },
        settings: ApiSettings::default(),
        begin_with,
    });
    // Files that the server would refuse for every token are refused now.
    stores.check().await?;

    let internal = |error: &dyn std::fmt::Display| ServeError::Internal(error.to_string());
    let (health, health_service) = Health::new().await;
    health.set_serving(true).await;
    let reflection = stonetown_api::reflection().map_err(|error| internal(&error))?;
    let open = health_service.and(reflection);
    let gateway = GatewayLayer::new(&stores.settings, None).map_err(|error| internal(&error))?;
    let connections = Connections { tls: None, proxies: Proxies::default(), age_max: None, grace_period: GRACE_PERIOD };

    let (stop, stopped) = watch::channel(false);
    let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
    // What it is for, its flag, where, whether it is asked for, whether it is read only.
    let ports: [(&'static str, &'static str, ListenAddr, bool, bool); 4] = [
        ("grpc", "--grpc-addr", config.grpc_addr, true, false),
        ("read-only grpc", "--readonly-grpc-addr", config.readonly_grpc_addr, true, true),
        ("http", "--http-addr", config.http_addr, config.http_enabled, false),
        ("read-only http", "--readonly-http-addr", config.readonly_http_addr, config.readonly_http_enabled, true),
    ];
    for (name, flag, address, _, read_only) in ports.into_iter().filter(|(_, _, _, enabled, _)| *enabled) {
        let listener = listen(address.0, flag).await?;
        addresses.push((name, listener.local_addr().unwrap_or(address.0)));
        let per_token = PerToken { stores: Arc::clone(&stores), open: open.clone(), read_only };
        let service = ServiceBuilder::new().layer(gateway.clone()).layer(GrpcWebLayer::new()).service(per_token);
        tasks.push(tokio::spawn(accept(listener, service, connections.clone(), stopped.clone())));
    }
    Ok(RunningTesting { addresses, stop, tasks })
}

impl RunningTesting {
    /// Stops, and forgets everything.
    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// The stores of all tokens.
struct Stores {
    places: Mutex<HashMap<String, Place>>,
    stores_max: usize,
    options: Options,
    settings: ApiSettings,
    begin_with: Option<ValidationFile>,
}

/// Where a token's store is, or is being made.
#[derive(Default)]
struct Place {
    store: Arc<OnceCell<Store>>,
    used: Option<std::time::Instant>,
}

/// One token's store, behind its two doors.
struct Store {
    read_write: Services,
    read_only: Services,
}

impl Stores {
    /// The services on a token's store.
    async fn services(&self, token: String, read_only: bool) -> Result<Services, ServeError> {
        let store = self.place(token).await;
        let store = store.get_or_try_init(|| self.make()).await?;
        Ok(if read_only { store.read_only.clone() } else { store.read_write.clone() })
    }

    /// A token's place. Where there is none left, that of the token that was longest unused is taken; calls that are running
    /// there end as they would.
    async fn place(&self, token: String) -> Arc<OnceCell<Store>> {
        let mut places = self.places.lock().await;
        if places.len() >= self.stores_max && !places.contains_key(&token) {
            let idle = places.iter().min_by_key(|(_, place)| place.used).map(|(token, _)| token.clone());
            if let Some(idle) = idle {
                tracing::info!(
                    stores = self.stores_max,
                    "the store that was longest unused is forgotten for a new token"
                );
                places.remove(&idle);
            }
        }
        let place = places.entry(token).or_default();
        place.used = Some(std::time::Instant::now());
        Arc::clone(&place.store)
    }

    /// Makes a store as each begins.
    async fn make(&self) -> Result<Store, ServeError> {
        let (options, begin_with) = (self.options.clone(), self.begin_with.clone());
        let made = tokio::task::spawn_blocking(move || doors(&options, begin_with.as_ref())).await;
        let (read_write, read_only) = made.map_err(|error| ServeError::Internal(error.to_string()))??;
        let read_write = Arc::new(read_write);
        tokio::spawn(housekeeping::keep_up(Arc::downgrade(&read_write)));
        let services = |authorizer| stonetown_api::services(authorizer, &self.settings);
        Ok(Store { read_write: services(read_write), read_only: services(Arc::new(read_only)) })
    }

    async fn check(&self) -> Result<(), ServeError> {
        self.make().await.map(|_| ())
    }
}

/// The two doors of a new store: read and write, and read only.
fn doors(options: &Options, begin_with: Option<&ValidationFile>) -> Result<(Authorizer, Authorizer), ServeError> {
    let read_write = Authorizer::open(Arc::new(MemoryDatastore::new()), options.clone())?;
    if let Some(file) = begin_with {
        let loaded = file.load_into(&read_write, &Call::new("bootstrap"));
        loaded.map_err(|error| ServeError::Bootstrap {
            files: "--load-configs".to_owned(),
            source: Box::new(error.into()),
        })?;
    }
    let read_only = read_write.read_only_door("this port is read only");
    Ok((read_write, read_only))
}

/// Leads each call to the store of its token. Health and reflection are the same for all.
#[derive(Clone)]
struct PerToken {
    stores: Arc<Stores>,
    open: Services,
    read_only: bool,
}

impl Service<Request<Body>> for PerToken {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if is_open(request.uri().path()) {
            let mut open = self.open.clone();
            return Box::pin(async move { open.call(request).await });
        }
        let (stores, read_only) = (Arc::clone(&self.stores), self.read_only);
        let token = token(request.headers());
        request.extensions_mut().insert(Caller::named("test"));
        Box::pin(async move {
            match stores.services(token, read_only).await {
                Ok(mut services) => services.call(request).await,
                Err(error) => Ok(Status::internal(error.to_string()).into_http()),
            }
        })
    }
}

/// The bearer token; without one, the empty one, whose store is like any other.
fn token(headers: &HeaderMap) -> String {
    let value = headers.get(http::header::AUTHORIZATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.unwrap_or_default();
    let bearer = value.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "));
    bearer.map(|(_, token)| token.trim().to_owned()).unwrap_or_default()
}
