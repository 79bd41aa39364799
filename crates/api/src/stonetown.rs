//! The services of `stonetown.v1`, one file per service. A new one takes its proto file, a module here that implements its
//! trait for [`crate::calls::Calls`], and a line in [`crate::services`]; routes, OpenAPI, reflection and metrics follow from
//! the descriptors. `docs/api.md` says what all of them have in common.

mod admin;
mod attributes;
mod audit;
mod core;
mod decision;
mod grant;
mod principal;
pub(crate) mod relationships;
mod store;

pub use grant::GrantMessages;

#[cfg(test)]
mod tests;
