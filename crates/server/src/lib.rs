//! One process of Stonetown: configuration, authentication, TLS, metrics, housekeeping and shutdown. The one place that chooses
//! implementations and connects them; what a request means is decided elsewhere.
//!
//! Reading order: [`config`], `run.rs`, then [`auth`], `listen.rs`, `cors.rs`, `metrics.rs`, `observe.rs`, `housekeeping.rs`; `testing.rs` is the server for test suites.

pub mod auth;
mod bootstrap;
pub mod config;
mod cors;
mod housekeeping;
mod listen;
mod metrics;
mod observe;
mod run;
mod testing;
mod tls;
pub mod upkeep;

pub use config::{Config, Engine, TestingConfig};
pub use run::{Running, ServeError, serve};
pub use testing::{RunningTesting, serve_testing};
