//! Reasons as the wire has them.

use serde_json::{Map, Value};
use stonetown_authorizer::explain::Written;
use stonetown_authorizer::{Hold, Miss, Provenance, Reasons, Step};
use stonetown_tuple::{InstanceId, Revision, ZedToken};

use crate::convert::{context, timestamp_to_wire};
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::relationships;
use crate::token;

/// Keys of a transaction's metadata that are told by themselves, each with the prefix of our own or without.
const PREFIX: &str = "stonetown.";

/// Turns steps into messages, with who wrote them.
pub(super) struct Shown<'w> {
    pub(super) written: &'w Written,
    pub(super) instance: InstanceId,
}

impl Shown<'_> {
    pub(super) fn reasons(&self, reasons: Reasons) -> wire::Reasons {
        wire::Reasons {
            path: self.path(reasons.path),
            not_excluded_by: reasons.not_excluded_by,
            misses: reasons.misses.into_iter().map(|miss| self.miss(miss)).collect(),
            cut: reasons.cut,
            cut_off: false,
            refused_by: String::new(),
        }
    }

    pub(super) fn path(&self, path: Vec<Step>) -> Vec<wire::Step> {
        path.into_iter().map(|step| self.step(step)).collect()
    }

    fn miss(&self, miss: Miss) -> wire::Miss {
        let exclusions = miss.exclusions.into_iter();
        wire::Miss {
            path: self.path(miss.path),
            exclusions: exclusions.map(|by| wire::Exclusion { by: by.by, path: self.path(by.path) }).collect(),
            lacking: miss.lacking,
        }
    }

    fn step(&self, step: Step) -> wire::Step {
        let mut missing_context = Vec::new();
        let state = match step.state {
            Hold::Holds => wire::StepState::Holds,
            Hold::MissingContext(names) => {
                missing_context.extend(names);
                wire::StepState::MissingContext
            }
            Hold::ConditionFalse => wire::StepState::ConditionFalse,
            Hold::ConditionFailed => wire::StepState::ConditionFailed,
            Hold::NotBegun => wire::StepState::NotBegun,
            Hold::Expired => wire::StepState::Expired,
        };
        let provenance = self.written.get(&step.written);
        wire::Step {
            depth: step.depth,
            serves: format!("{}#{}", step.resource, step.name),
            relationship: Some(relationships::to_wire(step.relationship)),
            state: state.into(),
            missing_context,
            condition: step.condition.unwrap_or_default(),
            provenance: provenance.map(|provenance| self.provenance(step.written, provenance)),
            essential: step.essential,
            source: step.source.0,
        }
    }

    fn provenance(&self, revision: Revision, provenance: &Provenance) -> wire::Provenance {
        // What is stored there was an object when it was written.
        let metadata: Map<String, Value> =
            provenance.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let told = |name: &str| {
            let own = format!("{PREFIX}{name}");
            let value = metadata.get(&own).or_else(|| metadata.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        wire::Provenance {
            at: Some(timestamp_to_wire(provenance.time)),
            by: provenance.actor.clone().unwrap_or_default(),
            reason: told("reason"),
            ticket: told("ticket"),
            token: token::encode(ZedToken { instance: self.instance, revision }).token,
            metadata: context::to_wire_if_any(metadata),
        }
    }
}
