//! Attacks of one's own server at the size of the threat model: `attack streams`, `stores`, `members`, `timing`.

use clap::Parser;
use stonetown_tests::attack;
use stonetown_tests::attack::members::Size;

/// Starts servers of its own (`STONETOWN_BIN`, or built from this workspace). Fails where something promised does not hold; times
/// are printed and not judged.
#[derive(Parser)]
enum Args {
    /// Begin and abandon streams; what the server holds has to come back.
    Streams {
        /// How many.
        #[arg(long, default_value_t = 50_000)]
        streams: usize,
    },
    /// Ask two stores with equal names and opposite meanings at once.
    Stores {
        /// How many checks.
        #[arg(long, default_value_t = 100_000)]
        checks: usize,
    },
    /// Ask about a very large group, alone and beside those who ask for all of it.
    Members {
        /// How many members.
        #[arg(long, default_value_t = 1_000_000)]
        members: usize,
        /// How many ask for all of them.
        #[arg(long, default_value_t = 100)]
        hostile: usize,
        /// How many checks are measured.
        #[arg(long, default_value_t = 2_000)]
        checks: usize,
    },
    /// Compare the times of refusals about what is there and what is not.
    Timing {
        /// How many answers of each kind.
        #[arg(long, default_value_t = 10_000)]
        samples: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Streams { streams } => println!("{}", attack::streams::run(streams).await?),
        Args::Stores { checks } => println!("{} questions, no crossing", attack::stores::run(checks).await?),
        Args::Members { members, hostile, checks } => {
            println!("{}", attack::members::run(Size { members, hostile, checks }).await?);
        }
        Args::Timing { samples } => {
            for compared in attack::timing::run(samples).await? {
                println!("{compared}");
            }
        }
    }
    Ok(())
}
