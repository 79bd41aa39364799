//! Durability: writers with unique counters, a kill at any moment, a restart, and a look at what is there.
//!
//! After each restart every acknowledged transaction must be there whole, every acknowledged deletion must have stayed
//! one, a transaction that was under way is there whole or not at all, and a token from before reads the state that it
//! was given for. In [`Mode::Unsynced`] the kill also takes away whatever the server had not synced, by the shim in
//! `tests/shim/unsynced.c`.
//!
//! Reading order: this file, [`writer`] (what is written and what must be found), [`rollback`] (the other half of the
//! shim).

pub mod rollback;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::client::Client;
use crate::server::{self, Server, Store};
use writer::Writer;

/// Longest time between start and kill.
const ROUND_MS_MAX: u64 = 2000;
/// How long each sync takes under the shim: long enough that an acknowledgement that did not wait for it shows.
const SYNC_US: u64 = 15_000;

/// What a kill takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The process only; the system keeps what was written.
    Kill,
    /// Also all that was not synced, as a power cut may.
    Unsynced,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What a kill takes away.
    pub mode: Mode,
    /// How many kills.
    pub rounds: u32,
    /// Decides when to kill and what to write.
    pub seed: u64,
    /// The `stonetown` binary.
    pub binary: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing acknowledged was lost.
    Durable {
        /// Transactions that were acknowledged.
        acknowledged: u64,
        /// Transactions that were under way at a kill.
        in_doubt: u64,
    },
    /// What was acknowledged is not what is there.
    Lost {
        /// After which kill, from 1.
        round: u32,
        /// What differs.
        what: String,
    },
}

/// Runs the plan. `report` gets a line per round.
///
/// # Errors
/// If the server does not start again, or refuses a call for another reason than its end.
pub async fn run(plan: &Plan, report: &mut dyn FnMut(&str)) -> Result<Verdict> {
    let home = Home::new(plan.mode)?;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut writers = writer::all(plan.seed);
    for round in 1..=plan.rounds {
        let server = home.start(&plan.binary).await.with_context(|| format!("round {round}"))?;
        let client = Client::connect(&server.address).await?;
        if round == 1 {
            writer::prepare(client.clone()).await?;
        } else if let Some(what) = verify(&client, &mut writers).await? {
            return Ok(Verdict::Lost { round: round - 1, what });
        }
        let pause = Duration::from_millis(random.random_range(0..=ROUND_MS_MAX));
        writers = write_until_killed(server, &client, writers, pause).await?;
        home.take_away()?;
        report(&format!("round {round}: killed after {pause:?}, {} acknowledged so far", acknowledged(&writers)));
    }
    let server = home.start(&plan.binary).await.context("after the last round")?;
    let client = Client::connect(&server.address).await?;
    if let Some(what) = verify(&client, &mut writers).await? {
        return Ok(Verdict::Lost { round: plan.rounds, what });
    }
    let in_doubt = writers.iter().map(|writer| writer.in_doubt_count).sum();
    Ok(Verdict::Durable { acknowledged: acknowledged(&writers), in_doubt })
}

fn acknowledged(writers: &[Writer]) -> u64 {
    writers.iter().map(|writer| writer.acknowledged).sum()
}

async fn verify(client: &Client, writers: &mut [Writer]) -> Result<Option<String>> {
    for writer in writers {
        if let Some(what) = writer.verify(client.clone()).await? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

async fn write_until_killed(
    server: Server,
    client: &Client,
    writers: Vec<Writer>,
    pause: Duration,
) -> Result<Vec<Writer>> {
    let killed = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let (client, killed) = (client.clone(), Arc::clone(&killed));
            tokio::spawn(async move {
                let result = writer.write_until(client, &killed).await;
                (writer, result)
            })
        })
        .collect();
    tokio::time::sleep(pause).await;
    killed.store(true, Ordering::SeqCst);
    server.kill().await?;
    let mut writers = Vec::new();
    for task in tasks {
        let (writer, result) = task.await?;
        result?;
        writers.push(writer);
    }
    Ok(writers)
}

/// The directories of a run.
struct Home {
    mode: Mode,
    directory: TempDir,
}

impl Home {
    fn new(mode: Mode) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("stonetown-crash").tempdir()?;
        for name in ["root", "record"] {
            std::fs::create_dir(directory.path().join(name))?;
        }
        let home = Self { mode, directory };
        if mode == Mode::Unsynced {
            compile_shim(&home.path("unsynced.so"))?;
        }
        Ok(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn start(&self, binary: &Path) -> Result<Server> {
        let environment = match self.mode {
            Mode::Kill => Vec::new(),
            Mode::Unsynced => shim_environment(self.directory.path(), SYNC_US),
        };
        Server::start(binary, Store::RocksDb(&self.path("root").join("data")), &[], &environment).await
    }

    /// What the kill takes away beyond the process.
    fn take_away(&self) -> Result<()> {
        match self.mode {
            Mode::Kill => Ok(()),
            Mode::Unsynced => rollback::to_last_sync(&self.path("root"), &self.path("record")),
        }
    }
}

/// Compiles the preload shim to `shared_object`.
///
/// # Errors
/// If there is no C compiler, or it refuses the shim.
pub fn compile_shim(shared_object: &Path) -> Result<()> {
    compile(&["-shared", "-fPIC"], "unsynced.c", shared_object)
}

/// Compiles a file of `tests/shim`.
///
/// # Errors
/// If there is no C compiler, or it refuses the file.
pub fn compile(flags: &[&str], source: &str, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .arg(to)
        .arg(server::root().join("tests/shim").join(source))
        .args(["-ldl", "-lpthread"])
        .status()
        .context("cannot run `cc`")?;
    if !status.success() {
        bail!("`cc` refuses tests/shim/{source}");
    }
    Ok(())
}

/// What a process needs in its environment to run under the shim that was compiled to `unsynced.so` in `directory`,
/// which has the folders `root` and `record`.
pub fn shim_environment(directory: &Path, sync_us: u64) -> Vec<(&'static str, String)> {
    let path = |name: &str| directory.join(name).display().to_string();
    vec![
        ("LD_PRELOAD", path("unsynced.so")),
        ("UNSYNCED_ROOT", path("root")),
        ("UNSYNCED_RECORD", path("record")),
        ("UNSYNCED_SYNC_US", sync_us.to_string()),
    ]
}
