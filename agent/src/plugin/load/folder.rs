//! The plugin folder on the disk: which files there are, and how one is read.
//!
//! A user who may write there can put anything there: a pipe without a writer, a device without end, a link in a circle.
//! No name is opened before it turned out to be a regular file, and reading is bounded. Every function here may take as
//! long as a disk or a network takes, so it is called where no other task waits.
//!
//! A plugin gets the grants and secrets that the config gives its id. So a file does not count if every user of the machine
//! can write it or replace it, at any folder from the root down. A group and other owners may: often the user of a deployment installs plugins.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::validate::FILE_BYTES_MAX;
use crate::store::ownership::is_read_only;

/// Longest wait for a listing of the folder or for reading one file. A network file system may never answer.
pub(crate) const DISK_MAX: Duration = Duration::from_secs(10);
/// Names that are read of a folder. More would take memory and time without end.
const NAMES_MAX: usize = 10_000;
/// Links that are followed from a plugin's name to its file. The kernel follows as many.
const LINKS_MAX: usize = 40;
/// Permission that every user of the machine needs to write.
const WRITABLE_BY_ALL: u32 = 0o002;
/// The mark of a folder in which only its owner replaces what is there.
const STICKY: u32 = 0o1000;

/// Identity of a file and its state, read without opening it. Two states of a file have different stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Often only for a moment, while something replaces it.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    #[error("{} is a link that leads to nothing", .0.display())]
    Dangling(PathBuf),
    #[error("{} is {what}, not a file", path.display())]
    Kind { path: PathBuf, what: &'static str },
    #[error("{} has {bytes} bytes, more than {}", path.display(), bytesize::ByteSize::b(FILE_BYTES_MAX))]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{} is not loaded, since {place}", path.display())]
    Open { path: PathBuf, place: OpenPlace },
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// A place where a user who is not trusted decides what a plugin is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenPlace {
    /// Files there may be changed already, so closing the place is not enough.
    #[error(
        "every user of this machine may write {}; look at what is in it, or install it again, and then run `chmod o-w {}`",
        .0.display(), .0.display()
    )]
    Writable(PathBuf),
    /// Any user makes names in a folder like `/tmp`, and the owner of a name replaces it.
    #[error(
        "{} belongs to user {owner}, who made it where every user of this machine makes files; put the plugins into a folder that only root \
         or the agent's user can replace",
        path.display()
    )]
    Foreign { path: PathBuf, owner: u32 },
}

impl Stamp {
    /// Reads the stamp of a file without opening it. Links are followed: deployments use them.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        Self::within(path, open_place(folder_of(path)))
    }

    /// Reads the stamp of a name in a folder about which it was found out whether it is an open place.
    fn within(path: &Path, folder: Option<OpenPlace>) -> Result<Self, FileError> {
        let found = fs::metadata(path).map_err(|err| failed(path, err))?;
        check(path, &found)?;
        match folder.or_else(|| open_place_of_targets(path)) {
            Some(place) => Err(FileError::Open { path: path.to_owned(), place }),
            None => Ok(Self::from(&found)),
        }
    }

    fn from(found: &Metadata) -> Self {
        let modified_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Self { device: found.dev(), inode: found.ino(), bytes: found.len(), modified_ns }
    }
}

/// A name in the folder that ends in `.wasm`.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name without its ending. It may be no valid id.
    pub id: String,
    pub path: PathBuf,
    pub stamp: Result<Stamp, FileError>,
}

/// The plugins inside the binary: id and bytes.
pub(crate) type Shipped = Vec<(String, Bytes)>;

/// Ids appear in metrics, paths and TOML keys.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Everything in the folder that may be a plugin, by id. A folder that is not there holds nothing.
pub(crate) fn entries(dir: &Path) -> Vec<Entry> {
    let Ok(names) = fs::read_dir(dir) else { return Vec::new() };
    let folder = open_place(dir);
    let entry = |path: PathBuf| {
        let id = path.file_name()?.to_str()?.strip_suffix(".wasm").filter(|id| !id.starts_with('.'))?.to_owned();
        Some(Entry { id, stamp: Stamp::within(&path, folder.clone()), path })
    };
    let mut entries: Vec<Entry> = names.take(NAMES_MAX).filter_map(|name| entry(name.ok()?.path())).collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

/// Reads a plugin file whole.
pub(crate) fn read(path: &Path) -> Result<Bytes, FileError> {
    Stamp::read(path)?;
    // If it has become a pipe meanwhile, opening does not wait for a writer.
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
        _ if is_writable_by_all(path, found) => {
            let place = OpenPlace::Writable(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
            Err(FileError::Open { path: path.to_owned(), place })
        }
        _ => Ok(()),
    }
}

/// The place that lets every user of the machine put files into a folder, or another folder in its place. A folder that is not there has
/// none. The sticky mark protects names that are there, and lets every user make new ones.
pub(crate) fn open_place(folder: &Path) -> Option<OpenPlace> {
    let found = fs::metadata(folder).ok()?;
    if found.is_dir() && is_writable_by_all(folder, &found) {
        return Some(OpenPlace::Writable(folder.to_owned()));
    }
    open_place_above(folder)
}

/// The folder of each name that a link leads to decides what the link is.
fn open_place_of_targets(path: &Path) -> Option<OpenPlace> {
    let mut name = path.to_owned();
    for _ in 0..LINKS_MAX {
        let target = fs::read_link(&name).ok()?;
        name = folder_of(&name).join(target);
        if let Some(place) = open_place(folder_of(&name)) {
            return Some(place);
        }
    }
    None
}

/// Walks from the root folder down as the kernel does, links included. A folder that all users may write is safe only with the sticky mark,
/// and in it only for names of root and of the agent's user.
fn open_place_above(folder: &Path) -> Option<OpenPlace> {
    let mut names = names_from_last(&std::path::absolute(folder).ok()?);
    let mut place = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == ".." {
            place.pop();
            continue;
        }
        let path = place.join(&name);
        let (above, found) = (fs::metadata(&place).ok()?, fs::symlink_metadata(&path).ok()?);
        if is_writable_by_all(&place, &above) {
            if above.mode() & STICKY == 0 {
                return Some(OpenPlace::Writable(place));
            }
            if ![0, geteuid().as_raw()].contains(&found.uid()) {
                return Some(OpenPlace::Foreign { path, owner: found.uid() });
            }
        }
        if !found.is_symlink() {
            place = path;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        let target = fs::read_link(&path).ok()?;
        if target.is_absolute() {
            place = PathBuf::from("/");
        }
        names.extend(names_from_last(&target));
    }
    None
}

fn names_from_last(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).collect()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether every user may write a file or folder. A read-only file system permits no writing whatever the mode says: images and volumes of
/// containers often have modes that permit everything.
fn is_writable_by_all(path: &Path, found: &Metadata) -> bool {
    found.mode() & WRITABLE_BY_ALL != 0 && !is_read_only(path)
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    const STRANGER: u32 = 4_711;

    /// A plugin in `outer/inner/plugins`, which is what each test opens.
    fn installed(root: &Path) -> PathBuf {
        let folder = root.join("outer/inner/plugins");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.wasm");
        fs::write(&file, "").unwrap();
        permit(&file, 0o644);
        file
    }

    fn permit(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// The open place of a file, read alone and with its folder.
    fn found(file: &Path) -> Option<OpenPlace> {
        let place = |stamp: Result<Stamp, FileError>| match stamp {
            Ok(_) => None,
            Err(FileError::Open { place, .. }) => Some(place),
            Err(err) => panic!("{err}"),
        };
        let alone = place(Stamp::read(file));
        let listed = entries(folder_of(file)).pop().map(|entry| place(entry.stamp));
        assert_eq!(listed, Some(alone.clone()));
        alone
    }

    #[test]
    fn a_folder_that_every_user_may_write_is_open_wherever_it_stands_above_the_file() {
        let root = tempfile::tempdir().unwrap();
        let file = installed(root.path());
        assert_eq!(found(&file), None, "below the folder of temporary files, which all users write and which is sticky");
        for open in ["outer", "outer/inner", "outer/inner/plugins", "outer/inner/plugins/a.wasm"] {
            let open = root.path().join(open);
            let before = fs::metadata(&open).unwrap().permissions();
            permit(&open, 0o777);
            assert_eq!(found(&file), Some(OpenPlace::Writable(fs::canonicalize(&open).unwrap())), "{}", open.display());
            permit(&open, 0o775);
            assert_eq!(found(&file), None, "a group may write");
            fs::set_permissions(&open, before).unwrap();
        }
    }

    #[test]
    fn in_a_sticky_folder_what_root_or_the_agent_made_stays_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let file = installed(root.path());
        permit(&root.path().join("outer"), 0o1777);
        assert_eq!(found(&file), None);
        let inner = fs::canonicalize(root.path().join("outer/inner")).unwrap();
        chown(&inner, Some(STRANGER), None).unwrap();
        assert_eq!(found(&file), Some(OpenPlace::Foreign { path: inner, owner: STRANGER }));
        permit(&root.path().join("outer"), 0o755);
        assert_eq!(found(&file), None, "another owner may install plugins");
    }

    #[test]
    fn links_are_followed_through_every_folder_they_stand_in() {
        let root = tempfile::tempdir().unwrap();
        let file = installed(root.path());
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        symlink("../outer/inner", open.join("link")).unwrap();
        let through = open.join("link/plugins/a.wasm");
        assert_eq!(found(&through), None);
        permit(&open, 0o777);
        let writable = Some(OpenPlace::Writable(fs::canonicalize(&open).unwrap()));
        assert_eq!((found(&through), found(&file)), (writable.clone(), None), "the link can be replaced, and the file cannot");
        // A link to a file, by way of the open folder.
        let linked = root.path().join("linked");
        fs::create_dir(&linked).unwrap();
        symlink(&through, linked.join("b.wasm")).unwrap();
        assert_eq!(found(&linked.join("b.wasm")), writable);
        symlink("circle", root.path().join("circle")).unwrap();
        assert_eq!(open_place(&root.path().join("circle/plugins")), None, "reading it fails");
    }

    #[test]
    fn a_cure_says_to_look_before_it_closes() {
        let text = OpenPlace::Writable("/srv/plugins".into()).to_string();
        assert!(text.contains("look at what is in it, or install it again, and then run `chmod o-w /srv/plugins`"), "{text}");
    }
}
