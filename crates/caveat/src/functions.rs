//! What the operators and functions do with values.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::convert;
use crate::evaluate::{Evaluated, Fault, Meter, no_result};
use crate::limits::{GIVEN_PATTERN_BYTES_MAX, shortened};
use crate::pattern::Pattern;
use crate::time::{self, Moment, Part};
use crate::value::{Compared, Key, Kind, Value, whole};

/// What it costs to find a time zone, in steps.
const ZONE_STEPS: usize = 10;
/// What it costs to compile a pattern that is no constant, in steps, beside one per byte.
const PATTERN_STEPS: usize = 4_000;

/// A function of one or two arguments that sees only values, never unknown ones. The object of a method is its first
/// argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Not,
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Index,
    OptionalIndex,
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    /// `int(…)` and its kin, `type(…)` aside.
    Convert(Kind),
    TypeOf,
    Part(Part),
    InCidr,
    IsSubtreeOf,
    OptionalOf,
    OptionalOfNonZero,
    HasValue,
    OptionalValue,
}

/// Calls `function`. The number of arguments has been checked, their types have been as far as they were known.
pub(crate) fn apply(function: Function, arguments: &[Value], meter: &mut Meter) -> Evaluated {
    match (function, arguments) {
        (Function::Equal, [a, b]) => equal(a, b, meter).map(Value::Bool),
        (Function::NotEqual, [a, b]) => equal(a, b, meter).map(|equal| Value::Bool(!equal)),
        (Function::Less | Function::LessEqual | Function::Greater | Function::GreaterEqual, [a, b]) => {
            ordered(function, a, b, meter)
        }
        (Function::Add | Function::Subtract, [a, b]) => sum(function, a, b, meter),
        (Function::Multiply | Function::Divide | Function::Remainder, [a, b]) => product(function, a, b),
        (Function::In, [element, container]) => contains_element(element, container, meter),
        (Function::Index, [container, index]) => index_of(container, index),
        (Function::OptionalIndex, [container, index]) => optional_index(container, index),
        (Function::Contains, [Value::String(text), Value::String(part)]) => {
            meter.charge_bytes(text.len() + part.len())?;
            Ok(Value::Bool(text.contains(&**part)))
        }
        (Function::StartsWith, [Value::String(text), Value::String(part)]) => {
            meter.charge_bytes(part.len() / 16)?;
            Ok(Value::Bool(text.starts_with(&**part)))
        }
        (Function::EndsWith, [Value::String(text), Value::String(part)]) => {
            meter.charge_bytes(part.len() / 16)?;
            Ok(Value::Bool(text.ends_with(&**part)))
        }
        (Function::Matches, [text, Value::String(pattern)]) => {
            meter.charge(PATTERN_STEPS + pattern.len())?;
            matches(text, &Pattern::compile(pattern, GIVEN_PATTERN_BYTES_MAX).map_err(no_result)?, meter)
        }
        (Function::InCidr, [address, Value::String(network)]) => {
            in_network(address, &parse_network(network).map_err(no_result)?)
        }
        (Function::IsSubtreeOf, [Value::Map(_), Value::Map(_)]) => {
            subtree(&arguments[0], &arguments[1], meter).map(Value::Bool)
        }
        (Function::Part(part), [moment, Value::String(zone)]) => {
            meter.charge(ZONE_STEPS)?;
            part_in_zone(part, moment, zone)
        }
        (_, [argument]) => apply_to_one(function, argument, meter),
        _ => Err(mismatch(function, arguments)),
    }
}

fn apply_to_one(function: Function, argument: &Value, meter: &mut Meter) -> Evaluated {
    match (function, argument) {
        (Function::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
        (Function::Negate, Value::Int(value)) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
        (Function::Negate, Value::Double(value)) => Ok(Value::Double(-value)),
        (Function::Size, _) => size(argument, meter),
        (Function::Convert(kind), _) => convert::convert(argument, kind, meter),
        (Function::TypeOf, _) => Ok(Value::Type(argument.kind())),
        (Function::Part(part), Value::Timestamp(moment)) => {
            Ok(Value::Int(time::part_of_timestamp(part, *moment, &TimeZone::UTC)))
        }
        (Function::Part(part), Value::Duration(duration)) => {
            let part = time::part_of_duration(part, *duration);
            part.map(Value::Int).ok_or_else(|| no_result("a duration has no calendar"))
        }
        (Function::OptionalOf, _) => Ok(Value::optional(Some(argument.clone()))),
        (Function::OptionalOfNonZero, _) => Ok(Value::optional((!is_zero(argument)).then(|| argument.clone()))),
        (Function::HasValue, Value::Optional(value)) => Ok(Value::Bool(value.is_some())),
        (Function::OptionalValue, Value::Optional(value)) => {
            value.as_deref().cloned().ok_or_else(|| no_result("an optional has no value"))
        }
        _ => Err(mismatch(function, std::slice::from_ref(argument))),
    }
}

/// `operand.field`, or `has(operand.field)`.
pub(crate) fn select(operand: &Value, field: &Key, only_test: bool) -> Evaluated {
    let missing = || no_result(format!("no such key `{}`", key_text(field)));
    match operand {
        Value::Map(entries) if only_test => Ok(Value::Bool(entries.contains_key(field))),
        Value::Map(entries) => entries.get(field).cloned().ok_or_else(missing),
        Value::Optional(None) if only_test => Ok(Value::Bool(false)),
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => match &**value {
            Value::Map(entries) if only_test => Ok(Value::Bool(entries.contains_key(field))),
            Value::Map(entries) => Ok(Value::optional(entries.get(field).cloned())),
            other => Err(no_result(format!("{} has no fields", other.kind().name()))),
        },
        other => Err(no_result(format!("{} has no fields", other.kind().name()))),
    }
}

pub(crate) fn matches(text: &Value, pattern: &Pattern, meter: &mut Meter) -> Evaluated {
    let Value::String(text) = text else {
        return Err(no_result(format!("`matches` takes a string, found {}", text.kind().name())));
    };
    pattern.is_match(text, meter).map(Value::Bool)
}

/// Reads a network such as `10.0.0.0/8`; bits after the prefix are ignored. IPv4 mapped into IPv6 is IPv4.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    const MAPPED_BITS: u8 = 96;
    let network: IpNet =
        text.parse().map_err(|_| format!("`{}` is not a network such as `10.0.0.0/8`", shortened(text)))?;
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(MAPPED_BITS)
        && let Ok(mapped) = ipnet::Ipv4Net::new(v4, length)
    {
        return Ok(IpNet::V4(mapped));
    }
    Ok(network)
}

pub(crate) fn in_network(address: &Value, network: &IpNet) -> Evaluated {
    match address {
        Value::Ip(address) => Ok(Value::Bool(network.contains(address))),
        other => Err(no_result(format!("`in_cidr` takes an ipaddress, found {}", other.kind().name()))),
    }
}

/// Values of different types are not equal, except numbers, which are compared as numbers.
fn equal(a: &Value, b: &Value, meter: &mut Meter) -> Result<bool, Fault> {
    meter.charge(1)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::String(a), Value::String(b)) => {
            meter.charge_bytes(a.len().min(b.len()) / 16)?;
            a == b
        }
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, a) in a.iter() {
                match b.get(key) {
                    Some(b) if equal(a, b, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => equal(a, b, meter)?,
        _ => matches!(a.compare(b), Compared::Order(order) if order.is_eq()),
    })
}

fn ordered(function: Function, a: &Value, b: &Value, meter: &mut Meter) -> Evaluated {
    if let (Value::String(a), Value::String(b)) = (a, b) {
        meter.charge_bytes(a.len().min(b.len()) / 16)?;
    }
    let order = match a.compare(b) {
        Compared::Order(order) => order,
        Compared::Unordered => return Err(no_result("not-a-number has no order")),
        Compared::DifferentTypes => {
            let message = format!("{} and {} have no order", a.kind().name(), b.kind().name());
            return Err(no_result(message));
        }
    };
    Ok(Value::Bool(match function {
        Function::Less => order.is_lt(),
        Function::LessEqual => order.is_le(),
        Function::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

fn sum(function: Function, a: &Value, b: &Value, meter: &mut Meter) -> Evaluated {
    let adds = function == Function::Add;
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            let sum = if adds { a.checked_add(*b) } else { a.checked_sub(*b) };
            sum.map(Value::Int).ok_or_else(overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            let sum = if adds { a.checked_add(*b) } else { a.checked_sub(*b) };
            sum.map(Value::Uint).ok_or_else(overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(if adds { a + b } else { a - b })),
        (Value::Duration(a), Value::Duration(b)) => {
            let sum = if adds { a.checked_add(*b) } else { a.checked_sub(*b) };
            sum.map(Value::Duration).ok_or_else(overflow)
        }
        (Value::Timestamp(moment), Value::Duration(duration)) => {
            let nanoseconds = if adds { i128::from(*duration) } else { -i128::from(*duration) };
            Moment::from_nanoseconds(moment.nanoseconds() + nanoseconds).map(Value::Timestamp).ok_or_else(overflow)
        }
        (Value::Duration(duration), Value::Timestamp(moment)) if adds => {
            Moment::from_nanoseconds(moment.nanoseconds() + i128::from(*duration))
                .map(Value::Timestamp)
                .ok_or_else(overflow)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) if !adds => {
            let nanoseconds = i64::try_from(a.nanoseconds() - b.nanoseconds());
            nanoseconds.map(Value::Duration).map_err(|_| overflow())
        }
        (Value::String(a), Value::String(b)) if adds => {
            meter.charge_bytes(a.len() + b.len())?;
            Ok(Value::String(Arc::from([&**a, &**b].concat())))
        }
        (Value::Bytes(a), Value::Bytes(b)) if adds => {
            meter.charge_bytes(a.len() + b.len())?;
            Ok(Value::Bytes(Arc::from([&**a, &**b].concat())))
        }
        (Value::List(a), Value::List(b)) if adds => {
            meter.charge(a.len() + b.len())?;
            Ok(Value::List(Arc::new(a.iter().chain(b.iter()).cloned().collect())))
        }
        _ => Err(mismatch(function, &[a.clone(), b.clone()])),
    }
}

fn product(function: Function, a: &Value, b: &Value) -> Evaluated {
    let by_zero = || no_result("a division by zero");
    match (function, a, b) {
        (Function::Multiply, Value::Int(a), Value::Int(b)) => a.checked_mul(*b).map(Value::Int).ok_or_else(overflow),
        (Function::Multiply, Value::Uint(a), Value::Uint(b)) => a.checked_mul(*b).map(Value::Uint).ok_or_else(overflow),
        (Function::Multiply, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        (Function::Divide, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        (Function::Divide | Function::Remainder, Value::Int(_), Value::Int(0)) => Err(by_zero()),
        (Function::Divide | Function::Remainder, Value::Uint(_), Value::Uint(0)) => Err(by_zero()),
        (Function::Divide, Value::Int(a), Value::Int(b)) => a.checked_div(*b).map(Value::Int).ok_or_else(overflow),
        (Function::Divide, Value::Uint(a), Value::Uint(b)) => a.checked_div(*b).map(Value::Uint).ok_or_else(overflow),
        (Function::Remainder, Value::Int(a), Value::Int(b)) => a.checked_rem(*b).map(Value::Int).ok_or_else(overflow),
        (Function::Remainder, Value::Uint(a), Value::Uint(b)) => {
            a.checked_rem(*b).map(Value::Uint).ok_or_else(overflow)
        }
        _ => Err(mismatch(function, &[a.clone(), b.clone()])),
    }
}

fn contains_element(element: &Value, container: &Value, meter: &mut Meter) -> Evaluated {
    match container {
        Value::List(items) => {
            for item in items.iter() {
                if equal(element, item, meter)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(entries) => Ok(Value::Bool(Key::of(element).is_some_and(|key| entries.contains_key(&key)))),
        other => Err(no_result(format!("`in` takes a list or map on its right, found {}", other.kind().name()))),
    }
}

fn index_of(container: &Value, index: &Value) -> Evaluated {
    if let Value::Optional(_) = container {
        return optional_index(container, index);
    }
    find(container, index)?.ok_or_else(|| match (container, Key::of(index)) {
        (Value::Map(_), Some(key)) => no_result(format!("no such key `{}`", key_text(&key))),
        _ => no_result("an index is outside of the list"),
    })
}

fn optional_index(container: &Value, index: &Value) -> Evaluated {
    match container {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => find(value, index).map(Value::optional),
        container => find(container, index).map(Value::optional),
    }
}

fn find(container: &Value, index: &Value) -> Result<Option<Value>, Fault> {
    match (container, index) {
        (Value::List(items), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            let index = match index {
                Value::Int(index) => usize::try_from(*index).ok(),
                Value::Uint(index) => usize::try_from(*index).ok(),
                Value::Double(index) => {
                    let index = whole(*index).ok_or_else(|| no_result("the index of a list is not whole"))?;
                    usize::try_from(index).ok()
                }
                _ => None,
            };
            Ok(index.and_then(|index| items.get(index)).cloned())
        }
        (Value::Map(entries), _) if Key::of(index).is_some() => {
            Ok(Key::of(index).and_then(|key| entries.get(&key)).cloned())
        }
        _ => Err(mismatch(Function::Index, &[container.clone(), index.clone()])),
    }
}

fn size(argument: &Value, meter: &mut Meter) -> Evaluated {
    let size = match argument {
        Value::String(text) => {
            meter.charge_bytes(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        other => return Err(mismatch(Function::Size, std::slice::from_ref(other))),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| overflow())
}

fn part_in_zone(part: Part, moment: &Value, zone: &str) -> Evaluated {
    let Value::Timestamp(moment) = moment else {
        return Err(mismatch(Function::Part(part), std::slice::from_ref(moment)));
    };
    let zone = time::zone(zone).ok_or_else(|| no_result(format!("`{}` is not a time zone", shortened(zone))))?;
    Ok(Value::Int(time::part_of_timestamp(part, *moment, &zone)))
}

/// Whether `whole` has everything that `part` has, in nested maps too.
fn subtree(part: &Value, whole: &Value, meter: &mut Meter) -> Result<bool, Fault> {
    let (Value::Map(part), Value::Map(whole)) = (part, whole) else { return equal(part, whole, meter) };
    for (key, value) in part.iter() {
        meter.charge(1)?;
        match whole.get(key) {
            Some(other) if subtree(value, other, meter)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Optional(value) => value.is_none(),
        _ => false,
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Bool(value) => value.to_string(),
        Key::Int(value) => value.to_string(),
        Key::Uint(value) => value.to_string(),
        Key::String(value) => shortened(value).to_owned(),
    }
}

fn overflow() -> Fault {
    no_result("a result is out of range")
}

fn mismatch(function: Function, arguments: &[Value]) -> Fault {
    let kinds: Vec<_> = arguments.iter().map(|argument| argument.kind().name()).collect();
    no_result(format!("`{}` does not take {}", function.name(), kinds.join(" and ")))
}

impl Function {
    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Function::Not => "!",
            Function::Negate | Function::Subtract => "-",
            Function::Add => "+",
            Function::Multiply => "*",
            Function::Divide => "/",
            Function::Remainder => "%",
            Function::Equal => "==",
            Function::NotEqual => "!=",
            Function::Less => "<",
            Function::LessEqual => "<=",
            Function::Greater => ">",
            Function::GreaterEqual => ">=",
            Function::In => "in",
            Function::Index => "[…]",
            Function::OptionalIndex => "[?…]",
            Function::Size => "size",
            Function::Contains => "contains",
            Function::StartsWith => "startsWith",
            Function::EndsWith => "endsWith",
            Function::Matches => "matches",
            Function::Convert(kind) => kind.name(),
            Function::TypeOf => "type",
            Function::Part(part) => part.name(),
            Function::InCidr => "in_cidr",
            Function::IsSubtreeOf => "isSubtreeOf",
            Function::OptionalOf => "optional.of",
            Function::OptionalOfNonZero => "optional.ofNonZeroValue",
            Function::HasValue => "hasValue",
            Function::OptionalValue => "value",
        }
    }
}
