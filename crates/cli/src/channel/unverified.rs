//! TLS with a server whose certificate is not verified: against who only listens, not against who takes the server's place.

use std::sync::Arc;

use anyhow::Context;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::{self, Error, Proxy};
use super::{Target, read};

/// How to encrypt.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    /// What the server is asked for, where it has several names.
    name: ServerName<'static>,
}

impl Tls {
    /// # Errors
    /// When certificate or key of the client cannot be used, or the server has no name to ask for.
    pub(super) fn new(target: &Target) -> anyhow::Result<Tls> {
        let provider = Arc::new(ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let mut config = match &target.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<_, _>>();
                let chain = chain.with_context(|| format!("certificate `{}`", cert.display()))?;
                let key =
                    PrivateKeyDer::from_pem_slice(&read(key)?).with_context(|| format!("key `{}`", key.display()))?;
                config.with_client_auth_cert(chain, key).context("certificate and key of the client")?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let uri = target.uri("https")?;
        let host = target.hostname_override.as_deref().or(uri.host()).context("the address has no host")?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.with_context(|| format!("`{host}` is no name of a server"))?;
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// Connects and encrypts.
pub(super) async fn connect(to: Uri, proxy: Option<Proxy>, tls: Tls) -> Result<TokioIo<TlsStream<TcpStream>>, Error> {
    let stream = proxy::connect(to, proxy).await?.into_inner();
    Ok(TokioIo::new(tls.connector.connect(tls.name, stream).await?))
}

/// Takes every certificate; that the server has its key is proved all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
