//! One connection for one request: addresses, TCP, TLS, HTTP/1.1.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt as _, future::FusedFuture as _};
use http::{Request, Uri};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Destination, Outbound, Sent, Timeouts};

/// What a response's head may take, and what is read of a body before the guest asks, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS 1.2 and 1.3 for HTTP/1.1.
pub(super) fn tls(roots: RootCertStore) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows a cipher suite of each version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// The addresses of a destination, as the system finds them.
pub(super) async fn resolve(destination: &Destination) -> Result<Vec<SocketAddr>, Error> {
    let Destination { host, port, .. } = destination;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, *port)]);
    }
    let unknown = |reason: &str| Error::DnsError { rcode: Some(reason.to_owned()), info_code: None };
    let found: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), *port)).await {
        Ok(found) => found.collect(),
        Err(error) => return Err(unknown(&error.to_string())),
    };
    if found.is_empty() { Err(unknown("the name has no address")) } else { Ok(found) }
}

/// Connects to the first of the addresses that answers; none may take more than its share of the time.
pub(super) async fn connect(
    outbound: &Outbound,
    destination: &Destination,
    addresses: &[SocketAddr],
    timeout: Duration,
) -> Result<Box<dyn Stream>, Error> {
    let deadline = Instant::now() + timeout;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return secure(outbound, destination, stream).await,
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Error::Connect(last))
}

async fn secure(outbound: &Outbound, destination: &Destination, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
    // Requests are small and written at once; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    if !destination.is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(destination.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    match outbound.tls.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(tls_error(error)),
    }
}

fn tls_error(error: io::Error) -> Error {
    tracing::debug!(%error, "TLS could not be established for an outgoing request");
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some((*alert).into()), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::Tls(error),
    }
}

/// Sends the request and waits for the response's head. The future in the answer moves the body's bytes; the permit is given
/// back with it.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    mut request: Request<WasiBody>,
    timeouts: Timeouts,
    permit: OwnedSemaphorePermit,
) -> Sent {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    // Only proxies are told the scheme and the host in the request's first line.
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;
    let mut connection = Box::pin(connection).fuse();
    let response = {
        let send = async {
            let answered = tokio::time::timeout(timeouts.first_byte, sender.send_request(request)).await;
            answered.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::from)
        };
        tokio::pin!(send);
        tokio::select! {
            biased;
            response = &mut send => response?,
            // The peer closed the connection, with the response or without.
            ended = &mut connection => match send.await {
                Ok(response) => response,
                Err(error) => return Err(ended.err().map_or(error, Error::from)),
            },
        }
    };
    let drive = async move {
        let _permit = permit;
        if !connection.is_terminated()
            && let Err(error) = connection.await
        {
            // Whoever reads the body is told.
            tracing::debug!(%error, "the connection of an outgoing request failed");
        }
        Ok(())
    };
    let response = response.map(|body| PatientBody::new(body, timeouts.between_bytes).boxed_unsync());
    Ok((response, Box::new(drive)))
}

/// A body whose next piece is waited for only so long. The time in which nobody asks for one does not count.
struct PatientBody {
    body: Incoming,
    between_bytes: Duration,
    is_waiting: bool,
    limit: Pin<Box<Sleep>>,
}

impl PatientBody {
    fn new(body: Incoming, between_bytes: Duration) -> Self {
        Self { body, between_bytes, is_waiting: false, limit: Box::pin(tokio::time::sleep(between_bytes)) }
    }
}

impl Body for PatientBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        if !this.is_waiting {
            this.is_waiting = true;
            this.limit.as_mut().reset(Instant::now() + this.between_bytes);
        }
        ready!(this.limit.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
