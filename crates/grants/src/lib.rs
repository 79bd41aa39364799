//! Access just in time: templates say what can be asked for, a request is voted on, and what is active is relationships that
//! end by themselves.
//!
//! A grant is written in one transaction with the relationships that it gives, each from a source of the grant's own, so that
//! two grants, or a grant beside a standing relationship, never prolong or end each other. Whether access holds is decided by
//! the engine at the moment of a check; nothing here has to run for it to end. Who may ask, vote and end is relationships of
//! the system store. Where a call of this crate fails, nothing has changed.
//!
//! Reading order: [`template`], [`grant`], [`desk`], `rules`.

pub mod desk;
pub mod error;
pub mod grant;
pub mod template;

mod rules;

pub use desk::{Ask, Decision, Desk, Follow, Happened, Limits, OpenCounts, Requestable};
pub use error::Error;
pub use grant::{Grant, State, Vote};
pub use template::{AutoRule, Emergency, Parameter, Stage, Template};
