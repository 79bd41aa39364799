//! The streams over the memory store, without a network between: what a client that does not read, leaves, or comes too many
//! times gets.

#![allow(clippy::unwrap_used, clippy::panic, deprecated)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::{Authorizer, Caller, Limits, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Relationship;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status, Streaming};

use crate::convert;
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::proto::authzed::api::v1;
use crate::settings::ApiSettings;
use v1::permissions_service_client::PermissionsServiceClient;
use v1::schema_service_client::SchemaServiceClient;
use wire::permission_set_change::{Child, SetOperation};
use wire::watch_permission_sets_response::Response as Told;
use wire::watch_permission_sets_service_client::WatchPermissionSetsServiceClient;
use wire::watch_permissions_service_client::WatchPermissionsServiceClient;

const SCHEMA: &str = "
use expiration
definition user {}
definition document {
  relation viewer: user | user with expiration
  permission view = viewer
}";

type Client = InterceptedService<crate::Services, fn(Request<()>) -> Result<Request<()>, Status>>;
type Sets = Streaming<wire::WatchPermissionSetsResponse>;

fn as_a_caller(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Caller::named("key-1"));
    Ok(request)
}

fn as_another(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Caller::named("key-2"));
    Ok(request)
}

async fn server(settings: ApiSettings) -> Client {
    limited(settings, Limits::default()).await.0
}

/// A server as two callers have it.
async fn limited(settings: ApiSettings, limits: Limits) -> (Client, Client) {
    let materialize = ["document#view@user".parse().unwrap()].into();
    let options = Options { materialize, limits, ..Options::default() };
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap();
    let routes = crate::services(Arc::new(authorizer), &settings);
    let another = InterceptedService::new(routes.clone(), as_another as fn(_) -> _);
    let client = InterceptedService::new(routes, as_a_caller as fn(_) -> _);
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::new(client.clone()).write_schema(schema).await.unwrap();
    (client, another)
}

async fn write(client: &Client, relationships: impl Iterator<Item = String>) {
    let touch = |text: String| v1::RelationshipUpdate {
        operation: v1::relationship_update::Operation::Touch.into(),
        relationship: Some(convert::relationship_to_wire(text.parse::<Relationship>().unwrap())),
    };
    let updates = relationships.map(touch).collect();
    let request = v1::WriteRelationshipsRequest { updates, ..Default::default() };
    PermissionsServiceClient::new(client.clone()).write_relationships(request).await.unwrap();
}

async fn watch(client: &Client, after: Option<v1::ZedToken>) -> Result<Sets, Status> {
    let request = wire::WatchPermissionSetsRequest { optional_starting_after: after };
    Ok(WatchPermissionSetsServiceClient::new(client.clone()).watch_permission_sets(request).await?.into_inner())
}

async fn next(sets: &mut Sets) -> Result<Told, Status> {
    let message = tokio::time::timeout(Duration::from_secs(20), sets.message()).await.expect("a message in time")?;
    Ok(message.unwrap().response.unwrap())
}

fn added(change: &wire::PermissionSetChange) -> String {
    assert_eq!(change.operation(), SetOperation::Added);
    let set = change.parent_set.clone().unwrap();
    match change.child.clone().unwrap() {
        Child::ChildMember(member) => format!("{}:{} {}", set.object_type, set.object_id, member.object_id),
        Child::ChildSet(set) => panic!("there are no groups: {set:?}"),
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left_and_goes_on_without_loss_or_repetition() {
    let idle = Duration::from_millis(200);
    let client = server(ApiSettings { stream_idle_max: idle, ..ApiSettings::default() }).await;
    let mut sets = watch(&client, None).await.unwrap();
    let Told::CompletedRevision(mut completed) = next(&mut sets).await.unwrap() else { panic!("not completed") };
    for revision in 0..40 {
        write(&client, (0..100).map(|number| format!("document:{revision}#viewer@user:{number}"))).await;
    }
    tokio::time::sleep(5 * idle).await;
    let (mut known, mut pending) = (BTreeSet::new(), Vec::new());
    let mut left = 0;
    while known.len() < 4000 {
        match next(&mut sets).await {
            Ok(Told::Change(change)) => pending.push(added(&change)),
            Ok(Told::CompletedRevision(at)) => {
                completed = at;
                for change in pending.drain(..) {
                    assert!(known.insert(change), "told twice");
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(status) => {
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
                left += 1;
                pending.clear();
                sets = watch(&client, Some(completed.clone())).await.unwrap();
            }
        }
    }
    assert_eq!(left, 1);
}

#[tokio::test]
async fn streams_are_bounded_for_each_caller_and_together_and_one_that_ends_frees_its_place() {
    let limits = Limits { sets_streams_per_caller_max: 2, sets_streams_max: 3, ..Limits::default() };
    let (client, another) = limited(ApiSettings::default(), limits).await;
    let first = watch(&client, None).await.unwrap();
    let _second = watch(&client, None).await.unwrap();
    let refused = watch(&client, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "too many streams at once: `sets_streams_per_caller_max` is 2");
    let _third = watch(&another, None).await.unwrap();
    let refused = watch(&another, None).await.unwrap_err();
    assert_eq!(refused.message(), "too many streams at once: `sets_streams_max` is 3");
    drop(first);
    let again = async {
        while watch(&client, None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("the place is free again");
}

#[tokio::test]
async fn a_stream_that_needs_more_memory_than_there_is_ends_with_the_name_of_the_limit() {
    let (client, _) = limited(ApiSettings::default(), Limits { sets_bytes_max: 4_000, ..Limits::default() }).await;
    let mut sets = watch(&client, None).await.unwrap();
    let Told::CompletedRevision(completed) = next(&mut sets).await.unwrap() else { panic!("not completed") };
    let ending = |number: usize| format!("document:{number}#viewer@user:a[expiration:2999-01-01T00:00:00Z]");
    write(&client, (0..10).map(ending)).await;
    for number in 0..10 {
        let Told::Change(change) = next(&mut sets).await.unwrap() else { panic!("not a change") };
        assert_eq!(added(&change), format!("document:{number} a"));
    }
    assert!(matches!(next(&mut sets).await.unwrap(), Told::CompletedRevision(_)));
    write(&client, (10..100).map(ending)).await;
    let refused = next(&mut sets).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("`sets_bytes_max` of 4000"), "{refused}");
    // Whoever comes back is told the same, not something that is wrong.
    let mut sets = watch(&client, Some(completed)).await.unwrap();
    let refused = loop {
        match next(&mut sets).await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert!(refused.message().contains("`sets_bytes_max` of 4000"), "{refused}");
}

#[tokio::test]
async fn malformed_requests_are_refused_with_their_field() {
    let client = server(ApiSettings::default()).await;
    let bad = Some(v1::ZedToken { token: "no token".to_owned() });
    let status = watch(&client, bad).await.unwrap_err();
    assert!(status.message().contains("optional_starting_after"), "{status}");
    let mut permissions = WatchPermissionsServiceClient::new(client.clone());
    let none = wire::WatchPermissionsRequest::default();
    let status = permissions.watch_permissions(none).await.unwrap_err();
    assert_eq!((status.code(), status.message().contains("`permissions`")), (Code::InvalidArgument, true), "{status}");
    let other = wire::WatchedPermission {
        resource_type: "document".to_owned(),
        permission: "edit".to_owned(),
        subject_type: "user".to_owned(),
        optional_subject_relation: String::new(),
    };
    let other = wire::WatchPermissionsRequest { permissions: vec![other], ..Default::default() };
    let status = permissions.watch_permissions(other).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("document#edit@user"), "{status}");
    let mut request = Request::new(wire::WatchPermissionSetsRequest::default());
    request.metadata_mut().insert("stonetown-watch-from", "yesterday".parse().unwrap());
    let mut sets = WatchPermissionSetsServiceClient::new(client);
    assert_eq!(sets.watch_permission_sets(request).await.unwrap_err().code(), Code::InvalidArgument);
    let cursor = wire::Cursor { cursor: "no cursor".to_owned(), ..Default::default() };
    let request =
        wire::LookupPermissionSetsRequest { optional_starting_after_cursor: Some(cursor), ..Default::default() };
    let status = sets.lookup_permission_sets(request).await.unwrap_err();
    assert!(status.message().contains("optional_starting_after_cursor.cursor"), "{status}");
    let download = sets.download_permission_sets(wire::DownloadPermissionSetsRequest::default()).await;
    assert_eq!(download.unwrap_err().code(), Code::FailedPrecondition, "no files are offered here");
}
