//! What an operator asks of a running server: what it holds, a copy of it, and a proof that it agrees with itself.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use stonetown_storage::{Checkpointed, Scrubbed, StorageError, Usage};
use stonetown_tuple::{InstanceId, Revision, Timestamp, ZedToken};

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

/// Longest name of a checkpoint, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a server holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The history that its tokens belong to.
    pub instance: InstanceId,
    /// The newest commit.
    pub head: Revision,
    /// The oldest revision that can still be read.
    pub floor: Revision,
    /// How much it holds.
    pub usage: Usage,
}

/// A checkpoint that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it is, on the server.
    pub path: PathBuf,
    /// What is in it.
    pub made: Checkpointed,
    /// Everything up to this token is in it.
    pub token: ZedToken,
}

/// The upkeep of a server since it was started, for metrics.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// Copies.
    pub checkpoints: Rounds,
    /// Proofs. One that finds differences has not failed.
    pub scrubs: Rounds,
    /// Differences that the last scrub found.
    pub differences: AtomicU64,
}

/// Work that is done now and then.
#[derive(Debug, Default)]
pub struct Rounds {
    /// How often it was done.
    pub done: AtomicU64,
    /// How often it failed, its caller's leaving aside.
    pub failed: AtomicU64,
    /// When it was last done, in seconds since 1970; 0 before the first time.
    pub last_done_seconds: AtomicI64,
    /// How long that took.
    pub last_took_micros: AtomicU64,
}

impl Rounds {
    fn count<T>(&self, begun: Instant, now: Timestamp, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => {
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.last_took_micros.store(took, Ordering::Relaxed);
                self.last_done_seconds.store(now.as_second(), Ordering::Relaxed);
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Cancelled | Error::Deadline) => {}
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Authorizer {
    /// The upkeep so far.
    #[must_use]
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// What this server holds, for who operates it; `None` for others.
    ///
    /// # Errors
    /// When it cannot be known who may.
    pub fn info_for(&self, call: &Call) -> Result<Option<Info>, Error> {
        self.recorded(call, Asked::of("get_info"), |_| match self.judge(call, Act::OperateServer) {
            Ok(()) => Ok(Some(self.info())),
            Err(Error::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// What this server holds.
    #[must_use]
    pub fn info(&self) -> Info {
        Info {
            instance: self.datastore.instance(),
            head: self.datastore.head(),
            floor: self.datastore.floor(),
            usage: self.datastore.usage(),
        }
    }

    /// Why no writes are taken at the moment, such as that the disk is full; `None` while they are.
    #[must_use]
    pub fn refuses_writes(&self) -> Option<String> {
        self.datastore.refuses_writes()
    }

    /// Copies everything that is acknowledged into the directory for checkpoints, under a name of its own.
    ///
    /// # Errors
    /// [`Error::Refused`] when the name is taken or no name, when there are too many checkpoints or nowhere to put them, and
    /// when other upkeep is running.
    pub fn checkpoint(&self, call: &Call, name: Option<&str>) -> Result<Checkpoint, Error> {
        self.recorded(call, Asked::of("checkpoint"), |_| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::OperateServer])?;
            let begun = Instant::now();
            let outcome = self.make_checkpoint(call, name);
            self.upkeep.checkpoints.count(begun, self.clock.now(), &outcome);
            outcome
        })
    }

    fn make_checkpoint(&self, call: &Call, name: Option<&str>) -> Result<Checkpoint, Error> {
        let _alone = self.upkeep_running.try_lock().ok_or_else(busy)?;
        let Some(home) = &self.options.checkpoints else {
            return Err(Error::Refused("this server keeps its data in memory: there is nothing to copy".to_owned()));
        };
        let now = self.clock.now();
        let name = match name {
            Some(name) => valid(name)?.to_owned(),
            None => format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), self.datastore.head()),
        };
        let most = self.options.limits.checkpoints_max;
        if count(home) >= most {
            return Err(Error::Refused(format!(
                "there are {most} checkpoints in `{}` already: move some away first",
                home.display()
            )));
        }
        let path = home.join(name);
        let made = self.datastore.checkpoint(&path, now).map_err(|error| refused(call, error))?;
        Ok(Checkpoint { path, made, token: self.token(made.revision) })
    }

    /// Proves that everything stored agrees with itself. `progress` is told how many keys were looked at.
    ///
    /// # Errors
    /// [`Error::Refused`] when other upkeep is running or the data is in memory; [`Error::Cancelled`] and
    /// [`Error::Deadline`] when the caller has gone. What does not agree is in the report.
    pub fn scrub(&self, call: &Call, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Scrubbed, Error> {
        self.recorded(call, Asked::of("scrub"), |_| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::OperateServer])?;
            let begun = Instant::now();
            let outcome = self.look_at_all(call, progress);
            self.upkeep.scrubs.count(begun, self.clock.now(), &outcome);
            if let Ok(found) = &outcome {
                let differences = found.differences.len() as u64 + found.more;
                self.upkeep.differences.store(differences, Ordering::Relaxed);
            }
            outcome
        })
    }

    fn look_at_all(&self, call: &Call, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Scrubbed, Error> {
        let _alone = self.upkeep_running.try_lock().ok_or_else(busy)?;
        let mut step = |looked| match gone(call) {
            Some(_) => ControlFlow::Break(()),
            None => progress(looked),
        };
        self.datastore.scrub(&mut step).map_err(|error| refused(call, error))
    }
}

fn busy() -> Error {
    Error::Refused("another checkpoint or scrub is running: try again when it is done".to_owned())
}

/// A plain name: what it names lies in the directory for checkpoints and nowhere else.
fn valid(name: &str) -> Result<&str, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_plain = name.bytes().all(plain) && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_plain && !name.starts_with('.') && !name.ends_with(".partial") && name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    Err(Error::Refused(format!(
        "`{name}` is no name for a checkpoint: up to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, not beginning with \
         `.` nor ending with `.partial`"
    )))
}

fn count(home: &Path) -> usize {
    std::fs::read_dir(home).map_or(0, |entries| entries.filter_map(Result::ok).count())
}

/// Why nobody waits for the call any more.
fn gone(call: &Call) -> Option<Error> {
    if call.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
        return Some(Error::Cancelled);
    }
    call.deadline.is_some_and(|deadline| deadline <= Instant::now()).then_some(Error::Deadline)
}

fn refused(call: &Call, error: StorageError) -> Error {
    match error {
        StorageError::Refused(why) => gone(call).unwrap_or(Error::Refused(why)),
        other => other.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use stonetown_storage::MemoryDatastore;

    use super::*;
    use crate::{Limits, Options};

    #[test]
    fn there_is_room_for_so_many_checkpoints() {
        let home = tempfile::tempdir().unwrap();
        let limits = Limits { checkpoints_max: 2, ..Limits::default() };
        let options = Options { limits, checkpoints: Some(home.path().to_owned()), ..Options::default() };
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap();
        let refused = || authorizer.checkpoint(&Call::new("key-1"), Some("next")).unwrap_err().to_string();
        std::fs::create_dir(home.path().join("first")).unwrap();
        assert!(refused().contains("in memory"), "the limit lets it through: {}", refused());
        std::fs::create_dir(home.path().join("second")).unwrap();
        assert!(refused().contains("there are 2 checkpoints"), "{}", refused());
    }

    #[test]
    fn upkeep_is_done_one_at_a_time_and_ends_with_its_caller() {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).unwrap();
        let call = Call::new("key-1");
        let running = authorizer.upkeep_running.lock();
        let busy = authorizer.scrub(&call, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(busy.to_string().contains("another checkpoint or scrub"), "{busy}");
        drop(running);
        let late = Call { deadline: Some(Instant::now()), ..call };
        let late = authorizer.scrub(&late, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(late, Error::Deadline), "{late}");
    }

    #[test]
    fn a_checkpoint_has_a_plain_name() {
        for name in ["daily", "2026-11-21", "a", "v1.2_x", &"x".repeat(NAME_BYTES_MAX)] {
            assert!(valid(name).is_ok(), "{name}");
        }
        for name in
            ["", ".", "..", ".hidden", "a/b", "../x", "/etc", "a b", "x.partial", "é", &"x".repeat(NAME_BYTES_MAX + 1)]
        {
            assert!(valid(name).is_err(), "{name}");
        }
    }
}
