//! Caveat contexts and other JSON objects, which the wire carries as `google.protobuf.Struct`.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Map, Number, Value};
use stonetown_tuple::CaveatContext;
use stonetown_tuple::relationship::normalize;

use super::{At, FieldError};

/// A context; an absent one is empty. The nesting of what arrives is bounded by the decoder.
pub(crate) fn from_wire(context: Option<Struct>) -> Result<CaveatContext, FieldError> {
    context.map_or_else(|| Ok(Map::new()), object)
}

fn object(fields: Struct) -> Result<Map<String, Value>, FieldError> {
    let field = |(name, content): (String, WireValue)| match value(content) {
        Ok(content) => Ok((name, content)),
        Err(error) => Err(error).at(&name),
    };
    fields.fields.into_iter().map(field).collect()
}

/// Any JSON.
pub(crate) fn value(content: WireValue) -> Result<Value, FieldError> {
    Ok(match content.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => {
            let number = Number::from_f64(number).ok_or_else(|| FieldError::new("a number must be finite"))?;
            normalize(Value::Number(number))
        }
        Some(Kind::ListValue(list)) => Value::Array(super::each("", list.values, value)?),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)?),
    })
}

/// The wire's form of a JSON object.
pub(crate) fn to_wire(context: CaveatContext) -> Struct {
    Struct { fields: context.into_iter().map(|(name, content)| (name, value_to_wire(content))).collect() }
}

/// An empty context is not sent.
pub(crate) fn to_wire_if_any(context: CaveatContext) -> Option<Struct> {
    (!context.is_empty()).then(|| to_wire(context))
}

/// The wire's form of any JSON.
pub(crate) fn value_to_wire(content: Value) -> WireValue {
    let kind = match content {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(truth),
        // Every number here came from a double, or is a literal that a double is to stand for.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(value_to_wire).collect() }),
        Value::Object(fields) => Kind::StructValue(to_wire(fields)),
    };
    WireValue { kind: Some(kind) }
}
