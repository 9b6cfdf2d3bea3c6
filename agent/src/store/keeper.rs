//! The thread of the store: runs the work that others send on the file, and retains essential writes in memory while the file fails.
//!
//! The file may be full, damaged, missing or read-only while the agent runs. The keeper repairs the file at once where that is possible,
//! and runs the work again. Where it is not, essential work runs in memory only. The status reports that, and the file gets it later.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::error_chain::chain;
use rusqlite::{Connection, Error};
use tracing::{error, info, warn};

use super::ballast::Ballast;
use super::condition::{Condition, Harm};
use super::damage;
use super::directory::{DATABASE_FILE, claim, with_suffix};
use super::error::StoreError;
use super::file::{self, StoreFile};
use super::lock::{self, lock};
use super::memory::Memory;
use crate::clock::Clock;

/// Work on a database. It may run more than once.
pub(super) type Work<T> = dyn Fn(&mut Connection) -> rusqlite::Result<T> + Send;

/// The number of attempts at one piece of work. A repair happens between two of them.
const ATTEMPTS_MAX: usize = 6;
/// The pause before a file that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    directory: PathBuf,
    path: PathBuf,
    /// The open file. `None` while it cannot be used.
    file: Option<StoreFile>,
    memory: Memory,
    /// True while the memory has writes that the file lacks.
    behind: bool,
    /// True while a file exists that could not be read. Its contents are unknown.
    unread: bool,
    ballast: Ballast,
    /// The present trouble of the file, with the text of its error.
    harm: Option<(Harm, String)>,
    /// The monotonic time of the last failed attempt.
    tried_at: Option<Duration>,
    damaged: Option<PathBuf>,
    past_trouble: Option<String>,
    condition: Arc<Mutex<Condition>>,
    clock: Clock,
    lock: File,
}

/// The reason why work did not run on the file.
enum Failure {
    /// The file cannot be used.
    File,
    /// The statement itself is wrong.
    Work(Error),
}

impl Keeper {
    /// Locks the directory and opens or creates its store. A failing file does not stop the start. A store of another agent or of a newer
    /// version does.
    pub(super) fn open(directory: &Path, condition: Arc<Mutex<Condition>>) -> Result<Self, StoreError> {
        let path = directory.join(DATABASE_FILE);
        let mut keeper = Self {
            directory: directory.to_owned(),
            file: None,
            memory: Memory::new()?,
            behind: true,
            unread: false,
            ballast: Ballast::find(directory),
            harm: None,
            tried_at: None,
            damaged: None,
            past_trouble: None,
            condition,
            clock: Clock::start(),
            lock: lock(directory)?,
            path,
        };
        keeper.open_first()?;
        keeper.maintain();
        Ok(keeper)
    }

    /// Opens the file for the first time, and loads what the previous agent stored.
    fn open_first(&mut self) -> Result<(), StoreError> {
        match self.open_file() {
            Ok(file) => {
                let loaded = self.memory.load(&file.connection);
                loaded.map_err(|source| StoreError::Open { path: self.path.clone(), source })?;
                self.behind = false;
                self.file = Some(file);
            }
            Err(err) if Harm::of_opening(&err).is_none() => return Err(err),
            Err(err) => {
                error!(error = chain(&err), "the state store cannot be used; alerts are stored in memory until it can");
                self.record_harm(Harm::of_opening(&err).unwrap_or(Harm::Disk), chain(&err));
                match self.memory.load_file(&self.path) {
                    Err(err) if Harm::of_opening(&err).is_none() => return Err(err),
                    Err(err) => {
                        error!(error = chain(&err), "the state of the previous agent cannot be read");
                        self.unread = self.path.exists();
                    }
                    Ok(()) => info!("the state of the previous agent was read all the same"),
                }
            }
        }
        Ok(())
    }

    /// Opens the file. A damaged file is set aside, and a full disk gets a piece of the ballast.
    fn open_file(&mut self) -> Result<StoreFile, StoreError> {
        loop {
            let err = match StoreFile::open(&self.path) {
                Ok(file) => return Ok(file),
                Err(err) => err,
            };
            match Harm::of_opening(&err) {
                Some(Harm::Full) if self.ballast.give_back() => self.record_harm(Harm::Full, chain(&err)),
                Some(Harm::Damaged) if self.set_aside(&chain(&err)).is_ok() => {}
                _ => return Err(err),
            }
        }
    }

    /// Reads from the file.
    pub(super) fn read<T>(&mut self, work: &Work<T>) -> Result<T, StoreError> {
        self.on_file(work, false).map_err(|failure| self.refusal(failure))
    }

    /// Reads essential data from the file, or from memory while the file lacks writes.
    pub(super) fn read_essential<T>(&mut self, work: &Work<T>) -> Result<T, StoreError> {
        if !self.behind
            && let Ok(known) = self.on_file(work, false)
        {
            return Ok(known);
        }
        work(&mut self.memory.connection).map_err(|source| StoreError::Query { source })
    }

    /// Writes essential data. While the file fails, memory retains the write.
    pub(super) fn write_essential<T>(&mut self, work: &Work<T>) -> Result<T, StoreError> {
        match self.on_file(work, true) {
            Ok(done) => {
                self.repeat_in_memory(work);
                Ok(done)
            }
            Err(Failure::Work(source)) => Err(StoreError::Query { source }),
            Err(Failure::File) => {
                self.behind = true;
                work(&mut self.memory.connection).map_err(|source| StoreError::Query { source })
            }
        }
    }

    /// Writes into the file, or fails. Used where a person waits for the answer.
    pub(super) fn write_durable<T>(&mut self, work: &Work<T>) -> Result<T, StoreError> {
        let done = self.on_file(work, true).map_err(|failure| self.refusal(failure))?;
        self.repeat_in_memory(work);
        Ok(done)
    }

    /// Writes data that may be missing. Refused while the file has trouble, so that essential writes have the space.
    pub(super) fn write_optional<T>(&mut self, work: &Work<T>) -> Result<T, StoreError> {
        if self.harm.is_some() {
            return Err(self.refusal(Failure::File));
        }
        self.on_file(work, false).map_err(|failure| self.refusal(failure))
    }

    /// Repeats a write in memory, and removes from memory what only the file needs.
    fn repeat_in_memory<T>(&mut self, work: &Work<T>) {
        let repeated = work(&mut self.memory.connection).and_then(|_| self.memory.remove_written());
        if let Err(err) = repeated {
            error!(error = %err, "the copy of the state store in memory is wrong, reading it again");
            if let Some(file) = &self.file {
                let _ = self.memory.load(&file.connection);
            }
        }
    }

    /// Runs work on the file, and runs it again after each successful repair.
    fn on_file<T>(&mut self, work: &Work<T>, is_essential: bool) -> Result<T, Failure> {
        self.restore_place();
        if self.behind {
            self.catch_up();
        }
        for _ in 0..ATTEMPTS_MAX {
            if self.behind {
                break;
            }
            let Some(file) = &mut self.file else { break };
            let err = match work(&mut file.connection) {
                Ok(done) => return Ok(done),
                Err(err) => err,
            };
            let Some(harm) = Harm::of(&err) else {
                self.count("statement");
                return Err(Failure::Work(err));
            };
            error!(error = %err, "the state store could not be used");
            self.record_harm(harm, err.to_string());
            if !self.repair(harm, &err, is_essential) {
                break;
            }
            if harm != Harm::Full {
                self.harm = None;
            }
        }
        Err(Failure::File)
    }

    /// Repairs the file if that is possible at once. Returns true if the work may run again.
    fn repair(&mut self, harm: Harm, err: &Error, is_essential: bool) -> bool {
        match harm {
            Harm::Full => is_essential && self.make_room(),
            Harm::Damaged => self.replace_damaged(&err.to_string()),
            Harm::Disk => {
                let text = format!("the disk failed ({err}); everything was written to a new file and verified, check the disk");
                let moved = self.move_into_new_file();
                self.past_trouble = moved.then_some(text).or(self.past_trouble.take());
                moved
            }
            Harm::ReadOnly | Harm::Busy => false,
        }
    }

    fn make_room(&mut self) -> bool {
        let gave = self.ballast.give_back();
        if gave && let Some(file) = &self.file {
            warn!(left = self.ballast.bytes(), "the disk is full: the space reserved for alerts is used now");
            file.shorten_log();
        }
        gave
    }

    /// Sets the file aside, and writes the contents of memory into a new one.
    fn replace_damaged(&mut self, why: &str) -> bool {
        self.file = None;
        self.behind = true;
        self.set_aside(why).is_ok() && self.reopen()
    }

    fn set_aside(&mut self, why: &str) -> io::Result<()> {
        let aside = damage::set_aside(&self.path).inspect_err(|err| error!(error = %err, "a damaged store cannot be set aside"))?;
        error!(error = why, "the state store is damaged; it was moved to {}, and a new one begins", aside.display());
        self.damaged = Some(aside);
        Ok(())
    }

    /// Checks that file and directory still have their names, and restores them from the open file if not.
    fn restore_place(&mut self) {
        if self.file.as_ref().is_none_or(StoreFile::is_in_place) {
            return;
        }
        error!("the state store's file was removed, writing it again");
        if self.move_into_new_file() {
            self.past_trouble = Some(format!("{} was removed while the agent ran, which wrote it again", self.path.display()));
        }
    }

    /// Writes the contents of the open file into a new one, which replaces it.
    fn move_into_new_file(&mut self) -> bool {
        let saved = with_suffix(&self.path, ".new");
        let copied = self.claim_directory().and_then(|()| match &self.file {
            Some(file) => file.save_to(&saved),
            None => Err(StoreError::Closed),
        });
        let is_stranger = self.path.exists() && self.file.as_ref().is_some_and(|file| !file.has_its_name());
        // SQLite may use the file's name when it closes it, so the file is closed before another one gets this name.
        self.file = None;
        self.behind = true;
        let placed = match copied {
            _ if is_stranger && self.set_aside("another file has its name").is_err() => return false,
            Ok(()) => file::place(&saved, &self.path),
            Err(err) => {
                error!(error = chain(&err), "the contents of the state store's open file could not be saved; the contents of memory are");
                Ok(())
            }
        };
        match placed {
            Ok(()) => self.reopen(),
            Err(err) => {
                self.record_harm(Harm::of_io(&err), err.to_string());
                false
            }
        }
    }

    /// Makes sure that the directory exists and is locked by this agent.
    fn claim_directory(&mut self) -> Result<(), StoreError> {
        if !lock::is_in_place(&self.lock, &self.directory) {
            claim(&self.directory)?;
            self.lock = lock(&self.directory)?;
        }
        Ok(())
    }

    /// Opens the file, and writes what only memory has.
    fn reopen(&mut self) -> bool {
        match self.claim_directory().and_then(|()| self.open_file()) {
            Ok(file) => self.file = Some(file),
            Err(err) => {
                self.record_harm(Harm::of_opening(&err).unwrap_or(Harm::Disk), chain(&err));
                return false;
            }
        }
        self.write_behind()
    }

    /// Writes what only memory has into the open file.
    fn write_behind(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        let aside = self.damaged.as_ref().map(|aside| aside.display().to_string());
        let written = self.memory.write_to(&mut file.connection, aside.as_deref(), self.clock.wall_ms());
        if let Err(err) = &written {
            let harm = Harm::of(err).unwrap_or(Harm::Disk);
            self.record_harm(harm, err.to_string());
            if matches!(harm, Harm::Damaged | Harm::Disk) {
                self.file = None;
            }
        }
        self.behind = written.is_err();
        written.is_ok()
    }

    /// Tries to write what only memory has, once per [`RETRY`].
    fn catch_up(&mut self) {
        let now = self.clock.monotonic();
        if self.tried_at.is_some_and(|tried_at| now.saturating_sub(tried_at) < RETRY) {
            return;
        }
        self.tried_at = Some(now);
        if self.unread && self.set_aside("it could not be read at the start").is_err() {
            return;
        }
        self.unread = false;
        let written = if self.file.is_some() { self.write_behind() } else { self.reopen() };
        if written {
            info!("the changes that the state store lacked are written");
        }
    }

    /// Checks the file, writes what it lacks, and restores the ballast. The agent calls this once a second.
    pub(super) fn maintain(&mut self) {
        self.restore_place();
        if self.behind {
            self.catch_up();
        }
        let is_well = self.ballast.is_whole() && self.harm.is_none();
        match if is_well { Ok(()) } else { self.ballast.restore() } {
            Ok(()) if !self.behind && self.harm.take().is_some() => info!("the state store works again"),
            Err(err) if self.harm.is_none() => self.record_harm(Harm::of_io(&err), format!("reserving space for alerts: {err}")),
            _ => {}
        }
        self.publish_condition();
    }

    fn record_harm(&mut self, harm: Harm, why: String) {
        self.count(harm.kind());
        self.harm = Some((harm, why));
        self.publish_condition();
    }

    fn refusal(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Work(source) => StoreError::Query { source },
            Failure::File => StoreError::Degraded { cause: self.trouble().unwrap_or_default() },
        }
    }

    /// The present trouble as a sentence with consequence and cure.
    fn trouble(&self) -> Option<String> {
        let (harm, why) = self.harm.as_ref()?;
        let (path, cure) = (self.path.display(), harm.cure());
        let consequence = match (self.behind, *harm) {
            (true, _) => "alerts are stored in memory only and would not survive the end of the agent",
            (false, Harm::Full) => "alerts are stored in space reserved for them, the state of plugins and other events are not",
            (false, _) => "alerts are stored, the state of plugins and other events are not",
        };
        Some(format!(
            "the state store {path} does not work completely: {why}; {consequence}; {cure}, and the agent uses it again by itself"
        ))
    }

    /// Publishes the condition, which handles read without waiting for this thread.
    pub(super) fn publish_condition(&self) {
        let mut condition = self.condition.lock();
        condition.trouble = self.trouble();
        condition.damaged.clone_from(&self.damaged);
        condition.past_trouble.clone_from(&self.past_trouble);
        condition.size_bytes = file::size_bytes(&self.path);
    }

    fn count(&self, kind: &'static str) {
        *self.condition.lock().failures.entry(kind).or_default() += 1;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.behind {
            self.tried_at = None;
            self.catch_up();
        }
        if self.behind {
            error!("the changes of alerts since the state store failed are lost when this agent ends");
        }
        // The connection is closed before the lock is released, so that no agent opens a store that is still being closed.
        self.file = None;
    }
}
