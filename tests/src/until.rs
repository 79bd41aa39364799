//! Waiting for what comes of itself.

use std::time::{Duration, Instant};

/// More than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds; fails the test when it does not come to that.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
