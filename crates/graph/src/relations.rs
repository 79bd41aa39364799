//! Reading relationships, from wherever they are: the resident index, else the snapshot, with request-scoped relationships
//! laid over either.
//!
//! Performance-critical: on the resident path nothing here allocates or locks.

use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;
use stonetown_storage::{Direction, Ordinal, Snapshot, StorageError, TableId};
use stonetown_tuple::{ObjectId, ObjectRef, Source, SubjectId, SubjectRef};

use crate::edges::{Link, Span, SpanBuilder, SpanRef, Term, Terms};
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::fault::{PlantedFault, planted};
use crate::index::{IndexView, StoredRow, WideRow};
use crate::overlay::Overlay;
use crate::plan::{Plan, PlanTable, Slot, SubjectClass, TypeIndex};

/// Edges that are read from a snapshot at once.
const EDGES_PER_PAGE: usize = 512;
/// Ordinals from here on belong to one request. Storage would have to number four thousand million objects of one type
/// before the two could meet.
const LOCAL_FIRST: u32 = u32::MAX - (1 << 20);
/// An object that no relationship mentions, and that has no name.
pub(crate) const NOBODY: Ordinal = Ordinal(LOCAL_FIRST);

/// The relationships that one question sees.
pub struct Relations<'a> {
    plan: &'a Plan,
    snapshot: &'a dyn Snapshot,
    view: Option<&'a IndexView>,
    overlay: Option<&'a Overlay>,
    /// Objects that only the question itself mentions.
    strangers: SmallVec<[(TypeIndex, ObjectId, Ordinal); 2]>,
}

/// One row of a table: the edges of one object in one direction, ascending by the other end. Wildcard subjects come
/// first, as [`Ordinal::WILDCARD`].
pub struct Row<'a> {
    current: Current<'a>,
    at: usize,
    more: More<'a>,
}

/// The other end of an edge, and its terms if it has any.
type SharedEdge = (u32, Option<Arc<Terms>>);

enum Current<'a> {
    Borrowed(SpanRef<'a>),
    Owned(Span),
}

enum More<'a> {
    Nothing,
    /// Chunks, and how many edges they have together.
    Chunks(&'a [Arc<Span>], usize),
    Pages(Pages<'a>),
}

/// A row of a snapshot, read piece by piece.
#[derive(Clone, Copy)]
struct Pages<'a> {
    snapshot: &'a dyn Snapshot,
    table: TableId,
    direction: Direction,
    row: Ordinal,
    /// Where the next piece begins.
    from: Ordinal,
}

/// An edge that was looked for and found.
pub enum Found<'a> {
    /// It simply holds.
    Plain,
    /// It holds under terms, which the index or the overlay keeps.
    Kept(&'a Terms),
    /// It holds under terms that were put together just now.
    Made(Arc<Terms>),
}

impl Found<'_> {
    /// Its terms; `None` if it simply holds.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Found::Plain => None,
            Found::Kept(terms) => Some(terms),
            Found::Made(terms) => Some(terms),
        }
    }
}

/// Whether an ordinal stands for an object that storage does not know.
#[must_use]
pub fn is_local(ordinal: Ordinal) -> bool {
    ordinal.0 >= LOCAL_FIRST
}

impl<'a> Relations<'a> {
    /// What the evaluation sees.
    #[must_use]
    pub fn new(evaluation: &Evaluation<'a>) -> Self {
        Relations {
            plan: evaluation.plan,
            snapshot: evaluation.snapshot,
            view: evaluation.index,
            overlay: evaluation.overlay,
            strangers: SmallVec::new(),
        }
    }

    /// One row.
    ///
    /// # Errors
    /// When storage fails; also later, from [`Row::next`].
    pub fn row(&self, slot: Slot, direction: Direction, row: Ordinal) -> Result<Row<'a>, GraphError> {
        let stored = self.stored_row(self.plan.table(slot), direction, row);
        let Some(laid) = self.overlay.and_then(|overlay| overlay.row(slot, direction, row)) else {
            return Ok(stored);
        };
        let mut laid = laid.iter().peekable();
        let mut merged = SpanBuilder::default();
        let mut stored = stored;
        while let Some(link) = stored.next_shared()? {
            while let Some((other, term)) = laid.next_if(|(other, _)| **other < link.0) {
                merged.push(*other, term.clone());
            }
            match laid.next_if(|(other, _)| **other == link.0) {
                None => merged.push_edge(link.0, link.1),
                Some((other, term)) => merged.push_edge(*other, laid_over(link.1.as_deref(), term)),
            }
        }
        laid.for_each(|(other, term)| merged.push(*other, term.clone()));
        Ok(Row { current: Current::Owned(merged.finish()), at: 0, more: More::Nothing })
    }

    /// One edge, if it is there.
    ///
    /// # Errors
    /// When storage fails.
    pub fn find(&self, slot: Slot, resource: Ordinal, subject: Ordinal) -> Result<Option<Found<'a>>, GraphError> {
        let stored = self.find_stored(self.plan.table(slot), resource, subject)?;
        let laid = self.overlay.and_then(|overlay| overlay.row(slot, Direction::Forward, resource)?.get(&subject.0));
        let Some(laid) = laid else { return Ok(stored) };
        let terms = match stored {
            None => Terms::of(SmallVec::from_elem(laid.clone(), 1)),
            Some(found) => laid_over(found.terms(), laid),
        };
        Ok(Some(terms.map_or(Found::Plain, Found::Made)))
    }

    /// How many edges a row has, counted up to `cap` where counting takes reading.
    ///
    /// # Errors
    /// When storage fails.
    pub fn degree(&self, slot: Slot, direction: Direction, row: Ordinal, cap: usize) -> Result<usize, GraphError> {
        let laid = self.overlay.and_then(|overlay| overlay.row(slot, direction, row)).map_or(0, |laid| laid.len());
        let table = self.plan.table(slot);
        let stored = match (table.id, self.view) {
            (None, _) => 0,
            _ if is_local(row) => 0,
            (Some(id), Some(view)) => view.row(id, direction, row).len(),
            (Some(id), None) => {
                let mut count = 0;
                self.snapshot.scan_row(id, direction, row, Ordinal::WILDCARD, &mut |_| {
                    count += 1;
                    if count < cap { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                count
            }
        };
        Ok(stored + laid)
    }

    /// Whether a row may have edges; certain where the table is in memory.
    #[must_use]
    pub fn may_have(&self, slot: Slot, direction: Direction, row: Ordinal) -> bool {
        let stored = match (self.plan.table(slot).id, self.view) {
            (None, _) => false,
            _ if is_local(row) => false,
            (Some(id), Some(view)) => view.edges(id) > 0 && view.row(id, direction, row).len() > 0,
            (Some(_), None) => true,
        };
        stored || self.overlay.is_some_and(|overlay| overlay.row(slot, direction, row).is_some())
    }

    /// Whether a table is known to have no edges at all.
    #[must_use]
    pub fn is_empty(&self, slot: Slot) -> bool {
        let stored_empty = match (self.plan.table(slot).id, self.view) {
            (None, _) => true,
            (Some(id), Some(view)) => view.edges(id) == 0,
            (Some(_), None) => false,
        };
        let laid_empty = self.overlay.is_none_or(|overlay| overlay.is_empty(slot));
        stored_empty && (laid_empty || planted(PlantedFault::OverlayOfEmptyTableIgnored))
    }

    /// The ordinal of an object, `None` if no relationship mentions it.
    ///
    /// # Errors
    /// When storage fails.
    pub fn ordinal(&self, object_type: TypeIndex, id: &ObjectId) -> Result<Option<Ordinal>, GraphError> {
        if let Some(stored) = self.plan.object_type(object_type).id
            && let Some(ordinal) = self.snapshot.ordinal(stored, id.as_str())?
        {
            return Ok(Some(ordinal));
        }
        let laid = self.overlay.and_then(|overlay| overlay.ordinal(object_type, id));
        let stranger = || self.strangers.iter().find(|known| known.0 == object_type && known.1 == *id);
        Ok(laid.or_else(|| stranger().map(|known| known.2)))
    }

    /// The ordinal of an object that the question is about: one that no relationship mentions gets an ordinal that only
    /// this question knows.
    ///
    /// # Errors
    /// When storage fails.
    pub fn ordinal_or_local(&mut self, object_type: TypeIndex, id: &ObjectId) -> Result<Ordinal, GraphError> {
        if let Some(ordinal) = self.ordinal(object_type, id)? {
            return Ok(ordinal);
        }
        let used = self.overlay.map_or(0, Overlay::names) + self.strangers.len();
        let ordinal = Ordinal(u32::MAX - used as u32);
        self.strangers.push((object_type, id.clone(), ordinal));
        Ok(ordinal)
    }

    /// The resource of a question: its type and ordinal.
    ///
    /// # Errors
    /// An unknown type, or failing storage.
    pub fn resource(&mut self, resource: &ObjectRef) -> Result<(TypeIndex, Ordinal), GraphError> {
        let object_type = self.plan.find_type(&resource.object_type)?;
        Ok((object_type, self.ordinal_or_local(object_type, &resource.object_id)?))
    }

    /// The subject of a question: its class and ordinal.
    ///
    /// # Errors
    /// An unknown type or relation, or failing storage.
    pub fn subject(&mut self, subject: &SubjectRef) -> Result<(SubjectClass, Ordinal), GraphError> {
        let class = self.plan.find_class(subject.object_type(), subject.relation())?;
        let ordinal = match subject.object_id() {
            SubjectId::Wildcard => Ordinal::WILDCARD,
            SubjectId::Object(id) => self.ordinal_or_local(self.plan.type_of(class), id)?,
        };
        Ok((class, ordinal))
    }

    /// The id of an object, by an ordinal that these relations gave out; `*` for [`Ordinal::WILDCARD`].
    ///
    /// # Errors
    /// When storage fails.
    pub fn object_id(&self, object_type: TypeIndex, ordinal: Ordinal) -> Result<Arc<str>, GraphError> {
        if ordinal == Ordinal::WILDCARD {
            return Ok("*".into());
        }
        if is_local(ordinal) {
            let stranger = self.strangers.iter().find(|known| known.0 == object_type && known.2 == ordinal);
            let local = stranger.map(|known| &known.1);
            let local = local.or_else(|| self.overlay.and_then(|overlay| overlay.object_id(object_type, ordinal)));
            return local.map(|id| id.as_str().into()).ok_or_else(|| unknown_ordinal(ordinal).into());
        }
        let stored = self.plan.object_type(object_type).id.ok_or_else(|| unknown_ordinal(ordinal))?;
        Ok(self.snapshot.object_id(stored, ordinal)?)
    }

    fn stored_row(&self, table: &PlanTable, direction: Direction, row: Ordinal) -> Row<'a> {
        let Some(id) = table.id.filter(|_| !is_local(row)) else { return Row::of(SpanRef::default()) };
        match self.view {
            Some(view) => match view.row(id, direction, row) {
                StoredRow::Span(span) => Row::of(span),
                StoredRow::Wide(WideRow { chunks, edges }) => {
                    let more = More::Chunks(chunks, *edges);
                    Row { current: Current::Borrowed(SpanRef::default()), at: 0, more }
                }
            },
            None => {
                let from = Ordinal::WILDCARD;
                let pages = Pages { snapshot: self.snapshot, table: id, direction, row, from };
                Row { current: Current::Borrowed(SpanRef::default()), at: 0, more: More::Pages(pages) }
            }
        }
    }

    fn find_stored(
        &self,
        table: &PlanTable,
        resource: Ordinal,
        subject: Ordinal,
    ) -> Result<Option<Found<'a>>, GraphError> {
        let Some(id) = table.id.filter(|_| !is_local(resource) && !is_local(subject)) else { return Ok(None) };
        if let Some(view) = self.view {
            let link = view.find(id, resource, subject);
            return Ok(link.map(|link| link.terms.map_or(Found::Plain, Found::Kept)));
        }
        let mut terms: SmallVec<[Term; 1]> = SmallVec::new();
        self.snapshot.scan_row(id, Direction::Forward, resource, subject, &mut |edge| {
            if edge.subject != subject {
                return ControlFlow::Break(());
            }
            terms.push(Term::from(edge));
            ControlFlow::Continue(())
        })?;
        if terms.is_empty() {
            return Ok(None);
        }
        Ok(Some(Terms::of(terms).map_or(Found::Plain, Found::Made)))
    }
}

fn laid_over(stored: Option<&Terms>, laid: &Term) -> Option<Arc<Terms>> {
    let source = if planted(PlantedFault::OverlayJoinsStored) { Source(u64::MAX) } else { laid.source };
    Terms::changed(Some(Terms::list(stored)), source, Some(laid.clone())).and_then(Terms::of)
}

fn unknown_ordinal(ordinal: Ordinal) -> StorageError {
    StorageError::Damaged(format!("there is no object number {}", ordinal.0))
}

impl<'a> Row<'a> {
    fn of(span: SpanRef<'a>) -> Self {
        Row { current: Current::Borrowed(span), at: 0, more: More::Nothing }
    }

    /// The next edge.
    ///
    /// # Errors
    /// When storage fails.
    #[inline]
    #[allow(clippy::should_implement_trait)] // lends from itself
    pub fn next(&mut self) -> Result<Option<Link<'_>>, GraphError> {
        if self.at == self.span().len() && !self.refill()? {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(self.span().link(self.at - 1)))
    }

    /// The next edges at once, as long as they have no terms: their other ends, none if the next edge has terms or there is
    /// none.
    ///
    /// # Errors
    /// When storage fails.
    pub fn next_plain(&mut self) -> Result<&[u32], GraphError> {
        if self.at == self.span().len() && !self.refill()? {
            return Ok(&[]);
        }
        let from = self.at;
        let span = self.span();
        let count = match span.terms.get(from..) {
            None | Some([]) => span.len() - from,
            Some(terms) => terms.iter().take_while(|terms| terms.is_none()).count(),
        };
        self.at += count;
        Ok(&self.span().others[from..from + count])
    }

    /// Has [`Row::next`] give the edge again that it gave last.
    pub fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// How many edges are left, if that is known without reading them.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        let more = match &self.more {
            More::Nothing => 0,
            More::Chunks(_, edges) => *edges,
            More::Pages(_) => return None,
        };
        Some(self.span().len() - self.at + more)
    }

    /// Goes on at the first edge whose other end is not below `other`; never backwards.
    ///
    /// # Errors
    /// When storage fails.
    pub fn seek(&mut self, other: Ordinal) -> Result<(), GraphError> {
        loop {
            self.at = self.span().gallop(self.at, other.0);
            if self.at < self.span().len() {
                return Ok(());
            }
            match &mut self.more {
                More::Nothing => return Ok(()),
                More::Chunks(chunks, edges) => {
                    let skipped = chunks.partition_point(|chunk| chunk.view().others.last() < Some(&other.0));
                    *edges -= chunks[..skipped].iter().map(|chunk| chunk.view().len()).sum::<usize>();
                    *chunks = &chunks[skipped..];
                }
                More::Pages(pages) => pages.from = pages.from.max(other),
            }
            if !self.refill()? {
                return Ok(());
            }
        }
    }

    fn next_shared(&mut self) -> Result<Option<SharedEdge>, GraphError> {
        if self.at == self.span().len() && !self.refill()? {
            return Ok(None);
        }
        let (at, span) = (self.at, self.span());
        let edge = (span.others[at], span.shared_terms(at).cloned());
        self.at += 1;
        Ok(Some(edge))
    }

    #[inline]
    fn span(&self) -> SpanRef<'_> {
        match &self.current {
            Current::Borrowed(span) => *span,
            Current::Owned(span) => span.view(),
        }
    }

    /// Whether there is another edge; then `at` points to it.
    fn refill(&mut self) -> Result<bool, GraphError> {
        match &mut self.more {
            More::Nothing => Ok(false),
            More::Chunks(chunks, edges) => {
                let Some((first, rest)) = chunks.split_first() else { return Ok(false) };
                self.current = Current::Borrowed(first.view());
                self.at = 0;
                *edges -= first.view().len();
                *chunks = rest;
                Ok(true)
            }
            More::Pages(pages) => {
                let (page, last) = pages.read()?;
                if last {
                    self.more = More::Nothing;
                }
                let any = page.view().len() > 0;
                self.current = Current::Owned(page);
                self.at = 0;
                Ok(any)
            }
        }
    }
}

impl Pages<'_> {
    /// The next page, and whether it is the last.
    fn read(&mut self) -> Result<(Span, bool), GraphError> {
        let mut page = SpanBuilder::default();
        let mut next = None;
        let direction = self.direction;
        self.snapshot.scan_row(self.table, direction, self.row, self.from, &mut |edge| {
            let other = match direction {
                Direction::Forward => edge.subject,
                Direction::Reverse => edge.resource,
            };
            if page.len() == EDGES_PER_PAGE && page.last() != Some(other.0) {
                next = Some(other);
                return ControlFlow::Break(());
            }
            page.push(other.0, Term::from(edge));
            ControlFlow::Continue(())
        })?;
        self.from = next.unwrap_or(self.from);
        Ok((page.finish(), next.is_none()))
    }
}
