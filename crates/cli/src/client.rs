//! The connection of the client commands.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use stonetown_api::proto::authzed::api::v1::consistency::Requirement;
use stonetown_api::proto::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use stonetown_api::proto::authzed::api::v1::schema_service_client::SchemaServiceClient;
use stonetown_api::proto::authzed::api::v1::watch_service_client::WatchServiceClient;
use stonetown_api::proto::authzed::api::v1::{Consistency, ReadSchemaRequest, ZedToken};
use stonetown_api::proto::stonetown::v1::admin_service_client::AdminServiceClient;
use stonetown_api::proto::stonetown::v1::grant_service_client::GrantServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::Outcome;
use crate::context::{self, Contexts, Reach};
use crate::retry::Retry;

/// Time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer taken by default, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Where a server is looked for when nothing says where it is.
const ENDPOINT: &str = "127.0.0.1:50051";
/// Above the flags that all commands have.
const HEADING: &str = "Connection";

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// The server's gRPC address; by default that of the context in use, else 127.0.0.1:50051.
    #[arg(long, global = true, env = "STONETOWN_ENDPOINT", value_name = "HOST:PORT", help_heading = HEADING)]
    endpoint: Option<String>,

    /// The key to call with; by default that of the context in use.
    #[arg(long, global = true, env = "STONETOWN_TOKEN", hide_env_values = true, value_name = "KEY", help_heading = HEADING)]
    token: Option<String>,

    /// A context (see `stonetown context`) in the place of the one in use.
    #[arg(long, global = true, env = "STONETOWN_CONTEXT", value_name = "NAME", help_heading = HEADING)]
    context: Option<String>,

    /// Speak plain text, also to another machine. Loopback addresses are always spoken to in plain text unless a certificate
    /// is given.
    #[arg(long, global = true, env = "STONETOWN_INSECURE", help_heading = HEADING)]
    insecure: bool,

    /// Certificate of the authority (PEM) that the server's certificate must come from.
    #[arg(long, global = true, env = "STONETOWN_CERTIFICATE_PATH", value_name = "FILE", help_heading = HEADING)]
    certificate_path: Option<PathBuf>,

    /// The name that the server's certificate must be for, where it is not that of the address.
    #[arg(long, global = true, env = "STONETOWN_HOSTNAME_OVERRIDE", value_name = "NAME", help_heading = HEADING)]
    hostname_override: Option<String>,

    /// Certificate (PEM) to prove oneself with, where the server asks for one.
    #[arg(
        long,
        global = true,
        env = "STONETOWN_CLIENT_CERT_PATH",
        value_name = "FILE",
        requires = "client_key_path",
        help_heading = HEADING
    )]
    client_cert_path: Option<PathBuf>,

    /// Private key (PEM) of that certificate.
    #[arg(long, global = true, env = "STONETOWN_CLIENT_KEY_PATH", value_name = "FILE", help_heading = HEADING)]
    client_key_path: Option<PathBuf>,

    /// The id that the server's log names the call by.
    #[arg(long, global = true, env = "STONETOWN_REQUEST_ID", value_name = "ID", help_heading = HEADING)]
    request_id: Option<String>,

    /// How often a call is repeated when the server is away or busy for a moment.
    #[arg(long, global = true, env = "STONETOWN_MAX_RETRIES", default_value_t = 10, value_name = "N", help_heading = HEADING)]
    max_retries: u32,

    /// Largest answer taken, in bytes.
    #[arg(
        long,
        global = true,
        env = "STONETOWN_MAX_MESSAGE_SIZE",
        default_value_t = MESSAGE_BYTES_MAX,
        value_name = "BYTES",
        help_heading = HEADING
    )]
    max_message_size: usize,
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
    pub(crate) admin: AdminServiceClient<Transport>,
    pub(crate) grants: GrantServiceClient<Transport>,
    pub(crate) permissions: PermissionsServiceClient<Transport>,
    pub(crate) schema: SchemaServiceClient<Transport>,
    pub(crate) watch: WatchServiceClient<Transport>,
}

/// A connection that repeats calls and puts key and id into each.
pub(crate) type Transport = InterceptedService<Retry<Channel>, Bearer>;

/// Puts the key into each call, and the id where one was given.
#[derive(Clone)]
pub(crate) struct Bearer {
    key: MetadataValue<Ascii>,
    request_id: Option<MetadataValue<Ascii>>,
}

/// How a server is reached, by flags, environment and context.
pub(crate) struct Target {
    pub(crate) endpoint: String,
    token: Option<String>,
    insecure: bool,
    certificate_path: Option<PathBuf>,
    hostname_override: Option<String>,
    /// Certificate and key to prove oneself with.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.key.clone());
        if let Some(id) = &self.request_id {
            request.metadata_mut().insert("x-request-id", id.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// Waits until the server answers again, for a bounded time. The channel connects anew by itself.
    pub(crate) async fn reconnect(&mut self) -> Result<(), Status> {
        /// Tries, each repeated as all questions are, and the time between two.
        const TRIES: u32 = 3;
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

impl Connection {
    /// What `context set` remembers besides address and token.
    pub(crate) fn into_reach(self) -> Reach {
        let Connection { token, insecure, certificate_path, hostname_override, .. } = self;
        Reach { token, insecure, certificate_path, hostname_override }
    }

    /// How the server is reached: flags come before the environment, and both before the context.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        // Contexts are asked only for what is missing.
        let is_complete = self.context.is_none() && self.endpoint.is_some() && self.token.is_some();
        let path = if is_complete { None } else { context::path().ok() };
        let contexts = path.map(|path| Contexts::load(&path)).transpose()?.unwrap_or_default();
        self.target_by(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()), &contexts)
    }

    /// `zed` names the variables that `environment` is asked for.
    fn target_by(&self, environment: &dyn Fn(&str) -> Option<String>, contexts: &Contexts) -> anyhow::Result<Target> {
        let endpoint = self.endpoint.clone().or_else(|| environment("ZED_ENDPOINT"));
        let token = self.token.clone().or_else(|| environment("ZED_TOKEN"));
        let is_set = |name| environment(name).is_some_and(|value| value != "false" && value != "0");
        let certificate_path = self.certificate_path.clone();
        let certificate_path = certificate_path.or_else(|| environment("ZED_CERTIFICATE_PATH").map(PathBuf::from));
        let hostname_override = self.hostname_override.clone().or_else(|| environment("ZED_HOSTNAME_OVERRIDE"));
        let own = Target {
            endpoint: endpoint.clone().unwrap_or_else(|| ENDPOINT.to_owned()),
            token,
            insecure: self.insecure || is_set("ZED_INSECURE"),
            certificate_path,
            hostname_override,
            identity: self.client_cert_path.clone().zip(self.client_key_path.clone()),
        };
        // A token is for the server that it was kept with, and for no other.
        let context = contexts.server(self.context.as_deref())?;
        let Some(context) = context.filter(|context| endpoint.as_ref().is_none_or(|it| *it == context.endpoint)) else {
            return Ok(own);
        };
        Ok(Target {
            endpoint: context.endpoint.clone(),
            token: own.token.or_else(|| Some(context.token.clone())),
            insecure: own.insecure || context.insecure,
            certificate_path: own.certificate_path.or_else(|| context.certificate_path.clone()),
            hostname_override: own.hostname_override.or_else(|| context.hostname_override.clone()),
            identity: own.identity,
        })
    }
}

async fn connect(connection: Connection) -> anyhow::Result<Client> {
    let target = connection.target()?;
    let Some(token) = &target.token else {
        bail!("no key to call with: give --token KEY, set STONETOWN_TOKEN, or keep one with `stonetown context set`");
    };
    let mut key: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().context("the token has characters that a header cannot carry")?;
    key.set_sensitive(true);
    let request_id = connection.request_id.as_deref().map(str::parse).transpose();
    let request_id = request_id.context("the request id has characters that a header cannot carry")?;
    let channel = Retry::new(channel(&target).await?, connection.max_retries);
    let bearer = Bearer { key, request_id };
    let bytes_max = connection.max_message_size;
    macro_rules! service {
        ($client:ident) => {
            $client::with_interceptor(channel.clone(), bearer.clone()).max_decoding_message_size(bytes_max)
        };
    }
    Ok(Client {
        admin: service!(AdminServiceClient),
        grants: service!(GrantServiceClient),
        permissions: service!(PermissionsServiceClient),
        schema: service!(SchemaServiceClient),
        watch: service!(WatchServiceClient),
    })
}

/// A connection to the server.
pub(crate) async fn channel(target: &Target) -> anyhow::Result<Channel> {
    let plain = target.certificate_path.is_none() && (target.insecure || is_loopback(&target.endpoint));
    let scheme = if plain { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", target.endpoint))
        .with_context(|| format!("`{}` is not HOST:PORT", target.endpoint))?
        .connect_timeout(CONNECT_TIMEOUT);
    if !plain {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if let Some(path) = &target.certificate_path {
            let pem = std::fs::read(path).with_context(|| format!("certificate `{}`", path.display()))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        if let Some((cert, key)) = &target.identity {
            let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("`{}`", path.display()));
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &target.hostname_override {
            tls = tls.domain_name(name);
        }
        endpoint = endpoint.tls_config(tls).context("TLS")?;
    }
    endpoint.connect().await.map_err(|error| unreachable(&error, target))
}

/// What went wrong on the way to the server, and what to try.
fn unreachable(error: &tonic::transport::Error, target: &Target) -> anyhow::Error {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let said = causes.join(": ");
    let endpoint = &target.endpoint;
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["InvalidContentType", "corrupt message", "WrongVersion"]) {
        anyhow!("the server at {endpoint} does not speak TLS; give --insecure to speak plain text to it ({said})")
    } else if says(&["UnknownIssuer", "CaUsedAsEndEntity", "self-signed", "BadSignature"]) {
        anyhow!(
            "the certificate of {endpoint} comes from no authority that is trusted here; name the authority's with \
             --certificate-path ({said})"
        )
    } else if says(&["NotValidForName", "not valid for name"]) {
        anyhow!(
            "the certificate of {endpoint} is for another name; give the right address, or the name with \
             --hostname-override ({said})"
        )
    } else if says(&["Expired", "NotValidYet"]) {
        anyhow!("the certificate of {endpoint} is not valid at this time ({said})")
    } else if says(&["dns error", "failed to lookup"]) {
        anyhow!("`{endpoint}` names no machine that can be found: is the address right (--endpoint)? ({said})")
    } else {
        anyhow!(
            "no server answers at {endpoint}: is `stonetown serve` running there, and is the address right (--endpoint)? \
             ({said})"
        )
    }
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
    }

    fn target(args: &[&str], environment: &[(&str, &str)], contexts: &Contexts) -> anyhow::Result<Target> {
        let line = Line::parse_from(["stonetown"].iter().chain(args));
        let look = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        line.connection.target_by(&look, contexts)
    }

    #[test]
    fn only_loopback_is_spoken_to_in_plain_text_unasked() {
        for local in ["localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in ["example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "128.0.0.1:1"] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }

    #[test]
    fn flags_come_before_zeds_names_and_both_before_the_context() {
        let contexts: Contexts = serde_json::from_value(serde_json::json!({
            "current": "prod",
            "contexts": {
                "prod": { "endpoint": "prod:1", "token": "prod-token" },
                "dev": { "endpoint": "dev:1", "token": "dev-token", "insecure": true },
            },
        }))
        .unwrap();
        let none = Contexts::default();
        let found = target(&[], &[], &none).unwrap();
        assert_eq!((found.endpoint.as_str(), found.token), (ENDPOINT, None));
        let found = target(&[], &[], &contexts).unwrap();
        assert_eq!((found.endpoint.as_str(), found.token.as_deref()), ("prod:1", Some("prod-token")));
        let found = target(&["--context", "dev"], &[], &contexts).unwrap();
        assert_eq!((found.endpoint.as_str(), found.insecure), ("dev:1", true));
        let zed = [("ZED_ENDPOINT", "zed:1"), ("ZED_TOKEN", "zed-token"), ("ZED_INSECURE", "true")];
        let found = target(&[], &zed, &contexts).unwrap();
        assert_eq!(
            (found.endpoint.as_str(), found.token.as_deref(), found.insecure),
            ("zed:1", Some("zed-token"), true)
        );
        let found = target(&["--endpoint", "flag:1"], &zed, &contexts).unwrap();
        assert_eq!((found.endpoint.as_str(), found.token.as_deref()), ("flag:1", Some("zed-token")));
        assert!(target(&["--context", "nowhere"], &[], &contexts).is_err());
    }

    #[test]
    fn a_kept_token_goes_to_no_other_server() {
        let contexts: Contexts = serde_json::from_value(serde_json::json!({
            "current": "prod",
            "contexts": { "prod": { "endpoint": "prod:1", "token": "prod-token", "insecure": true } },
        }))
        .unwrap();
        let elsewhere = target(&["--endpoint", "elsewhere:1"], &[], &contexts).unwrap();
        assert_eq!((elsewhere.token, elsewhere.insecure), (None, false));
        let same = target(&["--endpoint", "prod:1"], &[], &contexts).unwrap();
        assert_eq!(same.token.as_deref(), Some("prod-token"));
    }
}
