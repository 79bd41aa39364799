//! Cursors: where a listing goes on. A cursor holds the revision and the time of the first page, so that all pages are of one
//! world, and the position of the last result.
//!
//! It is signed, together with what was asked, by whom, and of which store: whoever could alter one could turn back the time that
//! expiry is judged at, and whoever could use one elsewhere would see there what no answer told. Consistency and limit are
//! not part of that: the revision of the first page decides in any case, and a client may change the size of its pages.

mod key;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use ring::digest;
use stonetown_authorizer::who_can::PartPosition;
use stonetown_authorizer::world::Cursor;
use stonetown_authorizer::{EdgePosition, Ordinal, Position, ReadPosition, TableId, materialize};
use stonetown_tuple::{InstanceId, Revision, Source, StoreId, ZedToken};

pub use key::CursorKey;

use crate::convert::{FieldError, timestamp_from_wire, timestamp_to_wire};
use crate::proto::authzed::api::v1 as wire;

/// Longest cursor text, in bytes: a rule of the interface.
const TEXT_BYTES_MAX: usize = 102_400;

/// The field of all requests that a cursor comes in.
const FIELD: &str = "optional_cursor.token";

/// What the digest of a question begins with: the version of what is signed. Cursors of another version are refused.
const VERSION: &[u8] = b"stonetown cursor 2";

/// Who asks, and what of. A cursor is good for the same only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The name of the caller.
    pub(crate) caller: &'a str,
    /// The store.
    pub(crate) store: StoreId,
    /// The instance.
    pub(crate) instance: InstanceId,
}

/// What a cursor may be used for: one call by one caller on one store with one set of parameters.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    key: CursorKey,
    instance: InstanceId,
    digest: digest::Digest,
}

/// Why a cursor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CursorError {
    /// It is no cursor.
    #[error(transparent)]
    Undecodable(#[from] FieldError),
    /// It was not made for this question, or not with this key. Which of the two is told to nobody.
    #[error(
        "the cursor does not belong to this request: call, parameters, caller, store and server must be those it was returned \
         for; else begin without a cursor"
    )]
    Mismatch,
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
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(message, optional, tag = "2")]
    now: Option<prost_types::Timestamp>,
    #[prost(uint64, repeated, tag = "3")]
    position: Vec<u64>,
}

impl Question {
    /// What `request`, its cursor, limit and consistency taken out, asks of `call`.
    pub(crate) fn new(key: CursorKey, asker: Asker<'_>, call: &str, request: &impl Message) -> Question {
        let Asker { caller, store, instance } = asker;
        let mut context = digest::Context::new(&digest::SHA256);
        let parts = [
            VERSION,
            &instance.0.to_be_bytes(),
            &store.0.to_be_bytes(),
            caller.as_bytes(),
            call.as_bytes(),
            &request.encode_to_vec(),
        ];
        for part in parts {
            // No two lists of parts are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Question { key, instance, digest: context.finish() }
    }

    /// The text of a cursor.
    pub(crate) fn encode<P: Place>(&self, cursor: &Cursor<P>) -> wire::Cursor {
        let stored = StoredCursor {
            revision: cursor.token.revision.0,
            now: Some(timestamp_to_wire(cursor.now)),
            position: cursor.position.to_numbers(),
        };
        let mut bytes = stored.encode_to_vec();
        self.key.sign(&self.digest, &mut bytes);
        wire::Cursor { token: STANDARD.encode(bytes) }
    }

    /// Reads a client's cursor, if there is one.
    ///
    /// # Errors
    /// [`CursorError`].
    pub(crate) fn decode<P: Place>(&self, cursor: Option<wire::Cursor>) -> Result<Option<Cursor<P>>, CursorError> {
        self.decode_text(cursor.map(|cursor| cursor.token), FIELD)
    }

    /// Reads the text of a client's cursor, if there is one, out of a field.
    ///
    /// # Errors
    /// [`CursorError`].
    pub(crate) fn decode_text<P: Place>(
        &self,
        cursor: Option<String>,
        field: &str,
    ) -> Result<Option<Cursor<P>>, CursorError> {
        let Some(cursor) = cursor else { return Ok(None) };
        let bytes = bytes(&cursor).ok_or_else(|| {
            FieldError::new("is not a cursor: expected one that came with a result of an earlier answer").within(field)
        })?;
        let content = self.key.verify(&self.digest, &bytes).ok_or(CursorError::Mismatch)?;
        let stored = StoredCursor::decode(content).map_err(|_| CursorError::Mismatch)?;
        let now = stored.now.and_then(|now| timestamp_from_wire(now).ok()).ok_or(CursorError::Mismatch)?;
        let position = P::from_numbers(&stored.position).ok_or(CursorError::Mismatch)?;
        let token = ZedToken { instance: self.instance, revision: Revision(stored.revision) };
        Ok(Some(Cursor { token, now, position }))
    }
}

/// The bytes of a text that can be a cursor.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    STANDARD.decode(text).ok()
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

impl Place for PartPosition {
    fn to_numbers(&self) -> Vec<u64> {
        vec![self.part.into(), self.position.to_u64()]
    }

    fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let [part, position] = *numbers else { return None };
        Some(PartPosition { part: part.try_into().ok()?, position: Position::from_u64(position) })
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
mod tests;
