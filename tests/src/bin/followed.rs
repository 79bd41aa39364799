//! Follows a server through random transactions, kills and broken streams: `followed --transactions 10000`.

use std::path::PathBuf;

use clap::Parser;
use stonetown_tests::followed::{self, Plan};
use stonetown_tests::server;

/// A watcher, kept sets and counters, compared with scans and checks at every checkpoint.
#[derive(Parser)]
struct Args {
    /// How many transactions.
    #[arg(long, default_value_t = 10_000)]
    transactions: u32,

    /// Decides what happens; a new one each time unless given.
    #[arg(long)]
    seed: Option<u64>,

    /// The `stonetown` binary; built from this workspace unless given.
    #[arg(long, env = "STONETOWN_BIN")]
    binary: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let binary = match args.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => server::binary()?,
    };
    let plan = Plan { transactions: args.transactions, seed: args.seed.unwrap_or_else(rand::random), binary };
    println!("{} transactions, --seed {}", plan.transactions, plan.seed);
    println!("{}", followed::run(&plan).await?);
    Ok(())
}
