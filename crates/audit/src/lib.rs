//! Two logs for each store that nobody can alter unseen: of every decision, and of every change. Each is a Merkle tree (RFC 6962) over its
//! records, signed by checkpoints in the formats of C2SP, so that inclusion and consistency can be proved to anybody.
//!
//! What a record means is the business of whoever writes it: this crate does not know how a decision was reached.
//! `docs/audit.md` says what is guaranteed, `docs/audit-format.md` which bytes are written.
//!
//! Reading order: [`record`] and [`sealed`] (what is recorded), [`merkle`] and [`note`] (trees and checkpoints), [`segment`]
//! and `log` (files), [`layout`] (where they lie), [`recorder`] (recording while calls are answered), [`reader`], [`verify()`], [`proof`], [`search`], [`erase`].

mod bytes;
pub mod calls;
mod changes;
pub mod digest;
pub mod erase;
mod index;
pub mod keys;
pub mod layout;
mod log;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod reader;
pub mod record;
pub mod recorder;
pub mod sealed;
pub mod search;
pub mod segment;
pub mod strict;
pub mod verify;

pub use digest::ResultDigest;
pub use erase::{EraseError, Erasure, Fields, erase_offline};
pub use keys::{KeyError, Keys, secret};
pub use log::LogError;
pub use proof::{Consistency, Inclusion, ProofError, newest, prove_consistency, prove_inclusion};
pub use reader::{LogReader, ReadError};
pub use record::{Decision, Outcome};
pub use recorder::{Options, Receipt, Recorder, Unrecorded};
pub use strict::{Strict, StrictRule};
pub use verify::{Against, Problem, Report, untold_erasures, verify};
