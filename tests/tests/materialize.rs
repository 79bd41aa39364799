//! Materialized permissions against a real server: told, listed, fetched, and followed through a restart.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use stonetown_api::client::relationship_to_wire;
use stonetown_api::proto::authzed::api::materialize::v0 as wire;
use stonetown_api::proto::authzed::api::v1;
use stonetown_tests::client::{Bearer, Client};
use stonetown_tests::server::{Server, Store, binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use wire::permission_change::Permissionship;
use wire::permission_set_change::{Child, SetOperation};
use wire::relationships_service_client::RelationshipsServiceClient;
use wire::watch_permission_sets_response::Response as Told;
use wire::watch_permission_sets_service_client::WatchPermissionSetsServiceClient;
use wire::watch_permissions_service_client::WatchPermissionsServiceClient;

const SCHEMA: &str = "
definition user {}
caveat workday(day string) { day != 'Sunday' }
definition group { relation member: user | group#member }
definition document {
  relation viewer: user | user:* | group#member | user with workday
  relation banned: user
  permission view = viewer
  permission read = viewer - banned
}";
const FLAGS: [&str; 2] = ["--materialize-permission", "document#view@user,document#read@user"];

type Sets = WatchPermissionSetsServiceClient<InterceptedService<Channel, Bearer>>;

struct Stage {
    server: Server,
    client: Client,
    channel: Channel,
}

impl Stage {
    async fn start(store: Store<'_>) -> Result<Stage> {
        let server = Server::start(&binary()?, store, &FLAGS, &[]).await?;
        let client = Client::connect(&server.address).await?;
        let channel = Endpoint::from_shared(format!("http://{}", server.address))?.connect().await?;
        Ok(Stage { server, client, channel })
    }

    fn sets(&self) -> Result<Sets> {
        Ok(WatchPermissionSetsServiceClient::with_interceptor(self.channel.clone(), Bearer::new()?))
    }

    async fn write(&mut self, touched: &[&str], deleted: &[&str]) -> Result<()> {
        let parse = |texts: &[&str]| texts.iter().map(|text| Ok(relationship_to_wire(text.parse()?))).collect();
        let (touched, deleted): (Result<Vec<_>>, Result<Vec<_>>) = (parse(touched), parse(deleted));
        self.client.write(touched?, deleted?).await?;
        Ok(())
    }

    async fn watch(&self, after: Option<v1::ZedToken>) -> Result<Streaming<wire::WatchPermissionSetsResponse>> {
        let request = wire::WatchPermissionSetsRequest { optional_starting_after: after };
        Ok(self.sets()?.watch_permission_sets(request).await?.into_inner())
    }

    /// Every child that a lookup lists, with how many pages it took.
    async fn lookup(&self, limit: u32) -> Result<(BTreeSet<String>, usize, v1::ZedToken)> {
        let (mut all, mut pages, mut at) = (BTreeSet::new(), 0, v1::ZedToken::default());
        let mut cursor: Option<wire::Cursor> = None;
        loop {
            let request = wire::LookupPermissionSetsRequest {
                limit,
                optional_starting_after_cursor: cursor,
                ..Default::default()
            };
            let mut page = self.sets()?.lookup_permission_sets(request).await?.into_inner();
            let (mut sent, mut last) = (0, None);
            while let Some(message) = page.message().await? {
                sent += 1;
                let change = message.change.context("no change")?;
                at = change.at_revision.clone().context("no revision")?;
                assert!(all.insert(text(&change)), "listed twice");
                last = message.cursor;
            }
            pages += 1;
            assert!(limit == 0 || sent <= limit, "{sent}");
            cursor = last;
            if cursor.as_ref().is_none_or(|cursor| cursor.completed_members) {
                return Ok((all, pages, at));
            }
        }
    }
}

/// What is told until a revision is completed, and the token.
async fn revision(stream: &mut Streaming<wire::WatchPermissionSetsResponse>) -> Result<(Vec<String>, v1::ZedToken)> {
    let mut told = Vec::new();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await?;
        match message?.context("the stream ended")?.response.context("empty")? {
            Told::Change(change) => {
                told.push(format!("{:?} {}", change.operation(), text(&change)));
            }
            Told::CompletedRevision(token) => return Ok((told, token)),
            other => bail!("{other:?}"),
        }
    }
}

/// The next revision that changes something.
async fn changes(stream: &mut Streaming<wire::WatchPermissionSetsResponse>) -> Result<(Vec<String>, v1::ZedToken)> {
    loop {
        let (told, token) = revision(stream).await?;
        if !told.is_empty() {
            return Ok((told, token));
        }
    }
}

fn text(change: &wire::PermissionSetChange) -> String {
    let set = |set: wire::SetReference| format!("{}:{}#{}", set.object_type, set.object_id, set.permission_or_relation);
    let child = match change.child.clone() {
        Some(Child::ChildSet(child)) => set(child),
        Some(Child::ChildMember(member)) => format!("{}:{}", member.object_type, member.object_id),
        None => "nothing".to_owned(),
    };
    format!("{} {child}", set(change.parent_set.clone().unwrap_or_default()))
}

#[tokio::test]
async fn sets_are_told_and_followed_through_a_restart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::RocksDb(directory.path());
    let mut stage = Stage::start(store).await?;
    stage.client.write_schema(SCHEMA).await?;
    let mut stream = stage.watch(None).await?;
    let (told, _) = revision(&mut stream).await?;
    assert_eq!(told, Vec::<String>::new(), "it begins with where it begins");
    stage.write(&["document:a#viewer@group:eng#member", "group:eng#member@user:ann"], &[]).await?;
    let (mut told, _) = changes(&mut stream).await?;
    told.sort();
    assert_eq!(
        told,
        ["Added document:a#read user:ann", "Added document:a#view group:eng#member", "Added group:eng#member user:ann"]
    );
    stage.write(&[], &["group:eng#member@user:ann"]).await?;
    let (told, token) = changes(&mut stream).await?;
    assert_eq!(told, ["Removed group:eng#member user:ann", "Removed document:a#read user:ann"]);

    stage.write(&["group:eng#member@user:bob"], &[]).await?;
    stage.server.kill().await?;
    let mut stage = Stage::start(store).await?;
    let mut stream = stage.watch(Some(token)).await?;
    let (told, _) = changes(&mut stream).await?;
    assert_eq!(told, ["Added group:eng#member user:bob", "Added document:a#read user:bob"]);
    stage.write(&["document:a#viewer@user:*"], &[]).await?;
    let (told, _) = changes(&mut stream).await?;
    assert_eq!(told, ["Added document:a#view user:*", "Added document:a#read user:*"]);
    Ok(())
}

#[tokio::test]
async fn permissions_are_told_one_by_one_with_what_is_in_doubt() -> Result<()> {
    let mut stage = Stage::start(Store::Memory).await?;
    stage.client.write_schema(SCHEMA).await?;
    stage.write(&["document:a#viewer@user:*", "document:a#viewer@user:ann"], &[]).await?;
    let mut client = WatchPermissionsServiceClient::with_interceptor(stage.channel.clone(), Bearer::new()?);
    let permission = wire::WatchedPermission {
        resource_type: "document".to_owned(),
        permission: "read".to_owned(),
        subject_type: "user".to_owned(),
        optional_subject_relation: String::new(),
    };
    let mut request =
        Request::new(wire::WatchPermissionsRequest { permissions: vec![permission], optional_starting_after: None });
    request.metadata_mut().insert("stonetown-watch-from", "start".parse()?);
    #[allow(deprecated)] // by the interface, in favour of sets
    let mut stream = client.watch_permissions(request).await?.into_inner();
    let mut told = Vec::new();
    let mut writes = [
        &["document:a#banned@user:eve"][..],
        &["document:b#viewer@user:bob[workday]"],
        &["document:b#viewer@user:bob[workday:{\"day\":\"Monday\"}]"],
    ]
    .into_iter();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await??;
        match message.context("the stream ended")?.response.context("empty")? {
            wire::watch_permissions_response::Response::Change(change) => {
                let (resource, subject) = (change.resource.clone(), change.subject.clone());
                let (resource, subject) = (resource.unwrap_or_default(), subject.unwrap_or_default());
                let subject = subject.object.unwrap_or_default().object_id;
                told.push((resource.object_id, subject, change.permissionship()));
            }
            wire::watch_permissions_response::Response::CompletedRevision(_) => match writes.next() {
                Some(write) => stage.write(write, &[]).await?,
                None => break,
            },
        }
    }
    use Permissionship::{ConditionalPermission, HasPermission};
    let expected = [
        ("a", "*", HasPermission),
        ("a", "ann", HasPermission),
        ("a", "*", ConditionalPermission),
        ("b", "bob", ConditionalPermission),
        ("b", "bob", HasPermission),
    ];
    let told: Vec<_> = told.iter().map(|(a, b, is)| (a.as_str(), b.as_str(), *is)).collect();
    assert_eq!(told, expected);
    Ok(())
}

#[tokio::test]
async fn a_lookup_comes_in_pages_and_a_file_holds_the_same() -> Result<()> {
    let mut stage = Stage::start(Store::Memory).await?;
    stage.client.write_schema(SCHEMA).await?;
    let texts: Vec<String> = (0..40).map(|n| format!("document:{}#viewer@user:u{n}", n % 7)).collect();
    stage.write(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await?;
    stage.write(&["document:1#viewer@group:eng#member", "group:eng#member@user:ann"], &[]).await?;
    let (all, pages, at) = stage.lookup(0).await?;
    assert_eq!((all.len(), pages), (83, 1), "view and read of 41, the group's set and its member");
    let (paged, pages, _) = stage.lookup(10).await?;
    assert_eq!((paged, pages), (all.clone(), 9));
    let (paged, pages, _) = stage.lookup(83).await?;
    assert_eq!((paged.len(), pages), (83, 1), "a page that ends where the sets end says so");

    // A cursor goes on at its own revision, and is over when it says so.
    let first = wire::LookupPermissionSetsRequest { limit: 10, ..Default::default() };
    let mut page = stage.sets()?.lookup_permission_sets(first.clone()).await?.into_inner();
    let mut cursor = None;
    while let Some(message) = page.message().await? {
        cursor = message.cursor;
    }
    stage.write(&["document:later#viewer@user:ann"], &[]).await?;
    let (_, _, later) = stage.lookup(0).await?;
    let mut next = wire::LookupPermissionSetsRequest { optional_starting_after_cursor: cursor, ..first };
    next.optional_at_revision = Some(later);
    let refused = stage.sets()?.lookup_permission_sets(next.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("optional_at_revision"), "{refused}");
    next.optional_at_revision = Some(at.clone());
    assert!(stage.sets()?.lookup_permission_sets(next.clone()).await?.into_inner().message().await?.is_some());
    next.optional_starting_after_cursor.as_mut().context("a cursor")?.completed_members = true;
    assert!(stage.sets()?.lookup_permission_sets(next).await?.into_inner().message().await?.is_none());

    let request = wire::DownloadPermissionSetsRequest { optional_at_revision: Some(at.clone()) };
    let offered = stage.sets()?.download_permission_sets(request).await?.into_inner();
    assert_eq!(offered.at_revision, Some(at));
    let [file] = offered.files.as_slice() else { bail!("{:?}", offered.files) };
    let path = file.url.strip_prefix(&format!("http://{}", stage.server.address)).context("elsewhere")?;
    let (head, body) = get(&stage.server.address, "GET", path).await?;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/x-ndjson"), "{head}");
    let mut lines = BTreeSet::new();
    for line in body.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(line["operation"], SetOperation::Added.as_str_name());
        let name = |json: &serde_json::Value| {
            let [kind, id, relation] =
                ["objectType", "objectId", "permissionOrRelation"].map(|key| json[key].as_str().unwrap_or_default());
            if relation.is_empty() { format!("{kind}:{id}") } else { format!("{kind}:{id}#{relation}") }
        };
        let child = if line["childSet"].is_null() { &line["childMember"] } else { &line["childSet"] };
        lines.insert(format!("{} {}", name(&line["parentSet"]), name(child)));
    }
    assert_eq!(lines, all);

    for (method, path, code) in [
        ("GET", path.replace("signature=", "signature=A"), "403"),
        ("GET", path.split('?').next().unwrap_or_default().to_owned(), "403"),
        ("POST", path.to_owned(), "405"),
    ] {
        let (head, _) = get(&stage.server.address, method, &path).await?;
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{method} {path}: {head}");
    }
    Ok(())
}

/// What a stream is refused with, at once or in the place of its first message.
async fn refusal<T>(answer: Result<tonic::Response<Streaming<T>>, tonic::Status>) -> Option<tonic::Status> {
    match answer {
        Ok(stream) => stream.into_inner().message().await.err(),
        Err(status) => Some(status),
    }
}

/// Without a log nothing that is strict is answered: neither where sets are followed, listed or fetched.
#[tokio::test]
async fn sets_that_are_strict_are_not_told_where_nothing_can_be_recorded() -> Result<()> {
    let mut stage = Stage::start(Store::Memory).await?;
    stage.client.write_schema(SCHEMA).await?;
    stage.write(&["document:a#viewer@user:ann"], &[]).await?;
    assert!(stage.watch(None).await?.message().await?.is_some());
    assert!(!stage.lookup(0).await?.0.is_empty());

    let strict = SCHEMA.replace("permission view", "// @stonetown audit(strict)\n  permission view");
    stage.client.write_schema(&strict).await?;
    let mut refused = Vec::new();
    let watch = wire::WatchPermissionSetsRequest::default();
    refused.push(refusal(stage.sets()?.watch_permission_sets(watch).await).await);
    let lookup = wire::LookupPermissionSetsRequest::default();
    refused.push(refusal(stage.sets()?.lookup_permission_sets(lookup).await).await);
    refused.push(stage.sets()?.download_permission_sets(wire::DownloadPermissionSetsRequest::default()).await.err());
    let mut client = WatchPermissionsServiceClient::with_interceptor(stage.channel.clone(), Bearer::new()?);
    let mut ask = async |permission: &str| {
        let permission = wire::WatchedPermission {
            resource_type: "document".to_owned(),
            permission: permission.to_owned(),
            subject_type: "user".to_owned(),
            optional_subject_relation: String::new(),
        };
        let mut request = Request::new(wire::WatchPermissionsRequest {
            permissions: vec![permission],
            optional_starting_after: None,
        });
        request.metadata_mut().insert("stonetown-watch-from", "start".parse()?);
        #[allow(deprecated)] // by the interface, in favour of sets
        let watched = client.watch_permissions(request).await;
        anyhow::Ok(refusal(watched).await)
    };
    refused.push(ask("view").await?);
    for (at, refused) in refused.into_iter().enumerate() {
        let refused = refused.with_context(|| format!("number {at} was answered"))?;
        assert_eq!(refused.code(), tonic::Code::Unavailable, "number {at}: {refused}");
        assert!(refused.message().contains("this server keeps no log"), "number {at}: {refused}");
    }
    assert!(ask("read").await?.is_none(), "what is not strict is told");
    Ok(())
}

#[tokio::test]
async fn relationships_are_counted() -> Result<()> {
    let mut stage = Stage::start(Store::Memory).await?;
    stage.client.write_schema(SCHEMA).await?;
    stage
        .write(&["document:a#viewer@user:ann", "document:b#viewer@user:ann", "group:eng#member@user:ann"], &[])
        .await?;
    let mut client = RelationshipsServiceClient::with_interceptor(stage.channel.clone(), Bearer::new()?);
    let filter = v1::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
    let request = wire::ExperimentalCountRelationshipsByFilterRequest { relationship_filter: Some(filter) };
    let counted = client.experimental_count_relationships_by_filter(request).await?.into_inner();
    assert_eq!(counted.relationship_count, 2);
    assert!(counted.read_at.is_some());
    let empty = wire::ExperimentalCountRelationshipsByFilterRequest::default();
    let refused = client.experimental_count_relationships_by_filter(empty).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    Ok(())
}

/// A request by hand, and the whole answer: its head, and its body put together.
async fn get(address: &str, method: &str, path: &str) -> Result<(String, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, rest) = answer.split_once("\r\n\r\n").context("no head")?;
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return Ok((head.to_owned(), rest.to_owned()));
    }
    let (mut body, mut rest) = (String::new(), rest);
    loop {
        let (size, chunk) = rest.split_once("\r\n").context("a chunk without a size: the body was broken off")?;
        let size = usize::from_str_radix(size.trim(), 16)?;
        if size == 0 {
            return Ok((head.to_owned(), body));
        }
        body.push_str(chunk.get(..size).context("a chunk was broken off")?);
        rest = chunk.get(size + 2..).context("a chunk was broken off")?;
    }
}
