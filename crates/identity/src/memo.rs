//! What was found out about the system store, known until that store changes.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use parking_lot::RwLock;
use stonetown_tuple::Revision;

/// Entries kept at a time, over all shards.
pub(crate) const ENTRIES_MAX: usize = 65_536;
const SHARDS: usize = 16;

/// A bounded map from a question to its answer and the revision of it. An answer of a revision before the newest change is
/// none: whoever asks says which revision that is. When a shard is full, all of it is forgotten.
pub(crate) struct Memo<K, V> {
    hasher: DefaultHashBuilder,
    shards: [RwLock<HashMap<K, (Revision, V)>>; SHARDS],
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Memo { hasher: DefaultHashBuilder::default(), shards: Default::default() }
    }
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    /// The answer, if it is not older than the newest change.
    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, question: &Q, changed: Revision) -> Option<V> {
        let shard = self.shard(question).read();
        shard.get(question).filter(|(at, _)| *at >= changed).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer found at a revision.
    pub(crate) fn put(&self, question: K, at: Revision, answer: V) {
        let mut shard = self.shard(&question).write();
        if shard.len() >= ENTRIES_MAX / SHARDS {
            shard.clear();
        }
        shard.insert(question, (at, answer));
    }

    fn shard<Q: Hash + ?Sized>(&self, question: &Q) -> &RwLock<HashMap<K, (Revision, V)>> {
        // The maps take the low bits of their own hash.
        let hash = self.hasher.hash_one(question);
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_until_something_changes() {
        let memo = Memo::<Box<str>, u8>::default();
        assert_eq!(memo.get("a", Revision(0)), None);
        memo.put("a".into(), Revision(5), 1);
        assert_eq!(memo.get("a", Revision(5)), Some(1));
        assert_eq!(memo.get("a", Revision(6)), None);
        memo.put("a".into(), Revision(6), 2);
        assert_eq!(memo.get("a", Revision(6)), Some(2));
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let memo = Memo::<usize, ()>::default();
        for question in 0..3 * ENTRIES_MAX {
            memo.put(question, Revision(1), ());
        }
        let held: usize = memo.shards.iter().map(|shard| shard.read().len()).sum();
        assert!(held <= ENTRIES_MAX && held > 0, "{held}");
    }
}
