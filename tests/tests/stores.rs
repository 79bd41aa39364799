//! Several stores through the whole server: which one a call is in, over each door.
#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tests::home::{Home, err, out};
use stonetown_tests::http::post;
use stonetown_tests::server::{KEY, Server, Store, binary};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_in_the_store_that_it_names_or_that_its_credential_is_for() {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    let bad = async |args: &[&str]| err(&home.at(&server, args).await);
    let schema = home.write("schema.zed", "definition agent {} definition doc { relation viewer: agent }");
    for store in ["one", "other"] {
        good(&["store", "create", store, "--holder", "group:preshared"]).await;
        good(&["--store", store, "schema", "write", &schema]).await;
    }
    good(&["--store", "one", "relationship", "create", "doc:a", "viewer", "agent:x"]).await;
    let check = ["permission", "check", "doc:a", "viewer", "agent:x"];
    assert_eq!(good(&[&["--store", "one"], &check[..]].concat()).await.trim(), "true");
    assert_eq!(good(&[&["--store", "other"], &check[..]].concat()).await.trim(), "false");
    assert!(bad(&check).await.contains("doc"), "the default store has no schema");
    assert!(bad(&[&["--store", "nothing"], &check[..]].concat()).await.contains("may not check"));

    // A credential for one store is in it without a word, and in no other.
    let token = good(&["credential", "issue", "key-1", "--for-store", "one"]).await;
    let with = async |args: &[&str]| home.at(&server, &[&["--token", token.trim()], args].concat()).await;
    assert_eq!(out(&with(&check).await).trim(), "true");
    for other in ["other", "default", "nothing"] {
        let refused = with(&[&["--store", other], &check[..]].concat()).await;
        assert!(err(&refused).contains("for store `one` alone"), "{refused:?}");
    }

    // A cursor of one store is none in another, whoever shows it.
    good(&["--store", "one", "relationship", "create", "doc:b", "viewer", "agent:x"]).await;
    let body = r#"{"resourceObjectType":"doc","permission":"viewer","subject":{"object":{"objectType":"agent","objectId":"x"}},"optionalLimit":1CURSOR}"#;
    let lookup = async |store: &str, cursor: &str| {
        let key = format!("Bearer {KEY}");
        let headers = [("authorization", &*key), ("stonetown-store", store)];
        let body = body.replace("CURSOR", cursor);
        post(&server.address, "/v1/permissions/resources", &headers, body).await.unwrap()
    };
    let first = lookup("one", "").await;
    assert_eq!(first.code, 200, "{first:?}");
    let cursor = first.body.split("\"afterResultCursor\":{\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let next = format!(",\"optionalCursor\":{{\"token\":\"{cursor}\"}}");
    assert_eq!(lookup("one", &next).await.code, 200);
    let refused = lookup("other", &next).await;
    assert_eq!(refused.code, 400, "{refused:?}");

    good(&["store", "delete", "one"]).await;
    assert!(err(&with(&check).await).contains("may not check"));
    assert!(bad(&["store", "create", "one"]).await.contains("a name is used once"));
}
