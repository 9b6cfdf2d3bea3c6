//! The queue of log lines, and the thread that writes them.
//!
//! Logging never waits. If nothing reads the output, only lines are lost. Lines without room in the queue are counted, and the count is
//! logged as soon as lines can be written again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// The longest queue, in lines. A longer one would fill the memory while the output is blocked.
const QUEUED_LINES_MAX: usize = 4_096;
/// The longest queue, in bytes. Few long lines fill the memory as well as many short ones.
const QUEUED_BYTES_MAX: usize = 1 << 20;
/// The pause before an output that accepts nothing is tried again.
const BLOCKED_PAUSE: Duration = Duration::from_millis(50);

/// The queue of the log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    queue: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Mutex<Waiting>,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: usize,
    bytes: usize,
    /// Lost lines since the start, and those of them that the log has not reported yet.
    dropped: u64,
    unsaid: u64,
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

impl Lines {
    /// Starts the thread that writes into `out`.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUED_LINES_MAX);
        let state = Arc::new(State::default());
        let writer = Arc::clone(&state);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &lines, &writer))?;
        Ok(Self { queue, state })
    }

    /// The number of lost lines since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.waiting().dropped
    }

    /// Waits until every line is written, and no longer than `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let mut waiting = self.state.waiting();
        self.state.written.wait_while_for(&mut waiting, |waiting| waiting.lines > 0, patience);
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.state.waiting();
        let fits = waiting.bytes + line.len() <= QUEUED_BYTES_MAX || waiting.lines == 0;
        // Counted before the writer can see it.
        (waiting.lines, waiting.bytes) = (waiting.lines + 1, waiting.bytes + line.len());
        let taken = fits && !matches!(self.queue.try_send(line.to_vec()), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)));
        if !taken {
            (waiting.lines, waiting.bytes) = (waiting.lines - 1, waiting.bytes - line.len());
            (waiting.dropped, waiting.unsaid) = (waiting.dropped + 1, waiting.unsaid + 1);
        }
    }
}

fn write(mut out: impl Write, lines: &Receiver<Vec<u8>>, state: &State) {
    while let Ok(line) = lines.recv() {
        let is_out = write_line(&mut out, &line);
        let mut waiting = state.waiting();
        (waiting.lines, waiting.bytes) = (waiting.lines - 1, waiting.bytes - line.len());
        if !is_out {
            (waiting.dropped, waiting.unsaid) = (waiting.dropped + 1, waiting.unsaid + 1);
        }
        let lost = if is_out { std::mem::take(&mut waiting.unsaid) } else { 0 };
        drop(waiting);
        state.written.notify_all();
        if lost > 0 {
            warn!(lines = lost, "{lost} lines of the log were lost, since nothing read them");
        }
    }
}

/// Writes one line. Returns false if the output did not take all of it.
fn write_line(out: &mut impl Write, mut line: &[u8]) -> bool {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return false,
            Ok(count) => line = &line[count..],
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the output made it non-blocking.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => thread::sleep(BLOCKED_PAUSE),
            Err(_) => return false,
        }
    }
    out.flush().is_ok()
}

/// The formatter hands over a whole line at once.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
