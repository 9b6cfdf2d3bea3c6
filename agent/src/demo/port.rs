//! Picks TCP ports for throw-away servers.

use std::ops::Range;

use tokio::net::TcpListener;

pub const HOST: &str = "127.0.0.1";

/// The range of ports. It is below the ports of outgoing connections, which could take a port while its server restarts.
const PORTS: Range<u16> = 15_000..30_000;
const ATTEMPTS: usize = 50;

/// The number of starts, since a free port may be taken before the server binds it, and the text in its log then.
pub const TAKEN_MAX: usize = 3;
pub const TAKEN: &str = "Address already in use";

#[derive(Debug, thiserror::Error)]
#[error("no free port found in {PORTS:?}")]
pub struct NoFreePort;

/// Finds a port without a listener. Another process may still take it before the server does.
pub async fn free_port() -> Result<u16, NoFreePort> {
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((HOST, port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err(NoFreePort)
}
