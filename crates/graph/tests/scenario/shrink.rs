//! Makes a disagreement small: drops whatever it does not need, greedily, until nothing more can go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stonetown_graph::reference::Value;
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::StoredUpdate;
use stonetown_tuple::{CaveatContext, ObjectId, ObjectRef, Operation, Source, SubjectId, SubjectRef};

use super::history::{Model, Step};
use super::question::{Answer, Question};
use super::run::{Disagreement, Scenario};

/// How long smaller scenarios are tried.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The smallest disagreement found that comes from leaving out parts.
pub fn shrink(mut found: Box<Disagreement>) -> Box<Disagreement> {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let end = Instant::now() + TIME_MAX;
    let in_time = |_: &Scenario| Instant::now() < end;
    loop {
        let smaller = single_checks(&found)
            .into_iter()
            .chain(candidates(&found.scenario))
            .take_while(in_time)
            .find_map(|scenario| reproduce(&scenario).map(|answers| (scenario, answers)));
        let Some((scenario, (expected, got))) = smaller else { break };
        *found = Disagreement { scenario, expected, got, ..*found };
    }
    std::panic::set_hook(quiet);
    found
}

/// A scenario that leaves out too much may not even be possible.
fn reproduce(scenario: &Scenario) -> Option<(Answer, Answer)> {
    let scenario = std::panic::AssertUnwindSafe(scenario);
    std::panic::catch_unwind(|| scenario.disagreement()).ok().flatten()
}

/// For a lookup, the checks of those about whom the answers differ.
fn single_checks(found: &Disagreement) -> Vec<Scenario> {
    let asked = &found.scenario.asked;
    let checks: Vec<Question> = match (&asked.question, &found.expected, &found.got) {
        (Question::Resources { object_type, name, subject }, Answer::Resources(expected), Answer::Resources(got)) => {
            differing(expected, got)
                .map(|id| Question::Check {
                    resource: ObjectRef { object_type: object_type.clone(), object_id: id },
                    name: name.clone(),
                    subject: subject.clone(),
                })
                .collect()
        }
        (
            Question::Subjects { resource, name, kind, relation },
            Answer::Subjects(_, expected),
            Answer::Subjects(_, got),
        ) => differing(expected, got)
            .filter_map(|id| SubjectRef::new(kind.clone(), SubjectId::Object(id), relation.clone()).ok())
            .map(|subject| Question::Check { resource: resource.clone(), name: name.clone(), subject })
            .collect(),
        _ => Vec::new(),
    };
    let scenario = |question| {
        let mut scenario = found.scenario.clone();
        scenario.asked.question = question;
        scenario.way.detail = None;
        scenario
    };
    checks.into_iter().map(scenario).collect()
}

fn differing<'a>(
    expected: &'a BTreeMap<String, Value>,
    got: &'a BTreeMap<String, Value>,
) -> impl Iterator<Item = ObjectId> + 'a {
    let ids: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    ids.into_iter().filter(|id| expected.get(*id) != got.get(*id)).filter_map(|id| ObjectId::new(id.as_str()).ok())
}

/// Smaller scenarios, the much smaller ones first.
fn candidates(whole: &Scenario) -> impl Iterator<Item = Scenario> + '_ {
    let at_once = (!matches!(whole.steps.as_slice(), [Step::Write(_), Step::Wait(_)])).then(|| at_once(whole));
    let without_steps = (0..whole.steps.len()).rev().map(|index| {
        let mut scenario = whole.clone();
        scenario.steps.remove(index);
        if scenario.moment > index {
            scenario.moment -= 1;
        }
        scenario
    });
    let without_updates = whole.steps.iter().enumerate().flat_map(move |(index, step)| {
        let count = if let Step::Write(updates) = step { updates.len() } else { 0 };
        // A half, a quarter, ... of them; at last each.
        let sizes = std::iter::successors(Some(count.div_ceil(2)), |size| (*size > 1).then(|| size.div_ceil(2)));
        let ranges = sizes
            .flat_map(move |size| (0..count).step_by(size.max(1)).map(move |start| start..count.min(start + size)));
        ranges.map(move |range| {
            let mut scenario = whole.clone();
            if let Step::Write(updates) = &mut scenario.steps[index] {
                updates.drain(range);
            }
            scenario
        })
    });
    let without_conditions = whole.steps.iter().enumerate().flat_map(move |(index, step)| {
        let updates = if let Step::Write(updates) = step { updates.as_slice() } else { &[] };
        let with = updates.iter().enumerate().filter(|(_, update)| {
            let fact = &update.relationship;
            fact.caveat.is_some() || fact.expires_at.is_some() || fact.not_before.is_some() || update.source.0 > 0
        });
        with.flat_map(move |(at, _)| {
            (0..3).map(move |part| {
                let mut scenario = whole.clone();
                if let Step::Write(updates) = &mut scenario.steps[index] {
                    let update = &mut updates[at];
                    match part {
                        0 => update.relationship.caveat = None,
                        1 => (update.relationship.expires_at, update.relationship.not_before) = (None, None),
                        _ => update.source = Source::STANDING,
                    }
                    if *update == whole_update(whole, index, at) {
                        scenario.steps.clear();
                    }
                }
                scenario
            })
        })
    });
    let smaller_asked = {
        let mut all = Vec::new();
        for at in 0..whole.asked.overlay.len() {
            let mut scenario = whole.clone();
            scenario.asked.overlay.remove(at);
            all.push(scenario);
        }
        for key in whole.asked.context.keys() {
            let mut scenario = whole.clone();
            let kept: CaveatContext =
                whole.asked.context.iter().filter(|(k, _)| *k != key).map(|(k, v)| (k.clone(), v.clone())).collect();
            scenario.asked.context = kept;
            all.push(scenario);
        }
        all
    };
    let text = whole.schema.text();
    let lines = text.lines().count();
    let other_schemas = whole.steps.iter().any(|step| matches!(step, Step::Schema(_)));
    let smaller_schema = (0..if other_schemas { 0 } else { lines }).filter_map(move |line| {
        let text: String =
            text.lines().enumerate().filter(|(at, _)| *at != line).map(|(_, text)| format!("{text}\n")).collect();
        let schema = Schema::compile(&text, &CompileOptions::default()).ok()?;
        Some(Scenario { schema: Arc::new(schema), ..whole.clone() })
    });
    at_once
        .into_iter()
        .chain(without_steps)
        .chain(without_updates)
        .chain(smaller_asked)
        .chain(without_conditions)
        .chain(smaller_schema)
}

fn whole_update(whole: &Scenario, step: usize, at: usize) -> StoredUpdate {
    match &whole.steps[step] {
        Step::Write(updates) => updates[at].clone(),
        _ => unreachable!("only writes have updates"),
    }
}

/// The state that is asked about, written at once.
fn at_once(whole: &Scenario) -> Scenario {
    let mut model = Model::new(whole.schema.clone());
    let mut now = model.now;
    for (index, step) in whole.steps.iter().enumerate() {
        if index < whole.moment {
            model.apply(step);
        }
        if let Step::Wait(later) = step {
            now = *later;
        }
    }
    let mut writes: Vec<Vec<StoredUpdate>> = vec![Vec::new()];
    for ((.., source), fact) in &model.facts {
        let update = StoredUpdate { operation: Operation::Touch, relationship: fact.clone(), source: *source };
        let room = writes.iter().position(|write| !write.iter().any(|other| other.relationship.same_key(fact)));
        match room {
            Some(room) => writes[room].push(update),
            None => writes.push(vec![update]),
        }
    }
    let mut steps: Vec<Step> = writes.into_iter().map(Step::Write).collect();
    steps.push(Step::Wait(now));
    let moment = steps.len();
    Scenario { schema: model.schema, steps, moment, ..whole.clone() }
}
