//! Starting and stopping: the store is opened, the front door put before it, the ports opened last and closed first.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stonetown_api::{ApiSettings, CursorKey, DownloadLayer, Downloads, GatewayLayer, Health, Services};
use stonetown_audit::Recorder;
use stonetown_authorizer::validation::ValidationError;
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_grants::{Desk, Limits as GrantLimits};
use stonetown_identity::jwt::Issuer;
use stonetown_identity::{Identity, Issued, Start};
use stonetown_storage::{Datastore, MemoryDatastore, ReadOnly, StorageError};
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::StoreId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use crate::around::{Around, AroundLayer};
use crate::audit::{self, AuditError};
use crate::auth::{Auth, Authentication};
use crate::bootstrap;
use crate::config::{Config, Engine};
use crate::cors;
use crate::deadline::Bound;
use crate::drain::{Drain, Stage};
use crate::housekeeping::{self, Collections};
use crate::keys::{self, KeysError};
use crate::listen::{Connections, accept};
use crate::metrics::{self, Metrics, Sources};
use crate::observe::Observer;
use crate::oidc::{self, FetchError, Issuers};
use crate::peer::Proxies;
use crate::tls::{self, Tls, TlsFiles};
use crate::traces::Traces;
use crate::webhooks::{self, WebhookError, Webhooks};

/// The shortest time after which a stream may be ended for standing still.
const STREAM_IDLE_MIN: Duration = Duration::from_secs(1);
/// The shortest time between two checkpoints of a watch.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(String),
    /// The data cannot be opened.
    #[error("the datastore cannot be opened: {0}")]
    Storage(#[from] StorageError),
    /// The key of cursors cannot be had.
    #[error("the key of cursors: {0}")]
    Keys(#[from] KeysError),
    /// The logs of decisions and changes cannot be opened.
    #[error("audit: {0}")]
    Audit(#[from] AuditError),
    /// The data are of another instance.
    #[error(
        "the data are of instance {found}, and {expected} is expected (--expect-instance): is the right directory or volume \
         mounted?"
    )]
    Instance {
        /// The instance that the settings name.
        expected: String,
        /// The instance that the data are of.
        found: String,
    },
    /// A port cannot be used.
    #[error("cannot listen on {address} ({flag}): {}", describe(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that names it.
        flag: &'static str,
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
    /// The system store, which holds who may call, cannot be used.
    #[error("the system store cannot be used: {0}")]
    Identity(Error),
    /// The file with the keys of an issuer cannot be used.
    #[error("the keys of {issuer} (--oidc-keys): {source}")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        source: FetchError,
    },
    /// What is kept about grants cannot be read.
    #[error("grants cannot be opened: {0}")]
    Grants(stonetown_grants::Error),
    /// What becomes of grants cannot be told.
    #[error("webhooks (--grant-webhook): {0}")]
    Webhooks(#[from] WebhookError),
    /// Traces cannot be exported.
    #[error("traces cannot go to `{endpoint}` (--otel-endpoint): {why}")]
    Traces {
        /// The URL of the collector.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bootstrap files cannot be loaded.
    #[error("bootstrap from `{files}`: {source}")]
    Bootstrap {
        /// The file, or all where they are refused together.
        files: String,
        /// What is wrong.
        source: Box<ValidationError>,
    },
    /// Bootstrap files were loaded in part, and are not given again.
    #[error(
        "bootstrap files (--datastore-bootstrap-files) were being loaded into this store when its server ended: start with them \
         again, or with others"
    )]
    HalfLoaded,
    /// A thread that opens the store ended early.
    #[error("starting failed: {0}")]
    Internal(String),
}

/// A server that is taking calls.
pub struct Running {
    /// The address of gRPC.
    pub grpc_addr: SocketAddr,
    /// The address of HTTP/JSON, where it has one of its own.
    pub http_addr: Option<SocketAddr>,
    /// The address of the metrics, where they are served.
    pub metrics_addr: Option<SocketAddr>,
    /// The credential of the first principal, where this start made it; to be shown once.
    pub first_credential: Option<Issued>,
    health: Health,
    stage: watch::Sender<Stage>,
    stop: watch::Sender<bool>,
    grace_period: Duration,
    traces: Option<Traces>,
    tasks: Vec<JoinHandle<()>>,
    recorder: Option<Arc<Recorder>>,
    time: Option<Time>,
}

/// What writes down the time while calls are answered.
struct Time {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts a server; it takes calls when this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(config: Config) -> Result<Running, ServeError> {
    config.check().map_err(ServeError::Settings)?;
    let tls = open_tls(config.tls_files())?;
    let http_tls = open_tls(config.http_tls_files())?;
    let traces = Traces::open(&config.telemetry)?;
    let grpc = listen(config.grpc_addr.0, "--grpc-addr").await?;
    let http =
        if config.http.http_enabled { Some(listen(config.http.http_addr.0, "--http-addr").await?) } else { None };
    let metrics_listener = match config.metrics_addr.0.filter(|_| config.metrics_enabled) {
        Some(address) => Some(listen(address, "--metrics-addr").await?),
        None => None,
    };
    let issuers = Issuers::open(&config.identity)?;
    let (opening, trusted) = (config.clone(), issuers.trusted());
    let opened = tokio::task::spawn_blocking(move || open(&opening, trusted)).await;
    let Opened { authorizer, identity, desk, webhooks, cursor_key, first_credential } =
        opened.map_err(|error| ServeError::Internal(error.to_string()))??;

    let recorder = authorizer.recorder().cloned();
    let (stop, stopped) = watch::channel(false);
    let (stage, staged) = watch::channel(Stage::Serving);
    let collections = Arc::<Collections>::default();
    let metrics = Metrics::new(Sources {
        authorizer: Arc::clone(&authorizer),
        collections: Arc::clone(&collections),
        tls: [&tls, &http_tls].into_iter().flatten().cloned().collect(),
        traces: traces.clone(),
        desk: desk.clone(),
        issuers: issuers.clone(),
        webhooks: webhooks.clone(),
    });
    let own_addr = |listener: &TcpListener| listener.local_addr().unwrap_or(config.grpc_addr.0);
    let downloads = downloads(&config, own_addr(&grpc), http.as_ref().map(own_addr))?;
    let settings = ApiSettings {
        downloads: Some(downloads.clone()),
        identity: identity.clone(),
        cursor_key,
        grants: desk.clone(),
        ..api_settings(&config, stopped.clone())
    };
    let (health, services) = services(&authorizer, &config, &settings).await?;
    let gateway = GatewayLayer::new(&settings, Some(Arc::clone(&authorizer)));
    let gateway = gateway.map_err(|error| ServeError::Internal(error.to_string()))?;
    let around = Around {
        observer: Arc::new(Observer {
            metrics: metrics.clone(),
            traces: traces.clone(),
            logged: config.telemetry.log_calls,
        }),
        auth: Auth {
            authentication: Authentication::new(config.grpc_preshared_key.clone(), identity, issuers.clone()),
            recorder: recorder.clone(),
            metrics: metrics.clone(),
        },
        drain: Drain(staged),
        bound: Bound(config.max_request_duration.0),
    };
    let service = ServiceBuilder::new()
        .option_layer(cors::layer(&config.http))
        .layer(DownloadLayer::new(Arc::clone(&authorizer), downloads, settings.stream_idle_max))
        .layer(gateway)
        .layer(GrpcWebLayer::new())
        .layer(AroundLayer(Arc::new(around)))
        .service(services);
    let connections = Connections {
        tls: tls.clone(),
        proxies: Proxies::new(&config.trusted_proxies),
        age_max: Some(config.grpc_max_conn_age.0).filter(|age| !age.is_zero()),
        grace_period: config.grpc_shutdown_grace_period.0,
    };

    let (grpc_addr, http_addr) = (own_addr(&grpc), http.as_ref().map(own_addr));
    let metrics_addr = metrics_listener.as_ref().map(own_addr);
    let mut tasks = vec![
        tokio::spawn(accept(grpc, service.clone(), connections.clone(), stopped.clone())),
        tokio::spawn(housekeeping::watch_memory(Arc::clone(&authorizer), stopped.clone())),
        tokio::spawn(housekeeping::keep_sets(Arc::clone(&authorizer), stopped.clone())),
    ];
    if let Some(http) = http {
        let connections = Connections { tls: http_tls.clone(), ..connections };
        tasks.push(tokio::spawn(accept(http, service, connections, stopped.clone())));
    }
    for tls in [tls, http_tls].into_iter().flatten() {
        tasks.push(tokio::spawn(tls::watch(tls, config.tls_reload_interval.0, stopped.clone())));
    }
    for watched in issuers.watched() {
        tasks.push(tokio::spawn(oidc::keep(watched, config.identity.oidc_refresh_interval.0, stopped.clone())));
    }
    let mut time = None;
    if !config.datastore_readonly {
        let (stop, stopped_last) = watch::channel(false);
        let task = tokio::spawn(housekeeping::keep_time(Arc::clone(&authorizer), stopped_last));
        time = Some(Time { stop, task });
        let retention = config.expired_retention.0;
        tasks.push(tokio::spawn(housekeeping::pass_time(Arc::clone(&authorizer), retention, stopped.clone())));
        tasks.push(tokio::spawn(housekeeping::advance_counters(Arc::clone(&authorizer), stopped.clone())));
        tasks.extend(desk.map(|desk| tokio::spawn(housekeeping::end_grants(desk, stopped.clone()))));
        tasks.extend(webhooks.each().map(|webhook| tokio::spawn(webhooks::tell(webhook, stopped.clone()))));
        let config = config.clone();
        tasks.push(tokio::spawn(housekeeping::collect_garbage(authorizer, config, collections, stopped.clone())));
    }
    if let Some(listener) = metrics_listener {
        tasks.push(tokio::spawn(metrics::serve(listener, metrics, stopped)));
    }
    health.set_serving(true).await;
    let grace_period = config.grpc_shutdown_grace_period.0;
    Ok(Running {
        grpc_addr,
        http_addr,
        metrics_addr,
        first_credential,
        health,
        stage,
        stop,
        grace_period,
        traces,
        tasks,
        recorder,
        time,
    })
}

fn open_tls(files: Option<TlsFiles>) -> Result<Option<Arc<Tls>>, ServeError> {
    Ok(files.map(Tls::open).transpose()?.map(Arc::new))
}

fn api_settings(config: &Config, stopping: watch::Receiver<bool>) -> ApiSettings {
    let mut settings = ApiSettings {
        stream_idle_max: config.streaming_api_response_delay_timeout.0.max(STREAM_IDLE_MIN),
        request_bytes_max: config.grpc_max_recv_msg_size,
        watch_heartbeat: config.watch_api_heartbeat.0.max(HEARTBEAT_MIN),
        watch_reader_max: config.watch_reader_timeout.0.max(STREAM_IDLE_MIN),
        stopping: Some(stopping),
        ..ApiSettings::default()
    };
    if config.disable_version_response {
        settings.version = None;
    }
    settings
}

/// Everything that is served over gRPC, and the handle to its health.
async fn services(
    authorizer: &Arc<Authorizer>,
    config: &Config,
    settings: &ApiSettings,
) -> Result<(Health, Services), ServeError> {
    let (health, health_service) = Health::new().await;
    let mut services = stonetown_api::services(Arc::clone(authorizer), settings).and(health_service);
    if !config.disable_reflection {
        let reflection = stonetown_api::reflection().map_err(|error| ServeError::Internal(error.to_string()))?;
        services = services.and(reflection);
    }
    Ok((health, services))
}

/// The files of permission sets: at the address of HTTP/JSON if it has one of its own, else that of gRPC, unless the settings
/// name another.
fn downloads(config: &Config, grpc: SocketAddr, http: Option<SocketAddr>) -> Result<Downloads, ServeError> {
    let (address, cert) = match http {
        Some(address) => (address, &config.http.http_tls_cert_path),
        None => (grpc, &config.grpc_tls_cert_path),
    };
    let scheme = if cert.is_some() { "https" } else { "http" };
    let base = config.materialize_download_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let downloads = Downloads::new(&base, config.materialize_download_ttl.0);
    downloads.map_err(|error| ServeError::Internal(error.to_string()))
}

impl Running {
    /// Says that it no longer serves, refuses new calls, ends endless streams, lets running calls end within the grace period,
    /// cuts off the rest, writes what is to be recorded, then stops. Whoever is refused or cut off is told `UNAVAILABLE`.
    pub async fn shutdown(self) {
        self.health.set_serving(false).await;
        let _ = self.stage.send(Stage::Draining);
        let _ = self.stop.send(true);
        let ended = async {
            for task in self.tasks {
                let _ = task.await;
            }
        };
        let cut_off = async {
            tokio::time::sleep(self.grace_period).await;
            let _ = self.stage.send(Stage::Ending);
            std::future::pending().await
        };
        tokio::select! {
            () = ended => {}
            () = cut_off => {}
        }
        if let Some(Time { stop, task }) = self.time {
            let _ = stop.send(true);
            let _ = task.await;
        }
        if let Some(traces) = self.traces {
            let _ = tokio::task::spawn_blocking(move || traces.shutdown()).await;
        }
        if let Some(recorder) = self.recorder {
            let _ = tokio::task::spawn_blocking(move || recorder.close()).await;
        }
    }
}

pub(crate) async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, flag, source })
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        ErrorKind::PermissionDenied => "this user may not take the port: choose one above 1023".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses data of another instance than the one that is expected, before anything is written to it.
fn demand_instance(config: &Config, datastore: &dyn Datastore) -> Result<(), ServeError> {
    let found = datastore.instance().to_string();
    tracing::info!(instance = %found, head = datastore.head().0, "the datastore is open");
    match &config.expect_instance {
        Some(expected) if *expected != found => Err(ServeError::Instance { expected: expected.clone(), found }),
        _ => Ok(()),
    }
}

/// What is served.
struct Opened {
    authorizer: Arc<Authorizer>,
    identity: Option<Arc<Identity>>,
    cursor_key: CursorKey,
    desk: Option<Arc<Desk>>,
    webhooks: Webhooks,
    first_credential: Option<Issued>,
}

/// Opens the data, and the keys that lie apart from them.
fn open(config: &Config, trusted: Vec<Arc<Issuer>>) -> Result<Opened, ServeError> {
    let datastore: Arc<dyn Datastore> = match config.datastore_engine {
        Engine::Memory => Arc::new(MemoryDatastore::new()),
        Engine::Rocksdb => {
            let options = stonetown_storage_rocksdb::Options {
                block_cache_bytes_max: usize::try_from(config.block_cache_mib << 20).unwrap_or(usize::MAX),
                disk_free_bytes_min: config.datastore_min_free_mib << 20,
                ..Default::default()
            };
            Arc::new(RocksDatastore::open(&config.data_dir, options)?)
        }
    };
    demand_instance(config, &*datastore)?;
    let datastore = if config.datastore_readonly {
        Arc::new(ReadOnly::new(datastore, "it was started to be read only"))
    } else {
        datastore
    };
    // Only the process that holds the data makes keys for them.
    let cursor_key = keys::cursors(config)?;
    let recorder = audit::open(config, &datastore)?;
    if config.forget_time {
        tracing::warn!(
            "this start goes by the machine's clock and the newest commit, whatever was told before (--forget-time)"
        );
    }
    let mut authorizer = Authorizer::open(datastore, config.authorizer_options())?;
    match authorizer.keep_time() {
        Ok(()) | Err(Error::ReadOnly(_)) => {}
        Err(error) => tracing::error!(%error, "the time that is told cannot be written down yet"),
    }
    if let Some(recorder) = recorder {
        authorizer = authorizer.recording_to(recorder);
    }
    if config.forget_time {
        let call = Call { store: StoreId::SYSTEM, ..Call::new("command line") };
        let done = authorizer.record_call(&call, "forget_time", |never: &Infallible| match *never {}, || Ok(()));
        let Ok(()) = done;
    }
    bootstrap::load(&authorizer, &config.datastore_bootstrap_files, config.datastore_bootstrap_overwrite)?;
    let authorizer = Arc::new(authorizer);
    let start = Start {
        keys: config.grpc_preshared_key.len(),
        regain_control: config.identity.regain_control,
        ttl_max: config.identity.credential_ttl_max.0,
    };
    let (identity, first_credential) = match Identity::open(Arc::clone(&authorizer), start) {
        Ok((identity, issued)) => (Some(Arc::new(identity.with_issuers(trusted))), issued),
        // Data that no server has written principals to, and none can be written: whoever holds a key may do everything.
        Err(Error::ReadOnly(_)) if start.keys > 0 => (None, None),
        Err(error) => return Err(ServeError::Identity(error)),
    };
    let desk = match &identity {
        Some(identity) => {
            let desk = Desk::open(Arc::clone(identity.system()), GrantLimits::default());
            Some(Arc::new(desk.map_err(ServeError::Grants)?))
        }
        None => None,
    };
    let webhooks = match &desk {
        Some(desk) => Webhooks::open(&config.grants, config.log_window.0, &authorizer, desk)?,
        None => Webhooks::default(),
    };
    Ok(Opened { authorizer, identity, desk, webhooks, cursor_key, first_credential })
}
