//! How far each webhook was told, kept beside the data: what a restart, also after `kill -9`, goes on from.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use stonetown_storage::{CommitError, Datastore, StorageError};
use stonetown_tuple::{Revision, StoreId};

/// Under which name the datastore keeps them.
const KEPT_AS: &str = "grant-webhooks";

/// The revisions up to which webhooks were told of everything.
pub(crate) struct Positions {
    datastore: Arc<dyn Datastore>,
    /// By [`name`].
    reached: Mutex<BTreeMap<String, u64>>,
}

impl Positions {
    /// Those of these URLs. One that is new begins now; one that is no longer named is forgotten.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn open<'a>(
        datastore: Arc<dyn Datastore>,
        urls: impl Iterator<Item = &'a str>,
    ) -> Result<Positions, StorageError> {
        let damaged = |error: serde_json::Error| StorageError::Damaged(format!("the positions of webhooks: {error}"));
        let kept = datastore.kept(StoreId::SYSTEM, KEPT_AS)?;
        let kept: BTreeMap<String, u64> =
            kept.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(damaged)?.unwrap_or_default();
        let head = datastore.head().0;
        // One that is ahead has seen a history that was gone back behind.
        let of = |url: &str| (name(url), kept.get(&name(url)).map_or(head, |reached| head.min(*reached)));
        let reached: BTreeMap<_, _> = urls.map(of).collect();
        let is_new = reached != kept;
        let positions = Positions { datastore, reached: Mutex::new(reached) };
        // A full disk is no reason not to start.
        if is_new && let Err(error) = positions.keep(&positions.reached.lock()) {
            tracing::error!(%error, "where webhooks begin cannot be kept");
        }
        Ok(positions)
    }

    /// How far a webhook was told.
    pub(crate) fn of(&self, url: &str) -> Revision {
        Revision(self.reached.lock().get(&name(url)).copied().unwrap_or_default())
    }

    /// Notes that a webhook was told of everything up to a revision. Durable when it returns.
    ///
    /// # Errors
    /// When it cannot be kept: after a restart some is told once more.
    pub(crate) fn reach(&self, url: &str, revision: Revision) -> Result<(), CommitError> {
        let mut reached = self.reached.lock();
        if reached.insert(name(url), revision.0) == Some(revision.0) {
            return Ok(());
        }
        self.keep(&reached)
    }

    fn keep(&self, reached: &BTreeMap<String, u64>) -> Result<(), CommitError> {
        let bytes = serde_json::to_vec(reached).unwrap_or_default();
        self.datastore.keep(StoreId::SYSTEM, KEPT_AS, Some(bytes))
    }
}

/// What a webhook is kept under: a digest, as there may be more in a URL than a place.
fn name(url: &str) -> String {
    digest(&SHA256, url.as_bytes()).as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stonetown_storage::MemoryDatastore;

    use super::*;

    const URLS: [&str; 2] = ["https://a.example.com/", "https://b.example.com/?token=canary"];

    #[test]
    fn each_has_its_own_which_lasts_and_never_lies_ahead() {
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let head = datastore.head();
        let open = |urls: &[&'static str]| Positions::open(Arc::clone(&datastore), urls.iter().copied()).unwrap();
        let positions = open(&URLS);
        assert_eq!((positions.of(URLS[0]), positions.of(URLS[1])), (head, head));
        positions.reach(URLS[0], Revision(head.0 + 7)).unwrap();
        assert_eq!((positions.of(URLS[0]).0, positions.of(URLS[1])), (head.0 + 7, head));
        let kept = datastore.kept(StoreId::SYSTEM, KEPT_AS).unwrap().unwrap();
        assert!(!String::from_utf8(kept).unwrap().contains("canary"));
        // As after going back to a time before.
        assert_eq!(open(&URLS).of(URLS[0]), head);
        open(&URLS[..1]);
        let kept = datastore.kept(StoreId::SYSTEM, KEPT_AS).unwrap().unwrap();
        assert_eq!(serde_json::from_slice::<BTreeMap<String, u64>>(&kept).unwrap().len(), 1);
    }
}
