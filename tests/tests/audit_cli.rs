//! `stonetown audit` over the files of a server: what it refuses, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Stdio;

use stonetown_tests::home::{Home, err, out};
use stonetown_tests::server::{KEY, Server, Store, binary};

/// A folder with the `data` of a server that has ended: a schema, a relationship and some checks.
async fn prepared() -> Home {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&home.path("data")), &[], &[]).await.unwrap();
    let schema = home.write("schema.zed", "definition user {} definition document { relation viewer: user }");
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    good(&["schema", "write", &schema]).await;
    good(&["relationship", "create", "document:plan", "viewer", "user:anna"]).await;
    for who in ["user:anna", "user:bert"] {
        good(&["permission", "check", "document:plan", "viewer", who]).await;
    }
    ended(server).await;
    home
}

async fn ended(mut server: Server) {
    server.terminate().await.unwrap();
    while !server.has_ended().unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_every_way_to_read_a_log_quietly() {
    let home = prepared().await;
    let ways: [&[&str]; 5] = [
        &["audit", "search", "--data-dir", "data"],
        &["--json", "audit", "search", "--data-dir", "data"],
        &["audit", "export", "--data-dir", "data"],
        &["audit", "verify", "data"],
        &["--json", "audit", "verify", "data"],
    ];
    for way in ways {
        let mut child = home.command(way).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().await.unwrap();
        assert_eq!((ended.status.code(), err(&ended).as_str()), (Some(141), ""), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_made_where_there_is_none_to_follow() {
    let home = Home::new();
    let refused = home.run(&["audit", "rotate-key", "--key-dir", "kyes"]).await;
    assert!(!refused.status.success() && err(&refused).contains("`kyes` has no key"), "{refused:?}");
    assert!(!home.path("kyes").exists());
    std::fs::create_dir(home.path("empty")).unwrap();
    assert!(!home.run(&["audit", "rotate-key", "--key-dir", "empty"]).await.status.success());
    assert_eq!(std::fs::read_dir(home.path("empty")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_by_its_fingerprint_and_a_file_that_is_no_checkpoint_says_nothing_of_the_logs() {
    let home = prepared().await;
    let verify = async |args: &[&str]| home.run(&[&["audit", "verify", "data"], args].concat()).await;
    let keys = out(&home.run(&["audit", "key", "--data-dir", "data"]).await);
    let (verifier, fingerprint) = keys.lines().next().unwrap().split_once(' ').unwrap();
    for known in [fingerprint, verifier] {
        let verified = verify(&["--key", known]).await;
        assert!(out(&verified).contains(fingerprint) && !out(&verified).contains("not compared"), "{verified:?}");
    }
    let other = verify(&["--key", "0123456789abcdef0123456789abcdef"]).await;
    assert_eq!(other.status.code(), Some(1));
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(said.contains("never signed by a given key"), "{said}");
    for no_key in [&fingerprint[1..], "anna", ""] {
        let refused = verify(&["--key", no_key]).await;
        assert!(refused.stdout.is_empty() && err(&refused).contains("fingerprint"), "{refused:?}");
    }
    let file = home.write("notes.txt", "not a checkpoint\n");
    let refused = verify(&["--checkpoint", &file]).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert!(err(&refused).contains("notes.txt` is no checkpoint"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_no_record_can_fit_is_refused_and_not_answered_with_nothing() {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&home.path("data")), &[], &[]).await.unwrap();
    for (search, at) in [
        (&["--call", "nosuch"][..], "call"),
        (&["--call", "lookup-resources"], "`lookup_resources`"),
        (&["--log", "changes", "--outcome", "allowed"], "outcome"),
        (&["--log", "changes", "--call", "check"], "call"),
        (&["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "until"),
        (&["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-02T00:00:00Z"], "until"),
        (&["--resource", "doc*"], "resource"),
        (&["--resource", "document:plan#viewer"], "resource"),
        (&["--subject", "user:"], "subject"),
        (&["--permission", "view er"], "permission"),
    ] {
        let args = [&["audit", "search"], search].concat();
        let here = home.run(&[&args[..], &["--data-dir", "data"]].concat()).await;
        let there = home.command_at(&server, &args).output().await.unwrap();
        for refused in [here, there] {
            assert!(!refused.status.success() && err(&refused).contains(at), "{search:?}: {refused:?}");
        }
    }
    for search in [
        &["--call", "lookup_resources"][..],
        &["--log", "changes", "--permission", "viewer"],
        &["--resource", "document"],
        &["--subject", "group:a#member"],
    ] {
        let found = home.said(&server.address, KEY, &[&["audit", "search"], search].concat()).await;
        assert_eq!(found.unwrap(), "", "{search:?}");
    }
    ended(server).await;
}

/// Whom nothing of the log of changes names is nobody whom a server was told about.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_named_by_no_document_of_the_log_of_changes() {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&home.path("data")), &[], &[]).await.unwrap();
    let good = async |args: &[&str]| out(&home.at(&server, args).await);
    good(&["principal", "create", "anna", "--kind", "human", "--subject", "user:anna7"]).await;
    good(&["principal", "create", "annette", "--kind", "human", "--subject", "user:anna77"]).await;
    ended(server).await;
    let changes =
        async || out(&home.run(&["--json", "audit", "search", "--data-dir", "data", "--log", "changes"]).await);
    assert_eq!(changes().await.matches("user:anna7").count(), 2);
    out(&home.run(&["audit", "erase", "--data-dir", "data", "--object", "user:anna7", "--reason", "asked"]).await);
    let left = changes().await;
    assert_eq!((left.matches("user:anna7").count(), left.matches("user:anna77").count()), (1, 1), "{left}");
}
