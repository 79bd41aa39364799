//! The logs of one kind, one for each store: opened at their first record, with the files of a bounded number of them open.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

use super::mapped::Tally;
use crate::keys::Keys;
use crate::layout::{CHANGES, log_directory, origin, store_folder, stores};
use crate::log::{Found, Log, LogError, SEGMENT_BITS, Setup};
use crate::record::Body;

/// Logs of one kind whose files are open at most; the others rest until they are written to.
pub(super) const AWAKE_MAX: usize = 128;
/// How long a log that could not be opened is left alone.
const SHUT_FOR: Duration = Duration::from_secs(10);

/// How logs are opened.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) folder: PathBuf,
    /// The kind: the end of the logs' names.
    pub(crate) kind: &'static str,
    pub(crate) instance: InstanceId,
    pub(crate) keys: Keys,
    pub(crate) node: String,
    pub(crate) build: String,
    pub(crate) setup: fn(PathBuf, String) -> Setup,
}

pub(crate) struct Shelf {
    maker: Maker,
    logs: BTreeMap<StoreId, Kept>,
    /// Logs that could not be opened, and when that was tried.
    shut: BTreeMap<StoreId, Instant>,
    uses: u64,
}

/// A log that is written.
pub(crate) struct Kept {
    pub(crate) log: Log,
    /// The record of this process's start.
    pub(crate) start: u64,
    /// Of decisions: those that are appended and not written.
    pub(crate) in_flight: Tally,
    /// Of changes: the last revision that is appended, and the last one that is not only in memory.
    pub(crate) position: Revision,
    pub(crate) written: Revision,
    pub(crate) published_at: Instant,
    /// The number of the segment that was last seen being written.
    pub(crate) segment: u64,
    used: u64,
}

impl Shelf {
    pub(crate) fn new(maker: Maker) -> Shelf {
        Shelf { maker, logs: BTreeMap::new(), shut: BTreeMap::new(), uses: 0 }
    }

    /// Opens a log, made if it is not there; `recover` adds what the process before left, and says how many records. Then the
    /// record of this process's start follows. Nothing is synced but what is made, as others wait: that comes with the next records.
    ///
    /// # Errors
    /// See [`LogError`].
    pub(crate) fn open(
        &mut self,
        of: StoreId,
        recover: impl FnOnce(&mut Log, u64) -> Result<u64, LogError>,
    ) -> Result<&mut Kept, LogError> {
        let Maker { folder, kind, instance, keys, node, build, setup } = self.maker.clone();
        let folder = &folder;
        self.let_rest(of);
        let own = store_folder(folder, of);
        if !own.exists() {
            let made = fs::create_dir_all(&own).and_then(|()| File::open(folder)?.sync_all());
            made.map_err(|source| LogError::Io { path: own, source })?;
        }
        let name = origin(instance, of, kind);
        let (mut log, mut found): (Log, Found) = Log::open(setup(log_directory(folder, of, kind), name), &keys)?;
        if kind == CHANGES {
            log.find_position(&mut found)?;
        }
        if found.size == 0 && of != StoreId::DEFAULT {
            self.tell_begun(of)?;
        }
        found.recovered = recover(&mut log, found.size)?;
        let Found { bytes_cut, recovered, position, clean, .. } = found;
        if bytes_cut > 0 || !clean {
            tracing::warn!(log = log.origin(), bytes_cut, recovered, "the log was not closed properly");
        }
        let start = log.add_start(&node, &build, &found)?;
        log.write()?;
        let position = position.unwrap_or_default();
        let kept = Kept {
            log,
            start,
            in_flight: Tally::default(),
            position,
            written: position,
            published_at: Instant::now(),
            segment: 0,
            used: self.uses,
        };
        self.logs.insert(of, kept);
        self.get(of)
    }

    /// Says in the log of the default store that another one begins, so that it is missed when it is gone. That one is there
    /// by now, and has no record: should this process end before it has, the next one says it again.
    fn tell_begun(&mut self, of: StoreId) -> Result<(), LogError> {
        let main = &mut self.get(StoreId::DEFAULT)?.log;
        main.add(&Body::Begun(Timestamp::now(), of))?;
        main.write()
    }

    /// A log, opened if it is not. One that could not be opened a moment ago is not tried again.
    ///
    /// # Errors
    /// See [`LogError`].
    pub(crate) fn get(&mut self, of: StoreId) -> Result<&mut Kept, LogError> {
        if !self.logs.contains_key(&of) {
            let directory = log_directory(&self.maker.folder, of, self.maker.kind);
            if self.shut.get(&of).is_some_and(|since| since.elapsed() < SHUT_FOR) {
                return Err(LogError::Shut(directory));
            }
            self.shut.insert(of, Instant::now());
            self.open(of, |_, _| Ok(0))?;
            self.shut.remove(&of);
        }
        self.uses += 1;
        if !self.logs.get(&of).is_some_and(|kept| kept.log.is_awake()) {
            self.let_rest(of);
        }
        let kept = self.logs.get_mut(&of).ok_or_else(|| LogError::Shut(self.maker.folder.clone()))?;
        kept.used = self.uses;
        Ok(kept)
    }

    /// Lets the log rest that was not used for longest, where too many are awake once `next` is.
    fn let_rest(&mut self, next: StoreId) {
        let awake = self.logs.iter().filter(|(of, kept)| **of != next && kept.log.is_awake());
        if awake.clone().count() < AWAKE_MAX {
            return;
        }
        let Some((of, _)) = awake.min_by_key(|(_, kept)| kept.used) else { return };
        let of = *of;
        if let Some(kept) = self.logs.get_mut(&of)
            && let Err(error) = kept.log.rest()
        {
            tracing::warn!(%error, log = kept.log.origin(), "a log that is not written to keeps its file open");
        }
    }

    /// A log that is open.
    pub(crate) fn opened(&mut self, of: StoreId) -> Option<&mut Kept> {
        self.logs.get_mut(&of)
    }

    /// Whether a log was last signed for so long ago; one that is not open has been.
    pub(crate) fn is_due(&self, of: StoreId, after: Duration) -> bool {
        self.logs.get(&of).is_none_or(|kept| kept.published_at.elapsed() >= after)
    }

    /// The logs that have something to be signed for since so long, those that wait for longest first.
    pub(crate) fn due(&self, after: Duration) -> Vec<StoreId> {
        let waits = self.logs.iter().filter(|(_, kept)| kept.published_at.elapsed() >= after);
        let mut due: Vec<_> = waits.filter(|(_, kept)| !kept.log.is_published()).collect();
        due.sort_by_key(|(_, kept)| kept.published_at);
        due.into_iter().map(|(of, _)| *of).collect()
    }

    /// Those that are open.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (StoreId, &mut Kept)> {
        self.logs.iter_mut().map(|(of, kept)| (*of, kept))
    }

    /// The stores that have logs, open or not.
    pub(crate) fn stores(&self) -> Result<Vec<StoreId>, LogError> {
        let folder = &self.maker.folder;
        stores(folder).map_err(|source| LogError::Io { path: folder.clone(), source })
    }

    /// Records written and not synced, of all logs.
    pub(crate) fn unsynced(&self) -> u64 {
        self.logs.values().map(|kept| kept.log.unsynced()).sum()
    }

    /// How many have their file open.
    #[cfg(test)]
    pub(crate) fn awake(&self) -> usize {
        self.logs.values().filter(|kept| kept.log.is_awake()).count()
    }
}

impl Kept {
    /// Whether a segment was begun since this was asked.
    pub(crate) fn begins_segment(&mut self) -> bool {
        let segment = self.log.size() >> SEGMENT_BITS;
        std::mem::replace(&mut self.segment, segment) != segment
    }
}
