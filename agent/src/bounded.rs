//! A connection that ends once the other side sends more in one answer than it may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the answer that arrives now; cheap to clone.
#[derive(Debug, Clone)]
pub struct Received {
    bytes: Arc<AtomicUsize>,
    max: usize,
}

impl Received {
    pub fn at_most(max: usize) -> Self {
        Self { bytes: Arc::default(), max }
    }

    /// The next question is asked.
    pub fn begin(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
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
        self.received.bytes.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        if self.received.is_too_much() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the other side sends too much")));
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
