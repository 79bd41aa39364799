//! The time of all calls. It never runs backwards, so that a clock set back revives nothing; and it goes on meanwhile, so that
//! nothing lives longer by it. A jump forward is followed only up to a bound, so that one bad reading cannot end all grants for
//! good. Both are counted.
//!
//! Nor does it run backwards over a restart: a process begins no earlier than the newest commit, nor than what an earlier one
//! may have told. For that the latest time that may be told is written down ahead ([`crate::Authorizer::keep_time`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stonetown_tuple::Timestamp;

use crate::floor::Kept;

/// The largest difference between the wall clock and the time that has passed in the process that is followed.
pub const FORWARD_STEP_MAX: Duration = Duration::from_secs(15 * 60);

/// How far the wall clock may fall behind the time that has passed in the process before it is no longer followed: what is
/// to end in that time ends so much later.
pub const BACKWARD_STEP_MAX: Duration = Duration::from_secs(1);

/// How far ahead the latest time that may be told is written down, and so how long a start waits at most after a kill.
const AHEAD: Duration = Duration::from_secs(1);

/// With less than this left, it is written down anew.
const AHEAD_MIN: Duration = Duration::from_millis(600);

/// Reads the time of the machine.
pub type WallClock = fn() -> Timestamp;

/// A wall clock that only runs forward.
pub struct Clock {
    state: Mutex<State>,
    /// Held while a time is written down.
    keeping: Mutex<()>,
    backward_steps: AtomicU64,
    forward_steps_refused: AtomicU64,
    told_unkept: AtomicU64,
    read: WallClock,
}

struct State {
    last: Timestamp,
    /// The time at `anchored`, from which the process counts.
    anchor: Timestamp,
    anchored: Instant,
    /// The latest time that may be told, as it is written down; `None` where none is.
    kept: Option<Timestamp>,
}

impl State {
    /// At `time` and counting from now.
    fn at(time: Timestamp, kept: Option<Timestamp>) -> State {
        State { last: time, anchor: time, anchored: Instant::now(), kept }
    }

    /// The time by what has passed in the process.
    fn elapsed(&self) -> Timestamp {
        let passed = self.anchored.elapsed();
        whole(self.anchor.saturating_add(passed).unwrap_or(self.last))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::reading(Timestamp::now)
    }
}

impl Clock {
    /// A clock over another source of wall time.
    #[must_use]
    pub fn reading(read: WallClock) -> Clock {
        Clock {
            state: Mutex::new(State::at(whole(read()), None)),
            keeping: Mutex::new(()),
            backward_steps: AtomicU64::new(0),
            forward_steps_refused: AtomicU64::new(0),
            told_unkept: AtomicU64::new(0),
            read,
        }
    }

    /// Has the time not be earlier than `time`: that of the newest commit, when a process starts.
    pub fn start_at(&self, time: Timestamp) {
        let mut state = self.state.lock();
        if time > state.last {
            *state = State::at(time, state.kept);
        }
    }

    /// Has the time go on from what an earlier process may have told. A clock that has not come so far yet is given the time that
    /// lies between, [`AHEAD`] at most: then that moment has passed, and nothing begins before its time.
    pub(crate) fn go_on_from(&self, kept: Kept) {
        let (Kept::Until(time) | Kept::Left(time)) = kept;
        let behind = time.duration_since((self.read)());
        if matches!(kept, Kept::Until(_)) && behind.is_positive() {
            thread::sleep(behind.unsigned_abs().min(AHEAD));
        }
        self.start_at(time);
    }

    /// The time in whole microseconds, never earlier than any time given out before.
    pub fn now(&self) -> Timestamp {
        let wall = whole((self.read)());
        let mut state = self.state.lock();
        let elapsed = state.elapsed();
        let mut time = self.followed(wall, elapsed);
        if let Some(kept) = state.kept.filter(|kept| time > *kept) {
            // A step of the wall clock is followed once it is written down. But time cannot stand still until the disk is
            // back: what is to end would live on.
            time = time.min(elapsed);
            self.told_unkept.fetch_add(u64::from(time > kept), Ordering::Relaxed);
        }
        if time > state.last {
            state.last = time;
            if time == wall {
                (state.anchor, state.anchored) = (wall, Instant::now());
            }
        }
        state.last
    }

    /// What the wall clock says, or how much time has passed where that is not to be followed.
    fn followed(&self, wall: Timestamp, elapsed: Timestamp) -> Timestamp {
        let latest = elapsed.saturating_add(FORWARD_STEP_MAX).unwrap_or(elapsed);
        let earliest = elapsed.saturating_sub(BACKWARD_STEP_MAX).unwrap_or(elapsed);
        if wall > latest {
            self.forward_steps_refused.fetch_add(1, Ordering::Relaxed);
            elapsed
        } else if wall < earliest {
            self.backward_steps.fetch_add(1, Ordering::Relaxed);
            elapsed
        } else {
            wall
        }
    }

    /// Has `write` write down until when time may be told, where little is left of what was written before.
    pub(crate) fn keep<E>(&self, write: impl FnOnce(Timestamp) -> Result<(), E>) -> Result<(), E> {
        let _alone = self.keeping.lock();
        let wall = whole((self.read)());
        let (time, kept) = {
            let state = self.state.lock();
            (self.followed(wall, state.elapsed()).max(state.last), state.kept)
        };
        let after = |ahead| time.saturating_add(ahead).unwrap_or(time);
        if kept.is_some_and(|kept| kept >= after(AHEAD_MIN)) {
            return Ok(());
        }
        let until = after(AHEAD);
        write(until)?;
        self.state.lock().kept = Some(until);
        Ok(())
    }

    /// Has `write` write down the time that it is, where any is written down: the last that is told.
    pub(crate) fn leave<E>(&self, write: impl FnOnce(Timestamp) -> Result<(), E>) -> Result<(), E> {
        let _alone = self.keeping.lock();
        if self.state.lock().kept.is_none() {
            return Ok(());
        }
        let now = self.now();
        write(now)?;
        self.state.lock().kept = Some(now);
        Ok(())
    }

    /// Takes the wall clock as it is now, whatever was given out before: for an operator who has mended a bad clock.
    pub fn reset(&self) {
        let _alone = self.keeping.lock();
        *self.state.lock() = State::at(whole((self.read)()), None);
    }

    /// Readings too far behind to be followed, and readings too far ahead to be followed.
    pub fn steps(&self) -> (u64, u64) {
        (self.backward_steps.load(Ordering::Relaxed), self.forward_steps_refused.load(Ordering::Relaxed))
    }

    /// Readings later than the latest time that is written down: after a kill, a clock that was set back meanwhile could be
    /// believed as far as they go beyond it.
    pub fn told_unkept(&self) -> u64 {
        self.told_unkept.load(Ordering::Relaxed)
    }
}

/// The time in whole microseconds, as logs have it: what is judged once more by the time that was recorded is judged alike.
pub(crate) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI64;

    static WALL: AtomicI64 = AtomicI64::new(1_000_000);

    fn wall() -> Timestamp {
        Timestamp::from_second(WALL.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_clock_set_back_revives_nothing_and_a_bad_jump_is_not_followed() {
        let clock = Clock::reading(wall);
        let start = clock.now();
        WALL.store(1_000_100, Ordering::SeqCst);
        let later = clock.now();
        assert!(later > start);
        WALL.store(999_000, Ordering::SeqCst);
        let set_back = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        let on = clock.now();
        assert!(later <= set_back && set_back < on, "time goes on while the clock is behind");
        assert_eq!(clock.steps(), (2, 0));
        WALL.store(2_000_000_000, Ordering::SeqCst);
        assert!(clock.now() >= on && clock.now().as_second() < 1_000_200);
        assert_eq!(clock.steps(), (2, 2));
        let restarted = Clock::reading(|| Timestamp::UNIX_EPOCH);
        restarted.start_at(later);
        assert!(restarted.now() >= later, "a restart with a clock that is behind revives nothing");
        clock.reset();
        assert_eq!(clock.now().as_second(), 2_000_000_000);
    }

    #[test]
    fn a_step_is_followed_once_it_is_written_down() {
        static STEPPED: AtomicI64 = AtomicI64::new(1_000_000);
        let clock = Clock::reading(|| Timestamp::from_second(STEPPED.load(Ordering::SeqCst)).unwrap());
        let mut written = Timestamp::UNIX_EPOCH;
        let mut keep = |clock: &Clock| {
            let write = |until| {
                written = until;
                Ok::<(), ()>(())
            };
            clock.keep(write).unwrap();
            written
        };
        let until = keep(&clock);
        assert_eq!(until, clock.now().checked_add(AHEAD).unwrap());
        assert_eq!(keep(&clock), until, "there is enough left");
        STEPPED.store(1_000_100, Ordering::SeqCst);
        assert!(clock.now() < until, "{} was told, and {until} is written down", clock.now());
        let until = keep(&clock);
        assert_eq!(clock.now().as_second(), 1_000_100);
        assert_eq!(until.as_second(), 1_000_101);
        assert_eq!(clock.told_unkept(), 0);
        let mut left = Timestamp::UNIX_EPOCH;
        let leave = |now| {
            left = now;
            Ok::<(), ()>(())
        };
        clock.leave(leave).unwrap();
        assert_eq!(left.as_second(), 1_000_100);
    }

    #[test]
    fn time_goes_on_and_is_counted_while_it_cannot_be_written_down() {
        let clock = Clock::default();
        clock.keep(|_| Ok::<(), ()>(())).unwrap();
        thread::sleep(AHEAD * 2);
        clock.keep(|_| Err(())).unwrap_err();
        let now = clock.now();
        assert!(now.duration_since(Timestamp::now()).abs() < (AHEAD / 2).try_into().unwrap());
        assert_eq!(clock.told_unkept(), 1);
    }
}
