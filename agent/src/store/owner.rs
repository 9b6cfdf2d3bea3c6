//! Whose files are these: the agent takes state and machine code from its own user and from root, and from nobody else.
//!
//! A folder that another user may write is that user's: names in it can be moved and replaced, whatever the files themselves permit.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tracing::warn;

/// What a group and others need to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error(
        "{} belongs to user {owner}, not to user {} who runs this agent; run it as that user, or give the files to this one: chown -R {} {}",
        path.display(), geteuid().as_raw(), geteuid().as_raw(), path.display()
    )]
    Foreign { path: PathBuf, owner: u32 },
    #[error(
        "{} can be written by other users; run `chmod go-w {}`, or name a folder inside it that the agent may make for itself",
        path.display(), path.display()
    )]
    Writable { path: PathBuf },
    #[error("{} is not {expected}", path.display())]
    Kind { path: PathBuf, expected: &'static str },
    #[error("looking at {}", path.display())]
    Unknown { path: PathBuf, source: io::Error },
}

/// Makes sure that nobody else decides what is in a folder. One of our own that others may write becomes ours alone.
pub fn check_folder(path: &Path) -> Result<(), OwnerError> {
    let found = fs::metadata(path).map_err(|source| OwnerError::Unknown { path: path.to_owned(), source })?;
    if !found.is_dir() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a folder" });
    }
    check(path, &found)
}

/// The same for a file in such a folder, if it is there. A link counts as what it is: whoever made it decides where it leads.
pub fn check_file(path: &Path) -> Result<(), OwnerError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OwnerError::Unknown { path: path.to_owned(), source }),
    };
    if found.is_symlink() {
        return check_owner(path, &found);
    }
    if !found.is_file() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a file" });
    }
    check(path, &found)
}

/// Whether an open file may be trusted: a file of ours or of root that nobody else can write.
pub fn check_open(path: &Path, found: &Metadata) -> Result<(), OwnerError> {
    if !found.is_file() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a file" });
    }
    check_owner(path, found)?;
    match found.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(OwnerError::Writable { path: path.to_owned() }),
    }
}

fn check(path: &Path, found: &Metadata) -> Result<(), OwnerError> {
    check_owner(path, found)?;
    if found.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    let mended = fs::set_permissions(path, Permissions::from_mode(found.mode() & !WRITABLE_BY_OTHERS & 0o7777));
    match mended {
        // Where nothing can be written, nobody else can either.
        Err(err) if err.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(()),
        Err(_) => return Err(OwnerError::Writable { path: path.to_owned() }),
        Ok(()) => {}
    }
    warn!(path = %path.display(), "{} could be written by other users, which was taken back", path.display());
    Ok(())
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), OwnerError> {
    let owner = found.uid();
    match owner == 0 || owner == geteuid().as_raw() {
        true => Ok(()),
        false => Err(OwnerError::Foreign { path: path.to_owned(), owner }),
    }
}
