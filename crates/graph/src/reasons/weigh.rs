//! Ways as a graph of choices: what is needed together, and what will do one or the other way. States (a relation or
//! permission of an object) are looked at from the question outwards, a ring at a time; then every state is given the cost of
//! its cheapest way, first the obstacles on it, then its relationships. A cost is greater than those it is made of, so that
//! the cheapest way never comes back to where it has been, whatever cycles there are.

use rustc_hash::{FxHashMap, FxHashSet};
use stonetown_storage::{Direction, Ordinal};

use super::{EdgeKey, Hold, Looker};
use crate::check::{Checker, State};
use crate::error::GraphError;
use crate::membership::Value;
use crate::plan::{Arrow, Body, Expression, NodeId, Slot, SubjectClass};

/// Relationships of one row that are considered for a way where all of them will do.
const CHOICES_MAX: usize = 256;
/// Ways within ways: those to the right sides of exclusions, which may lead back to where they began.
const NESTED_MAX: usize = 8;
/// Rounds in which costs are settled; one is enough for most ways, however long.
const ROUNDS_MAX: usize = 1_000;
/// Bytes that one choice takes, roughly.
const CHOICE_BYTES: u64 = 128;
/// Bytes of stack that must be left before another expression is looked at, and bytes to add then.
const STACK_RED_ZONE: usize = 64 << 10;
const STACK_SEGMENT: usize = 1 << 20;
/// What it costs to lack a part altogether, in obstacles: more than to have one that is barred.
const LACKING: u32 = 4;

/// Which ways are looked for.
pub(super) enum Mode<'a> {
    /// Those on which everything holds.
    Yes,
    /// Those on which everything holds or depends on missing parameters.
    Maybe,
    /// Those that would hold but for obstacles. The checker takes every relationship for one that holds.
    Near(Box<Checker<'a>>),
}

/// A part of what is asked, at an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// A relation or permission.
    State(State),
    /// An expression of the type that the node belongs to.
    Of(&'a Expression, NodeId, Ordinal),
}

/// What bars a way.
pub(super) enum Obstacle<'a> {
    /// A relationship that does not hold.
    Edge,
    /// The subject is in this as well, by this way.
    Excluded {
        /// What it is in.
        by: Part<'a>,
        /// The way.
        picked: Picked<'a>,
    },
    /// There is no way to this.
    Lacking(Part<'a>),
}

/// Numbers an obstacle.
pub(super) type ObstacleId = usize;

/// The relationships of a way.
#[derive(Debug, Clone, Default)]
pub(super) struct Picked<'a> {
    /// Each with its distance from the question and the state it serves.
    pub(super) edges: Vec<(u32, State, EdgeKey)>,
    /// Relationships that keep exclusions from applying.
    pub(super) guards: Vec<EdgeKey>,
    /// What is in its way.
    pub(super) obstacles: Vec<ObstacleId>,
    /// Exclusions that do not apply.
    pub(super) not_in: Vec<Part<'a>>,
}

/// Obstacles, then relationships.
type Cost = (u32, u32);

/// How a state, or a part of its expression, can be had.
pub(super) enum Choice<'a> {
    /// It is given.
    Given,
    /// By a relationship that leads on; with the number of an obstacle if it does not hold.
    Edge(EdgeKey, Option<ObstacleId>, Box<Choice<'a>>),
    /// As another state.
    Of(usize),
    /// By any of these; by none if there is none.
    Any(Vec<Choice<'a>>),
    /// By all of these, each of which can be an obstacle if it cannot be had at all.
    All(Vec<(Choice<'a>, Option<ObstacleId>)>),
    /// By this, unless the obstacle bars it; guarded by relationships where it does not.
    Unless { left: Box<Choice<'a>>, obstacle: Option<ObstacleId>, guards: Vec<EdgeKey>, of: Part<'a> },
}

struct Entry<'a> {
    state: State,
    choice: Option<Choice<'a>>,
    cost: Option<Cost>,
}

/// The states that have been looked at.
pub(super) struct Weighed<'a> {
    mode: Mode<'a>,
    /// What is asked about.
    root: State,
    entries: Vec<Entry<'a>>,
    known: FxHashMap<State, usize>,
    obstacles: Vec<Obstacle<'a>>,
    barred: FxHashSet<ObstacleId>,
}

impl<'a> Weighed<'a> {
    pub(super) fn new(mode: Mode<'a>, root: State) -> Self {
        Weighed {
            mode,
            root,
            entries: Vec::new(),
            known: FxHashMap::default(),
            obstacles: Vec::new(),
            barred: FxHashSet::default(),
        }
    }

    /// The cheapest way to an expression, at an object of the type that `owner` belongs to.
    pub(super) fn of(
        looker: &mut Looker<'a, '_>,
        mode: Mode<'a>,
        part: Part<'a>,
    ) -> Result<Option<Picked<'a>>, GraphError> {
        if looker.nested == NESTED_MAX {
            looker.cut = true;
            return Ok(None);
        }
        looker.nested += 1;
        let root = match part {
            Part::State(state) => state,
            Part::Of(_, owner, object) => State::new(owner, object),
        };
        let mut weighed = Weighed::new(mode, root);
        let root = weighed.part(looker, part)?;
        weighed.grow(looker, &root)?;
        looker.nested -= 1;
        Ok(weighed.pick(&root))
    }

    pub(super) fn obstacle(&self, id: ObstacleId) -> &Obstacle<'a> {
        &self.obstacles[id]
    }

    /// The obstacle of a way without which other ways come to light: what is lacking is often lacking on all of them.
    pub(super) fn worth_barring(&self, picked: &Picked<'a>) -> Option<ObstacleId> {
        let is_there = |id: &&ObstacleId| !matches!(self.obstacles[**id], Obstacle::Lacking(_));
        picked.obstacles.iter().find(is_there).or(picked.obstacles.first()).copied()
    }

    /// Leaves out all ways with an obstacle from now on.
    pub(super) fn bar(&mut self, looker: &mut Looker<'a, '_>, obstacle: ObstacleId) -> Result<(), GraphError> {
        self.barred.insert(obstacle);
        self.weigh(looker)
    }

    /// Looks at states, nearest first, until there is a way without obstacles or nothing more to look at.
    pub(super) fn grow(&mut self, looker: &mut Looker<'a, '_>, root: &Choice<'a>) -> Result<(), GraphError> {
        let (mut done, mut weigh_at) = (0, 0);
        while done < self.entries.len() {
            let ring = self.entries.len();
            while done < ring && looker.room() {
                let state = self.entries[done].state;
                self.entries[done].choice = Some(self.state(looker, state.node(), state.object())?);
                done += 1;
            }
            // Weighing goes through all of them: not after every ring of a long chain.
            let is_last = done == self.entries.len() || looker.left == 0;
            if is_last || self.entries.len() >= weigh_at {
                self.weigh(looker)?;
                weigh_at = self.entries.len() + self.entries.len() / 2;
                if is_last || self.cost(root).is_some_and(|(obstacles, _)| obstacles == 0) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Gives every state its cost. Costs only fall, and each by way of one that has fallen before: what is chosen by them never
    /// leads back, also where they are not settled yet.
    fn weigh(&mut self, looker: &mut Looker<'a, '_>) -> Result<(), GraphError> {
        for entry in &mut self.entries {
            entry.cost = None;
        }
        // What is farther is found from near it, as states are gone through backwards.
        for _ in 0..ROUNDS_MAX {
            looker.checker.meter().still_wanted()?;
            let mut changed = false;
            for at in (0..self.entries.len()).rev() {
                let cost = self.entries[at].choice.as_ref().and_then(|choice| self.cost(choice));
                if cost.is_some() && cost != self.entries[at].cost {
                    changed = true;
                    self.entries[at].cost = cost;
                }
            }
            if !changed {
                return Ok(());
            }
        }
        looker.cut = true;
        Ok(())
    }

    fn cost(&self, choice: &Choice<'a>) -> Option<Cost> {
        let free = |obstacle: Option<ObstacleId>| obstacle.is_none_or(|id| !self.barred.contains(&id));
        match choice {
            Choice::Given => Some((0, 0)),
            Choice::Edge(_, obstacle, then) => {
                let (obstacles, size) = self.cost(then).filter(|_| free(*obstacle))?;
                Some((obstacles + u32::from(obstacle.is_some()), size.saturating_add(1)))
            }
            Choice::Of(at) => self.entries[*at].cost.map(|(obstacles, size)| (obstacles, size.saturating_add(1))),
            Choice::Any(choices) => choices.iter().filter_map(|choice| self.cost(choice)).min(),
            Choice::All(parts) => {
                let mut had = parts.is_empty();
                let mut sum: Cost = (0, 0);
                for (part, lacking) in parts {
                    let own = self.cost(part);
                    had |= own.is_some();
                    let lacked = lacking.filter(|_| free(*lacking)).map(|_| (LACKING, 0));
                    let (obstacles, size) = own.into_iter().chain(lacked).min()?;
                    sum = (sum.0.saturating_add(obstacles), sum.1.saturating_add(size));
                }
                had.then_some(sum)
            }
            Choice::Unless { left, obstacle, .. } => {
                let (obstacles, size) = self.cost(left).filter(|_| free(*obstacle))?;
                Some((obstacles + u32::from(obstacle.is_some()), size))
            }
        }
    }

    /// The cheapest way, if there is one. What is needed twice is in it once.
    pub(super) fn pick(&self, root: &Choice<'a>) -> Option<Picked<'a>> {
        self.cost(root)?;
        let mut picked = Picked::default();
        let serves = match root {
            Choice::Of(at) => self.entries[*at].state,
            _ => self.root,
        };
        let mut seen = FxHashSet::default();
        let mut open = vec![(root, 0_u32, serves)];
        while let Some((choice, depth, serves)) = open.pop() {
            match choice {
                Choice::Given => {}
                Choice::Edge(key, obstacle, then) => {
                    picked.edges.push((depth, serves, *key));
                    picked.obstacles.extend(obstacle);
                    let serves = if let Choice::Of(at) = &**then { self.entries[*at].state } else { serves };
                    open.push((&**then, depth + 1, serves));
                }
                Choice::Of(at) => {
                    let choice = self.entries[*at].choice.as_ref().filter(|_| seen.insert(*at));
                    open.extend(choice.map(|choice| (choice, depth, serves)));
                }
                Choice::Any(choices) => {
                    let costs = choices.iter().filter_map(|choice| Some((self.cost(choice)?, choice)));
                    let cheapest = costs.min_by_key(|(cost, _)| *cost);
                    open.extend(cheapest.map(|(_, choice)| (choice, depth, serves)));
                }
                Choice::All(parts) => {
                    // The last is taken first.
                    for (part, lacking) in parts.iter().rev() {
                        match (self.cost(part), lacking) {
                            (Some(cost), Some(lacking)) if cost > (LACKING, 0) && !self.barred.contains(lacking) => {
                                picked.obstacles.push(*lacking);
                            }
                            (Some(_), _) => open.push((part, depth, serves)),
                            (None, lacking) => picked.obstacles.extend(lacking),
                        }
                    }
                }
                Choice::Unless { left, obstacle, guards, of } => {
                    open.push((&**left, depth, serves));
                    picked.obstacles.extend(obstacle);
                    picked.guards.extend(guards);
                    picked.not_in.extend(obstacle.is_none().then_some(*of));
                }
            }
        }
        Some(picked)
    }

    fn new_obstacle(&mut self, obstacle: Obstacle<'a>) -> ObstacleId {
        self.obstacles.push(obstacle);
        self.obstacles.len() - 1
    }

    /// A state as a choice; none if it cannot be had in any case.
    fn enter(
        &mut self,
        looker: &mut Looker<'a, '_>,
        node: NodeId,
        object: Ordinal,
    ) -> Result<Option<Choice<'a>>, GraphError> {
        if looker.is_subject(SubjectClass::Userset(node), object) {
            return Ok(Some(Choice::Given));
        }
        let plan = looker.evaluation.plan;
        let possible = plan.can_hold(node, looker.class)
            && match &mut self.mode {
                Mode::Yes => looker.checker.member(node, object)?.is_yes(),
                Mode::Maybe => matches!(looker.checker.member(node, object)?, Value::Yes | Value::Maybe(_)),
                Mode::Near(lenient) => !plan.node(node).monotone || !lenient.member(node, object)?.is_no(),
            };
        if !possible {
            return Ok(None);
        }
        let state = State::new(node, object);
        let at = *self.known.entry(state).or_insert_with(|| {
            self.entries.push(Entry { state, choice: None, cost: None });
            self.entries.len() - 1
        });
        Ok(Some(Choice::Of(at)))
    }

    fn state(&mut self, looker: &mut Looker<'a, '_>, node: NodeId, object: Ordinal) -> Result<Choice<'a>, GraphError> {
        let plan = looker.evaluation.plan;
        match &plan.node(node).body {
            Body::Permission(expression) => self.expression(looker, expression, node, object),
            Body::Relation(slots) => {
                let mut choices = Vec::new();
                for slot in slots {
                    match plan.table(*slot).class {
                        SubjectClass::Userset(target) => {
                            self.row(looker, *slot, Some(target), object, Some(CHOICES_MAX), &mut choices)?;
                        }
                        class if class == looker.class => self.direct(looker, *slot, object, &mut choices)?,
                        SubjectClass::Object(_) => {}
                    }
                }
                Ok(Choice::Any(choices))
            }
        }
    }

    /// The subject, or everybody, in a row.
    fn direct(
        &mut self,
        looker: &mut Looker<'a, '_>,
        slot: Slot,
        object: Ordinal,
        choices: &mut Vec<Choice<'a>>,
    ) -> Result<(), GraphError> {
        for subject in [looker.subject, Ordinal::WILDCARD] {
            let Some(found) = looker.checker.relations().find(slot, object, subject)? else { continue };
            let hold = looker.hold(found.terms(), slot, object)?;
            let key = EdgeKey { slot, resource: object, subject };
            choices.extend(self.edge(key, &hold, Choice::Given));
        }
        Ok(())
    }

    /// A relationship that leads to a choice, if it is worth one in this mode.
    fn edge(&mut self, key: EdgeKey, hold: &Hold, then: Choice<'a>) -> Option<Choice<'a>> {
        let obstacle = match (&self.mode, hold) {
            (_, Hold::Holds) | (Mode::Maybe, Hold::MissingContext(_)) => None,
            (Mode::Yes | Mode::Maybe, _) => return None,
            (Mode::Near(_), _) => Some(self.new_obstacle(Obstacle::Edge)),
        };
        Some(Choice::Edge(key, obstacle, Box::new(then)))
    }

    /// The relationships of a row that lead on to `target`, at most so many.
    fn row(
        &mut self,
        looker: &mut Looker<'a, '_>,
        slot: Slot,
        target: Option<NodeId>,
        object: Ordinal,
        choices_max: Option<usize>,
        choices: &mut Vec<Choice<'a>>,
    ) -> Result<(), GraphError> {
        let plan = looker.evaluation.plan;
        let Some(target) = target.filter(|target| plan.can_hold(*target, looker.class)) else { return Ok(()) };
        let mut row = looker.checker.relations().row(slot, Direction::Forward, object)?;
        let full = choices_max.map(|most| most + choices.len());
        while let Some(link) = row.next()? {
            looker.checker.meter().edges_seen(1)?;
            if link.other == Ordinal::WILDCARD {
                continue;
            }
            let hold = looker.hold(link.terms, slot, object)?;
            let worth = match self.mode {
                Mode::Yes => hold == Hold::Holds,
                Mode::Maybe => matches!(hold, Hold::Holds | Hold::MissingContext(_)),
                Mode::Near(_) => true,
            };
            if !worth {
                continue;
            }
            let Some(then) = self.enter(looker, target, link.other)? else { continue };
            if !looker.room() {
                break;
            }
            looker.checker.meter().bytes_held(CHOICE_BYTES)?;
            let key = EdgeKey { slot, resource: object, subject: link.other };
            choices.extend(self.edge(key, &hold, then));
            if full.is_some_and(|full| choices.len() >= full) {
                looker.cut |= matches!(self.mode, Mode::Near(_));
                break;
            }
        }
        Ok(())
    }

    /// How a part can be had.
    pub(super) fn part(&mut self, looker: &mut Looker<'a, '_>, part: Part<'a>) -> Result<Choice<'a>, GraphError> {
        match part {
            Part::State(state) => {
                Ok(self.enter(looker, state.node(), state.object())?.unwrap_or(Choice::Any(Vec::new())))
            }
            Part::Of(expression, owner, object) => self.expression(looker, expression, owner, object),
        }
    }

    fn expression(
        &mut self,
        looker: &mut Looker<'a, '_>,
        expression: &'a Expression,
        owner: NodeId,
        object: Ordinal,
    ) -> Result<Choice<'a>, GraphError> {
        looker.checker.meter().bytes_held(CHOICE_BYTES)?;
        stacker::maybe_grow(STACK_RED_ZONE, STACK_SEGMENT, || self.operation(looker, expression, owner, object))
    }

    fn operation(
        &mut self,
        looker: &mut Looker<'a, '_>,
        expression: &'a Expression,
        owner: NodeId,
        object: Ordinal,
    ) -> Result<Choice<'a>, GraphError> {
        Ok(match expression {
            Expression::Nil => Choice::Any(Vec::new()),
            Expression::Itself => {
                let class = SubjectClass::Object(looker.evaluation.plan.node(owner).owner);
                if looker.is_subject(class, object) { Choice::Given } else { Choice::Any(Vec::new()) }
            }
            Expression::Node(node) => self.part(looker, Part::State(State::new(*node, object)))?,
            Expression::Arrow(arrow) if arrow.all => self.arrow_over_all(looker, arrow, object)?,
            Expression::Arrow(arrow) => {
                let mut choices = Vec::new();
                for hop in &arrow.hops {
                    self.row(looker, hop.table, hop.target, object, Some(CHOICES_MAX), &mut choices)?;
                }
                Choice::Any(choices)
            }
            Expression::Union(parts) => {
                let parts: Result<Vec<_>, _> =
                    parts.iter().map(|part| self.expression(looker, part, owner, object)).collect();
                Choice::Any(parts?)
            }
            Expression::Intersection(parts) => {
                let mut all = Vec::with_capacity(parts.len());
                for part in parts {
                    let choice = self.expression(looker, part, owner, object)?;
                    let lacking = self.lacking(looker, Part::Of(part, owner, object))?;
                    all.push((choice, lacking));
                }
                Choice::All(all)
            }
            Expression::Exclusion(exclusion) => {
                let left = Box::new(self.expression(looker, &exclusion.left, owner, object)?);
                let of = Part::Of(&exclusion.right, owner, object);
                let mut guards = Vec::new();
                let right = looker.checker.value_of(&exclusion.right, owner, object)?;
                let mode = match right {
                    Value::No => {
                        looker.refute(&exclusion.right, owner, object, &mut guards)?;
                        return Ok(Choice::Unless { left, obstacle: None, guards, of });
                    }
                    Value::Yes => Mode::Yes,
                    Value::Maybe(_) => Mode::Maybe,
                    Value::Fault(_) => return Ok(Choice::Any(Vec::new())),
                };
                match (&self.mode, &mode) {
                    (Mode::Near(_), _) | (Mode::Maybe, Mode::Maybe) => {}
                    _ => return Ok(Choice::Any(Vec::new())),
                }
                let Some(picked) = Weighed::of(looker, mode, of)? else {
                    looker.cut = true;
                    return Ok(Choice::Any(Vec::new()));
                };
                if matches!(self.mode, Mode::Maybe) {
                    guards.extend(picked.edges.iter().map(|(_, _, key)| *key));
                    guards.extend(picked.guards);
                    return Ok(Choice::Unless { left, obstacle: None, guards, of });
                }
                let obstacle = Some(self.new_obstacle(Obstacle::Excluded { by: of, picked }));
                Choice::Unless { left, obstacle, guards, of }
            }
        })
    }

    /// The obstacle of having nothing of a part that is needed, where it can be one: the answer to the part is no.
    fn lacking(&mut self, looker: &mut Looker<'a, '_>, part: Part<'a>) -> Result<Option<ObstacleId>, GraphError> {
        if !matches!(self.mode, Mode::Near(_)) {
            return Ok(None);
        }
        let value = match part {
            Part::State(state) => looker.checker.member(state.node(), state.object())?,
            Part::Of(expression, owner, object) => looker.checker.value_of(expression, owner, object)?,
        };
        Ok(value.is_no().then(|| self.new_obstacle(Obstacle::Lacking(part))))
    }

    /// All objects that an arrow leads to are needed, those behind relationships that do not hold as well. Where it leads
    /// nowhere now, one that has ended or not begun would do.
    fn arrow_over_all(
        &mut self,
        looker: &mut Looker<'a, '_>,
        arrow: &Arrow,
        object: Ordinal,
    ) -> Result<Choice<'a>, GraphError> {
        let (mut parts, mut others) = (Vec::new(), Vec::new());
        for hop in &arrow.hops {
            let mut row = looker.checker.relations().row(hop.table, Direction::Forward, object)?;
            while let Some(link) = row.next()? {
                looker.checker.meter().edges_seen(1)?;
                let is_live = looker.checker.conditions().is_live(link.terms);
                let of_use = is_live || (matches!(self.mode, Mode::Near(_)) && others.len() < CHOICES_MAX);
                if !of_use || link.other == Ordinal::WILDCARD {
                    continue;
                }
                if !looker.room() {
                    return Ok(Choice::Any(Vec::new()));
                }
                looker.checker.meter().bytes_held(CHOICE_BYTES)?;
                let hold = looker.hold(link.terms, hop.table, object)?;
                let then = match hop.target {
                    Some(target) => self.enter(looker, target, link.other)?,
                    None => None,
                };
                let key = EdgeKey { slot: hop.table, resource: object, subject: link.other };
                if !is_live {
                    others.extend(then.and_then(|then| self.edge(key, &hold, then)));
                    continue;
                }
                let lacking = match hop.target {
                    Some(target) => self.lacking(looker, Part::State(State::new(target, link.other)))?,
                    None => None,
                };
                let choice = then.and_then(|then| self.edge(key, &hold, then)).unwrap_or(Choice::Any(Vec::new()));
                parts.push((choice, lacking));
            }
        }
        Ok(if parts.is_empty() { Choice::Any(others) } else { Choice::All(parts) })
    }
}
