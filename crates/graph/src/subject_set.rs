//! Sets of subjects of one type in which every subject has a [`Value`]: the sets that LookupSubjects computes with.
//!
//! A wildcard makes a set endless, so a set says what it holds for subjects that it does not mention (`star`), and parts
//! the others by value. All operators work value by value on whole bitmaps and mean, for each subject, what the operator
//! of the same name means for its values.

use std::borrow::Cow;
use std::rc::Rc;

use roaring::{MultiOps, RoaringBitmap};

use crate::fault::{PlantedFault, planted};
use crate::membership::{Fault, Missing, Value};

#[cfg(test)]
mod tests;

/// A value for every subject of a type; subjects are ordinals.
///
/// Invariant: the parts are disjoint, not empty, of different values, and none has the value of `star`.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubjectSet {
    star: Value,
    parts: Vec<(Value, RoaringBitmap)>,
    /// Who was named on a positive side beside a wildcard, so that a listing names them beside `*`. Without a wildcard
    /// these are all members, and the bitmap stays empty.
    named: RoaringBitmap,
}

impl SubjectSet {
    /// The given subjects have `value`, all others are not members.
    pub(crate) fn of(subjects: RoaringBitmap, value: Value) -> SubjectSet {
        let mut set = SubjectSet::default();
        set.add(value, subjects);
        set
    }

    /// Every subject has `value`.
    pub(crate) fn everyone(value: Value) -> SubjectSet {
        SubjectSet { star: value, ..SubjectSet::default() }
    }

    /// The value of the subjects that the set does not mention.
    pub(crate) fn star(&self) -> &Value {
        &self.star
    }

    /// The subjects whose value is not that of [`SubjectSet::star`], by value.
    pub(crate) fn parts(&self) -> &[(Value, RoaringBitmap)] {
        &self.parts
    }

    /// Whether nobody can be a member.
    pub(crate) fn is_empty(&self) -> bool {
        self.star.is_no() && self.parts.is_empty()
    }

    /// The subjects to be named in a listing even where `*` covers them.
    pub(crate) fn named(&self) -> Cow<'_, RoaringBitmap> {
        if self.star.is_no() { self.mentioned() } else { Cow::Borrowed(&self.named) }
    }

    /// The subjects whose value is not that of [`SubjectSet::star`].
    pub(crate) fn mentioned(&self) -> Cow<'_, RoaringBitmap> {
        match self.parts.as_slice() {
            [(_, only)] => Cow::Borrowed(only),
            parts => Cow::Owned(parts.iter().map(|(_, subjects)| subjects).union()),
        }
    }

    /// Bytes held, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let parts: usize = self.parts.iter().map(|(_, subjects)| subjects.serialized_size() + size_of::<Value>()).sum();
        (size_of::<SubjectSet>() + parts + self.named.serialized_size()) as u64
    }

    /// In any of the sets.
    pub(crate) fn union(sets: &[Rc<SubjectSet>]) -> Rc<SubjectSet> {
        if let [only] = sets {
            return Rc::clone(only);
        }
        // Most sets are plain; folding them one by one would copy the sum again and again.
        let certain = sets.iter().filter_map(|set| set.certain()).union();
        let rest = sets.iter().filter(|set| set.certain().is_none() && !set.is_empty());
        Rc::new(rest.fold(SubjectSet::of(certain, Value::Yes), |sum, set| sum.or(set)))
    }

    /// In either set.
    pub(crate) fn or(&self, other: &SubjectSet) -> SubjectSet {
        let mut set = self.pointwise(other, Value::or);
        set.name(|| self.named().as_ref() | other.named().as_ref());
        set
    }

    /// In both sets.
    pub(crate) fn and(&self, other: &SubjectSet) -> SubjectSet {
        let mut set = self.pointwise(other, Value::and);
        set.name(|| self.named().as_ref() | other.named().as_ref());
        set
    }

    /// In this set and not in the other.
    pub(crate) fn minus(&self, other: &SubjectSet) -> SubjectSet {
        if planted(PlantedFault::SubjectExclusionDropped) {
            return self.clone();
        }
        let mut set = self.pointwise(other, Value::minus);
        set.name(|| self.named().into_owned());
        set
    }

    /// In the set, on a condition.
    pub(crate) fn on(&self, condition: &Value) -> SubjectSet {
        self.each(|value| value.and(condition.clone()))
    }

    /// The steps of the chain alone, without the names or the faults that come with them.
    pub(crate) fn bare(&self) -> SubjectSet {
        self.each(|value| match value {
            Value::Maybe(_) => Value::Maybe(Missing::default()),
            Value::Fault(_) => Value::Fault(Fault::Cycle),
            decided => decided,
        })
    }

    /// `change` leaves [`Value::No`] as it is.
    fn each(&self, change: impl Fn(Value) -> Value) -> SubjectSet {
        let mut set = SubjectSet::everyone(change(self.star.clone()));
        for (value, subjects) in &self.parts {
            set.add(change(value.clone()), subjects.clone());
        }
        set.name(|| self.named().into_owned());
        set
    }

    fn pointwise(&self, other: &SubjectSet, operator: fn(Value, Value) -> Value) -> SubjectSet {
        let mut set = SubjectSet::everyone(operator(self.star.clone(), other.star.clone()));
        for (mine, subjects) in &self.parts {
            for (theirs, others) in &other.parts {
                set.add(operator(mine.clone(), theirs.clone()), subjects & others);
            }
        }
        let (here, there) = (self.mentioned(), other.mentioned());
        for (mine, subjects) in &self.parts {
            set.add(operator(mine.clone(), other.star.clone()), subjects - there.as_ref());
        }
        for (theirs, others) in &other.parts {
            set.add(operator(self.star.clone(), theirs.clone()), others - here.as_ref());
        }
        set
    }

    /// The members, where all are certain and there is no wildcard.
    fn certain(&self) -> Option<&RoaringBitmap> {
        match self.parts.as_slice() {
            [(Value::Yes, subjects)] if self.star.is_no() => Some(subjects),
            _ => None,
        }
    }

    /// Puts subjects that have no part yet where they belong.
    fn add(&mut self, value: Value, subjects: RoaringBitmap) {
        if value == self.star || subjects.is_empty() {
            return;
        }
        match self.parts.iter_mut().find(|(of, _)| *of == value) {
            Some((_, part)) => *part |= subjects,
            None => self.parts.push((value, subjects)),
        }
    }

    fn name(&mut self, named: impl FnOnce() -> RoaringBitmap) {
        if !self.star.is_no() {
            self.named = named();
        }
    }
}

/// The same value for every subject, and the same listing.
impl PartialEq for SubjectSet {
    fn eq(&self, other: &SubjectSet) -> bool {
        self.star == other.star
            && self.parts.len() == other.parts.len()
            && self.named == other.named
            && self.parts.iter().all(|part| other.parts.contains(part))
    }
}
