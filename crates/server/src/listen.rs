//! The accept loop: one port for gRPC over HTTP/2, and gRPC-web and HTTP/JSON over either version, with or without TLS. That of the
//! metrics is served by it, too.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use stonetown_api::PeerIp;
use stonetown_identity::CertificateNames;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::io::InspectReader;
use tonic::body::Body;
use tower::Service;

use crate::peer::Proxies;
use crate::sent::Sent;
use crate::tls::{self, Tls};

/// Connections at a time; a further one waits in the listener's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// Time for a TLS handshake and the first request's head.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes after which it is known which version of HTTP a connection speaks: the preface of HTTP/2.
const PREFACE_BYTES: usize = 24;
/// Streams of one connection at a time.
const STREAMS_MAX: u32 = 1000;
/// Bytes of headers in one request.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// Time that the last words to those who were cut off have to leave.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// How connections are treated.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) proxies: Proxies,
    pub(crate) age_max: Option<Duration>,
    pub(crate) grace_period: Duration,
}

/// Accepts connections until `stop` turns true, then lets the running calls end within the grace period.
pub(crate) async fn accept<S>(
    listener: TcpListener,
    service: S,
    connections: Connections,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut running = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let (stream, peer) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a connection that was gone before it was taken: neither ends the server.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Small messages: waiting for more to send would cost latency.
        let _ = stream.set_nodelay(true);
        let (service, connections, stop) = (service.clone(), connections.clone(), stop.clone());
        running.spawn(async move {
            match connections.tls.as_ref().map(|tls| tls.acceptor()) {
                None => serve_connection(stream, peer.ip(), None, service, &connections, stop).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let names = shown.map(|certificate| Arc::new(tls::names(certificate)));
                        serve_connection(stream, peer.ip(), names, service, &connections, stop).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
            drop(place);
        });
        while running.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = tokio::time::timeout(connections.grace_period + FLUSH_TIME, async {
        while running.join_next().await.is_some() {}
    })
    .await;
    running.shutdown().await;
}

/// Serves a connection, with what the client's certificate says of it among the extensions of each request.
async fn serve_connection<I, S>(
    io: I,
    peer: IpAddr,
    names: Option<Arc<CertificateNames>>,
    service: S,
    connections: &Connections,
    mut stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    let proxies = connections.proxies.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut service = service.clone();
        let mut request = request.map(|sent| Body::new(Sent(sent)));
        if let Some(client) = proxies.client(peer, request.headers()) {
            request.extensions_mut().insert(PeerIp(client));
        }
        if let Some(names) = &names {
            request.extensions_mut().insert(Arc::clone(names));
        }
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }
    });
    let received = Arc::new(AtomicUsize::new(0));
    let io = InspectReader::new(io, {
        let received = Arc::clone(&received);
        move |bytes: &[u8]| {
            received.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    // Until a version is known none has a timer: who says nothing would keep its place for ever.
    let silence = async {
        tokio::time::sleep(HANDSHAKE_TIMEOUT).await;
        if received.load(Ordering::Relaxed) >= PREFACE_BYTES {
            std::future::pending::<()>().await;
        }
    };
    let age = async {
        match connections.age_max {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = stopped(&mut stop) => None,
        () = age => None,
        () = silence => {
            tracing::debug!("a connection said nothing");
            return;
        }
    };
    let outcome = match ended {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Returns once `stop` is true, or can no longer become so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that comes back must not live across an await.
    drop(stop.wait_for(|stop| *stop).await);
}
