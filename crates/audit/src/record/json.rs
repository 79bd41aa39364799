//! Entries as JSON, for search and export. Empty parts are left out.

use serde_json::{Map, Value, json};

use super::{Body, Entry};
use crate::merkle::Hash;
use crate::sealed::Field;

/// What stands where a value was erased.
const ERASED: &str = "[erased]";

impl Entry<'_> {
    /// The entry as a JSON object with the fields that `docs/audit.md` lists.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            if value != Value::Null && value != json!("") {
                fields.insert(name.to_owned(), value);
            }
        };
        put("index", json!(self.index));
        put("time", json!(self.time().to_string()));
        match &self.body {
            Body::Start(start) => {
                put("kind", json!("start"));
                put("node", json!(start.node));
                put("build", json!(start.build));
                put("key", json!(start.key.fingerprint()));
                put("clean", json!(start.clean));
                put("bytes_cut", json!(start.bytes_cut));
                put("position", json!(start.position.0));
                put("recovered", json!(start.recovered));
            }
            Body::Stop(_) => put("kind", json!("stop")),
            Body::Decision(decision) => {
                put("kind", json!("decision"));
                put("call", json!(decision.call));
                put("outcome", json!(decision.outcome.name()));
                put("reason", json!(decision.reason));
                put("detail", json!(decision.detail));
                put("caller", self.or_erased(Field::Caller, decision.caller));
                put(
                    "resource",
                    json!(object(decision.resource_type, &self.id(Field::ResourceId, decision.resource_id))),
                );
                put("permission", json!(decision.permission));
                put("subject", json!(self.subject()));
                put("context", self.json_or_erased(Field::Context, decision.context));
                put("store", json!(decision.store.0));
                put("revision", json!(decision.revision.0));
                put("schema_revision", json!(decision.schema.0));
                put("duration_us", json!(u64::try_from(decision.duration.as_micros()).unwrap_or(u64::MAX)));
                put("start", json!(decision.start));
                put("judged_at", json!(decision.judged_at.map(|time| time.to_string())));
                if !decision.actors.is_empty() {
                    let erased_or =
                        |actor: &&str| if actor.is_empty() { ERASED.to_owned() } else { (*actor).to_owned() };
                    put("actors", decision.actors.iter().map(erased_or).collect());
                }
                if decision.digest.is_some() {
                    put("count", json!(decision.count));
                }
                put("digest", json!(decision.digest.as_ref().map(hex)));
            }
            Body::Change(change) => {
                put("kind", json!("change"));
                put("revision", json!(change.revision.0));
                put("store", json!(change.store.0));
                put("part", json!(change.part));
                put("last", json!(change.last));
                put("count", json!(change.count));
                put("schema_sha256", json!(change.schema.as_ref().map(hex)));
                put("actor", self.or_erased(Field::Caller, change.actor));
                put("metadata", self.json_or_erased(Field::Metadata, change.metadata));
                if !change.updates.is_empty() {
                    let updates =
                        change.updates.iter().copied().map(|update| if update.is_empty() { ERASED } else { update });
                    put("updates", updates.collect());
                }
            }
            Body::Gap(gap) => {
                put("kind", json!("gap"));
                put("reason", json!(gap.reason));
                put("count", json!(gap.count));
                put("from", json!(gap.from));
                put("until", json!(gap.until));
            }
            Body::KeyChange(change) => {
                put("kind", json!("key_change"));
                put("old", json!(change.old.fingerprint()));
                put("new", json!(change.new.fingerprint()));
                put("endorsed", json!(change.endorsement.is_some()));
            }
            Body::Pruned(_, before) => {
                put("kind", json!("pruned"));
                put("before", json!(before));
            }
            Body::Begun(_, store) => {
                put("kind", json!("begun"));
                put("store", json!(store.0));
            }
            Body::Erased(erased) => {
                put("kind", json!("erased"));
                put("decisions", json!(erased.decisions));
                put("changes", json!(erased.changes));
                put("actor", self.or_erased(Field::Caller, erased.actor));
                put("why", self.or_erased(Field::Metadata, erased.why));
            }
        }
        Value::Object(fields)
    }

    /// The subject of a decision as text.
    #[must_use]
    pub fn subject(&self) -> String {
        let Body::Decision(decision) = &self.body else { return String::new() };
        let subject = object(decision.subject_type, &self.id(Field::SubjectId, decision.subject_id));
        match decision.subject_relation {
            "" => subject,
            relation => format!("{subject}#{relation}"),
        }
    }

    /// The resource of a decision as text.
    #[must_use]
    pub fn resource(&self) -> String {
        let Body::Decision(decision) = &self.body else { return String::new() };
        object(decision.resource_type, &self.id(Field::ResourceId, decision.resource_id))
    }

    fn is_erased(&self, field: Field) -> bool {
        self.personal.iter().any(|personal| personal.field == field && personal.value.is_none())
    }

    fn id(&self, field: Field, id: &str) -> String {
        if self.is_erased(field) { ERASED.to_owned() } else { id.to_owned() }
    }

    fn or_erased(&self, field: Field, text: &str) -> Value {
        json!(self.id(field, text))
    }

    fn json_or_erased(&self, field: Field, text: &str) -> Value {
        if self.is_erased(field) {
            return json!(ERASED);
        }
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    }
}

fn object(object_type: &str, id: &str) -> String {
    if id.is_empty() { object_type.to_owned() } else { format!("{object_type}:{id}") }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
