//! The way to a server: in plain text or encrypted, directly or through a proxy, and what to try where there is none.

mod proxy;
mod unverified;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::Uri;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::service_fn;

pub(crate) use proxy::Proxy;

/// Time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server is reached, by flags, environment and context.
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) token: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) no_verify_ca: bool,
    pub(crate) certificate_path: Option<PathBuf>,
    pub(crate) hostname_override: Option<String>,
    /// Certificate and key to prove oneself with.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) proxy: Option<Proxy>,
}

impl Target {
    /// Connects to the server.
    ///
    /// # Errors
    /// What is wrong on the way, and what to try.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        let unreachable = |error| unreachable(&error, self);
        let proxy = self.proxy.clone();
        if self.no_verify_ca && !self.is_plain() {
            tracing::warn!("the certificate of {} is not verified: who is on the way reads the key", self.endpoint);
            // The connector encrypts by itself, and is not to be helped; the server hears of `https` all the same.
            let endpoint = self.endpoint("http")?.origin(self.uri("https")?);
            let tls = unverified::Tls::new(self)?;
            let connector = service_fn(move |uri| unverified::connect(uri, proxy.clone(), tls.clone()));
            return endpoint.connect_with_connector(connector).await.map_err(unreachable);
        }
        let endpoint = if self.is_plain() { self.endpoint("http")? } else { self.encrypted()? };
        let channel = match proxy {
            Some(proxy) => {
                endpoint.connect_with_connector(service_fn(move |uri| proxy::connect(uri, Some(proxy.clone())))).await
            }
            None => endpoint.connect().await,
        };
        channel.map_err(unreachable)
    }

    /// Plain text is spoken where it is asked for, and to this machine unless something says that it is to be TLS.
    fn is_plain(&self) -> bool {
        self.certificate_path.is_none() && (self.insecure || (is_loopback(&self.endpoint) && !self.no_verify_ca))
    }

    fn uri(&self, scheme: &str) -> anyhow::Result<Uri> {
        let uri = format!("{scheme}://{}", self.endpoint).parse::<Uri>().ok();
        let uri = uri.filter(|uri| uri.port().is_some() && uri.path() == "/");
        uri.with_context(|| format!("`{}` is no address: expected HOST:PORT", self.endpoint))
    }

    fn endpoint(&self, scheme: &str) -> anyhow::Result<Endpoint> {
        Ok(Endpoint::from(self.uri(scheme)?).connect_timeout(CONNECT_TIMEOUT))
    }

    fn encrypted(&self) -> anyhow::Result<Endpoint> {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if let Some(path) = &self.certificate_path {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Some((cert, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &self.hostname_override {
            tls = tls.domain_name(name);
        }
        self.endpoint("https")?.tls_config(tls).context("TLS")
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("certificate or key `{}`", path.display()))
}

/// What went wrong on the way to the server, and what to try.
fn unreachable(error: &tonic::transport::Error, target: &Target) -> anyhow::Error {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if causes.last() != Some(&said) {
            causes.push(said);
        }
        cause = error.source();
    }
    let said = causes.join(": ");
    let endpoint = &target.endpoint;
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if let (Some(proxy), true) = (&target.proxy, says(&["SOCKS"])) {
        anyhow!(
            "the proxy {proxy} does not lead to {endpoint}: is the proxy right (--proxy), and the address? ({said})"
        )
    } else if says(&["InvalidContentType", "corrupt message", "WrongVersion"]) {
        anyhow!("the server at {endpoint} does not speak TLS; give --insecure to speak plain text to it ({said})")
    } else if says(&["UnknownIssuer", "CaUsedAsEndEntity", "self-signed", "BadSignature"]) {
        anyhow!(
            "the certificate of {endpoint} comes from no authority that is trusted here; name the authority's with \
             --certificate-path, or do without with --no-verify-ca ({said})"
        )
    } else if says(&["NotValidForName", "not valid for name"]) {
        anyhow!(
            "the certificate of {endpoint} is for another name; give the right address, or the name with \
             --hostname-override ({said})"
        )
    } else if says(&["Expired", "NotValidYet"]) {
        anyhow!("the certificate of {endpoint} is not valid at this time ({said})")
    } else if says(&["dns error", "failed to lookup"]) {
        anyhow!("`{endpoint}` names no machine that can be found: is the address right (--endpoint)? ({said})")
    } else {
        anyhow!(
            "no server answers at {endpoint}: is `stonetown serve` running there, and is the address right (--endpoint)? \
             ({said})"
        )
    }
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_is_spoken_to_in_plain_text_unasked() {
        for local in ["localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in ["example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "128.0.0.1:1"] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }
}
