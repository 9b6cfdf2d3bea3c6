//! Live reload: plugin files that appear, change and vanish.
//!
//! The folder is watched, not its files: a file replaced by rename is another inode. What the watch misses (network file systems,
//! overflow) a periodic rescan finds. A file is read once, when it has stopped changing, and everything after that works on those bytes.
//! A bad file leaves the old generation serving.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use pharos_model::agent_part::AgentPart;
use pharos_model::snapshot::Change;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::files::Seen;
use super::host::{PluginHost, SETTINGS_IGNORED};
use super::load::folder::{self, DISK_MAX, Entry, FileError, Shipped, Stamp};
use super::load::loader::{Loader, aside, digest};
use super::load::validate::{World, inspect};
use super::slot::{Origin, Slot};
use crate::board::{Board, PartHealth};
use crate::config::plugins::PluginsConfig;
use crate::config::shape::did_you_mean;
use crate::telemetry::logs::chain;

/// The longest that a folder in constant change is waited for.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// A file that is replaced by some tools is missing for a moment.
const REMOVAL_GRACE: Duration = Duration::from_secs(2);

/// The task that keeps the host's plugins equal to the folder's.
pub struct Reloader {
    loader: Loader,
    host: PluginHost,
    config: PluginsConfig,
    shipped: Shipped,
    files: BTreeMap<String, Seen>,
    /// Files that were left out last time.
    beyond: usize,
    /// A look at the folder that has not answered yet.
    looking: Option<JoinHandle<Vec<Entry>>>,
    missing: BTreeMap<String, Instant>,
    misnamed: BTreeSet<PathBuf>,
    watch: Option<(RecommendedWatcher, FolderId)>,
    /// An attempt to watch the folder that has not answered yet.
    attaching: Option<JoinHandle<Attached>>,
}

/// What came of an attempt to watch the folder: a new watch, an error, or nothing to do.
type Attached = Result<Option<(RecommendedWatcher, FolderId)>, notify::Error>;

/// Which folder a watch is on. The number of a deleted folder is given to the next one at once, so its birth counts as well.
type FolderId = (u64, Option<SystemTime>);

impl Reloader {
    pub fn new(loader: Loader, host: PluginHost, config: PluginsConfig, shipped: Shipped) -> Self {
        Self {
            loader,
            host,
            config,
            shipped,
            files: BTreeMap::new(),
            beyond: 0,
            looking: None,
            missing: BTreeMap::new(),
            misnamed: BTreeSet::new(),
            watch: None,
            attaching: None,
        }
    }

    /// Loads everything, then follows the folder until told to stop.
    pub async fn run(mut self, board: Arc<Board>, stop: CancellationToken) {
        // One token is enough: whatever happened, the whole folder is looked at.
        let (changed, mut changes) = mpsc::channel(1);
        let mut unwatched = tokio::select! { () = stop.cancelled() => return, unwatched = self.watch(&changed) => unwatched };
        tokio::select! { () = stop.cancelled() => return, () = self.load_shipped() => {} }
        loop {
            let left_out = tokio::select! { () = stop.cancelled() => return, left_out = self.scan() => left_out };
            let troubles: Vec<String> = unwatched.into_iter().chain(left_out).chain(self.loader.compiler.trouble()).collect();
            let state = if troubles.is_empty() { PartHealth::Ok } else { PartHealth::Degraded };
            board.set(AgentPart::PluginReload, state, (!troubles.is_empty()).then(|| troubles.join("; ")));
            let next = self.missing.values().map(|since| *since + REMOVAL_GRACE).min();
            let wake = next.unwrap_or_else(|| Instant::now() + self.config.rescan).min(Instant::now() + self.config.rescan);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(wake) => {}
                Some(()) = changes.recv() => debounce(&mut changes, self.config.debounce).await,
            }
            // What does not answer is not asked for a watch either.
            unwatched = match self.looking {
                Some(_) => None,
                None => tokio::select! { () = stop.cancelled() => return, unwatched = self.watch(&changed) => unwatched },
            };
        }
    }

    /// Shows every plugin that will be loaded, before the first one is. Of a folder that does not answer the shipped ones.
    pub async fn announce(&mut self) {
        let listed = self.listed().await;
        let entries = listed.unwrap_or_else(|why| {
            warn!("{why}; the plugins inside this binary are started without it");
            Vec::new()
        });
        let files = self.chosen(entries).0.into_iter().map(|entry| entry.id);
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

    /// Watches the folder, again after it was replaced. Says why one that is there cannot be watched.
    async fn watch(&mut self, changed: &mpsc::Sender<()>) -> Option<String> {
        let (dir, rescan) = (self.config.dir.clone(), self.config.rescan);
        let attaching = self.attaching.get_or_insert_with(|| {
            let (dir, changed, watched) = (dir.clone(), changed.clone(), self.watch.as_ref().map(|(_, watched)| *watched));
            self.loader.tasks.spawn_blocking(move || attach(&dir, watched, changed))
        });
        let why = match timeout(DISK_MAX, attaching).await {
            Ok(attached) => {
                self.attaching = None;
                match attached.unwrap_or_else(|err| Err(notify::Error::generic(&err.to_string()))) {
                    Ok(attached) => {
                        self.watch = attached.or(self.watch.take());
                        return None;
                    }
                    Err(err) => err.to_string(),
                }
            }
            Err(_) => format!("it did not answer within {DISK_MAX:?}"),
        };
        warn!(dir = %dir.display(), error = why, "the plugin folder is not watched, looking every {rescan:?}");
        Some(format!("{} is not watched, looking every {rescan:?}: {why}", dir.display()))
    }

    /// Notifiers come first: whoever finds something at once should find somebody to tell.
    async fn load_shipped(&mut self) {
        let shipped = self.shipped.clone();
        let is_notifier = |bytes: &[u8]| inspect(bytes).is_ok_and(|found| found.world == World::Notifier);
        let sorted = aside(&self.loader.tasks, move || shipped.into_iter().partition(|(_, bytes)| is_notifier(bytes))).await;
        let (notifiers, others): (Shipped, Shipped) = sorted;
        let listed: BTreeSet<String> = self.listed().await.unwrap_or_default().into_iter().map(|entry| entry.id).collect();
        for (id, bytes) in notifiers.into_iter().chain(others) {
            if !listed.contains(&id) && self.is_enabled(&id) {
                self.load(&id, bytes, Origin::Embedded).await;
            }
        }
    }

    /// Compares the folder with what was loaded from it. Says what of it cannot be followed.
    async fn scan(&mut self) -> Option<String> {
        let entries = match self.listed().await {
            Ok(entries) => entries,
            Err(why) => {
                warn!("{why}");
                return Some(why);
            }
        };
        let (entries, beyond) = self.chosen(entries);
        let listed: BTreeSet<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        self.missing.retain(|id, _| !listed.contains(id));
        let changed = entries.into_iter().filter(|entry| self.is_enabled(&entry.id) && !self.is_seen(entry)).collect();
        for entry in self.settled(changed).await {
            self.look_at(entry).await;
        }
        self.follow_removals(&listed).await;
        self.left_out(beyond)
    }

    async fn look_at(&mut self, entry: Entry) {
        let Entry { id, path, stamp } = entry;
        match stamp {
            Ok(stamp) => self.read_and_load(&id, &path, stamp).await,
            // A file is often away for a moment. That is an error only where something was promised and nothing else serves.
            Err(err @ FileError::Missing(_)) => {
                debug!(path = %path.display(), error = %err, "a plugin file went away");
                let is_promised = self.host.slots().get(&id).is_some_and(|slot| slot.loading);
                if is_promised {
                    self.host.refuse(&id, "read", chain(&err), None).await;
                }
            }
            Err(err) => self.unreadable(&id, chain(&err)).await,
        }
    }

    async fn read_and_load(&mut self, id: &str, path: &Path, stamp: Stamp) {
        let from = path.to_owned();
        let read = timeout(DISK_MAX, aside(&self.loader.tasks, move || folder::read(&from))).await;
        if let Ok(Err(err)) = read {
            return self.unreadable(id, chain(&err)).await;
        }
        // It is read again when it changes, and not before.
        self.files.insert(id.to_owned(), Seen::Read(stamp));
        match read {
            Ok(Ok(bytes)) => self.load(id, bytes, Origin::File).await,
            _ => self.refuse_file(id, format!("{} was not read within {DISK_MAX:?}", path.display())).await,
        }
    }

    /// Notes why a file cannot be read; it is tried again at the next look, and said again when the reason is another one.
    async fn unreadable(&mut self, id: &str, why: String) {
        let before = self.files.insert(id.to_owned(), Seen::Unreadable(why.clone()));
        if !matches!(before, Some(Seen::Unreadable(before)) if before == why) || self.host.slots().get(id).is_some_and(|slot| slot.loading)
        {
            self.refuse_file(id, why).await;
        }
    }

    async fn refuse_file(&self, id: &str, why: String) {
        self.host.refuse(id, "read", why, None).await;
        self.stand_in(id, &self.host.latest()).await;
    }

    /// Takes plugins out of service whose files are gone for good.
    async fn follow_removals(&mut self, listed: &BTreeSet<String>) {
        let gone: Vec<String> = self.files.keys().filter(|id| !listed.contains(*id)).cloned().collect();
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

    async fn load(&self, id: &str, bytes: Bytes, origin: Origin) {
        let digest = self.digest(&bytes).await;
        if self.is_known(id, &digest, origin) {
            return;
        }
        let latest = self.host.latest();
        match self.loader.load(id, &bytes, digest, &latest).await {
            Ok(generation) => match self.host.loses_settings(id, &generation) {
                Some(lost) => {
                    let why = format!("this version leaves out settings that the version before takes: {lost}");
                    self.host.refuse(id, "settings", why, None).await;
                }
                None => self.host.publish(id, generation, origin).await,
            },
            Err(err) => {
                self.host.refuse(id, err.stage(), err.text(), err.last_words()).await;
                if origin == Origin::File {
                    self.stand_in(id, &latest).await;
                }
            }
        }
    }

    async fn digest(&self, bytes: &Bytes) -> String {
        let bytes = bytes.clone();
        aside(&self.loader.tasks, move || digest(&bytes)).await
    }

    /// The embedded plugin serves where its file was refused and nothing served before.
    async fn stand_in(&self, id: &str, latest: &[Arc<Change>]) {
        let refused = self.host.slots().get(id).filter(|slot| slot.active.is_none()).and_then(|slot| slot.last_error.clone());
        let shipped = self.shipped.iter().find(|(shipped, _)| shipped == id);
        let (Some(refused), Some((_, bytes))) = (refused, shipped) else { return };
        let digest = self.digest(bytes).await;
        if let Ok(generation) = self.loader.load(id, bytes, digest, latest).await {
            self.host.publish(id, generation, Origin::Embedded).await;
            self.host.slots().entry(id.to_owned()).and_modify(|slot| slot.last_error = Some(refused));
        }
    }

    /// Whether this content serves already, or failed in service. Touching a file changes nothing.
    fn is_known(&self, id: &str, digest: &str, origin: Origin) -> bool {
        let mut slots = self.host.slots();
        let slot = slots.entry(id.to_owned()).or_insert_with(|| Slot { enabled: true, loading: true, ..Slot::default() });
        if slot.known_bad.contains(digest) {
            info!(plugin = id, "not loading `{id}` {}: it failed in service before", &digest[..12]);
            return true;
        }
        match &mut slot.active {
            Some(active) if active.generation.digest == digest => {
                active.origin = origin;
                // What was refused or taken back is no longer there.
                slot.last_error = slot.last_error.take_if(|err| err.stage == "call" || err.stage == SETTINGS_IGNORED);
                true
            }
            _ => false,
        }
    }

    /// The embedded plugin of the same id returns; without one nothing serves.
    async fn file_removed(&self, id: &str) {
        match self.shipped.iter().find(|(shipped, _)| shipped == id) {
            Some((_, bytes)) => self.load(id, bytes.clone(), Origin::Embedded).await,
            None => self.host.remove(id).await,
        }
    }
}

/// Makes the folder if it is not there and watches it, unless it is the one that is watched already. It takes as long as a disk or a
/// network takes.
fn attach(dir: &Path, watched: Option<FolderId>, changed: mpsc::Sender<()>) -> Attached {
    // Whatever the umask is: from a folder that every user may write no file is loaded.
    if let Err(err) = DirBuilder::new().recursive(true).mode(0o755).create(dir) {
        debug!(dir = %dir.display(), error = %err, "the plugin folder cannot be created");
    }
    let Ok(found) = std::fs::metadata(dir).map(|metadata| (metadata.ino(), metadata.created().ok())) else { return Ok(None) };
    if watched == Some(found) {
        return Ok(None);
    }
    let mut watcher = notify::recommended_watcher(move |_| {
        // A full channel already says that something changed.
        let _ = changed.try_send(());
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(Some((watcher, found)))
}

/// Waits until nothing has changed for `quiet`.
async fn debounce(changes: &mut mpsc::Receiver<()>, quiet: Duration) {
    let cap = Instant::now() + DEBOUNCE_MAX;
    loop {
        tokio::select! {
            () = sleep(quiet) => return,
            () = sleep_until(cap) => return,
            changed = changes.recv() => if changed.is_none() { return },
        }
    }
}
