//! Sums of hashes, by which sets are compared that are too large to be held: equal sets have equal sums in whatever order
//! they are met. Sums are kept in buckets, so that a second look at one bucket's members finds the difference.

use std::collections::BTreeMap;

use stonetown_storage::TableId;
use stonetown_tuple::{Revision, StoreId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Buckets of revisions.
const BUCKETS: usize = 4_096;

/// A sum over a set of byte strings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum(u128);

/// All sums of a scrub.
#[derive(Default)]
pub(super) struct Sums {
    /// Versions of a table, forward and in reverse.
    pub(super) directions: BTreeMap<(StoreId, TableId), (Sum, Sum)>,
    /// Versions of the commits in the log, by their revisions: as stored, and as the log has them.
    pub(super) logged: Pairs<Sum>,
    /// Versions that are relationships, by their revisions: as stored, and as counted with their commits.
    pub(super) counted: Pairs<u64>,
    /// Names of objects, by id and by ordinal.
    pub(super) names: (Sum, Sum),
}

/// Two values for each bucket of revisions, which should be equal.
pub(super) struct Pairs<T>(Vec<(T, T)>);

impl<T: Default + Clone> Default for Pairs<T> {
    fn default() -> Self {
        Pairs(vec![(T::default(), T::default()); BUCKETS])
    }
}

impl<T: PartialEq> Pairs<T> {
    /// The pair of a revision's bucket.
    pub(super) fn of(&mut self, revision: Revision) -> &mut (T, T) {
        &mut self.0[bucket(revision)]
    }

    /// Whether the two sides of a revision's bucket differ.
    pub(super) fn differ_at(&self, revision: Revision) -> bool {
        let (one, other) = &self.0[bucket(revision)];
        one != other
    }

    /// Whether any bucket's sides differ.
    pub(super) fn differ(&self) -> bool {
        self.0.iter().any(|(one, other)| one != other)
    }
}

impl Sum {
    /// Adds a member, given in parts.
    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        let mut hash = Xxh3::new();
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        self.0 = self.0.wrapping_add(hash.digest128());
    }
}

/// What one version of a revision adds to a count.
pub(super) fn weight(revision: Revision) -> u64 {
    xxh3_64(&revision.0.to_le_bytes())
}

fn bucket(revision: Revision) -> usize {
    #[allow(clippy::cast_possible_truncation)] // the remainder is small
    let place = (revision.0 % BUCKETS as u64) as usize;
    place
}
