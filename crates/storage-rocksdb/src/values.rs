//! What stands behind the keys: a version byte, then [postcard] (its format is a document:
//! <https://postcard.jamesmunns.com/wire-format>). `docs/storage-format.md` lists the fields.
//!
//! The types here are the stored form and nothing else: a field is never moved or retyped without a new version byte.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use stonetown_storage::log::EdgeState;
use stonetown_storage::{Change, Committed, Effect, Ordinal, Provenance, StorageError, TableId};
use stonetown_tuple::{CaveatName, CaveatRef, Revision, Source, StoreId, Timestamp};

use crate::keys::EdgeKey;

/// The form of values, of format 1 and since.
const VERSION: u8 = 1;
/// The form of the log since format 2: headers and changes say more.
const LOG_VERSION: u8 = 2;

/// Deepest nesting of a caveat's context that can be read back.
const CONTEXT_DEPTH_MAX: usize = 100;

/// Caveats that a scan remembers.
const CAVEATS_MAX: usize = 1_024;

/// The stored form of a value.
///
/// # Errors
/// When a value refuses to be written.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StorageError> {
    encode_as(VERSION, value)
}

fn encode_as<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, StorageError> {
    postcard::to_extend(value, vec![version]).map_err(|error| StorageError::Io(format!("cannot encode: {error}")))
}

/// The value of a stored form, whole.
///
/// # Errors
/// [`StorageError::Damaged`] when the bytes are of another version or no such value.
pub(crate) fn decode<'b, T: Deserialize<'b>>(what: &str, bytes: &'b [u8]) -> Result<T, StorageError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => decode_body(what, body),
        Some((version, _)) => Err(damaged(format!("{what}: unknown version {version}"))),
        None => Err(damaged(format!("{what}: empty"))),
    }
}

/// As [`decode`], for a form that the log has since format 2 and one that it had before.
fn decode_log<'b, New: Deserialize<'b>, Old: Deserialize<'b>>(
    what: &str,
    bytes: &'b [u8],
    older: impl FnOnce(Old) -> New,
) -> Result<New, StorageError> {
    match bytes.split_first() {
        Some((&LOG_VERSION, body)) => decode_body(what, body),
        _ => decode(what, bytes).map(older),
    }
}

fn decode_body<'b, T: Deserialize<'b>>(what: &str, body: &'b [u8]) -> Result<T, StorageError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(damaged(format!("{what}: bytes are left over"))),
        Err(error) => Err(damaged(format!("{what}: {error}"))),
    }
}

/// A [`StorageError::Damaged`].
pub(crate) fn damaged(what: impl Into<String>) -> StorageError {
    StorageError::Damaged(what.into())
}

/// The state of the whole database; behind [`crate::keys::meta`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// The instance id.
    pub(crate) instance: u64,
    /// The newest commit.
    pub(crate) head: u64,
    /// The oldest revision that can be read.
    pub(crate) floor: u64,
    /// The log holds what comes after.
    pub(crate) log_floor: u64,
    /// Up to where garbage collection has removed superseded versions.
    pub(crate) swept: Cursor,
    /// Up to where it has removed ends of edges, and the log.
    pub(crate) cut: Cursor,
}

/// A place in the log: the next change to be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The commit.
    pub(crate) revision: u64,
    /// Its piece.
    pub(crate) piece: u32,
    /// The change within the piece.
    pub(crate) change: u32,
}

/// The state of an edge; `None` is its end.
pub(crate) type StoredState<'b> = Option<StoredEdge<'b>>;

/// What an edge carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredEdge<'b> {
    #[serde(borrow)]
    caveat: Option<StoredCaveat<'b>>,
    /// Nanoseconds since 1970.
    not_before: Option<i128>,
    expires_at: Option<i128>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredCaveat<'b> {
    #[serde(borrow)]
    name: Cow<'b, str>,
    /// JSON text.
    #[serde(borrow)]
    context: Cow<'b, str>,
}

/// The stored form of an edge's state.
///
/// # Errors
/// When a context could not be read back.
pub(crate) fn stored_state(state: Option<&EdgeState>) -> Result<StoredState<'static>, StorageError> {
    let Some(state) = state else { return Ok(None) };
    let caveat = state.caveat.as_deref().map(stored_caveat).transpose()?;
    Ok(Some(StoredEdge {
        caveat,
        not_before: state.not_before.map(Timestamp::as_nanosecond),
        expires_at: state.expires_at.map(Timestamp::as_nanosecond),
    }))
}

fn stored_caveat(caveat: &CaveatRef) -> Result<StoredCaveat<'static>, StorageError> {
    if caveat.context.values().any(|value| depth_exceeds(value, CONTEXT_DEPTH_MAX)) {
        return Err(StorageError::Refused(format!(
            "the context of caveat `{}` is nested deeper than {CONTEXT_DEPTH_MAX}",
            caveat.name
        )));
    }
    let context = serde_json::to_string(&caveat.context)
        .map_err(|error| StorageError::Io(format!("cannot encode a caveat's context: {error}")))?;
    Ok(StoredCaveat { name: caveat.name.as_str().to_owned().into(), context: context.into() })
}

fn depth_exceeds(value: &serde_json::Value, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return true };
    match value {
        serde_json::Value::Array(items) => items.iter().any(|item| depth_exceeds(item, left)),
        serde_json::Value::Object(fields) => fields.values().any(|field| depth_exceeds(field, left)),
        _ => false,
    }
}

/// Reads states, sharing equal caveats.
#[derive(Default)]
pub(crate) struct StateReader {
    caveats: FxHashMap<(String, String), Arc<CaveatRef>>,
}

impl StateReader {
    /// The state in the stored form of a version.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<EdgeState>, StorageError> {
        let stored: StoredState<'_> = decode("version of an edge", bytes)?;
        stored.map(|stored| self.state(stored)).transpose()
    }

    fn state(&mut self, stored: StoredEdge<'_>) -> Result<EdgeState, StorageError> {
        Ok(EdgeState {
            caveat: stored.caveat.map(|caveat| self.caveat(caveat)).transpose()?,
            not_before: stored.not_before.map(moment).transpose()?,
            expires_at: stored.expires_at.map(moment).transpose()?,
        })
    }

    fn caveat(&mut self, stored: StoredCaveat<'_>) -> Result<Arc<CaveatRef>, StorageError> {
        let key = (stored.name.into_owned(), stored.context.into_owned());
        if let Some(known) = self.caveats.get(&key) {
            return Ok(Arc::clone(known));
        }
        let context = serde_json::from_str(&key.1).map_err(|error| damaged(format!("context of a caveat: {error}")))?;
        let name = CaveatName::new(key.0.as_str()).map_err(|error| damaged(error.to_string()))?;
        let caveat = Arc::new(CaveatRef { name, context });
        if self.caveats.len() >= CAVEATS_MAX {
            self.caveats.clear();
        }
        self.caveats.insert(key, Arc::clone(&caveat));
        Ok(caveat)
    }
}

fn moment(nanoseconds: i128) -> Result<Timestamp, StorageError> {
    Timestamp::from_nanosecond(nanoseconds).map_err(|error| damaged(error.to_string()))
}

/// Who made a commit; behind [`crate::keys::transaction`] and in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredProvenance {
    time: i128,
    actor: Option<String>,
    metadata: Option<String>,
}

impl From<&Provenance> for StoredProvenance {
    fn from(provenance: &Provenance) -> Self {
        StoredProvenance {
            time: provenance.time.as_nanosecond(),
            actor: provenance.actor.clone(),
            metadata: provenance.metadata.clone(),
        }
    }
}

impl StoredProvenance {
    /// The provenance that is stored.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn read(self) -> Result<Provenance, StorageError> {
        Ok(Provenance { time: moment(self.time)?, actor: self.actor, metadata: self.metadata })
    }
}

/// Piece 0 of a commit in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogHeader {
    /// The store.
    pub(crate) store: u32,
    /// Whether a schema was written.
    pub(crate) schema_changed: bool,
    /// Who made it.
    pub(crate) provenance: StoredProvenance,
    /// How many pieces of changes follow, from 1 on.
    pub(crate) pieces: u32,
    /// Whether it only logs that time has passed: no version of it is stored.
    pub(crate) time_only: bool,
}

/// A [`LogHeader`] of format 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OldLogHeader {
    store: u32,
    schema_changed: bool,
    provenance: StoredProvenance,
    pieces: u32,
}

impl LogHeader {
    /// The stored form.
    ///
    /// # Errors
    /// When it refuses to be written.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StorageError> {
        encode_as(LOG_VERSION, self)
    }

    /// The header in its stored form.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<LogHeader, StorageError> {
        decode_log("header of a commit", bytes, |old: OldLogHeader| {
            let OldLogHeader { store, schema_changed, provenance, pieces } = old;
            LogHeader { store, schema_changed, provenance, pieces, time_only: false }
        })
    }
}

/// A change in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredChange<'b> {
    #[serde(borrow)]
    change: OldStoredChange<'b>,
    /// The place of the effect in [`EFFECTS`].
    effect: u8,
}

/// The effects by the numbers they are stored as.
const EFFECTS: [Effect; 4] = [Effect::Begins, Effect::Continues, Effect::Ends, Effect::Silent];

/// A change of format 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OldStoredChange<'b> {
    table: u32,
    resource: u32,
    subject: u32,
    source: u64,
    #[serde(borrow)]
    state: StoredState<'b>,
}

/// What format 1 did not tell, as well as the change alone says it: what is there begins, what is not ends.
fn old_changes(changes: Vec<OldStoredChange<'_>>) -> Vec<StoredChange<'_>> {
    let effect = |there| effect_number(if there { Effect::Begins } else { Effect::Ends });
    changes.into_iter().map(|change| StoredChange { effect: effect(change.state.is_some()), change }).collect()
}

fn effect_number(effect: Effect) -> u8 {
    EFFECTS.iter().zip(0..).find(|(candidate, _)| **candidate == effect).map_or(0, |(_, number)| number)
}

/// The stored form of a piece of changes.
///
/// # Errors
/// As [`stored_state`].
pub(crate) fn encode_changes(changes: &[Change]) -> Result<Vec<u8>, StorageError> {
    let stored = changes.iter().map(|change| {
        let stored = OldStoredChange {
            table: change.table.0,
            resource: change.resource.0,
            subject: change.subject.0,
            source: change.source.0,
            state: stored_state(change.state.as_ref())?,
        };
        Ok(StoredChange { change: stored, effect: effect_number(change.effect) })
    });
    encode_as(LOG_VERSION, &stored.collect::<Result<Vec<_>, StorageError>>()?)
}

/// The changes of a piece.
///
/// # Errors
/// [`StorageError::Damaged`].
pub(crate) fn decode_changes(bytes: &[u8], states: &mut StateReader) -> Result<Vec<Change>, StorageError> {
    let stored: Vec<StoredChange<'_>> = decode_log("piece of the log", bytes, old_changes)?;
    let change = |StoredChange { change: stored, effect }: StoredChange<'_>| {
        let effect = EFFECTS.get(usize::from(effect)).ok_or_else(|| damaged(format!("effect {effect} in the log")))?;
        Ok(Change {
            table: TableId(stored.table),
            resource: Ordinal(stored.resource),
            subject: Ordinal(stored.subject),
            source: Source(stored.source),
            state: stored.state.map(|state| states.state(state)).transpose()?,
            effect: *effect,
        })
    };
    stored.into_iter().map(change).collect()
}

/// A change of the log, its state in the stored form of a version.
#[derive(Debug)]
pub(crate) struct RawChange {
    table: u32,
    resource: u32,
    subject: u32,
    source: u64,
    pub(crate) state: Vec<u8>,
    /// Whether the edge ends with it.
    pub(crate) is_end: bool,
}

impl RawChange {
    /// The edge that is changed.
    pub(crate) fn edge(&self, store: StoreId) -> EdgeKey {
        EdgeKey {
            store,
            table: TableId(self.table),
            resource: Ordinal(self.resource),
            subject: Ordinal(self.subject),
            source: Source(self.source),
        }
    }
}

/// The changes of a piece, byte for byte as their versions are stored.
///
/// # Errors
/// [`StorageError::Damaged`].
pub(crate) fn raw_changes(bytes: &[u8]) -> Result<Vec<RawChange>, StorageError> {
    let stored: Vec<StoredChange<'_>> = decode_log("piece of the log", bytes, old_changes)?;
    let raw = |StoredChange { change, .. }: StoredChange<'_>| {
        let OldStoredChange { table, resource, subject, source, state } = change;
        let is_end = state.is_none();
        Ok(RawChange { table, resource, subject, source, state: encode(&state)?, is_end })
    };
    stored.into_iter().map(raw).collect()
}

/// What a table relates; behind [`crate::keys::table`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredTable {
    pub(crate) resource_type: u32,
    pub(crate) relation: String,
    pub(crate) subject_type: u32,
    pub(crate) subject_relation: Option<String>,
}

/// How a request was answered; behind [`crate::keys::request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) fingerprint: u64,
    time: i128,
    revision: u64,
    count: u64,
    partial: bool,
}

impl Answered {
    /// The record of an answer.
    pub(crate) fn new(fingerprint: u64, time: Timestamp, committed: &Committed) -> Self {
        Answered {
            fingerprint,
            time: time.as_nanosecond(),
            revision: committed.revision.0,
            count: committed.count,
            partial: committed.partial,
        }
    }

    /// When it was given.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub(crate) fn time(&self) -> Result<Timestamp, StorageError> {
        moment(self.time)
    }

    /// The answer, marked as a repetition.
    pub(crate) fn replay(&self) -> Committed {
        Committed { revision: Revision(self.revision), count: self.count, partial: self.partial, replayed: true }
    }
}

/// A bulk; behind [`crate::keys::bulk`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredBulk {
    /// The store.
    pub(crate) store: u32,
    /// Set when all tests are passed: it will be published, come what may.
    pub(crate) marked: Option<Mark>,
}

/// What a bulk is published as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) revision: u64,
    pub(crate) schema_changed: bool,
    pub(crate) provenance: StoredProvenance,
}

/// How far a bulk is rolled forward; behind [`crate::keys::progress`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Pieces of the log that are written.
    pub(crate) pieces: u32,
    /// Versions that are relationships, not ends.
    pub(crate) versions: u64,
    /// The key of the last change that was rolled forward.
    pub(crate) last: Vec<u8>,
}

#[cfg(test)]
mod tests;
