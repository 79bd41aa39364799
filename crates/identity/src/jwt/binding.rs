//! What a token is bound to: its claim `cnf` (RFC 7800). Passing over it would make a token of one holder good for everybody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::JwtError;

/// The name of the SHA-256 of a certificate (RFC 8705, 3.1).
const THUMBPRINT: &str = "x5t#S256";

/// The SHA-256 of the certificate that a token is bound to.
///
/// # Errors
/// [`JwtError::Bound`] for whatever else it is bound to, besides or instead: nothing of it can be proved here.
pub(super) fn certificate(confirmation: &Value) -> Result<[u8; 32], JwtError> {
    let only = confirmation.as_object().filter(|named| named.len() == 1);
    let thumbprint = only.and_then(|named| named.get(THUMBPRINT)).and_then(Value::as_str).ok_or(JwtError::Bound)?;
    let bytes = URL_SAFE_NO_PAD.decode(thumbprint).map_err(|_| JwtError::Bound)?;
    bytes.try_into().map_err(|_| JwtError::Bound)
}
