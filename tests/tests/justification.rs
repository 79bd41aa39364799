//! Relations that demand to be told why they are changed: each door of a whole server obeys, and the log of changes knows.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stonetown_api::client::relationship_to_wire;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, fully_consistent};
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::http::post;
use stonetown_tests::server::{KEY, Server, Store, binary};
use tonic::Code;

const SCHEMA: &str = "
use expiration
definition user {}
definition robot {}
definition base {
  // @stonetown requires(reason, ticket)
  relation admin: user | user with expiration
  // @stonetown requires(reason)
  relation writer: user
  relation reader: user | robot
}
definition room { relation guest: user }";

const FILE: &str =
    "schema: ''\nrelationships: |-\n  base:imported#reader@user:anna\n  base:imported#writer@user:anna\n";

/// All relationships there are.
async fn all(client: &mut Client) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for resource_type in ["base", "room"] {
        let filter = wire::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
        found.extend(client.read(filter, fully_consistent()).await.unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_changes_such_a_relation_without_being_told_why() {
    let home = Home::new();
    let data = home.path("data");
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &[]).await.unwrap();
    let mut client = Client::connect(&server.address).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    // What is missing is named, with the relation that misses it.
    let bad = async |args: &[&str], relation: &str, key: &str| {
        let output = home.at(&server, args).await;
        let text = err(&output);
        assert!(!output.status.success() && text.contains(relation) && text.contains(key), "{args:?}: {text}");
    };
    let why = ["--reason", "runs the weekly repair", "--ticket", "OPS-7"];

    // Writes and deletes, one by one.
    for operation in ["create", "touch", "delete"] {
        let args = ["relationship", operation, "base:a", "admin", "user:anna"];
        bad(&args, "base#admin", "stonetown.reason").await;
        bad(&[&args[..], &["--reason", " \t"]].concat(), "base#admin", "stonetown.reason").await;
        bad(&[&args[..], &why[..2]].concat(), "base#admin", "stonetown.ticket").await;
        good(&[&args[..], &why].concat()).await;
    }
    assert!(all(&mut client).await.is_empty());
    let args = ["relationship", "create", "base:a", "writer", "user:anna"];
    bad(&[&args[..], &["--ticket", "OPS-7"]].concat(), "base#writer", "stonetown.reason").await;
    good(&[&args[..], &["--reason", "Prüfung ✓"]].concat()).await;
    for (object, relation) in [("base:a", "reader"), ("room:a", "guest")] {
        good(&["relationship", "create", object, relation, "user:anna"]).await;
    }
    let later = ["relationship", "create", "base:a", "writer", "user:bert", "--not-before", "2999-01-01T00:00:00Z"];
    bad(&later, "base#writer", "stonetown.reason").await;
    good(&[&later[..], &why].concat()).await;
    good(&["relationship", "delete", "base:a", "writer", "user:bert", "--reason", "no more"]).await;

    // All of a call or nothing.
    let update = |text: &str| relationship_to_wire(text.parse().unwrap());
    let before = all(&mut client).await;
    assert_eq!(before.len(), 3);
    let mixed = client.write([update("base:b#reader@user:anna"), update("base:b#writer@user:anna")], []).await;
    assert_eq!(mixed.unwrap_err().code(), Code::FailedPrecondition);
    let import =
        client.import(vec![vec![update("base:b#reader@user:anna")], vec![update("base:b#writer@user:anna")]]).await;
    assert_eq!(import.unwrap_err().code(), Code::FailedPrecondition);

    // Filters that cover such a relation, whatever they would find.
    let about = |resource_type: &str, relation: &str, subject: &str| wire::RelationshipFilter {
        resource_type: resource_type.to_owned(),
        optional_relation: relation.to_owned(),
        optional_subject_filter: (!subject.is_empty())
            .then(|| wire::SubjectFilter { subject_type: subject.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    for filter in [about("base", "", ""), about("base", "admin", ""), about("", "", "user"), about("", "writer", "")] {
        assert_eq!(client.delete(filter.clone()).await.unwrap_err().code(), Code::FailedPrecondition, "{filter:?}");
    }
    bad(&["relationship", "bulk-delete", "base", "--force"], "base#admin", "stonetown.reason").await;
    assert_eq!(all(&mut client).await, before);
    for filter in [about("base", "", "robot"), about("base", "reader", ""), about("room", "", "")] {
        client.delete(filter).await.unwrap();
    }
    good(&[&["relationship", "bulk-delete", "base", "--force"], &why[..]].concat()).await;
    assert!(all(&mut client).await.is_empty());

    // Files, a validation file and a backup.
    let file = home.write("file.yaml", FILE);
    let import = ["import", "--schema=false", &file];
    bad(&import, "base#writer", "stonetown.reason").await;
    good(&[&import[..], &why].concat()).await;
    let backup = home.path("backup").to_str().unwrap().to_owned();
    good(&["backup", "create", &backup]).await;
    for strategy in ["touch", "skip"] {
        let restore = ["backup", "restore", &backup, "--allow-non-empty", "--conflict-strategy", strategy];
        bad(&restore, "base#writer", "stonetown.reason").await;
        good(&[&restore[..], &why].concat()).await;
    }

    // JSON, by the field of the request or by a header.
    let (key, path) = (format!("Bearer {KEY}"), "/v1/relationships/write");
    let body = |metadata: &Value| {
        let relationship = json!({
            "resource": { "objectType": "base", "objectId": "json" }, "relation": "writer",
            "subject": { "object": { "objectType": "user", "objectId": "anna" } },
        });
        let updates = json!([{ "operation": "OPERATION_TOUCH", "relationship": relationship }]);
        json!({ "updates": updates, "optionalTransactionMetadata": metadata }).to_string()
    };
    let field = json!({ "stonetown.reason": "by the field", "more": 1 });
    let header = ("grpc-metadata-stonetown-reason", "by the header");
    for (metadata, header, code) in [
        (json!({}), None, 400),
        (json!({ "stonetown.reason": 7 }), None, 400),
        (json!({ "stonetown.reason": "r".repeat(4_097) }), None, 400),
        (field.clone(), Some(header), 400),
        (json!({ "stonetown.reason": "r".repeat(4_096) }), None, 200),
        (field, None, 200),
        (json!({}), Some(header), 200),
    ] {
        let headers: Vec<_> = [("authorization", &*key)].into_iter().chain(header).collect();
        let answer = post(&server.address, path, &headers, body(&metadata)).await.unwrap();
        assert_eq!(answer.code, code, "{metadata}: {answer:?}");
    }
    good(&[&["relationship", "bulk-delete", "base", "--force"], &why[..]].concat()).await;

    // What stands for a principal, in this store and with it.
    good(&["principal", "create", "anna", "--kind", "human", "--subject", "user:anna"]).await;
    good(&[&["relationship", "create", "base:a", "admin", "user:anna"], &why[..]].concat()).await;
    let moved = ["principal", "replace-subject", "user:anna", "user:bert"];
    bad(&moved, "base#admin", "stonetown.reason").await;
    good(&[&moved[..], &why].concat()).await;
    assert_eq!(all(&mut client).await, BTreeSet::from(["base:a#admin@user:bert".to_owned()]));
    good(&["principal", "replace-subject", "user:bert", "user:anna", "--reason", "back", "--ticket", "OPS-8"]).await;
    bad(&["principal", "retire", "anna"], "base#admin", "stonetown.reason").await;
    assert!(!good(&["principal", "get", "anna"]).await.contains("retired"), "refused before anything changed");
    good(&[&["principal", "retire", "anna"], &why[..]].concat()).await;
    assert!(all(&mut client).await.is_empty());
    good(&["store", "create", "other", "--holder", "group:preshared"]).await;
    let schema = home.write("schema.zed", SCHEMA);
    good(&["--store", "other", "schema", "write", &schema]).await;
    bad(&["store", "delete", "other"], "base#admin", "stonetown.reason").await;
    good(&["--store", "other", "schema", "read"]).await;
    good(&[&["store", "delete", "other"], &why[..]].concat()).await;

    // What ends by the passing of time is nobody's change.
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    let end = stonetown_tuple::Timestamp::try_from(end).unwrap().to_string();
    let brief = ["relationship", "create", "base:brief", "admin", "user:anna", "--expiration-time", &end];
    good(&[&brief[..], &why].concat()).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !all(&mut client).await.is_empty() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    server.kill().await.unwrap();
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &[]).await.unwrap();
    server.kill().await.unwrap();

    // The log has each of these changes with why, and nothing else was committed.
    let search = ["--json", "audit", "search", "--log", "changes", "--data-dir", data.to_str().unwrap()];
    let text = out(&home.run(&search).await);
    let changes: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut told = 0;
    for change in &changes {
        let empty = Vec::new();
        let updates = change["updates"].as_array().unwrap_or(&empty);
        let texts =
            || updates.iter().map(|update| update.as_str().unwrap()).filter(|update| update[1..].starts_with("base:"));
        let of = |relation: &str| texts().any(|update| update.contains(relation));
        let by_time = change["actor"].as_str().unwrap_or_default().is_empty();
        if !by_time && (of("#admin@") || of("#writer@")) {
            told += 1;
            assert!(change["metadata"]["stonetown.reason"].is_string(), "{change}");
            assert!(!of("#admin@") || change["metadata"]["stonetown.ticket"].is_string(), "{change}");
        }
    }
    assert!(told >= 12, "{told}");
    assert!(text.contains("Prüfung ✓") && text.contains("OPS-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_server_is_started_with_say_why_by_being_there() {
    let home = Home::new();
    let indented = SCHEMA.replace('\n', "\n  ");
    let file = home.write("start.yaml", &FILE.replace("schema: ''", &format!("schema: |-\n  {indented}")));
    let flags = ["--datastore-bootstrap-files", &file];
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&home.path("data")), &flags, &[]).await.unwrap();
    let mut client = Client::connect(&server.address).await.unwrap();
    assert_eq!(all(&mut client).await.len(), 2);
    out(&home.run(&["validate", &file]).await);
    server.kill().await.unwrap();
}
