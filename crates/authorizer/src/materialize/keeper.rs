//! What a server does for its sets while nobody asks: it follows them like any client, and counts for the metrics.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use stonetown_graph::sets::Certainty;

use super::follow::{Event, Follower, Progress, Start};
use crate::{Authorizer, Call, Error};

/// What is known of the sets, for metrics.
#[derive(Debug, Default)]
pub struct SetsStats {
    /// Sets that have a child.
    pub sets: AtomicI64,
    /// Children of sets: members and sets.
    pub members: AtomicI64,
    /// Children that are left out because they are in doubt.
    pub undecided: AtomicI64,
    /// The newest revision that was counted.
    pub completed: AtomicU64,
    /// How often counting failed.
    pub failures: AtomicU64,
}

/// Follows the sets of a server.
pub struct Keeper {
    authorizer: Arc<Authorizer>,
    call: Call,
    follower: Option<Follower>,
}

impl Keeper {
    /// Has nothing counted yet.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>) -> Keeper {
        Keeper { authorizer, call: Call::new("materialize"), follower: None }
    }

    /// Follows until there is nothing new. To be called again and again.
    ///
    /// # Errors
    /// See [`Error`]. The next call counts anew.
    pub fn run(&mut self) -> Result<(), Error> {
        let outcome = self.follow();
        if outcome.is_err() {
            self.follower = None;
            self.authorizer.sets().stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn follow(&mut self) -> Result<(), Error> {
        let authorizer = &*self.authorizer;
        loop {
            let follower = match &mut self.follower {
                Some(follower) => follower,
                empty => empty.insert(authorizer.follow_own_sets(&self.call, Start::Everything)?),
            };
            let stats = &authorizer.sets().stats;
            let begins = follower.completed().is_none();
            let (mut members, mut undecided) = (0_i64, 0_i64);
            let progress = follower.step(authorizer, &self.call, &mut |event| {
                if let Event::Changed { before, after, .. } = event {
                    let count = |what| i64::from(after == what) - i64::from(before == what);
                    members += count(Certainty::Yes);
                    undecided += count(Certainty::Undecided);
                }
                ControlFlow::Continue(())
            })?;
            let add = |gauge: &AtomicI64, more: i64| {
                let known = if begins { 0 } else { gauge.load(Ordering::Relaxed) };
                gauge.store(known + more, Ordering::Relaxed);
            };
            add(&stats.members, members);
            add(&stats.undecided, undecided);
            match follower.sets() {
                Some(sets) => stats.sets.store(sets, Ordering::Relaxed),
                // Changed as a whole, or lost: counted anew.
                None => self.follower = None,
            }
            let Some(follower) = &self.follower else { continue };
            if let Some(moment) = follower.completed() {
                stats.completed.store(moment.revision.0, Ordering::Relaxed);
            }
            if progress == Progress::CaughtUp {
                return Ok(());
            }
        }
    }
}
