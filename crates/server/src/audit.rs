//! The logs of decisions and changes, opened as the settings say.

use std::sync::Arc;

use stonetown_audit::layout::FOLDER;
use stonetown_audit::{Keys, LogError, Options, Recorder};
use stonetown_storage::Datastore;

use crate::config::{Config, Engine};
use crate::keys::{self, KeysError};

// Every store has logs of its own: numbers begin after those of the built-in stores.
const _: () = assert!(stonetown_identity::manage::STORES_MAX + 2 <= stonetown_audit::layout::LOGS_MAX as usize);

/// Why the logs cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The logs.
    #[error("{0}; `stonetown audit verify` says more. To go on with new logs, move the folder `audit` out of the data")]
    Log(#[from] LogError),
    /// Strict records without a place for them.
    #[error("--audit-strict needs logs: the memory engine and --audit=false have none")]
    NothingToBeStrictAbout,
}

/// Opens the logs and begins to record; `None` when nothing is to be recorded.
pub(crate) fn open(config: &Config, datastore: &Arc<dyn Datastore>) -> Result<Option<Arc<Recorder>>, AuditError> {
    let audit = &config.audit;
    if !audit.audit || config.datastore_engine == Engine::Memory {
        return if audit.audit_strict.is_empty() { Ok(None) } else { Err(AuditError::NothingToBeStrictAbout) };
    }
    let key_dir = keys::directory(config)?;
    let keys = Keys::open(&key_dir).map_err(KeysError::from)?;
    let fingerprint = keys.signing().public().fingerprint();
    if keys.is_new() {
        tracing::info!(fingerprint, directory = %key_dir.display(), "made a key for the audit logs: keep a copy of it");
    } else {
        tracing::info!(fingerprint, "audit logs are signed");
    }
    let options = Options {
        node: node(),
        build: concat!("stonetown ", env!("CARGO_PKG_VERSION")).to_owned(),
        strict: audit.audit_strict.iter().cloned().collect(),
        masked: audit.audit_mask.clone(),
        decisions_bytes_max: audit.audit_decisions_gib << 30,
        ..Options::new(config.data_dir.join(FOLDER), keys, datastore.instance())
    };
    Ok(Some(Arc::new(Recorder::open(options, Arc::clone(datastore))?)))
}

/// The name of this machine, as far as the system tells.
fn node() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
