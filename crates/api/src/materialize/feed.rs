//! A stream of changes: the follower takes its steps on threads that may block, and between commits has none.

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_authorizer::materialize::{Event, Follower, Progress, Start};
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_tuple::{Revision, ZedToken};
use tokio::sync::Semaphore;
use tonic::{Status, metadata::MetadataMap};

use crate::calls::{Calls, Outlet, Pool, Streamed, streamed};
use crate::commits::Commits;
use crate::convert::FieldError;
use crate::incoming::Incoming;
use crate::status::{lost, status};

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
    let (outlet, receiver) = Outlet::new(MESSAGES_AHEAD, calls.stream_idle_max());
    let cancel = incoming.cancel_on_drop();
    incoming.cost.add(1, 0);
    let feed = Feed {
        authorizer: calls.shared_authorizer(),
        threads: calls.threads(Pool::Heavy),
        call: incoming.call,
        message,
    };
    let work = tokio::spawn(feed.run(follower, outlet, calls.commits()));
    streamed(receiver, work, Some(cancel), None)
}

struct Feed<T> {
    authorizer: Arc<Authorizer>,
    threads: Arc<Semaphore>,
    call: Call,
    message: fn(Event) -> Option<T>,
}

impl<T: Send + 'static> Feed<T> {
    /// Until the client leaves, or until the stream has a reason to end.
    async fn run(self, mut follower: Follower, mut outlet: Outlet<T>, mut commits: Commits) -> Result<(), Status> {
        let feed = Arc::new(self);
        loop {
            let thread = Arc::clone(&feed.threads).acquire_owned().await.map_err(|_| lost())?;
            let own = Arc::clone(&feed);
            let taken = tokio::task::spawn_blocking(move || {
                let _thread = thread;
                let progress = own.step(&mut follower, &mut outlet);
                (follower, outlet, progress)
            });
            let progress;
            (follower, outlet, progress) = taken.await.map_err(|_| lost())?;
            match progress? {
                Progress::Moved => {}
                Progress::Left => return outlet.ended(Ok(())),
                Progress::CaughtUp => {
                    let position = follower.completed().map_or(Revision::default(), |moment| moment.revision);
                    if !commits.are_past(position).await && !feed.wait(&outlet, &mut commits).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Until there is a commit, or the deadline is over; whether the client still listens.
    async fn wait(&self, outlet: &Outlet<T>, commits: &mut Commits) -> bool {
        let late = async {
            match self.call.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = commits.next() => true,
            () = late => true,
            () = outlet.closed() => false,
        }
    }

    /// What is committed, up to some revisions.
    fn step(&self, follower: &mut Follower, outlet: &mut Outlet<T>) -> Result<Progress, Status> {
        /// Revisions after which another stream gets the thread.
        const STEPS_MAX: usize = 100;
        for _ in 0..STEPS_MAX {
            let mut tell = |event| match (self.message)(event) {
                None => ControlFlow::Continue(()),
                Some(message) => outlet.send(message),
            };
            match follower.step(&self.authorizer, &self.call, &mut tell) {
                Ok(Progress::Moved) => {}
                Ok(progress) => return Ok(progress),
                Err(Error::Cancelled) => return Ok(Progress::Left),
                Err(error) => return Err(status(&error)),
            }
        }
        Ok(Progress::Moved)
    }
}
