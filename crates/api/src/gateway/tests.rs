//! HTTP/JSON over the services on the memory store, and over services that only watch what the gateway does.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::StreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stonetown_authorizer::{Authorizer, Caller, Options};
use stonetown_storage::MemoryDatastore;
use tonic::Status;

use super::*;

const SCHEMA: &str = "
caveat on_day(day string) { day == \"tuesday\" }
definition user {}
definition document {
  relation viewer: user | user with on_day
  permission view = viewer
}";

/// The services with a gateway before them; every request is somebody's.
fn server() -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    let settings = ApiSettings::default();
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    let routes = crate::services(Arc::new(authorizer), &settings);
    before(settings, move |mut request: Request<Body>| {
        request.extensions_mut().insert(Caller::named("key-1"));
        let mut routes = routes.clone();
        Box::pin(async move { routes.call(request).await })
    })
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn before(
    settings: ApiSettings,
    answer: impl FnMut(Request<Body>) -> Answering + Clone + Send + 'static,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    GatewayLayer::new(&settings, None).unwrap().layer(tower::service_fn(answer))
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(path).header("x-request-id", "mine").body(Body::new(Full::new(body.into()))).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Status and body of an answer.
async fn ask<S>(server: &S, path: &str, body: impl Into<Bytes>) -> (u16, Value)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = server.clone().call(post(path, body)).await;
    let code = response.status().as_u16();
    let text = text(response).await;
    (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
}

/// Status and lines of a stream.
async fn lines<S>(server: &S, path: &str, body: Value) -> (u16, Vec<Value>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = server.clone().call(post(path, body.to_string())).await;
    assert_eq!(response.headers()["x-request-id"], "mine");
    let code = response.status().as_u16();
    let text = text(response).await;
    assert!(text.ends_with('\n'), "{text}");
    (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn relationship(id: &str, user: &str) -> Value {
    json!({
        "resource": { "objectType": "document", "objectId": id }, "relation": "viewer",
        "subject": { "object": { "objectType": "user", "objectId": user } },
    })
}

fn check(permission: &str) -> String {
    json!({
        "resource": { "objectType": "document", "objectId": "d1" }, "permission": permission,
        "subject": { "object": { "objectType": "user", "objectId": "tom" } }, "consistency": { "fullyConsistent": true },
    })
    .to_string()
}

async fn filled() -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    let server = server();
    let (code, _) = ask(&server, "/v1/schema/write", json!({ "schema": SCHEMA }).to_string()).await;
    assert_eq!(code, 200);
    let updates: Vec<_> = [("d1", "tom"), ("d2", "tom"), ("d3", "ann")]
        .map(|(id, user)| json!({ "operation": "OPERATION_TOUCH", "relationship": relationship(id, user) }))
        .into();
    let (code, answer) = ask(&server, "/v1/relationships/write", json!({ "updates": updates }).to_string()).await;
    assert_eq!(code, 200);
    assert!(answer["writtenAt"]["token"].is_string(), "{answer}");
    server
}

#[tokio::test]
async fn a_call_is_made_with_json_and_answered_with_json() {
    let server = filled().await;
    let (code, answer) = ask(&server, "/v1/permissions/check", check("view")).await;
    assert_eq!((code, &answer["permissionship"]), (200, &json!("PERMISSIONSHIP_HAS_PERMISSION")));
    // Fields go by either of their names, as the mapping has it.
    let snake = check("view").replace("objectType", "object_type").replace("fullyConsistent", "fully_consistent");
    assert_eq!(ask(&server, "/v1/permissions/check", snake).await.0, 200);
    // Nothing stands for an empty message; empty fields are written.
    let (code, answer) = ask(&server, "/v1/schema/read", "").await;
    assert!(code == 200 && answer["schemaText"].as_str().unwrap().contains("definition document"), "{answer}");
    let (_, answer) = ask(&server, "/v1/schema/reflectschema", "{}").await;
    assert_eq!(answer["definitions"][1]["permissions"], json!([]));
}

#[tokio::test]
async fn what_grpc_tells_in_trailers_comes_as_headers() {
    let mut server = filled().await;
    let mut request = post("/v1/permissions/check", check("view"));
    request.headers_mut().insert("grpc-metadata-io.spicedb.requestversion", HeaderValue::from_static("1"));
    let Ok(response) = server.call(request).await;
    let headers = response.headers();
    assert_eq!(headers["x-request-id"], "mine");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["io.spicedb.respmeta.dispatchedoperationscount"], "1");
    assert!(headers["io.spicedb.debug.version"].to_str().unwrap().starts_with('v'));
    assert!(!headers.contains_key("grpc-status"));

    let Ok(response) = server.call(Request::post("/v1/schema/read").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["x-request-id"].len(), 20);

    let Ok(mut response) =
        server.call(post("/v1/relationships/read", r#"{"relationshipFilter":{"resourceType":"document"}}"#)).await;
    let mut trailers = None;
    while let Some(frame) = response.body_mut().frame().await {
        trailers = frame.unwrap().into_trailers().ok();
    }
    assert_eq!(trailers.unwrap()["io.spicedb.respmeta.dispatchedoperationscount"], "1");
}

#[tokio::test]
async fn errors_have_the_status_of_their_code_and_their_details() {
    let server = filled().await;
    let (code, answer) = ask(&server, "/v1/permissions/check", check("fly")).await;
    assert_eq!((code, &answer["code"]), (400, &json!(9)));
    let detail = &answer["details"][0];
    assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(detail["reason"], "ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION");
    assert_eq!(detail["metadata"]["relation_or_permission_name"], "fly");

    for (path, body, code, number) in [
        ("/v1/permissions/check", "{\"resourse\":{}}", 400, 3),
        ("/v1/permissions/check", "{\"resource\":7}", 400, 3),
        ("/v1/permissions/check", "{\"resource\":", 400, 3),
        ("/v1/permissions/check", "{}{}", 400, 3),
        ("/v1/permissions/check", "[]", 400, 3),
        ("/v1/permissions/check", "{\"consistency\":{\"minimizeLatency\":true,\"fullyConsistent\":true}}", 400, 3),
        ("/v1/relationships/write", "{\"updates\":[{\"operation\":\"OPERATION_PLAY\"}]}", 400, 3),
        ("/v1/experimental/countrelationships", "{\"name\":\"nothing\"}", 501, 12),
        ("/v1/nothing", "{}", 404, 5),
        ("/", "", 404, 5),
    ] {
        let (found, answer) = ask(&server, path, body).await;
        let expected = if number == 12 {
            answer["code"].as_i64().unwrap() != 0
        } else {
            answer["code"] == number && found == code
        };
        assert!(expected, "{path} {body}: {found} {answer}");
    }
    let (code, answer) = ask(&server, "/v1/permissions/check", "{\"resourse\":{}}").await;
    assert!(code == 400 && answer["message"].as_str().unwrap().contains("resourse"), "{answer}");

    let mut server = server;
    let Ok(response) = server.call(Request::get("/v1/schema/read").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &HeaderValue::from_static("POST")));
    let Ok(response) = server.call(post("/openapi.json", "")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &HeaderValue::from_static("GET")));
}

#[tokio::test]
async fn a_stream_is_a_line_for_each_message() {
    let server = filled().await;
    let filter =
        json!({ "relationshipFilter": { "resourceType": "document" }, "consistency": { "fullyConsistent": true } });
    let (code, found) = lines(&server, "/v1/relationships/read", filter).await;
    let ids: Vec<_> =
        found.iter().map(|line| line["result"]["relationship"]["resource"]["objectId"].as_str()).collect();
    assert_eq!((code, ids), (200, vec![Some("d1"), Some("d2"), Some("d3")]));

    let nothing = json!({ "relationshipFilter": { "resourceType": "document", "optionalResourceId": "none" } });
    let Ok(response) = server.clone().call(post("/v1/relationships/read", nothing.to_string())).await;
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (200, ""));

    let (code, found) = lines(&server, "/v1/relationships/read", json!({ "relationshipFilter": {} })).await;
    assert_eq!((code, found.len(), &found[0]["error"]["code"]), (400, 1, &json!(3)));
    assert_eq!(found[0]["error"]["details"][0]["reason"], "ERROR_REASON_INVALID_FILTER");
}

#[tokio::test]
async fn an_import_takes_lines_or_an_array_and_only_what_has_an_end() {
    let server = filled().await;
    let batch = |id: &str| json!({ "relationships": [relationship(id, "bob")] }).to_string();
    let path = "/v1/relationships/importbulk";
    let lines = format!("{}\n{}\n", batch("l1"), batch("l2"));
    assert_eq!(ask(&server, path, lines).await, (200, json!({ "numLoaded": "2" })));
    let array = format!("[{}, {}]", batch("a1"), batch("a2"));
    assert_eq!(ask(&server, path, array).await, (200, json!({ "numLoaded": "2" })));
    for (body, code) in [
        (format!("[{}, {}", batch("x1"), batch("x2")), 400),
        (format!("{}\n{{\"relationships\":[", batch("x1")), 400),
        (format!("{}\n{{\"relations\":[]}}", batch("x1")), 400),
        (format!("{}\n{}", batch("x1"), batch("l1")), 409),
    ] {
        assert_eq!(ask(&server, path, body.clone()).await.0, code, "{body}");
    }
    // A body that breaks off, as one does whose client is gone.
    let parts = [Ok(Frame::data(Bytes::from(batch("x1")))), Err(Status::cancelled("gone"))];
    let request = Request::post(path).body(Body::new(StreamBody::new(futures::stream::iter(parts)))).unwrap();
    let Ok(response) = server.clone().call(request).await;
    assert_eq!(response.status().as_u16(), 409);
    let left = json!({ "relationshipFilter": { "resourceType": "document", "optionalResourceIdPrefix": "x" } });
    let Ok(response) = server.clone().call(post("/v1/relationships/read", left.to_string())).await;
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn messages_have_a_size_and_a_depth() {
    let settings = ApiSettings { json_bytes_max: 60, ..ApiSettings::default() };
    let server = before(settings, |request| Box::pin(async move { Ok(echo(request).await) }));
    let body = |bytes: usize| format!("{{\"schema\":\"{}\"}}", "x".repeat(bytes - 13));
    assert_eq!(ask(&server, "/v1/schema/write", body(60)).await.0, 200);
    let (code, answer) = ask(&server, "/v1/schema/write", body(61)).await;
    assert!(
        code == 400 && answer["code"] == 11 && answer["message"].as_str().unwrap().contains("60 bytes"),
        "{answer}"
    );
}

/// Reads the request as a service does, and answers with an empty message or the request's own error.
async fn echo(request: Request<Body>) -> Response<Body> {
    let mut body = request.into_body();
    loop {
        match body.frame().await {
            None => break,
            Some(Ok(_)) => {}
            Some(Err(status)) => return status.into_http(),
        }
    }
    answer(futures::stream::iter([Ok(Frame::data(Bytes::from_static(&[0; 5])))]))
}

fn answer(messages: impl futures::Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static) -> Response<Body> {
    let end = futures::stream::iter([Ok(Frame::trailers(http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )])))]);
    let mut response = Response::new(Body::new(StreamBody::new(messages.chain(end))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

#[tokio::test]
async fn nothing_is_read_of_a_request_whose_caller_is_refused() {
    struct Untouched;
    impl http_body::Body for Untouched {
        type Data = Bytes;
        type Error = Status;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            panic!("the body was read")
        }
    }
    let mut server =
        before(ApiSettings::default(), |_| Box::pin(async { Ok(Status::unauthenticated("who are you").into_http()) }));
    for path in ["/v1/permissions/check", "/v1/relationships/importbulk", "/v1/watch"] {
        let request = Request::post(path).body(Body::new(Untouched)).unwrap();
        let Ok(response) = server.call(request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["www-authenticate"]),
            (401, &HeaderValue::from_static("Bearer"))
        );
        assert!(text(response).await.contains("who are you"));
    }
}

#[tokio::test]
async fn a_slow_reader_holds_its_stream_back_and_one_that_leaves_ends_it() {
    struct Left(Arc<AtomicUsize>);
    impl Drop for Left {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (made, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, dropped) = (Arc::clone(&made), Arc::clone(&left));
    let mut server = before(ApiSettings::default(), move |_| {
        let (counter, guard) = (Arc::clone(&counter), Left(Arc::clone(&dropped)));
        let messages = futures::stream::repeat_with(move || {
            let _held = &guard;
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&[0; 5])))
        });
        Box::pin(async move { Ok(answer(messages)) })
    });
    let Ok(mut response) = server.call(post("/v1/watch", "{}")).await;
    for _ in 0..3 {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert!(frame.into_data().unwrap().starts_with(b"{\"result\":{"));
    }
    assert!(made.load(Ordering::SeqCst) < 10, "made ahead: {made:?}");
    drop(response);
    assert_eq!(left.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_say_yet_is_begun_and_may_fail_later() {
    let mut server = before(ApiSettings::default(), |_| {
        let late = futures::stream::once(async {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            Err(Status::unavailable("gone"))
        });
        Box::pin(async move { Ok(answer(late)) })
    });
    let Ok(response) = server.call(post("/v1/watch", "{}")).await;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(text(response).await, "{\"error\":{\"code\":14,\"details\":[],\"message\":\"gone\"}}\n");
}

#[tokio::test]
async fn grpc_goes_through_untouched() {
    let mut server = before(ApiSettings::default(), |request| {
        let seen = format!("{} {}", request.method(), request.uri().path());
        Box::pin(async move { Ok(Response::new(Body::new(Full::new(Bytes::from(seen))))) })
    });
    for content_type in ["application/grpc", "application/grpc-web+proto", "application/grpc-web-text"] {
        let request = Request::post("/v1/watch").header("content-type", content_type).body(Body::empty()).unwrap();
        let Ok(response) = server.call(request).await;
        assert_eq!(text(response).await, "POST /v1/watch");
    }
}

#[tokio::test]
async fn the_document_names_every_route_and_everything_it_refers_to() {
    let mut server = server();
    let Ok(response) = server.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    let check = &document["paths"]["/v1/permissions/check"]["post"];
    assert_eq!(check["operationId"], "PermissionsService_CheckPermission");
    assert_eq!(check["summary"], "Whether a subject has a permission on a resource.");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let consistency = &schemas["authzed.api.v1.Consistency"];
    assert_eq!(consistency["properties"]["atLeastAsFresh"]["description"], "Not older than the token.");
    assert!(consistency["description"].as_str().unwrap().contains("At most one of `minimizeLatency`"), "{consistency}");
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(name)) = fields.get("$ref") {
                    let name = name.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas.contains_key(name), "{name}");
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(document["paths"].as_object().unwrap().len() >= 30);
}

/// No text leads to a panic, whether or not it is JSON, has the right fields or the right types; and what was read can be
/// written, as bytes and as JSON.
#[test]
fn no_text_at_all_leads_to_a_panic() {
    let pool = routes::pool().unwrap();
    let inputs: Vec<_> = routes::of(&pool).into_iter().map(|route| route.method.input()).collect();
    let seed = 20_240;
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut read = 0;
    for round in 0..20_000 {
        let input = inputs.choose(&mut dice).unwrap();
        let body = wild(input, &mut dice);
        let mut values = values::Values::new(dice.random_bool(0.5), 4096);
        values.push(&body);
        while let Ok(Some(value)) = values.next() {
            if let Ok(message) = codec::parse(input, &value) {
                read += 1;
                let bytes = message.encode_to_vec();
                let again = prost_reflect::DynamicMessage::decode(input.clone(), &*bytes);
                let again = again.unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
                let text = |message| {
                    codec::write(message, "", "").ok().map(|text| serde_json::from_slice::<Value>(&text).unwrap())
                };
                assert_eq!(text(&again), text(&message), "seed {seed}, round {round}");
                assert!(codec::framed(&again).unwrap().len() >= 5);
            }
        }
        let _ = values.end();
    }
    assert!(read > 2_000, "the texts are too wild: {read}");
}

/// Nor does it when the services are asked: every text has an answer, and none is an error of the server's own.
#[tokio::test(flavor = "multi_thread")]
async fn every_text_is_answered_with_json() {
    let server = filled().await;
    // A watch has no end.
    let mut routes = routes::of(&routes::pool().unwrap());
    routes.retain(|route| !route.path.to_lowercase().contains("watch"));
    let seed = 7;
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut understood = 0;
    for round in 0..3_000 {
        let route = routes.choose(&mut dice).unwrap();
        let body = wild(&route.method.input(), &mut dice);
        let Ok(response) = server.clone().call(post(&route.path, body)).await;
        let code = response.status().as_u16();
        assert_ne!(code, 500, "seed {seed}, round {round}, {}: {}", route.path, text(response).await);
        understood += u32::from(code == 200);
        for line in text(response).await.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "seed {seed}, round {round}, {}: {line}", route.path);
        }
    }
    assert!(understood > 50, "the texts are too wild: {understood}");
}

/// A text that is about a message of a kind, or was.
fn wild(input: &prost_reflect::MessageDescriptor, dice: &mut SmallRng) -> Vec<u8> {
    let mut body = message(input, dice, 0).to_string().into_bytes();
    if dice.random_bool(0.4) {
        for _ in 0..dice.random_range(1..4) {
            let at = dice.random_range(0..body.len());
            match dice.random_range(0..3) {
                0 => body[at] = dice.random(),
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, *b"{}[]\",:\\0e-".choose(dice).unwrap()),
            }
        }
    }
    body
}

/// A message with about the right fields, of about the right types.
fn message(descriptor: &prost_reflect::MessageDescriptor, dice: &mut SmallRng, depth: usize) -> Value {
    if depth > 6 {
        return Value::Null;
    }
    let mut fields = serde_json::Map::new();
    for field in descriptor.fields() {
        if dice.random_bool(0.6) {
            let value = value(&field.kind(), dice, depth);
            let value = if field.is_list() == dice.random_bool(0.95) { json!([value]) } else { value };
            let name = if dice.random_bool(0.5) { field.json_name() } else { field.name() };
            fields.insert(name.to_owned(), value);
        }
    }
    if dice.random_bool(0.02) {
        fields.insert("nobody".to_owned(), Value::Null);
    }
    Value::Object(fields)
}

fn value(kind: &prost_reflect::Kind, dice: &mut SmallRng, depth: usize) -> Value {
    if dice.random_bool(0.05) {
        let odd = [json!(null), json!(-1), json!(1e300), json!([]), json!({}), json!(""), json!(true), json!("NaN")];
        return odd.choose(dice).unwrap().clone();
    }
    match kind {
        prost_reflect::Kind::Message(message_of) => match message_of.full_name() {
            "google.protobuf.Timestamp" => {
                let times = [
                    "2024-02-29T23:59:60Z",
                    "0001-01-01T00:00:00Z",
                    "9999-12-31T23:59:59.999999999+23:59",
                    "2020-13-40T25:61:61Z",
                    "1T",
                    "2020-01-01T00:00:00-00:60",
                ];
                json!(*times.choose(dice).unwrap())
            }
            "google.protobuf.Duration" => {
                json!(*["1s", "-0.000000001s", "9999999999999999999s", "1", "s", "-s"].choose(dice).unwrap())
            }
            "google.protobuf.Struct" => json!({ "a": { "b": [1, 2.5, null, "x", { "c": 1e308 }] }, "": -0.0 }),
            "google.protobuf.Any" => json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "r" }),
            _ => message(message_of, dice, depth + 1),
        },
        prost_reflect::Kind::Enum(names) => {
            let values: Vec<_> = names.values().collect();
            let value = values.choose(dice).unwrap();
            if dice.random_bool(0.3) { json!(value.number()) } else { json!(value.name()) }
        }
        prost_reflect::Kind::Bool => json!(dice.random_bool(0.5)),
        prost_reflect::Kind::String => json!(*["", "a", "\u{0}", "ü😀", "user", "\"\\"].choose(dice).unwrap()),
        _ => [json!(1), json!("7"), json!(-5), json!(4_294_967_296_u64), json!(0.5), json!("1e2")]
            .choose(dice)
            .unwrap()
            .clone(),
    }
}
