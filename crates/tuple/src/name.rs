//! Names that their parser has checked. The patterns and limits are those of the public `authzed.api.v1` interface.

use std::fmt;

/// Longest object type, in bytes, with all its prefixes.
pub const OBJECT_TYPE_BYTES_MAX: usize = 128;
/// Longest relation or permission name, in bytes.
pub const RELATION_BYTES_MAX: usize = 64;
/// Longest object id, in bytes.
pub const OBJECT_ID_BYTES_MAX: usize = 1024;
/// Longest caveat name, in bytes.
pub const CAVEAT_NAME_BYTES_MAX: usize = 128;
/// Longest name of an attribute, in bytes.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;

/// A name that does not fit its pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} `{value}`: {expected}")]
pub struct NameError {
    /// What the name was to be: `object type`, `relation`, `object id` or `caveat name`.
    pub kind: &'static str,
    /// The refused text, cut to 64 characters.
    pub value: String,
    /// What is accepted instead.
    pub expected: &'static str,
}

impl NameError {
    fn new(kind: &'static str, value: &str, expected: &'static str) -> Self {
        NameError { kind, value: value.chars().take(64).collect(), expected }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident, $kind:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text` and takes it over.
            ///
            /// # Errors
            /// [`NameError`] when `text` does not fit the pattern or is too long.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
                let text = text.into();
                if $check(text.as_bytes()) { Ok($name(text)) } else { Err(NameError::new($kind, &text, $expected)) }
            }

            /// A name that this crate knows to fit.
            #[allow(dead_code)] // not every kind has such a name
            pub(crate) fn known(text: &str) -> Self {
                debug_assert!($check(text.as_bytes()), "{text}");
                $name(text.into())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $name::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }
    };
}

name! {
    /// The type of an object, such as `document` or `tenant/document`: each part 3 to 64 of `a-z`, `0-9` and `_`,
    /// starting with a letter and not ending in `_`; at most [`OBJECT_TYPE_BYTES_MAX`] bytes.
    ObjectType, is_object_type, "object type",
    "each part has 3 to 64 characters a-z, 0-9 and _, begins with a letter and does not end with _; parts are separated by /; at most 128 bytes"
}
name! {
    /// A relation or permission, such as `viewer`: 3 to 64 of `a-z`, `0-9` and `_`, starting with a letter and not
    /// ending in `_`.
    RelationName, is_relation, "relation",
    "3 to 64 characters a-z, 0-9 and _, beginning with a letter and not ending with _"
}
name! {
    /// The id of one object: 1 to [`OBJECT_ID_BYTES_MAX`] of `a-z`, `A-Z`, `0-9` and `/ _ | - = +`. Never `*`.
    ObjectId, is_object_id, "object id",
    "1 to 1024 characters a-z, A-Z, 0-9 and / _ | - = +"
}
name! {
    /// The name of a caveat: 1 to 128 of `a-z`, `A-Z`, `0-9` and `/ _ | -`, not starting with `/`, `|` or `-`.
    CaveatName, is_caveat_name, "caveat name",
    "1 to 128 characters a-z, A-Z, 0-9 and / _ | -, beginning with a letter, digit or _"
}

name! {
    /// The name of a stored attribute, such as `env`: 1 to [`ATTRIBUTE_NAME_BYTES_MAX`] of `a-z`, `0-9` and `_`, starting
    /// with a letter.
    AttributeName, is_attribute, "attribute",
    "1 to 64 characters a-z, 0-9 and _, beginning with a letter"
}

/// Whether each byte may stand inside an object id.
pub(crate) fn is_object_id(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= OBJECT_ID_BYTES_MAX
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'|' | b'-' | b'=' | b'+'))
}

fn is_relation(text: &[u8]) -> bool {
    is_segment(text, RELATION_BYTES_MAX)
}

fn is_object_type(text: &[u8]) -> bool {
    if text.len() > OBJECT_TYPE_BYTES_MAX {
        return false;
    }
    let mut parts = text.split(|b| *b == b'/').rev();
    let last = parts.next().unwrap_or_default();
    is_segment(last, 64) && parts.all(|part| is_segment(part, 63))
}

fn is_caveat_name(text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return false };
    text.len() <= CAVEAT_NAME_BYTES_MAX
        && (first.is_ascii_alphanumeric() || *first == b'_')
        && rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'|' | b'-'))
}

fn is_attribute(text: &[u8]) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_';
    (1..=ATTRIBUTE_NAME_BYTES_MAX).contains(&text.len()) && text[0].is_ascii_lowercase() && text.iter().all(inner)
}

fn is_segment(text: &[u8], length_max: usize) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_';
    (3..=length_max).contains(&text.len())
        && text[0].is_ascii_lowercase()
        && text.iter().all(inner)
        && text[text.len() - 1] != b'_'
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn object_types_have_parts_of_three_characters_or_more() {
        for good in ["document", "doc", "a1_b2", "tenant/document", "one/two/three"] {
            assert!(ObjectType::new(good).is_ok(), "{good}");
        }
        for bad in ["", "do", "Document", "1doc", "doc_", "_doc", "doc/", "/doc", "do/document", "doc ument", "doc:x"] {
            assert!(ObjectType::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_at_the_limit_pass_and_one_past_it_do_not() {
        let name = |n: usize| "a".repeat(n);
        assert!(RelationName::new(name(64)).is_ok());
        assert!(RelationName::new(name(65)).is_err());
        assert!(ObjectType::new(name(64)).is_ok());
        assert!(ObjectType::new(name(65)).is_err());
        assert!(ObjectType::new(format!("{}/{}", name(63), name(64))).is_ok());
        assert!(ObjectType::new(format!("{}/{}", name(64), name(63))).is_err());
        assert!(ObjectId::new(name(1024)).is_ok());
        assert!(ObjectId::new(name(1025)).is_err());
        assert!(CaveatName::new(name(128)).is_ok());
        assert!(CaveatName::new(name(129)).is_err());
        assert!(AttributeName::new(name(64)).is_ok());
        assert!(AttributeName::new(name(65)).is_err());
    }

    #[test]
    fn object_ids_refuse_the_wildcard_and_the_separators_of_the_text_form() {
        assert!(ObjectId::new("a/b_c|d-e=f+G9").is_ok());
        for bad in ["*", "a*", "a.b", "a@b", "a:b", "a#b", "a b", "ä"] {
            assert!(ObjectId::new(bad).is_err(), "{bad}");
        }
    }
}
