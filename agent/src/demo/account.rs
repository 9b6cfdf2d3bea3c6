//! The operating system account that servers run under, and the folders they own.
//!
//! PostgreSQL refuses to run as root, so a root caller hands its servers to `postgres`, or else to `nobody`.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("reading /etc/passwd")]
    Passwd { source: io::Error },
    #[error("servers must not run as root, and /etc/passwd has neither `postgres` nor `nobody`")]
    NoneFound,
    #[error("preparing {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
}

/// The account that owns the files and processes of a server: the present user, or another account if that user is root.
#[derive(Debug, Clone)]
pub struct Account {
    other: Option<Identity>,
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Chooses the account; `folder` and `command` then act for it.
    pub fn choose() -> Result<Self, AccountError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { other: None });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(|source| AccountError::Passwd { source })?;
        let identity = ["postgres", "nobody"].into_iter().find_map(|name| look_up(&passwd, name));
        match identity {
            Some(identity) => Ok(Self { other: Some(identity) }),
            None => Err(AccountError::NoneFound),
        }
    }

    /// A new temporary folder that only this account (and root) may enter. Its path is short and has no symlinks:
    /// it becomes part of a socket's name, which Unix cuts at 107 bytes, and of process lookups in `/proc`.
    pub fn folder(&self, prefix: &str) -> Result<TempDir, AccountError> {
        let parent = std::env::temp_dir();
        let fail = |source| AccountError::Prepare { path: parent.clone(), source };
        let parent = parent.canonicalize().map_err(fail)?;
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(&parent).map_err(fail)?;
        self.own(folder.path())?;
        Ok(folder)
    }

    /// Gives `path` to this account.
    pub fn own(&self, path: &Path) -> Result<(), AccountError> {
        match self.other {
            Some(Identity { uid, gid }) => {
                chown(path, Some(uid), Some(gid)).map_err(|source| AccountError::Prepare { path: path.to_owned(), source })
            }
            None => Ok(()),
        }
    }

    /// A command that runs `program` as this account in `folder`, without the environment of this process:
    /// variables such as `PGPORT`, `PGSSLMODE` and `LANG` would change what a server does.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(Identity { uid, gid }) = self.other {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn look_up(passwd: &str, name: &str) -> Option<Identity> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Identity { uid, gid })
}
