//! Sets that are kept by applying changes to nothing, compared at every moment with what the reference says of all pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use stonetown_graph::reference::{Reference, Value};
use stonetown_graph::sets::{
    Certainty, Change, Form, Kind, Name, Objects, Reader, Sets, Side, Touched, Watched, changes, rebuilt,
};
use stonetown_graph::{Evaluation, Given, IndexOptions, IndexView, Limits, Plan};
use stonetown_storage::{Direction, EdgeState, Snapshot};
use stonetown_tuple::{
    CaveatContext, ObjectId, ObjectRef, ObjectType, RelationName, StoreId, SubjectId, SubjectRef, Timestamp,
};

use super::dice::Dice;
use super::history::{Author, Model, Step};
use super::world::World;

/// Subjects and objects of each kind that are asked about.
const ASKED_MAX: usize = 5;

/// What a client knows: children by set, those in doubt included.
pub type State = BTreeMap<String, BTreeMap<Item, Certainty>>;

/// A child of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Member(String),
    Set(String),
}

/// What a search has done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub cases: u64,
    pub comparisons: u64,
    pub members: u64,
    pub undecided: u64,
    pub through_sets: u64,
    /// Members only because a `*` with exceptions may cover them, which a set cannot say.
    pub left_out: u64,
    pub changes: u64,
}

/// Keeps sets through random histories until so many pairs were compared.
///
/// # Errors
/// The first disagreement.
pub fn search(seed: u64, comparisons: u64, tally: &mut Tally) -> Result<(), String> {
    while tally.comparisons < comparisons {
        let seed = seed.wrapping_add(tally.cases);
        case(seed, tally).map_err(|error| format!("seed {seed}: {error}"))?;
        tally.cases += 1;
    }
    Ok(())
}

struct Kept {
    watched: Vec<Watched>,
    form: Form,
    state: State,
}

/// One moment with all that is read from it.
struct Sight {
    plan: std::sync::Arc<Plan>,
    snapshot: std::sync::Arc<dyn Snapshot>,
    view: Option<IndexView>,
    now: Timestamp,
}

fn case(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let (mut author, schema) = Author::new(Dice::new(seed));
    let mut world = World::new(&schema, IndexOptions::default());
    let all = all_watched(&world.head().plan);
    if all.is_empty() {
        return Ok(());
    }
    let is_permission = |watched: &&Watched| {
        let definition = schema.definition(watched.resource_type.as_str());
        definition.is_some_and(|definition| definition.permission(watched.permission.as_str()).is_some())
    };
    let permissions: Vec<Watched> = all.iter().filter(is_permission).cloned().collect();
    let mut kept: Vec<Kept> = [Form::Shared, Form::Flat]
        .into_iter()
        .map(|form| {
            let count = author.dice.between(1, 4);
            // What is computed has more ways to change than what is related.
            let among = if permissions.is_empty() || author.dice.percent(30) { &all } else { &permissions };
            Kept { watched: author.dice.some(among, count), form, state: State::new() }
        })
        .collect();
    let mut steps = 0;
    let mut before: Option<Sight> = None;
    loop {
        let after = sight(&world, author.dice.percent(60));
        for kept in &mut kept {
            advance(kept, before.as_ref(), &after, &world, tally)?;
            let context = || format!("after step {steps}, {:?} of {:?}", kept.form, kept.watched);
            compare(&kept.state, &kept.watched, &world.head().model, tally)
                .map_err(|error| format!("{}: {error}", context()))?;
            let read = whole(kept, &after)?;
            if read != kept.state {
                return Err(format!("{}: kept {:?}, read anew {read:?}", context(), kept.state));
            }
        }
        if steps == 10 {
            return Ok(());
        }
        before = Some(after);
        let step = if steps == 0 { author.first(&world.head().model) } else { author.next(&world.head().model) };
        // What is collected is collected after the next moment was compared with the last.
        world.apply(if matches!(step, Step::Collect) { Step::Reload } else { step });
        steps += 1;
    }
}

/// Everything that can be watched and have a member.
pub fn all_watched(plan: &Plan) -> Vec<Watched> {
    let schema = plan.schema();
    let mut subjects: Vec<(ObjectType, Option<RelationName>)> = Vec::new();
    for definition in schema.definitions() {
        subjects.push((definition.name.clone(), None));
        subjects.extend(definition.members().map(|member| (definition.name.clone(), Some(member.name().clone()))));
    }
    let mut all = Vec::new();
    for definition in schema.definitions() {
        for member in definition.members() {
            all.extend(subjects.iter().map(|(subject_type, subject_relation)| Watched {
                resource_type: definition.name.clone(),
                permission: member.name().clone(),
                subject_type: subject_type.clone(),
                subject_relation: subject_relation.clone(),
            }));
        }
    }
    let has_sets =
        |watched: &Watched| !Sets::compile(plan, std::slice::from_ref(watched), Form::Flat).shapes().is_empty();
    all.into_iter().filter(has_sets).collect()
}

fn sight(world: &World, resident: bool) -> Sight {
    let head = world.head();
    let snapshot = world.snapshot(world.moments.len() - 1);
    let view = if resident { world.index.view(StoreId::DEFAULT, head.revision) } else { None };
    Sight { plan: head.plan.clone(), snapshot, view, now: head.model.now }
}

/// Applies what differs between two moments, as a client does.
fn advance(
    kept: &mut Kept,
    before: Option<&Sight>,
    after: &Sight,
    world: &World,
    tally: &mut Tally,
) -> Result<(), String> {
    let (context, limits) = (CaveatContext::new(), Limits::default());
    let new_sets = Sets::compile(&after.plan, &kept.watched, kept.form);
    let new_evaluation = evaluation(after, &context, &limits);
    let mut new = Reader::new(&new_evaluation, &new_sets);
    let mut collected: Vec<Change> = Vec::new();
    let mut collect = |change: Change| {
        collected.push(change);
        ControlFlow::Continue(())
    };
    let old_sets = before.map(|sight| Sets::compile(&sight.plan, &kept.watched, kept.form));
    let old_evaluation = before.map(|sight| evaluation(sight, &context, &limits));
    let mut old = match (&old_evaluation, &old_sets) {
        (Some(evaluation), Some(sets)) => Some(Reader::new(evaluation, sets)),
        _ => None,
    };
    let result = match (&mut old, before) {
        (Some(old), Some(sight)) if std::sync::Arc::ptr_eq(&sight.plan, &after.plan) => {
            changes(old, &mut new, &touched(sight, after, world), &mut collect)
        }
        (old, _) => rebuilt(old.as_mut(), &mut new, &mut collect),
    };
    let _ = result.map_err(|error| error.to_string())?;
    for change in collected {
        tally.changes += 1;
        let reader = match (change.side, &old) {
            (Side::Before, Some(old)) => old,
            _ => &new,
        };
        let set = text(&reader.set_name(change.set, change.object).unwrap());
        let child = item(reader, change.child);
        let children = kept.state.entry(set.clone()).or_default();
        let known = children.get(&child).copied().unwrap_or_default();
        if known != change.before || change.before == change.after {
            return Err(format!("{set}: {child:?} was {known:?}, told {:?} to {:?}", change.before, change.after));
        }
        if change.after == Certainty::No {
            children.remove(&child);
        } else {
            children.insert(child, change.after);
        }
        if children.is_empty() {
            kept.state.remove(&set);
        }
    }
    Ok(())
}

fn evaluation<'a>(sight: &'a Sight, context: &'a CaveatContext, limits: &'a Limits) -> Evaluation<'a> {
    Evaluation {
        plan: &sight.plan,
        snapshot: &*sight.snapshot,
        index: sight.view.as_ref(),
        overlay: None,
        now: sight.now,
        context,
        given: Given::Nothing,
        limits,
        deadline: None,
        cancel: None,
    }
}

/// What the log tells of the last step, and what began or ended by the passing of time.
fn touched(before: &Sight, after: &Sight, world: &World) -> Vec<Touched> {
    let mut touched = Vec::new();
    for entry in world.datastore.log(before.snapshot.revision(), usize::MAX).unwrap() {
        touched.extend(entry.changes.iter().map(|change| Touched {
            table: change.table,
            resource: change.resource,
            subject: change.subject,
        }));
    }
    for table in after.snapshot.tables().iter() {
        let visit = &mut |edge: &stonetown_storage::Edge| {
            let state = EdgeState { caveat: None, not_before: edge.not_before, expires_at: edge.expires_at };
            let passed = |time: Option<Timestamp>| time.is_some_and(|time| before.now < time && time <= after.now);
            if passed(state.not_before) || passed(state.expires_at) {
                touched.push(Touched { table: table.id, resource: edge.resource, subject: edge.subject });
            }
            ControlFlow::Continue(())
        };
        after.snapshot.scan_table(table.id, Direction::Forward, None, visit).unwrap();
    }
    touched
}

/// All sets, read anew.
fn whole(kept: &Kept, sight: &Sight) -> Result<State, String> {
    let (context, limits) = (CaveatContext::new(), Limits::default());
    let sets = Sets::compile(&sight.plan, &kept.watched, kept.form);
    let evaluation = evaluation(sight, &context, &limits);
    let mut reader = Reader::new(&evaluation, &sets);
    let mut state = State::new();
    for shape in sets.shapes() {
        let mut objects = Objects::after(&reader, shape, stonetown_storage::Ordinal::WILDCARD);
        while let Some(object) = objects.next(&mut reader).map_err(|error| error.to_string())? {
            let mut listed = Vec::new();
            let list = |reader: &mut Reader<'_>, after, listed: &mut Vec<_>| {
                let visit = &mut |child, certainty, place| {
                    listed.push((child, certainty, place));
                    ControlFlow::Continue(())
                };
                reader.children(shape, object, after, visit).map(|_| ()).map_err(|error| error.to_string())
            };
            list(&mut reader, None, &mut listed)?;
            // A page after any child has the rest.
            if let Some((.., place)) = listed.get(listed.len() / 2) {
                let mut rest = Vec::new();
                list(&mut reader, Some(*place), &mut rest)?;
                assert_eq!(rest, listed[listed.len() / 2 + 1..]);
            }
            let set = text(&reader.set_name(shape.node, object).unwrap());
            for (child, certainty, _) in listed {
                let twice = state.entry(set.clone()).or_default().insert(item(&reader, child), certainty);
                if twice.is_some() {
                    return Err(format!("{set} lists {:?} twice", item(&reader, child)));
                }
            }
        }
    }
    Ok(state)
}

fn item(reader: &Reader<'_>, child: stonetown_graph::sets::Child) -> Item {
    let name = text(&reader.child_name(child).unwrap());
    match child.kind {
        Kind::Set(_) => Item::Set(name),
        Kind::Member(_) => Item::Member(name),
    }
}

fn text(name: &Name<'_>) -> String {
    let relation = name.relation.map(|relation| format!("#{relation}")).unwrap_or_default();
    format!("{}:{}{relation}", name.object_type, name.id)
}

/// Compares a state with what checks say of all pairs.
///
/// # Errors
/// A pair about which they differ.
pub fn compare(state: &State, watched: &[Watched], model: &Model, tally: &mut Tally) -> Result<(), String> {
    let reference = Reference::new(model.schema.clone(), &model.relationships(), model.now).with(Given::Nothing);
    let context = CaveatContext::new();
    for watched in watched {
        let mut subjects: Vec<ObjectId> =
            reference.mentioned(&watched.subject_type).into_iter().take(ASKED_MAX).collect();
        let nobody = ObjectId::new("nobody").unwrap();
        subjects.push(nobody);
        for resource in reference.mentioned(&watched.resource_type).into_iter().take(ASKED_MAX) {
            let set = format!("{}:{resource}#{}", watched.resource_type, watched.permission);
            let members = reach(state, &set, Certainty::Yes);
            let possible = reach(state, &set, Certainty::Undecided);
            let star = format!("{}:*", watched.subject_type);
            for subject in &subjects {
                let id = SubjectId::Object(subject.clone());
                let subject = SubjectRef::new(watched.subject_type.clone(), id, watched.subject_relation.clone());
                let subject = subject.unwrap();
                let object = ObjectRef { object_type: watched.resource_type.clone(), object_id: resource.clone() };
                if subject.object_id().as_str() == "nobody" && watched.subject_relation.is_some() {
                    continue;
                }
                let expected = reference.check(&object, &watched.permission, &subject, &context);
                let covered = |set: &BTreeSet<String>| {
                    set.contains(&subject.to_string()) || watched.subject_relation.is_none() && set.contains(&star)
                };
                let (is, may) = (covered(&members), covered(&possible));
                tally.comparisons += 1;
                let agrees = match expected {
                    Value::Yes if is => {
                        tally.members += 1;
                        let alone = state
                            .get(&set)
                            .is_some_and(|children| children.contains_key(&Item::Member(subject.to_string())));
                        tally.through_sets += u64::from(!alone);
                        true
                    }
                    // Only a wildcard with exceptions can leave a member out.
                    Value::Yes => {
                        tally.left_out += 1;
                        possible.contains(&star) && !members.contains(&star)
                    }
                    Value::No => !is,
                    Value::Maybe(_) | Value::Fault(_) => {
                        tally.undecided += 1;
                        !is && may
                    }
                };
                if !agrees {
                    return Err(format!("{set}@{subject}: expected {expected:?}, kept {state:?}"));
                }
            }
        }
    }
    Ok(())
}

/// The members of a set, through children that are at least so certain.
fn reach(state: &State, set: &str, least: Certainty) -> BTreeSet<String> {
    let (mut members, mut met, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![set.to_owned()]);
    while let Some(set) = open.pop() {
        if !met.insert(set.clone()) {
            continue;
        }
        for (child, certainty) in state.get(&set).into_iter().flatten() {
            match child {
                _ if *certainty < least => {}
                Item::Member(name) => {
                    members.insert(name.clone());
                }
                Item::Set(name) => open.push(name.clone()),
            }
        }
    }
    members
}
