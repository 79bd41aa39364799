//! Which functions there are, and the types they take and give.

use crate::functions::Function;
use crate::time::Part;
use crate::value::{Kind, Type};

use Kind::{Bool, Bytes, Double, Duration, Dyn, Int, Ip, List, Map, Optional, String, Timestamp, Uint};

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `f(x)`, and the operators.
    Global,
    /// `x.f()`: the first argument is the object.
    Method,
}

use Style::{Global, Method};

/// One combination of types that a function takes. `Dyn` takes every type.
struct Overload {
    name: &'static str,
    style: Style,
    function: Function,
    arguments: &'static [Kind],
    result: Kind,
}

const fn overload(
    name: &'static str,
    style: Style,
    function: Function,
    arguments: &'static [Kind],
    result: Kind,
) -> Overload {
    Overload { name, style, function, arguments, result }
}

/// Functions whose result type depends only on which overload it is. What looks into the types of elements is in
/// [`resolve`].
const OVERLOADS: &[Overload] = &[
    overload("!_", Global, Function::Not, &[Bool], Bool),
    overload("-_", Global, Function::Negate, &[Int], Int),
    overload("-_", Global, Function::Negate, &[Double], Double),
    overload("_+_", Global, Function::Add, &[Int, Int], Int),
    overload("_+_", Global, Function::Add, &[Uint, Uint], Uint),
    overload("_+_", Global, Function::Add, &[Double, Double], Double),
    overload("_+_", Global, Function::Add, &[String, String], String),
    overload("_+_", Global, Function::Add, &[Bytes, Bytes], Bytes),
    overload("_+_", Global, Function::Add, &[Duration, Duration], Duration),
    overload("_+_", Global, Function::Add, &[Timestamp, Duration], Timestamp),
    overload("_+_", Global, Function::Add, &[Duration, Timestamp], Timestamp),
    overload("_-_", Global, Function::Subtract, &[Int, Int], Int),
    overload("_-_", Global, Function::Subtract, &[Uint, Uint], Uint),
    overload("_-_", Global, Function::Subtract, &[Double, Double], Double),
    overload("_-_", Global, Function::Subtract, &[Duration, Duration], Duration),
    overload("_-_", Global, Function::Subtract, &[Timestamp, Duration], Timestamp),
    overload("_-_", Global, Function::Subtract, &[Timestamp, Timestamp], Duration),
    overload("_*_", Global, Function::Multiply, &[Int, Int], Int),
    overload("_*_", Global, Function::Multiply, &[Uint, Uint], Uint),
    overload("_*_", Global, Function::Multiply, &[Double, Double], Double),
    overload("_/_", Global, Function::Divide, &[Int, Int], Int),
    overload("_/_", Global, Function::Divide, &[Uint, Uint], Uint),
    overload("_/_", Global, Function::Divide, &[Double, Double], Double),
    overload("_%_", Global, Function::Remainder, &[Int, Int], Int),
    overload("_%_", Global, Function::Remainder, &[Uint, Uint], Uint),
    overload("size", Global, Function::Size, &[String], Int),
    overload("size", Global, Function::Size, &[Bytes], Int),
    overload("size", Global, Function::Size, &[List], Int),
    overload("size", Global, Function::Size, &[Map], Int),
    overload("size", Method, Function::Size, &[String], Int),
    overload("size", Method, Function::Size, &[Bytes], Int),
    overload("size", Method, Function::Size, &[List], Int),
    overload("size", Method, Function::Size, &[Map], Int),
    overload("contains", Method, Function::Contains, &[String, String], Bool),
    overload("startsWith", Method, Function::StartsWith, &[String, String], Bool),
    overload("endsWith", Method, Function::EndsWith, &[String, String], Bool),
    overload("matches", Method, Function::Matches, &[String, String], Bool),
    overload("matches", Global, Function::Matches, &[String, String], Bool),
    overload("in_cidr", Method, Function::InCidr, &[Ip, String], Bool),
    overload("isSubtreeOf", Method, Function::IsSubtreeOf, &[Map, Map], Bool),
    overload("bool", Global, Function::Convert(Bool), &[Bool], Bool),
    overload("bool", Global, Function::Convert(Bool), &[String], Bool),
    overload("int", Global, Function::Convert(Int), &[Int], Int),
    overload("int", Global, Function::Convert(Int), &[Uint], Int),
    overload("int", Global, Function::Convert(Int), &[Double], Int),
    overload("int", Global, Function::Convert(Int), &[String], Int),
    overload("int", Global, Function::Convert(Int), &[Timestamp], Int),
    overload("int", Global, Function::Convert(Int), &[Duration], Int),
    overload("uint", Global, Function::Convert(Uint), &[Uint], Uint),
    overload("uint", Global, Function::Convert(Uint), &[Int], Uint),
    overload("uint", Global, Function::Convert(Uint), &[Double], Uint),
    overload("uint", Global, Function::Convert(Uint), &[String], Uint),
    overload("double", Global, Function::Convert(Double), &[Double], Double),
    overload("double", Global, Function::Convert(Double), &[Int], Double),
    overload("double", Global, Function::Convert(Double), &[Uint], Double),
    overload("double", Global, Function::Convert(Double), &[String], Double),
    overload("string", Global, Function::Convert(String), &[String], String),
    overload("string", Global, Function::Convert(String), &[Bool], String),
    overload("string", Global, Function::Convert(String), &[Int], String),
    overload("string", Global, Function::Convert(String), &[Uint], String),
    overload("string", Global, Function::Convert(String), &[Double], String),
    overload("string", Global, Function::Convert(String), &[Bytes], String),
    overload("string", Global, Function::Convert(String), &[Timestamp], String),
    overload("string", Global, Function::Convert(String), &[Duration], String),
    overload("bytes", Global, Function::Convert(Bytes), &[Bytes], Bytes),
    overload("bytes", Global, Function::Convert(Bytes), &[String], Bytes),
    overload("duration", Global, Function::Convert(Duration), &[Duration], Duration),
    overload("duration", Global, Function::Convert(Duration), &[String], Duration),
    overload("duration", Global, Function::Convert(Duration), &[Int], Duration),
    overload("timestamp", Global, Function::Convert(Timestamp), &[Timestamp], Timestamp),
    overload("timestamp", Global, Function::Convert(Timestamp), &[String], Timestamp),
    overload("timestamp", Global, Function::Convert(Timestamp), &[Int], Timestamp),
    overload("type", Global, Function::TypeOf, &[Dyn], Kind::Type),
    overload("getFullYear", Method, Function::Part(Part::FullYear), &[Timestamp], Int),
    overload("getFullYear", Method, Function::Part(Part::FullYear), &[Timestamp, String], Int),
    overload("getMonth", Method, Function::Part(Part::Month), &[Timestamp], Int),
    overload("getMonth", Method, Function::Part(Part::Month), &[Timestamp, String], Int),
    overload("getDate", Method, Function::Part(Part::Date), &[Timestamp], Int),
    overload("getDate", Method, Function::Part(Part::Date), &[Timestamp, String], Int),
    overload("getDayOfMonth", Method, Function::Part(Part::DayOfMonth), &[Timestamp], Int),
    overload("getDayOfMonth", Method, Function::Part(Part::DayOfMonth), &[Timestamp, String], Int),
    overload("getDayOfWeek", Method, Function::Part(Part::DayOfWeek), &[Timestamp], Int),
    overload("getDayOfWeek", Method, Function::Part(Part::DayOfWeek), &[Timestamp, String], Int),
    overload("getDayOfYear", Method, Function::Part(Part::DayOfYear), &[Timestamp], Int),
    overload("getDayOfYear", Method, Function::Part(Part::DayOfYear), &[Timestamp, String], Int),
    overload("getHours", Method, Function::Part(Part::Hours), &[Timestamp], Int),
    overload("getHours", Method, Function::Part(Part::Hours), &[Timestamp, String], Int),
    overload("getHours", Method, Function::Part(Part::Hours), &[Duration], Int),
    overload("getMinutes", Method, Function::Part(Part::Minutes), &[Timestamp], Int),
    overload("getMinutes", Method, Function::Part(Part::Minutes), &[Timestamp, String], Int),
    overload("getMinutes", Method, Function::Part(Part::Minutes), &[Duration], Int),
    overload("getSeconds", Method, Function::Part(Part::Seconds), &[Timestamp], Int),
    overload("getSeconds", Method, Function::Part(Part::Seconds), &[Timestamp, String], Int),
    overload("getSeconds", Method, Function::Part(Part::Seconds), &[Duration], Int),
    overload("getMilliseconds", Method, Function::Part(Part::Milliseconds), &[Timestamp], Int),
    overload("getMilliseconds", Method, Function::Part(Part::Milliseconds), &[Timestamp, String], Int),
    overload("getMilliseconds", Method, Function::Part(Part::Milliseconds), &[Duration], Int),
    overload("hasValue", Method, Function::HasValue, &[Optional], Bool),
];

/// The function that a call means, and the type of its result.
///
/// # Errors
/// A message: there is no such function, or it does not take these types.
pub(crate) fn resolve(name: &str, style: Style, arguments: &[Type]) -> Result<(Function, Type), std::string::String> {
    if let Some(resolved) = resolve_generic(name, style, arguments) {
        return resolved.ok_or_else(|| refusal(name, style, arguments));
    }
    let mut found: Option<(Function, Type)> = None;
    let mut is_known = false;
    for overload in OVERLOADS.iter().filter(|overload| overload.name == name && overload.style == style) {
        is_known = true;
        let takes = overload.arguments.len() == arguments.len()
            && overload.arguments.iter().zip(arguments).all(|(taken, given)| given.kind().may_be(*taken));
        if takes {
            let result = Type::Plain(overload.result);
            found = Some(match found {
                Some((function, earlier)) => (function, earlier.join(result)),
                None => (overload.function, result),
            });
        }
    }
    match found {
        Some(found) => Ok(found),
        None if is_known => Err(refusal(name, style, arguments)),
        None => Err(format!("there is no {} `{name}`", if style == Style::Method { "method" } else { "function" })),
    }
}

/// The outer `None` is a function that is not generic, the inner one types that it does not take.
fn resolve_generic(name: &str, style: Style, arguments: &[Type]) -> Option<Option<(Function, Type)>> {
    Some(match (name, style, arguments) {
        ("_==_", Global, [a, b]) => comparable(a, b).then_some((Function::Equal, Type::BOOL)),
        ("_!=_", Global, [a, b]) => comparable(a, b).then_some((Function::NotEqual, Type::BOOL)),
        ("_<_", Global, [a, b]) => has_order(a, b).then_some((Function::Less, Type::BOOL)),
        ("_<=_", Global, [a, b]) => has_order(a, b).then_some((Function::LessEqual, Type::BOOL)),
        ("_>_", Global, [a, b]) => has_order(a, b).then_some((Function::Greater, Type::BOOL)),
        ("_>=_", Global, [a, b]) => has_order(a, b).then_some((Function::GreaterEqual, Type::BOOL)),
        ("_+_", Global, [Type::List(a), Type::List(b)]) => {
            Some((Function::Add, Type::list((**a).clone().join((**b).clone()))))
        }
        ("_+_", Global, [Type::List(_), Type::Plain(Dyn)] | [Type::Plain(Dyn), Type::List(_)]) => {
            Some((Function::Add, Type::list(Type::DYN)))
        }
        ("_+_", Global, [Type::Plain(Dyn), Type::Plain(Dyn)]) => Some((Function::Add, Type::DYN)),
        ("@in", Global, [element, container]) => is_in(element, container).then_some((Function::In, Type::BOOL)),
        ("_[_]", Global, [container, index]) => element(container, index).map(|element| (Function::Index, element)),
        ("_[?_]" | "_?._", Global, [container, index]) => element(container, index).map(|element| {
            let optional = if matches!(element, Type::Optional(_)) { element } else { Type::optional(element) };
            (Function::OptionalIndex, optional)
        }),
        ("optional.of", Global, [value]) => Some((Function::OptionalOf, Type::optional(value.clone()))),
        ("optional.ofNonZeroValue", Global, [value]) => {
            Some((Function::OptionalOfNonZero, Type::optional(value.clone())))
        }
        ("value", Method, [Type::Optional(value)]) => Some((Function::OptionalValue, (**value).clone())),
        ("value", Method, [Type::Plain(Dyn)]) => Some((Function::OptionalValue, Type::DYN)),
        _ => return None,
    })
}

/// Numbers of different types can be compared, like those of JSON.
pub(crate) fn comparable(a: &Type, b: &Type) -> bool {
    a.fits(b) || a.kind().is_number() && b.kind().is_number()
}

fn has_order(a: &Type, b: &Type) -> bool {
    let is_ordered = |kind: Kind| kind.is_ordered() || kind == Dyn;
    is_ordered(a.kind()) && is_ordered(b.kind()) && comparable(a, b)
}

fn is_in(element: &Type, container: &Type) -> bool {
    match container {
        Type::List(of) => comparable(element, of),
        Type::Map(key, _) => comparable(element, key),
        other => matches!(other.kind(), Dyn | List | Map),
    }
}

/// What an index into a container gives; an optional container is looked through.
fn element(container: &Type, index: &Type) -> Option<Type> {
    match container {
        Type::List(of) => (index.kind().is_number() || index.kind() == Dyn).then(|| (**of).clone()),
        Type::Map(key, value) => comparable(index, key).then(|| (**value).clone()),
        Type::Optional(inner) => element(inner, index).map(Type::optional),
        other => (other.kind() == Dyn).then_some(Type::DYN),
    }
}

fn refusal(name: &str, style: Style, arguments: &[Type]) -> std::string::String {
    let given: Vec<_> = arguments.iter().map(std::string::ToString::to_string).collect();
    match (operator_sign(name), style) {
        (Some(sign), _) => format!("`{sign}` does not take {}", given.join(" and ")),
        (None, Style::Method) => match given.split_first() {
            Some((object, [])) => format!("`{name}` of {object} does not exist or takes arguments"),
            Some((object, rest)) => format!("`{name}` of {object} does not take {}", rest.join(" and ")),
            None => format!("`{name}` takes an object"),
        },
        (None, Style::Global) if given.is_empty() => format!("`{name}` takes arguments"),
        (None, Style::Global) => format!("`{name}` does not take {}", given.join(" and ")),
    }
}

fn operator_sign(name: &str) -> Option<&str> {
    match name {
        "@in" => Some("in"),
        "_[_]" => Some("[…]"),
        "_[?_]" => Some("[?…]"),
        "_?._" => Some(".?"),
        _ if name.contains('_') && !name.contains(|c: char| c.is_alphanumeric()) => Some(name.trim_matches('_')),
        _ => None,
    }
}
