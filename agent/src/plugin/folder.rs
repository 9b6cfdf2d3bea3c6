//! The plugin folder on the disk: which files there are, and how one is read.
//!
//! Whoever may write there can put anything there: a pipe that nobody writes into, a device without end, a link in a circle, a hundred
//! thousand names. Nothing is opened before it is known to be a regular file, and what is opened is bounded. Everything here may take as
//! long as a disk or a network takes, so it is called where nobody else waits.
//!
//! A plugin gets the grants and secrets that the config gives its id. So a file counts only where not every user of the machine can write
//! it or put another one in its place. A group and other owners may: plugins are often put there by the user of a deployment.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::validate::FILE_BYTES_MAX;

/// Names that are read of a folder.
const NAMES_MAX: usize = 10_000;
/// Links from a plugin's name to its file. The kernel follows as many.
const LINKS_MAX: usize = 40;
/// What every user of the machine needs to write.
const WRITABLE_BY_ALL: u32 = 0o002;

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Often only for a moment, while something replaces it.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    #[error("{} is a link that leads to nothing", .0.display())]
    Dangling(PathBuf),
    #[error("{} is {what}, not a file", path.display())]
    Kind { path: PathBuf, what: &'static str },
    #[error("{} has {bytes} bytes, more than {}", path.display(), bytesize::ByteSize::b(FILE_BYTES_MAX))]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error(
        "{} is not loaded, since every user of this machine may write {}; run `chmod o-w {}`",
        path.display(), if path == writable { "it".to_owned() } else { writable.display().to_string() }, writable.display()
    )]
    Writable { path: PathBuf, writable: PathBuf },
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

impl Stamp {
    /// Looks at a file without opening it. Links are followed: deployments use them.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let found = std::fs::metadata(path).map_err(|err| failed(path, err))?;
        check(path, &found)?;
        check_places(path)?;
        Ok(Self::from(&found))
    }

    fn from(found: &Metadata) -> Self {
        let modified_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Self { device: found.dev(), inode: found.ino(), bytes: found.len(), modified_ns }
    }
}

/// One name in the folder that ends in `.wasm`.
#[derive(Debug)]
pub struct Entry {
    /// The name without its end; it may be no valid id.
    pub id: String,
    pub path: PathBuf,
    pub stamp: Result<Stamp, FileError>,
}

/// Everything in the folder that may be a plugin, by id. A folder that is not there holds nothing.
pub fn entries(dir: &Path) -> Vec<Entry> {
    let Ok(names) = std::fs::read_dir(dir) else { return Vec::new() };
    let entry = |path: PathBuf| {
        let id = path.file_name()?.to_str()?.strip_suffix(".wasm").filter(|id| !id.starts_with('.'))?.to_owned();
        Some(Entry { id, stamp: Stamp::of(&path), path })
    };
    let mut entries: Vec<Entry> = names.take(NAMES_MAX).filter_map(|name| entry(name.ok()?.path())).collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

/// Reads a plugin file whole.
pub fn read(path: &Path) -> Result<Bytes, FileError> {
    Stamp::of(path)?;
    // Should it have become a pipe meanwhile, opening does not wait for somebody to write.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(|err| failed(path, err))?;
    read_open(&file, path)
}

fn read_open(file: &File, path: &Path) -> Result<Bytes, FileError> {
    let found = file.metadata().map_err(|err| failed(path, err))?;
    check(path, &found)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|err| failed(path, err))?;
    match bytes.len() as u64 {
        bytes if bytes > FILE_BYTES_MAX => Err(FileError::TooLarge { path: path.to_owned(), bytes }),
        _ => Ok(bytes.into()),
    }
}

fn check(path: &Path, found: &Metadata) -> Result<(), FileError> {
    if !found.is_file() {
        return Err(FileError::Kind { path: path.to_owned(), what: kind(found.file_type()) });
    }
    match found.len() {
        bytes if bytes > FILE_BYTES_MAX => Err(FileError::TooLarge { path: path.to_owned(), bytes }),
        _ if found.mode() & WRITABLE_BY_ALL != 0 => {
            let writable = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            Err(FileError::Writable { path: path.to_owned(), writable })
        }
        _ => Ok(()),
    }
}

/// Whether every user of the machine may put files into the plugin folder; one that is not there takes none.
pub fn is_writable_by_all(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|found| found.is_dir() && found.mode() & WRITABLE_BY_ALL != 0)
}

/// The folder of a name decides what the name leads to, and so does the folder of each name that a link leads to. The sticky mark keeps
/// names that are there, and no user from making new ones.
fn check_places(path: &Path) -> Result<(), FileError> {
    let mut name = path.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = match name.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if is_writable_by_all(&folder) {
            return Err(FileError::Writable { path: path.to_owned(), writable: folder });
        }
        let Ok(target) = std::fs::read_link(&name) else { return Ok(()) };
        name = folder.join(target);
    }
    Ok(())
}

fn kind(found: FileType) -> &'static str {
    match found {
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a pipe",
        found if found.is_socket() => "a socket",
        found if found.is_char_device() || found.is_block_device() => "a device",
        _ => "something else",
    }
}

fn failed(path: &Path, source: io::Error) -> FileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => FileError::Dangling(path),
        io::ErrorKind::NotFound => FileError::Missing(path),
        _ => FileError::Unreadable { path, source },
    }
}
