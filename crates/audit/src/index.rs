//! An index beside each full segment: which of its records say what. It only saves reading: what it points at is compared with
//! the query like any other record, and a segment without one is read. It is made from the segment, so it can be deleted at any
//! time; `docs/audit-format.md` describes its bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stonetown_tuple::Timestamp;

use crate::bytes::Reader;
use crate::merkle::sha256;
use crate::reader::ReadError;
use crate::record::{Body, Entry};
use crate::segment::{self, Frame, Next, SegmentReader};

const MAGIC: &[u8] = b"stonetown audit index 1\n";
const CHECKSUM_BYTES: usize = 8;
const HEAD_BYTES: usize = MAGIC.len() + 8 + 4 + 4 + 8 + 8 + CHECKSUM_BYTES;
/// Every so many records it says where one begins.
const PLACES_EVERY: u32 = 64;
/// Bytes of a term and of where its records begin in the list of records.
const TERM_BYTES: usize = 8 + 4;
/// A term is a hash of so many bits; the rest of 64 number a record.
const TERM_BITS: u32 = 48;
/// Records that the numbers in a segment's index can tell apart.
const RECORDS_MAX: u32 = 1 << (64 - TERM_BITS);

/// Something that records can be looked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term(u64);

/// What a term is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aspect {
    Subject = 1,
    Resource = 2,
    Permission = 3,
    Outcome = 4,
    Call = 5,
    Caller = 6,
    /// What the log says of itself.
    Own = 7,
}

impl Term {
    /// The 64-bit FNV-1a hash of the aspect's number and the text, without its upper bits. Two texts may share one.
    pub(crate) fn new(aspect: Aspect, text: &str) -> Term {
        let bytes = std::iter::once(aspect as u8).chain(text.bytes());
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Term(hash & ((1 << TERM_BITS) - 1))
    }
}

/// The index of a segment, open for reading.
pub(crate) struct Index {
    file: File,
    /// Its first record.
    first: u64,
    records: u32,
    terms: u32,
    /// The times of the earliest and the latest record, in microseconds since 1970.
    pub(crate) times: (i64, i64),
}

/// The path of a segment's index.
pub(crate) fn path(directory: &Path, first: u64) -> PathBuf {
    segment::path(directory, first).with_extension("index")
}

/// Makes the index of a full segment, whole or not at all; in place of one that is there. A segment that is not full gets none.
///
/// # Errors
/// When the segment is damaged, or files cannot be read or written.
pub(crate) fn make(directory: &Path, first: u64) -> Result<(), ReadError> {
    let segment = segment::path(directory, first);
    let io = |source| ReadError::Io { path: segment.clone(), source };
    let damaged = || ReadError::Damaged(segment.clone());
    let mut reader = SegmentReader::open(&segment).map_err(io)?.ok_or_else(damaged)?;
    let full = reader.header().end() - reader.header().first;
    if full > u64::from(RECORDS_MAX) {
        return Ok(());
    }
    let (mut places, mut postings, mut times) = (Vec::new(), Vec::new(), (i64::MAX, i64::MIN));
    let mut number = 0_u32;
    loop {
        let place = reader.offset();
        match reader.read().map_err(io)? {
            Next::End => break,
            Next::Broken(_) => return Err(damaged()),
            Next::Frame(Frame::Checkpoint(_)) => {}
            Next::Frame(Frame::Record { entry, beside, .. }) => {
                let entry = Entry::read_unchecked(entry, beside).ok_or_else(damaged)?;
                if number.is_multiple_of(PLACES_EVERY) {
                    places.push(place);
                }
                let micros = entry.time().as_microsecond();
                times = (times.0.min(micros), times.1.max(micros));
                terms(&entry, &mut |term| postings.push(term.0 << (64 - TERM_BITS) | u64::from(number)));
                number += 1;
            }
        }
    }
    if u64::from(number) < full {
        return Ok(());
    }
    postings.sort_unstable();
    postings.dedup();
    write(&path(directory, first), &encode(first, number, times, &places, &postings)).map_err(io)
}

fn encode(first: u64, records: u32, times: (i64, i64), places: &[u64], postings: &[u64]) -> Vec<u8> {
    let mut terms: Vec<u8> = Vec::new();
    let (mut numbers, mut count, mut last) = (Vec::with_capacity(postings.len() * 2), 0_u32, None);
    for (at, posting) in postings.iter().enumerate() {
        let term = posting >> (64 - TERM_BITS);
        if last != Some(term) {
            last = Some(term);
            count += 1;
            terms.extend_from_slice(&term.to_be_bytes());
            terms.extend_from_slice(&u32::try_from(at).unwrap_or(u32::MAX).to_be_bytes());
        }
        // The lower 16 bits.
        numbers.extend_from_slice(&posting.to_be_bytes()[6..]);
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(&records.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&times.0.to_be_bytes());
    bytes.extend_from_slice(&times.1.to_be_bytes());
    let checksum = sha256(&bytes);
    bytes.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
    places.iter().for_each(|place| bytes.extend_from_slice(&place.to_be_bytes()));
    bytes.extend_from_slice(&terms);
    bytes.extend_from_slice(&numbers);
    bytes
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("index.new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// Hands the terms of a record to `visit`, some of them more than once.
fn terms(entry: &Entry<'_>, visit: &mut dyn FnMut(Term)) {
    match &entry.body {
        Body::Decision(decision) => {
            visit(Term::new(Aspect::Permission, decision.permission));
            visit(Term::new(Aspect::Outcome, decision.outcome.name()));
            visit(Term::new(Aspect::Call, decision.call));
            for caller in decision.callers() {
                visit(Term::new(Aspect::Caller, caller));
            }
            object_terms(Aspect::Resource, &entry.resource(), visit);
            object_terms(Aspect::Subject, &entry.subject(), visit);
        }
        Body::Change(change) => {
            visit(Term::new(Aspect::Caller, change.actor));
            for update in &change.updates {
                if let Some((resource, relation, subject)) = crate::search::parts_of_update(update) {
                    visit(Term::new(Aspect::Permission, relation));
                    object_terms(Aspect::Resource, resource, visit);
                    object_terms(Aspect::Subject, subject, visit);
                }
            }
        }
        _ => visit(Term::new(Aspect::Own, "")),
    }
}

/// Of `TYPE:ID#RELATION`: the type, the object, and all of it.
fn object_terms(aspect: Aspect, object: &str, visit: &mut dyn FnMut(Term)) {
    let whole = object.split_once('#').map_or(object, |(before, _)| before);
    let object_type = object.split_once(':').map_or(whole, |(before, _)| before);
    let mut last = "";
    for text in [object_type, whole, object] {
        if text != last {
            visit(Term::new(aspect, text));
        }
        last = text;
    }
}

impl Index {
    /// Opens the index of a segment; `None` where there is none that can be used.
    pub(crate) fn open(directory: &Path, first: u64) -> Option<Index> {
        let file = File::open(path(directory, first)).ok()?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0).ok()?;
        let (said, checksum) = head.split_at(HEAD_BYTES - CHECKSUM_BYTES);
        let mut reader = Reader(said);
        let ours = reader.take(MAGIC.len())? == MAGIC && reader.u64()? == first;
        let (records, terms) = (reader.u32()?, reader.u32()?);
        let times = (reader.u64()?.cast_signed(), reader.u64()?.cast_signed());
        let holds = sha256(said)[..CHECKSUM_BYTES] == *checksum;
        (ours && holds).then_some(Index { file, first, records, terms, times })
    }

    /// Whether a record of the segment may be of that time.
    pub(crate) fn covers(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        let (earliest, latest) = self.times;
        since.is_none_or(|since| since.as_microsecond() <= latest)
            && until.is_none_or(|until| until.as_microsecond() > earliest)
    }

    /// The numbers of the records that have all these terms, counted from the segment's first; a few more where texts share a
    /// term.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn find(&self, terms: &[Term]) -> io::Result<Vec<u32>> {
        let mut found: Option<BTreeSet<u32>> = None;
        for term in terms {
            let numbers = self.numbers(*term)?;
            let both = match found {
                None => numbers.into_iter().collect(),
                Some(found) => numbers.into_iter().filter(|number| found.contains(number)).collect(),
            };
            found = Some(both);
        }
        Ok(found.unwrap_or_default().into_iter().collect())
    }

    fn numbers(&self, term: Term) -> io::Result<Vec<u32>> {
        let (mut low, mut high) = (0, self.terms);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.term(middle)?.0 < term.0 { low = middle + 1 } else { high = middle }
        }
        if low == self.terms || self.term(low)?.0 != term.0 {
            return Ok(Vec::new());
        }
        let (begin, numbers_at) = (u64::from(self.term(low)?.1), self.numbers_at());
        let end = if low + 1 < self.terms {
            u64::from(self.term(low + 1)?.1)
        } else {
            (self.file.metadata()?.len() - numbers_at) / 2
        };
        let length = usize::try_from(end.saturating_sub(begin) * 2).unwrap_or(0);
        let mut bytes = vec![0; length.min(2 * RECORDS_MAX as usize)];
        self.file.read_exact_at(&mut bytes, numbers_at + 2 * begin)?;
        Ok(bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).collect())
    }

    /// A term, and where its records begin.
    fn term(&self, at: u32) -> io::Result<(u64, u32)> {
        let mut bytes = [0; TERM_BYTES];
        self.file.read_exact_at(&mut bytes, self.terms_at() + u64::from(at) * TERM_BYTES as u64)?;
        let mut reader = Reader(&bytes);
        Ok((reader.u64().unwrap_or(0), reader.u32().unwrap_or(0)))
    }

    fn terms_at(&self) -> u64 {
        HEAD_BYTES as u64 + 8 * u64::from(self.records.div_ceil(PLACES_EVERY))
    }

    fn numbers_at(&self) -> u64 {
        self.terms_at() + u64::from(self.terms) * TERM_BYTES as u64
    }

    /// A place in the segment at or before a record, and the number of the record that begins there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn place(&self, number: u32) -> io::Result<(u64, u64)> {
        let block = number / PLACES_EVERY;
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, HEAD_BYTES as u64 + 8 * u64::from(block))?;
        Ok((u64::from_be_bytes(bytes), self.first + u64::from(block * PLACES_EVERY)))
    }
}
