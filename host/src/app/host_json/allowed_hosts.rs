//! `extensions.soloist.allowedHosts`: names under which a host may be reached, beside loopback and its own address.

use std::{fmt, net::IpAddr, str::FromStr};

/// A name under which a host may be reached: `example.org`, every name below one (`*.example.org`), an address, or any (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// `*`
    Any,
    /// An address. IPv4 addresses that are written as IPv6 are IPv4 here.
    Address(IpAddr),
    /// A name, in lower case.
    Name(String),
    /// Names below this one, which is in lower case.
    Below(String),
}

impl AllowedHost {
    /// Whether it is this host: a name or an address, without port and brackets.
    pub fn allows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Address(address) => host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == *address),
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(name) => {
                let below = host.len().checked_sub(name.len()).and_then(|at| host.split_at_checked(at));
                below.is_some_and(|(label, tail)| {
                    label.len() > 1 && label.ends_with('.') && tail.eq_ignore_ascii_case(name)
                })
            }
        }
    }
}

impl FromStr for AllowedHost {
    /// What is wrong with the text.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(format!("'{text}' is neither a host name nor an IP address"));
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_says_and_no_more() {
        for (rule, host, allowed) in [
            ("*", "anything", true),
            ("example.org", "EXAMPLE.org.", true),
            ("example.org", "www.example.org", false),
            ("example.org", "example.org.evil.test", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "evilexample.org", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("2001:db8::1", "2001:DB8:0::1", true),
        ] {
            let rule: AllowedHost = rule.parse().unwrap();
            assert_eq!(rule.allows(host), allowed, "{rule} {host}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_rule() {
        for wrong in ["", "*.", "**", "http://a", "a:80", "a b", "a/b", "[::1]", "a..b", "\u{fc}.de", "*.*.org"] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong}");
        }
    }
}
