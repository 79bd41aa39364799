//! Terms that many edges have in common, kept once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use stonetown_storage::EdgeState;
use stonetown_tuple::{CaveatRef, Source};

use super::table::NewTerm;
use crate::edges::{Term, Terms};

/// Shares caveats with equal contexts, and whole terms where they are nothing but a caveat.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Contexts come from clients, so their hash has a secret.
    secret: RandomState,
    caveats: FxHashMap<u64, SmallVec<[Arc<CaveatRef>; 1]>>,
    /// By the address of a caveat that `caveats` holds.
    terms: FxHashMap<usize, Arc<Terms>>,
    purge_at: usize,
}

/// Below so many caveats it is not worth looking for those that are no longer used.
const PURGE_MIN: usize = 4096;

impl Pool {
    /// What a source says of an edge, shared where possible.
    pub(super) fn term(&mut self, source: Source, state: Option<&EdgeState>) -> NewTerm {
        let Some(state) = state else { return NewTerm::Ended };
        match self.terms(SmallVec::from_elem(Term::new(source, state), 1)) {
            None => NewTerm::Plain,
            Some(terms) => NewTerm::With(terms),
        }
    }

    /// The terms of an edge, shared where possible; `None` if it simply holds.
    pub(super) fn terms(&mut self, mut terms: SmallVec<[Term; 1]>) -> Option<Arc<Terms>> {
        if *terms == [Term::STANDING] {
            return None;
        }
        for term in &mut terms {
            if let Some(caveat) = &mut term.caveat {
                *caveat = self.caveat(caveat);
            }
        }
        let only_caveat = match terms.as_slice() {
            [Term { source: Source::STANDING, caveat: Some(caveat), not_before: None, expires_at: None }] => {
                Some(Arc::as_ptr(caveat) as usize)
            }
            _ => None,
        };
        let Some(address) = only_caveat else { return Some(Arc::new(Terms(terms))) };
        Some(self.terms.entry(address).or_insert_with(|| Arc::new(Terms(terms))).clone())
    }

    fn caveat(&mut self, caveat: &Arc<CaveatRef>) -> Arc<CaveatRef> {
        if self.caveats.len() >= self.purge_at.max(PURGE_MIN) {
            self.purge();
        }
        let mut hasher = self.secret.build_hasher();
        caveat.name.hash(&mut hasher);
        caveat.context.hash(&mut hasher);
        let same_hash = self.caveats.entry(hasher.finish()).or_default();
        if let Some(known) = same_hash.iter().find(|known| *known == caveat) {
            return known.clone();
        }
        same_hash.push(caveat.clone());
        caveat.clone()
    }

    fn purge(&mut self) {
        self.terms.retain(|_, terms| Arc::strong_count(terms) > 1);
        self.caveats.retain(|_, same_hash| {
            same_hash.retain(|caveat| Arc::strong_count(caveat) > 1);
            !same_hash.is_empty()
        });
        self.purge_at = self.caveats.len() * 2;
    }
}
