//! `Strict-Transport-Security`: told over TLS only, as browsers heed it there only.

use http::HeaderValue;

use crate::app::Hsts;

/// The header, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct HstsHeader {
    value: HeaderValue,
    excluded_hosts: Vec<String>,
}

impl HstsHeader {
    pub(super) fn new(hsts: &Hsts) -> Self {
        let mut value = format!("max-age={}", hsts.max_age.as_secs());
        if hsts.include_sub_domains {
            value.push_str("; includeSubDomains");
        }
        if hsts.preload {
            value.push_str("; preload");
        }
        let value = HeaderValue::try_from(value).expect("a number and words can stand in a header");
        Self { value, excluded_hosts: hsts.excluded_hosts.clone() }
    }

    /// The header for a request to `host` (a name or an address in brackets, without a port), if it is told.
    pub(super) fn for_host(&self, host: &str) -> Option<&HeaderValue> {
        let is_excluded = self.excluded_hosts.iter().any(|excluded| excluded.eq_ignore_ascii_case(host));
        (!is_excluded).then_some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_says_what_is_configured_and_not_to_everybody() {
        let hsts = Hsts {
            max_age: Duration::from_hours(24),
            include_sub_domains: true,
            preload: true,
            excluded_hosts: vec!["localhost".into(), "[::1]".into()],
        };
        let header = HstsHeader::new(&hsts);
        assert_eq!(header.for_host("example.org").unwrap(), "max-age=86400; includeSubDomains; preload");
        assert!(header.for_host("LOCALHOST").is_none() && header.for_host("[::1]").is_none());
    }
}
