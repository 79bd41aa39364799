//! The scenarios of `tests/spec/`, which say by hand what is right: the reference evaluator and the engine both obey.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scenario;

use std::path::Path;
use std::sync::Arc;

use scenario::history::Step;
use scenario::question::{Answer, Asked, Question};
use scenario::world::World;
use serde_norway::Value as Yaml;
use stonetown_graph::reference::Value;
use stonetown_graph::{Given, IndexOptions};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::StoredUpdate;
use stonetown_tuple::{CaveatContext, Operation, Relationship, Source};

#[test]
fn scenarios_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/spec");
    let mut files: Vec<_> =
        folder.read_dir().expect("the folder is there").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let held: usize =
        files.iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")).map(|p| run(p)).sum();
    assert!(held > 200, "only {held} assertions were found");
}

/// Runs a file; how many assertions it has.
fn run(path: &Path) -> usize {
    let document: Yaml = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = document["schema"].as_str().unwrap();
    let schema = Schema::compile(text, &CompileOptions::default()).unwrap_or_else(|errors| {
        panic!("{}: {}", path.display(), errors.iter().map(|error| error.render(text)).collect::<String>())
    });
    let lines = document["relationships"].as_str().unwrap_or_default().lines().map(str::trim);
    let facts = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).map(|line| {
        let relationship: Relationship = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        StoredUpdate { operation: Operation::Create, relationship, source: Source::STANDING }
    });
    let mut world = World::new(&Arc::new(schema), IndexOptions::default());
    world.apply(Step::Write(facts.collect()));
    let mut count = 0;
    for verdict in ["assertTrue", "assertFalse", "assertCaveated"] {
        let assertions = document["assertions"][verdict].as_sequence().cloned().unwrap_or_default();
        for assertion in assertions.iter().map(|assertion| assertion.as_str().unwrap()) {
            let asked = asked(assertion);
            let expected = asked.expected(&world.head().model, world.head().model.now).unwrap();
            let place = format!("{}: {assertion}", path.display());
            let fits = match &expected {
                Answer::Value(Value::Yes) => verdict == "assertTrue",
                Answer::Value(Value::No) => verdict == "assertFalse",
                Answer::Value(Value::Maybe(_)) => verdict == "assertCaveated",
                _ => false,
            };
            assert!(fits, "{place}: the reference says {expected:?}");
            for way in asked.ways(&mut scenario::dice::Dice::new(1)) {
                assert_eq!(asked.ask(&world, 1, way), expected, "{place}: {way:?}");
            }
            count += 1;
        }
    }
    count
}

fn asked(assertion: &str) -> Asked {
    let (relationship, context) = assertion.split_once(" with ").unwrap_or((assertion, "{}"));
    let Relationship { resource, relation: name, subject, .. } = relationship.parse().unwrap();
    let context: CaveatContext = serde_json::from_str(context).unwrap();
    Asked {
        question: Question::Check { resource, name, subject },
        context,
        given: Given::Call { peer_ip: None },
        overlay: Vec::new(),
    }
}
