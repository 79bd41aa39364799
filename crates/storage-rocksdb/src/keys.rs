//! Every key of the database: its kind, its parts, its bytes. The document `docs/storage-format.md` mirrors this file.
//!
//! A key is its kind (one byte) and then its parts, numbers in big-endian, so that bytes sort as the parts do. Revisions of
//! versions are stored inverted: the newest version of an edge comes first. A text, where there is one, is the last part.

use stonetown_storage::{Direction, EdgePosition, Ordinal, TableId, TypeId};
use stonetown_tuple::{Revision, Source, StoreId, Timestamp};

/// What a key is about. A number is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The state of the whole: `Meta`.
    Meta = 0x01,
    /// store · table · resource · subject · source · ~revision: a version of an edge.
    Forward = 0x10,
    /// store · table · subject · resource · source · ~revision: the same version again.
    Reverse = 0x11,
    /// time · store · table · resource · subject · source · revision: a version begins or ceases to hold then, and the log
    /// does not say so yet.
    Ahead = 0x12,
    /// The same parts: a version ceased to hold then, and the log says so.
    Expired = 0x13,
    /// store · type · object id: its ordinal.
    Ordinal = 0x20,
    /// store · type · ordinal: its object id.
    ObjectId = 0x21,
    /// store · type · ordinal: perhaps nothing mentions this object any more.
    Suspect = 0x22,
    /// store · type: the last ordinal given out.
    LastOrdinal = 0x23,
    /// store · type: the type's name.
    Type = 0x30,
    /// store · table: what it relates.
    Table = 0x31,
    /// store · ~revision: a schema.
    Schema = 0x32,
    /// revision: who made a commit.
    Transaction = 0x40,
    /// revision: how many versions of a commit are stored as relationships.
    Versions = 0x41,
    /// time · revision: the clock at a commit, never running backwards.
    Time = 0x42,
    /// store · request id: how the request was answered.
    Request = 0x50,
    /// time · store · request id: when the answer was given.
    RequestTime = 0x51,
    /// bulk: a transaction that is being staged or rolled forward.
    Bulk = 0x60,
    /// bulk · table · resource · subject · source: one of its changes.
    Staged = 0x61,
    /// bulk · store · type · ordinal: an object that it was first to mention.
    StagedName = 0x62,
    /// bulk: how far it has been rolled forward.
    Progress = 0x63,
    /// store · name: what is kept beside the relationships.
    Kept = 0x70,
    /// revision · piece: a commit in the log; piece 0 is its header.
    Log = 0x80,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Kind; 23] = [
        Kind::Meta,
        Kind::Forward,
        Kind::Reverse,
        Kind::Ahead,
        Kind::Expired,
        Kind::Ordinal,
        Kind::ObjectId,
        Kind::Suspect,
        Kind::LastOrdinal,
        Kind::Type,
        Kind::Table,
        Kind::Schema,
        Kind::Transaction,
        Kind::Versions,
        Kind::Time,
        Kind::Request,
        Kind::RequestTime,
        Kind::Bulk,
        Kind::Staged,
        Kind::StagedName,
        Kind::Progress,
        Kind::Kept,
        Kind::Log,
    ];
}

/// Which edge of which store, whatever its versions. Sorts as its forward keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EdgeKey {
    pub(crate) store: StoreId,
    pub(crate) table: TableId,
    pub(crate) resource: Ordinal,
    pub(crate) subject: Ordinal,
    pub(crate) source: Source,
}

/// Bytes of a key up to the row of a version: what the filters of the database know.
pub(crate) const ROW_BYTES: usize = 13;
/// Bytes of a version's key up to its revision.
pub(crate) const EDGE_BYTES: usize = 25;
/// Bytes of a version's key.
pub(crate) const VERSION_BYTES: usize = 33;

/// The single key of [`Kind::Meta`].
pub(crate) fn meta() -> Vec<u8> {
    Key::new(Kind::Meta).done()
}

/// All versions of a table in one direction.
pub(crate) fn table_versions(direction: Direction, store: StoreId, table: TableId) -> Vec<u8> {
    Key::new(version_kind(direction)).u32(store.0).u32(table.0).done()
}

/// All versions of a row.
pub(crate) fn row_versions(direction: Direction, store: StoreId, table: TableId, row: Ordinal) -> Vec<u8> {
    Key::new(version_kind(direction)).u32(store.0).u32(table.0).u32(row.0).done()
}

/// All versions of an edge, newest first.
pub(crate) fn edge_versions(direction: Direction, edge: &EdgeKey) -> Vec<u8> {
    let at = edge.position(direction);
    Key::new(version_kind(direction)).u32(edge.store.0).u32(edge.table.0).position(at).done()
}

/// One version of an edge.
pub(crate) fn version(direction: Direction, edge: &EdgeKey, revision: Revision) -> Vec<u8> {
    let mut key = edge_versions(direction, edge);
    key.extend_from_slice(&(!revision.0).to_be_bytes());
    key
}

/// Where in its table a version stands, and its revision.
pub(crate) fn read_version(key: &[u8]) -> Option<(EdgePosition, Revision)> {
    if key.len() != VERSION_BYTES {
        return None;
    }
    let (_, mut rest) = key.split_at(9);
    let position = read_position(&mut rest)?;
    Some((position, Revision(!read_u64(&mut rest)?)))
}

/// The edge and the revision in a key of [`version`].
pub(crate) fn read_edge_version(direction: Direction, key: &[u8]) -> Option<(EdgeKey, Revision)> {
    let (at, revision) = read_version(key)?;
    let mut rest = key.get(1..)?;
    let (store, table) = (StoreId(read_u32(&mut rest)?), TableId(read_u32(&mut rest)?));
    Some((EdgeKey::at(store, table, direction, at), revision))
}

/// When something happens to a version of an edge. Sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) time: Timestamp,
    pub(crate) edge: EdgeKey,
    pub(crate) written: Revision,
}

/// A moment, under [`Kind::Ahead`] or [`Kind::Expired`].
pub(crate) fn moment(kind: Kind, moment: &Moment) -> Vec<u8> {
    let Moment { time, edge, written } = moment;
    let at = edge.position(Direction::Forward);
    Key::new(kind).time(*time).u32(edge.store.0).u32(edge.table.0).position(at).u64(written.0).done()
}

/// The parts of [`moment`].
pub(crate) fn read_moment(key: &[u8]) -> Option<Moment> {
    let (time, mut rest) = key.get(1..)?.split_first_chunk::<16>()?;
    let (store, table) = (StoreId(read_u32(&mut rest)?), TableId(read_u32(&mut rest)?));
    let edge = EdgeKey::at(store, table, Direction::Forward, read_position(&mut rest)?);
    let written = Revision(read_u64(&mut rest)?);
    rest.is_empty().then_some(Moment { time: timestamp(*time)?, edge, written })
}

/// What is kept under a name.
pub(crate) fn kept(store: StoreId, name: &str) -> Vec<u8> {
    Key::new(Kind::Kept).u32(store.0).text(name).done()
}

/// The ordinal of an object.
pub(crate) fn ordinal(store: StoreId, object_type: TypeId, id: &str) -> Vec<u8> {
    Key::new(Kind::Ordinal).u32(store.0).u32(object_type.0).text(id).done()
}

/// The parts of [`ordinal`].
pub(crate) fn read_ordinal_key(key: &[u8]) -> Option<(StoreId, TypeId, &str)> {
    let mut rest = key.get(1..)?;
    let (store, object_type) = (StoreId(read_u32(&mut rest)?), TypeId(read_u32(&mut rest)?));
    Some((store, object_type, std::str::from_utf8(rest).ok()?))
}

/// The id of an object.
pub(crate) fn object_id(store: StoreId, object_type: TypeId, ordinal: Ordinal) -> Vec<u8> {
    Key::new(Kind::ObjectId).u32(store.0).u32(object_type.0).u32(ordinal.0).done()
}

/// An object that perhaps nothing mentions.
pub(crate) fn suspect(store: StoreId, object_type: TypeId, ordinal: Ordinal) -> Vec<u8> {
    Key::new(Kind::Suspect).u32(store.0).u32(object_type.0).u32(ordinal.0).done()
}

/// The parts of [`suspect`] and [`object_id`].
pub(crate) fn read_object(key: &[u8]) -> Option<(StoreId, TypeId, Ordinal)> {
    let mut rest = key.get(1..)?;
    let parts = (StoreId(read_u32(&mut rest)?), TypeId(read_u32(&mut rest)?), Ordinal(read_u32(&mut rest)?));
    rest.is_empty().then_some(parts)
}

/// The last ordinal of a type.
pub(crate) fn last_ordinal(store: StoreId, object_type: TypeId) -> Vec<u8> {
    Key::new(Kind::LastOrdinal).u32(store.0).u32(object_type.0).done()
}

/// The name of a type.
pub(crate) fn object_type(store: StoreId, object_type: TypeId) -> Vec<u8> {
    Key::new(Kind::Type).u32(store.0).u32(object_type.0).done()
}

/// What a table relates.
pub(crate) fn table(store: StoreId, table: TableId) -> Vec<u8> {
    Key::new(Kind::Table).u32(store.0).u32(table.0).done()
}

/// The store and the number in a key of [`object_type`], [`table`] or [`last_ordinal`].
pub(crate) fn read_numbered(key: &[u8]) -> Option<(StoreId, u32)> {
    let mut rest = key.get(1..)?;
    let parts = (StoreId(read_u32(&mut rest)?), read_u32(&mut rest)?);
    rest.is_empty().then_some(parts)
}

/// A schema; those of a store sort newest first.
pub(crate) fn schema(store: StoreId, revision: Revision) -> Vec<u8> {
    Key::new(Kind::Schema).u32(store.0).u64(!revision.0).done()
}

/// All schemas of a store.
pub(crate) fn schemas(store: StoreId) -> Vec<u8> {
    Key::new(Kind::Schema).u32(store.0).done()
}

/// The store and revision of a key of [`schema`].
pub(crate) fn read_schema(key: &[u8]) -> Option<(StoreId, Revision)> {
    let mut rest = key.get(1..)?;
    let store = StoreId(read_u32(&mut rest)?);
    let revision = Revision(!read_u64(&mut rest)?);
    rest.is_empty().then_some((store, revision))
}

/// Who made a commit.
pub(crate) fn transaction(revision: Revision) -> Vec<u8> {
    Key::new(Kind::Transaction).u64(revision.0).done()
}

/// The revision in a key of [`transaction`] or [`versions`].
pub(crate) fn read_revision(key: &[u8]) -> Option<Revision> {
    let mut rest = key.get(1..)?;
    let revision = Revision(read_u64(&mut rest)?);
    rest.is_empty().then_some(revision)
}

/// How many versions of a commit are left.
pub(crate) fn versions(revision: Revision) -> Vec<u8> {
    Key::new(Kind::Versions).u64(revision.0).done()
}

/// The clock at a commit.
pub(crate) fn time(time: Timestamp, revision: Revision) -> Vec<u8> {
    Key::new(Kind::Time).time(time).u64(revision.0).done()
}

/// The parts of [`time`].
pub(crate) fn read_time(key: &[u8]) -> Option<(Timestamp, Revision)> {
    let (time, mut rest) = key.get(1..)?.split_first_chunk::<16>()?;
    let revision = Revision(read_u64(&mut rest)?);
    rest.is_empty().then_some((timestamp(*time)?, revision))
}

/// The answer to a request.
pub(crate) fn request(store: StoreId, id: &str) -> Vec<u8> {
    Key::new(Kind::Request).u32(store.0).text(id).done()
}

/// The parts of [`request`].
pub(crate) fn read_request(key: &[u8]) -> Option<(StoreId, &str)> {
    let mut rest = key.get(1..)?;
    let store = StoreId(read_u32(&mut rest)?);
    Some((store, std::str::from_utf8(rest).ok()?))
}

/// When a request was answered.
pub(crate) fn request_time(time: Timestamp, store: StoreId, id: &str) -> Vec<u8> {
    Key::new(Kind::RequestTime).time(time).u32(store.0).text(id).done()
}

/// The parts of [`request_time`].
pub(crate) fn read_request_time(key: &[u8]) -> Option<(Timestamp, StoreId, &str)> {
    let (time, mut rest) = key.get(1..)?.split_first_chunk::<16>()?;
    let store = StoreId(read_u32(&mut rest)?);
    Some((timestamp(*time)?, store, std::str::from_utf8(rest).ok()?))
}

/// A bulk.
pub(crate) fn bulk(bulk: u64) -> Vec<u8> {
    Key::new(Kind::Bulk).u64(bulk).done()
}

/// How far a bulk is.
pub(crate) fn progress(bulk: u64) -> Vec<u8> {
    Key::new(Kind::Progress).u64(bulk).done()
}

/// The number in a key of [`bulk`].
pub(crate) fn read_bulk(key: &[u8]) -> Option<u64> {
    let mut rest = key.get(1..)?;
    let bulk = read_u64(&mut rest)?;
    rest.is_empty().then_some(bulk)
}

/// The number in any key that belongs to a bulk.
pub(crate) fn read_bulk_of(key: &[u8]) -> Option<u64> {
    read_u64(&mut key.get(1..)?)
}

/// A change of a bulk.
pub(crate) fn staged(bulk: u64, edge: &EdgeKey) -> Vec<u8> {
    let at = edge.position(Direction::Forward);
    Key::new(Kind::Staged).u64(bulk).u32(edge.table.0).position(at).done()
}

/// All changes of a bulk.
pub(crate) fn all_staged(bulk: u64) -> Vec<u8> {
    Key::new(Kind::Staged).u64(bulk).done()
}

/// The edge in a key of [`staged`].
pub(crate) fn read_staged(store: StoreId, key: &[u8]) -> Option<EdgeKey> {
    let mut rest = key.get(9..)?;
    let table = TableId(read_u32(&mut rest)?);
    let EdgePosition { row, other, source } = read_position(&mut rest)?;
    rest.is_empty().then_some(EdgeKey { store, table, resource: row, subject: other, source })
}

/// A name of a bulk.
pub(crate) fn staged_name(bulk: u64, store: StoreId, object_type: TypeId, ordinal: Ordinal) -> Vec<u8> {
    Key::new(Kind::StagedName).u64(bulk).u32(store.0).u32(object_type.0).u32(ordinal.0).done()
}

/// All names of a bulk.
pub(crate) fn all_staged_names(bulk: u64) -> Vec<u8> {
    Key::new(Kind::StagedName).u64(bulk).done()
}

/// The parts of [`staged_name`] but the bulk.
pub(crate) fn read_staged_name(key: &[u8]) -> Option<(StoreId, TypeId, Ordinal)> {
    let mut rest = key.get(9..)?;
    let parts = (StoreId(read_u32(&mut rest)?), TypeId(read_u32(&mut rest)?), Ordinal(read_u32(&mut rest)?));
    rest.is_empty().then_some(parts)
}

/// A piece of the log.
pub(crate) fn log(revision: Revision, piece: u32) -> Vec<u8> {
    Key::new(Kind::Log).u64(revision.0).u32(piece).done()
}

/// The parts of [`log`].
pub(crate) fn read_log(key: &[u8]) -> Option<(Revision, u32)> {
    let (kind, mut rest) = key.split_first()?;
    let parts = (Revision(read_u64(&mut rest)?), read_u32(&mut rest)?);
    (*kind == Kind::Log as u8 && rest.is_empty()).then_some(parts)
}

/// All keys of a kind.
pub(crate) fn all(kind: Kind) -> Vec<u8> {
    Key::new(kind).done()
}

/// The first key after all that begin with `prefix`, which is not empty and does not begin with 255.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

impl EdgeKey {
    /// The edge at a position of a table.
    pub(crate) fn at(store: StoreId, table: TableId, direction: Direction, at: EdgePosition) -> Self {
        let (resource, subject) = match direction {
            Direction::Forward => (at.row, at.other),
            Direction::Reverse => (at.other, at.row),
        };
        EdgeKey { store, table, resource, subject, source: at.source }
    }

    /// Where it stands in its table.
    pub(crate) fn position(&self, direction: Direction) -> EdgePosition {
        let (row, other) = match direction {
            Direction::Forward => (self.resource, self.subject),
            Direction::Reverse => (self.subject, self.resource),
        };
        EdgePosition { row, other, source: self.source }
    }
}

fn version_kind(direction: Direction) -> Kind {
    match direction {
        Direction::Forward => Kind::Forward,
        Direction::Reverse => Kind::Reverse,
    }
}

/// A key under construction.
struct Key(Vec<u8>);

impl Key {
    fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(VERSION_BYTES);
        bytes.push(kind as u8);
        Key(bytes)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn position(self, at: EdgePosition) -> Self {
        self.u32(at.row.0).u32(at.other.0).u64(at.source.0)
    }

    /// Nanoseconds since 1970, the sign turned so that earlier sorts first.
    fn time(mut self, time: Timestamp) -> Self {
        self.0.extend_from_slice(&(time.as_nanosecond() ^ i128::MIN).to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn done(self) -> Vec<u8> {
        self.0
    }
}

fn read_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn read_u64(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

fn read_position(rest: &mut &[u8]) -> Option<EdgePosition> {
    Some(EdgePosition {
        row: Ordinal(read_u32(rest)?),
        other: Ordinal(read_u32(rest)?),
        source: Source(read_u64(rest)?),
    })
}

fn timestamp(bytes: [u8; 16]) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from_be_bytes(bytes) ^ i128::MIN).ok()
}

#[cfg(test)]
mod tests;
