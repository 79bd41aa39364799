//! Attacks on access just in time, each by somebody with a credential of its own.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use crate::wire::{Answer, Caller};
use crate::world::World;

const DESK: &str = "stonetown.v1.GrantService";

async fn desk(caller: &Caller, call: &str, message: Value) -> Answer {
    caller.ask(&format!("{DESK}/{call}"), &message.to_string()).await
}

fn ask(thing: &str) -> Value {
    json!({ "template": "xreach", "parameters": { "thing": thing } })
}

/// The id of a grant that was asked for.
async fn request(caller: &Caller, message: Value) -> String {
    let answer = desk(caller, "RequestGrant", message).await;
    assert_eq!(answer.code, Code::Ok, "{answer:?}");
    answer.messages[0]["grant"]["id"].as_str().unwrap().to_owned()
}

async fn decide(caller: &Caller, id: &str) -> Answer {
    desk(caller, "DecideGrant", json!({ "id": id, "approve": true })).await
}

fn state(answer: &Answer) -> &str {
    assert_eq!(answer.code, Code::Ok, "{answer:?}");
    answer.messages[0]["grant"]["state"].as_str().unwrap()
}

fn template(owner: &str, edge: &str) -> Value {
    json!({ "template": { "name": "own", "edges": [edge], "parameters": { "thing": {} }, "ttlMax": "600s",
        "stages": [{ "name": "one", "approvers": ["sys/principal:voter", "sys/group:team#member"], "need": 1,
            "timeout": "600s" }],
        "owner": owner, "requesters": ["sys/principal:asker", "sys/principal:rival"] } })
}

const VIEW: &str = "document:${thing}#viewer@${beneficiary}";
const EDIT: &str = "document:${thing}#editor@${beneficiary}";

#[tokio::test(flavor = "multi_thread")]
async fn who_owns_a_template_gives_no_more_than_its_own_powers() {
    let world = World::start().await;
    let owner = world.agent("owner", &["writer@relation"]).await;
    let (asker, voter) = (world.caller("asker").await, world.caller("voter").await);
    assert_eq!(desk(&world.root, "PutTemplate", template("owner", VIEW)).await.code, Code::Ok);
    // It may view only through what its owner may write; a mightier owner is not for it to name.
    for other in ["key-1", "nobody"] {
        let refused = desk(&owner, "PutTemplate", template(other, EDIT)).await;
        assert_eq!(refused.code, Code::PermissionDenied, "{refused:?}");
    }
    assert_eq!(desk(&owner, "PutTemplate", template("owner", EDIT)).await.code, Code::Ok);
    let of = |thing: &str| json!({ "template": "own", "parameters": { "thing": thing } });
    let id = request(&asker, of("plan")).await;
    assert_eq!(state(&decide(&voter, &id).await), "GRANT_STATE_FAILED");
    assert!(!world.may("asker", "editor", "plan").await);
    // Nor does one go on who was cut off.
    assert_eq!(desk(&owner, "PutTemplate", template("owner", VIEW)).await.code, Code::Ok);
    let id = request(&asker, of("plan")).await;
    world.root.get("stonetown.v1.PrincipalService/QuarantinePrincipal", r#"{"id":"owner"}"#).await;
    assert_eq!(state(&decide(&voter, &id).await), "GRANT_STATE_FAILED");
    assert!(!world.may("asker", "view", "plan").await);
    // Who administers the store, and may write nothing of it, makes none through another's powers either: the change is its own.
    let refused = desk(&asker, "PutTemplate", template("asker", VIEW)).await;
    assert_eq!(refused.code, Code::PermissionDenied);
    assert!(desk(&asker, "DeleteTemplate", json!({ "name": "own" })).await.is_refusal());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_for_oneself_twice_or_about_what_has_ended() {
    let world = World::start().await;
    let (asker, voter) = (world.caller("asker").await, world.caller("voter").await);
    let rival = world.agent("rival", &[]).await;
    for id in ["asker", "rival", "voter"] {
        let member = json!({ "holder": { "principal": id }, "power": { "name": "member", "group": "team" } });
        world.root.get("stonetown.v1.PrincipalService/GivePower", &member.to_string()).await;
    }
    assert_eq!(desk(&world.root, "PutTemplate", template("key-1", VIEW)).await.code, Code::Ok);
    // Through a group that approves.
    let own = json!({ "template": "own", "parameters": { "thing": "a" } });
    let id = request(&asker, own.clone()).await;
    assert_eq!(decide(&asker, &id).await.code, Code::PermissionDenied);
    assert!(!world.may("asker", "view", "a").await);
    // A version that has changed meanwhile, and one that never was.
    let stale = desk(&voter, "DecideGrant", json!({ "id": id, "version": "99", "approve": true })).await;
    assert_eq!(stale.code, Code::Aborted, "{stale:?}");
    assert_eq!(state(&decide(&rival, &id).await), "GRANT_STATE_APPROVED");
    assert!(world.may("asker", "view", "a").await);
    // A vote that is sent again, by the same and by another.
    for again in [&rival, &voter] {
        assert_eq!(decide(again, &id).await.code, Code::FailedPrecondition);
    }
    assert_eq!(state(&desk(&asker, "RevokeGrant", json!({ "id": id })).await), "GRANT_STATE_REVOKED");
    assert!(!world.may("asker", "view", "a").await);
    assert_eq!(decide(&voter, &id).await.code, Code::FailedPrecondition);
    assert!(!world.may("asker", "view", "a").await);
    // For another: only who answers for that one, with a subject that stands for it.
    for (field, value) in [("beneficiary", "rival"), ("subject", "agent:rival"), ("subject", "agent:seven")] {
        let mut asked = own.clone();
        asked[field] = value.into();
        let refused = desk(&asker, "RequestGrant", asked).await;
        assert!(
            [Code::PermissionDenied, Code::InvalidArgument].contains(&refused.code),
            "{field} {value}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_nothing_but_what_its_template_allows() {
    let world = World::start().await;
    let (asker, voter) = (world.caller("asker").await, world.caller("voter").await);
    for thing in ["x#editor@agent:*", "*", "a b", "a\n", "${beneficiary}", "", "a@agent:asker", "document:a"] {
        let refused = desk(&asker, "RequestGrant", ask(thing)).await;
        assert_eq!(refused.code, Code::InvalidArgument, "{thing:?}: {refused:?}");
    }
    for (field, value) in [
        ("ttl", json!("601s")),
        ("ttl", json!("-1s")),
        ("emergency", json!(true)),
        ("startsAt", json!("2999-01-01T00:00:00Z")),
        ("parameters", json!({ "thing": "a", "other": "b" })),
        ("parameters", json!({})),
    ] {
        let mut asked = ask("a");
        asked[field] = value;
        let refused = desk(&asker, "RequestGrant", asked.clone()).await;
        assert_eq!(refused.code, Code::InvalidArgument, "{asked}: {refused:?}");
    }
    // A renewal is for the same, and by those who see the grant.
    let id = request(&asker, ask("a")).await;
    assert_eq!(state(&decide(&voter, &id).await), "GRANT_STATE_APPROVED");
    let mut wider = ask("b");
    wider["renews"] = id.as_str().into();
    assert_eq!(desk(&asker, "RequestGrant", wider).await.code, Code::InvalidArgument);
    // The key of a request tells a narrowed credential nothing, though it is its holder's own.
    let mut keyed = ask("c");
    keyed["idempotencyKey"] = "key".into();
    let first = request(&asker, keyed.clone()).await;
    assert_eq!(request(&asker, keyed.clone()).await, first);
    let narrowed = world.narrowed("asker", json!([{ "resourceType": "document" }])).await;
    for (call, message) in [
        ("RequestGrant", keyed),
        ("GetGrant", json!({ "id": id })),
        ("RevokeGrant", json!({ "id": id })),
        ("DecideGrant", json!({ "id": id, "approve": true })),
    ] {
        let refused = desk(&narrowed, call, message).await;
        assert!(refused.is_refusal(), "{call}: {refused:?}");
    }
    assert_eq!(desk(&narrowed, "ListGrants", json!({})).await.messages, [json!({})]);
    assert!(world.may("asker", "view", "a").await, "it was not revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_votes_at_once_one_gives_the_access_and_none_outlives_a_revocation() {
    let world = World::start().await;
    let (asker, voter) = (world.caller("asker").await, world.caller("voter").await);
    let id = request(&asker, ask("crowd")).await;
    let votes = futures::future::join_all((0..100).map(|_| decide(&voter, &id))).await;
    let given = votes.iter().filter(|answer| answer.code == Code::Ok).count();
    assert_eq!(given, 1, "{:?}", votes.iter().map(|answer| answer.code).collect::<Vec<_>>());
    let limited = [Code::Ok, Code::FailedPrecondition, Code::ResourceExhausted];
    assert!(votes.iter().all(|answer| limited.contains(&answer.code)), "{votes:?}");
    for round in 0..10 {
        let thing = format!("race-{round}");
        let id = request(&asker, ask(&thing)).await;
        let message = json!({ "id": id });
        let (_, revoked) = tokio::join!(decide(&voter, &id), desk(&asker, "RevokeGrant", message));
        assert_eq!(revoked.code, Code::Ok, "{revoked:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!world.may("asker", "view", &thing).await, "{thing}");
    }
}
