//! The immutable part of a table in one direction: all rows behind each other, as compressed sparse rows.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::edges::{Span, SpanRef, Terms};

/// Rows of a table in one direction.
#[derive(Debug, Default)]
pub(super) struct Segment {
    places: Places,
    /// Where each place begins in `others`, and the end of the last.
    offsets: Box<[u32]>,
    others: Box<[u32]>,
    /// Empty if no edge has terms, else as long as `others`.
    terms: Box<[Option<Arc<Terms>>]>,
    bytes: usize,
}

/// Where to find a row among the offsets.
#[derive(Debug, Default)]
enum Places {
    /// Every row up to the last has a place, most of them edges.
    #[default]
    Direct,
    /// Only rows with edges have a place.
    Listed(FxHashMap<u32, u32>),
}

/// A table is listed rather than direct when fewer than one in so many rows have edges.
const DIRECT_ONE_IN: usize = 4;
/// What an edge's own terms take, roughly, shared between two directions.
const TERMS_BYTES: usize = 64;

impl Segment {
    /// A row; empty if there is none.
    #[inline]
    pub(super) fn row(&self, row: u32) -> SpanRef<'_> {
        let place = match &self.places {
            Places::Direct => row as usize,
            Places::Listed(places) => match places.get(&row) {
                Some(place) => *place as usize,
                None => return SpanRef::default(),
            },
        };
        match self.offsets.get(place..place + 2) {
            Some(ends) => self.span().slice(ends[0] as usize..ends[1] as usize),
            None => SpanRef::default(),
        }
    }

    pub(super) fn edges(&self) -> usize {
        self.others.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same edges seen from the other end.
    pub(super) fn transposed(&self) -> Segment {
        let bound = self.others.iter().max().map_or(0, |last| *last as usize + 1);
        let mut offsets = vec![0u32; bound + 1];
        for other in &self.others {
            offsets[*other as usize + 1] += 1;
        }
        for at in 0..bound {
            offsets[at + 1] += offsets[at];
        }
        let mut free = offsets.clone();
        let mut others = vec![0; self.others.len()];
        let mut terms = vec![None; self.terms.len()];
        // Rows come in ascending order, so every new row is filled in ascending order, too.
        for (row, span) in self.rows() {
            for at in 0..span.len() {
                let place = &mut free[span.others[at] as usize];
                others[*place as usize] = row;
                if let Some(shared) = span.shared_terms(at) {
                    terms[*place as usize] = Some(shared.clone());
                }
                *place += 1;
            }
        }
        let used = offsets.windows(2).filter(|ends| ends[0] != ends[1]).count();
        if used * DIRECT_ONE_IN >= bound {
            return Segment::new(Places::Direct, offsets, others, terms);
        }
        let filled = (0..bound).filter(|row| offsets[*row] != offsets[row + 1]);
        let places = filled.clone().map(|row| row as u32).zip(0..).collect();
        let mut starts: Vec<u32> = filled.map(|row| offsets[row]).collect();
        starts.push(others.len() as u32);
        Segment::new(Places::Listed(places), starts, others, terms)
    }

    /// A new segment in which some rows are replaced. `changed` ascends by row; an empty row removes the old.
    pub(super) fn replaced<'r>(&self, changed: impl IntoIterator<Item = (u32, &'r Row)>) -> Option<Segment> {
        let mut builder = SegmentBuilder::default();
        let mut kept = self.rows().peekable();
        for (row, new) in changed {
            while let Some((row, span)) = kept.next_if(|kept| kept.0 < row) {
                builder.push_span(row, span);
            }
            kept.next_if(|kept| kept.0 == row);
            new.spans().for_each(|span| builder.push_span(row, span));
        }
        kept.for_each(|(row, span)| builder.push_span(row, span));
        builder.finish()
    }

    fn new(places: Places, offsets: Vec<u32>, others: Vec<u32>, terms: Vec<Option<Arc<Terms>>>) -> Segment {
        let listed = match &places {
            Places::Direct => 0,
            Places::Listed(places) => places.capacity() * 9,
        };
        let own = |terms: &&Option<Arc<Terms>>| terms.as_ref().is_some_and(|terms| terms.has_times());
        let own_terms = terms.iter().filter(own).count() * TERMS_BYTES;
        let bytes = listed + offsets.len() * 4 + others.len() * 4 + terms.len() * 8 + own_terms;
        Segment { places, offsets: offsets.into(), others: others.into(), terms: terms.into(), bytes }
    }

    fn span(&self) -> SpanRef<'_> {
        SpanRef { others: &self.others, terms: &self.terms }
    }

    /// All rows with edges, ascending.
    fn rows(&self) -> impl Iterator<Item = (u32, SpanRef<'_>)> {
        let mut listed: Vec<u32> = Vec::new();
        let mut direct = 0;
        match &self.places {
            Places::Direct => direct = self.offsets.len().saturating_sub(1) as u32,
            Places::Listed(places) => {
                listed.extend(places.keys());
                listed.sort_unstable();
            }
        }
        let rows = listed.into_iter().chain(0..direct);
        rows.map(|row| (row, self.row(row))).filter(|(_, span)| span.len() > 0)
    }
}

/// Builds a segment from rows that come in ascending order.
#[derive(Debug, Default)]
pub(super) struct SegmentBuilder {
    rows: Vec<u32>,
    starts: Vec<u32>,
    others: Vec<u32>,
    terms: Vec<Option<Arc<Terms>>>,
}

impl SegmentBuilder {
    pub(super) fn push(&mut self, row: u32, other: u32, terms: Option<Arc<Terms>>) {
        self.begin(row);
        if terms.is_some() || !self.terms.is_empty() {
            self.terms.resize(self.others.len(), None);
            self.terms.push(terms);
        }
        self.others.push(other);
    }

    pub(super) fn push_span(&mut self, row: u32, span: SpanRef<'_>) {
        if span.len() == 0 {
            return;
        }
        self.begin(row);
        if !span.terms.is_empty() || !self.terms.is_empty() {
            self.terms.resize(self.others.len(), None);
            self.terms.extend_from_slice(span.terms);
        }
        self.others.extend_from_slice(span.others);
        if !self.terms.is_empty() {
            self.terms.resize(self.others.len(), None);
        }
    }

    pub(super) fn edges(&self) -> usize {
        self.others.len()
    }

    /// The segment, or nothing if it has more edges than a segment can number.
    pub(super) fn finish(self) -> Option<Segment> {
        let SegmentBuilder { rows, mut starts, others, terms } = self;
        let end = u32::try_from(others.len()).ok()?;
        let bound = rows.last().map_or(0, |last| *last as usize + 1);
        if rows.len() * DIRECT_ONE_IN < bound {
            let places = rows.iter().copied().zip(0..).collect();
            starts.push(end);
            return Some(Segment::new(Places::Listed(places), starts, others, terms));
        }
        let mut offsets = Vec::with_capacity(bound + 1);
        for (row, start) in rows.iter().zip(&starts) {
            // Rows in between are empty: they begin where this one does.
            offsets.resize(*row as usize + 1, *start);
        }
        offsets.push(end);
        Some(Segment::new(Places::Direct, offsets, others, terms))
    }

    fn begin(&mut self, row: u32) {
        if self.rows.last() != Some(&row) {
            self.rows.push(row);
            // An offset too great for its type is found out by `finish`.
            self.starts.push(self.others.len() as u32);
        }
    }
}

/// A row that was written since the segment beneath it was built.
#[derive(Debug, Clone)]
pub(super) enum Row {
    /// In one piece.
    Small(Arc<Span>),
    /// In pieces, so that a write copies only one of them.
    Wide(Arc<WideRow>),
}

/// A row in pieces.
#[derive(Debug)]
pub(crate) struct WideRow {
    /// None is empty.
    pub(crate) chunks: Vec<Arc<Span>>,
    /// Edges of all together.
    pub(crate) edges: usize,
}

impl Row {
    /// A row of the pieces, none of which is empty.
    pub(super) fn wide(chunks: Vec<Arc<Span>>) -> Row {
        let edges = chunks.iter().map(|chunk| chunk.view().len()).sum();
        Row::Wide(Arc::new(WideRow { chunks, edges }))
    }

    pub(super) fn edges(&self) -> usize {
        match self {
            Row::Small(span) => span.view().len(),
            Row::Wide(wide) => wide.edges,
        }
    }

    /// The pieces.
    pub(super) fn spans(&self) -> impl Iterator<Item = SpanRef<'_>> {
        let chunks = match self {
            Row::Small(span) => std::slice::from_ref(span),
            Row::Wide(wide) => &wide.chunks,
        };
        chunks.iter().map(|chunk| chunk.view())
    }

    pub(super) fn is_same(&self, other: &Row) -> bool {
        match (self, other) {
            (Row::Small(a), Row::Small(b)) => Arc::ptr_eq(a, b),
            (Row::Wide(a), Row::Wide(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}
