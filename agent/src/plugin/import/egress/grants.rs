//! Grants of hosts: `host`, `host:port`, `*.example.com`, `http://host`, an address, or a network like `10.1.0.0/16`.

use std::net::IpAddr;

use super::address::{embedded_v4, v4_in, v6_in};

/// An entry of `grants.egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostGrant {
    /// A name gets HTTPS, unless the grant says `http://`.
    Name {
        pattern: String,
        port: Option<u16>,
        clear_text: bool,
    },
    Network {
        first: IpAddr,
        prefix: u32,
        port: Option<u16>,
    },
}

impl HostGrant {
    pub(super) fn parse(text: &str) -> Self {
        let (text, clear_text) = match text.split_once("://") {
            Some((scheme, rest)) => (rest.trim_end_matches('/'), scheme.eq_ignore_ascii_case("http")),
            None => (text, false),
        };
        if let Some((first, prefix)) = text.split_once('/')
            && let (Ok(first), Ok(prefix)) = (first.parse(), prefix.parse())
        {
            return Self::Network { first, prefix, port: None };
        }
        if let Ok(first) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Self::Network { first, prefix: width(first), port: None };
        }
        if let Ok(address) = text.parse::<std::net::SocketAddr>() {
            return Self::Network { first: address.ip(), prefix: width(address.ip()), port: Some(address.port()) };
        }
        match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => Self::Name { pattern: host.to_ascii_lowercase(), port: Some(port), clear_text },
            _ => Self::Name { pattern: text.to_ascii_lowercase(), port: None, clear_text },
        }
    }

    /// Whether a host's name is granted, over HTTPS or whatever the grant says.
    pub(super) fn covers_name(&self, host: &str, port: u16, is_clear_text: bool) -> bool {
        let Self::Name { pattern, port: granted, clear_text } = self else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let fits = match pattern.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
            None => host == *pattern,
        };
        fits && granted.is_none_or(|granted| granted == port) && (*clear_text || !is_clear_text)
    }

    /// Whether exactly this address is granted, be it public or not.
    pub(super) fn covers_address(&self, ip: IpAddr, port: u16) -> bool {
        let Self::Network { first, prefix, port: granted } = self else { return false };
        // An IPv4 address that is embedded in an IPv6 address is judged as IPv4.
        let ip = match ip {
            IpAddr::V6(v6) => embedded_v4(v6).map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        };
        let fits = match (ip, first) {
            (IpAddr::V4(ip), IpAddr::V4(first)) => v4_in(ip, *first, *prefix),
            (IpAddr::V6(ip), IpAddr::V6(first)) => v6_in(ip, *first, *prefix),
            _ => false,
        };
        fits && granted.is_none_or(|granted| granted == port)
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}
