//! Which of the host's own pages a method and a path ask for.

use http::Method;
use percent_encoding::percent_decode_str;

/// A page below `/admin`, with what its path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Page {
    /// Whether the host answers.
    Ping,
    /// What the host is.
    Status,
    /// Every function.
    Functions,
    /// One function.
    Function(String),
    /// Run a function.
    Invoke(String),
    /// The host's keys, or the system's.
    HostKeys {
        /// `keys`, `functionkeys` or `systemkeys`.
        kind: String,
        /// One of them; none lists them.
        key: Option<String>,
    },
    /// One function's keys.
    FunctionKeys {
        /// The function.
        function: String,
        /// One of them; none lists them.
        key: Option<String>,
    },
}

impl Page {
    /// Reads a method and the path below `/admin`, still percent-encoded. Literals compare without regard to case; one slash
    /// at the end means nothing. None if nothing is served there.
    pub(in crate::server) fn parse(method: &Method, tail: &str) -> Option<Self> {
        let tail = tail.strip_prefix('/').unwrap_or(tail);
        let tail = tail.strip_suffix('/').unwrap_or(tail);
        let decode = |segment: &str| Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
        let segments: Vec<String> = tail.split('/').map(decode).collect::<Option<_>>()?;
        let words: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_read = method == Method::GET || method == Method::POST;
        match *words.as_slice() {
            ["host", "ping"] if is_read => Some(Self::Ping),
            ["host", "status"] if is_read => Some(Self::Status),
            ["host", kind @ ("keys" | "functionkeys" | "systemkeys"), ..] => {
                let key = key(method, &segments[2..])?;
                Some(Self::HostKeys { kind: kind.to_owned(), key })
            }
            ["functions"] if method == Method::GET => Some(Self::Functions),
            ["functions", _] if method == Method::GET => Some(Self::Function(segments[1].clone())),
            ["functions", _] if method == Method::POST => Some(Self::Invoke(segments[1].clone())),
            ["functions", _, "keys", ..] => {
                let key = key(method, &segments[3..])?;
                Some(Self::FunctionKeys { function: segments[1].clone(), key })
            }
            _ => None,
        }
    }
}

/// The key that the end of a path names; none inside for all of them.
fn key(method: &Method, rest: &[String]) -> Option<Option<String>> {
    match rest {
        [] => (method == Method::GET).then_some(None),
        [key] => [Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method).then(|| Some(key.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_whatever_their_case_and_names_keep_theirs() {
        let page = |request: &str| {
            let (method, tail) = request.split_once(' ').unwrap();
            Page::parse(&method.parse().unwrap(), tail)
        };
        assert_eq!(page("POST /Host/PING/"), Some(Page::Ping));
        assert_eq!(page("GET /functions/My%20F"), Some(Page::Function("My F".into())));
        let keys = Page::HostKeys { kind: "systemkeys".into(), key: Some("A".into()) };
        assert_eq!(page("PUT /host/SystemKeys/A"), Some(keys));
        assert_eq!(page("GET /functions/F/keys"), Some(Page::FunctionKeys { function: "F".into(), key: None }));
        for nothing in ["PUT /host/ping", "POST /host/keys", "GET /host/keys/a/b", "GET /", "GET /functions/%ff"] {
            assert_eq!(page(nothing), None, "{nothing}");
        }
    }
}
