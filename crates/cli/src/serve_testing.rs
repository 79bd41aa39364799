//! `stonetown serve-testing`.

use stonetown_server::TestingConfig;
use stonetown_server::config::LogFormat;

use crate::Outcome;
use crate::serve::{Signals, runtime, start_logging, tell};

/// Runs a server for test suites until it is told to stop by SIGINT or SIGTERM. `ignored` are settings that were given and
/// mean nothing here.
pub(crate) fn run(config: TestingConfig, ignored: &[String]) -> anyhow::Result<Outcome> {
    start_logging(LogFormat::Console, &config.log_level, ignored)?;
    runtime()?.block_on(async {
        let running = stonetown_server::serve_testing(config).await?;
        for (name, address) in &running.addresses {
            tell(format_args!("serving {name} on {address}"));
        }
        Signals::new()?.next().await;
        running.shutdown().await;
        Ok(Outcome::Done)
    })
}
