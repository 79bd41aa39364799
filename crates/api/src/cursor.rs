//! Cursors: where a listing goes on. A cursor holds the revision and the time of the first page, so that all pages are of one
//! world, the call that it belongs to as a hash, and the position of the last result.
//!
//! The hash leaves out consistency and limit: the revision of the first page decides in any case, and a client may change the
//! size of its pages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use stonetown_authorizer::world::Cursor;
use stonetown_authorizer::{EdgePosition, Ordinal, Position, ReadPosition, TableId, materialize};
use stonetown_tuple::{InstanceId, Revision, Source, ZedToken};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::convert::{FieldError, timestamp_from_wire, timestamp_to_wire};
use crate::proto::authzed::api::v1 as wire;

/// Longest cursor text, in bytes: a rule of the interface.
const TEXT_BYTES_MAX: usize = 102_400;

/// The field of all requests that a cursor comes in.
const FIELD: &str = "optional_cursor.token";

/// What a cursor may be used for: one call on one instance with one set of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    instance: InstanceId,
    hash: u64,
}

/// Why a cursor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CursorError {
    /// It is no cursor.
    #[error(transparent)]
    Undecodable(#[from] FieldError),
    /// It is a cursor, but not one for this call.
    #[error("the cursor does not belong to this request: {0}")]
    Mismatch(&'static str),
}

/// A position that a cursor can hold.
pub(crate) trait Place: Sized {
    /// The position as numbers.
    fn to_numbers(&self) -> Vec<u64>;
    /// The position again; `None` for numbers that are none.
    fn from_numbers(numbers: &[u64]) -> Option<Self>;
}

#[derive(Clone, PartialEq, Message)]
struct StoredCursor {
    #[prost(fixed64, tag = "1")]
    instance: u64,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(message, optional, tag = "3")]
    now: Option<prost_types::Timestamp>,
    #[prost(fixed64, tag = "4")]
    question: u64,
    #[prost(uint64, repeated, tag = "5")]
    position: Vec<u64>,
}

impl Question {
    /// What `request`, its cursor, limit and consistency taken out, asks of `call`.
    pub(crate) fn new(call: &str, request: &impl Message, instance: InstanceId) -> Question {
        let hash = xxh3_64_with_seed(&request.encode_to_vec(), xxh3_64_with_seed(call.as_bytes(), 0));
        Question { instance, hash }
    }

    /// The text of a cursor.
    pub(crate) fn encode<P: Place>(&self, cursor: &Cursor<P>) -> wire::Cursor {
        let stored = StoredCursor {
            instance: cursor.token.instance.0,
            revision: cursor.token.revision.0,
            now: Some(timestamp_to_wire(cursor.now)),
            question: self.hash,
            position: cursor.position.to_numbers(),
        };
        let mut bytes = stored.encode_to_vec();
        let checksum = xxh3_64_with_seed(&bytes, stored.instance);
        bytes.extend(checksum.to_le_bytes());
        wire::Cursor { token: STANDARD.encode(bytes) }
    }

    /// Reads a client's cursor, if there is one.
    ///
    /// # Errors
    /// [`CursorError`].
    pub(crate) fn decode<P: Place>(&self, cursor: Option<wire::Cursor>) -> Result<Option<Cursor<P>>, CursorError> {
        let Some(cursor) = cursor else { return Ok(None) };
        let stored = stored(&cursor.token).ok_or_else(|| {
            FieldError::new("is not a cursor: expected the after_result_cursor of an earlier answer").within(FIELD)
        })?;
        if stored.instance != self.instance.0 {
            return Err(CursorError::Mismatch("it was made by another server, or before a backup was restored"));
        }
        if stored.question != self.hash {
            return Err(CursorError::Mismatch("call and parameters must be those it was returned for"));
        }
        let now = stored.now.and_then(|now| timestamp_from_wire(now).ok());
        match (now, P::from_numbers(&stored.position)) {
            (Some(now), Some(position)) => {
                let token = ZedToken { instance: self.instance, revision: Revision(stored.revision) };
                Ok(Some(Cursor { token, now, position }))
            }
            _ => Err(CursorError::Mismatch("it was made by another version of the server")),
        }
    }
}

/// Reads the text; `None` when it is not exactly what some server wrote.
fn stored(text: &str) -> Option<StoredCursor> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    let (content, checksum) = bytes.split_last_chunk::<8>()?;
    let stored = StoredCursor::decode(content).ok()?;
    (u64::from_le_bytes(*checksum) == xxh3_64_with_seed(content, stored.instance)).then_some(stored)
}

impl Place for ReadPosition {
    fn to_numbers(&self) -> Vec<u64> {
        let EdgePosition { row, other, source } = self.edge;
        vec![self.table.0.into(), row.0.into(), other.0.into(), source.0]
    }

    fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let [table, row, other, source] = *numbers else { return None };
        Some(ReadPosition {
            table: TableId(table.try_into().ok()?),
            edge: EdgePosition {
                row: Ordinal(row.try_into().ok()?),
                other: Ordinal(other.try_into().ok()?),
                source: Source(source),
            },
        })
    }
}

impl Place for materialize::Position {
    fn to_numbers(&self) -> Vec<u64> {
        let materialize::Position { shape, object, place } = self;
        vec![(*shape).into(), object.0.into(), place.part.into(), place.number.into()]
    }

    fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let [shape, object, part, number] = *numbers else { return None };
        let place = materialize::Place { part: part.try_into().ok()?, number: number.try_into().ok()? };
        Some(materialize::Position { shape: shape.try_into().ok()?, object: Ordinal(object.try_into().ok()?), place })
    }
}

impl Place for Position {
    fn to_numbers(&self) -> Vec<u64> {
        vec![self.to_u64()]
    }

    fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let [number] = *numbers else { return None };
        Some(Position::from_u64(number))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const INSTANCE: InstanceId = InstanceId(7);

    fn request(resource_type: &str) -> wire::ReadRelationshipsRequest {
        wire::ReadRelationshipsRequest {
            relationship_filter: Some(wire::RelationshipFilter {
                resource_type: resource_type.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn question() -> Question {
        Question::new("ReadRelationships", &request("document"), INSTANCE)
    }

    fn cursor() -> Cursor<ReadPosition> {
        let edge = EdgePosition { row: Ordinal(5), other: Ordinal(u32::MAX), source: Source(u64::MAX) };
        Cursor {
            token: ZedToken { instance: INSTANCE, revision: Revision(42) },
            now: "1969-12-31T23:59:59.5Z".parse().unwrap(),
            position: ReadPosition { table: TableId(3), edge },
        }
    }

    #[test]
    fn cursors_come_back_as_they_were_given_out() {
        let text = question().encode(&cursor());
        assert_eq!(question().decode(Some(text)), Ok(Some(cursor())));
        assert_eq!(question().decode::<ReadPosition>(None), Ok(None));
    }

    #[test]
    fn a_cursor_is_good_for_its_own_call_parameters_and_instance_only() {
        let text = question().encode(&cursor());
        for other in [
            Question::new("ReadRelationships", &request("folder"), INSTANCE),
            Question::new("ExportBulkRelationships", &request("document"), INSTANCE),
            Question::new("ReadRelationships", &request("document"), InstanceId(8)),
        ] {
            let refused = other.decode::<ReadPosition>(Some(text.clone()));
            assert!(matches!(refused, Err(CursorError::Mismatch(_))), "{refused:?}");
        }
        let refused = question().decode::<Position>(Some(text));
        assert!(matches!(refused, Err(CursorError::Mismatch(_))), "{refused:?}");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "not-a-cursor", "AAAA", "AAAAAAAAAAAAAAAA", &"A".repeat(TEXT_BYTES_MAX + 4)] {
            let refused = question().decode::<Position>(Some(wire::Cursor { token: text.to_owned() }));
            assert!(matches!(refused, Err(CursorError::Undecodable(_))), "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_cursor_with_a_changed_byte_is_refused() {
        let bytes = STANDARD.decode(question().encode(&cursor()).token).unwrap();
        for position in 0..bytes.len() {
            for flip in 1..=255 {
                let mut changed = bytes.clone();
                changed[position] ^= flip;
                let text = wire::Cursor { token: STANDARD.encode(&changed) };
                let refused = question().decode::<ReadPosition>(Some(text));
                assert!(matches!(refused, Err(CursorError::Undecodable(_))), "byte {position}, flip {flip}");
            }
        }
    }
}
