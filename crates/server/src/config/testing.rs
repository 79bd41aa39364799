//! Settings of the server for test suites.

use std::path::PathBuf;

use clap::Args;

use super::telemetry::level;
use super::{ListenAddr, RequestLimits};

/// Settings of `stonetown serve-testing`. Names and defaults are SpiceDB's, where it has them.
#[derive(Debug, Clone, Args)]
pub struct TestingConfig {
    /// Address for gRPC and HTTP/JSON, read and write.
    #[arg(long, env = "STONETOWN_GRPC_ADDR", default_value = ":50051", value_name = "ADDR")]
    pub grpc_addr: ListenAddr,

    /// Address for gRPC and HTTP/JSON on the same stores, read only.
    #[arg(long, env = "STONETOWN_READONLY_GRPC_ADDR", default_value = ":50052", value_name = "ADDR")]
    pub readonly_grpc_addr: ListenAddr,

    /// Whether HTTP/JSON has a port of its own, too.
    #[arg(long, env = "STONETOWN_HTTP_ENABLED")]
    pub http_enabled: bool,

    /// Address of that port, read and write.
    #[arg(long, env = "STONETOWN_HTTP_ADDR", default_value = ":8443", value_name = "ADDR")]
    pub http_addr: ListenAddr,

    /// Whether HTTP/JSON has a read-only port of its own, too.
    #[arg(long, env = "STONETOWN_READONLY_HTTP_ENABLED")]
    pub readonly_http_enabled: bool,

    /// Address of that port, read only.
    #[arg(long, env = "STONETOWN_READONLY_HTTP_ADDR", default_value = ":8444", value_name = "ADDR")]
    pub readonly_http_addr: ListenAddr,

    /// Validation files whose schemas and relationships each new store begins with, all as one. Repeat the flag, or separate
    /// files by commas, for several.
    #[arg(long, env = "STONETOWN_LOAD_CONFIGS", value_name = "FILE", value_delimiter = ',')]
    pub load_configs: Vec<PathBuf>,

    /// Most stores at a time: a token more, and the store that was longest unused is forgotten.
    #[arg(long, env = "STONETOWN_MAX_STORES", default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_stores: u32,

    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, also per module.
    #[arg(long, env = "STONETOWN_LOG_LEVEL", default_value = "info", value_name = "LEVEL", value_parser = level)]
    pub log_level: String,

    /// How much one request may hold or ask for.
    #[command(flatten)]
    pub limits: RequestLimits,
}
