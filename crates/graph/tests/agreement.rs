//! The engine agrees with the reference evaluator, in random scenarios.
//!
//! A failure prints its seed and a small scenario. The same for longer, or from another seed:
//! `cargo run --release -p stonetown-graph --example agreement -- --comparisons 10000000 --seed N`.

mod scenario;

/// Comparisons of one run of the test.
const COMPARISONS: u64 = 200_000;

#[test]
fn the_engine_agrees_with_the_reference() {
    let seed = 20_261_121;
    println!("seed {seed}");
    match scenario::run::run(seed, COMPARISONS, false) {
        Ok(tally) => {
            println!("{tally}");
            // A test of nothing but denials would prove little.
            let least = tally.comparisons / 100;
            assert!(tally.members > least && tally.conditional > least && tally.not_members > least, "{tally}");
            assert!(tally.faults > 0, "{tally}");
        }
        Err(disagreement) => panic!("{disagreement}"),
    }
}
