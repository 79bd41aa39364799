//! A model of a store too plain to be wrong: the whole state, copied for each revision.

use super::*;
use crate::DeleteByFilter;

/// What is stored: by relationship and source.
pub(super) type Contents = BTreeMap<(String, Source), (Relationship, Revision)>;

/// The history of one store.
#[derive(Default)]
pub(super) struct Model {
    /// The contents from each revision on at which they changed.
    pub(super) history: BTreeMap<Revision, Contents>,
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Done { count: u64, partial: bool },
    Exists,
    TooMany,
    Precondition,
}

impl Model {
    pub(super) fn at(&self, revision: Revision) -> Contents {
        self.history.range(..=revision).next_back().map(|(_, contents)| contents.clone()).unwrap_or_default()
    }

    /// Does what a transaction does, at `revision` if it succeeds.
    pub(super) fn apply(&mut self, revision: Revision, transaction: &Transaction) -> Outcome {
        let now = transaction.now;
        let mut contents = self.at(revision);
        for precondition in &transaction.preconditions {
            let (filter, wanted) = match precondition {
                stonetown_tuple::Precondition::MustMatch(filter) => (filter, true),
                stonetown_tuple::Precondition::MustNotMatch(filter) => (filter, false),
            };
            if contents.values().any(|(stored, _)| stored.is_live(now) && filter.matches(stored)) != wanted {
                return Outcome::Precondition;
            }
        }
        for StoredUpdate { operation, relationship, source } in &transaction.updates {
            let place = (key(relationship), *source);
            let there = contents.get(&place).is_some_and(|(stored, _)| is_there(stored, now));
            match operation {
                Operation::Create if there => return Outcome::Exists,
                Operation::Create | Operation::Touch => {
                    contents.insert(place, (relationship.clone(), revision));
                }
                Operation::Delete => contents.retain(|(text, _), _| *text != place.0),
            }
        }
        let mut outcome = Outcome::Done { count: 0, partial: false };
        if let Some(DeleteByFilter { filter, limit, partial }) = &transaction.delete {
            let mut doomed: Vec<String> = contents
                .iter()
                .filter(|(_, (stored, _))| is_there(stored, now) && filter.matches(stored))
                .map(|((text, _), _)| text.clone())
                .collect();
            doomed.dedup();
            let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
            let over = doomed.len() > limit;
            if over && !partial {
                return Outcome::TooMany;
            }
            outcome = Outcome::Done { count: doomed.len().min(limit) as u64, partial: over };
            // Which ones go when the limit cuts is the datastore's choice: the model takes all or, if cut, is told.
            if !over {
                contents.retain(|(text, _), _| !doomed.contains(text));
            }
        }
        self.history.insert(revision, contents);
        outcome
    }
}

fn is_there(relationship: &Relationship, now: Timestamp) -> bool {
    relationship.expires_at.is_none_or(|end| end > now)
}

/// A snapshot's contents as the model has them.
pub(super) fn contents(snapshot: &dyn Snapshot) -> Contents {
    stored(snapshot)
        .into_iter()
        .flat_map(|(text, copies)| {
            copies.into_iter().map(move |copy| ((text.clone(), copy.source), (copy.relationship, copy.written)))
        })
        .collect()
}
