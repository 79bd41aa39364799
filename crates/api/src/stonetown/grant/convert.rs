//! Templates, requests and grants between the wire and the desk.

use prost_types::Duration;
use stonetown_grants::grant::Moment;
use stonetown_grants::{Ask, AutoRule, Emergency, Grant, Parameter, Requestable, Stage, State, Template, Vote};
use stonetown_tuple::{ObjectId, ObjectRef, ObjectType, RelationName, Timestamp};

use crate::convert::{At, FieldError, required, timestamp_from_wire, timestamp_to_wire};
use crate::proto::stonetown::v1 as wire;

/// A length of time in whole seconds; 0 when it is not given.
pub(super) fn seconds(field: &str, duration: Option<Duration>) -> Result<u64, FieldError> {
    let Some(Duration { seconds, nanos }) = duration else { return Ok(0) };
    match u64::try_from(seconds) {
        Ok(seconds) if nanos == 0 && seconds > 0 => Ok(seconds),
        _ => Err(FieldError::new("must be whole seconds above 0")).at(field),
    }
}

fn duration(seconds: u64) -> Option<Duration> {
    (seconds != 0).then(|| Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 })
}

fn moment(moment: Option<Moment>) -> Option<prost_types::Timestamp> {
    moment.map(|moment| timestamp_to_wire(moment.0))
}

pub(super) fn template(template: Option<wire::Template>) -> Result<Template, FieldError> {
    let template = required(template).at("template")?;
    let stage = |stage: wire::TemplateStage| {
        Ok(Stage {
            timeout: seconds("timeout", stage.timeout)?,
            name: stage.name,
            approvers: stage.approvers,
            need: stage.need,
            when: Some(stage.when).filter(|when| !when.is_empty()),
        })
    };
    let rule = |rule: wire::TemplateRule| {
        let ttl_max = seconds("ttl_max", rule.ttl_max)?;
        Ok(AutoRule { name: rule.name, when: rule.when, approve: rule.approve, ttl_max })
    };
    let emergency = |emergency: wire::TemplateEmergency| {
        Ok::<_, FieldError>(Emergency { ttl: seconds("ttl", emergency.ttl)?, reviewers: emergency.reviewers })
    };
    let parameter = |(name, parameter): (String, wire::TemplateParameter)| {
        (name, Parameter { one_of: parameter.one_of, prefix: parameter.prefix })
    };
    Ok(Template {
        name: template.name,
        edges: template.edges,
        parameters: template.parameters.into_iter().map(parameter).collect(),
        answers: template.answers,
        ttl_max: seconds("ttl_max", template.ttl_max).at("template")?,
        total_max: seconds("total_max", template.total_max).at("template")?,
        stages: crate::convert::each("template.stages", template.stages, stage)?,
        auto: crate::convert::each("template.auto", template.auto, rule)?,
        reason_required: template.reason_required,
        ticket_required: template.ticket_required,
        emergency: template.emergency.map(emergency).transpose().at("template.emergency")?,
        owner: template.owner,
        requesters: template.requesters,
        version: 0,
    })
}

pub(super) fn template_to_wire(template: &Template) -> wire::Template {
    let parameter = |(name, parameter): (&String, &Parameter)| {
        (name.clone(), wire::TemplateParameter { one_of: parameter.one_of.clone(), prefix: parameter.prefix.clone() })
    };
    let stage = |stage: &Stage| wire::TemplateStage {
        name: stage.name.clone(),
        approvers: stage.approvers.clone(),
        need: stage.need,
        when: stage.when.clone().unwrap_or_default(),
        timeout: duration(stage.timeout),
    };
    let rule = |rule: &AutoRule| wire::TemplateRule {
        name: rule.name.clone(),
        when: rule.when.clone(),
        approve: rule.approve,
        ttl_max: duration(rule.ttl_max),
    };
    let emergency = |emergency: &Emergency| wire::TemplateEmergency {
        ttl: duration(emergency.ttl),
        reviewers: emergency.reviewers.clone(),
    };
    wire::Template {
        name: template.name.clone(),
        edges: template.edges.clone(),
        parameters: template.parameters.iter().map(parameter).collect(),
        answers: template.answers.clone(),
        ttl_max: duration(template.ttl_max),
        total_max: duration(template.total_max),
        stages: template.stages.iter().map(stage).collect(),
        auto: template.auto.iter().map(rule).collect(),
        reason_required: template.reason_required,
        ticket_required: template.ticket_required,
        emergency: template.emergency.as_ref().map(emergency),
        owner: template.owner.clone(),
        requesters: template.requesters.clone(),
        version: template.version,
    }
}

pub(super) fn ask(asked: wire::RequestGrantRequest) -> Result<Ask, FieldError> {
    Ok(Ask {
        template: asked.template,
        beneficiary: asked.beneficiary,
        subject: asked.subject,
        parameters: asked.parameters.into_iter().collect(),
        ttl: seconds("ttl", asked.ttl)?,
        starts_at: asked.starts_at.map(timestamp_from_wire).transpose().at("starts_at")?,
        reason: asked.reason,
        ticket: asked.ticket,
        task: asked.task,
        emergency: asked.emergency,
        renews: Some(asked.renews).filter(|id| !id.is_empty()),
        idempotency_key: asked.idempotency_key,
    })
}

/// A grant as it stands at `now`, by what is written of it.
pub(super) fn grant_to_wire(grant: &Grant, now: Timestamp) -> wire::Grant {
    let state = match grant.state_at(now) {
        State::Pending => wire::GrantState::Pending,
        State::Approved => wire::GrantState::Approved,
        State::Denied => wire::GrantState::Denied,
        State::Cancelled => wire::GrantState::Cancelled,
        State::Expired => wire::GrantState::Expired,
        State::Revoked => wire::GrantState::Revoked,
        State::Failed => wire::GrantState::Failed,
    };
    wire::Grant {
        id: grant.id.clone(),
        template: grant.template.clone(),
        template_version: grant.template_version,
        requester: grant.requester.clone(),
        beneficiary: grant.beneficiary.clone(),
        subject: grant.subject.clone(),
        parameters: grant.parameters.clone().into_iter().collect(),
        ttl: duration(grant.ttl),
        starts_at: moment(grant.starts_at),
        reason: grant.reason.clone(),
        ticket: grant.ticket.clone(),
        task: grant.task.clone(),
        emergency: grant.emergency,
        renews: grant.renews.clone().unwrap_or_default(),
        asked_at: moment(Some(grant.asked_at)),
        version: grant.version,
        state: state.into(),
        because: grant.because.clone(),
        stage: grant.stage.clone(),
        stage_ends_at: moment(grant.stage_ends),
        votes: grant.votes.iter().map(vote_to_wire).collect(),
        begins_at: moment(grant.begins),
        ends_at: moment(grant.ends),
        edges: grant.edges.clone(),
        active: grant.is_active(now),
        review: grant.review.as_ref().map(vote_to_wire),
        needs_review: grant.needs_review(),
    }
}

fn vote_to_wire(vote: &Vote) -> wire::GrantVote {
    wire::GrantVote {
        by: vote.by.clone(),
        stage: vote.stage.clone(),
        approve: vote.approve,
        comment: vote.comment.clone(),
        at: moment(Some(vote.at)),
    }
}

pub(super) fn question(asked: wire::FindTemplatesRequest) -> Result<(ObjectRef, RelationName), FieldError> {
    let object_type = ObjectType::new(asked.r#type).at("type")?;
    let object_id = ObjectId::new(asked.id).at("id")?;
    Ok((ObjectRef { object_type, object_id }, RelationName::new(asked.permission).at("permission")?))
}

pub(in crate::stonetown) fn requestable_to_wire(found: Requestable) -> wire::Requestable {
    wire::Requestable { template: found.template, parameters: found.parameters.into_iter().collect() }
}
