//! Live reload: plugin files that appear, change and vanish.
//!
//! The folder is watched, not its files: a file replaced by rename is another inode. What the watch misses (network file systems,
//! overflow) a periodic rescan finds. A file is read once, when it has stopped changing, and everything after that works on those bytes.
//! A bad file leaves the old generation serving.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use pharos_model::delta::Change;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::load::{Loader, aside, digest};
use super::slot::Origin;
use super::validate::{FILE_BYTES_MAX, World, inspect};
use super::{PluginHost, SETTINGS_IGNORED, Slot};
use crate::board::{Board, PartHealth};
use crate::config::plugins::PluginsConfig;
use crate::config::shape::did_you_mean;

/// The longest that a folder in constant change is waited for.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// Two looks at a file this far apart must agree before it is read.
const SETTLE: Duration = Duration::from_millis(100);
/// A file that is replaced by some tools is missing for a moment.
const REMOVAL_GRACE: Duration = Duration::from_secs(2);

/// The plugins inside the binary: id and bytes.
pub type Shipped = Vec<(String, Bytes)>;

/// The task that keeps the host's plugins equal to the folder's.
pub struct Reloader {
    loader: Loader,
    host: PluginHost,
    config: PluginsConfig,
    shipped: Shipped,
    files: BTreeMap<String, Stamp>,
    missing: BTreeMap<String, Instant>,
    misnamed: BTreeSet<PathBuf>,
    watch: Option<(RecommendedWatcher, FolderId)>,
}

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
}

/// Which folder a watch is on. The number of a deleted folder is given to the next one at once, so its birth counts as well.
type FolderId = (u64, Option<SystemTime>);

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), bytes: metadata.len(), modified_ns })
    }
}

impl Reloader {
    pub fn new(loader: Loader, host: PluginHost, config: PluginsConfig, shipped: Shipped) -> Self {
        Self { loader, host, config, shipped, files: BTreeMap::new(), missing: BTreeMap::new(), misnamed: BTreeSet::new(), watch: None }
    }

    /// Loads everything, then follows the folder until told to stop.
    pub async fn run(mut self, board: Arc<Board>, stop: CancellationToken) {
        // One token is enough: whatever happened, the whole folder is looked at.
        let (changed, mut changes) = mpsc::channel(1);
        let mut unwatched = self.watch(&changed);
        tokio::select! { () = stop.cancelled() => return, () = self.load_shipped() => {} }
        loop {
            tokio::select! { () = stop.cancelled() => return, () = self.scan() => {} }
            let state = if unwatched.is_some() { PartHealth::Degraded } else { PartHealth::Ok };
            board.set("plugin reload", state, unwatched);
            let next = self.missing.values().map(|since| *since + REMOVAL_GRACE).min();
            let wake = next.unwrap_or_else(|| Instant::now() + self.config.rescan).min(Instant::now() + self.config.rescan);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(wake) => {}
                Some(()) = changes.recv() => debounce(&mut changes, self.config.debounce).await,
            }
            unwatched = self.watch(&changed);
        }
    }

    /// Shows every plugin that will be loaded, before the first one is.
    pub fn announce(&self) {
        let files = self.listed().into_keys().filter(|id| is_id(id));
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
    fn watch(&mut self, changed: &mpsc::Sender<()>) -> Option<String> {
        let dir = &self.config.dir;
        if let Err(err) = std::fs::create_dir_all(dir) {
            debug!(dir = %dir.display(), error = %err, "the plugin folder cannot be created");
        }
        let Ok(folder) = std::fs::metadata(dir).map(|metadata| (metadata.ino(), metadata.created().ok())) else { return None };
        if self.watch.as_ref().is_some_and(|(_, watched)| *watched == folder) {
            return None;
        }
        let changed = changed.clone();
        let watcher = notify::recommended_watcher(move |_| {
            // A full channel already says that something changed.
            let _ = changed.try_send(());
        });
        let watching = watcher.and_then(|mut watcher| watcher.watch(dir, RecursiveMode::NonRecursive).map(|()| watcher));
        match watching {
            Ok(watcher) => {
                self.watch = Some((watcher, folder));
                None
            }
            Err(err) => {
                let rescan = self.config.rescan;
                warn!(dir = %dir.display(), error = %err, "the plugin folder is not watched, looking every {rescan:?}");
                Some(format!("{} is not watched, looking every {rescan:?}: {err}", dir.display()))
            }
        }
    }

    /// Notifiers come first: whoever finds something at once should find somebody to tell.
    async fn load_shipped(&self) {
        let shipped = self.shipped.clone();
        let is_notifier = |bytes: &[u8]| inspect(bytes).is_ok_and(|found| found.world == World::Notifier);
        let sorted = aside(&self.loader.tasks, move || shipped.into_iter().partition(|(_, bytes)| is_notifier(bytes))).await;
        let (notifiers, others): (Shipped, Shipped) = sorted;
        let listed = self.listed();
        for (id, bytes) in notifiers.into_iter().chain(others) {
            if !listed.contains_key(&id) && self.is_enabled(&id) {
                self.load(&id, bytes, Origin::Embedded).await;
            }
        }
    }

    /// Plugin files by id.
    fn listed(&self) -> BTreeMap<String, PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.config.dir) else { return BTreeMap::new() };
        let plugin = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let id = name.strip_suffix(".wasm").filter(|id| !id.starts_with('.'))?;
            Some((id.to_owned(), path))
        };
        entries.filter_map(|entry| plugin(entry.ok()?.path())).collect()
    }

    /// Compares the folder with what was loaded from it.
    async fn scan(&mut self) {
        let listed = self.listed();
        for (id, path) in &listed {
            self.missing.remove(id);
            if !is_id(id) {
                if self.misnamed.insert(path.clone()) {
                    warn!(path = %path.display(), "ignoring a plugin file: its name must be lower-case letters, digits and dashes");
                }
                continue;
            }
            if self.is_enabled(id) {
                self.look_at(id, path).await;
            }
        }
        let gone: Vec<String> = self.files.keys().filter(|id| !listed.contains_key(*id)).cloned().collect();
        let is_promised = |(id, slot): &(&String, &Slot)| slot.loading && !listed.contains_key(*id);
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

    async fn look_at(&mut self, id: &str, path: &Path) {
        match Stamp::of(path) {
            Ok(stamp) if self.files.get(id) == Some(&stamp) => {}
            Ok(stamp) => match settled(path, stamp).await {
                Ok(stamp) => {
                    self.files.insert(id.to_owned(), stamp);
                    self.read_and_load(id, path).await;
                }
                Err(err) => self.went_away(id, path, &err).await,
            },
            Err(err) => self.went_away(id, path, &err).await,
        }
    }

    /// A file is often away for a moment. It is an error only where something was promised and nothing else serves.
    async fn went_away(&self, id: &str, path: &Path, err: &std::io::Error) {
        debug!(path = %path.display(), error = %err, "a plugin file went away");
        let is_promised = self.host.slots().get(id).is_some_and(|slot| slot.loading);
        if is_promised {
            self.host.refuse(id, "read", format!("{} cannot be read: {err}", path.display())).await;
        }
    }

    async fn read_and_load(&mut self, id: &str, path: &Path) {
        let from = path.to_owned();
        match aside(&self.loader.tasks, move || read(&from)).await {
            Ok(bytes) => self.load(id, bytes, Origin::File).await,
            Err(why) => self.host.refuse(id, "read", why).await,
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
                    self.host
                        .refuse(id, "settings", format!("the version before took all settings, this one leaves some out: {lost}"))
                        .await
                }
                None => self.host.publish(id, generation, origin).await,
            },
            Err(err) => {
                self.host.refuse(id, err.stage(), err.text()).await;
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
        let slot = slots.entry(id.to_owned()).or_insert_with(|| Slot { enabled: true, ..Slot::default() });
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

/// Ids appear in metrics, paths and TOML keys.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
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

/// Waits until two looks at the file agree.
async fn settled(path: &Path, mut stamp: Stamp) -> std::io::Result<Stamp> {
    let cap = Instant::now() + DEBOUNCE_MAX;
    loop {
        sleep(SETTLE).await;
        let again = Stamp::of(path)?;
        if again == stamp || Instant::now() > cap {
            return Ok(again);
        }
        stamp = again;
    }
}

pub(super) fn read(path: &Path) -> Result<Bytes, String> {
    let unreadable = |err: std::io::Error| format!("{} cannot be read: {err}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {}", path.display(), bytesize::ByteSize::b(FILE_BYTES_MAX)));
    }
    Ok(bytes.into())
}
