//! Sets of small numbers.

/// A set of numbers below a bound that is fixed when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BitSet(Box<[u64]>);

impl BitSet {
    /// The empty set of numbers below `bound`.
    #[must_use]
    pub(crate) fn new(bound: usize) -> Self {
        BitSet(vec![0; bound.div_ceil(64)].into())
    }

    /// Whether `number` is in the set; no number beyond the bound is.
    #[must_use]
    #[inline]
    pub fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Adds a number below the bound.
    pub(crate) fn insert(&mut self, number: u32) {
        self.0[number as usize / 64] |= 1 << (number % 64);
    }

    /// Adds all numbers of a set with the same bound; whether that changed anything.
    pub(crate) fn insert_all(&mut self, other: &BitSet) -> bool {
        let mut changed = false;
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            changed |= more & !*word != 0;
            *word |= more;
        }
        changed
    }

    /// Keeps the numbers that a set with the same bound has, too.
    pub(crate) fn retain_all(&mut self, other: &BitSet) {
        for (word, kept) in self.0.iter_mut().zip(&other.0) {
            *word &= kept;
        }
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |word: u64| (0..64).filter(move |bit| word & (1 << bit) != 0);
        self.0.iter().zip((0..).step_by(64)).flat_map(move |(word, first)| bits(*word).map(move |bit| first + bit))
    }
}
