//! The management API's second path: for clients that this host hands a URL to, as the original does with its second listener.

use std::{fmt, sync::Arc};

use super::connection::Reception;
use super::links::Origin;

/// Under this path nothing of an app is served.
const BASE: &str = "/runtime/rpc/";
const END: &str = "/durabletask";

/// The path under which the API is served without a key. Whoever knows it may do everything, for as long as the process lives.
#[derive(Clone)]
pub struct RpcSecret(Arc<str>);

impl RpcSecret {
    /// A path that has this secret in it: random hexadecimal digits, made afresh for every process.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// The digits, for who keeps them out of the log.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The URL of the API for a client that reaches this host by this way. Ends with `/`: clients append to it.
    pub(super) fn base_url(&self, reception: Reception) -> String {
        format!("{}{BASE}{}{END}/", Origin::of_reception(reception), self.0)
    }

    /// The rest of a path below this one, still percent-encoded.
    pub(super) fn tail<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (secret, rest) = path.strip_prefix(BASE)?.split_once('/')?;
        let (end, tail) = rest.split_at_checked(END.len() - 1)?;
        let is_api = end == &END[1..] && (tail.is_empty() || tail.starts_with('/'));
        (self.is(secret) && is_api).then_some(tail)
    }

    /// Takes as long for every text of the secret's length, so that nobody finds it digit by digit.
    fn is(&self, text: &str) -> bool {
        let (own, text) = (self.0.as_bytes(), text.as_bytes());
        let differs = own.iter().zip(text).fold(0, |differs, (own, byte)| differs | (own ^ byte));
        own.len() == text.len() && std::hint::black_box(differs) == 0
    }
}

/// Never the secret.
impl fmt::Debug for RpcSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpcSecret(…)")
    }
}

/// A path as the log may have it: without the secret, however the rest of it is written.
pub(super) fn shown(path: &str) -> &str {
    let plain = path.trim_start_matches('/').as_bytes();
    let base = &BASE.as_bytes()[1..];
    let is_below = plain.get(..base.len()).is_some_and(|head| head.eq_ignore_ascii_case(base));
    if is_below { BASE } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_opens_the_path() {
        let secret = RpcSecret::new("0a1b");
        assert_eq!(
            secret.base_url(Reception { local: "127.0.0.1:81".parse().unwrap(), is_tls: false }),
            "http://127.0.0.1:81/runtime/rpc/0a1b/durabletask/"
        );
        assert_eq!(secret.tail("/runtime/rpc/0a1b/durabletask/instances/a%20b"), Some("/instances/a%20b"));
        assert_eq!(secret.tail("/runtime/rpc/0a1b/durabletask"), Some(""));
        for path in [
            "/runtime/rpc/0a1b",
            "/runtime/rpc/0a1b/",
            "/runtime/rpc/0a1b/durabletasks",
            "/runtime/rpc/0a1/durabletask/x",
            "/runtime/rpc/0a1bc/durabletask/x",
            "/runtime/rpc//durabletask/x",
            "/runtime/rpc/0a1c/durabletask/x",
            "/0a1b/durabletask/x",
        ] {
            assert_eq!(secret.tail(path), None, "{path}");
        }
        assert_eq!(format!("{secret:?}"), "RpcSecret(…)");
        assert_eq!(shown("/runtime/rpc/0a1b/durabletask/"), "/runtime/rpc/");
        for path in ["/RUNTIME/Rpc/0a1b/durabletask/", "//runtime/rpc/0a1b", "runtime/rpc/0a1b"] {
            assert_eq!(shown(path), "/runtime/rpc/", "{path}");
        }
        assert_eq!(shown("/runtime/webhooks"), "/runtime/webhooks");
    }
}
