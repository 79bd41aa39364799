//! The conformance suite on the memory store.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use crate::MemoryDatastore;

crate::conformance_tests! { |_| Arc::new(MemoryDatastore::new()) }
