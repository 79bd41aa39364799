//! One table in memory: a segment per direction, and the rows that were written since over it.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use rpds::HashTrieMapSync;
use rustc_hash::FxHasher;
use stonetown_storage::Direction;
use stonetown_tuple::Source;

use super::segment::{Row, Segment, WideRow};
use crate::edges::{Link, Span, SpanBuilder, SpanRef, Term, Terms};
use crate::fault::{PlantedFault, planted};

/// A row with more edges is kept in chunks when it is written to.
const CHUNK_EDGES_MAX: usize = 512;

type Rows = HashTrieMapSync<u32, Row, BuildHasherDefault<FxHasher>>;

/// A table at one revision. Cheap to clone: everything is shared.
#[derive(Debug, Clone, Default)]
pub(super) struct TableState {
    forward: Side,
    reverse: Side,
    edges: u64,
}

/// A table in one direction.
#[derive(Debug, Clone, Default)]
struct Side {
    base: Arc<Segment>,
    /// These rows replace those of the base.
    written: Rows,
    written_edges: usize,
}

/// What became of one edge.
#[derive(Debug, Clone)]
pub(super) struct EdgeChange {
    pub(super) resource: u32,
    pub(super) subject: u32,
    pub(super) source: Source,
    pub(super) term: NewTerm,
}

/// What a source says of an edge from now on.
#[derive(Debug, Clone)]
pub(super) enum NewTerm {
    Ended,
    Plain,
    /// The only term of these.
    With(Arc<Terms>),
}

/// A row as it is stored.
pub(crate) enum StoredRow<'a> {
    Span(SpanRef<'a>),
    Wide(&'a WideRow),
}

impl NewTerm {
    fn to_term(&self, source: Source) -> Option<Term> {
        match self {
            NewTerm::Ended => None,
            NewTerm::Plain => Some(Term { source, ..Term::STANDING }),
            NewTerm::With(terms) => terms.0.first().cloned(),
        }
    }
}

impl<'a> StoredRow<'a> {
    pub(super) fn empty() -> Self {
        StoredRow::Span(SpanRef::default())
    }

    pub(super) fn find(&self, other: u32) -> Option<Link<'a>> {
        match self {
            StoredRow::Span(span) => span.find(other),
            StoredRow::Wide(WideRow { chunks, .. }) => {
                let at = chunks.partition_point(|chunk| chunk.view().others.last() < Some(&other));
                chunks.get(at)?.view().find(other)
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            StoredRow::Span(span) => span.len(),
            StoredRow::Wide(wide) => wide.edges,
        }
    }
}

impl TableState {
    pub(super) fn new(forward: Segment) -> TableState {
        let edges = forward.edges() as u64;
        let reverse = Side::new(forward.transposed());
        TableState { forward: Side::new(forward), reverse, edges }
    }

    pub(super) fn edges(&self) -> u64 {
        self.edges
    }

    #[inline]
    pub(super) fn row(&self, direction: Direction, row: u32) -> StoredRow<'_> {
        match direction {
            Direction::Forward => self.forward.row(row),
            Direction::Reverse => self.reverse.row(row),
        }
    }

    /// Bytes on the heap, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.forward.bytes() + self.reverse.bytes()
    }

    /// The table after some changes; later ones of the same edge and source win.
    pub(super) fn changed(&self, changes: &mut [EdgeChange]) -> Option<TableState> {
        changes.sort_by_key(|change| (change.resource, change.subject));
        let (forward, gained) = self.forward.changed(changes, |change| (change.resource, change.subject))?;
        changes.sort_by_key(|change| (change.subject, change.resource));
        let (reverse, _) = self.reverse.changed(changes, |change| (change.subject, change.resource))?;
        Some(TableState { forward, reverse, edges: self.edges.checked_add_signed(gained)? })
    }

    /// Whether so many rows have been written that the base should be built anew.
    pub(super) fn is_worn(&self, share: f64, edges_min: usize) -> bool {
        [&self.forward, &self.reverse].iter().any(|side| {
            let written = side.written_edges + side.written.size();
            written > edges_min && written as f64 > share * side.base.edges() as f64
        })
    }

    /// The same table with nothing written over its base. Takes time in proportion to the table.
    pub(super) fn rebuilt(&self) -> Option<TableState> {
        Some(TableState { forward: self.forward.rebuilt(&[])?, reverse: self.reverse.rebuilt(&[])?, edges: self.edges })
    }

    /// This table on the base of `rebuilt`, which was made from `old`, an earlier state of this table.
    pub(super) fn rebased(&self, old: &TableState, rebuilt: &TableState) -> TableState {
        TableState {
            forward: self.forward.rebased(&old.forward, &rebuilt.forward),
            reverse: self.reverse.rebased(&old.reverse, &rebuilt.reverse),
            edges: self.edges,
        }
    }
}

impl Side {
    fn new(base: Segment) -> Side {
        Side { base: Arc::new(base), written: Rows::default(), written_edges: 0 }
    }

    #[inline]
    fn row(&self, row: u32) -> StoredRow<'_> {
        if !self.written.is_empty()
            && let Some(written) = self.written.get(&row)
        {
            return match written {
                Row::Small(span) => StoredRow::Span(span.view()),
                Row::Wide(wide) => StoredRow::Wide(wide),
            };
        }
        StoredRow::Span(self.base.row(row))
    }

    fn bytes(&self) -> usize {
        const ROW_BYTES: usize = 128;
        self.base.bytes() + self.written_edges * 8 + self.written.size() * ROW_BYTES
    }

    /// The side after changes that ascend by `key`, (row, other); and by how many edges it has grown.
    fn changed(&self, changes: &[EdgeChange], key: fn(&EdgeChange) -> (u32, u32)) -> Option<(Side, i64)> {
        let mut gained = 0;
        let mut rows = Vec::new();
        for of_row in changes.chunk_by(|a, b| key(a).0 == key(b).0) {
            let row = key(&of_row[0]).0;
            let old = self.row(row);
            let new = match old {
                StoredRow::Span(span) => changed_span(span, of_row, key),
                StoredRow::Wide(wide) => changed_chunks(&wide.chunks, of_row, key),
            };
            gained += new.edges() as i64 - old.len() as i64;
            rows.push((row, new));
        }
        // A change as large as the table itself is quicker to merge than to lay over.
        if rows.len() > CHUNK_EDGES_MAX && changes.len() * 4 > self.base.edges() {
            return Some((self.rebuilt(&rows)?, gained));
        }
        let mut side = self.clone();
        for (row, new) in rows {
            side.written_edges += new.edges();
            side.written_edges -= side.written.get(&row).map_or(0, Row::edges);
            side.written.insert_mut(row, new);
        }
        Some((side, gained))
    }

    /// The side with nothing written over its base. Of a row, what `newer` says counts most; it ascends by row.
    fn rebuilt(&self, newer: &[(u32, Row)]) -> Option<Side> {
        let is_older = |row: &u32| newer.binary_search_by_key(row, |(row, _)| *row).is_err();
        let mut rows: Vec<(u32, &Row)> = newer.iter().map(|(row, new)| (*row, new)).collect();
        if !planted(PlantedFault::RebuildLosesWrites) {
            rows.extend(self.written.iter().filter(|(row, _)| is_older(row)).map(|(row, written)| (*row, written)));
        }
        rows.sort_unstable_by_key(|(row, _)| *row);
        Some(Side::new(self.base.replaced(rows)?))
    }

    fn rebased(&self, old: &Side, rebuilt: &Side) -> Side {
        if !Arc::ptr_eq(&self.base, &old.base) {
            // It has a newer base by now, in which writes since `old` lie.
            return self.clone();
        }
        let mut side = rebuilt.clone();
        for (row, written) in self.written.iter() {
            if !old.written.get(row).is_some_and(|old| old.is_same(written)) {
                side.written_edges += written.edges();
                side.written.insert_mut(*row, written.clone());
            }
        }
        side
    }
}

fn changed_span(span: SpanRef<'_>, changes: &[EdgeChange], key: fn(&EdgeChange) -> (u32, u32)) -> Row {
    if span.len() > CHUNK_EDGES_MAX {
        let mut chunks = Vec::new();
        push_chunks(span, &mut chunks);
        return changed_chunks(&chunks, changes, key);
    }
    let span = merged(span, changes, key);
    if span.view().len() <= CHUNK_EDGES_MAX {
        return Row::Small(Arc::new(span));
    }
    let mut chunks = Vec::new();
    push_chunks(span.view(), &mut chunks);
    Row::wide(chunks)
}

fn changed_chunks(chunks: &[Arc<Span>], changes: &[EdgeChange], key: fn(&EdgeChange) -> (u32, u32)) -> Row {
    let mut new = Vec::with_capacity(chunks.len() + 1);
    let mut rest = changes;
    for (chunk, at) in chunks.iter().zip(1..) {
        let span = chunk.view();
        let last = span.others.last().copied().unwrap_or(0);
        let mine = if at == chunks.len() { rest.len() } else { rest.partition_point(|change| key(change).1 <= last) };
        let (mine, others) = rest.split_at(mine);
        rest = others;
        if mine.is_empty() {
            new.push(chunk.clone());
            continue;
        }
        let span = merged(span, mine, key);
        push_chunks(span.view(), &mut new);
    }
    if new.is_empty() { Row::Small(Arc::default()) } else { Row::wide(new) }
}

/// Cuts a run into chunks that have room to grow.
fn push_chunks(span: SpanRef<'_>, chunks: &mut Vec<Arc<Span>>) {
    let count = span.len().div_ceil(CHUNK_EDGES_MAX);
    if count == 0 {
        return;
    }
    let size = span.len().div_ceil(count);
    for start in (0..span.len()).step_by(size) {
        let mut builder = SpanBuilder::default();
        builder.push_span(span.slice(start..(start + size).min(span.len())));
        chunks.push(Arc::new(builder.finish()));
    }
}

fn merged(span: SpanRef<'_>, changes: &[EdgeChange], key: fn(&EdgeChange) -> (u32, u32)) -> Span {
    let mut builder = SpanBuilder::default();
    let mut at = 0;
    for of_edge in changes.chunk_by(|a, b| key(a).1 == key(b).1) {
        let other = key(&of_edge[0]).1;
        let next = span.gallop(at, other);
        builder.push_span(span.slice(at..next));
        at = next;
        let mut edge = None;
        if span.others.get(at) == Some(&other) {
            edge = Some(Terms::list(span.shared_terms(at).map(Arc::as_ref)));
            at += 1;
        }
        for change in of_edge {
            if planted(PlantedFault::IndexKeepsDeleted) && matches!(change.term, NewTerm::Ended) {
                continue;
            }
            edge = Terms::changed(edge, change.source, change.term.to_term(change.source));
        }
        match (edge, of_edge.last().map(|change| &change.term)) {
            (None, _) => {}
            (Some(terms), Some(NewTerm::With(shared))) if terms == shared.0 => {
                builder.push_edge(other, Some(shared.clone()));
            }
            (Some(terms), _) => builder.push_edge(other, Terms::of(terms)),
        }
    }
    builder.push_span(span.slice(at..span.len()));
    builder.finish()
}
