//! The front door as plain Rust: every call of the product once, from consistency to answer, without a transport. The wire
//! services, the command line and embedding programs all come through here.
//!
//! Calls are synchronous and may read the disk; an asynchronous caller runs them on a pool of its own. [`Authorizer::check`]
//! alone can be asked to stay within a small budget ([`Effort::Inline`]), so that the common check needs no other thread.
//!
//! Who calls, through what, until when is an argument: [`Call`]. Time is read once per call, by [`clock::Clock`].
//!
//! Reading order: this file, [`world`] (consistency to revision, schema and index), then a file per call.

pub mod admission;
pub mod attributes;
pub mod bulk;
pub mod caller;
mod chain;
pub mod check;
pub mod clock;
pub mod computable;
pub mod count;
pub mod counters;
pub mod dependent;
pub mod diff;
pub mod error;
pub mod expand;
pub mod explain;
pub mod export;
mod floor;
pub mod follow;
pub mod gate;
pub mod import;
pub mod justification;
pub mod limits;
pub mod list;
pub mod logs;
pub mod lookup;
pub mod materialize;
pub mod moment;
pub mod notes;
pub mod read;
pub mod reflect;
pub mod replay;
pub mod schema;
pub mod upkeep;
pub mod validation;
pub mod watch;
pub mod who_can;
pub mod world;
pub mod write;
pub mod yaml;

mod places;
mod question;
mod recording;
mod typecheck;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stonetown_audit::Recorder;
use stonetown_graph::{Index, Plan};
use stonetown_storage::{Datastore, Follower, ReadOnly, SnapshotError, StorageError};
use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp, ZedToken};

pub use admission::Admission;
pub use caller::{Caller, Narrowing, Proof, Scope};
pub use chain::{ACTORS_MAX, Acting, Chain, Delegated};
pub use clock::Clock;
pub use error::Error;
use floor::Kept;
pub use gate::{Act, Gate, Quota};
pub use limits::Limits;
pub use notes::Notes;
/// The graph's answers, as they leave the front door.
pub use stonetown_graph::{
    Answer, CaveatResult, CaveatTrace, ExcludedSubject, ExpandNode, ExpandOperation, ExpandTree, FoundResource,
    FoundSubject, Given, Membership, Position, Trace, Work,
};
/// Why an answer is what it is.
pub use stonetown_graph::{Excluded, Hold, Miss, Reasons, Step};
/// How the resident index is set up, and its state.
pub use stonetown_graph::{IndexOptions, IndexStats};
/// How an import treats relationships that are there already.
pub use stonetown_storage::BulkMode;
/// What a change means for who keeps the relationships that hold.
pub use stonetown_storage::Effect;
/// Who wrote something, when and with what remark.
pub use stonetown_storage::Provenance;
/// An update with its source, for [`Authorizer::write_both`].
pub use stonetown_storage::StoredUpdate;
/// What upkeep of the store tells.
pub use stonetown_storage::{Checkpointed, Difference, DifferenceKind, Scrubbed};
/// What the position of a read is made of, for those who keep it in a cursor.
pub use stonetown_storage::{EdgePosition, Ordinal, TableId, read::ReadPosition};

/// What is true of a call, whatever it asks.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// Which store.
    pub store: StoreId,
    /// What the server gives to caveats: above all the address that the call came from.
    pub given: Given,
    /// Those who act for the subject of the question. Only checks take one.
    pub chain: Chain,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Set when the caller has left. The work then ends at the next look.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Where the front door notes what becomes known of the call, for those who observe it.
    pub notes: Option<Arc<Notes>>,
}

/// How far a check may go before it is to be asked again on a thread that may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A few microseconds; [`Error::NeedsPool`] when that is not enough.
    Inline,
    /// All that the limits allow.
    Full,
}

/// How an [`Authorizer`] is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Bounds on requests and work.
    pub limits: Limits,
    /// Bounds on the resident index.
    pub index: IndexOptions,
    /// Whether unprefixed definition names are refused in schemas.
    pub schema_prefixes_required: bool,
    /// Whether a token of another instance is refused rather than answered at head.
    pub foreign_tokens_refused: bool,
    /// Where checkpoints go; `None` when the datastore has no files to copy.
    pub checkpoints: Option<PathBuf>,
    /// The permissions that are kept as sets for clients to join.
    pub materialize: Arc<[materialize::Watched]>,
    /// Whether nothing can be watched.
    pub watch_disabled: bool,
    /// Whether what a schema says to be audited strictly is refused where nothing is recorded, rather than answered.
    pub strict_needs_log: bool,
    /// Whether a start believes the machine's clock, and the newest commit, where later times have been told.
    pub time_forgotten: bool,
    /// What reads the time of the machine, where that is not the system.
    pub wall_clock: Option<clock::WallClock>,
}

/// Answers authorization questions from one datastore.
pub struct Authorizer {
    datastore: Arc<dyn Datastore>,
    index: Arc<Index>,
    plans: ArcSwap<HashMap<(StoreId, Revision), Arc<Plan>>>,
    clock: Arc<Clock>,
    admission: Admission,
    gate: OnceLock<Arc<dyn gate::Gate>>,
    commits: Arc<follow::Commits>,
    watchers: watch::Watchers,
    relationship_counters: Arc<counters::CounterSets>,
    options: Options,
    counters: Counters,
    /// Held by what reads or copies everything: one at a time.
    upkeep_running: Mutex<()>,
    upkeep: upkeep::Upkeep,
    sets: materialize::Following,
    recorder: Option<Arc<Recorder>>,
}

/// What happened so far, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tokens of another instance that were answered at head.
    pub foreign_tokens: AtomicU64,
    /// Explanations whose search ended at its limit.
    pub explanations_cut: AtomicU64,
    /// Checks that did not fit their inline budget.
    pub checks_rerun: AtomicU64,
    /// Checks answered from the resident index.
    pub checks_resident: AtomicU64,
    /// Checks answered from the datastore.
    pub checks_stored: AtomicU64,
    /// Relationships that began or ended by the passing of time, which the log was told of.
    pub moments_passed: AtomicU64,
    /// Relationships that were removed from storage after they had ended.
    pub expired_removed: AtomicU64,
}

impl Authorizer {
    /// Opens the front door: loads the resident index and is ready when it returns. Where time was kept ([`Self::keep_time`]) and
    /// not left, it waits until that has passed, a second at most.
    ///
    /// # Errors
    /// When the datastore cannot be read.
    pub fn open(datastore: Arc<dyn Datastore>, options: Options) -> Result<Authorizer, StorageError> {
        let index = Index::load(&datastore, options.index.clone())?;
        let commits = Arc::<follow::Commits>::default();
        datastore.follow(Arc::clone(&commits) as Arc<dyn Follower>);
        let clock = options.wall_clock.map_or_else(Clock::default, Clock::reading);
        if let Some(newest) = newest_commit(&*datastore)? {
            clock.start_at(newest);
        }
        if let Some(kept) = Kept::read(&*datastore)?.filter(|_| !options.time_forgotten) {
            clock.go_on_from(kept);
        }
        Ok(Authorizer::door(datastore, index, commits, Arc::new(clock), options))
    }

    /// A second front door to the same data, which takes no writes: `why` is told to those who want to write. The resident
    /// index, the clock, the relationship counters, the gate and the record are those of the first; load is counted for each.
    #[must_use]
    pub fn read_only_door(&self, why: &str) -> Authorizer {
        let datastore = Arc::new(ReadOnly::new(Arc::clone(&self.datastore), why));
        let (index, commits, clock) = (Arc::clone(&self.index), Arc::clone(&self.commits), Arc::clone(&self.clock));
        Authorizer {
            gate: self.gate.clone(),
            recorder: self.recorder.clone(),
            relationship_counters: Arc::clone(&self.relationship_counters),
            ..Authorizer::door(datastore, index, commits, clock, self.options.clone())
        }
    }

    fn door(
        datastore: Arc<dyn Datastore>,
        index: Arc<Index>,
        commits: Arc<follow::Commits>,
        clock: Arc<Clock>,
        options: Options,
    ) -> Authorizer {
        Authorizer {
            index,
            plans: ArcSwap::default(),
            clock,
            admission: Admission::new(&options.limits),
            gate: OnceLock::new(),
            counters: Counters::default(),
            upkeep_running: Mutex::new(()),
            upkeep: upkeep::Upkeep::default(),
            sets: materialize::Following::new(options.limits.sets_bytes_max),
            commits,
            watchers: watch::Watchers::default(),
            relationship_counters: Arc::default(),
            recorder: None,
            datastore,
            options,
        }
    }

    /// Records every call from now on.
    #[must_use]
    pub fn recording_to(self, recorder: Arc<Recorder>) -> Authorizer {
        Authorizer { recorder: Some(recorder), ..self }
    }

    /// Where calls are recorded, if they are.
    #[must_use]
    pub fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    /// The bounds in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// The history that this datastore's tokens belong to.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.datastore.instance()
    }

    /// Keeps a store in the resident index from now on, as it keeps the default one.
    ///
    /// # Errors
    /// When the datastore cannot be read.
    pub fn keep_resident(&self, store: StoreId) -> Result<(), StorageError> {
        self.index.add(store)
    }

    /// The newest revision of all stores.
    #[must_use]
    pub fn head(&self) -> Revision {
        self.datastore.head()
    }

    /// The datastore behind the door.
    #[must_use]
    pub fn datastore(&self) -> &Arc<dyn Datastore> {
        &self.datastore
    }

    /// The door's keeper: concurrency and memory.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The clock of all calls.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Those who follow materialized sets, and what is known of the sets.
    #[must_use]
    pub fn sets(&self) -> &materialize::Following {
        &self.sets
    }

    /// Versions of schemas that are kept compiled.
    #[must_use]
    pub fn plans_cached(&self) -> usize {
        self.plans.load().len()
    }

    /// The state of the resident index.
    #[must_use]
    pub fn index_stats(&self) -> IndexStats {
        self.index.stats()
    }

    /// Moves the snapshot window: nothing older than `keep_since` stays readable, and the log keeps what is younger than
    /// `keep_log_since`, and what is not yet in the log of changes. Returns what was removed, `more` set when another run is due.
    ///
    /// # Errors
    /// When storage fails.
    pub fn collect_garbage(
        &self,
        keep_since: Timestamp,
        keep_log_since: Timestamp,
    ) -> Result<stonetown_storage::Collected, StorageError> {
        /// Versions removed in one step, so that commits, which wait for it, never wait long.
        const STEP: usize = 1_000;
        let floor = self.datastore.revision_at(keep_since)?;
        let log_floor = self.datastore.revision_at(keep_log_since)?;
        let recorded = self.recorder.as_ref().map_or(log_floor, |recorder| recorder.position());
        self.datastore.collect_garbage(floor, log_floor.min(recorded), STEP)
    }

    fn token(&self, revision: Revision) -> ZedToken {
        ZedToken { instance: self.datastore.instance(), revision }
    }
}

/// The clock of the newest commit, `None` when the log tells of none.
fn newest_commit(datastore: &dyn Datastore) -> Result<Option<Timestamp>, StorageError> {
    match datastore.log_piece(datastore.head(), 0) {
        Ok(piece) => Ok(piece.map(|piece| piece.provenance.time)),
        Err(SnapshotError::Storage(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

impl Call {
    /// A call of `caller` on the default store without a deadline.
    #[must_use]
    pub fn new(caller: &str) -> Call {
        Call {
            caller: Caller::named(caller),
            store: StoreId::DEFAULT,
            given: Given::Call { peer_ip: None },
            chain: Chain::default(),
            deadline: None,
            cancelled: None,
            notes: None,
        }
    }

    /// Notes the revision that the call is answered at, or that it made.
    pub(crate) fn note_revision(&self, revision: Revision) {
        if let Some(notes) = &self.notes {
            notes.set_revision(revision);
        }
    }

    /// Notes what a question of the call took.
    pub(crate) fn note_work(&self, work: &Work) {
        if let Some(notes) = &self.notes {
            notes.add_work(work);
        }
    }
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").field("head", &self.datastore.head()).finish_non_exhaustive()
    }
}
