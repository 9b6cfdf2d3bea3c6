//! Live reload: plugin files that appear, change and vanish.
//!
//! The folder is watched, not its files: a file replaced by rename is another inode. A periodic rescan finds what the watch misses (network
//! file systems, overflow). A file is read once, when it has stopped changing, and everything after that works on those bytes. A bad file
//! leaves the old generation serving.

mod files;
mod generations;
mod reloader;
mod watch;

pub use self::reloader::Reloader;
