//! What happened to a grant, as JSON for programs that are told of it.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::value::Serializer as ToValue;
use stonetown_grants::Happened;
use tonic::Status;

use super::convert::grant_to_wire;
use crate::gateway::WRITE;
use crate::proto::DESCRIPTORS;

/// Writes what happened to grants.
#[derive(Debug, Clone)]
pub struct GrantMessages {
    grant: MessageDescriptor,
}

impl GrantMessages {
    /// # Errors
    /// When the compiled descriptors cannot be read, which would be a broken build.
    pub fn new() -> Result<GrantMessages, String> {
        let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string())?;
        let grant = pool.get_message_by_name("stonetown.v1.Grant").ok_or("there is no message of grants")?;
        Ok(GrantMessages { grant })
    }

    /// What happened, in the form of Standard Webhooks: `type`, `timestamp`, and as `data` the store's name and the grant as
    /// GrantService has it over HTTP/JSON, in the state of that moment. The same each time, and ASCII that neither a page nor
    /// a terminal takes for more than text: requesters choose some of it.
    ///
    /// # Errors
    /// When it has no form in JSON, which would be a broken build.
    pub fn body(&self, happened: &Happened) -> Result<String, Status> {
        let Happened { at, store, grant, .. } = happened;
        let broken = |error: &dyn std::fmt::Display| Status::internal(format!("a grant has no form in JSON: {error}"));
        let mut message = DynamicMessage::new(self.grant.clone());
        message.transcode_from(&grant_to_wire(grant, *at)).map_err(|error| broken(&error))?;
        let written = message.serialize_with_options(ToValue, &WRITE).map_err(|error| broken(&error))?;
        let told = serde_json::json!({
            "type": format!("grant.{}", grant.last_change()),
            "timestamp": at.to_string(),
            "data": { "store": &**store, "grant": written },
        });
        Ok(inert(&told.to_string()))
    }
}

/// JSON in which every character that could mean something to somebody else is an escape. Such stand in its texts only.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') && !matches!(character, '<' | '>' | '&' | '\'') {
            text.push(character);
        } else {
            text.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    const GRANT: &str = r#"{
        "id": "g1", "store": 1, "template": "scale", "template_version": 1, "requester": "bot", "beneficiary": "bot",
        "subject": "agent:bot", "parameters": {"cluster": "a"}, "ttl": 60, "starts_at": null, "reason": "", "ticket": "",
        "task": "", "emergency": false, "renews": null, "first_began": null, "asked_at": "2026-11-21T12:00:00Z", "version": 1,
        "state": "pending", "because": "", "stage": "sre", "stage_ends": "2026-11-21T12:10:00Z", "votes": [], "begins": null,
        "ends": null, "source": 7, "edges": ["cluster:a#scaler@agent:bot"], "review": null
    }"#;

    fn happened(change: impl FnOnce(&mut Value)) -> Happened {
        let mut grant = serde_json::from_str(GRANT).unwrap();
        change(&mut grant);
        Happened {
            revision: stonetown_tuple::Revision(7),
            number: 0,
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            store: "default".into(),
            grant: serde_json::from_value(grant).unwrap(),
        }
    }

    fn body(happened: &Happened) -> (String, Value) {
        let body = GrantMessages::new().unwrap().body(happened).unwrap();
        let read = serde_json::from_str(&body).unwrap();
        (body, read)
    }

    #[test]
    fn a_grant_is_told_as_over_http_with_its_store_and_what_happened() {
        let (_, told) = body(&happened(|_| {}));
        assert_eq!((&told["type"], &told["timestamp"]), (&"grant.requested".into(), &"2026-11-21T12:00:00Z".into()));
        assert_eq!(told["data"]["store"], "default");
        let grant = &told["data"]["grant"];
        assert_eq!((&grant["id"], &grant["state"]), (&"g1".into(), &"GRANT_STATE_PENDING".into()));
        assert_eq!((&grant["stageEndsAt"], &grant["ttl"]), (&"2026-11-21T12:10:00Z".into(), &"60s".into()));
        assert_eq!(grant["votes"], Value::Array(Vec::new()));
    }

    #[test]
    fn what_requesters_write_is_text_and_nothing_more() {
        let hostile =
            "\u{1b}[2J\n\"}]{</script><img src=x onerror='alert(1)'>&amp;\u{202e}\u{2028}\u{9b}\u{7f}\u{1f600}\0";
        let (text, told) = body(&happened(|grant| {
            grant["reason"] = hostile.into();
            grant["parameters"]["cluster"] = hostile.into();
        }));
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"<>&'".contains(&byte)), "{text}");
        assert_eq!(told["data"]["grant"]["reason"], hostile);
        assert_eq!(told["data"]["grant"]["parameters"]["cluster"], hostile);
        assert_eq!(told["data"].as_object().unwrap().len(), 2);
    }

    #[test]
    fn each_change_has_its_name() {
        let vote = serde_json::json!({
            "by": "rita", "stage": "review", "approve": true, "comment": "", "at": "2026-11-21T12:05:00Z"
        });
        for (state, version, review, ends, expected) in [
            ("pending", 1, false, None, "grant.requested"),
            ("pending", 2, false, None, "grant.voted"),
            ("approved", 1, false, Some("2026-11-21T12:30:00Z"), "grant.approved"),
            ("approved", 2, true, Some("2026-11-21T12:30:00Z"), "grant.reviewed"),
            ("expired", 3, true, Some("2026-11-21T12:30:00Z"), "grant.expired"),
            ("revoked", 3, true, Some("2026-11-21T12:06:00Z"), "grant.revoked"),
            ("revoked", 3, true, Some("2026-11-21T12:04:00Z"), "grant.reviewed"),
            ("denied", 2, false, None, "grant.denied"),
            ("cancelled", 2, false, None, "grant.cancelled"),
            ("failed", 2, false, None, "grant.failed"),
        ] {
            let (_, told) = body(&happened(|grant| {
                grant["state"] = state.into();
                grant["version"] = version.into();
                grant["ends"] = ends.into();
                if review {
                    grant["review"] = vote.clone();
                }
            }));
            assert_eq!(told["type"], expected, "{state}");
        }
    }
}
