//! The processes of a server, as the operating system sees them.
//!
//! The working folder identifies them, since each server has its own. Their parent does not: that is lost when a parent is killed.
//! PostgreSQL makes each child a session leader, so a signal to a process group would not reach them.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// The longest tidy end of a dropped server, before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("starting {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("sending signal {signal} to process {pid}")]
    Signal { pid: u32, signal: i32, source: io::Error },
    #[error("checking whether process {pid} ended")]
    Wait { pid: u32, source: io::Error },
    #[error("process {pid} did not stop within {FREEZE_DEADLINE:?}")]
    NotFrozen { pid: u32 },
    #[error("process {pid} does not belong to this server")]
    Foreign { pid: u32 },
    #[error("{} processes still run after {deadline:?}", survivors.len())]
    StillRunning { survivors: Vec<u32>, deadline: Duration },
}

/// A started server: its first process and all that descend from it. Dropping it ends them all.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    folder: PathBuf,
    drop_signal: Signal,
}

impl ServerProcess {
    /// Starts `command` in its own process group, so that a Ctrl-C on our terminal reaches us alone.
    /// `folder` must be the working folder it has or takes; `drop_signal` ends it fast but tidily.
    pub fn spawn(mut command: Command, folder: &Path, drop_signal: Signal) -> Result<Self, ProcessError> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| ProcessError::Spawn { program: command.get_program().into(), source })?;
        Ok(Self { child, folder: folder.to_owned(), drop_signal })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lists every process of the server that runs now.
    pub fn pids(&self) -> Vec<u32> {
        processes_in(&self.folder)
    }

    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let pid = self.pid();
        self.child.try_wait().map_err(|source| ProcessError::Wait { pid, source })
    }

    /// Waits until the first process ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus, ProcessError> {
        loop {
            match self.exit_status()? {
                Some(status) => return Ok(status),
                None => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Freezes every process. Connections stay open and nothing answers.
    pub async fn freeze(&self) -> Result<(), ProcessError> {
        // A child may appear until its parent stands still, so look again after each round.
        loop {
            let awake: Vec<u32> = self.pids().into_iter().filter(|&pid| !is_frozen_or_gone(pid)).collect();
            if awake.is_empty() {
                return Ok(());
            }
            for pid in awake {
                freeze(pid).await?;
            }
        }
    }

    pub fn thaw(&self) -> Result<(), ProcessError> {
        self.pids().into_iter().try_for_each(|pid| signal(pid, Signal::CONT))
    }

    /// Freezes a single process of the server.
    pub async fn freeze_one(&self, pid: u32) -> Result<(), ProcessError> {
        self.check_ours(pid)?;
        freeze(pid).await
    }

    pub fn thaw_one(&self, pid: u32) -> Result<(), ProcessError> {
        self.check_ours(pid)?;
        signal(pid, Signal::CONT)
    }

    /// Thaws all processes, signals the first one to end, and waits until none is left.
    pub async fn end(&mut self, with: Signal, deadline: Duration) -> Result<(), ProcessError> {
        self.ask_to_end(with)?;
        let started = Instant::now();
        while !self.is_over()? {
            if started.elapsed() > deadline {
                return Err(ProcessError::StillRunning { survivors: self.pids(), deadline });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends every process without a chance to tidy up, as a power cut would.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        let started = Instant::now();
        while !self.kill_listed()? {
            if started.elapsed() > KILL_DEADLINE {
                return Err(ProcessError::StillRunning { survivors: self.pids(), deadline: KILL_DEADLINE });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    fn check_ours(&self, pid: u32) -> Result<(), ProcessError> {
        if self.pids().contains(&pid) { Ok(()) } else { Err(ProcessError::Foreign { pid }) }
    }

    fn ask_to_end(&mut self, with: Signal) -> Result<(), ProcessError> {
        self.thaw()?;
        // Once the first process has ended, its number may belong to another program.
        if self.exit_status()?.is_none() { signal(self.pid(), with) } else { Ok(()) }
    }

    /// Signals every process, and returns true once none is left. Call it again until then, since a child may appear meanwhile.
    fn kill_listed(&mut self) -> Result<bool, ProcessError> {
        self.pids().into_iter().try_for_each(|pid| signal(pid, Signal::KILL))?;
        self.is_over()
    }

    fn is_over(&mut self) -> Result<bool, ProcessError> {
        Ok(self.exit_status()?.is_some() && self.pids().is_empty())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let ended = match self.ask_to_end(self.drop_signal) {
            Ok(()) => block_until(DROP_PATIENCE, || self.is_over()),
            Err(error) => Err(error),
        };
        let killed = match ended {
            Ok(true) => return,
            _ => block_until(KILL_DEADLINE, || self.kill_listed()),
        };
        if !matches!(killed, Ok(true)) {
            tracing::warn!(pid = self.pid(), "processes of a throw-away server are left");
        }
    }
}

/// Waits without a runtime: `drop` cannot await, and a test may have paused the clock.
fn block_until(patience: Duration, mut done: impl FnMut() -> Result<bool, ProcessError>) -> Result<bool, ProcessError> {
    for _ in 0..patience.as_millis() / POLL_INTERVAL.as_millis() {
        if done()? {
            return Ok(true);
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(false)
}

async fn freeze(pid: u32) -> Result<(), ProcessError> {
    signal(pid, Signal::STOP)?;
    let started = Instant::now();
    while !is_frozen_or_gone(pid) {
        if started.elapsed() > FREEZE_DEADLINE {
            return Err(ProcessError::NotFrozen { pid });
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

fn is_frozen_or_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The name before the state is in brackets and may itself contain any.
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X'])),
        Err(_) => true,
    }
}

/// Sends a signal. A process that is gone already is no error.
fn signal(pid: u32, signal: Signal) -> Result<(), ProcessError> {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(ProcessError::Foreign { pid });
    };
    match kill_process(target, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(ProcessError::Signal { pid, signal: signal.as_raw(), source: errno.into() }),
    }
}

fn processes_in(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Fails for processes that ended, zombies, and those of other users: none of them is ours.
            let working_folder = fs::read_link(entry.path().join("cwd")).ok()?;
            (working_folder == folder).then_some(pid)
        })
        .collect()
}
