//! What a server tells of itself.

use clap::{Args, ValueEnum};

/// Settings of logs and traces.
#[derive(Debug, Clone, Args)]
pub struct Telemetry {
    /// How log lines look. `json` is for collectors: one object per line, with the fields of the event beside its message.
    #[arg(long, env = "STONETOWN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Console, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, also per module, as in `info,stonetown_server=debug`.
    #[arg(long, env = "STONETOWN_LOG_LEVEL", default_value = "info", value_name = "LEVEL", value_parser = level)]
    pub log_level: String,

    /// Which calls have a line of their own in the log, with method, code, duration, ids and caller. `all` costs a few
    /// microseconds for each call.
    #[arg(long, env = "STONETOWN_LOG_CALLS", value_enum, default_value_t = LoggedCalls::Failed, value_name = "WHICH")]
    pub log_calls: LoggedCalls,

    /// Where traces go: the URL of an OpenTelemetry collector that takes OTLP over gRPC, such as `http://localhost:4317`; `off`
    /// for nowhere.
    #[arg(long, env = "STONETOWN_OTEL_ENDPOINT", default_value = "off", value_name = "URL", value_parser = endpoint)]
    pub otel_endpoint: String,

    /// The share of calls that are traced, between 0 and 1. Where a caller has decided already, that stands.
    #[arg(long, env = "STONETOWN_OTEL_SAMPLE_RATIO", default_value_t = 0.01, value_name = "RATIO", value_parser = ratio)]
    pub otel_sample_ratio: f64,

    /// The name of this service in traces.
    #[arg(long, env = "STONETOWN_OTEL_SERVICE_NAME", default_value = "stonetown", value_name = "NAME")]
    pub otel_service_name: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[value(alias = "auto")]
    Console,
    /// One JSON object per line.
    Json,
}

/// Which calls are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoggedCalls {
    /// Every call.
    All,
    /// Those that ended in an error other than the caller's leaving.
    Failed,
    /// None.
    None,
}

impl Telemetry {
    /// The URL of the collector, where there is one.
    pub(crate) fn collector(&self) -> Option<&str> {
        Some(self.otel_endpoint.as_str()).filter(|endpoint| *endpoint != "off")
    }
}

pub(super) fn level(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected error, warn, info, debug or trace: {error}")),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let text = if text.is_empty() { "off" } else { text };
    if text == "off" {
        return Ok(text.to_owned());
    }
    // `host:port` is how SpiceDB has it.
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match url.parse::<http::Uri>() {
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("a user and a password would not be sent: leave them out".to_owned())
        }
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => Ok(url),
        _ => Err("expected a URL such as http://localhost:4317, or off".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}
