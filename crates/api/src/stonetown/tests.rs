//! The services of `stonetown.v1` over the memory store, without a network between.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use futures::StreamExt;
use prost::Message;
use prost_types::FileDescriptorSet;
use stonetown_authorizer::{Authorizer, Caller, Options};
use stonetown_storage::MemoryDatastore;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};

use crate::convert;
use crate::proto::authzed::api::v1 as authzed;
use crate::proto::stonetown::v1 as wire;
use authzed::permissions_service_client::PermissionsServiceClient;
use authzed::schema_service_client::SchemaServiceClient;
use wire::decision_service_client::DecisionServiceClient;
use wire::freshness::Requirement;

const SCHEMA: &str = "
use expiration
caveat on_day(day string) { day == \"tuesday\" }
definition user {}
definition document {
  relation viewer: user | user:* | user with on_day | user with expiration
  permission view = viewer
}";

type Client = InterceptedService<crate::Services, fn(Request<()>) -> Result<Request<()>, Status>>;

fn as_a_caller(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Caller::named("key-1"));
    Ok(request)
}

/// A server with [`SCHEMA`].
async fn server() -> Client {
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    let routes = crate::services(Arc::new(authorizer), &crate::ApiSettings::default());
    let client = InterceptedService::new(routes, as_a_caller as fn(_) -> _);
    let schema = authzed::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::new(client.clone()).write_schema(schema).await.unwrap();
    client
}

async fn write(client: &Client, operation: authzed::relationship_update::Operation, text: &str) -> String {
    let update = authzed::RelationshipUpdate {
        operation: operation.into(),
        relationship: Some(convert::relationship_to_wire(text.parse().unwrap())),
    };
    let request = authzed::WriteRelationshipsRequest { updates: vec![update], ..Default::default() };
    let answer = PermissionsServiceClient::new(client.clone()).write_relationships(request).await.unwrap();
    answer.into_inner().written_at.unwrap().token
}

async fn touch(client: &Client, text: &str) -> String {
    write(client, authzed::relationship_update::Operation::Touch, text).await
}

fn object(text: &str) -> Option<wire::ObjectRef> {
    let (object_type, id) = text.split_once(':').unwrap();
    Some(wire::ObjectRef { r#type: object_type.to_owned(), id: id.to_owned() })
}

fn subject(text: &str) -> Option<wire::SubjectRef> {
    let (object, relation) = text.split_once('#').unwrap_or((text, ""));
    let wire::ObjectRef { r#type, id } = self::object(object).unwrap();
    Some(wire::SubjectRef { r#type, id, relation: relation.to_owned() })
}

fn question(who: &str) -> wire::CheckRequest {
    wire::CheckRequest {
        resource: object("document:plan"),
        permission: "view".to_owned(),
        subject: subject(who),
        ..Default::default()
    }
}

fn fresh(requirement: Requirement) -> Option<wire::Freshness> {
    Some(wire::Freshness { requirement: Some(requirement) })
}

async fn check(client: &Client, request: wire::CheckRequest) -> Result<wire::CheckResponse, Status> {
    DecisionServiceClient::new(client.clone()).check(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_check_is_allowed_denied_or_conditional() {
    let client = server().await;
    let token = touch(&client, "document:plan#viewer@user:ann").await;
    touch(&client, "document:plan#viewer@user:bob[on_day]").await;
    touch(&client, "document:plan#viewer@user:cid[expiration:2999-01-01T00:00:00Z]").await;
    let allowed = check(&client, question("user:ann")).await.unwrap();
    assert_eq!((allowed.outcome(), allowed.until), (wire::Outcome::Allowed, None));
    assert!(allowed.judged_at.is_some() && !allowed.token.is_empty());
    let conditional = check(&client, question("user:bob")).await.unwrap();
    assert_eq!(
        (conditional.outcome(), &*conditional.missing_context),
        (wire::Outcome::Conditional, &["day".to_owned()][..])
    );
    let ending = check(&client, question("user:cid")).await.unwrap();
    assert_eq!(ending.until.map(|until| until.seconds), Some(32_472_144_000));
    assert_eq!(check(&client, question("user:dan")).await.unwrap().outcome(), wire::Outcome::Denied);

    let before = wire::CheckRequest { freshness: fresh(Requirement::AtExactly(token)), ..question("user:bob") };
    assert_eq!(check(&client, before).await.unwrap().outcome(), wire::Outcome::Denied);
}

#[tokio::test]
async fn a_check_at_a_moment_sees_the_state_of_the_moment() {
    let client = server().await;
    touch(&client, "document:plan#viewer@user:ann").await;
    let there = check(&client, question("user:ann")).await.unwrap().judged_at.unwrap();
    write(&client, authzed::relationship_update::Operation::Delete, "document:plan#viewer@user:ann").await;
    assert_eq!(check(&client, question("user:ann")).await.unwrap().outcome(), wire::Outcome::Denied);
    let then = wire::CheckRequest { freshness: fresh(Requirement::At(there)), ..question("user:ann") };
    let answer = check(&client, then).await.unwrap();
    assert_eq!((answer.outcome(), answer.judged_at), (wire::Outcome::Allowed, Some(there)));

    let ahead = prost_types::Timestamp { seconds: there.seconds + 100_000, nanos: 0 };
    let refused = wire::CheckRequest { freshness: fresh(Requirement::At(ahead)), ..question("user:ann") };
    let refused = check(&client, refused).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.message().contains("is still to come"), "{refused}");
}

#[tokio::test]
async fn an_explanation_says_why_and_who_wrote_it() {
    let client = server().await;
    let update = authzed::RelationshipUpdate {
        operation: authzed::relationship_update::Operation::Touch.into(),
        relationship: Some(convert::relationship_to_wire("document:plan#viewer@user:ann".parse().unwrap())),
    };
    let metadata = serde_json::json!({ "stonetown.reason": "review", "ticket": "T-1", "more": [1] });
    let serde_json::Value::Object(metadata) = metadata else { panic!("an object") };
    let written = authzed::WriteRelationshipsRequest {
        updates: vec![update],
        optional_transaction_metadata: Some(convert::context::to_wire(metadata.clone())),
        ..Default::default()
    };
    let written =
        PermissionsServiceClient::new(client.clone()).write_relationships(written).await.unwrap().into_inner();
    touch(&client, "document:plan#viewer@user:bob[on_day:{\"day\":\"monday\"}]").await;
    let wire::CheckRequest { resource, permission, subject, .. } = question("user:ann");
    let asked = wire::ExplainRequest { resource, permission, subject, ..Default::default() };
    let mut decisions = DecisionServiceClient::new(client.clone());
    let answer = decisions.explain(asked.clone()).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), wire::Outcome::Allowed);
    let reasons = answer.reasons.clone().unwrap();
    let [step] = &reasons.path[..] else { panic!("one relationship is enough") };
    assert!(step.essential && step.serves == "document:plan#view" && step.state() == wire::StepState::Holds);
    let provenance = step.provenance.clone().unwrap();
    assert_eq!((&*provenance.by, &*provenance.reason, &*provenance.ticket), ("key-1", "review", "T-1"));
    assert_eq!(provenance.token, written.written_at.unwrap().token);
    assert_eq!(convert::context::from_wire(provenance.metadata).unwrap(), metadata);

    let denied = wire::ExplainRequest { subject: self::subject("user:bob"), ..asked.clone() };
    let reasons = decisions.explain(denied).await.unwrap().into_inner().reasons.unwrap();
    let step = &reasons.misses[0].path[0];
    assert_eq!((step.state(), &*step.condition), (wire::StepState::ConditionFalse, "day == \"tuesday\""));
    let checked = check(&client, wire::CheckRequest { explain: true, ..question("user:bob") }).await.unwrap();
    assert_eq!(checked.reasons, Some(reasons));
    let many = wire::ExplainRequest { misses: 1_000, ..asked.clone() };
    assert_eq!(decisions.explain(many).await.unwrap_err().code(), Code::InvalidArgument);
    let both = wire::ExplainRequest { decision: Some(1), ..asked };
    let refused = decisions.explain(both).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().starts_with("`decision`"), "{refused}");
    // This server keeps no log. What a client has seen, it says with every question.
    for (freshness, code) in [
        (None, Code::FailedPrecondition),
        (Some(Requirement::AtLeast("seen".to_owned())), Code::FailedPrecondition),
        (Some(Requirement::AtExactly("seen".to_owned())), Code::InvalidArgument),
    ] {
        let freshness = freshness.and_then(fresh);
        let decision = wire::ExplainRequest { decision: Some(1), freshness, ..Default::default() };
        assert_eq!(decisions.explain(decision).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn lists_go_on_behind_their_cursors_and_take_no_others() {
    let client = server().await;
    for who in ["ann", "bob", "cid"] {
        touch(&client, &format!("document:plan#viewer@user:{who}")).await;
    }
    touch(&client, "document:memo#viewer@user:ann").await;
    let mut decisions = DecisionServiceClient::new(client.clone());
    let (mut names, mut cursor) = (Vec::new(), String::new());
    let who = |cursor: String| wire::WhoCanRequest {
        resource: object("document:plan"),
        permission: "view".to_owned(),
        page: Some(wire::Page { size: 2, cursor }),
        with_path: true,
        ..Default::default()
    };
    loop {
        let answers = decisions.who_can(who(cursor.clone())).await.unwrap().into_inner();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
        let Some(last) = answers.last() else { break };
        cursor.clone_from(&last.cursor);
        assert!(answers.len() <= 2 && answers.iter().all(|answer| answer.path.len() == 1));
        names.extend(answers.into_iter().map(|answer| answer.subject.unwrap().id));
    }
    assert_eq!(names, ["ann", "bob", "cid"]);
    let other = wire::WhoCanRequest { permission: "viewer".to_owned(), ..who(cursor.clone()) };
    assert_eq!(decisions.who_can(other).await.unwrap_err().code(), Code::FailedPrecondition);
    let garbled = decisions.who_can(who("x".to_owned())).await.unwrap_err();
    assert!(garbled.message().starts_with("`page.cursor`"), "{garbled}");
    let contradiction =
        wire::WhoCanRequest { groups: wire::Groups::AsNamed.into(), subject_type: "user".into(), ..who(String::new()) };
    assert_eq!(decisions.who_can(contradiction).await.unwrap_err().code(), Code::InvalidArgument);

    let what = wire::WhatCanRequest { subject: subject("user:ann"), ..Default::default() };
    let answers = decisions.what_can(what).await.unwrap().into_inner();
    let found: Vec<_> = answers.map(|answer| answer.unwrap().resource.unwrap().id).collect().await;
    assert_eq!(found, ["plan", "memo"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_said_with_its_field() {
    let client = server().await;
    for (request, field) in [
        (wire::CheckRequest { resource: None, ..question("user:ann") }, "resource"),
        (
            wire::CheckRequest { subject: subject("user:ann#"), permission: "View".into(), ..question("user:ann") },
            "permission",
        ),
        (wire::CheckRequest { subject: Some(wire::SubjectRef::default()), ..question("user:ann") }, "subject.type"),
        (
            wire::CheckRequest { freshness: fresh(Requirement::AtLeast("x".into())), ..question("user:ann") },
            "freshness.at_least",
        ),
    ] {
        let refused = check(&client, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with(&format!("`{field}")), "{refused}");
    }
    let everybody = check(&client, question("user:*")).await.unwrap_err();
    assert_eq!(everybody.code(), Code::InvalidArgument);
}

/// Every call has a row in the page about the interface, with the path that it has over HTTP.
#[test]
fn the_page_about_the_interface_lists_every_call() {
    let page = include_str!("../../../../docs/api.md");
    let files = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap().file;
    let own = files.iter().filter(|file| file.package() == "stonetown.v1");
    let mut calls = 0;
    for service in own.flat_map(|file| &file.service) {
        for method in &service.method {
            let row = format!("| `{}/{}` |", service.name(), method.name());
            assert!(page.contains(&row), "docs/api.md has no row {row}");
            calls += 1;
        }
    }
    assert!(calls >= 4);
}
