//! `stonetown explain`, `who-can` and `what-can`.

mod print;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use stonetown_api::client::timestamp_to_wire;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_tuple::{ObjectRef, SubjectRef, Timestamp};

use crate::Outcome;
use crate::client::{Client, Freshness};
use crate::output::Output;
use crate::permission::ContextArg;

/// `explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// The resource; or, alone, the number of a decision in the log of decisions, which is asked again as it was asked then.
    #[arg(value_name = "RESOURCE:ID | DECISION")]
    asked: String,
    /// A permission or relation of its type.
    #[arg(requires = "subject")]
    permission: Option<String>,
    /// Who.
    #[arg(value_name = "SUBJECT:ID[#RELATION]")]
    subject: Option<SubjectRef>,
    /// Show at most so many ways that nearly lead to a yes.
    #[arg(long, default_value_t = 5, value_name = "N")]
    misses: u32,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    state: State,
}

/// `who-can`.
#[derive(Args)]
pub(crate) struct WhoCan {
    /// The resource.
    #[arg(value_name = "RESOURCE:ID")]
    resource: ObjectRef,
    /// A permission or relation of its type.
    permission: String,
    /// Only subjects of this type, perhaps usersets of a relation; all types by default.
    #[arg(long, value_name = "TYPE[#RELATION]")]
    subject_type: Option<String>,
    /// Groups as they are, instead of their members.
    #[arg(long, conflicts_with = "subject_type")]
    groups: bool,
    #[command(flatten)]
    list: List,
}

/// `what-can`.
#[derive(Args)]
pub(crate) struct WhatCan {
    /// Who.
    #[arg(value_name = "SUBJECT:ID[#RELATION]")]
    subject: SubjectRef,
    /// A permission or relation; every permission by default.
    permission: Option<String>,
    /// Only resources of this type.
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    #[command(flatten)]
    list: List,
}

/// What lists have in common.
#[derive(Args)]
struct List {
    /// Show how: the relationships of the shortest way, and who wrote them.
    #[arg(long)]
    path: bool,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    page_limit: u32,
    /// Go on after this cursor.
    #[arg(long)]
    cursor: Option<String>,
    /// Print the cursor after the last result.
    #[arg(long)]
    show_cursor: bool,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    state: State,
}

/// The state that is asked about: how fresh, or as of when.
#[derive(Args)]
struct State {
    /// As it was at this time, such as 2026-11-14T10:00Z, as far back as the server keeps.
    #[arg(long, value_name = "TIME", conflicts_with = "Freshness")]
    at: Option<Timestamp>,
    #[command(flatten)]
    freshness: Freshness,
}

pub(crate) async fn explain(mut client: Client, args: Explain, output: Output) -> anyhow::Result<Outcome> {
    let (request, question) = match (args.permission, args.subject) {
        (Some(permission), Some(who)) => {
            let resource: ObjectRef = args.asked.parse()?;
            let question = format!("{resource}#{permission}@{who}");
            let request = pb::ExplainRequest {
                resource: Some(object(&resource)),
                permission,
                subject: Some(subject(&who)),
                context: args.context.to_wire()?,
                freshness: Some(args.state.to_wire()),
                misses: args.misses,
                decision: None,
                chain: Vec::new(),
            };
            (request, question)
        }
        _ => {
            let number = args.asked.parse();
            let number = number.with_context(|| {
                format!("`{}` is no number of a decision; a question has a permission and a subject, too", args.asked)
            })?;
            if args.context.to_wire()?.is_some() || args.state.to_wire().requirement.is_some() {
                anyhow::bail!("a decision is asked again with the values, at the state and by the time of then");
            }
            let request = pb::ExplainRequest { decision: Some(number), misses: args.misses, ..Default::default() };
            (request, String::new())
        }
    };
    let answer = client.decisions.explain(request).await?.into_inner();
    let question = answer.replay.as_ref().map_or(question, |replay| replay.question.clone());
    output.result(print::explanation(&question, &answer).trim_end(), || print::explanation_json(&question, &answer));
    Ok(Outcome::Done)
}

pub(crate) async fn who_can(mut client: Client, args: WhoCan, output: Output) -> anyhow::Result<Outcome> {
    let subject_type = args.subject_type.unwrap_or_default();
    let (subject_type, relation) = subject_type.split_once('#').unwrap_or((&subject_type, ""));
    let request = pb::WhoCanRequest {
        resource: Some(object(&args.resource)),
        permission: args.permission,
        subject_type: subject_type.to_owned(),
        subject_relation: relation.to_owned(),
        context: args.list.context.to_wire()?,
        freshness: Some(args.list.state.to_wire()),
        page: Some(args.list.page()),
        groups: if args.groups { pb::Groups::AsNamed } else { pb::Groups::Flattened }.into(),
        with_path: args.list.path,
    };
    let mut answers = client.decisions.who_can(request).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        let who = print::subject(answer.subject.as_ref().context("the server sent no subject")?);
        let excluded = answer.excluded.iter().map(|one| print::conditional(&one.id, &one.missing_context));
        let excluded: Vec<_> = excluded.collect();
        let but = if excluded.is_empty() { String::new() } else { format!(" but not {}", excluded.join(", ")) };
        let found = print::Found {
            name: format!("{}{but}", print::conditional(&who, &answer.missing_context)),
            until: answer.until.as_ref(),
            path: &answer.path,
        };
        output.result(found.text().trim_end(), || {
            found.json(json!({
                "subject": who,
                "outcome": answer.outcome().as_str_name(),
                "missingContext": answer.missing_context,
                "excluded": answer.excluded.iter().map(|one| json!({
                    "id": one.id,
                    "outcome": one.outcome().as_str_name(),
                    "missingContext": one.missing_context,
                })).collect::<Vec<_>>(),
                "cursor": answer.cursor,
            }))
        });
        last = Some(answer.cursor);
    }
    args.list.end(last, output);
    Ok(Outcome::Done)
}

pub(crate) async fn what_can(mut client: Client, args: WhatCan, output: Output) -> anyhow::Result<Outcome> {
    let request = pb::WhatCanRequest {
        subject: Some(subject(&args.subject)),
        resource_type: args.resource_type.unwrap_or_default(),
        permission: args.permission.unwrap_or_default(),
        context: args.list.context.to_wire()?,
        freshness: Some(args.list.state.to_wire()),
        page: Some(args.list.page()),
        with_path: args.list.path,
    };
    let mut answers = client.decisions.what_can(request).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        let resource = answer.resource.as_ref().context("the server sent no resource")?;
        let resource = format!("{}:{}", resource.r#type, resource.id);
        let what = format!("{resource}#{}", answer.permission);
        let found = print::Found {
            name: print::conditional(&what, &answer.missing_context),
            until: answer.until.as_ref(),
            path: &answer.path,
        };
        output.result(found.text().trim_end(), || {
            found.json(json!({
                "resource": resource,
                "permission": answer.permission,
                "outcome": answer.outcome().as_str_name(),
                "missingContext": answer.missing_context,
                "cursor": answer.cursor,
            }))
        });
        last = Some(answer.cursor);
    }
    args.list.end(last, output);
    Ok(Outcome::Done)
}

impl List {
    fn page(&self) -> pb::Page {
        pb::Page { size: self.page_limit, cursor: self.cursor.clone().unwrap_or_default() }
    }

    fn end(&self, last: Option<String>, output: Output) {
        if let (true, Some(cursor)) = (self.show_cursor, last) {
            output.result(format!("cursor: {cursor}"), || json!({ "lastCursor": cursor }));
        }
    }
}

impl State {
    fn to_wire(&self) -> pb::Freshness {
        let requirement = match self.at {
            Some(at) => Some(pb::freshness::Requirement::At(timestamp_to_wire(at))),
            None => self.freshness.to_own(),
        };
        pb::Freshness { requirement }
    }
}

fn object(object: &ObjectRef) -> pb::ObjectRef {
    pb::ObjectRef { r#type: object.object_type.to_string(), id: object.object_id.to_string() }
}

fn subject(subject: &SubjectRef) -> pb::SubjectRef {
    pb::SubjectRef {
        r#type: subject.object_type().to_string(),
        id: subject.object_id().as_str().to_owned(),
        relation: subject.relation().map(ToString::to_string).unwrap_or_default(),
    }
}
