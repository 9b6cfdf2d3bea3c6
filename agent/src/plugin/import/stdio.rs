//! Standard output and error of a guest: line by line into the plugin's log, and the last words of a call that fails.
//!
//! A panic, a traceback and an assertion are written to standard error just before the guest traps. The trap itself does not contain them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::text;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::context::{LINE_BYTES_MAX, PluginContext};
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::log;

/// Bytes that are stored from the beginning of the text. A panic has its message there.
const HEAD_BYTES_MAX: usize = 1_000;
/// Bytes that are stored from the end of the text. A traceback has its message there.
const TAIL_BYTES_MAX: usize = 1_000;
/// Bytes of both together, with the mark of what was left out.
const WORDS_BYTES_MAX: usize = HEAD_BYTES_MAX + TAIL_BYTES_MAX + 50;

/// Text that an instance wrote to standard error in the present call. The instance and its streams share it.
#[derive(Debug, Clone, Default)]
pub struct LastWords {
    written: Arc<Mutex<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: usize,
}

impl LastWords {
    /// Removes the text, since another call begins.
    pub fn clear(&self) {
        *self.written.lock() = Written::default();
    }

    /// Text of several lines that is safe to show. `None` if the call wrote nothing.
    pub fn text(&self) -> Option<String> {
        let written = self.written.lock();
        let mut bytes = written.head.clone();
        if written.left_out > 0 {
            bytes.extend(format!("\n[{} bytes left out]\n", written.left_out).into_bytes());
        }
        bytes.extend(&written.tail);
        let said = String::from_utf8_lossy(&bytes);
        let said = text::block(said.trim(), WORDS_BYTES_MAX).trim().to_owned();
        (!said.is_empty()).then_some(said)
    }

    fn push(&self, bytes: &[u8]) {
        let mut written = self.written.lock();
        let (first, others) = bytes.split_at(bytes.len().min(HEAD_BYTES_MAX - written.head.len()));
        written.head.extend_from_slice(first);
        // Only the end of a long write can be among the last words.
        let kept = &others[others.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (written.tail.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        written.tail.drain(..over);
        written.tail.extend(kept);
        written.left_out += over + others.len() - kept.len();
    }
}

/// Standard output or standard error of a guest.
pub(super) struct LogStream {
    plugin: Arc<PluginContext>,
    level: log::Level,
    words: Option<LastWords>,
    line: Vec<u8>,
}

impl LogStream {
    pub(super) fn output(plugin: &Arc<PluginContext>) -> Self {
        Self { plugin: Arc::clone(plugin), level: log::Level::Info, words: None, line: Vec::new() }
    }

    pub(super) fn error(plugin: &Arc<PluginContext>, words: &LastWords) -> Self {
        Self { plugin: Arc::clone(plugin), level: log::Level::Warn, words: Some(words.clone()), line: Vec::new() }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.plugin.log(self.level, &String::from_utf8_lossy(&line), "");
        }
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and that is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self { plugin: Arc::clone(&self.plugin), level: self.level, words: self.words.clone(), line: Vec::new() })
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if let Some(words) = &self.words {
            words.push(&bytes);
        }
        for byte in bytes {
            if byte == b'\n' || self.line.len() >= LINE_BYTES_MAX {
                self.end_line();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BYTES_MAX)
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        self.end_line();
    }
}
