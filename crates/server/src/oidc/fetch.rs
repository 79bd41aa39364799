//! Fetching what an issuer publishes: a description of itself, and the keys at the place that this names.

use serde::Deserialize;
use stonetown_identity::jwt::{KeySet, KeysError, SET_BYTES_MAX};

use crate::outbound::{Outbound, OutboundError};

/// Where an issuer describes itself, after its name (OpenID Connect Discovery).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Bytes of that description at most.
const DISCOVERY_BYTES_MAX: usize = 64 << 10;

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The issuer does not answer.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// What it says of itself cannot be read.
    #[error("its discovery document cannot be read: {0}")]
    Discovery(serde_json::Error),
    /// It says that it is another.
    #[error("its discovery document is of another issuer")]
    OtherIssuer,
    /// The keys are none.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The file cannot be read.
    #[error("`{0}`: {1}")]
    File(String, std::io::Error),
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The keys that an issuer publishes now.
pub(super) async fn keys(outbound: &Outbound, issuer: &str) -> Result<KeySet, FetchError> {
    let description = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    let description = outbound.get(&description, DISCOVERY_BYTES_MAX).await?;
    let Discovery { issuer: named, jwks_uri } = serde_json::from_slice(&description).map_err(FetchError::Discovery)?;
    if named != issuer {
        return Err(FetchError::OtherIssuer);
    }
    Ok(KeySet::parse(&outbound.get(&jwks_uri, SET_BYTES_MAX).await?)?)
}

#[cfg(test)]
mod tests;
