//! The keys that an issuer publishes (RFC 7517), and what each may prove.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use super::JwtError;

/// Bytes of a published set at most.
pub const SET_BYTES_MAX: usize = 256 << 10;
/// Keys of a set at most; more are an error, not ignored.
pub const KEYS_MAX: usize = 64;

/// The keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct PublishedSet {
    keys: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
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
        let published: PublishedSet = serde_json::from_slice(json)?;
        if published.keys.len() > KEYS_MAX {
            return Err(KeysError::Large);
        }
        let keys: Vec<_> = published.keys.into_iter().filter_map(Published::key).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(KeySet(keys)) }
    }

    /// Whether one of the keys made the signature.
    pub(super) fn verify(
        &self,
        algorithm: &str,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        if !ALGORITHMS.contains(&algorithm) {
            return Err(JwtError::Unknown);
        }
        let mut fitting = self.0.iter().filter(|key| key.fits(algorithm));
        let key = match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).ok_or(JwtError::UnknownKey)?,
            // A token that does not say which key is proved by the only one.
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => key,
                _ => return Err(JwtError::UnknownKey),
            },
        };
        if key.verify(algorithm, message, signature) { Ok(()) } else { Err(JwtError::Unknown) }
    }
}

/// The algorithms that are accepted.
const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

impl Key {
    fn fits(&self, algorithm: &str) -> bool {
        let of_kind = match self.material {
            Material::Rsa { .. } => algorithm.starts_with("RS") || algorithm.starts_with("PS"),
            Material::P256(_) => algorithm == "ES256",
            Material::P384(_) => algorithm == "ES384",
            Material::Ed25519(_) => algorithm == "EdDSA",
        };
        of_kind && self.algorithm.as_deref().is_none_or(|own| own == algorithm)
    }

    fn verify(&self, algorithm: &str, message: &[u8], made: &[u8]) -> bool {
        let proved = match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, made)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, made)
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, made)
            }
            Material::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, made),
        };
        proved.is_ok()
    }
}

impl Published {
    fn key(self) -> Option<Key> {
        if self.used_for.as_deref().is_some_and(|used_for| used_for != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let point = |length: usize| {
            let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
            // Uncompressed, as SEC 1 has it.
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(&self.n)?, e: bytes(&self.e)? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&self.x).filter(|key| key.len() == 32)?),
            _ => return None,
        };
        Some(Key { id: self.kid, algorithm: self.alg, material })
    }
}
