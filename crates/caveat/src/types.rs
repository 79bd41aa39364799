//! The types that a caveat's parameters can have.

use std::fmt;

use crate::limits::TYPE_NESTING_MAX;

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ParameterType {
    /// Any JSON value; numbers are doubles.
    Any,
    /// `true` or `false`.
    Bool,
    /// A text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A whole number that is not negative. Expressions treat it as an `int`.
    Uint,
    /// A floating-point number of 64 bits.
    Double,
    /// Bytes, written as base64.
    Bytes,
    /// A span of time, written as `1h30m`.
    Duration,
    /// A moment, written as RFC 3339.
    Timestamp,
    /// An IPv4 or IPv6 address; an IPv4 address mapped into IPv6 is the same address.
    IpAddress,
    /// A list whose elements have one type.
    List(Box<ParameterType>),
    /// A map from strings to values of one type.
    Map(Box<ParameterType>),
}

/// A parameter type that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterTypeError {
    /// No type has this name.
    #[error(
        "unknown parameter type `{0}`: expected one of any, bool, string, int, uint, double, bytes, duration, \
         timestamp, ipaddress, list<…>, map<…>"
    )]
    Unknown(String),
    /// A type has too many or too few types in its angle brackets.
    #[error("type `{name}` takes {expected} type(s) in angle brackets, found {found}")]
    Arguments {
        /// The type.
        name: String,
        /// How many it takes.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Types are nested more than [`TYPE_NESTING_MAX`] deep.
    #[error("parameter types are nested more than {TYPE_NESTING_MAX} deep")]
    Nesting,
}

impl ParameterType {
    /// The type called `name`, with `arguments` in its angle brackets.
    ///
    /// # Errors
    /// The name is unknown, `list` or `map` has not exactly one argument, another type has any, or the type is nested
    /// deeper than [`TYPE_NESTING_MAX`].
    pub fn named(name: &str, arguments: Vec<ParameterType>) -> Result<ParameterType, ParameterTypeError> {
        let found = arguments.len();
        let wrong_count = |expected| ParameterTypeError::Arguments { name: name.to_owned(), expected, found };
        if name == "list" || name == "map" {
            let [element]: [ParameterType; 1] = arguments.try_into().map_err(|_| wrong_count(1))?;
            if element.nesting() >= TYPE_NESTING_MAX {
                return Err(ParameterTypeError::Nesting);
            }
            let element = Box::new(element);
            return Ok(if name == "list" { ParameterType::List(element) } else { ParameterType::Map(element) });
        }
        let scalar = match name {
            "any" => ParameterType::Any,
            "bool" => ParameterType::Bool,
            "string" => ParameterType::String,
            "int" => ParameterType::Int,
            "uint" => ParameterType::Uint,
            "double" => ParameterType::Double,
            "bytes" => ParameterType::Bytes,
            "duration" => ParameterType::Duration,
            "timestamp" => ParameterType::Timestamp,
            "ipaddress" => ParameterType::IpAddress,
            _ => return Err(ParameterTypeError::Unknown(name.to_owned())),
        };
        if found == 0 { Ok(scalar) } else { Err(wrong_count(0)) }
    }

    fn nesting(&self) -> usize {
        let mut levels = 1;
        let mut outer = self;
        while let ParameterType::List(inner) | ParameterType::Map(inner) = outer {
            levels += 1;
            outer = inner;
        }
        levels
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParameterType::Any => f.write_str("any"),
            ParameterType::Bool => f.write_str("bool"),
            ParameterType::String => f.write_str("string"),
            ParameterType::Int => f.write_str("int"),
            ParameterType::Uint => f.write_str("uint"),
            ParameterType::Double => f.write_str("double"),
            ParameterType::Bytes => f.write_str("bytes"),
            ParameterType::Duration => f.write_str("duration"),
            ParameterType::Timestamp => f.write_str("timestamp"),
            ParameterType::IpAddress => f.write_str("ipaddress"),
            ParameterType::List(element) => write!(f, "list<{element}>"),
            ParameterType::Map(element) => write!(f, "map<{element}>"),
        }
    }
}

/// A named and typed input of a caveat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What the expression calls it.
    pub name: String,
    /// What values it takes.
    pub parameter_type: ParameterType,
}
