//! Why the answer to a check is what it is, in relationships: a way that leads from the resource to the subject, or the ways
//! that nearly do and what is missing on each.
//!
//! The answer comes from the same evaluation as [`crate::check()`]. [`weigh`] looks for the ways by asking that evaluation
//! about the parts; [`alone`] then lets the relationships of a way stand alone in an otherwise empty world and asks again, so
//! that what is said of them has been tried: that they suffice, which of them are needed, that a repaired one would suffice.

mod alone;
mod refute;
#[cfg(test)]
mod tests;
mod weigh;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use stonetown_storage::{Direction, Edge, Ordinal};
use stonetown_tuple::{ObjectRef, RelationName, Relationship, Revision, Source, SubjectRef};

use crate::check::{Answer, Checker, State};
use crate::edges::{Term, Terms};
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::expand::{object_ref, subject_ref};
use crate::membership::{Membership, Value};
use crate::plan::{Expression, Slot, SubjectClass};
use crate::relations::Relations;
use alone::Alone;
use weigh::{Mode, Obstacle, Part, Picked, Weighed};

/// Longest words for a part of an expression, in bytes; the rest of a longer one is left out.
const WORDS_BYTES_MAX: usize = 1_000;

/// An answer with its reasons.
#[derive(Debug, Clone)]
pub struct Reasons {
    /// The answer, as [`crate::check()`] gives it.
    pub answer: Answer,
    /// For a member: the shortest way, from the resource to the subject. Without its [`Step::essential`] relationships the
    /// answer would be another, and they alone give it; the others matter because of what else is stored, and may depend on
    /// missing values where that makes no difference.
    pub path: Vec<Step>,
    /// For a member: what could have taken the permission away and does not, such as `document:plan#banned`.
    pub not_excluded_by: Vec<String>,
    /// For all others: the ways that come nearest, those with the fewest obstacles first.
    pub misses: Vec<Miss>,
    /// Whether there was more to look at, or to show, than [`crate::Limits`] allow: a way may be missing, none is wrong.
    pub cut: bool,
}

/// One relationship of a way.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How many relationships lead to it from the resource.
    pub depth: u32,
    /// The object whose relation or permission it serves.
    pub resource: ObjectRef,
    /// That relation or permission.
    pub name: RelationName,
    /// The relationship, with its caveat and times.
    pub relationship: Relationship,
    /// Where it comes from.
    pub source: Source,
    /// The revision that wrote it.
    pub written: Revision,
    /// Whether it counts.
    pub state: Hold,
    /// The text of its caveat.
    pub condition: Option<String>,
    /// Whether the answer would be another without it if only the way were stored.
    pub essential: bool,
}

/// Whether a stored relationship counts for a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It counts.
    Holds,
    /// Its caveat depends on these parameters, which neither it nor the request gives.
    MissingContext(BTreeSet<String>),
    /// Its caveat is false.
    ConditionFalse,
    /// Its caveat fails to evaluate.
    ConditionFailed,
    /// It begins later.
    NotBegun,
    /// It has ended.
    Expired,
}

/// A way that would lead to the subject but for its obstacles: steps that do not hold, what excludes the subject, and what
/// it lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// The relationships of the way; those that do not hold say so.
    pub path: Vec<Step>,
    /// What takes the permission away, each with the relationships that do it.
    pub exclusions: Vec<Excluded>,
    /// What the subject would have to have as well and has nothing of, such as `document:plan#approver`.
    pub lacking: Vec<String>,
}

/// Something that takes a permission away.
#[derive(Debug, Clone, PartialEq)]
pub struct Excluded {
    /// What the subject is in, such as `document:plan#banned`.
    pub by: String,
    /// Why.
    pub path: Vec<Step>,
}

/// Checks as [`crate::check()`] does and says why: the way of a member, up to `misses_max` misses of others. The same question
/// of the same state has the same reasons. Relationships that are laid over the snapshot take part in the answer only.
///
/// # Errors
/// As [`crate::check()`].
pub fn reasons(
    evaluation: &Evaluation<'_>,
    resource: &ObjectRef,
    permission: &RelationName,
    subject: &SubjectRef,
    misses_max: usize,
) -> Result<Reasons, GraphError> {
    let mut relations = Relations::new(evaluation);
    let (object_type, object) = relations.resource(resource)?;
    let node = evaluation.plan.find_node(object_type, permission)?;
    let (class, ordinal) = relations.subject(subject)?;
    let checker = Checker::new(evaluation, relations, class, ordinal);
    let mut looker = Looker {
        evaluation,
        checker,
        class,
        subject: ordinal,
        left: evaluation.limits.weighed_max,
        steps_left: evaluation.limits.shown_max,
        cut: false,
        nested: 0,
    };
    let value = looker.checker.member(node, object)?;
    let membership = looker.checker.membership(&value)?;
    let (work, changes_at) = (looker.checker.work(), looker.checker.conditions().changes_at());
    let mut found = Reasons {
        answer: Answer { membership: membership.clone(), work, changes_at },
        path: Vec::new(),
        not_excluded_by: Vec::new(),
        misses: Vec::new(),
        cut: false,
    };
    let asked = Alone { evaluation, resource, permission, subject };
    let root = State::new(node, object);
    let looked = if membership == Membership::Member {
        looker.find_way(root, &asked, &mut found)
    } else {
        looker.find_misses(root, &asked, misses_max, &mut found)
    };
    match looked {
        // The answer stands, whatever its reasons take.
        Err(GraphError::LimitExceeded { .. }) => looker.cut = true,
        looked => looked?,
    }
    found.cut = looker.cut;
    Ok(found)
}

/// A relationship by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct EdgeKey {
    slot: Slot,
    resource: Ordinal,
    subject: Ordinal,
}

/// What is used to look for ways.
struct Looker<'a, 'e> {
    evaluation: &'e Evaluation<'a>,
    checker: Checker<'a>,
    class: SubjectClass,
    subject: Ordinal,
    /// How much may still be looked at.
    left: u64,
    /// How many more steps may be shown.
    steps_left: usize,
    cut: bool,
    /// How many ways are being looked for within others.
    nested: usize,
}

impl<'a> Looker<'a, '_> {
    /// The way of a member.
    fn find_way(&mut self, root: State, asked: &Alone<'_>, found: &mut Reasons) -> Result<(), GraphError> {
        let Some(picked) = Weighed::of(self, Mode::Yes, Part::State(root))? else {
            self.cut = true;
            return Ok(());
        };
        let Some(mut path) = self.steps(&picked)? else { return Ok(()) };
        asked.mark_essential(&mut path)?;
        found.path = path;
        found.not_excluded_by = self.words(picked.not_in)?;
        Ok(())
    }

    /// What comes near a yes.
    fn find_misses(
        &mut self,
        root: State,
        asked: &Alone<'_>,
        misses_max: usize,
        found: &mut Reasons,
    ) -> Result<(), GraphError> {
        if misses_max == 0 {
            return Ok(());
        }
        let relations = self.relations_again(asked.resource, asked.subject)?;
        let lenient = Checker::lenient(self.evaluation, relations, self.class, self.subject);
        let mut weighed = Weighed::new(Mode::Near(Box::new(lenient)), root);
        let root = weighed.part(self, Part::State(root))?;
        weighed.grow(self, &root)?;
        // Each turn bars one obstacle; a way that is not one after all, or one that was found before, costs a turn.
        for _ in 0..misses_max * 4 {
            let Some(picked) = weighed.pick(&root) else { break };
            let Some(bar) = weighed.worth_barring(&picked) else { break };
            match self.miss(&weighed, &picked, asked)? {
                Some(miss) if !found.misses.contains(&miss) => found.misses.push(miss),
                _ => {}
            }
            if found.misses.len() == misses_max {
                break;
            }
            weighed.bar(self, bar)?;
        }
        Ok(())
    }

    /// Takes note of one more thing looked at; whether there is room for it.
    fn room(&mut self) -> bool {
        let room = self.left > 0;
        self.cut |= !room;
        self.left = self.left.saturating_sub(1);
        room
    }

    /// The relations of another checker of the same question: strangers get the same ordinals in the same order.
    fn relations_again(&self, resource: &ObjectRef, subject: &SubjectRef) -> Result<Relations<'a>, GraphError> {
        let mut relations = Relations::new(self.evaluation);
        relations.resource(resource)?;
        relations.subject(subject)?;
        Ok(relations)
    }

    /// Whether this is the subject itself.
    fn is_subject(&self, class: SubjectClass, object: Ordinal) -> bool {
        class == self.class && object == self.subject
    }

    /// What a stored relationship is worth, by the best of its sources.
    fn hold(&mut self, terms: Option<&Terms>, slot: Slot, resource: Ordinal) -> Result<Hold, GraphError> {
        let Some(terms) = terms else { return Ok(Hold::Holds) };
        let mut best = Hold::Expired;
        for term in &terms.0 {
            best = best.min(self.hold_of(term, slot, resource)?);
        }
        Ok(best)
    }

    fn hold_of(&mut self, term: &Term, slot: Slot, resource: Ordinal) -> Result<Hold, GraphError> {
        let now = self.evaluation.now;
        if term.expires_at.is_some_and(|end| end <= now) {
            return Ok(Hold::Expired);
        }
        if term.not_before.is_some_and(|start| start > now) {
            return Ok(Hold::NotBegun);
        }
        let Some(caveat) = &term.caveat else { return Ok(Hold::Holds) };
        Ok(match self.checker.caveat(caveat, slot, resource)? {
            Value::Yes => Hold::Holds,
            Value::No => Hold::ConditionFalse,
            Value::Maybe(missing) => Hold::MissingContext(self.checker.conditions().missing(&missing)),
            Value::Fault(_) => Hold::ConditionFailed,
        })
    }

    /// The relationships of a way, in its order, and after them those that only guard it. None comes twice. `None` where there
    /// are more than may be shown.
    fn steps(&mut self, picked: &Picked<'a>) -> Result<Option<Vec<Step>>, GraphError> {
        let mut seen = BTreeSet::new();
        let guards = picked.guards.iter().map(|key| {
            let serves = State::new(self.evaluation.plan.table(key.slot).relation, key.resource);
            (0, serves, *key)
        });
        let mut wanted: Vec<_> = picked.edges.iter().copied().chain(guards).collect();
        wanted.retain(|(_, _, key)| seen.insert(*key));
        let Some(left) = self.steps_left.checked_sub(wanted.len()) else {
            self.cut = true;
            return Ok(None);
        };
        self.steps_left = left;
        wanted.into_iter().map(|(depth, serves, key)| self.step(depth, serves, key)).collect::<Result<_, _>>().map(Some)
    }

    fn step(&mut self, depth: u32, serves: State, key: EdgeKey) -> Result<Step, GraphError> {
        let plan = self.evaluation.plan;
        let table = plan.table(key.slot);
        let missing =
            || GraphError::Storage(stonetown_storage::StorageError::Damaged("an edge was not found again".into()));
        let mut stored: Vec<Edge> = Vec::new();
        self.evaluation.snapshot.scan_row(
            table.id.ok_or_else(missing)?,
            Direction::Forward,
            key.resource,
            key.subject,
            &mut |edge| {
                if edge.subject != key.subject {
                    return ControlFlow::Break(());
                }
                stored.push(edge.clone());
                ControlFlow::Continue(())
            },
        )?;
        // The best source, and of those the one that lasts longest.
        let mut best: Option<(Hold, Edge)> = None;
        for edge in stored {
            let state = self.hold_of(&Term::from(&edge), key.slot, key.resource)?;
            let lasts = |edge: &Edge| edge.expires_at.unwrap_or(stonetown_tuple::Timestamp::MAX);
            if best.as_ref().is_none_or(|(known, other)| (&state, lasts(other)) < (known, lasts(&edge))) {
                best = Some((state, edge));
            }
        }
        let (state, edge) = best.ok_or_else(missing)?;
        let relations = self.checker.relations();
        let condition = edge.caveat.as_ref().and_then(|caveat| plan.schema().caveat(caveat.name.as_str()));
        Ok(Step {
            depth,
            resource: object_ref(plan, relations, plan.node(serves.node()).owner, serves.object())?,
            name: plan.node(serves.node()).name.clone(),
            relationship: Relationship {
                resource: object_ref(plan, relations, table.resource_type, key.resource)?,
                relation: plan.node(table.relation).name.clone(),
                subject: subject_ref(plan, relations, table.class, key.subject)?,
                caveat: edge.caveat.as_deref().cloned(),
                not_before: edge.not_before,
                expires_at: edge.expires_at,
            },
            source: edge.source,
            written: edge.written,
            state,
            condition: condition.map(|definition| definition.caveat.expression().to_owned()),
            essential: false,
        })
    }

    /// A way with obstacles, if it has been tried that it would lead to the subject without them, and does not with them.
    fn miss(
        &mut self,
        weighed: &Weighed<'a>,
        picked: &Picked<'a>,
        asked: &Alone<'_>,
    ) -> Result<Option<Miss>, GraphError> {
        let Some(path) = self.steps(picked)? else { return Ok(None) };
        let mut miss = Miss { path, exclusions: Vec::new(), lacking: Vec::new() };
        let mut lacking = Vec::new();
        for obstacle in &picked.obstacles {
            match weighed.obstacle(*obstacle) {
                Obstacle::Edge => {}
                Obstacle::Lacking(what) => lacking.push(*what),
                Obstacle::Excluded { by, picked } => {
                    let Some(path) = self.steps(picked)? else { return Ok(None) };
                    miss.exclusions.push(Excluded { by: self.text(*by)?, path });
                }
            }
        }
        miss.lacking = self.words(lacking)?;
        asked.mark_needed(&mut miss)
    }

    /// Parts in words, each once.
    fn words(&mut self, parts: Vec<Part<'a>>) -> Result<Vec<String>, GraphError> {
        let mut words = Vec::new();
        for part in parts {
            if words.len() == self.evaluation.limits.shown_max {
                self.cut = true;
                break;
            }
            let text = self.text(part)?;
            if !words.contains(&text) {
                words.push(text);
            }
        }
        Ok(words)
    }

    /// A part in words.
    fn text(&self, part: Part<'_>) -> Result<String, GraphError> {
        let plan = self.evaluation.plan;
        let (owner, object) = match part {
            Part::State(state) => (state.node(), state.object()),
            Part::Of(_, owner, object) => (owner, object),
        };
        let at = object_ref(plan, self.checker.relations(), plan.node(owner).owner, object)?.to_string();
        let mut text = String::new();
        match part {
            Part::State(state) => text = format!("{at}#{}", plan.node(state.node()).name),
            Part::Of(expression, _, _) => self.write(expression, &at, &mut text),
        }
        Ok(text)
    }

    /// Writes an expression at an object, until there is too much of it.
    fn write(&self, expression: &Expression, at: &str, text: &mut String) {
        let plan = self.evaluation.plan;
        if text.len() > WORDS_BYTES_MAX {
            if !text.ends_with('…') {
                text.push('…');
            }
            return;
        }
        match expression {
            Expression::Nil => text.push_str("nil"),
            Expression::Itself => text.push_str(&format!("{at} itself")),
            Expression::Node(node) => text.push_str(&format!("{at}#{}", plan.node(*node).name)),
            Expression::Arrow(arrow) => {
                let relation = &plan.node(arrow.relation).name;
                let target = &arrow.target;
                let leads = if arrow.all { format!(".all({target})") } else { format!("->{target}") };
                text.push_str(&format!("{at}#{relation}{leads}"));
            }
            Expression::Union(parts) => self.write_all(parts.iter(), " + ", at, text),
            Expression::Intersection(parts) => self.write_all(parts.iter(), " & ", at, text),
            Expression::Exclusion(exclusion) => {
                self.write_all([&exclusion.left, &exclusion.right].into_iter(), " - ", at, text);
            }
        }
    }

    fn write_all<'p>(&self, parts: impl Iterator<Item = &'p Expression>, with: &str, at: &str, text: &mut String) {
        text.push('(');
        for (number, part) in parts.enumerate() {
            if number > 0 && !text.ends_with('…') {
                text.push_str(with);
            }
            self.write(part, at, text);
        }
        text.push(')');
    }
}
