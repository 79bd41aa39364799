//! What became known about a call while it ran: for logs, traces and metrics, never for its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use stonetown_tuple::Revision;

use crate::{Caller, Work};

/// Written by the front door as a call goes on, read by whoever observes the call. A call that is tried again adds up.
#[derive(Debug, Default)]
pub struct Notes {
    caller: OnceLock<Arc<str>>,
    revision: AtomicU64,
    edges: AtomicU64,
    subproblems: AtomicU64,
    reused: AtomicU64,
    depth: AtomicU64,
}

impl Notes {
    /// Notes who calls; the first word stands.
    pub fn set_caller(&self, caller: &Caller) {
        let _first_word_stands = self.caller.set(Arc::clone(&caller.name));
    }

    /// Who calls, once that has been proved.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(AsRef::as_ref)
    }

    /// The revision that the call was answered at, or that it made; `None` before there is one.
    pub fn revision(&self) -> Option<Revision> {
        Some(Revision(self.revision.load(Ordering::Relaxed))).filter(|revision| revision.0 > 0)
    }

    /// The work of the engine for all questions of the call; the depth is that of the deepest.
    pub fn work(&self) -> Work {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Work {
            edges: load(&self.edges),
            subproblems: load(&self.subproblems),
            cached: load(&self.reused),
            depth: load(&self.depth),
        }
    }

    pub(crate) fn set_revision(&self, revision: Revision) {
        self.revision.store(revision.0, Ordering::Relaxed);
    }

    pub(crate) fn add_work(&self, work: &Work) {
        let add = |number: &AtomicU64, more| number.fetch_add(more, Ordering::Relaxed);
        add(&self.edges, work.edges);
        add(&self.subproblems, work.subproblems);
        add(&self.reused, work.cached);
        self.depth.fetch_max(work.depth, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_adds_up_and_the_deepest_question_stands() {
        let notes = Notes::default();
        assert_eq!(notes.revision(), None);
        notes.add_work(&Work { edges: 3, subproblems: 2, cached: 1, depth: 5 });
        notes.add_work(&Work { edges: 4, subproblems: 1, cached: 0, depth: 2 });
        assert_eq!(notes.work(), Work { edges: 7, subproblems: 3, cached: 1, depth: 5 });
        notes.set_revision(Revision(9));
        assert_eq!(notes.revision(), Some(Revision(9)));
    }
}
