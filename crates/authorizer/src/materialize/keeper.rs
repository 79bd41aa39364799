//! What a server does for its sets while nobody asks: it makes a revision whenever a relationship begins or ends by the passing
//! of time, and counts, for the metrics.

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

    /// Follows until there is nothing new, and makes a revision if a relationship has begun or ended since the last. To be
    /// called again and again.
    ///
    /// # Errors
    /// See [`Error`]. The next call counts anew.
    pub fn run(&mut self) -> Result<(), Error> {
        let outcome = self.follow();
        if outcome.is_err() {
            self.follower = None;
            self.authorizer.sets_stats().failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn follow(&mut self) -> Result<(), Error> {
        let authorizer = &*self.authorizer;
        loop {
            let follower = match &mut self.follower {
                Some(follower) => follower,
                empty => empty.insert(authorizer.follow_sets(&self.call, Start::Everything)?),
            };
            let stats = authorizer.sets_stats();
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
            if progress != Progress::CaughtUp {
                continue;
            }
            let now = authorizer.clock().now();
            if follower.next_time().is_none_or(|time| time > now) {
                return Ok(());
            }
            // Others may have written meanwhile: only when all of that is known is a revision missing.
            let head = authorizer.datastore.head();
            while authorizer.pass_time()? {}
            // A time of what was written over in the meantime is of no revision.
            if authorizer.datastore.head() == head {
                authorizer.make_moment(self.call.store)?;
            }
        }
    }
}
