//! Which addresses are public: what a server may be sent to on a caller's behalf.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of the IPv4 registry of special-purpose addresses (RFC 6890 and its successors) that are not globally
/// reachable, and those for many receivers.
const SPECIAL_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// Networks within IPv6's global unicast space that are for special purposes, or stand for IPv4 addresses.
const SPECIAL_V6: [([u16; 2], u32); 4] =
    [([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// Whether an address is on the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    // One that only stands for an IPv4 address is that address.
    match address.to_canonical() {
        IpAddr::V4(address) => {
            !SPECIAL_V4.iter().any(|(network, bits)| same_v4(address, Ipv4Addr::from(*network), *bits))
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let of = |[a, b]: [u16; 2], bits| {
                let shift = 32 - bits;
                (joined(first, second) >> shift) == (joined(a, b) >> shift)
            };
            is_global_unicast(address) && !SPECIAL_V6.iter().any(|(network, bits)| of(*network, *bits))
        }
    }
}

fn same_v4(address: Ipv4Addr, network: Ipv4Addr, bits: u32) -> bool {
    let shift = 32 - bits;
    (u32::from(address) >> shift) == (u32::from(network) >> shift)
}

fn joined(first: u16, second: u16) -> u32 {
    u32::from(first) << 16 | u32::from(second)
}

/// 2000::/3, the only part of the space that is given out.
fn is_global_unicast(address: Ipv6Addr) -> bool {
    address.segments()[0] >> 13 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.255",
        ]
        .into_iter()
        .chain(["2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "2001:4860:4860::8888"])
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
