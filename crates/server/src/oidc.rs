//! The keys of the issuers whose tokens are accepted: fetched, or read from files, and kept fresh. An issuer that is away keeps no
//! server from starting; its tokens are refused until its keys are known.

mod fetch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stonetown_identity::jwt::{Issuer, KeySet, SET_BYTES_MAX};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::ServeError;
use crate::config::IdentityConfig;
use crate::outbound::{Outbound, OutboundError};

pub use fetch::FetchError;

/// Time between two looks at least, where tokens with unknown keys ask for them.
const ASKED_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Time until the next look at an issuer whose keys could not be had, at most.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// Age at which keys that could not be had again are not trusted any more.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The issuers of a server.
#[derive(Clone, Default)]
pub(crate) struct Issuers(Arc<[Arc<Watched>]>);

/// An issuer whose keys are kept fresh.
pub(crate) struct Watched {
    issuer: Arc<Issuer>,
    source: Source,
    asked: Notify,
    had_at: Mutex<Option<Instant>>,
    refreshes: AtomicU64,
    failures: AtomicU64,
}

/// The state of an issuer's keys, for metrics.
pub(crate) struct KeysState<'a> {
    pub(crate) issuer: &'a str,
    /// Times that keys were had.
    pub(crate) refreshes: u64,
    /// Times that they could not be had.
    pub(crate) failures: u64,
    /// Time since they were had; `None` if they never were.
    pub(crate) age: Option<Duration>,
}

enum Source {
    File(PathBuf),
    Discovery(Outbound),
}

impl Issuers {
    /// The issuers of the settings. Keys in files are read now.
    ///
    /// # Errors
    /// [`ServeError::Issuer`] for a file without keys; [`ServeError::Internal`] when nothing can be fetched at all.
    pub(crate) fn open(config: &IdentityConfig) -> Result<Issuers, ServeError> {
        let mut audiences = BTreeMap::<&str, Vec<String>>::new();
        for accepted in &config.oidc_issuer {
            audiences.entry(&accepted.issuer).or_default().push(accepted.audience.clone());
        }
        if audiences.is_empty() {
            return Ok(Issuers::default());
        }
        let outbound = Outbound::new(config.oidc_allow_private_addresses).map_err(ServeError::Internal)?;
        let mut watched = Vec::new();
        for (name, audiences) in audiences {
            let file = config.oidc_keys.iter().find(|keys| keys.issuer == name);
            let source = match file {
                Some(keys) => Source::File(keys.file.clone()),
                None => Source::Discovery(outbound.clone()),
            };
            let one = Watched {
                issuer: Arc::new(Issuer::new(name, audiences)),
                source,
                asked: Notify::new(),
                had_at: Mutex::default(),
                refreshes: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            };
            if let Source::File(path) = &one.source {
                one.take(read(path).map_err(|source| ServeError::Issuer { issuer: name.to_owned(), source })?);
            }
            watched.push(Arc::new(one));
        }
        Ok(Issuers(watched.into()))
    }

    /// The issuers as those who let callers in need them.
    pub(crate) fn trusted(&self) -> Vec<Arc<Issuer>> {
        self.0.iter().map(|watched| Arc::clone(&watched.issuer)).collect()
    }

    /// Each of them, to be kept fresh.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Arc<Watched>> {
        self.0.iter().map(Arc::clone)
    }

    /// Looks for new keys soon: there was a token with one that is not known.
    pub(crate) fn ask(&self) {
        self.0.iter().for_each(|watched| watched.asked.notify_one());
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = KeysState<'_>> {
        self.0.iter().map(|watched| watched.state())
    }
}

impl Watched {
    fn state(&self) -> KeysState<'_> {
        KeysState {
            issuer: self.issuer.name(),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            age: self.age(),
        }
    }

    fn age(&self) -> Option<Duration> {
        self.had_at.lock().map(|at| at.elapsed())
    }

    fn take(&self, keys: KeySet) {
        self.issuer.set_keys(keys);
        *self.had_at.lock() = Some(Instant::now());
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the keys could be had.
    async fn refresh(&self) -> bool {
        let had = match &self.source {
            Source::Discovery(outbound) => fetch::keys(outbound, self.issuer.name()).await,
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                read.unwrap_or_else(|error| Err(OutboundError::Unreachable(error.to_string()).into()))
            }
        };
        match had {
            Ok(keys) => {
                self.take(keys);
                true
            }
            Err(why) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(issuer = self.issuer.name(), %why, "the keys of an issuer cannot be had");
                if self.age().is_some_and(|age| age > AGE_MAX) {
                    self.issuer.forget_keys();
                }
                false
            }
        }
    }
}

/// Keeps an issuer's keys fresh until `stop` turns true.
pub(crate) async fn keep(watched: Arc<Watched>, interval: Duration, mut stop: watch::Receiver<bool>) {
    let work = async {
        loop {
            let pause = if watched.refresh().await { interval } else { interval.min(RETRY_INTERVAL) };
            let asked = async { tokio::join!(watched.asked.notified(), sleep(ASKED_INTERVAL_MIN)) };
            tokio::select! {
                () = sleep(pause) => {}
                _ = asked => {}
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

fn read(path: &Path) -> Result<KeySet, FetchError> {
    let mut text = Vec::new();
    let wrong = |error| FetchError::File(path.display().to_string(), error);
    let mut file = File::open(path).map_err(wrong)?.take(SET_BYTES_MAX as u64 + 1);
    file.read_to_end(&mut text).map_err(wrong)?;
    Ok(KeySet::parse(&text)?)
}
