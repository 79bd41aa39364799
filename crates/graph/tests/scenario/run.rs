//! The loop: draw a case, let it happen, ask, compare.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use stonetown_graph::IndexOptions;
use stonetown_graph::reference::Value;
use stonetown_schema::Schema;
use stonetown_storage::StoredUpdate;
use stonetown_tuple::{Operation, Source};

use super::dice::Dice;
use super::history::{Author, Step};
use super::question::{Answer, Asked, Way};
use super::shrink;
use super::world::World;

/// Everything that led to an answer: enough to have it once more.
#[derive(Clone)]
pub struct Scenario {
    pub schema: Arc<Schema>,
    pub options: IndexOptions,
    pub steps: Vec<Step>,
    /// How many steps had happened at the revision that is asked about; time is that after all of them.
    pub moment: usize,
    pub asked: Asked,
    pub way: Way,
}

/// A scenario in which the engine is wrong.
pub struct Disagreement {
    pub seed: u64,
    pub scenario: Scenario,
    pub expected: Answer,
    pub got: Answer,
}

/// What a run has done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub cases: u64,
    pub comparisons: u64,
    /// Of these: of a subject that has, may have, has not, or cannot be decided; others were lookups and trees.
    pub members: u64,
    pub conditional: u64,
    pub not_members: u64,
    pub faults: u64,
    /// Questions that exceeded a limit.
    pub refused: u64,
}

/// Compares until so many answers have been compared, or one is wrong. The same seed does the same.
///
/// # Errors
/// The first disagreement, made small.
pub fn run(seed: u64, comparisons: u64, progress: bool) -> Result<Tally, Box<Disagreement>> {
    let mut tally = Tally::default();
    let mut reported = Instant::now();
    let mut until = 0;
    while until < comparisons {
        until = comparisons.min(until + 1000);
        if let Some(disagreement) = search(seed, until, &mut tally) {
            return Err(shrink::shrink(disagreement));
        }
        if progress && reported.elapsed().as_secs() >= 10 {
            println!("{tally}");
            reported = Instant::now();
        }
    }
    Ok(tally)
}

/// The first disagreement among so many comparisons, as it was found.
pub fn search(seed: u64, comparisons: u64, tally: &mut Tally) -> Option<Box<Disagreement>> {
    while tally.comparisons < comparisons {
        if let Err(disagreement) = case(seed.wrapping_add(tally.cases), tally) {
            return Some(disagreement);
        }
        tally.cases += 1;
    }
    None
}

/// One case: a schema, relationships, a history, and questions all along.
fn case(seed: u64, tally: &mut Tally) -> Result<(), Box<Disagreement>> {
    let (mut author, schema) = Author::new(Dice::new(seed));
    let options = options(&mut author.dice);
    let mut world = World::new(&schema, options);
    let first = author.first(&world.head().model);
    world.apply(first);
    ask_all(seed, &mut author, &world, tally, 12)?;
    for _ in 0..author.dice.between(1, 8) {
        let step = author.next(&world.head().model);
        world.apply(step);
        ask_all(seed, &mut author, &world, tally, 6)?;
    }
    // Neither the order of writes nor what was added and removed on the way makes a difference.
    let mut detours = Vec::new();
    for _ in 0..author.dice.below(6) {
        let source = if author.dice.percent(50) { Source::STANDING } else { Source(5) };
        if let Some(relationship) = author.relationship(world.head().model.now) {
            detours.push(StoredUpdate { operation: Operation::Touch, relationship, source });
        }
    }
    let detour = world.detour(&mut author.dice, &detours);
    ask_all(seed, &mut author, &detour, tally, 6)
}

/// Asks about the newest revision, and about an older one.
fn ask_all(
    seed: u64,
    author: &mut Author,
    world: &World,
    tally: &mut Tally,
    count: usize,
) -> Result<(), Box<Disagreement>> {
    let newest = world.moments.len() - 1;
    for _ in 0..count {
        let past = author.dice.percent(25);
        let moment = if past { author.dice.between(world.first_kept, newest) } else { newest };
        let model = &world.moments[moment].model;
        let Some(mut asked) = Asked::random(author, model) else { continue };
        if !Arc::ptr_eq(&model.schema, &world.head().model.schema) {
            // Relationships are drawn for the newest schema.
            asked.overlay.clear();
        }
        let Some(expected) = asked.expected(model, world.head().model.now) else { continue };
        for way in asked.ways(&mut author.dice) {
            let got = asked.ask(world, moment, way);
            tally.count(&expected, &got);
            if !expected.admits(&got) {
                let scenario = world.scenario(moment, asked, way);
                return Err(Box::new(Disagreement { seed, scenario, expected, got }));
            }
        }
    }
    Ok(())
}

/// Budgets small enough that every part of the index is used, and exceeded.
fn options(dice: &mut Dice) -> IndexOptions {
    IndexOptions {
        revisions_kept: *dice.pick(&[1, 2, 64]),
        changes_max: *dice.pick(&[3, 1000, 1000]),
        written_share_max: *dice.pick(&[0.03, 0.5, 1.0]),
        written_edges_min: *dice.pick(&[1, 5, 4096]),
        rebuild_inline_edges_max: *dice.pick(&[0, 5, 20_000, 20_000]),
        bytes_max: *dice.pick(&[4 << 10, 2 << 30, 2 << 30, 2 << 30]),
        ..IndexOptions::default()
    }
}

impl Scenario {
    /// Lets it happen once more; what should have been answered and what was, if these differ.
    pub fn disagreement(&self) -> Option<(Answer, Answer)> {
        let mut world = World::new(&self.schema, self.options.clone());
        for step in &self.steps {
            world.apply(step.clone());
        }
        if self.moment < world.first_kept {
            return None;
        }
        let expected = self.asked.expected(&world.moments[self.moment].model, world.head().model.now)?;
        let got = self.asked.ask(&world, self.moment, self.way);
        (!expected.admits(&got)).then_some((expected, got))
    }
}

impl Tally {
    fn count(&mut self, expected: &Answer, got: &Answer) {
        if *got == Answer::Refused {
            self.refused += 1;
            return;
        }
        self.comparisons += 1;
        match expected {
            Answer::Value(Value::Yes) => self.members += 1,
            Answer::Value(Value::No) => self.not_members += 1,
            Answer::Value(Value::Maybe(_)) => self.conditional += 1,
            Answer::Value(Value::Fault(_)) | Answer::Faults(_) => self.faults += 1,
            _ => {}
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { cases, comparisons, members, conditional, not_members, faults, refused } = self;
        write!(
            f,
            "{comparisons} comparisons in {cases} cases; checks: {members} members, {conditional} conditional, "
        )?;
        write!(f, "{not_members} not; {faults} faults; {refused} refused by a limit")
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { schema, steps, moment, asked, way, options } = &self.scenario;
        writeln!(f, "seed {}\n\n{}", self.seed, schema.text())?;
        for (index, step) in steps.iter().enumerate() {
            if index == *moment {
                writeln!(f, "-- the question is about this revision, at the time after all steps")?;
            }
            match step {
                Step::Schema(schema) => writeln!(f, "schema:\n{}", schema.text())?,
                Step::Write(updates) => {
                    for StoredUpdate { operation, relationship, source } in updates {
                        let source = if *source == Source::STANDING { "" } else { &format!(" from {source:?}") };
                        writeln!(f, "{operation:?} {relationship}{source}")?;
                    }
                    writeln!(f, "-- committed")?;
                }
                Step::Delete(filter) => writeln!(f, "delete {filter:?}")?,
                Step::Wait(now) => writeln!(f, "wait until {now}")?,
                Step::Collect => writeln!(f, "collect garbage")?,
                Step::Reload => writeln!(f, "load the index anew")?,
            }
        }
        let index = if way.index { format!("by the index, {options:?}") } else { "by the snapshot".to_owned() };
        let detail = way.detail.map_or(String::new(), |detail| format!(", in detail ({detail})"));
        writeln!(f, "\n{asked}\n  {index}{detail}\nexpected {:?}\ngot      {:?}", self.expected, self.got)
    }
}
