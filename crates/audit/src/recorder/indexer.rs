//! The thread that makes the indexes of full segments, beside the one that writes, so that nobody waits for it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::layout::{CHANGES, DECISIONS, log_directory, stores};
use crate::{index, segment};

/// Ends the thread when dropped.
pub(super) struct Indexer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Begins with what is missing in the logs of a folder. Where no thread can be had there are no indexes, and searches
    /// read more.
    pub(super) fn start(folder: PathBuf) -> Indexer {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("audit-index".to_owned())
            .spawn(move || run(&folder, &woken))
            .map_err(|error| tracing::warn!(%error, "full segments of the audit logs are not indexed"));
        Indexer { wake: Some(wake), thread: thread.ok() }
    }

    /// Says that a segment may be full.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            let _is_awake_already = wake.try_send(());
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _failed_on_a_bug = thread.join();
        }
    }
}

fn run(folder: &Path, woken: &Receiver<()>) {
    loop {
        for store in stores(folder).unwrap_or_default() {
            [DECISIONS, CHANGES].iter().for_each(|log| make_missing(&log_directory(folder, store, log)));
        }
        if woken.recv().is_err() {
            return;
        }
    }
}

/// Makes the indexes of all segments of a log but the last, where there is none.
fn make_missing(directory: &Path) {
    let segments = segment::list(directory).unwrap_or_default();
    let full = segments.split_last().map_or(&[][..], |(_, full)| full);
    for first in full.iter().filter(|first| !index::path(directory, **first).exists()) {
        // It may have been removed for its age meanwhile.
        if let Err(error) = index::make(directory, *first)
            && segment::path(directory, *first).exists()
        {
            tracing::warn!(%error, first, "a segment of an audit log is not indexed");
        }
    }
}
