//! The logs of decisions and changes of a real server: what is in them after kill -9, what the command line finds in them, and
//! what happens when they cannot be written.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_api::proto::stonetown::v1 as own;
use stonetown_tests::client::Client;
use stonetown_tests::crash;
use stonetown_tests::home::{Home, out};
use stonetown_tests::operated::Operated;
use stonetown_tests::server::{Server, Store, binary};
use stonetown_tests::until::until;
use stonetown_tuple::Relationship;

const SCHEMA: &str = "
caveat on_network(net string, secret string) { net == \"office\" && secret != \"\" }
definition user {}
definition document {
  relation viewer: user | user with on_network
  permission view = viewer
  permission peek = viewer
}";

/// The same with relations and permissions that say for themselves that they are strict.
const ANNOTATED: &str = "
definition user {}
definition document {
  relation viewer: user
  // @stonetown audit(strict)
  relation signer: user
  permission peek = viewer
  // @stonetown audit(strict)
  permission sign = signer
}";

fn audit(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.args(["--json", "audit"]).args(arguments).env("STONETOWN_DATA_DIR", directory.join("data"));
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn search(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    lines(&audit(directory, &[&["search"], arguments].concat()))
}

fn object(text: &str) -> wire::ObjectReference {
    let (object_type, object_id) = text.split_once(':').unwrap();
    wire::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() }
}

fn subject(text: &str) -> wire::SubjectReference {
    wire::SubjectReference { object: Some(object(text)), optional_relation: String::new() }
}

async fn check(client: &mut Client, resource: &str, permission: &str, who: &str) -> Result<bool, tonic::Code> {
    let request = wire::CheckPermissionRequest {
        resource: Some(object(resource)),
        permission: permission.to_owned(),
        subject: Some(subject(who)),
        ..Default::default()
    };
    let response = client.permissions.check_permission(request).await.map_err(|status| status.code())?;
    Ok(response.into_inner().permissionship == wire::check_permission_response::Permissionship::HasPermission as i32)
}

async fn start(directory: &Path, flags: &[&str]) -> (Server, Client) {
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&directory.join("data")), flags, &[]).await.unwrap();
    let client = Client::connect(&server.address).await.unwrap();
    (server, client)
}

/// Waits until signed checkpoints cover all records, as they do within a second of the last one.
async fn until_signed(directory: &Path) {
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let is_signed = async || lines(&audit(directory, &["verify"])).iter().all(|log| log["signed"] == log["size"]);
    until("all is signed for", is_signed).await;
}

async fn prepare(client: &mut Client) {
    client.write_schema(SCHEMA).await.unwrap();
    let relationship: Relationship = "document:readme#viewer@user:anna".parse().unwrap();
    client.write([stonetown_api::client::relationship_to_wire(relationship)], []).await.unwrap();
}

fn explain(server: &Server, decision: &Value) -> Value {
    let mut command = Command::new(binary().unwrap());
    command.args(["--json", "--insecure", "--endpoint", &server.address, "--token", stonetown_tests::server::KEY]);
    lines(&command.args(["explain", &decision["index"].to_string()]).output().unwrap()).remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_explained_as_they_were_made_also_by_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let flags = ["--audit-strict", "document#view", "--audit-mask", "secret"];
    let (server, mut client) = start(directory, &flags).await;
    prepare(&mut client).await;
    assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));
    assert_eq!(check(&mut client, "document:readme", "view", "user:bert").await, Ok(false));
    let masked = wire::CheckPermissionRequest {
        resource: Some(object("document:readme")),
        permission: "view".to_owned(),
        subject: Some(subject("user:anna")),
        context: Some(prost_types::Struct {
            fields: [(
                "secret".to_owned(),
                prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("s3cr3t".to_owned())) },
            )]
            .into(),
        }),
        ..Default::default()
    };
    client.permissions.check_permission(masked).await.unwrap();
    let gone = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    client.delete(gone).await.unwrap();
    server.kill().await.unwrap();
    let (server, _client) = start(directory, &flags).await;

    let [allowed, denied, masked] = &search(directory, &["--call", "check"])[..] else { panic!("not three checks") };
    let explained = explain(&server, allowed);
    assert_eq!(explained["replay"]["reproduces"], true, "{explained}");
    assert_eq!(explained["path"][0]["relationship"], "document:readme#viewer@user:anna");
    let explained = explain(&server, denied);
    assert_eq!((&explained["replay"]["reproduces"], &explained["outcome"]), (&true.into(), &"OUTCOME_DENIED".into()));
    let explained = explain(&server, masked);
    assert_eq!(explained["replay"]["obstacle"], "OBSTACLE_MASKED", "{explained}");
    assert_eq!(explained["replay"]["masked"], serde_json::json!(["secret"]));
    assert_eq!(explained["replay"]["recorded"], "OUTCOME_ALLOWED");
    assert_eq!(explained["outcome"], "OUTCOME_UNSPECIFIED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_decision_and_every_change_survive_kill_9_and_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let flags = ["--audit-strict", "document#view", "--audit-mask", "secret"];
    let (server, mut client) = start(directory, &flags).await;
    prepare(&mut client).await;
    assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));
    assert_eq!(check(&mut client, "document:readme", "view", "user:bert").await, Ok(false));
    server.kill().await.unwrap();

    let found = search(directory, &["--subject", "user:anna"]);
    assert_eq!(found.len(), 1, "{found:?}");
    for (field, value) in [
        ("call", "check"),
        ("outcome", "allowed"),
        ("reason", "related"),
        ("resource", "document:readme"),
        ("permission", "view"),
        ("caller", "key-1"),
    ] {
        assert_eq!(found[0][field], value, "{found:?}");
    }
    assert_eq!((&found[0]["revision"], &found[0]["schema_revision"]), (&4.into(), &3.into()));
    assert_eq!(search(directory, &["--outcome", "denied"])[0]["subject"], "user:bert");
    assert_eq!(search(directory, &["--resource", "document:other"]), Vec::<Value>::new());
    let first = search(directory, &["--limit", "1"]);
    assert_eq!((&first[0]["kind"], &first[0]["build"]), (&"start".into(), &"stonetown 0.1.0".into()));

    // The change log is completed from the transaction log, should the crash have come between.
    let (server, client) = start(directory, &flags).await;
    drop(client);
    server.kill().await.unwrap();
    let changes = search(directory, &["--log", "changes", "--subject", "user:anna"]);
    assert_eq!((changes.len(), &changes[0]["revision"], &changes[0]["actor"]), (1, &4.into(), &"key-1".into()));
    for report in lines(&audit(directory, &["verify", directory.join("data").to_str().unwrap()])) {
        assert_eq!(report["whole"], true, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_decision_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut expected = 0;
    for round in 0..4 {
        let (server, mut client) = start(directory, &[]).await;
        if round == 0 {
            prepare(&mut client).await;
        }
        // More than is written at once, and the last of them just before the end.
        for _ in 0..150 + round * 37 {
            assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));
            expected += 1;
        }
        server.kill().await.unwrap();
    }
    let (server, client) = start(directory, &[]).await;
    drop(client);
    server.kill().await.unwrap();
    assert_eq!(search(directory, &["--call", "check"]).len(), expected);
    let starts = search(directory, &[]).into_iter().filter(|record| record["kind"] == "start");
    let recovered: u64 = starts.map(|start| start["recovered"].as_u64().unwrap()).sum();
    assert!(recovered > 0, "some were only in the queue");
    assert!(audit(directory, &["verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refused_log_ins_is_counted_and_leaves_few_records() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (server, mut client) = start(directory, &[]).await;
    prepare(&mut client).await;
    let mut stranger = Client::connect_as(&server.address, "wrong").await.unwrap();
    for _ in 0..300 {
        let refused = check(&mut stranger, "document:readme", "view", "user:anna").await;
        assert_eq!(refused, Err(tonic::Code::PermissionDenied));
    }
    drop(client);
    server.kill().await.unwrap();
    let (server, client) = start(directory, &[]).await;
    drop(client);
    until_signed(directory).await;
    server.kill().await.unwrap();
    let single = search(directory, &["--call", "authenticate"]);
    assert!(single.iter().all(|record| record["reason"] == "unknown"));
    let gaps = search(directory, &[]).into_iter().filter(|record| record["reason"] == "log_ins_sampled");
    let counted: u64 = gaps.map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert!((1..100).contains(&single.len()), "{}", single.len());
    assert_eq!(single.len() as u64 + counted, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_is_refused_is_recorded_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (server, client) = start(directory, &[]).await;
    drop(client);
    let home = Home::new();
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    let issued = async |flags: &[&str]| {
        let text = good(&[&["--json", "credential", "issue"], flags].concat()).await;
        let issued: Value = serde_json::from_str(&text).unwrap();
        ["id", "token"].map(|name| issued[name].as_str().unwrap().to_owned())
    };
    good(&["store", "create", "shop"]).await;
    for name in ["ann", "bob"] {
        good(&["principal", "create", name, "--kind", "human"]).await;
    }
    let ([id, revoked], [_, quarantined]) = (issued(&["ann"]).await, issued(&["bob"]).await);
    let [_, elsewhere] = issued(&["ann", "--for-store", "shop"]).await;
    good(&["credential", "revoke", &id]).await;
    good(&["principal", "quarantine", "bob", "--reason", "test"]).await;
    for token in ["wrong", &revoked, &quarantined, &elsewhere] {
        assert!(home.said(&server.address, token, &["--store", "default", "whoami"]).await.is_err());
    }
    server.kill().await.unwrap();
    let (server, client) = start(directory, &[]).await;
    drop(client);
    until_signed(directory).await;
    server.kill().await.unwrap();
    let recorded = search(directory, &["--call", "authenticate"]);
    let reasons: Vec<_> = recorded.iter().map(|record| record["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["unknown", "revoked", "quarantined", "other_store"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_sends_is_inert_on_the_screen_and_erased_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (server, mut client) = start(directory, &["--audit-strict", "document#view"]).await;
    prepare(&mut client).await;
    let hostile = "\u{1b}[2J\n\"}]{<script>alert(1)</script>\u{202e}\u{9b}hostile";
    let request = wire::CheckPermissionRequest {
        resource: Some(object("document:readme")),
        permission: "view".to_owned(),
        subject: Some(subject("user:anna")),
        context: Some(prost_types::Struct {
            fields: [(
                hostile.to_owned(),
                prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(hostile.to_owned())) },
            )]
            .into_iter()
            .collect(),
        }),
        ..Default::default()
    };
    client.permissions.check_permission(request).await.unwrap();
    server.terminate().await.unwrap();
    let mut server = server;
    while !server.has_ended().unwrap() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for json in [false, true] {
        let mut command = Command::new(binary().unwrap());
        command.args(json.then_some("--json")).args(["audit", "search", "--call", "check"]);
        let output = command.env("STONETOWN_DATA_DIR", directory.join("data")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let printed = text.trim_end_matches('\n');
        assert_eq!(printed.lines().count(), 1, "{printed:?}");
        assert!(printed.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{printed:?}");
        if json {
            let record: Value = serde_json::from_str(printed).unwrap();
            assert_eq!(record["context"][hostile], hostile);
        }
    }

    let erased = audit(directory, &["erase", "--object", "user:anna", "--reason", "asked to be forgotten"]);
    assert_eq!(lines(&erased)[0]["decisions"], 2);
    assert!(audit(directory, &["verify"]).status.success());
    assert!(!grep(&directory.join("data/audit"), b"hostile"));
    assert_eq!(search(directory, &["--call", "check"])[0]["subject"], "user:[erased]");
    assert_eq!(search(directory, &["--subject", "user:anna"]), Vec::<Value>::new());
    let told = search(directory, &["--log", "changes"]).into_iter().find(|record| record["kind"] == "erased").unwrap();
    assert_eq!((&told["decisions"], &told["why"]), (&2.into(), &"asked to be forgotten".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_decision_survives_the_loss_of_everything_that_was_not_synced() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::create_dir(path("root")).unwrap();
    std::fs::create_dir(path("record")).unwrap();
    crash::compile_shim(&path("unsynced.so")).unwrap();
    let environment = crash::shim_environment(home.path(), 1_000);
    let flags = ["--audit-strict", "document#view"];
    let mut expected = 0;
    for _ in 0..3 {
        let data = path("root").join("data");
        let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &flags, &environment).await.unwrap();
        let mut client = Client::connect(&server.address).await.unwrap();
        if expected == 0 {
            prepare(&mut client).await;
        }
        for _ in 0..5 {
            assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));
            assert_eq!(check(&mut client, "document:readme", "peek", "user:anna").await, Ok(true));
            expected += 1;
        }
        server.kill().await.unwrap();
        crash::rollback::to_last_sync(&path("root"), &path("record")).unwrap();
        assert_eq!(search(&path("root"), &["--permission", "view"]).len(), expected);
        assert!(audit(&path("root"), &["verify"]).status.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_time_was_forgotten_at_a_start_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for flags in [&["--forget-time"][..], &[]] {
        let (mut server, _) = start(directory, flags).await;
        server.terminate().await.unwrap();
        while !server.has_ended().unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let told = search(directory, &["--call", "forget_time"]);
        assert_eq!((told.len(), &told[0]["caller"]), (1, &"command line".into()), "{flags:?}");
    }
}

/// Asks about `permission` in every way, each answered before the next, and says what it was refused as, if it was.
async fn ask_in_every_way(client: &mut Client, permission: &str, relation: &str) -> Vec<Option<tonic::Status>> {
    let mut refused = Vec::new();
    let request = wire::CheckPermissionRequest {
        resource: Some(object("document:readme")),
        permission: permission.to_owned(),
        subject: Some(subject("user:anna")),
        ..Default::default()
    };
    refused.push(client.permissions.check_permission(request).await.err());
    let item = |permission: &str| wire::CheckBulkPermissionsRequestItem {
        resource: Some(object("document:readme")),
        permission: permission.to_owned(),
        subject: Some(subject("user:anna")),
        context: None,
    };
    let bulk = wire::CheckBulkPermissionsRequest { items: vec![item("peek"), item(permission)], ..Default::default() };
    refused.push(client.permissions.check_bulk_permissions(bulk).await.err());
    let lookup = wire::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: permission.to_owned(),
        subject: Some(subject("user:anna")),
        ..Default::default()
    };
    refused.push(first_error(client.permissions.lookup_resources(lookup).await).await);
    let lookup = wire::LookupSubjectsRequest {
        resource: Some(object("document:readme")),
        permission: permission.to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    refused.push(first_error(client.permissions.lookup_subjects(lookup).await).await);
    let expand = wire::ExpandPermissionTreeRequest {
        resource: Some(object("document:readme")),
        permission: permission.to_owned(),
        ..Default::default()
    };
    refused.push(client.permissions.expand_permission_tree(expand).await.err());
    let read = wire::ReadRelationshipsRequest {
        relationship_filter: Some(wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            optional_relation: relation.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    refused.push(first_error(client.permissions.read_relationships(read).await).await);
    let readme = own::ObjectRef { r#type: "document".to_owned(), id: "readme".to_owned() };
    let anna = own::SubjectRef { r#type: "user".to_owned(), id: "anna".to_owned(), relation: String::new() };
    let explain = own::ExplainRequest {
        resource: Some(readme.clone()),
        permission: permission.to_owned(),
        subject: Some(anna.clone()),
        ..Default::default()
    };
    refused.push(client.decisions.explain(explain).await.err());
    let who = own::WhoCanRequest { resource: Some(readme), permission: permission.to_owned(), ..Default::default() };
    refused.push(first_error(client.decisions.who_can(who).await).await);
    let what = own::WhatCanRequest {
        subject: Some(anna),
        // What is strict is so also where it is not named.
        permission: if permission == "sign" { "" } else { permission }.to_owned(),
        ..Default::default()
    };
    refused.push(first_error(client.decisions.what_can(what).await).await);
    refused
}

/// What a stream begins with, if that is an error.
async fn first_error<T>(stream: Result<tonic::Response<tonic::Streaming<T>>, tonic::Status>) -> Option<tonic::Status> {
    match stream {
        Ok(stream) => stream.into_inner().message().await.err(),
        Err(status) => Some(status),
    }
}

/// What [`ask_in_every_way`] leaves, by call.
const EVERY_WAY: [&str; 9] =
    ["check", "check_bulk", "lookup_resources", "lookup_subjects", "expand", "read", "explain", "who_can", "what_can"];

async fn prepare_annotated(client: &mut Client) {
    client.write_schema(ANNOTATED).await.unwrap();
    for relation in ["viewer", "signer"] {
        let relationship: Relationship = format!("document:readme#{relation}@user:anna").parse().unwrap();
        client.write([stonetown_api::client::relationship_to_wire(relationship)], []).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_says_is_strict_survives_the_loss_of_everything_that_was_not_synced() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::create_dir(path("root")).unwrap();
    std::fs::create_dir(path("record")).unwrap();
    crash::compile_shim(&path("unsynced.so")).unwrap();
    let environment = crash::shim_environment(home.path(), 1_000);
    for round in 1..3 {
        let data = path("root").join("data");
        let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &environment).await.unwrap();
        let mut client = Client::connect(&server.address).await.unwrap();
        if round == 1 {
            prepare_annotated(&mut client).await;
        }
        for refused in ask_in_every_way(&mut client, "sign", "signer").await {
            assert!(refused.is_none(), "{refused:?}");
        }
        // A call about all relations of a type is about the strict one, too.
        let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
        let read = wire::ReadRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        assert!(first_error(client.permissions.read_relationships(read).await).await.is_none());
        server.kill().await.unwrap();
        crash::rollback::to_last_sync(&path("root"), &path("record")).unwrap();
        let of = |call: &str| search(&path("root"), &["--call", call]);
        for call in ["check", "expand", "explain"] {
            assert_eq!(of(call).len(), round, "{call}");
        }
        assert_eq!(of("check_bulk").len(), 2 * round);
        for (call, times) in
            [("lookup_resources", 1), ("lookup_subjects", 1), ("read", 2), ("who_can", 1), ("what_can", 1)]
        {
            let begun = of(call).into_iter().filter(|record| record["outcome"] == "begun").count();
            assert_eq!(begun, times * round, "{call}");
        }
        assert!(audit(&path("root"), &["verify"]).status.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_disk_is_measured() {
    let server = Operated::start(&[]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    prepare_annotated(&mut client).await;
    for permission in ["peek", "sign", "sign"] {
        assert_eq!(check(&mut client, "document:readme", permission, "user:anna").await, Ok(true));
    }
    assert_eq!(server.metric("stonetown_audit_strict_total").await.unwrap(), 2.0);
    assert!(server.metric("stonetown_audit_strict_wait_microseconds_total").await.unwrap() > 0.0);
    assert_eq!(server.metric("stonetown_audit_strict_waiting").await.unwrap(), 0.0);
    assert_eq!(server.metric("stonetown_audit_refused_total").await.unwrap(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_what_the_schema_says_is_strict_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut client) = start(directory.path(), &["--audit=false"]).await;
    client.write_schema(&ANNOTATED.replace("@stonetown", "of")).await.unwrap();
    let relationship: Relationship = "document:readme#signer@user:anna".parse().unwrap();
    let before = client.write([stonetown_api::client::relationship_to_wire(relationship)], []).await.unwrap();
    assert_eq!(check(&mut client, "document:readme", "sign", "user:anna").await, Ok(true));
    prepare_annotated(&mut client).await;
    for (call, refused) in EVERY_WAY.into_iter().zip(ask_in_every_way(&mut client, "sign", "signer").await) {
        let refused = refused.unwrap();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{call}");
        assert!(refused.message().contains("this server keeps no log"), "{call}: {refused}");
    }
    for refused in ask_in_every_way(&mut client, "peek", "viewer").await {
        assert!(refused.is_none(), "{refused:?}");
    }
    // Asking of the time before the annotation is no way around it.
    let request = wire::CheckPermissionRequest {
        consistency: Some(wire::Consistency {
            requirement: Some(wire::consistency::Requirement::AtExactSnapshot(before)),
        }),
        resource: Some(object("document:readme")),
        permission: "sign".to_owned(),
        subject: Some(subject("user:anna")),
        ..Default::default()
    };
    let refused = client.permissions.check_permission(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    server.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_api_leaves_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // Strict, so that nothing has to be waited for.
    let (server, mut client) = start(directory, &["--audit-strict", "*", "--audit-mask", "secret"]).await;
    prepare(&mut client).await;
    let item = |who: &str, permission: &str| wire::CheckBulkPermissionsRequestItem {
        resource: Some(object("document:readme")),
        permission: permission.to_owned(),
        subject: Some(subject(who)),
        context: Some(prost_types::Struct {
            fields: [(
                "secret".to_owned(),
                prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("hush".to_owned())) },
            )]
            .into_iter()
            .collect(),
        }),
    };
    let items = vec![item("user:anna", "view"), item("user:bert", "view"), item("user:anna", "unknown")];
    let bulk = wire::CheckBulkPermissionsRequest { items, ..Default::default() };
    client.permissions.check_bulk_permissions(bulk).await.unwrap();
    let lookup = wire::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: Some(subject("user:anna")),
        ..Default::default()
    };
    let mut found = client.permissions.lookup_resources(lookup).await.unwrap().into_inner();
    while found.message().await.unwrap().is_some() {}
    let lookup = wire::LookupSubjectsRequest {
        resource: Some(object("document:readme")),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    let mut found = client.permissions.lookup_subjects(lookup).await.unwrap().into_inner();
    while found.message().await.unwrap().is_some() {}
    let expand = wire::ExpandPermissionTreeRequest {
        resource: Some(object("document:readme")),
        permission: "view".to_owned(),
        ..Default::default()
    };
    client.permissions.expand_permission_tree(expand).await.unwrap();
    let read = wire::ReadRelationshipsRequest {
        relationship_filter: Some(wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut found = client.permissions.read_relationships(read).await.unwrap().into_inner();
    while found.message().await.unwrap().is_some() {}
    let mut found = client
        .permissions
        .export_bulk_relationships(wire::ExportBulkRelationshipsRequest::default())
        .await
        .unwrap()
        .into_inner();
    while found.message().await.unwrap().is_some() {}
    client.schema.read_schema(wire::ReadSchemaRequest {}).await.unwrap();
    // A stream ends for its client before its last record is made; the next start sees all of them.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill().await.unwrap();

    let of = |call: &str| search(directory, &["--call", call]);
    let bulk = of("check_bulk");
    let outcomes: Vec<_> = bulk.iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["allowed", "denied", "failed"]);
    assert_eq!(bulk[2]["reason"], "unknown_relation");
    assert_eq!(bulk[0]["context"]["secret"], "[masked]");
    for call in ["lookup_resources", "lookup_subjects", "read", "export"] {
        let records = of(call);
        let outcomes: Vec<_> = records.iter().map(|record| record["outcome"].clone()).collect();
        assert_eq!(outcomes, ["begun", "answered"], "{call}");
        assert_eq!(records[1]["count"], 1, "{call}");
        assert_eq!(records[1]["digest"].as_str().map(str::len), Some(64), "{call}");
    }
    for call in ["expand", "read_schema", "write_schema", "write"] {
        assert_eq!(search(directory, &["--call", call, "--caller", "key-1"]).len(), 1, "{call}");
    }
    let data = directory.join("data");
    assert!(!grep(&data, b"hush"), "a masked value is nowhere in the data");
}

/// Whether any file below a folder has these bytes.
fn grep(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return grep(&path, bytes);
        }
        std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_refuses_strict_calls_and_counts_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // A process that would be killed for a file too large is told so instead.
    let wrapper = directory.join("stonetown");
    std::fs::write(&wrapper, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", binary().unwrap().display()))
        .unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let flags = ["--audit-strict", "document#view"];
    let server = Server::start(
        &wrapper,
        Store::RocksDb(&directory.join("data")),
        &flags,
        &[("STONETOWN_LOG", "off".to_owned())],
    )
    .await
    .unwrap();
    let mut client = Client::connect(&server.address).await.unwrap();
    prepare(&mut client).await;
    assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));
    let limit = |bytes: &str| {
        let pid = server.id().unwrap().to_string();
        let status =
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status().unwrap();
        assert!(status.success());
    };
    limit("1");
    assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Err(tonic::Code::Unavailable));
    assert_eq!(check(&mut client, "document:readme", "peek", "user:anna").await, Ok(true));
    limit("unlimited");
    assert_eq!(check(&mut client, "document:readme", "view", "user:anna").await, Ok(true));

    // The same where the schema says what is strict.
    prepare_annotated(&mut client).await;
    limit("1");
    for (call, refused) in EVERY_WAY.into_iter().zip(ask_in_every_way(&mut client, "sign", "signer").await) {
        let refused = refused.unwrap();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{call}");
        assert!(refused.message().contains("the log cannot be written"), "{call}: {refused}");
    }
    for refused in ask_in_every_way(&mut client, "peek", "viewer").await {
        assert!(refused.is_none(), "{refused:?}");
    }
    // What is only in the queue is not lost yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    limit("unlimited");
    assert_eq!(check(&mut client, "document:readme", "sign", "user:anna").await, Ok(true));
    until_signed(directory).await;
    server.kill().await.unwrap();
    let gaps: Vec<Value> =
        search(directory, &["--from", "1"]).into_iter().filter(|record| record["kind"] == "gap").collect();
    let counted: u64 = gaps.iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    // Those that were answered are among them: nine calls with ten records.
    assert!(counted >= 11, "{counted} counted");
    assert_eq!(search(directory, &["--permission", "peek", "--call", "expand"]), Vec::<Value>::new());
    for gap in &gaps {
        assert!(audit(directory, &["prove", &gap["index"].to_string()]).status.success(), "signed for: {gap}");
    }
    assert!(audit(directory, &["verify"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_log_is_found_and_named_and_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (server, mut client) = start(directory, &["--audit-strict", "document#view"]).await;
    prepare(&mut client).await;
    for number in 0..5 {
        check(&mut client, "document:readme", "view", &format!("user:subject-{number}")).await.unwrap();
    }
    until_signed(directory).await;
    let exported = directory.join("exported");
    lines(&audit(directory, &["checkpoint", "--output", exported.to_str().unwrap()]));
    let proof = lines(&audit(directory, &["prove", "3"]));
    assert_eq!(proof[0]["record"]["index"], 3);
    let keys = lines(&audit(directory, &["key"]));
    assert_eq!(keys.len(), 2);
    let key = keys[0]["key"].as_str().unwrap();
    server.kill().await.unwrap();
    let exported = exported.to_str().unwrap();
    let verify = ["verify", "--checkpoint", exported, "--key", key];
    assert!(lines(&audit(directory, &verify)).iter().all(|report| report["whole"] == true));

    let segment = directory.join("data/audit/decisions/00000000000000000000.segment");
    let whole = std::fs::read(&segment).unwrap();
    let at = whole.windows(9).position(|window| window == b"subject-2").unwrap();
    let mut altered = whole.clone();
    altered[at + 8] = b'9';
    std::fs::write(&segment, &altered).unwrap();
    let output = audit(directory, &verify);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let found = index_of(&whole, b"subject-2");
    assert_eq!(report["problems"][0]["from"], found, "{report}");
    let refused = Server::start(&binary().unwrap(), Store::RocksDb(&directory.join("data")), &[], &[]).await;
    assert!(refused.is_err(), "a damaged log is not written on");
    assert_eq!(std::fs::read(&segment).unwrap(), altered, "and not mended");
    std::fs::write(&segment, &whole).unwrap();

    // Somebody with the keys begins the log anew.
    std::fs::remove_dir_all(directory.join("data/audit")).unwrap();
    let (server, client) = start(directory, &[]).await;
    drop(client);
    server.kill().await.unwrap();
    assert_eq!(audit(directory, &verify).status.code(), Some(1));
    assert!(audit(directory, &["verify", "--key", key]).status.success());
}

/// The index of the record that has these bytes: how many records begin before them.
fn index_of(segment: &[u8], bytes: &[u8]) -> u64 {
    let at = segment.windows(bytes.len()).position(|window| window == bytes).unwrap();
    // Each entry begins with its version and index, after the lengths of the record.
    (0..)
        .take_while(|index: &u64| {
            let begin = [&[1][..], &index.to_be_bytes()].concat();
            segment[..at].windows(9).any(|window| window == begin)
        })
        .count() as u64
        - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_signs_after_a_restart_and_recording_can_be_turned_off() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (server, client) = start(directory, &[]).await;
    drop(client);
    server.kill().await.unwrap();
    let keys = directory.join("data.keys");
    lines(&audit(directory, &["rotate-key", "--key-dir", keys.to_str().unwrap()]));
    let (server, client) = start(directory, &[]).await;
    drop(client);
    server.kill().await.unwrap();
    assert_eq!(lines(&audit(directory, &["key"])).len(), 4, "two keys of two logs");
    assert!(audit(directory, &["verify"]).status.success());

    let inside = directory.join("data/keys");
    let refused = Server::start(
        &binary().unwrap(),
        Store::RocksDb(&directory.join("data")),
        &["--key-dir", inside.to_str().unwrap()],
        &[],
    )
    .await;
    assert!(refused.is_err() && !inside.exists());

    let before = search(directory, &[]).len();
    let (server, mut client) = start(directory, &["--audit=false"]).await;
    prepare(&mut client).await;
    server.kill().await.unwrap();
    assert_eq!(search(directory, &[]).len(), before);
}
