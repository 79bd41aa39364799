//! The time of all calls. It never runs backwards, nor behind the newest commit after a restart, so that a clock set back
//! revives nothing; and it goes on meanwhile, so that nothing lives longer by it. A jump forward is followed only up to a
//! bound, so that one bad reading cannot end all grants for good. Both are counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stonetown_tuple::Timestamp;

/// The largest difference between the wall clock and the time that has passed in the process that is followed.
pub const FORWARD_STEP_MAX: Duration = Duration::from_secs(15 * 60);

/// How far the wall clock may fall behind the time that has passed in the process before it is no longer followed: what is
/// to end in that time ends so much later.
pub const BACKWARD_STEP_MAX: Duration = Duration::from_secs(1);

/// Reads the time of the machine.
pub type WallClock = fn() -> Timestamp;

/// A wall clock that only runs forward.
pub struct Clock {
    state: Mutex<State>,
    backward_steps: AtomicU64,
    forward_steps_refused: AtomicU64,
    read: WallClock,
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
    pub fn reading(read: WallClock) -> Clock {
        let start = whole(read());
        Clock {
            state: Mutex::new(State { last: start, anchor: start, anchored: Instant::now() }),
            backward_steps: AtomicU64::new(0),
            forward_steps_refused: AtomicU64::new(0),
            read,
        }
    }

    /// Has the time not be earlier than `time`: that of the newest commit, when a process starts.
    pub fn start_at(&self, time: Timestamp) {
        let mut state = self.state.lock();
        if time > state.last {
            *state = State { last: time, anchor: time, anchored: Instant::now() };
        }
    }

    /// The time in whole microseconds, never earlier than any time given out before.
    pub fn now(&self) -> Timestamp {
        let wall = whole((self.read)());
        let mut state = self.state.lock();
        let instant = Instant::now();
        let passed = instant.saturating_duration_since(state.anchored);
        let elapsed = whole(state.anchor.saturating_add(passed).unwrap_or(state.last));
        let latest = elapsed.saturating_add(FORWARD_STEP_MAX).unwrap_or(elapsed);
        let earliest = elapsed.saturating_sub(BACKWARD_STEP_MAX).unwrap_or(elapsed);
        let time = if wall > latest {
            self.forward_steps_refused.fetch_add(1, Ordering::Relaxed);
            elapsed
        } else if wall < earliest {
            self.backward_steps.fetch_add(1, Ordering::Relaxed);
            elapsed
        } else {
            wall
        };
        if time > state.last {
            state.last = time;
            if time == wall {
                (state.anchor, state.anchored) = (wall, instant);
            }
        }
        state.last
    }

    /// Takes the wall clock as it is now, whatever was given out before: for an operator who has mended a bad clock.
    pub fn reset(&self) {
        let wall = whole((self.read)());
        *self.state.lock() = State { last: wall, anchor: wall, anchored: Instant::now() };
    }

    /// Readings too far behind to be followed, and readings too far ahead to be followed.
    pub fn steps(&self) -> (u64, u64) {
        (self.backward_steps.load(Ordering::Relaxed), self.forward_steps_refused.load(Ordering::Relaxed))
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
}
