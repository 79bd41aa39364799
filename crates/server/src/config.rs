//! All settings of a server. This struct is their one source: flags, environment names and help texts derive from it.

mod audit;
mod grants;
mod http;
mod identity;
pub mod layers;
mod limits;
mod period;
mod reference;
pub mod spicedb;
mod telemetry;
mod testing;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use stonetown_authorizer::materialize::Watched;

use crate::tls::TlsFiles;

pub use self::http::HttpConfig;
pub use audit::AuditConfig;
pub use grants::{GrantsConfig, WebhookUrl};
pub use identity::{AcceptedIssuer, IdentityConfig, IssuerKeys};
pub use limits::RequestLimits;
pub use period::Period;
pub use reference::reference;
pub use telemetry::{LogFormat, LoggedCalls, Telemetry};
pub use testing::TestingConfig;

/// Settings of `stonetown serve`. Each can be given as a flag or as the environment variable beside it.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Configuration file (YAML): settings by the names of their flags. Flags and the environment go before it.
    #[arg(long = "config", env = "STONETOWN_CONFIG", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Address for gRPC, gRPC-web, HTTP/JSON and health, on one port.
    #[arg(long, env = "STONETOWN_GRPC_ADDR", default_value = "127.0.0.1:50051", value_name = "ADDR")]
    pub grpc_addr: ListenAddr,

    /// Key that callers send as `authorization: Bearer KEY`. Repeat the flag, or separate keys by commas, for several. Without any,
    /// the first start makes the principal `root` and shows its credential once.
    #[arg(
        long,
        env = "STONETOWN_GRPC_PRESHARED_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub grpc_preshared_key: Vec<Secret>,

    /// Who may call, and what with.
    #[command(flatten)]
    pub identity: IdentityConfig,

    /// Who is told of grants.
    #[command(flatten)]
    pub grants: GrantsConfig,

    /// Certificate chain (PEM) for TLS; needs the key, too. Without both, the port speaks plain text.
    #[arg(long, env = "STONETOWN_GRPC_TLS_CERT_PATH", value_name = "FILE")]
    pub grpc_tls_cert_path: Option<PathBuf>,

    /// Private key (PEM) of the certificate.
    #[arg(long, env = "STONETOWN_GRPC_TLS_KEY_PATH", value_name = "FILE")]
    pub grpc_tls_key_path: Option<PathBuf>,

    /// Authorities (PEM) that the certificates of clients must come from (mutual TLS), on the port of HTTP/JSON, too. Without it
    /// clients need none.
    #[arg(long, env = "STONETOWN_GRPC_TLS_CLIENT_CA_PATH", value_name = "FILE")]
    pub grpc_tls_client_ca_path: Option<PathBuf>,

    /// Time between two looks at the files of TLS: changed ones are taken without a restart.
    #[arg(long, env = "STONETOWN_TLS_RELOAD_INTERVAL", default_value = "10s", value_name = "TIME")]
    pub tls_reload_interval: Period,

    /// Longest time that a call or a lookup may take, whatever its caller allows; 0 for no bound. Other streams are bounded by
    /// what they send.
    #[arg(long, env = "STONETOWN_MAX_REQUEST_DURATION", default_value = "60s", value_name = "TIME")]
    pub max_request_duration: Period,

    /// Networks of proxies that are believed when `X-Forwarded-For` says where a call came from, as in `10.0.0.0/8`. Without one
    /// the address of the connection counts. Repeat the flag, or separate networks by commas, for several.
    #[arg(long, env = "STONETOWN_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// Age after which a connection is asked to reconnect; 0 for never.
    #[arg(long, env = "STONETOWN_GRPC_MAX_CONN_AGE", default_value = "0", value_name = "TIME")]
    pub grpc_max_conn_age: Period,

    /// Time that running calls have to end at shutdown.
    #[arg(long, env = "STONETOWN_GRPC_SHUTDOWN_GRACE_PERIOD", default_value = "5s", value_name = "TIME")]
    pub grpc_shutdown_grace_period: Period,

    /// Largest request message, in bytes.
    #[arg(long, env = "STONETOWN_GRPC_MAX_RECV_MSG_SIZE", default_value_t = 4 << 20, value_name = "BYTES")]
    pub grpc_max_recv_msg_size: usize,

    /// Whether gRPC reflection is left out.
    #[arg(long, env = "STONETOWN_DISABLE_REFLECTION")]
    pub disable_reflection: bool,

    /// Whether the version is not told to clients that ask for it.
    #[arg(long, env = "STONETOWN_DISABLE_VERSION_RESPONSE")]
    pub disable_version_response: bool,

    /// HTTP/JSON.
    #[command(flatten)]
    pub http: HttpConfig,

    /// Address for Prometheus metrics at `/metrics`; `off` for none. Unprotected: keep it on loopback or a private network.
    #[arg(long, env = "STONETOWN_METRICS_ADDR", default_value = "127.0.0.1:9090", value_name = "ADDR")]
    pub metrics_addr: OptionalAddr,

    /// Whether metrics are served at all; SpiceDB's way of saying `--metrics-addr off`.
    #[arg(
        long,
        env = "STONETOWN_METRICS_ENABLED",
        default_value = "true",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        hide = true
    )]
    pub metrics_enabled: bool,

    /// Where data is kept.
    #[arg(long, env = "STONETOWN_DATASTORE_ENGINE", value_parser = engine(), default_value = "rocksdb", value_name = "ENGINE")]
    pub datastore_engine: Engine,

    /// Directory of the embedded store; made if it is not there.
    #[arg(long, env = "STONETOWN_DATA_DIR", default_value = "data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Directory of the keys that sign the audit logs and cursors; made if it is not there. It lies apart from the data: by default
    /// beside it, with `.keys` after its name.
    #[arg(long, env = "STONETOWN_KEY_DIR", value_name = "DIR")]
    pub key_dir: Option<PathBuf>,

    /// The instance that the data must be of, 16 hexadecimal digits as the log tells them at each start: a directory of another,
    /// such as a volume mounted in the wrong place, is refused and left alone.
    #[arg(long, env = "STONETOWN_EXPECT_INSTANCE", value_parser = instance, value_name = "HEX")]
    pub expect_instance: Option<String>,

    /// Directory for checkpoints (`stonetown backup checkpoint`); `checkpoints` in the data directory by default. On the same
    /// file system they cost little, elsewhere they are copied.
    #[arg(long, env = "STONETOWN_CHECKPOINT_DIR", value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,

    /// Whether writes are refused, with `SERVICE_READ_ONLY`, and garbage is left where it is. The directory is taken all the same:
    /// no other server can have it at the same time.
    #[arg(long, env = "STONETOWN_DATASTORE_READONLY")]
    pub datastore_readonly: bool,

    /// Space on the disk that writes leave free, in MiB: with less they are refused, until there is more again. It is what
    /// compaction and garbage collection need to make room.
    #[arg(long, env = "STONETOWN_DATASTORE_MIN_FREE_MIB", default_value_t = 256, value_name = "MIB")]
    pub datastore_min_free_mib: u64,

    /// Age up to which snapshots stay readable.
    #[arg(long, env = "STONETOWN_DATASTORE_GC_WINDOW", default_value = "24h", value_name = "TIME")]
    pub datastore_gc_window: Period,

    /// Time between two runs of garbage collection.
    #[arg(long, env = "STONETOWN_DATASTORE_GC_INTERVAL", default_value = "3m", value_name = "TIME")]
    pub datastore_gc_interval: Period,

    /// Age up to which the transaction log is kept.
    #[arg(long, env = "STONETOWN_LOG_WINDOW", default_value = "168h", value_name = "TIME")]
    pub log_window: Period,

    /// Memory for the block cache of the embedded store, in MiB.
    #[arg(long, env = "STONETOWN_BLOCK_CACHE_MIB", default_value_t = 256, value_name = "MIB")]
    pub block_cache_mib: u64,

    /// Memory for the resident index of relationships, in MiB; what does not fit is read from the store.
    #[arg(long, env = "STONETOWN_INDEX_MIB", default_value_t = 2048, value_name = "MIB")]
    pub index_mib: u64,

    /// Memory the process should stay under, in MiB: near it heavy calls are refused first, then all. 0 for three quarters of
    /// the machine's.
    #[arg(long, env = "STONETOWN_MEMORY_LIMIT_MIB", default_value_t = 0, value_name = "MIB")]
    pub memory_limit_mib: u64,

    /// Time after which an expired relationship is removed from storage; nothing is removed in the first such time after a
    /// start, so that a wrong clock can be seen before it does harm.
    #[arg(long, env = "STONETOWN_EXPIRED_RETENTION", default_value = "1h", value_name = "TIME")]
    pub expired_retention: Period,

    /// Whether this start goes by the machine's clock, and the newest commit, though later times have been told: once, when a
    /// clock that was ahead has been set right. What has ended by the clock that was ahead may live again.
    #[arg(long, env = "STONETOWN_FORGET_TIME")]
    pub forget_time: bool,

    /// Whether nothing can be watched.
    #[arg(long, env = "STONETOWN_DATASTORE_DISABLE_WATCH_SUPPORT")]
    pub datastore_disable_watch_support: bool,

    /// Time between two checkpoints of a watch on which nothing else happens.
    #[arg(long, env = "STONETOWN_WATCH_API_HEARTBEAT", default_value = "1s", value_name = "TIME")]
    pub watch_api_heartbeat: Period,

    /// Time after which a watch that is not read is disconnected.
    #[arg(long, env = "STONETOWN_WATCH_READER_TIMEOUT", default_value = "30s", value_name = "TIME")]
    pub watch_reader_timeout: Period,

    /// Most watches at the same time.
    #[arg(long, env = "STONETOWN_MAX_WATCHERS", default_value_t = 1000, value_name = "N")]
    pub max_watchers: u32,

    /// Most watches of one caller at the same time.
    #[arg(long, env = "STONETOWN_MAX_WATCHERS_PER_CALLER", default_value_t = 100, value_name = "N")]
    pub max_watchers_per_caller: u32,

    /// Validation files whose schemas and relationships are loaded at the start, all as one, if the store has no schema.
    /// Repeat the flag, or separate files by commas, for several.
    #[arg(
        long,
        alias = "bootstrap",
        env = "STONETOWN_DATASTORE_BOOTSTRAP_FILES",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub datastore_bootstrap_files: Vec<PathBuf>,

    /// Whether the bootstrap files replace the schema of a store that has one, and touch their relationships there.
    #[arg(long, env = "STONETOWN_DATASTORE_BOOTSTRAP_OVERWRITE")]
    pub datastore_bootstrap_overwrite: bool,

    /// What an `at_least_as_fresh` token of another instance leads to.
    #[arg(long, env = "STONETOWN_MISMATCH_ZED_TOKEN_BEHAVIOR", value_enum, default_value_t = ForeignToken::FullConsistency)]
    pub mismatch_zed_token_behavior: ForeignToken,

    /// Permission whose members are kept as sets for clients to join, as `document#view@user` or, for usersets,
    /// `document#view@group#member`. Repeat the flag, or separate permissions by commas, for several.
    #[arg(long, env = "STONETOWN_MATERIALIZE_PERMISSION", value_name = "PERMISSION", value_delimiter = ',')]
    pub materialize_permission: Vec<Watched>,

    /// Where clients reach this server for the files of DownloadPermissionSets, such as `https://authz.example.com:50051`.
    /// Not set: the address of HTTP/JSON if it has one of its own, else that of gRPC.
    #[arg(long, env = "STONETOWN_MATERIALIZE_DOWNLOAD_URL", value_name = "URL")]
    pub materialize_download_url: Option<String>,

    /// Time for which the URL of such a file is good.
    #[arg(long, env = "STONETOWN_MATERIALIZE_DOWNLOAD_TTL", default_value = "15m", value_name = "TIME")]
    pub materialize_download_ttl: Period,

    /// Most streams of changes of such permissions at the same time.
    #[arg(long, env = "STONETOWN_MAX_MATERIALIZE_STREAMS", default_value_t = 100, value_name = "N")]
    pub max_materialize_streams: u32,

    /// Most streams of changes of such permissions of one caller at the same time.
    #[arg(long, env = "STONETOWN_MAX_MATERIALIZE_STREAMS_PER_CALLER", default_value_t = 50, value_name = "N")]
    pub max_materialize_streams_per_caller: u32,

    /// Memory that all who follow such permissions hold together, in MiB: mostly the relationships that will begin or end. A
    /// stream that needs more is ended.
    #[arg(long, env = "STONETOWN_MATERIALIZE_MIB", default_value_t = 256, value_name = "MIB")]
    pub materialize_mib: u64,

    /// Whether definition names without a prefix are refused.
    #[arg(long, env = "STONETOWN_SCHEMA_PREFIXES_REQUIRED")]
    pub schema_prefixes_required: bool,

    /// Whether and how decisions and changes are recorded.
    #[command(flatten)]
    pub audit: AuditConfig,

    /// How much one request may hold or ask for.
    #[command(flatten)]
    pub limits: RequestLimits,

    /// Most calls of one caller at the same time.
    #[arg(long, env = "STONETOWN_MAX_CALLS_PER_CALLER", default_value_t = 10_000, value_name = "N")]
    pub max_calls_per_caller: u32,

    /// Most lookups, reads, expansions, exports, imports and bulk checks of one caller at the same time.
    #[arg(long, env = "STONETOWN_MAX_HEAVY_CALLS_PER_CALLER", default_value_t = 64, value_name = "N")]
    pub max_heavy_calls_per_caller: u32,

    /// Time after which a stream on which nothing moved is ended.
    #[arg(long, env = "STONETOWN_STREAMING_API_RESPONSE_DELAY_TIMEOUT", default_value = "30s", value_name = "TIME")]
    pub streaming_api_response_delay_timeout: Period,

    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: Telemetry,
}

/// Which implementation of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Durable, in the data directory.
    Rocksdb,
    /// In memory, gone with the process: for trying things out and for tests.
    Memory,
}

/// What to do with a token of another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ForeignToken {
    /// Answer at the newest revision, which is never older. The quickest revision is the newest here, too.
    #[value(alias = "min-latency")]
    FullConsistency,
    /// Refuse the call.
    Error,
}

/// A preshared key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// `host:port`, or `:port` for all interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(pub SocketAddr);

/// An address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalAddr(pub Option<SocketAddr>);

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.trim();
        if key.is_empty() { Err("a preshared key is empty".to_owned()) } else { Ok(Secret(key.to_owned())) }
    }
}

impl std::str::FromStr for ListenAddr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let whole =
            if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.replace("localhost", "127.0.0.1") };
        whole.parse().map(ListenAddr).map_err(|_| format!("`{text}` is not an address: expected HOST:PORT or :PORT"))
    }
}

impl std::str::FromStr for OptionalAddr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" || text.is_empty() {
            return Ok(OptionalAddr(None));
        }
        text.parse::<ListenAddr>().map(|addr| OptionalAddr(Some(addr.0)))
    }
}

impl Config {
    /// Tests what no single setting can be tested for.
    ///
    /// # Errors
    /// What is wrong, with the names of the settings.
    pub fn check(&self) -> Result<(), String> {
        let given = [&self.grpc_tls_cert_path, &self.grpc_tls_key_path].map(Option::is_some);
        if given[0] != given[1] {
            return Err("`grpc-tls-cert-path` and `grpc-tls-key-path` go together: one of them is not set".to_owned());
        }
        if self.grpc_tls_client_ca_path.is_some() && !given[0] {
            return Err("`grpc-tls-client-ca-path` needs `grpc-tls-cert-path` and `grpc-tls-key-path`".to_owned());
        }
        if self.http.http_tls_cert_path.is_some() != self.http.http_tls_key_path.is_some() {
            return Err("`http-tls-cert-path` and `http-tls-key-path` go together: one of them is not set".to_owned());
        }
        if self.grpc_tls_client_ca_path.is_some() && self.http.http_enabled && self.http.http_tls_cert_path.is_none() {
            return Err("`grpc-tls-client-ca-path` lets in clients with a certificate only, but `http-enabled` opens a port to all: \
                        give it TLS, too, by `http-tls-cert-path` and `http-tls-key-path`"
                .to_owned());
        }
        self.identity.check()?;
        self.grants.check(self.datastore_readonly)?;
        if self.datastore_readonly && self.datastore_engine == Engine::Memory {
            return Err(
                "`datastore-readonly` is of no use with `datastore-engine` memory, which begins empty".to_owned()
            );
        }
        Ok(())
    }

    /// The files of TLS, where it is spoken.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.grpc_tls_cert_path.clone()?,
            key: self.grpc_tls_key_path.clone()?,
            client_ca: self.grpc_tls_client_ca_path.clone(),
        })
    }

    /// The files of TLS on the port of HTTP/JSON, where that has it. The same clients come in as over gRPC.
    pub(crate) fn http_tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.http.http_tls_cert_path.clone()?,
            key: self.http.http_tls_key_path.clone()?,
            client_ca: self.grpc_tls_client_ca_path.clone(),
        })
    }

    pub(crate) fn authorizer_options(&self) -> stonetown_authorizer::Options {
        let limits = stonetown_authorizer::Limits {
            calls_per_caller_max: self.max_calls_per_caller,
            heavy_calls_per_caller_max: self.max_heavy_calls_per_caller,
            watchers_max: self.max_watchers,
            watchers_per_caller_max: self.max_watchers_per_caller,
            memory_bytes_max: self.memory_limit_bytes(),
            sets_streams_max: self.max_materialize_streams,
            sets_streams_per_caller_max: self.max_materialize_streams_per_caller,
            sets_bytes_max: self.materialize_mib << 20,
            ..self.limits.of_authorizer()
        };
        stonetown_authorizer::Options {
            limits,
            index: stonetown_authorizer::IndexOptions {
                bytes_max: usize::try_from(self.index_mib << 20).unwrap_or(usize::MAX),
                ..Default::default()
            },
            schema_prefixes_required: self.schema_prefixes_required,
            materialize: self.materialize_permission.clone().into(),
            watch_disabled: self.datastore_disable_watch_support,
            foreign_tokens_refused: self.mismatch_zed_token_behavior == ForeignToken::Error,
            checkpoints: self.checkpoints(),
            strict_needs_log: true,
            time_forgotten: self.forget_time,
            wall_clock: None,
        }
    }

    fn checkpoints(&self) -> Option<PathBuf> {
        match self.datastore_engine {
            Engine::Memory => None,
            Engine::Rocksdb => Some(self.checkpoint_dir.clone().unwrap_or_else(|| self.data_dir.join("checkpoints"))),
        }
    }

    /// The memory limit, in bytes; 0 when the machine does not tell how much it has.
    pub(crate) fn memory_limit_bytes(&self) -> u64 {
        match self.memory_limit_mib {
            0 => crate::housekeeping::machine_memory_bytes() / 4 * 3,
            mib => mib << 20,
        }
    }
}

/// Reads the id of an instance.
fn instance(text: &str) -> Result<String, String> {
    if text.len() == 16 && text.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("expected 16 hexadecimal digits".to_owned())
}

/// Reads an engine. SpiceDB's are known by name, to be refused with a reason.
fn engine() -> impl TypedValueParser<Value = Engine> {
    let ours = ["rocksdb", "memory"].map(PossibleValue::new);
    let theirs = ["postgres", "cockroachdb", "mysql", "spanner"].map(|name| PossibleValue::new(name).hide(true));
    PossibleValuesParser::new(ours.into_iter().chain(theirs)).try_map(|name| match name.as_str() {
        "rocksdb" => Ok(Engine::Rocksdb),
        "memory" => Ok(Engine::Memory),
        name => Err(format!(
            "`{name}` is a datastore of SpiceDB: this server keeps its data itself, in `--data-dir`. Leave the flag out, and bring \
             the data over with a backup (docs/moving-from-spicedb.md)"
        )),
    })
}
