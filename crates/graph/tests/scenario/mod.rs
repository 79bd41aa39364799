//! Random scenarios in which the engine must agree with the reference evaluator, and what it takes to show a disagreement:
//! a schema, what happened to a store, and one question.
//!
//! Reading order: [`history`] (what happens), [`world`] (the store it happens to), [`question`] (what is asked, of engine
//! and reference), [`run`] (the loop), [`shrink`] (a disagreement made small).

// Shared by several test programs, none of which uses all of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod dice;
pub mod history;
pub mod question;
pub mod run;
pub mod schemas;
pub mod sets;
pub mod shrink;
pub mod tree;
pub mod world;
