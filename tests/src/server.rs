//! A `stonetown serve` process of its own, on a free port.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Time that a start may take: after a crash it replays what was in flight.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// What the server prints when it takes calls, followed by its address.
const READY: &str = "serving grpc on ";

/// The key of every test server.
pub const KEY: &str = "test-key";

/// Where a server keeps its data.
#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    /// In its own memory.
    Memory,
    /// In RocksDB, in this directory; the keys of the logs come to lie beside it.
    RocksDb(&'a Path),
}

/// A running server; killed with `SIGKILL` when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Its address, `host:port`.
    pub address: String,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// Starts a server and waits until it takes calls. `environment` is added to the process's own, and `flags` follow
    /// those that say where to listen and where the data is.
    ///
    /// # Errors
    /// If the process ends before it takes calls, or takes none in time.
    pub async fn start(
        binary: &Path,
        store: Store<'_>,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self> {
        Self::start_at("127.0.0.1:0", binary, store, flags, environment).await
    }

    /// Starts a server at an address, where another one was before.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_at(
        address: &str,
        binary: &Path,
        store: Store<'_>,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--grpc-addr", address, "--metrics-addr", "off", "--grpc-preshared-key", KEY]);
        match store {
            Store::Memory => command.args(["--datastore-engine", "memory"]),
            Store::RocksDb(directory) => command.arg("--data-dir").arg(directory),
        };
        command.args(flags).envs(environment.iter().map(|(name, value)| (name, value)));
        Self::begin(command).await
    }

    /// Starts a server for test suites, of which each caller's key has a store of its own.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_testing(binary: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve-testing", "--grpc-addr", "127.0.0.1:0", "--readonly-grpc-addr", "127.0.0.1:0"]);
        command.args(flags);
        Self::begin(command).await
    }

    async fn begin(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run `{command:?}`"))?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix(READY) {
                    return Ok(address.trim().to_owned());
                }
            }
            bail!("the server ended before it took calls");
        };
        let address = match tokio::time::timeout(START_TIMEOUT, ready).await {
            Ok(ready) => ready?,
            Err(_) => bail!("the server took no calls within {START_TIMEOUT:?}"),
        };
        // Read on, so that the server never writes into a closed or full pipe.
        let (sender, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = sender.send(line);
            }
        });
        Ok(Self { address, child, lines: received })
    }

    /// What follows `prefix` in the next line that begins with it.
    ///
    /// # Errors
    /// If the server ends, or prints none in time.
    pub async fn line(&mut self, prefix: &str) -> Result<String> {
        let find = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Ok(rest.trim().to_owned());
                }
            }
            bail!("the server ended without a line `{prefix}…`")
        };
        tokio::time::timeout(START_TIMEOUT, find).await.context("no such line in time")?
    }

    /// Ends the process at once, as a crash would.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// Asks the process to stop, as an operator would, and leaves it to it.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn terminate(&self) -> Result<()> {
        let id = self.child.id().context("the server has ended")?;
        let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        if asked.success() { Ok(()) } else { bail!("the server cannot be asked to stop") }
    }

    /// The process's id; `None` when it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the process has ended by itself.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

/// The `stonetown` binary: that of `STONETOWN_BIN`, or else one built now from this workspace, so that a test never runs
/// against an old one.
///
/// # Errors
/// If it does not build.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(binary) = std::env::var_os("STONETOWN_BIN") {
        return Ok(root().join(binary));
    }
    BUILT.get_or_init(build).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["build", "--quiet", "--locked", "-p", "stonetown-cli"])
        .current_dir(root())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("stonetown-cli does not build".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir));
    Ok(target.join("debug").join("stonetown"))
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
