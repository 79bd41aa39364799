//! Personal fields beside a record. The tree commits to a salted hash of each; the clear value lies next to the record and can
//! be taken away without touching the tree, and nobody can guess it from the hash, as its salt goes with it.

use ring::rand::{SecureRandom, SystemRandom};

use crate::bytes::Reader;
use crate::merkle::{Hash, sha256_of};

/// What a personal field says. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Who called, or who wrote.
    Caller = 1,
    /// The resource's id.
    ResourceId = 2,
    /// The subject's id.
    SubjectId = 3,
    /// The values that the request gave for caveats, as a JSON object.
    Context = 4,
    /// More of the reason: missing parameters, a path.
    Detail = 5,
    /// The metadata of a transaction, as a JSON object.
    Metadata = 6,
    /// One relationship that changed.
    Update = 7,
    /// One of those through whom the caller called.
    Actor = 8,
}

/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Smallest room of a value with its salt: that of the hash that takes its place.
const SLOT_BYTES_MIN: usize = 32;
/// Bytes before a slot: whether it is clear, its length, the value's length.
const SLOT_HEAD_BYTES: usize = 9;
/// Longest value, in bytes; a longer one is cut by whoever writes it.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;

const CLEAR: u8 = 1;
const ERASED: u8 = 0;

/// A personal field, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Personal<'a> {
    /// What it says.
    pub field: Field,
    /// Its value; `None` when it was erased.
    pub value: Option<&'a str>,
}

impl Field {
    pub(crate) fn read(number: u8) -> Option<Field> {
        use Field::{Actor, Caller, Context, Detail, Metadata, ResourceId, SubjectId, Update};
        [Caller, ResourceId, SubjectId, Context, Detail, Metadata, Update, Actor]
            .into_iter()
            .find(|field| *field as u8 == number)
    }
}

/// The commitment of one field.
fn commitment(salt: &[u8], value: &[u8]) -> Hash {
    sha256_of(&[&[2], salt, value])
}

/// Gives out salts, a system call for some hundreds of them.
pub(crate) struct Salts {
    random: SystemRandom,
    bytes: Vec<u8>,
    used: usize,
}

impl Salts {
    pub(crate) fn new() -> Salts {
        Salts { random: SystemRandom::new(), bytes: vec![0; 512 * SALT_BYTES], used: usize::MAX }
    }

    fn next(&mut self) -> Option<&[u8]> {
        if self.used >= self.bytes.len() {
            self.random.fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let salt = &self.bytes[self.used..self.used + SALT_BYTES];
        self.used += SALT_BYTES;
        Some(salt)
    }
}

/// Appends to `entry` which fields there are and what the tree commits to, and to `beside` their clear values. `None` when the
/// system gives no random numbers.
pub(crate) fn seal<'a>(
    entry: &mut Vec<u8>,
    beside: &mut Vec<u8>,
    fields: impl Iterator<Item = (u8, &'a [u8])> + Clone,
    salts: &mut Salts,
) -> Option<()> {
    let count = u8::try_from(fields.clone().count()).ok()?;
    entry.push(count);
    let mut commitments = Vec::with_capacity(1 + 32 * usize::from(count));
    commitments.push(3);
    for (field, value) in fields {
        entry.push(field);
        let salt = salts.next()?;
        commitments.extend_from_slice(&commitment(salt, value));
        let room = (SALT_BYTES + value.len()).max(SLOT_BYTES_MIN);
        beside.push(CLEAR);
        beside.extend_from_slice(&u32::try_from(room).ok()?.to_be_bytes());
        beside.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
        beside.extend_from_slice(salt);
        beside.extend_from_slice(value);
        beside.resize(beside.len() + room - SALT_BYTES - value.len(), 0);
    }
    if count > 0 {
        entry.extend_from_slice(&sha256_of(&[&commitments]));
    }
    Some(())
}

/// Reads the fields at the end of an entry against what lies beside it. `None` when the two do not belong together, or either
/// has not the form that is written.
pub(crate) fn open<'a>(entry: &mut Reader<'_>, beside: &'a [u8]) -> Option<Vec<Personal<'a>>> {
    open_if(entry, beside, true)
}

/// Reads the fields without asking whether they belong to the entry.
pub(crate) fn open_unchecked<'a>(entry: &mut Reader<'_>, beside: &'a [u8]) -> Option<Vec<Personal<'a>>> {
    open_if(entry, beside, false)
}

/// Whether an erasure may have reached the disk in part: a field is erased, or has what is in no value.
pub(crate) fn may_be_torn(beside: &[u8]) -> bool {
    let mut reader = Reader(beside);
    let mut is_torn_slot = || {
        let (state, room, length) = (reader.byte()?, reader.u32()? as usize, reader.u32()? as usize);
        let value = reader.take(room)?.get(SALT_BYTES..SALT_BYTES.checked_add(length)?)?;
        Some(state == ERASED || value.contains(&0) || std::str::from_utf8(value).is_err())
    };
    std::iter::from_fn(&mut is_torn_slot).any(|is_torn| is_torn)
}

/// Passes over the fields at the end of an entry; what lies beside it is not looked at.
pub(crate) fn skip<'a>(entry: &mut Reader<'_>, _beside: &'a [u8]) -> Option<Vec<Personal<'a>>> {
    let count = entry.byte()?;
    entry.take(usize::from(count))?;
    if count > 0 {
        let _told: Hash = entry.array()?;
    }
    entry.is_empty().then(Vec::new)
}

fn open_if<'a>(entry: &mut Reader<'_>, beside: &'a [u8], checked: bool) -> Option<Vec<Personal<'a>>> {
    let count = entry.byte()?;
    let tags = entry.take(usize::from(count))?;
    let mut beside = Reader(beside);
    let mut commitments = Vec::with_capacity(1 + 32 * usize::from(count));
    commitments.push(3);
    let mut fields = Vec::with_capacity(usize::from(count));
    for tag in tags {
        let (hash, value) = slot(&mut beside, checked)?;
        commitments.extend_from_slice(&hash);
        fields.push(Personal { field: Field::read(*tag)?, value });
    }
    let holds = count == 0 || {
        let told: Hash = entry.array()?;
        !checked || told == sha256_of(&[&commitments])
    };
    (holds && beside.is_empty() && entry.is_empty()).then_some(fields)
}

fn slot<'a>(beside: &mut Reader<'a>, checked: bool) -> Option<(Hash, Option<&'a str>)> {
    let state = beside.byte()?;
    let room = usize::try_from(beside.u32()?).ok()?;
    let length = usize::try_from(beside.u32()?).ok()?;
    let slot = beside.take(room)?;
    let (hash, padding, value) = match state {
        CLEAR => {
            let (content, padding) = slot.split_at_checked(SALT_BYTES.checked_add(length)?)?;
            let (salt, value) = content.split_at(SALT_BYTES);
            let hash = if checked { commitment(salt, value) } else { [0; 32] };
            (hash, padding, Some(std::str::from_utf8(value).ok()?))
        }
        ERASED => {
            let (hash, padding) = slot.split_first_chunk::<32>()?;
            (*hash, padding, None)
        }
        _ => return None,
    };
    let room_fits = room == (SALT_BYTES + length).max(SLOT_BYTES_MIN);
    (room_fits && padding.iter().all(|byte| *byte == 0)).then_some((hash, value))
}

/// Takes the clear values of the chosen fields away, in place; the bytes keep their length. Returns how many were erased.
pub fn erase(beside: &mut [u8], chosen: &mut dyn FnMut(usize, &str) -> bool) -> usize {
    let (mut at, mut number, mut erased) = (0, 0, 0);
    while let Some(head) = beside.get(at..at + SLOT_HEAD_BYTES) {
        let mut reader = Reader(head);
        let (Some(state), Some(room), Some(length)) = (reader.byte(), reader.u32(), reader.u32()) else { break };
        let (begin, room, length) = (at + SLOT_HEAD_BYTES, room as usize, length as usize);
        let Some(slot) = beside.get_mut(begin..begin + room) else { break };
        if state == CLEAR
            && let Some(value) = slot.get(SALT_BYTES..SALT_BYTES + length)
            && std::str::from_utf8(value).is_ok_and(|value| chosen(number, value))
        {
            let hash = commitment(&slot[..SALT_BYTES], value);
            slot.fill(0);
            slot[..32].copy_from_slice(&hash);
            beside[at] = ERASED;
            erased += 1;
        }
        at = begin + room;
        number += 1;
    }
    erased
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(values: &[(Field, &str)]) -> (Vec<u8>, Vec<u8>) {
        let (mut entry, mut beside) = (Vec::new(), Vec::new());
        let fields = values.iter().map(|(field, value)| (*field as u8, value.as_bytes()));
        seal(&mut entry, &mut beside, fields, &mut Salts::new()).unwrap();
        (entry, beside)
    }

    const VALUES: [(Field, &str); 3] =
        [(Field::Caller, "key-1"), (Field::SubjectId, "alice"), (Field::Context, r#"{"a long one":"0123456789"}"#)];

    #[test]
    fn fields_open_as_they_were_sealed() {
        for count in 0..=VALUES.len() {
            let (entry, beside) = sealed(&VALUES[..count]);
            let opened = open(&mut Reader(&entry), &beside).unwrap();
            let values: Vec<_> = opened.iter().map(|personal| (personal.field, personal.value.unwrap())).collect();
            assert_eq!(values, VALUES[..count]);
        }
    }

    #[test]
    fn an_erased_field_is_gone_and_the_rest_still_belongs_to_the_entry() {
        let (entry, mut beside) = sealed(&VALUES);
        assert_eq!(erase(&mut beside, &mut |_, value| value == "alice"), 1);
        let opened = open(&mut Reader(&entry), &beside).unwrap();
        let values: Vec<_> = opened.iter().map(|personal| personal.value).collect();
        assert_eq!(values, [Some("key-1"), None, Some(VALUES[2].1)]);
        assert!(!beside.windows(5).any(|window| window == b"alice"));
        assert_eq!(erase(&mut beside, &mut |_, _| true), 2);
        assert!(open(&mut Reader(&entry), &beside).is_some());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let (entry, beside) = sealed(&VALUES);
        for at in 0..beside.len() {
            let mut flipped = beside.clone();
            flipped[at] ^= 1;
            assert_eq!(open(&mut Reader(&entry), &flipped), None, "byte {at}");
        }
        for cut in 0..beside.len() {
            assert_eq!(open(&mut Reader(&entry), &beside[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn equal_values_have_different_commitments() {
        assert_ne!(sealed(&VALUES).0, sealed(&VALUES).0);
    }
}
