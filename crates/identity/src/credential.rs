//! The server's own credentials: leases on a principal's powers, held by whoever knows their secret.
//!
//! A token is `stonetown_ID_SECRET`, both in hexadecimal digits, the secret of 256 random bits. Only the SHA-256 of the whole
//! token is kept, so that no text but the one that was handed out is ever accepted.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use stonetown_authorizer::{Error, Narrowing, Scope};
use stonetown_tuple::Timestamp;
use subtle::ConstantTimeEq;

/// How tokens begin.
pub const PREFIX: &str = "stonetown_";
/// How long a credential lasts where nobody says.
pub const TTL_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// How long one lasts at most, unless the settings say less or more.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A token, for the eyes of its holder only: never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What is kept about a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Whose it is.
    pub principal: String,
    /// The SHA-256 of the token, in hexadecimal digits.
    pub sha256: String,
    /// When it was issued.
    #[serde(with = "crate::moment")]
    pub issued_at: Timestamp,
    /// When it ends, exclusively.
    #[serde(with = "crate::moment")]
    pub expires_at: Timestamp,
    /// Whether it was taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// What it is narrowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<Entry>>,
    /// What its holder called with when making it, as a proof names it: it is revoked with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The one store that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The first of those that its holder rotated until there was this one: it is revoked with each that came before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// For how many milliseconds it was issued, where a rotation has it end earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// One alternative of a stored scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "type")]
    resource_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
}

/// A credential that was just issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its id, which is no secret.
    pub id: String,
    /// The token; it cannot be had again.
    pub token: Token,
    /// When it ends, exclusively.
    pub expires_at: Timestamp,
}

impl Token {
    /// A new token, and its id.
    pub(crate) fn new() -> Result<(String, Token), Error> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| Error::Internal("the system has no random numbers".to_owned()))?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id = hex(id);
        let token = format!("{PREFIX}{id}_{}", hex(secret));
        Ok((id, Token(token)))
    }

    /// The text, to be handed to its holder.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Credential {
    pub(crate) fn new(principal: &str, token: &Token, now: Timestamp, ttl: Duration) -> Result<Credential, Error> {
        let expires_at =
            now.checked_add(ttl).map_err(|_| Error::Refused("the credential would never end".to_owned()))?;
        Ok(Credential {
            principal: principal.to_owned(),
            sha256: sha256(token.reveal()),
            issued_at: now,
            expires_at,
            revoked: false,
            scope: None,
            parent: None,
            store: None,
            line: None,
            ttl_ms: None,
        })
    }

    /// How long it was issued for.
    pub(crate) fn ttl(&self) -> Duration {
        let lasts = || self.expires_at.duration_since(self.issued_at).unsigned_abs();
        self.ttl_ms.map_or_else(lasts, Duration::from_millis)
    }

    /// Whether a text is this credential's token. Takes as long for any text of the same length.
    pub(crate) fn is_proved_by(&self, text: &str) -> bool {
        self.sha256.as_bytes().ct_eq(sha256(text).as_bytes()).into()
    }

    /// What it is narrowed to, where it is.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        let narrowing = |entry: &Entry| Narrowing {
            resource_type: entry.resource_type.clone(),
            permissions: entry.permissions.clone(),
            resource_ids: entry.ids.clone(),
        };
        Some(Scope(self.scope.as_ref()?.iter().map(narrowing).collect()))
    }

    /// Narrows it.
    pub(crate) fn narrow(&mut self, scope: Scope) {
        let entry = |narrowing: Narrowing| Entry {
            resource_type: narrowing.resource_type,
            permissions: narrowing.permissions,
            ids: narrowing.resource_ids,
        };
        self.scope = Some(scope.0.into_iter().map(entry).collect());
    }
}

/// The id in a token's text, if it has a token's form.
pub(crate) fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |text: &str, bytes: usize| text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some(id)
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_proves_a_credential() {
        let (id, token) = Token::new().unwrap();
        let credential = Credential::new("ada", &token, Timestamp::UNIX_EPOCH, TTL_DEFAULT).unwrap();
        assert_eq!(id_of(token.reveal()), Some(&*id));
        assert!(credential.is_proved_by(token.reveal()));
        for at in 0..token.reveal().len() {
            for byte in [b'0', b'a', b'A', b'f', b'_', b'S', b' '] {
                let mut altered = token.reveal().as_bytes().to_vec();
                if altered[at] == byte {
                    continue;
                }
                altered[at] = byte;
                let altered = String::from_utf8(altered).unwrap();
                assert!(!credential.is_proved_by(&altered), "byte {at} as {byte}");
            }
        }
        assert!(!credential.is_proved_by(&token.reveal()[1..]));
        assert!(!credential.is_proved_by(&format!("{}0", token.reveal())));
        assert_ne!(Token::new().unwrap().1, token);
    }

    #[test]
    fn a_token_is_never_printed() {
        let (_, token) = Token::new().unwrap();
        let credential = Credential::new("ada", &token, Timestamp::UNIX_EPOCH, TTL_DEFAULT).unwrap();
        let printed = format!("{token:?} {credential:?} {}", serde_json::to_string(&credential).unwrap());
        assert!(!printed.contains(&token.reveal()[PREFIX.len() + 17..]));
    }
}
