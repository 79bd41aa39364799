//! The floor under time, over restarts: until when time may be told is written down before it is told, and a process goes on from
//! what is written there. A check does not wait for it.

use std::fmt;

use stonetown_storage::{Datastore, StorageError};
use stonetown_tuple::{StoreId, Timestamp};

use crate::{Authorizer, Error};

/// What it is kept under, in the system store.
const NAME: &str = "time";

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Time may have been told up to this, which was ahead when it was written.
    Until(Timestamp),
    /// This was told last.
    Left(Timestamp),
}

impl Authorizer {
    /// Writes down until when time may be told, a second ahead, where little is left of that. Once it was called, it is to be
    /// called several times a second: steps of the machine's clock are followed when they are written down.
    ///
    /// # Errors
    /// When nothing can be written. Time is told all the same, and [`crate::Clock::told_unkept`] counts.
    pub fn keep_time(&self) -> Result<(), Error> {
        self.clock.keep(|until| self.write_kept(Kept::Until(until)))
    }

    /// Writes down the time that it is, as no more is told: the next start need not wait for what lies ahead.
    ///
    /// # Errors
    /// When nothing can be written: the next start waits then.
    pub fn leave_time(&self) -> Result<(), Error> {
        self.clock.leave(|now| self.write_kept(Kept::Left(now)))
    }

    fn write_kept(&self, kept: Kept) -> Result<(), Error> {
        Ok(self.datastore.keep(StoreId::SYSTEM, NAME, Some(kept.to_string().into_bytes()))?)
    }
}

impl Kept {
    /// What an earlier process wrote down.
    ///
    /// # Errors
    /// When storage fails or what is kept cannot be read: what has ended could be revived.
    pub(crate) fn read(datastore: &dyn Datastore) -> Result<Option<Kept>, StorageError> {
        let Some(bytes) = datastore.kept(StoreId::SYSTEM, NAME)? else { return Ok(None) };
        let kept = std::str::from_utf8(&bytes).ok().and_then(|text| match text.split_once(' ')? {
            ("until", time) => Some(Kept::Until(time.parse().ok()?)),
            ("left", time) => Some(Kept::Left(time.parse().ok()?)),
            _ => None,
        });
        kept.map(Some).ok_or_else(|| StorageError::Damaged("the time that was told last".to_owned()))
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Until(time) => write!(f, "until {time}"),
            Kept::Left(time) => write!(f, "left {time}"),
        }
    }
}
