//! Where calls come from: the address of the connection, or what a trusted proxy says about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

/// What a proxy adds the address to that it was called from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub(crate) fn new(networks: &[IpNet]) -> Proxies {
        Proxies(networks.into())
    }

    /// The address that a request came from: that of the connection, unless it is a trusted proxy's; then the last address
    /// that a trusted proxy added and that is none itself. `None` where a trusted proxy says something that is no address:
    /// nobody knows then.
    pub(crate) fn client(&self, connection: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = connection.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        while self.0.iter().any(|network| network.contains(&client)) {
            let Some(hop) = hops.next() else { break };
            client = address(std::str::from_utf8(hop).ok()?.trim())?.to_canonical();
        }
        Some(client)
    }
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(connection: &str, lines: &[&str]) -> Option<String> {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.client(connection.parse().unwrap(), &headers).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("198.51.100.7", &["10.1.2.3"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("fd00::1", &["[2001:db8::7]:4711"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(client("10.0.0.1", &["198.51.100.7:80"]).as_deref(), Some("198.51.100.7"));
    }

    #[test]
    fn what_stands_before_the_last_trusted_hop_is_anybodys_word() {
        assert_eq!(client("10.0.0.1", &["192.0.2.1, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["192.0.2.1", "198.51.100.7, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["10.0.0.3,10.0.0.2"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(client("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn what_is_no_address_is_nobodys() {
        for line in ["unknown", "", "198.51.100.7, _hidden", "198.51.100.300"] {
            assert_eq!(client("10.0.0.1", &[line]), None, "{line}");
        }
    }
}
