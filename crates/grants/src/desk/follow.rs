//! Following what becomes of grants, of all stores, for those whom the operator of the server has it told to.

use std::sync::Arc;

use stonetown_authorizer::follow::LogFollower;
use stonetown_identity::System;
use stonetown_tuple::{Operation, RelationshipFilter, Revision, StoreId, Timestamp};

use super::{Desk, documents};
use crate::{Error, Grant};

/// Revisions that are looked at before a call returns, whether or not they say anything of grants.
const STEPS_PER_CALL: usize = 1_000;

/// A reader of what becomes of grants, with a place of its own in the log.
pub struct Follow {
    system: Arc<System>,
    follower: LogFollower,
    filter: RelationshipFilter,
    /// Changes that were told of the revision under way.
    told: u32,
}

/// One change of one grant.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// The revision that made it.
    pub revision: Revision,
    /// Which of the changes of that revision it is, from 0.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// The name of the store that the access is in.
    pub store: Arc<str>,
    /// The grant as it was written.
    pub grant: Grant,
}

impl Desk {
    /// Follows the grants of all stores as they change after a revision. Nobody is asked who may see them: it is for the
    /// operator of the server.
    ///
    /// # Errors
    /// None that a server could run into.
    pub fn follow(&self, after: Revision) -> Result<Follow, Error> {
        let follower = self.system.authorizer().follow(StoreId::SYSTEM, after);
        Ok(Follow { system: Arc::clone(&self.system), follower, filter: documents()?, told: 0 })
    }
}

impl Follow {
    /// The last revision of which everything was told: following anew after it goes on without loss.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.follower.position()
    }

    /// What happened next; nothing where much else did, and `None` where nothing more is committed. Reads the disk for a
    /// bounded time, never waits for a commit.
    ///
    /// # Errors
    /// [`stonetown_authorizer::Error::SnapshotExpired`] when the log was cut before this had read it, which stays so, and those
    /// of storage. A document that cannot be read is an error once, and is passed over then.
    pub fn poll(&mut self) -> Result<Option<Vec<Happened>>, Error> {
        for _ in 0..STEPS_PER_CALL {
            let Some(step) = self.follower.next_step()? else { return Ok(None) };
            let mut happened = Vec::new();
            let written = step.changes.iter().filter(|change| change.operation() == Operation::Touch);
            for change in written.filter(|change| self.filter.matches(&change.relationship)) {
                let grant: Grant = System::of_relationship(&change.relationship)?;
                let store = self.system.store_name(StoreId(grant.store));
                happened.push(Happened { revision: step.revision, number: self.told, at: step.time, store, grant });
                self.told += 1;
            }
            if step.last {
                self.told = 0;
            }
            if !happened.is_empty() {
                return Ok(Some(happened));
            }
        }
        Ok(Some(Vec::new()))
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("position", &self.position()).finish_non_exhaustive()
    }
}
