//! Why the answer to a check is what it is.
//!
//! The answer comes from the same evaluation as [`crate::check()`]; the trace then asks that evaluation for the answers to
//! the parts of the question, so that the two cannot differ.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashSet;
use stonetown_storage::{Direction, Ordinal};
use stonetown_tuple::{CaveatContext, CaveatRef, ObjectRef, RelationName, SubjectRef, Timestamp};

use crate::check::{Answer, Checker, State};
use crate::edges::Terms;
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::expand::object_ref;
use crate::fault::{PlantedFault, planted};
use crate::membership::{Membership, Value};
use crate::plan::{Body, Expression, NodeId, Plan, Slot, SubjectClass};
use crate::relations::Relations;

/// A question, its answer, and the questions that it led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The object asked about.
    pub resource: ObjectRef,
    /// Its relation or permission.
    pub permission: RelationName,
    /// Whether it is a permission.
    pub is_permission: bool,
    /// The subject asked about.
    pub subject: SubjectRef,
    /// The answer; `None` if there is none, which is an error only if the whole answer depends on it.
    pub result: Option<Membership>,
    /// Caveats on the object's relationships that had a say.
    pub caveats: Vec<CaveatTrace>,
    /// Whether the question has been answered elsewhere in the trace.
    pub known: bool,
    /// Whether questions that it led to were left out: because they are too many or too deep.
    pub cut: bool,
    /// The questions that it led to, up to the one that decided it.
    pub parts: Vec<Trace>,
    /// Until when (exclusively) a member stays one, where whoever asked the whole question found out
    /// ([`crate::member_until`]).
    pub until: Option<Timestamp>,
    /// How long it took to answer, parts and all. What is known already takes no time.
    pub duration_ns: u64,
}

/// A caveat that was evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct CaveatTrace {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub expression: String,
    /// What is known of its parameters, from the relationship, the request, the server and attributes.
    pub context: CaveatContext,
    /// What it came to; `None` if it could not be evaluated.
    pub result: Option<CaveatResult>,
}

/// What a caveat came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaveatResult {
    /// It holds.
    True,
    /// It does not.
    False,
    /// That depends on these parameters.
    Missing(BTreeSet<String>),
}

/// Questions within questions that a trace shows; deeper messages are refused by common protobuf decoders.
const DEPTH_MAX: usize = 40;
/// Of a row with more usersets only those are shown that had a say.
const WIDE: usize = 32;

/// Checks as [`crate::check()`] does, and says why. The trace is cut at [`crate::Limits::trace_nodes_max`] questions.
///
/// # Errors
/// As [`crate::check()`].
pub fn explain(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<(Answer, Trace), GraphError> {
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = evaluation.plan.find_node(object_type, permission)?;
    let (class, ordinal) = relations.subject(subject)?;
    let mut explainer = Explainer {
        plan: evaluation.plan,
        checker: Checker::new(evaluation, relations, class, ordinal),
        class,
        subject: subject.clone(),
        shown: FxHashSet::default(),
        nodes_left: evaluation.limits.trace_nodes_max,
    };
    let (value, trace) = explainer.trace(node, object, 0)?;
    let membership = explainer.checker.membership(&value)?;
    let (work, changes_at) = (explainer.checker.work(), explainer.checker.conditions().changes_at());
    Ok((Answer { membership, work, changes_at }, trace))
}

struct Explainer<'a> {
    plan: &'a Plan,
    checker: Checker<'a>,
    class: SubjectClass,
    subject: SubjectRef,
    shown: FxHashSet<State>,
    nodes_left: u64,
}

impl Explainer<'_> {
    fn trace(&mut self, id: NodeId, object: Ordinal, depth: usize) -> Result<(Value, Trace), GraphError> {
        let plan = self.plan;
        let started = Instant::now();
        let node = plan.node(id);
        let value = self.checker.member(id, object)?;
        self.nodes_left = self.nodes_left.saturating_sub(1);
        let mut trace = Trace {
            resource: object_ref(plan, self.checker.relations(), node.owner, object)?,
            permission: node.name.clone(),
            is_permission: matches!(node.body, Body::Permission(_)),
            subject: self.subject.clone(),
            result: self.checker.membership(&value).ok().filter(|_| !planted(PlantedFault::TraceLosesResult)),
            caveats: Vec::new(),
            known: !self.shown.insert(State::new(id, object)),
            cut: false,
            parts: Vec::new(),
            until: None,
            duration_ns: 0,
        };
        if !trace.known {
            match &node.body {
                Body::Relation(slots) => self.relation(slots, object, depth, &mut trace)?,
                Body::Permission(expression) => {
                    self.expression(expression, object, depth, &mut trace)?;
                }
            }
        }
        trace.duration_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok((value, trace))
    }

    /// Adds the question about another state to a trace; its value, or `None` if there is no room left.
    fn part(
        &mut self,
        id: NodeId,
        object: Ordinal,
        depth: usize,
        trace: &mut Trace,
    ) -> Result<Option<Value>, GraphError> {
        if depth == DEPTH_MAX || self.nodes_left == 0 {
            trace.cut = true;
            return Ok(None);
        }
        let (value, part) = self.trace(id, object, depth + 1)?;
        trace.parts.push(part);
        Ok(Some(value))
    }

    /// Adds what a relation's rows lead to.
    fn relation(&mut self, slots: &[Slot], object: Ordinal, depth: usize, trace: &mut Trace) -> Result<(), GraphError> {
        let plan = self.plan;
        for slot in slots {
            match plan.table(*slot).class {
                SubjectClass::Userset(target) => {
                    if self.row(*slot, Some(target), object, depth, trace)? == Some(true) {
                        return Ok(());
                    }
                }
                class if class == self.class => {
                    for subject in [self.checker.subject(), Ordinal::WILDCARD] {
                        if let Some(found) = self.checker.relations().find(*slot, object, subject)? {
                            self.caveats(found.terms(), *slot, object, trace)?;
                        }
                    }
                }
                SubjectClass::Object(_) => {}
            }
        }
        Ok(())
    }

    /// Adds what an expression leads to, up to what decides it. Whether it is known to be a member or not; `None` where
    /// that takes more than the trace shows.
    fn expression(
        &mut self,
        expression: &Expression,
        object: Ordinal,
        depth: usize,
        trace: &mut Trace,
    ) -> Result<Option<bool>, GraphError> {
        match expression {
            Expression::Nil => Ok(Some(false)),
            Expression::Itself => {
                let is_type = self.class == SubjectClass::Object(self.plan.find_type(&trace.resource.object_type)?);
                Ok(Some(is_type && object == self.checker.subject()))
            }
            Expression::Node(node) => Ok(self.part(*node, object, depth, trace)?.as_ref().and_then(decided)),
            Expression::Arrow(arrow) => {
                let mut result = Some(false);
                for hop in &arrow.hops {
                    match self.row(hop.table, hop.target, object, depth, trace)? {
                        Some(true) if !arrow.all => return Ok(Some(true)),
                        Some(false) if !arrow.all => {}
                        _ => result = None,
                    }
                }
                Ok(result)
            }
            Expression::Union(operands) => self.operands(operands, true, object, depth, trace),
            Expression::Intersection(operands) => self.operands(operands, false, object, depth, trace),
            Expression::Exclusion(exclusion) => {
                let left = self.expression(&exclusion.left, object, depth, trace)?;
                if left == Some(false) {
                    return Ok(left);
                }
                match self.expression(&exclusion.right, object, depth, trace)? {
                    Some(true) => Ok(Some(false)),
                    Some(false) => Ok(left),
                    None => Ok(None),
                }
            }
        }
    }

    /// Adds what operands lead to, up to one with the value that decides them all.
    fn operands(
        &mut self,
        operands: &[Expression],
        deciding: bool,
        object: Ordinal,
        depth: usize,
        trace: &mut Trace,
    ) -> Result<Option<bool>, GraphError> {
        let mut result = Some(!deciding);
        for operand in operands {
            match self.expression(operand, object, depth, trace)? {
                Some(value) if value == deciding => return Ok(Some(deciding)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(result)
    }

    /// Adds what the edges of a row lead to, up to one that leads to the subject for sure. Whether one does, if that is
    /// known.
    fn row(
        &mut self,
        slot: Slot,
        target: Option<NodeId>,
        object: Ordinal,
        depth: usize,
        trace: &mut Trace,
    ) -> Result<Option<bool>, GraphError> {
        let target = target.filter(|target| self.plan.can_hold(*target, self.class));
        let Some(target) = target else { return Ok(Some(false)) };
        let mut row = self.checker.relations().row(slot, Direction::Forward, object)?;
        let wide = row.size().is_none_or(|size| size > WIDE);
        let mut result = Some(false);
        while let Some(link) = row.next()? {
            let condition = self.checker.condition(link.terms, slot, object)?;
            let live = self.checker.conditions().is_live(link.terms);
            if !live || link.other == Ordinal::WILDCARD {
                continue;
            }
            if wide && self.checker.member(target, link.other)?.is_no() {
                continue;
            }
            self.caveats(link.terms, slot, object, trace)?;
            if condition.is_no() {
                continue;
            }
            match self.part(target, link.other, depth, trace)? {
                None => return Ok(None),
                Some(value) => match decided(&condition.and(value)) {
                    Some(true) => return Ok(Some(true)),
                    Some(false) => {}
                    None => result = None,
                },
            }
        }
        Ok(result)
    }

    fn caveats(
        &mut self,
        terms: Option<&Terms>,
        table: Slot,
        resource: Ordinal,
        trace: &mut Trace,
    ) -> Result<(), GraphError> {
        let Some(terms) = terms.filter(|terms| self.checker.conditions().is_live(Some(terms))) else { return Ok(()) };
        for caveat in terms.0.iter().filter_map(|term| term.caveat.as_ref()) {
            let traced = self.caveat(caveat, table, resource)?;
            if self.nodes_left > 0 && !trace.caveats.contains(&traced) {
                self.nodes_left -= 1;
                trace.caveats.push(traced);
            }
        }
        Ok(())
    }

    fn caveat(&mut self, caveat: &Arc<CaveatRef>, table: Slot, resource: Ordinal) -> Result<CaveatTrace, GraphError> {
        let value = self.checker.caveat(caveat, table, resource)?;
        let conditions = self.checker.conditions();
        let result = match value {
            Value::Yes => Some(CaveatResult::True),
            Value::No => Some(CaveatResult::False),
            Value::Maybe(missing) => Some(CaveatResult::Missing(conditions.missing(&missing))),
            Value::Fault(_) => None,
        };
        let context = conditions.known(caveat, table, resource);
        let definition = self.plan.schema().caveat(caveat.name.as_str());
        let expression = definition.map_or_else(String::new, |one| one.caveat.expression().to_owned());
        Ok(CaveatTrace { name: caveat.name.to_string(), expression, context, result })
    }
}

fn decided(value: &Value) -> Option<bool> {
    match value {
        Value::Yes => Some(true),
        Value::No => Some(false),
        Value::Maybe(_) | Value::Fault(_) => None,
    }
}
