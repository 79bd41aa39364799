//! Tokens that an OpenID Connect issuer signed. What an issuer may sign with is fixed here, never taken from a token: asymmetric
//! algorithms, each with a key of its kind, from the keys that the issuer publishes. Nothing is fetched here.
//!
//! `jsonwebtoken` takes tokens apart and proves them; what has to be true of one beyond that is here. Time is judged here, too,
//! by the clock of the engine: that of the machine can be set back.

mod binding;
mod keys;
mod signatures;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Validation, decode, decode_header};
use ring::digest::{SHA256, digest};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
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
    /// The SHA-256 of the one certificate that its holder has to show (RFC 8705, 3.1): whoever asked for it to be proved has
    /// to look at it.
    pub certificate: Option<[u8; 32]>,
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
    /// It is its issuer's, and bound to a key that its holder does not prove to have here.
    #[error("the token is bound to a key that this connection does not prove")]
    Bound,
}

/// The claims that decide.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// Claims of which none comes twice: of such a token two readers could see two different things.
struct Distinct(Map<String, Value>);

impl Issuer {
    /// An issuer, by the name that its tokens have it by, and the audiences that mean this server; without keys so far.
    #[must_use]
    pub fn new(name: &str, audiences: Vec<String>) -> Issuer {
        signatures::prove_with_ring();
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
            self.replace_keys(Some(Arc::new(keys)));
        }
    }

    /// Has no keys any more: nothing is accepted until there are some again.
    pub fn forget_keys(&self) {
        self.replace_keys(None);
    }

    fn replace_keys(&self, keys: Option<Arc<KeySet>>) {
        self.keys.store(keys);
        self.generation.fetch_add(1, Ordering::Release);
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
        let header = decode_header(token).map_err(|_| JwtError::Unknown)?;
        let is_plain = header.typ.as_deref().is_none_or(|typ| {
            ["jwt", "at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known))
        });
        // A token with extensions that have to be understood is not understood.
        if !is_plain || header.crit.is_some() {
            return Err(JwtError::Unknown);
        }
        let key = keys.key(header.alg, header.kid.as_deref())?;
        // One of those that the key is for.
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&self.audiences);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.validate_exp = false;
        let proved = decode::<Distinct>(token, &key, &validation).map_err(|_| JwtError::Unknown)?;
        self.accept(proved.claims.0, now)
    }

    /// Judges what the issuer has signed.
    fn accept(&self, all: Map<String, Value>, now: Timestamp) -> Result<Verified, JwtError> {
        let claims: Claims = serde_json::from_value(Value::Object(all.clone())).map_err(|_| JwtError::Unknown)?;
        let is_about_somebody = !claims.sub.is_empty() && claims.sub.len() <= SUBJECT_BYTES_MAX;
        if claims.iss != self.name || !is_about_somebody {
            return Err(JwtError::Unknown);
        }
        let soon = now.checked_add(LEEWAY).map_err(|_| JwtError::Unknown)?;
        let begun = [claims.nbf, claims.iat].into_iter().flatten().map(moment).collect::<Result<Vec<_>, _>>()?;
        if begun.into_iter().any(|moment| moment > soon) {
            return Err(JwtError::Unknown);
        }
        let expires_at = moment(claims.exp)?.checked_add(LEEWAY).map_err(|_| JwtError::Unknown)?;
        let certificate = all.get("cnf").map(binding::certificate).transpose()?;
        Ok(Verified { subject: claims.sub, expires_at, certificate, claims: all })
    }
}

/// Who a token says that it is of, before anything is proved: only to find whose keys to prove it with.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let is_small = token.len() <= TOKEN_BYTES_MAX;
    is_small.then(|| insecure_decode_claims::<Claimed>(token).ok()).flatten().map(|claimed| claimed.iss)
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Distinct;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("claims, each once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim comes twice"));
                    }
                }
                Ok(Distinct(claims))
            }
        }
        deserializer.deserialize_map(Names)
    }
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
