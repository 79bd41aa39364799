//! Settings of HTTP/JSON.

use std::path::PathBuf;

use clap::Args;
use http::HeaderValue;

use super::ListenAddr;

/// HTTP/JSON is served beside gRPC on its port in any case; these give it a port of its own, and let pages of other sites in.
#[derive(Debug, Clone, Args)]
pub struct HttpConfig {
    /// Whether HTTP/JSON has a port of its own, too.
    #[arg(long, env = "STONETOWN_HTTP_ENABLED")]
    pub http_enabled: bool,

    /// Address of the port of HTTP/JSON.
    #[arg(long, env = "STONETOWN_HTTP_ADDR", default_value = "127.0.0.1:8443", value_name = "ADDR")]
    pub http_addr: ListenAddr,

    /// Certificate chain (PEM) for TLS on the port of HTTP/JSON; needs the key, too.
    #[arg(long, env = "STONETOWN_HTTP_TLS_CERT_PATH", value_name = "FILE")]
    pub http_tls_cert_path: Option<PathBuf>,

    /// Private key (PEM) of that certificate.
    #[arg(long, env = "STONETOWN_HTTP_TLS_KEY_PATH", value_name = "FILE")]
    pub http_tls_key_path: Option<PathBuf>,

    /// Whether browsers may call from pages of other origins, over HTTP/JSON and gRPC-web.
    #[arg(long, env = "STONETOWN_HTTP_CORS_ENABLED")]
    pub http_cors_enabled: bool,

    /// Origins of such pages, such as `https://app.example.com`; `*` for all.
    #[arg(
        long,
        env = "STONETOWN_HTTP_CORS_ALLOWED_ORIGINS",
        default_value = "*",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub http_cors_allowed_origins: Vec<HeaderValue>,
}
