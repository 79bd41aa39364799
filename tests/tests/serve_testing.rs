//! `stonetown serve-testing`: a store for each token.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, fully_consistent, relationship};
use stonetown_tests::http::post;
use stonetown_tests::server::{Server, binary};
use tonic::Code;

const SCHEMA: &str = "definition user {} definition document { relation viewer: user; permission view = viewer; }";

async fn read(client: &mut Client) -> BTreeSet<String> {
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    client.read(filter, fully_consistent()).await.unwrap()
}

async fn schema(client: &mut Client) -> Result<String, Code> {
    let read = client.schema.read_schema(wire::ReadSchemaRequest {}).await;
    read.map(|read| read.into_inner().schema_text).map_err(|error| error.code())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_store_takes_no_threads_of_its_own() {
    let server = Server::start_testing(&binary().unwrap(), &[]).await.unwrap();
    let threads = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id().unwrap())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim().parse().unwrap()
    };
    let before = threads();
    for number in 0..40 {
        let mut client = Client::connect_as(&server.address, &format!("token-{number}")).await.unwrap();
        assert_eq!(schema(&mut client).await, Err(Code::NotFound));
    }
    assert!(threads() < before + 20, "{} threads, {before} before", threads());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_has_a_store_and_the_other_port_only_reads_it() {
    let mut server = Server::start_testing(&binary().unwrap(), &[]).await.unwrap();
    let readonly = server.line("serving read-only grpc on ").await.unwrap();
    let mut one = Client::connect_as(&server.address, "one").await.unwrap();
    let mut other = Client::connect_as(&server.address, "other").await.unwrap();
    one.write_schema(SCHEMA).await.unwrap();
    one.write([relationship(("document", "d"), "viewer", ("user", "ann"))], []).await.unwrap();
    assert_eq!(schema(&mut other).await, Err(Code::NotFound));

    let mut reader = Client::connect_as(&readonly, "one").await.unwrap();
    assert_eq!(read(&mut reader).await, BTreeSet::from(["document:d#viewer@user:ann".to_owned()]));
    let new = relationship(("document", "e"), "viewer", ("user", "ann"));
    for refused in [
        reader.write([new.clone()], []).await.map(|_| ()),
        reader.write_schema(SCHEMA).await.map(|_| ()),
        reader.import(vec![vec![new.clone()]]).await.map(|_| ()),
        reader
            .delete(wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() })
            .await
            .map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        let details = String::from_utf8_lossy(error.details()).into_owned();
        assert!(details.contains("ERROR_REASON_SERVICE_READ_ONLY"), "{details}");
    }
    one.write([new], []).await.unwrap();
    assert_eq!(read(&mut reader).await.len(), 2);
    let mut other_reader = Client::connect_as(&readonly, "other").await.unwrap();
    assert_eq!(schema(&mut other_reader).await, Err(Code::NotFound));

    // Without a token there is a store, too; over HTTP it is the same.
    let written =
        post(&server.address, "/v1/schema/write", &[], json!({ "schema": SCHEMA }).to_string()).await.unwrap();
    assert_eq!(written.code, 200, "{}", written.body);
    let found = post(&readonly, "/v1/schema/read", &[("authorization", "Bearer one")], "").await.unwrap();
    assert!(found.body.contains("definition document"), "{}", found.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_say_the_same_on_both_ports() {
    let mut server = Server::start_testing(&binary().unwrap(), &[]).await.unwrap();
    let readonly = server.line("serving read-only grpc on ").await.unwrap();
    let headers = [("authorization", "Bearer one")];
    let count = async |address: &str, name: &str| {
        let path = "/v1/experimental/countrelationships";
        post(address, path, &headers, json!({ "name": name }).to_string()).await.unwrap()
    };
    let mut client = Client::connect_as(&server.address, "one").await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    // Asked for before it is there, and after.
    assert_eq!(count(&readonly, "views").await.code, 400);
    let register = json!({ "name": "views", "relationshipFilter": { "resourceType": "document" } }).to_string();
    let path = "/v1/experimental/registerrelationshipcounter";
    assert_eq!(post(&readonly, path, &headers, register.clone()).await.unwrap().code, 503);
    assert_eq!(post(&server.address, path, &headers, register).await.unwrap().code, 200);
    for written in 1..=3 {
        let new = relationship(("document", &format!("d{written}")), "viewer", ("user", "ann"));
        client.write([new], []).await.unwrap();
        for address in [&server.address, &readonly] {
            let mut answer = count(address, "views").await;
            while answer.body.contains("counterStillCalculating") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                answer = count(address, "views").await;
            }
            let counted = &answer.json().unwrap()["readCounterValue"]["relationshipCount"];
            assert_eq!(counted, &json!(written.to_string()), "{address}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_begin_with_the_files_that_are_given_and_the_longest_unused_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("begin.yaml");
    std::fs::write(&path, format!("schema: \"{SCHEMA}\"\nrelationships: document:d#viewer@user:ann\n")).unwrap();
    let path = path.display().to_string();
    let flags = ["--load-configs", &path, "--max-stores", "2", "--http-enabled", "--http-addr", "127.0.0.1:0"];
    let mut server = Server::start_testing(&binary().unwrap(), &flags).await.unwrap();
    let http = server.line("serving http on ").await.unwrap();
    let mut a = Client::connect_as(&server.address, "a").await.unwrap();
    let mut b = Client::connect_as(&server.address, "b").await.unwrap();
    let new = || [relationship(("document", "new"), "viewer", ("user", "ann"))];
    assert_eq!(read(&mut a).await, BTreeSet::from(["document:d#viewer@user:ann".to_owned()]));
    a.write(new(), []).await.unwrap();
    b.write(new(), []).await.unwrap();
    assert_eq!(read(&mut a).await.len(), 2);
    // Room for two: a third token takes the place of b, which was not used since.
    let body = json!({ "relationshipFilter": { "resourceType": "document" } }).to_string();
    let third = post(&http, "/v1/relationships/read", &[("authorization", "Bearer c")], body).await.unwrap();
    assert_eq!(third.lines().unwrap().len(), 1);
    assert_eq!(read(&mut a).await.len(), 2);
    assert_eq!(read(&mut b).await.len(), 1);

    std::fs::write(folder.path().join("begin.yaml"), "schema: definition {").unwrap();
    assert!(Server::start_testing(&binary().unwrap(), &["--load-configs", &path]).await.is_err());
}
