//! The task that makes the host's plugins equal to the files of the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::agent_part::AgentPart;
use pharos_model::error_chain::chain;
use pharos_model::snapshot::Change;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::files::{Chosen, Files, Seen};
use super::watch::FolderWatch;
use crate::board::{Board, PartHealth};
use crate::config::plugins::PluginsConfig;
use crate::config::shape::did_you_mean;
use crate::plugin::host::PluginHost;
use crate::plugin::load::blocking::run_blocking;
use crate::plugin::load::folder::{self, DISK_MAX, Entry, FileError, Shipped, Stamp};
use crate::plugin::load::loader::Loader;
use crate::plugin::load::validate::inspect;
use crate::plugin::slot::{Origin, Slot};
use crate::plugin::stage::Stage;
use crate::plugin::world::notifier::NOTIFIER;

/// Time after which a missing file counts as removed. Some tools replace a file by removing it first.
const REMOVAL_GRACE: Duration = Duration::from_secs(2);

/// The task that makes the host's plugins equal to the files of the folder.
pub struct Reloader {
    pub(super) loader: Loader,
    pub(super) host: PluginHost,
    pub(super) shipped: Shipped,
    board: Arc<Board>,
    config: PluginsConfig,
    files: Files,
    watch: FolderWatch,
    missing: BTreeMap<String, Instant>,
}

impl Reloader {
    /// A new generation is tried on the latest snapshots of the board.
    pub fn new(loader: Loader, host: PluginHost, config: PluginsConfig, shipped: Shipped, board: Arc<Board>) -> Self {
        let files = Files::new(config.dir.clone(), loader.tasks.clone());
        let watch = FolderWatch::new(&config);
        Self { loader, host, shipped, board, config, files, watch, missing: BTreeMap::new() }
    }

    /// Loads everything, then follows the folder until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut unwatched =
            tokio::select! { () = stop.cancelled() => return, unwatched = self.watch.attach(&self.loader.tasks) => unwatched };
        tokio::select! { () = stop.cancelled() => return, () = self.load_shipped() => {} }
        loop {
            let left_out = tokio::select! { () = stop.cancelled() => return, left_out = self.scan() => left_out };
            let troubles: Vec<String> = unwatched.into_iter().chain(left_out).chain(self.loader.compiler.trouble()).collect();
            let state = if troubles.is_empty() { PartHealth::Ok } else { PartHealth::Degraded };
            self.board.set(AgentPart::PluginReload, state, (!troubles.is_empty()).then(|| troubles.join("; ")));
            let next = self.missing.values().map(|since| *since + REMOVAL_GRACE).min();
            let wake = next.unwrap_or_else(|| Instant::now() + self.config.rescan).min(Instant::now() + self.config.rescan);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(wake) => {}
                () = self.watch.changed() => self.watch.debounce().await,
            }
            // A folder that does not answer is not asked for a watch either.
            unwatched = match self.files.is_unanswered() {
                true => None,
                false => tokio::select! { () = stop.cancelled() => return, unwatched = self.watch.attach(&self.loader.tasks) => unwatched },
            };
        }
    }

    /// The latest snapshot of every subject.
    pub(super) fn latest(&self) -> Vec<Arc<Change>> {
        self.board.picture().subjects.values().cloned().collect()
    }

    /// Shows every plugin that will be loaded, before the first one is loaded. If the folder does not answer, these are the shipped ones.
    pub async fn announce(&mut self) {
        let listed = self.files.listed().await;
        let entries = listed.unwrap_or_else(|why| {
            warn!("{why}; the plugins inside this binary are started without it");
            Vec::new()
        });
        let files = self.chosen(entries).entries.into_iter().map(|entry| entry.id);
        let ids: BTreeSet<String> = self.shipped.iter().map(|(id, _)| id.clone()).chain(files).collect();
        self.warn_unknown(&ids);
        for id in ids {
            let enabled = self.is_enabled(&id);
            self.host.slots().insert(id.clone(), Slot { enabled, loading: enabled, ..Slot::default() });
            self.host.measure(&id);
        }
    }

    /// Settings and receivers of plugins that are not there: a misspelt id would otherwise go unnoticed.
    fn warn_unknown(&self, ids: &BTreeSet<String>) {
        let configured = self.loader.plugins.keys().map(|id| (format!("[plugin.{id}]"), id));
        let receivers = self.loader.receivers.iter().map(|receiver| (format!("receiver \"{}\"", receiver.name), &receiver.plugin));
        for (place, id) in configured.chain(receivers).filter(|(_, id)| !ids.contains(*id)) {
            let hint = did_you_mean(id, ids.iter().map(String::as_str));
            warn!(plugin = id, "{place} is about a plugin that is not there (no `{id}.wasm` in {}){hint}", self.config.dir.display());
        }
    }

    fn is_enabled(&self, id: &str) -> bool {
        self.loader.plugins.get(id).is_none_or(|config| config.enabled)
    }

    /// Loads the plugins inside the binary. Notifiers come first, so that the first finding can be delivered.
    async fn load_shipped(&mut self) {
        let shipped = self.shipped.clone();
        let is_notifier = |bytes: &[u8]| inspect(bytes).is_ok_and(|found| found.world == NOTIFIER);
        let sorted = run_blocking(&self.loader.tasks, move || shipped.into_iter().partition(|(_, bytes)| is_notifier(bytes))).await;
        let (notifiers, others): (Shipped, Shipped) = sorted;
        let listed: BTreeSet<String> = self.files.listed().await.unwrap_or_default().into_iter().map(|entry| entry.id).collect();
        for (id, bytes) in notifiers.into_iter().chain(others) {
            if !listed.contains(&id) && self.is_enabled(&id) {
                self.load(&id, bytes, Origin::Embedded).await;
            }
        }
    }

    /// Compares the folder with the files that were loaded from it. Returns why some of it cannot be followed.
    async fn scan(&mut self) -> Option<String> {
        let entries = match self.files.listed().await {
            Ok(entries) => entries,
            Err(why) => {
                warn!("{why}");
                return Some(why);
            }
        };
        let Chosen { entries, beyond } = self.chosen(entries);
        let listed: BTreeSet<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        self.missing.retain(|id, _| !listed.contains(id));
        let changed = entries.into_iter().filter(|entry| self.is_enabled(&entry.id) && !self.files.is_seen(entry)).collect();
        for entry in self.files.settled(changed).await {
            self.follow_file(entry).await;
        }
        self.follow_removals(&listed).await;
        self.files.left_out(beyond)
    }

    async fn follow_file(&mut self, entry: Entry) {
        let Entry { id, path, stamp } = entry;
        match stamp {
            Ok(stamp) => self.read_and_load(&id, &path, stamp).await,
            // A file is often away for a moment. That is an error only where something was promised and nothing else serves.
            Err(err @ FileError::Missing(_)) => {
                debug!(path = %path.display(), error = %err, "a plugin file went away");
                let is_promised = self.host.slots().get(&id).is_some_and(|slot| slot.loading);
                if is_promised {
                    self.host.refuse(&id, Stage::Read, chain(&err), None).await;
                }
            }
            Err(err) => self.unreadable(&id, chain(&err)).await,
        }
    }

    async fn read_and_load(&mut self, id: &str, path: &Path, stamp: Stamp) {
        let from = path.to_owned();
        let read = timeout(DISK_MAX, run_blocking(&self.loader.tasks, move || folder::read(&from))).await;
        if let Ok(Err(err)) = read {
            return self.unreadable(id, chain(&err)).await;
        }
        // It is read again when it changes, and not before.
        self.files.record(id, Seen::Read(stamp));
        match read {
            Ok(Ok(bytes)) => self.load(id, bytes, Origin::File).await,
            _ => self.refuse_file(id, format!("{} was not read within {DISK_MAX:?}", path.display())).await,
        }
    }

    /// Refuses a file that cannot be read. Every scan tries again, and reports again when the reason is another one.
    async fn unreadable(&mut self, id: &str, why: String) {
        let before = self.files.record(id, Seen::Unreadable(why.clone()));
        if !matches!(before, Some(Seen::Unreadable(before)) if before == why) || self.host.slots().get(id).is_some_and(|slot| slot.loading)
        {
            self.refuse_file(id, why).await;
        }
    }

    async fn refuse_file(&self, id: &str, why: String) {
        self.host.refuse(id, Stage::Read, why, None).await;
        self.stand_in(id, &self.latest()).await;
    }

    /// Takes plugins out of service whose files are gone for good.
    async fn follow_removals(&mut self, listed: &BTreeSet<String>) {
        let gone: Vec<String> = self.files.gone(listed);
        let is_promised = |(id, slot): &(&String, &Slot)| slot.loading && !listed.contains(*id);
        let vanished: Vec<String> = self.host.slots().iter().filter(is_promised).map(|(id, _)| id.clone()).collect();
        for id in vanished {
            self.host.remove(&id).await;
        }
        for id in gone {
            let since = *self.missing.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= REMOVAL_GRACE {
                self.missing.remove(&id);
                self.files.remove(&id);
                self.file_removed(&id).await;
            }
        }
    }

    fn chosen(&self, entries: Vec<Entry>) -> Chosen {
        let is_named = |id: &str| {
            self.loader.plugins.contains_key(id)
                || self.loader.receivers.iter().any(|receiver| receiver.plugin == id)
                || self.shipped.iter().any(|(shipped, _)| shipped == id)
        };
        self.files.chosen(entries, is_named)
    }
}
