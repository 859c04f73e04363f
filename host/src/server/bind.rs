//! Binding: a listening socket, or a clear reason why not.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::port_holder::{PortHolder, port_holder};

/// Connections that may wait to be accepted. With fewer, a thousand clients that connect at once wait a second for a
/// repeated SYN.
const BACKLOG: i32 = 4096;
/// After this long without a sound the kernel asks whether the peer still exists.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("port {port} is in use by {}; stop it, or choose another port with --port", holder_text(.holder.as_ref()))]
    InUse {
        /// The port.
        port: u16,
        /// Who holds it, where the system tells.
        holder: Option<PortHolder>,
    },
    /// The system does not let this user listen there.
    #[error("this user may not listen on port {port}; choose one above 1023 with --port")]
    Forbidden {
        /// The port.
        port: u16,
    },
    /// The address does not belong to this machine.
    #[error("{address} is no address of this machine; choose one with --address, for example 127.0.0.1")]
    NotLocal {
        /// The address.
        address: IpAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

fn holder_text(holder: Option<&PortHolder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), ToString::to_string)
}

/// Listens on an address; port 0 takes any that is free.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| {
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { port, holder: port_holder(port) },
            io::ErrorKind::PermissionDenied => BindError::Forbidden { port },
            io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address: address.ip() },
            _ => BindError::Other { address, source },
        }
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` means every address, also those of IPv4.
        socket.set_only_v6(false)?;
    }
    // So that a restart need not wait for the last run's connections to time out. Two listeners still exclude each other.
    socket.set_reuse_address(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_names_the_port_its_holder_and_the_remedy() {
        for host in ["127.0.0.1", "::1"] {
            let first = bind(SocketAddr::new(host.parse().unwrap(), 0)).unwrap();
            let address = first.local_addr().unwrap();
            let error = bind(address).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("port {} is in use by ", address.port())), "{text}");
            assert!(text.ends_with("; stop it, or choose another port with --port"), "{text}");
            if cfg!(target_os = "linux") {
                assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
            }
        }
    }

    #[test]
    fn a_strangers_address_is_named() {
        let error = bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("192.0.2.1 is no address of this machine"), "{error}");
    }
}
