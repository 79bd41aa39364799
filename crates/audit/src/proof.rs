//! Proofs for somebody who has the logs' public key and no more: that a record is in a log, and that a log continues an earlier one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::merkle::{self, Hash};
use crate::note::Checkpoint;
use crate::reader::{LogReader, ReadError};

/// The first line of a proof that a record is in a log (C2SP tlog-proof).
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That a record is in the log of a checkpoint (RFC 6962 §2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// Its place.
    pub index: u64,
    /// The hash of its entry.
    pub leaf: Hash,
    /// The audit path.
    pub path: Vec<Hash>,
    /// The checkpoint, and the signed note that has it.
    pub checkpoint: Checkpoint,
    /// See `checkpoint`.
    pub note: String,
}

/// That the log of a checkpoint begins with the log as it was at an earlier size (RFC 6962 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// Records of the earlier log.
    pub old_size: u64,
    /// The root over them.
    pub old_root: Hash,
    /// The proof.
    pub path: Vec<Hash>,
    /// The checkpoint, and the signed note that has it.
    pub checkpoint: Checkpoint,
    /// See `checkpoint`.
    pub note: String,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing has been signed.
    #[error("the log has no checkpoint yet: there is one within a second of its first record")]
    NoCheckpoint,
    /// The record comes after the newest checkpoint.
    #[error("record {index} is not signed for yet: the newest checkpoint has {size} records")]
    NotSigned {
        /// The record.
        index: u64,
        /// Records that are signed for.
        size: u64,
    },
    /// There was never such a log.
    #[error("a size from 1 to {size} is expected")]
    NoSuchSize {
        /// Records that are signed for.
        size: u64,
    },
    /// The log is not what was signed.
    #[error("the log is not the one that was signed for: run `stonetown audit verify`")]
    Altered,
}

/// The newest checkpoint of a log: the signed note, and what it says.
///
/// # Errors
/// See [`ProofError`].
pub fn newest(log: &LogReader) -> Result<(String, Checkpoint), ProofError> {
    log.newest_checkpoint()?.ok_or(ProofError::NoCheckpoint)
}

/// Proves that a record is in a log.
///
/// # Errors
/// See [`ProofError`].
pub fn prove_inclusion(log: &LogReader, index: u64) -> Result<Inclusion, ProofError> {
    let (note, checkpoint) = newest(log)?;
    let size = checkpoint.size;
    if index >= size {
        return Err(ProofError::NotSigned { index, size });
    }
    let path = merkle::inclusion(&mut log.subtrees(size), index, size)?;
    let mut leaf = None;
    log.record(index, &mut |raw| leaf = Some(raw.leaf))?;
    let leaf = leaf.filter(|leaf| merkle::is_included(leaf, index, size, &path, &checkpoint.root));
    Ok(Inclusion { index, leaf: leaf.ok_or(ProofError::Altered)?, path, checkpoint, note })
}

/// Proves that a log begins with its first `old_size` records.
///
/// # Errors
/// See [`ProofError`].
pub fn prove_consistency(log: &LogReader, old_size: u64) -> Result<Consistency, ProofError> {
    let (note, checkpoint) = newest(log)?;
    let size = checkpoint.size;
    if old_size == 0 || old_size > size {
        return Err(ProofError::NoSuchSize { size });
    }
    let mut subtrees = log.subtrees(size);
    let path = merkle::consistency(&mut subtrees, old_size, size)?;
    let old_root = merkle::root(&mut subtrees, old_size)?;
    if !merkle::is_consistent(old_size, size, &old_root, &checkpoint.root, &path) {
        return Err(ProofError::Altered);
    }
    Ok(Consistency { old_size, old_root, path, checkpoint, note })
}

impl Inclusion {
    /// The proof in the form of C2SP tlog-proof.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{FIRST_LINE}\nindex {}\n{}\n{}", self.index, lines(&self.path), self.note)
    }
}

impl Consistency {
    /// The proof, a hash on each line, and the signed note.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}", lines(&self.path), self.note)
    }
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| BASE64.encode(hash) + "\n").collect()
}
