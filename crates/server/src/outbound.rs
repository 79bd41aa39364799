//! Asking other servers. Settings name them, and what they answer can name more: none of that may lead this server to addresses
//! that only it can reach. So there are no redirects and no proxies, and each address is looked at when it is connected to, not
//! before: what a name leads to can change in between.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

/// Time to reach a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one question to it, with its answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks other servers.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: Client,
    allow_private: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Where it would be is none of the places that are asked.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It cannot be reached, or breaks off.
    #[error("{0}")]
    Unreachable(String),
    /// It answers something else.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It answers more than is read.
    #[error("it answers more than {0} bytes")]
    Large(usize),
}

/// Why a URL is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is none.
    #[error("it is no URL")]
    Form,
    /// It is read by anybody on the way.
    #[error("it is not https (http is for loopback addresses)")]
    Plain,
    /// It holds more than a place.
    #[error("it has a user, a password or a fragment")]
    Extra,
    /// It is an address that only this network knows.
    #[error("it leads to an address that is not public, which has to be allowed")]
    Private,
}

impl Outbound {
    /// One who asks servers at public addresses, and where `allow_private` is set at all.
    ///
    /// # Errors
    /// When there can be no client of TLS.
    pub(crate) fn new(allow_private: bool) -> Result<Outbound, String> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| described(&error))?;
        Ok(Outbound { client, allow_private })
    }

    /// What lies at a URL.
    pub(crate) async fn get(&self, url: &str, bytes_max: usize) -> Result<Vec<u8>, OutboundError> {
        let url = place(url, self.allow_private)?;
        let mut answer = self.client.get(url).send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(OutboundError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > bytes_max {
                return Err(OutboundError::Large(bytes_max));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// Sends something to a URL, where it is taken if the answer is one of success. The answer is not read.
    pub(crate) async fn post(&self, url: &str, headers: HeaderMap, body: String) -> Result<(), OutboundError> {
        let url = place(url, self.allow_private)?;
        let answer = self.client.post(url).headers(headers).body(body).send().await.map_err(unreachable)?;
        if answer.status().is_success() { Ok(()) } else { Err(OutboundError::Status(answer.status())) }
    }
}

fn unreachable(error: reqwest::Error) -> OutboundError {
    OutboundError::Unreachable(described(&error.without_url()))
}

/// A URL that may be asked. A name in it is looked at when it is resolved.
///
/// # Errors
/// See [`PlaceError`].
pub(crate) fn place(text: &str, allow_private: bool) -> Result<Url, PlaceError> {
    let url = Url::parse(text).map_err(|_| PlaceError::Form)?;
    let host = url.host_str().ok_or(PlaceError::Form)?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let is_loopback = address.is_some_and(|address| address.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return Err(PlaceError::Plain);
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(PlaceError::Extra);
    }
    if !allow_private && address.is_some_and(|address| !is_public(address)) {
        return Err(PlaceError::Private);
    }
    Ok(url)
}

/// Resolves names as the machine does, and refuses those that lead where nobody should be led.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = judged(tokio::net::lookup_host((name.as_str(), 0)).await?.collect(), allow_private)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What a name leads to, all of it or nothing: one with an address in between that is not public is not to be trusted.
fn judged(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, PlaceError> {
    let is_refused = !allow_private && found.iter().any(|address| !is_public(address.ip()));
    if is_refused { Err(PlaceError::Private) } else { Ok(found) }
}

/// Whether an address is one of the public internet, by the registries of special purposes of IANA.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // "This" network; shared by customers of a provider; of protocols; for benchmarks; to relays of 6to4; reserved.
    let is_special = matches!(
        address.octets(),
        [0, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [192, 88, 99, _] | [240..=255, ..]
    );
    let is_local = address.is_private() || address.is_loopback() || address.is_link_local();
    !(is_special || is_local || address.is_documentation() || address.is_multicast())
}

/// Only what is given out as global unicast, without the parts of it in which other addresses are hidden: Teredo and its like, 6to4.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first >> 13 == 0b001,
    }
}

/// An error with what led to it.
fn described(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests;
