//! Moments in documents, as RFC 3339 text: for `#[serde(with = "moment")]`.

use serde::{Deserialize, Deserializer, Serializer};
use stonetown_tuple::Timestamp;

/// Writes a moment.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

/// Reads a moment.
///
/// # Errors
/// When it is none.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
