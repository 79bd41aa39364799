//! Randomness that is the same everywhere: xoshiro256++ seeded from a number and a name.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// The seed of all published figures.
pub const DEFAULT_SEED: u64 = 20_261_121;

/// A stream of random numbers.
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream `name` of `seed`; streams do not disturb each other.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Random {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Random(Xoshiro256PlusPlus::seed_from_u64(seed ^ hash))
    }

    /// Any number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.0.next_u64() % n as u64).unwrap_or(0)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A number in [0, 1).
    #[allow(clippy::cast_precision_loss)] // 53 bits fit
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mixes a list.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Numbers below `n` of which few are frequent: the k-th most frequent comes in proportion to 1/k^s. Which one is frequent is
/// drawn, too, so that it has nothing to do with its number.
pub struct Zipf {
    cumulated: Vec<f64>,
    permutation: Vec<usize>,
}

impl Zipf {
    /// A distribution over the numbers below `n`.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // ranks are small
    pub fn new(n: usize, s: f64, random: &mut Random) -> Zipf {
        let mut sum = 0.0;
        let cumulated = (1..=n)
            .map(|rank| {
                sum += (rank as f64).powf(-s);
                sum
            })
            .collect();
        let mut permutation: Vec<_> = (0..n).collect();
        random.shuffle(&mut permutation);
        Zipf { cumulated, permutation }
    }

    /// One number.
    pub fn draw(&self, random: &mut Random) -> usize {
        let target = random.unit() * self.cumulated.last().copied().unwrap_or(0.0);
        let rank = self.cumulated.partition_point(|sum| *sum <= target);
        self.permutation[rank.min(self.permutation.len() - 1)]
    }
}
