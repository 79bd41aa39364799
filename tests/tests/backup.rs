//! Backups by the real binary: files and checkpoints, whole, interrupted and damaged.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, at_exactly, fully_consistent, relationship};
use stonetown_tests::server::{KEY, Server, Store, binary, root};
use tempfile::TempDir;
use tonic::Code;

const SCHEMA: &str = "use expiration

caveat office(hour int) {
	hour > 8 && hour < 18
}

definition team {
	relation member: user | team#member
}

definition document {
	relation viewer: user | user:* | team#member | user with office | user with expiration
	permission view = viewer
}

definition user {}
";

const RELATIONSHIPS: [&str; 6] = [
    "document:plan#viewer@user:alice",
    "document:plan#viewer@team:eng#member",
    "document:public#viewer@user:*",
    "document:late#viewer@user:bob[office:{\"hour\":9}]",
    "document:short#viewer@user:carol[expiration:2099-01-01T00:00:00Z]",
    "team:eng#member@user:dave",
];

struct Home {
    folder: TempDir,
    binary: PathBuf,
}

impl Home {
    fn new() -> Self {
        Home { folder: tempfile::tempdir().unwrap(), binary: binary().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, store: Store<'_>) -> (Server, Client) {
        let server = Server::start(&self.binary, store, &[], &[]).await.unwrap();
        let client = Client::connect(&server.address).await.unwrap();
        (server, client)
    }

    /// A server that holds the relationships above.
    async fn filled(&self, store: Store<'_>) -> (Server, Client) {
        let (server, mut client) = self.start(store).await;
        client.write_schema(SCHEMA).await.unwrap();
        let all: Vec<_> = RELATIONSHIPS.iter().map(|text| text.parse().unwrap()).collect();
        client.write_all(&all).await.unwrap();
        (server, client)
    }

    fn command(&self, server: Option<&Server>, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.binary);
        command.args(args).env("STONETOWN_TOKEN", KEY).env("XDG_CONFIG_HOME", self.path("config"));
        if let Some(server) = server {
            command.env("STONETOWN_ENDPOINT", &server.address);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, server: Option<&Server>, args: &[&str]) -> Output {
        self.command(server, args).output().await.unwrap()
    }

    /// What a command prints that must succeed.
    async fn good(&self, server: Option<&Server>, args: &[&str]) -> String {
        let output = self.run(server, args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that must fail with exit code 1.
    async fn bad(&self, server: Option<&Server>, args: &[&str]) -> String {
        let output = self.run(server, args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

async fn everything(client: &mut Client, consistency: wire::Consistency) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for resource_type in ["document", "team"] {
        let filter = wire::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
        let request = wire::ReadRelationshipsRequest {
            consistency: Some(consistency.clone()),
            relationship_filter: Some(filter),
            ..Default::default()
        };
        let mut rows = client.permissions.read_relationships(request).await.unwrap().into_inner();
        while let Some(row) = rows.message().await.unwrap() {
            let read = stonetown_api::client::relationship_from_wire(row.relationship.unwrap()).unwrap();
            all.insert(read.to_string());
        }
    }
    all
}

async fn has_schema(client: &mut Client) -> bool {
    match client.schema.read_schema(wire::ReadSchemaRequest {}).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            false
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_brings_everything_to_another_server() {
    let home = Home::new();
    let (from, mut client) = home.filled(Store::Memory).await;
    let before = everything(&mut client, fully_consistent()).await;
    assert_eq!(before.len(), RELATIONSHIPS.len());
    home.good(Some(&from), &["backup", "create", "daily"]).await;
    assert!(home.bad(Some(&from), &["backup", "create", "daily"]).await.contains("is there already"));
    let verified = home.good(None, &["backup", "verify", "daily"]).await;
    assert!(
        verified.contains("6 relationships") && verified.contains("checksum over the whole file fits"),
        "{verified}"
    );
    assert!(home.good(None, &["backup", "parse-schema", "daily"]).await.contains("definition document"));
    assert_eq!(home.good(None, &["backup", "parse-relationships", "daily"]).await.lines().count(), 6);
    assert!(home.good(None, &["backup", "parse-revision", "daily"]).await.trim().len() > 20);

    let (to, mut client) = home.start(Store::Memory).await;
    let restored = home.good(Some(&to), &["backup", "restore", "daily", "--json"]).await;
    assert!(restored.contains("\"loaded\":6") && restored.contains("\"transactions\":1"), "{restored}");
    assert_eq!(everything(&mut client, fully_consistent()).await, before);

    // Not empty any more: refused, unless told.
    let refused = home.bad(Some(&to), &["backup", "restore", "daily"]).await;
    assert!(refused.contains("the server is not empty") && refused.contains("--allow-non-empty"), "{refused}");
    client.write([], [relationship(("document", "plan"), "viewer", ("user", "alice"))]).await.unwrap();
    let refused = home.bad(Some(&to), &["backup", "restore", "daily", "--allow-non-empty"]).await;
    assert!(refused.contains("no relationship was restored") && refused.contains("exists already"), "{refused}");
    assert_eq!(everything(&mut client, fully_consistent()).await.len(), 5, "all or nothing");
    let args = ["backup", "restore", "daily", "--allow-non-empty", "--conflict-strategy", "skip"];
    let skipped = home.good(Some(&to), &args).await;
    assert!(skipped.contains("restored 1 relationship") && skipped.contains("5 were there already"), "{skipped}");
    assert_eq!(everything(&mut client, fully_consistent()).await, before);
    let args = ["backup", "restore", "daily", "--allow-non-empty", "--conflict-strategy", "touch"];
    home.good(Some(&to), &args).await;
    assert_eq!(everything(&mut client, fully_consistent()).await, before);
}

/// A file in the form that `zed` gives it, made by another Avro library (fastavro).
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_spicedb_is_restored_with_one_command() {
    let home = Home::new();
    let fixture = root().join("tests/fixtures/zed-form.backup");
    let fixture = fixture.to_str().unwrap();
    let (server, mut client) = home.start(Store::Memory).await;
    home.good(Some(&server), &["backup", "restore", fixture]).await;
    let expected = [
        "document:late#viewer@user:bob[office:{\"hour\":9}]",
        "document:plan#viewer@user:alice",
        "document:short#viewer@user:carol[expiration:2099-01-01T00:00:00.123Z]",
    ];
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    let request = wire::ReadRelationshipsRequest {
        consistency: Some(fully_consistent()),
        relationship_filter: Some(filter),
        ..Default::default()
    };
    let mut rows = client.permissions.read_relationships(request).await.unwrap().into_inner();
    let mut found = BTreeSet::new();
    while let Some(row) = rows.message().await.unwrap() {
        found.insert(stonetown_api::client::relationship_from_wire(row.relationship.unwrap()).unwrap().to_string());
    }
    assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
    let token = home.good(None, &["backup", "parse-revision", fixture]).await;
    assert_eq!(token.trim(), "GhUKEzE3NTM5NDU2NzgwMDAwMDAwMDA=");
    assert!(home.good(None, &["backup", "verify", fixture]).await.contains("none over the whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_restores_nothing() {
    let home = Home::new();
    let (from, _client) = home.filled(Store::Memory).await;
    home.good(Some(&from), &["backup", "create", "daily"]).await;
    let good = std::fs::read(home.path("daily")).unwrap();
    let (to, mut client) = home.start(Store::Memory).await;
    for place in (0..good.len()).step_by(good.len() / 25) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x41;
        std::fs::write(home.path("damaged"), bytes).unwrap();
        let why = home.bad(Some(&to), &["backup", "restore", "damaged"]).await;
        assert!(why.contains("damaged"), "{why}");
        assert!(!has_schema(&mut client).await, "byte {place}: {why}");
    }
    std::fs::write(home.path("damaged"), &good[..good.len() - 30]).unwrap();
    home.bad(Some(&to), &["backup", "restore", "damaged"]).await;
    assert!(!has_schema(&mut client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_what_says_so_and_goes_on() {
    let home = Home::new();
    let (server, mut client) = home.start(Store::Memory).await;
    client.write_schema(SCHEMA).await.unwrap();
    let rows = |from: usize| {
        (from..from + 1000).map(|n| relationship(("document", &format!("d{n}")), "viewer", ("user", "eve")))
    };
    client.import((0..30).map(|batch| rows(batch * 1000).collect()).collect()).await.unwrap();
    let folder = home.path("backups");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("daily");
    let args = ["backup", "create", file.to_str().unwrap(), "--page-limit", "50"];
    let mut child = home.command(Some(&server), &args).stderr(Stdio::null()).spawn().unwrap();
    let state = folder.join("daily.incomplete.json");
    while !std::fs::read_to_string(&state)
        .is_ok_and(|text| text.contains("\"relationships\":") && !text.contains(":0,"))
    {
        assert!(child.try_wait().unwrap().is_none(), "it was too quick to be interrupted");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().await.unwrap();
    assert!(!names(&folder).contains(&"daily".to_owned()), "{:?}", names(&folder));
    let unfinished = home.bad(None, &["backup", "verify", folder.join("daily.incomplete").to_str().unwrap()]).await;
    assert!(unfinished.contains("unfinished backup"), "{unfinished}");
    // What is written meanwhile is not of the backup's revision.
    client.write([relationship(("document", "later"), "viewer", ("user", "eve"))], []).await.unwrap();
    let output = home.run(Some(&server), &args).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("going on after"));
    assert_eq!(names(&folder), ["daily"]);
    let lines = home.good(None, &["backup", "parse-relationships", file.to_str().unwrap()]).await;
    let distinct: BTreeSet<_> = lines.lines().collect();
    assert_eq!((lines.lines().count(), distinct.len()), (30_000, 30_000));
    assert!(!lines.contains("document:later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_backup_has_no_names_and_the_same_shape() {
    let home = Home::new();
    let (from, _client) = home.filled(Store::Memory).await;
    home.good(Some(&from), &["backup", "create", "daily"]).await;
    home.good(None, &["backup", "redact", "daily", "redacted"]).await;
    let schema = home.good(None, &["backup", "parse-schema", "redacted"]).await;
    let relationships = home.good(None, &["backup", "parse-relationships", "redacted"]).await;
    for name in ["document", "team", "viewer", "alice", "office:", "plan", "member"] {
        assert!(!schema.contains(name) && !relationships.contains(name), "{name}:\n{schema}\n{relationships}");
    }
    let (to, mut client) = home.start(Store::Memory).await;
    home.good(Some(&to), &["backup", "restore", "redacted"]).await;
    assert!(has_schema(&mut client).await);
    let original = std::fs::read(home.path("redacted")).unwrap();
    assert!(home.bad(None, &["backup", "redact", "daily", "redacted"]).await.contains("is there already"));
    assert_eq!(std::fs::read(home.path("redacted")).unwrap(), original);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_under_load_restores_to_any_of_its_revisions() {
    let home = Home::new();
    let data = home.path("data");
    let (server, mut client) = home.filled(Store::RocksDb(&data)).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (mut client, done) = (client.clone(), Arc::clone(&done));
        async move {
            let mut tokens = Vec::new();
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let new = relationship(("document", &format!("d{number}")), "viewer", ("user", "eve"));
                let old = relationship(("document", &format!("d{}", number / 2)), "viewer", ("user", "eve"));
                tokens.push(client.write([new], if number % 3 == 2 { vec![old] } else { vec![] }).await.unwrap());
            }
            tokens
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let report = home.good(Some(&server), &["backup", "checkpoint", "one", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let checkpoint = report["path"].as_str().unwrap().to_owned();
    assert!(checkpoint.ends_with("data/checkpoints/one"), "{checkpoint}");
    let scrubbed = home.good(Some(&server), &["scrub"]).await;
    assert!(scrubbed.contains("everything agrees"), "{scrubbed}");
    done.store(true, Ordering::Relaxed);
    let tokens = writer.await.unwrap();
    let again = home.bad(Some(&server), &["backup", "checkpoint", "one"]).await;
    assert!(again.contains("is there already"), "{again}");
    let outside = home.bad(Some(&server), &["backup", "checkpoint", "../outside"]).await;
    assert!(outside.contains("is no name for a checkpoint"), "{outside}");
    assert!(home.bad(None, &["scrub", data.to_str().unwrap()]).await.contains("in use by another process"));
    assert!(home.good(None, &["scrub", &checkpoint]).await.contains("everything agrees"));

    let revision = report["revision"].as_u64().unwrap();
    // The system store took revisions 1 and 2, the schema 3, the six relationships 4, and each write of the loop one more.
    let first = 5;
    for back in [0, 1, revision / 2] {
        let until = (revision - back).max(first);
        let token = &tokens[usize::try_from(until - first).unwrap()];
        let target = home.path(&format!("restored-{back}"));
        let args = ["restore", &checkpoint, target.to_str().unwrap(), "--until-revision", &until.to_string()];
        home.good(None, &args).await;
        assert!(home.good(None, &["scrub", target.to_str().unwrap()]).await.contains("everything agrees"));
        let expected = everything(&mut client, at_exactly(token)).await;
        let (restored, mut copy) = home.start(Store::RocksDb(&target)).await;
        assert_eq!(everything(&mut copy, fully_consistent()).await, expected);
        // Tokens of the history that was left are foreign.
        let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
        let foreign = copy.read(filter, at_exactly(token)).await.unwrap_err();
        assert_eq!(foreign.code(), Code::InvalidArgument, "{foreign}");
        copy.write([relationship(("document", "new"), "viewer", ("user", "eve"))], []).await.unwrap();
        drop(restored);
    }
    let used = home.bad(None, &["restore", &checkpoint, home.path("restored-0").to_str().unwrap()]).await;
    assert!(used.contains("is not empty"), "{used}");
    let free = ["serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off", "--grpc-preshared-key", "k"];
    let served = home.run(None, &[&free[..], &["--data-dir", &checkpoint]].concat()).await;
    assert!(String::from_utf8_lossy(&served.stderr).contains("is a backup"), "{served:?}");
    let early = home.path("early");
    let args = ["restore", &checkpoint, early.to_str().unwrap(), "--until-time", "2001-01-01T00:00:00Z", "--json"];
    assert!(home.good(None, &args).await.contains("\"revision\":0"));
}

/// A kill at any moment of a checkpoint: the data is as it should be, and no half copy passes for a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_a_checkpoint_harms_nothing() {
    let home = Home::new();
    let data = home.path("data");
    let (mut server, mut client) = home.filled(Store::RocksDb(&data)).await;
    let rows = (0..5_000).map(|n| relationship(("document", &format!("d{n}")), "viewer", ("user", "eve")));
    client.import(rows.collect::<Vec<_>>().chunks(1000).map(<[_]>::to_vec).collect()).await.unwrap();
    let expected = everything(&mut client, fully_consistent()).await;
    for round in 0..6_u64 {
        let name = format!("round-{round}");
        let mut child = home
            .command(Some(&server), &["backup", "checkpoint", &name])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(10 + round * 12)).await;
        server.kill().await.unwrap();
        let _broken_off = child.wait().await;
        assert!(home.good(None, &["scrub", data.to_str().unwrap()]).await.contains("everything agrees"));
        let checkpoints = data.join("checkpoints");
        for name in if checkpoints.exists() { names(&checkpoints) } else { Vec::new() } {
            let path = checkpoints.join(&name);
            let target = home.path(&format!("restored-{round}-{name}"));
            let restored = home.run(None, &["restore", path.to_str().unwrap(), target.to_str().unwrap()]).await;
            if name.ends_with(".partial") {
                // It became whole up to its name at most.
                continue;
            }
            assert!(restored.status.success(), "{name}: {}", String::from_utf8_lossy(&restored.stderr));
            assert!(home.good(None, &["scrub", target.to_str().unwrap()]).await.contains("everything agrees"));
        }
        (server, client) = home.start(Store::RocksDb(&data)).await;
        assert_eq!(everything(&mut client, fully_consistent()).await, expected);
    }
    home.good(Some(&server), &["backup", "checkpoint", "last"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_memory_has_nothing_to_copy() {
    let home = Home::new();
    let (server, _client) = home.filled(Store::Memory).await;
    assert!(home.bad(Some(&server), &["backup", "checkpoint"]).await.contains("in memory"));
    assert!(home.bad(Some(&server), &["scrub"]).await.contains("in memory"));
}
