//! Compares the engine with the reference evaluator for as long as one likes:
//! `cargo run --release -p stonetown-graph --example agreement -- --comparisons 10000000 --seed N`.

#[path = "../tests/scenario/mod.rs"]
mod scenario;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut comparisons, mut seed) = (10_000_000, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (argument.as_str(), value) {
            ("--comparisons", Some(value)) => comparisons = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("usage: agreement [--comparisons N] [--seed N]");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("seed {seed}");
    match scenario::run::run(seed, comparisons, true) {
        Ok(tally) => {
            println!("agreed: {tally}");
            ExitCode::SUCCESS
        }
        Err(disagreement) => {
            println!("{disagreement}");
            ExitCode::FAILURE
        }
    }
}
