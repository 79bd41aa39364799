//! `stonetown serve`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use stonetown_identity::Issued;
use stonetown_server::Config;
use stonetown_server::config::LogFormat;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Outcome, allocator};

/// Stack of the worker threads: questions over deep data recurse.
const STACK_BYTES: usize = 8 << 20;
/// Time that work has whose caller was cut off, after the grace period.
const LAST_WORK_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a server until it is told to stop by SIGINT or SIGTERM. `ignored` are settings that were given and mean nothing here.
pub(crate) fn run(config: Config, ignored: &[String]) -> anyhow::Result<Outcome> {
    start_logging(config.telemetry.log_format, &config.telemetry.log_level, ignored)?;
    let mut place = config.identity.first_credential_file.as_deref().map(CredentialFile::open).transpose()?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let running = tokio::select! {
            running = stonetown_server::serve(config) => running?,
            () = signals.next() => return Ok(Outcome::Done),
        };
        tell(format_args!("serving grpc on {}", running.grpc_addr));
        if let Some(address) = running.http_addr {
            tell(format_args!("serving http on {address}"));
        }
        if let Some(address) = running.metrics_addr {
            tell(format_args!("serving metrics on http://{address}/metrics"));
        }
        if let Some(issued) = &running.first_credential {
            show(issued, place.as_mut())?;
        }
        drop(place);
        signals.next().await;
        tracing::info!("stopping: running calls may end; a second signal ends them at once");
        tokio::select! {
            () = running.shutdown() => {}
            () = signals.next() => {
                // As safe as a power cut, for which the data is made.
                tracing::warn!("stopped at once");
                std::process::exit(1);
            }
        }
        Ok(Outcome::Done)
    });
    runtime.shutdown_timeout(LAST_WORK_TIMEOUT);
    outcome
}

/// Prints a line that a server goes on without, should nobody be there to read it.
pub(crate) fn tell(line: std::fmt::Arguments<'_>) {
    let _nobody_reads = writeln!(std::io::stdout(), "{line}");
}

/// Hands out the first credential, once and nowhere else.
fn show(issued: &Issued, file: Option<&mut CredentialFile>) -> anyhow::Result<()> {
    let (token, principal, until) = (issued.token.reveal(), stonetown_identity::ROOT, issued.expires_at);
    match file {
        Some(file) => {
            file.write(token)?;
            tell(format_args!("first credential, of principal {principal} until {until}: in {}", file.path.display()));
        }
        None => {
            tell(format_args!("first credential, of principal {principal} until {until}, not shown again: {token}"));
        }
    }
    Ok(())
}

/// A new file that only its owner can read; it goes away again if nothing is written to it.
struct CredentialFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl CredentialFile {
    fn open(path: &Path) -> anyhow::Result<CredentialFile> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("`{}` (--first-credential-file) cannot be made", path.display()))?;
        Ok(CredentialFile { path: path.to_owned(), file, written: false })
    }

    fn write(&mut self, token: &str) -> anyhow::Result<()> {
        writeln!(self.file, "{token}").and_then(|()| self.file.sync_all())?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CredentialFile {
    fn drop(&mut self) {
        if !self.written {
            let _gone_already = std::fs::remove_file(&self.path);
        }
    }
}

/// Begins to log, with a first line for the settings that are ignored.
pub(crate) fn start_logging(format: LogFormat, level: &str, ignored: &[String]) -> anyhow::Result<()> {
    stonetown_server::start_logging(format, level).map_err(anyhow::Error::msg)?;
    if !ignored.is_empty() {
        tracing::warn!("settings of SpiceDB that mean nothing here are ignored: {}", ignored.join(", "));
    }
    Ok(())
}

/// The threads of a server.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    allocator::give_back_idle_memory()?;
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().thread_stack_size(STACK_BYTES).build().context("the runtime does not start")
}

/// What tells the server to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of SIGINT and SIGTERM.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
