//! Cache of machine code: compiled plugins, from one start of the agent to the next.
//!
//! Files here are executed. So a file counts only if no user but this one and root could have written it, and if it bears the mark of this
//! installation. The mark is an HMAC over name and content, whose key never leaves the folder. So foreign copies, exchanged names and lost
//! bits are all noticed. A cache that cannot be trusted or written is not used: then plugins are compiled again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use sha2::Sha256;
use tracing::debug;

use crate::store::ownership::{OwnerError, check_folder, check_open};

/// Compiled plugins that are cached. Each takes some megabytes of the disk.
const CACHED_MAX: usize = 128;
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
/// Ending of the names of code.
const CODE: &str = "cwasm";
/// Ending of the marks beside it.
const MARK: &str = "mark";
/// Ending of files that are still being written.
const DRAFT: &str = "draft";
/// Age of a draft that an agent left that was killed at work. Compiling a plugin takes far less.
const DRAFT_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("preparing {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error("using {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} does not bear this installation's mark", path.display())]
    Mark { path: PathBuf },
}

/// The folder, found trustworthy.
#[derive(Clone)]
pub(super) struct CompileCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

/// A file into which code is written, before it has the name by which it is found.
pub(super) struct Draft {
    pub file: File,
    /// Path of the draft. `None` if it is in memory.
    path: Option<PathBuf>,
}

impl Draft {
    /// A file without a place on any disk.
    pub(super) fn in_memory() -> io::Result<Self> {
        Ok(Self { file: memfd_create("compiled plugin", MemfdFlags::CLOEXEC)?.into(), path: None })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A draft that was stored has another name by now.
            let _ = fs::remove_file(path);
        }
    }
}

/// Path by which an open file can be opened again, even if its name is gone.
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl CompileCache {
    /// Makes the folder and its key if they are not there.
    pub(super) fn open(folder: &Path) -> Result<Self, CacheError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| CacheError::Folder { path: folder.to_owned(), source })?;
        check_folder(folder, KEY_FILE)?;
        let path = folder.join(KEY_FILE);
        let key = match read_key(&path)? {
            Some(key) => key,
            None => make_key(&path).map_err(|source| CacheError::File { path, source })?,
        };
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The code of this name, which can be mapped by [`path_of`]. `None` if the cache does not have it.
    pub(super) fn find(&self, name: &str) -> Result<Option<File>, CacheError> {
        let path = self.path(name, CODE);
        let Some(mut file) = open(&path)? else { return Ok(None) };
        let failed = |source| CacheError::File { path: path.clone(), source };
        let mut mark = Vec::new();
        if let Some(marked) = open(&self.path(name, MARK))? {
            marked.take(KEY_BYTES as u64 + 1).read_to_end(&mut mark).map_err(failed)?;
        }
        let own = self.mac(name, &mut file).map_err(failed)?;
        match own.verify_slice(&mark) {
            Ok(()) => Ok(Some(file)),
            Err(_) => Err(CacheError::Mark { path }),
        }
    }

    /// Makes a new file beside the cached code.
    pub(super) fn draft(&self) -> Result<Draft, CacheError> {
        let path = self.folder.join(format!("{:016x}.{DRAFT}", fastrand::u64(..)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        Ok(Draft { file: file.map_err(|source| CacheError::File { path: path.clone(), source })?, path: Some(path) })
    }

    /// Stores a draft under a name, and removes the code that was made longest ago.
    pub(super) fn store(&self, name: &str, draft: &Draft) -> Result<(), CacheError> {
        let Some(from) = &draft.path else { return Ok(()) };
        let path = self.path(name, CODE);
        let failed = |source| CacheError::File { path: path.clone(), source };
        draft.file.sync_all().map_err(failed)?;
        let mut file = draft.file.try_clone().map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mark = self.mac(name, &mut file).map_err(failed)?.finalize().into_bytes();
        // A mark that is there before its code, or instead of it, fits nothing.
        let marked = self.draft()?;
        (&marked.file).write_all(&mark).and_then(|()| marked.file.sync_all()).map_err(failed)?;
        fs::rename(from, &path).map_err(failed)?;
        if let Some(from) = &marked.path {
            fs::rename(from, self.path(name, MARK)).map_err(failed)?;
        }
        self.prune();
        Ok(())
    }

    /// Removes the code of this name.
    pub(super) fn remove(&self, name: &str) {
        for ending in [CODE, MARK] {
            let _ = fs::remove_file(self.path(name, ending));
        }
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ending}"))
    }

    fn mac(&self, name: &str, file: &mut File) -> io::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(name.as_bytes());
        mac.update(b"\0");
        let mut piece = vec![0; 64 << 10];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(mac),
                read => mac.update(&piece[..read]),
            }
        }
    }

    /// Removes the code that was made longest ago, and drafts that an agent left that was killed at work.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let dated = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
        let mut files: Vec<_> = entries.filter_map(|entry| dated(entry.ok()?)).collect();
        files.sort();
        let ends = |path: &Path, ending: &str| path.extension().is_some_and(|own| own == ending);
        let code = files.iter().rev().filter(|(_, path)| ends(path, CODE)).skip(CACHED_MAX);
        for (_, path) in code {
            debug!(path = %path.display(), "removing a compiled plugin");
            let _ = fs::remove_file(path.with_extension(MARK));
            let _ = fs::remove_file(path);
        }
        let Some((newest, _)) = files.last() else { return };
        let is_left = |made: &SystemTime| newest.duration_since(*made).is_ok_and(|age| age > DRAFT_AGE_MAX);
        for (_, path) in files.iter().filter(|(made, path)| ends(path, DRAFT) && is_left(made)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens a file if it is there, and ours.
fn open(path: &Path) -> Result<Option<File>, CacheError> {
    let failed = |source| CacheError::File { path: path.to_owned(), source };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
    };
    check_open(path, &file.metadata().map_err(failed)?)?;
    Ok(Some(file))
}

/// A key that is cut off counts as none.
fn read_key(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, CacheError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| CacheError::File { path: path.to_owned(), source })?;
    Ok(bytes.try_into().ok())
}

fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&key)?;
    Ok(key)
}
