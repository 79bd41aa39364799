//! One scenario file through every call: what it asserts, and what must hold of any state.
//!
//! The assertions are asked as single checks, in bulk and through both lookups. Beyond them, for all objects, members and
//! subjects of the file: both lookups agree with checks, in pages too, expanding a relation shows what was written, and what the
//! schema calls say fits what checks say.

mod dependencies;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use stonetown_api::client::{context_to_wire, object_to_wire, subject_to_wire};
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_authorizer::validation::{Assertion, ValidationFile, Verdict};
use stonetown_tuple::{ObjectRef, Relationship, SubjectId, SubjectRef, Timestamp};
use tonic::Code;
use wire::check_bulk_permissions_pair::Response;
use wire::check_permission_response::Permissionship;
use wire::permission_relationship_tree::TreeType;

use crate::client::{Client, fully_consistent};
use crate::server;

/// An id that no scenario mentions: only a wildcard can grant it something.
const STRANGER: &str = "nobody-in-particular";
/// Results in a page of the paged lookups.
const PAGE: u32 = 2;
/// Checks in one bulk call.
const BULK: usize = 1000;

/// The scenario files of this repository, examples included, in order.
///
/// # Errors
/// If a folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["tests/spec", "examples"] {
        let folder = server::root().join(folder);
        for entry in std::fs::read_dir(&folder).with_context(|| format!("no folder `{}`", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Runs a scenario against a server without data; returns what does not hold.
///
/// # Errors
/// If the file cannot be read or a call fails.
pub async fn run(mut client: Client, path: &Path) -> Result<Vec<String>> {
    let file = read(path)?;
    client.write_schema(&file.schema).await?;
    client.write_all(&file.relationships).await?;
    ask_about(client, &file).await
}

/// Runs a scenario against a server that has its data already; returns what does not hold.
///
/// # Errors
/// If the file cannot be read or a call fails.
pub async fn ask(client: Client, path: &Path) -> Result<Vec<String>> {
    ask_about(client, &read(path)?).await
}

fn read(path: &Path) -> Result<ValidationFile> {
    let text = std::fs::read_to_string(path)?;
    let folder = path.parent().unwrap_or(path).to_owned();
    let mut file = ValidationFile::parse(&text, &|name| {
        std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
    })?;
    // The interface has no field for a start: what has not started is left out, and the start of the rest ignored.
    let now = Timestamp::now();
    file.relationships.retain(|relationship| relationship.not_before.is_none_or(|start| start <= now));
    Ok(file)
}

async fn ask_about(client: Client, file: &ValidationFile) -> Result<Vec<String>> {
    let mut run = Run { client, failures: Vec::new() };
    let members = run.members().await?;
    run.assertions(&file.assertions).await?;
    let subjects = subjects(file, members.keys());
    let decisions = run.decisions(&objects(file, &subjects), &members, &subjects).await?;
    run.resources(&decisions, &members, &subjects).await?;
    run.subjects(&decisions).await?;
    run.expansions(&file.relationships, &decisions, &members).await?;
    run.dependencies(&file.schema, &members, &decisions).await?;
    Ok(run.failures)
}

/// The relations and permissions of a type.
#[derive(Debug, Default)]
struct Members {
    relations: BTreeSet<String>,
    permissions: BTreeSet<String>,
}

/// What checks said, by object, member and subject.
type Decisions = BTreeMap<(ObjectRef, String), BTreeMap<SubjectRef, Permissionship>>;

struct Run {
    client: Client,
    failures: Vec<String>,
}

impl Run {
    fn expect<T: PartialEq + Debug>(&mut self, what: impl FnOnce() -> String, found: &T, expected: &T) {
        if found != expected {
            self.failures.push(format!("{}: {found:?} instead of {expected:?}", what()));
        }
    }

    async fn members(&mut self) -> Result<BTreeMap<String, Members>> {
        let request = wire::ReflectSchemaRequest { consistency: Some(fully_consistent()), ..Default::default() };
        let definitions = self.client.schema.reflect_schema(request).await?.into_inner().definitions;
        let members = definitions.into_iter().map(|definition| {
            let relations = definition.relations.into_iter().map(|relation| relation.name).collect();
            let permissions = definition.permissions.into_iter().map(|permission| permission.name).collect();
            (definition.name, Members { relations, permissions })
        });
        Ok(members.collect())
    }

    async fn assertions(&mut self, assertions: &[Assertion]) -> Result<()> {
        for assertion in assertions {
            let expected = permissionship(assertion.expected);
            let context = Some(context_to_wire(assertion.context.clone()));
            let request = wire::CheckPermissionRequest {
                consistency: Some(fully_consistent()),
                resource: Some(object_to_wire(&assertion.resource)),
                permission: assertion.permission.to_string(),
                subject: Some(subject_to_wire(&assertion.subject)),
                context: context.clone(),
                with_tracing: false,
            };
            let response = self.client.permissions.check_permission(request).await?.into_inner();
            self.expect(|| format!("check: {}", assertion.text), &response.permissionship(), &expected);
            let missing = response.partial_caveat_info.unwrap_or_default().missing_required_context;
            let conditional = expected == Permissionship::ConditionalPermission;
            self.expect(|| format!("missing parameters: {}", assertion.text), &!missing.is_empty(), &conditional);

            let item = wire::CheckBulkPermissionsRequestItem {
                resource: Some(object_to_wire(&assertion.resource)),
                permission: assertion.permission.to_string(),
                subject: Some(subject_to_wire(&assertion.subject)),
                context: context.clone(),
            };
            let found = self.check_bulk(vec![item]).await?;
            self.expect(|| format!("bulk check: {}", assertion.text), &found, &vec![expected]);

            let (resource_type, permission) =
                (assertion.resource.object_type.to_string(), assertion.permission.to_string());
            let found = self.lookup_resources(&resource_type, &permission, &assertion.subject, context.clone()).await?;
            let found = found.get(assertion.resource.object_id.as_str()).copied();
            self.expect(
                || format!("lookup resources: {}", assertion.text),
                &found.unwrap_or(Permissionship::NoPermission),
                &expected,
            );
            let found = self.lookup_subjects(&assertion.resource, &permission, &assertion.subject, context).await?;
            let found = found.of(assertion.subject.object_id().as_str());
            self.expect(|| format!("lookup subjects: {}", assertion.text), &found, &expected);
        }
        Ok(())
    }

    async fn decisions(
        &mut self,
        objects: &BTreeSet<ObjectRef>,
        members: &BTreeMap<String, Members>,
        subjects: &BTreeSet<SubjectRef>,
    ) -> Result<Decisions> {
        let mut triples = Vec::new();
        for object in objects {
            let Some(members) = members.get(object.object_type.as_str()) else { continue };
            for member in members.relations.iter().chain(&members.permissions) {
                triples.extend(subjects.iter().map(|subject| (object, member, subject)));
            }
        }
        let mut decisions = Decisions::new();
        for chunk in triples.chunks(BULK) {
            let items = chunk.iter().map(|(object, member, subject)| wire::CheckBulkPermissionsRequestItem {
                resource: Some(object_to_wire(object)),
                permission: (*member).clone(),
                subject: Some(subject_to_wire(subject)),
                context: None,
            });
            let found = self.check_bulk(items.collect()).await?;
            for ((object, member, subject), found) in chunk.iter().zip(found) {
                let row = decisions.entry(((*object).clone(), (*member).clone())).or_default();
                row.insert((*subject).clone(), found);
            }
        }
        Ok(decisions)
    }

    async fn check_bulk(&mut self, items: Vec<wire::CheckBulkPermissionsRequestItem>) -> Result<Vec<Permissionship>> {
        let request =
            wire::CheckBulkPermissionsRequest { consistency: Some(fully_consistent()), items, ..Default::default() };
        let pairs = self.client.permissions.check_bulk_permissions(request).await?.into_inner().pairs;
        let answers = pairs.into_iter().map(|pair| match pair.response {
            Some(Response::Item(item)) => Ok(item.permissionship()),
            other => Err(anyhow::anyhow!("no answer in bulk: {other:?}")),
        });
        answers.collect()
    }

    /// LookupResources agrees with checks: whole and in pages, without a repeated result.
    async fn resources(
        &mut self,
        decisions: &Decisions,
        members: &BTreeMap<String, Members>,
        subjects: &BTreeSet<SubjectRef>,
    ) -> Result<()> {
        for (resource_type, members) in members {
            for member in members.relations.iter().chain(&members.permissions) {
                for subject in subjects {
                    let expected: BTreeMap<String, Permissionship> = decisions
                        .iter()
                        .filter(|((object, of), _)| of == member && object.object_type.as_str() == resource_type)
                        .filter_map(|((object, _), row)| {
                            Some((object.object_id.as_str().to_owned(), *row.get(subject)?))
                        })
                        .filter(|(_, permissionship)| *permissionship != Permissionship::NoPermission)
                        .collect();
                    let what = || format!("lookup resources {resource_type}#{member}@{subject}");
                    let found = self.lookup_resources(resource_type, member, subject, None).await?;
                    self.expect(what, &found, &expected);
                    if expected.len() > 1 {
                        let found = self.lookup_resources_in_pages(resource_type, member, subject).await?;
                        self.expect(|| format!("{} in pages", what()), &found, &expected.into_iter().collect());
                    }
                }
            }
        }
        Ok(())
    }

    async fn lookup_resources(
        &mut self,
        resource_type: &str,
        permission: &str,
        subject: &SubjectRef,
        context: Option<prost_types::Struct>,
    ) -> Result<BTreeMap<String, Permissionship>> {
        let request =
            wire::LookupResourcesRequest { context, ..lookup_resources_request(resource_type, permission, subject) };
        let rows: Vec<_> = self.client.permissions.lookup_resources(request).await?.into_inner().try_collect().await?;
        let count = rows.len();
        let found: BTreeMap<_, _> = rows.into_iter().map(resource_row).collect();
        self.expect(|| format!("{resource_type}#{permission}@{subject}: distinct resources"), &found.len(), &count);
        Ok(found)
    }

    async fn lookup_resources_in_pages(
        &mut self,
        resource_type: &str,
        permission: &str,
        subject: &SubjectRef,
    ) -> Result<Vec<(String, Permissionship)>> {
        let mut request = lookup_resources_request(resource_type, permission, subject);
        request.optional_limit = PAGE;
        let mut found = Vec::new();
        loop {
            let rows: Vec<_> =
                self.client.permissions.lookup_resources(request.clone()).await?.into_inner().try_collect().await?;
            let is_full = rows.len() == PAGE as usize;
            request.optional_cursor = rows.last().and_then(|row| row.after_result_cursor.clone());
            found.extend(rows.into_iter().map(resource_row));
            if !is_full {
                found.sort_by(|a, b| a.0.cmp(&b.0));
                return Ok(found);
            }
        }
    }

    /// LookupSubjects agrees with checks; a wildcard stands for those whom it does not exclude.
    async fn subjects(&mut self, decisions: &Decisions) -> Result<()> {
        for ((resource, member), row) in decisions {
            let kinds: BTreeSet<_> = row.keys().map(|subject| (subject.object_type(), subject.relation())).collect();
            for (object_type, relation) in kinds {
                let of_kind =
                    |subject: &&SubjectRef| subject.object_type() == object_type && subject.relation() == relation;
                let Some(kind) = row.keys().find(of_kind) else { continue };
                let found = self.lookup_subjects(resource, member, kind, None).await?;
                for subject in row.keys().filter(of_kind) {
                    self.expect(
                        || format!("lookup subjects {resource}#{member}@{subject}"),
                        &found.of(subject.object_id().as_str()),
                        &row[subject],
                    );
                }
            }
        }
        Ok(())
    }

    async fn lookup_subjects(
        &mut self,
        resource: &ObjectRef,
        permission: &str,
        kind: &SubjectRef,
        context: Option<prost_types::Struct>,
    ) -> Result<Subjects> {
        let request = wire::LookupSubjectsRequest {
            consistency: Some(fully_consistent()),
            resource: Some(object_to_wire(resource)),
            permission: permission.to_owned(),
            subject_object_type: kind.object_type().to_string(),
            optional_subject_relation: kind.relation().map(ToString::to_string).unwrap_or_default(),
            context,
            ..Default::default()
        };
        let rows: Vec<wire::LookupSubjectsResponse> =
            self.client.permissions.lookup_subjects(request).await?.into_inner().try_collect().await?;
        let mut found = Subjects::default();
        for row in rows {
            let subject = row.subject.unwrap_or_default();
            let answer = lookup_permissionship(subject.permissionship);
            if subject.subject_object_id == "*" {
                let excluded = row.excluded_subjects.into_iter();
                found.wildcard = Some((
                    answer,
                    excluded.map(|s| (s.subject_object_id, lookup_permissionship(s.permissionship))).collect(),
                ));
            } else if found.concrete.insert(subject.subject_object_id.clone(), answer).is_some() {
                self.failures
                    .push(format!("lookup subjects {resource}#{permission}: `{}` twice", subject.subject_object_id));
            }
        }
        Ok(found)
    }

    async fn expansions(
        &mut self,
        relationships: &[Relationship],
        decisions: &Decisions,
        members: &BTreeMap<String, Members>,
    ) -> Result<()> {
        for (resource, member) in decisions.keys() {
            let request = wire::ExpandPermissionTreeRequest {
                consistency: Some(fully_consistent()),
                resource: Some(object_to_wire(resource)),
                permission: member.clone(),
            };
            let tree = match self.client.permissions.expand_permission_tree(request).await {
                Ok(response) => response.into_inner().tree_root.unwrap_or_default(),
                // Nested deeper than clients can decode.
                Err(status) if status.code() == Code::FailedPrecondition => continue,
                Err(status) => return Err(status.into()),
            };
            let what = || format!("expand {resource}#{member}");
            let root = (tree.expanded_object.clone().unwrap_or_default(), tree.expanded_relation.clone());
            self.expect(what, &root, &(object_to_wire(resource), member.clone()));
            if members[resource.object_type.as_str()].relations.contains(member) {
                let now = Timestamp::now();
                let written = relationships.iter().filter(|relationship| {
                    relationship.resource == *resource
                        && relationship.relation.as_str() == member
                        && relationship.is_live(now)
                });
                let written: BTreeSet<String> = written.map(|relationship| relationship.subject.to_string()).collect();
                self.expect(|| format!("{}: leaves", what()), &leaves(&tree), &written);
            }
        }
        Ok(())
    }
}

/// What LookupSubjects found.
#[derive(Debug, Default)]
struct Subjects {
    concrete: BTreeMap<String, Permissionship>,
    wildcard: Option<(Permissionship, BTreeMap<String, Permissionship>)>,
}

impl Subjects {
    /// What was found about one subject. An exclusion that is certain takes the subject out of the wildcard; one that is
    /// conditional leaves the subject in, conditionally.
    fn of(&self, id: &str) -> Permissionship {
        if let Some(found) = self.concrete.get(id) {
            return *found;
        }
        match &self.wildcard {
            None => Permissionship::NoPermission,
            Some((granted, excluded)) => match excluded.get(id) {
                None => *granted,
                Some(Permissionship::HasPermission) => Permissionship::NoPermission,
                Some(_) => Permissionship::ConditionalPermission,
            },
        }
    }
}

fn lookup_resources_request(
    resource_type: &str,
    permission: &str,
    subject: &SubjectRef,
) -> wire::LookupResourcesRequest {
    wire::LookupResourcesRequest {
        consistency: Some(fully_consistent()),
        resource_object_type: resource_type.to_owned(),
        permission: permission.to_owned(),
        subject: Some(subject_to_wire(subject)),
        ..Default::default()
    }
}

fn resource_row(row: wire::LookupResourcesResponse) -> (String, Permissionship) {
    let answer = lookup_permissionship(row.permissionship);
    (row.resource_object_id, answer)
}

fn lookup_permissionship(value: i32) -> Permissionship {
    match wire::LookupPermissionship::try_from(value) {
        Ok(wire::LookupPermissionship::HasPermission) => Permissionship::HasPermission,
        Ok(wire::LookupPermissionship::ConditionalPermission) => Permissionship::ConditionalPermission,
        _ => Permissionship::Unspecified,
    }
}

fn permissionship(verdict: Verdict) -> Permissionship {
    match verdict {
        Verdict::True => Permissionship::HasPermission,
        Verdict::Caveated => Permissionship::ConditionalPermission,
        Verdict::False => Permissionship::NoPermission,
    }
}

/// All subjects at the leaves of a tree, in text form. Trees are as deep as schemas are, which the server bounds.
fn leaves(tree: &wire::PermissionRelationshipTree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        match &node.tree_type {
            Some(TreeType::Intermediate(set)) => open.extend(&set.children),
            Some(TreeType::Leaf(set)) => found.extend(set.subjects.iter().map(|subject| {
                let object = subject.object.clone().unwrap_or_default();
                let text = format!("{}:{}", object.object_type, object.object_id);
                match subject.optional_relation.as_str() {
                    "" => text,
                    relation => format!("{text}#{relation}"),
                }
            })),
            None => {}
        }
    }
    found
}

/// Every object that a relationship or an assertion mentions, and those of the subjects.
fn objects(file: &ValidationFile, subjects: &BTreeSet<SubjectRef>) -> BTreeSet<ObjectRef> {
    let resources = file.relationships.iter().map(|r| r.resource.clone());
    let asserted = file.assertions.iter().map(|a| a.resource.clone());
    let subjects = subjects.iter().filter_map(|subject| match subject.object_id() {
        SubjectId::Object(id) => Some(ObjectRef { object_type: subject.object_type().clone(), object_id: id.clone() }),
        SubjectId::Wildcard => None,
    });
    resources.chain(asserted).chain(subjects).collect()
}

/// Every subject that a relationship or an assertion mentions, and a stranger of each type.
fn subjects<'a>(file: &ValidationFile, types: impl Iterator<Item = &'a String>) -> BTreeSet<SubjectRef> {
    let mentioned = file.relationships.iter().map(|r| &r.subject).chain(file.assertions.iter().map(|a| &a.subject));
    let mentioned = mentioned.filter(|subject| !subject.is_wildcard()).cloned();
    let strangers = types.filter_map(|name| format!("{name}:{STRANGER}").parse().ok());
    mentioned.chain(strangers).collect()
}
