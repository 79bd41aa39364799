//! Grants as people and scripts read them.

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_server::config::Period;

use crate::output::Output;

/// Prints one grant.
pub(super) fn grant(grant: Option<pb::Grant>, output: Output) -> anyhow::Result<pb::Grant> {
    let grant = grant.context("the server answered without a grant")?;
    output.result(text(&grant), || value(&grant));
    Ok(grant)
}

/// Prints what a message of a watch tells, with the token from which a later watch goes on.
pub(super) fn told(grants: &[pb::Grant], token: &str, output: Output) {
    for grant in grants {
        output.result(format!("{}\n  token: {token}", text(grant)), || {
            let mut told = value(grant);
            told["token"] = token.into();
            told
        });
    }
}

/// Prints several.
pub(super) fn list(grants: &[pb::Grant], output: Output) {
    let lines: Vec<String> = grants.iter().map(text).collect();
    let none = "no grants";
    output.result(if lines.is_empty() { none.to_owned() } else { lines.join("\n") }, || {
        grants.iter().map(value).collect()
    });
}

/// Prints what can be asked for.
pub(super) fn requestable(found: &[pb::Requestable], output: Output) {
    let line = |it: &pb::Requestable| {
        let parameters = it.parameters.iter().map(|(name, id)| format!(" --param {name}={id}"));
        format!("stonetown grant request {}{}", it.template, parameters.collect::<String>())
    };
    let lines: Vec<String> = found.iter().map(line).collect();
    let none = "nothing can be asked for";
    output.result(if lines.is_empty() { none.to_owned() } else { lines.join("\n") }, || {
        found.iter().map(|it| json!({ "template": it.template, "parameters": it.parameters })).collect()
    });
}

fn text(grant: &pb::Grant) -> String {
    let pb::Grant { id, template, subject, requester, because, .. } = grant;
    let state = state(grant);
    let until = match grant.state() {
        pb::GrantState::Pending => Some(wanted(grant)),
        pb::GrantState::Approved if !grant.active => time(grant.begins_at).map(|begin| format!(", from {begin}")),
        _ => None,
    };
    let ends = time(grant.ends_at).map(|end| format!(", until {end}")).unwrap_or_default();
    let mut lines = vec![format!("{id} {state}: {template} for {subject}{}{ends}", until.unwrap_or_default())];
    lines.push(format!("  asked by {requester}; {}", because.escape_debug()));
    lines.extend(grant.edges.iter().map(|edge| format!("  {edge}")));
    if grant.emergency {
        lines.push(match &grant.review {
            _ if grant.needs_review => "  an emergency: waits for a review".to_owned(),
            Some(review) => {
                let found = if review.approve { "justified" } else { "not justified" };
                let said = format!("  an emergency: {found}, says {} {}", review.by, review.comment.escape_debug());
                said.trim_end().to_owned()
            }
            None => "  an emergency".to_owned(),
        });
    }
    // Reasons are anybody's text: nothing in them reaches the terminal as a control character.
    for (name, said) in [("reason", &grant.reason), ("ticket", &grant.ticket), ("task", &grant.task)] {
        if !said.is_empty() {
            lines.push(format!("  {name}: {}", said.escape_debug()));
        }
    }
    for vote in &grant.votes {
        let word = if vote.approve { "approved" } else { "denied" };
        lines.push(
            format!("  {} {word} ({}) {}", vote.by, vote.stage, vote.comment.escape_debug()).trim_end().to_owned(),
        );
    }
    lines.join("\n")
}

/// What those who decide are asked for.
fn wanted(grant: &pb::Grant) -> String {
    let ttl = length(grant).map(|ttl| format!(", for {ttl}")).unwrap_or_default();
    let from = time(grant.starts_at).map(|from| format!(" from {from} on")).unwrap_or_default();
    let stage = time(grant.stage_ends_at).map(|end| format!(", to be decided by `{}` until {end}", grant.stage));
    format!("{ttl}{from}{}", stage.unwrap_or_default())
}

/// How long it is to last.
fn length(grant: &pb::Grant) -> Option<Period> {
    Some(Period(grant.ttl.and_then(|ttl| ttl.try_into().ok())?))
}

fn state(grant: &pb::Grant) -> &'static str {
    match grant.state() {
        pb::GrantState::Unspecified => "unknown",
        pb::GrantState::Pending => "pending",
        pb::GrantState::Approved if grant.active => "active",
        pb::GrantState::Approved => "approved",
        pb::GrantState::Denied => "denied",
        pb::GrantState::Cancelled => "cancelled",
        pb::GrantState::Expired => "expired",
        pb::GrantState::Revoked => "revoked",
        pb::GrantState::Failed => "failed",
    }
}

fn value(grant: &pb::Grant) -> Value {
    let vote = |vote: &pb::GrantVote| {
        json!({
            "by": vote.by,
            "stage": vote.stage,
            "approve": vote.approve,
            "comment": vote.comment,
            "at": time(vote.at),
        })
    };
    json!({
        "id": grant.id,
        "state": state(grant),
        "because": grant.because,
        "template": grant.template,
        "templateVersion": grant.template_version,
        "requester": grant.requester,
        "beneficiary": grant.beneficiary,
        "subject": grant.subject,
        "parameters": grant.parameters,
        "edges": grant.edges,
        "reason": grant.reason,
        "ticket": grant.ticket,
        "task": grant.task,
        "emergency": grant.emergency,
        "needsReview": grant.needs_review,
        "renews": grant.renews,
        "stage": grant.stage,
        "stageEndsAt": time(grant.stage_ends_at),
        "ttl": length(grant).map(|ttl| ttl.to_string()),
        "startsAt": time(grant.starts_at),
        "askedAt": time(grant.asked_at),
        "beginsAt": time(grant.begins_at),
        "endsAt": time(grant.ends_at),
        "votes": grant.votes.iter().map(vote).collect::<Vec<_>>(),
        "review": grant.review.as_ref().map(vote),
        "version": grant.version,
    })
}

fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok().map(|time| time.to_string())
}
