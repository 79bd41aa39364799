//! What is recorded, and its bytes. An entry is what the tree commits to; `docs/audit-format.md` describes it byte by byte.

mod json;
#[cfg(test)]
mod tests;

use std::time::Duration;

use stonetown_tuple::{Revision, StoreId, Timestamp};

use crate::bytes::{Reader, put_number, put_text};
use crate::merkle::Hash;
use crate::note::PublicKey;
use crate::sealed::{self, Field, Personal, Salts};

/// The form of entries that is written, and the only one that is read.
const VERSION: u8 = 1;
/// The reason of a gap that counts refused log-ins beyond those that are recorded one by one.
pub const LOG_INS_SAMPLED: &str = "log_ins_sampled";
/// Longest entry, in bytes: that of the public formats for transparency logs.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// How a call ended. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The subject has the permission.
    Allowed = 1,
    /// It has not.
    Denied = 2,
    /// That depends on parameters that were not given.
    Conditional = 3,
    /// A call that is no yes-or-no question was answered.
    Answered = 4,
    /// There was no answer but an error.
    Failed = 5,
    /// The call is about to be answered; what came of it is in a later record.
    Begun = 6,
}

/// One answer to one question. Texts are empty where the call has no such part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The clock of the call.
    pub time: Timestamp,
    /// The record of the start of the process that decided: it names node and build. Filled in where the record gets its place.
    pub start: u64,
    /// Which call, such as `check`.
    pub call: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: &'a str,
    /// The store.
    pub store: StoreId,
    /// The revision that the answer is true at; 0 when there is none.
    pub revision: Revision,
    /// The revision that wrote the schema in force; 0 when there is none.
    pub schema: Revision,
    /// How long it took; kept in microseconds.
    pub duration: Duration,
    /// The moment that expiry was judged at, where that is not the time of the call.
    pub judged_at: Option<Timestamp>,
    /// The type of the resource or of the resources looked up.
    pub resource_type: &'a str,
    /// The permission or relation.
    pub permission: &'a str,
    /// The type of the subject or of the subjects looked up.
    pub subject_type: &'a str,
    /// The subject's relation.
    pub subject_relation: &'a str,
    /// How many results were handed out, where there can be many.
    pub count: u64,
    /// The SHA-256 over those results, where there can be many.
    pub digest: Option<Hash>,
    /// Who called. Personal, as is what follows.
    pub caller: &'a str,
    /// The resource's id.
    pub resource_id: &'a str,
    /// The subject's id.
    pub subject_id: &'a str,
    /// The values that the request gave for caveats, as a JSON object.
    pub context: &'a str,
    /// More of the reason: missing parameters, a path.
    pub detail: &'a str,
    /// Those through whom the caller called.
    pub actors: Vec<&'a str>,
}

/// A part of a committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The clock of the call that wrote.
    pub time: Timestamp,
    /// Its revision.
    pub revision: Revision,
    /// The store.
    pub store: StoreId,
    /// Which part of the transaction this is, from 0.
    pub part: u64,
    /// Whether it is the last.
    pub last: bool,
    /// Relationships that the transaction changed, up to and with this part.
    pub count: u64,
    /// The SHA-256 of the schema's bytes, where the transaction wrote a schema.
    pub schema: Option<Hash>,
    /// Who wrote. Personal, as is what follows.
    pub actor: &'a str,
    /// The metadata of the transaction, a JSON object.
    pub metadata: &'a str,
    /// The relationships of this part that changed: `+` or `-` and the relationship's text.
    pub updates: Vec<&'a str>,
}

/// Records that a log should have and has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap<'a> {
    /// When this was noticed.
    pub time: Timestamp,
    /// Why they are missing: `queue_full`, `write_failed`, `log_ins_sampled`, `transaction_log_cut`, `history_went_back`.
    pub reason: &'a str,
    /// How many; 0 when that is not known.
    pub count: u64,
    /// When the first was to be recorded; of changes, the first revision.
    pub from: u64,
    /// When the last was to be recorded; of changes, the last revision.
    pub until: u64,
}

/// The start of a process that writes the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start<'a> {
    /// When.
    pub time: Timestamp,
    /// The name of the machine.
    pub node: &'a str,
    /// Name and version of the program.
    pub build: &'a str,
    /// The key that signs from here on.
    pub key: PublicKey,
    /// Whether the process before ended properly. If not, decisions that it had not yet synced may be missing.
    pub clean: bool,
    /// Bytes of a torn record that were cut off the end.
    pub bytes_cut: u64,
    /// Changes: the last revision that is recorded.
    pub position: Revision,
    /// Decisions that the process before had answered and not written; they stand before this record.
    pub recovered: u64,
}

/// A change of the key that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// When.
    pub time: Timestamp,
    /// The key until here.
    pub old: PublicKey,
    /// The key from here on.
    pub new: PublicKey,
    /// The old key's signature of the change; `None` when the old key was not there to give it.
    pub endorsement: Option<[u8; 64]>,
}

/// An erasure of personal fields, recorded in the log of changes before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased<'a> {
    /// When.
    pub time: Timestamp,
    /// Fields in the log of decisions.
    pub decisions: u64,
    /// Fields in the log of changes.
    pub changes: u64,
    /// Who erased. Personal, as is what follows.
    pub actor: &'a str,
    /// Why.
    pub why: &'a str,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A process began to write.
    Start(Start<'a>),
    /// It ended properly.
    Stop(Timestamp),
    /// An answer.
    Decision(Decision<'a>),
    /// A part of a transaction.
    Change(Change<'a>),
    /// Something is missing.
    Gap(Gap<'a>),
    /// Another key signs.
    KeyChange(KeyChange),
    /// Records before this index were removed for their age.
    Pruned(Timestamp, u64),
    /// Personal fields are about to be erased.
    Erased(Erased<'a>),
    /// In a log of the default store: the log of this kind of another store begins.
    Begun(Timestamp, StoreId),
}

/// An entry with its personal fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place in the log, from 0.
    pub index: u64,
    /// What it says.
    pub body: Body<'a>,
    /// Its personal fields, those that were erased as well.
    pub personal: Vec<Personal<'a>>,
}

const START: u8 = 1;
const STOP: u8 = 2;
const DECISION: u8 = 3;
const CHANGE: u8 = 4;
const GAP: u8 = 5;
const KEY_CHANGE: u8 = 6;
const PRUNED: u8 = 7;
const ERASED: u8 = 8;
const BEGUN: u8 = 9;

/// A record that has no place in the log yet: its public part and its personal fields in clear, as they wait in the queue.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    fields: Vec<u8>,
}

impl Draft {
    /// Takes the place of whatever was here.
    pub(crate) fn set(&mut self, body: &Body<'_>) {
        self.bytes.clear();
        self.fields.clear();
        self.bytes.extend_from_slice(&[0; 4]);
        self.head(body);
        let head = u32::try_from(self.bytes.len() - 4).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&head.to_be_bytes());
        self.bytes.append(&mut self.fields);
    }

    fn head(&mut self, body: &Body<'_>) {
        match body {
            Body::Start(start) => {
                self.begin(START, start.time);
                put_text(&mut self.bytes, start.node);
                put_text(&mut self.bytes, start.build);
                self.bytes.extend_from_slice(&start.key.0);
                self.bytes.push(u8::from(start.clean));
                put_number(&mut self.bytes, start.bytes_cut);
                put_number(&mut self.bytes, start.position.0);
                put_number(&mut self.bytes, start.recovered);
            }
            Body::Stop(time) => self.begin(STOP, *time),
            Body::Decision(decision) => self.decision(decision),
            Body::Change(change) => self.change(change),
            Body::Gap(gap) => {
                self.begin(GAP, gap.time);
                put_text(&mut self.bytes, gap.reason);
                [gap.count, gap.from, gap.until].into_iter().for_each(|number| put_number(&mut self.bytes, number));
            }
            Body::KeyChange(change) => {
                self.begin(KEY_CHANGE, change.time);
                self.bytes.extend_from_slice(&change.old.0);
                self.bytes.extend_from_slice(&change.new.0);
                self.bytes.push(u8::from(change.endorsement.is_some()));
                self.bytes.extend(change.endorsement.iter().flatten());
            }
            Body::Pruned(time, before) => {
                self.begin(PRUNED, *time);
                put_number(&mut self.bytes, *before);
            }
            Body::Begun(time, store) => {
                self.begin(BEGUN, *time);
                put_number(&mut self.bytes, u64::from(store.0));
            }
            Body::Erased(erased) => {
                self.begin(ERASED, erased.time);
                [erased.decisions, erased.changes].into_iter().for_each(|number| put_number(&mut self.bytes, number));
                self.field(Field::Caller, erased.actor);
                self.field(Field::Metadata, erased.why);
            }
        }
    }

    fn begin(&mut self, kind: u8, time: Timestamp) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&time.as_microsecond().to_be_bytes());
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        self.begin(DECISION, decision.time);
        let bytes = &mut self.bytes;
        bytes.push(decision.outcome as u8);
        put_text(bytes, decision.call);
        put_text(bytes, decision.reason);
        let micros = u64::try_from(decision.duration.as_micros()).unwrap_or(u64::MAX);
        [u64::from(decision.store.0), decision.revision.0, decision.schema.0, micros]
            .into_iter()
            .for_each(|number| put_number(bytes, number));
        [decision.resource_type, decision.permission, decision.subject_type, decision.subject_relation]
            .into_iter()
            .for_each(|text| put_text(bytes, text));
        put_number(bytes, decision.count);
        put_hash(bytes, decision.digest.as_ref());
        bytes.push(u8::from(decision.judged_at.is_some()));
        bytes.extend(decision.judged_at.iter().flat_map(|time| time.as_microsecond().to_be_bytes()));
        self.field(Field::Caller, decision.caller);
        self.field(Field::ResourceId, decision.resource_id);
        self.field(Field::SubjectId, decision.subject_id);
        self.field(Field::Context, decision.context);
        self.field(Field::Detail, decision.detail);
        decision.actors.iter().for_each(|actor| self.field(Field::Actor, actor));
    }

    fn change(&mut self, change: &Change<'_>) {
        self.begin(CHANGE, change.time);
        let bytes = &mut self.bytes;
        [change.revision.0, u64::from(change.store.0), change.part, u64::from(change.last), change.count]
            .into_iter()
            .for_each(|number| put_number(bytes, number));
        put_hash(bytes, change.schema.as_ref());
        self.field(Field::Caller, change.actor);
        self.field(Field::Metadata, change.metadata);
        change.updates.iter().for_each(|update| self.field(Field::Update, update));
    }

    fn field(&mut self, field: Field, value: &str) {
        if value.is_empty() {
            return;
        }
        let value = &value[..value.floor_char_boundary(sealed::VALUE_BYTES_MAX)];
        self.fields.push(field as u8);
        self.fields.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        self.fields.extend_from_slice(value.as_bytes());
    }
}

/// The fields of a draft, in order.
#[derive(Clone)]
struct DraftFields<'a>(Reader<'a>);

impl<'a> Iterator for DraftFields<'a> {
    type Item = (u8, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let field = self.0.byte()?;
        let length = self.0.u32()? as usize;
        Some((field, self.0.take(length)?))
    }
}

/// What the head of a draft begins with: its kind and its time.
const DRAFT_HEAD_BYTES: usize = 1 + 8;

/// When a draft was made, in microseconds since 1970.
pub(crate) fn micros_of_draft(draft: &[u8]) -> Option<i64> {
    Reader(draft.get(4 + 1..)?).u64().map(u64::cast_signed)
}

/// The store of a draft, if it is a decision.
pub(crate) fn store_of_draft(draft: &[u8]) -> Option<StoreId> {
    let head = draft.get(4..)?;
    let mut reader = Reader(head.get(DRAFT_HEAD_BYTES..).filter(|_| head.first() == Some(&DECISION))?);
    let _outcome = reader.byte()?;
    let (_call, _reason) = (reader.text()?, reader.text()?);
    u32::try_from(reader.number()?).ok().map(StoreId)
}

/// Makes a draft the entry at `index`, with what lies beside it; a decision is one of the process that began with record `start`.
/// `None` when it is too long, or the system gives no random numbers.
pub(crate) fn settle(
    draft: &[u8],
    index: u64,
    start: u64,
    entry: &mut Vec<u8>,
    beside: &mut Vec<u8>,
    salts: &mut Salts,
) -> Option<()> {
    entry.clear();
    beside.clear();
    let mut draft = Reader(draft);
    let head = draft.u32()? as usize;
    let head = draft.take(head)?;
    entry.push(VERSION);
    entry.extend_from_slice(&index.to_be_bytes());
    let (common, rest) = head.split_at_checked(DRAFT_HEAD_BYTES)?;
    entry.extend_from_slice(common);
    if common.first() == Some(&DECISION) {
        put_number(entry, start);
    }
    entry.extend_from_slice(rest);
    sealed::seal(entry, beside, DraftFields(draft), salts)?;
    (entry.len() <= ENTRY_BYTES_MAX).then_some(())
}

impl<'a> Entry<'a> {
    /// Reads an entry against what lies beside it. `None` when either has not the form that is written, or they do not belong
    /// together.
    #[must_use]
    pub fn read(entry: &'a [u8], beside: &'a [u8]) -> Option<Entry<'a>> {
        Entry::read_by(entry, beside, sealed::open)
    }

    /// Reads an entry without asking whether what lies beside it belongs to it.
    pub(crate) fn read_unchecked(entry: &'a [u8], beside: &'a [u8]) -> Option<Entry<'a>> {
        Entry::read_by(entry, beside, sealed::open_unchecked)
    }

    /// Reads an entry without its personal fields, whatever lies beside it.
    pub(crate) fn read_public(entry: &'a [u8]) -> Option<Entry<'a>> {
        Entry::read_by(entry, &[], sealed::skip)
    }

    fn read_by(
        entry: &'a [u8],
        beside: &'a [u8],
        open: fn(&mut Reader<'_>, &'a [u8]) -> Option<Vec<Personal<'a>>>,
    ) -> Option<Entry<'a>> {
        let mut reader = Reader(entry);
        if reader.byte()? != VERSION {
            return None;
        }
        let index = reader.u64()?;
        let kind = reader.byte()?;
        let time = read_time(&mut reader)?;
        let mut body = read_head(kind, time, &mut reader)?;
        let personal = open(&mut reader, beside)?;
        body.take_personal(&personal);
        Some(Entry { index, body, personal })
    }

    /// When it was made.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match &self.body {
            Body::Start(start) => start.time,
            Body::Decision(decision) => decision.time,
            Body::Change(change) => change.time,
            Body::Gap(gap) => gap.time,
            Body::KeyChange(change) => change.time,
            Body::Erased(erased) => erased.time,
            Body::Stop(time) | Body::Pruned(time, _) | Body::Begun(time, _) => *time,
        }
    }
}

fn read_head<'a>(kind: u8, time: Timestamp, reader: &mut Reader<'a>) -> Option<Body<'a>> {
    Some(match kind {
        START => Body::Start(Start {
            time,
            node: reader.text()?,
            build: reader.text()?,
            key: PublicKey(reader.array()?),
            clean: read_flag(reader)?,
            bytes_cut: reader.number()?,
            position: Revision(reader.number()?),
            recovered: reader.number()?,
        }),
        STOP => Body::Stop(time),
        DECISION => Body::Decision(read_decision(time, reader)?),
        CHANGE => Body::Change(Change {
            time,
            revision: Revision(reader.number()?),
            store: StoreId(u32::try_from(reader.number()?).ok()?),
            part: reader.number()?,
            last: read_flag(reader)?,
            count: reader.number()?,
            schema: read_hash(reader)?,
            actor: "",
            metadata: "",
            updates: Vec::new(),
        }),
        GAP => Body::Gap(Gap {
            time,
            reason: reader.text()?,
            count: reader.number()?,
            from: reader.number()?,
            until: reader.number()?,
        }),
        KEY_CHANGE => Body::KeyChange(KeyChange {
            time,
            old: PublicKey(reader.array()?),
            new: PublicKey(reader.array()?),
            endorsement: if read_flag(reader)? { Some(reader.array()?) } else { None },
        }),
        PRUNED => Body::Pruned(time, reader.number()?),
        BEGUN => Body::Begun(time, StoreId(u32::try_from(reader.number()?).ok()?)),
        ERASED => {
            Body::Erased(Erased { time, decisions: reader.number()?, changes: reader.number()?, actor: "", why: "" })
        }
        _ => return None,
    })
}

fn read_decision<'a>(time: Timestamp, reader: &mut Reader<'a>) -> Option<Decision<'a>> {
    let start = reader.number()?;
    let outcome = reader.byte()?;
    Some(Decision {
        time,
        start,
        outcome: Outcome::ALL.into_iter().find(|known| *known as u8 == outcome)?,
        call: reader.text()?,
        reason: reader.text()?,
        store: StoreId(u32::try_from(reader.number()?).ok()?),
        revision: Revision(reader.number()?),
        schema: Revision(reader.number()?),
        duration: Duration::from_micros(reader.number()?),
        resource_type: reader.text()?,
        permission: reader.text()?,
        subject_type: reader.text()?,
        subject_relation: reader.text()?,
        count: reader.number()?,
        digest: read_hash(reader)?,
        judged_at: if read_flag(reader)? { Some(read_time(reader)?) } else { None },
        caller: "",
        resource_id: "",
        subject_id: "",
        context: "",
        detail: "",
        actors: Vec::new(),
    })
}

fn read_time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::from_be_bytes(reader.array()?)).ok()
}

fn put_hash(bytes: &mut Vec<u8>, hash: Option<&Hash>) {
    bytes.push(u8::from(hash.is_some()));
    bytes.extend(hash.into_iter().flatten());
}

#[allow(clippy::option_option)] // no hash, and nothing that can be read
fn read_hash(reader: &mut Reader<'_>) -> Option<Option<Hash>> {
    Some(if read_flag(reader)? { Some(reader.array()?) } else { None })
}

fn read_flag(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.byte()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

impl<'a> Body<'a> {
    /// Puts the clear values where they belong; those that were erased stay empty.
    fn take_personal(&mut self, personal: &[Personal<'a>]) {
        for Personal { field, value } in personal {
            let value = value.unwrap_or_default();
            match (&mut *self, field) {
                (Body::Decision(decision), Field::Caller) => decision.caller = value,
                (Body::Decision(decision), Field::ResourceId) => decision.resource_id = value,
                (Body::Decision(decision), Field::SubjectId) => decision.subject_id = value,
                (Body::Decision(decision), Field::Context) => decision.context = value,
                (Body::Decision(decision), Field::Detail) => decision.detail = value,
                (Body::Decision(decision), Field::Actor) => decision.actors.push(value),
                (Body::Erased(erased), Field::Caller) => erased.actor = value,
                (Body::Erased(erased), Field::Metadata) => erased.why = value,
                (Body::Change(change), Field::Caller) => change.actor = value,
                (Body::Change(change), Field::Metadata) => change.metadata = value,
                (Body::Change(change), Field::Update) => change.updates.push(value),
                _ => {}
            }
        }
    }
}

impl<'a> Decision<'a> {
    /// Who called, and through whom.
    pub fn callers(&self) -> impl Iterator<Item = &'a str> + '_ {
        std::iter::once(self.caller).chain(self.actors.iter().copied()).filter(|caller| !caller.is_empty())
    }
}

impl Outcome {
    /// All there are.
    pub const ALL: [Outcome; 6] =
        [Outcome::Allowed, Outcome::Denied, Outcome::Conditional, Outcome::Answered, Outcome::Failed, Outcome::Begun];

    /// Its name in searches and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Conditional => "conditional",
            Outcome::Answered => "answered",
            Outcome::Failed => "failed",
            Outcome::Begun => "begun",
        }
    }
}

impl KeyChange {
    /// What the old key signs to endorse the new one for the log `origin`.
    #[must_use]
    pub fn message(origin: &str, new: &PublicKey) -> Vec<u8> {
        format!("stonetown log key change\n{origin}\n{}\n", new.verifier(origin)).into_bytes()
    }

    /// Whether the old key has endorsed the new one.
    #[must_use]
    pub fn is_endorsed(&self, origin: &str) -> bool {
        let message = KeyChange::message(origin, &self.new);
        self.endorsement.is_some_and(|signature| self.old.verifies(&message, &signature))
    }
}
