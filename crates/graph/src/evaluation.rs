//! What a question is asked of.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use stonetown_storage::Snapshot;
use stonetown_tuple::{CaveatContext, Timestamp};

use crate::index::IndexView;
use crate::limits::Limits;
use crate::overlay::Overlay;
use crate::plan::Plan;

/// Everything that the answer to a question depends on, besides the question.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The schema in force at the snapshot, compiled.
    pub plan: &'a Plan,
    /// The relationships.
    pub snapshot: &'a dyn Snapshot,
    /// The same relationships in memory, where they are resident: a view of the snapshot's store at its revision.
    pub index: Option<&'a IndexView>,
    /// Relationships that hold for this question only.
    pub overlay: Option<&'a Overlay>,
    /// The moment at which starts and expirations are judged.
    pub now: Timestamp,
    /// Caveat parameters that the request gives.
    pub context: &'a CaveatContext,
    /// What parameters get that have a source, and that the request therefore cannot give.
    pub given: Given,
    /// How much work the question may take.
    pub limits: &'a Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set by a caller who no longer wants the answer.
    pub cancel: Option<&'a AtomicBool>,
}

/// The values of caveat parameters that the server gives, or stored attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Those of one call: its time, the address it came from where that is known, and the attributes at its revision.
    Call {
        /// The address.
        peer_ip: Option<IpAddr>,
    },
    /// None: they are missing. For answers that are kept beyond the call.
    Nothing,
    /// The request's context gives them, for every object alike. For tests of schemas alone.
    Context,
}

/// What a question took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Edges looked at.
    pub edges: u64,
    /// Pairs of a relation or permission and an object that were evaluated.
    pub subproblems: u64,
    /// How often such a pair was needed again and already known.
    pub cached: u64,
    /// How deep questions were nested at most.
    pub depth: u64,
}
