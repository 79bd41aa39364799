//! What a server tells of itself: metrics, logs, traces; and that the dashboard and the alert rules ask for what is there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::certificates::{TlsFiles, localhost};
use stonetown_tests::client::{Client, fully_consistent, object, relationship};
use stonetown_tests::operated::Operated;
use stonetown_tests::server::{KEY, root};
use stonetown_tests::until::until;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status};

const SCHEMA: &str =
    "definition user {}\ndefinition document {\n  relation viewer: user\n  permission view = viewer\n}\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn check(document: &str) -> Request<wire::CheckPermissionRequest> {
    Request::new(wire::CheckPermissionRequest {
        consistency: Some(fully_consistent()),
        resource: Some(object("document", document)),
        permission: "view".to_owned(),
        subject: Some(wire::SubjectReference { object: Some(object("user", "alice")), ..Default::default() }),
        ..Default::default()
    })
}

/// A server with a schema and a relationship.
async fn started(flags: &[&str]) -> (Operated, Client) {
    let server = Operated::start(flags).await.unwrap();
    let mut client = Client::connect(&server.grpc).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    client.write([relationship(("document", "a"), "viewer", ("user", "alice"))], []).await.unwrap();
    (server, client)
}

/// All names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("stonetown_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_is_exposed() {
    let TlsFiles { cert, key, .. } = &TlsFiles::of(&localhost().unwrap()).unwrap();
    let flags = ["--grpc-tls-cert-path", cert, "--grpc-tls-key-path", key];
    let server = Operated::start(&flags).await.unwrap();
    let endpoint = format!("localhost:{}", server.grpc.rsplit_once(':').unwrap().1);
    let health = ["health", "--endpoint", &endpoint, "--certificate-path", cert];
    assert_eq!(stonetown_tests::operated::run(&health).await.unwrap().code, Some(0));

    let page = server.scrape().await.unwrap();
    assert!(page.ends_with("# EOF\n"));
    // A histogram is asked for by the names of its parts, and spoken of by its own.
    let lines = page.lines().map(|line| line.strip_prefix("# TYPE ").unwrap_or(line));
    let exposed: BTreeSet<_> = lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    for file in ["deploy/grafana/stonetown.json", "deploy/prometheus/alerts.yaml", "docs/operating.md"] {
        let asked = names_in(&std::fs::read_to_string(root().join(file)).unwrap());
        assert!(asked.len() > 5, "{file}");
        let missing: Vec<_> = asked.difference(&exposed).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("deploy/grafana/stonetown.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
}

#[tokio::test]
async fn calls_their_work_and_commits_are_counted() {
    let (server, mut client) = started(&["--max-caveat-context-size", "10"]).await;
    for _ in 0..3 {
        client.permissions.check_permission(check("a")).await.unwrap();
    }
    let mut large = check("a");
    large.get_mut().context = Some(prost_types::Struct {
        fields: [(
            "a".to_owned(),
            prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("x".repeat(50))) },
        )]
        .into(),
    });
    assert_eq!(client.permissions.check_permission(large).await.unwrap_err().code(), Code::InvalidArgument);

    let method = "method=\"PermissionsService/CheckPermission\"";
    for (name, expected) in [
        (format!("stonetown_grpc_calls_total{{{method},code=\"OK\"}}"), 3.0),
        (format!("stonetown_grpc_calls_total{{{method},code=\"INVALID_ARGUMENT\"}}"), 1.0),
        (format!("stonetown_grpc_call_duration_seconds_count{{{method}}}"), 4.0),
        (format!("stonetown_grpc_calls_open{{{method}}}"), 0.0),
        ("stonetown_engine_edges_count".to_owned(), 3.0),
        ("stonetown_limit_hits_total{limit=\"request_context_bytes_max\"}".to_owned(), 1.0),
        ("stonetown_limit{limit=\"request_context_bytes_max\"}".to_owned(), 10.0),
        ("stonetown_datastore_commits_total".to_owned(), 4.0),
        ("stonetown_datastore_sync_duration_seconds_count".to_owned(), 4.0),
        ("stonetown_checks_resident_total".to_owned(), 3.0),
        ("stonetown_datastore_takes_writes".to_owned(), 1.0),
    ] {
        assert_eq!(server.metric(&name).await.unwrap(), expected, "{name}");
    }
    // The server's own relationships are among them, whose number is its own affair.
    let held = server.metric("stonetown_index_relationships").await.unwrap();
    client.write([relationship(("document", "more"), "viewer", ("user", "a"))], []).await.unwrap();
    assert_eq!(server.metric("stonetown_index_relationships").await.unwrap(), held + 1.0);
    assert!(server.metric("stonetown_datastore_disk_bytes").await.unwrap() > 0.0);
    assert!(server.metric("stonetown_datastore_disk_free_bytes").await.unwrap() > 0.0);
}

#[tokio::test]
async fn checkpoints_and_scrubs_are_counted_with_how_they_ended() {
    use stonetown_tests::operated::run;
    let (server, _) = started(&[]).await;
    for name in ["stonetown_checkpoint_last_success_timestamp_seconds", "stonetown_scrub_last_duration_seconds"] {
        assert_eq!(server.metric(name).await.unwrap(), 0.0, "{name}");
    }
    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64().floor();
    let of_server = ["--endpoint", &server.grpc, "--token", KEY];
    for (command, code) in [
        (&["backup", "checkpoint", "one"][..], 0),
        (&["backup", "checkpoint", "one"], 1),
        (&["backup", "checkpoint", "two"], 0),
        (&["scrub"], 0),
    ] {
        let ended = run(&[command, &of_server].concat()).await.unwrap();
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.stderr);
    }
    for (name, expected) in [
        ("stonetown_checkpoints_total", 2.0),
        ("stonetown_checkpoints_failed_total", 1.0),
        ("stonetown_scrubs_total", 1.0),
        ("stonetown_scrubs_failed_total", 0.0),
        ("stonetown_scrub_differences", 0.0),
    ] {
        assert_eq!(server.metric(name).await.unwrap(), expected, "{name}");
    }
    for kind in ["checkpoint", "scrub"] {
        let last = server.metric(&format!("stonetown_{kind}_last_success_timestamp_seconds")).await.unwrap();
        let took = server.metric(&format!("stonetown_{kind}_last_duration_seconds")).await.unwrap();
        assert!(last >= begun && last < begun + 600.0 && took > 0.0 && took < 600.0, "{kind}: {last} {took}");
    }
}

#[tokio::test]
async fn a_call_is_logged_with_its_ids_and_its_caller_and_never_its_key() {
    let (server, mut client) = started(&["--log-format", "json", "--log-calls", "all"]).await;
    let mut request = check("a");
    request.metadata_mut().insert("x-request-id", "mine".parse().unwrap());
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    client.permissions.check_permission(request).await.unwrap();
    let mut wrong = check("a");
    wrong.get_mut().permission = "fly".to_owned();
    client.permissions.check_permission(wrong).await.unwrap_err();
    until("both are logged", async || server.log().unwrap().matches("/CheckPermission").count() == 2).await;

    let log = server.log().unwrap();
    assert!(!log.contains(KEY), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let calls: Vec<_> = lines.filter(|line| line["method"] == "PermissionsService/CheckPermission").collect();
    assert_eq!(calls.len(), 2, "{log}");
    let first = &calls[0];
    assert_eq!(
        (&first["request_id"], &first["trace_id"], &first["code"]),
        (&"mine".into(), &TRACE.into(), &"OK".into())
    );
    assert_eq!((&first["caller"], &first["revision"], &first["level"]), (&"key-1".into(), &4.into(), &"INFO".into()));
    assert!(first["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(calls[1]["code"], "FAILED_PRECONDITION");
    assert_eq!(calls[1]["request_id"].as_str().unwrap().len(), 20);
}

#[tokio::test]
async fn only_failed_calls_are_logged_unless_more_is_asked_for() {
    let (server, mut client) = started(&[]).await;
    client.permissions.check_permission(check("a")).await.unwrap();
    let mut wrong = check("a");
    wrong.get_mut().permission = "fly".to_owned();
    client.permissions.check_permission(wrong).await.unwrap_err();
    until("the later one is logged", async || server.log().unwrap().contains("CheckPermission")).await;
    let log = server.log().unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("CheckPermission")).count(), 1, "{log}");
}

/// A collector that hands on the spans it is sent.
struct Collector(mpsc::UnboundedSender<(String, Span)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|a| a.key == "service.name").and_then(|a| a.value).unwrap();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.0.send((format!("{:?}", name.value), span)).unwrap();
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn calls_are_traced_under_their_callers_span() {
    let (sender, mut spans) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let collector = TraceServiceServer::new(Collector(sender));
    tokio::spawn(tonic::transport::Server::builder().add_service(collector).serve_with_incoming(incoming));

    // Nothing is sampled but what callers ask for.
    let flags = ["--otel-endpoint", &endpoint, "--otel-sample-ratio", "0", "--otel-service-name", "authz"];
    let (server, mut client) = started(&flags).await;
    client.permissions.check_permission(check("a")).await.unwrap();
    let mut request = check("a");
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    client.permissions.check_permission(request).await.unwrap();

    let (service, span) = tokio::time::timeout(Duration::from_secs(30), spans.recv()).await.unwrap().unwrap();
    assert!(service.contains("authz"), "{service}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(span.name, "authzed.api.v1.PermissionsService/CheckPermission");
    let attribute = |key: &str| {
        let value = span.attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.clone());
        format!("{:?}", value.unwrap_or_else(|| panic!("no {key} in {span:?}")).value.unwrap())
    };
    assert_eq!(attribute("rpc.grpc.status_code"), "IntValue(0)");
    assert_eq!(attribute("stonetown.revision"), "IntValue(4)");
    assert_eq!(attribute("stonetown.caller"), "StringValue(\"key-1\")");
    server.until("stonetown_trace_spans_exported_total", |spans| spans == 1.0).await.unwrap();
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_no_call_up() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{nobody}");
    let (server, mut client) = started(&["--otel-endpoint", &endpoint, "--otel-sample-ratio", "1"]).await;
    for _ in 0..200 {
        client.permissions.check_permission(check("a")).await.unwrap();
    }
    server.until("stonetown_trace_exports_failed_total", |failed| failed >= 1.0).await.unwrap();
    server.signal("TERM").unwrap();
    assert_eq!(server.ended().await.unwrap().code, Some(0));
}
