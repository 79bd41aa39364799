//! The memory that all who follow sets hold between and during their steps, bounded together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Bytes that are held, and how many may be. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    held: Arc<AtomicU64>,
    bytes_max: u64,
}

/// A part of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(bytes_max: u64) -> Memory {
        Memory { held: Arc::default(), bytes_max }
    }

    /// Bytes that all hold together.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Nothing yet, to be grown.
    pub(crate) fn hold(&self) -> Held {
        Held { memory: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Counts so many bytes as held, before they are.
    ///
    /// # Errors
    /// [`Error::WorkLimit`] for `sets_bytes_max` when all together would hold more than there may be; nothing is counted
    /// then.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let (bytes, max) = (bytes as u64, self.memory.bytes_max);
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= max);
        let grown = self.memory.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| Error::WorkLimit { limit: "sets_bytes_max", max })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives so many bytes back.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.memory.held.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_together_and_given_back() {
        let memory = Memory::new(100);
        let (mut first, mut second) = (memory.hold(), memory.hold());
        first.grow(60).unwrap();
        second.grow(40).unwrap();
        let refused = second.grow(1);
        assert!(matches!(refused, Err(Error::WorkLimit { limit: "sets_bytes_max", max: 100 })), "{refused:?}");
        assert_eq!(memory.held_bytes(), 100, "a refusal counts nothing");
        first.shrink(50);
        second.grow(1).unwrap();
        assert_eq!(memory.held_bytes(), 51);
        drop(second);
        assert_eq!(memory.held_bytes(), 10);
        drop(first);
        assert_eq!(memory.held_bytes(), 0);
    }
}
