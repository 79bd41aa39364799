//! Cursors of a real server: what keeps them good, and who may not use them.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::StreamExt;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{Client, object, relationship};
use stonetown_tests::server::{KEY, Server, Store, binary};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const SCHEMA: &str = "
definition user {}
definition document {
  relation viewer: user
  permission view = viewer
}";

const DOCUMENTS: usize = 5;

/// All calls that take a cursor.
const CALLS: [Call; 4] = [Call::Read, Call::Export, Call::Resources, Call::Subjects];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Read,
    Export,
    Resources,
    Subjects,
}

/// A page of one result: how many it has, and its cursor.
type Page = Result<(usize, wire::Cursor), Status>;

async fn start(directory: &Path, flags: &[&str]) -> Server {
    let flags = [&["--grpc-preshared-key", "other-key"], flags].concat();
    Server::start(&binary().unwrap(), Store::RocksDb(&directory.join("data")), &flags, &[]).await.unwrap()
}

async fn prepare(client: &mut Client) {
    client.write_schema(SCHEMA).await.unwrap();
    let names: Vec<_> = (0..DOCUMENTS).map(|number| number.to_string()).collect();
    let seen = names.iter().map(|name| relationship(("document", name), "viewer", ("user", "ann")));
    let seeing = names.iter().map(|name| relationship(("document", "0"), "viewer", ("user", name)));
    client.write(seen.chain(seeing).collect::<Vec<_>>(), []).await.unwrap();
}

async fn page(client: &mut Client, call: Call, cursor: Option<&wire::Cursor>) -> Page {
    let optional_cursor = cursor.cloned();
    let permissions = &mut client.permissions;
    match call {
        Call::Read => {
            let relationship_filter =
                Some(wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() });
            let request = wire::ReadRelationshipsRequest {
                relationship_filter,
                optional_limit: 1,
                optional_cursor,
                ..Default::default()
            };
            last(permissions.read_relationships(request).await?.into_inner(), |page| page.after_result_cursor).await
        }
        Call::Export => {
            let request =
                wire::ExportBulkRelationshipsRequest { optional_limit: 1, optional_cursor, ..Default::default() };
            let batches = permissions.export_bulk_relationships(request).await?.into_inner();
            last(batches.take(1), |batch| batch.after_result_cursor).await
        }
        Call::Resources => {
            let request = wire::LookupResourcesRequest {
                resource_object_type: "document".to_owned(),
                permission: "view".to_owned(),
                subject: Some(wire::SubjectReference {
                    object: Some(object("user", "ann")),
                    optional_relation: String::new(),
                }),
                optional_limit: 1,
                optional_cursor,
                ..Default::default()
            };
            last(permissions.lookup_resources(request).await?.into_inner(), |found| found.after_result_cursor).await
        }
        Call::Subjects => {
            let request = wire::LookupSubjectsRequest {
                resource: Some(object("document", "0")),
                permission: "view".to_owned(),
                subject_object_type: "user".to_owned(),
                optional_concrete_limit: 1,
                optional_cursor,
                ..Default::default()
            };
            last(permissions.lookup_subjects(request).await?.into_inner(), |found| found.after_result_cursor).await
        }
    }
}

async fn last<T>(
    mut answers: impl futures::Stream<Item = Result<T, Status>> + Unpin,
    cursor: impl Fn(T) -> Option<wire::Cursor>,
) -> Page {
    let (mut count, mut after) = (0, wire::Cursor::default());
    while let Some(answer) = answers.next().await {
        after = cursor(answer?).unwrap();
        count += 1;
    }
    Ok((count, after))
}

/// The listing has to begin again, and clients know it by the reason.
fn assert_refused(page: Page) {
    let status = page.unwrap_err();
    assert!([Code::FailedPrecondition, Code::InvalidArgument].contains(&status.code()), "{status}");
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "ERROR_REASON_INVALID_CURSOR", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_stay_good_over_a_restart_and_end_with_their_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("data.keys/cursor.key");
    let server = start(directory.path(), &[]).await;
    let mut client = Client::connect(&server.address).await.unwrap();
    prepare(&mut client).await;
    let mut cursors = Vec::new();
    for call in CALLS {
        cursors.push(page(&mut client, call, None).await.unwrap().1);
    }
    server.kill().await.unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    // Whether decisions are recorded makes no difference.
    let server = start(directory.path(), &["--audit=false"]).await;
    let mut client = Client::connect(&server.address).await.unwrap();
    for (call, cursor) in CALLS.into_iter().zip(&cursors) {
        assert_eq!(page(&mut client, call, Some(cursor)).await.unwrap().0, 1, "{call:?}");
    }
    server.kill().await.unwrap();

    std::fs::remove_file(&key).unwrap();
    let server = start(directory.path(), &[]).await;
    let mut client = Client::connect(&server.address).await.unwrap();
    for (call, cursor) in CALLS.into_iter().zip(&cursors) {
        let refused = page(&mut client, call, Some(cursor)).await;
        assert_eq!(refused.as_ref().unwrap_err().code(), Code::FailedPrecondition);
        assert_refused(refused);
        assert_eq!(page(&mut client, call, None).await.unwrap().0, 1);
    }
    server.kill().await.unwrap();

    std::fs::write(&key, "stonetown log key 1\nAAAA\n").unwrap();
    let data = directory.path().join("data");
    assert!(Server::start(&binary().unwrap(), Store::RocksDb(&data), &[], &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_cursor_and_that_of_another_caller_call_or_question_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[]).await;
    let mut client = Client::connect_as(&server.address, KEY).await.unwrap();
    let mut other = Client::connect_as(&server.address, "other-key").await.unwrap();
    prepare(&mut client).await;
    for call in CALLS {
        let (_, cursor) = page(&mut client, call, None).await.unwrap();
        assert_refused(page(&mut other, call, Some(&cursor)).await);
        for wrong in CALLS.into_iter().filter(|wrong| *wrong != call) {
            assert_refused(page(&mut client, wrong, Some(&cursor)).await);
        }
        for at in 0..cursor.token.len() {
            let mut text = cursor.token.clone().into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            let altered = wire::Cursor { token: String::from_utf8(text).unwrap() };
            assert_refused(page(&mut client, call, Some(&altered)).await);
        }
        assert_eq!(page(&mut client, call, Some(&cursor)).await.unwrap().0, 1, "{call:?}");
    }

    let (_, cursor) = page(&mut client, Call::Read, None).await.unwrap();
    let question = wire::ReadRelationshipsRequest {
        relationship_filter: Some(wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            optional_resource_id: "3".to_owned(),
            ..Default::default()
        }),
        optional_cursor: Some(cursor),
        ..Default::default()
    };
    let answers = client.permissions.read_relationships(question).await;
    assert_refused(match answers {
        Ok(answers) => last(answers.into_inner(), |page| page.after_result_cursor).await,
        Err(status) => Err(status),
    });
}
