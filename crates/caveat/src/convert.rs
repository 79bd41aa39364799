//! Conversions between types, such as `int("7")`.

use std::sync::Arc;

use crate::evaluate::{Evaluated, Fault, Meter, no_result};
use crate::time::{self, Moment};
use crate::value::{Kind, Value};

/// Converts `value` to the type `to`.
pub(crate) fn convert(value: &Value, to: Kind, meter: &mut Meter) -> Evaluated {
    if let Value::String(text) = value {
        meter.charge_bytes(text.len())?;
    }
    let converted = match to {
        _ if value.kind() == to => Some(value.clone()),
        Kind::Bool => to_bool(value),
        Kind::Int => to_int(value),
        Kind::Uint => to_uint(value),
        Kind::Double => to_double(value),
        Kind::String => {
            meter.charge_bytes(64)?;
            to_text(value, meter)?
        }
        Kind::Bytes => {
            let Value::String(text) = value else { return Err(refused(value, to)) };
            Some(Value::Bytes(Arc::from(text.as_bytes())))
        }
        Kind::Duration => match value {
            Value::String(text) => time::parse_duration(text).map(Value::Duration),
            Value::Int(nanoseconds) => Some(Value::Duration(*nanoseconds)),
            _ => None,
        },
        Kind::Timestamp => match value {
            Value::String(text) => time::parse_timestamp(text).map(Value::Timestamp),
            Value::Int(seconds) => Moment::from_seconds(*seconds).map(Value::Timestamp),
            _ => None,
        },
        _ => None,
    };
    converted.ok_or_else(|| refused(value, to))
}

fn refused(value: &Value, to: Kind) -> Fault {
    match value {
        Value::String(text) if text.len() <= 60 => no_result(format!("`{text}` is no {}", to.name())),
        _ => no_result(format!("this {} has no conversion to {}", value.kind().name(), to.name())),
    }
}

fn to_bool(value: &Value) -> Option<Value> {
    let Value::String(text) = value else { return None };
    match &**text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
        _ => None,
    }
}

fn to_int(value: &Value) -> Option<Value> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    Some(Value::Int(match value {
        Value::Uint(number) => i64::try_from(*number).ok()?,
        #[allow(clippy::cast_possible_truncation)] // towards zero, and in range
        Value::Double(number) if -LIMIT < *number && *number < LIMIT => *number as i64,
        Value::String(text) => text.parse().ok()?,
        Value::Timestamp(moment) => moment.seconds(),
        Value::Duration(nanoseconds) => *nanoseconds,
        _ => return None,
    }))
}

fn to_uint(value: &Value) -> Option<Value> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    Some(Value::Uint(match value {
        Value::Int(number) => u64::try_from(*number).ok()?,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // towards zero, and in range
        Value::Double(number) if (0.0..LIMIT).contains(number) => *number as u64,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    }))
}

#[allow(clippy::cast_precision_loss)] // a double is the nearest one
fn to_double(value: &Value) -> Option<Value> {
    Some(Value::Double(match value {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    }))
}

fn to_text(value: &Value, meter: &mut Meter) -> Result<Option<Value>, Fault> {
    let text = match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => print_double(*number),
        Value::Duration(nanoseconds) => time::print_duration(*nanoseconds),
        Value::Timestamp(moment) => moment.to_string(),
        Value::Bytes(bytes) => {
            meter.charge_bytes(bytes.len())?;
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Value::text(&text)))
}

/// The shortest text that reads back the same; with an exponent where it is below -4 or above 5.
fn print_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if exponent < -4 => format!("{mantissa}e-{:02}", exponent.unsigned_abs()),
        Ok(exponent) if exponent >= 6 => format!("{mantissa}e+{exponent:02}"),
        _ => number.to_string(),
    }
}
