//! A relationship and its text form,
//! `type:id#relation@type:id[#relation][caveat[:{json}]][expiration:RFC3339][starts:RFC3339]`.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;
use crate::name::{CaveatName, NameError, RelationName};
use crate::reference::{ObjectRef, ParseReferenceError, SubjectRef};

/// Named values for a caveat's parameters, as JSON. Whole numbers are integers, whatever way they came in.
pub type CaveatContext = serde_json::Map<String, serde_json::Value>;

/// A caveat on a relationship, with the values that were stored with it. Stored values win over those of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaveatRef {
    /// Which caveat of the schema.
    pub name: CaveatName,
    /// The parameters that are fixed by the relationship.
    pub context: CaveatContext,
}

/// "`subject` is `relation` of `resource`", perhaps under a caveat, perhaps for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// The object that is shared.
    pub resource: ObjectRef,
    /// A relation of the resource's type.
    pub relation: RelationName,
    /// Who stands in the relation.
    pub subject: SubjectRef,
    /// Holds only while the caveat evaluates to true.
    pub caveat: Option<CaveatRef>,
    /// Holds only from this moment on (inclusive).
    pub not_before: Option<Timestamp>,
    /// Holds only before this moment (exclusive).
    pub expires_at: Option<Timestamp>,
}

impl Relationship {
    /// An unconditional relationship.
    #[must_use]
    pub fn new(resource: ObjectRef, relation: RelationName, subject: SubjectRef) -> Self {
        Relationship { resource, relation, subject, caveat: None, not_before: None, expires_at: None }
    }

    /// Whether `other` is the same relationship, whatever its caveat and times: the two cannot both be stored.
    #[must_use]
    pub fn same_key(&self, other: &Relationship) -> bool {
        self.resource == other.resource && self.relation == other.relation && self.subject == other.subject
    }

    /// Whether it holds at `now`, its caveat aside.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A relationship text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRelationshipError {
    /// The text has not the form `resource#relation@subject`.
    #[error("`{0}` is not a relationship: expected `type:id#relation@type:id`")]
    Form(String),
    /// A reference in it cannot be read.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// A name in it cannot be read.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The caveat's context is not a JSON object.
    #[error("the context of caveat `{caveat}` is not a JSON object: {why}")]
    Context {
        /// The caveat it belongs to.
        caveat: String,
        /// What the JSON parser says.
        why: String,
    },
    /// An expiration or start is not a moment.
    #[error("`{value}` is not a time: expected RFC 3339, UTC, such as 2030-01-31T00:00:00Z")]
    Time {
        /// The refused text.
        value: String,
    },
    /// A bracketed part is not closed, or comes twice or out of order.
    #[error("unexpected `{0}`: expected [caveat:{{json}}], then [expiration:time], then [starts:time]")]
    Trait(String),
}

impl FromStr for Relationship {
    type Err = ParseRelationshipError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseRelationshipError::Form(text.to_owned());
        let (resource, rest) = text.trim().split_once('#').ok_or_else(form)?;
        let (relation, rest) = rest.split_once('@').ok_or_else(form)?;
        let (subject, mut traits) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
        let mut relationship = Relationship::new(resource.parse()?, RelationName::new(relation)?, subject.parse()?);
        if traits.starts_with('[') && !traits.starts_with("[expiration:") && !traits.starts_with("[starts:") {
            let (caveat, rest) = parse_caveat(traits)?;
            relationship.caveat = Some(caveat);
            traits = rest;
        }
        if let Some((time, rest)) = parse_time(traits, "[expiration:")? {
            relationship.expires_at = Some(time);
            traits = rest;
        }
        if let Some((time, rest)) = parse_time(traits, "[starts:")? {
            relationship.not_before = Some(time);
            traits = rest;
        }
        if traits.is_empty() { Ok(relationship) } else { Err(ParseRelationshipError::Trait(traits.to_owned())) }
    }
}

fn parse_caveat(text: &str) -> Result<(CaveatRef, &str), ParseRelationshipError> {
    let unclosed = || ParseRelationshipError::Trait(text.to_owned());
    let body = &text[1..];
    let name_end = body.find([':', ']']).ok_or_else(unclosed)?;
    let name = CaveatName::new(&body[..name_end])?;
    if body[name_end..].starts_with(']') {
        return Ok((CaveatRef { name, context: CaveatContext::new() }, &body[name_end + 1..]));
    }
    let wrong = |why: String| ParseRelationshipError::Context { caveat: name.to_string(), why };
    let json = &body[name_end + 1..];
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<CaveatContext>();
    let context = match values.next() {
        Some(Ok(context)) => context,
        Some(Err(error)) => return Err(wrong(error.to_string())),
        None => return Err(wrong("it is empty".to_owned())),
    };
    let rest = json[values.byte_offset()..].trim_start().strip_prefix(']').ok_or_else(unclosed)?;
    let context = context.into_iter().map(|(key, value)| (key, normalize(value))).collect();
    Ok((CaveatRef { name, context }, rest))
}

/// Makes whole numbers integers, as JSON has one kind of number and `1` and `1.0` are to be the same value.
#[must_use]
pub fn normalize(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    /// Doubles count every integer up to here.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)] // whole and within the exact range
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT_MAX => {
                Value::Number((float as i64).into())
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(normalize).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(k, v)| (k, normalize(v))).collect()),
        other => other,
    }
}

fn parse_time<'t>(text: &'t str, prefix: &str) -> Result<Option<(Timestamp, &'t str)>, ParseRelationshipError> {
    let Some(body) = text.strip_prefix(prefix) else { return Ok(None) };
    let (value, rest) = body.split_once(']').ok_or_else(|| ParseRelationshipError::Trait(text.to_owned()))?;
    let refused = || ParseRelationshipError::Time { value: value.to_owned() };
    let time = match value.parse() {
        Ok(time) => time,
        Err(_) if is_last_day(value) => Timestamp::MAX,
        Err(_) => return Err(refused()),
    };
    Ok(Some((time, rest)))
}

/// Whether a text is a moment of the last day of the year 9999, UTC, which stands for "never" with many. Moments are counted
/// up to some hours before: all those are the last one that is counted, [`Timestamp::MAX`].
fn is_last_day(text: &str) -> bool {
    let Some(time) = text.strip_suffix('Z').or_else(|| text.strip_suffix('z')) else { return false };
    let Ok(time) = time.parse::<jiff::civil::DateTime>() else { return false };
    time.date() >= jiff::civil::date(9999, 12, 30) && text.as_bytes().get(10).is_some_and(|byte| b"Tt ".contains(byte))
}

/// A moment as text, the last one that is counted as the last one there is.
struct MomentText(Timestamp);

impl fmt::Display for MomentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Timestamp::MAX { f.write_str("9999-12-31T23:59:59.999999999Z") } else { self.0.fmt(f) }
    }
}

impl fmt::Display for CaveatRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if self.context.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_string(&self.context).map_err(|_| fmt::Error)?;
        write!(f, ":{json}")
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.resource, self.relation, self.subject)?;
        if let Some(caveat) = &self.caveat {
            write!(f, "[{caveat}]")?;
        }
        if let Some(time) = self.expires_at {
            write!(f, "[expiration:{}]", MomentText(time))?;
        }
        if let Some(time) = self.not_before {
            write!(f, "[starts:{}]", MomentText(time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn relationships_print_as_they_are_read() {
        for text in [
            "document:readme#viewer@user:alice",
            "document:readme#viewer@group:eng#member",
            "document:readme#viewer@user:*",
            "document:readme#viewer@user:alice[weekday]",
            r#"document:readme#viewer@user:alice[in_net:{"cidr":"10.0.0.0/8","n":{"a]":[1,2.5]}}]"#,
            "document:readme#viewer@user:alice[expiration:2030-01-01T00:00:00Z]",
            r#"document:readme#viewer@user:alice[c:{"a":1}][expiration:2030-01-01T00:00:00Z][starts:2029-01-01T00:00:00Z]"#,
        ] {
            assert_eq!(text.parse::<Relationship>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_last_day_of_the_year_9999_is_the_last_moment() {
        let last = "document:readme#viewer@user:alice[expiration:9999-12-31T23:59:59.999999999Z]";
        for time in ["9999-12-31T23:59:59Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999999Z"] {
            let text = format!("document:readme#viewer@user:alice[expiration:{time}]");
            let relationship: Relationship = text.parse().unwrap();
            assert_eq!((relationship.expires_at, relationship.to_string().as_str()), (Some(Timestamp::MAX), last));
        }
        for refused in ["9999-12-32T00:00:00Z", "9999-12-31", "+010000-01-01T00:00:00Z"] {
            assert!(
                format!("document:readme#viewer@user:alice[expiration:{refused}]").parse::<Relationship>().is_err()
            );
        }
    }

    #[test]
    fn whole_numbers_are_integers() {
        let text = r#"document:readme#viewer@user:alice[c:{"a":1.0,"b":1.5}]"#;
        assert_eq!(
            text.parse::<Relationship>().unwrap().to_string(),
            r#"document:readme#viewer@user:alice[c:{"a":1,"b":1.5}]"#
        );
    }

    #[test]
    fn broken_texts_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Relationship>().unwrap_err();
        assert!(matches!(error("document:readme@user:alice"), ParseRelationshipError::Form(_)));
        assert!(matches!(error("document:readme#viewer@user"), ParseRelationshipError::Reference(_)));
        assert!(matches!(error("document:readme#viewer@user:a[c:{]"), ParseRelationshipError::Context { .. }));
        assert!(matches!(error("document:readme#viewer@user:a[c:[1]]"), ParseRelationshipError::Context { .. }));
        assert!(matches!(error("document:readme#viewer@user:a[c"), ParseRelationshipError::Trait(_)));
        assert!(matches!(error("document:readme#viewer@user:a[expiration:soon]"), ParseRelationshipError::Time { .. }));
        assert!(matches!(
            error("document:readme#viewer@user:a[expiration:2030-01-01T00:00:00Z][c]"),
            ParseRelationshipError::Trait(_)
        ));
    }

    #[test]
    fn a_relationship_begins_inclusively_and_ends_exclusively() {
        let text = "document:readme#viewer@user:a[expiration:2030-01-01T00:00:00Z][starts:2029-01-01T00:00:00Z]";
        let relationship: Relationship = text.parse().unwrap();
        let live = |time: &str| relationship.is_live(time.parse().unwrap());
        assert!(!live("2028-12-31T23:59:59Z"));
        assert!(live("2029-01-01T00:00:00Z"));
        assert!(live("2029-12-31T23:59:59Z"));
        assert!(!live("2030-01-01T00:00:00Z"));
    }
}
