//! What went wrong in servers of this kind before, as their advisories tell it, asked of this one over the wire. What takes no more
//! than a schema and relationships is in `tests/spec`; docs/security.md lists all of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use stonetown_api::client::context_to_wire;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, fully_consistent, object, relationship, text};
use stonetown_tests::server::{Server, Store, binary};
use tempfile::TempDir;
use wire::check_bulk_permissions_pair::Response;
use wire::check_permission_response::Permissionship;
use wire::{LookupPermissionship, check_permission_response, relationship_update};

const HAS: Permissionship = check_permission_response::Permissionship::HasPermission;
const HAS_NOT: Permissionship = check_permission_response::Permissionship::NoPermission;
const MAY_HAVE: Permissionship = check_permission_response::Permissionship::ConditionalPermission;

/// A server over RocksDB, and a client of it.
async fn start() -> (TempDir, Server, Client) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &[]).await.unwrap();
    let client = Client::connect(&server.address).await.unwrap();
    (directory, server, client)
}

fn user(id: &str) -> Option<wire::SubjectReference> {
    Some(wire::SubjectReference { object: Some(object("user", id)), optional_relation: String::new() })
}

fn context(value: &Value) -> Option<prost_types::Struct> {
    Some(context_to_wire(serde_json::from_value(value.clone()).unwrap()))
}

fn check(document: &str, who: &str, given: &Value) -> wire::CheckPermissionRequest {
    wire::CheckPermissionRequest {
        consistency: Some(fully_consistent()),
        resource: Some(object("document", document)),
        permission: "view".to_owned(),
        subject: user(who),
        context: context(given),
        with_tracing: false,
    }
}

fn item(document: &str, who: &str, given: &Value) -> wire::CheckBulkPermissionsRequestItem {
    let wire::CheckPermissionRequest { resource, permission, subject, context, .. } = check(document, who, given);
    wire::CheckBulkPermissionsRequestItem { resource, permission, subject, context }
}

async fn bulk(client: &mut Client, items: Vec<wire::CheckBulkPermissionsRequestItem>) -> Vec<Permissionship> {
    let request = wire::CheckBulkPermissionsRequest {
        consistency: Some(fully_consistent()),
        items,
        ..wire::CheckBulkPermissionsRequest::default()
    };
    let pairs = client.permissions.check_bulk_permissions(request).await.unwrap().into_inner().pairs;
    let said = |pair: wire::CheckBulkPermissionsPair| match pair.response.unwrap() {
        Response::Item(item) => item.permissionship(),
        Response::Error(error) => panic!("{error:?}"),
    };
    pairs.into_iter().map(said).collect()
}

async fn viewable(client: &mut Client, who: &str, given: &Value) -> Vec<(String, LookupPermissionship)> {
    let request = wire::LookupResourcesRequest {
        consistency: Some(fully_consistent()),
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: user(who),
        context: context(given),
        ..wire::LookupResourcesRequest::default()
    };
    let found = client.permissions.lookup_resources(request).await.unwrap().into_inner();
    let found = found.map_ok(|found| (found.resource_object_id.clone(), found.permissionship()));
    found.try_collect().await.unwrap()
}

/// Values that look alike when they are written one after the other, or as text. No two are equal.
fn lookalikes() -> Vec<Value> {
    let hostile = json!([
        "", "1", "a,b", "a|b", "a\u{0}b", "a\nb", "ab", "[\"a\"]", "true", "{}", "Bob", "bob", "\u{fc}", "u\u{308}"
    ]);
    let others = json!([
        1, 1.5, true, [], {}, [[]], [""], ["a", "b"], ["a,b"], ["b", "a"], [["a"], "b"], ["a", [], "b"], ["a", ["b"]],
        [1], ["1"], {"a": "b"}, {"a": {"b": "c"}}, {"a.b": "c"}, {"a": "b", "c": "d"}, {"a": "b,c:d"}, {"a": ["b"]}
    ]);
    [hostile, others].into_iter().flat_map(|values| values.as_array().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unequal_contexts_never_share_a_result() {
    let (_directory, _server, mut client) = start().await;
    let schema = "caveat same(given any, wanted any) { given == wanted }
      definition user {}
      definition document { relation viewer: user with same; permission view = viewer }";
    client.write_schema(schema).await.unwrap();
    let values = lookalikes();
    let name = |number: usize| format!("d{number}");
    let stored = values.iter().enumerate().map(|(number, value)| {
        let caveat = wire::ContextualizedCaveat {
            caveat_name: "same".to_owned(),
            context: context(&json!({ "wanted": value })),
        };
        let relationship = relationship(("document", &name(number)), "viewer", ("user", "ann"));
        wire::Relationship { optional_caveat: Some(caveat), ..relationship }
    });
    client.write(stored.collect::<Vec<_>>(), []).await.unwrap();
    let mut pairs: Vec<_> = (0..values.len()).flat_map(|a| (0..values.len()).map(move |b| (a, b))).collect();
    let given = |number: usize| json!({ "given": values[number], "wanted,given": values[0] });
    let expected = |(a, b): (usize, usize)| if a == b { HAS } else { HAS_NOT };
    for round in 0..3 {
        let items = pairs.iter().map(|(a, b)| item(&name(*a), "ann", &given(*b))).collect();
        for (pair, found) in pairs.iter().zip(bulk(&mut client, items).await) {
            let (wanted, given) = (&values[pair.0], &values[pair.1]);
            assert_eq!(found, expected(*pair), "round {round}, in bulk: {given} for {wanted}");
        }
        pairs.shuffle(&mut rand::rng());
    }
    for pair in pairs {
        let request = check(&name(pair.0), "ann", &given(pair.1));
        let found = client.permissions.check_permission(request).await.unwrap().into_inner().permissionship();
        assert_eq!(found, expected(pair), "one by one: {} for {}", values[pair.1], values[pair.0]);
    }
    for (number, value) in values.iter().enumerate() {
        let found = viewable(&mut client, "ann", &given(number)).await;
        assert_eq!(found, [(name(number), LookupPermissionship::HasPermission)], "a lookup with {value}");
    }
}

/// Relationships of one row around 65,536, and around twice that.
#[tokio::test(flavor = "multi_thread")]
async fn rows_around_the_borders_of_16_bits_are_whole() {
    let (_directory, _server, mut client) = start().await;
    let schema = "definition user {}
      definition group { relation member: user }
      definition document { relation viewer: group#member | user; permission view = viewer }";
    client.write_schema(schema).await.unwrap();
    let mut through = relationship(("document", "wide"), "viewer", ("group", "g"));
    through.subject.as_mut().unwrap().optional_relation = "member".to_owned();
    client.write([through], []).await.unwrap();
    let mut grown = 0;
    for size in [65_535, 65_536, 65_537, 131_073_u64] {
        // As many members of a group, and documents of one user.
        let member = |number: u64| relationship(("group", "g"), "member", ("user", &format!("u{number}")));
        let document = |number: u64| relationship(("document", &format!("d{number}")), "viewer", ("user", "all"));
        let more: Vec<_> = (grown..size).flat_map(|number| [member(number), document(number)]).collect();
        client.import(more.chunks(10_000).map(<[_]>::to_vec).collect()).await.unwrap();
        grown = size;
        let ids = [0, 1, 65_534, 65_535, 65_536, 65_537, size - 1, size];
        let items = ids.iter().map(|id| item("wide", &format!("u{id}"), &json!({}))).collect();
        let expected: Vec<_> = ids.iter().map(|id| if *id < size { HAS } else { HAS_NOT }).collect();
        assert_eq!(bulk(&mut client, items).await, expected, "{size}: {ids:?}");
        let request = wire::LookupSubjectsRequest {
            consistency: Some(fully_consistent()),
            resource: Some(object("document", "wide")),
            permission: "view".to_owned(),
            subject_object_type: "user".to_owned(),
            ..wire::LookupSubjectsRequest::default()
        };
        let found = client.permissions.lookup_subjects(request).await.unwrap().into_inner();
        let found: BTreeSet<_> = found.map(|found| found.unwrap().subject.unwrap().subject_object_id).collect().await;
        assert_eq!(found.len() as u64, size, "subjects of {size}");
        assert_eq!(viewable(&mut client, "all", &json!({})).await.len() as u64, size, "resources of {size}");
    }
    let filter = wire::RelationshipFilter { resource_type: "group".to_owned(), ..wire::RelationshipFilter::default() };
    assert_eq!(client.delete(filter).await.unwrap(), grown);
    let last = format!("u{}", grown - 1);
    assert_eq!(bulk(&mut client, vec![item("wide", &last, &json!({}))]).await, [HAS_NOT]);
}

/// A write that was answered is there whole, also at the largest, and one that is too large leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_there_whole_or_not_at_all() {
    let (_directory, _server, mut client) = start().await;
    client.write_schema("definition user {} definition document { relation viewer: user }").await.unwrap();
    let id = |number: usize, length: usize| format!("{number:0>length$}");
    for (document, count, length) in [("few", 1, 1), ("many", 1_000, 32), ("large", 1_000, 1_024), ("more", 1_001, 8)] {
        let updates = (0..count).map(|number| wire::RelationshipUpdate {
            operation: relationship_update::Operation::Create.into(),
            relationship: Some(relationship(("document", document), "viewer", ("user", &id(number, length)))),
        });
        let updates: Vec<_> = updates.collect();
        let sent: BTreeSet<_> = updates.iter().map(|update| text(update.relationship.as_ref().unwrap())).collect();
        let request = wire::WriteRelationshipsRequest { updates, ..wire::WriteRelationshipsRequest::default() };
        let written = client.permissions.write_relationships(request).await;
        let filter = wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            optional_resource_id: document.to_owned(),
            ..wire::RelationshipFilter::default()
        };
        let found = client.read(filter, fully_consistent()).await.unwrap();
        match written {
            Ok(_) => assert_eq!(found, sent, "{document}"),
            Err(status) => assert!(count > 1_000 && found.is_empty(), "{document}: {status}, {}", found.len()),
        }
        assert_eq!(found.is_empty(), count > 1_000, "{document}");
    }
}

/// What is asked at the same time with other values, traced, or given up half-way, changes no answer.
#[tokio::test(flavor = "multi_thread")]
async fn racing_questions_do_not_change_each_others_answers() {
    let (_directory, server, mut client) = start().await;
    let schema = "caveat open(day string) { day == 'open' }
      definition user {}
      definition group { relation member: user with open | group#member }
      definition folder { relation viewer: group#member | user with open; permission view = viewer }
      definition document { relation parent: folder with open; relation banned: user with open
        permission view = parent->view - banned }";
    client.write_schema(schema).await.unwrap();
    let mut all = Vec::new();
    let conditional = |relationship: wire::Relationship| wire::Relationship {
        optional_caveat: Some(wire::ContextualizedCaveat { caveat_name: "open".to_owned(), context: None }),
        ..relationship
    };
    let nested = |mut relationship: wire::Relationship| {
        relationship.subject.as_mut().unwrap().optional_relation = "member".to_owned();
        relationship
    };
    for (inner, outer) in [("a", "b"), ("b", "c"), ("c", "a")] {
        all.push(nested(relationship(("group", outer), "member", ("group", inner))));
    }
    all.push(conditional(relationship(("group", "a"), "member", ("user", "ann"))));
    all.push(nested(relationship(("folder", "f"), "viewer", ("group", "c"))));
    for number in 0..20 {
        all.push(conditional(relationship(("document", &format!("d{number}")), "parent", ("folder", "f"))));
    }
    client.write(all, []).await.unwrap();
    let racing = (0..40).map(|racer| {
        let (mut client, address) = (client.clone(), server.address.clone());
        tokio::spawn(async move {
            let leaves = racer % 8 == 3;
            if leaves {
                // A connection on which much is taken back is ended, with all that is on it.
                client = Client::connect(&address).await.unwrap();
            }
            for round in 0..25 {
                let (given, expected, listed) = match (racer + round) % 3 {
                    0 => (json!({}), MAY_HAVE, 20),
                    1 => (json!({ "day": "open" }), HAS, 20),
                    _ => (json!({ "day": "closed" }), HAS_NOT, 0),
                };
                let document = format!("d{}", (racer * 7 + round) % 20);
                let mut request = check(&document, "ann", &given);
                request.with_tracing = racer % 5 == 0;
                let asked = async { client.permissions.check_permission(request).await };
                if leaves {
                    // One who does not wait.
                    let patience = Duration::from_micros(rand::rng().random_range(0..800));
                    let _ = tokio::time::timeout(patience, asked).await;
                    continue;
                }
                let answer = asked.await.unwrap().into_inner();
                assert_eq!(answer.permissionship(), expected, "{document} with {given}");
                if round % 5 == 0 {
                    let found = viewable(&mut client, "ann", &given).await;
                    let doubt = expected == MAY_HAVE;
                    let doubted =
                        found.iter().all(|(_, how)| (*how == LookupPermissionship::ConditionalPermission) == doubt);
                    assert!(found.len() == listed && doubted, "{given}: {found:?}");
                    let items = vec![item(&document, "ann", &given), item(&document, "eve", &given)];
                    assert_eq!(bulk(&mut client, items).await, [expected, HAS_NOT], "{document} with {given}");
                }
            }
        })
    });
    for racer in racing.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
}
