//! The wire types, generated from `proto/`: messages, servers and clients. Nothing below this crate knows them.

#![allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

/// The compiled descriptors of everything above, for reflection and for tests.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
