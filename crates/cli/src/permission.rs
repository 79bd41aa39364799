//! `stonetown permission`.

mod explain;
mod tree;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_tuple::{ObjectRef, SubjectRef};
use tonic::Request;

use crate::client::{Client, Freshness};
use crate::output::{Output, line};
use crate::{Outcome, complete, wire};

/// Questions.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// May this subject do this to this resource?
    Check(Check),
    /// Several checks at one revision, each as `resource:id#permission@subject:id`.
    Bulk(Bulk),
    /// Who stands behind a permission, as a tree.
    Expand(Expand),
    /// What a subject can reach.
    LookupResources(LookupResources),
    /// Who can reach a resource.
    LookupSubjects(LookupSubjects),
}

/// `permission check`.
#[derive(Args)]
pub(crate) struct Check {
    /// The resource.
    #[arg(value_name = "RESOURCE:ID", add = ArgValueCompleter::new(complete::resource))]
    resource: ObjectRef,
    /// A permission or relation of its type.
    #[arg(add = ArgValueCompleter::new(complete::permission))]
    permission: String,
    /// Who.
    #[arg(value_name = "SUBJECT:ID[#RELATION]", add = ArgValueCompleter::new(complete::subject))]
    subject: SubjectRef,
    #[command(flatten)]
    tracing: Tracing,
    /// Ask as if this relationship were stored, too; repeatable.
    #[arg(long, value_name = "RELATIONSHIP", add = ArgValueCompleter::new(complete::relationship))]
    with: Vec<String>,
    /// Exit with 3 when the answer is not yes.
    #[arg(long)]
    error_on_no_permission: bool,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    freshness: Freshness,
}

/// `permission bulk`.
#[derive(Args)]
pub(crate) struct Bulk {
    /// Checks as `resource:id#permission@subject:id[#relation]`.
    #[arg(required = true, value_name = "CHECK", add = ArgValueCompleter::new(complete::check))]
    checks: Vec<String>,
    #[command(flatten)]
    tracing: Tracing,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    freshness: Freshness,
}

/// `permission expand`.
#[derive(Args)]
pub(crate) struct Expand {
    /// A permission or relation of the resource's type.
    #[arg(add = ArgValueCompleter::new(complete::permission))]
    permission: String,
    /// The resource.
    #[arg(value_name = "RESOURCE:ID", add = ArgValueCompleter::new(complete::resource))]
    resource: ObjectRef,
    #[command(flatten)]
    freshness: Freshness,
}

/// `permission lookup-resources`.
#[derive(Args)]
pub(crate) struct LookupResources {
    /// The type of the resources.
    #[arg(value_name = "TYPE", add = ArgValueCompleter::new(complete::object_type))]
    resource_type: String,
    /// A permission or relation of that type.
    #[arg(add = ArgValueCompleter::new(complete::permission))]
    permission: String,
    /// Who.
    #[arg(value_name = "SUBJECT:ID[#RELATION]", add = ArgValueCompleter::new(complete::subject))]
    subject: SubjectRef,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    freshness: Freshness,
}

/// `permission lookup-subjects`.
#[derive(Args)]
pub(crate) struct LookupSubjects {
    /// The resource.
    #[arg(value_name = "RESOURCE:ID", add = ArgValueCompleter::new(complete::resource))]
    resource: ObjectRef,
    /// A permission or relation of its type.
    #[arg(add = ArgValueCompleter::new(complete::permission))]
    permission: String,
    /// The type of the subjects, perhaps with a relation.
    #[arg(value_name = "TYPE[#RELATION]", add = ArgValueCompleter::new(complete::subject_type))]
    subject_type: String,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    freshness: Freshness,
}

/// What is told of how an answer came about.
#[derive(Args)]
struct Tracing {
    /// Print why.
    #[arg(long)]
    explain: bool,
    /// Print the schema that the answer rests on.
    #[arg(long)]
    schema: bool,
}

/// Which part of the results of a lookup.
#[derive(Args)]
struct Page {
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    page_limit: u32,
    /// Go on after this cursor.
    #[arg(long)]
    cursor: Option<String>,
    /// Print the cursor after the last result.
    #[arg(long)]
    show_cursor: bool,
}

/// Values for caveats.
#[derive(Args)]
pub(crate) struct ContextArg {
    /// Values for caveats, as a JSON object.
    #[arg(long, value_name = "JSON")]
    caveat_context: Option<String>,
}

pub(crate) async fn run(client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Check(check) => run_check(client, check, output).await,
        Command::Bulk(bulk) => run_bulk(client, bulk, output).await,
        Command::Expand(expand) => run_expand(client, expand, output).await,
        Command::LookupResources(lookup) => run_lookup_resources(client, lookup, output).await,
        Command::LookupSubjects(lookup) => run_lookup_subjects(client, lookup, output).await,
    }
}

async fn run_check(mut client: Client, check: Check, output: Output) -> anyhow::Result<Outcome> {
    let mut request = Request::new(pb::CheckPermissionRequest {
        consistency: Some(check.freshness.to_wire()),
        resource: Some(wire::object(&check.resource)),
        permission: check.permission,
        subject: Some(wire::subject(&check.subject)),
        context: check.context.to_wire()?,
        with_tracing: check.tracing.is_wanted(),
    });
    for relationship in &check.with {
        let text = relationship.parse().context("--with is not a relationship in plain characters")?;
        request.metadata_mut().append("stonetown-with", text);
    }
    let answer = client.permissions.check_permission(request).await?.into_inner();
    let verdict = Verdict::new(answer.permissionship(), answer.partial_caveat_info.as_ref());
    let debug = answer.debug_trace.as_ref();
    output.result(verdict.text(), || {
        let mut value = verdict.json();
        value["checkedAt"] = json!({ "token": answer.checked_at.clone().unwrap_or_default().token });
        check.tracing.add_json(debug, &mut value);
        value
    });
    check.tracing.print(debug, output);
    let yes = verdict.permissionship == pb::check_permission_response::Permissionship::HasPermission;
    Ok(if check.error_on_no_permission && !yes { Outcome::NoPermission } else { Outcome::Done })
}

async fn run_bulk(mut client: Client, bulk: Bulk, output: Output) -> anyhow::Result<Outcome> {
    let context = bulk.context.to_wire()?;
    let items = bulk.checks.iter().map(|text| {
        let (resource, rest) =
            text.split_once('#').with_context(|| format!("`{text}` is not `resource:id#permission@subject:id`"))?;
        let (permission, subject) = rest.split_once('@').with_context(|| format!("`{text}` has no subject"))?;
        Ok(pb::CheckBulkPermissionsRequestItem {
            resource: Some(wire::object(&resource.parse()?)),
            permission: permission.to_owned(),
            subject: Some(wire::subject(&subject.parse()?)),
            context: context.clone(),
        })
    });
    let request = pb::CheckBulkPermissionsRequest {
        consistency: Some(bulk.freshness.to_wire()),
        items: items.collect::<anyhow::Result<_>>()?,
        with_tracing: bulk.tracing.is_wanted(),
    };
    let answer = client.permissions.check_bulk_permissions(request).await?.into_inner();
    let mut outcome = Outcome::Done;
    for (text, pair) in bulk.checks.iter().zip(&answer.pairs) {
        use pb::check_bulk_permissions_pair::Response;
        match &pair.response {
            Some(Response::Item(item)) => {
                let verdict = Verdict::new(item.permissionship(), item.partial_caveat_info.as_ref());
                let debug = item.debug_trace.as_ref();
                output.result(format!("{text} => {}", verdict.text()), || {
                    let mut value = verdict.json();
                    value["check"] = json!(text);
                    bulk.tracing.add_json(debug, &mut value);
                    value
                });
                bulk.tracing.print(debug, output);
            }
            Some(Response::Error(error)) => {
                outcome = Outcome::Invalid;
                output.result(
                    format!("{text} => error: {}", error.message),
                    || json!({ "check": text, "error": { "code": error.code, "message": error.message } }),
                );
            }
            None => bail!("the server left `{text}` without an answer"),
        }
    }
    Ok(outcome)
}

async fn run_expand(mut client: Client, expand: Expand, output: Output) -> anyhow::Result<Outcome> {
    let request = pb::ExpandPermissionTreeRequest {
        consistency: Some(expand.freshness.to_wire()),
        resource: Some(wire::object(&expand.resource)),
        permission: expand.permission,
    };
    let answer = client.permissions.expand_permission_tree(request).await?.into_inner();
    let root = answer.tree_root.context("the server sent no tree")?;
    output.result(tree::text(&root).trim_end(), || {
        json!({
            "expandedAt": { "token": answer.expanded_at.clone().unwrap_or_default().token },
            "treeRoot": tree::json(&root),
        })
    });
    Ok(Outcome::Done)
}

async fn run_lookup_resources(mut client: Client, lookup: LookupResources, output: Output) -> anyhow::Result<Outcome> {
    let request = pb::LookupResourcesRequest {
        consistency: Some(lookup.freshness.to_wire()),
        resource_object_type: lookup.resource_type,
        permission: lookup.permission,
        subject: Some(wire::subject(&lookup.subject)),
        context: lookup.context.to_wire()?,
        optional_limit: lookup.page.page_limit,
        optional_cursor: lookup.page.cursor(),
        with_debug: false,
    };
    let mut answers = client.permissions.lookup_resources(request).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        let (id, conditions) = (&answer.resource_object_id, conditions(answer.partial_caveat_info.as_ref()));
        let cursor = answer.after_result_cursor.clone().map(|cursor| cursor.token);
        output.result(format!("{id}{conditions}"), || {
            json!({
                "resourceObjectId": id,
                "permissionship": answer.permissionship().as_str_name(),
                "missingRequiredContext": missing(answer.partial_caveat_info.as_ref()),
                "afterResultCursor": cursor,
            })
        });
        last = cursor.or(last);
    }
    lookup.page.show_end(last, output);
    Ok(Outcome::Done)
}

async fn run_lookup_subjects(mut client: Client, lookup: LookupSubjects, output: Output) -> anyhow::Result<Outcome> {
    let (subject_type, relation) = lookup.subject_type.split_once('#').unwrap_or((&lookup.subject_type, ""));
    let request = pb::LookupSubjectsRequest {
        consistency: Some(lookup.freshness.to_wire()),
        resource: Some(wire::object(&lookup.resource)),
        permission: lookup.permission,
        subject_object_type: subject_type.to_owned(),
        optional_subject_relation: relation.to_owned(),
        context: lookup.context.to_wire()?,
        optional_concrete_limit: lookup.page.page_limit,
        optional_cursor: lookup.page.cursor(),
        wildcard_option: 0,
    };
    let mut answers = client.permissions.lookup_subjects(request).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        let subject = answer.subject.clone().context("the server sent no subject")?;
        let excluded: Vec<_> = answer
            .excluded_subjects
            .iter()
            .map(|excluded| {
                format!("{}{}", excluded.subject_object_id, conditions(excluded.partial_caveat_info.as_ref()))
            })
            .collect();
        let but = if excluded.is_empty() { String::new() } else { format!(" but not {}", excluded.join(", ")) };
        let conditions = conditions(subject.partial_caveat_info.as_ref());
        let cursor = answer.after_result_cursor.clone().map(|cursor| cursor.token);
        let id = &subject.subject_object_id;
        output.result(format!("{subject_type}:{id}{conditions}{but}"), || {
            json!({
                "subjectObjectId": id,
                "permissionship": subject.permissionship().as_str_name(),
                "missingRequiredContext": missing(subject.partial_caveat_info.as_ref()),
                "excludedSubjects": answer.excluded_subjects.iter().map(|excluded| json!({
                    "subjectObjectId": excluded.subject_object_id,
                    "permissionship": excluded.permissionship().as_str_name(),
                    "missingRequiredContext": missing(excluded.partial_caveat_info.as_ref()),
                })).collect::<Vec<_>>(),
                "afterResultCursor": cursor,
            })
        });
        last = cursor.or(last);
    }
    lookup.page.show_end(last, output);
    Ok(Outcome::Done)
}

impl Tracing {
    fn is_wanted(&self) -> bool {
        self.explain || self.schema
    }

    /// Of several checks only the first tells the schema.
    fn schema<'d>(&self, debug: Option<&'d pb::DebugInformation>) -> Option<&'d str> {
        debug.map(|debug| debug.schema_used.as_str()).filter(|text| self.schema && !text.is_empty())
    }

    fn trace<'d>(&self, debug: Option<&'d pb::DebugInformation>) -> Option<&'d pb::CheckDebugTrace> {
        debug.and_then(|debug| debug.check.as_ref()).filter(|_| self.explain)
    }

    fn add_json(&self, debug: Option<&pb::DebugInformation>, value: &mut Value) {
        if let Some(trace) = self.trace(debug) {
            value["debugTrace"] = explain::json(trace);
        }
        if let Some(schema) = self.schema(debug) {
            value["schemaUsed"] = json!(schema);
        }
    }

    fn print(&self, debug: Option<&pb::DebugInformation>, output: Output) {
        if output.json {
            return;
        }
        if let Some(trace) = self.trace(debug) {
            line(explain::text(trace).trim_end());
        }
        if let Some(schema) = self.schema(debug) {
            line(schema.trim_end());
        }
    }
}

impl Page {
    fn cursor(&self) -> Option<pb::Cursor> {
        self.cursor.clone().map(|token| pb::Cursor { token })
    }

    /// Prints the cursor after the last result, if that is wanted.
    fn show_end(&self, last: Option<String>, output: Output) {
        if let (true, Some(cursor)) = (self.show_cursor, last) {
            output.result(format!("cursor: {cursor}"), || json!({ "lastCursor": cursor }));
        }
    }
}

impl ContextArg {
    pub(crate) fn to_wire(&self) -> anyhow::Result<Option<prost_types::Struct>> {
        let Some(text) = &self.caveat_context else { return Ok(None) };
        let value: Value = serde_json::from_str(text).context("--caveat-context is not JSON")?;
        let Value::Object(fields) = value else { bail!("--caveat-context is not a JSON object") };
        Ok(Some(wire::context(&fields)))
    }
}

/// The answer of a check.
struct Verdict {
    permissionship: pb::check_permission_response::Permissionship,
    missing: Vec<String>,
}

impl Verdict {
    fn new(
        permissionship: pb::check_permission_response::Permissionship,
        partial: Option<&pb::PartialCaveatInfo>,
    ) -> Verdict {
        Verdict { permissionship, missing: missing(partial) }
    }

    fn text(&self) -> String {
        use pb::check_permission_response::Permissionship;
        match self.permissionship {
            Permissionship::HasPermission => "true".to_owned(),
            Permissionship::ConditionalPermission => format!("caveated, missing context: {}", self.missing.join(", ")),
            Permissionship::NoPermission | Permissionship::Unspecified => "false".to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({ "permissionship": self.permissionship.as_str_name(), "missingRequiredContext": self.missing })
    }
}

fn missing(partial: Option<&pb::PartialCaveatInfo>) -> Vec<String> {
    partial.map(|partial| partial.missing_required_context.clone()).unwrap_or_default()
}

fn conditions(partial: Option<&pb::PartialCaveatInfo>) -> String {
    match missing(partial) {
        names if names.is_empty() => String::new(),
        names => format!(" (caveated, missing context: {})", names.join(", ")),
    }
}
