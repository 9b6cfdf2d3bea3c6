//! A connection that ends when the other side sends more than the limit of one answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A meter that limits how much may arrive.
pub trait Meter {
    /// Returns an error if nothing more may be read.
    fn may_go_on(&self) -> io::Result<()> {
        Ok(())
    }

    /// Counts bytes that have just arrived. An error ends the connection.
    fn count(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Counts the bytes of the current answer. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Received {
    bytes: Arc<AtomicUsize>,
    max: usize,
}

impl Received {
    /// Counts up to `max` bytes for each answer.
    pub fn at_most(max: usize) -> Self {
        Self { bytes: Arc::default(), max }
    }

    /// Sets the count to 0 for the next answer.
    pub fn begin(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Whether the current answer is larger than the limit.
    pub fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }
}

impl Meter for Received {
    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.is_too_much() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the other side sends too much"));
        }
        Ok(())
    }
}

/// A connection that ends when its meter returns an error.
pub struct Bounded<S, M> {
    stream: S,
    meter: M,
}

impl<S, M> Bounded<S, M> {
    pub fn new(stream: S, meter: M) -> Self {
        Self { stream, meter }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin, M: Meter + Unpin> AsyncRead for Bounded<S, M> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.meter.may_go_on()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.meter.count(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin, M: Unpin> AsyncWrite for Bounded<S, M> {
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
