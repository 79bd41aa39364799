//! Computing values where membership is more than reachability: intersections, exclusions, arrows over all, and caveats
//! that cannot be decided.
//!
//! The values of a recursive schema over cyclic relationships are the least ones that fit together. They are computed from
//! the question down: a state that is needed is evaluated with the values that others have so far, `No` at first; when a
//! value grows, what was computed from it is computed again. Values only grow, so this ends, and what nobody asks for is
//! never computed.
//!
//! The right side of an exclusion must be final before it is negated. Where it cannot lead back to the exclusion, it is,
//! once evaluated. Where it can, it is evaluated in a *frame* in which the state that the exclusion belongs to is a fault;
//! values that depend on that are forgotten with the frame.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use stonetown_storage::{Direction, Ordinal};

use super::{Checker, State};
use crate::error::GraphError;
use crate::fault::{PlantedFault, planted};
use crate::membership::{Fault, Value};
use crate::plan::{Arrow, Body, Exclusion, Expression, NodeId, Slot, Step, SubjectClass};

/// Values by state, all for the same open exclusions.
#[derive(Default)]
pub(super) struct Memo {
    entries: FxHashMap<State, Entry>,
    /// States whose values may still grow, in the order in which they were met.
    open: Vec<State>,
    /// Values of right sides that can lead back, by owner and place of the exclusion.
    rights: FxHashMap<(State, usize), Value>,
}

/// What is known of a state.
#[derive(Debug, Default)]
struct Entry {
    value: Value,
    stage: Stage,
    /// Whether the value still fits what it was computed from.
    fits: bool,
    /// Whether its names and kind of fault were reset once all levels were known.
    named: bool,
    /// The number of the outermost call that the value depends on.
    low: u64,
    /// Who was computed from the value.
    readers: SmallVec<[State; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// The value may yet grow.
    #[default]
    Open,
    /// It is being computed, by the call of this number.
    Called(u64),
    /// It cannot change any more.
    Final,
}

/// The right side of an exclusion that can lead back.
pub(super) struct Frame {
    /// The state that the exclusion belongs to.
    owner: State,
    memo: Memo,
}

/// Who asks for a value.
#[derive(Clone, Copy)]
struct Asker {
    /// The state that is being evaluated, to be told when the value grows; `None` if the value is to be final.
    reader: Option<State>,
    /// Whether the asker is monotone: a walk has been tried, and was uncertain.
    walked: bool,
}

/// Bytes of stack that must be left before another state is evaluated, and bytes to add then.
const STACK_RED_ZONE: usize = 64 << 10;
const STACK_SEGMENT: usize = 1 << 20;
/// What a state being evaluated holds, roughly.
const STATE_BYTES: u64 = 128;

/// A state that nothing still open depends on.
const NOTHING: u64 = u64::MAX;

impl Checker<'_> {
    /// The value of a part of the expression of `owner`, or of another node of its type, for an object.
    pub(crate) fn value_of(
        &mut self,
        expression: &Expression,
        owner: NodeId,
        object: Ordinal,
    ) -> Result<Value, GraphError> {
        self.expression(expression, State::new(owner, object), Asker { reader: None, walked: false })
    }

    /// The value of a state. Final, unless `reader` is being evaluated itself.
    pub(super) fn solve(&mut self, node: NodeId, object: Ordinal, reader: Option<State>) -> Result<Value, GraphError> {
        if !self.plan.can_hold(node, self.class) {
            return Ok(Value::No);
        }
        if self.is_subject(SubjectClass::Userset(node), object) && !planted(PlantedFault::IdentityIgnored) {
            return Ok(Value::Yes);
        }
        let state = State::new(node, object);
        if self.frames.iter().any(|frame| frame.owner == state) {
            self.note_cycle(state);
            if planted(PlantedFault::ExclusionCycleIsNo) {
                return Ok(Value::No);
            }
            return Ok(Value::Fault(Fault::Cycle));
        }
        let level = self.level_of(node);
        let reader = reader.filter(|reader| self.level_of(reader.node()) == level);
        if let Some(entry) = self.memo(level).entries.get_mut(&state)
            && (entry.fits || entry.stage != Stage::Open)
        {
            let low = match entry.stage {
                Stage::Final => NOTHING,
                Stage::Called(at) => at,
                Stage::Open => entry.low,
            };
            if entry.stage != Stage::Final {
                entry.readers.extend(reader);
            }
            let value = entry.value.clone();
            self.low = self.low.min(low);
            self.cached += 1;
            return Ok(value);
        }
        self.meter.depth_reached(self.path.len() + 1)?;
        self.meter.bytes_held(STATE_BYTES)?;
        self.path.push(state);
        let value = stacker::maybe_grow(STACK_RED_ZONE, STACK_SEGMENT, || self.settle(state, level));
        self.path.pop();
        if let Some(reader) = reader
            && let Some(entry) = self.memo(level).entries.get_mut(&state)
            && entry.stage != Stage::Final
        {
            entry.readers.push(reader);
        }
        value
    }

    /// Evaluates a state until its value fits, and all that was met on the way as well if nothing outside is needed.
    fn settle(&mut self, state: State, level: usize) -> Result<Value, GraphError> {
        // A number that no later call has again, as its place on the path might be.
        let at = self.subproblems;
        let low = self.memo(level).open(state);
        let outer_low = std::mem::replace(&mut self.low, low);
        loop {
            self.meter.edges_seen(1)?;
            self.memo(level).call(state, at);
            self.subproblems += 1;
            let value = self.evaluate(state)?;
            let low = self.low;
            let memo = self.memo(level);
            if !memo.take(state, value, low) {
                continue;
            }
            if low < at && !planted(PlantedFault::UnfinishedValueKept) {
                // Part of something larger, which an outer state will close.
                let value = memo.value(state);
                self.low = outer_low.min(low);
                return Ok(value);
            }
            if memo.close(state, low == at) {
                let value = memo.value(state);
                self.low = outer_low;
                return Ok(value);
            }
        }
    }

    fn evaluate(&mut self, state: State) -> Result<Value, GraphError> {
        let plan = self.plan;
        let (id, object) = (state.node(), state.object());
        let node = plan.node(id);
        let asker = Asker { reader: Some(state), walked: node.monotone };
        match &node.body {
            Body::Relation(slots) => self.relation(slots, object, asker),
            Body::Permission(expression) => self.expression(expression, state, asker),
        }
    }

    fn relation(&mut self, slots: &[Slot], object: Ordinal, asker: Asker) -> Result<Value, GraphError> {
        let plan = self.plan;
        let mut value = Value::No;
        for slot in slots {
            match plan.table(*slot).class {
                SubjectClass::Userset(target) => {
                    value = value.or(self.any_of(Step { table: *slot, target }, object, asker)?);
                }
                class if class == self.class || self.covers_usersets(*slot) => {
                    value = value.or(self.direct(*slot, object)?);
                }
                SubjectClass::Object(_) => {}
            }
            if value.is_yes() {
                break;
            }
        }
        Ok(value)
    }

    fn expression(&mut self, expression: &Expression, state: State, asker: Asker) -> Result<Value, GraphError> {
        match expression {
            Expression::Nil => Ok(Value::No),
            Expression::Itself => {
                let class = SubjectClass::Object(self.plan.node(state.node()).owner);
                Ok(if self.is_subject(class, state.object()) { Value::Yes } else { Value::No })
            }
            Expression::Node(node) => self.ask(*node, state.object(), asker),
            Expression::Arrow(arrow) if arrow.all => self.arrow_over_all(arrow, state.object(), asker),
            Expression::Arrow(arrow) => self.arrow(arrow, state.object(), asker),
            Expression::Union(operands) => {
                let mut value = Value::No;
                for operand in operands {
                    value = value.or(self.expression(operand, state, asker)?);
                    if value.is_yes() || (planted(PlantedFault::UnionEndsAtMaybe) && !value.is_no()) {
                        break;
                    }
                }
                Ok(value)
            }
            Expression::Intersection(operands) => {
                let mut value = Value::Yes;
                for operand in operands {
                    value = value.and(self.expression(operand, state, asker)?);
                    if value.is_no() {
                        break;
                    }
                }
                Ok(value)
            }
            Expression::Exclusion(exclusion) => {
                let left = self.expression(&exclusion.left, state, asker)?;
                if left.is_no() || planted(PlantedFault::ExclusionDropped) {
                    return Ok(left);
                }
                let right = self.right_side(exclusion, state)?;
                Ok(left.minus(right))
            }
        }
    }

    fn right_side(&mut self, exclusion: &Exclusion, state: State) -> Result<Value, GraphError> {
        let asker = Asker { reader: None, walked: false };
        if !exclusion.cyclic {
            return self.expression(&exclusion.right, state, asker);
        }
        let key = (state, std::ptr::from_ref(exclusion) as usize);
        let level = self.level_of(state.node());
        if let Some(known) = self.memo(level).rights.get(&key) {
            return Ok(known.clone());
        }
        let low = std::mem::replace(&mut self.low, NOTHING);
        self.frames.push(Frame { owner: state, memo: Memo::default() });
        let value = self.expression(&exclusion.right, state, asker)?;
        self.frames.pop();
        self.low = low;
        self.memo(level).rights.insert(key, value.clone());
        Ok(value)
    }

    fn arrow(&mut self, arrow: &Arrow, object: Ordinal, asker: Asker) -> Result<Value, GraphError> {
        let mut value = Value::No;
        for hop in &arrow.hops {
            if let Some(target) = hop.target {
                value = value.or(self.any_of(Step { table: hop.table, target }, object, asker)?);
                if value.is_yes() {
                    break;
                }
            }
        }
        Ok(value)
    }

    /// In the target on the other end of at least one edge.
    fn any_of(&mut self, step: Step, object: Ordinal, asker: Asker) -> Result<Value, GraphError> {
        let mut value = Value::No;
        if !self.plan.can_hold(step.target, self.class) || self.relations.is_empty(step.table) {
            return Ok(value);
        }
        let mut row = self.relations.row(step.table, Direction::Forward, object)?;
        if self.plan.node(step.target).monotone
            && let Some(closure) = self.closure_for(step, object, &row)?
        {
            let certain = self.closures[closure].is_certain();
            for (other, condition) in self.hits(&mut row, step.table, object, closure)? {
                let inside = if certain { Value::Yes } else { self.ask(step.target, other, asker)? };
                value = value.or(condition.and(inside));
                if value.is_yes() {
                    break;
                }
            }
            return Ok(value);
        }
        while let Some(link) = row.next()? {
            self.meter.edges_seen(1)?;
            let (other, condition) = (link.other, self.condition(link.terms, step.table, object)?);
            // No arrow leads through everybody.
            if condition.is_no() || other == Ordinal::WILDCARD {
                continue;
            }
            value = value.or(condition.and(self.ask(step.target, other, asker)?));
            if value.is_yes() {
                break;
            }
        }
        Ok(value)
    }

    /// In the target on the other end of every edge there is, and there is one.
    fn arrow_over_all(&mut self, arrow: &Arrow, object: Ordinal, asker: Asker) -> Result<Value, GraphError> {
        let mut value = None;
        for hop in &arrow.hops {
            let mut row = self.relations.row(hop.table, Direction::Forward, object)?;
            while let Some(link) = row.next()? {
                self.meter.edges_seen(1)?;
                if !self.conditions.is_live(link.terms) || link.other == Ordinal::WILDCARD {
                    continue;
                }
                let (other, condition) = (link.other, self.condition(link.terms, hop.table, object)?);
                let inside = match hop.target {
                    None if planted(PlantedFault::AllPassesOverOtherTypes) => continue,
                    Some(target) if !condition.is_no() => self.ask(target, other, asker)?,
                    _ => Value::No,
                };
                let both = value.unwrap_or(Value::Yes).and(condition).and(inside);
                if both.is_no() {
                    return Ok(Value::No);
                }
                value = Some(both);
            }
        }
        let of_none = if planted(PlantedFault::AllOfNoneIsEverybody) { Value::Yes } else { Value::No };
        Ok(value.unwrap_or(of_none))
    }

    /// The value of another state, by a walk where that can be enough.
    fn ask(&mut self, node: NodeId, object: Ordinal, asker: Asker) -> Result<Value, GraphError> {
        if !self.plan.can_hold(node, self.class) {
            return Ok(Value::No);
        }
        if self.plan.node(node).monotone {
            let known = if asker.walked { self.reached(State::new(node, object)) } else { self.reach(node, object)? };
            if let Some(known) = known {
                return Ok(known);
            }
        }
        self.solve(node, object, asker.reader)
    }

    /// The outermost frame whose values a node can see, counted from 1; 0 if it depends on none of the exclusions.
    fn level_of(&self, node: NodeId) -> usize {
        let seen = self.frames.iter().rposition(|frame| self.plan.depends(node, frame.owner.node()));
        seen.map_or(0, |at| at + 1)
    }

    fn memo(&mut self, level: usize) -> &mut Memo {
        match level.checked_sub(1) {
            None => &mut self.scratch.memo,
            Some(at) => &mut self.frames[at].memo,
        }
    }

    /// Remembers the way round an exclusion, for the error message.
    fn note_cycle(&mut self, back_at: State) {
        /// States that are named at either end of a long way.
        const ENDS: usize = 8;
        if self.cycle.is_some() {
            return;
        }
        let from = self.path.iter().position(|state| *state == back_at).unwrap_or(0);
        let round: Vec<State> = self.path[from..].iter().copied().chain([back_at]).collect();
        let name = |state: &State| {
            let node = self.plan.node(state.node());
            let id = self.relations.object_id(node.owner, state.object());
            let id = id.unwrap_or_else(|_| "?".into());
            format!("{}:{id}#{}", self.plan.object_type(node.owner).name, node.name)
        };
        let mut names: Vec<String> = Vec::new();
        if round.len() <= 2 * ENDS {
            names.extend(round.iter().map(name));
        } else {
            names.extend(round[..ENDS].iter().map(name));
            names.push("...".to_owned());
            names.extend(round[round.len() - ENDS..].iter().map(name));
        }
        self.cycle = Some(names.join(" -> "));
    }
}

impl Memo {
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.open.clear();
        self.rights.clear();
    }

    fn value(&self, state: State) -> Value {
        self.entries.get(&state).map_or(Value::No, |entry| entry.value.clone())
    }

    /// Notes that a state has been met. The outermost call that it is known to depend on.
    fn open(&mut self, state: State) -> u64 {
        if let Some(entry) = self.entries.get(&state) {
            return entry.low;
        }
        self.entries.insert(state, Entry { low: NOTHING, ..Entry::default() });
        self.open.push(state);
        NOTHING
    }

    fn call(&mut self, state: State, at: u64) {
        if let Some(entry) = self.entries.get_mut(&state) {
            entry.stage = Stage::Called(at);
            entry.fits = true;
        }
    }

    /// Takes in the value of a state that was called, and has those computed again that were computed from a lesser one.
    /// Whether the state itself is not among them.
    fn take(&mut self, state: State, value: Value, low: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&state) else { return true };
        entry.stage = Stage::Open;
        entry.low = low;
        let grown = entry.value.clone().or(value);
        if grown == entry.value {
            return entry.fits;
        }
        entry.value = grown;
        let mut open = std::mem::take(&mut entry.readers);
        while let Some(reader) = open.pop() {
            if let Some(entry) = self.entries.get_mut(&reader) {
                entry.fits = false;
                open.extend(std::mem::take(&mut entry.readers));
            }
        }
        self.entries.get(&state).is_none_or(|entry| entry.fits)
    }

    /// Makes all states final that were met since `head`, which depends on nothing further out; whether that could be
    /// done. Where they depend on each other, their levels are right by now, but a name may be left of a time when some
    /// level was not; then all names must be found once more, with the levels fixed.
    fn close(&mut self, head: State, cyclic: bool) -> bool {
        let start = self.open.iter().rposition(|state| *state == head).unwrap_or(0);
        let members = self.open.split_off(start);
        let undecided = |memo: &Memo, state: &State| {
            memo.entries.get(state).is_some_and(|entry| !entry.value.is_yes() && !entry.value.is_no())
        };
        let unnamed = |state: &State| self.entries.get(state).is_some_and(|entry| !entry.named);
        let cyclic = cyclic || members.len() > 1;
        let names_left = planted(PlantedFault::UnfinishedNamesKept);
        let again = cyclic && members.iter().any(unnamed) && undecided(self, &head) && !names_left;
        for state in members {
            let is_undecided = undecided(self, &state);
            let Some(entry) = self.entries.get_mut(&state) else { continue };
            if !entry.fits || (cyclic && !again && is_undecided && !entry.named && !names_left) {
                self.entries.remove(&state);
            } else if again {
                entry.named = true;
                if is_undecided {
                    entry.value = std::mem::take(&mut entry.value).bare();
                    entry.fits = false;
                    entry.readers.clear();
                }
                self.open.push(state);
            } else {
                entry.stage = Stage::Final;
                entry.readers = SmallVec::new();
            }
        }
        !again
    }
}
