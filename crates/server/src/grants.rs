//! The clean-up behind grants.

use std::sync::Arc;
use std::time::Duration;

use stonetown_grants::Desk;
use tokio::sync::watch;

/// Between two looks at what time has done to grants. Access does not wait for it.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// Writes down what has ended, until `stop` turns true.
pub(crate) async fn tick(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let mut failed = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TICK_EVERY) => {}
        }
        let desk = Arc::clone(&desk);
        match tokio::task::spawn_blocking(move || desk.tick()).await {
            Ok(Ok(_)) => failed = false,
            // Told once: without writes it fails each time.
            Ok(Err(error)) if !failed => {
                failed = true;
                tracing::error!(%error, "grants that have ended could not be written down");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "looking after grants ended early"),
        }
    }
}
