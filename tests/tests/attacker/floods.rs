//! Too much of something: streams that nobody ends, frames without sense, connections that say nothing. Whoever asks properly is
//! answered meanwhile, and afterwards everything is given back.

use std::time::{Duration, Instant};

use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::attack::held::Held;
use stonetown_tests::attack::{members, streams};
use stonetown_tests::certificates::{TlsFiles, localhost};
use stonetown_tests::client::{Client, fully_consistent, object, relationship};
use stonetown_tests::http::ask_over_tls;
use stonetown_tests::operated::Operated;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SCHEMA: &str = "definition agent {} definition document { relation viewer: agent; permission view = viewer }";
/// More than the server allows for the first words of a connection.
const PATIENCE: Duration = Duration::from_secs(25);

/// `attack streams` leaves as many as the threat model has it.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_abandoned_leave_nothing_behind() {
    let report = streams::run(1_920).await.unwrap();
    assert!(report.begun > 1_000, "{report}");
}

/// `attack members` makes a million of them.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_everybody_changes_no_answer() {
    let size = members::Size { members: 2_000, hostile: 8, checks: 200 };
    let report = members::run(size).await.unwrap();
    assert!(report.lookups + report.turned_away > 0, "{report}");
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
    let before = Held::of(&server).unwrap();
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
        let held = Held::of(&server).unwrap();
        assert!(held.memory_mib < before.memory_mib + 256, "flood {kind}: {held:?} after {before:?}");
    }
    // And who comes now is let in.
    drop(Client::connect(&server.grpc).await.unwrap().schema.read_schema(wire::ReadSchemaRequest {}).await.unwrap());
    Held { memory_mib: before.memory_mib + 192, ..before }.until_back(&server).await.unwrap();
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
        let before = Held::of(&server).unwrap();
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
        before.until_back(&server).await.unwrap();
    };
    futures::join!(ask(&[], false), ask(&tls, true));
}
