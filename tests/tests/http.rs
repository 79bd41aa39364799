//! HTTP/JSON as a client without gRPC meets it: on the one port of the server and on one of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use stonetown_tests::certificates::{TlsFiles, localhost};
use stonetown_tests::http::{ask, ask_over_tls, begin, post};
use stonetown_tests::operated::fails_to_serve;
use stonetown_tests::server::{Server, Store, binary};

/// The header that goes with the key of test servers.
const BEARER: &str = "Bearer test-key";
const SCHEMA: &str = "definition user {} definition document { relation viewer: user; permission view = viewer; }";

async fn server(flags: &[&str]) -> Server {
    Server::start(&binary().unwrap(), Store::Memory, flags, &[]).await.unwrap()
}

async fn call(address: &str, path: &str, body: serde_json::Value) -> serde_json::Value {
    let answer = post(address, path, &[("authorization", BEARER)], body.to_string()).await.unwrap();
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    answer.json().unwrap()
}

fn touch(document: &str, user: &str) -> serde_json::Value {
    json!({ "operation": "OPERATION_TOUCH", "relationship": {
        "resource": { "objectType": "document", "objectId": document }, "relation": "viewer",
        "subject": { "object": { "objectType": "user", "objectId": user } },
    } })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_speaks_grpc_and_json_and_another_json() {
    let mut server = server(&["--http-enabled", "--http-addr", "127.0.0.1:0"]).await;
    let own = server.line("serving http on ").await.unwrap();
    for address in [server.address.clone(), own] {
        call(&address, "/v1/schema/write", json!({ "schema": SCHEMA })).await;
        let written = call(&address, "/v1/relationships/write", json!({ "updates": [touch("plan", "ann")] })).await;
        let question = json!({
            "consistency": { "atLeastAsFresh": written["writtenAt"] }, "permission": "view",
            "resource": { "objectType": "document", "objectId": "plan" },
            "subject": { "object": { "objectType": "user", "objectId": "ann" } },
        });
        let answer = call(&address, "/v1/permissions/check", question.clone()).await;
        assert_eq!(answer["permissionship"], "PERMISSIONSHIP_HAS_PERMISSION");

        let refused =
            post(&address, "/v1/permissions/check", &[("x-request-id", "r-1")], question.to_string()).await.unwrap();
        assert_eq!((refused.code, refused.json().unwrap()["code"].as_i64()), (401, Some(16)));
        let wrong = [("authorization", "Bearer other")];
        let refused = post(&address, "/v1/relationships/read", &wrong, "{}").await.unwrap();
        assert_eq!((refused.code, refused.lines().unwrap()[0]["error"]["code"].as_i64()), (403, Some(7)));
        for (path, expected) in [("/healthz", "SERVING"), ("/readyz", "SERVING"), ("/openapi.json", "3.1.0")] {
            let open = ask(&address, "GET", path, &[], "").await.unwrap();
            assert!(open.code == 200 && open.body.contains(expected), "{path}: {}", open.body);
        }
        assert_eq!(ask(&address, "GET", "/healthz?service=nobody", &[], "").await.unwrap().code, 404);
    }
    let metadata = stonetown_tests::client::Client::connect(&server.address)
        .await
        .unwrap()
        .schema
        .read_schema(stonetown_api::proto::authzed::api::v1::ReadSchemaRequest {})
        .await;
    assert!(metadata.unwrap().into_inner().schema_text.contains("document"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_its_stream_frees_the_server() {
    let server = server(&["--max-heavy-calls-per-caller", "1"]).await;
    let address = &server.address;
    call(address, "/v1/schema/write", json!({ "schema": SCHEMA })).await;
    for block in 0..8 {
        let updates: Vec<_> = (0..1000).map(|n| touch(&format!("d{block}-{n}"), "ann")).collect();
        call(address, "/v1/relationships/write", json!({ "updates": updates })).await;
    }
    let filter = json!({ "relationshipFilter": { "resourceType": "document" } }).to_string();
    let headers = [("authorization", BEARER)];
    let mut reading = begin(address, "POST", "/v1/relationships/read", &headers, filter.clone()).await.unwrap();
    assert!(reading.body_mut().frame().await.unwrap().is_ok());
    // The one place is taken as long as the stream is open: nobody reads it.
    let refused = post(address, "/v1/relationships/read", &headers, filter.clone()).await.unwrap();
    assert_eq!(refused.code, 429, "{}", refused.body);
    drop(reading);
    let mut last = 0;
    for _ in 0..100 {
        let answer = post(address, "/v1/relationships/read", &headers, filter.clone()).await.unwrap();
        last = answer.code;
        if last == 200 {
            assert_eq!(answer.lines().unwrap().len(), 8000);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the place was not given back: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_a_line_for_each_change() {
    let server = server(&["--watch-api-heartbeat", "100ms"]).await;
    let address = &server.address;
    let begun = call(address, "/v1/schema/write", json!({ "schema": SCHEMA })).await;
    call(address, "/v1/relationships/write", json!({ "updates": [touch("plan", "ann")] })).await;
    let asked = json!({ "optionalStartCursor": begun["writtenAt"] }).to_string();
    let mut watching = begin(address, "POST", "/v1/watch", &[("authorization", BEARER)], asked).await.unwrap();
    assert_eq!(watching.status().as_u16(), 200);
    let mut text = String::new();
    while !text.contains('\n') {
        let frame = watching.body_mut().frame().await.unwrap().unwrap();
        text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let relationship = &line["result"]["updates"][0]["relationship"];
    assert_eq!(relationship["resource"]["objectId"], "plan", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_call_only_where_that_is_turned_on() {
    let asking = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let closed = server(&[]).await;
    let answer = ask(&closed.address, "OPTIONS", "/v1/permissions/check", &asking, "").await.unwrap();
    assert!(answer.code == 405 && !answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");

    let flags = ["--http-cors-enabled", "--http-cors-allowed-origins", "https://app.example.com,https://b.example.com"];
    let open = server(&flags).await;
    let answer = ask(&open.address, "OPTIONS", "/v1/permissions/check", &asking, "").await.unwrap();
    assert_eq!(answer.code, 200);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    assert!(answer.headers["access-control-allow-headers"].contains("authorization"));
    let other = [("origin", "https://evil.example.com"), asking[1], asking[2]];
    let answer = ask(&open.address, "OPTIONS", "/v1/permissions/check", &other, "").await.unwrap();
    assert!(!answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_json_speaks_tls_with_a_certificate_of_its_own() {
    let (first, second) = (localhost().unwrap(), localhost().unwrap());
    let files = TlsFiles::of(&first).unwrap();
    let flags = ["--http-enabled", "--http-addr", "127.0.0.1:0", "--tls-reload-interval", "50ms"];
    let tls = ["--http-tls-cert-path", &files.cert, "--http-tls-key-path", &files.key];
    let mut server = server(&[&flags[..], &tls[..]].concat()).await;
    let own = server.line("serving http on ").await.unwrap();
    let (headers, schema) = ([("authorization", BEARER)], json!({ "schema": SCHEMA }).to_string());
    let write =
        async |trusted: &str| ask_over_tls(&own, trusted, "POST", "/v1/schema/write", &headers, schema.clone()).await;
    assert_eq!(write(&first.cert.pem()).await.unwrap().code, 200);
    let ready = ask_over_tls(&own, &first.cert.pem(), "GET", "/readyz", &[], "").await.unwrap();
    assert_eq!((ready.code, ready.body.as_str()), (200, r#"{"status":"SERVING"}"#));
    let keyless = ask_over_tls(&own, &first.cert.pem(), "POST", "/v1/schema/read", &[], "").await.unwrap();
    assert_eq!(keyless.code, 401);
    // Nobody is answered in the clear there; the port of gRPC has its own settings.
    assert!(ask(&own, "GET", "/healthz", &[], "").await.is_err());
    assert_eq!(ask(&server.address, "GET", "/healthz", &[], "").await.unwrap().code, 200);
    assert!(write(&second.cert.pem()).await.is_err());

    files.replace(&second).unwrap();
    let replaced = async {
        while write(&second.cert.pem()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replaced).await.unwrap();
    assert!(write(&first.cert.pem()).await.is_err());

    std::fs::write(&files.key, first.signing_key.serialize_pem()).unwrap();
    for (flags, expected) in
        [(&tls[..2], "`http-tls-key-path` go together"), (&tls[..], "is not the key of the certificate")]
    {
        let ended = fails_to_serve(&[&["--datastore-engine", "memory", "--http-enabled"][..], flags].concat()).await;
        let ended = ended.unwrap();
        assert!(ended.code == Some(1) && ended.stderr.contains(expected), "{}", ended.stderr);
    }
}
