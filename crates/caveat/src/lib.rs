//! Caveats: conditions on relationships, written in CEL over typed parameters.
//!
//! A [`Caveat`] is compiled once, when a schema is written or loaded. JSON contexts are bound to its parameters, at
//! most once each, as [`Arguments`]; [`Caveat::evaluate`] then gives an [`Outcome`]: true, false, or the names of the
//! parameters without whose values nobody can tell. The `cel` crate parses; the type check and the evaluation with
//! unknown values are here. Nothing here reads a clock or does I/O, and every cost is bounded by [`limits`].
//!
//! Reading order: [`types`], `compile`, `nesting`, `check`, `overloads`, `context`, `evaluate`, `functions`, `pattern`,
//! `same`, [`limits`].

mod check;
mod compile;
mod context;
mod convert;
mod evaluate;
mod functions;
pub mod limits;
mod nesting;
mod overloads;
mod pattern;
mod same;
mod time;
pub mod types;
mod value;

pub use compile::{Caveat, CompileError};
pub use context::{Arguments, ContextError};
pub use evaluate::{EvaluateError, Outcome};
pub use limits::{EVALUATION_STEPS_MAX, EXPRESSION_BYTES_MAX, NESTING_MAX, PARAMETERS_MAX};
pub use stonetown_tuple::CaveatContext;
pub use types::{Parameter, ParameterType, ParameterTypeError};

#[cfg(test)]
mod tests;
