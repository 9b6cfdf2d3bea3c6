//! Progress of the answer on one connection. An answer is in progress until the operating system has its last byte.
//!
//! A handler returns the head of an answer; the body follows as fast as the client reads it. Three places record the progress: the service
//! records the start of a request, the body records its own end, and the stream records when the last bytes leave.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::pace::{Pace, Standing};

/// The answer of one connection, if there is one.
#[derive(Debug)]
pub(super) struct Progress {
    pace: Mutex<Pace>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { pace: Mutex::new(Pace::new(Instant::now())) })
    }

    /// Records that a complete request has arrived.
    pub(super) fn begin(&self) {
        self.pace().begin(Instant::now());
    }

    pub(super) fn is_answering(&self) -> bool {
        self.standing(Instant::now()).is_answering
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.pace().standing(now)
    }

    /// Wraps the body of an answer, so that its end is recorded.
    pub(super) fn watch(self: &Arc<Self>, body: Body) -> Watched {
        Watched { body, progress: Arc::clone(self) }
    }

    /// Records how many bytes the operating system accepted, or that it accepted none.
    fn written(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.pace().take(*bytes, Instant::now()),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pace().wait(Instant::now()),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock()
    }
}

/// The body of an answer. The connection drops it once all its bytes are in the connection's buffer.
pub(super) struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.progress.pace().body_ended();
    }
}

/// The stream of a connection. The connection flushes it once its own buffer is empty.
pub(super) struct Flushes<S> {
    stream: Pin<Box<S>>,
    progress: Arc<Progress>,
}

impl<S> Flushes<S> {
    pub(super) fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self { stream: Box::pin(stream), progress }
    }
}

impl<S: AsyncRead> AsyncRead for Flushes<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, into)
    }
}

impl<S: AsyncWrite> AsyncWrite for Flushes<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write(context, bytes);
        self.progress.written(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.as_mut().poll_flush(context))?;
        self.progress.pace().flushed(Instant::now());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.stream.as_mut().poll_write_vectored(context, slices);
        self.progress.written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
