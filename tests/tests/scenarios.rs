//! Every scenario through every call over the wire, on both stores, and again after a restart.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use stonetown_tests::client::Client;
use stonetown_tests::scenario;
use stonetown_tests::server::{Server, Store, binary};

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_hold_in_memory() {
    let binary = binary().unwrap();
    let mut failures = Vec::new();
    for file in scenario::files().unwrap() {
        let server = Server::start(&binary, Store::Memory, &[], &[]).await.unwrap();
        let client = Client::connect(&server.address).await.unwrap();
        collect(&mut failures, &file, scenario::run(client, &file).await);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_hold_on_rocksdb_and_after_a_restart() {
    let binary = binary().unwrap();
    let mut failures = Vec::new();
    for file in scenario::files().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let store = Store::RocksDb(&data);
        let server = Server::start(&binary, store, &[], &[]).await.unwrap();
        let client = Client::connect(&server.address).await.unwrap();
        collect(&mut failures, &file, scenario::run(client, &file).await);
        server.kill().await.unwrap();

        let server = Server::start(&binary, store, &[], &[]).await.unwrap();
        let client = Client::connect(&server.address).await.unwrap();
        collect(&mut failures, &file, scenario::ask(client, &file).await);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A scenario that proves nothing must not pass: an assertion turned around has to fail through every call.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_assertion_is_found_by_every_call() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.yaml");
    let text = "schema: |-
  definition user {}
  definition document {
    relation viewer: user
    permission view = viewer
  }
relationships: document:d#viewer@user:anna
assertions:
  assertFalse:
    - document:d#view@user:anna
";
    std::fs::write(&file, text).unwrap();
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    let client = Client::connect(&server.address).await.unwrap();
    let failures = scenario::run(client, &file).await.unwrap();
    for call in ["check", "bulk check", "lookup resources", "lookup subjects"] {
        let prefix = format!("{call}: ");
        assert!(failures.iter().any(|failure| failure.starts_with(&prefix)), "{call} is not among {failures:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_in_use_is_not_opened_twice() {
    let binary = binary().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let _first = Server::start(&binary, Store::RocksDb(&data), &[], &[]).await.unwrap();
    let second = Server::start(&binary, Store::RocksDb(&data), &[], &[]);
    assert!(tokio::time::timeout(Duration::from_secs(30), second).await.unwrap().is_err());
}

fn collect(failures: &mut Vec<String>, file: &std::path::Path, result: anyhow::Result<Vec<String>>) {
    let name = file.file_name().unwrap().to_string_lossy();
    match result {
        Ok(found) => failures.extend(found.into_iter().map(|failure| format!("{name}: {failure}"))),
        Err(error) => failures.push(format!("{name}: {error:#}")),
    }
}
