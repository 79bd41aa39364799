//! Load against a whole server, and what it needs: named data sets from seeded generators, and the measuring.
//!
//! Programs: `load` (over gRPC, any endpoint that speaks `authzed.api.v1`), `inproc` (the engine without a transport),
//! `transport` (the server's CPU per check beside that of an empty call, in one run), `sets` (materialized permissions,
//! followed), `audit` (what recording decisions costs), `reasons` (why, who can and what can). Each prints its data set, seed,
//! cache state and percentiles; none asserts a time.

pub mod client;
pub mod measure;
pub mod random;
pub mod workload;
