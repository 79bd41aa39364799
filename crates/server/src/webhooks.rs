//! Telling others what becomes of grants: each webhook is told of every change, in order, and again until it takes it. Where it
//! is in the log is kept, so that nothing is lost while it, or this server, is away; nothing about grants waits for it.

mod positions;
mod signature;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use stonetown_api::GrantMessages;
use stonetown_authorizer::{Authorizer, Error as EngineError};
use stonetown_grants::{Desk, Error, Follow, Happened};
use stonetown_storage::StorageError;
use stonetown_tuple::{Revision, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::{GrantsConfig, WebhookUrl};
use crate::outbound::{Outbound, OutboundError};
use positions::Positions;
use signature::Secrets;

pub use signature::SecretError;

/// Between two looks at the log.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Between two looks after one that failed.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Time until a message that was not taken is sent again, at first; it doubles each time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The same at most.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Time after which the position is kept though nobody was told anything, so that the log need not be kept for it.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Why there can be no webhooks.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Their secret cannot be had.
    #[error("--grant-webhook-secret-file: {0}")]
    Secret(#[from] SecretError),
    /// Where they are in the log cannot be had.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Nothing could be sent.
    #[error("{0}")]
    Internal(String),
}

/// The webhooks of a server.
#[derive(Clone, Default)]
pub(crate) struct Webhooks(Arc<[Arc<Webhook>]>);

/// One who is told.
pub(crate) struct Webhook {
    /// Which one of the settings, from 1. A URL is more than logs and metrics need to know.
    number: usize,
    url: WebhookUrl,
    shared: Arc<Shared>,
    /// Up to which revision it was told of everything.
    position: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    /// When what it has not taken yet happened.
    waiting: Mutex<Option<Timestamp>>,
}

/// What all webhooks have in common.
struct Shared {
    desk: Arc<Desk>,
    /// Whose history it is, as part of the ids of messages.
    instance: String,
    outbound: Outbound,
    secrets: Secrets,
    messages: GrantMessages,
    positions: Positions,
    /// Age at which a message is given up: that of the log.
    age_max: Duration,
}

/// The state of a webhook, for metrics.
pub(crate) struct WebhookState {
    pub(crate) number: usize,
    pub(crate) delivered: u64,
    /// Times that it did not take a message.
    pub(crate) failed: u64,
    /// Messages, or parts of the log, that it was not told in time.
    pub(crate) given_up: u64,
    /// Up to which revision it was told of everything.
    pub(crate) position: u64,
    /// Age of what it has not taken yet.
    pub(crate) waiting: Option<Duration>,
}

impl Webhooks {
    /// The webhooks of the settings.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub(crate) fn open(
        config: &GrantsConfig,
        age_max: Duration,
        authorizer: &Authorizer,
        desk: &Arc<Desk>,
    ) -> Result<Webhooks, WebhookError> {
        let Some(secret_file) = config.grant_webhook_secret_file.as_ref().filter(|_| !config.grant_webhook.is_empty())
        else {
            return Ok(Webhooks::default());
        };
        let datastore = Arc::clone(authorizer.datastore());
        let instance = datastore.instance().to_string();
        let allow_private = config.grant_webhook_allow_private_addresses;
        let shared = Arc::new(Shared {
            desk: Arc::clone(desk),
            instance,
            outbound: Outbound::new(allow_private).map_err(WebhookError::Internal)?,
            secrets: Secrets::read(secret_file)?,
            messages: GrantMessages::new().map_err(WebhookError::Internal)?,
            positions: Positions::open(datastore, config.grant_webhook.iter().map(WebhookUrl::as_str))?,
            age_max,
        });
        let webhook = |(at, url): (usize, &WebhookUrl)| {
            Arc::new(Webhook {
                number: at + 1,
                url: url.clone(),
                position: AtomicU64::new(shared.positions.of(url.as_str()).0),
                shared: Arc::clone(&shared),
                delivered: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                given_up: AtomicU64::new(0),
                waiting: Mutex::default(),
            })
        };
        Ok(Webhooks(config.grant_webhook.iter().enumerate().map(webhook).collect()))
    }

    /// Each of them, to be told.
    pub(crate) fn each(&self) -> impl Iterator<Item = Arc<Webhook>> {
        self.0.iter().map(Arc::clone)
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = WebhookState> {
        self.0.iter().map(|webhook| webhook.state())
    }
}

/// Tells a webhook what happens until `stop` turns true. What it is told just then is told again after a restart.
pub(crate) async fn tell(webhook: Arc<Webhook>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        never = webhook.follow() => match never {},
    }
}

impl Webhook {
    async fn follow(self: &Arc<Self>) -> std::convert::Infallible {
        let mut kept_at = Instant::now();
        let mut place = None;
        loop {
            let (looked, at) = self.look(place.take()).await;
            place = at;
            let happened = match looked {
                Ok(happened) => happened,
                Err(error) => {
                    tracing::error!(webhook = self.number, %error, "what becomes of grants cannot be followed");
                    sleep(LOOK_AGAIN_INTERVAL).await;
                    continue;
                }
            };
            for happened in happened.iter().flatten() {
                self.deliver(happened).await;
            }
            let Some(reached) = place.as_ref().map(Follow::position) else { continue };
            let was_told = happened.as_ref().is_some_and(|happened| !happened.is_empty());
            if was_told || kept_at.elapsed() >= KEEP_INTERVAL {
                kept_at = Instant::now();
                self.keep(reached).await;
            }
            self.position.store(reached.0, Ordering::Relaxed);
            if happened.is_none() {
                sleep(LOOK_INTERVAL).await;
            }
        }
    }

    /// What happened next, and from where to go on. Without a place it is looked from the one that was reached.
    async fn look(self: &Arc<Self>, place: Option<Follow>) -> (Result<Option<Vec<Happened>>, Error>, Option<Follow>) {
        let webhook = Arc::clone(self);
        let look = move || {
            let desk = &webhook.shared.desk;
            let reached = || desk.follow(Revision(webhook.position.load(Ordering::Relaxed)));
            let mut follow = match place.map_or_else(reached, Ok) {
                Ok(follow) => follow,
                Err(error) => return (Err(error), None),
            };
            match follow.poll() {
                Err(Error::Engine(EngineError::SnapshotExpired { floor, .. })) => {
                    webhook.give_up("the log is no longer kept to where this webhook was");
                    (Ok(Some(Vec::new())), desk.follow(floor).ok())
                }
                looked => (looked, Some(follow)),
            }
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|error| (Err(EngineError::Internal(error.to_string()).into()), None))
    }

    /// Sends a message until it is taken, or too old.
    async fn deliver(&self, happened: &Happened) {
        *self.waiting.lock() = Some(happened.at);
        let mut pause = RETRY_INTERVAL;
        loop {
            match self.send(happened).await {
                Ok(()) => {
                    self.delivered.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(why) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(webhook = self.number, grant = happened.grant.id, %why, "a webhook did not take a message");
                }
            }
            if self.age(happened.at) > self.shared.age_max {
                self.give_up("a message is as old as the log is kept");
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_INTERVAL_MAX);
        }
        *self.waiting.lock() = None;
    }

    async fn send(&self, happened: &Happened) -> Result<(), OutboundError> {
        let Shared { instance, messages, secrets, outbound, desk, .. } = &*self.shared;
        let broken = |error: &dyn std::fmt::Display| OutboundError::Unreachable(error.to_string());
        let body = messages.body(happened).map_err(|status| broken(&status.message()))?;
        // The same each time, so that who is told again can know.
        let id = format!("grant_{instance}_{}_{}", happened.revision.0, happened.number);
        let second = desk.now().as_second();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("webhook-signature", &secrets.sign(&id, second, &body)),
            ("webhook-timestamp", &second.to_string()),
            ("webhook-id", &id),
        ] {
            let value = HeaderValue::from_str(value).map_err(|error| broken(&error))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        outbound.post(self.url.as_str(), headers, body).await
    }

    async fn keep(self: &Arc<Self>, reached: Revision) {
        let webhook = Arc::clone(self);
        let keep = move || webhook.shared.positions.reach(webhook.url.as_str(), reached);
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(webhook = self.number, %error, "how far a webhook is cannot be kept"),
            Err(error) => tracing::error!(webhook = self.number, %error, "keeping how far a webhook is ended early"),
        }
    }

    fn give_up(&self, why: &str) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        tracing::error!(webhook = self.number, why, "a webhook will not be told all that became of grants");
    }

    fn age(&self, at: Timestamp) -> Duration {
        let seconds = self.shared.desk.now().as_second().saturating_sub(at.as_second());
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    fn state(&self) -> WebhookState {
        WebhookState {
            number: self.number,
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            position: self.position.load(Ordering::Relaxed),
            waiting: self.waiting.lock().map(|at| self.age(at)),
        }
    }
}
