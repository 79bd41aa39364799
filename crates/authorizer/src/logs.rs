//! The logs of decisions and of changes of a call's store, for who has the power to read its audit: their records, and proofs that
//! nobody has altered them.

use std::ops::ControlFlow;

use stonetown_audit::layout::{CHANGES, DECISIONS, log_of};
pub use stonetown_audit::merkle::Hash;
use stonetown_audit::note::{Checkpoint, PublicKey};
pub use stonetown_audit::reader::RawRecord;
use stonetown_audit::record::{Body, Entry};
pub use stonetown_audit::search::Query;
use stonetown_audit::search::search;
pub use stonetown_audit::{Consistency, Erasure, Fields, Inclusion};
use stonetown_audit::{
    EraseError, LogReader, ProofError, ReadError, Recorder, newest, prove_consistency, prove_inclusion,
};
use stonetown_tuple::StoreId;

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::{Asked, Recording};
use crate::{Authorizer, Call, Error};

/// Which of a store's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// That of decisions.
    Decisions,
    /// That of changes.
    Changes,
}

impl Log {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Log::Decisions => DECISIONS,
            Log::Changes => CHANGES,
        }
    }
}

/// What a log was signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The signed note.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The keys that have signed the log, the oldest first.
    pub keys: Vec<PublicKey>,
}

impl Authorizer {
    /// Hands the records of a log that fit to `visit`, oldest first, until it breaks. Every record that is looked at is told to
    /// `reading`, by its index.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no log; see [`Error`].
    pub fn search_log(
        &self,
        call: &Call,
        log: Log,
        query: &Query,
        reading: &mut dyn FnMut(u64) -> ControlFlow<()>,
        visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        /// Records between two looks at the deadline.
        const LOOK_EVERY: u32 = 1024;
        self.recorded(call, Asked::of("search_records"), |recording| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::Audit])?;
            recording.explain(&describe(log, query));
            recording.begin_results(self)?;
            let (mut seen, mut alive) = (0_u32, Ok(()));
            let reader = self.log_of(call, log)?;
            let mut reading = |index| {
                seen = seen.wrapping_add(1);
                if seen.is_multiple_of(LOOK_EVERY) {
                    alive = call.check_alive();
                }
                if alive.is_err() { ControlFlow::Break(()) } else { reading(index) }
            };
            let searched = search(&reader, query, &mut reading, &mut |raw| {
                if !belongs_to(&raw.record, call.store) {
                    return ControlFlow::Continue(());
                }
                recording.result(raw.record.index);
                visit(raw)
            });
            alive?;
            searched.map_err(unreadable)
        })
    }

    /// The newest checkpoint of a log.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no log, or nothing was signed yet; see [`Error`].
    pub fn log_checkpoint(&self, call: &Call, log: Log) -> Result<Signed, Error> {
        self.read_log(call, "get_checkpoint", log, |_, reader| {
            let (note, checkpoint) = newest(reader)?;
            Ok(Signed { note, checkpoint, keys: reader.keys()? })
        })
    }

    /// Proves that a record is in a log.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no log, or the record is not signed for; see [`Error`].
    pub fn prove_record(&self, call: &Call, log: Log, index: u64) -> Result<Inclusion, Error> {
        self.read_log(call, "prove_record", log, |recording, reader| {
            recording.explain(&format!("record {index}"));
            prove_inclusion(reader, index)
        })
    }

    /// Proves that a log begins with its first `size` records.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no log, or it never had that size; see [`Error`].
    pub fn prove_growth(&self, call: &Call, log: Log, size: u64) -> Result<Consistency, Error> {
        self.read_log(call, "prove_growth", log, |recording, reader| {
            recording.explain(&format!("from {size} records on"));
            prove_consistency(reader, size)
        })
    }

    /// Erases personal fields from both logs of the store. Takes the power to operate the store as well, so that who reads the logs
    /// cannot take himself out of them alone.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no log, nobody is named or no reason is given; see [`Error`].
    pub fn erase_from_logs(&self, call: &Call, erasure: &Erasure, why: &str) -> Result<Fields, Error> {
        self.recorded(call, Asked::write("erase_fields"), |recording| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::Audit, Act::Operate])?;
            let recorder = self.logs()?;
            if why.trim().is_empty() {
                return Err(Error::Invalid("an erasure has to say why, without naming whose data it is".to_owned()));
            }
            erasure.check().map_err(|error| Error::Invalid(error.to_string()))?;
            let fields = recorder.erase(call.store, erasure, &call.caller.name, why).map_err(|error| match error {
                EraseError::Read(error) => unreadable(error),
                error => refused(error),
            })?;
            // Who is erased is named nowhere: the count has to be enough.
            recording.explain(&format!("{} of decisions, {} of changes", fields.decisions, fields.changes));
            Ok(fields)
        })
    }

    fn read_log<T>(
        &self,
        call: &Call,
        name: &'static str,
        log: Log,
        read: impl FnOnce(&mut Recording<'_>, &LogReader) -> Result<T, ProofError>,
    ) -> Result<T, Error> {
        self.recorded(call, Asked::of(name), |recording| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::Audit])?;
            read(recording, &self.log_of(call, log)?).map_err(|error| match error {
                ProofError::Read(error) => unreadable(error),
                error => refused(error),
            })
        })
    }

    fn log_of(&self, call: &Call, log: Log) -> Result<LogReader, Error> {
        self.logs()?.log(call.store, log.name()).map_err(unreadable)
    }

    /// Where calls are recorded.
    pub(crate) fn logs(&self) -> Result<&Recorder, Error> {
        self.recorder.as_deref().ok_or_else(|| refused("this server keeps no logs"))
    }
}

/// What was looked for, as the record of the search has it.
fn describe(log: Log, query: &Query) -> String {
    let Query { subject, resource, permission, outcome, call, caller, since, until, from } = query;
    let mut text = log.name().to_owned();
    let times = [since, until].map(|time| time.map(|time| time.to_string()));
    let asked = [
        ("subject", subject),
        ("resource", resource),
        ("permission", permission),
        ("outcome", outcome),
        ("call", call),
        ("caller", caller),
        ("since", &times[0]),
        ("until", &times[1]),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    if *from > 0 { format!("{text}, from {from} on") } else { text }
}

/// Whether a record is one of a store: the logs of the default store have those of the server as well, and from earlier versions those
/// of every store.
fn belongs_to(entry: &Entry<'_>, store: StoreId) -> bool {
    match &entry.body {
        Body::Decision(decision) => log_of(decision.store) == store,
        Body::Change(change) => log_of(change.store) == store,
        _ => true,
    }
}

fn refused(why: impl ToString) -> Error {
    Error::Refused(why.to_string())
}

/// A log that is not there has no record yet; what else goes wrong with one is nothing that a caller could mend.
pub(crate) fn unreadable(error: ReadError) -> Error {
    match error {
        ReadError::NoLog(_) => refused("the log of this store has no record yet"),
        error => Error::Internal(error.to_string()),
    }
}
