//! A connection that ends once the server sends more in one answer than it may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One answer. `INFO` of a large server is a tenth of it.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Bytes of the answer that arrives now; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<AtomicUsize>);

impl Received {
    /// The next question is asked.
    pub fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub fn is_too_much(&self) -> bool {
        self.0.load(Ordering::Relaxed) > ANSWER_BYTES_MAX
    }
}

pub struct Bounded<S> {
    stream: S,
    received: Received,
}

impl<S> Bounded<S> {
    pub fn new(stream: S, received: Received) -> Self {
        Self { stream, received }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.received.0.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        if self.received.is_too_much() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the server sends too much")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
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
