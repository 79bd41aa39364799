//! The connection of the client commands.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use stonetown_api::proto::authzed::api::v1::consistency::Requirement;
use stonetown_api::proto::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use stonetown_api::proto::authzed::api::v1::schema_service_client::SchemaServiceClient;
use stonetown_api::proto::authzed::api::v1::watch_service_client::WatchServiceClient;
use stonetown_api::proto::authzed::api::v1::{Consistency, ReadSchemaRequest, ZedToken};
use stonetown_api::proto::stonetown::v1::admin_service_client::AdminServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::Outcome;

/// Time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer taken, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// The server's gRPC address.
    #[arg(
        long,
        global = true,
        env = "STONETOWN_ENDPOINT",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT"
    )]
    endpoint: String,

    /// The key to call with.
    #[arg(long, global = true, env = "STONETOWN_TOKEN", hide_env_values = true, value_name = "KEY")]
    token: Option<String>,

    /// Speak plain text, also to another machine. Loopback addresses are always spoken to in plain text unless a certificate
    /// is given.
    #[arg(long, global = true, env = "STONETOWN_INSECURE")]
    insecure: bool,

    /// Certificate of the authority (PEM) that the server's certificate must come from.
    #[arg(long, global = true, env = "STONETOWN_CERTIFICATE_PATH", value_name = "FILE")]
    certificate_path: Option<PathBuf>,
}

/// How fresh an answer must be; the newest by default.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(crate) struct Freshness {
    /// The newest state.
    #[arg(long)]
    consistency_full: bool,
    /// Whatever is quickest.
    #[arg(long)]
    consistency_min_latency: bool,
    /// Not older than this token.
    #[arg(long, value_name = "ZEDTOKEN")]
    consistency_at_least: Option<String>,
    /// Exactly at this token.
    #[arg(long, value_name = "ZEDTOKEN")]
    consistency_at_exactly: Option<String>,
}

/// The services, over one connection.
pub(crate) struct Client {
    pub(crate) admin: AdminServiceClient<InterceptedService<Channel, Bearer>>,
    pub(crate) permissions: PermissionsServiceClient<InterceptedService<Channel, Bearer>>,
    pub(crate) schema: SchemaServiceClient<InterceptedService<Channel, Bearer>>,
    pub(crate) watch: WatchServiceClient<InterceptedService<Channel, Bearer>>,
}

/// Puts the key into each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Client {
    /// Waits until the server answers again, for a bounded time. The channel connects anew by itself.
    pub(crate) async fn reconnect(&mut self) -> Result<(), Status> {
        /// Tries, and the time between two.
        const TRIES: u32 = 20;
        const APART: Duration = Duration::from_millis(500);
        let mut last = Status::unavailable("the server does not answer");
        for _ in 0..TRIES {
            match self.schema.read_schema(ReadSchemaRequest {}).await {
                Err(status) if status.code() == Code::Unavailable => last = status,
                _ => return Ok(()),
            }
            tokio::time::sleep(APART).await;
        }
        Err(last)
    }
}

impl Freshness {
    /// At the newest state.
    pub(crate) fn newest() -> Consistency {
        Consistency { requirement: Some(Requirement::FullyConsistent(true)) }
    }

    /// The wire form.
    pub(crate) fn to_wire(&self) -> Consistency {
        let token = |token: &String| ZedToken { token: token.clone() };
        let requirement = match (&self.consistency_at_least, &self.consistency_at_exactly) {
            (Some(least), _) => Requirement::AtLeastAsFresh(token(least)),
            (_, Some(exactly)) => Requirement::AtExactSnapshot(token(exactly)),
            _ if self.consistency_min_latency => Requirement::MinimizeLatency(true),
            _ => Requirement::FullyConsistent(true),
        };
        Consistency { requirement: Some(requirement) }
    }
}

/// Connects and runs a command.
pub(crate) fn run<F>(connection: Connection, command: impl FnOnce(Client) -> F) -> anyhow::Result<Outcome>
where
    F: Future<Output = anyhow::Result<Outcome>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { command(connect(connection).await?).await })
}

async fn connect(connection: Connection) -> anyhow::Result<Client> {
    let Some(token) = connection.token else {
        bail!("no key to call with: give --token KEY or set STONETOWN_TOKEN");
    };
    let mut bearer: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().context("the token has characters that a header cannot carry")?;
    bearer.set_sensitive(true);
    let plain = connection.certificate_path.is_none() && (connection.insecure || is_loopback(&connection.endpoint));
    let scheme = if plain { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", connection.endpoint))
        .with_context(|| format!("`{}` is not HOST:PORT", connection.endpoint))?
        .connect_timeout(CONNECT_TIMEOUT);
    if !plain {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if let Some(path) = &connection.certificate_path {
            let pem = std::fs::read(path).with_context(|| format!("certificate `{}`", path.display()))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls).context("TLS")?;
    }
    let channel = endpoint.connect().await.with_context(|| {
        format!(
            "no server answers at {}: is `stonetown serve` running there, and is the address right (--endpoint)?",
            connection.endpoint
        )
    })?;
    let bearer = Bearer(bearer);
    Ok(Client {
        admin: AdminServiceClient::with_interceptor(channel.clone(), bearer.clone()),
        permissions: PermissionsServiceClient::with_interceptor(channel.clone(), bearer.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX),
        schema: SchemaServiceClient::with_interceptor(channel.clone(), bearer.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX),
        watch: WatchServiceClient::with_interceptor(channel, bearer).max_decoding_message_size(MESSAGE_BYTES_MAX),
    })
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_is_spoken_to_in_plain_text_unasked() {
        for local in ["localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in ["example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "128.0.0.1:1"] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }
}
