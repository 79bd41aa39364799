//! Why an exclusion does not apply: the relationships that have to stay for that. Where nothing is excluded in turn, none: what
//! does not hold among all relationships does not hold among fewer.

use rustc_hash::FxHashSet;
use stonetown_storage::{Direction, Ordinal};

use super::weigh::{Mode, Part, Weighed};
use super::{EdgeKey, Looker};
use crate::check::State;
use crate::error::GraphError;
use crate::plan::{Arrow, Body, Expression, NodeId, Slot, SubjectClass};

impl<'a> Looker<'a, '_> {
    /// Collects what keeps an expression, to which the answer is no, from becoming a yes when other relationships go.
    pub(super) fn refute(
        &mut self,
        expression: &'a Expression,
        owner: NodeId,
        object: Ordinal,
        guards: &mut Vec<EdgeKey>,
    ) -> Result<(), GraphError> {
        let mut refutation = Refutation { looker: self, guards, seen: FxHashSet::default(), open: Vec::new() };
        refutation.expression(expression, owner, object)?;
        while let Some(state) = refutation.open.pop() {
            refutation.look_at(state)?;
        }
        Ok(())
    }
}

struct Refutation<'r, 'a, 'e> {
    looker: &'r mut Looker<'a, 'e>,
    guards: &'r mut Vec<EdgeKey>,
    seen: FxHashSet<State>,
    /// What the answer is no to and still has to be looked at.
    open: Vec<State>,
}

impl<'a> Refutation<'_, 'a, '_> {
    /// Takes note of something that the answer is no to. What is monotone stays a no by itself.
    fn state(&mut self, node: NodeId, object: Ordinal) {
        let plan = self.looker.evaluation.plan;
        let settled = plan.node(node).monotone || !plan.can_hold(node, self.looker.class);
        if !settled && self.seen.insert(State::new(node, object)) {
            self.open.push(State::new(node, object));
        }
    }

    fn look_at(&mut self, state: State) -> Result<(), GraphError> {
        let plan = self.looker.evaluation.plan;
        if !self.looker.room() {
            self.open.clear();
            return Ok(());
        }
        match &plan.node(state.node()).body {
            Body::Permission(expression) => self.expression(expression, state.node(), state.object()),
            Body::Relation(slots) => slots.iter().try_for_each(|slot| match plan.table(*slot).class {
                SubjectClass::Userset(target) => self.row(*slot, Some(target), state.object()),
                SubjectClass::Object(_) => Ok(()),
            }),
        }
    }

    fn row(&mut self, slot: Slot, target: Option<NodeId>, object: Ordinal) -> Result<(), GraphError> {
        let Some(target) = target.filter(|target| !self.looker.evaluation.plan.node(*target).monotone) else {
            return Ok(());
        };
        let mut row = self.looker.checker.relations().row(slot, Direction::Forward, object)?;
        while let Some(link) = row.next()? {
            self.looker.checker.meter().edges_seen(1)?;
            if link.other != Ordinal::WILDCARD && !self.looker.checker.condition(link.terms, slot, object)?.is_no() {
                self.state(target, link.other);
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: &'a Expression, owner: NodeId, object: Ordinal) -> Result<(), GraphError> {
        match expression {
            Expression::Nil | Expression::Itself => Ok(()),
            Expression::Node(node) => {
                self.state(*node, object);
                Ok(())
            }
            Expression::Arrow(arrow) if arrow.all => self.arrow_over_all(arrow, object),
            Expression::Arrow(arrow) => arrow.hops.iter().try_for_each(|hop| self.row(hop.table, hop.target, object)),
            Expression::Union(parts) => parts.iter().try_for_each(|part| self.expression(part, owner, object)),
            Expression::Intersection(parts) => {
                for part in parts {
                    if self.looker.checker.value_of(part, owner, object)?.is_no() {
                        return self.expression(part, owner, object);
                    }
                }
                Ok(())
            }
            Expression::Exclusion(exclusion) => {
                if self.looker.checker.value_of(&exclusion.left, owner, object)?.is_no() {
                    return self.expression(&exclusion.left, owner, object);
                }
                match Weighed::of(self.looker, Mode::Yes, Part::Of(&exclusion.right, owner, object))? {
                    Some(picked) => {
                        self.guards.extend(picked.edges.iter().map(|(_, _, key)| *key));
                        self.guards.extend(picked.guards);
                    }
                    None => self.looker.cut = true,
                }
                Ok(())
            }
        }
    }

    /// One relationship behind which the answer is no keeps "all" from being a yes.
    fn arrow_over_all(&mut self, arrow: &Arrow, object: Ordinal) -> Result<(), GraphError> {
        for hop in &arrow.hops {
            let mut row = self.looker.checker.relations().row(hop.table, Direction::Forward, object)?;
            while let Some(link) = row.next()? {
                self.looker.checker.meter().edges_seen(1)?;
                let (other, terms) = (link.other, link.terms);
                if !self.looker.checker.conditions().is_live(terms) || other == Ordinal::WILDCARD {
                    continue;
                }
                let condition = self.looker.checker.condition(terms, hop.table, object)?;
                let holds = match hop.target {
                    Some(target) if !condition.is_no() => !self.looker.checker.member(target, other)?.is_no(),
                    _ => false,
                };
                if holds {
                    continue;
                }
                self.guards.push(EdgeKey { slot: hop.table, resource: object, subject: other });
                if let Some(target) = hop.target.filter(|_| !condition.is_no()) {
                    self.state(target, other);
                }
                return Ok(());
            }
        }
        Ok(())
    }
}
