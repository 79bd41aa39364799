//! The time of all calls. Inside a process it never runs backwards, so that a clock set back revives nothing; a jump forward
//! is followed only up to a bound, so that one bad reading cannot end all grants for good. Both are counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stonetown_tuple::Timestamp;

/// The largest difference between the wall clock and the time that has passed in the process that is followed.
pub const FORWARD_STEP_MAX: Duration = Duration::from_secs(15 * 60);

/// A wall clock that only runs forward.
pub struct Clock {
    state: Mutex<State>,
    backward_steps: AtomicU64,
    forward_steps_refused: AtomicU64,
    read: fn() -> Timestamp,
}

struct State {
    last: Timestamp,
    /// The time at `anchored`, from which the process counts.
    anchor: Timestamp,
    anchored: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::reading(Timestamp::now)
    }
}

impl Clock {
    /// A clock over another source of wall time.
    #[must_use]
    pub fn reading(read: fn() -> Timestamp) -> Clock {
        let start = read();
        Clock {
            state: Mutex::new(State { last: start, anchor: start, anchored: Instant::now() }),
            backward_steps: AtomicU64::new(0),
            forward_steps_refused: AtomicU64::new(0),
            read,
        }
    }

    /// The time, never earlier than any time given out before.
    pub fn now(&self) -> Timestamp {
        let wall = (self.read)();
        let mut state = self.state.lock();
        let elapsed = state.anchor.saturating_add(state.anchored.elapsed()).unwrap_or(state.last);
        let latest = elapsed.saturating_add(FORWARD_STEP_MAX).unwrap_or(elapsed);
        let time = if wall > latest {
            self.forward_steps_refused.fetch_add(1, Ordering::Relaxed);
            elapsed
        } else {
            wall
        };
        if time < state.last {
            self.backward_steps.fetch_add(1, Ordering::Relaxed);
        } else {
            state.last = time;
        }
        state.last
    }

    /// Takes the wall clock as it is now, whatever was given out before: for an operator who has mended a bad clock.
    pub fn reset(&self) {
        let wall = (self.read)();
        *self.state.lock() = State { last: wall, anchor: wall, anchored: Instant::now() };
    }

    /// Readings that lay before an earlier one, and readings too far ahead to be followed.
    pub fn steps(&self) -> (u64, u64) {
        (self.backward_steps.load(Ordering::Relaxed), self.forward_steps_refused.load(Ordering::Relaxed))
    }
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
        assert_eq!(clock.now(), later);
        WALL.store(2_000_000_000, Ordering::SeqCst);
        assert_eq!(clock.now(), later);
        assert_eq!(clock.steps().1, 1);
        clock.reset();
        assert_eq!(clock.now().as_second(), 2_000_000_000);
    }
}
