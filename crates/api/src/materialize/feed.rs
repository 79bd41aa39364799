//! A stream of changes: the follower takes its steps on threads that may block, and between commits has none.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use stonetown_authorizer::materialize::{Event, Follower, Progress, Start};
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_tuple::{Revision, ZedToken};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Status, metadata::MetadataMap};

use crate::calls::{Calls, Pool, Streamed};
use crate::commits::Commits;
use crate::convert::FieldError;
use crate::incoming::{CancelOnDrop, Incoming};
use crate::status::{lost, not_read, status};

/// Where a stream without a token begins: `now`, as by the interface, or `start`, with everything there is.
const FROM: &str = "stonetown-watch-from";
/// Messages between the thread that finds them and the connection that sends them.
const MESSAGES_AHEAD: usize = 256;

/// Where a stream begins.
pub(super) fn start(metadata: &MetadataMap, after: Option<ZedToken>) -> Result<Start, FieldError> {
    match (metadata.get(FROM).map(|from| from.to_str()), after) {
        (Some(_), Some(_)) => Err(FieldError::new("a token says where to begin already").within(FROM)),
        (None, Some(token)) => Ok(Start::After(token)),
        (None | Some(Ok("now")), None) => Ok(Start::Now),
        (Some(Ok("start")), None) => Ok(Start::Everything),
        (Some(_), None) => Err(FieldError::new("expected now or start").within(FROM)),
    }
}

/// Streams what a follower tells, as `message` puts it; it leaves out what has no message.
pub(super) fn stream<T: Send + 'static>(
    calls: &Calls,
    mut incoming: Incoming,
    follower: Follower,
    message: fn(Event) -> Option<T>,
) -> Streamed<T> {
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let cancel = incoming.cancel_on_drop();
    incoming.cost.add(1, 0);
    let feed = Feed {
        authorizer: calls.shared_authorizer(),
        threads: calls.threads(Pool::Heavy),
        call: incoming.call,
        sender,
        idle_max: calls.stream_idle_max(),
        message,
    };
    let end = tokio::spawn(feed.run(follower, calls.commits()));
    Box::pin(Answer { receiver, end: Some(end), _cancel: cancel })
}

struct Feed<T> {
    authorizer: Arc<Authorizer>,
    threads: Arc<Semaphore>,
    call: Call,
    sender: mpsc::Sender<T>,
    idle_max: Duration,
    message: fn(Event) -> Option<T>,
}

impl<T: Send + 'static> Feed<T> {
    /// Until the client leaves, or until the stream has a reason to end.
    async fn run(self, mut follower: Follower, mut commits: Commits) -> Result<(), Status> {
        let feed = Arc::new(self);
        loop {
            let thread = Arc::clone(&feed.threads).acquire_owned().await.map_err(|_| lost())?;
            let own = Arc::clone(&feed);
            let taken = tokio::task::spawn_blocking(move || {
                let _thread = thread;
                let progress = own.step(&mut follower);
                (follower, progress)
            });
            let (again, progress) = taken.await.map_err(|_| lost())?;
            follower = again;
            match progress? {
                Progress::Moved => {}
                Progress::Left => return Ok(()),
                Progress::CaughtUp => {
                    let position = follower.completed().map_or(Revision::default(), |moment| moment.revision);
                    if !commits.are_past(position).await && !feed.wait(&mut commits).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Until there is a commit, or the deadline is over; whether the client still listens.
    async fn wait(&self, commits: &mut Commits) -> bool {
        let late = async {
            match self.call.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = commits.next() => true,
            () = late => true,
            () = self.sender.closed() => false,
        }
    }

    /// What is committed, up to some revisions.
    fn step(&self, follower: &mut Follower) -> Result<Progress, Status> {
        /// Revisions after which another stream gets the thread.
        const STEPS_MAX: usize = 100;
        let mut slow = false;
        for _ in 0..STEPS_MAX {
            let mut tell = |event| match (self.message)(event) {
                None => ControlFlow::Continue(()),
                Some(message) => self.send(message, &mut slow),
            };
            match follower.step(&self.authorizer, &self.call, &mut tell) {
                Ok(Progress::Moved) => {}
                Ok(Progress::Left) if slow => return Err(not_read(self.idle_max.as_secs())),
                Ok(progress) => return Ok(progress),
                Err(Error::Cancelled) => return Ok(Progress::Left),
                Err(error) => return Err(status(&error)),
            }
        }
        Ok(Progress::Moved)
    }

    fn send(&self, message: T, slow: &mut bool) -> ControlFlow<()> {
        match self.sender.try_send(message) {
            Ok(()) => return ControlFlow::Continue(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return ControlFlow::Break(()),
            Err(mpsc::error::TrySendError::Full(message)) => {
                let sending = tokio::time::timeout(self.idle_max, self.sender.send(message));
                match Handle::current().block_on(sending) {
                    Ok(Ok(())) => return ControlFlow::Continue(()),
                    Ok(Err(_)) => {}
                    Err(_) => *slow = true,
                }
            }
        }
        ControlFlow::Break(())
    }
}

/// The messages, and after the last the reason why there are no more.
struct Answer<T> {
    receiver: mpsc::Receiver<T>,
    end: Option<tokio::task::JoinHandle<Result<(), Status>>>,
    _cancel: CancelOnDrop,
}

impl<T> Stream for Answer<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.receiver.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(end).poll(context));
        self.end = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(Err(status)),
            Err(_) => Some(Err(lost())),
        })
    }
}
