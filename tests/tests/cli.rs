//! The command line by the real binary: contexts, errors, exit codes, import and export, tests of policies.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;

use stonetown_tests::client::Client;
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::server::{KEY, Server, Store, binary};

const POLICY: &str = "schema: |-
  definition user {}
  definition document {
    relation viewer: user
    relation banned: user
    permission view = viewer - banned
  }
relationships: |-
  document:plan#viewer@user:alice
  document:plan#viewer@user:bob
  document:plan#banned@user:bob
assertions:
  assertTrue:
    - document:plan#view@user:alice
  assertFalse:
    - document:plan#view@user:bob
";

async fn server() -> Server {
    Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_happened() {
    let home = Home::new();
    let server = server().await;
    let policy = home.write("policy.yaml", POLICY);
    out(&home.at(&server, &["import", &policy]).await);
    let check = |who: &'static str, flag: &'static str| {
        let (home, server) = (&home, &server);
        async move { home.at(server, &["permission", "check", "document:plan", "view", who, flag]).await.status.code() }
    };
    assert_eq!(check("user:alice", "--error-on-no-permission").await, Some(0));
    assert_eq!(check("user:bob", "--error-on-no-permission").await, Some(3));
    assert_eq!(check("user:bob", "--consistency-full").await, Some(0));
    assert_eq!(check("user:bob", "--no-such-flag").await, Some(2));
    assert_eq!(home.run(&["no-such-command"]).await.status.code(), Some(2));
    let bulk =
        home.at(&server, &["permission", "bulk", "document:plan#view@user:bob", "document:plan#nobody@user:bob"]).await;
    assert_eq!(bulk.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bulk.stdout).contains("user:bob => false"), "{bulk:?}");
    let unknown = home.at(&server, &["permission", "check", "nothing:plan", "view", "user:bob"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("nothing"), "{}", err(&unknown));
    let json = home.at(&server, &["--json", "permission", "check", "nothing:plan", "view", "user:bob"]).await;
    let json: serde_json::Value = serde_json::from_str(&err(&json)).unwrap();
    assert_eq!(json["error"]["code"], "FailedPrecondition");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_on_the_way_is_told() {
    let home = Home::new();
    let server = server().await;
    for wrong in ["localhost", "http://127.0.0.1:50051", "127.0.0.1:port"] {
        let wrong = home.run(&["schema", "read", "--endpoint", wrong, "--token", "key"]).await;
        assert!(err(&wrong).contains("expected HOST:PORT"), "{}", err(&wrong));
    }
    let nobody = home.run(&["schema", "read", "--endpoint", "127.0.0.1:1", "--token", "key"]).await;
    assert!(err(&nobody).contains("no server answers at 127.0.0.1:1"), "{}", err(&nobody));
    let no_token = home.run(&["schema", "read", "--endpoint", &server.address]).await;
    assert!(err(&no_token).contains("--token") && err(&no_token).contains("context set"), "{}", err(&no_token));
    let wrong = home.run(&["schema", "read", "--endpoint", &server.address, "--token", "not-the-key"]).await;
    assert!(err(&wrong).contains("unknown token: give another with --token"), "{}", err(&wrong));
    assert!(!err(&wrong).contains("not-the-key"), "{}", err(&wrong));
    // TLS is wanted where a certificate is named; this server has none.
    let certificate = home.write("authority.pem", include_str!("../fixtures/authority.pem"));
    let args = ["schema", "read", "--endpoint", &server.address, "--token", KEY, "--certificate-path", &certificate];
    let plain = home.run(&args).await;
    assert!(err(&plain).contains("does not speak TLS"), "{}", err(&plain));
    for output in [nobody, no_token, wrong, plain] {
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_remember_servers_and_hide_tokens() {
    let home = Home::new();
    let server = server().await;
    let mut client = Client::connect(&server.address).await.unwrap();
    client.write_schema("definition user {}").await.unwrap();
    out(&home.run(&["context", "set", "test", &server.address, KEY]).await);
    assert!(out(&home.run(&["schema", "read"]).await).contains("definition user"));
    let set = home.command(&["context", "set", "other", "127.0.0.1:1"]);
    out(&home.with_input(set, "other-secret\n").await);
    let listed = out(&home.run(&["context", "list"]).await);
    assert!(listed.contains("  test") && listed.contains("* other"), "{listed}");
    assert!(!listed.contains(KEY) && !listed.contains("other-secret"), "{listed}");
    let json = out(&home.run(&["context", "list", "--json"]).await);
    assert!(!json.contains(KEY) && !json.contains("other-secret"), "{json}");
    assert_eq!(home.run(&["schema", "read"]).await.status.code(), Some(1));
    assert!(out(&home.run(&["schema", "read", "--context", "test"]).await).contains("definition user"));
    assert_eq!(out(&home.run(&["use", "test"]).await).trim(), "test");
    assert!(out(&home.run(&["schema", "read"]).await).contains("definition user"));
    let unknown = home.run(&["use", "nowhere"]).await;
    assert!(err(&unknown).contains("known: other, test"), "{}", err(&unknown));
    let file = home.path("config/stonetown/contexts.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A kept token goes to no other address.
    let elsewhere = home.run(&["schema", "read", "--endpoint", "127.0.0.1:1"]).await;
    assert!(err(&elsewhere).contains("no key to call with"), "{}", err(&elsewhere));
    out(&home.run(&["context", "remove", "test"]).await);
    assert_eq!(home.run(&["use", "test"]).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported() {
    let home = Home::new();
    let (from, to) = (server().await, server().await);
    let policy = home.write("policy.yaml", POLICY);
    let imported = out(&home.at(&from, &["import", &policy, "--batch-size", "2", "--workers", "2"]).await);
    assert!(imported.contains("imported the schema and 3 relationships"), "{imported}");
    out(&home.at(&from, &["export", "exported.yaml"]).await);
    let again = home.at(&from, &["export", "exported.yaml"]).await;
    assert!(err(&again).contains("is there already"), "{}", err(&again));
    let exported = std::fs::read_to_string(home.path("exported.yaml")).unwrap();
    assert_eq!(out(&home.at(&from, &["export"]).await), exported);

    let mut import = home.command(&["import", "-"]);
    import.env("STONETOWN_ENDPOINT", &to.address).env("STONETOWN_TOKEN", KEY);
    out(&home.with_input(import, &exported).await);
    // In the order in which the server met the names, which two workers leave open.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&out(&home.at(&to, &["export"]).await)), sorted(&exported));
    let refused = home.at(&to, &["import", &policy, "--schema=false", "--create"]).await;
    assert!(err(&refused).contains("0 of 3 relationships were written"), "{}", err(&refused));
    let third = server().await;
    out(&home.at(&third, &["import", &policy, "--schema-definition-prefix", "acme", "--relationships=false"]).await);
    let url = home.at(&to, &["import", "https://example.com/x.yaml"]).await;
    assert!(err(&url).contains("curl -s https://example.com/x.yaml | stonetown import -"), "{}", err(&url));
    let only_relationships = home.write("more.yaml", "relationships: |-\n  acme/document:a#viewer@acme/user:b\n");
    let more = home.at(&third, &["import", &only_relationships]).await;
    assert!(out(&more).contains("imported 1 relationship"), "{}", out(&more));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_tested_by_file_and_by_folder() {
    let home = Home::new();
    home.write("policies/good.yaml", POLICY);
    home.write("policies/deep/schema.zed", "definition user {}\n");
    let both = out(&home.run(&["validate", "policies"]).await);
    assert!(both.contains("deep/schema.zed: 0 passed, 0 failed") && both.contains("good.yaml: 2 passed"), "{both}");
    home.write("policies/bad.yaml", &POLICY.replace("view@user:bob", "view@user:alice"));
    let failed = home.run(&["validate", "policies"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("1 failed"));
    home.write("policies/broken.yaml", "schema: [");
    let others = home.run(&["validate", "policies"]).await;
    assert_eq!(others.status.code(), Some(1));
    assert!(err(&others).contains("broken.yaml") && String::from_utf8_lossy(&others.stdout).contains("good.yaml"));
    let nothing = home.run(&["validate", "config"]).await;
    assert_eq!(nothing.status.code(), Some(1));

    let good = "policies/good.yaml";
    let covered = out(&home.run(&["validate", good, "--coverage", "--min-coverage", "100"]).await);
    assert!(covered.contains("100% of the schema"), "{covered}");
    let less = home.write("less.yaml", &POLICY.replace("  assertFalse:\n    - document:plan#view@user:bob\n", ""));
    let less = home.run(&["validate", &less, "--min-coverage", "100"]).await;
    let shown = String::from_utf8_lossy(&less.stdout).into_owned();
    assert_eq!(
        (less.status.code(), shown.contains("% of the schema")),
        (Some(if shown.contains("100%") { 0 } else { 1 }), true),
        "{shown}"
    );

    let odd = home.write(
        "odd.zed",
        "definition user {}\ndefinition team {\n\trelation team_member: user\n\tpermission view = view\n}\n",
    );
    let odd = home.run(&["validate", &odd]).await;
    assert!(!odd.status.success() || String::from_utf8_lossy(&odd.stdout).contains("warning"), "{odd:?}");
    let input = home.with_input(home.command(&["validate", "--type", "zed", "-"]), "definition user {}").await;
    assert!(out(&input).contains("standard input: 0 passed"), "{}", out(&input));
    let input = home.with_input(home.command(&["validate", "-"]), POLICY).await;
    assert!(out(&input).contains("2 passed"), "{}", out(&input));
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_through_all_pages() {
    let home = Home::new();
    let server = server().await;
    let mut client = Client::connect(&server.address).await.unwrap();
    client.write_schema("definition user {}\ndefinition document { relation viewer: user }").await.unwrap();
    let all: Vec<_> = (0..250).map(|n| format!("document:d{n:03}#viewer@user:u{}", n % 2).parse().unwrap()).collect();
    client.write_all(&all).await.unwrap();
    let read = |args: &'static [&'static str]| {
        let (home, server) = (&home, &server);
        async move { out(&home.at(server, args).await) }
    };
    assert_eq!(read(&["relationship", "read", "document"]).await.lines().count(), 250);
    assert_eq!(read(&["relationship", "read", "document", "--page-limit", "7"]).await.lines().count(), 250);
    assert_eq!(read(&["relationship", "read", "document", "--limit", "120"]).await.lines().count(), 120);
    let mine = read(&["relationship", "read", "document", "--subject-filter", "user:u1"]).await;
    assert_eq!(mine.lines().count(), 125);
    let first = read(&["relationship", "read", "document", "--limit", "3", "--json"]).await;
    let last: serde_json::Value = serde_json::from_str(first.lines().last().unwrap()).unwrap();
    let cursor = last["afterResultCursor"].as_str().unwrap();
    let rest = out(&home.at(&server, &["relationship", "read", "document", "--cursor", cursor]).await);
    assert_eq!(rest.lines().count(), 247);
    assert!(!rest.contains("document:d002") && rest.contains("document:d003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_gets_completions_and_manuals() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = out(&home.run(&["completion", shell]).await);
        assert!(script.contains("STONETOWN_COMPLETE") && script.contains("stonetown"), "{shell}: {script}");
    }
    out(&home.run(&["man", "man1"]).await);
    let page = std::fs::read_to_string(home.path("man1/stonetown-backup-create.1")).unwrap();
    assert!(page.contains("create") && page.contains("limit"), "{page}");
    let version = out(&home.run(&["version"]).await);
    assert!(version.starts_with("stonetown v"), "{version}");
    let server = server().await;
    let both = out(&home.at(&server, &["version", "--include-remote-version", "--json"]).await);
    let both: serde_json::Value = serde_json::from_str(&both).unwrap();
    assert_eq!(both["client"], both["server"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_copied_from_one_context_to_another() {
    let home = Home::new();
    let (from, to) = (server().await, server().await);
    Client::connect(&from.address).await.unwrap().write_schema("definition user {}").await.unwrap();
    out(&home.run(&["context", "set", "from", &from.address, KEY]).await);
    out(&home.run(&["context", "set", "to", &to.address, KEY]).await);
    let mut copy = home.command(&["schema", "copy", "from", "to", "--schema-definition-prefix", "acme"]);
    // Where both are reached the contexts say, whatever the environment has.
    copy.env("STONETOWN_ENDPOINT", "127.0.0.1:1").env("ZED_TOKEN", "not-the-key");
    out(&copy.output().await.unwrap());
    assert_eq!(
        out(&home.run(&["schema", "read", "--permissions-system", "to"]).await).trim(),
        "definition acme/user {}"
    );
    assert_eq!(out(&home.run(&["schema", "read", "--context", "from"]).await).trim(), "definition user {}");
    let unknown = home.run(&["schema", "copy", "from", "nowhere"]).await;
    assert!(err(&unknown).contains("there is no context `nowhere`"), "{}", err(&unknown));
    from.kill().await.unwrap();
    let gone = home.run(&["schema", "copy", "from", "to"]).await;
    assert!(err(&gone).contains("context `from`: no server answers"), "{}", err(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_told_without_the_key() {
    let home = Home::new();
    let server = server().await;
    let quiet = home.at(&server, &["schema", "write", &home.write("s.zed", "definition user {}")]).await;
    assert_eq!((out(&quiet).lines().count(), err(&quiet).as_str()), (1, ""));
    let debug = home.at(&server, &["schema", "read", "--log-level", "debug", "--skip-version-check"]).await;
    assert!(err(&debug).contains("ReadSchema"), "{}", err(&debug));
    let trace = home.at(&server, &["schema", "read", "--log-level", "trace"]).await;
    assert!(err(&trace).len() > err(&debug).len() && !err(&trace).contains(KEY), "{}", err(&trace));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_the_command_quietly() {
    let home = Home::new();
    let mut export = home.command(&["config", "--markdown"]);
    let mut child = export.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!((ended.status.code(), err(&ended).as_str()), (Some(141), ""));
    let mut full = home.command(&["version"]);
    full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let full = full.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(full.status.code(), Some(1));
    assert!(err(&full).contains("standard output"), "{}", err(&full));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_line_is_named_and_nothing_is_written() {
    let home = Home::new();
    let server = server().await;
    Client::connect(&server.address)
        .await
        .unwrap()
        .write_schema("definition user {}\ndefinition document { relation viewer: user }")
        .await
        .unwrap();
    let touch = home.command_at(&server, &["relationship", "touch", "--batch-size", "1"]);
    let broken = home.with_input(touch, "document:a#viewer@user:x\n\nbroken\n").await;
    assert!(err(&broken).contains("standard input, line 3"), "{}", err(&broken));
    assert_eq!(out(&home.at(&server, &["relationship", "read", "document"]).await), "");
}
