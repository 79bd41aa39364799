//! Starting, stopping and trouble, as an operator meets them: each trouble has a clear error, and leaves nothing damaged.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::certificates::{TlsFiles, localhost};
use stonetown_tests::client::{Client, fully_consistent, object, relationship};
use stonetown_tests::operated::{Operated, data_dir, fails_to_serve, run};
use tonic::Code;
use wire::permissions_service_client::PermissionsServiceClient;

const SCHEMA: &str = "definition user {}\ndefinition document {\n  relation viewer: user\n}\n";

async fn write(client: &mut Client, document: &str) -> Result<(), tonic::Status> {
    let row = relationship(("document", document), "viewer", ("user", "alice"));
    client.write([row], []).await.map(|_| ())
}

async fn documents(client: &mut Client) -> usize {
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    client.read(filter, fully_consistent()).await.unwrap().len()
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--grpc-addr", "--metrics-addr"] {
        let ended = fails_to_serve(&["--datastore-engine", "memory", flag, &address]).await.unwrap();
        assert_eq!(ended.code, Some(1));
        let expected = format!("cannot listen on {address} ({flag}): the port is in use by another process");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_directory_in_use_or_of_a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let flags = data_dir(folder.path());
    let server = Operated::start(&flags).await.unwrap();
    let ended = fails_to_serve(&flags).await.unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("is in use by another process"), "{}", ended.stderr);
    server.signal("TERM").unwrap();
    assert_eq!(server.ended().await.unwrap().code, Some(0));

    let format = folder.path().join("FORMAT");
    let known = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, "stonetown format 4711\n").unwrap();
    let ended = fails_to_serve(&flags).await.unwrap();
    assert!(ended.stderr.contains("has format 4711, and this version reads formats up to"), "{}", ended.stderr);
    std::fs::write(&format, known).unwrap();
    Operated::start(&flags).await.unwrap();
}

#[tokio::test]
async fn a_directory_of_another_instance_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let flags = data_dir(folder.path());
    let server = Operated::start(&flags).await.unwrap();
    server.signal("TERM").unwrap();
    server.ended().await.unwrap();
    let [flag, directory] = flags;
    let refused = fails_to_serve(&[flag, directory, "--expect-instance", "0123456789abcdef"]).await.unwrap();
    assert_eq!(refused.code, Some(1));
    let told = "and 0123456789abcdef is expected (--expect-instance)";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    let found = refused.stderr.split("the data are of instance ").nth(1).unwrap()[..16].to_uppercase();
    Operated::start(&[flag, directory, "--expect-instance", &found]).await.unwrap();
    let ended = fails_to_serve(&[flag, directory, "--expect-instance", "12"]).await.unwrap();
    assert!(ended.stderr.contains("expected 16 hexadecimal digits"), "{}", ended.stderr);
}

#[tokio::test]
async fn settings_that_are_wrong_are_named_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stonetown.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "grpc-adr: ':1'\n").unwrap();
    let ended = fails_to_serve(&["--config", path]).await.unwrap();
    assert!(ended.stderr.contains("there is no setting `grpc-adr`: did you mean `grpc-addr`?"), "{}", ended.stderr);
    assert!(ended.stderr.contains(path), "{}", ended.stderr);

    let ended = fails_to_serve(&["--grpc-tls-cert-path", "x.pem"]).await.unwrap();
    assert!(ended.stderr.contains("`grpc-tls-key-path` go together"), "{}", ended.stderr);

    let binary = stonetown_tests::server::binary().unwrap();
    let output = Command::new(binary).arg("serve").env("STONETOWN_INDEX_MIB", "lots").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("environment variable STONETOWN_INDEX_MIB: `index-mib`: invalid digit"), "{text}");
}

#[tokio::test]
async fn config_prints_what_is_in_force_and_from_where_with_secrets_masked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stonetown.yaml");
    std::fs::write(&file, "index-mib: 77\ngrpc-preshared-key: [very-secret]\n").unwrap();
    let path = file.to_str().unwrap();
    let ended = run(&["config", "--config", path, "--log-format", "json", "--json"]).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("very-secret"));
    let printed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let settings = printed["settings"].as_array().unwrap();
    let find = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!((&find("index-mib")["values"][0], &find("index-mib")["from"]), (&"77".into(), &path.into()));
    assert_eq!(find("log-format")["origin"], "flag");
    assert_eq!((&find("log-level")["values"][0], &find("log-level")["origin"]), (&"info".into(), &"default".into()));
    assert_eq!(find("grpc-preshared-key")["values"][0], "********");

    // What is printed is a configuration file itself.
    let printed = run(&["config", "--config", path]).await.unwrap().stdout;
    let again = folder.path().join("again.yaml");
    std::fs::write(&again, printed.replace("********", "x")).unwrap();
    let ended = run(&["config", "--config", again.to_str().unwrap()]).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn health_is_told_by_exit_code() {
    let server = Operated::start(&["--datastore-engine", "memory"]).await.unwrap();
    let ended = run(&["health", "--endpoint", &server.grpc]).await.unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "serving\n"), "{}", ended.stderr);
    let address = server.grpc.clone();
    // By the name that SpiceDB's image has for it.
    let folder = tempfile::tempdir().unwrap();
    let probe = folder.path().join("grpc_health_probe");
    std::os::unix::fs::symlink(stonetown_tests::server::binary().unwrap(), &probe).unwrap();
    let probed = || Command::new(&probe).arg(format!("-addr={address}")).status().unwrap().code();
    assert_eq!(probed(), Some(0));
    drop(server);
    assert_eq!(probed(), Some(1));
    let ended = run(&["health", "--endpoint", &address]).await.unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no server answers at"), "{}", ended.stderr);
}

#[tokio::test]
async fn with_mutual_tls_only_clients_with_a_certificate_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let (ca, cert, key_file) = (file("ca"), file("cert"), file("key"));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&cert, leaf.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    let mut flags = vec!["--datastore-engine", "memory", "--grpc-tls-client-ca-path", &ca];
    flags.extend(["--grpc-tls-cert-path", &cert, "--grpc-tls-key-path", &key_file]);
    let server = Operated::start(&flags).await.unwrap();
    let endpoint = format!("localhost:{}", server.grpc.rsplit_once(':').unwrap().1);
    let health = ["health", "--endpoint", &endpoint, "--certificate-path", &ca];
    assert_eq!(run(&health).await.unwrap().code, Some(1));
    let with_certificate = [&health[..], &["--client-cert-path", &cert, "--client-key-path", &key_file]].concat();
    let ended = run(&with_certificate).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_call_without_a_deadline_has_that_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let [flag, path] = data_dir(folder.path());
    let server = Operated::start(&[flag, path]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    write(&mut client, "a").await.unwrap();
    server.signal("TERM").unwrap();
    server.ended().await.unwrap();
    let server = Operated::start(&[flag, path, "--max-request-duration", "1ns"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    let check = wire::CheckPermissionRequest {
        consistency: Some(fully_consistent()),
        resource: Some(object("document", "a")),
        permission: "viewer".to_owned(),
        subject: Some(wire::SubjectReference { object: Some(object("user", "alice")), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(client.permissions.check_permission(check).await.unwrap_err().code(), Code::DeadlineExceeded);
    // Reading goes on as long as its caller takes what it is sent.
    assert_eq!(documents(&mut client).await, 1);
}

/// An import whose client never says that it is done: a call that runs until somebody ends it.
async fn endless_import(address: &str) -> tokio::task::JoinHandle<tonic::Status> {
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = PermissionsServiceClient::new(channel);
    let rows = vec![relationship(("document", "imported"), "viewer", ("user", "alice"))];
    let first = wire::ImportBulkRelationshipsRequest { relationships: rows };
    let messages = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut request = tonic::Request::new(messages);
    request.metadata_mut().insert("authorization", "Bearer test-key".parse().unwrap());
    let call = tokio::spawn(async move { client.import_bulk_relationships(request).await.unwrap_err() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished());
    call
}

#[tokio::test]
async fn a_server_that_stops_says_so_lets_calls_end_and_cuts_off_the_rest() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let server = Operated::start(&["--grpc-shutdown-grace-period", "4s"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let import = endless_import(&server.grpc).await;

    let begun = Instant::now();
    server.signal("TERM").unwrap();
    // The endless stream hears of it and ends at once, the import has its grace period.
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A call that meets the closing of its connection is called off by the client itself: the server never had it.
    let mut late = write(&mut client, "late").await.unwrap_err();
    while late.code() == Code::Cancelled {
        late = write(&mut client, "late").await.unwrap_err();
    }
    assert_eq!(late.code(), Code::Unavailable, "{late}");
    assert!(!import.is_finished());
    let cut_off = import.await.unwrap();
    assert_eq!(cut_off.code(), Code::Unavailable, "{cut_off}");
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(server.ended().await.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let server = Operated::start(&["--grpc-shutdown-grace-period", "1h"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    let import = endless_import(&server.grpc).await;
    server.signal("TERM").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!import.is_finished());
    server.signal("INT").unwrap();
    let ended = server.ended().await.unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("stopped at once"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_server_that_is_read_only_answers_and_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let [flag, path] = data_dir(folder.path());
    let server = Operated::start(&[flag, path]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    write(&mut client, "a").await.unwrap();
    server.signal("TERM").unwrap();
    server.ended().await.unwrap();

    let server = Operated::start(&[flag, path, "--datastore-readonly"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    assert_eq!(documents(&mut client).await, 1);
    for refused in [write(&mut client, "b").await, client.write_schema(SCHEMA).await.map(|_| ())] {
        assert_read_only(&refused.unwrap_err(), "started to be read only");
    }
    assert_read_only(&client.import(vec![vec![]]).await.unwrap_err(), "started to be read only");
    assert_eq!(server.metric("stonetown_datastore_takes_writes").await.unwrap(), 0.0);
}

fn assert_read_only(status: &tonic::Status, why: &str) {
    use tonic_types::StatusExt;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_SERVICE_READ_ONLY");
    assert!(status.message().contains(why), "{status}");
}

/// A small disk of its own; unmounted when it goes.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this user may not mount.
    fn of_mib(size: u32) -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(folder)),
            _ => {
                eprintln!("no right to mount: a full disk is not tested");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_refuses_writes_until_there_is_room_again() {
    let Some(disk) = Disk::of_mib(160) else { return };
    let data = disk.path().join("data");
    let [flag, path] = data_dir(&data);
    let server = Operated::start(&[flag, path, "--datastore-min-free-mib", "32"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    write(&mut client, "a").await.unwrap();

    let free = server.metric("stonetown_datastore_disk_free_bytes").await.unwrap();
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1_u8; free as usize - (16 << 20)]).unwrap();
    assert_read_only(&write(&mut client, "b").await.unwrap_err(), "is nearly full");
    assert_read_only(&client.import(vec![vec![]]).await.unwrap_err(), "is nearly full");
    assert_eq!(documents(&mut client).await, 1);
    assert_eq!(server.metric("stonetown_datastore_takes_writes").await.unwrap(), 0.0);

    std::fs::remove_file(&filler).unwrap();
    write(&mut client, "c").await.unwrap();
    assert_eq!(documents(&mut client).await, 2);
    assert_eq!(server.metric("stonetown_datastore_takes_writes").await.unwrap(), 1.0);
}

/// Takes all room that a disk has, or has by now.
fn fill(disk: &Disk) {
    let mut file = std::fs::File::options().create(true).append(true).open(disk.path().join("filler")).unwrap();
    while std::io::Write::write_all(&mut file, &[1_u8; 4096]).is_ok() {}
}

fn make_room(disk: &Disk) {
    std::fs::remove_file(disk.path().join("filler")).unwrap();
}

/// Documents that are written, or imported, at once.
const AT_ONCE: usize = 1000;

/// Documents with long names, so that the disk is soon full.
fn numbered(from: usize) -> Vec<wire::Relationship> {
    let names = (from..from + AT_ONCE).map(|number| format!("document-{number:0900}"));
    names.map(|name| relationship(("document", &name), "viewer", ("user", "alice"))).collect()
}

/// Writes until a write is refused; how many documents were acknowledged by then, beside those that were before.
async fn write_until_refused(client: &mut Client, disk: &Disk, before: usize) -> (usize, tonic::Status) {
    let mut acknowledged = before;
    // What is preallocated for the log takes some writes yet, and what was moved to tables makes room.
    loop {
        fill(disk);
        match client.write(numbered(acknowledged), []).await {
            Ok(_) => acknowledged += AT_ONCE,
            Err(refused) => return (acknowledged, refused),
        }
        assert!(acknowledged < 1_000 * AT_ONCE);
    }
}

/// As [`write_until_refused`], by imports of ten messages each.
async fn import_until_refused(client: &mut Client, disk: &Disk, before: usize) -> (usize, tonic::Status) {
    let mut acknowledged = before;
    loop {
        fill(disk);
        let messages = (0..10).map(|message| numbered(acknowledged + message * AT_ONCE)).collect();
        match client.import(messages).await {
            Ok(_) => acknowledged += 10 * AT_ONCE,
            Err(refused) => return (acknowledged, refused),
        }
        assert!(acknowledged < 1_000 * AT_ONCE);
    }
}

/// A server on a small disk of its own that fills it to the last byte; `None` where this user may not mount.
async fn on_a_disk_of_mib(size: u32) -> Option<(Disk, Vec<String>, Operated, Client)> {
    let disk = Disk::of_mib(size)?;
    let data = disk.path().join("data").display().to_string();
    let flags = ["--data-dir", &data, "--datastore-min-free-mib", "0"].map(str::to_owned).to_vec();
    let (server, mut client) = restarted(&flags).await;
    client.write_schema(SCHEMA).await.unwrap();
    Some((disk, flags, server, client))
}

async fn restarted(flags: &[String]) -> (Operated, Client) {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Operated::start(&flags).await.unwrap();
    let client = Client::connect(&server.grpc).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn a_disk_without_a_byte_left_loses_nothing_that_was_acknowledged() {
    let Some((disk, flags, server, mut client)) = on_a_disk_of_mib(96).await else { return };
    let (acknowledged, refused) = write_until_refused(&mut client, &disk, 0).await;
    assert_read_only(&refused, "the disk is full");
    assert_eq!(documents(&mut client).await, acknowledged);
    server.signal("KILL").unwrap();
    server.ended().await.unwrap();

    make_room(&disk);
    let (_server, mut client) = restarted(&flags).await;
    // The write that was refused may have reached the disk whole: its caller was not told either way.
    let found = documents(&mut client).await;
    assert!(found == acknowledged || found == acknowledged + AT_ONCE, "{found} of {acknowledged}");
    write(&mut client, "after").await.unwrap();
}

#[tokio::test]
async fn writing_goes_on_without_a_restart_when_a_full_disk_has_room_again() {
    let Some((disk, flags, server, mut client)) = on_a_disk_of_mib(384).await else { return };
    let mut expected = 0;
    for imports in [false, true] {
        let (acknowledged, refused) = if imports {
            import_until_refused(&mut client, &disk, expected).await
        } else {
            write_until_refused(&mut client, &disk, expected).await
        };
        assert_read_only(&refused, "the disk is full");
        assert_read_only(&write(&mut client, "refused").await.unwrap_err(), "writing goes on when there is room");
        assert_eq!(documents(&mut client).await, acknowledged);
        assert_eq!(server.metric("stonetown_datastore_takes_writes").await.unwrap(), 0.0);
        let ready = stonetown_tests::http::ask(&server.grpc, "GET", "/readyz", &[], "").await.unwrap();
        assert_eq!((ready.code, ready.body.as_str()), (200, r#"{"status":"SERVING","takesWrites":false}"#));

        make_room(&disk);
        server.until("stonetown_datastore_takes_writes", |takes| takes == 1.0).await.unwrap();
        let ready = stonetown_tests::http::ask(&server.grpc, "GET", "/readyz", &[], "").await.unwrap();
        assert_eq!((ready.code, ready.body.as_str()), (200, r#"{"status":"SERVING"}"#));
        let found = documents(&mut client).await;
        // What was refused is nowhere, but for an import that had begun to be published: it is there whole.
        assert!(found == acknowledged || imports && found == acknowledged + 10 * AT_ONCE, "{found} of {acknowledged}");
        client.write(numbered(found), []).await.unwrap();
        expected = found + AT_ONCE;
        assert_eq!(documents(&mut client).await, expected);
    }
    server.signal("KILL").unwrap();
    server.ended().await.unwrap();
    let scrubbed = run(&["scrub", &flags[1]]).await.unwrap();
    assert_eq!(scrubbed.code, Some(0), "{}{}", scrubbed.stdout, scrubbed.stderr);
    let (_server, mut client) = restarted(&flags).await;
    assert_eq!(documents(&mut client).await, expected);
}

/// Nothing can be written to standard output nor standard error, as when they lead to a full disk.
fn voiceless(args: &[&str]) -> Command {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(stonetown_tests::server::binary().unwrap());
    command.args(args).stdout(full()).stderr(full());
    command
}

#[tokio::test]
async fn a_server_that_cannot_write_its_log_goes_on() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let serve = ["serve", "--datastore-engine", "memory", "--metrics-addr", "off", "--grpc-addr", &free];
    let logged = ["--grpc-preshared-key", stonetown_tests::server::KEY, "--log-calls", "all", "--log-level", "debug"];
    let mut server = voiceless(&[&serve[..], &logged[..]].concat()).spawn().unwrap();
    let begun = Instant::now();
    while run(&["health", "--endpoint", &free]).await.unwrap().code != Some(0) {
        assert!(server.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60), "it has ended");
    }
    let mut client = Client::connect(&free).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    for number in 0..20 {
        write(&mut client, &number.to_string()).await.unwrap();
    }
    assert_eq!(documents(&mut client).await, 20);
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || server.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    // What fails says so by its exit code.
    assert_eq!(voiceless(&["health", "--endpoint", &free]).status().unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_certificate_that_does_not_match_its_key_and_a_key_that_cannot_be_read_are_named() {
    let files = TlsFiles::of(&localhost().unwrap()).unwrap();
    let TlsFiles { cert, key, .. } = &files;
    std::fs::write(key, localhost().unwrap().signing_key.serialize_pem()).unwrap();
    let ended = fails_to_serve(&["--grpc-tls-cert-path", cert, "--grpc-tls-key-path", key]).await.unwrap();
    let expected = format!("`{key}`: is not the key of the certificate in `{cert}`");
    assert!(ended.code == Some(1) && ended.stderr.contains(&expected), "{}", ended.stderr);

    let missing = files.folder().join("missing").display().to_string();
    let ended = fails_to_serve(&["--grpc-tls-cert-path", cert, "--grpc-tls-key-path", &missing]).await.unwrap();
    assert!(ended.stderr.contains(&format!("`{missing}`: cannot be read: No such file")), "{}", ended.stderr);
}

#[tokio::test]
async fn certificates_are_replaced_while_the_server_runs() {
    let (first, second) = (localhost().unwrap(), localhost().unwrap());
    let files = TlsFiles::of(&first).unwrap();
    let server = Operated::start(&[
        "--datastore-engine",
        "memory",
        "--grpc-tls-cert-path",
        &files.cert,
        "--grpc-tls-key-path",
        &files.key,
        "--tls-reload-interval",
        "50ms",
    ])
    .await
    .unwrap();
    assert!(server.metric("stonetown_tls_certificate_expiry_timestamp_seconds").await.unwrap() > 1.7e9);
    let port = server.grpc.rsplit_once(':').unwrap().1.to_owned();
    let trusted = |pem: String| {
        let path = files.folder().join("trusted").display().to_string();
        std::fs::write(&path, pem).unwrap();
        let endpoint = format!("localhost:{port}");
        async move { run(&["health", "--endpoint", &endpoint, "--certificate-path", &path]).await.unwrap().code }
    };
    assert_eq!(trusted(first.cert.pem()).await, Some(0));
    files.replace(&second).unwrap();
    server.until("stonetown_tls_reloads_total", |reloads| reloads >= 1.0).await.unwrap();
    assert_eq!(trusted(second.cert.pem()).await, Some(0));
    assert_eq!(trusted(first.cert.pem()).await, Some(1));

    std::fs::write(&files.key, "not a key").unwrap();
    server.until("stonetown_tls_reloads_refused_total", |refused| refused >= 1.0).await.unwrap();
    assert_eq!(trusted(second.cert.pem()).await, Some(0));
    assert!(server.log().unwrap().contains("going on with the former"));
}
