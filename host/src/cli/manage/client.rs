//! A small HTTP client of the management API: one connection, one request at a time.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::args::{Remote, Secret};
use super::failure::{Exit, Failure};

const MANAGEMENT: &str = "/runtime/webhooks/durabletask";
const CONTINUATION: &str = "x-ms-continuation-token";
const KEY: &str = "x-functions-key";
const CONNECT: Duration = Duration::from_secs(10);
/// What stands for itself in a path's segment and in a query's value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of one host.
#[derive(Debug)]
pub(super) struct Client {
    /// The URL that the caller named, for messages.
    url: String,
    scheme: Scheme,
    host: String,
    port: u16,
    /// What stands before the management API's path: a reverse proxy's, mostly nothing.
    prefix: String,
    key: Option<HeaderValue>,
    /// None speaks plain HTTP.
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    connection: Option<http1::SendRequest<Full<Bytes>>>,
}

/// What to ask: a path below the management API's, and all that goes with it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    query: String,
    body: Option<String>,
    continuation: Option<String>,
}

/// A response, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
    /// Where the list goes on; empty at its end.
    pub continuation: String,
}

impl Ask {
    /// A request to the path of these segments, which are encoded here.
    pub(super) fn new(method: Method, segments: &[&str]) -> Self {
        let path = segments.iter().flat_map(|segment| ["/".to_owned(), encoded_segment(segment)]).collect();
        Self { method, path, query: String::new(), body: None, continuation: None }
    }

    /// Adds a parameter, which is encoded here.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(name);
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value, PLAIN));
        self
    }

    /// Adds a parameter if there is one.
    pub(super) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// With a JSON body.
    pub(super) fn json(self, body: Option<String>) -> Self {
        Self { body, ..self }
    }

    /// With where a list goes on.
    pub(super) fn from(self, continuation: &str) -> Self {
        Self { continuation: (!continuation.is_empty()).then(|| continuation.to_owned()), ..self }
    }
}

/// A segment of one name. Dots alone would be taken for a step within the path on the way.
fn encoded_segment(text: &str) -> String {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, PLAIN).to_string(),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// Reads what the caller said; connects to nothing yet.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a URL or a key that is none.
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        let url = remote.url.trim().trim_end_matches('/');
        let wrong = |what: &str| {
            Failure::usage(format!("--url {:?} {what}; write a host's URL such as http://127.0.0.1:7071", remote.url))
        };
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let scheme = uri.scheme().cloned().ok_or_else(|| wrong("names no scheme"))?;
        let port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong("is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Failure::usage("--url must hold no credentials; give a key with --key-file"));
        }
        if uri.query().is_some() {
            return Err(Failure::usage("--url must hold no query; give a key with --key-file"));
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix(MANAGEMENT).unwrap_or(path).to_owned();
        let tls = if scheme == Scheme::HTTPS { Some(tls(roots(remote.ca_file.as_deref())?)) } else { None };
        Ok(Self {
            tls,
            url: url.to_owned(),
            scheme,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(port),
            prefix,
            key: key(remote)?,
            timeout: remote.request_timeout,
            connection: None,
        })
    }

    /// The host, for messages.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and reads the whole answer. Never follows a redirect: the key is for this host only.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] if no host answers, [`Exit::TimedOut`] if it does not in time, [`Exit::Failed`] if what
    /// answers is no such host. Whatever status a host answers with is no error here.
    pub(super) async fn send(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let request = self.request(ask)?;
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(Failure::new(
                    Exit::TimedOut,
                    format!(
                        "{} did not answer within {} s; it may still do what it was asked for (--request-timeout)",
                        self.url,
                        timeout.as_secs_f64()
                    ),
                ))
            }
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, Failure> {
        let Self { host, port, prefix, .. } = self;
        let target = format!("{prefix}{MANAGEMENT}{}{}", ask.path, ask.query);
        let authority = match (self.scheme.as_str(), port) {
            ("http", 80) | ("https", 443) => host.clone(),
            _ => format!("{host}:{port}"),
        };
        let mut request = Request::builder().method(&ask.method).uri(target).header(header::HOST, authority);
        request = request.header(header::USER_AGENT, concat!("soloist/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &self.key {
            request = request.header(KEY, key);
        }
        if let Some(token) = &ask.continuation {
            request = request.header(CONTINUATION, token);
        }
        if ask.method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = ask.body.clone().unwrap_or_default();
        request.body(Full::new(body.into())).map_err(|error| {
            Failure::usage(format!("this cannot be sent ({error}); an argument is too long or no plain text"))
        })
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let mut kept = self.connection.take();
        let is_usable = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept {
            Some(sender) if is_usable => sender,
            _ => self.connect().await?,
        };
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        let body = String::from_utf8(body.into()).map_err(|_| self.foreign(head.status))?;
        self.connection = Some(sender);
        Ok(Answer { status: head.status.as_u16(), body, continuation: continuation(&head.headers) })
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
        let stream = match tokio::time::timeout(CONNECT, self.stream()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.unreachable(&"no connection within 10 s")),
        };
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
        // It ends with the runtime, at the latest; what breaks it is told to who sends.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        let connected = TlsConnector::from(tls.clone()).connect(name, stream).await;
        Ok(Box::new(connected.map_err(|error| io::Error::other(explained(&error)))?))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!(
                "no host answers at {}: {error}; start one with `soloist start`, or name another with --url",
                self.url
            ),
        )
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        if error.is_parse() {
            return Failure::failed(format!("what answers at {} speaks no HTTP/1.1: {error}", self.url));
        }
        let text = format!("the connection to {} broke ({error}); what was asked for may have been done", self.url);
        Failure::new(Exit::Unreachable, text)
    }

    fn foreign(&self, status: StatusCode) -> Failure {
        let text = format!("what answers at {} is no Soloist host: its answer ({status}) is not UTF-8", self.url);
        Failure { http_status: Some(status.as_u16()), ..Failure::failed(text) }
    }
}

fn continuation(headers: &HeaderMap) -> String {
    headers.get(CONTINUATION).and_then(|token| token.to_str().ok()).unwrap_or_default().to_owned()
}

/// The key, from its file or from where the caller put it. No message shows it.
fn key(remote: &Remote) -> Result<Option<HeaderValue>, Failure> {
    let text = match (&remote.key_file, &remote.key) {
        (Some(file), _) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read the key file {}: {error}", file.display())))?,
        (None, Some(Secret(key))) => key.clone(),
        (None, None) => return Ok(None),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage("the key is empty; leave it out, or give one with --key-file"));
    }
    let mut value =
        HeaderValue::from_str(text).map_err(|_| Failure::usage("the key is none: it is not one line of plain text"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The authorities to trust: those of the caller's file, else the public ones.
fn roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let Some(file) = file else { return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }) };
    let wrong = |what: String| Failure::usage(format!("--ca-file {} {what}", file.display()));
    let text = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(format!("is no PEM file: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("has a certificate that cannot be read: {error}")))?;
    }
    if roots.is_empty() { Err(wrong("holds no certificate in PEM form".to_owned())) } else { Ok(roots) }
}

/// What went wrong with TLS, and what helps against an authority that nobody knows.
fn explained(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let unknown = [CertificateError::UnknownIssuer, CertificateError::BadSignature].map(Error::InvalidCertificate);
    if inner.is_some_and(|inner| unknown.contains(inner)) {
        return format!("{error}; name the authority that issued its certificate with --ca-file");
    }
    error.to_string()
}

fn tls(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows a cipher suite of each version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manage::args::Format;

    fn remote(url: &str) -> Remote {
        let request_timeout = Duration::from_secs(5);
        Remote { url: url.to_owned(), key: None, key_file: None, ca_file: None, format: Format::Text, request_timeout }
    }

    fn client(url: &str) -> Client {
        Client::new(&remote(url)).unwrap()
    }

    #[test]
    fn any_id_is_one_segment() {
        let target = |id: &str| {
            let ask = Ask::new(Method::POST, &["instances", id, "terminate"]).query("reason", "a b&c=ä#");
            client("http://x").request(&ask).unwrap().uri().to_string()
        };
        for (id, encoded) in [
            ("a-b_c.d~", "a-b_c.d~"),
            ("100% of/🎉?#", "100%25%20of%2F%F0%9F%8E%89%3F%23"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("%2F", "%252F"),
        ] {
            let wanted = format!("{MANAGEMENT}/instances/{encoded}/terminate?reason=a%20b%26c%3D%C3%A4%23");
            assert_eq!(target(id), wanted);
        }
    }

    #[test]
    fn urls_name_a_host_and_perhaps_a_prefix() {
        for (url, host, port, prefix) in [
            ("http://127.0.0.1:7071", "127.0.0.1", 7071, ""),
            ("http://127.0.0.1:7071/", "127.0.0.1", 7071, ""),
            ("https://example.org", "example.org", 443, ""),
            ("http://[::1]:7071/some/where/", "[::1]", 7071, "/some/where"),
            ("http://x/p/runtime/webhooks/durabletask", "x", 80, "/p"),
        ] {
            let client = client(url);
            assert_eq!((client.host.as_str(), client.port, client.prefix.as_str()), (host, port, prefix), "{url}");
        }
        for url in ["", "localhost:7071", "/x", "ftp://x", "http://u:p@x", "http://x?code=k", "http://", "http://a b"] {
            let failure = Client::new(&remote(url)).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{url}: {failure}");
        }
    }

    #[test]
    fn a_key_is_sent_and_never_shown() {
        let with = |key: &str| Remote { key: Some(Secret(key.to_owned())), ..remote("http://x") };
        let client = Client::new(&with(" s3cret \n")).unwrap();
        let request = client.request(&Ask::new(Method::GET, &["instances"])).unwrap();
        assert_eq!(request.headers()[KEY], "s3cret");
        for shown in [format!("{client:?}"), format!("{request:?}"), format!("{:?}", with("s3cret"))] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        for key in ["", "  ", "s3\u{7f}cret", "s3\ncret"] {
            let failure = Client::new(&with(key)).unwrap_err();
            assert!(failure.exit == Exit::Usage && !failure.message.contains("s3"), "{failure}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        let both = Remote { key_file: Some(file.path().to_owned()), ..with("s3cret") };
        assert_eq!(key(&both).unwrap().unwrap(), "from-file");
    }
}
