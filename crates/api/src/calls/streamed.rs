//! The answer of a call that streams: what a thread or task finds, and after the last of it the reason why there is no more. A
//! stream that is cut short never looks like one that is whole.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::incoming::CancelOnDrop;
use crate::status::{lost, not_read, stalled};

/// The answer of a call that streams.
pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where a streaming call puts its messages.
pub(crate) struct Outlet<T> {
    sender: mpsc::Sender<T>,
    idle_max: Duration,
    /// Of the call: the runtime of a thread that sends may have no time.
    clock: Handle,
    slow: bool,
}

impl<T> Outlet<T> {
    /// Where messages go, and where they come out: `ahead` of them at most stand in between. Made by a call, within its runtime.
    pub(crate) fn new(ahead: usize, idle_max: Duration) -> (Outlet<T>, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(ahead);
        (Outlet { sender, idle_max, clock: Handle::current(), slow: false }, receiver)
    }

    /// Sends a message from a thread that may block, waiting for the client as long as a stream may stand still. `Break` when it is of
    /// no use to go on.
    pub(crate) fn send(&mut self, message: T) -> ControlFlow<()> {
        if self.slow {
            return ControlFlow::Break(());
        }
        let message = match self.sender.try_send(message) {
            Ok(()) => return ControlFlow::Continue(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return ControlFlow::Break(()),
            Err(mpsc::error::TrySendError::Full(message)) => message,
        };
        let (idle_max, sender) = (self.idle_max, &self.sender);
        match self.clock.block_on(async { tokio::time::timeout(idle_max, sender.send(message)).await }) {
            Ok(Ok(())) => return ControlFlow::Continue(()),
            Ok(Err(_)) => {}
            Err(_) => self.slow = true,
        }
        ControlFlow::Break(())
    }

    /// How the stream ends, whose work ended so: work that was told to stop ends well, but not the stream.
    ///
    /// # Errors
    /// That of the work, or that the client took nothing.
    pub(crate) fn ended(&self, work: Result<(), Status>) -> Result<(), Status> {
        if self.slow { Err(not_read(self.idle_max.as_secs())) } else { work }
    }

    /// Until the client has left.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// What the client reads: the messages, then how `work` ended. Where there is an `idle_max`, a stream on which nothing moves for so
/// long ends, and the work behind it.
pub(crate) fn streamed<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
    work: JoinHandle<Result<(), Status>>,
    cancel: Option<CancelOnDrop>,
    idle_max: Option<Duration>,
) -> Streamed<T> {
    Box::pin(futures::stream::unfold(Some((receiver, work, cancel)), move |open| async move {
        let (mut receiver, mut work, cancel) = open?;
        let next = async {
            match receiver.recv().await {
                Some(message) => Some(Ok(message)),
                None => (&mut work).await.unwrap_or_else(|_| Err(lost())).err().map(Err),
            }
        };
        let next = match idle_max {
            None => next.await,
            Some(idle_max) => {
                let stood_still = |_| Some(Err(stalled(idle_max.as_secs())));
                tokio::time::timeout(idle_max, next).await.unwrap_or_else(stood_still)
            }
        };
        let open = matches!(next, Some(Ok(_))).then_some((receiver, work, cancel));
        next.map(|item| (item, open))
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::StreamExt;
    use stonetown_authorizer::Call;
    use tonic::Code;

    use super::*;
    use crate::calls::heavy::HeavyThreads;

    const LONG: Duration = Duration::from_secs(30);

    fn guard() -> (CancelOnDrop, Arc<AtomicBool>) {
        let mut call = Call::new("key-1");
        let guard = CancelOnDrop::of(&mut call);
        (guard, call.cancelled.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_nothing_moves_ends_with_an_error_and_cancels_the_work() {
        let (guard, cancelled) = guard();
        let (mut outlet, receiver) = Outlet::new(4, LONG);
        assert!(outlet.send(1).is_continue());
        let work = tokio::spawn(async move {
            outlet.closed().await;
            Ok(())
        });
        let mut stream = streamed(receiver, work, Some(guard), Some(LONG));
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert!(!cancelled.load(Ordering::Relaxed));
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(stream.next().await.is_none());
        assert!(cancelled.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_the_work() {
        let (guard, cancelled) = guard();
        let (mut outlet, receiver) = Outlet::new(4, LONG);
        let stream = streamed(receiver, tokio::spawn(async { Ok(()) }), Some(guard), Some(LONG));
        assert!(outlet.send(1).is_continue());
        drop(stream);
        assert!(cancelled.load(Ordering::Relaxed));
        assert!(outlet.send(2).is_break());
    }

    /// All that a client reads of a stream whose work sends `messages`, if it waits so long before it reads.
    async fn read(messages: u32, idle_max: Duration, waits: Duration) -> Vec<Result<u32, Code>> {
        let (mut outlet, receiver) = Outlet::new(2, idle_max);
        let heavy = HeavyThreads::new(1);
        let work = heavy.spawn(move || {
            let _stopped = (0..messages).try_for_each(|number| outlet.send(number));
            outlet.ended(Ok(()))
        });
        let stream = streamed(receiver, work, None, Some(LONG));
        tokio::time::sleep(waits).await;
        stream.map(|item| item.map_err(|status| status.code())).collect().await
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_waited_for_for_ever_and_told_that_more_was_to_come() {
        let (soon, later) = (Duration::from_millis(10), Duration::from_millis(300));
        assert_eq!(read(2, soon, later).await, [Ok(0), Ok(1)], "all was ahead of it");
        assert_eq!(read(3, soon, later).await, [Ok(0), Ok(1), Err(Code::DeadlineExceeded)]);
        assert_eq!(read(4, LONG, later).await, [Ok(0), Ok(1), Ok(2), Ok(3)]);
    }

    #[tokio::test]
    async fn what_ends_by_a_fault_does_not_look_whole() {
        let (mut outlet, receiver) = Outlet::new(4, LONG);
        let heavy = HeavyThreads::new(1);
        let work = heavy.spawn(move || {
            assert!(outlet.send(1).is_continue());
            panic!("a fault");
        });
        let items: Vec<_> =
            streamed(receiver, work, None, Some(LONG)).map(|item| item.map_err(|status| status.code())).collect().await;
        assert_eq!(items, [Ok(1), Err(Code::Internal)]);
    }
}
