//! A server started as SpiceDB's operators start theirs: its environment names, its flags, its bootstrap files.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, fully_consistent};
use stonetown_tests::server::{KEY, binary};

const DOCUMENTS: &str = "
schema: |-
  use expiration
  definition user {}
  definition document {
    relation viewer: user | user with expiration
    permission view = viewer
  }
relationships: |-
  // who may read
  document:plan#viewer@user:alice
assertions:
  assertTrue: ['document:plan#view@user:alice']
validation: null
";
const GROUPS: &str = "
schema: |-
  definition group {
    relation member: user
  }
";
const MEMBERS: &str = "
relationships: |-
  group:staff#member@user:bob
";

#[tokio::test(flavor = "multi_thread")]
async fn environment_names_flags_and_bootstrap_files_of_spicedb_start_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("documents.yaml", DOCUMENTS), ("groups.yaml", GROUPS), ("members.yaml", MEMBERS)]
        .map(|(name, text)| file(folder.path(), name, text).display().to_string());
    let mut server = Started::new(
        &[
            "--dispatch-cluster-enabled=false",
            "--telemetry-endpoint",
            "",
            "--http-enabled=false",
            "--datastore-gc-window",
            "1h",
            "--datastore-gc-window",
            "12h",
        ],
        &[
            ("SPICEDB_GRPC_ADDR", "127.0.0.1:0"),
            ("SPICEDB_GRPC_PRESHARED_KEY", &format!("other,{KEY}")),
            ("SPICEDB_METRICS_ENABLED", "false"),
            ("SPICEDB_DATASTORE_ENGINE", "memory"),
            ("SPICEDB_DATASTORE_GC_INTERVAL", "3m0s"),
            ("SPICEDB_DATASTORE_BOOTSTRAP_FILES", &files.join(",")),
            ("SPICEDB_DATASTORE_CONN_POOL_READ_MAX_OPEN", "20"),
            // Left empty, as compose files do, and what Kubernetes adds for a service of that name.
            ("SPICEDB_GRPC_MAX_CONN_AGE", ""),
            ("SPICEDB_SERVICE_HOST", "10.0.0.1"),
        ],
    );
    let address = server.address().unwrap();
    let mut client = Client::connect(&address).await.unwrap();
    for (kind, expected) in [("document", "document:plan#viewer@user:alice"), ("group", "group:staff#member@user:bob")]
    {
        let filter = wire::RelationshipFilter { resource_type: kind.to_owned(), ..Default::default() };
        let found = client.read(filter, fully_consistent()).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [expected]);
    }
    let (out, log) = server.end();
    assert!(!out.contains("metrics"), "{out}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("mean nothing here")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    let named = warnings[0].rsplit("ignored: ").next().unwrap();
    assert_eq!(named, "--dispatch-cluster-enabled, --telemetry-endpoint, SPICEDB_DATASTORE_CONN_POOL_READ_MAX_OPEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_names_go_before_those_of_spicedb() {
    let mut server = Started::new(
        // A key does not replace the one before it, as other settings do.
        &[
            "--metrics-addr",
            "off",
            "--datastore-engine",
            "memory",
            "--grpc-preshared-key",
            KEY,
            "--grpc-preshared-key",
            "b",
        ],
        &[("STONETOWN_GRPC_ADDR", "127.0.0.1:0"), ("SPICEDB_GRPC_ADDR", "not an address")],
    );
    let address = server.address().unwrap();
    Client::connect(&address).await.unwrap().write_schema("definition user {}").await.unwrap();
    assert!(!server.end().1.contains("mean nothing here"));
}

/// Killed between the schema and the relationships of its file, at whatever moment that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_that_was_interrupted_is_ended_by_the_next_start() {
    const RELATIONSHIPS: usize = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..RELATIONSHIPS).map(|n| format!("  document:d{n}#viewer@user:alice\n")).collect();
    let schema = "definition user {} definition document { relation viewer: user }";
    let path = file(folder.path(), "many.yaml", &format!("schema: |-\n  {schema}\nrelationships: |-\n{rows}"));
    let path = path.display().to_string();
    let environment = [("SPICEDB_GRPC_PRESHARED_KEY", KEY), ("SPICEDB_GRPC_ADDR", "127.0.0.1:0")];
    let mut half_loaded = 0;
    for delay in 0_u64.. {
        let data = folder.path().join(delay.to_string()).display().to_string();
        let without = ["--metrics-addr=off", "--data-dir", &data];
        let flags = [&without[..], &["--datastore-bootstrap-files", &path]].concat();
        let server = Started::new(&flags, &environment);
        std::thread::sleep(std::time::Duration::from_millis(400 * delay));
        let was_ready = server.kill();
        // Without the files it does not serve half of them.
        let mut server = Started::new(&without, &environment);
        let refused = server.address().is_none();
        let log = server.end().1;
        assert!(!refused || log.contains("start with them again"), "{delay}: {log}");
        half_loaded += u32::from(refused);
        let mut server = Started::new(&flags, &environment);
        let mut client = Client::connect(&server.address().unwrap()).await.unwrap();
        let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
        assert_eq!(client.read(filter, fully_consistent()).await.unwrap().len(), RELATIONSHIPS, "{delay}");
        std::fs::remove_dir_all(&data).unwrap();
        if was_ready {
            break;
        }
    }
    assert!(half_loaded > 0, "never killed in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_files_leave_a_schema_alone_unless_they_may_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let (first, second) = (file(folder.path(), "a.yaml", DOCUMENTS), file(folder.path(), "b.yaml", GROUPS));
    let with_user = file(folder.path(), "c.yaml", &format!("{}\n    definition user {{}}\n", GROUPS.trim_end()));
    let start = |path: &Path, overwrite: &str| {
        let path = path.display().to_string();
        let flags = ["--metrics-addr=off", "--data-dir", &data, "--datastore-bootstrap-files", &path, overwrite];
        Started::new(&flags, &[("SPICEDB_GRPC_PRESHARED_KEY", KEY), ("SPICEDB_GRPC_ADDR", "127.0.0.1:0")])
    };
    let schema = async |server: &mut Started| {
        let mut client = Client::connect(&server.address().unwrap()).await.unwrap();
        client.schema.read_schema(wire::ReadSchemaRequest {}).await.unwrap().into_inner().schema_text
    };

    let mut server = start(&first, "--datastore-bootstrap-overwrite=false");
    assert!(schema(&mut server).await.contains("definition document"));
    server.end();
    let mut server = start(&second, "--datastore-bootstrap-overwrite=false");
    assert!(schema(&mut server).await.contains("definition document"));
    assert!(server.end().1.contains("left alone"));
    // Stored relationships have no place in the new schema: refused, not dropped.
    let mut server = start(&with_user, "--datastore-bootstrap-overwrite");
    assert_eq!(server.address(), None);
    let log = server.end().1;
    assert!(log.contains("bootstrap from") && log.contains("document"), "{log}");
    let mut server = start(&first, "--datastore-bootstrap-overwrite");
    assert!(schema(&mut server).await.contains("definition document"));
    assert!(server.end().1.contains("bootstrap files loaded"));
}

#[test]
fn what_would_mean_something_else_here_is_refused_with_a_reason() {
    for (flags, environment, expected) in [
        (&["--datastore-engine=postgres"][..], ("", ""), "is a datastore of SpiceDB"),
        (&["--datastore-engine", "oracle"], ("", ""), "possible values: rocksdb, memory"),
        (&[], ("SPICEDB_DATASTORE_ENGINE", "cockroachdb"), "is a datastore of SpiceDB"),
        (&["--no-such-flag"], ("", ""), "unexpected argument '--no-such-flag'"),
        (&["--grpc-enabled=false"], ("", ""), "invalid value 'false'"),
        (&[], ("SPICEDB_GRPC_NETWORK", "unix"), "invalid value 'unix'"),
        (&["--datastore-gc-window", "24"], ("", ""), "is not a length of time"),
    ] {
        let output = refused(flags, environment);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(expected), "{flags:?} {environment:?}: {log}");
    }
}

fn refused(flags: &[&str], environment: (&str, &str)) -> Output {
    let mut command = serve(flags);
    if !environment.0.is_empty() {
        command.env(environment.0, environment.1);
    }
    command.args(["--grpc-preshared-key", KEY, "--data-dir", "/dev/null/none"]).output().unwrap()
}

fn serve(flags: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.arg("serve").args(flags).stdin(Stdio::null());
    command
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A server whose output is kept. Killed when it is dropped.
struct Started {
    child: Child,
    lines: BufReader<ChildStdout>,
    out: String,
}

impl Started {
    fn new(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = serve(flags);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Started { child, lines, out: String::new() }
    }

    /// Where it takes calls; `None` when it ends instead.
    fn address(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            self.out += &line;
            if let Some(address) = line.strip_prefix("serving grpc on ") {
                return Some(address.trim_end().to_owned());
            }
        }
    }

    /// Kills it; whether it took calls by then.
    fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        self.address().is_some()
    }

    /// Ends it; what it printed and what it logged.
    fn end(mut self) -> (String, String) {
        let _ = self.child.kill();
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut log).unwrap();
        self.child.wait().unwrap();
        (std::mem::take(&mut self.out), log)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
