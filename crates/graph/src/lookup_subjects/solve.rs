//! Solves equations of subject sets: cells that do not depend on each other one after the other, the others together.
//!
//! The walk is Tarjan's, without recursion: a cell is settled once all that it mentions is, or together with the cells
//! that it forms a cycle with.

use std::rc::Rc;

use crate::error::GraphError;
use crate::lookup_subjects::equations::{CellId, Equations, Term};
use crate::subject_set::SubjectSet;

/// What is known of each cell, by its number.
#[derive(Default)]
struct Progress {
    /// When the walk came to it.
    order: Vec<Option<u32>>,
    /// The earliest cell still open that it can reach.
    low: Vec<u32>,
    /// Its equation, until it is settled.
    terms: Vec<Option<Term>>,
    /// Its set, once it is settled.
    values: Vec<Option<Rc<SubjectSet>>>,
}

/// A cell on the way from the root, and the cells it mentions that are still to be visited.
struct Step {
    cell: usize,
    mentions: std::vec::IntoIter<CellId>,
}

/// The value of a cell; `None` when it depends on a cycle through the right side of an exclusion, where sets of subjects
/// are of no help: what lies on the cycle is decided for each subject by itself.
pub(super) fn solve(equations: &mut Equations<'_, '_>, root: CellId) -> Result<Option<Rc<SubjectSet>>, GraphError> {
    let mut progress = Progress::default();
    let (mut path, mut open, mut visited) = (Vec::new(), Vec::new(), 0);
    let mut next = Some(root);
    loop {
        if let Some(cell) = next.take() {
            path.push(progress.enter(equations, cell, visited)?);
            open.push(cell.0 as usize);
            visited += 1;
        }
        let Some(step) = path.last_mut() else { break };
        let cell = step.cell;
        if let Some(child) = step.mentions.next() {
            progress.grow(equations.len());
            let at = child.0 as usize;
            match progress.order[at] {
                None => next = Some(child),
                Some(order) if progress.values[at].is_none() => progress.low[cell] = progress.low[cell].min(order),
                Some(_) => {}
            }
            continue;
        }
        path.pop();
        if let Some(parent) = path.last() {
            progress.low[parent.cell] = progress.low[parent.cell].min(progress.low[cell]);
        }
        if progress.order[cell] == Some(progress.low[cell]) {
            let first = open.iter().rposition(|member| *member == cell).unwrap_or(0);
            if !progress.settle(equations, &open.split_off(first))? {
                return Ok(None);
            }
        }
    }
    Ok(progress.values[root.0 as usize].take())
}

impl Progress {
    fn grow(&mut self, cells: usize) {
        self.order.resize(cells, None);
        self.low.resize(cells, 0);
        self.terms.resize_with(cells, || None);
        self.values.resize(cells, None);
    }

    fn enter(&mut self, equations: &mut Equations<'_, '_>, cell: CellId, order: u32) -> Result<Step, GraphError> {
        let term = equations.write(cell)?;
        let mentions = term.cells();
        equations.checker.meter().bytes_held(term.bytes())?;
        self.grow(equations.len());
        let cell = cell.0 as usize;
        self.order[cell] = Some(order);
        self.low[cell] = order;
        self.terms[cell] = Some(term);
        Ok(Step { cell, mentions: mentions.into_iter() })
    }

    /// Finds the values of cells that depend on each other and, besides, on settled cells only. `false` if they do so
    /// through the right side of an exclusion.
    fn settle(&mut self, equations: &mut Equations<'_, '_>, members: &[usize]) -> Result<bool, GraphError> {
        let mut terms = Vec::new();
        // Cells that were met last lie closest to those that are settled.
        for member in members.iter().rev() {
            terms.extend(self.terms[*member].take().map(|term| (*member, term)));
        }
        let (mut cyclic, mut negated, mut plain) = (false, false, true);
        for (_, term) in &terms {
            plain &= self.is_sum(term);
            term.visit(false, &mut |part, right_side| {
                let open = self.is_open(part);
                cyclic |= open;
                negated |= open && right_side;
            });
        }
        if negated {
            return Ok(false);
        }
        let freed = terms.iter().map(|(_, term)| term.bytes()).sum();
        let held = if cyclic && !plain { self.iterate(equations, terms)? } else { self.sum(terms) };
        equations.checker.meter().bytes_freed(freed);
        equations.checker.meter().bytes_held(held)?;
        Ok(true)
    }

    /// The only value of cells that are mere unions of each other: everybody is a member of each. Returns the bytes that
    /// it holds.
    fn sum(&mut self, terms: Vec<(usize, Term)>) -> u64 {
        let sets: Vec<Rc<SubjectSet>> = terms.iter().map(|(_, term)| self.value(term)).collect();
        let cells: Vec<usize> = terms.into_iter().map(|(cell, _)| cell).collect();
        let sum = SubjectSet::union(&sets);
        drop(sets);
        // A set that another cell has, too, is held once.
        let held = if Rc::strong_count(&sum) == 1 { sum.bytes() } else { 0 };
        cells.into_iter().for_each(|cell| self.values[cell] = Some(Rc::clone(&sum)));
        held
    }

    /// The least solution: first the steps of the chain, upwards from nobody; then, with these fixed, the names and faults
    /// that come with them. Done at once, a name could stay that only an unfinished round needed. Returns the bytes that
    /// the values hold.
    fn iterate(&mut self, equations: &mut Equations<'_, '_>, terms: Vec<(usize, Term)>) -> Result<u64, GraphError> {
        for (cell, _) in &terms {
            self.values[*cell] = Some(Rc::default());
        }
        for bare in [true, false] {
            let mut changed = true;
            while changed {
                changed = false;
                for (cell, term) in &terms {
                    let mut set = self.value(term);
                    if bare {
                        set = Rc::new(set.bare());
                    }
                    // A round costs what its sets hold, so that a limit on work ends this, too.
                    equations.checker.meter().edges_seen(1 + set.bytes() / 8)?;
                    if self.values[*cell].as_ref() != Some(&set) {
                        self.values[*cell] = Some(set);
                        changed = true;
                    }
                }
            }
        }
        Ok(terms.iter().filter_map(|(cell, _)| self.values[*cell].as_ref()).map(|set| set.bytes()).sum())
    }

    /// The value of a term, with nobody in the cells that are not settled.
    fn value(&self, term: &Term) -> Rc<SubjectSet> {
        match term {
            Term::Set(set) => Rc::clone(set),
            Term::Cell(cell) => self.values[cell.0 as usize].clone().unwrap_or_default(),
            Term::On(condition, cell) => {
                Rc::new(self.values[cell.0 as usize].as_ref().map(|set| set.on(condition)).unwrap_or_default())
            }
            Term::Union(terms) => {
                let sets: Vec<Rc<SubjectSet>> = terms.iter().map(|term| self.value(term)).collect();
                SubjectSet::union(&sets)
            }
            Term::Intersection(terms) => {
                let mut sets = terms.iter().map(|term| self.value(term));
                let first = sets.next().unwrap_or_default();
                sets.fold(first, |left, right| Rc::new(left.and(&right)))
            }
            Term::Exclusion(sides) => {
                let left = self.value(&sides.0);
                if left.is_empty() { left } else { Rc::new(left.minus(&self.value(&sides.1))) }
            }
        }
    }

    /// Whether a part is a cell that is not settled.
    fn is_open(&self, part: &Term) -> bool {
        match part {
            Term::Cell(cell) | Term::On(_, cell) => self.values[cell.0 as usize].is_none(),
            _ => false,
        }
    }

    /// Whether cells that are not settled occur only as operands of unions.
    fn is_sum(&self, term: &Term) -> bool {
        match term {
            Term::Set(_) | Term::Cell(_) => true,
            Term::Union(terms) => terms.iter().all(|term| self.is_sum(term)),
            operator => {
                let mut settled = true;
                operator.visit(false, &mut |part, _| settled &= !self.is_open(part));
                settled
            }
        }
    }
}
