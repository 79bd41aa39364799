//! Who may come in: a bound on each caller's concurrent calls, and a gate on memory that sheds heavy calls first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use std::collections::HashMap;

use stonetown_tuple::StoreId;

use crate::{Caller, Error, Limits};

/// How much a call can ask of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A check, a write, a schema read.
    Light,
    /// A lookup, read, expansion, export, import or bulk check.
    Heavy,
}

/// Counts calls and watches memory. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

struct Shared {
    callers: Mutex<HashMap<Caller, Running>>,
    /// Calls in stores that have a bound of their own.
    stores: Mutex<HashMap<StoreId, u32>>,
    calls_max: u32,
    heavy_calls_max: u32,
    memory_used: AtomicU64,
    memory_max: u64,
    refused_for_calls: AtomicU64,
    refused_for_memory: AtomicU64,
    running: AtomicU64,
    running_heavy: AtomicU64,
}

/// What was let in and refused so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls running now.
    pub running: u64,
    /// Heavy ones among them.
    pub running_heavy: u64,
    /// Calls refused because their caller had too many running.
    pub refused_for_calls: u64,
    /// Calls refused because memory was short.
    pub refused_for_memory: u64,
}

#[derive(Default)]
struct Running {
    calls: u32,
    heavy: u32,
}

/// Leave to run one call; given back when dropped.
pub struct Permit {
    shared: Arc<Shared>,
    caller: Caller,
    /// Where it is counted there.
    store: Option<StoreId>,
    weight: Weight,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Admission {
        Admission {
            shared: Arc::new(Shared {
                callers: Mutex::default(),
                stores: Mutex::default(),
                calls_max: limits.calls_per_caller_max,
                heavy_calls_max: limits.heavy_calls_per_caller_max,
                memory_used: AtomicU64::new(0),
                memory_max: limits.memory_bytes_max,
                refused_for_calls: AtomicU64::new(0),
                refused_for_memory: AtomicU64::new(0),
                running: AtomicU64::new(0),
                running_heavy: AtomicU64::new(0),
            }),
        }
    }

    /// Lets a call in, for as long as the permit lives. A store with a bound has no more calls than that (0 for none). What the server asks itself, to answer somebody whom it has let in, is
    /// never kept out.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] or [`Error::MemoryPressure`]; both are worth a retry, later.
    pub fn admit(&self, caller: &Caller, weight: Weight, (store, calls_max): (StoreId, u32)) -> Result<Permit, Error> {
        let shared = &self.shared;
        let store = (calls_max > 0 && !caller.is_internal()).then_some(store);
        if shared.memory_max > 0 && !caller.is_internal() {
            let used = shared.memory_used.load(Ordering::Relaxed);
            let percent = if weight == Weight::Heavy { 75 } else { 85 };
            if used > shared.memory_max / 100 * percent {
                shared.refused_for_memory.fetch_add(1, Ordering::Relaxed);
                return Err(Error::MemoryPressure { used_bytes: used, limit_bytes: shared.memory_max });
            }
        }
        {
            let mut callers = shared.callers.lock();
            let running = callers.entry(caller.clone()).or_default();
            let heavy = u32::from(weight == Weight::Heavy);
            let too_many = running.calls >= shared.calls_max || running.heavy + heavy > shared.heavy_calls_max;
            if too_many && !caller.is_internal() {
                let limit = if heavy == 1 { shared.heavy_calls_max } else { shared.calls_max };
                shared.refused_for_calls.fetch_add(1, Ordering::Relaxed);
                return Err(Error::TooManyCalls { limit });
            }
            if let Some(store) = store {
                let mut stores = shared.stores.lock();
                let in_store = stores.entry(store).or_default();
                if *in_store >= calls_max {
                    shared.refused_for_calls.fetch_add(1, Ordering::Relaxed);
                    return Err(Error::AboveQuota { what: "calls at the same time", limit: calls_max.into() });
                }
                *in_store += 1;
            }
            running.calls += 1;
            running.heavy += heavy;
        }
        shared.running.fetch_add(1, Ordering::Relaxed);
        shared.running_heavy.fetch_add(u64::from(weight == Weight::Heavy), Ordering::Relaxed);
        Ok(Permit { shared: Arc::clone(shared), caller: caller.clone(), store, weight })
    }

    /// Tells the gate how much memory the process uses, in bytes.
    pub fn set_memory_used(&self, bytes: u64) {
        self.shared.memory_used.store(bytes, Ordering::Relaxed);
    }

    /// What was let in and refused so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Shared { running, running_heavy, refused_for_calls, refused_for_memory, .. } = &*self.shared;
        Counts {
            running: load(running),
            running_heavy: load(running_heavy),
            refused_for_calls: load(refused_for_calls),
            refused_for_memory: load(refused_for_memory),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
        self.shared.running_heavy.fetch_sub(u64::from(self.weight == Weight::Heavy), Ordering::Relaxed);
        if let Some(store) = self.store {
            let mut stores = self.shared.stores.lock();
            if let Some(running) = stores.get_mut(&store) {
                *running -= 1;
                if *running == 0 {
                    stores.remove(&store);
                }
            }
        }
        let mut callers = self.shared.callers.lock();
        if let Some(running) = callers.get_mut(&self.caller) {
            running.calls -= 1;
            running.heavy -= u32::from(self.weight == Weight::Heavy);
            if running.calls == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Caller {
        Caller::named(name)
    }

    #[test]
    fn one_callers_calls_are_bounded_and_anothers_are_not_touched() {
        let admission = Admission::new(&Limits { calls_per_caller_max: 2, ..Limits::default() });
        let first = admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)).unwrap();
        let _second = admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)).unwrap();
        assert!(matches!(
            admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)),
            Err(Error::TooManyCalls { limit: 2 })
        ));
        assert!(admission.admit(&caller("b"), Weight::Light, (StoreId::DEFAULT, 0)).is_ok());
        let one = Counts { running: 2, refused_for_calls: 1, ..Counts::default() };
        assert_eq!(admission.counts(), one);
        drop(first);
        assert!(admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)).is_ok());
    }

    #[test]
    fn heavy_calls_are_shed_before_light_ones() {
        let admission = Admission::new(&Limits { memory_bytes_max: 1000, ..Limits::default() });
        admission.set_memory_used(800);
        assert!(matches!(
            admission.admit(&caller("a"), Weight::Heavy, (StoreId::DEFAULT, 0)),
            Err(Error::MemoryPressure { .. })
        ));
        assert!(admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)).is_ok());
        admission.set_memory_used(900);
        assert!(matches!(
            admission.admit(&caller("a"), Weight::Light, (StoreId::DEFAULT, 0)),
            Err(Error::MemoryPressure { .. })
        ));
    }
}
