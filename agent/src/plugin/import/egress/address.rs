//! Public addresses. Every other address is internal to a network, and a granted name must not lead there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet, whatever form it is written in.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match embedded_v4(ip) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(ip),
        },
    }
}

/// First address and prefix length of the special-purpose blocks (IANA's IPv4 registry).
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(first, prefix)| v4_in(ip, *first, *prefix))
}

/// Whether an address is within a network.
pub fn v4_in(ip: Ipv4Addr, network: Ipv4Addr, prefix: u32) -> bool {
    let shift = 32_u32.saturating_sub(prefix);
    ip.to_bits().checked_shr(shift).unwrap_or(0) == network.to_bits().checked_shr(shift).unwrap_or(0)
}

/// Whether an address is within a network.
pub fn v6_in(ip: Ipv6Addr, network: Ipv6Addr, prefix: u32) -> bool {
    let shift = 128_u32.saturating_sub(prefix);
    ip.to_bits().checked_shr(shift).unwrap_or(0) == network.to_bits().checked_shr(shift).unwrap_or(0)
}

/// First address and prefix length of the special-purpose blocks (IANA's IPv6 registry).
const SPECIAL_V6: [(Ipv6Addr, u32); 12] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    // NAT64 of a network's own, whose form only that network defines.
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // Protocol assignments (Teredo among them is judged by the address inside), documentation, and the site-local of old.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
];

fn is_public_v6(ip: Ipv6Addr) -> bool {
    !SPECIAL_V6.iter().any(|(first, prefix)| v6_in(ip, *first, *prefix))
}

/// The IPv4 address that an IPv6 one stands for: mapped, translated, compatible, NAT64, 6to4 or Teredo.
pub fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = ip.segments();
    let low = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, tail] => Some(low(high, tail)),
        [0, 0, 0, 0, 0xffff, 0, high, tail] => Some(low(high, tail)),
        [0, 0, 0, 0, 0, 0, high, tail] if (high, tail) > (0, 1) => Some(low(high, tail)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, tail] => Some(low(high, tail)),
        [0x2002, high, tail, ..] => Some(low(high, tail)),
        [0x2001, 0, _, _, _, _, high, tail] => Some(low(!high, !tail)),
        _ => None,
    }
}
