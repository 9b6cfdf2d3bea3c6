//! Plugin files of the folder: which of them count, and which have changed and settled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use pharos_model::error_chain::chain;
use pharos_model::text;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::watch::DEBOUNCE_MAX;
use crate::plugin::load::blocking::run_blocking;
use crate::plugin::load::folder::{self, DISK_MAX, Entry, Stamp, is_id};

/// Time between two stamps of a file that must agree before it is read. A file that is still being written would be refused.
const SETTLE: Duration = Duration::from_millis(100);
/// Plugin files that are loaded. More are not plugins but a mistake, and each has series of its own.
const FILES_MAX: usize = 100;
/// Files with impossible names that are logged. More would fill the log.
const MISNAMED_MAX: usize = 100;

/// State of a file at the last scan.
pub(super) enum Seen {
    /// The file was read in this state.
    Read(Stamp),
    /// The file could not be read, for this reason.
    Unreadable(String),
}

/// The files of the folder, as they were when they were read.
pub(super) struct Files {
    dir: PathBuf,
    tasks: TaskTracker,
    by_id: BTreeMap<String, Seen>,
    /// A listing of the folder that has not answered yet.
    listing: Option<JoinHandle<Vec<Entry>>>,
    misnamed: BTreeSet<PathBuf>,
    /// Files that were left out last time.
    beyond: usize,
}

/// Files that are followed, and how many are beyond the bound.
pub(super) struct Chosen {
    pub entries: Vec<Entry>,
    pub beyond: usize,
}

impl Files {
    pub(super) fn new(dir: PathBuf, tasks: TaskTracker) -> Self {
        Self { dir, tasks, by_id: BTreeMap::new(), listing: None, misnamed: BTreeSet::new(), beyond: 0 }
    }

    /// Whether the folder has not answered the last listing.
    pub(super) fn is_unanswered(&self) -> bool {
        self.listing.is_some()
    }

    /// Records the state of a file, and returns the state that was recorded before.
    pub(super) fn record(&mut self, id: &str, seen: Seen) -> Option<Seen> {
        self.by_id.insert(id.to_owned(), seen)
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// Ids of files that were seen and are not listed any more.
    pub(super) fn gone(&self, listed: &BTreeSet<String>) -> Vec<String> {
        self.by_id.keys().filter(|id| !listed.contains(*id)).cloned().collect()
    }

    /// Lists the plugin files that are there. While a disk or a network does not answer, it is not asked a second time.
    pub(super) async fn listed(&mut self) -> Result<Vec<Entry>, String> {
        let dir = self.dir.clone();
        let listing = self.listing.get_or_insert_with(|| self.tasks.spawn_blocking(move || folder::entries(&dir)));
        let Ok(listed) = timeout(DISK_MAX, listing).await else {
            return Err(format!("{} was not read within {DISK_MAX:?}", self.dir.display()));
        };
        self.listing = None;
        let mut entries = listed.map_err(|err| err.to_string())?;
        entries.retain(|entry| is_id(&entry.id) || self.misname(entry));
        Ok(entries)
    }

    /// Logs once that a file has a name that no plugin may have. Always false, for `retain`.
    fn misname(&mut self, entry: &Entry) -> bool {
        if self.misnamed.len() < MISNAMED_MAX && self.misnamed.insert(entry.path.clone()) {
            let path = text::line(&entry.path.to_string_lossy(), text::LINE_BYTES_MAX).into_owned();
            warn!(path, "ignoring a plugin file: its name must be lower-case letters, digits and dashes");
        }
        false
    }

    /// The files that count: those that the config or the binary name, then those that are followed already, then the others.
    pub(super) fn chosen(&self, mut entries: Vec<Entry>, is_named: impl Fn(&str) -> bool) -> Chosen {
        let rank = |id: &String| match () {
            () if is_named(id) => 0,
            () if self.by_id.contains_key(id) => 1,
            () => 2,
        };
        let beyond = entries.len().saturating_sub(FILES_MAX);
        entries.sort_by_cached_key(|entry| (rank(&entry.id), entry.id.clone()));
        entries.truncate(FILES_MAX);
        Chosen { entries, beyond }
    }

    /// Reports files beyond the bound, and logs them once.
    pub(super) fn left_out(&mut self, files: usize) -> Option<String> {
        let before = std::mem::replace(&mut self.beyond, files);
        if files == 0 {
            return None;
        }
        let dir = self.dir.display();
        let why = format!("{files} plugin files in {dir} are left out, since at most {FILES_MAX} are loaded; remove what is no plugin");
        if before == 0 {
            warn!("{why}");
        }
        Some(why)
    }

    /// Whether a file is as it was at the last scan.
    pub(super) fn is_seen(&self, entry: &Entry) -> bool {
        match (self.by_id.get(&entry.id), &entry.stamp) {
            (Some(Seen::Read(seen)), Ok(stamp)) => seen == stamp,
            (Some(Seen::Unreadable(seen)), Err(err)) => *seen == chain(err),
            _ => false,
        }
    }

    /// Waits until two stamps of each of these files agree.
    pub(super) async fn settled(&self, changed: Vec<Entry>) -> Vec<Entry> {
        let cap = Instant::now() + DEBOUNCE_MAX;
        let (mut moving, mut settled) = (changed, Vec::new());
        while !moving.is_empty() {
            sleep(SETTLE).await;
            let again = move || {
                let look = |entry: Entry| {
                    let stamp = Stamp::read(&entry.path);
                    let agree = matches!((&entry.stamp, &stamp), (Ok(before), Ok(now)) if before == now) || stamp.is_err();
                    (agree, Entry { stamp, ..entry })
                };
                moving.into_iter().map(look).partition::<Vec<_>, _>(|(agree, _)| *agree)
            };
            // A disk that stopped to answer is noticed by the next scan, which sees the files as they are then.
            let Ok((agreed, others)) = timeout(DISK_MAX, run_blocking(&self.tasks, again)).await else { return settled };
            settled.extend(agreed.into_iter().map(|(_, entry)| entry));
            moving = others.into_iter().map(|(_, entry)| entry).collect();
            if Instant::now() > cap {
                settled.append(&mut moving);
            }
        }
        settled
    }
}
