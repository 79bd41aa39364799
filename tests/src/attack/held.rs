//! What a server's process holds, before an attack and after it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::operated::Operated;

/// Time after which everything has to be given back: threads that wait for work end after a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Open files and connections.
    pub files: usize,
    /// Threads.
    pub threads: u64,
    /// Resident memory.
    pub memory_mib: u64,
}

impl Held {
    /// What a server holds now.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(server: &Operated) -> Result<Held> {
        let id = server.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let number = |name: &str| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such line")?;
            Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
        };
        Ok(Held {
            files: std::fs::read_dir(format!("/proc/{id}/fd"))?.count(),
            threads: number("Threads:")?,
            memory_mib: number("VmRSS:")? >> 10,
        })
    }

    /// Waits until a server holds about what this says: some threads wait for more work, and allocators keep some memory.
    ///
    /// # Errors
    /// If it holds more for good.
    pub async fn until_back(self, server: &Operated) -> Result<Held> {
        let begun = Instant::now();
        loop {
            let now = Held::of(server)?;
            if now.files <= self.files + 8 && now.threads <= self.threads + 16 && now.memory_mib <= self.memory_mib + 64
            {
                return Ok(now);
            }
            ensure!(begun.elapsed() < PATIENCE, "{now} instead of {self}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {} threads, {} MiB", self.files, self.threads, self.memory_mib)
    }
}
