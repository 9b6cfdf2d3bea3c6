//! Opens a socket to a server, one address after the other, and finds out from a failure which side caused it.
//!
//! A name may have several addresses. A failure at one of them is often the fault of this machine (no IPv6 here), while another address
//! shows the state of the server. Each address is therefore tried for its share of the time. The failure that shows most about the server
//! is reported.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::config::file::FileError;

/// Most addresses that are tried for one name. No server has more, and each reduces the time of the others.
const ADDRESSES_MAX: usize = 16;

/// Why a socket did not open. Obstacles that show most about the server come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The server or the network refuses.
    Server,
    /// A firewall in the network or on this machine, SELinux, or the permissions of a Unix socket.
    Forbidden,
    /// All local ports for the address are used.
    OwnPorts,
    OwnMemory,
    OwnFiles,
    /// This machine has no route to the address, or no address of its own of that kind. It shows least about the server: without IPv6,
    /// every IPv6 address fails in this way.
    NoRoute,
}

impl Obstacle {
    /// Whether this machine has no ports, memory or files left, so that nothing is known about the server.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::OwnPorts | Self::OwnMemory | Self::OwnFiles)
    }

    /// Explains the obstacle in a sentence, and how to correct it. There is none if that depends on the product.
    pub const fn meaning(self) -> Option<&'static str> {
        match self {
            Self::Server => None,
            Self::Forbidden => Some(
                "a firewall here or on the way, SELinux, or the permissions of the socket's file do not let the agent connect; they must \
                 allow the agent's user, from this host",
            ),
            Self::NoRoute => Some(
                "this machine has no route to the address; correct its network, or name the server by an address that this machine reaches",
            ),
            Self::OwnPorts => Some("this machine has no local port left for a connection to the server, so nothing is known of the server"),
            Self::OwnMemory => Some("this machine has no memory left for a connection, so nothing is known of the server"),
            Self::OwnFiles => Some(
                "the agent may open no more files, so nothing is known of the server; raise its limit (LimitNOFILE= of systemd, ulimit -n)",
            ),
        }
    }

    /// Reads from an error whether this machine can open no more files or sockets at all.
    pub fn of_machine(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::OwnFiles),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::OwnMemory),
            _ => None,
        }
    }

    /// Reads the obstacle from an error. A Unix socket has no address.
    fn of(error: &io::Error, address: Option<SocketAddr>) -> Self {
        if let Some(own) = Self::of_machine(error) {
            return own;
        }
        match Errno::from_io_error(error) {
            // With IPv4 this means that no port is left. With IPv6 it may be a machine without IPv6.
            Some(Errno::ADDRNOTAVAIL) if address.is_some_and(|address| address.is_ipv4()) => Self::OwnPorts,
            Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETUNREACH) => Self::NoRoute,
            // A router that forbids the connection answers with this as well.
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden,
            _ => Self::Server,
        }
    }
}

/// The side that caused that there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Server,
    /// The agent's machine has no files, ports or memory left for a connection.
    Machine,
    /// A password, certificate or key of the agent's own cannot be read or used.
    Files,
}

impl Trouble {
    /// Whether the server was not asked, so that nothing is known about it.
    pub const fn is_own(self) -> bool {
        !matches!(self, Self::Server)
    }
}

/// Returns the limit of this machine because of which a file could not be read, if that is the reason.
pub(crate) fn limit_of_file(error: &FileError) -> Option<Obstacle> {
    match error {
        FileError::Io(err) => Obstacle::of_machine(err),
        _ => None,
    }
}

/// Why no socket opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("connecting")]
    Refused { obstacle: Obstacle, source: io::Error },
}

impl DialError {
    fn refused(source: io::Error) -> Self {
        Self::Refused { obstacle: Obstacle::of(&source, None), source }
    }

    /// Rank of a failure. The lowest shows most about the server.
    fn rank(&self) -> (Obstacle, bool) {
        match self {
            Self::Refused { obstacle, .. } => (*obstacle, false),
            // No answer shows as much about the server, but less about what to do.
            Self::DeadlineExceeded(_) => (Obstacle::Server, true),
        }
    }
}

/// Connects to the first address of a name that accepts a connection.
pub(crate) async fn tcp(host: &str, port: u16, within: Duration) -> Result<TcpStream, DialError> {
    let until = Instant::now() + within;
    let addresses = match timeout_at(until, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect::<Vec<_>>(),
        Ok(Err(err)) => return Err(DialError::refused(resolve_error(err))),
        Err(_) => return Err(DialError::DeadlineExceeded(within)),
    };
    first_of(&addresses, within, until).await
}

/// Connects to a Unix socket.
pub(crate) async fn unix(path: &Path, within: Duration) -> Result<UnixStream, DialError> {
    match tokio::time::timeout(within, UnixStream::connect(path)).await {
        Ok(stream) => stream.map_err(DialError::refused),
        Err(_) => Err(DialError::DeadlineExceeded(within)),
    }
}

/// Finds out why a name was not resolved. A resolver that can open no files only reports that the name is unknown.
fn resolve_error(error: io::Error) -> io::Error {
    match File::open("/dev/null") {
        Err(own) if Obstacle::of_machine(&own).is_some() => own,
        _ => error,
    }
}

/// Tries each address for its share of the time, so that an address without an answer does not use all of it.
async fn first_of(addresses: &[SocketAddr], within: Duration, until: Instant) -> Result<TcpStream, DialError> {
    let mut failures = Vec::with_capacity(addresses.len());
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let now = Instant::now();
        let share = until.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(err)) => failures.push((*address, Some(err))),
            Err(_) => failures.push((*address, None)),
        }
    }
    Err(most_informative(failures, within))
}

/// Chooses the failure that shows most about the server. An address without an error did not answer in time.
fn most_informative(failures: Vec<(SocketAddr, Option<io::Error>)>, within: Duration) -> DialError {
    let are_several = failures.len() > 1;
    let failures = failures.into_iter().map(|(address, error)| match error {
        None => DialError::DeadlineExceeded(within),
        Some(err) => {
            let obstacle = Obstacle::of(&err, Some(address));
            let source = if are_several { io::Error::new(err.kind(), format!("{address}: {err}")) } else { err };
            DialError::Refused { obstacle, source }
        }
    });
    let best = failures.min_by_key(DialError::rank);
    best.unwrap_or_else(|| DialError::refused(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

#[cfg(test)]
mod tests {
    use crate::dial::*;

    const V4: &str = "127.0.0.1:5432";
    const V6: &str = "[::1]:5432";

    fn check(failures: &[(&str, Option<Errno>)], expected: Option<Obstacle>) {
        let failures = failures.iter().map(|(address, errno)| (address.parse().expect("an address"), errno.map(io::Error::from)));
        let obstacle = match most_informative(failures.collect(), Duration::from_secs(1)) {
            DialError::DeadlineExceeded(_) => None,
            DialError::Refused { obstacle, .. } => Some(obstacle),
        };
        assert_eq!(obstacle, expected);
    }

    #[test]
    fn the_address_that_shows_most_about_the_server_counts_in_any_order() {
        let refused = (V4, Some(Errno::CONNREFUSED));
        for other in [
            (V6, Some(Errno::ADDRNOTAVAIL)),
            (V6, Some(Errno::NETUNREACH)),
            (V6, Some(Errno::MFILE)),
            (V4, Some(Errno::ADDRNOTAVAIL)),
            (V4, Some(Errno::ACCESS)),
            (V4, None),
        ] {
            check(&[refused, other], Some(Obstacle::Server));
            check(&[other, refused], Some(Obstacle::Server));
        }
        check(&[(V6, Some(Errno::ADDRNOTAVAIL)), (V4, None)], None);
        check(&[(V6, Some(Errno::MFILE)), (V4, Some(Errno::ACCESS))], Some(Obstacle::Forbidden));
        check(&[(V6, Some(Errno::ADDRNOTAVAIL)), (V4, Some(Errno::MFILE))], Some(Obstacle::OwnFiles));
        check(&[(V6, Some(Errno::ADDRNOTAVAIL)), (V4, Some(Errno::ADDRNOTAVAIL))], Some(Obstacle::OwnPorts));
    }

    #[test]
    fn nothing_is_known_about_the_server_only_if_this_machine_is_at_fault_for_every_address() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            for failures in [vec![(V4, Some(errno))], vec![(V6, Some(errno)), (V4, Some(errno))]] {
                let failures = failures.into_iter().map(|(address, errno)| (address.parse().expect("one"), errno.map(io::Error::from)));
                let failure = most_informative(failures.collect(), Duration::from_secs(1));
                assert!(matches!(failure, DialError::Refused { obstacle, .. } if obstacle.is_own()), "{failure:?}");
            }
        }
        check(&[(V4, Some(Errno::ADDRNOTAVAIL))], Some(Obstacle::OwnPorts));
        check(&[(V6, Some(Errno::ADDRNOTAVAIL))], Some(Obstacle::NoRoute));
        for forbidden in [Errno::ACCESS, Errno::PERM] {
            check(&[(V4, Some(forbidden))], Some(Obstacle::Forbidden));
        }
        check(&[], Some(Obstacle::Server));
    }

    #[tokio::test]
    async fn a_name_with_several_addresses_leads_to_the_one_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("it is bound");
        let closed = std::net::TcpListener::bind("127.0.0.2:0").expect("a port").local_addr().expect("it was bound");
        let within = Duration::from_secs(5);
        let stream = first_of(&[closed, open], within, Instant::now() + within).await.expect("one of them listens");
        assert_eq!(stream.peer_addr().expect("it is connected"), open);
        drop((stream, listener));
        let failure = first_of(&[closed, open], within, Instant::now() + within).await.expect_err("none of them listens");
        assert!(matches!(&failure, DialError::Refused { obstacle: Obstacle::Server, source } if source.to_string().contains("127.0.0.2")));
    }
}
