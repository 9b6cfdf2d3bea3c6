//! The operator's token: who can read it is the agent's own user, or root.
//!
//! The token lies in the data directory, for its owner alone, and each start makes a new one: a command that was run while the agent was not there
//! may have shown it to somebody else on its port.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::secret::Secret;

const FILE: &str = "operator.token";
const TOKEN_BYTES: usize = 32;
/// Longest content of the token file that is read. The token itself has 64 characters.
const LINE_BYTES_MAX: u64 = 128;

/// Where the token of this data directory is.
pub fn place(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// A new token for this data directory; where the disk takes none, the one that is there.
pub fn prepare(data_dir: &Path) -> io::Result<Secret> {
    make(data_dir).or_else(|err| read(data_dir).map_err(|_| err))
}

fn make(data_dir: &Path) -> io::Result<Secret> {
    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let token = pharos_model::text::hex(&bytes);
    let (path, new) = (place(data_dir), data_dir.join(format!("{FILE}.new")));
    // A link or a file of somebody else under this name is not written through.
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    Ok(Secret::new(token))
}

/// The token that is there, if only its owner can read and write it.
pub fn read(data_dir: &Path) -> io::Result<Secret> {
    // Whatever else lies under this name must not be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(place(data_dir))?;
    let found = file.metadata()?;
    // Root asks an agent of any user; nobody else may leave a token for us.
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
