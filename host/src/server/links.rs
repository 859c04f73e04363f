//! Where this host is reached, and the links that an instance is managed by.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::access::KEY_PARAMETER;
use super::connection::Reception;
use super::json_text::JsonObject;
use super::keys::{KeyValue, LinkSigner, Verb};
use crate::hub::Creation;

/// The path under which the management API is served.
pub const MANAGEMENT_PATH: &str = "/runtime/webhooks/durabletask";

/// The path under which version 1 of the original served it: an alias.
pub(super) const V1_MANAGEMENT_PATH: &str = "/admin/extensions/DurableTaskExtension";

/// What may stand in a path segment or a query value as it is: RFC 3986's unreserved characters.
pub(super) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Scheme and authority under which a caller reached this host, for example `http://localhost:7071`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The origin of an address: for callers that gave none. "Every address" is reached as `localhost`.
    pub fn of_address(address: SocketAddr) -> Self {
        if address.ip().is_unspecified() {
            return Self(format!("http://localhost:{}", address.port()).into());
        }
        Self(format!("http://{address}").into())
    }

    /// The origin of the address that a request came in by.
    pub(super) fn of_reception(reception: Reception) -> Self {
        let plain = Self::of_address(reception.local);
        if !reception.is_tls {
            return plain;
        }
        Self(plain.0.replacen("http:", "https:", 1).into())
    }

    /// The text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin that a request names: in its target, else in its `Host`, else the address that it came in by. With
    /// `forwarded`, a proxy's `X-Forwarded-Host` and `X-Forwarded-Proto` go first. What is no host name is passed over.
    pub(super) fn of_request(uri: &Uri, headers: &HeaderMap, reception: Reception, forwarded: bool) -> Self {
        let first = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.split(',').next().unwrap_or(value).trim().to_owned())
        };
        let forwarded = |name: &str| forwarded.then(|| first(name)).flatten();
        let is_https =
            forwarded("x-forwarded-proto").map_or(reception.is_tls, |proto| proto.eq_ignore_ascii_case("https"));
        let scheme = if is_https { "https" } else { "http" };
        if let Some(host) = forwarded("x-forwarded-host").as_deref().and_then(host_name) {
            return Self(format!("{scheme}://{host}").into());
        }
        let named = uri
            .authority()
            .and_then(|authority| host_name(authority.as_str()))
            .or_else(|| headers.get(header::HOST).map(HeaderValue::to_str)?.ok().and_then(host_name));
        named.map_or_else(|| Self::of_reception(reception), |host| Self(format!("{scheme}://{host}").into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text, if it is a host with an optional port and can stand in a link.
fn host_name(text: &str) -> Option<&str> {
    let authority: Authority = text.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    // 253 is the longest host name; 6 more are a colon and a port.
    let is_host = !authority.host().is_empty() && text.len() <= 259 && text.bytes().all(plain);
    is_host.then_some(text)
}

/// Makes the links by which instances are managed.
#[derive(Clone, Debug)]
pub struct ManagementUrls {
    base: String,
    query: String,
    signer: Option<LinkSigner>,
}

impl ManagementUrls {
    /// Links below `origin` that name the task hub `hub`. Without a signer no keys are asked for, and the links have none.
    pub fn new(origin: &Origin, hub: &str, signer: Option<LinkSigner>) -> Self {
        Self {
            signer,
            base: format!("{origin}{MANAGEMENT_PATH}"),
            query: format!("taskHub={}&connection=Storage", utf8_percent_encode(hub, ESCAPED)),
        }
    }

    /// These links with a key in each, which opens more than the instance that they name.
    #[must_use]
    pub(super) fn with_key(self, key: Option<&KeyValue>) -> Self {
        let Some(key) = key else { return self };
        let key = utf8_percent_encode(key.reveal(), ESCAPED);
        Self { query: format!("{}&{KEY_PARAMETER}={key}", self.query), ..self }
    }

    /// What every link's query has.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    /// The links of one instance, each with the right to do what it is for, for as long as this start of it lasts. Those of an
    /// instance that does not exist carry none.
    pub fn for_instance(&self, id: &str, creation: Option<Creation>) -> InstanceUrls {
        let code = |verb| {
            let signed = self.signer.as_ref().zip(creation).map(|(signer, creation)| signer.code(id, creation, verb));
            signed.map_or_else(String::new, |code| format!("&{KEY_PARAMETER}={code}"))
        };
        let Self { base, query, signer: _ } = self;
        let instance = format!("{base}/instances/{}", utf8_percent_encode(id, ESCAPED));
        InstanceUrls {
            id: id.to_owned(),
            status_query_get_uri: format!("{instance}?{query}{}", code(Verb::Status)),
            send_event_post_uri: format!("{instance}/raiseEvent/{{eventName}}?{query}{}", code(Verb::RaiseEvent)),
            terminate_post_uri: format!("{instance}/terminate?reason={{text}}&{query}{}", code(Verb::Terminate)),
            rewind_post_uri: format!("{instance}/rewind?reason={{text}}&{query}{}", code(Verb::Rewind)),
            purge_history_delete_uri: format!("{instance}?{query}{}", code(Verb::Purge)),
            restart_post_uri: format!("{instance}/restart?{query}{}", code(Verb::Restart)),
            suspend_post_uri: format!("{instance}/suspend?reason={{text}}&{query}{}", code(Verb::Suspend)),
            resume_post_uri: format!("{instance}/resume?reason={{text}}&{query}{}", code(Verb::Resume)),
        }
    }
}

/// The links of one instance: the contract's `management-urls`. `{eventName}` and `{text}` are for the caller to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceUrls {
    /// The instance id, as it is.
    pub id: String,
    /// GET: the status.
    pub status_query_get_uri: String,
    /// POST: raise an event.
    pub send_event_post_uri: String,
    /// POST: terminate.
    pub terminate_post_uri: String,
    /// POST: rewind.
    pub rewind_post_uri: String,
    /// DELETE: purge.
    pub purge_history_delete_uri: String,
    /// POST: restart.
    pub restart_post_uri: String,
    /// POST: suspend.
    pub suspend_post_uri: String,
    /// POST: resume.
    pub resume_post_uri: String,
}

impl InstanceUrls {
    /// The body of a check-status response: Durable Functions' keys in their order (which leave out rewind).
    pub fn check_status_json(&self) -> String {
        self.json(false)
    }

    /// Every link: Durable Functions' `HttpManagementPayload`.
    pub(super) fn payload_json(&self) -> String {
        self.json(true)
    }

    fn json(&self, with_rewind: bool) -> String {
        JsonObject::new()
            .string("id", &self.id)
            .string("statusQueryGetUri", &self.status_query_get_uri)
            .string("sendEventPostUri", &self.send_event_post_uri)
            .string("terminatePostUri", &self.terminate_post_uri)
            .when(with_rewind, |o| o.string("rewindPostUri", &self.rewind_post_uri))
            .string("purgeHistoryDeleteUri", &self.purge_history_delete_uri)
            .string("restartPostUri", &self.restart_post_uri)
            .string("suspendPostUri", &self.suspend_post_uri)
            .string("resumePostUri", &self.resume_post_uri)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(target: &str, headers: &[(&'static str, &str)], forwarded: bool) -> String {
        origin_by(target, headers, forwarded, false)
    }

    fn origin_by(target: &str, headers: &[(&'static str, &str)], forwarded: bool, is_tls: bool) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let reception = Reception { local: "127.0.0.1:7071".parse().unwrap(), is_tls };
        Origin::of_request(&target.parse().unwrap(), &map, reception, forwarded).to_string()
    }

    #[test]
    fn the_origin_is_what_the_caller_used_if_it_is_a_host() {
        assert_eq!(origin("/x", &[("host", "example.org:81")], false), "http://example.org:81");
        assert_eq!(origin("/x", &[("host", "[::1]:81")], false), "http://[::1]:81");
        assert_eq!(origin("http://other:5/x", &[("host", "example.org")], false), "http://other:5");
        for bad in ["", "a b", "a\"b", "a/b", "user@host", "ä", ":80", &"x".repeat(300)] {
            assert_eq!(origin("/x", &[("host", bad)], false), "http://127.0.0.1:7071", "{bad}");
        }
    }

    #[test]
    fn a_host_without_a_name_is_named_by_its_address() {
        let origin = |address: &str| Origin::of_address(address.parse().unwrap()).to_string();
        assert_eq!(origin("[::1]:81"), "http://[::1]:81");
        assert_eq!(origin("0.0.0.0:81"), "http://localhost:81");
        assert_eq!(origin("[::]:81"), "http://localhost:81");
    }

    #[test]
    fn forwarded_headers_count_only_where_they_are_allowed() {
        let headers = [("host", "inner"), ("x-forwarded-host", "outer:8443, x"), ("x-forwarded-proto", "HTTPS")];
        assert_eq!(origin("/x", &headers, false), "http://inner");
        assert_eq!(origin("/x", &headers, true), "https://outer:8443");
        assert_eq!(origin("/x", &[("host", "inner"), ("x-forwarded-host", "<x>")], true), "http://inner");
        assert_eq!(origin("/x", &[("host", "inner"), ("x-forwarded-proto", "https")], true), "https://inner");
        assert_eq!(origin("/x", &[("host", "inner"), ("x-forwarded-proto", "https")], false), "http://inner");
    }

    #[test]
    fn what_came_in_by_tls_is_reached_by_it() {
        assert_eq!(origin_by("/x", &[("host", "example.org")], false, true), "https://example.org");
        assert_eq!(origin_by("/x", &[("host", "")], false, true), "https://127.0.0.1:7071");
        let headers = [("host", "inner"), ("x-forwarded-proto", "http")];
        assert_eq!(origin_by("/x", &headers, true, true), "http://inner");
    }

    #[test]
    fn the_check_status_body_has_the_documented_keys_in_order() {
        let origin = Origin("http://localhost:7071".into());
        let body = ManagementUrls::new(&origin, "TestHubName", None).for_instance("a b%/ü\"", None).check_status_json();
        let instance = "http://localhost:7071/runtime/webhooks/durabletask/instances/a%20b%25%2F%C3%BC%22";
        let query = "taskHub=TestHubName&connection=Storage";
        assert_eq!(
            body,
            format!(r#"{{"id":"a b%/ü\"","statusQueryGetUri":"{instance}?{query}","#,)
                + &format!(r#""sendEventPostUri":"{instance}/raiseEvent/{{eventName}}?{query}","#)
                + &format!(r#""terminatePostUri":"{instance}/terminate?reason={{text}}&{query}","#)
                + &format!(r#""purgeHistoryDeleteUri":"{instance}?{query}","#)
                + &format!(r#""restartPostUri":"{instance}/restart?{query}","#)
                + &format!(r#""suspendPostUri":"{instance}/suspend?reason={{text}}&{query}","#)
                + &format!(r#""resumePostUri":"{instance}/resume?reason={{text}}&{query}"}}"#)
        );
    }
}
