//! Reasons are true, in random worlds: the relationships of a way give the answer by themselves and not without one of them,
//! whatever else is stored beside them; what a miss says is so, and without its obstacles it would be a way.
//!
//! The judge is the reference evaluator. A failure prints its seed and the question.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scenario;

use std::time::{Duration, Instant};

use scenario::dice::Dice;
use scenario::history::{Author, Model};
use scenario::question::{Asked, Question};
use scenario::world::World;
use stonetown_graph::reference::{Reference, Value};
use stonetown_graph::{
    Evaluation, Given, GraphError, Hold, IndexOptions, Limits, Membership, Miss, Reasons, Step, reasons,
};
use stonetown_tuple::{Attribute, CaveatContext, ObjectRef, RelationName, Relationship, Source, SubjectId, SubjectRef};

/// Worlds of one run; `STONETOWN_CASES` asks for more.
const CASES: u64 = 300;
const MISSES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    members: u64,
    guarded: u64,
    misses: u64,
    excluded: u64,
    lacking: u64,
    expired: u64,
    false_conditions: u64,
    missing_context: u64,
    nothing_near: u64,
    cut: u64,
    untried: u64,
    repairs_found: u64,
}

#[test]
fn ways_and_misses_are_true() {
    let given = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (first, cases) = (given("STONETOWN_SEED", 20_261_121), given("STONETOWN_CASES", CASES));
    println!("STONETOWN_SEED={first}");
    let mut tally = Tally::default();
    for seed in (first..).take(usize::try_from(cases).unwrap()) {
        let (mut author, schema) = Author::new(Dice::new(seed));
        let mut world = World::new(&schema, IndexOptions::default());
        let first = author.first(&world.head().model);
        world.apply(first);
        for _ in 0..author.dice.between(1, 4) {
            let step = author.next(&world.head().model);
            world.apply(step);
            for _ in 0..10 {
                let Some(asked) = Asked::random(&mut author, &world.head().model) else { continue };
                let Question::Check { resource, name, subject } = asked.question else { continue };
                let asked = Case {
                    model: &world.head().model,
                    resource,
                    name,
                    subject,
                    context: asked.context,
                    given: asked.given,
                };
                let Some(found) = asked.ask(&world) else { continue };
                if let Err(why) = asked.judge(&found, &mut author.dice, &mut tally) {
                    panic!("STONETOWN_SEED={seed}: {why}\n{asked}\n{}", short(&found));
                }
            }
        }
    }
    println!("{tally:?}");
    let each = [tally.members, tally.misses, tally.excluded, tally.lacking, tally.expired, tally.false_conditions];
    assert!(each.into_iter().all(|count| count > 25), "a test of nothing would prove nothing: {tally:?}");
    assert!(tally.guarded > 5 && tally.missing_context > 100 && tally.nothing_near > 100, "{tally:?}");
    assert!(tally.untried * 100 < tally.members && tally.cut * 50 < tally.asked, "{tally:?}");
}

/// A question about a model.
struct Case<'m> {
    model: &'m Model,
    resource: ObjectRef,
    name: RelationName,
    subject: SubjectRef,
    context: CaveatContext,
    given: Given,
}

impl Case<'_> {
    /// What the engine says, the same from the index and from the snapshot; `None` if there is no answer.
    fn ask(&self, world: &World) -> Option<Reasons> {
        let snapshot = world.snapshot(world.moments.len() - 1);
        let moment = world.head();
        let view = world.index.view(snapshot.store(), moment.revision);
        let evaluation = |index| Evaluation {
            plan: &moment.plan,
            snapshot: &*snapshot,
            index,
            overlay: None,
            now: self.model.now,
            context: &self.context,
            given: self.given,
            limits: &LIMITS,
            deadline: Some(Instant::now() + Duration::from_secs(20)),
            cancel: None,
        };
        let ask =
            |evaluation: &Evaluation<'_>| reasons(evaluation, &self.resource, &self.name, &self.subject, MISSES_MAX);
        let (read, indexed) = (ask(&evaluation(None)), ask(&evaluation(view.as_ref())));
        match (read, indexed) {
            (Ok(read), Ok(indexed)) => {
                assert_eq!(read.path, indexed.path, "{self}");
                assert_eq!(read.misses, indexed.misses, "{self}");
                Some(indexed)
            }
            (Err(GraphError::Cycle { .. } | GraphError::Caveat { .. } | GraphError::ContextType { .. }), Err(_)) => {
                None
            }
            (Err(GraphError::LimitExceeded { .. } | GraphError::Deadline), _) => None,
            (read, indexed) => panic!("{self}: {read:?}, {indexed:?}"),
        }
    }

    /// The answer when these relationships are all there is.
    fn among<'r>(&self, relationships: impl IntoIterator<Item = &'r Relationship>) -> Value {
        let mut all: Vec<_> = relationships.into_iter().map(|one| (one.clone(), Source::STANDING)).collect();
        all.extend(self.model.relationships().into_iter().filter(|(fact, _)| is_attribute(fact)));
        let reference = Reference::new(self.model.schema.clone(), &all, self.model.now).with(self.given);
        reference.check(&self.resource, &self.name, &self.subject, &self.context)
    }

    fn judge(&self, found: &Reasons, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let stored = self.model.relationships();
        let answer = Reference::new(self.model.schema.clone(), &stored, self.model.now).with(self.given).check(
            &self.resource,
            &self.name,
            &self.subject,
            &self.context,
        );
        let said = match &found.answer.membership {
            Membership::Member => Value::Yes,
            Membership::NotMember => Value::No,
            Membership::Conditional(names) => Value::Maybe(names.clone()),
        };
        that(said == answer, || format!("the answer is {answer:?}"))?;
        tally.asked += 1;
        if found.cut {
            // A way may be missing then.
            tally.cut += 1;
            return Ok(());
        }
        for step in found.path.iter().chain(found.misses.iter().flat_map(steps_of)) {
            self.judge_step(step, &stored)?;
        }
        if said == Value::Yes {
            that(found.misses.is_empty(), || "a member misses nothing".to_owned())?;
            return self.judge_way(&found.path, dice, tally);
        }
        that(found.path.is_empty(), || "nobody else has a way".to_owned())?;
        for miss in &found.misses {
            self.judge_miss(miss, tally)?;
        }
        tally.nothing_near += u64::from(found.misses.is_empty());
        self.judge_completeness(found, &stored, tally)
    }

    /// What is stored, and counts as the step says.
    fn judge_step(&self, step: &Step, stored: &[(Relationship, Source)]) -> Result<(), String> {
        let known = stored.iter().any(|(fact, source)| *fact == step.relationship && *source == step.source);
        // Deletion by filter passes over what has ended, which the model forgets then.
        that(known || step.state == Hold::Expired, || format!("{} is not stored", step.relationship))?;
        let Relationship { resource, relation, subject, .. } = &step.relationship;
        let now = self.model.now;
        let expired = step.relationship.expires_at.is_some_and(|end| end <= now);
        let begun = step.relationship.not_before.is_none_or(|start| start <= now);
        let subject = concrete(subject);
        let timeless = Relationship { not_before: None, expires_at: None, ..step.relationship.clone() };
        let alone = Reference::new(self.model.schema.clone(), &[(timeless, Source::STANDING)], now).with(self.given);
        let counts = alone.check(resource, relation, &subject, &self.context);
        let agrees = match &step.state {
            Hold::Expired => expired,
            Hold::NotBegun => !expired && !begun,
            _ if expired || !begun => false,
            // Members of a relation are in it whatever is stored, so that one that names itself cannot be tried.
            // Attributes are those of the subject that the question is about.
            _ if self.has_sources(&step.relationship) => true,
            _ if subject.to_string() == format!("{resource}#{relation}") => true,
            Hold::Holds => counts == Value::Yes,
            Hold::ConditionFalse => counts == Value::No,
            Hold::ConditionFailed => matches!(counts, Value::Fault(_)),
            Hold::MissingContext(names) => counts == Value::Maybe(names.clone()),
        };
        that(agrees, || format!("{} is not {:?}: {counts:?}", step.relationship, step.state))
    }

    fn has_sources(&self, relationship: &Relationship) -> bool {
        let caveat = relationship.caveat.as_ref().and_then(|caveat| self.model.schema.caveat(caveat.name.as_str()));
        caveat.is_some_and(|definition| definition.given().next().is_some())
    }

    fn judge_way(&self, path: &[Step], dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        tally.members += 1;
        let all: Vec<_> = path.iter().map(|step| &step.relationship).collect();
        let essential: Vec<_> = path.iter().filter(|step| step.essential).map(|step| &step.relationship).collect();
        // What keeps an exclusion from applying may depend on missing values where it does so either way.
        let is_there = |step: &Step| !matches!(step.state, Hold::Expired | Hold::NotBegun);
        that(path.iter().all(is_there), || "a step of a way is not there".to_owned())?;
        that(self.among(all.iter().copied()) == Value::Yes, || "the way alone is none".to_owned())?;
        if self.among([]) == Value::Yes {
            that(essential.is_empty(), || "nothing is needed".to_owned())?;
        } else if essential.is_empty() {
            tally.untried += 1;
        } else {
            that(self.among(essential.iter().copied()) == Value::Yes, || "the essential ones do not do".to_owned())?;
            for at in 0..essential.len() {
                let rest = essential.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| *one);
                that(self.among(rest) != Value::Yes, || format!("{} is not needed", essential[at]))?;
            }
        }
        tally.guarded += u64::from(essential.len() < path.len());
        // The way does whatever part of the rest is there.
        let rest: Vec<Relationship> = self.model.relationships().into_iter().map(|(one, _)| one).collect();
        for _ in 0..3 {
            let count = dice.below(rest.len() + 1);
            let some = dice.some(&rest, count);
            let others = some.iter().filter(|one| !path.iter().any(|step| step.relationship.same_key(one)));
            that(self.among(all.iter().copied().chain(others)) == Value::Yes, || {
                format!("the way does not do beside {some:?}")
            })?;
        }
        Ok(())
    }

    fn judge_miss(&self, miss: &Miss, tally: &mut Tally) -> Result<(), String> {
        tally.misses += 1;
        tally.excluded += u64::from(!miss.exclusions.is_empty());
        tally.lacking += u64::from(!miss.lacking.is_empty());
        let any = |wanted: fn(&Hold) -> bool| u64::from(miss.path.iter().any(|step| wanted(&step.state)));
        tally.expired += any(|state| *state == Hold::Expired);
        tally.false_conditions += any(|state| *state == Hold::ConditionFalse);
        tally.missing_context += any(|state| matches!(state, Hold::MissingContext(_)));
        let broken = miss.path.iter().any(|step| step.state != Hold::Holds);
        that(broken || !miss.exclusions.is_empty() || !miss.lacking.is_empty(), || "nothing is missing".to_owned())?;

        for what in &miss.lacking {
            let Some((resource, name)) = what.split_once('#') else { continue };
            let (Ok(resource), Ok(name)) = (resource.parse(), name.parse()) else { continue };
            let stored = self.model.relationships();
            let reference = Reference::new(self.model.schema.clone(), &stored, self.model.now).with(self.given);
            let value = reference.check(&resource, &name, &self.subject, &self.context);
            that(value == Value::No, || format!("it does not lack {what}: {value:?}"))?;
        }
        if !miss.lacking.is_empty() {
            return Ok(());
        }
        let excluding = miss.exclusions.iter().flat_map(|excluded| &excluded.path);
        let as_it_is = miss.path.iter().chain(excluding).map(|step| &step.relationship);
        that(self.among(as_it_is) != Value::Yes, || "it is no miss".to_owned())?;
        let mended: Vec<_> = miss.path.iter().map(|step| repaired(&step.relationship)).collect();
        that(self.among(&mended) == Value::Yes, || "without its obstacles it is no way".to_owned())
    }

    /// A stored relationship that would be enough, if only it counted, is among the misses, or lifts what excludes one.
    fn judge_completeness(
        &self,
        found: &Reasons,
        stored: &[(Relationship, Source)],
        tally: &mut Tally,
    ) -> Result<(), String> {
        if found.misses.len() == MISSES_MAX || found.cut {
            return Ok(());
        }
        for (at, (fact, _)) in stored.iter().enumerate() {
            if repaired(fact) == *fact || is_attribute(fact) {
                continue;
            }
            let mended = stored
                .iter()
                .enumerate()
                .map(|(other, (one, _))| if other == at { repaired(one) } else { one.clone() });
            if self.among(&mended.collect::<Vec<_>>()) == Value::Yes {
                let named = found.misses.iter().any(|miss| {
                    miss.path.iter().any(|step| step.relationship.same_key(fact) && step.state != Hold::Holds)
                });
                // What would lift an exclusion is on no way: the miss then says what excludes it, and has no other obstacle.
                let lifts = found.misses.iter().any(|miss| {
                    !miss.exclusions.is_empty()
                        && miss.lacking.is_empty()
                        && miss.path.iter().all(|step| step.state == Hold::Holds)
                });
                tally.repairs_found += u64::from(named);
                that(named || lifts, || format!("{fact} would be enough if it counted, and no miss has it"))?;
            }
        }
        Ok(())
    }
}

fn is_attribute(fact: &Relationship) -> bool {
    fact.resource.object_type.as_str() == Attribute::TYPE
}

static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);

fn steps_of(miss: &Miss) -> impl Iterator<Item = &Step> {
    miss.path.iter().chain(miss.exclusions.iter().flat_map(|excluded| &excluded.path))
}

fn repaired(relationship: &Relationship) -> Relationship {
    Relationship { caveat: None, not_before: None, expires_at: None, ..relationship.clone() }
}

/// Somebody whom a subject stands for.
fn concrete(subject: &SubjectRef) -> SubjectRef {
    if !subject.is_wildcard() {
        return subject.clone();
    }
    SubjectRef::new(subject.object_type().clone(), SubjectId::new("somebody").unwrap(), None).unwrap()
}

/// A line for each way.
fn short(found: &Reasons) -> String {
    let steps = |steps: &[Step]| {
        let text = |step: &Step| {
            let needed = if step.essential { "!" } else { "" };
            format!("{}{needed} {:?}", step.relationship, step.state)
        };
        steps.iter().map(text).collect::<Vec<_>>().join("; ")
    };
    let mut text = format!("{:?} way: {} cut: {}\n", found.answer.membership, steps(&found.path), found.cut);
    for miss in &found.misses {
        text.push_str(&format!("miss: {} lacking {:?}", steps(&miss.path), miss.lacking));
        for excluded in &miss.exclusions {
            text.push_str(&format!(" excluded by {}: {}", excluded.by, steps(&excluded.path)));
        }
        text.push('\n');
    }
    text
}

fn that(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}#{}@{} with {:?}", self.resource, self.name, self.subject, self.context)?;
        writeln!(f, "at {}\n{}", self.model.now, self.model.schema.text())?;
        for (fact, source) in self.model.relationships() {
            writeln!(f, "{fact} [{}]", source.0)?;
        }
        Ok(())
    }
}
