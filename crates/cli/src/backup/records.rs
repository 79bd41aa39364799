//! The records of a backup file: one schema, then relationships, as `zed` writes and reads them.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail, ensure};
use prost::Message;
use prost_types::Timestamp;
use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1 as pb;

use super::ocf::{put_bytes, put_long, take_bytes, take_long};

/// The namespace of the records.
const NAMESPACE: &str = "com.authzed.spicedb.backup";
const SCHEMA: &str = "schema_v1";
const RELATIONSHIP: &str = "relationship_v1";
/// Where the records stand in the union that files are written with.
const RELATIONSHIP_INDEX: i64 = 0;
const SCHEMA_INDEX: i64 = 1;
/// Milliseconds since 1970 that mean no expiration: the beginning of the year 1.
const NEVER_MS: i64 = -62_135_596_800_000;

/// One record.
#[derive(Debug)]
pub(super) enum Record {
    Schema(String),
    Relationship(pb::Relationship),
}

/// The Avro schema that files are written with.
pub(super) fn avro_schema() -> String {
    let field = |name: &str, kind: Value| json!({ "name": name, "type": kind });
    let text = |name| field(name, json!("string"));
    let record = |name: &str, fields: Value| json!({ "name": format!("{NAMESPACE}.{name}"), "type": "record", "fields": fields });
    let relationship = json!([
        text("object_type"),
        text("object_id"),
        text("relation"),
        text("subject_object_type"),
        text("subject_object_id"),
        text("subject_relation"),
        text("caveat_name"),
        field("caveat_context", json!("bytes")),
        field("expiration", json!({ "type": "long", "logicalType": "timestamp-millis" })),
    ]);
    json!([record(RELATIONSHIP, relationship), record(SCHEMA, json!([text("schema_text")]))]).to_string()
}

/// Appends the record of a schema.
pub(super) fn put_schema(bytes: &mut Vec<u8>, text: &str) {
    put_long(bytes, SCHEMA_INDEX);
    put_bytes(bytes, text.as_bytes());
}

/// Appends the record of a relationship. An expiration keeps its milliseconds.
pub(super) fn put_relationship(bytes: &mut Vec<u8>, relationship: &pb::Relationship) {
    let object = |object: Option<&pb::ObjectReference>| object.cloned().unwrap_or_default();
    let resource = object(relationship.resource.as_ref());
    let subject = relationship.subject.clone().unwrap_or_default();
    let subject_object = object(subject.object.as_ref());
    let caveat = relationship.optional_caveat.clone().unwrap_or_default();
    put_long(bytes, RELATIONSHIP_INDEX);
    for text in [
        &resource.object_type,
        &resource.object_id,
        &relationship.relation,
        &subject_object.object_type,
        &subject_object.object_id,
        &subject.optional_relation,
        &caveat.caveat_name,
    ] {
        put_bytes(bytes, text.as_bytes());
    }
    put_bytes(bytes, &caveat.context.unwrap_or_default().encode_to_vec());
    let expiration = relationship.optional_expires_at.as_ref();
    put_long(bytes, expiration.map_or(NEVER_MS, |time| time.seconds * 1000 + i64::from(time.nanos / 1_000_000)));
}

/// How the records of a file are laid out, by the schema in its header.
#[derive(Debug)]
pub(super) struct Layout(Vec<RecordLayout>);

#[derive(Debug)]
struct RecordLayout {
    name: String,
    fields: Vec<(String, Kind)>,
}

#[derive(Debug)]
enum Kind {
    Null,
    Long,
    Millis,
    Micros,
    Bytes,
    Text,
    Union(Vec<Kind>),
}

enum Field {
    Null,
    Long(i64),
    Millis(i64),
    Micros(i64),
    Bytes(Vec<u8>),
    Text(String),
}

impl Layout {
    /// Reads the Avro schema of a file. One with records or fields that are not known here is refused: what they mean would
    /// be lost.
    pub(super) fn parse(schema: &[u8]) -> anyhow::Result<Self> {
        let schema: Value = serde_json::from_slice(schema).context("its Avro schema is not JSON")?;
        let branches = schema.as_array().context("its Avro schema is not a union of records")?;
        let records = branches.iter().map(RecordLayout::parse).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Layout(records))
    }

    /// Reads a record from the beginning of `bytes` and takes it off.
    pub(super) fn take(&self, bytes: &mut &[u8]) -> anyhow::Result<Record> {
        let index = usize::try_from(take_long(bytes)?).ok();
        let layout = index.and_then(|index| self.0.get(index)).context("a record of an unknown kind")?;
        let mut fields = BTreeMap::new();
        for (name, kind) in &layout.fields {
            fields.insert(name.as_str(), kind.take(bytes).with_context(|| format!("field `{name}`"))?);
        }
        match layout.name.as_str() {
            SCHEMA => Ok(Record::Schema(text(&mut fields, "schema_text")?)),
            _ => relationship(fields).map(Record::Relationship),
        }
    }
}

impl RecordLayout {
    fn parse(record: &Value) -> anyhow::Result<Self> {
        let full = record["name"].as_str().context("its Avro schema has a record without a name")?;
        let name = full.rsplit('.').next().unwrap_or(full).to_owned();
        let known: &[&str] = match name.as_str() {
            SCHEMA => &["schema_text"],
            RELATIONSHIP => &[
                "object_type",
                "object_id",
                "relation",
                "subject_object_type",
                "subject_object_id",
                "subject_relation",
                "caveat_name",
                "caveat_context",
                "expiration",
            ],
            _ => {
                bail!("records `{full}` are not known: it is no backup of SpiceDB or Stonetown, or of a newer version")
            }
        };
        let fields = record["fields"].as_array().context("its Avro schema has a record without fields")?;
        let mut parsed = Vec::new();
        for field in fields {
            let name = field["name"].as_str().unwrap_or_default();
            ensure!(
                known.contains(&name),
                "field `{name}` of `{full}` is not known: it was written by a newer version"
            );
            ensure!(parsed.iter().all(|(other, _)| other != name), "field `{name}` of `{full}` comes twice");
            parsed.push((name.to_owned(), Kind::parse(&field["type"])?));
        }
        Ok(RecordLayout { name, fields: parsed })
    }
}

impl Kind {
    fn parse(kind: &Value) -> anyhow::Result<Self> {
        let (name, logical) = match kind {
            Value::Array(branches) => {
                ensure!(branches.iter().all(|branch| !branch.is_array()), "a union within a union");
                return Ok(Kind::Union(branches.iter().map(Kind::parse).collect::<anyhow::Result<_>>()?));
            }
            Value::Object(_) => (kind["type"].as_str(), kind["logicalType"].as_str()),
            other => (other.as_str(), None),
        };
        Ok(match (name, logical) {
            (Some("null"), _) => Kind::Null,
            (Some("string"), _) => Kind::Text,
            (Some("bytes"), None) => Kind::Bytes,
            (Some("long"), None) => Kind::Long,
            (Some("long"), Some("timestamp-millis")) => Kind::Millis,
            (Some("long"), Some("timestamp-micros")) => Kind::Micros,
            _ => bail!("a field of type `{kind}` is not known"),
        })
    }

    fn take(&self, bytes: &mut &[u8]) -> anyhow::Result<Field> {
        Ok(match self {
            Kind::Null => Field::Null,
            Kind::Long => Field::Long(take_long(bytes)?),
            Kind::Millis => Field::Millis(take_long(bytes)?),
            Kind::Micros => Field::Micros(take_long(bytes)?),
            Kind::Bytes => Field::Bytes(take_bytes(bytes)?.to_vec()),
            Kind::Text => Field::Text(String::from_utf8(take_bytes(bytes)?.to_vec())?),
            Kind::Union(branches) => {
                let branch = usize::try_from(take_long(bytes)?).ok().and_then(|index| branches.get(index));
                branch.context("a value of an unknown kind")?.take(bytes)?
            }
        })
    }
}

fn text(fields: &mut BTreeMap<&str, Field>, name: &str) -> anyhow::Result<String> {
    match fields.remove(name) {
        Some(Field::Text(text)) => Ok(text),
        _ => Err(anyhow!("a record without the text `{name}`")),
    }
}

fn relationship(mut fields: BTreeMap<&str, Field>) -> anyhow::Result<pb::Relationship> {
    let mut text_of = |name| text(&mut fields, name);
    let resource = pb::ObjectReference { object_type: text_of("object_type")?, object_id: text_of("object_id")? };
    let relation = text_of("relation")?;
    let object =
        pb::ObjectReference { object_type: text_of("subject_object_type")?, object_id: text_of("subject_object_id")? };
    let optional_relation = Some(text_of("subject_relation")?).filter(|it| it != "...").unwrap_or_default();
    Ok(pb::Relationship {
        resource: Some(resource),
        relation,
        subject: Some(pb::SubjectReference { object: Some(object), optional_relation }),
        optional_caveat: caveat(&mut fields)?,
        optional_expires_at: expiration(fields.remove("expiration"))?,
    })
}

fn caveat(fields: &mut BTreeMap<&str, Field>) -> anyhow::Result<Option<pb::ContextualizedCaveat>> {
    let caveat_name = match fields.remove("caveat_name") {
        Some(Field::Text(name)) => name,
        Some(Field::Null) | None => String::new(),
        Some(_) => bail!("the name of a caveat is not text"),
    };
    let context = match fields.remove("caveat_context") {
        Some(Field::Bytes(bytes)) => bytes,
        Some(Field::Null) | None => Vec::new(),
        Some(_) => bail!("the context of a caveat is not bytes"),
    };
    if caveat_name.is_empty() {
        ensure!(context.is_empty(), "the context of a caveat without a name");
        return Ok(None);
    }
    let context = prost_types::Struct::decode(&*context).context("the context of a caveat cannot be read")?;
    Ok(Some(pb::ContextualizedCaveat { caveat_name, context: Some(context) }))
}

fn expiration(field: Option<Field>) -> anyhow::Result<Option<Timestamp>> {
    let (number, per_second) = match field {
        None | Some(Field::Null) | Some(Field::Millis(NEVER_MS) | Field::Long(NEVER_MS)) => return Ok(None),
        Some(Field::Millis(number) | Field::Long(number)) => (number, 1_000),
        Some(Field::Micros(number)) if number == NEVER_MS * 1_000 => return Ok(None),
        Some(Field::Micros(number)) => (number, 1_000_000),
        Some(Field::Bytes(_) | Field::Text(_)) => bail!("an expiration is not a time"),
    };
    let nanos = number.rem_euclid(per_second) * (1_000_000_000 / per_second);
    Ok(Some(Timestamp { seconds: number.div_euclid(per_second), nanos: i32::try_from(nanos)? }))
}
