//! The values that expressions compute with.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::time::Moment;
use crate::types::ParameterType;

/// A value. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Moment),
    /// Never an IPv4 address in its IPv6 form.
    Ip(IpAddr),
    List(Arc<Vec<Value>>),
    Map(Arc<BTreeMap<Key, Value>>),
    Optional(Option<Arc<Value>>),
    Type(Kind),
}

/// A key of a map. An `int` and a `uint` of the same number are the same key.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Arc<str>),
}

/// A type without the types of its elements: the outermost form of a value, and of a [`Type`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Known only when the value is.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    Ip,
    List,
    Map,
    Optional,
    Type,
}

/// What the type check knows of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// A type that has no elements, or whose elements may be anything.
    Plain(Kind),
    List(Arc<Type>),
    /// Of keys and values.
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
}

impl Value {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) => Kind::Int,
            Value::Uint(_) => Kind::Uint,
            Value::Double(_) => Kind::Double,
            Value::String(_) => Kind::String,
            Value::Bytes(_) => Kind::Bytes,
            Value::Duration(_) => Kind::Duration,
            Value::Timestamp(_) => Kind::Timestamp,
            Value::Ip(_) => Kind::Ip,
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Optional(_) => Kind::Optional,
            Value::Type(_) => Kind::Type,
        }
    }

    /// How large it is: a step for each part, and for every 16 bytes of a text.
    pub(crate) fn steps(&self) -> u64 {
        const BYTES_PER_STEP: u64 = 16;
        let text = |bytes: usize| bytes as u64 / BYTES_PER_STEP;
        1 + match self {
            Value::String(value) => text(value.len()),
            Value::Bytes(value) => text(value.len()),
            Value::List(items) => items.iter().map(Value::steps).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| key.value().steps() + value.steps()).sum(),
            _ => 0,
        }
    }

    /// Text, as a value.
    pub(crate) fn text(text: &str) -> Value {
        Value::String(Arc::from(text))
    }

    /// Some value, or none, as a value.
    pub(crate) fn optional(value: Option<Value>) -> Value {
        Value::Optional(value.map(Arc::new))
    }

    /// The order of two values of one ordered type, numbers of any kinds being one type. Not-a-number is `Unordered`.
    pub(crate) fn compare(&self, other: &Value) -> Compared {
        let order = match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            _ => match (self.number(), other.number()) {
                (Some(Number::Double(a)), Some(Number::Double(b))) => match a.partial_cmp(&b) {
                    Some(order) => order,
                    None => return Compared::Unordered,
                },
                (Some(Number::Whole(a)), Some(Number::Whole(b))) => a.cmp(&b),
                (Some(Number::Whole(a)), Some(Number::Double(b))) if !b.is_nan() => compare_whole(a, b),
                (Some(Number::Double(a)), Some(Number::Whole(b))) if !a.is_nan() => compare_whole(b, a).reverse(),
                (Some(_), Some(_)) => return Compared::Unordered,
                _ => return Compared::DifferentTypes,
            },
        };
        Compared::Order(order)
    }

    fn number(&self) -> Option<Number> {
        match self {
            Value::Int(number) => Some(Number::Whole(i128::from(*number))),
            Value::Uint(number) => Some(Number::Whole(i128::from(*number))),
            Value::Double(number) => Some(Number::Double(*number)),
            _ => None,
        }
    }
}

/// How two values compare.
pub(crate) enum Compared {
    Order(Ordering),
    /// One of them is not a number.
    Unordered,
    /// They have no order between them.
    DifferentTypes,
}

enum Number {
    Whole(i128),
    Double(f64),
}

/// Compares exactly: no rounding of large whole numbers. `double` is a number.
fn compare_whole(whole: i128, double: f64) -> Ordering {
    const BEYOND_64_BITS: f64 = 36_893_488_147_419_103_232.0;
    if double.abs() >= BEYOND_64_BITS {
        return if double > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[allow(clippy::cast_possible_truncation)] // within 66 bits
    let truncated = double.trunc() as i128;
    whole.cmp(&truncated).then(0.0_f64.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal))
}

impl Key {
    /// The value that indexes a map; a double indexes as the whole number it is.
    pub(crate) fn of(value: &Value) -> Option<Key> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::String(value) => Key::String(Arc::clone(value)),
            Value::Double(value) => Key::Int(whole(*value)?),
            _ => return None,
        })
    }

    pub(crate) fn value(&self) -> Value {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(value) => Value::String(Arc::clone(value)),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Bool(_) => 0,
            Key::Int(_) | Key::Uint(_) => 1,
            Key::String(_) => 2,
        }
    }
}

/// The whole number that a double is, if it is one that fits.
pub(crate) fn whole(double: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation)] // whole and in range
    (double.fract() == 0.0 && (-LIMIT..LIMIT).contains(&double)).then_some(double as i64)
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
            (Key::String(a), Key::String(b)) => a.cmp(b),
            (Key::Int(a), Key::Int(b)) => a.cmp(b),
            (Key::Uint(a), Key::Uint(b)) => a.cmp(b),
            (Key::Int(a), Key::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Key::Uint(a), Key::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl Kind {
    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Dyn => "any",
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Double => "double",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Duration => "duration",
            Kind::Timestamp => "timestamp",
            Kind::Ip => "ipaddress",
            Kind::List => "list",
            Kind::Map => "map",
            Kind::Optional => "optional",
            Kind::Type => "type",
        }
    }

    /// The type that an expression calls `name`.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "bool" => Kind::Bool,
            "int" => Kind::Int,
            "uint" => Kind::Uint,
            "double" => Kind::Double,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "list" => Kind::List,
            "map" => Kind::Map,
            "null_type" => Kind::Null,
            "type" => Kind::Type,
            "optional_type" => Kind::Optional,
            "google.protobuf.Duration" => Kind::Duration,
            "google.protobuf.Timestamp" => Kind::Timestamp,
            _ => return None,
        })
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Uint | Kind::Double)
    }

    pub(crate) fn is_ordered(self) -> bool {
        matches!(self, Kind::Bool | Kind::String | Kind::Bytes | Kind::Duration | Kind::Timestamp) || self.is_number()
    }

    /// Whether an expression of this kind may turn out to be an `other`.
    pub(crate) fn may_be(self, other: Kind) -> bool {
        self == other || self == Kind::Dyn || other == Kind::Dyn
    }
}

impl Type {
    pub(crate) const DYN: Type = Type::Plain(Kind::Dyn);
    pub(crate) const BOOL: Type = Type::Plain(Kind::Bool);

    pub(crate) fn list(element: Type) -> Type {
        Type::List(Arc::new(element))
    }

    pub(crate) fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    pub(crate) fn optional(element: Type) -> Type {
        Type::Optional(Arc::new(element))
    }

    pub(crate) fn of(parameter: &ParameterType) -> Type {
        Type::Plain(match parameter {
            ParameterType::Any => Kind::Dyn,
            ParameterType::Bool => Kind::Bool,
            ParameterType::String => Kind::String,
            ParameterType::Int | ParameterType::Uint => Kind::Int,
            ParameterType::Double => Kind::Double,
            ParameterType::Bytes => Kind::Bytes,
            ParameterType::Duration => Kind::Duration,
            ParameterType::Timestamp => Kind::Timestamp,
            ParameterType::IpAddress => Kind::Ip,
            ParameterType::List(element) => return Type::list(Type::of(element)),
            ParameterType::Map(element) => return Type::map(Type::Plain(Kind::String), Type::of(element)),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Type::Plain(kind) => *kind,
            Type::List(_) => Kind::List,
            Type::Map(..) => Kind::Map,
            Type::Optional(_) => Kind::Optional,
        }
    }

    /// Whether a value of this type may have the other type, too.
    pub(crate) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.fits(b),
            (Type::Map(a_key, a), Type::Map(b_key, b)) => a_key.fits(b_key) && a.fits(b),
            _ => self.kind().may_be(other.kind()) || self.fits_null(other) || other.fits_null(self),
        }
    }

    fn fits_null(&self, other: &Type) -> bool {
        let nullable = matches!(other.kind(), Kind::Duration | Kind::Timestamp | Kind::Ip | Kind::Optional);
        self.kind() == Kind::Null && nullable
    }

    /// The narrowest type for either of two.
    pub(crate) fn join(self, other: Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a,
            (Type::List(a), Type::List(b)) => Type::list(join_shared(a, b)),
            (Type::Optional(a), Type::Optional(b)) => Type::optional(join_shared(a, b)),
            (Type::Map(a_key, a), Type::Map(b_key, b)) => Type::map(join_shared(a_key, b_key), join_shared(a, b)),
            _ => Type::DYN,
        }
    }
}

fn join_shared(a: Arc<Type>, b: Arc<Type>) -> Type {
    Arc::unwrap_or_clone(a).join(Arc::unwrap_or_clone(b))
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::Plain(kind) => f.write_str(kind.name()),
            Type::List(element) => write!(f, "list<{element}>"),
            Type::Map(key, value) if key.kind() == Kind::String => write!(f, "map<{value}>"),
            Type::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Type::Optional(element) => write!(f, "optional<{element}>"),
        }
    }
}
