//! The keys that an issuer publishes (RFC 7517), and what each may prove.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::JwtError;

/// Bytes of a published set at most.
pub const SET_BYTES_MAX: usize = 256 << 10;
/// Keys of a set at most; more are an error, not ignored.
pub const KEYS_MAX: usize = 64;

/// The keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<Jwk>);

/// Why a published set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is no set of keys.
    #[error("no set of keys: {0}")]
    Form(#[from] serde_json::Error),
    /// It is larger than it may be.
    #[error("more than {SET_BYTES_MAX} bytes, or more than {KEYS_MAX} keys")]
    Large,
    /// There is no key in it that could prove anything here.
    #[error("no key for signatures of a kind that is accepted")]
    Empty,
}

impl KeySet {
    /// Reads a published set. Keys of kinds that are not accepted, or for something else than signatures, are left out.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn parse(json: &[u8]) -> Result<KeySet, KeysError> {
        if json.len() > SET_BYTES_MAX {
            return Err(KeysError::Large);
        }
        let mut keys = serde_json::from_slice::<JwkSet>(json)?.keys;
        if keys.len() > KEYS_MAX {
            return Err(KeysError::Large);
        }
        keys.retain(|key| is_for_signatures(key) && !of_kind(key).is_empty() && DecodingKey::from_jwk(key).is_ok());
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(KeySet(keys)) }
    }

    /// The key that a signature by this algorithm has to be of.
    pub(super) fn key(&self, algorithm: Algorithm, id: Option<&str>) -> Result<DecodingKey, JwtError> {
        let mut fitting = self.0.iter().filter(|key| fits(key, algorithm));
        let key = match id {
            Some(id) => fitting.find(|key| key.common.key_id.as_deref() == Some(id)).ok_or(JwtError::UnknownKey)?,
            // A token that does not say which key is proved by the only one.
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => key,
                _ => return Err(JwtError::UnknownKey),
            },
        };
        DecodingKey::from_jwk(key).map_err(|_| JwtError::UnknownKey)
    }
}

fn is_for_signatures(key: &Jwk) -> bool {
    let is_used_so = key.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    is_used_so && key.common.key_operations.as_ref().is_none_or(|allowed| allowed.contains(&KeyOperations::Verify))
}

/// The algorithms that keys of this kind can be for; none where the kind is not accepted, as those that are shared secrets.
fn of_kind(key: &Jwk) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    }
}

/// Whether a key is for an algorithm: of its kind, and where the key says which, that one.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let own = key.common.key_algorithm;
    of_kind(key).contains(&algorithm)
        && own.is_none_or(|own| Algorithm::try_from(own).is_ok_and(|own| own == algorithm))
}
