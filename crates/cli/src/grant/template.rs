//! `stonetown grant template`: what can be asked for, as files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_authorizer::yaml;

use super::duration;
use crate::Outcome;
use crate::client::Client;
use crate::output::Output;

/// `grant template …`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make or replace a template from a YAML file.
    Put {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take a template away.
    Delete {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print the templates that you may see.
    List,
}

/// A template as it stands in a file. Lengths of time are such as `30m`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    edges: Vec<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    answers: Vec<String>,
    ttl_max: String,
    #[serde(default)]
    total_max: Option<String>,
    #[serde(default)]
    stages: Vec<Stage>,
    #[serde(default)]
    auto: Vec<Rule>,
    #[serde(default)]
    reason_required: bool,
    #[serde(default)]
    ticket_required: bool,
    #[serde(default)]
    emergency: Option<Emergency>,
    owner: String,
    #[serde(default)]
    requesters: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameter {
    one_of: Vec<String>,
    prefix: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    name: String,
    approvers: Vec<String>,
    #[serde(default = "one")]
    need: u32,
    #[serde(default)]
    when: String,
    timeout: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    when: String,
    approve: bool,
    #[serde(default)]
    ttl_max: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Emergency {
    ttl: String,
    reviewers: Vec<String>,
}

fn one() -> u32 {
    1
}

/// Runs `grant template …`.
pub(super) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let grants = &mut client.grants;
    match command {
        Command::Put { file, reason } => {
            let text =
                std::io::read_to_string(open(&file)?).with_context(|| format!("reading `{}`", file.display()))?;
            let parsed: File = yaml::parse(&text).with_context(|| format!("`{}`", file.display()))?;
            let request = pb::PutTemplateRequest { template: Some(parsed.into_wire()?), reason };
            let made = grants.put_template(request).await?.into_inner().template.unwrap_or_default();
            let (name, version) = (made.name, made.version);
            output
                .result(format!("template {name}, version {version}"), || json!({ "name": name, "version": version }));
        }
        Command::Delete { name, reason } => {
            grants.delete_template(pb::DeleteTemplateRequest { name: name.clone(), reason }).await?;
            output.result(format!("template {name} is gone"), || json!({ "deleted": name }));
        }
        Command::List => {
            let listed = grants.list_templates(pb::ListTemplatesRequest {}).await?.into_inner().templates;
            let files: Vec<File> = listed.into_iter().map(File::of_wire).collect();
            let text = files.iter().map(serde_norway::to_string).collect::<Result<Vec<_>, _>>()?.join("---\n");
            output.result(text.trim_end(), || json!(files));
        }
    }
    Ok(Outcome::Done)
}

fn open(file: &PathBuf) -> anyhow::Result<Box<dyn std::io::Read>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(std::fs::File::open(file).with_context(|| format!("opening `{}`", file.display()))?))
}

impl File {
    fn into_wire(self) -> anyhow::Result<pb::Template> {
        let within = |field: &'static str, text: &str| duration(text).context(field);
        let optional = |field, text: &Option<String>| text.as_deref().map(|text| within(field, text)).transpose();
        let stage = |stage: Stage| {
            let timeout = Some(within("stages.timeout", &stage.timeout)?);
            let Stage { name, approvers, need, when, .. } = stage;
            Ok(pb::TemplateStage { name, approvers, need, when, timeout })
        };
        let rule = |rule: Rule| {
            let ttl_max = optional("auto.ttl_max", &rule.ttl_max)?;
            Ok(pb::TemplateRule { name: rule.name, when: rule.when, approve: rule.approve, ttl_max })
        };
        let emergency = |it: Emergency| {
            let ttl = Some(within("emergency.ttl", &it.ttl)?);
            anyhow::Ok(pb::TemplateEmergency { ttl, reviewers: it.reviewers })
        };
        let parameter =
            |(name, it): (String, Parameter)| (name, pb::TemplateParameter { one_of: it.one_of, prefix: it.prefix });
        Ok(pb::Template {
            name: self.name,
            edges: self.edges,
            parameters: self.parameters.into_iter().map(parameter).collect(),
            answers: self.answers,
            ttl_max: Some(within("ttl_max", &self.ttl_max)?),
            total_max: optional("total_max", &self.total_max)?,
            stages: self.stages.into_iter().map(stage).collect::<anyhow::Result<_>>()?,
            auto: self.auto.into_iter().map(rule).collect::<anyhow::Result<_>>()?,
            reason_required: self.reason_required,
            ticket_required: self.ticket_required,
            emergency: self.emergency.map(emergency).transpose()?,
            owner: self.owner,
            requesters: self.requesters,
            version: 0,
        })
    }

    fn of_wire(template: pb::Template) -> File {
        let parameter =
            |(name, it): (String, pb::TemplateParameter)| (name, Parameter { one_of: it.one_of, prefix: it.prefix });
        let stage = |it: pb::TemplateStage| Stage {
            timeout: seconds(it.timeout).unwrap_or_default(),
            name: it.name,
            approvers: it.approvers,
            need: it.need,
            when: it.when,
        };
        let rule = |it: pb::TemplateRule| {
            let ttl_max = seconds(it.ttl_max);
            Rule { name: it.name, when: it.when, approve: it.approve, ttl_max }
        };
        let emergency = |it: pb::TemplateEmergency| {
            let ttl = seconds(it.ttl).unwrap_or_default();
            Emergency { ttl, reviewers: it.reviewers }
        };
        File {
            name: template.name,
            edges: template.edges,
            parameters: template.parameters.into_iter().map(parameter).collect(),
            answers: template.answers,
            ttl_max: seconds(template.ttl_max).unwrap_or_default(),
            total_max: seconds(template.total_max),
            stages: template.stages.into_iter().map(stage).collect(),
            auto: template.auto.into_iter().map(rule).collect(),
            reason_required: template.reason_required,
            ticket_required: template.ticket_required,
            emergency: template.emergency.map(emergency),
            owner: template.owner,
            requesters: template.requesters,
        }
    }
}

fn seconds(duration: Option<prost_types::Duration>) -> Option<String> {
    duration.map(|duration| format!("{}s", duration.seconds))
}
