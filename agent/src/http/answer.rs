//! How far the answer on one connection is: it is under way until its last byte is with the operating system.
//!
//! A handler returns the head of an answer; the body follows as fast as the visitor takes it. Three places see that: the service sees a
//! request begin, the body sees its own end, and the stream sees the last bytes leave.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Time after which an answer under way makes room like a half request: visitors that take an answer in drops must not hold all places.
const UNDISTURBED_MAX: Duration = Duration::from_secs(30);

/// No request is being answered.
const IDLE: u8 = 0;
/// A whole request is here; its answer is being made, or its body follows.
const ANSWERING: u8 = 1;
/// The body has ended; its last bytes may still be in the connection's buffer.
const FLUSHING: u8 = 2;

/// The answer of one connection, if there is one.
#[derive(Debug)]
pub struct Progress {
    phase: AtomicU8,
    began_at: Mutex<Instant>,
}

impl Progress {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { phase: AtomicU8::new(IDLE), began_at: Mutex::new(Instant::now()) })
    }

    /// A whole request is here.
    pub fn begin(&self) {
        *self.began_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.phase.store(ANSWERING, Ordering::Release);
    }

    pub fn is_answering(&self) -> bool {
        self.phase.load(Ordering::Acquire) != IDLE
    }

    /// Whether the connection must not make room for another one now.
    pub fn is_undisturbed(&self) -> bool {
        self.is_answering() && self.began_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < UNDISTURBED_MAX
    }

    /// The body of an answer, which reports its end.
    pub fn watch(self: &Arc<Self>, body: Body) -> Watched {
        Watched { body, progress: Arc::clone(self) }
    }

    fn body_ended(&self) {
        let _ = self.phase.compare_exchange(ANSWERING, FLUSHING, Ordering::AcqRel, Ordering::Acquire);
    }

    fn flushed(&self) {
        let _ = self.phase.compare_exchange(FLUSHING, IDLE, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The body of an answer. The connection drops it when the last of it is in the connection's buffer.
pub struct Watched {
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
        self.progress.body_ended();
    }
}

/// The stream of a connection. The connection flushes it once its own buffer is empty.
pub struct Flushes<S> {
    stream: Pin<Box<S>>,
    progress: Arc<Progress>,
}

impl<S> Flushes<S> {
    pub fn new(stream: S, progress: Arc<Progress>) -> Self {
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
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.as_mut().poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.progress.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
