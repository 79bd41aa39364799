//! Truth values and their algebra.
//!
//! A subject is a member, is not, is one if parameters that are missing have the right values, or the question cannot be
//! decided. The four form a chain, [`Value::No`] < [`Value::Maybe`] < [`Value::Fault`] < [`Value::Yes`], in which OR is
//! the greater and AND the lesser; two `Maybe` join their parameters either way. So no answer depends on the order in
//! which its parts were evaluated.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::fault::{PlantedFault, planted};

/// How a question about one subject ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// The subject is a member.
    Member,
    /// The subject is not a member.
    NotMember,
    /// It depends on these caveat parameters, which neither relationships nor request have given.
    Conditional(BTreeSet<String>),
}

/// A truth value during evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// Not a member.
    #[default]
    No,
    /// A member or not, depending on parameters that are missing.
    Maybe(Missing),
    /// Cannot be decided.
    Fault(Fault),
    /// A member.
    Yes,
}

/// Why a value cannot be decided. Of two, the greater is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The right side of an exclusion leads back to the exclusion.
    Cycle,
    /// A caveat could not be evaluated.
    Caveat(Arc<CaveatFault>),
}

/// A caveat that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaveatFault {
    /// Its name.
    pub caveat: String,
    /// The parameter for which the request gave a value of a wrong type, if that is the reason.
    pub parameter: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A set of parameter names, by the numbers that [`crate::conditions::Conditions`] gives to them within one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing(SmallVec<[u64; 2]>);

impl Value {
    /// Whether this is [`Value::Yes`], which no OR can change any more.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Value::Yes)
    }

    /// Whether this is [`Value::No`], which no AND can change any more.
    #[must_use]
    pub fn is_no(&self) -> bool {
        matches!(self, Value::No)
    }

    /// In either.
    #[must_use]
    pub fn or(self, other: Value) -> Value {
        match (self, other) {
            (Value::Yes, _) | (_, Value::Yes) => Value::Yes,
            (Value::Fault(a), Value::Fault(b)) => Value::Fault(a.max(b)),
            (fault @ Value::Fault(_), _) | (_, fault @ Value::Fault(_)) => fault,
            (Value::Maybe(a), Value::Maybe(b)) => Value::Maybe(a.union(b)),
            (maybe @ Value::Maybe(_), Value::No) | (Value::No, maybe @ Value::Maybe(_)) => maybe,
            (Value::No, Value::No) => Value::No,
        }
    }

    /// In both.
    #[must_use]
    pub fn and(self, other: Value) -> Value {
        match (self, other) {
            (Value::No, _) | (_, Value::No) => Value::No,
            (Value::Maybe(a), Value::Maybe(b)) => Value::Maybe(a.union(b)),
            (maybe @ Value::Maybe(_), _) | (_, maybe @ Value::Maybe(_)) => maybe,
            (Value::Fault(a), Value::Fault(b)) => Value::Fault(a.max(b)),
            (fault @ Value::Fault(_), Value::Yes) | (Value::Yes, fault @ Value::Fault(_)) => fault,
            (Value::Yes, Value::Yes) => Value::Yes,
        }
    }

    /// The level alone: without names, and with the least fault.
    #[must_use]
    pub(crate) fn bare(self) -> Value {
        match self {
            Value::Maybe(_) => Value::Maybe(Missing::default()),
            Value::Fault(_) => Value::Fault(Fault::Cycle),
            decided => decided,
        }
    }

    /// Not in it.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // `!value` would read as if it were a bool
    pub fn not(self) -> Value {
        match self {
            Value::No => Value::Yes,
            Value::Yes => Value::No,
            undecided => undecided,
        }
    }

    /// In the first and not in the second.
    #[must_use]
    pub fn minus(self, other: Value) -> Value {
        self.and(other.not())
    }
}

impl Missing {
    /// The set of one name.
    #[must_use]
    pub fn one(number: u32) -> Missing {
        let mut words = SmallVec::from_elem(0, number as usize / 64 + 1);
        words[number as usize / 64] = 1 << (number % 64);
        Missing(words)
    }

    /// The names in either.
    #[must_use]
    pub fn union(self, other: Missing) -> Missing {
        if planted(PlantedFault::MissingNamesDropped) && !self.0.is_empty() {
            return self;
        }
        let (mut long, short) = if self.0.len() < other.0.len() { (other, self) } else { (self, other) };
        for (word, more) in long.0.iter_mut().zip(short.0) {
            *word |= more;
        }
        long
    }

    /// The numbers of the names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |word: u64| (0..64).filter(move |bit| word & (1 << bit) != 0);
        self.0.iter().zip((0..).step_by(64)).flat_map(move |(word, first)| bits(*word).map(move |bit| first + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maybe(names: &[u32]) -> Value {
        names.iter().fold(Value::No, |value, name| value.or(Value::Maybe(Missing::one(*name))))
    }

    fn fault(caveat: &str) -> Value {
        let fault = CaveatFault { caveat: caveat.to_owned(), parameter: None, message: String::new() };
        Value::Fault(Fault::Caveat(Arc::new(fault)))
    }

    fn all() -> Vec<Value> {
        let cycle = Value::Fault(Fault::Cycle);
        vec![Value::No, maybe(&[0]), maybe(&[1]), maybe(&[0, 200]), cycle, fault("a"), fault("b"), Value::Yes]
    }

    #[test]
    fn order_and_grouping_do_not_matter() {
        for a in all() {
            assert_eq!(a.clone().not().not(), a);
            assert_eq!(a.clone().or(a.clone()), a);
            assert_eq!(a.clone().and(a.clone()), a);
            for b in all() {
                assert_eq!(a.clone().or(b.clone()), b.clone().or(a.clone()));
                assert_eq!(a.clone().and(b.clone()), b.clone().and(a.clone()));
                for c in all() {
                    assert_eq!(a.clone().or(b.clone()).or(c.clone()), a.clone().or(b.clone().or(c.clone())));
                    assert_eq!(a.clone().and(b.clone()).and(c.clone()), a.clone().and(b.clone().and(c)));
                }
            }
        }
    }

    #[test]
    fn certainty_wins_over_what_is_undecided() {
        for a in all() {
            assert_eq!(a.clone().or(Value::Yes), Value::Yes);
            assert_eq!(a.clone().and(Value::No), Value::No);
            assert_eq!(a.clone().minus(Value::Yes), Value::No);
            assert_eq!(a.clone().minus(Value::No), a);
        }
        assert_eq!(maybe(&[1]).or(Value::Fault(Fault::Cycle)), Value::Fault(Fault::Cycle));
        assert_eq!(maybe(&[1]).and(Value::Fault(Fault::Cycle)), maybe(&[1]));
        assert_eq!(fault("a").or(Value::Fault(Fault::Cycle)), fault("a"));
    }

    #[test]
    fn maybes_join_their_names() {
        let joined = maybe(&[3]).and(maybe(&[70])).or(maybe(&[300]));
        let Value::Maybe(names) = joined else { unreachable!("two maybes are a maybe") };
        assert_eq!(names.iter().collect::<Vec<_>>(), [3, 70, 300]);
    }
}
