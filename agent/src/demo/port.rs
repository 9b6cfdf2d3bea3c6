//! Picks TCP ports for throw-away servers.

use std::ops::Range;

use tokio::net::TcpListener;

pub const HOST: &str = "127.0.0.1";

/// Below the ports that Linux hands to outgoing connections, which could take ours while a server restarts.
const PORTS: Range<u16> = 15_000..30_000;
const ATTEMPTS: usize = 50;

/// How often a server is started, since a port found free may be taken by the time the server binds it, and what its log says then.
pub const TAKEN_MAX: usize = 3;
pub const TAKEN: &str = "Address already in use";

#[derive(Debug, thiserror::Error)]
#[error("no free port found in {PORTS:?}")]
pub struct NoFreePort;

/// A port that nothing listens on now. Another process may still be faster than the server it is meant for.
pub async fn free_port() -> Result<u16, NoFreePort> {
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((HOST, port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err(NoFreePort)
}
