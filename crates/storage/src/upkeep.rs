//! What an operator asks of a datastore: a copy that can be restored, and a proof that what it holds agrees with itself.

use std::fmt;
use std::ops::ControlFlow;

use stonetown_tuple::{InstanceId, Revision};

/// Differences that a scrub lists; it counts the others.
pub const DIFFERENCES_MAX: usize = 100;

/// A copy of a datastore on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// The history that was copied.
    pub instance: InstanceId,
    /// Everything up to this revision is in the copy; what was committed while it was made may be, too.
    pub revision: Revision,
    /// Bytes of the copy. On the datastore's own file system it shares most of them with the datastore.
    pub bytes: u64,
}

/// What a scrub looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The newest commit that was looked at.
    pub revision: Revision,
    /// Versions of edges, each of them forward and in reverse.
    pub versions: u64,
    /// Commits in the log.
    pub commits: u64,
    /// Names of objects.
    pub names: u64,
    /// The first differences, at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// How many more there were.
    pub more: u64,
}

impl Scrubbed {
    /// Whether everything agrees.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Two parts of a datastore that do not agree, or one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What kind of disagreement.
    pub kind: DifferenceKind,
    /// Where, and what stands there.
    pub what: String,
}

/// The kinds of disagreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// A key or value that does not have the written form, or that the disk no longer gives back.
    Unreadable,
    /// The state of the whole contradicts itself.
    State,
    /// A version in one direction without its twin, or with another one.
    Directions,
    /// A version that no commit can have written, or that should have been removed.
    Version,
    /// A commit that the log lacks, or has in part.
    Log,
    /// The log and the versions tell different things.
    LogAgainstVersions,
    /// An object or a table without a name, or with two.
    Names,
    /// Who wrote a commit, when, and how much of it is left.
    Commits,
    /// A schema that the log does not know, or the reverse.
    Schemas,
    /// Answers to repeated requests.
    Requests,
    /// A staged transaction in pieces.
    Bulks,
}

impl DifferenceKind {
    /// A short word for reports and scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::Unreadable => "unreadable",
            DifferenceKind::State => "state",
            DifferenceKind::Directions => "directions",
            DifferenceKind::Version => "version",
            DifferenceKind::Log => "log",
            DifferenceKind::LogAgainstVersions => "log-against-versions",
            DifferenceKind::Names => "names",
            DifferenceKind::Commits => "commits",
            DifferenceKind::Schemas => "schemas",
            DifferenceKind::Requests => "requests",
            DifferenceKind::Bulks => "bulks",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.what)
    }
}

/// Told how many keys a scrub has looked at so far; breaks to end it early.
pub type Progress<'p> = &'p mut dyn FnMut(u64) -> ControlFlow<()>;
