//! The services over the memory store, without a network between.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use futures::StreamExt;
use stonetown_authorizer::{Authorizer, Caller, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Relationship;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::convert;
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::check_permission_response::Permissionship;
use wire::experimental_service_client::ExperimentalServiceClient;
use wire::permissions_service_client::PermissionsServiceClient;
use wire::schema_service_client::SchemaServiceClient;

const SCHEMA: &str = "
caveat on_day(day string) { day == \"tuesday\" }
/** people */
definition user {}
definition document {
  relation writer: user
  relation viewer: user | user:* | user with on_day
  permission edit = writer
  permission view = viewer + edit
}";

type Client = InterceptedService<crate::Services, fn(Request<()>) -> Result<Request<()>, Status>>;

fn as_a_caller(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Caller::named("key-1"));
    Ok(request)
}

/// A server with [`SCHEMA`] and these relationships.
async fn server(relationships: &[&str]) -> Client {
    server_of(authorizer(Options::default()), relationships).await
}

fn authorizer(options: Options) -> Arc<Authorizer> {
    Arc::new(Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap())
}

async fn server_of(authorizer: Arc<Authorizer>, relationships: &[&str]) -> Client {
    let routes = crate::services(authorizer, &crate::ApiSettings::default());
    let client = InterceptedService::new(routes, as_a_caller as fn(_) -> _);
    let schema = wire::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    SchemaServiceClient::new(client.clone()).write_schema(schema).await.unwrap();
    let updates = relationships.iter().map(|text| touch(text)).collect();
    PermissionsServiceClient::new(client.clone()).write_relationships(write(updates)).await.unwrap();
    client
}

fn relationship(text: &str) -> wire::Relationship {
    convert::relationship_to_wire(text.parse::<Relationship>().unwrap())
}

fn touch(text: &str) -> wire::RelationshipUpdate {
    wire::RelationshipUpdate {
        operation: wire::relationship_update::Operation::Touch.into(),
        relationship: Some(relationship(text)),
    }
}

fn write(updates: Vec<wire::RelationshipUpdate>) -> wire::WriteRelationshipsRequest {
    wire::WriteRelationshipsRequest { updates, ..Default::default() }
}

/// `document:d1#view@user:tom` as a question.
fn question(text: &str) -> wire::CheckPermissionRequest {
    let asked = relationship(text);
    wire::CheckPermissionRequest {
        resource: asked.resource,
        permission: asked.relation,
        subject: asked.subject,
        ..Default::default()
    }
}

fn all_documents() -> wire::ReadRelationshipsRequest {
    wire::ReadRelationshipsRequest {
        relationship_filter: Some(wire::RelationshipFilter {
            resource_type: "document".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn stored(client: &Client) -> Vec<String> {
    let mut client = PermissionsServiceClient::new(client.clone());
    let answers = client.read_relationships(all_documents()).await.unwrap().into_inner();
    let mut texts: Vec<_> = answers
        .map(|answer| convert::relationship(answer.unwrap().relationship.unwrap()).unwrap().to_string())
        .collect()
        .await;
    texts.sort();
    texts
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> &'a str {
    metadata.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_answers_and_says_what_it_cost() {
    let client = server(&["document:d1#viewer@user:tom", "document:d1#viewer@user:fred[on_day]"]).await;
    let mut client = PermissionsServiceClient::new(client);
    let mut request = Request::new(question("document:d1#view@user:tom"));
    request.metadata_mut().insert("x-request-id", "r-1".parse().unwrap());
    request.metadata_mut().insert("io.spicedb.requestversion", "1".parse().unwrap());
    let answer = client.check_permission(request).await.unwrap();
    assert_eq!(answer.get_ref().permissionship(), Permissionship::HasPermission);
    assert!(answer.get_ref().checked_at.is_some());
    assert_eq!(text(answer.metadata(), "x-request-id"), "r-1");
    assert!(text(answer.metadata(), "io.spicedb.debug.version").starts_with('v'));
    let count = text(answer.metadata(), "io.spicedb.respmeta.dispatchedoperationscount");
    assert!(count.parse::<u64>().unwrap() >= 1);

    let answer = client.check_permission(question("document:d1#view@user:fred")).await.unwrap().into_inner();
    assert_eq!(answer.permissionship(), Permissionship::ConditionalPermission);
    assert_eq!(answer.partial_caveat_info.unwrap().missing_required_context, ["day"]);

    let traced = wire::CheckPermissionRequest { with_tracing: true, ..question("document:d1#view@user:tom") };
    let trace = client.check_permission(traced).await.unwrap().into_inner().debug_trace.unwrap();
    assert!(trace.schema_used.contains("definition document"));
    assert_eq!(trace.check.unwrap().permission, "view");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_reason_and_request_id() {
    let mut client = PermissionsServiceClient::new(server(&[]).await);
    let refused = client.check_permission(question("folder:f1#view@user:tom")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("ERROR_REASON_UNKNOWN_DEFINITION", "authzed.com"));
    assert_eq!(text(refused.metadata(), "x-request-id").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_caller_is_refused() {
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
    let routes = crate::services(Arc::new(authorizer), &crate::ApiSettings::default());
    let refused = SchemaServiceClient::new(routes).read_schema(wire::ReadSchemaRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_check_answers_each_item() {
    let mut client = PermissionsServiceClient::new(server(&["document:d1#viewer@user:tom"]).await);
    let items = ["document:d1#view@user:tom", "document:d1#own@user:tom", "document:d1#edit@user:tom"].map(|text| {
        let asked = question(text);
        wire::CheckBulkPermissionsRequestItem {
            resource: asked.resource,
            permission: asked.permission,
            subject: asked.subject,
            context: None,
        }
    });
    let request = wire::CheckBulkPermissionsRequest { items: items.to_vec(), with_tracing: true, ..Default::default() };
    let pairs = client.check_bulk_permissions(request).await.unwrap().into_inner().pairs;
    use wire::check_bulk_permissions_pair::Response as Outcome;
    let [Some(Outcome::Item(first)), Some(Outcome::Error(second)), Some(Outcome::Item(third))] =
        [0, 1, 2].map(|index| pairs[index].response.clone())
    else {
        panic!("{pairs:?}")
    };
    assert_eq!(first.permissionship(), Permissionship::HasPermission);
    assert_eq!(second.code, Code::FailedPrecondition as i32);
    assert_eq!(third.permissionship(), Permissionship::NoPermission);
    assert_eq!(pairs[1].request, Some(items[1].clone()));
    assert!(!first.debug_trace.unwrap().schema_used.is_empty());
    assert!(third.debug_trace.unwrap().schema_used.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_at_a_cursor_also_with_other_page_sizes() {
    let texts = ["document:d1#viewer@user:a", "document:d1#viewer@user:b", "document:d2#writer@user:c"];
    let mut client = PermissionsServiceClient::new(server(&texts).await);
    let mut found = Vec::new();
    let mut cursor = None;
    for limit in [1, 2, 5] {
        let request =
            wire::ReadRelationshipsRequest { optional_limit: limit, optional_cursor: cursor, ..all_documents() };
        let page: Vec<_> = client.read_relationships(request).await.unwrap().into_inner().collect().await;
        cursor = page.last().and_then(|last| last.as_ref().unwrap().after_result_cursor.clone());
        found.extend(page.into_iter().map(|answer| answer.unwrap().relationship.unwrap()));
    }
    assert_eq!(found, texts.map(relationship));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_ends_its_stream_with_the_error() {
    let mut client = PermissionsServiceClient::new(server(&[]).await);
    let request = wire::ReadRelationshipsRequest { optional_limit: 1001, ..all_documents() };
    let mut answers = client.read_relationships(request).await.unwrap().into_inner();
    let refused = answers.next().await.unwrap().unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "ERROR_REASON_EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_all_or_nothing() {
    let client = server(&["document:d1#viewer@user:a"]).await;
    let mut permissions = PermissionsServiceClient::new(client.clone());
    let batch = |texts: &[&str]| wire::ImportBulkRelationshipsRequest {
        relationships: texts.iter().map(|text| relationship(text)).collect(),
    };
    let good = batch(&["document:d2#viewer@user:a", "document:d3#viewer@user:a"]);
    let malformed = wire::ImportBulkRelationshipsRequest { relationships: vec![wire::Relationship::default()] };
    for (bad, code) in [
        (malformed, Code::InvalidArgument),
        (batch(&["document:d9#view@user:a"]), Code::InvalidArgument),
        (batch(&["document:d1#viewer@user:a"]), Code::AlreadyExists),
    ] {
        let stream = futures::stream::iter([good.clone(), bad]);
        let refused = permissions.import_bulk_relationships(stream).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert_eq!(stored(&client).await, ["document:d1#viewer@user:a"]);
    }
    let stream = futures::stream::iter([good.clone(), batch(&["document:d4#viewer@user:a"])]);
    let loaded = permissions.import_bulk_relationships(stream).await.unwrap().into_inner().num_loaded;
    assert_eq!((loaded, stored(&client).await.len()), (3, 4));

    let mut request = Request::new(futures::stream::iter([good]));
    request.metadata_mut().insert("stonetown-import-mode", "touch".parse().unwrap());
    assert!(permissions.import_bulk_relationships(request).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_reports_progress() {
    let client = server(&["document:d1#viewer@user:a", "document:d1#viewer@user:b"]).await;
    let mut client = PermissionsServiceClient::new(client);
    let request = wire::DeleteRelationshipsRequest {
        relationship_filter: all_documents().relationship_filter,
        optional_limit: 1,
        optional_allow_partial_deletions: true,
        ..Default::default()
    };
    use wire::delete_relationships_response::DeletionProgress;
    for (progress, deleted) in [(DeletionProgress::Partial, 1), (DeletionProgress::Complete, 1)] {
        let answer = client.delete_relationships(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.deletion_progress(), answer.relationships_deleted_count), (progress, deleted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expansion_has_the_shape_of_the_permission() {
    let mut client = PermissionsServiceClient::new(server(&["document:d1#viewer@user:tom"]).await);
    let request = wire::ExpandPermissionTreeRequest {
        resource: question("document:d1#view@user:tom").resource,
        permission: "view".to_owned(),
        consistency: None,
    };
    let tree = client.expand_permission_tree(request).await.unwrap().into_inner().tree_root.unwrap();
    use wire::permission_relationship_tree::TreeType;
    let Some(TreeType::Intermediate(union)) = tree.tree_type else { panic!("no union") };
    assert_eq!((union.operation(), union.children.len()), (wire::algebraic_subject_set::Operation::Union, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_find_page_and_exclude() {
    let texts = ["document:d1#viewer@user:tom", "document:d2#viewer@user:*", "document:d3#viewer@user:tom[on_day]"];
    let mut client = PermissionsServiceClient::new(server(&texts).await);
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let request = wire::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: question("document:d1#view@user:tom").subject,
            optional_limit: 2,
            optional_cursor: cursor,
            ..Default::default()
        };
        let page: Vec<_> = client.lookup_resources(request).await.unwrap().into_inner().collect().await;
        let Some(last) = page.last() else { break };
        cursor = last.as_ref().unwrap().after_result_cursor.clone();
        found.extend(page.into_iter().map(|answer| {
            let answer = answer.unwrap();
            (answer.resource_object_id.clone(), answer.permissionship())
        }));
    }
    found.sort();
    use wire::LookupPermissionship::{ConditionalPermission, HasPermission};
    let expected = [("d1", HasPermission), ("d2", HasPermission), ("d3", ConditionalPermission)];
    assert_eq!(found, expected.map(|(id, permissionship)| (id.to_owned(), permissionship)));

    let mut request = wire::LookupSubjectsRequest {
        resource: question("document:d2#view@user:tom").resource,
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    let answers: Vec<_> = client.lookup_subjects(request.clone()).await.unwrap().into_inner().collect().await;
    let only = answers[0].as_ref().unwrap();
    assert_eq!((answers.len(), only.subject_object_id.as_str()), (1, "*"));
    assert_eq!(only.subject.as_ref().unwrap().subject_object_id, "*");
    request.wildcard_option = wire::lookup_subjects_request::WildcardOption::ExcludeWildcards.into();
    let answers: Vec<_> = client.lookup_subjects(request).await.unwrap().into_inner().collect().await;
    assert!(answers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_takes_relationships_for_itself_only() {
    let mut client = PermissionsServiceClient::new(server(&["document:d1#viewer@user:tom"]).await);
    let ask = |with: &[&str]| {
        let mut request = Request::new(question("document:d1#view@user:eve"));
        for text in with {
            request.metadata_mut().append("stonetown-with", text.parse().unwrap());
        }
        request
    };
    let with = ["document:d2#viewer@user:eve", "document:d1#writer@user:eve"];
    let answer = client.check_permission(ask(&with)).await.unwrap();
    assert_eq!(answer.get_ref().permissionship(), Permissionship::HasPermission);
    let answer = client.check_permission(ask(&[])).await.unwrap();
    assert_eq!(answer.get_ref().permissionship(), Permissionship::NoPermission, "nothing was stored");
    let unknown = client.check_permission(ask(&["document:d1#nothing@user:eve"])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    let broken = client.check_permission(ask(&["document"])).await.unwrap_err();
    assert_eq!(broken.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_outgrows_its_inline_budget_is_answered_from_the_pool() {
    let limits = stonetown_authorizer::Limits { inline_edges_max: 1, ..Default::default() };
    let authorizer = authorizer(Options { limits, ..Options::default() });
    let client = server_of(Arc::clone(&authorizer), &["document:d1#viewer@user:tom"]).await;
    let mut client = PermissionsServiceClient::new(client);
    let answer = client.check_permission(question("document:d1#view@user:tom")).await.unwrap();
    assert_eq!(answer.get_ref().permissionship(), Permissionship::HasPermission);
    let answer = client.check_permission(question("document:d1#view@user:eve")).await.unwrap();
    assert_eq!(answer.get_ref().permissionship(), Permissionship::NoPermission);
    assert!(authorizer.counters().checks_rerun.load(std::sync::atomic::Ordering::Relaxed) >= 1, "none was rerun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_until_when() {
    let schema = "use expiration definition user {} definition document {
      relation viewer: user | user with expiration
      permission view = viewer }";
    let client = server(&[]).await;
    let schema = wire::WriteSchemaRequest { schema: schema.to_owned() };
    SchemaServiceClient::new(client.clone()).write_schema(schema).await.unwrap();
    let mut client = PermissionsServiceClient::new(client);
    let end = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 7 };
    let mut leased = touch("document:d1#viewer@user:tom");
    leased.relationship.as_mut().unwrap().optional_expires_at = Some(end);
    client.write_relationships(write(vec![leased, touch("document:d1#viewer@user:kept")])).await.unwrap();
    let mut asked = question("document:d1#view@user:tom");
    asked.with_tracing = true;
    let answer = client.check_permission(asked).await.unwrap().into_inner();
    assert_eq!(answer.optional_expires_at, Some(end));
    assert_eq!(answer.debug_trace.unwrap().check.unwrap().optional_expires_at, Some(end));
    let answer = client.check_permission(question("document:d1#view@user:kept")).await.unwrap().into_inner();
    assert_eq!(answer.optional_expires_at, None);
    let answer = client.check_permission(question("document:d1#view@user:none")).await.unwrap().into_inner();
    assert_eq!(answer.optional_expires_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_filter_is_told_which_it_was() {
    let mut client = PermissionsServiceClient::new(server(&[]).await);
    let filter = wire::RelationshipFilter {
        optional_resource_id: "d1".to_owned(),
        optional_resource_id_prefix: "d".to_owned(),
        ..Default::default()
    };
    let request = wire::ReadRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
    let refused = match client.read_relationships(request).await {
        Ok(answers) => answers.into_inner().next().await.unwrap().unwrap_err(),
        Err(refused) => refused,
    };
    let info = refused.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.reason, "ERROR_REASON_INVALID_FILTER");
    assert_eq!(info.metadata["filter"], "resource id `d1`, resource id prefix `d`");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_read_and_reflected() {
    let mut client = SchemaServiceClient::new(server(&[]).await);
    let text = client.read_schema(wire::ReadSchemaRequest {}).await.unwrap().into_inner().schema_text;
    assert!(text.contains("definition document {\n\trelation writer: user\n"), "{text}");
    let filters =
        vec![wire::ReflectionSchemaFilter { optional_definition_name_filter: "doc".to_owned(), ..Default::default() }];
    let request = wire::ReflectSchemaRequest { consistency: None, optional_filters: filters };
    let answer = client.reflect_schema(request).await.unwrap().into_inner();
    assert_eq!((answer.definitions.len(), answer.caveats.len()), (1, 0));
    let viewer = &answer.definitions[0].relations[1];
    assert_eq!((viewer.name.as_str(), viewer.subject_types.len()), ("viewer", 3));
    let answer = client.reflect_schema(wire::ReflectSchemaRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.caveats[0].parameters[0].r#type, "string");
    assert!(answer.definitions.iter().any(|definition| definition.comment.contains("people")));

    let broken = wire::WriteSchemaRequest { schema: "definition user {\n  relation\n}".to_owned() };
    let refused = client.write_schema(broken).await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "ERROR_REASON_SCHEMA_PARSE_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn experimental_twins_answer_like_the_stable_calls() {
    let client = server(&[]).await;
    let mut experimental = ExperimentalServiceClient::new(client.clone());
    let relationships = vec![relationship("document:d1#viewer@user:a"), relationship("document:d2#viewer@user:a")];
    let batch = wire::BulkImportRelationshipsRequest { relationships: relationships.clone() };
    let loaded = experimental.bulk_import_relationships(futures::stream::iter([batch])).await.unwrap();
    assert_eq!(loaded.into_inner().num_loaded, 2);

    let request = wire::BulkExportRelationshipsRequest::default();
    let batches: Vec<_> = experimental.bulk_export_relationships(request).await.unwrap().into_inner().collect().await;
    assert_eq!(batches[0].as_ref().unwrap().relationships, relationships);

    let asked = question("document:d1#view@user:a");
    let item = wire::BulkCheckPermissionRequestItem {
        resource: asked.resource,
        permission: asked.permission,
        subject: asked.subject,
        context: None,
    };
    let request = wire::BulkCheckPermissionRequest { consistency: None, items: vec![item.clone()] };
    let pairs = experimental.bulk_check_permission(request).await.unwrap().into_inner().pairs;
    assert_eq!(pairs[0].request, Some(item));
    let Some(wire::bulk_check_permission_pair::Response::Item(answer)) = &pairs[0].response else {
        panic!("{pairs:?}")
    };
    assert_eq!(answer.permissionship(), Permissionship::HasPermission);

    let request = wire::ExperimentalReflectSchemaRequest::default();
    let answer = experimental.experimental_reflect_schema(request).await.unwrap().into_inner();
    assert_eq!((answer.definitions.len(), answer.caveats.len()), (2, 1));

    let diff = wire::ExperimentalDiffSchemaRequest { consistency: None, comparison_schema: String::new() };
    let diffs = experimental.experimental_diff_schema(diff).await.unwrap().into_inner().diffs;
    use wire::exp_schema_diff::Diff::{CaveatRemoved, DefinitionRemoved};
    let [Some(DefinitionRemoved(_)), Some(DefinitionRemoved(user)), Some(CaveatRemoved(caveat))] =
        [0, 1, 2].map(|index| diffs[index].diff.clone())
    else {
        panic!("{diffs:?}")
    };
    assert_eq!((user.name.as_str(), caveat.name.as_str()), ("user", "on_day"));
    let request = wire::ExperimentalComputablePermissionsRequest {
        definition_name: "document".to_owned(),
        relation_name: "writer".to_owned(),
        ..Default::default()
    };
    let found = experimental.experimental_computable_permissions(request).await.unwrap().into_inner().permissions;
    assert_eq!(found.iter().map(|one| one.relation_name.as_str()).collect::<Vec<_>>(), ["edit", "view"]);
    let request = wire::ExperimentalDependentRelationsRequest {
        definition_name: "document".to_owned(),
        permission_name: "edit".to_owned(),
        ..Default::default()
    };
    let found = experimental.experimental_dependent_relations(request).await.unwrap().into_inner();
    assert_eq!((found.relations[0].relation_name.as_str(), found.read_at.is_some()), ("writer", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_have_each_its_kind() {
    let mut client = SchemaServiceClient::new(server(&[]).await);
    let before = "
        // a
        caveat first(one int, two int) { one == 1 && two == 2 }
        caveat last(one int) { one == 1 }
        // a
        definition user {}
        definition gone {}
        definition doc {
          relation kept: user
          relation lost: user
          permission edit = kept
          permission drop = kept
        }";
    let after = "
        // b
        caveat first(one string, three int) { one == '' && three == 2 }
        caveat more(one int) { one == 1 }
        // b
        definition user {}
        definition here {}
        definition doc {
          // b
          relation kept: here | user:*
          relation more: user with more
          // b
          permission edit = kept + more
          permission take = kept
        }";
    client.write_schema(wire::WriteSchemaRequest { schema: before.to_owned() }).await.unwrap();
    let request = wire::DiffSchemaRequest { consistency: None, comparison_schema: after.to_owned() };
    let answer = client.diff_schema(request).await.unwrap().into_inner();
    assert!(answer.read_at.is_some());
    use wire::reflection_schema_diff::Diff;
    let kinds: Vec<String> = answer
        .diffs
        .iter()
        .map(|diff| match diff.diff.clone().unwrap() {
            Diff::DefinitionAdded(one) => format!("1 {}", one.name),
            Diff::DefinitionRemoved(one) => format!("2 {}", one.name),
            Diff::DefinitionDocCommentChanged(one) => format!("3 {} {}", one.name, one.comment),
            Diff::RelationAdded(one) => format!("4 {}#{}", one.parent_definition_name, one.name),
            Diff::RelationRemoved(one) => format!("5 {}#{}", one.parent_definition_name, one.name),
            Diff::RelationDocCommentChanged(one) => format!("6 {} {}", one.name, one.comment),
            Diff::RelationSubjectTypeAdded(one) => {
                format!("7 {} {:?}", one.relation.unwrap().name, one.changed_subject_type.unwrap().typeref.unwrap())
            }
            Diff::RelationSubjectTypeRemoved(one) => {
                format!(
                    "8 {} {}",
                    one.relation.unwrap().name,
                    one.changed_subject_type.unwrap().subject_definition_name
                )
            }
            Diff::PermissionAdded(one) => format!("9 {}#{}", one.parent_definition_name, one.name),
            Diff::PermissionRemoved(one) => format!("10 {}#{}", one.parent_definition_name, one.name),
            Diff::PermissionDocCommentChanged(one) => format!("11 {} {}", one.name, one.comment),
            Diff::PermissionExprChanged(one) => format!("12 {}", one.name),
            Diff::CaveatAdded(one) => format!("13 {}", one.name),
            Diff::CaveatRemoved(one) => format!("14 {}", one.name),
            Diff::CaveatDocCommentChanged(one) => format!("15 {} {}", one.name, one.comment),
            Diff::CaveatExprChanged(one) => format!("16 {} {}", one.name, one.expression),
            Diff::CaveatParameterAdded(one) => format!("17 {}.{}", one.parent_caveat_name, one.name),
            Diff::CaveatParameterRemoved(one) => format!("18 {}.{}", one.parent_caveat_name, one.name),
            Diff::CaveatParameterTypeChanged(one) => {
                let parameter = one.parameter.unwrap();
                format!("19 {} {} => {}", parameter.name, one.previous_type, parameter.r#type)
            }
        })
        .collect();
    let expected = [
        "6 kept // b",
        "7 kept IsTerminalSubject(true)",
        "8 kept user",
        "7 kept IsPublicWildcard(true)",
        "5 doc#lost",
        "4 doc#more",
        "10 doc#drop",
        "11 edit // b",
        "12 edit",
        "9 doc#take",
        "2 gone",
        "1 here",
        "3 user // b",
        "15 first // b",
        "19 one int => string",
        "17 first.three",
        "18 first.two",
        "16 first one == '' && three == 2",
        "14 last",
        "13 more",
    ];
    assert_eq!(kinds, expected);

    let broken = wire::DiffSchemaRequest { consistency: None, comparison_schema: "definition a".to_owned() };
    let refused = client.diff_schema(broken).await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "ERROR_REASON_SCHEMA_PARSE_ERROR");
    assert_eq!(details.error_info().unwrap().metadata["source_code"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_what_is_told_with_its_errors() {
    let mut client = SchemaServiceClient::new(server(&[]).await);
    let names = |found: Vec<wire::ReflectionRelationReference>| {
        let name = |one: wire::ReflectionRelationReference| {
            let mark = if one.is_permission { "!" } else { "" };
            format!("{}#{}{mark}", one.definition_name, one.relation_name)
        };
        found.into_iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let computable = |definition: &str, relation: &str, filter: &str| wire::ComputablePermissionsRequest {
        consistency: None,
        definition_name: definition.to_owned(),
        relation_name: relation.to_owned(),
        optional_definition_name_filter: filter.to_owned(),
    };
    let dependent = |definition: &str, permission: &str| wire::DependentRelationsRequest {
        consistency: None,
        definition_name: definition.to_owned(),
        permission_name: permission.to_owned(),
    };
    let answer = client.computable_permissions(computable("document", "writer", "")).await.unwrap().into_inner();
    assert!(answer.read_at.is_some());
    assert_eq!(names(answer.permissions), "document#edit! document#view!");
    let answer = client.computable_permissions(computable("user", "", "doc")).await.unwrap().into_inner();
    assert_eq!(names(answer.permissions), "document#edit! document#view! document#viewer document#writer");
    let answer = client.computable_permissions(computable("user", "", "docs")).await.unwrap().into_inner();
    assert_eq!(names(answer.permissions), "");
    let answer = client.dependent_relations(dependent("document", "view")).await.unwrap().into_inner();
    assert!(answer.read_at.is_some());
    assert_eq!(names(answer.relations), "document#edit! document#viewer document#writer");

    let refusals = [
        (client.computable_permissions(computable("folder", "", "")).await.err(), Code::FailedPrecondition, 3),
        (client.computable_permissions(computable("document", "own", "")).await.err(), Code::FailedPrecondition, 4),
        (client.dependent_relations(dependent("folder", "view")).await.err(), Code::FailedPrecondition, 3),
        (client.dependent_relations(dependent("document", "own")).await.err(), Code::FailedPrecondition, 4),
        (client.dependent_relations(dependent("document", "writer")).await.err(), Code::InvalidArgument, 4),
    ];
    for (refused, code, reason) in refusals {
        let refused = refused.unwrap();
        let reason = wire::ErrorReason::try_from(reason).unwrap().as_str_name();
        assert_eq!((refused.code(), refused.get_error_details().error_info().unwrap().reason.as_str()), (code, reason));
    }
    let malformed = [
        (client.computable_permissions(computable("Folder", "", "")).await.err(), "definition_name"),
        (client.computable_permissions(computable("", "", "")).await.err(), "definition_name"),
        (client.computable_permissions(computable("document", "a b", "")).await.err(), "relation_name"),
        (client.dependent_relations(dependent("", "view")).await.err(), "definition_name"),
        (client.dependent_relations(dependent("document", "")).await.err(), "permission_name"),
    ];
    for (refused, field) in malformed {
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.get_error_details().bad_request().unwrap().field_violations[0].field, field);
    }
}
