//! A `stonetown` process as its operator sees it: what it prints, logs and measures, and how it ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::server::{KEY, binary};

/// Time that a start or an end may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server with its metrics, its log and a folder of its own.
#[derive(Debug)]
pub struct Operated {
    /// `host:port` of gRPC.
    pub grpc: String,
    /// `host:port` of the metrics.
    pub metrics: String,
    folder: TempDir,
    child: Child,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Operated {
    /// Starts a server over RocksDB, in a folder of its own unless the flags name a `--data-dir`.
    ///
    /// # Errors
    /// If it does not take calls.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        Self::start_in(&[], flags).await
    }

    /// As [`Operated::start`], with more in its environment.
    ///
    /// # Errors
    /// If it does not take calls.
    pub async fn start_in(environment: &[(&str, &str)], flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = serve(flags)?;
        command.envs(environment.iter().copied());
        if !flags.contains(&"--data-dir") {
            command.arg("--data-dir").arg(folder.path().join("data"));
        }
        let mut child = command.stderr(log).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (mut grpc, mut metrics) = (None, None);
        let ready = async {
            while grpc.is_none() || metrics.is_none() {
                let Some(line) = lines.next_line().await? else {
                    bail!(
                        "the server ended before it took calls: {}",
                        std::fs::read_to_string(folder.path().join("log"))?
                    )
                };
                if let Some(address) = line.strip_prefix("serving grpc on ") {
                    grpc = Some(address.to_owned());
                }
                if let Some(address) = line.strip_prefix("serving metrics on http://") {
                    metrics = address.strip_suffix("/metrics").map(str::to_owned);
                }
            }
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, ready).await.context("not ready in time")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (grpc, metrics) = (grpc.unwrap_or_default(), metrics.unwrap_or_default());
        Ok(Self { grpc, metrics, folder, child })
    }

    /// The process's id; `None` when it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its folder: the log, and the data unless flags say otherwise.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// The page of its metrics.
    ///
    /// # Errors
    /// If it is not served.
    pub async fn scrape(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.metrics).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{head}");
        }
        Ok(body.to_owned())
    }

    /// One number of the metrics: the first whose line begins with `name`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.scrape().await?;
        let line = page.lines().find(|line| line.starts_with(name)).with_context(|| format!("no metric {name}"))?;
        Ok(line.rsplit(' ').next().context("no number")?.parse()?)
    }

    /// Waits until a metric has a value.
    ///
    /// # Errors
    /// If it does not get there.
    pub async fn until(&self, name: &str, is: impl Fn(f64) -> bool) -> Result<f64> {
        let waiting = async {
            loop {
                let value = self.metric(name).await?;
                if is(value) {
                    return anyhow::Ok(value);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waiting).await.with_context(|| format!("{name} does not get there"))?
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("the server has ended")?;
        let status = std::process::Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status()?;
        if status.success() { Ok(()) } else { bail!("kill: {status}") }
    }

    /// Waits for its end, and tells the exit code and the log.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn ended(mut self) -> Result<Ended> {
        let status = tokio::time::timeout(TIMEOUT, self.child.wait()).await.context("it does not end")??;
        Ok(Ended { code: status.code(), stdout: String::new(), stderr: self.log()? })
    }
}

/// Runs a server that is expected to end by itself.
///
/// # Errors
/// If it goes on.
pub async fn fails_to_serve(flags: &[&str]) -> Result<Ended> {
    finish(serve(flags)?).await
}

/// Runs any command of the binary to its end.
///
/// # Errors
/// If it goes on.
pub async fn run(args: &[&str]) -> Result<Ended> {
    let mut command = Command::new(binary()?);
    command.args(args);
    finish(command).await
}

/// Flags of a data directory.
pub fn data_dir(path: &Path) -> [&str; 2] {
    ["--data-dir", path.to_str().unwrap_or_default()]
}

fn serve(flags: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["serve", "--grpc-preshared-key", KEY]);
    for (flag, address) in [("--grpc-addr", "127.0.0.1:0"), ("--metrics-addr", "127.0.0.1:0")] {
        if !flags.contains(&flag) {
            command.args([flag, address]);
        }
    }
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

async fn finish(mut command: Command) -> Result<Ended> {
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await.context("it does not end")??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}
