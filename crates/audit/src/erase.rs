//! Taking personal data out of the logs. The tree commits to salted hashes of personal fields; a field is erased by removing its
//! value and its salt, which leaves every hash, and so every proof, as it is.
//!
//! An erasure is recorded in the log of changes before it is done, with how many fields it will take from each log: fields that
//! are gone without such a record were taken by somebody else, and `stonetown audit verify` says so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use stonetown_tuple::{StoreId, Timestamp};

use crate::keys::Keys;
use crate::layout::{CHANGES, DECISIONS, store_folder};
use crate::log::{Log, LogError, Setup};
use crate::reader::{LogReader, ReadError};
use crate::record::{Body, Entry, Erased};
use crate::recorder::lock_idle;
use crate::sealed::{self, Field};
use crate::search::{is_object, parts_of_update};
use crate::segment::{self, Frame, Next, SegmentReader};

/// Whose personal fields are to be erased: all that is set is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasure {
    /// An object, as `TYPE:ID`: its id where it was the subject or the resource, or acted for another, the relationships that changed
    /// and name it, also in the values of a caveat, and with it the caveat values and metadata of these records; and each detail and
    /// each value that mentions it.
    pub object: Option<String>,
    /// Who called or wrote, with the caveat values and metadata of these calls.
    pub caller: Option<String>,
}

/// How many personal fields of the logs an erasure is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    /// Of decisions.
    pub decisions: u64,
    /// Of changes.
    pub changes: u64,
}

/// Why nothing is erased, or not all.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nobody is named.
    #[error("name whom to erase: an object, as TYPE:ID, or a caller")]
    Nobody,
    /// An object without an id.
    #[error("an object is TYPE:ID, without a relation")]
    NoObject,
    /// The logs cannot be read, or not be written to where a field stands. Done again, it goes on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The erasure cannot be recorded; nothing was erased.
    #[error("the erasure cannot be recorded: {0}")]
    Log(#[from] LogError),
    /// The erasure cannot be recorded now; nothing was erased.
    #[error("the erasure cannot be recorded now")]
    Unrecorded,
}

impl Erasure {
    /// # Errors
    /// When it names nobody, or not one object.
    pub fn check(&self) -> Result<(), EraseError> {
        match &self.object {
            Some(object) => match object.split_once(':') {
                Some((object_type, id)) if !object_type.is_empty() && !id.is_empty() && !id.contains('#') => Ok(()),
                _ => Err(EraseError::NoObject),
            },
            None if self.caller.as_ref().is_some_and(|caller| !caller.is_empty()) => Ok(()),
            None => Err(EraseError::Nobody),
        }
    }

    /// Which of an entry's fields are chosen.
    fn chooses(&self, entry: &Entry<'_>) -> Vec<bool> {
        let is_theirs = self.is_of(entry);
        let of_field = |field: Field, value: &str| match field {
            Field::SubjectId => self.is_named(&entry.subject()),
            Field::ResourceId => self.is_named(&entry.resource()),
            Field::Caller => self.caller.as_deref() == Some(value),
            Field::Actor => self.caller.as_deref() == Some(value) || self.is_named(value),
            Field::Update => self.is_of_update(value),
            Field::Context | Field::Metadata | Field::Detail => is_theirs || self.is_mentioned(value),
        };
        entry
            .personal
            .iter()
            .map(|personal| personal.value.is_some_and(|value| of_field(personal.field, value)))
            .collect()
    }

    /// Whether a record is about whom is erased.
    fn is_of(&self, entry: &Entry<'_>) -> bool {
        let names_caller = |caller: &str| self.caller.as_deref() == Some(caller);
        match &entry.body {
            Body::Decision(decision) => {
                decision.callers().any(names_caller)
                    || self.is_named(&entry.subject())
                    || self.is_named(&entry.resource())
                    || decision.actors.iter().any(|actor| self.is_named(actor))
            }
            Body::Change(change) => {
                names_caller(change.actor) || change.updates.iter().any(|update| self.is_of_update(update))
            }
            _ => false,
        }
    }

    /// Whether a relationship that changed is one of the object, or has it in the values of its caveat: as a document of the server
    /// about somebody else has.
    fn is_of_update(&self, update: &str) -> bool {
        let is_of = |(resource, _, subject)| self.is_named(resource) || self.is_named(subject);
        parts_of_update(update).is_some_and(is_of) || self.is_mentioned(update)
    }

    /// Whether a name is the object's, or that of a userset of it.
    fn is_named(&self, name: &str) -> bool {
        self.object.as_ref().is_some_and(|object| is_object(object, name))
    }

    /// Whether a text names the object, not as a part of another's name.
    fn is_mentioned(&self, text: &str) -> bool {
        let Some(object) = self.object.as_deref() else { return false };
        text.match_indices(object).any(|(at, _)| {
            let (before, after) = (&text[..at], text[at + object.len()..].chars().next());
            !ends_within_name(before) && !after.is_some_and(part_of_name)
        })
    }
}

fn part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_/|-=+".contains(c)
}

/// Whether a name that begins behind a text would be the rest of a longer one.
fn ends_within_name(text: &str) -> bool {
    let before = text.trim_end_matches(part_of_name);
    let begun = &text[before.len()..];
    // The letters of a control character in JSON, as in `\n` and `\u001b`, are no part of a name.
    let is_escape = matches!(begun, "b" | "f" | "n" | "r" | "t") || begun.len() == 5 && begun.starts_with('u');
    !(begun.is_empty() || before.ends_with('\\') && is_escape)
}

/// Erases from the logs of a store, in a folder of logs that no server writes. The keys are those of the server.
///
/// # Errors
/// See [`EraseError`].
pub fn erase_offline(
    folder: &Path,
    store: StoreId,
    keys: &Keys,
    erasure: &Erasure,
    actor: &str,
    why: &str,
) -> Result<Fields, EraseError> {
    let _alone = lock_idle(folder)?;
    let own = store_folder(folder, store);
    erase_recorded(&own, erasure, |fields| {
        let directory = own.join(CHANGES);
        let origin = match LogReader::open(&directory) {
            Ok(log) => log.origin().to_owned(),
            Err(ReadError::NoLog(_)) => {
                let decisions = LogReader::open(&own.join(DECISIONS))?;
                format!("{}{CHANGES}", decisions.origin().trim_end_matches(DECISIONS))
            }
            Err(error) => return Err(error.into()),
        };
        let (mut log, mut found) = Log::open(Setup::new(directory, origin), keys)?;
        log.find_position(&mut found)?;
        log.add_start("", "stonetown audit erase", &found)?;
        log.add(&entry(fields, actor, why))?;
        log.add(&Body::Stop(Timestamp::now()))?;
        log.sync()?;
        Ok(log.publish()?)
    })
}

/// Erases from both logs of a store's folder, after `record` has made the record of that last. What is recorded meanwhile is left alone.
pub(crate) fn erase_recorded(
    folder: &Path,
    erasure: &Erasure,
    record: impl FnOnce(Fields) -> Result<(), EraseError>,
) -> Result<Fields, EraseError> {
    erasure.check()?;
    let (decisions, changes) = (folder.join(DECISIONS), folder.join(CHANGES));
    let (of_decisions, decisions_until) = count(&decisions, erasure)?;
    let (of_changes, changes_until) = count(&changes, erasure)?;
    let fields = Fields { decisions: of_decisions, changes: of_changes };
    if fields != Fields::default() {
        record(fields)?;
        erase(&decisions, erasure, decisions_until)?;
        erase(&changes, erasure, changes_until)?;
    }
    Ok(fields)
}

/// The record of an erasure.
pub(crate) fn entry<'a>(fields: Fields, actor: &'a str, why: &'a str) -> Body<'a> {
    let Fields { decisions, changes } = fields;
    Body::Erased(Erased { time: Timestamp::now(), decisions, changes, actor, why })
}

/// How many fields of a log are chosen, and before which record they are.
fn count(directory: &Path, erasure: &Erasure) -> Result<(u64, u64), ReadError> {
    let (mut count, mut until) = (0, 0);
    let log = match LogReader::open(directory) {
        // A store that was only asked about has no changes.
        Err(ReadError::NoLog(_)) => return Ok((0, 0)),
        log => log?,
    };
    for first in log.segments() {
        until = each_chosen(directory, *first, u64::MAX, erasure, &mut |_, _, _, chosen| {
            count += chosen.iter().filter(|chosen| **chosen).count() as u64;
            Ok(())
        })?;
    }
    Ok((count, until))
}

/// Erases in the records before `until`, and makes the indexes anew that knew of it. Returns how many fields are gone.
fn erase(directory: &Path, erasure: &Erasure, until: u64) -> Result<u64, ReadError> {
    let mut erased = 0;
    if until == 0 {
        return Ok(0);
    }
    for first in LogReader::open(directory)?.segments().iter().filter(|first| **first < until) {
        let path = segment::path(directory, *first);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let file = File::options().write(true).open(&path).map_err(io)?;
        let mut here = 0;
        each_chosen(directory, *first, until, erasure, &mut |offset, entry_bytes, beside, chosen| {
            let mut beside = beside.to_vec();
            here += sealed::erase(&mut beside, &mut |number, _| chosen.get(number).copied().unwrap_or(false));
            file.write_all_at(&beside, segment::beside_at(offset, entry_bytes)).map_err(io)
        })?;
        if here > 0 {
            file.sync_data().map_err(io)?;
            remake_index(directory, *first)?;
        }
        erased += here as u64;
    }
    Ok(erased)
}

/// The index has hashes of what was erased: it goes first, so that it is not left behind.
fn remake_index(directory: &Path, first: u64) -> Result<(), ReadError> {
    let path = crate::index::path(directory, first);
    if path.exists() {
        std::fs::remove_file(&path).map_err(|source| ReadError::Io { path, source })?;
        crate::index::make(directory, first)?;
    }
    Ok(())
}

/// Called with where a record begins, the length of its entry, what lies beside it, and which of its fields are chosen.
type VisitChosen<'a> = &'a mut dyn FnMut(u64, usize, &[u8], &[bool]) -> Result<(), ReadError>;

/// Hands the records of a segment before `until` that have a chosen field to `visit`. Returns the index after the last one read.
fn each_chosen(
    directory: &Path,
    first: u64,
    until: u64,
    erasure: &Erasure,
    visit: VisitChosen<'_>,
) -> Result<u64, ReadError> {
    let mut index = first;
    let path = segment::path(directory, first);
    let io = |source| ReadError::Io { path: path.clone(), source };
    let mut reader = SegmentReader::open(&path).map_err(io)?.ok_or_else(|| ReadError::Damaged(path.clone()))?;
    while index < until {
        let offset = reader.offset();
        match reader.read().map_err(io)? {
            // A record that is being written has a place in a later erasure.
            Next::End | Next::Broken(_) => break,
            Next::Frame(Frame::Checkpoint(_)) => {}
            Next::Frame(Frame::Record { entry, beside, .. }) => {
                let read = Entry::read(entry, beside).ok_or_else(|| ReadError::Damaged(path.clone()))?;
                let chosen = erasure.chooses(&read);
                if chosen.contains(&true) {
                    visit(offset, entry.len(), beside, &chosen)?;
                }
                index += 1;
            }
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_within_another_is_not_a_mention() {
        let erasure = Erasure { object: Some("user:anna".to_owned()), caller: None };
        for text in [
            "user:anna",
            "document:x#view > user:anna",
            r#"{"who":"user:anna"}"#,
            "group:a#m@user:anna, x",
            r"{\nuser:anna}",
        ] {
            assert!(erasure.is_mentioned(text), "{text}");
        }
        for text in ["user:annabel", "superuser:anna", "anna", "user:anna-2", r"{\nnuser:anna}", "nuser:anna", ""] {
            assert!(!erasure.is_mentioned(text), "{text}");
        }
        assert!(!Erasure { object: None, caller: Some("key-1".to_owned()) }.is_mentioned("user:anna"));
    }

    #[test]
    fn somebody_must_be_named() {
        let named = |object: &str, caller: &str| Erasure {
            object: Some(object.to_owned()).filter(|object| !object.is_empty()),
            caller: Some(caller.to_owned()).filter(|caller| !caller.is_empty()),
        };
        assert!(named("user:anna", "").check().is_ok() && named("", "key-1").check().is_ok());
        assert!(matches!(named("", "").check(), Err(EraseError::Nobody)));
        for object in ["user", "user:", ":anna", "group:a#member"] {
            assert!(matches!(named(object, "key-1").check(), Err(EraseError::NoObject)), "{object}");
        }
    }
}
