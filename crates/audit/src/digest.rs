//! The hash over the results of a call that hands out many.

use std::fmt::Display;
use std::io::Write;

use ring::digest::{Context, SHA256};

use crate::merkle::{Hash, to_hash};

/// Bytes that are hashed at once.
const BUFFER_BYTES: usize = 4096;

/// A SHA-256 over texts in their order, each after its length as four bytes, big-endian. Counts them, too.
pub struct ResultDigest {
    context: Context,
    buffer: Vec<u8>,
    count: u64,
}

impl Default for ResultDigest {
    fn default() -> Self {
        ResultDigest { context: Context::new(&SHA256), buffer: Vec::with_capacity(BUFFER_BYTES), count: 0 }
    }
}

impl ResultDigest {
    /// Adds one result.
    pub fn add(&mut self, result: impl Display) {
        self.count += 1;
        let begin = self.buffer.len() + 4;
        self.buffer.extend_from_slice(&[0; 4]);
        // Writing into memory does not fail.
        let _written = write!(self.buffer, "{result}");
        let length = u32::try_from(self.buffer.len() - begin).unwrap_or(u32::MAX);
        self.buffer[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
        if self.buffer.len() >= BUFFER_BYTES {
            self.context.update(&self.buffer);
            self.buffer.clear();
        }
    }

    /// How many were added, and their hash.
    #[must_use]
    pub fn finish(mut self) -> (u64, Hash) {
        self.context.update(&self.buffer);
        (self.count, to_hash(self.context.finish().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_borders_of_results_count() {
        let digest = |results: &[&str]| {
            let mut digest = ResultDigest::default();
            results.iter().for_each(|result| digest.add(result));
            digest.finish()
        };
        assert_eq!(digest(&[]), (0, crate::merkle::sha256(b"")));
        assert_eq!(digest(&["ab"]).1, crate::merkle::sha256(b"\0\0\0\x02ab"));
        assert_ne!(digest(&["a", "b"]).1, digest(&["b", "a"]).1);
        assert_ne!(digest(&["ab", "c"]).1, digest(&["a", "bc"]).1);
        let long = "x".repeat(BUFFER_BYTES);
        assert_eq!(digest(&[&long, "y"]).0, 2);
    }
}
