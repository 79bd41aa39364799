//! A scripted attacker tries every call of every service: without a credential, with an agent's that holds nothing, with one of a
//! single power, with texts that mean something to somebody. What it may not do is refused, recorded, and answered alike whether
//! or not the thing exists. What is called comes from the descriptors, so a new call is in the tests, or fails them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod calls;
mod floods;
mod grants;
mod hostile;
mod secrets;
mod wire;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use calls::{CALLS, Opened, POWERS, Row, request};
use stonetown_tests::attack;
use stonetown_tests::http::{ask, post};
use stonetown_tests::server::{KEY, Server, Store, binary};
use tonic::Code;
use wire::{Answer, Caller, method, pool};
use world::World;

/// What anybody may ask.
const OPEN: [&str; 1] = ["grpc.health.v1.Health"];

#[test]
fn every_call_is_classified() {
    let known: BTreeSet<_> = CALLS.iter().map(|row| row.0.to_owned()).collect();
    let there = stonetown_api::methods().into_iter().filter(|method| !OPEN.contains(&method.service.as_str()));
    let there: BTreeSet<_> = there.map(|method| method.path()[1..].to_owned()).collect();
    assert_eq!(known, there, "say in tests/tests/attacker/calls.rs who may make a new call");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_without_a_credential() {
    let world = World::start().await;
    let empty = pool().get_message_by_name("stonetown.v1.WhoAmIRequest").unwrap();
    let send = async |caller: &Caller, path: &str| {
        let message = prost_reflect::DynamicMessage::new(empty.clone());
        caller.send(path, message, empty.clone()).await.code
    };
    for (authorization, code) in [
        (None, Code::Unauthenticated),
        (Some("Bearer "), Code::Unauthenticated),
        (Some("Basic dGVzdC1rZXk6"), Code::Unauthenticated),
        (Some("Bearer nobody"), Code::PermissionDenied),
        (Some("Bearer stc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Code::PermissionDenied),
    ] {
        let caller = world.root.showing(authorization);
        for method in stonetown_api::methods() {
            let found = send(&caller, &method.path()).await;
            if OPEN.contains(&method.service.as_str()) {
                assert!(
                    ![Code::Unauthenticated, Code::PermissionDenied].contains(&found),
                    "{}: {found:?}",
                    method.path()
                );
            } else {
                assert_eq!(found, code, "{} with {authorization:?}", method.path());
            }
        }
    }
    let nobody = world.root.showing(None);
    // What only looks as if it were open, and what is not there at all.
    for path in [
        "/grpc.health.v1.Health/../../authzed.api.v1.PermissionsService/CheckPermission",
        "/grpc.health.v1.HealthX/Check",
        "/authzed.api.v1.PermissionsService/Nothing",
        "/nothing.Service/Call",
        "/",
    ] {
        let found = send(&nobody, path).await;
        assert!(matches!(found, Code::Unauthenticated | Code::Unimplemented), "{path}: {found:?}");
    }
    let address = &world.server.address;
    let document = ask(address, "GET", "/openapi.json", &[], "").await.unwrap().json().unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= CALLS.iter().map(|row| row.0).collect::<BTreeSet<_>>().len());
    for (path, item) in paths {
        if item.get("post").is_none() {
            assert!(["/healthz", "/readyz", "/openapi.json"].contains(&path.as_str()), "{path} is open");
            continue;
        }
        let refused = post(address, path, &[], "{}").await.unwrap();
        assert_eq!(refused.code, 401, "{path}: {}", refused.body);
        let refused = post(address, path, &[("authorization", "Bearer nobody")], "{}").await.unwrap();
        assert_eq!(refused.code, 403, "{path}: {}", refused.body);
        // Not even a message that is none is looked at.
        let refused = post(address, path, &[], "{\"nothing\":").await.unwrap();
        assert_eq!(refused.code, 401, "{path}: {}", refused.body);
    }
    for method in stonetown_api::methods().iter().filter(|method| !OPEN.contains(&method.service.as_str())) {
        let web = [("content-type", "application/grpc-web+proto")];
        let refused = post(address, &method.path(), &web, "\0\0\0\0\0").await.unwrap();
        let is_told = refused.headers.get("grpc-status").is_some_and(|code| code == "16");
        assert!(is_told || refused.body.contains("grpc-status:16"), "{}: {refused:?}", method.path());
    }
    for query in ["", "?expires=9999999999&signature=AAAA"] {
        let path = format!("/materialize/v0/permission-sets/1.ndjson{query}");
        let refused = ask(address, "GET", &path, &[], "").await.unwrap();
        assert!((400..500).contains(&refused.code), "{path}: {refused:?}");
    }
}

/// A call once with the names of what there is, once with names that nothing has, but for those in `kept`.
async fn both(world: &World, caller: &Caller, row: &Row, kept: &[&str]) -> (Answer, Answer) {
    let text = request(row);
    let mut answers = Vec::new();
    for exists in [true, false] {
        let there = world.names(true);
        let mut names = if exists { there.clone() } else { world.names(false) };
        names.extend(there.into_iter().filter(|(name, _)| kept.contains(name) || !text.contains(name)));
        let answer = caller.ask(row.0, &world::put(&text, &names)).await;
        answers.push(world::without(answer, &names));
    }
    let second = answers.pop().unwrap();
    (answers.pop().unwrap(), second)
}

/// `attack timing` measures how long that takes.
#[tokio::test]
async fn what_is_there_and_what_is_not_is_refused_alike() {
    assert!(!attack::timing::run(50).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_nothing_is_refused_alike_and_it_is_recorded() {
    let world = World::start().await;
    let nobody = world.agent("nobody", &[]).await;
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for row in CALLS {
        let (existing, absent) = both(&world, &nobody, row, &[]).await;
        assert_eq!(existing, absent, "{row:?}");
        match row.1 {
            Opened::Own => assert_eq!(existing.code, Code::Ok, "{row:?}: {existing:?}"),
            Opened::By(_) => {
                assert!(existing.is_refusal(), "{row:?}: {existing:?}");
                *refused.entry(row.2).or_default() += 2;
            }
        }
        if let Some(message) = existing.messages.first().and_then(|message| message.as_object()) {
            let shown: Vec<_> = message.keys().map(String::as_str).collect();
            let own: &[&str] = match row.2 {
                "get_info" => &["version"],
                "who_am_i" => &["principal", "proof", "expiresAt"],
                // That a watch goes on.
                _ => &[],
            };
            assert!(shown.iter().all(|field| own.contains(field)), "{row:?} shows {shown:?}");
        }
    }
    // Over HTTP the same calls lead to the same services.
    let key = nobody.authorization.clone().unwrap();
    let document = ask(&world.server.address, "GET", "/openapi.json", &[], "").await.unwrap().json().unwrap();
    for (path, _) in document["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("post").is_some()) {
        let headers = [("authorization", &*key)];
        let asked = post(&world.server.address, path, &headers, "{}");
        // What lasts was let in.
        let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), asked).await else { continue };
        let answer = answer.unwrap();
        let expected = [200, 400, 403, 404].contains(&answer.code);
        assert!(expected, "{path}: {answer:?}");
    }
    let records = world.records_of("nobody").await;
    for (call, times) in refused {
        let of_call = records.iter().filter(|record| record["call"] == call && record["outcome"] == "failed");
        let reasons: BTreeSet<_> = of_call.clone().map(|record| record["reason"].to_string()).collect();
        assert!(of_call.count() >= times, "`{call}` was refused {times} times and recorded less often: {reasons:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_power_opens_its_calls_and_no_other() {
    let world = World::start().await;
    for power in POWERS {
        let agent = world.agent(&format!("has-{}", power.replace('@', "-")), &[power]).await;
        for row in CALLS {
            let opened = match row.1 {
                Opened::Own => continue,
                Opened::By(powers) => powers.contains(&power),
            };
            let narrow = power.contains('@');
            if opened {
                let answer = agent.ask(row.0, &world::put(&request(row), &world.names(true))).await;
                let is_ours = matches!(answer.code, Code::Internal | Code::Unknown | Code::Unavailable);
                assert!(!answer.is_refusal() && !is_ours, "`{power}` does not open {row:?}: {answer:?}");
                let names_type = request(row).contains("$type");
                if narrow && names_type {
                    let mut names = world.names(true);
                    names.insert("$type", "folder".to_owned());
                    let answer = agent.ask(row.0, &world::put(&request(row), &names)).await;
                    assert!(answer.is_refusal(), "`{power}` of another type opens {row:?}: {answer:?}");
                }
            } else {
                // What it may do with its own type, and not with another, is no secret to it.
                let kept: &[&str] = if narrow { &["$type", "$relation", "$permission"] } else { &[] };
                let (existing, absent) = both(&world, &agent, row, kept).await;
                assert!(existing.is_refusal(), "`{power}` opens {row:?}: {existing:?}");
                // Who may see grants is told which there are.
                let sees = ["auditor", "admin", "operator"].contains(&power) && row.0.contains("GrantService");
                assert!(sees || existing == absent, "`{power}` learns of {row:?}: {existing:?} {absent:?}");
            }
        }
    }
}

/// Before there is a schema, and anything of what is named.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_brings_an_empty_server_down() {
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    let root = Caller::new(&server.address, KEY).await;
    for row in CALLS {
        if row.2 == "write_schema" {
            continue;
        }
        let text = request(row).replace("$schema", "definition agent {}").replace('$', "");
        let answer = root.ask(row.0, &text).await;
        let ours = [Code::Internal, Code::Unknown, Code::DataLoss];
        assert!(!ours.contains(&answer.code), "{row:?}: {answer:?}");
    }
    root.get("stonetown.v1.AdminService/GetInfo", "{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_power_to_see_it_is_taken_away() {
    let world = World::start().await;
    for (name, path, message) in [
        ("watcher", "authzed.api.v1.WatchService/Watch", r#"{"optionalObjectTypes":["document"]}"#),
        ("follower", "authzed.api.materialize.v0.WatchPermissionSetsService/WatchPermissionSets", "{}"),
    ] {
        let agent = world.agent(name, &["lister@type"]).await;
        let watching = agent.clone();
        let told = tokio::spawn(async move { watching.ask_for(path, message, Duration::from_secs(10)).await });
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        world.power("Take", name, "lister@type").await;
        // What is written afterwards is not for it.
        world.touch("document:afterwards#viewer@agent:seven").await;
        let answer = told.await.unwrap();
        assert_eq!(answer.code, Code::PermissionDenied, "{name}: {answer:?}");
        assert!(!format!("{:?}", answer.messages).contains("afterwards"), "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_nothing_by_somebody_changes_nothing() {
    let world = World::start().await;
    let info = async || world.root.get("stonetown.v1.AdminService/GetInfo", "{}").await["headRevision"].clone();
    let nobody = world.agent("nobody", &[]).await;
    let before = info().await;
    for path in ["PermissionsService/ImportBulkRelationships", "PermissionsService/WriteRelationships"] {
        let refused = nobody.ask(&format!("authzed.api.v1.{path}"), "{}").await;
        assert_eq!(refused.code, Code::PermissionDenied, "{refused:?}");
    }
    assert_eq!(info().await, before);
}

/// The descriptors of a row's call, for those who change its request.
fn described(row: &Row) -> prost_reflect::MethodDescriptor {
    method(&pool(), row.0)
}
