//! Checkpoints and signed notes in the formats of C2SP (`tlog-checkpoint`, `signed-note`), with Ed25519 keys. Any client of
//! these formats can verify them.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::merkle::{Hash, sha256_of};

/// The algorithm byte of Ed25519 in names of keys.
const ED25519_ALGORITHM: u8 = 1;
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 32;
/// Longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;

/// How far a log has come: so many records with this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, unique for it.
    pub origin: String,
    /// Records.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// A public Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// A public key that somebody knows, whole or by its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownKey {
    /// The key itself.
    Whole(PublicKey),
    /// Its [`PublicKey::fingerprint`].
    Fingerprint(String),
}

/// A private key of a log.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// A note's text and its signatures, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

/// A note or key that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {why}")]
pub struct NoteError {
    what: &'static str,
    why: &'static str,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// Reads the text of a note. Lines after the third are extensions, of which nothing is known.
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        let wrong = |why| NoteError { what: "checkpoint", why };
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty()).ok_or(wrong("it names no log"))?;
        let size = lines.next().ok_or(wrong("it has no size"))?;
        let canonical = size == "0" || !size.starts_with('0') && size.bytes().all(|byte| byte.is_ascii_digit());
        let size = size.parse().ok().filter(|_| canonical).ok_or(wrong("its size is no number"))?;
        let root = lines.next().and_then(|root| BASE64.decode(root).ok()).ok_or(wrong("it has no root"))?;
        let root = root.try_into().map_err(|_| wrong("its root has not 32 bytes"))?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// The checkpoint as a signed note; the key's name is the origin.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let mut signature = key.public.id(&self.origin).to_vec();
        signature.extend_from_slice(key.sign(text.as_bytes()).as_slice());
        format!("{text}\n\u{2014} {} {}\n", self.origin, BASE64.encode(signature))
    }
}

impl Note {
    /// Takes a note apart.
    ///
    /// # Errors
    /// When it has not the form of a signed note.
    pub fn parse(note: &str) -> Result<Note, NoteError> {
        let wrong = |why| NoteError { what: "signed note", why };
        if note.len() > NOTE_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        if note.chars().any(|c| c != '\n' && c.is_control()) {
            return Err(wrong("it contains control characters"));
        }
        let at = note.rfind("\n\n").ok_or(wrong("it has no signatures"))?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(wrong("its last line does not end"))?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Option<Vec<_>>>();
        Ok(Note { text: text.to_owned(), signatures: signatures.ok_or(wrong("a signature cannot be read"))? })
    }

    /// The text above the signatures.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a key of this name has signed it.
    #[must_use]
    pub fn is_signed_by(&self, name: &str, key: &PublicKey) -> bool {
        let id = key.id(name);
        self.signatures
            .iter()
            .filter(|signature| signature.name == name && signature.key_id == id)
            .any(|signature| key.verifies(self.text.as_bytes(), &signature.bytes))
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Signature> {
        let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = BASE64.decode(bytes).ok()?;
        let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
        let named = !name.is_empty() && !name.contains('+');
        named.then(|| Signature { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
    }
}

impl PublicKey {
    /// The four bytes by which a signature names its key.
    #[must_use]
    pub fn id(&self, name: &str) -> [u8; 4] {
        let hash = sha256_of(&[name.as_bytes(), b"\n", &[ED25519_ALGORITHM], &self.0]);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The key as clients of signed notes are given it: `NAME+ID+KEY`.
    #[must_use]
    pub fn verifier(&self, name: &str) -> String {
        let id = u32::from_be_bytes(self.id(name));
        let mut key = vec![ED25519_ALGORITHM];
        key.extend_from_slice(&self.0);
        format!("{name}+{id:08x}+{}", BASE64.encode(key))
    }

    /// Reads what [`PublicKey::verifier`] prints; returns the name, too.
    ///
    /// # Errors
    /// When it is no such text, or its id is not that of the key.
    pub fn parse_verifier(text: &str) -> Result<(String, PublicKey), NoteError> {
        let wrong = |why| NoteError { what: "verifier key", why };
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("expected NAME+ID+KEY"));
        };
        let bytes = BASE64.decode(key).map_err(|_| wrong("the key is not base64"))?;
        let [ED25519_ALGORITHM, key @ ..] = bytes.as_slice() else { return Err(wrong("it is not an Ed25519 key")) };
        let key = PublicKey(key.try_into().map_err(|_| wrong("the key has not 32 bytes"))?);
        if key.verifier(name) != text.trim() {
            return Err(wrong("its id is that of another key"));
        }
        Ok((name.to_owned(), key))
    }

    /// A short name for people to compare: the beginning of the key's SHA-256, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256_of(&[&self.0])[..FINGERPRINT_DIGITS / 2].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `signature` is this key's for `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl KnownKey {
    /// Whether it is this key.
    #[must_use]
    pub fn is(&self, key: &PublicKey) -> bool {
        match self {
            KnownKey::Whole(known) => known == key,
            KnownKey::Fingerprint(known) => *known == key.fingerprint(),
        }
    }
}

impl FromStr for KnownKey {
    type Err = NoteError;
    /// Reads a fingerprint, or a key as [`PublicKey::verifier`] writes it.
    fn from_str(text: &str) -> Result<KnownKey, NoteError> {
        if text.contains('+') {
            return PublicKey::parse_verifier(text).map(|(_, key)| KnownKey::Whole(key));
        }
        if text.len() != FINGERPRINT_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let why = "expected a fingerprint of 32 hexadecimal digits, or NAME+ID+KEY";
            return Err(NoteError { what: "key", why });
        }
        Ok(KnownKey::Fingerprint(text.to_ascii_lowercase()))
    }
}

impl SigningKey {
    /// The key of a seed.
    ///
    /// # Errors
    /// When the seed is none of Ed25519.
    pub fn from_seed(seed: &[u8; 32]) -> Result<SigningKey, NoteError> {
        let wrong = NoteError { what: "log key", why: "the seed is not one of Ed25519" };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| wrong)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(SigningKey { pair, public: PublicKey(public) })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("fingerprint", &self.public.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "stonetown/1/decisions".to_owned(), size: 7, root: [9; 32] }
    }

    #[test]
    fn a_checkpoint_reads_as_it_was_written() {
        let checkpoint = checkpoint();
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
        let extended = format!("{}an extension\n", checkpoint.text());
        assert_eq!(Checkpoint::parse(&extended), Ok(checkpoint));
        for bad in ["", "a\n", "a\n07\nAAAA\n", "a\n-1\nAAAA\n", "a\n7\nAAAA\n", "\n7\n\n"] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_note_is_believed_from_its_signer_only() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]).unwrap(), SigningKey::from_seed(&[2; 32]).unwrap());
        let signed = checkpoint().sign(&key);
        let note = Note::parse(&signed).unwrap();
        assert!(note.is_signed_by("stonetown/1/decisions", &key.public()));
        assert!(!note.is_signed_by("stonetown/1/decisions", &other.public()));
        assert!(!note.is_signed_by("stonetown/1/changes", &key.public()));
        let altered = Note::parse(&signed.replacen("\n7\n", "\n8\n", 1)).unwrap();
        assert!(!altered.is_signed_by("stonetown/1/decisions", &key.public()));
        for bad in [
            "",
            "text\n",
            "text\n\n",
            "text\n\nno dash\n",
            "text\n\n\u{2014} name AAAA",
            "\u{7}\n\n\u{2014} n AAAAAAAA\n",
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Note::parse(&format!("{}\n\n", "x".repeat(NOTE_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_verifier_key_reads_as_it_was_written() {
        // From the documentation of golang.org/x/mod/sumdb/note.
        let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let (name, key) = PublicKey::parse_verifier(known).unwrap();
        assert_eq!((name.as_str(), key.verifier(&name).as_str()), ("PeterNeumann", known));
        for bad in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a+00000000+AA=="]
        {
            assert!(PublicKey::parse_verifier(bad).is_err(), "{bad:?}");
        }
    }
}
