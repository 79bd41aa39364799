//! The way to the end: no new calls first, then no endless streams, and when the grace period is over, nothing at all. Whoever
//! is cut off is told `UNAVAILABLE`, which clients take as leave to try elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tonic::Status;

/// Calls that are answered to the last: who asks for health while a server stops is to hear about it.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Streams that never end by themselves: there is nothing to wait for.
const ENDLESS: [&str; 5] =
    ["/Watch", "/WatchPermissions", "/WatchPermissionSets", "/ServerReflectionInfo", "/grpc.health.v1.Health/Watch"];

/// How far a server is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// All calls are answered.
    Serving,
    /// Running calls may end, new ones are refused, endless streams are ended.
    Draining,
    /// What still runs is cut off.
    Ending,
}

/// Knows how far the server is.
pub(crate) struct Drain(pub(crate) watch::Receiver<Stage>);

impl Drain {
    /// Lets a call of that path in, until it is to be cut off.
    pub(crate) fn let_in(&self, path: &str) -> Result<Cut, Box<Status>> {
        if *self.0.borrow() >= Stage::Draining && !path.starts_with(HEALTH) {
            return Err(Box::new(stopping()));
        }
        let at = if ENDLESS.iter().any(|end| path.ends_with(end)) { Stage::Draining } else { Stage::Ending };
        Ok(Cut { at, stage: self.0.clone(), reached: None })
    }
}

/// When a call is cut off.
pub(crate) struct Cut {
    at: Stage,
    stage: watch::Receiver<Stage>,
    /// Waits for the stage; made only for a call that has to wait itself.
    reached: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Cut {
    /// Ready with what the caller is told once the call is cut off.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let (mut stage, at) = (self.stage.clone(), self.at);
        let reached = self.reached.get_or_insert_with(|| {
            Box::pin(async move {
                // A server that is gone altogether cuts off as well.
                drop(stage.wait_for(|stage| *stage >= at).await);
            })
        });
        reached.as_mut().poll(cx).map(|()| stopping())
    }
}

fn stopping() -> Status {
    Status::unavailable("the server is stopping: try again, which reaches another or the next one")
}
