//! Edges as evaluators see them: the other end of a relationship and the terms under which it holds.
//!
//! Most relationships hold without terms, so a run of edges is a slice of ordinals, with a slice of terms beside it only
//! where some edge of it has any.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use stonetown_storage::{Edge, EdgeState, Ordinal};
use stonetown_tuple::{CaveatRef, Source, Timestamp};

use crate::fault::{PlantedFault, planted};

/// The terms of one relationship: it holds while any of them does. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms(pub SmallVec<[Term; 1]>);

/// What one source says of a relationship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Where the relationship comes from.
    pub source: Source,
    /// Its caveat.
    pub caveat: Option<Arc<CaveatRef>>,
    /// When it begins to hold.
    pub not_before: Option<Timestamp>,
    /// When it ceases to hold.
    pub expires_at: Option<Timestamp>,
}

/// One relationship, seen from one of its ends.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The other end.
    pub other: Ordinal,
    /// Its terms; `None` if it simply holds.
    pub terms: Option<&'a Terms>,
}

/// A run of edges of one row, ascending by the other end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    others: Box<[u32]>,
    /// Empty, or as long as `others`.
    terms: Box<[Option<Arc<Terms>>]>,
}

/// A borrowed [`Span`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpanRef<'a> {
    pub(crate) others: &'a [u32],
    /// Empty, or as long as `others`.
    pub(crate) terms: &'a [Option<Arc<Terms>>],
}

/// Puts edges together that come in ascending order of (other end, source).
#[derive(Debug, Default)]
pub(crate) struct SpanBuilder {
    others: Vec<u32>,
    terms: Vec<Option<Arc<Terms>>>,
    has_terms: bool,
    open: Option<(u32, SmallVec<[Term; 1]>)>,
}

impl Term {
    /// A plain relationship of the standing source.
    pub(crate) const STANDING: Term =
        Term { source: Source::STANDING, caveat: None, not_before: None, expires_at: None };

    pub(crate) fn new(source: Source, state: &EdgeState) -> Term {
        Term { source, caveat: state.caveat.clone(), not_before: state.not_before, expires_at: state.expires_at }
    }

    /// Whether it holds at `now`, its caveat aside.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        let has_begun = self.not_before.is_none_or(|start| start <= now) || planted(PlantedFault::StartIgnored);
        let has_ended = self.expires_at.is_some_and(|end| end <= now) && !planted(PlantedFault::ExpiryIgnored);
        has_begun && !has_ended
    }

    /// When that changes next, after `now`.
    pub(crate) fn changes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let start = self.not_before.filter(|start| *start > now);
        start.or(self.expires_at.filter(|end| *end > now))
    }
}

impl From<&Edge> for Term {
    fn from(edge: &Edge) -> Term {
        Term {
            source: edge.source,
            caveat: edge.caveat.clone(),
            not_before: edge.not_before,
            expires_at: edge.expires_at,
        }
    }
}

impl Terms {
    /// The terms of an edge, `None` for a plain relationship of the standing source.
    pub(crate) fn of(terms: SmallVec<[Term; 1]>) -> Option<Arc<Terms>> {
        if *terms == [Term::STANDING] { None } else { Some(Arc::new(Terms(terms))) }
    }

    /// The terms of an edge that is there, one by one.
    pub(crate) fn list(terms: Option<&Terms>) -> SmallVec<[Term; 1]> {
        terms.map_or_else(|| smallvec![Term::STANDING], |terms| terms.0.clone())
    }

    /// An edge after one source has said something new of it, or nothing any more. An edge without terms is not there.
    pub(crate) fn changed(
        edge: Option<SmallVec<[Term; 1]>>,
        source: Source,
        term: Option<Term>,
    ) -> Option<SmallVec<[Term; 1]>> {
        let mut terms = edge.unwrap_or_default();
        if planted(PlantedFault::SourcesOverwriteEachOther) && term.is_some() {
            terms.clear();
        }
        let at = terms.partition_point(|known| known.source < source);
        if terms.get(at).is_some_and(|known| known.source == source) {
            terms.remove(at);
        }
        if let Some(term) = term {
            terms.insert(at, term);
        }
        (!terms.is_empty()).then_some(terms)
    }

    /// Whether any of them begins or ends at some time.
    pub(crate) fn has_times(&self) -> bool {
        self.0.iter().any(|term| term.not_before.is_some() || term.expires_at.is_some())
    }
}

impl Span {
    pub(crate) fn view(&self) -> SpanRef<'_> {
        SpanRef { others: &self.others, terms: &self.terms }
    }
}

impl<'a> SpanRef<'a> {
    pub(crate) fn len(&self) -> usize {
        self.others.len()
    }

    #[inline]
    pub(crate) fn link(&self, at: usize) -> Link<'a> {
        Link { other: Ordinal(self.others[at]), terms: self.terms.get(at).and_then(Option::as_deref) }
    }

    pub(crate) fn shared_terms(&self, at: usize) -> Option<&'a Arc<Terms>> {
        self.terms.get(at).and_then(Option::as_ref)
    }

    /// The edge to `other`.
    pub(crate) fn find(&self, other: u32) -> Option<Link<'a>> {
        self.others.binary_search(&other).ok().map(|at| self.link(at))
    }

    /// The first index from `at` on whose other end is not below `other`; quick when it is near.
    pub(crate) fn gallop(&self, at: usize, other: u32) -> usize {
        gallop(self.others, at, other)
    }

    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> SpanRef<'a> {
        let terms = if self.terms.is_empty() { self.terms } else { &self.terms[range.clone()] };
        SpanRef { others: &self.others[range], terms }
    }
}

/// The first index from `at` on of a number that is not below `number`, in numbers that ascend; quick when it is near.
#[inline]
pub(crate) fn gallop(numbers: &[u32], at: usize, number: u32) -> usize {
    let rest = &numbers[at..];
    let mut bound = 1;
    while bound < rest.len() && rest[bound - 1] < number {
        bound *= 2;
    }
    let (low, high) = (bound / 2, bound.min(rest.len()));
    at + low + rest[low..high].partition_point(|known| *known < number)
}

impl SpanBuilder {
    /// Takes what one source says of an edge.
    pub(crate) fn push(&mut self, other: u32, term: Term) {
        match &mut self.open {
            Some((open, terms)) if *open == other => terms.push(term),
            _ => {
                self.close();
                self.open = Some((other, smallvec![term]));
            }
        }
    }

    /// Takes a whole edge.
    pub(crate) fn push_edge(&mut self, other: u32, terms: Option<Arc<Terms>>) {
        self.close();
        if terms.is_some() && !self.has_terms {
            self.has_terms = true;
            self.terms.resize(self.others.len(), None);
        }
        self.others.push(other);
        if self.has_terms {
            self.terms.push(terms);
        }
    }

    /// Takes a run of whole edges.
    pub(crate) fn push_span(&mut self, span: SpanRef<'_>) {
        for at in 0..span.len() {
            self.push_edge(span.others[at], span.shared_terms(at).cloned());
        }
    }

    /// How many edges it has been given.
    pub(crate) fn len(&self) -> usize {
        self.others.len() + usize::from(self.open.is_some())
    }

    /// The other end of the last edge.
    pub(crate) fn last(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.0).or_else(|| self.others.last().copied())
    }

    pub(crate) fn finish(mut self) -> Span {
        self.close();
        Span { others: self.others.into(), terms: self.terms.into() }
    }

    fn close(&mut self) {
        if let Some((other, terms)) = self.open.take() {
            self.push_edge(other, Terms::of(terms));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_several_sources_are_one_edge() {
        let grant = Term { source: Source(7), ..Term::STANDING };
        let mut builder = SpanBuilder::default();
        for (other, term) in [(1, Term::STANDING), (4, Term::STANDING), (4, grant.clone()), (9, grant.clone())] {
            builder.push(other, term);
        }
        let span = builder.finish();
        let span = span.view();
        assert_eq!(span.others, [1, 4, 9]);
        assert!(span.link(0).terms.is_none());
        assert_eq!(span.link(1).terms.unwrap().0.as_slice(), [Term::STANDING, grant.clone()]);
        assert_eq!(span.find(9).unwrap().terms.unwrap().0.as_slice(), [grant]);
        assert!(span.find(5).is_none());
    }

    #[test]
    fn one_source_changes_without_the_others() {
        let grant = Term { source: Source(7), ..Term::STANDING };
        let both = Terms::changed(Some(Terms::list(None)), Source(7), Some(grant.clone())).unwrap();
        assert_eq!(both.as_slice(), [Term::STANDING, grant.clone()]);
        assert_eq!(Terms::changed(Some(both), Source::STANDING, None).unwrap().as_slice(), [grant]);
        assert_eq!(Terms::changed(Some(Terms::list(None)), Source::STANDING, None), None);
    }

    #[test]
    fn gallop_finds_what_a_search_finds() {
        let others: Vec<u32> = (0..200).map(|n| n * 3).collect();
        let span = SpanRef { others: &others, terms: &[] };
        for at in [0, 1, 50, 199, 200] {
            for other in 0..610 {
                let expected = at.max(others.partition_point(|known| *known < other));
                assert_eq!(span.gallop(at, other), expected, "{at} {other}");
            }
        }
    }
}
