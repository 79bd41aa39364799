//! Reasons for people, a line for each relationship, and as JSON.

use serde_json::{Value, json};
use stonetown_api::client::timestamp_from_wire;
use stonetown_api::proto::stonetown::v1 as pb;

use crate::output::one_line;
use crate::wire;

/// An answer and its reasons as text.
pub(super) fn explanation(question: &str, answer: &pb::ExplainResponse) -> String {
    let mut text = answer.replay.as_ref().map(recorded).unwrap_or_default();
    if answer.replay.is_some() && answer.outcome() == pb::Outcome::Unspecified {
        return text;
    }
    text.push_str(&verdict(question, answer));
    let Some(reasons) = &answer.reasons else { return text };
    path(&reasons.path, 1, &mut text);
    for by in &reasons.not_excluded_by {
        text.push_str(&format!("  not in {by}\n"));
    }
    if !reasons.refused_by.is_empty() {
        text.push_str(&format!("  but {}\n", one_line(&reasons.refused_by)));
    } else if reasons.cut_off {
        text.push_str("  the subject is cut off\n");
    } else if answer.outcome() != pb::Outcome::Allowed && reasons.misses.is_empty() {
        text.push_str("  no relationship leads there, nor nearly\n");
    }
    for (number, miss) in (1..).zip(&reasons.misses) {
        text.push_str(&format!("  {number}. {}\n", summary(miss)));
        path(&miss.path, 2, &mut text);
        for exclusion in &miss.exclusions {
            text.push_str(&format!("    but is in {}\n", exclusion.by));
            path(&exclusion.path, 3, &mut text);
        }
        for lacking in &miss.lacking {
            text.push_str(&format!("    and has nothing of {lacking}\n"));
        }
    }
    if reasons.cut {
        text.push_str("  there was more to look at than the server's limit\n");
    }
    text
}

/// What the log says of a decision, and whether asking again says the same.
fn recorded(replay: &pb::Replay) -> String {
    let actors: String = replay.actors.iter().map(|actor| format!(" through {actor}")).collect();
    let caller = if replay.caller.is_empty() { "[erased]" } else { &replay.caller };
    let decided_at = replay.decided_at.as_ref().map(time).unwrap_or_default();
    let asked = one_line(&format!("{caller}{actors}: {}: {}", outcome(replay), replay.question));
    let mut text = format!("decision {} of {decided_at} for {asked}\n", replay.decision);
    if replay.judged_at != replay.decided_at {
        text.push_str(&format!("  as of {}\n", replay.judged_at.as_ref().map(time).unwrap_or_default()));
    }
    text.push_str(&match (replay.reproduces, &*replay.why_not) {
        (true, _) => "  asked again as then: the same\n".to_owned(),
        (false, "") => "  asked again as then: NOT the same\n".to_owned(),
        (false, why_not) => format!("  cannot be asked again: {}\n", one_line(why_not)),
    });
    text
}

/// The answer of then, in a word.
fn outcome(replay: &pb::Replay) -> &str {
    match replay.recorded() {
        pb::Outcome::Allowed => "allowed",
        pb::Outcome::Denied => "denied",
        pb::Outcome::Conditional => "conditional",
        pb::Outcome::Unspecified => &replay.reason,
    }
}

fn verdict(question: &str, answer: &pb::ExplainResponse) -> String {
    match answer.outcome() {
        pb::Outcome::Allowed => match answer.until.as_ref() {
            None => format!("allowed: {question}\n"),
            Some(until) => format!("allowed until {}: {question}\n", time(until)),
        },
        pb::Outcome::Conditional => {
            format!("conditional, missing context {}: {question}\n", answer.missing_context.join(", "))
        }
        pb::Outcome::Denied | pb::Outcome::Unspecified => format!("denied: {question}\n"),
    }
}

/// The same as JSON.
pub(super) fn explanation_json(question: &str, answer: &pb::ExplainResponse) -> Value {
    let reasons = answer.reasons.clone().unwrap_or_default();
    json!({
        "question": question,
        "outcome": answer.outcome().as_str_name(),
        "missingContext": answer.missing_context,
        "token": answer.token,
        "judgedAt": answer.judged_at.as_ref().map(time),
        "until": answer.until.as_ref().map(time),
        "path": steps_json(&reasons.path),
        "notExcludedBy": reasons.not_excluded_by,
        "misses": reasons.misses.iter().map(|miss| json!({
            "summary": summary(miss),
            "path": steps_json(&miss.path),
            "exclusions": miss.exclusions.iter().map(|exclusion| json!({
                "by": exclusion.by,
                "path": steps_json(&exclusion.path),
            })).collect::<Vec<_>>(),
            "lacking": miss.lacking,
        })).collect::<Vec<_>>(),
        "cut": reasons.cut,
        "cutOff": reasons.cut_off,
        "refusedBy": reasons.refused_by,
        "replay": answer.replay.as_ref().map(recorded_json),
    })
}

fn recorded_json(replay: &pb::Replay) -> Value {
    json!({
        "decision": replay.decision,
        "recorded": replay.recorded().as_str_name(),
        "reason": replay.reason,
        "decidedAt": replay.decided_at.as_ref().map(time),
        "judgedAt": replay.judged_at.as_ref().map(time),
        "token": replay.token,
        "caller": replay.caller,
        "actors": replay.actors,
        "node": replay.node,
        "build": replay.build,
        "reproduces": replay.reproduces,
        "obstacle": replay.obstacle().as_str_name(),
        "whyNot": replay.why_not,
        "masked": replay.masked,
    })
}

/// One result of a list.
pub(super) struct Found<'a> {
    pub(super) name: String,
    pub(super) until: Option<&'a prost_types::Timestamp>,
    pub(super) path: &'a [pb::Step],
}

impl Found<'_> {
    pub(super) fn text(&self) -> String {
        let until = self.until.map(|until| format!(" until {}", time(until))).unwrap_or_default();
        let mut text = format!("{}{until}\n", self.name);
        path(self.path, 1, &mut text);
        text
    }

    pub(super) fn json(&self, mut value: Value) -> Value {
        value["until"] = json!(self.until.map(time));
        value["path"] = json!(steps_json(self.path));
        value
    }
}

/// A name, and the values that it depends on.
pub(super) fn conditional(name: &str, missing: &[String]) -> String {
    if missing.is_empty() { name.to_owned() } else { format!("{name} (conditional, missing {})", missing.join(", ")) }
}

/// `type:id` or `type:id#relation`.
pub(super) fn subject(subject: &pb::SubjectRef) -> String {
    let relation = if subject.relation.is_empty() { String::new() } else { format!("#{}", subject.relation) };
    format!("{}:{}{relation}", subject.r#type, subject.id)
}

/// What keeps a miss from being a way, in a word each.
fn summary(miss: &pb::Miss) -> String {
    let mut words: Vec<&str> = Vec::new();
    let states = miss.path.iter().filter_map(|step| word(step.state()));
    let others = [(!miss.exclusions.is_empty(), "excluded"), (!miss.lacking.is_empty(), "lacks a part")];
    for found in states.chain(others.into_iter().filter(|(is, _)| *is).map(|(_, word)| word)) {
        if !words.contains(&found) {
            words.push(found);
        }
    }
    words.join(", ")
}

fn word(state: pb::StepState) -> Option<&'static str> {
    match state {
        pb::StepState::Holds | pb::StepState::Unspecified => None,
        pb::StepState::MissingContext => Some("missing context"),
        pb::StepState::ConditionFalse => Some("condition false"),
        pb::StepState::ConditionFailed => Some("condition failed"),
        pb::StepState::NotBegun => Some("not begun"),
        pb::StepState::Expired => Some("expired"),
    }
}

/// A line for each relationship, and one for what its terms say and who wrote it.
fn path(steps: &[pb::Step], indent: usize, text: &mut String) {
    for step in steps {
        let indent = "  ".repeat(indent + step.depth as usize);
        let mark = match step.state() {
            pb::StepState::Holds => '+',
            pb::StepState::MissingContext => '?',
            _ => '-',
        };
        text.push_str(&format!(
            "{indent}{mark} {}\n",
            step.relationship.as_ref().map(relationship).unwrap_or_default()
        ));
        let details = details(step);
        if !details.is_empty() {
            text.push_str(&format!("{indent}    {}\n", one_line(&details.join("; "))));
        }
    }
}

fn details(step: &pb::Step) -> Vec<String> {
    let mut details = Vec::new();
    let relationship = step.relationship.clone().unwrap_or_default();
    match step.state() {
        pb::StepState::Expired => {
            details.extend(relationship.expires_at.as_ref().map(|at| format!("expired {}", time(at))))
        }
        pb::StepState::NotBegun => {
            details.extend(relationship.not_before.as_ref().map(|at| format!("begins {}", time(at))))
        }
        pb::StepState::MissingContext => details.push(format!("missing {}", step.missing_context.join(", "))),
        pb::StepState::ConditionFalse => details.push("condition false".to_owned()),
        pb::StepState::ConditionFailed => details.push("condition failed".to_owned()),
        pb::StepState::Holds | pb::StepState::Unspecified => {
            details.extend(relationship.expires_at.as_ref().map(|at| format!("until {}", time(at))));
        }
    }
    if !step.condition.is_empty() {
        let stored = relationship.caveat_context.map(|context| format!(" with {}", wire::metadata_json(context)));
        details.push(format!("{}: {}{}", relationship.caveat, step.condition, stored.unwrap_or_default()));
    }
    if let Some(provenance) = &step.provenance {
        let by = if provenance.by.is_empty() { String::new() } else { format!(" by {}", provenance.by) };
        details.push(format!("written {}{by}", provenance.at.as_ref().map(time).unwrap_or_default()));
        for (name, value) in
            [("reason", &provenance.reason), ("ticket", &provenance.ticket), ("grant", &grant_of(provenance))]
        {
            if !value.is_empty() {
                details.push(format!("{name}: {value}"));
            }
        }
    }
    details
}

/// The grant through which a relationship was written; empty where it was not.
fn grant_of(provenance: &pb::Provenance) -> String {
    let said = provenance.metadata.as_ref().and_then(|metadata| metadata.fields.get("stonetown.grant")?.kind.as_ref());
    match said {
        Some(prost_types::value::Kind::StringValue(id)) => id.clone(),
        _ => String::new(),
    }
}

fn steps_json(steps: &[pb::Step]) -> Vec<Value> {
    steps.iter().map(step_json).collect()
}

fn step_json(step: &pb::Step) -> Value {
    let stored = step.relationship.clone().unwrap_or_default();
    json!({
        "depth": step.depth,
        "serves": step.serves,
        "relationship": relationship(&stored),
        "caveat": stored.caveat,
        "caveatContext": stored.caveat_context.map(wire::metadata_json),
        "startsAt": stored.not_before.as_ref().map(time),
        "expiresAt": stored.expires_at.as_ref().map(time),
        "source": step.source,
        "state": step.state().as_str_name(),
        "missingContext": step.missing_context,
        "condition": step.condition,
        "essential": step.essential,
        "provenance": step.provenance.as_ref().map(|provenance| json!({
            "at": provenance.at.as_ref().map(time),
            "by": provenance.by,
            "reason": provenance.reason,
            "ticket": provenance.ticket,
            "metadata": provenance.metadata.clone().map(wire::metadata_json),
            "token": provenance.token,
        })),
    })
}

/// `resource#relation@subject`.
fn relationship(relationship: &pb::Relationship) -> String {
    let resource = relationship.resource.clone().unwrap_or_default();
    let who = relationship.subject.as_ref().map(subject).unwrap_or_default();
    format!("{}:{}#{}@{who}", resource.r#type, resource.id, relationship.relation)
}

fn time(time: &prost_types::Timestamp) -> String {
    timestamp_from_wire(*time).map_or_else(|_| format!("{} s", time.seconds), |time| time.to_string())
}
