//! The connection of the client commands.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clap_complete::ArgValueCompleter;
use stonetown_api::proto::authzed::api::v1::consistency::Requirement;
use stonetown_api::proto::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use stonetown_api::proto::authzed::api::v1::schema_service_client::SchemaServiceClient;
use stonetown_api::proto::authzed::api::v1::watch_service_client::WatchServiceClient;
use stonetown_api::proto::authzed::api::v1::{Consistency, ReadSchemaRequest, ZedToken};
use stonetown_api::proto::stonetown::v1 as own;
use stonetown_api::proto::stonetown::v1::admin_service_client::AdminServiceClient;
use stonetown_api::proto::stonetown::v1::attributes_service_client::AttributesServiceClient;
use stonetown_api::proto::stonetown::v1::audit_service_client::AuditServiceClient;
use stonetown_api::proto::stonetown::v1::decision_service_client::DecisionServiceClient;
use stonetown_api::proto::stonetown::v1::grant_service_client::GrantServiceClient;
use stonetown_api::proto::stonetown::v1::principal_service_client::PrincipalServiceClient;
use stonetown_api::proto::stonetown::v1::relationships_service_client::RelationshipsServiceClient;
use stonetown_api::proto::stonetown::v1::store_service_client::StoreServiceClient;
use stonetown_server::config::LogFormat;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::Outcome;
use crate::channel::{Proxy, Target};
use crate::complete;
use crate::context::{self, Contexts, Reach};
use crate::output::Output;
use crate::retry::Retry;

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
    #[arg(
        long,
        global = true,
        visible_alias = "permissions-system",
        env = "STONETOWN_CONTEXT",
        value_name = "NAME",
        add = ArgValueCompleter::new(complete::context),
        help_heading = HEADING
    )]
    context: Option<String>,

    /// Speak plain text, also to another machine. Loopback addresses are always spoken to in plain text unless a certificate
    /// is given.
    #[arg(long, global = true, env = "STONETOWN_INSECURE", help_heading = HEADING)]
    insecure: bool,

    /// Certificate of the authority (PEM) that the server's certificate must come from.
    #[arg(long, global = true, env = "STONETOWN_CERTIFICATE_PATH", value_name = "FILE", help_heading = HEADING)]
    certificate_path: Option<PathBuf>,

    /// Speak TLS without verifying the server's certificate. Whoever is on the way can read and change everything, the key too.
    #[arg(long, global = true, env = "STONETOWN_NO_VERIFY_CA", conflicts_with = "insecure", help_heading = HEADING)]
    no_verify_ca: bool,

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

    /// A SOCKS5 proxy to go through, as `HOST:PORT` or `socks5://USER:PASSWORD@HOST:PORT`. Names are looked up by the proxy.
    #[arg(
        long,
        global = true,
        env = "STONETOWN_PROXY",
        hide_env_values = true,
        value_name = "PROXY",
        help_heading = HEADING
    )]
    proxy: Option<Proxy>,

    /// The id that the server's log names the call by.
    #[arg(long, global = true, env = "STONETOWN_REQUEST_ID", value_name = "ID", help_heading = HEADING)]
    request_id: Option<String>,

    /// The store that the call is in; the one that the key is for, or else the default one, without it.
    #[arg(long, global = true, env = "STONETOWN_STORE", value_name = "NAME", help_heading = HEADING)]
    store: Option<String>,

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

    /// Taken from scripts for `zed`, and without a meaning: the server's version is not looked at.
    #[arg(long, global = true, hide = true)]
    skip_version_check: bool,

    /// What is told on standard error: `info` tells when a call is repeated, `debug` each call.
    // A server has a flag of this name with more levels, which stands in the place of this one there.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warn",
        value_parser = ["error", "warn", "info", "debug", "trace"],
        help_heading = HEADING
    )]
    log_level: String,
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
    pub(crate) attributes: AttributesServiceClient<Transport>,
    pub(crate) audit: AuditServiceClient<Transport>,
    pub(crate) decisions: DecisionServiceClient<Transport>,
    pub(crate) permissions: PermissionsServiceClient<Transport>,
    pub(crate) principals: PrincipalServiceClient<Transport>,
    pub(crate) relationships: RelationshipsServiceClient<Transport>,
    pub(crate) schema: SchemaServiceClient<Transport>,
    pub(crate) stores: StoreServiceClient<Transport>,
    pub(crate) watch: WatchServiceClient<Transport>,
}

/// A connection that repeats calls and puts key and id into each.
pub(crate) type Transport = InterceptedService<Retry<Channel>, Bearer>;

/// Puts key, id and store into each call where they were given.
#[derive(Clone)]
pub(crate) struct Bearer {
    key: Option<MetadataValue<Ascii>>,
    request_id: Option<MetadataValue<Ascii>>,
    store: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.key {
            request.metadata_mut().insert("authorization", key.clone());
        }
        if let Some(id) = &self.request_id {
            request.metadata_mut().insert("x-request-id", id.clone());
        }
        if let Some(store) = &self.store {
            request.metadata_mut().insert("stonetown-store", store.clone());
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

    /// At whatever state is quickest.
    pub(crate) fn quickest() -> Consistency {
        Consistency { requirement: Some(Requirement::MinimizeLatency(true)) }
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

    /// What the product's own API takes; `None` for the newest state.
    pub(crate) fn to_own(&self) -> Option<own::freshness::Requirement> {
        use own::freshness::Requirement;
        match (&self.consistency_at_least, &self.consistency_at_exactly) {
            (Some(least), _) => Some(Requirement::AtLeast(least.clone())),
            (_, Some(exactly)) => Some(Requirement::AtExactly(exactly.clone())),
            _ => None,
        }
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
        let Connection { token, insecure, no_verify_ca, certificate_path, hostname_override, .. } = self;
        Reach { token, insecure, no_verify_ca, certificate_path, hostname_override }
    }

    /// The same, but to the server of this context.
    ///
    /// # Errors
    /// When there is no such context.
    pub(crate) fn at_context(&self, name: &str) -> anyhow::Result<Connection> {
        let contexts = Contexts::load(&context::path()?)?;
        let server = contexts.server(Some(name))?.context("a context without a server")?;
        Ok(Connection {
            endpoint: Some(server.endpoint.clone()),
            token: Some(server.token.clone()),
            context: Some(name.to_owned()),
            ..self.clone()
        })
    }

    /// The same, but nothing is asked twice.
    pub(crate) fn asking_once(self) -> Connection {
        Connection { max_retries: 0, ..self }
    }

    /// Begins to tell on standard error what calls are made, as far as that is wanted.
    pub(crate) fn start_logging(&self, output: Output) -> anyhow::Result<()> {
        let format = if output.json { LogFormat::Json } else { LogFormat::Console };
        stonetown_server::start_logging(format, &self.log_level).map_err(anyhow::Error::msg)
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
        let proxy = match (&self.proxy, environment("ZED_PROXY")) {
            (Some(proxy), _) => Some(proxy.clone()),
            (None, theirs) => {
                theirs.map(|text| text.parse()).transpose().map_err(anyhow::Error::msg).context("ZED_PROXY")?
            }
        };
        let own = Target {
            endpoint: endpoint.clone().unwrap_or_else(|| ENDPOINT.to_owned()),
            token,
            insecure: self.insecure || is_set("ZED_INSECURE"),
            certificate_path,
            hostname_override,
            no_verify_ca: self.no_verify_ca || is_set("ZED_NO_VERIFY_CA"),
            identity: self.client_cert_path.clone().zip(self.client_key_path.clone()),
            proxy,
        };
        // A token is for the server that it was kept with, and for no other.
        let context = contexts.server(self.context.as_deref())?;
        let Some(context) = context.filter(|context| endpoint.as_ref().is_none_or(|it| *it == context.endpoint)) else {
            return Ok(own);
        };
        Ok(Target {
            endpoint: context.endpoint.clone(),
            token: own.token.or_else(|| Some(context.token.clone())),
            // Of two flags that speak against each other the given one counts.
            insecure: own.insecure || (context.insecure && !own.no_verify_ca),
            no_verify_ca: own.no_verify_ca || (context.no_verify_ca && !own.insecure),
            certificate_path: own.certificate_path.or_else(|| context.certificate_path.clone()),
            hostname_override: own.hostname_override.or_else(|| context.hostname_override.clone()),
            identity: own.identity,
            proxy: own.proxy,
        })
    }
}

/// Connects.
///
/// # Errors
/// When neither a key nor a certificate is known to call with, or the server is not reached.
pub(crate) async fn connect(connection: Connection) -> anyhow::Result<Client> {
    let target = connection.target()?;
    // A certificate can say by itself who calls.
    if target.token.is_none() && target.identity.is_none() {
        bail!("no key to call with: give --token KEY, set STONETOWN_TOKEN, or keep one with `stonetown context set`");
    }
    let key = target.token.as_ref().map(|token| format!("Bearer {token}").parse::<MetadataValue<Ascii>>()).transpose();
    let mut key = key.context("the token has characters that a header cannot carry")?;
    key.iter_mut().for_each(|key| key.set_sensitive(true));
    let request_id = connection.request_id.as_deref().map(str::parse).transpose();
    let request_id = request_id.context("the request id has characters that a header cannot carry")?;
    let channel = Retry::new(target.connect().await?, connection.max_retries);
    let store = connection.store.as_deref().map(str::parse).transpose();
    let store = store.context("the store's name has characters that a header cannot carry")?;
    let bearer = Bearer { key, request_id, store };
    let bytes_max = connection.max_message_size;
    macro_rules! service {
        ($client:ident) => {
            $client::with_interceptor(channel.clone(), bearer.clone()).max_decoding_message_size(bytes_max)
        };
    }
    Ok(Client {
        admin: service!(AdminServiceClient),
        grants: service!(GrantServiceClient),
        attributes: service!(AttributesServiceClient),
        audit: service!(AuditServiceClient),
        decisions: service!(DecisionServiceClient),
        permissions: service!(PermissionsServiceClient),
        principals: service!(PrincipalServiceClient),
        relationships: service!(RelationshipsServiceClient),
        stores: service!(StoreServiceClient),
        schema: service!(SchemaServiceClient),
        watch: service!(WatchServiceClient),
    })
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
