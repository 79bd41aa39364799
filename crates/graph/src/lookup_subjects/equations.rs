//! What the members of a node on one object are, written as an equation: reads each row once, decides no membership.

use std::rc::Rc;

use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use stonetown_storage::{Direction, Ordinal};

use crate::check::{Checker, State};
use crate::error::GraphError;
use crate::membership::Value;
use crate::plan::{Arrow, Body, Expression, NodeId, Plan, Slot, SubjectClass};
use crate::subject_set::SubjectSet;

/// Bytes that a cell takes besides its set.
const CELL_BYTES: u64 = 160;

/// Numbers the unknowns of a question: the members of a node on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellId(pub(super) u32);

/// One side of an equation, or a part of it.
#[derive(Debug)]
pub(super) enum Term {
    /// These.
    Set(Rc<SubjectSet>),
    /// The members of another cell.
    Cell(CellId),
    /// The members of another cell, on a condition.
    On(Value, CellId),
    /// In any of them.
    Union(Vec<Term>),
    /// In all of them.
    Intersection(Vec<Term>),
    /// In the first and not in the second.
    Exclusion(Box<(Term, Term)>),
}

/// The equations of one question, numbered as they are met.
pub(super) struct Equations<'q, 'a> {
    plan: &'a Plan,
    pub(super) checker: &'q mut Checker<'a>,
    /// What kind of subjects is asked for.
    class: SubjectClass,
    numbers: FxHashMap<State, CellId>,
    cells: Vec<State>,
}

impl Term {
    fn nobody() -> Term {
        Term::Union(Vec::new())
    }

    fn members(subjects: RoaringBitmap, value: Value) -> Term {
        Term::Set(Rc::new(SubjectSet::of(subjects, value)))
    }

    /// The term on a condition that is not [`Value::No`].
    fn of(cell: CellId, condition: Value) -> Term {
        if condition.is_yes() { Term::Cell(cell) } else { Term::On(condition, cell) }
    }

    fn union(mut terms: Vec<Term>) -> Term {
        if terms.len() == 1 { terms.swap_remove(0) } else { Term::Union(terms) }
    }

    /// All parts that are no operator, with whether they lie on the right side of an exclusion.
    pub(super) fn visit(&self, right_side: bool, visit: &mut impl FnMut(&Term, bool)) {
        match self {
            Term::Set(_) | Term::Cell(_) | Term::On(..) => visit(self, right_side),
            Term::Union(terms) | Term::Intersection(terms) => {
                terms.iter().for_each(|term| term.visit(right_side, visit));
            }
            Term::Exclusion(sides) => {
                sides.0.visit(right_side, visit);
                sides.1.visit(true, visit);
            }
        }
    }

    /// Bytes held, roughly.
    pub(super) fn bytes(&self) -> u64 {
        let mut bytes = 0;
        self.visit(false, &mut |part, _| {
            bytes += size_of::<Term>() as u64;
            if let Term::Set(set) = part {
                bytes += set.bytes();
            }
        });
        bytes
    }

    /// The cells it mentions.
    pub(super) fn cells(&self) -> Vec<CellId> {
        let mut cells = Vec::new();
        self.visit(false, &mut |term, _| {
            if let Term::Cell(cell) | Term::On(_, cell) = term {
                cells.push(*cell);
            }
        });
        cells
    }
}

impl<'q, 'a> Equations<'q, 'a> {
    pub(super) fn new(plan: &'a Plan, checker: &'q mut Checker<'a>, class: SubjectClass) -> Self {
        Equations { plan, checker, class, numbers: FxHashMap::default(), cells: Vec::new() }
    }

    /// How many cells have been met.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The number of a cell.
    pub(super) fn number(&mut self, node: NodeId, object: Ordinal) -> Result<CellId, GraphError> {
        let state = State::new(node, object);
        let next = CellId(self.cells.len() as u32);
        let number = *self.numbers.entry(state).or_insert(next);
        if number == next {
            self.checker.meter().bytes_held(CELL_BYTES)?;
            self.cells.push(state);
        }
        Ok(number)
    }

    /// The equation of a cell: its right side.
    pub(super) fn write(&mut self, cell: CellId) -> Result<Term, GraphError> {
        let plan = self.plan;
        let state = self.cells[cell.0 as usize];
        let (id, object) = (state.node(), state.object());
        let mut terms = Vec::new();
        if self.class == SubjectClass::Userset(id) {
            terms.push(Term::members(RoaringBitmap::from_iter([object.0]), Value::Yes));
        }
        match &plan.node(id).body {
            Body::Relation(slots) => {
                for slot in slots {
                    self.relation(*slot, object, &mut terms)?;
                }
            }
            Body::Permission(expression) => terms.push(self.expression(expression, id, object)?),
        }
        Ok(Term::union(terms))
    }

    /// The subjects that one table relates to an object.
    fn relation(&mut self, slot: Slot, object: Ordinal, terms: &mut Vec<Term>) -> Result<(), GraphError> {
        match self.plan.table(slot).class {
            class @ SubjectClass::Object(_) if class == self.class => self.direct(slot, object, terms),
            SubjectClass::Userset(node) if self.plan.can_hold(node, self.class) => {
                let mut row = self.checker.relations().row(slot, Direction::Forward, object)?;
                while let Some(link) = row.next()? {
                    self.checker.meter().edges_seen(1)?;
                    let condition = self.checker.condition(link.terms, slot, object)?;
                    if !condition.is_no() {
                        let cell = self.number(node, link.other)?;
                        terms.push(Term::of(cell, condition));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The subjects themselves, and the wildcard.
    fn direct(&mut self, slot: Slot, object: Ordinal, terms: &mut Vec<Term>) -> Result<(), GraphError> {
        let mut certain = RoaringBitmap::new();
        let mut conditional: Vec<(Value, RoaringBitmap)> = Vec::new();
        let mut row = self.checker.relations().row(slot, Direction::Forward, object)?;
        while let Some(link) = row.next()? {
            self.checker.meter().edges_seen(1)?;
            let value = self.checker.condition(link.terms, slot, object)?;
            if value.is_no() {
                continue;
            }
            if link.other == Ordinal::WILDCARD {
                terms.push(Term::Set(Rc::new(SubjectSet::everyone(value))));
            } else if value.is_yes() {
                certain.insert(link.other.0);
            } else if let Some((_, subjects)) = conditional.iter_mut().find(|(known, _)| *known == value) {
                subjects.insert(link.other.0);
            } else {
                conditional.push((value, RoaringBitmap::from_iter([link.other.0])));
            }
        }
        if !certain.is_empty() {
            conditional.push((Value::Yes, certain));
        }
        terms.extend(conditional.into_iter().map(|(value, subjects)| Term::members(subjects, value)));
        Ok(())
    }

    /// An expression of a node, on an object. Nested no deeper than the schema allows.
    fn expression(&mut self, expression: &Expression, node: NodeId, object: Ordinal) -> Result<Term, GraphError> {
        match expression {
            Expression::Nil => Ok(Term::nobody()),
            Expression::Itself if self.class == SubjectClass::Object(self.plan.node(node).owner) => {
                Ok(Term::members(RoaringBitmap::from_iter([object.0]), Value::Yes))
            }
            Expression::Itself => Ok(Term::nobody()),
            Expression::Node(other) if self.plan.can_hold(*other, self.class) => {
                self.number(*other, object).map(Term::Cell)
            }
            Expression::Node(_) => Ok(Term::nobody()),
            Expression::Arrow(arrow) if arrow.all => self.arrow_all(arrow, object),
            Expression::Arrow(arrow) => self.arrow(arrow, object),
            Expression::Union(operands) => self.operands(operands, node, object).map(Term::Union),
            Expression::Intersection(operands) => self.operands(operands, node, object).map(Term::Intersection),
            Expression::Exclusion(exclusion) => {
                let left = self.expression(&exclusion.left, node, object)?;
                let right = self.expression(&exclusion.right, node, object)?;
                Ok(Term::Exclusion(Box::new((left, right))))
            }
        }
    }

    fn operands(&mut self, operands: &[Expression], node: NodeId, object: Ordinal) -> Result<Vec<Term>, GraphError> {
        operands.iter().map(|operand| self.expression(operand, node, object)).collect()
    }

    fn arrow(&mut self, arrow: &Arrow, object: Ordinal) -> Result<Term, GraphError> {
        let mut terms = Vec::new();
        for hop in &arrow.hops {
            let Some(target) = hop.target.filter(|target| self.plan.can_hold(*target, self.class)) else { continue };
            let mut row = self.checker.relations().row(hop.table, Direction::Forward, object)?;
            while let Some(link) = row.next()? {
                self.checker.meter().edges_seen(1)?;
                let condition = self.checker.condition(link.terms, hop.table, object)?;
                if !condition.is_no() && link.other != Ordinal::WILDCARD {
                    let cell = self.number(target, link.other)?;
                    terms.push(Term::of(cell, condition));
                }
            }
        }
        Ok(Term::union(terms))
    }

    /// Whoever is in the target on each of the objects; nobody if there is none.
    fn arrow_all(&mut self, arrow: &Arrow, object: Ordinal) -> Result<Term, GraphError> {
        let mut terms = Vec::new();
        for hop in &arrow.hops {
            let target = hop.target.filter(|target| self.plan.can_hold(*target, self.class));
            let mut row = self.checker.relations().row(hop.table, Direction::Forward, object)?;
            while let Some(link) = row.next()? {
                self.checker.meter().edges_seen(1)?;
                // A relationship that has ended is none; one whose caveat says no is one on which nobody has the target.
                if link.other == Ordinal::WILDCARD || !self.checker.conditions().is_live(link.terms) {
                    continue;
                }
                let condition = self.checker.condition(link.terms, hop.table, object)?;
                match target {
                    Some(target) if !condition.is_no() => {
                        let cell = self.number(target, link.other)?;
                        terms.push(Term::of(cell, condition));
                    }
                    _ => return Ok(Term::nobody()),
                }
            }
        }
        Ok(if terms.is_empty() { Term::nobody() } else { Term::Intersection(terms) })
    }
}
