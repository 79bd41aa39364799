//! Attacks at the size that the threat model names: the `attack` command. Tests run the same, smaller.
//!
//! Each is an error where something that is promised does not hold. Times are printed and never judged.

pub mod held;
pub mod members;
pub mod stores;
pub mod streams;
pub mod timing;

use std::time::Duration;

/// The value that so many percent of the sorted values do not exceed, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u128 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).map_or(0, Duration::as_micros)
}
