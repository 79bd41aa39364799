//! Starting and stopping: the store is opened, the front door put before it, the ports opened last and closed first.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stonetown_api::{ApiSettings, Health};
use stonetown_authorizer::validation::{ValidationError, ValidationFile};
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_storage::{Datastore, MemoryDatastore, StorageError};
use stonetown_storage_rocksdb::RocksDatastore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use crate::auth::{AuthLayer, Keys};
use crate::config::{Config, Engine};
use crate::listen::{Connections, accept};
use crate::metrics::{self, Metrics};
use crate::observe::ObserveLayer;
use crate::{housekeeping, tls};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data cannot be opened.
    #[error("the datastore cannot be opened: {0}")]
    Storage(#[from] StorageError),
    /// A port cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("TLS: `{}`: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The bootstrap file cannot be loaded.
    #[error("bootstrap file `{}`: {source}", path.display())]
    Bootstrap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ValidationError>,
    },
    /// A thread that opens the store ended early.
    #[error("starting failed: {0}")]
    Internal(String),
}

/// A server that is taking calls.
pub struct Running {
    /// The address of gRPC.
    pub grpc_addr: SocketAddr,
    /// The address of the metrics, where they are served.
    pub metrics_addr: Option<SocketAddr>,
    health: Health,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a server; it takes calls when this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(config: Config) -> Result<Running, ServeError> {
    let tls = match (&config.grpc_tls_cert_path, &config.grpc_tls_key_path) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    let grpc = listen(config.grpc_addr.0).await?;
    let metrics_listener = match config.metrics_addr.0 {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || open(&opening)).await;
    let authorizer = opened.map_err(|error| ServeError::Internal(error.to_string()))??;

    let (stop, stopped) = watch::channel(false);
    let metrics = Metrics::new(Arc::clone(&authorizer));
    let (health, routes) = routes(&authorizer, &config).await?;
    let service = ServiceBuilder::new()
        .layer(ObserveLayer(metrics.clone()))
        .layer(AuthLayer(Keys::new(config.grpc_preshared_key.clone())))
        .layer(GrpcWebLayer::new())
        .service(routes);
    let connections = Connections {
        tls,
        age_max: (config.grpc_max_conn_age_s > 0).then(|| Duration::from_secs(config.grpc_max_conn_age_s)),
        grace_period: config.shutdown_grace_period(),
    };

    let addr = |listener: &TcpListener| listener.local_addr().unwrap_or(config.grpc_addr.0);
    let (grpc_addr, metrics_addr) = (addr(&grpc), metrics_listener.as_ref().map(addr));
    let mut tasks = vec![
        tokio::spawn(accept(grpc, service, connections, stopped.clone())),
        tokio::spawn(housekeeping::watch_memory(Arc::clone(&authorizer), stopped.clone())),
        tokio::spawn(housekeeping::collect_garbage(authorizer, config, stopped.clone())),
    ];
    if let Some(listener) = metrics_listener {
        tasks.push(tokio::spawn(metrics::serve(listener, metrics, stopped)));
    }
    health.set_serving(true).await;
    Ok(Running { grpc_addr, metrics_addr, health, stop, tasks })
}

/// Everything that is served on the gRPC port, and the handle to its health.
async fn routes(authorizer: &Arc<Authorizer>, config: &Config) -> Result<(Health, Routes), ServeError> {
    let mut settings = ApiSettings {
        stream_idle_max: Duration::from_secs(config.streaming_api_response_delay_timeout_s.max(1)),
        ..ApiSettings::default()
    };
    if config.disable_version_response {
        settings.version = None;
    }
    let (health, health_routes) = Health::new().await;
    let mut router = stonetown_api::services(Arc::clone(authorizer), &settings)
        .into_axum_router()
        .merge(health_routes.into_axum_router().reset_fallback());
    if !config.disable_reflection {
        let reflection = stonetown_api::reflection().map_err(|error| ServeError::Internal(error.to_string()))?;
        router = router.merge(reflection.into_axum_router().reset_fallback());
    }
    Ok((health, Routes::from(router).prepare()))
}

impl Running {
    /// Takes no more connections, lets running calls end within the grace period, then stops.
    pub async fn shutdown(self) {
        self.health.set_serving(false).await;
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

fn open(config: &Config) -> Result<Arc<Authorizer>, ServeError> {
    let datastore: Arc<dyn Datastore> = match config.datastore_engine {
        Engine::Memory => Arc::new(MemoryDatastore::new()),
        Engine::Rocksdb => {
            let options = stonetown_storage_rocksdb::Options {
                block_cache_bytes_max: usize::try_from(config.block_cache_mib << 20).unwrap_or(usize::MAX),
                ..Default::default()
            };
            Arc::new(RocksDatastore::open(&config.data_dir, options)?)
        }
    };
    let authorizer = Authorizer::open(datastore, config.authorizer_options())?;
    if let Some(path) = &config.bootstrap {
        bootstrap(&authorizer, path)
            .map_err(|source| ServeError::Bootstrap { path: path.clone(), source: Box::new(source) })?;
    }
    Ok(Arc::new(authorizer))
}

/// Loads a validation file into a store without a schema; leaves any other store alone.
fn bootstrap(authorizer: &Authorizer, path: &std::path::Path) -> Result<(), ValidationError> {
    let call = Call::new("bootstrap");
    match authorizer.read_schema(&call) {
        Err(Error::NoSchema) => {}
        Ok(_) => {
            tracing::info!("the store has a schema: the bootstrap file is left alone");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let unreadable = |error: std::io::Error| ValidationError::Form(error.to_string());
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(path);
    let file = ValidationFile::parse(&text, &|name| {
        std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
    })?;
    file.load_into(authorizer, &call)?;
    tracing::info!(relationships = file.relationships.len(), "bootstrap file loaded");
    Ok(())
}
