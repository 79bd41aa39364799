//! Verification: every record read and hashed, every checkpoint compared with the records before it.
//!
//! A record that was altered, removed, inserted or moved is found at its place: each names its own index, and stands beside its
//! hash. Whoever can write the hash as well is found at the next checkpoint, which takes the log's key. Whoever has the key is
//! found against a checkpoint that was exported before.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use stonetown_tuple::StoreId;

use crate::log::{later_checkpoint, signed};
use crate::merkle::{Hash, leaf_hash};
use crate::note::{Checkpoint, KnownKey, Note, PublicKey};
use crate::reader::{LogReader, ReadError, newest_checkpoint};
use crate::record::{Body, Entry, LOG_INS_SAMPLED};
use crate::segment::{self, Frame, Next, SegmentReader};

/// Problems after which no more are looked for.
const PROBLEMS_MAX: usize = 100;

/// What a verification goes by, besides the log itself.
#[derive(Debug, Clone, Default)]
pub struct Against {
    /// Keys that are known to be the log's. Where there are any, the log must have begun with one of them, or changed to one.
    pub keys: Vec<KnownKey>,
    /// Checkpoints that were exported before, as signed notes. Those of other logs are left alone.
    pub checkpoints: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The byte in it, where there is one.
    pub offset: Option<u64>,
    /// The first record that it can be about.
    pub from: u64,
    /// One past the last record that it can be about.
    pub until: u64,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// The oldest record that is kept.
    pub first: u64,
    /// Records so far.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Records that a signed checkpoint covers.
    pub signed: u64,
    /// The key in force at the end.
    pub key: PublicKey,
    /// Whether a given key is among those that have signed.
    pub key_is_known: bool,
    /// Given checkpoints that the log agrees with.
    pub agreed: u64,
    /// Records that say that others are missing, and how many they count.
    pub gaps: (u64, u64),
    /// Refused log-ins that were counted and not recorded one by one.
    pub sampled: u64,
    /// Personal fields that were erased.
    pub erased: u64,
    /// Personal fields of the logs of decisions and of changes that the log says were to be erased.
    pub erasures: (u64, u64),
    /// The stores whose logs of this kind have begun, and how often, as that of the default store says.
    pub begun: BTreeMap<StoreId, u64>,
    /// Bytes after the last whole record: one that is being written, or that a crash left.
    pub unfinished: u64,
    /// What is wrong; nothing, if the log is whole.
    pub problems: Vec<Problem>,
}

/// Verifies the log in a directory. Reads only.
///
/// # Errors
/// When files cannot be read at all; what they hold is a matter of the report.
pub fn verify(directory: &Path, against: &Against) -> Result<Report, ReadError> {
    // The newest checkpoint is read first: the log may grow meanwhile, but never fall behind it.
    let newest = newest_checkpoint(directory);
    let log = match LogReader::open(directory) {
        Err(ReadError::Damaged(path)) => return Ok(unreadable(path)),
        log => log?,
    };
    let mut verification = Verification::begin(&log, against, newest)?;
    for (at, first) in log.segments().iter().enumerate() {
        let is_last = at + 1 == log.segments().len();
        if !verification.segment(*first, is_last)? {
            break;
        }
    }
    Ok(verification.end())
}

/// What is wrong with the erasures of two logs of one server: fields that are gone without a record of that.
#[must_use]
pub fn untold_erasures(decisions: &Report, changes: &Report) -> Option<String> {
    let (told_decisions, told_changes) = changes.erasures;
    (decisions.erased > told_decisions || changes.erased > told_changes).then(|| {
        format!(
            "{} personal field(s) of decisions and {} of changes were erased, of which the log of changes tells {told_decisions} \
             and {told_changes}",
            decisions.erased, changes.erased
        )
    })
}

struct Verification<'a> {
    log: &'a LogReader,
    against: &'a Against,
    tree: crate::merkle::Frontier,
    report: Report,
    /// The checkpoints that are to be compared, by size.
    awaited: BTreeMap<u64, Vec<Awaited>>,
    /// Up to where everything was signed for and whole.
    good: u64,
    /// Records before this index were removed for their age, as the log says.
    pruned: u64,
    /// Whether a checkpoint has failed since: those that follow fail for the same reason.
    lost: bool,
}

struct Awaited {
    checkpoint: Checkpoint,
    note: Note,
    what: &'static str,
    exported: bool,
}

impl<'a> Verification<'a> {
    fn begin(
        log: &'a LogReader,
        against: &'a Against,
        newest: Result<Option<(String, Checkpoint)>, ReadError>,
    ) -> Result<Verification<'a>, ReadError> {
        let first = log.segments().first().copied().unwrap_or(0);
        let mut verification = Verification {
            log,
            against,
            tree: crate::merkle::Frontier::default(),
            report: Report {
                origin: log.origin().to_owned(),
                first,
                size: first,
                root: [0; 32],
                signed: first,
                key: PublicKey([0; 32]),
                key_is_known: against.keys.is_empty(),
                agreed: 0,
                gaps: (0, 0),
                sampled: 0,
                erased: 0,
                erasures: (0, 0),
                begun: BTreeMap::new(),
                unfinished: 0,
                problems: Vec::new(),
            },
            awaited: BTreeMap::new(),
            good: first,
            pruned: 0,
            lost: false,
        };
        let published = log.directory().join(crate::log::CHECKPOINT_FILE);
        match newest {
            Ok(Some((note, _))) => verification.expect(&note, "the newest checkpoint", false),
            Ok(None) => {}
            Err(ReadError::Damaged(_)) => {
                let what = "the newest checkpoint cannot be read".to_owned();
                let size = u64::MAX;
                verification.report.problems.push(Problem {
                    path: published,
                    offset: None,
                    from: 0,
                    until: size,
                    what,
                });
            }
            Err(error) => return Err(error),
        }
        for note in &against.checkpoints {
            verification.expect(note, "the given checkpoint", true);
        }
        Ok(verification)
    }

    fn expect(&mut self, note: &str, what: &'static str, exported: bool) {
        let parsed = Note::parse(note);
        let checkpoint = parsed.as_ref().ok().and_then(|note| Checkpoint::parse(note.text()).ok());
        let (Ok(note), Some(checkpoint)) = (parsed, checkpoint) else {
            return self.problem(None, 0..u64::MAX, format!("{what} cannot be read"));
        };
        if checkpoint.origin != self.report.origin {
            if !exported {
                self.problem(None, 0..u64::MAX, format!("{what} is that of `{}`", checkpoint.origin));
            }
            return;
        }
        if checkpoint.size < self.report.first {
            let what = format!(
                "{what} covers {} records, of which the log keeps none: it can no longer be compared",
                checkpoint.size
            );
            return self.problem(None, 0..checkpoint.size, what);
        }
        self.awaited.entry(checkpoint.size).or_default().push(Awaited { checkpoint, note, what, exported });
    }

    /// Reads a segment; false when nothing after it can be verified.
    fn segment(&mut self, first: u64, is_last: bool) -> Result<bool, ReadError> {
        let path = segment::path(self.log.directory(), first);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let Some(mut reader) = SegmentReader::open(&path).map_err(io)? else {
            self.problem_at(&path, Some(0), first..first + 1, "the segment's header cannot be read".to_owned());
            return Ok(false);
        };
        let header = reader.header().clone();
        if first == self.report.first {
            self.tree = header.frontier();
            self.report.key = header.key;
            self.see_key(header.key);
            self.compare(&path);
        }
        if header.first != first || header.origin != self.report.origin || header.frontier() != self.tree {
            let (from, until) = (self.tree.size().min(first), self.tree.size().max(first));
            let what = if self.tree.size() == first {
                "the segment's header is not that of the records before it".to_owned()
            } else {
                format!(
                    "the segment begins with record {first}, and {} is next: segments are missing",
                    self.tree.size()
                )
            };
            self.problem_at(&path, Some(0), from..until.max(from + 1), what);
            return Ok(false);
        }
        loop {
            let offset = reader.offset();
            let index = self.tree.size();
            match reader.read().map_err(io)? {
                Next::Frame(Frame::Record { entry, beside, leaf }) => {
                    if let Err(what) = self.record(entry, beside, leaf) {
                        self.problem_at(&path, Some(offset), index..index + 1, what);
                    }
                    self.compare(&path);
                }
                Next::Frame(Frame::Checkpoint(note)) => self.checkpoint(&path, offset, note),
                Next::End if is_last || self.tree.size() == header.end() => return Ok(true),
                Next::End => {
                    let what = format!("the segment ends before record {index}");
                    self.problem_at(&path, Some(offset), index..header.end(), what);
                    return Ok(false);
                }
                Next::Broken(why) => {
                    let length = std::fs::metadata(&path).map_err(io)?.len();
                    let later = later_checkpoint(&path, offset, self.good, &self.report.origin, &self.report.key);
                    // Behind the last checkpoint: a record that is being written, or that a crash left half written.
                    if is_last && later.map_err(io)?.is_none() {
                        self.report.unfinished = length.saturating_sub(offset);
                        return Ok(true);
                    }
                    self.problem_at(&path, Some(offset), index..index + 1, format!("the record cannot be read: {why}"));
                    return Ok(false);
                }
            }
            if self.report.problems.len() >= PROBLEMS_MAX {
                return Ok(false);
            }
        }
    }

    /// Takes a record into the tree, as it is, and says what is wrong with it.
    fn record(&mut self, entry: &[u8], beside: &[u8], leaf: Hash) -> Result<(), String> {
        let index = self.tree.size();
        let hash = leaf_hash(entry);
        self.tree.push(hash);
        if hash != leaf {
            return Err(format!("record {index} was altered: its hash is not the one that was written beside it"));
        }
        let Some(read) = Entry::read(entry, beside) else {
            return Err(format!(
                "record {index} was altered: its personal fields are not those that it was written with"
            ));
        };
        if read.index != index {
            return Err(format!(
                "a record of index {} stands where {index} belongs: records were removed, inserted or moved",
                read.index
            ));
        }
        self.report.erased += read.personal.iter().filter(|personal| personal.value.is_none()).count() as u64;
        match read.body {
            Body::Gap(gap) if gap.reason == LOG_INS_SAMPLED => self.report.sampled += gap.count,
            Body::Erased(erased) => {
                self.report.erasures.0 += erased.decisions;
                self.report.erasures.1 += erased.changes;
            }
            Body::Gap(gap) => {
                self.report.gaps.0 += 1;
                self.report.gaps.1 += gap.count;
            }
            Body::KeyChange(change) => {
                if change.old != self.report.key {
                    return Err(format!("record {index} changes a key that was not in force"));
                }
                let endorsed = change.is_endorsed(&self.report.origin);
                self.report.key = change.new;
                self.see_key(change.new);
                if !endorsed && !self.is_given(&change.new) {
                    return Err(format!(
                        "record {index} changes the key to {}, which the key before does not endorse: if you did that, \
                         because the key was lost, name the new key with --key",
                        change.new.fingerprint()
                    ));
                }
            }
            Body::Begun(_, store) => {
                *self.report.begun.entry(store).or_default() += 1;
            }
            Body::Pruned(_, before) => self.pruned = self.pruned.max(before),
            Body::Start(start) if start.key != self.report.key => {
                return Err(format!("record {index} names a key that is not in force"));
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint(&mut self, path: &Path, offset: u64, note: &str) {
        let mut range = self.good..self.tree.size().max(self.good + 1);
        let Some(checkpoint) = signed(note, &self.report.origin, &self.report.key) else {
            return self.problem_at(
                path,
                Some(offset),
                range,
                "the checkpoint is not signed by the log's key".to_owned(),
            );
        };
        let agrees = checkpoint.size == self.tree.size() && checkpoint.root == self.tree.root();
        if agrees {
            (self.good, self.report.signed) = (checkpoint.size, checkpoint.size);
        } else if !self.lost {
            self.lost = true;
            range.end = range.end.max(checkpoint.size);
            let what = if checkpoint.size == self.tree.size() {
                "records between two checkpoints are not those that were signed for".to_owned()
            } else {
                format!("{} records were signed for, and {} are there", checkpoint.size, self.tree.size())
            };
            self.problem_at(path, Some(offset), range, what);
        }
    }

    /// Compares the tree with the checkpoints of its size.
    fn compare(&mut self, path: &Path) {
        let Some(awaited) = self.awaited.remove(&self.tree.size()) else { return };
        let root = self.tree.root();
        for Awaited { checkpoint, note, what, exported } in awaited {
            let (size, from) = (checkpoint.size, self.good.min(checkpoint.size));
            let given = self.against.keys.iter().filter_map(|known| match known {
                KnownKey::Whole(key) => Some(key),
                KnownKey::Fingerprint(_) => None,
            });
            let keys = given.chain([&self.report.key]);
            let is_signed = keys.into_iter().any(|key| note.is_signed_by(&self.report.origin, key));
            if checkpoint.root != root {
                let (from, which) =
                    if exported { (self.report.first, "") } else { (from, " since the last checkpoint") };
                let what = format!("{what} of {size} records has another root: records{which} were altered");
                self.problem_at(path, None, from..size, what);
            } else if !is_signed {
                self.problem_at(path, None, from..size, format!("{what} is signed by no key of this log"));
            } else if exported {
                self.report.agreed += 1;
            }
        }
    }

    fn see_key(&mut self, key: PublicKey) {
        self.report.key_is_known |= self.is_given(&key);
    }

    fn is_given(&self, key: &PublicKey) -> bool {
        self.against.keys.iter().any(|known| known.is(key))
    }

    fn end(mut self) -> Report {
        let size = self.tree.size();
        (self.report.size, self.report.root) = (size, self.tree.root());
        if self.report.problems.is_empty() {
            for awaited in std::mem::take(&mut self.awaited).into_values().flatten() {
                let Awaited { checkpoint, what, .. } = awaited;
                let what =
                    format!("{what} covers {} records, and {size} are there: records were removed", checkpoint.size);
                self.problem(None, size..checkpoint.size, what);
            }
        }
        let first = self.report.first;
        if first > self.pruned {
            let what =
                "the oldest records are gone, and no record says that they were removed for their age".to_owned();
            self.problem(None, self.pruned..first, what);
        }
        if !self.report.key_is_known {
            self.problem(None, 0..size, "the log was never signed by a given key".to_owned());
        }
        self.report
    }

    fn problem(&mut self, offset: Option<u64>, records: std::ops::Range<u64>, what: String) {
        let path = self.log.directory().to_owned();
        self.problem_at(&path, offset, records, what);
    }

    fn problem_at(&mut self, path: &Path, offset: Option<u64>, records: std::ops::Range<u64>, what: String) {
        let (from, until) = (records.start, records.end);
        self.report.problems.push(Problem { path: path.to_owned(), offset, from, until, what });
    }
}

/// The report on a log whose oldest segment cannot be read.
fn unreadable(path: PathBuf) -> Report {
    let what = "the header of the oldest segment cannot be read".to_owned();
    Report {
        origin: String::new(),
        first: 0,
        size: 0,
        root: [0; 32],
        signed: 0,
        key: PublicKey([0; 32]),
        key_is_known: false,
        agreed: 0,
        gaps: (0, 0),
        sampled: 0,
        erased: 0,
        erasures: (0, 0),
        begun: BTreeMap::new(),
        unfinished: 0,
        problems: vec![Problem { path, offset: Some(0), from: 0, until: u64::MAX, what }],
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        match self.until.checked_sub(self.from) {
            Some(1) => write!(f, ", record {}", self.from)?,
            Some(2..) if self.until != u64::MAX => write!(f, ", records {} to {}", self.from, self.until - 1)?,
            _ => {}
        }
        write!(f, ": {}", self.what)
    }
}
