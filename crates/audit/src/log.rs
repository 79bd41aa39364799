//! Writing a log: records are appended to its last segment, synced together, and signed for by checkpoints.
//!
//! A checkpoint is written only over what has been synced. So whatever stands before a checkpoint was once whole on the disk:
//! if it no longer is, that is damage, and the log is not opened. What a crash left half written stands after the last one, and
//! is cut off.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use stonetown_tuple::{Revision, Timestamp};

use crate::changes;
use crate::keys::Keys;
use crate::merkle::{Frontier, leaf_hash};
use crate::note::{Checkpoint, Note, PublicKey, SigningKey};
use crate::record::{self, Body, Draft, Entry, KeyChange, Start};
use crate::sealed::{self, Salts};
use crate::segment::{self, Frame, Header, Next, SegmentReader};

/// The file with the newest checkpoint, beside the segments.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// A full segment has two to the power of this many records.
pub(crate) const SEGMENT_BITS: u8 = 16;

/// What is said after a failed sync.
const BROKEN: &str = "a sync has failed before: what the disk has is unknown until the server is restarted";

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk or the files on it.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the disk holds is not what was written to it.
    #[error("`{}` is damaged {place}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// It could not be opened a moment ago.
    #[error("`{}` could not be opened a moment ago", .0.display())]
    Shut(PathBuf),
    /// A record too long for its log, or no random numbers for its salts.
    #[error("a record cannot be written")]
    Unwritable,
}

/// What records are written to.
pub(crate) trait Sink: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// How a log is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) directory: PathBuf,
    pub(crate) origin: String,
    pub(crate) bits: u8,
    pub(crate) sink: fn(File) -> Box<dyn Sink>,
}

/// A log that this process writes.
pub(crate) struct Log {
    setup: Setup,
    key: Arc<SigningKey>,
    /// The file of the last segment, unless the log rests.
    sink: Option<Box<dyn Sink>>,
    /// The index of the last segment's first record.
    first: u64,
    /// The tree over everything, what is still in the buffer as well.
    frontier: Frontier,
    buffer: Vec<u8>,
    /// The tree over what the file holds, and how long it is.
    written: (Frontier, u64),
    /// Records that are synced.
    synced: u64,
    /// Records in the last checkpoint that the segment has.
    checkpointed: u64,
    /// Records in the file with the newest checkpoint.
    published: u64,
    /// Set when a sync has failed: what the disk has is then unknown until the log is opened anew.
    broken: bool,
    draft: Draft,
    entry: Vec<u8>,
    beside: Vec<u8>,
    salts: Salts,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether the process before ended properly, or there was none.
    pub(crate) clean: bool,
    /// Bytes of a torn record that were cut off.
    pub(crate) bytes_cut: u64,
    /// The last revision that the last segment says is recorded whole.
    pub(crate) position: Option<Revision>,
    /// Records that it had.
    pub(crate) size: u64,
    /// Records that the process before had only in its queue.
    pub(crate) recovered: u64,
}

impl Setup {
    pub(crate) fn new(directory: PathBuf, origin: String) -> Setup {
        Setup { directory, origin, bits: SEGMENT_BITS, sink: |file| Box::new(file) }
    }

    fn io<'s>(&'s self, path: &'s Path) -> impl Fn(io::Error) -> LogError + 's {
        |source| LogError::Io { path: path.to_owned(), source }
    }
}

impl Log {
    /// Opens a log, made if it is not there, and cuts a torn record off its end. A log of another origin is set aside.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it does not hold what was synced to it.
    pub(crate) fn open(setup: Setup, keys: &Keys) -> Result<(Log, Found), LogError> {
        let directory = setup.directory.clone();
        set_foreign_aside(&setup)?;
        fs::create_dir_all(&directory).map_err(setup.io(&directory))?;
        let published = read_published(&directory)?;
        let segments = segment::list(&directory).map_err(setup.io(&directory))?;
        let Some(last) = segments.last() else {
            if published > 0 {
                return Err(missing(&directory, published, 0));
            }
            sync_parents(&directory).map_err(setup.io(&directory))?;
            let log = Log::begin(setup, keys.signing(), &keys.signing().public(), Frontier::default())?;
            let found = Found { clean: true, bytes_cut: 0, position: Some(Revision(0)), size: 0, recovered: 0 };
            return Ok((log, found));
        };
        let path = segment::path(&directory, *last);
        let replayed = replay(&path, &setup.origin)?;
        if replayed.frontier.size() < published {
            return Err(missing(&directory, published, replayed.frontier.size()));
        }
        let file = File::options().write(true).open(&path).map_err(setup.io(&path))?;
        let length = file.metadata().map_err(setup.io(&path))?.len();
        if length > replayed.length {
            file.set_len(replayed.length).and_then(|()| file.sync_all()).map_err(setup.io(&path))?;
        }
        let found = Found {
            clean: replayed.clean && length == replayed.length,
            bytes_cut: length - replayed.length,
            position: replayed.position,
            size: replayed.frontier.size(),
            recovered: 0,
        };
        let mut log = Log {
            sink: Some((setup.sink)(file)),
            key: Arc::clone(keys.signing()),
            first: *last,
            written: (replayed.frontier.clone(), replayed.length),
            // What was not covered by a checkpoint may not have been synced.
            synced: replayed.checkpointed,
            checkpointed: replayed.checkpointed,
            published,
            frontier: replayed.frontier,
            broken: false,
            buffer: Vec::new(),
            draft: Draft::default(),
            entry: Vec::new(),
            beside: Vec::new(),
            salts: Salts::new(),
            setup,
        };
        log.change_key(&replayed.key, keys)?;
        Ok((log, found))
    }

    /// Makes the segment after `frontier`, whole or not at all.
    fn begin(setup: Setup, key: &Arc<SigningKey>, in_force: &PublicKey, frontier: Frontier) -> Result<Log, LogError> {
        let (sink, length) = make_segment(&setup, in_force, &frontier)?;
        Ok(Log {
            sink: Some(sink),
            key: Arc::clone(key),
            first: frontier.size(),
            written: (frontier.clone(), length),
            synced: frontier.size(),
            checkpointed: frontier.size(),
            published: frontier.size(),
            frontier,
            broken: false,
            buffer: Vec::new(),
            draft: Draft::default(),
            entry: Vec::new(),
            beside: Vec::new(),
            salts: Salts::new(),
            setup,
        })
    }

    /// Records that another key signs from here on, endorsed by the one before where that is at hand.
    fn change_key(&mut self, old: &PublicKey, keys: &Keys) -> Result<(), LogError> {
        let new = self.key.public();
        if *old == new {
            return Ok(());
        }
        let former = keys.find(old);
        // The old key is in force up to the record of the change, and in the header of a segment that begins with it.
        if self.is_full() {
            self.roll(old, former.map(AsRef::as_ref))?;
        }
        let endorsement = former.map(|key| key.sign(&KeyChange::message(&self.setup.origin, &new)));
        let endorsement = endorsement.and_then(|signature| signature.try_into().ok());
        if endorsement.is_none() {
            tracing::warn!(
                origin = self.setup.origin,
                old = old.fingerprint(),
                new = new.fingerprint(),
                "the key that signed this log is not in the key directory: a new one signs from here on, which the old one \
                 does not endorse"
            );
        }
        self.add(&Body::KeyChange(KeyChange { time: Timestamp::now(), old: *old, new, endorsement }))
    }

    /// Of a log of changes: has `found` say the last revision that is recorded whole, which may stand before the last segment.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when an earlier segment cannot be read.
    pub(crate) fn find_position(&self, found: &mut Found) -> Result<(), LogError> {
        if found.position.is_none() {
            found.position = Some(self.earlier_position()?);
        }
        Ok(())
    }

    fn earlier_position(&self) -> Result<Revision, LogError> {
        let directory = &self.setup.directory;
        let segments = segment::list(directory).map_err(self.setup.io(directory))?;
        for first in segments.iter().rev().skip(1) {
            if let Some(position) = replay(&segment::path(directory, *first), &self.setup.origin)?.position {
                return Ok(position);
            }
        }
        Ok(Revision(0))
    }

    /// Gives the file back to the system until it is needed again. What is written and not synced is synced through the file that
    /// is opened then, which is told of what went wrong meanwhile (as Linux does since 4.17).
    ///
    /// # Errors
    /// As [`Log::write`].
    pub(crate) fn rest(&mut self) -> Result<(), LogError> {
        self.write()?;
        self.sink = None;
        Ok(())
    }

    /// Whether everything is signed for in the file with the newest checkpoint.
    pub(crate) fn is_published(&self) -> bool {
        self.published == self.frontier.size()
    }

    /// Whether it has a file open.
    pub(crate) fn is_awake(&self) -> bool {
        self.sink.is_some()
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        &self.setup.origin
    }

    /// Records appended, those that are not yet written as well.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Records that are only in memory.
    pub(crate) fn unwritten(&self) -> u64 {
        self.frontier.size() - self.written.0.size()
    }

    /// Records that a power loss could take.
    pub(crate) fn unsynced(&self) -> u64 {
        self.frontier.size() - self.synced
    }

    /// The directory of its segments.
    pub(crate) fn directory(&self) -> &Path {
        &self.setup.directory
    }

    /// Appends a record.
    ///
    /// # Errors
    /// As [`Log::make_room`] and [`Log::append`].
    pub(crate) fn add(&mut self, body: &Body<'_>) -> Result<(), LogError> {
        self.make_room()?;
        let mut draft = std::mem::take(&mut self.draft);
        draft.set(body);
        let added = self.append(&draft.bytes, 0);
        self.draft = draft;
        added
    }

    /// Appends the record that begins what this process writes; returns its index.
    pub(crate) fn add_start(&mut self, node: &str, build: &str, found: &Found) -> Result<u64, LogError> {
        let index = self.size();
        self.add(&Body::Start(Start {
            time: Timestamp::now(),
            node,
            build,
            key: self.key.public(),
            clean: found.clean,
            bytes_cut: found.bytes_cut,
            position: found.position.unwrap_or_default(),
            recovered: found.recovered,
        }))?;
        Ok(index)
    }

    /// Begins a new segment when the last one is full.
    ///
    /// # Errors
    /// When what is in memory cannot be written, which is then lost, or no segment can be made.
    pub(crate) fn make_room(&mut self) -> Result<(), LogError> {
        if !self.is_full() {
            return Ok(());
        }
        let key = Arc::clone(&self.key);
        self.roll(&key.public(), Some(&key))
    }

    fn is_full(&self) -> bool {
        self.frontier.size() == self.first + (1 << self.setup.bits)
    }

    /// Appends a draft, in memory, to a log that has room; `start` is the record of the start of the process that decided.
    ///
    /// # Errors
    /// When there are no random numbers for its salts.
    pub(crate) fn append(&mut self, draft: &[u8], start: u64) -> Result<(), LogError> {
        record::settle(draft, self.frontier.size(), start, &mut self.entry, &mut self.beside, &mut self.salts)
            .ok_or(LogError::Unwritable)?;
        let leaf = leaf_hash(&self.entry);
        segment::put_record(&mut self.buffer, &self.entry, &self.beside, &leaf);
        self.frontier.push(leaf);
        Ok(())
    }

    /// Begins a new segment under the key in force. Without its private half the next checkpoint is the first over what is not
    /// signed for.
    fn roll(&mut self, in_force: &PublicKey, key: Option<&SigningKey>) -> Result<(), LogError> {
        self.sync_records()?;
        if let Some(key) = key {
            self.sign(key)?;
        }
        let (sink, length) = make_segment(&self.setup, in_force, &self.frontier)?;
        self.sink = Some(sink);
        self.first = self.frontier.size();
        self.written = (self.frontier.clone(), length);
        Ok(())
    }

    /// Hands what was appended to the system: from then on the end of this process takes nothing away.
    ///
    /// # Errors
    /// When it cannot be written: what was [`Log::unwritten`] is lost, and the log goes on where it was.
    pub(crate) fn write(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let length = self.written.1;
        let written = if self.broken {
            Err(io::Error::other(BROKEN))
        } else {
            awake(&mut self.sink, &self.setup, self.first).and_then(|sink| sink.write_at(&self.buffer, length))
        };
        if let Err(source) = written {
            self.buffer.clear();
            self.frontier = self.written.0.clone();
            // Should this fail as well: what is written next begins at the same place.
            let _tidied_at_next_start = self.sink.as_mut().map(|sink| sink.cut(length));
            return Err(LogError::Io { path: self.segment_path(), source });
        }
        self.written = (self.frontier.clone(), length + self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    /// Writes, syncs, and signs for it in the segment.
    ///
    /// # Errors
    /// When any of it fails.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        self.sync_records()?;
        let key = Arc::clone(&self.key);
        self.sign(&key)
    }

    fn sync_records(&mut self) -> Result<(), LogError> {
        self.write()?;
        let size = self.frontier.size();
        let io = |source| LogError::Io { path: segment::path(&self.setup.directory, self.first), source };
        if self.synced < size {
            if self.broken {
                return Err(io(io::Error::other(BROKEN)));
            }
            let sink = awake(&mut self.sink, &self.setup, self.first).map_err(io)?;
            sink.sync().map_err(|error| {
                self.broken = true;
                io(error)
            })?;
            self.synced = size;
        }
        Ok(())
    }

    /// Signs in the segment for what is synced.
    fn sign(&mut self, key: &SigningKey) -> Result<(), LogError> {
        let size = self.frontier.size();
        let io = |source| LogError::Io { path: segment::path(&self.setup.directory, self.first), source };
        if self.checkpointed < size {
            let frame = segment::checkpoint_frame(&self.checkpoint().sign(key));
            let length = self.written.1;
            let sink = awake(&mut self.sink, &self.setup, self.first).map_err(io)?;
            if let Err(source) = sink.write_at(&frame, length) {
                let _tidied_at_next_start = sink.cut(length);
                return Err(io(source));
            }
            self.written.1 += frame.len() as u64;
            self.checkpointed = size;
        }
        Ok(())
    }

    /// Syncs, and replaces the file with the newest checkpoint.
    ///
    /// # Errors
    /// When any of it fails.
    pub(crate) fn publish(&mut self) -> Result<(), LogError> {
        self.sync()?;
        if self.published == self.checkpointed {
            return Ok(());
        }
        let path = self.setup.directory.join(CHECKPOINT_FILE);
        let new = self.setup.directory.join("checkpoint.new");
        let note = self.checkpoint().sign(&self.key);
        let replaced = File::create(&new)
            .and_then(|mut file| io::Write::write_all(&mut file, note.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        replaced.map_err(self.setup.io(&path))?;
        self.published = self.checkpointed;
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        let (written, _) = &self.written;
        Checkpoint { origin: self.setup.origin.clone(), size: written.size(), root: written.root() }
    }

    fn segment_path(&self) -> PathBuf {
        segment::path(&self.setup.directory, self.first)
    }
}

/// The file of a log's last segment, opened again where the log rests.
fn awake<'s>(sink: &'s mut Option<Box<dyn Sink>>, setup: &Setup, first: u64) -> io::Result<&'s mut Box<dyn Sink>> {
    Ok(match sink {
        Some(sink) => sink,
        resting => {
            let file = File::options().write(true).open(segment::path(&setup.directory, first))?;
            resting.insert((setup.sink)(file))
        }
    })
}

fn make_segment(setup: &Setup, in_force: &PublicKey, frontier: &Frontier) -> Result<(Box<dyn Sink>, u64), LogError> {
    let header = Header {
        origin: setup.origin.clone(),
        first: frontier.size(),
        bits: setup.bits,
        key: *in_force,
        peaks: frontier.peaks().to_vec(),
    };
    let bytes = header.encode();
    let path = segment::path(&setup.directory, header.first);
    let new = path.with_extension("new");
    let made = File::create(&new).and_then(|file| {
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&setup.directory)?.sync_all()?;
        Ok(file)
    });
    let file = made.map_err(setup.io(&path))?;
    Ok(((setup.sink)(file), bytes.len() as u64))
}

/// What a segment was found to hold.
struct Replayed {
    frontier: Frontier,
    /// Bytes up to the end of the last whole record or checkpoint.
    length: u64,
    checkpointed: u64,
    key: PublicKey,
    /// Whether the last record says that the process ended.
    clean: bool,
    position: Option<Revision>,
}

/// Reads a segment up to what a crash may have left half written.
fn replay(path: &Path, origin: &str) -> Result<Replayed, LogError> {
    let io = |source| LogError::Io { path: path.to_owned(), source };
    let damaged = |place: String, why: &str| LogError::Damaged { path: path.to_owned(), place, why: why.to_owned() };
    let Some(mut reader) = SegmentReader::open(path).map_err(io)? else {
        return Err(damaged("at its beginning".to_owned(), "the header cannot be read"));
    };
    let header = reader.header();
    let mut found = Replayed {
        frontier: header.frontier(),
        length: reader.offset(),
        checkpointed: header.first,
        key: header.key,
        clean: false,
        position: None,
    };
    let mut signed_for = 0;
    loop {
        let broken = match reader.read().map_err(io)? {
            Next::End => return Ok(found),
            Next::Broken(why) => why,
            Next::Frame(Frame::Record { entry, beside, leaf }) => {
                let (mut read, index) = (Entry::read(entry, beside), found.frontier.size());
                // What lies beside a record that was signed for can be half erased, if the power went. The tree covers nothing of it.
                if read.is_none() && sealed::may_be_torn(beside) {
                    if signed_for <= index {
                        let later = later_checkpoint(path, found.length, index, origin, &found.key).map_err(io)?;
                        signed_for = later.unwrap_or(0);
                    }
                    read = Some(entry).filter(|_| index < signed_for).and_then(Entry::read_public);
                }
                match found.take_record(entry, read, leaf) {
                    Ok(()) => {
                        found.length = reader.offset();
                        continue;
                    }
                    Err(why) => why,
                }
            }
            Next::Frame(Frame::Checkpoint(note)) => match found.take_checkpoint(note, origin) {
                Ok(()) => {
                    found.length = reader.offset();
                    continue;
                }
                Err(why) => why,
            },
        };
        let place = || format!("at byte {} (record {})", found.length, found.frontier.size());
        let later = later_checkpoint(path, found.length, found.checkpointed, origin, &found.key);
        return match later.map_err(io)? {
            Some(size) => Err(damaged(place(), &format!("{broken}, though {size} records were signed for"))),
            None => Ok(found),
        };
    }
}

impl Replayed {
    fn take_record(&mut self, entry: &[u8], read: Option<Entry<'_>>, leaf: [u8; 32]) -> Result<(), &'static str> {
        if leaf_hash(entry) != leaf {
            return Err("the record is not what was written");
        }
        let read = read.ok_or("the record cannot be read")?;
        if read.index != self.frontier.size() {
            return Err("the record belongs to another place");
        }
        self.clean = false;
        match read.body {
            Body::Stop(_) => self.clean = true,
            Body::Start(start) => {
                self.key = start.key;
                self.position = Some(start.position);
            }
            Body::KeyChange(change) => self.key = change.new,
            Body::Change(change) if change.last => self.position = Some(change.revision),
            Body::Gap(gap) if gap.reason == changes::HISTORY_WENT_BACK => self.position = Some(Revision(gap.from)),
            Body::Gap(gap) if gap.reason == changes::LOG_CUT => self.position = Some(Revision(gap.until)),
            _ => {}
        }
        self.frontier.push(leaf);
        Ok(())
    }

    fn take_checkpoint(&mut self, note: &str, origin: &str) -> Result<(), &'static str> {
        let checkpoint = signed(note, origin, &self.key).ok_or("the checkpoint is not signed by the log's key")?;
        if checkpoint.size != self.frontier.size() || checkpoint.root != self.frontier.root() {
            return Err("the checkpoint is not that of the records before it");
        }
        self.checkpointed = checkpoint.size;
        Ok(())
    }
}

/// The size of a checkpoint with a good signature anywhere after `offset`, over more than `covered` records.
pub(crate) fn later_checkpoint(
    path: &Path,
    offset: u64,
    covered: u64,
    origin: &str,
    key: &PublicKey,
) -> io::Result<Option<u64>> {
    let bytes = fs::read(path)?;
    let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let begin = format!("{origin}\n");
    let places = rest.windows(begin.len()).enumerate().filter(|(_, window)| *window == begin.as_bytes());
    for (at, _) in places {
        // A signed checkpoint is five lines, the fourth of them empty.
        let note: Vec<u8> = rest[at..].split_inclusive(|byte| *byte == b'\n').take(5).flatten().copied().collect();
        let checkpoint = std::str::from_utf8(&note).ok().and_then(|note| signed(note, origin, key));
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.size > covered) {
            return Ok(Some(checkpoint.size));
        }
    }
    Ok(None)
}

/// The checkpoint of a note, if it is of this log and signed by this key.
pub(crate) fn signed(note: &str, origin: &str, key: &PublicKey) -> Option<Checkpoint> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(note.text()).ok()?;
    (checkpoint.origin == origin && note.is_signed_by(origin, key)).then_some(checkpoint)
}

/// The size in the file with the newest checkpoint; 0 without one.
fn read_published(directory: &Path) -> Result<u64, LogError> {
    let path = directory.join(CHECKPOINT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(LogError::Io { path, source }),
    };
    let checkpoint = Note::parse(&text).and_then(|note| Checkpoint::parse(note.text()));
    checkpoint.map(|checkpoint| checkpoint.size).map_err(|error| LogError::Damaged {
        path,
        place: "as a whole".to_owned(),
        why: error.to_string(),
    })
}

fn missing(directory: &Path, signed: u64, found: u64) -> LogError {
    LogError::Damaged {
        path: directory.to_owned(),
        place: "at its end".to_owned(),
        why: format!("{signed} records were signed for, and {found} are there"),
    }
}

/// Moves a log of another instance out of the way: that of a data directory from which this one was restored.
fn set_foreign_aside(setup: &Setup) -> Result<(), LogError> {
    let directory = &setup.directory;
    let Some(first) = segment::list(directory).map_err(setup.io(directory))?.pop() else { return Ok(()) };
    let path = segment::path(directory, first);
    let Some(reader) = SegmentReader::open(&path).map_err(setup.io(&path))? else { return Ok(()) };
    if reader.header().origin == setup.origin {
        return Ok(());
    }
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| LogError::Unwritable)?;
    let aside = directory.with_extension(format!("{:08x}", u32::from_be_bytes(random)));
    tracing::warn!(found = reader.header().origin, aside = %aside.display(), "the log belongs to another instance");
    fs::rename(directory, &aside).map_err(setup.io(directory))
}

/// Makes the names of new directories last.
fn sync_parents(directory: &Path) -> io::Result<()> {
    let directory = directory.canonicalize()?;
    for parent in directory.ancestors().skip(1).take(2) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
