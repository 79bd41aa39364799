//! TLS from PEM files, read again while the server runs: a certificate is renewed by replacing its files.
//!
//! What is new is taken whole or not at all. Files that cannot be used are reported and counted, and the server goes on with
//! what it had; it looks at them again when they change.

mod names;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::ServeError;

pub(crate) use names::names;

/// Where certificate and key are, and who may connect.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The chain (PEM), the server's own certificate first.
    pub(crate) cert: PathBuf,
    /// Its private key (PEM).
    pub(crate) key: PathBuf,
    /// Authorities (PEM) that a client's certificate must come from; `None` asks for none.
    pub(crate) client_ca: Option<PathBuf>,
}

/// TLS as it is configured now.
pub(crate) struct Tls {
    files: TlsFiles,
    seen: Mutex<Result<Pem, String>>,
    current: ArcSwap<ServerConfig>,
    expires_at: AtomicI64,
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
}

/// The state of TLS, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsState {
    /// When the first certificate of the chain in use expires, in seconds since 1970.
    pub(crate) expires_at: i64,
    /// Times that changed files were taken.
    pub(crate) reloads: u64,
    /// Times that changed files could not be used.
    pub(crate) reloads_refused: u64,
}

/// The bytes of the files.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ServeError::Tls`], naming the file.
    pub(crate) fn open(files: TlsFiles) -> Result<Tls, ServeError> {
        let pem = files.read()?;
        let (config, expires_at) = configure(&files, &pem)?;
        Ok(Tls {
            files,
            seen: Mutex::new(Ok(pem)),
            current: ArcSwap::from_pointee(config),
            expires_at: AtomicI64::new(expires_at),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
        })
    }

    /// What accepts a connection now: HTTP/2 and HTTP/1.1, TLS 1.2 or newer.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    pub(crate) fn state(&self) -> TlsState {
        TlsState {
            expires_at: self.expires_at.load(Ordering::Relaxed),
            reloads: self.reloads.load(Ordering::Relaxed),
            reloads_refused: self.reloads_refused.load(Ordering::Relaxed),
        }
    }

    /// Takes the files as they are now, if they have changed. Contents are compared, not times: certificates that come through
    /// links of links, as in Kubernetes, have no time that tells.
    fn look(&self) {
        let read = self.files.read().map_err(|error| error.to_string());
        let mut seen = self.seen.lock();
        if *seen == read {
            return;
        }
        let configured = read
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|pem| configure(&self.files, pem).map_err(|error| error.to_string()));
        *seen = read;
        match configured {
            Ok((config, expires_at)) => {
                self.current.store(Arc::new(config));
                self.expires_at.store(expires_at, Ordering::Relaxed);
                self.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!(cert = %self.files.cert.display(), expires_at, "TLS certificate reloaded");
            }
            Err(why) => {
                self.reloads_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(why, "changed TLS files cannot be used: going on with the former");
            }
        }
    }
}

/// Looks at the files every `interval` until `stop` turns true.
pub(crate) async fn watch(tls: Arc<Tls>, interval: Duration, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(interval) => {}
        }
        let tls = Arc::clone(&tls);
        if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
            tracing::error!(%error, "reading the TLS files ended early");
        }
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Pem, ServeError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, format!("cannot be read: {error}")));
        Ok(Pem {
            cert: read(&self.cert)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

/// The configuration of these files, and when their certificate expires.
fn configure(files: &TlsFiles, pem: &Pem) -> Result<(ServerConfig, i64), ServeError> {
    let chain = certificates(&files.cert, &pem.cert)?;
    let expires_at = expiry(&chain[0]).map_err(|why| wrong(&files.cert, why))?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|error| wrong(&files.key, format!("holds no private key: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            wrong(&files.key, format!("is not the key of the certificate in `{}`", files.cert.display()))
        }
        other => wrong(&files.key, other.to_string()),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.cert, error.to_string()))?;
    let builder = match (&files.client_ca, &pem.client_ca) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots.add(authority).map_err(|error| wrong(path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| wrong(path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, expires_at))
}

/// The certificates of a file, at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, format!("is not PEM: {error}")))?;
    if found.is_empty() { Err(wrong(path, "holds no certificate".to_owned())) } else { Ok(found) }
}

fn expiry(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    let certificate =
        Certificate::from_der(certificate).map_err(|error| format!("holds no X.509 certificate: {error}"))?;
    let expires = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    Ok(i64::try_from(expires.as_secs()).unwrap_or(i64::MAX))
}

fn wrong(path: &Path, why: String) -> ServeError {
    ServeError::Tls { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests;
