//! What a host that is put on a network needs: which pages may call it (CORS), that browsers stay with TLS (HSTS), and the
//! certificate of TLS.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use crate::app::diagnostic::{Code, Problem, Report};
use crate::app::time_span;

/// Which web pages of other sites may call functions, and read the answers. They may never call anything else of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// The origins, such as `https://example.org`, in lower case and without a slash at the end; none is all of them (`*`).
    pub origins: Option<Vec<String>>,
    /// Pages may send what the browser knows of the user, such as cookies.
    pub credentials: bool,
}

impl Cors {
    /// Reads a list of origins, parted by commas or listed.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub(in crate::app) fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        credentials: bool,
    ) -> Result<Option<Self>, String> {
        let mut origins = Vec::new();
        let mut any = false;
        for text in texts.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
            if text == "*" {
                any = true;
            } else {
                origins.push(origin(text)?);
            }
        }
        if any && credentials {
            return Err(
                "'*' and credentials do not go together: with them every page could act as its visitors; name \
                        the origins"
                    .to_owned(),
            );
        }
        let is_some = any || !origins.is_empty();
        Ok(is_some.then(|| Self { origins: (!any).then_some(origins), credentials }))
    }

    /// True if pages of this origin (as a browser sends it) may call functions.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.iter().any(|own| own.eq_ignore_ascii_case(origin)))
    }
}

fn origin(text: &str) -> Result<String, String> {
    let plain = text.trim_end_matches('/').to_ascii_lowercase();
    let uri: Option<http::Uri> = plain.parse().ok();
    let is_origin = uri.is_some_and(|uri| {
        uri.scheme().is_some()
            && uri.path().trim_matches('/').is_empty()
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains(['@', '*']))
    });
    if is_origin {
        return Ok(plain);
    }
    Err(format!(
        "'{text}' is no origin: write scheme and host, and the port if there is one, as in https://example.org, or *"
    ))
}

/// `Strict-Transport-Security`: browsers come back by TLS only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// For how long. Default 30 days.
    pub max_age: Duration,
    /// Also to names below this host's.
    pub include_sub_domains: bool,
    /// Browsers may have it built in.
    pub preload: bool,
    /// Names that are not told. Default `localhost`, `127.0.0.1` and `[::1]`.
    pub excluded_hosts: Vec<String>,
}

/// The files of TLS: PEM, each below the app's folder if it is a relative path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// The host's certificate, then those that lead to a root.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// What is not told of TLS, by default: a developer's own machine.
const EXCLUDED_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Default for Hsts {
    fn default() -> Self {
        Hsts {
            max_age: Duration::from_hours(30 * 24),
            include_sub_domains: false,
            preload: false,
            excluded_hosts: EXCLUDED_HOSTS.map(str::to_owned).into(),
        }
    }
}

pub(super) fn read_hsts(http: &Section<'_>, report: &mut Report) -> Option<Hsts> {
    let section = http.section("hsts", report);
    let is_enabled = report.keep_or(false, section.bool("isEnabled", false));
    let default = Hsts::default();
    let max_age = section.value("maxAge").map(|node| {
        let age = node.scalar_text().and_then(|text| time_span::parse(&text));
        age.ok_or_else(|| section.invalid("maxAge", "a duration as d.hh:mm:ss", node))
    });
    let hsts = Hsts {
        max_age: max_age.and_then(|age| report.keep(age)).unwrap_or(default.max_age),
        include_sub_domains: report.keep_or(false, section.bool("includeSubDomains", false)),
        preload: report.keep_or(false, section.bool("preload", false)),
        excluded_hosts: report.keep_or(None, section.strings("excludedHosts")).unwrap_or(default.excluded_hosts),
    };
    is_enabled.then_some(hsts)
}

pub(super) fn read_cors(soloist: &Section<'_>, report: &mut Report) -> Option<Cors> {
    const KEY: &str = "allowedOrigins";
    let section = soloist.section("cors", report);
    let credentials = report.keep_or(false, section.bool("supportCredentials", false));
    let node = section.value(KEY)?;
    let texts = report.keep_or(None, section.strings(KEY)).unwrap_or_default();
    let cors = Cors::parse(texts.iter().map(String::as_str), credentials).map_err(|reason| {
        let message = format!("host.json: {}: {reason}", section.path_of(KEY));
        Problem::new(Code::HostJsonValue, message, node.origin())
    });
    report.keep(cors).flatten()
}

pub(super) fn read_tls(soloist: &Section<'_>, report: &mut Report) -> Option<TlsOptions> {
    let section = soloist.section("tls", report);
    let mut file = |key| report.keep_or(None, section.string(key)).filter(|(text, _)| !text.is_empty());
    let (found, missing, help) = match (file("certificateFile"), file("keyFile")) {
        (None, None) => return None,
        (Some((certificate, _)), Some((key, _))) => {
            return Some(TlsOptions { certificate_file: certificate.into(), key_file: key.into() });
        }
        (Some((_, node)), None) => (node, "keyFile", "name the key of certificateFile"),
        (None, Some((_, node))) => (node, "certificateFile", "name the certificate of keyFile"),
    };
    let message = format!("host.json: {} is missing", section.path_of(missing));
    report.note(Problem::new(Code::HostJsonValue, message, found.origin()).help(help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_send_them() {
        let cors = Cors::parse(["https://Example.org/, http://localhost:3000"], true).unwrap().unwrap();
        assert!(cors.allows("https://example.org") && cors.allows("http://localhost:3000"));
        for origin in ["http://example.org", "https://example.org:8443", "https://a.example.org", "null", "", "*"] {
            assert!(!cors.allows(origin), "{origin}");
        }
        assert!(Cors::parse(["*"], false).unwrap().unwrap().allows("null"));
        assert_eq!(Cors::parse([" , "], true), Ok(None));
    }

    #[test]
    fn what_is_no_origin_is_refused_with_the_remedy() {
        for text in ["example.org", "https://example.org/path", "https://*.example.org", "https://u@h", "null"] {
            let reason = Cors::parse([text], false).unwrap_err();
            assert!(reason.contains(text) && reason.contains("https://example.org"), "{reason}");
        }
        assert!(Cors::parse(["*"], true).unwrap_err().contains("do not go together"));
    }
}
