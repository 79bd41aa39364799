//! `stonetown serve`.

use anyhow::Context;
use stonetown_server::Config;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use crate::Outcome;

/// Stack of the worker threads: questions over deep data recurse.
const STACK_BYTES: usize = 8 << 20;

/// Runs a server until it is told to stop by SIGINT or SIGTERM. `ignored` are settings that were given and mean nothing here.
pub(crate) fn run(config: Config, ignored: &[String]) -> anyhow::Result<Outcome> {
    log_to_stderr(ignored);
    runtime()?.block_on(async {
        let running = stonetown_server::serve(config).await?;
        println!("serving grpc on {}", running.grpc_addr);
        if let Some(address) = running.http_addr {
            println!("serving http on {address}");
        }
        if let Some(address) = running.metrics_addr {
            println!("serving metrics on http://{address}/metrics");
        }
        told_to_stop().await?;
        tracing::info!("stopping");
        running.shutdown().await;
        Ok(Outcome::Done)
    })
}

/// Begins to log, with a first line for the settings that are ignored.
pub(crate) fn log_to_stderr(ignored: &[String]) {
    let filter = EnvFilter::try_from_env("STONETOWN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    if !ignored.is_empty() {
        tracing::warn!("settings of SpiceDB that mean nothing here are ignored: {}", ignored.join(", "));
    }
}

/// The threads of a server.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().thread_stack_size(STACK_BYTES).build().context("the runtime does not start")
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
