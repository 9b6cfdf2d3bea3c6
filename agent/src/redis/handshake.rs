//! The first exchange with a Redis server: whether the agent is let in, and if not, why.
//!
//! The client library does not do this: it drops an answer that comes before its question. A server refuses in that way where it has no
//! place left or is in protected mode. Only `PING` and `AUTH` are sent, so a user that may run `INFO` alone is enough.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::refusal::{Answer, Asked, RefusalReason};
use crate::config::secret::Secret;

/// Bytes of one answer during the handshake. Servers explain protected mode in 700 bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Why the handshake failed.
#[derive(Debug)]
pub enum Failure {
    Refused {
        asked: Asked,
        answer: Answer,
    },
    /// The connection ended, with the last error that the server sent before.
    Ended {
        last_words: Option<String>,
        source: io::Error,
    },
    /// The other side does not follow the protocol. Its first byte shows whether it is TLS.
    Protocol {
        is_tls: bool,
    },
}

/// Logs in where a user or password is configured, and asks whether the server answers.
pub async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    user: Option<&str>,
    password: Option<&Secret>,
) -> Result<(), Failure> {
    let mut talk = Talk { stream, last_words: None };
    let has_login = user.is_some() || password.is_some();
    // Without a login this is all; before one it only makes a server speak that refuses everybody.
    talk.greet(has_login).await?;
    if has_login {
        let password = password.map_or("", Secret::expose);
        let login: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
        if let Err(answer) = talk.ask_in_secret(&login).await? {
            return Err(Failure::Refused { asked: Asked::Login, answer });
        }
        talk.greet(false).await?;
    }
    Ok(())
}

struct Talk<'a, S> {
    stream: &'a mut S,
    /// An error that the server may have meant as its last word.
    last_words: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    /// Greets the server. A server that loads, lacks its master, or denies `PING` to this user still gives facts.
    async fn greet(&mut self, is_stranger: bool) -> Result<(), Failure> {
        let Err(answer) = self.ask(&["PING"]).await? else { return Ok(()) };
        match answer.reason() {
            RefusalReason::Authentication if is_stranger => Ok(()),
            RefusalReason::Authentication | RefusalReason::ProtectedMode | RefusalReason::Busy => {
                Err(Failure::Refused { asked: Asked::Hello, answer })
            }
            // It may be the last word of a server that has no place left, or that of one where `PING` has another name.
            RefusalReason::Query => self.ask(&["PING"]).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Sends a command, and reads the one line that answers it.
    async fn ask(&mut self, words: &[&str]) -> Result<Result<(), Answer>, Failure> {
        self.exchange(words, false).await
    }

    /// Sends a command that holds a secret. A server that does not know `AUTH` repeats its arguments, so its text is not kept.
    async fn ask_in_secret(&mut self, words: &[&str]) -> Result<Result<(), Answer>, Failure> {
        self.exchange(words, true).await
    }

    async fn exchange(&mut self, words: &[&str], holds_secret: bool) -> Result<Result<(), Answer>, Failure> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        // A server that has hung up may have said why before.
        let sent = self.stream.write_all(&command).await;
        let line = match self.line().await {
            Ok(line) => line,
            Err(Failure::Ended { last_words, source }) => return Err(Failure::Ended { last_words, source: sent.err().unwrap_or(source) }),
            Err(failure) => return Err(failure),
        };
        match line.split_at_checked(1) {
            Some(("+", _)) => Ok(Ok(())),
            Some(("-", words)) => {
                let answer = if holds_secret { Answer::without_words(words) } else { Answer::read(words) };
                self.last_words = Some(answer.words.clone());
                Ok(Err(answer))
            }
            _ => Err(Failure::Protocol { is_tls: false }),
        }
    }

    /// Reads one line and no more: nothing else was asked.
    async fn line(&mut self) -> Result<String, Failure> {
        /// A record of TLS that is an alert, or part of a handshake.
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
        Failure::Ended { last_words: self.last_words.take(), source }
    }
}
