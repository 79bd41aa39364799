//! `stonetown grant`: access just in time, asked for, voted on and ended.

mod show;
mod template;

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stonetown_api::proto::stonetown::v1 as pb;
use tonic::Code;

use crate::Outcome;
use crate::client::Client;
use crate::output::{Output, complain};

/// Between two looks at a request that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `grant …`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// What can be asked for.
    #[command(subcommand)]
    Template(template::Command),
    /// Ask for access.
    Request(Request),
    /// Approve a request.
    Approve(Decide),
    /// Deny a request.
    Deny(Decide),
    /// End access early, or take a request back.
    Revoke {
        /// The grant's id.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End everything that belongs to a task.
    Complete {
        /// The task.
        task: String,
    },
    /// Say what was found of an emergency afterwards.
    Review {
        /// The grant's id.
        id: String,
        /// It was not justified.
        #[arg(long)]
        unjustified: bool,
        /// What was found.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Show one grant; exit code 3 when it gives no access now.
    Show {
        /// The grant's id.
        id: String,
    },
    /// List the grants that you may see, newest first.
    List(List),
    /// Print grants as they change.
    Watch {
        /// Go on behind this token; from now on without it.
        #[arg(long, default_value = "", value_name = "ZEDTOKEN")]
        after: String,
        /// End after so many changes.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// What you could ask for, to be allowed something; exit code 3 when there is nothing.
    Find {
        /// The resource, such as `cluster:prod`.
        resource: String,
        /// The permission that is wanted.
        permission: String,
    },
}

#[derive(Args)]
pub(crate) struct Request {
    /// The template's name.
    template: String,
    /// A parameter of the template.
    #[arg(long = "param", value_name = "NAME=ID")]
    parameters: Vec<String>,
    /// The principal who is to get it; yourself without it.
    #[arg(long = "for", default_value = "", value_name = "PRINCIPAL")]
    beneficiary: String,
    /// The subject that stands for the principal in the store, where it has several.
    #[arg(long, default_value = "", value_name = "TYPE:ID")]
    subject: String,
    /// For how long, such as `30m`; as long as the template allows without it.
    #[arg(long, value_parser = duration)]
    ttl: Option<prost_types::Duration>,
    /// When it is to begin; at once without it.
    #[arg(long, value_name = "RFC3339")]
    starts_at: Option<Timestamp>,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// The ticket it belongs to.
    #[arg(long, default_value = "")]
    ticket: String,
    /// The task it belongs to: completing the task ends it.
    #[arg(long, default_value = "")]
    task: String,
    /// Access now, for the template's emergency time, and a review afterwards.
    #[arg(long)]
    emergency: bool,
    /// The grant that this one prolongs.
    #[arg(long, default_value = "", value_name = "ID")]
    renew: String,
    /// The same request under the same key is the same grant.
    #[arg(long = "key", default_value = "", value_name = "KEY")]
    idempotency_key: String,
    /// Wait until it is decided; exit code 3 when it gives no access.
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
pub(crate) struct Decide {
    /// The grant's id.
    id: String,
    /// Why.
    #[arg(long, default_value = "")]
    comment: String,
    /// For how long at most; as asked without it.
    #[arg(long, value_parser = duration)]
    ttl_max: Option<prost_types::Duration>,
    /// The version that you have seen: refused when the request was changed since.
    #[arg(long, default_value_t = 0, value_name = "N")]
    version: u64,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only what has not ended.
    #[arg(long)]
    open: bool,
    /// Only what waits for your vote.
    #[arg(long)]
    inbox: bool,
    /// Only those of a task.
    #[arg(long, default_value = "")]
    task: String,
    /// Only those of a template.
    #[arg(long, default_value = "")]
    template: String,
    /// Only those that a principal asked for.
    #[arg(long, default_value = "", value_name = "PRINCIPAL")]
    requester: String,
    /// Only those for a principal.
    #[arg(long, default_value = "", value_name = "PRINCIPAL")]
    beneficiary: String,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Runs `grant …`.
pub(crate) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let grants = &mut client.grants;
    match command {
        Command::Template(command) => return template::run(client, command, output).await,
        Command::Request(asked) => return request(client, asked, output).await,
        Command::Approve(decide) => {
            let request = decide.into_wire(true);
            show::grant(grants.decide_grant(request).await?.into_inner().grant, output)?;
        }
        Command::Deny(decide) => {
            let request = decide.into_wire(false);
            show::grant(grants.decide_grant(request).await?.into_inner().grant, output)?;
        }
        Command::Revoke { id, reason } => {
            let request = pb::RevokeGrantRequest { id, reason };
            show::grant(grants.revoke_grant(request).await?.into_inner().grant, output)?;
        }
        Command::Complete { task } => {
            let request = pb::CompleteTaskRequest { task: task.clone() };
            let ended = grants.complete_task(request).await?.into_inner().ended;
            output.result(format!("task `{task}`: {ended} ended"), || json!({ "task": task, "ended": ended }));
        }
        Command::Review { id, unjustified, comment } => {
            let request = pb::ReviewGrantRequest { id, justified: !unjustified, comment };
            show::grant(grants.review_grant(request).await?.into_inner().grant, output)?;
        }
        Command::Show { id } => {
            let grant = grants.get_grant(pb::GetGrantRequest { id }).await?.into_inner().grant;
            return outcome(&show::grant(grant, output)?);
        }
        Command::List(list) => {
            let List { open, inbox, task, template, requester, beneficiary, limit } = list;
            let request = pb::ListGrantsRequest { open, inbox, task, template, requester, beneficiary, limit };
            let listed = grants.list_grants(request).await?.into_inner().grants;
            show::list(&listed, output);
            if limit > 0 && listed.len() == limit as usize {
                complain(&format!("the newest {limit} are shown: there may be more, see --limit"));
            }
        }
        Command::Watch { after, count } => {
            let mut stream = grants.watch_grants(pb::WatchGrantsRequest { after }).await?.into_inner();
            let mut left = count.unwrap_or(u64::MAX);
            while left > 0
                && let Some(message) = stream.message().await?
            {
                let grants =
                    message.grants.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(&message.grants);
                show::told(grants, &message.token, output);
                left -= grants.len() as u64;
            }
        }
        Command::Find { resource, permission } => {
            let (object_type, id) = resource.split_once(':').with_context(|| format!("`{resource}` is not TYPE:ID"))?;
            let request = pb::FindTemplatesRequest { r#type: object_type.to_owned(), id: id.to_owned(), permission };
            let found = grants.find_templates(request).await?.into_inner().requestable;
            show::requestable(&found, output);
            if found.is_empty() {
                return Ok(Outcome::NoPermission);
            }
        }
    }
    Ok(Outcome::Done)
}

async fn request(mut client: Client, asked: Request, output: Output) -> anyhow::Result<Outcome> {
    let parameter = |text: &String| {
        let (name, id) = text.split_once('=').ok_or_else(|| anyhow!("--param `{text}` is not NAME=ID"))?;
        Ok((name.to_owned(), id.to_owned()))
    };
    let request = pb::RequestGrantRequest {
        template: asked.template,
        beneficiary: asked.beneficiary,
        subject: asked.subject,
        parameters: asked.parameters.iter().map(parameter).collect::<anyhow::Result<_>>()?,
        ttl: asked.ttl,
        starts_at: asked
            .starts_at
            .map(|time| prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }),
        reason: asked.reason,
        ticket: asked.ticket,
        task: asked.task,
        emergency: asked.emergency,
        renews: asked.renew,
        idempotency_key: asked.idempotency_key,
    };
    let mut grant = client.grants.request_grant(request).await?.into_inner().grant;
    if !asked.wait {
        show::grant(grant, output)?;
        return Ok(Outcome::Done);
    }
    while let Some(pending) = grant.take_if(|grant| grant.state() == pb::GrantState::Pending) {
        tokio::time::sleep(LOOK_EVERY).await;
        match client.grants.get_grant(pb::GetGrantRequest { id: pending.id.clone() }).await {
            Ok(answer) => grant = answer.into_inner().grant,
            Err(status) if status.code() == Code::Unavailable => grant = Some(pending),
            Err(status) => return Err(status.into()),
        }
    }
    outcome(&show::grant(grant, output)?)
}

/// Whether the grant gives access, or will.
fn outcome(grant: &pb::Grant) -> anyhow::Result<Outcome> {
    Ok(if grant.state() == pb::GrantState::Approved { Outcome::Done } else { Outcome::NoPermission })
}

impl Decide {
    fn into_wire(self, approve: bool) -> pb::DecideGrantRequest {
        let Decide { id, comment, ttl_max, version } = self;
        pb::DecideGrantRequest { id, version, approve, comment, ttl_max }
    }
}

/// A length of time such as `90s`, `30m` or `8h`.
fn duration(text: &str) -> anyhow::Result<prost_types::Duration> {
    let duration: SignedDuration =
        text.parse().map_err(|error| anyhow!("`{text}` is no length of time, such as 30m or 8h: {error}"))?;
    if duration.as_secs() <= 0 || duration.subsec_nanos() != 0 {
        bail!("`{text}` must be whole seconds above 0");
    }
    Ok(prost_types::Duration { seconds: duration.as_secs(), nanos: 0 })
}
