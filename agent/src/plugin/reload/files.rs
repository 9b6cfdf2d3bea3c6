//! What the reload follows: which files of the folder count, and which of them have changed and settled.

use std::time::Duration;

use pharos_model::text;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{DEBOUNCE_MAX, Reloader};
use crate::plugin::load::folder::{self, DISK_MAX, Entry, Stamp, is_id};
use crate::plugin::load::loader::aside;
use crate::telemetry::logs::chain;

/// Two looks at a file this far apart must agree before it is read.
const SETTLE: Duration = Duration::from_millis(100);
/// Plugin files that are loaded. More are not plugins but a mistake, and each is a subject of the watch over the agent itself.
const FILES_MAX: usize = 100;
/// Files with impossible names that are said.
const MISNAMED_MAX: usize = 100;

/// A file when it was last looked at.
pub enum Seen {
    /// It was read in this state.
    Read(Stamp),
    /// It could not be read, and why.
    Unreadable(String),
}

impl Reloader {
    /// The plugin files that are there. A disk or a network that does not answer is said, and asked no second time meanwhile.
    pub(super) async fn listed(&mut self) -> Result<Vec<Entry>, String> {
        let dir = self.config.dir.clone();
        let looking = self.looking.get_or_insert_with(|| self.loader.tasks.spawn_blocking(move || folder::entries(&dir)));
        let Ok(looked) = timeout(DISK_MAX, looking).await else {
            return Err(format!("{} was not read within {DISK_MAX:?}", self.config.dir.display()));
        };
        self.looking = None;
        let mut entries = looked.map_err(|err| err.to_string())?;
        entries.retain(|entry| is_id(&entry.id) || self.misname(entry));
        Ok(entries)
    }

    /// Says once that a file has a name that no plugin may have. Never true, for `retain`.
    fn misname(&mut self, entry: &Entry) -> bool {
        if self.misnamed.len() < MISNAMED_MAX && self.misnamed.insert(entry.path.clone()) {
            let path = text::line(&entry.path.to_string_lossy(), text::LINE_BYTES_MAX).into_owned();
            warn!(path, "ignoring a plugin file: its name must be lower-case letters, digits and dashes");
        }
        false
    }

    /// The files that count: those that the config or the binary is about, then those that are followed already, then the others.
    pub(super) fn chosen(&self, mut entries: Vec<Entry>) -> (Vec<Entry>, usize) {
        let rank = |id: &String| {
            let is_named = self.loader.plugins.contains_key(id) || self.loader.receivers.iter().any(|receiver| receiver.plugin == *id);
            match () {
                () if is_named || self.shipped.iter().any(|(shipped, _)| shipped == id) => 0,
                () if self.files.contains_key(id) => 1,
                () => 2,
            }
        };
        let beyond = entries.len().saturating_sub(FILES_MAX);
        entries.sort_by_cached_key(|entry| (rank(&entry.id), entry.id.clone()));
        entries.truncate(FILES_MAX);
        (entries, beyond)
    }

    /// What people are told of files beyond the bound; once in the log.
    pub(super) fn left_out(&mut self, files: usize) -> Option<String> {
        let before = std::mem::replace(&mut self.beyond, files);
        if files == 0 {
            return None;
        }
        let dir = self.config.dir.display();
        let why = format!("{files} plugin files in {dir} are left out, since at most {FILES_MAX} are loaded; remove what is no plugin");
        if before == 0 {
            warn!("{why}");
        }
        Some(why)
    }

    /// Whether a file is as it was when it was last looked at.
    pub(super) fn is_seen(&self, entry: &Entry) -> bool {
        match (self.files.get(&entry.id), &entry.stamp) {
            (Some(Seen::Read(seen)), Ok(stamp)) => seen == stamp,
            (Some(Seen::Unreadable(seen)), Err(err)) => *seen == chain(err),
            _ => false,
        }
    }

    /// Waits until two looks at each of these files agree.
    pub(super) async fn settled(&self, changed: Vec<Entry>) -> Vec<Entry> {
        let cap = Instant::now() + DEBOUNCE_MAX;
        let (mut moving, mut settled) = (changed, Vec::new());
        while !moving.is_empty() {
            sleep(SETTLE).await;
            let again = move || {
                let look = |entry: Entry| {
                    let stamp = Stamp::of(&entry.path);
                    let agree = matches!((&entry.stamp, &stamp), (Ok(before), Ok(now)) if before == now) || stamp.is_err();
                    (agree, Entry { stamp, ..entry })
                };
                moving.into_iter().map(look).partition::<Vec<_>, _>(|(agree, _)| *agree)
            };
            // A disk that stopped to answer is noticed by the next scan, which sees the files as they are then.
            let Ok((agreed, others)) = timeout(DISK_MAX, aside(&self.loader.tasks, again)).await else { return settled };
            settled.extend(agreed.into_iter().map(|(_, entry)| entry));
            moving = others.into_iter().map(|(_, entry)| entry).collect();
            if Instant::now() > cap {
                settled.append(&mut moving);
            }
        }
        settled
    }
}
