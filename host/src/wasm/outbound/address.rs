//! Which addresses are public: those that anybody on the internet may reach. Everything else belongs to somebody's own
//! network, to this machine, or to nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True for addresses that the internet routes to a single host: IANA's special-purpose registries, read strictly.
///
/// Addresses that carry another one within them (IPv4-mapped, NAT64) are judged by that. Tunnels (6to4, Teredo) are not
/// public: where they lead is not told by the address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Ranges that are not public: first address, bits.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local; clouds serve credentials here
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(first, bits)| (address.to_bits() ^ first.to_bits()) >> (32 - bits) == 0)
}

/// Global unicast: everything outside of it (loopback, unspecified, unique local, link-local, multicast) is not public.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What of it is not.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// The well-known prefix of NAT64: an IPv4 address stands in the last 32 bits.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |(first, bits): &(Ipv6Addr, u32)| (address.to_bits() ^ first.to_bits()) >> (128 - bits) == 0;
    if within(&NAT64) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    within(&GLOBAL_V6) && !SPECIAL_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: [&str; 12] = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "198.20.0.0",
        "223.255.255.255",
        "169.253.0.1",
    ];

    const NOT_PUBLIC: [&str; 26] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
    ];

    fn is(text: &str) -> bool {
        is_public(text.parse().unwrap_or_else(|_| panic!("{text} is an address")))
    }

    #[test]
    fn ipv4_addresses_are_public_or_not() {
        for address in PUBLIC {
            assert!(is(address), "{address}");
        }
        for address in NOT_PUBLIC {
            assert!(!is(address), "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_within_an_ipv6_one_is_judged_as_itself() {
        let forms = |v4: &str| [format!("::ffff:{v4}"), format!("64:ff9b::{v4}")];
        for address in PUBLIC {
            assert!(forms(address).iter().all(|form| is(form)), "{address}");
        }
        for address in NOT_PUBLIC {
            assert!(forms(address).iter().all(|form| !is(form)), "{address}");
        }
        // Forms that nothing routes are refused, whatever they carry.
        for address in ["::1.1.1.1", "::ffff:0:1.1.1.1", "64:ff9b:1::1.1.1.1", "2002:101:101::1", "2001:0:101:101::1"] {
            assert!(!is(address), "{address}");
        }
    }

    #[test]
    fn ipv6_addresses_are_public_or_not() {
        for address in ["2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00::1", "2003::1", "3ffe::1"]
        {
            assert!(is(address), "{address}");
        }
        for address in [
            "::",
            "::1",
            "100::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001:1::1",
            "2001:10::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "64:ff9c::1",
        ] {
            assert!(!is(address), "{address}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_mapped_form_of_an_address_is_as_public_as_itself(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            proptest::prop_assert_eq!(is_public(v4.into()), is_public(v4.to_ipv6_mapped().into()));
        }

        #[test]
        fn what_the_standard_library_knows_as_local_is_never_public(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            let is_local = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_unspecified() || v4.is_documentation();
            proptest::prop_assert!(!(is_local && is_public(v4.into())), "{}", v4);
            let v6 = Ipv6Addr::from_bits(wide);
            let is_local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast();
            proptest::prop_assert!(!(is_local && is_public(v6.into())), "{}", v6);
        }
    }
}
