//! The state of a moment: what was stored then, and the time by which it is judged.

use stonetown_tuple::{Consistency, Revision, Timestamp};

use crate::clock::whole;
use crate::world::World;
use crate::{Authorizer, Call, Error};

/// Which state an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// One of the present, or of a token; what begins and expires is judged now.
    Of(Consistency),
    /// The newest state at this moment, by the clock of those who wrote; what begins and expires is judged at the moment as
    /// well, so the answer is the one that a check gave then.
    At(Timestamp),
    /// This state, judged at this time: how a part of an answer is asked for that has to be of one world with the others.
    Exactly(Revision, Timestamp),
}

impl From<Consistency> for Freshness {
    fn from(consistency: Consistency) -> Self {
        Freshness::Of(consistency)
    }
}

impl Authorizer {
    /// Opens the world of a question.
    ///
    /// # Errors
    /// [`Error::TimeNotKept`] for a moment before the oldest state that is kept, [`Error::TimeAhead`] for one that is still to
    /// come, and what a consistency meets.
    pub(crate) fn world_of(&self, call: &Call, freshness: Freshness) -> Result<World, Error> {
        match freshness {
            Freshness::Of(consistency) => self.world(call, consistency),
            Freshness::Exactly(revision, now) => self.world_at(call.store, revision, now),
            Freshness::At(moment) => {
                let (now, moment) = (self.clock.now(), whole(moment));
                if moment > now {
                    return Err(Error::TimeAhead { asked: moment, now });
                }
                let kept_since = self.datastore.kept_since()?;
                if let Some(oldest) = kept_since.filter(|oldest| moment < *oldest) {
                    return Err(Error::TimeNotKept { asked: moment, oldest });
                }
                let revision = self.datastore.revision_at(moment)?;
                call.note_revision(revision);
                self.world_at(call.store, revision, moment)
            }
        }
    }
}
