//! Certificates for `localhost` that vouch for themselves, and the files that a server reads them from.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;

/// The files of a server, in a folder of their own.
#[derive(Debug)]
pub struct TlsFiles {
    folder: TempDir,
    /// Path of the certificate.
    pub cert: String,
    /// Path of its key.
    pub key: String,
}

impl TlsFiles {
    /// Files with a certificate and its key.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn of(pair: &CertifiedKey<KeyPair>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("a folder without a name");
        let files = Self { cert: file("cert")?, key: file("key")?, folder };
        files.replace(pair)?;
        Ok(files)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts another certificate and its key in their place.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn replace(&self, pair: &CertifiedKey<KeyPair>) -> Result<()> {
        std::fs::write(&self.cert, pair.cert.pem())?;
        Ok(std::fs::write(&self.key, pair.signing_key.serialize_pem())?)
    }
}

/// A new certificate and its key.
///
/// # Errors
/// If none can be made.
pub fn localhost() -> Result<CertifiedKey<KeyPair>> {
    Ok(rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?)
}
