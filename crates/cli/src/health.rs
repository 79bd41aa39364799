//! `stonetown health`: for the health checks of containers and service managers. Needs no key.

use anyhow::bail;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::Outcome;
use crate::client::Connection;
use crate::output::Output;

/// What is asked about.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One service by its full name, instead of the server as a whole.
    #[arg(default_value = "", hide_default_value = true, value_name = "SERVICE")]
    service: String,
}

/// Asks once.
pub(crate) fn run(connection: &Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let mut client = HealthClient::new(connection.target()?.connect().await?);
        match client.check(HealthCheckRequest { service: args.service.clone() }).await {
            Ok(answer) => Ok(answer.into_inner().status()),
            Err(status) if status.code() == Code::NotFound => bail!("the server has no service `{}`", args.service),
            Err(status) => Err(status.into()),
        }
    })?;
    if status != ServingStatus::Serving {
        bail!("the server takes no calls: {}", status.as_str_name());
    }
    output.result("serving", || json!({ "status": status.as_str_name() }));
    Ok(Outcome::Done)
}
