//! Watching over the wire: what `docs/watch.md` promises, also over crashes, slow readers and streams that break off.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_api::client::{relationship_from_wire, relationship_to_wire};
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, at_exactly, fully_consistent, text};
use stonetown_tests::server::{KEY, Server, Store, binary};
use stonetown_tuple::{Relationship, Timestamp};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};
use wire::relationship_update::Operation;

const SCHEMA: &str = "
use expiration
definition user {}
definition group { relation member: user | user with expiration }
definition document { relation viewer: user | user with expiration | group#member }";

/// Time that a test waits for a message that has to come.
const SOON: Duration = Duration::from_secs(20);

async fn start(store: Store<'_>, flags: &[&str]) -> (Server, Client) {
    let server = Server::start(&binary().unwrap(), store, flags, &[]).await.unwrap();
    let client = Client::connect(&server.address).await.unwrap();
    (server, client)
}

async fn started(flags: &[&str]) -> (Server, Client) {
    let (server, mut client) = start(Store::Memory, flags).await;
    client.write_schema(SCHEMA).await.unwrap();
    (server, client)
}

fn relationship(text: &str) -> wire::Relationship {
    relationship_to_wire(text.parse::<Relationship>().unwrap())
}

/// Where a stream begins.
enum From<'t> {
    Now,
    Start,
    After(&'t wire::ZedToken),
}

async fn watch(client: &Client, from: From<'_>) -> Result<Streaming<wire::WatchResponse>, Status> {
    watch_asked(client, from, wire::WatchRequest::default()).await
}

async fn watch_asked(
    client: &Client,
    from: From<'_>,
    request: wire::WatchRequest,
) -> Result<Streaming<wire::WatchResponse>, Status> {
    let cursor = if let From::After(token) = from { Some(token.clone()) } else { None };
    let mut request = Request::new(wire::WatchRequest { optional_start_cursor: cursor, ..request });
    if matches!(from, From::Start) {
        request.metadata_mut().insert("stonetown-watch-from", "start".parse().unwrap());
    }
    Ok(client.watch.clone().watch(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<wire::WatchResponse>) -> wire::WatchResponse {
    timeout(SOON, stream.message()).await.expect("a message comes").unwrap().expect("the stream goes on")
}

/// The updates of a message, such as `TOUCH document:d#viewer@user:u`.
fn updates(message: &wire::WatchResponse) -> Vec<String> {
    let told = |update: &wire::RelationshipUpdate| {
        let operation = if update.operation() == Operation::Delete { "DELETE" } else { "TOUCH" };
        format!("{operation} {}", text(update.relationship.as_ref().unwrap()))
    };
    message.updates.iter().map(told).collect()
}

/// Whoever applies a stream to a set, as a client would.
#[derive(Default)]
struct Follower {
    holds: BTreeSet<String>,
    position: Option<wire::ZedToken>,
}

impl Follower {
    fn apply(&mut self, message: wire::WatchResponse) {
        for update in &message.updates {
            let text = text(update.relationship.as_ref().unwrap());
            match update.operation() {
                Operation::Delete => assert!(self.holds.remove(&text), "{text} ends, and was not there"),
                Operation::Touch => drop(self.holds.insert(text)),
                other => panic!("{other:?} in a stream"),
            }
        }
        if message.changes_through.is_some() {
            self.position = message.changes_through;
        }
    }

    /// Follows a stream until it has reached a token.
    async fn reach(&mut self, stream: &mut Streaming<wire::WatchResponse>, token: &wire::ZedToken) {
        while self.position.as_ref() != Some(token) {
            self.apply(next(stream).await);
        }
    }

    async fn agrees(&self, client: &mut Client, at: &wire::ZedToken) {
        let mut stored = BTreeSet::new();
        for resource_type in ["document", "group"] {
            let filter = wire::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
            stored.extend(client.read(filter, at_exactly(at)).await.unwrap());
        }
        assert_eq!(self.holds, stored);
    }
}

/// One random transaction; `None` where it changed nothing that a stream would tell.
async fn random_write(client: &mut Client, random: &mut StdRng) -> wire::ZedToken {
    let some = |random: &mut StdRng| {
        relationship(&format!("document:d{}#viewer@user:u{}", random.random_range(0..5), random.random_range(0..5)))
    };
    // Touched last, so that each transaction tells something: the revision is in the relationship.
    let marker = relationship(&format!("group:g{}#member@user:u", random.random_range(0..u32::MAX)));
    if random.random_ratio(1, 10) {
        let filter = wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            optional_resource_id: format!("d{}", random.random_range(0..5)),
            ..Default::default()
        };
        client.delete(filter).await.unwrap();
    }
    let (mut touched, mut deleted) = (vec![marker], Vec::new());
    for _ in 0..random.random_range(0..5) {
        let relationship = some(random);
        let known = |others: &Vec<wire::Relationship>| others.iter().any(|other| text(other) == text(&relationship));
        if !known(&touched) && !known(&deleted) {
            if random.random_ratio(1, 3) { deleted.push(relationship) } else { touched.push(relationship) }
        }
    }
    client.write(touched, deleted).await.unwrap()
}

/// Applied to an empty set, a stream gives at every revision what a read at that revision gives: from the start, from
/// tokens, over streams that break off and servers that are killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_applied_to_an_empty_set_is_what_is_stored() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (mut server, mut client) = start(Store::RocksDb(directory.path()), &[]).await;
    client.write_schema(SCHEMA).await.unwrap();
    for _ in 0..20 {
        random_write(&mut client, &mut random).await;
    }
    let mut follower = Follower::default();
    let mut stream = watch(&client, From::Start).await.unwrap();
    for round in 0..300 {
        let token = random_write(&mut client, &mut random).await;
        if round % 50 == 49 {
            // Nothing was read since the last look: it comes after the restart.
            server.kill().await.unwrap();
            (server, client) = start(Store::RocksDb(directory.path()), &[]).await;
            let from = follower.position.clone().map(|token| (token,));
            stream = match &from {
                Some((token,)) => watch(&client, From::After(token)).await.unwrap(),
                None => watch(&client, From::Start).await.unwrap(),
            };
        } else if round % 20 == 19 {
            drop(stream);
            let position = follower.position.clone().unwrap();
            stream = watch(&client, From::After(&position)).await.unwrap();
        }
        if round % 4 == 0 {
            follower.reach(&mut stream, &token).await;
            follower.agrees(&mut client, &token).await;
        }
    }
    let token = random_write(&mut client, &mut random).await;
    follower.reach(&mut stream, &token).await;
    follower.agrees(&mut client, &token).await;
    let mut anew = Follower::default();
    anew.apply(next(&mut watch(&client, From::Start).await.unwrap()).await);
    assert_eq!(anew.holds, follower.holds, "a stream from the start says the same");
}

/// An expiry is told once, at its time, to those who were there and to those who come back later.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_told_once() {
    let (_server, mut client) = started(&[]).await;
    let mut live = watch(&client, From::Now).await.unwrap();
    let end = Timestamp::now().checked_add(Duration::from_millis(1500)).unwrap();
    let leased = relationship(&format!("document:d#viewer@user:leased[expiration:{end}]"));
    let written = client.write([leased, relationship("document:d#viewer@user:kept")], []).await.unwrap();
    assert_eq!(next(&mut live).await.updates.len(), 2);
    let ended = next(&mut live).await;
    assert!(Timestamp::now() >= end);
    assert_eq!(updates(&ended), ["DELETE document:d#viewer@user:leased"]);
    let told = ended.updates[0].relationship.clone().unwrap();
    assert!(told.optional_expires_at.is_some(), "an expiry carries the whole relationship");
    // Somebody who deletes it afterwards tells nobody anything.
    client.write([], [relationship("document:d#viewer@user:leased")]).await.unwrap();
    let last = client.write([relationship("document:e#viewer@user:kept")], []).await.unwrap();
    let message = next(&mut live).await;
    assert_eq!(
        (updates(&message), message.changes_through),
        (vec!["TOUCH document:e#viewer@user:kept".to_owned()], Some(last))
    );

    let mut later = watch(&client, From::After(&written)).await.unwrap();
    assert_eq!(updates(&next(&mut later).await), ["DELETE document:d#viewer@user:leased"]);
    assert_eq!(updates(&next(&mut later).await), ["TOUCH document:e#viewer@user:kept"]);
    let mut after = watch(&client, From::After(&ended.changes_through.unwrap())).await.unwrap();
    assert_eq!(updates(&next(&mut after).await), ["TOUCH document:e#viewer@user:kept"]);
}

/// What expired while no server ran is told after the restart.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_during_an_absence_is_told_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut client) = start(Store::RocksDb(directory.path()), &[]).await;
    client.write_schema(SCHEMA).await.unwrap();
    let end = Timestamp::now().checked_add(Duration::from_millis(500)).unwrap();
    let leased = relationship(&format!("document:d#viewer@user:leased[expiration:{end}]"));
    let written = client.write([leased], []).await.unwrap();
    server.kill().await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (_server, client) = start(Store::RocksDb(directory.path()), &[]).await;
    let mut stream = watch(&client, From::After(&written)).await.unwrap();
    assert_eq!(updates(&next(&mut stream).await), ["DELETE document:d#viewer@user:leased"]);
}

/// A revision of many changes comes in messages of bounded size, of which only the last says that it is complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_revision_comes_in_parts() {
    const COUNT: usize = 5_000;
    let (_server, mut client) = started(&[]).await;
    let before = client.write([relationship("document:first#viewer@user:u")], []).await.unwrap();
    let all: Vec<_> = (0..COUNT).map(|number| relationship(&format!("document:d{number}#viewer@user:u"))).collect();
    client.import(all.chunks(1000).map(<[_]>::to_vec).collect()).await.unwrap();
    let mut stream = watch(&client, From::After(&before)).await.unwrap();
    let (mut seen, mut parts) = (BTreeSet::new(), 0);
    loop {
        let message = next(&mut stream).await;
        parts += 1;
        assert!(message.updates.len() <= 1_100, "{} updates in one message", message.updates.len());
        seen.extend(updates(&message));
        if message.changes_through.as_ref() != Some(&before) {
            break;
        }
    }
    assert_eq!(seen.len(), COUNT);
    assert!(parts > 3);
    // From the start, no part can be gone on from but the last.
    let mut stream = watch(&client, From::Start).await.unwrap();
    let mut seen = 0;
    loop {
        let message = next(&mut stream).await;
        seen += message.updates.len();
        if message.changes_through.is_some() {
            break;
        }
    }
    assert_eq!(seen, COUNT + 1);
}

/// Filters, object types, schemas and checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_it_was_asked_for() {
    let (_server, mut client) = started(&["--watch-api-heartbeat", "100ms"]).await;
    let of_eve = wire::RelationshipFilter {
        resource_type: "document".to_owned(),
        optional_subject_filter: Some(wire::SubjectFilter {
            subject_type: "user".to_owned(),
            optional_subject_id: "eve".to_owned(),
            optional_relation: None,
        }),
        ..Default::default()
    };
    let of_groups = wire::RelationshipFilter { optional_resource_id_prefix: "eng".to_owned(), ..Default::default() };
    let request = wire::WatchRequest {
        optional_relationship_filters: vec![of_eve, of_groups],
        optional_update_kinds: vec![
            wire::WatchKind::IncludeRelationshipUpdates.into(),
            wire::WatchKind::IncludeSchemaUpdates.into(),
            wire::WatchKind::IncludeCheckpoints.into(),
        ],
        ..Default::default()
    };
    let mut stream = watch_asked(&client, From::Now, request).await.unwrap();
    let texts = ["document:d#viewer@user:bob", "document:d#viewer@user:eve", "group:eng1#member@user:bob"];
    let written = client.write(texts.map(relationship), []).await.unwrap();
    let mut message = next(&mut stream).await;
    while message.is_checkpoint {
        message = next(&mut stream).await;
    }
    assert_eq!(updates(&message), ["TOUCH document:d#viewer@user:eve", "TOUCH group:eng1#member@user:bob"]);
    assert_eq!(message.changes_through, Some(written.clone()));
    let checkpoint = next(&mut stream).await;
    assert!(checkpoint.is_checkpoint && checkpoint.updates.is_empty());
    assert_eq!(checkpoint.changes_through, Some(written));
    // What it is not told of moves the checkpoint all the same.
    let unseen = client.write([relationship("document:x#viewer@user:bob")], []).await.unwrap();
    loop {
        let message = next(&mut stream).await;
        assert!(message.is_checkpoint);
        if message.changes_through.as_ref() == Some(&unseen) {
            break;
        }
    }
    let schema = client.write_schema(&format!("{SCHEMA}\ndefinition added {{}}")).await.unwrap();
    loop {
        let message = next(&mut stream).await;
        if message.schema_updated {
            assert_eq!(message.changes_through, Some(schema));
            break;
        }
    }
    let types = wire::WatchRequest { optional_object_types: vec!["group".to_owned()], ..Default::default() };
    let mut groups = watch_asked(&client, From::Start, types).await.unwrap();
    assert_eq!(updates(&next(&mut groups).await), ["TOUCH group:eng1#member@user:bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_cannot_be_is_refused() {
    let (_server, mut client) = started(&["--max-watchers-per-caller", "1"]).await;
    let refused = |outcome: Result<Streaming<wire::WatchResponse>, Status>| outcome.err().unwrap().code();
    let asked = |types: &[&str], filters: Vec<wire::RelationshipFilter>| wire::WatchRequest {
        optional_object_types: types.iter().map(|name| (*name).to_owned()).collect(),
        optional_relationship_filters: filters,
        ..Default::default()
    };
    let unknown = wire::RelationshipFilter { resource_type: "unknown".to_owned(), ..Default::default() };
    let empty = wire::RelationshipFilter::default();
    for (request, code) in [
        (asked(&["unknown"], Vec::new()), Code::FailedPrecondition),
        (asked(&[], vec![unknown.clone()]), Code::FailedPrecondition),
        (asked(&[], vec![empty]), Code::InvalidArgument),
        (asked(&["user"], vec![unknown]), Code::InvalidArgument),
        (asked(&["No Type"], Vec::new()), Code::InvalidArgument),
    ] {
        assert_eq!(refused(watch_asked(&client, From::Now, request.clone()).await), code, "{request:?}");
    }
    let (_other, mut stranger) = started(&[]).await;
    let foreign = stranger.write([], []).await.unwrap();
    assert_eq!(refused(watch(&client, From::After(&foreign)).await), Code::InvalidArgument);

    // One place: it is free again once the first stream is gone.
    let first = watch(&client, From::Now).await.unwrap();
    assert_eq!(refused(watch(&client, From::Now).await), Code::ResourceExhausted);
    drop(first);
    let again = async {
        while watch(&client, From::Now).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.expect("a stream that was cancelled gives its place back");
    assert!(client.write([], []).await.is_ok());

    let (_server, client) = started(&["--datastore-disable-watch-support"]).await;
    assert_eq!(refused(watch(&client, From::Now).await), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_the_log_no_longer_holds_is_refused() {
    let flags = ["--datastore-gc-window", "1s", "--log-window", "1s", "--datastore-gc-interval", "1s"];
    let (_server, mut client) = started(&flags).await;
    let first = client.write([relationship("document:d#viewer@user:u")], []).await.unwrap();
    let cut = async {
        loop {
            client.write([relationship("document:e#viewer@user:u")], []).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Err(refused) = watch(&client, From::After(&first)).await {
                return refused;
            }
        }
    };
    let refused = timeout(SOON, cut).await.expect("the log is cut");
    assert_eq!(refused.code(), Code::OutOfRange);
}

/// A client that does not read is waited for, then disconnected; meanwhile the server holds a few messages of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected() {
    let (_server, mut client) = started(&["--watch-reader-timeout", "1s"]).await;
    let mut slow = watch(&client, From::Now).await.unwrap();
    let long = "x".repeat(500);
    for chunk in 0..8 {
        let all: Vec<_> = (0..5_000)
            .map(|number| relationship(&format!("document:{long}{chunk}x{number}#viewer@user:{long}")))
            .collect();
        client.import(all.chunks(500).map(<[_]>::to_vec).collect()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut seen = 0;
    let refused = loop {
        match timeout(SOON, slow.message()).await.expect("an end comes") {
            Ok(Some(message)) => seen += message.updates.len(),
            Ok(None) => panic!("it ended without a reason"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(seen < 40_000, "all of it was sent");
    let mut other = watch(&client, From::Now).await.unwrap();
    let token = client.write([relationship("document:d#viewer@user:u")], []).await.unwrap();
    assert_eq!(next(&mut other).await.changes_through, Some(token), "others are not disturbed");
}

/// A server that stops ends its streams with a reason to come back, and at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_streams() {
    let (mut server, mut client) = started(&[]).await;
    let mut stream = watch(&client, From::Now).await.unwrap();
    let token = client.write([relationship("document:d#viewer@user:u")], []).await.unwrap();
    server.terminate().await.unwrap();
    assert_eq!(next(&mut stream).await.changes_through, Some(token), "what was committed before is sent");
    let ended = timeout(Duration::from_secs(4), stream.message()).await.expect("it ends").unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    let gone = async {
        while !server.has_ended().unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, gone).await.expect("the server ends");
}

/// Counters are what a read counts, after each of many random writes, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn counters_are_what_a_read_counts() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (server, mut client) = start(Store::RocksDb(directory.path()), &[]).await;
    client.write_schema(SCHEMA).await.unwrap();
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    let register = wire::ExperimentalRegisterRelationshipCounterRequest {
        name: "documents".to_owned(),
        relationship_filter: Some(filter.clone()),
    };
    let count = wire::ExperimentalCountRelationshipsRequest { name: "documents".to_owned() };
    let missing = client.experimental.experimental_count_relationships(count.clone()).await.unwrap_err();
    assert_eq!(missing.code(), Code::FailedPrecondition);
    for _ in 0..10 {
        random_write(&mut client, &mut random).await;
    }
    client.experimental.experimental_register_relationship_counter(register.clone()).await.unwrap();
    let again = client.experimental.experimental_register_relationship_counter(register.clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    for _ in 0..60 {
        random_write(&mut client, &mut random).await;
        agrees(&mut client, &count, &filter).await;
    }
    server.kill().await.unwrap();
    let (_server, mut client) = start(Store::RocksDb(directory.path()), &[]).await;
    agrees(&mut client, &count, &filter).await;
    let end = Timestamp::now().checked_add(Duration::from_millis(400)).unwrap();
    let leased = relationship(&format!("document:leased#viewer@user:u[expiration:{end}]"));
    client.write([leased], []).await.unwrap();
    agrees(&mut client, &count, &filter).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    agrees(&mut client, &count, &filter).await;
    let unregister = wire::ExperimentalUnregisterRelationshipCounterRequest { name: "documents".to_owned() };
    client.experimental.experimental_unregister_relationship_counter(unregister.clone()).await.unwrap();
    let gone = client.experimental.experimental_unregister_relationship_counter(unregister).await.unwrap_err();
    assert_eq!(gone.code(), Code::FailedPrecondition);
}

async fn agrees(
    client: &mut Client,
    count: &wire::ExperimentalCountRelationshipsRequest,
    filter: &wire::RelationshipFilter,
) {
    use wire::experimental_count_relationships_response::CounterResult;
    let counted = async {
        loop {
            let answer = client.experimental.experimental_count_relationships(count.clone()).await.unwrap();
            match answer.into_inner().counter_result.unwrap() {
                CounterResult::CounterStillCalculating(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                CounterResult::ReadCounterValue(value) => return value,
            }
        }
    };
    let value = timeout(SOON, counted).await.expect("a counter is calculated");
    let at = at_exactly(&value.read_at.unwrap());
    let read = client.read(filter.clone(), at).await.unwrap();
    assert_eq!(value.relationship_count, read.len() as u64);
    let newest = client.read(filter.clone(), fully_consistent()).await.unwrap();
    assert_eq!(read, newest, "a count is not older than the question");
}

/// An import says at which token it is there, a request that is too large has the code that clients expect, and the last
/// day of the year 9999 comes back as the last moment.
#[tokio::test(flavor = "multi_thread")]
async fn imports_have_tokens_and_requests_have_limits() {
    let (_server, mut client) = started(&["--grpc-max-recv-msg-size", "100000"]).await;
    let forever = "document:d#viewer@user:forever[expiration:9999-12-31T23:59:59Z]";
    let mut last = relationship(forever);
    last.optional_expires_at = Some(prost_types::Timestamp { seconds: 253_402_300_799, nanos: 0 });
    let batches = [wire::ImportBulkRelationshipsRequest { relationships: vec![last] }];
    let answer = client.permissions.import_bulk_relationships(futures::stream::iter(batches)).await.unwrap();
    let token = answer.metadata().get("stonetown-written-at").expect("a token").to_str().unwrap().to_owned();
    let token = wire::ZedToken { token };
    let filter = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    let request = wire::ReadRelationshipsRequest {
        consistency: Some(at_exactly(&token)),
        relationship_filter: Some(filter),
        ..Default::default()
    };
    let mut rows = client.permissions.read_relationships(request).await.unwrap().into_inner();
    let row = rows.message().await.unwrap().unwrap().relationship.unwrap();
    assert_eq!(row.optional_expires_at.unwrap().seconds, 253_402_300_799);
    assert_eq!(relationship_from_wire(row).unwrap().expires_at, Some(Timestamp::MAX));

    let long = "x".repeat(1000);
    let large: Vec<_> = (0..200).map(|n| relationship(&format!("document:{long}{n}#viewer@user:u"))).collect();
    let refused = client.write(large.clone(), []).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let refused = client.import(vec![large]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
}

/// The commands that watch, delete by filter, and ask with relationships of their own.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_watches_and_deletes() {
    let (server, mut client) = started(&[]).await;
    let texts = ["document:a#viewer@user:eve", "document:b#viewer@user:eve", "group:g#member@user:eve"];
    client.write(texts.map(relationship), []).await.unwrap();
    let run = async |args: &[&str]| {
        let output = tokio::process::Command::new(binary().unwrap())
            .args(["--endpoint", &server.address, "--token", KEY])
            .args(args)
            .stdin(std::process::Stdio::null())
            .output();
        let output = timeout(SOON, output).await.expect("the command ends").unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (done, told) = run(&["relationship", "watch", "document", "--from-start", "--limit", "2"]).await;
    assert!(done);
    assert_eq!(told, "TOUCH document:a#viewer@user:eve\nTOUCH document:b#viewer@user:eve\n");
    let filtered = ["--json", "relationship", "watch", "--filter", "group:g member", "--from-start", "--limit", "1"];
    let (done, told) = run(&filtered).await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(done && told["operation"] == "TOUCH" && told["relationship"] == "group:g#member@user:eve", "{told}");

    let with = ["permission", "check", "document:a", "viewer", "user:bob", "--with", "document:a#viewer@user:bob"];
    let (done, told) = run(&with).await;
    assert!(done && told.contains("true"), "{told}");

    let (done, _) = run(&["relationship", "bulk-delete", "document"]).await;
    assert!(!done, "without anybody to ask nothing is deleted");
    let (done, told) =
        run(&["--json", "relationship", "bulk-delete", "document", "--force", "--optional-limit", "1"]).await;
    assert!(done && told.contains("\"deleted\":2"), "{told}");
    let all = wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    assert!(client.read(all, fully_consistent()).await.unwrap().is_empty());
}
