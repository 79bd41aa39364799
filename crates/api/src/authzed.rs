//! The services of `authzed.api.v1`, one file per call: parse, ask the authorizer, map the answer. `permissions`,
//! `schemas`, `experimental` and `watch` say which call is where.

mod bulk;
mod check;
mod computable;
mod counters;
mod delete;
mod dependent;
mod diff;
mod expand;
mod experimental;
mod export;
mod import;
mod lookup_resources;
mod lookup_subjects;
mod permissions;
mod read;
mod reflect;
mod schema;
mod schemas;
pub(crate) mod watch;
mod write;

#[cfg(test)]
mod tests;
