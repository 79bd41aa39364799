//! Ends a call that lasts when its caller is no longer let in.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use stonetown_authorizer::Caller;
use stonetown_identity::Identity;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Looks now and then whether a caller is still let in.
pub(crate) struct Guard {
    identity: Arc<Identity>,
    caller: Caller,
    /// Made only for a call that has to wait.
    looks: Option<Interval>,
}

impl Guard {
    pub(super) fn new(identity: Arc<Identity>, caller: Caller) -> Guard {
        Guard { identity, caller, looks: None }
    }

    /// Ready with the refusal once there is one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let looks = self.looks.get_or_insert_with(|| {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        while looks.poll_tick(cx).is_ready() {
            if let Err(refusal) = self.identity.still(&self.caller) {
                return Poll::Ready(super::refused(&refusal));
            }
        }
        Poll::Pending
    }
}
