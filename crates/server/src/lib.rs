//! One process of Stonetown: configuration, authentication, TLS, metrics, housekeeping and shutdown. The one place that chooses
//! implementations and connects them; what a request means is decided elsewhere.
//!
//! Reading order: [`config`], `run.rs`, then [`keys`], `oidc.rs`, `outbound.rs`, `webhooks.rs`, `listen.rs`, `tls.rs`, `cors.rs`;
//! `around.rs` and what stands around each call, `observe.rs`, [`auth`], `drain.rs` and `deadline.rs`; `metrics.rs`, `logs.rs`,
//! `traces.rs`, `housekeeping.rs`; `testing.rs` is the server for test suites.

mod around;
pub mod audit;
pub mod auth;
mod bootstrap;
pub mod config;
mod cors;
mod deadline;
mod drain;
mod housekeeping;
pub mod keys;
mod listen;
mod logs;
mod metrics;
mod observe;
mod oidc;
mod outbound;
mod peer;
mod run;
mod sent;
mod testing;
mod tls;
mod traces;
pub mod upkeep;
mod webhooks;

pub use audit::AuditError;
pub use config::{Config, Engine, TestingConfig};
pub use keys::KeysError;
pub use logs::start_logging;
pub use oidc::FetchError;
pub use outbound::{OutboundError, PlaceError};
pub use run::{Running, ServeError, serve};
pub use testing::{RunningTesting, serve_testing};
pub use webhooks::{SecretError, WebhookError};
