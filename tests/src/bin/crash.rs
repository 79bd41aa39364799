//! Kills a server again and again and looks at what is left: `crash --mode kill --rounds 100`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stonetown_tests::crash::{self, Mode, Plan, Verdict};
use stonetown_tests::server;

/// Starts a server, writes, kills it at a random moment, starts it again and compares what is there with what was
/// acknowledged.
#[derive(Parser)]
struct Args {
    /// What a kill takes away.
    #[arg(long, value_enum, default_value_t = Mode::Kill)]
    mode: Mode,

    /// How many kills.
    #[arg(long, default_value_t = 100)]
    rounds: u32,

    /// Decides when to kill; a new one each time unless given.
    #[arg(long)]
    seed: Option<u64>,

    /// The `stonetown` binary; built from this workspace unless given.
    #[arg(long, env = "STONETOWN_BIN")]
    binary: Option<PathBuf>,

    /// The binary has a planted fault: succeed only if a loss is found.
    #[arg(long)]
    expect_loss: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let binary = match args.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => server::binary()?,
    };
    let plan = Plan { mode: args.mode, rounds: args.rounds, seed: args.seed.unwrap_or_else(rand::random), binary };
    println!("{} rounds of {:?}, --seed {}", plan.rounds, plan.mode, plan.seed);
    let lost = match crash::run(&plan, &mut |line| println!("{line}")).await? {
        Verdict::Durable { acknowledged, in_doubt } => {
            println!("no loss: {acknowledged} transactions acknowledged, {in_doubt} under way at a kill");
            false
        }
        Verdict::Lost { round, what } => {
            println!("LOST after kill {round}: {what}");
            true
        }
    };
    Ok(if lost == args.expect_loss { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
