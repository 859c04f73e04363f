//! Who is at the door: under which name the request was sent, from which web page, and with which key.
//!
//! A browser sends what a page tells it to, to whatever address a name has at the moment. So a page could drive a host that
//! only its own machine reaches: by a name of the page's that is made to mean the loopback address, or by a form that is sent
//! across sites. Both show: the one in `Host`, the other in `Origin` and `Sec-Fetch-Site`.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, Uri, header, request, uri::Authority};

use super::error::ApiError;
use super::query::Query;
use crate::app::AllowedHost;

/// Where a key may be, and counts first.
pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("x-functions-key");
/// Where a key may be, too; and a link's signature.
pub(super) const KEY_PARAMETER: &str = "code";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which names and which pages are let in.
#[derive(Clone, Debug)]
pub(super) struct Door {
    allowed: Vec<AllowedHost>,
    /// No keys are asked for: then what a page can send without being asked matters for reads as well.
    keyless: bool,
}

impl Door {
    pub(super) fn new(allowed: Vec<AllowedHost>, keyless: bool) -> Self {
        Self { allowed, keyless }
    }

    /// Lets a request in that came in by the address `local`. `is_allowed_page`: it is for a function, from a page that may
    /// call functions.
    ///
    /// # Errors
    /// 421 for a name that this host is not known by, 403 for a page of another site.
    pub(super) fn check(
        &self,
        parts: &request::Parts,
        local: SocketAddr,
        is_allowed_page: bool,
    ) -> Result<(), ApiError> {
        let named = [
            parts.uri.authority().map(|authority| host_of(authority.as_str())),
            parts.headers.get(header::HOST).map(|host| host.to_str().ok().and_then(host_of)),
        ];
        if named.into_iter().flatten().any(|host| !host.is_some_and(|host| self.allows(host, local))) {
            return Err(ApiError::misdirected());
        }
        if !is_allowed_page && self.is_foreign_page(parts, local) { Err(ApiError::foreign_page()) } else { Ok(()) }
    }

    fn is_foreign_page(&self, parts: &request::Parts, local: SocketAddr) -> bool {
        let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let from_elsewhere = parts.headers.get_all(header::ORIGIN).iter().any(|origin| {
            let page = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
            let host = page.as_ref().filter(|page| is_web(page)).and_then(|page| host_of(page.authority()?.as_str()));
            !host.is_some_and(|host| self.allows(host, local))
        });
        // Where keys are asked for a link in a mail or a page may be followed: it has one.
        let is_cross_site = || parts.headers.get_all(FETCH_SITE).iter().any(|site| site == "cross-site");
        let is_any_allowed = self.allowed.contains(&AllowedHost::Any);
        (from_elsewhere && (changes || self.keyless)) || (self.keyless && !is_any_allowed && is_cross_site())
    }

    fn allows(&self, host: &str, local: SocketAddr) -> bool {
        let plain = host.strip_suffix('.').unwrap_or(host);
        let is_own = match plain.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || address == local.ip().to_canonical()
            }
            // A name below `localhost` is loopback everywhere, and nobody's to register.
            Err(_) => plain.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost")),
        };
        is_own || self.allowed.iter().any(|allowed| allowed.allows(plain))
    }
}

fn is_web(page: &Uri) -> bool {
    page.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https")
}

/// The host of `host[:port]`, without brackets.
fn host_of(authority: &str) -> Option<&str> {
    let parsed: Authority = authority.parse().ok()?;
    if parsed.as_str().contains('@') || parsed.host().is_empty() {
        return None;
    }
    let host = &authority[..parsed.host().len()];
    Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

/// What a request shows to be let in. Its `Debug` form tells nothing of it.
pub(super) enum Presented {
    /// Nothing.
    Nothing,
    /// A key, or a signature.
    Key(String),
    /// Several keys, or one that is no text: nobody can say which counts.
    Unclear,
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Key(_) => "Key(…)",
            Self::Unclear => "Unclear",
        })
    }
}

impl Presented {
    /// The header's, if there is one, whatever it holds; else the query's.
    pub(super) fn by(parts: &request::Parts) -> Self {
        if let Some(presented) = in_header(&parts.headers) {
            return presented;
        }
        let query = parts.uri.query().map(Query::parse).unwrap_or_default();
        let mut codes = query.all(KEY_PARAMETER);
        match (codes.next(), codes.next()) {
            (None, _) => Self::Nothing,
            (Some(code), None) => Self::Key(code.to_owned()),
            (Some(_), Some(_)) => Self::Unclear,
        }
    }

    /// The one key that was shown.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Nothing | Self::Unclear => None,
        }
    }
}

fn in_header(headers: &HeaderMap) -> Option<Presented> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let first = values.next()?;
    Some(match (first.to_str(), values.next()) {
        (Ok(key), None) => Presented::Key(key.to_owned()),
        _ => Presented::Unclear,
    })
}

/// Takes the key out of what a function will see of its request: it has no use for it, and could give it away.
pub(super) fn without_key(parts: &mut request::Parts) {
    if parts.headers.remove(KEY_HEADER).is_some() {
        return;
    }
    let Some(query) = parts.uri.query() else { return };
    let is_code = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        percent_encoding::percent_decode_str(name).decode_utf8_lossy().eq_ignore_ascii_case(KEY_PARAMETER)
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_code(pair)).collect();
    let path = parts.uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = target.parse().ok();
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn request(method: &str, target: &str, headers: &[(&str, &[u8])]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(door: &Door, method: &str, headers: &[(&str, &str)]) -> u16 {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let checked = door.check(&request(method, "/x", &headers), "192.0.2.7:7071".parse().unwrap(), false);
        checked.map_or_else(|error| error.into_reply().status().as_u16(), |()| 200)
    }

    fn door(allowed: &[&str], keyless: bool) -> Door {
        Door::new(allowed.iter().map(|host| host.parse().unwrap()).collect(), keyless)
    }

    #[test]
    fn only_known_names_are_let_in() {
        let strict = door(&[], false);
        for host in
            ["localhost", "LOCALHOST:1", "a.localhost", "127.0.0.1:7071", "127.9.9.9", "[::1]:7071", "192.0.2.7"]
        {
            assert_eq!(check(&strict, "GET", &[("host", host)]), 200, "{host}");
        }
        let foreign =
            ["evil.test", "localhost.evil.test", "notlocalhost", "192.0.2.8", "[::2]", "127.1", "0x7f.1", "", "a b"];
        for host in foreign.into_iter().chain(["user@localhost", "localhost@evil.test", ":80", "localhost\u{e9}"]) {
            assert_eq!(check(&strict, "GET", &[("host", host)]), 421, "{host}");
        }
        let open = door(&["example.org"], false);
        assert_eq!(check(&open, "GET", &[("host", "example.org:443")]), 200);
        assert_eq!(check(&open, "GET", &[("host", "www.example.org")]), 421);
        let absolute = request("GET", "http://evil.test/x", &[("host", b"localhost")]);
        assert!(strict.check(&absolute, "127.0.0.1:7071".parse().unwrap(), true).is_err());
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let own = ["http://localhost:3000", "https://127.0.0.1", "http://192.0.2.7:7071", "http://pages.test"];
        let foreign =
            ["http://evil.test", "null", "", "file://", "http://localhost.evil.test", "chrome-extension://localhost"];
        for keyless in [false, true] {
            let door = door(&["pages.test"], keyless);
            let ask = |method, origin| check(&door, method, &[("host", "localhost"), ("origin", origin)]);
            for origin in own {
                assert_eq!((ask("POST", origin), ask("GET", origin)), (200, 200), "{origin}");
            }
            for origin in foreign {
                let read = if keyless { 403 } else { 200 };
                assert_eq!(
                    (ask("POST", origin), ask("DELETE", origin), ask("GET", origin)),
                    (403, 403, read),
                    "{origin}"
                );
            }
            let followed = check(&door, "GET", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
            assert_eq!(followed, if keyless { 403 } else { 200 });
            assert_eq!(check(&door, "GET", &[("host", "localhost"), ("sec-fetch-site", "none")]), 200);
            let both = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.test")];
            assert_eq!(check(&door, "POST", &both), 403);
        }
        assert_eq!(check(&door(&["*"], true), "POST", &[("host", "x"), ("origin", "http://evil.test")]), 200);
    }

    #[test]
    fn the_header_counts_before_the_query_and_two_keys_are_none() {
        let by = |target: &str, headers: &[(&str, &[u8])]| {
            format!("{:?}", Presented::by(&request("GET", target, headers)).key())
        };
        assert_eq!(by("/x", &[]), "None");
        assert_eq!(by("/x?code=a%2Bb", &[]), r#"Some("a+b")"#);
        assert_eq!(by("/x?CODE=q", &[("x-functions-key", b"h")]), r#"Some("h")"#);
        assert_eq!(by("/x?code=q", &[("x-functions-key", b"")]), r#"Some("")"#);
        for (target, headers) in [
            ("/x?code=q", &[("x-functions-key", &b"\xff"[..])][..]),
            ("/x?code=q", &[("x-functions-key", b"a"), ("x-functions-key", b"a")]),
            ("/x?code=q&code=q", &[]),
            ("/x?code=q&Code=r", &[]),
        ] {
            assert_eq!(by(target, headers), "None", "{target}");
        }
        assert_eq!(by("/x?code=%ff", &[]), "Some(\"\u{fffd}\")");
    }

    #[test]
    fn a_function_does_not_see_the_key() {
        let seen = |target: &str, headers: &[(&str, &[u8])]| {
            let mut parts = request("GET", target, headers);
            without_key(&mut parts);
            (parts.uri.to_string(), parts.headers.contains_key(KEY_HEADER))
        };
        assert_eq!(seen("/x?a=1&code=k&b=%20", &[]), ("/x?a=1&b=%20".into(), false));
        assert_eq!(seen("/x?c%6Fde=k", &[]), ("/x".into(), false));
        assert_eq!(seen("http://h:1/x?Code", &[]), ("http://h:1/x".into(), false));
        // The query's is not a key then.
        assert_eq!(seen("/x?code=q", &[("x-functions-key", b"k")]), ("/x?code=q".into(), false));
    }
}
