//! `stonetown relationship watch` by the real binary, while its server goes away and comes back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Stdio;
use std::time::Duration;

use stonetown_tests::client::Client;
use stonetown_tests::home::Home;
use stonetown_tests::server::{Server, Store, binary};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SCHEMA: &str = "definition user {}\ndefinition document { relation viewer: user }";
/// Time for a line to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A watch that runs.
struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Watch {
    fn begin(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        Watch { lines: BufReader::new(child.stdout.take().unwrap()).lines(), child }
    }

    async fn next(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time").unwrap()
    }

    /// The lines up to one that begins so.
    async fn until(&mut self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.next().await.expect("the watch goes on");
            let last = line.starts_with(beginning);
            lines.push(line);
            if last {
                return lines;
            }
        }
    }
}

async fn write(server: &Server, ids: std::ops::Range<usize>) {
    let mut client = Client::connect(&server.address).await.unwrap();
    for n in ids {
        client.write_all(&[format!("document:d{n:03}#viewer@user:ann").parse().unwrap()]).await.unwrap();
    }
}

fn touches(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|n| format!("TOUCH document:d{n:03}#viewer@user:ann")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_the_server_lose_and_repeat_nothing() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let store = Store::RocksDb(folder.path());
    let flags = ["--watch-api-heartbeat", "50ms"];
    let mut server = Server::start(&binary().unwrap(), store, &flags, &[]).await.unwrap();
    let address = server.address.clone();
    Client::connect(&address).await.unwrap().write_schema(SCHEMA).await.unwrap();
    let mut watch = Watch::begin(home.command_at(&server, &["relationship", "watch", "document", "--from-start"]));
    for round in 0..4 {
        let first = round * 20;
        write(&server, first..first + 10).await;
        if round % 2 == 0 {
            // In the middle of what is told.
            assert_eq!(watch.until(&format!("TOUCH document:d{:03}", first + 3)).await, touches(first..first + 4));
            server.kill().await.unwrap();
            server = Server::start_at(&address, &binary().unwrap(), store, &flags, &[]).await.unwrap();
            write(&server, first + 10..first + 20).await;
            assert_eq!(
                watch.until(&format!("TOUCH document:d{:03}", first + 19)).await,
                touches(first + 4..first + 20)
            );
        } else {
            // When everything is told.
            assert_eq!(watch.until(&format!("TOUCH document:d{:03}", first + 9)).await, touches(first..first + 10));
            server.terminate().await.unwrap();
            drop(server);
            server = Server::start_at(&address, &binary().unwrap(), store, &flags, &[]).await.unwrap();
            write(&server, first + 10..first + 20).await;
            assert_eq!(
                watch.until(&format!("TOUCH document:d{:03}", first + 19)).await,
                touches(first + 10..first + 20)
            );
        }
    }
    watch.child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_goes_on_too() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let store = Store::RocksDb(folder.path());
    let flags = ["--watch-api-heartbeat", "50ms"];
    let server = Server::start(&binary().unwrap(), store, &flags, &[]).await.unwrap();
    let address = server.address.clone();
    Client::connect(&address).await.unwrap().write_schema(SCHEMA).await.unwrap();
    let mut quiet = Watch::begin(home.command_at(&server, &["relationship", "watch", "--limit", "1"]));
    // The other begins later, and has been told how far it is.
    let also = ["relationship", "watch", "--also", "checkpoints", "--timestamp"];
    let mut shown = Watch::begin(home.command_at(&server, &also));
    let checkpoint = shown.next().await.unwrap();
    assert_eq!(checkpoint.split(' ').nth(1), Some("CHECKPOINT"), "{checkpoint}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.kill().await.unwrap();
    let server = Server::start_at(&address, &binary().unwrap(), store, &flags, &[]).await.unwrap();
    write(&server, 0..1).await;
    assert_eq!(quiet.next().await.as_deref(), Some("TOUCH document:d000#viewer@user:ann"));
    assert_eq!(quiet.next().await, None);
    assert!(quiet.child.wait().await.unwrap().success());
    shown.child.kill().await.unwrap();
}
