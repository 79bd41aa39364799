//! Requests over plain HTTP/1.1, as programs without gRPC make them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub code: u16,
    /// Its headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// The body's lines as JSON.
    ///
    /// # Errors
    /// If one is none.
    pub fn lines(&self) -> Result<Vec<Value>> {
        self.body.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }
}

/// Posts JSON to a path of `host:port`.
///
/// # Errors
/// If no answer comes.
pub async fn post(address: &str, path: &str, headers: &[(&str, &str)], body: impl Into<String>) -> Result<Answer> {
    ask(address, "POST", path, headers, body).await
}

/// Makes a request to `host:port` and reads the answer to its end.
///
/// # Errors
/// If no answer comes.
pub async fn ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Answer> {
    read(begin(address, method, path, headers, body).await?).await
}

/// As [`ask`], over TLS with a server that calls itself `localhost` and whose certificate, or its authority's, is `trusted` (PEM).
///
/// # Errors
/// If no answer comes.
pub async fn ask_over_tls(
    address: &str,
    trusted: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Answer> {
    ask_with_certificate(address, trusted, None, method, path, headers, body).await
}

/// As [`ask_over_tls`], with a certificate (PEM) and its key (PEM) of one's own.
///
/// # Errors
/// If no answer comes.
pub async fn ask_with_certificate(
    address: &str,
    trusted: &str,
    own: Option<(&str, &str)>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Answer> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes())?];
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
        }
    };
    let stream = TcpStream::connect(address).await.with_context(|| format!("no server at {address}"))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    read(begin_over(stream, address, method, path, headers, body).await?).await
}

async fn read(response: Response<Incoming>) -> Result<Answer> {
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), lossy(value.as_bytes())));
    let (code, headers) = (response.status().as_u16(), headers.collect());
    let body = lossy(&response.into_body().collect().await?.to_bytes());
    Ok(Answer { code, headers, body })
}

/// Makes a request and leaves its answer to be read. The connection ends with the answer.
///
/// # Errors
/// If no answer comes.
pub async fn begin(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("no server at {address}"))?;
    begin_over(stream, address, method, path, headers, body).await
}

async fn begin_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(sender.send_request(request.body(Full::new(Bytes::from(body.into())))?).await?)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
