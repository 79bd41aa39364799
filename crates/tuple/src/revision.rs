//! Points in the history of a store, and how fresh an answer must be.

use std::fmt;

/// A point in the one global commit sequence: the n-th committed transaction, of all stores together. 0 is the empty
/// beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// One isolated set of schema and relationships within a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u32);

impl StoreId {
    /// The built-in store that says who may do what with the others. No request ever selects it.
    pub const SYSTEM: StoreId = StoreId(0);
    /// The store that is used when nothing selects another.
    pub const DEFAULT: StoreId = StoreId(1);
}

/// Which history a revision belongs to: a random number given to a data directory when it is made, and anew when a
/// backup is restored, so that tokens of another history are never taken for one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(pub u64);

/// A revision together with the history it belongs to: what a client holds as its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZedToken {
    /// The history.
    pub instance: InstanceId,
    /// The point in it.
    pub revision: Revision,
}

/// How fresh an answer must be (Zanzibar §2.2, §2.4.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever is quickest: the newest published revision.
    #[default]
    MinimizeLatency,
    /// Not older than the token.
    AtLeastAsFresh(ZedToken),
    /// Exactly the token's revision.
    AtExactSnapshot(ZedToken),
    /// Not older than any write acknowledged before the call.
    FullyConsistent,
}

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
