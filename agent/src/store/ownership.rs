//! Ownership of files. The agent trusts state and machine code of its own user and of root only.
//!
//! A folder that another user may write is that user's: names in it can be moved and replaced, whatever the files themselves permit.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::process::{Uid, getegid, geteuid, getgroups};
use tracing::warn;

/// The mode bits that let a group or other users write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The mode bit of folders in which all users have files, such as `/tmp`.
const STICKY: u32 = 0o1000;

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
    /// The file cannot be read or written. The agent would take it for a damaged store, and its silences and notifications would be lost.
    #[error(
        "{} belongs to user {owner} and cannot be {use_of_it} by user {user}, who runs the agent; give it back: chown {user} {}; chmod 600 {}",
        path.display(), path.display(), path.display()
    )]
    Withheld { path: PathBuf, use_of_it: &'static str, owner: u32, user: u32 },
    #[error("{} is not {expected}", path.display())]
    Kind { path: PathBuf, expected: &'static str },
    #[error("checking the owner of {}", path.display())]
    Unknown { path: PathBuf, source: io::Error },
}

/// The users that may write a folder of the agent.
enum Access {
    Alone,
    /// The agent and programs of its group: a volume of a container.
    OfGroup,
    /// Other users as well. The agent removes that permission.
    Others,
}

/// Makes sure that no other user can replace files in a folder. A folder of the agent alone loses the write permission of others: it is
/// empty, or holds a file that only the agent makes. Any other folder is shared, such as `/tmp`, and is refused as it is.
pub(crate) fn check_folder(path: &Path, own_file: &str) -> Result<(), OwnerError> {
    let found = folder(path)?;
    match access(path, &found, own_file, geteuid())? {
        Access::Alone => {}
        Access::OfGroup => {
            let group = found.gid();
            warn!(
                path = %path.display(),
                "{} can be written by group {group}: programs of that group can remove or exchange the agent's files, which they cannot read",
                path.display()
            );
        }
        Access::Others => remove_permission(path, &found)?,
    }
    Ok(())
}

/// Reports why [`check_folder`] would refuse a folder, and changes nothing. Root inspects on behalf of the owner of the folder.
pub(crate) fn inspect_folder(path: &Path, own_file: &str) -> Result<Uid, OwnerError> {
    let found = folder(path)?;
    let user = if geteuid().is_root() { Uid::from_raw(found.uid()) } else { geteuid() };
    match access(path, &found, own_file, user)? {
        Access::Others if found.uid() != user.as_raw() && !is_read_only(path) => Err(OwnerError::Writable { path: path.to_owned() }),
        Access::Alone | Access::OfGroup | Access::Others => Ok(user),
    }
}

/// True on a file system that is mounted read-only, whatever the modes permit.
pub(crate) fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn folder(path: &Path) -> Result<Metadata, OwnerError> {
    let found = fs::metadata(path).map_err(|source| OwnerError::Unknown { path: path.to_owned(), source })?;
    if !found.is_dir() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a folder" });
    }
    Ok(found)
}

fn access(path: &Path, found: &Metadata, own_file: &str, user: Uid) -> Result<Access, OwnerError> {
    check_owner(path, found, user)?;
    if is_volume_of_group(found) {
        return Ok(Access::OfGroup);
    }
    if found.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(Access::Alone);
    }
    let is_shared = is_shared(path, found, own_file, user);
    match is_shared.map_err(|source| OwnerError::Unknown { path: path.to_owned(), source })? {
        true => Err(OwnerError::Writable { path: path.to_owned() }),
        false => Ok(Access::Others),
    }
}

/// True if other users have files in a folder. A folder for all users, such as `/tmp` or a fresh tmpfs, counts as the agent's only while it
/// holds no file of another user.
fn is_shared(path: &Path, found: &Metadata, own_file: &str, user: Uid) -> io::Result<bool> {
    let is_known = fs::symlink_metadata(path.join(own_file)).is_ok();
    let is_sticky = found.mode() & STICKY != 0;
    for entry in fs::read_dir(path)? {
        if !is_known || (is_sticky && entry?.metadata()?.uid() != user.as_raw()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True for a volume that Kubernetes gave to a group (`fsGroup`): owned by root and writable by a group of this process. The agent cannot
/// change its mode, and no folder in it would be safer.
fn is_volume_of_group(found: &Metadata) -> bool {
    const WRITABLE_BY_GROUP: u32 = 0o020;
    let is_ours =
        || getegid().as_raw() == found.gid() || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == found.gid()));
    found.uid() == 0 && !geteuid().is_root() && found.mode() & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_GROUP && is_ours()
}

/// Makes sure that no other user can write a file of the agent, if the file exists.
pub(crate) fn check_file(path: &Path) -> Result<(), OwnerError> {
    match inspect(path, geteuid())? {
        Some(found) if found.mode() & WRITABLE_BY_OTHERS != 0 => remove_permission(path, &found),
        _ => Ok(()),
    }
}

/// Reports why the agent could not use a file, and changes nothing. A file on a read-only file system is no reason to refuse the start.
pub(crate) fn inspect_file(path: &Path, user: Uid) -> Result<(), OwnerError> {
    match inspect(path, user)? {
        Some(found) if !is_read_only(path) => check_use(path, &found, user, &WRITE),
        _ => Ok(()),
    }
}

/// Makes sure that a file belongs to this user and can be read. Returns its metadata, and none for a link. The owner of a link decides
/// where it leads, so the link itself is checked.
fn inspect(path: &Path, user: Uid) -> Result<Option<Metadata>, OwnerError> {
    let unknown = |source| OwnerError::Unknown { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The check of the folder has already reported that it cannot be read.
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied && user != geteuid() => return Ok(None),
        Err(source) => return Err(unknown(source)),
    };
    if found.is_symlink() {
        return check_owner(path, &found, user).map(|()| None);
    }
    if !found.is_file() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a file" });
    }
    check_owner(path, &found, user)?;
    check_use(path, &found, user, &READ).map(|()| Some(found))
}

/// A use of a file, with the permission that it takes.
struct Use {
    name: &'static str,
    access: rustix::fs::Access,
    by_owner: u32,
    by_others: u32,
}

const READ: Use = Use { name: "read", access: rustix::fs::Access::READ_OK, by_owner: 0o400, by_others: 0o044 };
const WRITE: Use = Use { name: "written", access: rustix::fs::Access::WRITE_OK, by_owner: 0o200, by_others: 0o022 };

/// Makes sure that `user` may use a file. Root decides for another user by the mode bits alone.
fn check_use(path: &Path, found: &Metadata, user: Uid, wanted: &Use) -> Result<(), OwnerError> {
    let permitting = if found.uid() == user.as_raw() { wanted.by_owner } else { wanted.by_others };
    let may = match user == geteuid() {
        true => rustix::fs::access(path, wanted.access) != Err(Errno::ACCESS),
        false => found.mode() & permitting != 0,
    };
    match may {
        true => Ok(()),
        false => Err(OwnerError::Withheld { path: path.to_owned(), use_of_it: wanted.name, owner: found.uid(), user: user.as_raw() }),
    }
}

/// Makes sure that an open file may be trusted: it belongs to the agent or to root, and no other user can write it.
pub(crate) fn check_open(path: &Path, found: &Metadata) -> Result<(), OwnerError> {
    if !found.is_file() {
        return Err(OwnerError::Kind { path: path.to_owned(), expected: "a file" });
    }
    check_owner(path, found, geteuid())?;
    match found.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(OwnerError::Writable { path: path.to_owned() }),
    }
}

fn remove_permission(path: &Path, found: &Metadata) -> Result<(), OwnerError> {
    let changed = fs::set_permissions(path, Permissions::from_mode(found.mode() & !WRITABLE_BY_OTHERS & 0o7777));
    match changed {
        // On a read-only file system, other users cannot write either.
        Err(err) if err.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(()),
        Err(_) => return Err(OwnerError::Writable { path: path.to_owned() }),
        Ok(()) => {}
    }
    warn!(path = %path.display(), "{} could be written by other users; their permission was removed", path.display());
    Ok(())
}

fn check_owner(path: &Path, found: &Metadata, user: Uid) -> Result<(), OwnerError> {
    let owner = found.uid();
    match owner == 0 || owner == user.as_raw() {
        true => Ok(()),
        false => Err(OwnerError::Foreign { path: path.to_owned(), owner }),
    }
}
