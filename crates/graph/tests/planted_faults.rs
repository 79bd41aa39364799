//! Each planted fault is found by the comparison with the reference evaluator:
//! `cargo test -p stonetown-graph --features planted-faults --test planted_faults`.
//! `docs/planted-faults.md` lists them.

mod scenario;

use std::path::Path;

use stonetown_graph::{PlantedFault, plant};

/// The comparisons of the test without faults.
const COMPARISONS: u64 = 200_000;

#[test]
fn every_planted_fault_is_found() {
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut missed = Vec::new();
    for fault in PlantedFault::ALL {
        plant(Some(*fault));
        let mut tally = scenario::run::Tally::default();
        match scenario::run::search(seed, COMPARISONS, &mut tally) {
            Some(found) => println!("{fault:?}: after {} comparisons, by {}", tally.comparisons, found.scenario.asked),
            None => missed.push(*fault),
        }
    }
    plant(None);
    assert!(missed.is_empty(), "nothing noticed {missed:?}");
}

#[test]
fn the_table_lists_every_fault() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/planted-faults.md");
    let table = std::fs::read_to_string(table).expect("the table is there");
    for fault in PlantedFault::ALL {
        assert!(table.contains(&format!("| `{fault:?}` |")), "{fault:?} is not in the table");
    }
}
