//! The way through a SOCKS5 proxy, or without one.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tower_service::Service;

/// Where SOCKS5 proxies listen when nothing says otherwise.
const PORT: u16 = 1080;

/// Why there is no connection.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A SOCKS5 proxy. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    address: Uri,
    user: Option<(String, String)>,
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected HOST:PORT or socks5://USER:PASSWORD@HOST:PORT";
        let rest = match text.split_once("://") {
            None => text,
            Some(("socks5" | "socks5h", rest)) => rest.trim_end_matches('/'),
            Some((scheme, _)) => return Err(format!("`{scheme}` proxies are not spoken to, only SOCKS5: {expected}")),
        };
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let user = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let decode = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| expected);
            Ok::<_, &str>((decode(name)?, decode(password)?))
        });
        let uri = |address: &str| format!("socks5://{address}").parse::<Uri>().ok();
        let address = uri(address).filter(|uri| matches!(uri.path(), "" | "/")).ok_or(expected)?;
        let address = match (address.host(), address.port()) {
            (None | Some(""), _) => return Err(expected.to_owned()),
            (Some(_), Some(_)) => address,
            (Some(host), None) if address.authority().is_some_and(|whole| whole == host) => {
                uri(&format!("{host}:{PORT}")).ok_or(expected)?
            }
            (Some(_), None) => return Err(expected.to_owned()),
        };
        Ok(Proxy { address, user: user.transpose()? })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.authority().map_or("", |authority| authority.as_str()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Connects to the host of an address, or has the proxy do it, which looks up its name then.
pub(super) async fn connect(to: Uri, proxy: Option<Proxy>) -> Result<TokioIo<TcpStream>, Error> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_nodelay(true);
    let Some(Proxy { address, user }) = proxy else { return Ok(direct.call(to).await?) };
    let mut socks = SocksV5::new(address, direct);
    if let Some((name, password)) = user {
        socks = socks.with_auth(name, password);
    }
    Ok(socks.call(to).await?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy: Proxy = "socks5://ann:s%40fe@proxy.example.com".parse().unwrap();
        assert_eq!(proxy.user, Some(("ann".to_owned(), "s@fe".to_owned())));
        assert_eq!(
            (format!("{proxy}").as_str(), format!("{proxy:?}").as_str()),
            ("proxy.example.com:1080", "Proxy(proxy.example.com:1080)")
        );
        assert_eq!("127.0.0.1:9050".parse::<Proxy>().unwrap().to_string(), "127.0.0.1:9050");
        assert_eq!("[::1]:9050".parse::<Proxy>().unwrap().to_string(), "[::1]:9050");
    }

    #[test]
    fn what_is_no_socks5_proxy_is_refused() {
        for wrong in ["", "http://proxy:3128", "socks5://", "proxy:port", "proxy:1080/path", "a b"] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }
}
