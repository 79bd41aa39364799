//! What a change of relationships, of time or of the schema does to sets: the difference of two readings, looked for only
//! where there can be one.
//!
//! A direct set depends on relationships of its object alone, so a relationship can change only the children it stands for. A
//! computed set depends on all rows that a walk down from it reads; if none of these has changed, the walk before and the walk
//! after are the same, and so is the set. So the sets to read again are those from which a changed row is reached *after* the
//! change: found by walking up from the changed rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use rustc_hash::FxHashSet;
use stonetown_storage::{Direction, Ordinal, TableId};

use super::content::{Certainty, Reader};
use super::objects::Objects;
use super::shape::{Shape, ShapeBody};
use super::{Child, Kind};
use crate::check::State;
use crate::error::GraphError;
use crate::fault::{PlantedFault, planted};
use crate::plan::{NodeId, Plan, Slot, SubjectClass, Use};

/// Bytes that a set to be read again, or a child of one, is counted as.
const ENTRY_BYTES: u64 = 48;

/// Where a child stands among those of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which part of the set.
    pub part: u32,
    /// Which child of that part.
    pub number: u32,
}

/// A relationship that was written, replaced or ended, or that began or ceased to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Touched {
    /// Its table.
    pub table: TableId,
    /// Its resource.
    pub resource: Ordinal,
    /// Its subject.
    pub subject: Ordinal,
}

/// One of the two readings that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The earlier.
    Before,
    /// The later.
    After,
}

/// A child that a set has gained or lost, or of which more or less is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The relation or permission of the set.
    pub set: NodeId,
    /// The object of the set.
    pub object: Ordinal,
    /// The child.
    pub child: Child,
    /// What it was.
    pub before: Certainty,
    /// What it is.
    pub after: Certainty,
    /// In which reading numbers stand for names.
    pub side: Side,
}

/// Hands what differs to `visit`, in the order of the sets, given all relationships that differ. Both readers are of one
/// schema.
///
/// # Errors
/// When storage fails or a limit is exceeded; what was visited before is then not all.
pub fn changes(
    before: &mut Reader<'_>,
    after: &mut Reader<'_>,
    touched: &[Touched],
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, GraphError> {
    let sets = after.sets;
    let mut direct: BTreeSet<(usize, Ordinal, Child)> = BTreeSet::new();
    let mut rows = Vec::new();
    for touched in touched {
        let Some(slot) = sets.slot(touched.table) else { continue };
        rows.push((slot, touched.resource));
        for (shape, part) in sets.readers(slot) {
            if let ShapeBody::Direct { parts, .. } = &sets.shapes()[*shape].body {
                let child = Child { kind: parts[*part].child, object: touched.subject };
                direct.insert((*shape, touched.resource, child));
                after.meter.bytes_held(ENTRY_BYTES)?;
            }
        }
    }
    let mut computed = affected(after, &rows)?;
    for (shape, object) in reflexive(after, touched) {
        match &sets.shapes()[shape].body {
            ShapeBody::Direct { itself, .. } => {
                direct.extend(itself.iter().map(|class| (shape, object, Child { kind: Kind::Member(*class), object })));
            }
            ShapeBody::Computed { .. } => {
                computed.insert((shape, object));
            }
        }
    }
    for (shape, object, child) in direct {
        let shape = &sets.shapes()[shape];
        let (was, is) = (before.direct_child(shape, object, child)?, after.direct_child(shape, object, child)?);
        if visit_change(shape.node, object, child, (was, is), visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    for (shape, object) in computed {
        if recomputed(before, after, &sets.shapes()[shape], object, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Hands what differs to `visit` where the schema has changed, or where there was nothing before: compares all sets.
///
/// # Errors
/// As [`changes`].
pub fn rebuilt(
    mut before: Option<&mut Reader<'_>>,
    after: &mut Reader<'_>,
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, GraphError> {
    let names = Names::new(before.as_deref().map(|reader| reader.evaluation.plan), after.evaluation.plan);
    let earlier = before.as_deref().map(|reader| (reader.sets.shapes(), reader.evaluation.plan));
    let mut pairs: Vec<(Option<&Shape>, Option<&Shape>)> = Vec::new();
    for shape in after.sets.shapes() {
        let same =
            |(shapes, _): (&'_ [Shape], _)| shapes.iter().position(|old| names.later(old.node) == Some(shape.node));
        let old = earlier.and_then(same).and_then(|index| earlier.map(|(shapes, _)| &shapes[index]));
        pairs.push((old, Some(shape)));
    }
    for old in earlier.map(|(shapes, _)| shapes).unwrap_or_default() {
        let gone = names.later(old.node).is_none_or(|node| !after.sets.shapes().iter().any(|new| new.node == node));
        if gone {
            pairs.push((Some(old), None));
        }
    }
    for (old, new) in pairs {
        // The wildcard has no sets.
        let mut later = new.map(|shape| Objects::after(after, shape, Ordinal::WILDCARD));
        let earlier = before.as_deref().zip(old);
        let mut earlier = earlier.map(|(before, shape)| Objects::after(before, shape, Ordinal::WILDCARD));
        let mut next = (advance(&mut later, Some(&mut *after))?, advance(&mut earlier, before.as_deref_mut())?);
        while let Some(object) = next.0.into_iter().chain(next.1).min() {
            if next.0 == Some(object) {
                next.0 = advance(&mut later, Some(&mut *after))?;
            }
            if next.1 == Some(object) {
                next.1 = advance(&mut earlier, before.as_deref_mut())?;
            }
            let was = match (old, before.as_deref_mut()) {
                (Some(shape), Some(before)) => read(before, shape, object)?,
                _ => BTreeMap::new(),
            };
            let is = match new {
                Some(shape) => read(after, shape, object)?,
                None => BTreeMap::new(),
            };
            let nodes = (old.map(|shape| shape.node), new.map(|shape| shape.node));
            if compare(&names, nodes, object, &was, &is, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn visit_change(
    set: NodeId,
    object: Ordinal,
    child: Child,
    (before, after): (Certainty, Certainty),
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if before == after {
        return ControlFlow::Continue(());
    }
    let side = if after == Certainty::No { Side::Before } else { Side::After };
    visit(Change { set, object, child, before, after, side })
}

/// The computed sets that may differ: those from which one of the rows is reached.
fn affected(reader: &mut Reader<'_>, rows: &[(Slot, Ordinal)]) -> Result<BTreeSet<(usize, Ordinal)>, GraphError> {
    let (sets, plan) = (reader.sets, reader.evaluation.plan);
    let mut met: FxHashSet<State> = FxHashSet::default();
    let mut open: Vec<State> = Vec::new();
    let mut found = BTreeSet::new();
    for (slot, object) in rows {
        let relation = plan.table(*slot).relation;
        let arrows = sets.arrows(*slot).iter().filter(|_| !planted(PlantedFault::ArrowOfSetNotFollowed));
        open.extend(arrows.chain([&relation]).map(|node| State::new(*node, *object)));
    }
    while let Some(state) = open.pop() {
        let (node, object) = (state.node(), state.object());
        if !sets.is_below(node) || !met.insert(state) {
            continue;
        }
        reader.meter.bytes_held(ENTRY_BYTES)?;
        if let Some(shape) = sets.computed(node) {
            found.insert((shape, object));
        }
        for used in &plan.node(node).uses {
            let (slot, user) = match used {
                Use::Computed(permission) => {
                    open.push(State::new(*permission, object));
                    continue;
                }
                Use::Userset(slot) => (*slot, plan.table(*slot).relation),
                Use::Arrow { table, permission, .. } => (*table, *permission),
            };
            if !sets.is_below(user) || planted(PlantedFault::SetsAboveNotReadAgain) {
                continue;
            }
            let mut row = reader.relations.row(slot, Direction::Reverse, object)?;
            while let Some(link) = row.next()? {
                reader.meter.edges_seen(1)?;
                open.push(State::new(user, link.other));
            }
        }
    }
    Ok(found)
}

/// The sets of which the object itself may have become a member, or ceased to be one, by being mentioned or no longer so.
fn reflexive(reader: &Reader<'_>, touched: &[Touched]) -> BTreeSet<(usize, Ordinal)> {
    let (sets, plan) = (reader.sets, reader.evaluation.plan);
    let mut found = BTreeSet::new();
    for (shape, index) in sets.shapes().iter().zip(0..).filter(|(shape, _)| shape.is_reflexive()) {
        for touched in touched {
            let Some(table) = sets.slot(touched.table).map(|slot| plan.table(slot)) else { continue };
            if table.resource_type == shape.owner {
                found.insert((index, touched.resource));
            }
            if table.subject_type == shape.owner && touched.subject != Ordinal::WILDCARD {
                found.insert((index, touched.subject));
            }
        }
    }
    found
}

fn recomputed(
    before: &mut Reader<'_>,
    after: &mut Reader<'_>,
    shape: &Shape,
    object: Ordinal,
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, GraphError> {
    let (was, is) = (before.computed(shape, object)?, after.computed(shape, object)?);
    for ((was, is), class) in was.iter().zip(&is).zip(&shape.classes) {
        let differ = (&was.certain ^ &is.certain) | (&was.undecided ^ &is.undecided);
        for number in differ {
            let child = Child { kind: Kind::Member(*class), object: Ordinal(number) };
            let certainty = |set: &crate::lookup_subjects::Decided| match () {
                () if set.certain.contains(number) => Certainty::Yes,
                () if set.undecided.contains(number) => Certainty::Undecided,
                () => Certainty::No,
            };
            if visit_change(shape.node, object, child, (certainty(was), certainty(is)), visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn advance(objects: &mut Option<Objects>, reader: Option<&mut Reader<'_>>) -> Result<Option<Ordinal>, GraphError> {
    match (objects, reader) {
        (Some(objects), Some(reader)) => objects.next(reader),
        _ => Ok(None),
    }
}

fn read(reader: &mut Reader<'_>, shape: &Shape, object: Ordinal) -> Result<BTreeMap<Child, Certainty>, GraphError> {
    reader.begin();
    let mut children = BTreeMap::new();
    let mut held = Ok(());
    let bytes_max = reader.evaluation.limits.bytes_max;
    let _ = reader.children(shape, object, None, &mut |child, certainty, _| {
        children.insert(child, certainty);
        if children.len() as u64 * ENTRY_BYTES > bytes_max {
            held = Err(GraphError::LimitExceeded { limit: "bytes_max", value: bytes_max });
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    held.map(|()| children)
}

/// Compares the children of one set under two schemas.
fn compare(
    names: &Names,
    (old, new): (Option<NodeId>, Option<NodeId>),
    object: Ordinal,
    was: &BTreeMap<Child, Certainty>,
    is: &BTreeMap<Child, Certainty>,
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut unchanged = BTreeSet::new();
    for (child, before) in was {
        let later = names.later_child(*child);
        let after = later.and_then(|later| is.get(&later)).copied().unwrap_or_default();
        let change = match (after, later, new, old) {
            (Certainty::No, _, _, Some(set)) => {
                Change { set, object, child: *child, before: *before, after, side: Side::Before }
            }
            (_, Some(child), Some(set), _) => {
                unchanged.insert(child);
                Change { set, object, child, before: *before, after, side: Side::After }
            }
            _ => continue,
        };
        if change.before != change.after {
            visit(change)?;
        }
    }
    for (child, after) in is.iter().filter(|(child, _)| !unchanged.contains(child)) {
        let Some(set) = new else { continue };
        visit_change(set, object, *child, (Certainty::No, *after), visit)?;
    }
    ControlFlow::Continue(())
}

/// Numbers of an earlier plan as those of a later one, by their names.
struct Names {
    nodes: Vec<Option<NodeId>>,
    types: Vec<Option<crate::plan::TypeIndex>>,
}

impl Names {
    fn new(before: Option<&Plan>, after: &Plan) -> Names {
        let Some(before) = before else { return Names { nodes: Vec::new(), types: Vec::new() } };
        let types: Vec<_> = before.types().iter().map(|of| after.find_type(&of.name).ok()).collect();
        let node = |node: &crate::plan::Node| after.find_node(types[node.owner.0 as usize]?, &node.name).ok();
        Names { nodes: before.nodes().iter().map(node).collect(), types }
    }

    fn later(&self, node: NodeId) -> Option<NodeId> {
        self.nodes.get(node.0 as usize).copied().flatten()
    }

    fn later_child(&self, child: Child) -> Option<Child> {
        let kind = match child.kind {
            Kind::Set(node) => Kind::Set(self.later(node)?),
            Kind::Member(SubjectClass::Userset(node)) => Kind::Member(SubjectClass::Userset(self.later(node)?)),
            Kind::Member(SubjectClass::Object(of)) => {
                Kind::Member(SubjectClass::Object(self.types.get(of.0 as usize).copied().flatten()?))
            }
        };
        Some(Child { kind, object: child.object })
    }
}
