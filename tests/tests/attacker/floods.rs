//! Too much of something: streams that nobody ends, frames without sense, connections that say nothing. Whoever asks properly is
//! answered meanwhile, and afterwards everything is given back.

use std::time::{Duration, Instant};

use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::certificates::{TlsFiles, localhost};
use stonetown_tests::client::{Client, fully_consistent, object, relationship};
use stonetown_tests::http::ask_over_tls;
use stonetown_tests::operated::Operated;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Response, Status, Streaming};

const SCHEMA: &str = "definition agent {} definition document { relation viewer: agent; permission view = viewer }";
/// More than the server allows for the first words of a connection.
const PATIENCE: Duration = Duration::from_secs(25);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    files: usize,
    threads: u64,
    memory_mib: u64,
}

impl Held {
    fn of(server: &Operated) -> Held {
        let id = server.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let number = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Held {
            files: std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            threads: number("Threads:"),
            memory_mib: number("VmRSS:") >> 10,
        }
    }

    /// Whether this is about what `before` was: threads that wait for work end after a while, and allocators keep some memory.
    fn is_back_at(self, before: Held) -> bool {
        self.files <= before.files + 8
            && self.threads <= before.threads + 16
            && self.memory_mib <= before.memory_mib + 64
    }
}

async fn until_back_at(before: Held, server: &Operated) {
    let begun = Instant::now();
    while !Held::of(server).is_back_at(before) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?} instead of {before:?}", Held::of(server));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether a stream has a first message.
async fn begins<T>(answer: Result<Response<Streaming<T>>, Status>) -> Result<bool, Status> {
    Ok(answer?.into_inner().message().await?.is_some())
}

/// Begins one of the streams there are, reads some of it, and leaves; whether it came to that.
async fn abandon(client: &mut Client, number: usize) -> bool {
    let first = async {
        match number % 5 {
            0 => {
                let request = wire::LookupResourcesRequest {
                    resource_object_type: "document".to_owned(),
                    permission: "view".to_owned(),
                    subject: relationship(("document", "x"), "viewer", ("agent", "seven")).subject,
                    ..wire::LookupResourcesRequest::default()
                };
                begins(client.permissions.lookup_resources(request).await).await
            }
            1 => {
                let request = wire::LookupSubjectsRequest {
                    resource: Some(object("document", "wide")),
                    permission: "view".to_owned(),
                    subject_object_type: "agent".to_owned(),
                    ..wire::LookupSubjectsRequest::default()
                };
                begins(client.permissions.lookup_subjects(request).await).await
            }
            2 => {
                let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
                let request = wire::ReadRelationshipsRequest {
                    consistency: Some(fully_consistent()),
                    relationship_filter: Some(filter),
                    ..wire::ReadRelationshipsRequest::default()
                };
                begins(client.permissions.read_relationships(request).await).await
            }
            3 => {
                let request = wire::ExportBulkRelationshipsRequest { optional_limit: 10, ..Default::default() };
                begins(client.permissions.export_bulk_relationships(request).await).await
            }
            _ => client.watch.watch(wire::WatchRequest::default()).await.map(|_| true),
        }
    };
    // Some do not even wait for the beginning.
    let patience = Duration::from_millis(if number.is_multiple_of(7) { 1 } else { 500 });
    matches!(tokio::time::timeout(patience, first).await, Ok(Ok(true)))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_abandoned_leave_nothing_behind() {
    let server = Operated::start(&["--watch-api-heartbeat", "10ms"]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    let of = |document: &str, agent: &str| relationship(("document", document), "viewer", ("agent", agent));
    let documents = (0..5_000).map(|number| of(&format!("d{number}"), "seven"));
    let agents = (0..5_000).map(|number| of("wide", &format!("a{number}")));
    client
        .import(documents.chain(agents).collect::<Vec<_>>().chunks(1_000).map(<[_]>::to_vec).collect())
        .await
        .unwrap();
    // A connection on which much is taken back is ended: each is used for a few.
    let leaving = async |streams: usize| {
        let workers = (0..8).map(|offset| {
            let address = server.grpc.clone();
            tokio::spawn(async move {
                let mut left = 0;
                for number in 0..streams {
                    let mut client = Client::connect(&address).await.unwrap();
                    for more in 0..8 {
                        left += usize::from(abandon(&mut client, number + more + offset).await);
                    }
                }
                left
            })
        });
        let mut left = 0;
        for worker in workers.collect::<Vec<_>>() {
            left += worker.await.unwrap();
        }
        left
    };
    leaving(3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Held::of(&server);
    let left = leaving(30).await;
    assert!(left > 1_000, "only {left} of 1,920 streams began");
    let page = || async { server.scrape().await.unwrap() };
    let open = |page: &str| -> f64 {
        let lines = page.lines().filter(|line| line.starts_with("stonetown_grpc_calls_open{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let begun = Instant::now();
    while open(&page().await) > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "calls stay open: {}", page().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.until("stonetown_datastore_snapshots_open", |open| open == 0.0).await.unwrap();
    until_back_at(before, &server).await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The head of a call, as HPACK has it without tables.
fn head() -> Vec<u8> {
    let path = b"/authzed.api.v1.PermissionsService/LookupResources";
    [&[0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()], &path[..], &[0x01, 1, b'x']].concat()
}

/// A kilobyte of one header.
fn padding() -> Vec<u8> {
    [&[0x00, 1, b'x', 0x7f, 0x81, 0x07][..], &[b'y'; 1024]].concat()
}

/// What an attacker sends on and on.
fn nonsense(kind: usize, round: u32) -> Vec<u8> {
    let stream = round * 2 + 1;
    match kind {
        // Calls that are taken back at once.
        0 => [frame(HEADERS, END_HEADERS, stream, &head()), frame(RESET, 0, stream, &8u32.to_be_bytes())].concat(),
        // A head without an end.
        1 if round == 0 => frame(HEADERS, 0, 1, &head()),
        1 => frame(CONTINUATION, 0, 1, &padding().repeat(8)),
        // Things that have to be acknowledged, by one who does not read.
        2 => frame(PING, 0, 0, &[7; 8]),
        3 => frame(SETTINGS, 0, 0, &[]),
        // Heads of calls beyond any number.
        4 => frame(HEADERS, END_HEADERS, stream, &head()),
        // No HTTP/2 at all.
        _ => vec![0xff; 1024],
    }
}
const KINDS: usize = 6;

async fn flood(address: String, kind: usize, until: Instant) -> u64 {
    let mut sent = 0;
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
        let mut sending = stream.write_all(&hello).await.is_ok();
        let mut round = 0;
        while sending && Instant::now() < until {
            let bytes: Vec<u8> = (round..round + 16).flat_map(|round| nonsense(kind, round)).collect();
            let write = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&bytes)).await;
            sending = matches!(write, Ok(Ok(())));
            sent += 16;
            round += 16;
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_sense_keep_nobody_out() {
    let server = Operated::start(&[]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    client.write([relationship(("document", "d"), "viewer", ("agent", "seven"))], []).await.unwrap();
    let before = Held::of(&server);
    for kind in 0..KINDS {
        let until = Instant::now() + Duration::from_secs(2);
        let attackers: Vec<_> = (0..3).map(|_| tokio::spawn(flood(server.grpc.clone(), kind, until))).collect();
        let mut answered = 0;
        while Instant::now() < until {
            let request = wire::CheckPermissionRequest {
                consistency: Some(fully_consistent()),
                resource: Some(object("document", "d")),
                permission: "view".to_owned(),
                subject: relationship(("document", "x"), "viewer", ("agent", "seven")).subject,
                ..wire::CheckPermissionRequest::default()
            };
            let asked = tokio::time::timeout(Duration::from_secs(5), client.permissions.check_permission(request));
            asked.await.unwrap_or_else(|_| panic!("no answer beside flood {kind}")).unwrap();
            answered += 1;
        }
        let mut sent = 0;
        for attacker in attackers {
            sent += attacker.await.unwrap();
        }
        assert!(answered > 2 && sent > 0, "beside flood {kind} of {sent}: {answered} answers");
        let held = Held::of(&server);
        assert!(held.memory_mib < before.memory_mib + 256, "flood {kind}: {held:?} after {before:?}");
    }
    // And who comes now is let in.
    drop(Client::connect(&server.grpc).await.unwrap().schema.read_schema(wire::ReadSchemaRequest {}).await.unwrap());
    until_back_at(Held { memory_mib: before.memory_mib + 192, ..before }, &server).await;
}

/// A call that its client takes back before it has said all of it, as every gRPC library does when a caller gives up, is no whole one
/// and no fault of the server's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_takes_back_is_not_taken_for_whole() {
    let server = Operated::start(&[]).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    for round in 0..20 {
        let mut client = Client::connect(&server.grpc).await.unwrap();
        let rows =
            (0..100).map(|number| relationship(("document", &format!("d{round}-{number}")), "viewer", ("agent", "x")));
        let batch = wire::ImportBulkRelationshipsRequest { relationships: rows.collect() };
        let messages = futures::StreamExt::chain(futures::stream::iter([batch]), futures::stream::pending());
        let call = tokio::spawn(async move { client.permissions.import_bulk_relationships(messages).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    let path = b"/authzed.api.v1.PermissionsService/CheckPermission";
    let key = b"Bearer test-key";
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
    let head = [
        &[0x83, 0x86, 0x04, length(path)][..],
        path,
        &[0x01, 1, b'x', 0x0f, 0x08, length(key)],
        key,
        &[0x0f, 0x10, 16],
        b"application/grpc",
    ]
    .concat();
    let mut stream = TcpStream::connect(&server.grpc).await.unwrap();
    let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&hello).await.unwrap();
    for round in 0..10 {
        let call = frame(HEADERS, END_HEADERS, round * 2 + 1, &head);
        stream.write_all(&call).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(&frame(RESET, 0, round * 2 + 1, &8u32.to_be_bytes())).await.unwrap();
    }
    let calls = |page: &str, method: &str| -> Vec<String> {
        let lines =
            page.lines().filter(|line| line.starts_with("stonetown_grpc_calls_total{") && line.contains(method));
        lines.map(str::to_owned).collect()
    };
    let ended = |lines: &[String]| {
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let begun = Instant::now();
    let page = loop {
        let page = server.scrape().await.unwrap();
        let both = ended(&calls(&page, "ImportBulkRelationships")) + ended(&calls(&page, "CheckPermission"));
        if both >= 30 || begun.elapsed() > Duration::from_secs(30) {
            break page;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    assert_eq!(client.delete(filter).await.unwrap(), 0, "a part of an import was taken for all of it");
    for (method, number) in [("ImportBulkRelationships", 20), ("CheckPermission", 10)] {
        let lines = calls(&page, method);
        assert_eq!(ended(&lines), number, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("CANCELLED")), "{lines:?}");
    }
}

/// Connections that do not say what they want, or begin and stop, are ended; with TLS and without, and on the port of metrics.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_are_ended() {
    let pair = localhost().unwrap();
    let files = TlsFiles::of(&pair).unwrap();
    let tls = ["--grpc-tls-cert-path", &files.cert, "--grpc-tls-key-path", &files.key];
    let beginnings: [&[u8]; 6] =
        [b"", b"P", b"PRI * HTTP/2.0\r\n", b"GET /healthz HTT", b"POST /v1 HTTP/1.1\r\nA: b\r\n", &[0x16, 3, 1]];
    let ask = async |flags: &[&str], is_tls: bool| {
        let server = Operated::start(flags).await.unwrap();
        let before = Held::of(&server);
        let mut silent = Vec::new();
        for address in [&server.grpc, &server.metrics] {
            for beginning in beginnings.iter().cycle().take(60) {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(beginning).await.unwrap();
                silent.push((beginning, stream));
            }
        }
        if is_tls {
            let answer = ask_over_tls(&server.grpc, &pair.cert.pem(), "GET", "/healthz", &[], "").await.unwrap();
            assert_eq!(answer.code, 200);
        } else {
            Client::connect(&server.grpc).await.unwrap().write_schema(SCHEMA).await.unwrap();
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for (beginning, mut stream) in silent {
            let mut rest = Vec::new();
            let ended = tokio::time::timeout_at(deadline, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "TLS: {is_tls}, {:?} is waited for", String::from_utf8_lossy(beginning));
        }
        until_back_at(before, &server).await;
    };
    futures::join!(ask(&[], false), ask(&tls, true));
}
