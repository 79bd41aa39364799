//! The command line as a user of its own has it: a folder to work in, contexts of its own, nobody else's environment.
// A test that cannot begin has failed.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::{KEY, Server, binary};

/// See the module.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    binary: PathBuf,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An empty one.
    ///
    /// # Panics
    /// If there is no room for it, or the program does not build.
    #[must_use]
    pub fn new() -> Self {
        Home { folder: tempfile::tempdir().unwrap(), binary: binary().unwrap() }
    }

    /// The path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A command that is not run yet.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STONETOWN_") || name.starts_with("ZED_"))
        {
            command.env_remove(name);
        }
        command.args(args).env("XDG_CONFIG_HOME", self.path("config"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The same, with a test server's address and key.
    #[must_use]
    pub fn command_at(&self, server: &Server, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.env("STONETOWN_ENDPOINT", &server.address).env("STONETOWN_TOKEN", KEY);
        command
    }

    /// Runs a command at a test server.
    ///
    /// # Panics
    /// If it cannot be run.
    pub async fn at(&self, server: &Server, args: &[&str]) -> Output {
        self.command_at(server, args).output().await.unwrap()
    }

    /// What a command at `host:port` printed if it succeeded, or else what it said on standard error. It tries once.
    ///
    /// # Errors
    /// If the command failed.
    ///
    /// # Panics
    /// If it cannot be run.
    pub async fn said(&self, endpoint: &str, token: &str, args: &[&str]) -> Result<String, String> {
        let mut command = self.command(args);
        command.env("STONETOWN_ENDPOINT", endpoint).env("STONETOWN_TOKEN", token).env("STONETOWN_MAX_RETRIES", "0");
        let output = command.output().await.unwrap();
        if output.status.success() { Ok(out(&output)) } else { Err(err(&output)) }
    }

    /// Runs a command that knows no server.
    ///
    /// # Panics
    /// If it cannot be run.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    /// Runs a command with this on its standard input.
    ///
    /// # Panics
    /// If it cannot be run, or does not take it.
    pub async fn with_input(&self, mut command: Command, input: &str) -> Output {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    }
}

/// What a command that succeeded printed.
///
/// # Panics
/// If it failed.
pub fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command said on standard error.
#[must_use]
pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
