//! Space that is kept for alerts: a file that is given back to the disk, piece by piece, when the disk is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

const BALLAST_FILE: &str = "ballast";
const BALLAST_BYTES: u64 = 4 << 20;
/// Given back at once: others who fill the disk take what is not used soon.
const PIECE_BYTES: u64 = 1 << 20;
/// A disk has room again when this much is free beside the ballast, else it would be full again at the next write.
const ROOM_BYTES: u64 = 1 << 20;

pub struct Ballast {
    path: PathBuf,
    /// What is kept now.
    bytes: u64,
}

impl Ballast {
    /// The ballast as it was left; [`restore`](Self::restore) makes it whole.
    pub fn find(directory: &Path) -> Self {
        let path = directory.join(BALLAST_FILE);
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len().min(BALLAST_BYTES));
        Self { path, bytes }
    }

    pub fn is_whole(&self) -> bool {
        self.bytes == BALLAST_BYTES
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives a piece back; false if nothing is left.
    pub fn give_back(&mut self) -> bool {
        let left = self.bytes.saturating_sub(PIECE_BYTES);
        let shrunk = match left {
            0 => std::fs::remove_file(&self.path),
            _ => OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(left)),
        };
        let gave = self.bytes > 0 && shrunk.is_ok();
        self.bytes = if shrunk.is_ok() { left } else { 0 };
        gave
    }

    /// Takes the whole ballast, if the disk has room for it and a little more.
    pub fn restore(&mut self) -> io::Result<()> {
        let needed = BALLAST_BYTES + ROOM_BYTES - self.bytes;
        // Asked first, so that the last bytes of a full disk are not taken and given back all the time.
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("less than {} is free", bytesize::ByteSize::b(needed))));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.path)?;
        let taken = allocate(&file, BALLAST_BYTES + ROOM_BYTES);
        // What could not be had wholly must not be held in part: alerts may need it.
        let kept = if taken.is_ok() { BALLAST_BYTES } else { self.bytes };
        file.set_len(kept)?;
        self.bytes = kept;
        taken
    }
}

/// Has the file system set space aside, also where it cannot do so by itself.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => fill(file, bytes),
        allocated => Ok(allocated?),
    }
}

/// Noise, since a file system that compresses would keep no space for zeros.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0_u8; 1 << 16];
    for _ in 0..bytes / piece.len() as u64 {
        fastrand::fill(&mut piece);
        file.write_all(&piece)?;
    }
    file.sync_all()
}
