//! How calls are run. The front door is synchronous and may block, so all but a check's first attempt goes to threads that may.
//! Light and heavy calls each have a number of places there; who finds none waits.

mod heavy;
mod streamed;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use stonetown_authorizer::admission::Weight;
use stonetown_authorizer::{Authorizer, Call, Error};
use stonetown_grants::Desk;
use stonetown_identity::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use self::heavy::HeavyThreads;
pub(crate) use self::streamed::{Outlet, Streamed, streamed};
use crate::authzed::watch::Watching;
use crate::commits::Commits;
use crate::cursor::{Asker, CursorKey, Question};
use crate::incoming::Incoming;
use crate::materialize::Downloads;
use crate::settings::ApiSettings;
use crate::status::{self, status};

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

impl From<Pool> for Weight {
    fn from(pool: Pool) -> Weight {
        match pool {
            Pool::Light => Weight::Light,
            Pool::Heavy => Weight::Heavy,
        }
    }
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
        let (mut outlet, receiver) = Outlet::new(ahead, self.stream_idle_max);
        let cancel = incoming.cancel_on_drop();
        incoming.cost.add(1, 0);
        let authorizer = Arc::clone(&self.authorizer);
        let work = self.heavy_threads.spawn(move || {
            let _place = place;
            let worked = work(&authorizer, &incoming.call, &mut outlet);
            outlet.ended(worked.map_err(|error| status(&error)))
        });
        Ok(streamed(receiver, work, Some(cancel), Some(self.stream_idle_max)))
    }

    async fn place(&self, pool: Pool) -> Result<OwnedSemaphorePermit, Status> {
        self.threads(pool).acquire_owned().await.map_err(|_| status::lost())
    }
}
