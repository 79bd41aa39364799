//! `stonetown serve-testing`.

use stonetown_server::TestingConfig;

use crate::Outcome;
use crate::serve::{log_to_stderr, runtime, told_to_stop};

/// Runs a server for test suites until it is told to stop by SIGINT or SIGTERM. `ignored` are settings that were given and
/// mean nothing here.
pub(crate) fn run(config: TestingConfig, ignored: &[String]) -> anyhow::Result<Outcome> {
    log_to_stderr(ignored);
    runtime()?.block_on(async {
        let running = stonetown_server::serve_testing(config).await?;
        for (name, address) in &running.addresses {
            println!("serving {name} on {address}");
        }
        told_to_stop().await?;
        running.shutdown().await;
        Ok(Outcome::Done)
    })
}
