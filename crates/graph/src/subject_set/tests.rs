//! The operators against the plainest possible sets: a value for each of a few subjects, and one for all others.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::membership::CaveatFault;

/// Subjects 0 to `SUBJECTS - 1`; the last stands for all that are never mentioned.
const SUBJECTS: u32 = 12;
const ROUNDS: u64 = 20_000;

#[derive(Debug, Clone, PartialEq)]
struct Plain(Vec<Value>);

impl Plain {
    fn random(random: &mut SmallRng) -> Plain {
        let star = if random.random_bool(0.6) { Value::No } else { value(random) };
        let odd = random.random_bool(0.5);
        let one = |random: &mut SmallRng| match random.random_range(0..3) {
            0 => star.clone(),
            1 => Value::Yes,
            _ if odd => value(random),
            _ => Value::No,
        };
        let mut values: Vec<Value> = (1..SUBJECTS).map(|_| one(random)).collect();
        values.push(star);
        Plain(values)
    }

    fn set(&self) -> SubjectSet {
        let mut set = SubjectSet::everyone(self.0.last().unwrap().clone());
        for (subject, value) in (0..).zip(&self.0) {
            set.add(value.clone(), RoaringBitmap::from_iter([subject]));
        }
        set
    }

    fn with(&self, other: &Plain, operator: fn(Value, Value) -> Value) -> Plain {
        Plain(self.0.iter().cloned().zip(other.0.iter().cloned()).map(|(a, b)| operator(a, b)).collect())
    }
}

fn value(random: &mut SmallRng) -> Value {
    let name = random.random_range(0..3);
    let fault = CaveatFault { caveat: "broken".to_owned(), parameter: None, message: String::new() };
    match random.random_range(0..5) {
        0 => Value::No,
        1 => Value::Yes,
        2 => Value::Maybe(Missing::one(name)),
        3 => Value::Maybe(Missing::one(name).union(Missing::one(100))),
        _ if random.random_bool(0.5) => Value::Fault(Fault::Cycle),
        _ => Value::Fault(Fault::Caveat(Arc::new(fault))),
    }
}

fn value_of(set: &SubjectSet, subject: u32) -> Value {
    let part = set.parts.iter().find(|(_, subjects)| subjects.contains(subject));
    part.map_or_else(|| set.star.clone(), |(value, _)| value.clone())
}

fn assert_same(set: &SubjectSet, plain: &Plain, seed: u64) {
    let values: Vec<Value> = (0..SUBJECTS).map(|subject| value_of(set, subject)).collect();
    assert_eq!(values, plain.0, "seed {seed}: {set:?}");
    for (index, (value, subjects)) in set.parts.iter().enumerate() {
        assert!(!subjects.is_empty() && *value != set.star, "seed {seed}: {set:?}");
        for (other, others) in &set.parts[index + 1..] {
            assert!(value != other && subjects.is_disjoint(others), "seed {seed}: {set:?}");
        }
    }
    assert!(!set.star.is_no() || set.named.is_empty(), "seed {seed}: {set:?}");
}

#[test]
fn every_operator_works_value_by_value() {
    for seed in 0..ROUNDS {
        let mut random = SmallRng::seed_from_u64(seed);
        let (a, b) = (Plain::random(&mut random), Plain::random(&mut random));
        let (x, y) = (a.set(), b.set());
        assert_same(&x.or(&y), &a.with(&b, Value::or), seed);
        assert_same(&x.and(&y), &a.with(&b, Value::and), seed);
        assert_same(&x.minus(&y), &a.with(&b, Value::minus), seed);
        let condition = value(&mut random);
        let conditions = Plain(vec![condition.clone(); SUBJECTS as usize]);
        assert_same(&x.on(&condition), &a.with(&conditions, Value::and), seed);
    }
}

#[test]
fn a_union_of_many_is_that_of_pairs() {
    for seed in 0..ROUNDS / 10 {
        let mut random = SmallRng::seed_from_u64(seed);
        let plain: Vec<Plain> = (0..random.random_range(0..6)).map(|_| Plain::random(&mut random)).collect();
        let sets: Vec<Rc<SubjectSet>> = plain.iter().map(|plain| Rc::new(plain.set())).collect();
        let nobody = Plain(vec![Value::No; SUBJECTS as usize]);
        assert_same(&SubjectSet::union(&sets), &plain.iter().fold(nobody, |sum, set| sum.with(set, Value::or)), seed);
    }
}

#[test]
fn equal_sets_are_equal_however_they_came_about() {
    for seed in 0..ROUNDS / 10 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (a, b) = (Plain::random(&mut random).set(), Plain::random(&mut random).set());
        assert!(a.or(&b) == b.or(&a) && a.and(&b) == b.and(&a), "seed {seed}");
        assert!(a.or(&b).or(&a) == a.or(&b), "seed {seed}");
        assert_eq!(a == b, (0..SUBJECTS).all(|subject| value_of(&a, subject) == value_of(&b, subject)), "seed {seed}");
    }
}

#[test]
fn whoever_is_named_beside_a_wildcard_stays_named() {
    let named = |subjects: &[u32]| SubjectSet::of(subjects.iter().copied().collect(), Value::Yes);
    let everyone = SubjectSet::everyone(Value::Yes);
    let both = everyone.or(&named(&[1, 2]));
    assert!(both.parts().is_empty());
    assert_eq!(both.named().iter().collect::<Vec<_>>(), [1, 2]);
    let some = both.minus(&named(&[2, 3]));
    assert!(some.named().contains(1) && !some.named().contains(3));
    assert_eq!(value_of(&some, 2), Value::No);
    // What only an exclusion names is not listed.
    let unbanned = everyone.minus(&named(&[4, 5]).minus(&named(&[5])));
    assert!(unbanned.named().is_empty());
    assert_eq!(value_of(&unbanned, 5), Value::Yes);
}
