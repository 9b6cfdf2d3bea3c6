//! Watch on the plugin folder, and the quiet after changes in it.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::config::plugins::PluginsConfig;
use crate::plugin::load::folder::DISK_MAX;

/// Longest wait for a folder that changes all the time.
pub(super) const DEBOUNCE_MAX: Duration = Duration::from_secs(2);

/// The watch on the folder, renewed after the folder was replaced.
pub(super) struct FolderWatch {
    dir: PathBuf,
    rescan: Duration,
    debounce: Duration,
    changed: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    attached: Option<Attached>,
    /// An attempt to watch the folder that has not answered yet.
    attaching: Option<JoinHandle<Attachment>>,
}

/// A watcher and its folder.
struct Attached {
    _watcher: RecommendedWatcher,
    folder: FolderId,
}

/// Result of an attempt to watch the folder: a new watch, an error, or nothing to do.
type Attachment = Result<Option<Attached>, notify::Error>;

/// Identity of a folder. The next folder gets the inode of a deleted one at once, so the time of its birth counts as well.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FolderId {
    inode: u64,
    born: Option<SystemTime>,
}

impl FolderWatch {
    pub(super) fn new(config: &PluginsConfig) -> Self {
        // One token is enough: after any change the whole folder is compared.
        let (changed, changes) = mpsc::channel(1);
        let (dir, rescan, debounce) = (config.dir.clone(), config.rescan, config.debounce);
        Self { dir, rescan, debounce, changed, changes, attached: None, attaching: None }
    }

    /// Watches the folder, again after it was replaced. Returns why a folder that is there cannot be watched.
    pub(super) async fn attach(&mut self, tasks: &TaskTracker) -> Option<String> {
        let attaching = self.attaching.get_or_insert_with(|| {
            let (dir, changed, watched) = (self.dir.clone(), self.changed.clone(), self.attached.as_ref().map(|watch| watch.folder));
            tasks.spawn_blocking(move || attach(&dir, watched, changed))
        });
        let why = match timeout(DISK_MAX, attaching).await {
            Ok(attached) => {
                self.attaching = None;
                match attached.unwrap_or_else(|err| Err(notify::Error::generic(&err.to_string()))) {
                    Ok(attached) => {
                        self.attached = attached.or(self.attached.take());
                        return None;
                    }
                    Err(err) => err.to_string(),
                }
            }
            Err(_) => format!("it did not answer within {DISK_MAX:?}"),
        };
        let (dir, rescan) = (self.dir.display(), self.rescan);
        warn!(%dir, error = why, "the plugin folder is not watched, looking every {rescan:?}");
        Some(format!("{dir} is not watched, looking every {rescan:?}: {why}"))
    }

    /// Waits until something in the folder changes.
    pub(super) async fn changed(&mut self) {
        // The sender lives as long as this watch, so the channel never ends.
        let _ = self.changes.recv().await;
    }

    /// Waits until nothing has changed for a while.
    pub(super) async fn debounce(&mut self) {
        let cap = Instant::now() + DEBOUNCE_MAX;
        loop {
            tokio::select! {
                () = sleep(self.debounce) => return,
                () = sleep_until(cap) => return,
                changed = self.changes.recv() => if changed.is_none() { return },
            }
        }
    }
}

/// Makes the folder if it is not there and watches it, unless it is watched already. It takes as long as a disk or a network takes.
fn attach(dir: &Path, watched: Option<FolderId>, changed: mpsc::Sender<()>) -> Attachment {
    // Whatever the umask is: from a folder that every user may write no file is loaded.
    if let Err(err) = DirBuilder::new().recursive(true).mode(0o755).create(dir) {
        debug!(dir = %dir.display(), error = %err, "the plugin folder cannot be created");
    }
    let Ok(found) = std::fs::metadata(dir) else { return Ok(None) };
    let folder = FolderId { inode: found.ino(), born: found.created().ok() };
    if watched == Some(folder) {
        return Ok(None);
    }
    let mut watcher = notify::recommended_watcher(move |_| {
        // A full channel already says that something changed.
        let _ = changed.try_send(());
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(Some(Attached { _watcher: watcher, folder }))
}
