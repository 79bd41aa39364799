//! The operators against truth: whatever the doubtful resources turn out to be, the result must have room for it.

#![allow(clippy::unwrap_used, clippy::panic)]

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const RESOURCES: u32 = 10;
const ROUNDS: u64 = 5_000;

fn random_set(random: &mut SmallRng) -> ResourceSet {
    let mut set = ResourceSet::default();
    for resource in 0..RESOURCES {
        match random.random_range(0..3) {
            0 => set.certain.insert(resource),
            1 => set.doubtful.insert(resource),
            _ => continue,
        };
    }
    set
}

/// Whether a resource is a member: no, yes, or open.
fn state(set: &ResourceSet, resource: u32) -> Option<bool> {
    assert!(set.certain.is_disjoint(&set.doubtful));
    if set.doubtful.contains(resource) { None } else { Some(set.certain.contains(resource)) }
}

#[test]
fn what_is_certain_stays_so_whatever_the_doubtful_turn_out_to_be() {
    for seed in 0..ROUNDS {
        let mut random = SmallRng::seed_from_u64(seed);
        let (a, b) = (random_set(&mut random), random_set(&mut random));
        let (both, left) = (a.and(&b), a.minus(&b));
        for resource in 0..RESOURCES {
            let (x, y) = (state(&a, resource), state(&b, resource));
            let and = if x == Some(false) || y == Some(false) { Some(false) } else { x.and(y) };
            let minus = match (x, y) {
                (Some(false), _) | (_, Some(true)) => Some(false),
                (Some(true), Some(false)) => Some(true),
                _ => None,
            };
            assert_eq!(state(&both, resource), and, "seed {seed}");
            assert_eq!(state(&left, resource), minus, "seed {seed}");
        }
    }
}

#[test]
fn absorbing_returns_what_is_new() {
    for seed in 0..ROUNDS {
        let mut random = SmallRng::seed_from_u64(seed);
        let (a, b) = (random_set(&mut random), random_set(&mut random));
        let mut sum = a.clone();
        let new = sum.absorb(b.clone());
        for resource in 0..RESOURCES {
            let certain = a.certain.contains(resource) || b.certain.contains(resource);
            let possible = certain || a.doubtful.contains(resource) || b.doubtful.contains(resource);
            assert_eq!(
                state(&sum, resource),
                if certain {
                    Some(true)
                } else if possible {
                    None
                } else {
                    Some(false)
                }
            );
            let changed = state(&sum, resource) != state(&a, resource);
            assert_eq!(state(&new, resource), if changed { state(&sum, resource) } else { Some(false) }, "seed {seed}");
        }
        assert!(sum.absorb(b).is_empty(), "seed {seed}");
    }
}

#[test]
fn doubting_keeps_the_resources() {
    let mut random = SmallRng::seed_from_u64(1);
    let set = random_set(&mut random);
    let doubted = set.clone().doubted();
    assert!(doubted.certain.is_empty());
    assert_eq!(doubted.len(), set.len());
}
