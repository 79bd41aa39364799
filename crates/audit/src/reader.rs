//! Reading a log that nobody, or another process, is writing: its records in order, and the proofs of them.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::index::Index;
use crate::log::CHECKPOINT_FILE;
use crate::merkle::{Frontier, Hash, Subtrees, leaf_hash, node_hash};
use crate::note::{Checkpoint, Note, PublicKey};
use crate::record::{Body, Entry};
use crate::segment::{self, Frame, Header, Next, SegmentReader};

/// A log's directory, open for reading.
#[derive(Debug, Clone)]
pub struct LogReader {
    directory: PathBuf,
    origin: String,
    bits: u8,
    segments: Vec<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk or the files on it.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no log in the directory.
    #[error("`{}` holds no log", .0.display())]
    NoLog(PathBuf),
    /// The log is damaged.
    #[error("`{}` is damaged: run `stonetown audit verify`", .0.display())]
    Damaged(PathBuf),
    /// A record that the log has not, or no longer.
    #[error("there is no record {index}: the log has those from {first} to before {size}")]
    NoRecord {
        /// The record.
        index: u64,
        /// The oldest that is kept.
        first: u64,
        /// Records so far.
        size: u64,
    },
}

/// A record as it was written, with where it stands.
#[derive(Debug)]
pub struct RawRecord<'a> {
    /// What it says.
    pub record: Entry<'a>,
    /// The bytes that the tree commits to.
    pub entry: &'a [u8],
    /// What lies beside them: the personal fields.
    pub beside: &'a [u8],
    /// The hash of the entry.
    pub leaf: Hash,
}

impl LogReader {
    /// Opens the log in a directory.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(directory: &Path) -> Result<LogReader, ReadError> {
        let io = |source| ReadError::Io { path: directory.to_owned(), source };
        let segments = segment::list(directory).map_err(io)?;
        let first = *segments.first().ok_or_else(|| ReadError::NoLog(directory.to_owned()))?;
        let header = header(directory, first)?;
        Ok(LogReader { directory: directory.to_owned(), origin: header.origin, bits: header.bits, segments })
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first indexes of its segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[u64] {
        &self.segments
    }

    /// See [`newest_checkpoint`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn newest_checkpoint(&self) -> Result<Option<(String, Checkpoint)>, ReadError> {
        newest_checkpoint(&self.directory)
    }

    /// Hands all records from `from` on to `visit`, in order. Ends quietly at a record that is being written.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] at the first record that cannot be read.
    pub fn records(
        &self,
        from: u64,
        visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for first in self.segments_from(from) {
            if self.records_of(first, from, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Hands one record to `visit`; whether the log has it. Reads one segment at most.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn record(&self, wanted: u64, visit: &mut dyn FnMut(&RawRecord<'_>)) -> Result<bool, ReadError> {
        let Some(first) = self.segments_from(wanted).next().filter(|first| *first <= wanted) else { return Ok(false) };
        if let (Some(index), Ok(number)) = (Index::open(&self.directory, first), u32::try_from(wanted - first)) {
            let io = |source| ReadError::Io { path: crate::index::path(&self.directory, first), source };
            let place = index.place(number).map_err(io)?;
            return self.record_after(first, place, wanted, visit).map(|()| true);
        }
        let ended = self.records_of(first, wanted, &mut |raw| {
            visit(raw);
            ControlFlow::Break(())
        })?;
        Ok(ended.is_break())
    }

    /// The first indexes of the segments that have records from `from` on.
    pub(crate) fn segments_from(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let segments = self.segments.iter().enumerate();
        segments
            .filter(move |(at, _)| self.segments.get(at + 1).is_none_or(|next| *next > from))
            .map(|(_, first)| *first)
    }

    /// Hands the records of a segment from `from` on to `visit`, in order.
    pub(crate) fn records_of(
        &self,
        first: u64,
        from: u64,
        visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let path = segment::path(&self.directory, first);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let mut reader = self.segment(first)?;
        let mut index = first;
        loop {
            match reader.read().map_err(io)? {
                Next::End => return Ok(ControlFlow::Continue(())),
                Next::Frame(Frame::Checkpoint(_)) => {}
                Next::Frame(Frame::Record { entry, beside, leaf }) => {
                    if index >= from {
                        let record = Entry::read(entry, beside).filter(|record| record.index == index);
                        let record = record.ok_or_else(|| ReadError::Damaged(path.clone()))?;
                        if visit(&RawRecord { record, entry, beside, leaf }).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    index += 1;
                }
                // The last segment may be growing under our eyes.
                Next::Broken(_) if self.segments.last() == Some(&first) => return Ok(ControlFlow::Continue(())),
                Next::Broken(_) => return Err(ReadError::Damaged(path)),
            }
        }
    }

    /// Hands one record of a segment to `visit`, read from a place at or before it: an offset, and the index of the record there.
    pub(crate) fn record_after(
        &self,
        first: u64,
        (offset, mut index): (u64, u64),
        wanted: u64,
        visit: &mut dyn FnMut(&RawRecord<'_>),
    ) -> Result<(), ReadError> {
        let path = segment::path(&self.directory, first);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let mut reader = self.segment(first)?;
        reader.seek(offset).map_err(io)?;
        while let Next::Frame(frame) = reader.read().map_err(io)? {
            let Frame::Record { entry, beside, leaf } = frame else { continue };
            if index == wanted {
                let record = Entry::read(entry, beside).filter(|record| record.index == wanted);
                let record = record.ok_or_else(|| ReadError::Damaged(path.clone()))?;
                visit(&RawRecord { record, entry, beside, leaf });
                return Ok(());
            }
            index += 1;
        }
        Err(ReadError::Damaged(path))
    }

    /// The public keys that have signed, the oldest first: those that the records name.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn keys(&self) -> Result<Vec<PublicKey>, ReadError> {
        let oldest = self.segments.first().copied().unwrap_or(0);
        let mut keys = vec![header(&self.directory, oldest)?.key];
        self.records(oldest, &mut |raw| {
            if let Body::KeyChange(change) = &raw.record.body
                && !keys.contains(&change.new)
            {
                keys.push(change.new);
            }
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// The hashes of all leaves of a segment, at most up to `size` records of the log.
    fn leaves(&self, first: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let path = segment::path(&self.directory, first);
        let mut reader = self.segment(first)?;
        let mut leaves = Vec::new();
        while first + (leaves.len() as u64) < size.min(first + (1 << self.bits)) {
            match reader.read().map_err(|source| ReadError::Io { path: path.clone(), source })? {
                Next::Frame(Frame::Record { entry, .. }) => leaves.push(leaf_hash(entry)),
                Next::Frame(Frame::Checkpoint(_)) => {}
                Next::End | Next::Broken(_) => return Err(ReadError::Damaged(path)),
            }
        }
        Ok(leaves)
    }

    fn segment(&self, first: u64) -> Result<SegmentReader, ReadError> {
        let path = segment::path(&self.directory, first);
        let opened = SegmentReader::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        opened.ok_or(ReadError::Damaged(path))
    }

    /// The roots of complete subtrees over the first `size` records, for [`crate::merkle::inclusion`] and
    /// [`crate::merkle::consistency`]. Reads a few segments at most, whatever the size.
    #[must_use]
    pub fn subtrees(&self, size: u64) -> StoredSubtrees<'_> {
        StoredSubtrees { log: self, size, loaded: None }
    }
}

/// The newest checkpoint of the log in a directory, as the file has it: the note, and what it says; not verified. `None` before
/// the first.
///
/// # Errors
/// See [`ReadError`].
pub fn newest_checkpoint(directory: &Path) -> Result<Option<(String, Checkpoint)>, ReadError> {
    let path = directory.join(CHECKPOINT_FILE);
    let note = match std::fs::read_to_string(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(ReadError::Damaged(path)),
        Err(source) => return Err(ReadError::Io { path, source }),
    };
    let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text()));
    let checkpoint = checkpoint.map_err(|_| ReadError::Damaged(path))?;
    Ok(Some((note, checkpoint)))
}

fn header(directory: &Path, first: u64) -> Result<Header, ReadError> {
    let path = segment::path(directory, first);
    let opened = SegmentReader::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    opened.map(|reader| reader.header().clone()).ok_or(ReadError::Damaged(path))
}

/// See [`LogReader::subtrees`].
#[derive(Debug)]
pub struct StoredSubtrees<'a> {
    log: &'a LogReader,
    size: u64,
    loaded: Option<(u64, Vec<Hash>)>,
}

impl Subtrees for StoredSubtrees<'_> {
    type Error = ReadError;

    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, ReadError> {
        let (begin, end) = (index << level, (index + 1) << level);
        let bits = u32::from(self.log.bits);
        if level < bits {
            return self.within_segment(begin, end);
        }
        if let Some(peak) = self.peak(begin, end)? {
            return Ok(peak);
        }
        if level > bits {
            let (left, right) = (self.subtree(level - 1, index * 2), self.subtree(level - 1, index * 2 + 1));
            return Ok(node_hash(&left?, &right?));
        }
        self.within_segment(begin, end)
    }
}

impl StoredSubtrees<'_> {
    /// The root of a subtree as a header has it: a left child is a peak of the segment after it, and what lies before the oldest
    /// segment is known by the peaks of that one.
    fn peak(&self, begin: u64, end: u64) -> Result<Option<Hash>, ReadError> {
        let segments = &self.log.segments;
        let oldest = segments.first().copied().unwrap_or(0);
        let at = if end <= oldest { oldest } else { end };
        if segments.binary_search(&at).is_err() {
            return Ok(None);
        }
        let mut from = 0;
        for peak in header(&self.log.directory, at)?.peaks {
            // The largest power of two that the rest begins with.
            let size = 1 << (63 - (at - from).leading_zeros());
            if (from, from + size) == (begin, end) {
                return Ok(Some(peak));
            }
            from += size;
        }
        Ok(None)
    }

    fn within_segment(&mut self, begin: u64, end: u64) -> Result<Hash, ReadError> {
        let first = begin >> self.log.bits << self.log.bits;
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != first) {
            let oldest = self.log.segments.first().copied().unwrap_or(0);
            if self.log.segments.binary_search(&first).is_err() {
                return Err(ReadError::NoRecord { index: begin, first: oldest, size: self.size });
            }
            self.loaded = Some((first, self.log.leaves(first, self.size)?));
        }
        let leaves = self.loaded.as_ref().map_or(&[][..], |(_, leaves)| leaves);
        let at = |index: u64| usize::try_from(index - first).unwrap_or(usize::MAX);
        let range = leaves.get(at(begin)..at(end));
        let range = range.ok_or(ReadError::NoRecord { index: begin, first, size: self.size })?;
        let mut tree = Frontier::default();
        range.iter().for_each(|leaf| tree.push(*leaf));
        Ok(tree.root())
    }
}
