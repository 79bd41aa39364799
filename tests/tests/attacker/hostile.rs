//! Texts that mean something to somebody, in every text of every request: none brings the server down, is an error of its own, or
//! reaches a terminal as more than text.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use stonetown_tests::home::Home;
use tonic::Code;

use crate::calls::{CALLS, request};
use crate::described;
use crate::world::{World, put};

/// Messages within messages that are looked at.
const DEPTH_MAX: usize = 4;

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a\nb",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "nul\0l",
        "\"quoted\"'\\",
        "default|document",
        "x#editor@agent:*",
        "agent:*",
        "*",
        "../../../../tmp/attacked",
        "${beneficiary}",
        "\u{202e}txet\u{2066}",
        "sys/root",
        "sys/principal:root#owner",
        "*/ definition evil {}",
        "true || true",
        "\u{feff}ünï\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("a".repeat(64 << 10));
    texts.push("\u{1b}".repeat(64 << 10));
    texts
}

/// The ways to all texts of a message.
fn ways(message: &MessageDescriptor, depth: usize) -> Vec<Vec<FieldDescriptor>> {
    let mut ways = Vec::new();
    for field in message.fields() {
        match field.kind() {
            Kind::String => ways.push(vec![field]),
            _ if field.is_map() => ways.push(vec![field]),
            Kind::Message(inner) if depth < DEPTH_MAX && !inner.full_name().starts_with("google.") => {
                for way in self::ways(&inner, depth + 1) {
                    ways.push([vec![field.clone()], way].concat());
                }
            }
            _ => {}
        }
    }
    ways
}

/// Puts a text where a way leads to. What a list has is its first.
fn set(message: &mut DynamicMessage, way: &[FieldDescriptor], text: &str) {
    let [field, rest @ ..] = way else { return };
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return };
        let value = Value::default_value_for_field(&entry.map_entry_value_field());
        let value = if matches!(value, Value::String(_)) { Value::String(text.to_owned()) } else { value };
        message.set_field(field, Value::Map([(MapKey::String(text.to_owned()), value)].into()));
        return;
    }
    let value = match (rest, field.kind()) {
        ([_, ..], Kind::Message(inner)) => {
            let first = match &*message.get_field(field) {
                Value::Message(inner) => Some(inner.clone()),
                Value::List(list) => list.first().and_then(|first| first.as_message()).cloned(),
                _ => None,
            };
            let mut inner = first.unwrap_or_else(|| DynamicMessage::new(inner));
            set(&mut inner, rest, text);
            Value::Message(inner)
        }
        _ => Value::String(text.to_owned()),
    };
    message.set_field(field, if field.is_list() { Value::List(vec![value]) } else { value });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_in_any_field_is_more_than_a_text() {
    let world = World::start().await;
    let weak = world.agent("weak", &["checker@type"]).await;
    let mut asked = 0;
    for row in CALLS {
        let method = described(row);
        let plain = put(&request(row), &world.names(true));
        let mut json = serde_json::Deserializer::from_str(&plain);
        let plain = DynamicMessage::deserialize(method.input(), &mut json).unwrap();
        for way in ways(&method.input(), 0) {
            let field = way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
            for text in texts() {
                let mut message = plain.clone();
                set(&mut message, &way, &text);
                // The mightiest gets furthest, and the weakest is to be stopped as well.
                for caller in [&world.root, &weak] {
                    let answer = caller.send(row.0, message.clone(), method.output()).await;
                    let start: String = text.chars().take(40).collect();
                    let ours = [Code::Internal, Code::Unknown, Code::Unavailable, Code::DataLoss, Code::Unimplemented];
                    assert!(!ours.contains(&answer.code), "{} {field} {start:?}: {answer:?}", row.0);
                    let is_told = answer.code == Code::Ok || !answer.message.is_empty();
                    assert!(is_told, "{} {field} {start:?}: {answer:?}", row.0);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
    assert!(!std::path::Path::new("/tmp/attacked").exists());
    world.root.get("stonetown.v1.AdminService/GetInfo", "{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_somebody_wrote_acts_on_the_terminal_of_another() {
    let world = World::start().await;
    let home = Home::new();
    let hostile = "\u{1b}]0;x\u{7}\u{202e}\u{9b}2J\nfake line";
    let described = serde_json::json!({ "principal": { "id": "loud", "kind": "PRINCIPAL_KIND_HUMAN",
        "labels": { hostile: hostile }, "externalIds": [{ "dns": hostile }] }, "why": { "reason": hostile } });
    world.root.get("stonetown.v1.PrincipalService/CreatePrincipal", &described.to_string()).await;
    let scope = serde_json::json!([{ "resourceType": hostile, "permissions": [hostile] }]);
    world.narrowed("loud", scope).await;
    let id = world.names(true)["$grant"].clone();
    let why = serde_json::json!({ "id": id, "reason": hostile }).to_string();
    world.caller("asker").await.get("stonetown.v1.GrantService/RevokeGrant", &why).await;
    for args in [
        &["principal", "get", "loud"][..],
        &["principal", "get", hostile],
        &["principal", "list"],
        &["credential", "list", "loud"],
        &["credential", "revoke", hostile],
        &["grant", "show", &id],
        &["grant", "list"],
        &["grant", "revoke", hostile],
        &["permission", "check", "document:readme", hostile, "agent:seven"],
        &["schema", "read", "--nothing", hostile],
    ] {
        for json in [false, true] {
            let mut args = args.to_vec();
            args.extend(json.then_some("--json"));
            let output = home.at(&world.server, &args).await;
            let text =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
            assert!(!text.contains(acts), "{args:?}: {text:?}");
            assert!(!text.lines().any(|line| line.starts_with("fake line")), "{args:?}: {text}");
        }
    }
}
