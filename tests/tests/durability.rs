//! A few rounds of what the `crash` command does for hours.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tests::crash::{Mode, Plan, Verdict, run};
use stonetown_tests::server::binary;

const ROUNDS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing() {
    survive(Mode::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_left_unsynced() {
    survive(Mode::Unsynced).await;
}

async fn survive(mode: Mode) {
    let seed = rand::random();
    println!("seed {seed}");
    let plan = Plan { mode, rounds: ROUNDS, seed, binary: binary().unwrap() };
    match run(&plan, &mut |line| println!("{line}")).await.unwrap() {
        Verdict::Durable { acknowledged, .. } => assert!(acknowledged > 0, "nothing was written"),
        Verdict::Lost { round, what } => panic!("lost after kill {round}: {what}"),
    }
}
