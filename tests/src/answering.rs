//! A small server of HTTP/1.1 that a test makes, for what a server under test asks of others.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// It, until it is dropped.
#[derive(Debug)]
pub struct Answering {
    /// Where it is, without a path.
    pub url: String,
    accepting: JoinHandle<()>,
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Where it was asked, as [`Answering::url`].
    pub url: String,
    /// Which method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answering {
    /// Starts one, over TLS with a certificate for `localhost` where it is given one. Answers with what `answer` makes.
    ///
    /// # Errors
    /// If there is no port, or the certificate cannot be used.
    pub async fn start(
        tls: Option<&CertifiedKey<KeyPair>>,
        answer: impl Fn(Asked) -> Response<String> + Send + Sync + 'static,
    ) -> Result<Answering> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let acceptor = tls.map(acceptor).transpose()?;
        let url =
            if tls.is_some() { format!("https://localhost:{}", address.port()) } else { format!("http://{address}") };
        let (answer, asked_at) = (Arc::new(answer), url.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, acceptor, url) = (Arc::clone(&answer), acceptor.clone(), asked_at.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, url, answer).await,
                        Some(acceptor) => {
                            // Who does not trust it ends the connection.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, url, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(Answering { url, accepting })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn acceptor(pair: &CertifiedKey<KeyPair>) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let config = config.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve<S, F>(stream: S, url: String, answer: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Asked) -> Response<String> + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (url, answer) = (url.clone(), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let asked = Asked { url, method: head.method.to_string(), path, headers: head.headers, body };
            Ok::<_, Infallible>(answer(asked).map(|body| Full::new(Bytes::from(body))))
        }
    });
    // Whoever asked may go at any time.
    let _gone = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
