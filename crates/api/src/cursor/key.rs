//! The key of cursors.

use ring::rand::SystemRandom;
use ring::{digest, hmac};

/// Signs cursors and knows them again. Whoever has it can make cursors of any revision and time, so it lies apart from the data;
/// where another takes its place, cursors from before are refused and listings begin again.
#[derive(Clone)]
pub struct CursorKey(hmac::Key);

impl CursorKey {
    /// The key that `secret`, 32 random bytes, makes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> CursorKey {
        CursorKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Appends the signature of `content` as an answer to what `question` is the digest of.
    pub(super) fn sign(&self, question: &digest::Digest, content: &mut Vec<u8>) {
        let signature = hmac::sign(&self.0, &signed(question, content));
        content.extend_from_slice(signature.as_ref());
    }

    /// The content of what [`CursorKey::sign`] made for the same question; `None` for everything else. Takes the same time
    /// wherever the signature differs.
    pub(super) fn verify<'a>(&self, question: &digest::Digest, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (content, signature) = bytes.split_last_chunk::<{ digest::SHA256_OUTPUT_LEN }>()?;
        hmac::verify(&self.0, &signed(question, content), signature).ok()?;
        Some(content)
    }
}

/// The digest has a fixed length, so no content of one question is that of another.
fn signed(question: &digest::Digest, content: &[u8]) -> Vec<u8> {
    [question.as_ref(), content].concat()
}

impl Default for CursorKey {
    /// A random key: cursors end with the process.
    ///
    /// # Panics
    /// When the system has no random numbers.
    fn default() -> CursorKey {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        CursorKey(key.expect("a system that runs a server has random numbers"))
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}
