//! The call sequences of `zed`, command by command: which calls it makes in which order, with which metadata, what it takes
//! from the answers for its next call, and when it tries again. `zed` itself is not at hand; what it does is known from its
//! documentation and from the metadata it sends.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_tests::client::{at_exactly, fully_consistent, object, relationship, text};
use stonetown_tests::server::{KEY, Server, Store, binary};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use wire::delete_relationships_response::DeletionProgress;
use wire::permissions_service_client::PermissionsServiceClient;
use wire::relationship_update::Operation;
use wire::schema_service_client::SchemaServiceClient;
use wire::watch_service_client::WatchServiceClient;

const SCHEMA: &str = "use expiration

caveat on_day(day string) {
  day == \"tuesday\"
}

definition user {}

definition group {
  relation member: user
}

definition document {
  relation viewer: user | group#member | user with on_day | user with expiration
  permission view = viewer
}";

/// Tries of a call, as `--max-retries` has it.
const TRIES_MAX: usize = 10;

/// The command line tool, as a server sees it.
struct Zed {
    permissions: PermissionsServiceClient<Channel>,
    schema: SchemaServiceClient<Channel>,
    watch: WatchServiceClient<Channel>,
}

impl Zed {
    async fn new(address: &str) -> Zed {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        // `--max-message-size`.
        let permissions = PermissionsServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        Zed { permissions, schema: SchemaServiceClient::new(channel.clone()), watch: WatchServiceClient::new(channel) }
    }

    /// What every command sends: the key, that the version is wanted, `--request-id`.
    fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        metadata.insert("io.spicedb.requestversion", MetadataValue::from_static("1"));
        metadata.insert("x-request-id", MetadataValue::from_static("zed-17"));
        request
    }

    /// `schema read`, and the first call of many other commands.
    async fn read_schema(&mut self) -> Result<wire::ReadSchemaResponse, Status> {
        told(self.schema.read_schema(Self::request(wire::ReadSchemaRequest {})).await)
    }

    /// `schema write`: reads first, for the prefix of the definitions that are there.
    async fn write_schema(&mut self, schema: &str) -> Result<wire::ZedToken, Status> {
        match self.read_schema().await {
            Ok(_) => {}
            Err(error) if error.code() == Code::NotFound => {}
            Err(error) => return Err(error),
        }
        let request = Self::request(wire::WriteSchemaRequest { schema: schema.to_owned() });
        Ok(told(self.schema.write_schema(request).await)?.written_at.unwrap())
    }

    /// `relationship create`, `touch` and `delete`, in batches.
    async fn write(
        &mut self,
        operation: Operation,
        all: &[wire::Relationship],
        batch: usize,
    ) -> Result<wire::ZedToken, Status> {
        let mut token = wire::ZedToken::default();
        for batch in all.chunks(batch) {
            let update = |relationship: &wire::Relationship| wire::RelationshipUpdate {
                operation: operation.into(),
                relationship: Some(relationship.clone()),
            };
            let updates = batch.iter().map(update).collect();
            let request = wire::WriteRelationshipsRequest { updates, ..Default::default() };
            token = told(self.permissions.write_relationships(Self::request(request)).await)?.written_at.unwrap();
        }
        Ok(token)
    }

    /// `permission check`; `--explain` asks in both ways.
    async fn check(
        &mut self,
        resource: (&str, &str),
        user: &str,
        explain: bool,
    ) -> Result<wire::CheckPermissionResponse, Status> {
        let mut request = Self::request(wire::CheckPermissionRequest {
            consistency: Some(fully_consistent()),
            resource: Some(object(resource.0, resource.1)),
            permission: "view".to_owned(),
            subject: Some(subject(user)),
            with_tracing: explain,
            ..Default::default()
        });
        if explain {
            request.metadata_mut().insert("io.spicedb.requestdebuginfo", MetadataValue::from_static("1"));
        }
        told(self.permissions.check_permission(request).await)
    }

    /// `relationship read --page-limit`: pages until one is not full.
    async fn read(&mut self, kind: &str, page: u32) -> Result<(BTreeSet<String>, usize), Status> {
        let (mut found, mut pages, mut cursor) = (BTreeSet::new(), 0, None);
        loop {
            let request = Self::request(wire::ReadRelationshipsRequest {
                relationship_filter: Some(filter(kind)),
                optional_limit: page,
                optional_cursor: cursor.take(),
                ..Default::default()
            });
            let rows: Vec<_> = self.permissions.read_relationships(request).await?.into_inner().try_collect().await?;
            pages += 1;
            cursor = rows.last().and_then(|row| row.after_result_cursor.clone());
            found.extend(rows.iter().map(|row| text(row.relationship.as_ref().unwrap())));
            if page == 0 || rows.len() < page as usize {
                return Ok((found, pages));
            }
        }
    }

    /// `permission lookup-resources --page-limit`.
    async fn lookup_resources(&mut self, user: &str, page: u32) -> Result<Vec<String>, Status> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let request = Self::request(wire::LookupResourcesRequest {
                consistency: Some(fully_consistent()),
                resource_object_type: "document".to_owned(),
                permission: "view".to_owned(),
                subject: Some(subject(user)),
                optional_limit: page,
                optional_cursor: cursor.take(),
                ..Default::default()
            });
            let rows: Vec<_> = self.permissions.lookup_resources(request).await?.into_inner().try_collect().await?;
            cursor = rows.last().and_then(|row| row.after_result_cursor.clone());
            let full = rows.len() == page as usize;
            found.extend(rows.into_iter().map(|row| row.resource_object_id));
            if page == 0 || !full {
                return Ok(found);
            }
        }
    }

    /// `relationship bulk-delete`: partial deletions until nothing is left; how many calls that took.
    async fn bulk_delete(&mut self, kind: &str, limit: u32) -> Result<usize, Status> {
        for calls in 1.. {
            let request = Self::request(wire::DeleteRelationshipsRequest {
                relationship_filter: Some(filter(kind)),
                optional_limit: limit,
                optional_allow_partial_deletions: limit > 0,
                ..Default::default()
            });
            let answer = told(self.permissions.delete_relationships(request).await)?;
            if answer.deletion_progress() == DeletionProgress::Complete {
                return Ok(calls);
            }
        }
        unreachable!()
    }

    /// `relationship watch`: with schema changes and checkpoints, from `--revision` or from the last answer before the stream
    /// broke off.
    async fn watch(&mut self, after: Option<wire::ZedToken>) -> Result<Streaming<wire::WatchResponse>, Status> {
        let request = Self::request(wire::WatchRequest {
            optional_object_types: vec!["document".to_owned()],
            optional_start_cursor: after,
            optional_update_kinds: vec![
                wire::WatchKind::IncludeRelationshipUpdates.into(),
                wire::WatchKind::IncludeSchemaUpdates.into(),
                wire::WatchKind::IncludeCheckpoints.into(),
            ],
            ..Default::default()
        });
        Ok(self.watch.watch(request).await?.into_inner())
    }

    /// `backup create`: the schema, then everything at exactly its token; broken off after `stop_after` batches, it goes on
    /// from the last cursor.
    async fn backup(&mut self, batch: u32, stop_after: usize) -> Result<(String, Vec<wire::Relationship>), Status> {
        let schema = self.read_schema().await?;
        let consistency = at_exactly(&schema.read_at.unwrap());
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let request = Self::request(wire::ExportBulkRelationshipsRequest {
                consistency: Some(consistency.clone()),
                optional_limit: batch,
                optional_cursor: cursor.clone(),
                ..Default::default()
            });
            let mut batches = self.permissions.export_bulk_relationships(request).await?.into_inner();
            let mut broke_off = false;
            for seen in 0.. {
                if seen == stop_after {
                    broke_off = true;
                    break;
                }
                let Some(batch) = batches.next().await.transpose()? else { break };
                cursor = batch.after_result_cursor;
                found.extend(batch.relationships);
            }
            if !broke_off {
                return Ok((schema.schema_text, found));
            }
        }
    }

    /// `backup restore`: the schema, then a transaction for each ten batches. What meets a conflict goes by the strategy: it
    /// fails, or is touched batch by batch.
    async fn restore(
        &mut self,
        schema: &str,
        all: &[wire::Relationship],
        batch: usize,
        touch: bool,
    ) -> Result<u64, Status> {
        self.write_schema(schema).await?;
        let mut loaded = 0;
        for transaction in all.chunks(batch * 10) {
            let batches: Vec<_> = transaction
                .chunks(batch)
                .map(|batch| wire::ImportBulkRelationshipsRequest { relationships: batch.to_vec() })
                .collect();
            let importing = Self::request(futures::stream::iter(batches));
            match told(self.permissions.import_bulk_relationships(importing).await) {
                Ok(answer) => loaded += answer.num_loaded,
                Err(error) if error.code() == Code::AlreadyExists && touch => {
                    self.write(Operation::Touch, transaction, batch).await?;
                    loaded += transaction.len() as u64;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }
}

/// Looks at what every answer tells: the version once, under either name for header and trailer; the request's id; what
/// the call cost.
fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, Status> {
    let check = |metadata: &MetadataMap| {
        let all: Vec<_> = metadata.get_all("io.spicedb.debug.version").iter().collect();
        assert_eq!(all.len(), 1, "{metadata:?}");
        let version = all[0].to_str().unwrap().strip_prefix('v').unwrap();
        assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version}");
        assert_eq!(metadata.get("x-request-id").unwrap(), "zed-17");
        for count in ["dispatchedoperationscount", "cachedoperationscount"] {
            let count = metadata.get(format!("io.spicedb.respmeta.{count}")).unwrap();
            assert!(count.to_str().unwrap().parse::<u64>().is_ok(), "{count:?}");
        }
    };
    match answer {
        Ok(answer) => {
            check(answer.metadata());
            Ok(answer.into_inner())
        }
        Err(status) => {
            // A server that is not there tells nothing.
            if status.code() != Code::Unavailable {
                check(status.metadata());
            }
            Err(status)
        }
    }
}

fn subject(user: &str) -> wire::SubjectReference {
    wire::SubjectReference { object: Some(object("user", user)), optional_relation: String::new() }
}

fn filter(kind: &str) -> wire::RelationshipFilter {
    wire::RelationshipFilter { resource_type: kind.to_owned(), ..Default::default() }
}

fn documents(count: usize) -> Vec<wire::Relationship> {
    (0..count).map(|n| relationship(("document", &format!("d{n:05}")), "viewer", ("user", "ann"))).collect()
}

async fn started() -> (Server, Zed) {
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    let zed = Zed::new(&server.address).await;
    (server, zed)
}

#[tokio::test(flavor = "multi_thread")]
async fn version_schema_read_write_and_copy() {
    let (_server, mut zed) = started().await;
    // `version` only wants the trailer, which comes with the refusal as well.
    assert_eq!(zed.read_schema().await.unwrap_err().code(), Code::NotFound);
    zed.write_schema(SCHEMA).await.unwrap();
    let read = zed.read_schema().await.unwrap();
    // `schema copy`: what was read is written elsewhere, and is the same there.
    let (_other, mut copy) = started().await;
    copy.write_schema(&read.schema_text).await.unwrap();
    assert_eq!(copy.read_schema().await.unwrap().schema_text, read.schema_text);
    let error = zed.write_schema("definition {").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_tell_its_version_tells_it_nowhere() {
    let server = Server::start(&binary().unwrap(), Store::Memory, &["--disable-version-response"], &[]).await.unwrap();
    let mut zed = Zed::new(&server.address).await;
    let answer = zed.schema.write_schema(Zed::request(wire::WriteSchemaRequest { schema: SCHEMA.to_owned() })).await;
    assert!(answer.unwrap().metadata().get("io.spicedb.debug.version").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_check_explain_expand_bulk_and_lookups() {
    let (_server, mut zed) = started().await;
    zed.write_schema(SCHEMA).await.unwrap();
    let member = relationship(("group", "staff"), "member", ("user", "bob"));
    let mut by_group = relationship(("document", "plan"), "viewer", ("group", "staff"));
    by_group.subject.as_mut().unwrap().optional_relation = "member".to_owned();
    let mut caveated = relationship(("document", "plan"), "viewer", ("user", "carl"));
    caveated.optional_caveat = Some(wire::ContextualizedCaveat { caveat_name: "on_day".to_owned(), context: None });
    zed.write(Operation::Create, &[member, by_group, caveated], 100).await.unwrap();
    zed.write(Operation::Create, &documents(1), 100).await.unwrap();
    let again = zed.write(Operation::Create, &documents(1), 100).await;
    assert_eq!(again.unwrap_err().code(), Code::AlreadyExists);

    let plain = zed.check(("document", "plan"), "bob", false).await.unwrap();
    assert_eq!((plain.permissionship, plain.debug_trace), (2, None));
    let traced = zed.check(("document", "plan"), "bob", true).await.unwrap();
    let trace = traced.debug_trace.unwrap().check.unwrap();
    assert_eq!((trace.permission.as_str(), trace.result), ("view", 2));
    assert!(trace.duration.is_some());
    let Some(wire::check_debug_trace::Resolution::SubProblems(below)) = trace.resolution else { panic!("no steps") };
    assert_eq!(below.traces[0].permission, "viewer");
    let conditional = zed.check(("document", "plan"), "carl", true).await.unwrap();
    assert_eq!(conditional.partial_caveat_info.unwrap().missing_required_context, ["day"]);
    // The old header alone is enough.
    let mut old = Zed::request(wire::CheckPermissionRequest {
        resource: Some(object("document", "plan")),
        permission: "view".to_owned(),
        subject: Some(subject("bob")),
        ..Default::default()
    });
    old.metadata_mut().insert("io.spicedb.requestdebuginfo", MetadataValue::from_static("1"));
    assert!(told(zed.permissions.check_permission(old).await).unwrap().debug_trace.is_some());

    let item = |user: &str| wire::CheckBulkPermissionsRequestItem {
        resource: Some(object("document", "plan")),
        permission: "view".to_owned(),
        subject: Some(subject(user)),
        ..Default::default()
    };
    let bulk = wire::CheckBulkPermissionsRequest { items: vec![item("bob"), item("ann")], ..Default::default() };
    assert_eq!(told(zed.permissions.check_bulk_permissions(Zed::request(bulk)).await).unwrap().pairs.len(), 2);
    let expand = wire::ExpandPermissionTreeRequest {
        resource: Some(object("document", "plan")),
        permission: "view".to_owned(),
        ..Default::default()
    };
    assert!(told(zed.permissions.expand_permission_tree(Zed::request(expand)).await).unwrap().tree_root.is_some());
    let subjects = wire::LookupSubjectsRequest {
        resource: Some(object("document", "plan")),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    let rows = zed.permissions.lookup_subjects(Zed::request(subjects)).await.unwrap().into_inner();
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn relationships_are_written_in_batches_read_in_pages_and_deleted_in_parts() {
    let (_server, mut zed) = started().await;
    zed.write_schema(SCHEMA).await.unwrap();
    zed.write(Operation::Touch, &documents(450), 100).await.unwrap();
    let (all, pages) = zed.read("document", 100).await.unwrap();
    assert_eq!((all.len(), pages), (450, 5));
    // A last page that is full is followed by an empty one.
    let (again, pages) = zed.read("document", 150).await.unwrap();
    assert_eq!((&again, pages), (&all, 4));
    assert_eq!(zed.read("document", 0).await.unwrap(), (all.clone(), 1));
    for page in [0, 7, 450] {
        let found = zed.lookup_resources("ann", page).await.unwrap();
        assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len()), (450, 450), "{page}");
    }
    zed.write(Operation::Delete, &documents(50), 100).await.unwrap();
    assert_eq!(zed.bulk_delete("document", 100).await.unwrap(), 4);
    assert_eq!(zed.read("document", 100).await.unwrap(), (BTreeSet::new(), 1));
    assert_eq!(zed.bulk_delete("document", 0).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_of_one_moment_goes_on_where_it_broke_off_and_is_restored() {
    let (_server, mut zed) = started().await;
    zed.write_schema(SCHEMA).await.unwrap();
    zed.write(Operation::Touch, &documents(2500), 1000).await.unwrap();
    // Written between the two calls of a backup: not in it.
    let token = zed.read_schema().await.unwrap().read_at.unwrap();
    zed.write(Operation::Touch, &[relationship(("document", "late"), "viewer", ("user", "ann"))], 100).await.unwrap();
    let request = wire::ExportBulkRelationshipsRequest { consistency: Some(at_exactly(&token)), ..Default::default() };
    let batches = zed.permissions.export_bulk_relationships(Zed::request(request)).await.unwrap().into_inner();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.relationships.len()).sum::<usize>(), 2500);
    zed.write(Operation::Delete, &[relationship(("document", "late"), "viewer", ("user", "ann"))], 100).await.unwrap();

    let (schema, whole) = zed.backup(1000, usize::MAX).await.unwrap();
    let (_, in_parts) = zed.backup(300, 2).await.unwrap();
    assert_eq!((whole.len(), &in_parts), (2500, &whole));

    let (_other, mut new) = started().await;
    assert_eq!(new.restore(&schema, &whole, 100, false).await.unwrap(), 2500);
    assert_eq!(new.backup(1000, usize::MAX).await.unwrap(), (schema.clone(), whole.clone()));
    // Again: everything is there. `fail` fails, `touch` touches.
    assert_eq!(new.restore(&schema, &whole, 100, false).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(new.restore(&schema, &whole, 100, true).await.unwrap(), 2500);
    assert_eq!(new.backup(1000, usize::MAX).await.unwrap().1.len(), 2500);
}

/// What is heard until a document is touched or deleted; its id, whether the schema changed before, and where to go on.
async fn heard(stream: &mut Streaming<wire::WatchResponse>) -> Result<(String, bool, wire::ZedToken), Status> {
    let mut schema = false;
    loop {
        let answer = stream.next().await.unwrap_or_else(|| Err(Status::unavailable("the stream ended")))?;
        let through = answer.changes_through.clone().unwrap();
        schema |= answer.schema_updated;
        assert!(!answer.is_checkpoint || answer.updates.is_empty(), "{answer:?}");
        if let Some(update) = answer.updates.first() {
            return Ok((text(update.relationship.as_ref().unwrap()), schema, through));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_the_server_was_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::RocksDb(folder.path());
    let server = Server::start(&binary().unwrap(), store, &["--watch-api-heartbeat", "100ms"], &[]).await.unwrap();
    let address = server.address.clone();
    let mut zed = Zed::new(&address).await;
    let begun = zed.write_schema(SCHEMA).await.unwrap();
    let mut watching = zed.watch(Some(begun)).await.unwrap();
    zed.write_schema(&format!("{SCHEMA}\n\ndefinition robot {{}}")).await.unwrap();
    zed.write(Operation::Create, &documents(1), 100).await.unwrap();
    let (first, schema, through) = heard(&mut watching).await.unwrap();
    assert_eq!((first.as_str(), schema), ("document:d00000#viewer@user:ann", true));

    server.kill().await.unwrap();
    let error = heard(&mut watching).await.unwrap_err();
    assert!([Code::Unavailable, Code::Unknown].contains(&error.code()), "{error}");
    assert_eq!(zed.watch(Some(through.clone())).await.unwrap_err().code(), Code::Unavailable);
    let restarted = Server::start_at(&address, &binary().unwrap(), store, &[], &[]).await.unwrap();
    zed.write(Operation::Delete, &documents(1), 100).await.unwrap();
    let mut watching = zed.watch(Some(through)).await.unwrap();
    let (next, schema, _) = heard(&mut watching).await.unwrap();
    assert_eq!((next.as_str(), schema), ("document:d00000#viewer@user:ann", false));
    drop(restarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_tried_again_while_the_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::RocksDb(folder.path());
    let server = Server::start(&binary().unwrap(), store, &[], &[]).await.unwrap();
    let address = server.address.clone();
    let mut zed = Zed::new(&address).await;
    zed.write_schema(SCHEMA).await.unwrap();
    server.kill().await.unwrap();
    assert_eq!(zed.read_schema().await.unwrap_err().code(), Code::Unavailable);
    let binary = binary().unwrap();
    let restarting = Server::start_at(&address, &binary, store, &[], &[]);
    let retrying = async {
        for tries in 1..=TRIES_MAX {
            match zed.read_schema().await {
                Err(error) if error.code() == Code::Unavailable => {
                    tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
                }
                outcome => return outcome,
            }
        }
        panic!("the server did not come back")
    };
    let (_restarted, read) = tokio::join!(restarting, retrying);
    assert!(read.unwrap().schema_text.contains("definition document"));
}
