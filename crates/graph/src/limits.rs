//! Limits on one question, and the meter that holds them.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use stonetown_caveat::EVALUATION_STEPS_MAX;

use crate::error::GraphError;

/// How much one question may take. Beyond a limit the question ends in [`GraphError::LimitExceeded`], never in a no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Edges that a check, an explanation or an expansion may look at.
    pub edges_max_check: u64,
    /// Edges that a lookup may look at.
    pub edges_max_lookup: u64,
    /// Questions within questions: arrows and usersets under an intersection, an exclusion or an undecided caveat. Each
    /// level takes about 4 KiB of stack. Walks, which need no nesting, are not limited by it.
    pub depth_max: u64,
    /// Steps of caveats that a question may take ([`stonetown_caveat::EVALUATION_STEPS_MAX`] says what one is), those of reading
    /// their contexts included. A caveat that comes again with the same stored context is not evaluated again.
    pub caveat_steps_max: u64,
    /// Bytes that a question may hold, roughly.
    pub bytes_max: u64,
    /// Nodes of a trace or of an expanded tree. A trace is cut there; a tree ends in an error.
    pub trace_nodes_max: u64,
    /// Relationships, and relations and permissions of objects, that are weighed for the reasons of one answer, which are cut
    /// there.
    pub weighed_max: u64,
    /// Relationships that the reasons of one answer show, all ways taken together. A way that finds no room is left out.
    pub shown_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            edges_max_check: 5_000_000,
            edges_max_lookup: 50_000_000,
            depth_max: 10_000,
            caveat_steps_max: 100_000_000,
            bytes_max: 256 << 20,
            trace_nodes_max: 10_000,
            weighed_max: 100_000,
            shown_max: 1_000,
        }
    }
}

/// Edges between two looks at the clock and at the cancel flag.
const EDGES_PER_POLL: u64 = 1024;
/// Steps of caveats between two looks: as many as one evaluation may take, at most.
const STEPS_PER_POLL: u64 = EVALUATION_STEPS_MAX as u64;

/// Counts the work of one question and ends it at a limit, at the deadline, or when it was cancelled.
#[derive(Debug)]
pub struct Meter<'a> {
    edges: u64,
    edges_max: u64,
    edges_limit: &'static str,
    poll_at: u64,
    steps: u64,
    steps_max: u64,
    steps_poll_at: u64,
    bytes: u64,
    bytes_max: u64,
    depth: Cell<u64>,
    depth_max: u64,
    deadline: Option<Instant>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Meter<'a> {
    /// The meter of a check.
    #[must_use]
    pub fn for_check(limits: &Limits, deadline: Option<Instant>, cancel: Option<&'a AtomicBool>) -> Self {
        Self::new(limits, "edges_max_check", limits.edges_max_check, deadline, cancel)
    }

    /// The meter of a lookup.
    #[must_use]
    pub fn for_lookup(limits: &Limits, deadline: Option<Instant>, cancel: Option<&'a AtomicBool>) -> Self {
        Self::new(limits, "edges_max_lookup", limits.edges_max_lookup, deadline, cancel)
    }

    fn new(
        limits: &Limits,
        edges_limit: &'static str,
        edges_max: u64,
        deadline: Option<Instant>,
        cancel: Option<&'a AtomicBool>,
    ) -> Self {
        Meter {
            edges: 0,
            edges_max,
            edges_limit,
            // A question that came too late does not begin.
            poll_at: 0,
            steps: 0,
            steps_max: limits.caveat_steps_max,
            steps_poll_at: STEPS_PER_POLL,
            bytes: 0,
            bytes_max: limits.bytes_max,
            depth: Cell::new(0),
            depth_max: limits.depth_max,
            deadline,
            cancel,
        }
    }

    /// Edges counted so far.
    #[must_use]
    pub fn edges(&self) -> u64 {
        self.edges
    }

    /// The deepest nesting so far.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth.get()
    }

    /// Counts edges that were looked at.
    ///
    /// # Errors
    /// [`GraphError::LimitExceeded`], [`GraphError::Deadline`], [`GraphError::Cancelled`].
    #[inline]
    pub fn edges_seen(&mut self, count: u64) -> Result<(), GraphError> {
        self.edges += count;
        if self.edges >= self.poll_at { self.poll() } else { Ok(()) }
    }

    /// Steps of caveats that may still be taken.
    pub(crate) fn steps_left(&self) -> u64 {
        self.steps_max.saturating_sub(self.steps)
    }

    /// Counts steps of caveats.
    ///
    /// # Errors
    /// [`GraphError::LimitExceeded`], [`GraphError::Deadline`], [`GraphError::Cancelled`].
    pub fn steps_taken(&mut self, count: u64) -> Result<(), GraphError> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > self.steps_max {
            return Err(GraphError::LimitExceeded { limit: "caveat_steps_max", value: self.steps_max });
        }
        if self.steps >= self.steps_poll_at {
            self.steps_poll_at = self.steps + STEPS_PER_POLL;
            return self.still_wanted();
        }
        Ok(())
    }

    /// Counts bytes that are held until the end of the question.
    ///
    /// # Errors
    /// [`GraphError::LimitExceeded`].
    #[inline]
    pub fn bytes_held(&mut self, count: u64) -> Result<(), GraphError> {
        self.bytes += count;
        if self.bytes > self.bytes_max {
            return Err(GraphError::LimitExceeded { limit: "bytes_max", value: self.bytes_max });
        }
        Ok(())
    }

    /// Takes back bytes that are held no longer.
    pub fn bytes_freed(&mut self, count: u64) {
        self.bytes = self.bytes.saturating_sub(count);
    }

    /// Tests how deep questions are nested.
    ///
    /// # Errors
    /// [`GraphError::LimitExceeded`].
    #[inline]
    pub fn depth_reached(&self, depth: usize) -> Result<(), GraphError> {
        let depth = depth as u64;
        if depth > self.depth_max {
            return Err(GraphError::LimitExceeded { limit: "depth_max", value: self.depth_max });
        }
        if depth > self.depth.get() {
            self.depth.set(depth);
        }
        Ok(())
    }

    #[cold]
    fn poll(&mut self) -> Result<(), GraphError> {
        if self.edges > self.edges_max {
            return Err(GraphError::LimitExceeded { limit: self.edges_limit, value: self.edges_max });
        }
        self.poll_at = (self.edges + EDGES_PER_POLL).min(self.edges_max + 1);
        self.still_wanted()
    }

    /// Tests whether the answer is still waited for, where work is done that looks at no edges.
    ///
    /// # Errors
    /// [`GraphError::Deadline`], [`GraphError::Cancelled`].
    pub fn still_wanted(&self) -> Result<(), GraphError> {
        if self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(GraphError::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(GraphError::Deadline);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn meter(edges_max: u64) -> Meter<'static> {
        Meter::for_check(&Limits { edges_max_check: edges_max, ..Limits::default() }, None, None)
    }

    #[test]
    fn the_limit_itself_passes_and_one_more_does_not() {
        let mut meter = meter(3000);
        for _ in 0..3000 {
            assert!(meter.edges_seen(1).is_ok());
        }
        let error = meter.edges_seen(1);
        assert!(matches!(error, Err(GraphError::LimitExceeded { limit: "edges_max_check", value: 3000 })));
    }

    #[test]
    fn deadline_and_cancel_are_seen_at_the_first_edge_and_on_the_way() {
        let past = Instant::now().checked_sub(Duration::from_millis(1));
        let mut meter = Meter::for_check(&Limits::default(), past, None);
        assert!(matches!(meter.edges_seen(1), Err(GraphError::Deadline)));

        let cancel = AtomicBool::new(false);
        let mut meter = Meter::for_lookup(&Limits::default(), None, Some(&cancel));
        assert!(meter.edges_seen(1).is_ok());
        cancel.store(true, Ordering::Relaxed);
        let error = (0..=EDGES_PER_POLL).find_map(|_| meter.edges_seen(1).err());
        assert!(matches!(error, Some(GraphError::Cancelled)));
    }

    #[test]
    fn steps_of_caveats_are_limited_and_looked_up_from() {
        let limits = Limits { caveat_steps_max: 500_000, ..Limits::default() };
        let cancel = AtomicBool::new(false);
        let mut meter = Meter::for_check(&limits, None, Some(&cancel));
        assert!(meter.steps_taken(400_000).is_ok());
        assert_eq!(meter.steps_left(), 100_000);
        assert!(meter.steps_taken(100_000).is_ok());
        let error = meter.steps_taken(1);
        assert!(matches!(error, Err(GraphError::LimitExceeded { limit: "caveat_steps_max", value: 500_000 })));

        cancel.store(true, Ordering::Relaxed);
        let mut meter = Meter::for_lookup(&limits, None, Some(&cancel));
        assert!(meter.steps_taken(STEPS_PER_POLL - 1).is_ok());
        assert!(matches!(meter.steps_taken(1), Err(GraphError::Cancelled)));
    }

    #[test]
    fn bytes_and_depth_are_limited() {
        let limits = Limits { bytes_max: 100, depth_max: 5, ..Limits::default() };
        let mut meter = Meter::for_check(&limits, None, None);
        assert!(meter.bytes_held(100).is_ok());
        meter.bytes_freed(50);
        assert!(meter.bytes_held(50).is_ok());
        assert!(matches!(meter.bytes_held(1), Err(GraphError::LimitExceeded { limit: "bytes_max", .. })));
        assert!(meter.depth_reached(5).is_ok());
        assert!(matches!(meter.depth_reached(6), Err(GraphError::LimitExceeded { limit: "depth_max", .. })));
    }
}
