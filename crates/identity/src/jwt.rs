//! Tokens that an OpenID Connect issuer signed. What an issuer may sign with is fixed here, never taken from a token: asymmetric
//! algorithms, each with a key of its kind, from the keys that the issuer publishes. Nothing is fetched here.

mod keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};
use stonetown_tuple::{Revision, Timestamp};

pub use keys::{KEYS_MAX, KeySet, KeysError, SET_BYTES_MAX};

use crate::memo::Memo;

/// Bytes of a token at most.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Bytes of a subject at most.
const SUBJECT_BYTES_MAX: usize = 512;
/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// An issuer whose tokens are accepted.
pub struct Issuer {
    name: String,
    audiences: Vec<String>,
    keys: ArcSwapOption<KeySet>,
    /// How often the keys were replaced: what was proved by earlier ones has to be proved again.
    generation: AtomicU64,
    proved: Memo<[u8; 32], Arc<Verified>>,
}

/// What a token says, once it is proved.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Who it is about.
    pub subject: String,
    /// When it ends, exclusively.
    pub expires_at: Timestamp,
    /// All of it.
    pub claims: Map<String, Value>,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no token, or one that nobody trusted here signed for this server.
    #[error("unknown token")]
    Unknown,
    /// It is signed with a key that is not known, or not yet.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The issuer's keys could not be fetched so far.
    #[error("the keys of the token's issuer are not known yet")]
    NoKeys,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
}

/// The header of a token. A field that comes twice is an error of the parser.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// The claims that decide.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Issuer {
    /// An issuer, by the name that its tokens have it by, and the audiences that mean this server; without keys so far.
    #[must_use]
    pub fn new(name: &str, audiences: Vec<String>) -> Issuer {
        Issuer {
            name: name.to_owned(),
            audiences,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            proved: Memo::default(),
        }
    }

    /// The name that its tokens have it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Replaces the keys. What only a former one proves is not accepted any more.
    pub fn set_keys(&self, keys: KeySet) {
        if self.keys.load().as_deref() != Some(&keys) {
            self.keys.store(Some(Arc::new(keys)));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Proves a token of this issuer.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Verified>, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Unknown);
        }
        let generation = Revision(self.generation.load(Ordering::Acquire));
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let verified = match self.proved.get(&name, generation) {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.prove(token, now)?);
                self.proved.put(name, generation, Arc::clone(&verified));
                verified
            }
        };
        if verified.expires_at <= now { Err(JwtError::Expired) } else { Ok(verified) }
    }

    fn prove(&self, token: &str, now: Timestamp) -> Result<Verified, JwtError> {
        let keys = self.keys.load_full().ok_or(JwtError::NoKeys)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Unknown)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Unknown)?;
        let header: Header = json(header)?;
        let is_plain = header.typ.as_deref().is_none_or(|typ| {
            ["jwt", "at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known))
        });
        // A token with extensions that have to be understood is not understood.
        if !is_plain || header.crit.is_some() {
            return Err(JwtError::Unknown);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Unknown)?;
        keys.verify(&header.alg, header.kid.as_deref(), signed.as_bytes(), &signature)?;
        self.accept(json(claims)?, json(claims)?, now)
    }

    /// Judges what the issuer has signed.
    fn accept(&self, claims: Claims, all: Map<String, Value>, now: Timestamp) -> Result<Verified, JwtError> {
        let is_for_us = match &claims.aud {
            Audience::One(audience) => self.audiences.contains(audience),
            Audience::Several(audiences) => audiences.iter().any(|audience| self.audiences.contains(audience)),
        };
        let is_about_somebody = !claims.sub.is_empty() && claims.sub.len() <= SUBJECT_BYTES_MAX;
        if claims.iss != self.name || !is_for_us || !is_about_somebody {
            return Err(JwtError::Unknown);
        }
        let soon = now.checked_add(LEEWAY).map_err(|_| JwtError::Unknown)?;
        let begun = [claims.nbf, claims.iat].into_iter().flatten().map(moment).collect::<Result<Vec<_>, _>>()?;
        if begun.into_iter().any(|moment| moment > soon) {
            return Err(JwtError::Unknown);
        }
        let expires_at = moment(claims.exp)?.checked_add(LEEWAY).map_err(|_| JwtError::Unknown)?;
        Ok(Verified { subject: claims.sub, expires_at, claims: all })
    }
}

/// Who a token says that it is of, before anything is proved: only to find whose keys to prove it with.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let mut parts = token.split('.');
    let claims = (token.len() <= TOKEN_BYTES_MAX).then(|| parts.nth(1)).flatten()?;
    let has_three = parts.next().is_some() && parts.next().is_none();
    has_three.then(|| json::<Claimed>(claims).ok()).flatten().map(|claimed| claimed.iss)
}

fn json<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Unknown)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Unknown)
}

/// Seconds since 1970, perhaps with a fraction.
fn moment(seconds: f64) -> Result<Timestamp, JwtError> {
    /// The year 9999.
    const SECONDS_MAX: f64 = 253_402_300_000.0;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(JwtError::Unknown);
    }
    // In the range of the type, by the test above.
    #[allow(clippy::cast_possible_truncation)]
    Timestamp::from_second(seconds as i64).map_err(|_| JwtError::Unknown)
}
