//! `extensions.soloist.outboundAllow`: destinations that functions may reach although they are not public.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// One destination that functions may send requests to: an address, a range of addresses, a host's name, or any; with or
/// without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRule {
    target: Target,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// `*`
    Any,
    /// An address, or a range such as `10.0.0.0/8`. IPv4 addresses that are written as IPv6 are IPv4 here.
    Range { first: IpAddr, prefix_bits: u8 },
    /// A name, in lower case: allows whatever addresses it has.
    Name(String),
}

impl OutboundRule {
    /// True if the rule lets a request for `host` (as the URL names it) connect to `address` (what the name resolved to).
    pub fn allows(&self, host: &str, address: SocketAddr) -> bool {
        if self.port.is_some_and(|port| port != address.port()) {
            return false;
        }
        match &self.target {
            Target::Any => true,
            Target::Range { first, prefix_bits } => covers(*first, *prefix_bits, address.ip().to_canonical()),
            Target::Name(name) => host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(name),
        }
    }
}

/// True if both addresses are of one family and their first bits are the same.
fn covers(first: IpAddr, prefix_bits: u8, address: IpAddr) -> bool {
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let ignored = 32 - u32::from(prefix_bits);
            (first.to_bits() ^ address.to_bits()).checked_shr(ignored).unwrap_or(0) == 0
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let ignored = 128 - u32::from(prefix_bits);
            (first.to_bits() ^ address.to_bits()).checked_shr(ignored).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl FromStr for OutboundRule {
    /// What is wrong with the text.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, port) = split_port(text)?;
        Ok(Self { target: parse_target(target)?, port })
    }
}

/// Parts `host:port`, `[v6]:port` and their forms without port. A bare IPv6 address or range has no port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(format!("'{port}' is no port: it must be a number from 1 to 65535")),
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (target, after) = rest.split_once(']').ok_or("the closing ']' is missing")?;
        if !target.contains(':') {
            return Err("only IPv6 addresses stand in brackets".to_owned());
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((target, number(port)?)),
            None if after.is_empty() => Ok((target, None)),
            None => Err(format!("'{after}' after ']' is no port")),
        };
    }
    match text.split_once(':') {
        Some((target, port)) if !port.contains(':') => Ok((target, number(port)?)),
        Some(_) | None => Ok((text, None)),
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text == "*" {
        return Ok(Target::Any);
    }
    if let Some((address, prefix)) = text.split_once('/') {
        let first: IpAddr = address.parse().map_err(|_| format!("'{address}' is no IP address"))?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits: u8 = prefix
            .parse()
            .ok()
            .filter(|bits| *bits <= width)
            .ok_or_else(|| format!("'/{prefix}' is no prefix length: it must be from 0 to {width}"))?;
        let network = network(first, prefix_bits);
        if network != first {
            return Err(format!("the address lies within the range, which begins at {network}/{prefix_bits}"));
        }
        return Ok(unmapped(first, prefix_bits));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(unmapped(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let looks_numeric = name.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if name.len() > 253 || looks_numeric || !name.split('.').all(is_label) {
        return Err(format!("'{text}' is neither an IP address nor a host name"));
    }
    Ok(Target::Name(name.to_ascii_lowercase()))
}

/// The first address of the range that `address` lies in.
fn network(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: addresses are compared in their canonical form.
fn unmapped(first: IpAddr, prefix_bits: u8) -> Target {
    match (first, first.to_canonical()) {
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix_bits >= 96 => {
            Target::Range { first: v4, prefix_bits: prefix_bits - 96 }
        }
        _ => Target::Range { first, prefix_bits },
    }
}

impl fmt::Display for OutboundRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match &self.target {
            Target::Any => "*".to_owned(),
            Target::Name(name) => name.clone(),
            Target::Range { first: IpAddr::V4(first), prefix_bits: 32 } => first.to_string(),
            Target::Range { first: IpAddr::V6(first), prefix_bits: 128 } => first.to_string(),
            Target::Range { first, prefix_bits } => format!("{first}/{prefix_bits}"),
        };
        match self.port {
            Some(port) if target.contains(':') => write!(f, "[{target}]:{port}"),
            Some(port) => write!(f, "{target}:{port}"),
            None => f.write_str(&target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> OutboundRule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn rules_allow_what_they_name_and_nothing_else() {
        for (text, host, address, expected) in [
            ("*", "x", "127.0.0.1:1", true),
            ("*:8080", "x", "127.0.0.1:8080", true),
            ("*:8080", "x", "127.0.0.1:80", false),
            ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "localhost", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1:8081", false),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2:80", false),
            ("127.0.0.1", "x", "[::ffff:127.0.0.1]:80", true),
            ("10.0.0.0/8", "x", "10.255.255.255:1", true),
            ("10.0.0.0/8", "x", "11.0.0.0:1", false),
            ("10.0.0.0/8:443", "x", "10.1.2.3:443", true),
            ("10.0.0.0/8:443", "x", "10.1.2.3:80", false),
            ("::ffff:10.0.0.0/104", "x", "10.1.2.3:80", true),
            ("0.0.0.0/0", "x", "169.254.169.254:80", true),
            ("0.0.0.0/0", "x", "[::1]:80", false),
            ("::/0", "x", "[::1]:80", true),
            ("::/0", "x", "127.0.0.1:80", false),
            ("::1", "x", "[::1]:80", true),
            ("[::1]:81", "x", "[::1]:81", true),
            ("[::1]:81", "x", "[::1]:80", false),
            ("[fd00::/8]:443", "x", "[fdab::1]:443", true),
            ("fd00::/8", "x", "[fc00::1]:443", false),
            ("Internal.Example:443", "internal.example", "10.0.0.1:443", true),
            ("internal.example", "INTERNAL.example.", "10.0.0.1:99", true),
            ("internal.example", "evil.internal.example", "10.0.0.1:443", false),
            ("localhost", "127.0.0.1", "127.0.0.1:80", false),
        ] {
            assert_eq!(rule(text).allows(host, address.parse().unwrap()), expected, "{text} {host} {address}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "neither an IP address nor a host name"),
            ("10.0.0.1/8", "begins at 10.0.0.0/8"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("fd00::/129", "from 0 to 128"),
            ("10.0.0/8", "no IP address"),
            ("10.0.0.256", "neither"),
            ("host:0", "no port"),
            ("host:70000", "no port"),
            ("host:", "no port"),
            ("http://host", "no port"),
            ("*.example", "neither"),
            ("[::1", "']' is missing"),
            ("[10.0.0.1]:80", "only IPv6"),
            ("[::1]80", "no port"),
            ("a b", "neither"),
        ] {
            let error = text.parse::<OutboundRule>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in
            ["*", "*:80", "127.0.0.1", "10.0.0.0/8:443", "::1", "[::1]:81", "[fd00::/8]:443", "internal.example:443"]
        {
            assert_eq!(rule(text).to_string(), text);
        }
    }
}
