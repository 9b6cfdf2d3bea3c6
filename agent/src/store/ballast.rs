//! The ballast: a file that reserves disk space for alerts. When the disk is full, the file is shortened piece by piece.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

const BALLAST_FILE: &str = "ballast";
const BALLAST_BYTES: u64 = 4 << 20;
/// The size of one piece. A larger piece would be taken by other programs before alerts need it.
const PIECE_BYTES: u64 = 1 << 20;
/// The free space beside the ballast that a disk must have. With less, it would be full again at the next write.
const ROOM_BYTES: u64 = 1 << 20;

pub(super) struct Ballast {
    path: PathBuf,
    /// The space that is reserved now.
    bytes: u64,
}

impl Ballast {
    /// Opens the ballast as an earlier agent left it. [`restore`](Self::restore) makes it whole.
    pub(super) fn find(directory: &Path) -> Self {
        let path = directory.join(BALLAST_FILE);
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len().min(BALLAST_BYTES));
        Self { path, bytes }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes == BALLAST_BYTES
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives one piece back to the disk. Returns false if nothing is left.
    pub(super) fn give_back(&mut self) -> bool {
        let left = self.bytes.saturating_sub(PIECE_BYTES);
        let shrunk = match left {
            0 => std::fs::remove_file(&self.path),
            _ => OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(left)),
        };
        let gave = self.bytes > 0 && shrunk.is_ok();
        self.bytes = if shrunk.is_ok() { left } else { 0 };
        gave
    }

    /// Reserves the whole ballast, if the disk has room for it and 1 MiB more.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        let needed = BALLAST_BYTES + ROOM_BYTES - self.bytes;
        // Checked first, so that the last bytes of a full disk are not taken and freed again all the time.
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("less than {} is free", bytesize::ByteSize::b(needed))));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.path)?;
        let taken = allocate(&file, BALLAST_BYTES + ROOM_BYTES);
        // If not all space could be reserved, none of the new space is held, since alerts may need it.
        let kept = if taken.is_ok() { BALLAST_BYTES } else { self.bytes };
        file.set_len(kept)?;
        self.bytes = kept;
        taken
    }
}

/// Reserves space in the file system. File systems that cannot do that get written bytes.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => fill(file, bytes),
        allocated => Ok(allocated?),
    }
}

/// Writes random bytes, since a file system that compresses would reserve nothing for zeros.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0_u8; 1 << 16];
    for _ in 0..bytes / piece.len() as u64 {
        fastrand::fill(&mut piece);
        file.write_all(&piece)?;
    }
    file.sync_all()
}
