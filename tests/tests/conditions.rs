//! Values that nobody can forge, over the wire: what a request says about the server's or an attribute's parameters is refused
//! at every door, the address of a call is that of its connection, and attributes and beginnings decide from the returned token on.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, fully_consistent, object};
use stonetown_tests::home::{Home, out};
use stonetown_tests::http::post;
use stonetown_tests::server::{Server, Store, binary};
use stonetown_tuple::Timestamp;
use tonic::Code;

const SCHEMA: &str = r#"
use expiration
// @stonetown trusted(resource.env) stored(envs)
caveat in_env(env string, envs list<string>) { env in envs }
// @stonetown server(now, peer_ip)
caveat here(now timestamp, peer_ip ipaddress) {
  now > timestamp("2020-01-01T00:00:00Z") && peer_ip.in_cidr("10.0.0.0/8")
}
// @stonetown trusted(subject.risk)
caveat risky(risk int) { risk > 5 }
definition user {}
definition database {
  relation writer: user | user with in_env | user with here
  relation barred: user with risky
  permission write = writer
  permission operate = writer - barred
}"#;

/// A context for each parameter that has a source.
fn forged() -> [Value; 5] {
    [
        json!({ "env": "test" }),
        json!({ "envs": ["prod"] }),
        json!({ "now": "2030-01-01T00:00:00Z" }),
        json!({ "peer_ip": "10.1.2.3" }),
        json!({ "risk": 0 }),
    ]
}

async fn serve(flags: &[&str]) -> Server {
    let server = Server::start(&binary().unwrap(), Store::Memory, flags, &[]).await.unwrap();
    Client::connect(&server.address).await.unwrap().write_schema(SCHEMA).await.unwrap();
    server
}

async fn call(server: &Server, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
    let headers = [&[("authorization", "Bearer test-key")], headers].concat();
    let answer = post(&server.address, path, &headers, body.to_string()).await.unwrap();
    (answer.code, answer.lines().unwrap().into_iter().next().unwrap_or_default())
}

async fn done(server: &Server, path: &str, body: Value) -> Value {
    let (code, answer) = call(server, path, &[], body).await;
    assert_eq!(code, 200, "{path}: {answer}");
    answer
}

fn writer(caveat: &str, context: &Value) -> Value {
    json!({ "resource": { "type": "database", "id": "main" }, "relation": "writer",
            "subject": { "type": "user", "id": "ann" }, "caveat": caveat, "caveatContext": context })
}

async fn touch(server: &Server, relationship: Value) -> Value {
    let updates = json!([{ "operation": "OPERATION_TOUCH", "relationship": relationship }]);
    done(server, "/stonetown/v1/relationships/write", json!({ "updates": updates })).await
}

/// What a check answers, and the values that it lacks.
async fn check(server: &Server, permission: &str, headers: &[(&str, &str)], freshness: Value) -> (Value, Value) {
    let question = json!({
        "resource": { "type": "database", "id": "main" }, "permission": permission,
        "subject": { "type": "user", "id": "ann" }, "freshness": freshness,
    });
    let (code, answer) = call(server, "/stonetown/v1/decision/check", headers, question).await;
    assert_eq!(code, 200, "{answer}");
    (answer["outcome"].clone(), answer["missingContext"].clone())
}

async fn outcome(server: &Server, permission: &str, freshness: Value) -> Value {
    check(server, permission, &[], freshness).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_takes_a_value_that_only_its_source_gives() {
    let server = serve(&[]).await;
    touch(&server, writer("in_env", &json!({ "envs": ["test"] }))).await;
    let (resource, who) = (
        json!({ "objectType": "database", "objectId": "main" }),
        json!({ "object": { "objectType": "user", "objectId": "ann" } }),
    );
    for context in forged() {
        let question = json!({ "resource": resource, "permission": "write", "subject": who, "context": context });
        let refused = |path: &'static str, body: Value| {
            let (server, context) = (&server, &context);
            async move {
                let (code, answer) = call(server, path, &[], body).await;
                let text = answer.to_string();
                assert_eq!(code, 400, "{path} {context}: {text}");
                assert!(text.contains("cannot be given here"), "{path} {context}: {text}");
                assert!(text.contains("ERROR_REASON_CAVEAT_PARAMETER_TYPE_ERROR"), "{path} {context}: {text}");
            }
        };
        refused("/v1/permissions/check", question.clone()).await;
        let own = json!({ "resource": { "type": "database", "id": "main" }, "permission": "write",
                          "subject": { "type": "user", "id": "ann" }, "context": context });
        refused("/stonetown/v1/decision/check", own).await;
        let resources =
            json!({ "resourceObjectType": "database", "permission": "write", "subject": who, "context": context });
        refused("/v1/permissions/resources", resources).await;
        let subjects =
            json!({ "resource": resource, "permission": "write", "subjectObjectType": "user", "context": context });
        refused("/v1/permissions/subjects", subjects).await;
        let (code, answer) = call(&server, "/v1/permissions/checkbulk", &[], json!({ "items": [question] })).await;
        assert_eq!((code, &answer["pairs"][0]["error"]["code"]), (200, &json!(3)), "{context}: {answer}");
    }
    for (caveat, context) in [("in_env", json!({ "env": "test" })), ("here", json!({ "peer_ip": "10.1.2.3" }))] {
        let updates = json!([{ "operation": "OPERATION_TOUCH", "relationship": writer(caveat, &context) }]);
        let (code, answer) =
            call(&server, "/stonetown/v1/relationships/write", &[], json!({ "updates": updates })).await;
        assert!(code == 400 && answer.to_string().contains("cannot be given here"), "{answer}");
        let relationship = json!({ "resource": resource, "relation": "writer", "subject": who,
                                   "optionalCaveat": { "caveatName": caveat, "context": context } });
        let updates = json!([{ "operation": "OPERATION_TOUCH", "relationship": relationship }]);
        let (code, answer) = call(&server, "/v1/relationships/write", &[], json!({ "updates": updates })).await;
        assert!(code == 400 && answer.to_string().contains("cannot be given here"), "{answer}");
        let (code, answer) =
            call(&server, "/v1/relationships/importbulk", &[], json!({ "relationships": [relationship] })).await;
        assert!(code == 400 && answer.to_string().contains("cannot be given here"), "{code} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_value_is_refused_over_grpc_and_leaves_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let flags = ["--audit-strict", "*"];
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &flags, &[]).await.unwrap();
    let mut client = Client::connect(&server.address).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    touch(&server, writer("in_env", &json!({ "envs": ["test"] }))).await;
    let env = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("test".to_owned())) };
    let request = wire::CheckPermissionRequest {
        consistency: Some(fully_consistent()),
        resource: Some(object("database", "main")),
        permission: "write".to_owned(),
        subject: Some(wire::SubjectReference { object: Some(object("user", "ann")), optional_relation: String::new() }),
        context: Some(prost_types::Struct { fields: [("env".to_owned(), env)].into_iter().collect() }),
        ..Default::default()
    };
    let refused = client.permissions.check_permission(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let mut with = tonic::Request::new(wire::CheckPermissionRequest { context: None, ..request.clone() });
    let relationship = r#"database:main#writer@user:ann[in_env:{"env":"test","envs":["test"]}]"#;
    with.metadata_mut().insert("stonetown-with", relationship.parse().unwrap());
    let refused = client.permissions.check_permission(with).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    // Metadata that sounds like it gives nothing either.
    let mut dressed = tonic::Request::new(wire::CheckPermissionRequest { context: None, ..request });
    for name in ["env", "stonetown-env", "stonetown-now", "x-forwarded-for"] {
        dressed.metadata_mut().insert(name, "test".parse().unwrap());
    }
    let answer = client.permissions.check_permission(dressed).await.unwrap().into_inner();
    assert_eq!(answer.partial_caveat_info.unwrap().missing_required_context, ["env"]);
    let object = json!({ "type": "database", "id": "main" });
    let put = json!({ "attributes": [{ "object": object, "name": "env", "value": "test" }] });
    done(&server, "/stonetown/v1/attributes/put", put).await;
    server.kill().await.unwrap();

    // What is only in the transaction log is taken over by the next start.
    drop(Server::start(&binary().unwrap(), Store::RocksDb(&data), &flags, &[]).await.unwrap());
    let failed = audit(&data, &["--outcome", "failed"]);
    let reasons: Vec<_> = failed.iter().map(|record| &record["reason"]).collect();
    assert_eq!(reasons, ["parameter_not_yours"; 2]);
    assert_eq!(audit(&data, &["--call", "put_attributes"])[0]["caller"], "key-1");
    // What an answer rested on is in its record: the address, too.
    assert_eq!(audit(&data, &["--outcome", "conditional"])[0]["context"]["server(peer_ip)"], "127.0.0.1");
    let changes = audit(&data, &["--log", "changes", "--subject", "database:main"]);
    assert!(changes[0].to_string().contains("stonetown/attribute:env#given@database:main"), "{changes:?}");
}

fn audit(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(binary().unwrap());
    command.args(["--json", "audit", "search"]).args(arguments).env("STONETOWN_DATA_DIR", data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_comes_from_where_its_connection_does_unless_a_proxy_is_trusted() {
    let (allowed, denied) = (json!("OUTCOME_ALLOWED"), json!("OUTCOME_DENIED"));
    let forwarded = |addresses: &'static str| [("x-forwarded-for", addresses)];
    let strange = serve(&[]).await;
    touch(&strange, writer("here", &json!({}))).await;
    assert_eq!(check(&strange, "write", &forwarded("10.1.2.3"), Value::Null).await.0, denied);

    let behind = serve(&["--trusted-proxies", "127.0.0.0/8"]).await;
    touch(&behind, writer("here", &json!({}))).await;
    for (addresses, expected) in [
        ("10.1.2.3", &allowed),
        ("::ffff:10.1.2.3", &allowed),
        ("192.0.2.1", &denied),
        // What stands before the last hop is the caller's own word.
        ("10.1.2.3, 192.0.2.1", &denied),
        ("192.0.2.1, 10.1.2.3, 127.0.0.9", &allowed),
    ] {
        assert_eq!(check(&behind, "write", &forwarded(addresses), Value::Null).await.0, *expected, "{addresses}");
    }
    let unknown = check(&behind, "write", &forwarded("unknown"), Value::Null).await;
    assert_eq!(unknown, (json!("OUTCOME_CONDITIONAL"), json!(["peer_ip"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_decides_from_its_token_on_and_its_lack_is_never_a_yes() {
    let server = serve(&[]).await;
    let home = Home::new();
    touch(&server, writer("in_env", &json!({ "envs": ["test"] }))).await;
    let lacks = |name: &str| (json!("OUTCOME_CONDITIONAL"), json!([name]));
    assert_eq!(check(&server, "write", &[], Value::Null).await, lacks("env"));
    for value in ["test", "prod", "test", "prod", "test"] {
        let token = out(&home.at(&server, &["attribute", "put", "database:main", &format!("env={value}")]).await);
        let at = json!({ "atLeast": token.trim() });
        let expected = if value == "test" { "OUTCOME_ALLOWED" } else { "OUTCOME_DENIED" };
        assert_eq!(outcome(&server, "write", at).await, expected, "{value}");
    }
    // Barred or not, nobody knows: no yes.
    let barred = json!({ "resource": { "type": "database", "id": "main" }, "relation": "barred",
                         "subject": { "type": "user", "id": "ann" }, "caveat": "risky" });
    touch(&server, barred).await;
    assert_eq!(check(&server, "operate", &[], Value::Null).await, lacks("risk"));
    out(&home.at(&server, &["attribute", "put", "user:ann", "risk=1"]).await);
    assert_eq!(outcome(&server, "operate", Value::Null).await, "OUTCOME_ALLOWED");
    out(&home.at(&server, &["attribute", "put", "user:ann", "risk=9"]).await);
    assert_eq!(outcome(&server, "operate", Value::Null).await, "OUTCOME_DENIED");

    assert_eq!(out(&home.at(&server, &["attribute", "list", "user"]).await), "user:ann risk=9\n");
    let copied = out(&home.at(&server, &["--json", "attribute", "list", "user"]).await);
    let token = out(&home.at(&server, &["attribute", "delete", "user:ann", "risk"]).await);
    assert_eq!(check(&server, "operate", &[], json!({ "atLeast": token.trim() })).await, lacks("risk"));
    out(&home.with_input(home.command_at(&server, &["attribute", "put"]), &copied).await);
    assert_eq!(outcome(&server, "operate", Value::Null).await, "OUTCOME_DENIED");
    assert_eq!(home.at(&server, &["attribute", "get", "user:ann", "env"]).await.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_holds_from_its_start_on() {
    let server = serve(&[]).await;
    let home = Home::new();
    let (name, start) = ("database:main#writer@user:ann", "2100-01-01T00:00:00Z");
    out(&home.at(&server, &["relationship", "create", name, "--not-before", start]).await);
    assert_eq!(outcome(&server, "write", Value::Null).await, "OUTCOME_DENIED");
    assert_eq!(out(&home.at(&server, &["relationship", "read", "database"]).await), "");
    let pending = out(&home.at(&server, &["relationship", "read", "database", "--pending"]).await);
    assert_eq!(pending, format!("{name}[starts:{start}]\n"));
    let again = home.at(&server, &["relationship", "create", name, "--not-before", start]).await;
    assert_eq!(again.status.code(), Some(1), "one that has yet to begin is there");

    let soon = Timestamp::now().checked_add(Duration::from_secs(2)).unwrap();
    let token = out(&home.at(&server, &["relationship", "touch", name, "--not-before", &soon.to_string()]).await);
    assert_eq!(outcome(&server, "write", Value::Null).await, "OUTCOME_DENIED");
    let exactly = ["relationship", "read", "database", "--pending", "--consistency-at-exactly", token.trim()];
    assert_eq!(out(&home.at(&server, &exactly).await), format!("{name}[starts:{soon}]\n"));
    for _ in 0..200 {
        if outcome(&server, "write", Value::Null).await == "OUTCOME_ALLOWED" {
            return assert!(Timestamp::now() >= soon, "it holds too early");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never holds");
}
