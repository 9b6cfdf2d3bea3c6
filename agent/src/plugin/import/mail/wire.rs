//! Connection to a relay: bounded, and encrypted before anything secret is sent.
//!
//! The library alone is not safe here. When it turns to TLS it retains bytes that arrived in clear text, so that an attacker in between
//! could slip in answers for later (STARTTLS injection). It also waits for the end of a line of any length. So the first commands are sent
//! here, and the bytes that the library reads afterwards are counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Ehlo, Starttls};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use pharos_model::error_chain::chain;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::config::relay::{Encryption, RelayConfig};
use crate::plugin::import::tls;

/// Most bytes of one reply. The library parses the whole reply again after each line, and nothing can interrupt that.
const REPLY_BYTES_MAX: usize = 16 << 10;
/// Most lines of one reply. The library parses the whole reply again after each line.
const REPLY_LINES_MAX: usize = 100;
/// Most bytes that a relay may send in one connection. More would fill the memory.
const RECEIVED_BYTES_MAX: usize = 256 << 10;

/// Connects and says hello. The address may be internal: only the operator names a relay, while a URL may come from a
/// plugin's settings.
pub(super) async fn open(relay: &RelayConfig) -> Result<AsyncSmtpConnection, String> {
    let host = relay.host.trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, relay.port())).await.map_err(|err| format!("connecting: {err}"))?;
    let lost = |err: io::Error| format!("connecting: {err}");
    let peer = stream.peer_addr().map_err(lost)?;
    let hello = hello(relay, stream.local_addr().map_err(lost)?.ip());
    let encrypted = |stream| tls::encrypt(stream, host, relay.ca.as_deref());
    let opened = match relay.encryption {
        Encryption::None => greet(Wire::new(stream, peer, Vec::new()), &hello).await,
        Encryption::Tls => greet(Wire::new(encrypted(stream).await?, peer, Vec::new()), &hello).await,
        Encryption::StartTls => {
            let greeting = begin_tls(&mut stream, &hello).await?;
            greet(Wire::new(encrypted(stream).await?, peer, greeting), &hello).await
        }
    };
    opened.map_err(|err| format!("saying hello: {}", chain(&err)))
}

async fn greet(wire: impl AsyncTokioStream + 'static, hello: &ClientId) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
    AsyncSmtpConnection::connect_with_transport(Box::new(wire), hello).await
}

/// The name in the greeting. RFC 5321 requires a host name, or the address in brackets if there is none.
fn hello(relay: &RelayConfig, own: IpAddr) -> ClientId {
    match (&relay.hello, own) {
        (Some(name), _) => ClientId::Domain(name.clone()),
        (None, IpAddr::V4(own)) => ClientId::Ipv4(own),
        (None, IpAddr::V6(own)) => ClientId::Ipv6(own),
    }
}

/// Runs the dialogue up to STARTTLS. Returns the greeting of the relay, which the library still has to read.
async fn begin_tls(stream: &mut TcpStream, hello: &ClientId) -> Result<Vec<u8>, String> {
    let (greeting, _) = reply(stream, "the greeting").await?;
    let ehlo = Ehlo::new(hello.clone()).to_string();
    let (_, offers) = command(stream, &ehlo, "EHLO").await?;
    if !offers.message().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
        return Err("it offers no STARTTLS, so nothing was sent: either something on the way removed the offer, or the relay wants \
             encryption = \"tls\" or, in clear text, \"none\""
            .to_owned());
    }
    command(stream, &Starttls.to_string(), "STARTTLS").await?;
    Ok(greeting)
}

async fn command(stream: &mut TcpStream, text: &str, what: &str) -> Result<(Vec<u8>, Response), String> {
    stream.write_all(text.as_bytes()).await.map_err(|err| format!("{what}: {err}"))?;
    reply(stream, what).await
}

/// Reads a reply, as bytes and as a response. A second reply is an attack or a mistake, since only one command was sent.
async fn reply(stream: &mut TcpStream, what: &str) -> Result<(Vec<u8>, Response), String> {
    let (mut bytes, mut reply) = (Vec::new(), Reply::default());
    let end = loop {
        let mut chunk = [0; 1_024];
        match stream.read(&mut chunk).await {
            Ok(0) => return Err(format!("{what}: the relay closed the connection")),
            Ok(read) => {
                reply.count(&chunk[..read]).map_err(|err| format!("{what}: {err}"))?;
                bytes.extend_from_slice(&chunk[..read]);
            }
            Err(err) => return Err(format!("{what}: {err}")),
        }
        if let Some(end) = end_of_reply(&bytes) {
            break end;
        }
    };
    if end != bytes.len() {
        return Err(format!("{what}: the relay sent a second reply to one command, before encryption"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let response: Response = text.parse().map_err(|_| format!("{what}: the reply is no SMTP"))?;
    match response.is_positive() {
        true => Ok((bytes, response)),
        false => Err(format!("{what}: {}", text.trim().escape_debug())),
    }
}

/// Length of the current reply so far.
#[derive(Debug, Default)]
struct Reply {
    bytes: usize,
    lines: usize,
    /// Bytes of the current line.
    column: usize,
    /// Whether the current line has a dash after its code, so that the reply continues after it.
    continues: bool,
}

impl Reply {
    /// Counts bytes that have arrived.
    fn count(&mut self, arrived: &[u8]) -> Result<(), ReplyTooLong> {
        for byte in arrived {
            self.bytes += 1;
            if self.column == 3 {
                self.continues = *byte == b'-';
            }
            self.column += 1;
            if *byte == b'\n' {
                let ends = !self.continues;
                (self.lines, self.column, self.continues) = (self.lines + 1, 0, false);
                if ends {
                    *self = Self::default();
                }
            }
            if self.bytes > REPLY_BYTES_MAX || self.lines > REPLY_LINES_MAX {
                return Err(ReplyTooLong);
            }
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the relay sends more than {REPLY_LINES_MAX} lines or {REPLY_BYTES_MAX} bytes in one reply")]
struct ReplyTooLong;

/// End of a reply: after the line whose code is not followed by a dash.
fn end_of_reply(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line.ends_with(b"\n") && line.get(3) != Some(&b'-') {
            return Some(at);
        }
    }
    None
}

/// The stream that the library reads from and writes to.
#[derive(Debug)]
struct Wire<S> {
    stream: S,
    peer: SocketAddr,
    /// The greeting, which was read before in clear text.
    greeting: Vec<u8>,
    received_bytes: usize,
    reply: Reply,
}

impl<S> Wire<S> {
    fn new(stream: S, peer: SocketAddr, greeting: Vec<u8>) -> Self {
        Self { stream, peer, greeting, received_bytes: 0, reply: Reply::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let fits = self.greeting.len().min(buffer.remaining());
            buffer.put_slice(&self.greeting[..fits]);
            self.greeting.drain(..fits);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.received_bytes += buffer.filled().len() - before;
        if let Err(err) = self.reply.count(&buffer.filled()[before..]) {
            return Poll::Ready(Err(io::Error::other(err)));
        }
        if self.received_bytes > RECEIVED_BYTES_MAX {
            return Poll::Ready(Err(io::Error::other(format!("the relay sent more than {RECEIVED_BYTES_MAX} bytes"))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_few_lines_and_each_one_counts_alone() {
        let hello = b"250-relay\r\n250-SIZE 1000\r\n250 HELP\r\n";
        let mut reply = Reply::default();
        for _ in 0..1_000 {
            reply.count(hello).expect("each reply is short");
        }
        assert!(Reply::default().count(&b"220-x\r\n".repeat(REPLY_LINES_MAX)).is_ok());
        assert!(Reply::default().count(&b"220-x\r\n".repeat(REPLY_LINES_MAX + 1)).is_err());
        assert!(Reply::default().count(&vec![b'x'; REPLY_BYTES_MAX + 1]).is_err());
        // The size of the pieces that arrive does not matter.
        let mut reply = Reply::default();
        let flood = b"220-\n".repeat(REPLY_LINES_MAX + 1);
        assert!(flood.chunks(3).any(|piece| reply.count(piece).is_err()));
    }
}
