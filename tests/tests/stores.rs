//! Several stores through the whole server: which one a call is in, over each door.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use stonetown_tests::attack;
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::http::post;
use stonetown_tests::server::{KEY, Server, Store, binary};
use stonetown_tests::until::until;

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
    // Of two names none is believed: one of them could be of who stands between.
    let key = format!("Bearer {KEY}");
    let twice = [("authorization", &*key), ("stonetown-store", "one"), ("stonetown-store", "other")];
    let refused = post(&server.address, "/v1/permissions/resources", &twice, body.replace("CURSOR", "")).await.unwrap();
    assert!(refused.code == 403 && refused.body.contains("more than once"), "{refused:?}");

    good(&["store", "delete", "one"]).await;
    assert!(err(&with(&check).await).contains("may not check"));
    assert!(bad(&["store", "create", "one"]).await.contains("a name is used once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_principals_stores_and_grants_count_as_their_callers() {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::Memory, &["--max-heavy-calls-per-caller", "0"], &[]).await;
    let server = server.unwrap();
    for light in [&["principal", "create", "bot", "--kind", "human"][..], &["principal", "get", "bot"]] {
        out(&home.at(&server, light).await);
    }
    for heavy in [
        &["principal", "list"][..],
        &["credential", "list", "bot"],
        &["store", "list"],
        &["grant", "list"],
        &["grant", "template", "list"],
    ] {
        let refused = home.at(&server, &[&["--max-retries", "0"], heavy].concat()).await;
        assert!(err(&refused).contains("too many calls at once"), "{heavy:?}: {refused:?}");
    }
}

/// `attack stores` asks as often as the threat model has it.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_with_equal_names_never_answer_for_each_other() {
    let asked = attack::stores::run(2_880).await.unwrap();
    assert!(asked >= 2_880, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_of_a_store_is_its_own_for_who_may_read_it() {
    let home = Home::new();
    let data = home.path("data");
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &[]).await.unwrap();
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    let schema = home.write("schema.zed", "definition agent {} definition doc { relation viewer: agent }");
    good(&["schema", "write", &schema]).await;
    for store in ["shop", "blog"] {
        good(&["store", "create", store, "--holder", "group:preshared"]).await;
        good(&["--store", store, "schema", "write", &schema]).await;
        good(&["--store", store, "relationship", "create", "doc:a", "viewer", &format!("agent:{store}")]).await;
        good(&["--store", store, "permission", "check", "doc:a", "viewer", &format!("agent:{store}")]).await;
    }
    good(&["permission", "check", "doc:a", "viewer", "agent:default"]).await;
    // A name that a script left empty is no other name.
    for over in ["store:", "//", "//doc", "shop//", "doc#", "#viewer", "group:"] {
        let refused = home.at(&server, &["principal", "give", "key-1", "checker", over]).await;
        assert!(err(&refused).contains("name"), "{over}: {refused:?}");
    }
    assert!(!home.at(&server, &["credential", "issue", "key-1", "--for-store", ""]).await.status.success());
    for (name, power) in [("ada", "auditor"), ("bob", "admin"), ("eve", "operator")] {
        good(&["principal", "create", name, "--kind", "human"]).await;
        let over = if power == "operator" { "server" } else { "store:shop" };
        good(&["principal", "give", name, power, over]).await;
    }
    let tokens = [
        good(&["credential", "issue", "ada"]).await,
        good(&["credential", "issue", "bob"]).await,
        good(&["credential", "issue", "eve"]).await,
    ];
    let [ada, bob, eve] = tokens.each_ref().map(|token| token.trim());
    tokio::time::sleep(Duration::from_secs(2)).await;

    // Whose the records are, and who is asked: nobody has them for administering.
    let subjects = async |token: &str, store: &str, log: &str| -> Result<BTreeSet<String>, String> {
        let args = ["--token", token, "--store", store, "--json", "audit", "search", "--log", log];
        let found = home.at(&server, &args).await;
        if !found.status.success() {
            return Err(err(&found));
        }
        let text = out(&found);
        let words = text.split(|c: char| !c.is_alphanumeric() && c != ':');
        Ok(words.filter(|word| word.starts_with("agent:")).map(str::to_owned).collect())
    };
    let only = |subject: &str| Ok(BTreeSet::from([format!("agent:{subject}")]));
    assert_eq!(subjects(ada, "shop", "decisions").await, only("shop"));
    assert_eq!(subjects(ada, "shop", "changes").await, only("shop"));
    assert_eq!(subjects(KEY, "blog", "decisions").await, only("blog"));
    assert_eq!(subjects(KEY, "default", "decisions").await, only("default"));
    for (token, store) in
        [(ada, "blog"), (ada, "default"), (ada, "nothing"), (bob, "shop"), (eve, "shop"), (eve, "default")]
    {
        let refused = subjects(token, store, "decisions").await.unwrap_err();
        assert!(refused.contains("may not read the audit logs"), "{store}: {refused}");
    }

    // What ada has in her hands proves what she was shown, and later that nothing of it was altered.
    let as_ada = async |args: &[&str]| home.at(&server, &[&["--token", ada, "--store", "shop"], args].concat()).await;
    let found = out(&as_ada(&["--json", "audit", "search", "--call", "check", "--limit", "1"]).await);
    let index = found.split("\"index\":").nth(1).unwrap().split([',', '}']).next().unwrap();
    let proof = out(&as_ada(&["audit", "prove", index]).await);
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\n") && proof.contains("/stores/2/decisions\n"), "{proof}");
    let checkpoint = home.path("checkpoint");
    out(&as_ada(&["audit", "checkpoint", "--output", checkpoint.to_str().unwrap()]).await);
    assert!(out(&as_ada(&["audit", "key"]).await).lines().all(|line| line.contains("/stores/2/")));
    assert!(out(&as_ada(&["audit", "consistency", "1", "--log", "changes"]).await).contains("/stores/2/changes\n"));
    assert!(err(&as_ada(&["audit", "prove", "1000000"]).await).contains("not signed for yet"));
    assert!(err(&as_ada(&["audit", "consistency", "0"]).await).contains("a size from 1"));
    assert!(out(&as_ada(&["audit", "export"]).await).lines().count() > 3);

    // She cannot take herself out of it: that takes the store's operator as well.
    let erase = ["audit", "erase", "--object", "agent:shop", "--reason", "asked"];
    assert!(err(&as_ada(&erase).await).contains("may not operate the store"));
    let erased = good(&[&["--store", "shop"], &erase[..]].concat()).await;
    assert!(erased.contains("erased 1 field(s) of decisions and 1 of changes"), "{erased}");
    // `agent:[erased]`.
    assert_eq!(subjects(ada, "shop", "decisions").await, only(""));
    assert_eq!(subjects(KEY, "blog", "decisions").await, only("blog"));

    server.terminate().await.unwrap();
    let data = data.to_str().unwrap();
    let mut server = server;
    while !server.has_ended().unwrap() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let verified = out(&home.run(&["audit", "verify", "--checkpoint", checkpoint.to_str().unwrap(), data]).await);
    assert_eq!(verified.matches(": whole").count(), 6, "{verified}");
    assert!(verified.contains("agrees with 1 given checkpoint"), "{verified}");
    let shop = format!("{data}/audit/stores/2");
    assert_eq!(out(&home.run(&["audit", "verify", &shop]).await).matches(": whole").count(), 2);
    assert!(out(&home.run(&["audit", "search", "--data-dir", &shop]).await).contains("[erased]"));
    // One store's logs that are gone are missed, also where others have begun in their place.
    std::fs::remove_dir_all(&shop).unwrap();
    let problems = async || {
        let verified = home.run(&["audit", "verify", data]).await;
        assert!(!verified.status.success(), "{verified:?}");
        String::from_utf8(verified.stdout).unwrap()
    };
    assert!(problems().await.contains("stores/2/decisions` is gone"), "{}", problems().await);
    let server = Server::start(&binary().unwrap(), Store::RocksDb(Path::new(data)), &[], &[]).await.unwrap();
    home.at(&server, &["--store", "shop", "permission", "check", "doc:a", "viewer", "agent:shop"]).await;
    home.at(&server, &["--store", "shop", "relationship", "delete", "doc:a", "viewer", "agent:shop"]).await;
    until("both kinds are missed", async || {
        let problems = problems().await;
        ["decisions", "changes"].iter().all(|log| problems.contains(&format!("stores/2/{log}` has begun 2 times")))
    })
    .await;
}
