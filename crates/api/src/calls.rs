//! How calls are run. The front door is synchronous and may block, so all but a check's first attempt goes to threads that may.
//! Light and heavy calls each have a number of places there; who finds none waits.

mod heavy;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use prost::Message;
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_grants::Desk;
use stonetown_identity::Identity;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use self::heavy::HeavyThreads;
use crate::authzed::watch::Watching;
use crate::commits::Commits;
use crate::cursor::{Asker, CursorKey, Question};
use crate::incoming::{CancelOnDrop, Incoming};
use crate::materialize::Downloads;
use crate::settings::ApiSettings;
use crate::status::{self, status};

/// The answer of a call that streams.
pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Small messages between the thread that finds them and the connection that sends them.
pub(crate) const MESSAGES_AHEAD: usize = 256;

/// The authorizer and the places to run its calls at. The services are implemented on it.
#[derive(Debug)]
pub(crate) struct Calls {
    authorizer: Arc<Authorizer>,
    light: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    heavy_threads: HeavyThreads,
    stream_idle_max: Duration,
    version: Option<String>,
    downloads: Option<Downloads>,
    commits: Commits,
    watching: Watching,
    grants: Option<Arc<Desk>>,
    cursor_key: CursorKey,
    identity: Option<Arc<Identity>>,
}

/// Which places a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// A check, a write, a schema call.
    Light,
    /// Everything that may take long.
    Heavy,
}

impl Calls {
    pub(crate) fn new(authorizer: Arc<Authorizer>, settings: &ApiSettings) -> Calls {
        Calls {
            watching: Watching::new(settings),
            commits: Commits::of(&authorizer),
            authorizer,
            light: Arc::new(Semaphore::new(settings.light_calls_max)),
            heavy: Arc::new(Semaphore::new(settings.heavy_calls_max)),
            heavy_threads: HeavyThreads::new(settings.heavy_calls_max),
            stream_idle_max: settings.stream_idle_max,
            version: settings.version.clone(),
            downloads: settings.downloads.clone(),
            grants: settings.grants.clone(),
            cursor_key: settings.cursor_key.clone(),
            identity: settings.identity.clone(),
        }
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// Who calls and what they may do, where the server keeps principals.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The version, unless nobody is told.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The authorizer, for what outlives a call.
    pub(crate) fn shared_authorizer(&self) -> Arc<Authorizer> {
        Arc::clone(&self.authorizer)
    }

    /// The places of a pool.
    pub(crate) fn threads(&self, pool: Pool) -> Arc<Semaphore> {
        match pool {
            Pool::Light => Arc::clone(&self.light),
            Pool::Heavy => Arc::clone(&self.heavy),
        }
    }

    /// Where files of permission sets are offered.
    pub(crate) fn downloads(&self) -> Option<&Downloads> {
        self.downloads.as_ref()
    }

    /// Hears of commits from now on.
    pub(crate) fn commits(&self) -> Commits {
        self.commits.clone()
    }

    /// Where grants are asked for, if this server has them.
    pub(crate) fn grants(&self) -> Option<&Arc<Desk>> {
        self.grants.as_ref()
    }

    /// What watches share.
    pub(crate) fn watching(&self) -> &Watching {
        &self.watching
    }

    /// What `request`, its cursor, limit and consistency taken out, asks of the method `name`: what its cursors are good for.
    pub(crate) fn question(&self, call: &Call, name: &str, request: &impl Message) -> Question {
        let instance = self.authorizer.instance();
        let asker = Asker { caller: &call.caller.name, store: call.store, instance };
        Question::new(self.cursor_key.clone(), asker, name, request)
    }

    /// How long a stream may stand still.
    pub(crate) fn stream_idle_max(&self) -> Duration {
        self.stream_idle_max
    }

    /// Runs `work` on a thread that may block. Once begun it runs to its end, also when nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        pool: Pool,
        work: impl FnOnce(&Authorizer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let place = self.place(pool).await?;
        let authorizer = Arc::clone(&self.authorizer);
        let work = move || {
            let _place = place;
            work(&authorizer)
        };
        let done = match pool {
            Pool::Light => tokio::task::spawn_blocking(work),
            Pool::Heavy => self.heavy_threads.spawn(work),
        };
        done.await.map_err(|_| status::lost())?.map_err(|error| status(&error))
    }

    /// Runs `work` on a thread that may block, and sends what it puts into its outlet, which holds `ahead` messages. The work
    /// ends early when the client leaves, or when nothing moves for too long.
    pub(crate) async fn stream<T: Send + 'static>(
        &self,
        mut incoming: Incoming,
        ahead: usize,
        work: impl FnOnce(&Authorizer, &Call, &mut Outlet<T>) -> Result<(), Error> + Send + 'static,
    ) -> Result<Streamed<T>, Status> {
        let place = self.place(Pool::Heavy).await?;
        let (sender, receiver) = mpsc::channel(ahead);
        let cancel = incoming.cancel_on_drop();
        incoming.cost.add(1, 0);
        let authorizer = Arc::clone(&self.authorizer);
        let idle_max = self.stream_idle_max;
        let mut outlet = Outlet { sender, idle_max, clock: Handle::current() };
        self.heavy_threads.spawn(move || {
            let _place = place;
            if let Err(error) = work(&authorizer, &incoming.call, &mut outlet) {
                // Whoever no longer listens need not know.
                let _ = outlet.put(Err(status(&error)));
            }
        });
        Ok(timed(receiver, cancel, idle_max))
    }

    async fn place(&self, pool: Pool) -> Result<OwnedSemaphorePermit, Status> {
        self.threads(pool).acquire_owned().await.map_err(|_| status::lost())
    }
}

/// Where a streaming call puts its messages.
pub(crate) struct Outlet<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    idle_max: Duration,
    /// Of the call: the runtime of the thread that sends has no time.
    clock: Handle,
}

impl<T> Outlet<T> {
    /// Sends a message, waiting for the client as long as a stream may stand still. `Break` when it is of no use to go on.
    pub(crate) fn send(&mut self, message: T) -> ControlFlow<()> {
        self.put(Ok(message))
    }

    fn put(&mut self, item: Result<T, Status>) -> ControlFlow<()> {
        let sent = match self.sender.try_send(item) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(item)) => {
                let (idle_max, sender) = (self.idle_max, &self.sender);
                let sending = async { tokio::time::timeout(idle_max, sender.send(item)).await };
                matches!(self.clock.block_on(sending), Ok(Ok(())))
            }
        };
        if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The receiving end as a stream that ends with an error when nothing arrives for too long.
fn timed<T: Send + 'static>(
    receiver: mpsc::Receiver<Result<T, Status>>,
    cancel: CancelOnDrop,
    idle_max: Duration,
) -> Streamed<T> {
    Box::pin(futures::stream::unfold(Some((receiver, cancel)), move |open| async move {
        let (mut receiver, cancel) = open?;
        match tokio::time::timeout(idle_max, receiver.recv()).await {
            Ok(Some(item)) => Some((item, Some((receiver, cancel)))),
            Ok(None) => None,
            Err(_) => Some((Err(status::stalled(idle_max.as_secs())), None)),
        }
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn guard() -> (CancelOnDrop, Arc<AtomicBool>) {
        let mut incoming = Incoming { call: Call::new("key-1"), cost: Arc::default() };
        let guard = incoming.cancel_on_drop();
        (guard, incoming.call.cancelled.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_nothing_moves_ends_with_an_error_and_cancels_the_work() {
        let (sender, receiver) = mpsc::channel(4);
        let (guard, cancelled) = guard();
        let mut stream = timed(receiver, guard, Duration::from_secs(30));
        sender.send(Ok(1)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert!(!cancelled.load(Ordering::Relaxed));
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
        assert!(stream.next().await.is_none());
        assert!(cancelled.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_the_work() {
        let (sender, receiver) = mpsc::channel(4);
        let (guard, cancelled) = guard();
        let stream = timed(receiver, guard, Duration::from_secs(30));
        let mut outlet = Outlet { sender, idle_max: Duration::from_secs(30), clock: Handle::current() };
        assert!(outlet.send(1).is_continue());
        drop(stream);
        assert!(cancelled.load(Ordering::Relaxed));
        assert!(outlet.send(2).is_break());
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_waited_for_for_ever() {
        let (sender, _receiver) = mpsc::channel(1);
        let mut outlet = Outlet { sender, idle_max: Duration::from_millis(10), clock: Handle::current() };
        let heavy = HeavyThreads::new(1);
        let (first, second) = heavy.spawn(move || (outlet.send(1), outlet.send(2))).await.unwrap();
        assert!(first.is_continue() && second.is_break());
    }
}
