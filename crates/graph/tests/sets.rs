//! Sets kept by applying changes to nothing hold, at every moment of random histories, exactly those whom checks find.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scenario;

/// Pairs that are compared in one run of the test.
const COMPARISONS: u64 = 30_000;

#[test]
fn sets_that_are_kept_agree_with_checks_at_every_moment() {
    let seed: u64 = std::env::var("STONETOWN_SEED").map_or(20_261_121, |text| text.parse().unwrap());
    println!("STONETOWN_SEED={seed}");
    let mut tally = scenario::sets::Tally::default();
    if let Err(disagreement) = scenario::sets::search(seed, COMPARISONS, &mut tally) {
        panic!("{disagreement}");
    }
    println!("{tally:?}");
    // A test of nothing but denials, or of members that are all named by their set, would prove little.
    let least = tally.comparisons / 100;
    assert!(tally.members > least && tally.undecided > 0 && tally.through_sets > least / 10, "{tally:?}");
    assert!(tally.left_out < tally.members, "{tally:?}");
}
