//! The first exchange with a Redis server: the login, and the reason if it fails.
//!
//! The client library cannot do this: it drops an answer that arrives before a command was sent. A server refuses in that way if it has too
//! many clients or is in protected mode. Only `PING` and `AUTH` are sent, so a user that may only run `INFO` is enough.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::refusal::{Answer, RefusalReason, Request};
use crate::config::secret::Secret;

/// Most bytes of one answer during the handshake. Servers explain protected mode in 700 bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Why the handshake failed.
#[derive(Debug)]
pub(super) enum Failure {
    Refused {
        request: Request,
        answer: Answer,
    },
    /// The connection ended, with the last error that the server sent before.
    Ended {
        last_error: Option<String>,
        source: io::Error,
    },
    /// The other side does not follow the protocol. Its first byte shows whether it is TLS.
    Protocol {
        is_tls: bool,
    },
}

/// Logs in if a user or password is configured, and checks that the server answers.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    user: Option<&str>,
    password: Option<&Secret>,
) -> Result<(), Failure> {
    let mut exchange = Exchange { stream, last_error: None };
    let has_login = user.is_some() || password.is_some();
    // Without a login this is the only request. Before a login it shows the answer of a server that refuses all connections.
    exchange.ping(has_login).await?;
    if has_login {
        let password = password.map_or("", Secret::expose);
        let login: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
        if let Err(answer) = exchange.send_secret(&login).await? {
            return Err(Failure::Refused { request: Request::Login, answer });
        }
        exchange.ping(false).await?;
    }
    Ok(())
}

/// The exchange of requests and answers during the handshake.
struct Exchange<'a, S> {
    stream: &'a mut S,
    /// The latest error of the server, which explains why it ends the connection.
    last_error: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Sends `PING`. A server that loads its data, lacks its master, or forbids `PING` to this user still answers `INFO`.
    async fn ping(&mut self, is_before_login: bool) -> Result<(), Failure> {
        let Err(answer) = self.send(&["PING"]).await? else { return Ok(()) };
        match answer.reason() {
            RefusalReason::Authentication if is_before_login => Ok(()),
            RefusalReason::Authentication | RefusalReason::ProtectedMode | RefusalReason::Busy => {
                Err(Failure::Refused { request: Request::Greeting, answer })
            }
            // The server may have too many clients and end the connection, or `PING` may have another name there. A second `PING` shows it.
            RefusalReason::Query => self.send(&["PING"]).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Sends a command, and reads the one line that answers it.
    async fn send(&mut self, words: &[&str]) -> Result<Result<(), Answer>, Failure> {
        self.send_and_read(words, false).await
    }

    /// Sends a command with a secret. A server without `AUTH` repeats the arguments in its error, so that text is dropped.
    async fn send_secret(&mut self, words: &[&str]) -> Result<Result<(), Answer>, Failure> {
        self.send_and_read(words, true).await
    }

    async fn send_and_read(&mut self, words: &[&str], has_secret: bool) -> Result<Result<(), Answer>, Failure> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        // A server that closed the connection may have sent the reason before.
        let sent = self.stream.write_all(&command).await;
        let line = match self.line().await {
            Ok(line) => line,
            Err(Failure::Ended { last_error, source }) => return Err(Failure::Ended { last_error, source: sent.err().unwrap_or(source) }),
            Err(failure) => return Err(failure),
        };
        match line.split_at_checked(1) {
            Some(("+", _)) => Ok(Ok(())),
            Some(("-", words)) => {
                let answer = if has_secret { Answer::without_text(words) } else { Answer::read(words) };
                self.last_error = Some(answer.text.clone());
                Ok(Err(answer))
            }
            _ => Err(Failure::Protocol { is_tls: false }),
        }
    }

    /// Reads one line. More than one line is an error, since only one answer is expected.
    async fn line(&mut self) -> Result<String, Failure> {
        /// First byte of a TLS record: an alert, or part of a handshake.
        const TLS: [u8; 2] = [0x15, 0x16];
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 512];
            let count = match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(source) => return Err(self.ended(source)),
            };
            bytes.extend_from_slice(&chunk[..count]);
            if TLS.contains(&bytes[0]) {
                return Err(Failure::Protocol { is_tls: true });
            }
            if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let is_one_line = end + 1 == bytes.len();
                let line = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
                return if is_one_line { Ok(line) } else { Err(Failure::Protocol { is_tls: false }) };
            }
            if bytes.len() > LINE_BYTES_MAX {
                return Err(Failure::Protocol { is_tls: false });
            }
        }
    }

    fn ended(&mut self, source: io::Error) -> Failure {
        Failure::Ended { last_error: self.last_error.take(), source }
    }
}
