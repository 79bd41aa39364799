//! Each planted fault is found by the comparison with the reference evaluator:
//! `cargo test -p stonetown-graph --features planted-faults --test planted_faults`.
//! `docs/planted-faults.md` lists them. `STONETOWN_FAULT` looks for one alone, `STONETOWN_SEED` in other worlds.

#![allow(clippy::panic)]

mod scenario;

use std::path::Path;
use std::sync::Mutex;

use stonetown_graph::{PlantedFault, plant};

/// The comparisons of the test without faults.
const COMPARISONS: u64 = 200_000;
const SETS_COMPARISONS: u64 = 30_000;
const SEED: u64 = 20_261_121;

/// Faults that only the comparison of sets that are kept can find.
const OF_SETS: &[PlantedFault] = &[PlantedFault::SetsAboveNotReadAgain, PlantedFault::ArrowOfSetNotFollowed];

/// A fault is planted in the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn every_planted_fault_is_found() {
    let _alone = ALONE.lock();
    let seed = std::env::var("STONETOWN_SEED").map_or(SEED, |text| text.parse().expect("a number"));
    let only = std::env::var("STONETOWN_FAULT").ok();
    println!("STONETOWN_SEED={seed}");
    let mut missed = Vec::new();
    let wanted = |fault: &PlantedFault| only.as_ref().is_none_or(|only| *only == format!("{fault:?}"));
    for fault in PlantedFault::ALL.iter().filter(|fault| !OF_SETS.contains(fault) && wanted(fault)) {
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
fn every_planted_fault_of_sets_is_found() {
    let _alone = ALONE.lock();
    for fault in OF_SETS {
        plant(Some(*fault));
        let mut tally = scenario::sets::Tally::default();
        let found = scenario::sets::search(SEED, SETS_COMPARISONS, &mut tally);
        plant(None);
        match found {
            Err(found) => println!("{fault:?}: after {} comparisons, {found:.300}", tally.comparisons),
            Ok(()) => panic!("nothing noticed {fault:?}"),
        }
    }
}

#[test]
fn the_table_lists_every_fault() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/planted-faults.md");
    let table = std::fs::read_to_string(table).expect("the table is there");
    for fault in PlantedFault::ALL {
        assert!(table.contains(&format!("| `{fault:?}` |")), "{fault:?} is not in the table");
    }
}
