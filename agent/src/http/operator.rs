//! The operator's token. Only the agent's own user and root can read it.
//!
//! The token is a file in the data directory that only its owner can read. Each start makes a new token: a command that ran while the agent
//! was stopped may have sent the old one to another program on the agent's port.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::secret::Secret;

const FILE: &str = "operator.token";
const TOKEN_BYTES: usize = 32;
/// Longest content of the token file that is read. The token itself has 64 characters.
const LINE_BYTES_MAX: u64 = 128;

/// Path of the token in this data directory.
pub(crate) fn place(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Makes a new token in this data directory. If it cannot be written, the existing token is used.
pub(crate) fn prepare(data_dir: &Path) -> io::Result<Secret> {
    make(data_dir).or_else(|err| read(data_dir).map_err(|_| err))
}

fn make(data_dir: &Path) -> io::Result<Secret> {
    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let token = pharos_model::text::hex(&bytes);
    let (path, new) = (place(data_dir), data_dir.join(format!("{FILE}.new")));
    // Removed first, so that a link or a file of another user under this name is never written to.
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    Ok(Secret::new(token))
}

/// Reads the existing token. Fails if others than its owner can read or write the file.
pub(crate) fn read(data_dir: &Path) -> io::Result<Secret> {
    // A pipe or a link under this name must not block or redirect the read.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(place(data_dir))?;
    let found = file.metadata()?;
    // Root may use the token of any user's agent. For other users, a token of another user could lead to a foreign agent.
    let user = rustix::process::geteuid();
    let is_trusted = user.is_root() || found.uid() == user.as_raw();
    if !found.is_file() || found.mode() & 0o077 != 0 || !is_trusted {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than its owner could read or write it"));
    }
    let mut text = String::new();
    file.take(LINE_BYTES_MAX).read_to_string(&mut text)?;
    let token = text.trim_end();
    if token.len() != TOKEN_BYTES * 2 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no token"));
    }
    Ok(Secret::new(token))
}
