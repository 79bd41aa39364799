//! The files of a log. A segment begins with a header and holds `2^bits` records, so that a full one is a complete subtree: the
//! peaks in a header are all that is needed of the segments before it, which can go without a proof being lost.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::bytes::Reader;
use crate::merkle::{Frontier, Hash, sha256};
use crate::note::{NOTE_BYTES_MAX, PublicKey};
use crate::record::ENTRY_BYTES_MAX;

const MAGIC: &[u8] = b"stonetown audit segment 1\n";
const CHECKSUM_BYTES: usize = 8;
/// Longest name of a log, in bytes.
const ORIGIN_BYTES_MAX: usize = 256;
/// What begins a record in a segment.
const RECORD: u8 = b'R';
/// What begins a checkpoint in a segment.
const CHECKPOINT: u8 = b'C';
/// Most bytes beside an entry.
const BESIDE_BYTES_MAX: u32 = 64 << 20;

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The log's name.
    pub origin: String,
    /// The index of the first record; a multiple of `2^bits`.
    pub first: u64,
    /// A full segment has `2^bits` records.
    pub bits: u8,
    /// The key in force at the first record.
    pub key: PublicKey,
    /// The roots of the complete subtrees over all records before, the largest first.
    pub peaks: Vec<Hash>,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::try_from(self.origin.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.origin.as_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes.push(self.bits);
        bytes.extend_from_slice(&self.key.0);
        bytes.push(u8::try_from(self.peaks.len()).unwrap_or(u8::MAX));
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak));
        let checksum = sha256(&bytes);
        bytes.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        bytes
    }

    /// Reads the header at the front of `bytes`, and says how long it is.
    fn decode(bytes: &[u8]) -> Option<(Header, usize)> {
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let length = usize::from(reader.byte()?);
        let origin = std::str::from_utf8(reader.take(length)?).ok()?.to_owned();
        let (first, bits, key) = (reader.u64()?, reader.byte()?, PublicKey(reader.array()?));
        let peaks = (0..reader.byte()?).map(|_| reader.array()).collect::<Option<Vec<Hash>>>()?;
        let length = bytes.len() - reader.0.len();
        let fits = bits < 32 && first.trailing_zeros() >= u32::from(bits) && first.count_ones() as usize == peaks.len();
        let holds = reader.take(CHECKSUM_BYTES)? == &sha256(&bytes[..length])[..CHECKSUM_BYTES];
        (fits && holds).then_some((Header { origin, first, bits, key, peaks }, length + CHECKSUM_BYTES))
    }

    /// The tree over the records before.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        Frontier::from_parts(self.first, self.peaks.clone()).unwrap_or_default()
    }

    /// One past the index of the last record that the segment can have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + (1 << self.bits)
    }
}

/// Appends a record as a segment has it.
pub(crate) fn put_record(bytes: &mut Vec<u8>, entry: &[u8], beside: &[u8], leaf: &Hash) {
    bytes.push(RECORD);
    bytes.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(beside.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(entry);
    bytes.extend_from_slice(beside);
    bytes.extend_from_slice(leaf);
}

/// Where what lies beside an entry begins, in a record that begins at `offset`.
pub(crate) fn beside_at(offset: u64, entry_bytes: usize) -> u64 {
    offset + 1 + 4 + 4 + entry_bytes as u64
}

/// A checkpoint as a segment has it.
pub(crate) fn checkpoint_frame(note: &str) -> Vec<u8> {
    let mut bytes = vec![CHECKPOINT];
    bytes.extend_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(note.as_bytes());
    bytes
}

/// The name of the segment that begins at an index.
#[must_use]
pub fn file_name(first: u64) -> String {
    format!("{first:020}.segment")
}

/// The first indexes of the segments in a directory, in order; none if there is no such directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(".segment")?.parse::<u64>().ok());
        found.extend(first.filter(|first| name.to_str() == Some(&file_name(*first))));
    }
    found.sort_unstable();
    Ok(found)
}

/// A part of a segment.
#[derive(Debug)]
pub enum Frame<'a> {
    /// A record: its entry, what lies beside it, and the hash of the entry as it was written.
    Record {
        /// What the tree commits to.
        entry: &'a [u8],
        /// The personal fields.
        beside: &'a [u8],
        /// The entry's hash as it was written.
        leaf: Hash,
    },
    /// A signed checkpoint over all records before it.
    Checkpoint(&'a str),
}

/// What comes next in a segment.
#[derive(Debug)]
pub enum Next<'a> {
    /// A part.
    Frame(Frame<'a>),
    /// The file ends here.
    End,
    /// What follows has no form that is written.
    Broken(&'static str),
}

/// Reads a segment from front to end.
pub struct SegmentReader {
    file: BufReader<File>,
    header: Header,
    offset: u64,
    buffer: Vec<u8>,
}

impl SegmentReader {
    /// Opens a segment; `None` when its header is damaged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> io::Result<Option<SegmentReader>> {
        let longest = MAGIC.len() + 1 + ORIGIN_BYTES_MAX + 8 + 1 + 32 + 1 + 64 * 32 + CHECKSUM_BYTES;
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(longest as u64).read_to_end(&mut bytes)?;
        let Some((header, length)) = Header::decode(&bytes) else { return Ok(None) };
        let offset = length as u64;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        Ok(Some(SegmentReader { file: BufReader::with_capacity(1 << 18, file), header, offset, buffer: Vec::new() }))
    }

    /// What it begins with.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the next part begins, in bytes from the start of the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on at an offset at which a part begins.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = offset;
        io::Seek::seek(&mut self.file, io::SeekFrom::Start(offset)).map(drop)
    }

    /// The next part. After [`Next::End`] and [`Next::Broken`] there is nothing more to read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Next<'_>> {
        const ENDS: Next<'static> = Next::Broken("the file ends in the middle of it");
        let mut kind = [0];
        if self.file.read(&mut kind)? == 0 {
            return Ok(Next::End);
        }
        let lengths = match kind[0] {
            RECORD => 8,
            CHECKPOINT => 4,
            _ => return Ok(Next::Broken("it is neither a record nor a checkpoint")),
        };
        let mut head = [0; 8];
        if !fill(&mut self.file, &mut head[..lengths])? {
            return Ok(ENDS);
        }
        let (first, second) = (be(&head[..4]), be(&head[4..]));
        if kind[0] == CHECKPOINT {
            if first as usize > NOTE_BYTES_MAX {
                return Ok(Next::Broken("its length is above all limits"));
            }
            if !self.fill_buffer(first as usize)? {
                return Ok(ENDS);
            }
            self.offset += 5 + u64::from(first);
            // What is no text is a checkpoint that nobody has signed.
            let note = std::str::from_utf8(&self.buffer).unwrap_or_default();
            return Ok(Next::Frame(Frame::Checkpoint(note)));
        }
        if first as usize > ENTRY_BYTES_MAX || second > BESIDE_BYTES_MAX {
            return Ok(Next::Broken("its length is above all limits"));
        }
        let (entry, beside) = (first as usize, second as usize);
        if !self.fill_buffer(entry + beside + 32)? {
            return Ok(ENDS);
        }
        self.offset += 9 + (entry + beside + 32) as u64;
        let (entry, rest) = self.buffer.split_at(entry);
        let (beside, leaf) = rest.split_at(beside);
        Ok(Next::Frame(Frame::Record { entry, beside, leaf: crate::merkle::to_hash(leaf) }))
    }

    fn fill_buffer(&mut self, length: usize) -> io::Result<bool> {
        self.buffer.resize(length, 0);
        fill(&mut self.file, &mut self.buffer)
    }
}

fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Fills `bytes`; false when the file ends before.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path of a segment.
pub(crate) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(file_name(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written_and_notices_every_flipped_byte() {
        let header = Header {
            origin: "stonetown/1/decisions".to_owned(),
            first: 24,
            bits: 3,
            key: PublicKey([5; 32]),
            peaks: vec![[1; 32], [2; 32]],
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some((header, bytes.len())));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Header::decode(&flipped), None, "byte {at}");
        }
    }
}
