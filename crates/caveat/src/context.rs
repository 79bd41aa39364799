//! From the JSON of a context to the values of a caveat's parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Number, Value as Json};
use stonetown_tuple::CaveatContext;

use crate::limits::{VALUE_NESTING_MAX, shortened};
use crate::time;
use crate::types::{Parameter, ParameterType};
use crate::value::{Key, Value, whole};

/// Values for some of a caveat's parameters, ready for [`Caveat::evaluate`](crate::Caveat::evaluate) of the caveat that
/// read them. The default has none.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// By the index of the parameter.
    values: Box<[Option<Value>]>,
}

/// A context that does not suit the parameters of its caveat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A key is no parameter of the caveat.
    #[error("`{parameter}` is not a parameter of the caveat")]
    UnknownParameter {
        /// The key.
        parameter: String,
    },
    /// A value has not the type of its parameter.
    #[error("parameter `{parameter}` takes {expected}, found {got}")]
    WrongType {
        /// The parameter.
        parameter: String,
        /// The type it was declared with.
        expected: ParameterType,
        /// The refused value, shortened.
        got: String,
    },
}

impl ContextError {
    /// The parameter, or the key that is none.
    #[must_use]
    pub fn parameter(&self) -> &str {
        match self {
            ContextError::UnknownParameter { parameter } | ContextError::WrongType { parameter, .. } => parameter,
        }
    }
}

impl Arguments {
    /// Whether no parameter has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    pub(crate) fn read(parameters: &[Parameter], context: &CaveatContext) -> Result<Arguments, ContextError> {
        if context.is_empty() {
            return Ok(Arguments::default());
        }
        let read_one = |parameter: &Parameter| {
            let Some(json) = context.get(&parameter.name) else { return Ok(None) };
            read(&parameter.parameter_type, json, 0).map(Some).map_err(|refused| ContextError::WrongType {
                parameter: parameter.name.clone(),
                expected: parameter.parameter_type.clone(),
                got: describe(refused),
            })
        };
        Ok(Arguments { values: parameters.iter().map(read_one).collect::<Result<_, _>>()? })
    }

    /// What it took to read them, in steps of an evaluation.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.values.iter().flatten().map(Value::steps).sum()
    }

    pub(crate) fn get(&self, parameter: usize) -> Option<&Value> {
        self.values.get(parameter)?.as_ref()
    }
}

/// The value that `json` is for a type, else the part of it that does not suit.
fn read<'j>(parameter_type: &ParameterType, json: &'j Json, depth: usize) -> Result<Value, &'j Json> {
    let scalar = match (parameter_type, json) {
        (ParameterType::Any, _) => return read_any(json, depth),
        (ParameterType::List(element), Json::Array(items)) => {
            let items: Result<_, _> = items.iter().map(|item| read(element, item, depth + 1)).collect();
            return Ok(Value::List(Arc::new(items?)));
        }
        (ParameterType::Map(element), Json::Object(fields)) => {
            return read_fields(fields, |field| read(element, field, depth + 1));
        }
        (ParameterType::Bool, Json::Bool(value)) => Some(Value::Bool(*value)),
        (ParameterType::String, Json::String(text)) => Some(Value::text(text)),
        (ParameterType::Int, Json::Number(number)) => whole_number(number).map(Value::Int),
        (ParameterType::Int, Json::String(text)) => parse_whole(text).map(Value::Int),
        (ParameterType::Uint, Json::Number(number)) => match number.as_u64() {
            Some(value) => Some(unsigned(value)),
            None => whole_number(number).filter(|value| *value >= 0).map(Value::Int),
        },
        (ParameterType::Uint, Json::String(text)) => match text.parse::<u64>() {
            Ok(value) => Some(unsigned(value)),
            Err(_) => parse_whole(text).filter(|value| *value >= 0).map(Value::Int),
        },
        (ParameterType::Double, Json::Number(number)) => number.as_f64().map(Value::Double),
        (ParameterType::Double, Json::String(text)) => parse_decimal(text).map(Value::Double),
        (ParameterType::Bytes, Json::String(text)) => {
            BASE64_STANDARD.decode(text).ok().map(|bytes| Value::Bytes(Arc::from(bytes)))
        }
        (ParameterType::Duration, Json::String(text)) => time::parse_duration(text).map(Value::Duration),
        (ParameterType::Timestamp, Json::String(text)) => time::parse_timestamp(text).map(Value::Timestamp),
        (ParameterType::IpAddress, Json::String(text)) => {
            text.parse::<std::net::IpAddr>().ok().map(|address| Value::Ip(address.to_canonical()))
        }
        _ => None,
    };
    scalar.ok_or(json)
}

/// Without a declared type, numbers are doubles, as everywhere in JSON.
fn read_any(json: &Json, depth: usize) -> Result<Value, &Json> {
    Ok(match json {
        Json::Array(_) | Json::Object(_) if depth >= VALUE_NESTING_MAX => return Err(json),
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Double(number.as_f64().ok_or(json)?),
        Json::String(text) => Value::text(text),
        Json::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| read_any(item, depth + 1)).collect();
            Value::List(Arc::new(items?))
        }
        Json::Object(fields) => read_fields(fields, |field| read_any(field, depth + 1))?,
    })
}

fn read_fields<'j>(
    fields: &'j CaveatContext,
    read: impl Fn(&'j Json) -> Result<Value, &'j Json>,
) -> Result<Value, &'j Json> {
    let entries = fields.iter().map(|(key, field)| Ok((Key::String(Arc::from(key.as_str())), read(field)?)));
    Ok(Value::Map(Arc::new(entries.collect::<Result<BTreeMap<_, _>, _>>()?)))
}

/// An `int`, unless only 64 bits without a sign can hold it.
fn unsigned(value: u64) -> Value {
    i64::try_from(value).map_or(Value::Uint(value), Value::Int)
}

fn whole_number(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| whole(number.as_f64()?))
}

/// A whole number in decimal, such as `12`, `-3` or `4.0`.
fn parse_whole(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| whole(parse_decimal(text)?))
}

fn parse_decimal(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A value in a message: what it is, and the beginning of its text.
fn describe(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => format!("`{value}`"),
        Json::Number(number) => format!("the number `{number}`"),
        Json::String(text) => {
            let shown = shortened(text);
            format!("the string `{shown}{}`", if shown.len() < text.len() { "…" } else { "" })
        }
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}
