//! Places of streams that stay open, such as watches: so many for each caller, and so many together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stonetown_tuple::Revision;

use crate::{Caller, Error};

/// How many places there are, with the names of the limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacesMax {
    /// For one caller.
    pub(crate) per_caller: (&'static str, u32),
    /// Together.
    pub(crate) all: (&'static str, u32),
}

/// Who is there. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    next: u64,
    /// Who has the place, and how far the stream is.
    by_number: HashMap<u64, (Caller, Arc<AtomicU64>)>,
}

/// The place of one stream; given back when dropped.
pub(crate) struct Place {
    places: Places,
    number: u64,
    reached: Arc<AtomicU64>,
}

impl Places {
    /// Takes a place for a stream that begins at a revision.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`] with the limit that is reached.
    pub(crate) fn enter(&self, caller: &Caller, at: Revision, max: PlacesMax) -> Result<Place, Error> {
        let mut taken = self.0.lock();
        let own = taken.by_number.values().filter(|(other, _)| other == caller).count();
        for (taken, (limit, max)) in [(own, max.per_caller), (taken.by_number.len(), max.all)] {
            if taken >= max as usize {
                return Err(Error::TooManyStreams { limit, max });
            }
        }
        let (number, reached) = (taken.next, Arc::new(AtomicU64::new(at.0)));
        taken.next += 1;
        taken.by_number.insert(number, (caller.clone(), Arc::clone(&reached)));
        Ok(Place { places: self.clone(), number, reached })
    }

    /// How many are taken, and the revision that the slowest has reached.
    pub(crate) fn stats(&self) -> (u64, Option<Revision>) {
        let taken = self.0.lock();
        let reached = taken.by_number.values().map(|(_, reached)| Revision(reached.load(Ordering::Relaxed)));
        (taken.by_number.len() as u64, reached.min())
    }
}

impl Place {
    /// Notes how far the stream is.
    pub(crate) fn reach(&self, revision: Revision) {
        self.reached.store(revision.0, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.lock().by_number.remove(&self.number);
    }
}
