//! Those who follow the log agree with scans, however often the server is killed and streams break off. The `followed` command
//! does the same at length.
#![allow(clippy::unwrap_used)]

use stonetown_tests::followed::{self, Plan};
use stonetown_tests::server::binary;

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_kept_sets_and_counters_equal_what_a_scan_says_at_each_checkpoint() {
    let plan = Plan { transactions: 400, seed: rand::random(), binary: binary().unwrap() };
    println!("--seed {}", plan.seed);
    let tally = followed::run(&plan).await.unwrap();
    println!("{tally}");
    assert!(tally.checkpoints == 20 && tally.reconnects > 0 && tally.members > 0, "{tally}");
}
