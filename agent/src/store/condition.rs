//! How the store is: what a failed write means, and what people are told of it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use rusqlite::{Error, ErrorCode, ffi};

use super::error::StoreError;

/// Kinds of failures; a closed set, for metrics.
const KINDS: [&str; 7] = ["full", "read-only", "damaged", "busy", "disk", "statement", "deadline"];

/// How the store is, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Why it does not keep everything just now, and how to mend it.
    pub trouble: Option<String>,
    /// Where the store is that was found damaged last.
    pub damaged: Option<PathBuf>,
    /// What else went wrong since the start and is over.
    pub scar: Option<String>,
    /// Of the database and what belongs to it.
    pub size_bytes: u64,
    /// Failures since the start, by their kind.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Default for Condition {
    fn default() -> Self {
        // The first failure of a kind must be seen as an increase.
        let failures = KINDS.map(|kind| (kind, 0)).into();
        Self { trouble: None, damaged: None, scar: None, size_bytes: 0, failures }
    }
}

impl Condition {
    /// Why it is not as it should be, or none.
    pub fn cause(&self) -> Option<String> {
        let damaged = self
            .damaged
            .as_ref()
            .map(|aside| format!("the store was damaged; it is now {}, and what only it knew is lost", aside.display()));
        let causes: Vec<String> = self.trouble.iter().chain(&damaged).chain(&self.scar).cloned().collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }
}

/// What keeps the store's file from doing its work, as opposed to a statement that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Full,
    /// The file cannot be written.
    ReadOnly,
    /// What is in the file makes no sense.
    Damaged,
    /// Somebody else holds it for too long.
    Busy,
    /// The disk does not do what it is told.
    Disk,
}

impl Harm {
    pub fn of(err: &Error) -> Option<Self> {
        Some(match err.sqlite_error_code()? {
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::ReadOnly,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            // The shared index of the log could not grow.
            ErrorCode::SystemIoFailure if err.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::FileLockingProtocolFailed => Self::Disk,
            _ => return None,
        })
    }

    /// What kept a store from being opened; none if it must not be opened.
    pub fn of_opening(err: &StoreError) -> Option<Self> {
        match err {
            StoreError::Directory { source, .. } => Some(Self::of_io(source)),
            StoreError::Open { source, .. } => Some(Self::of(source).unwrap_or(Self::Disk)),
            _ => None,
        }
    }

    pub fn of_io(err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Disk,
        }
    }

    /// The label of the failure in metrics.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Damaged => "damaged",
            Self::Busy => "busy",
            Self::Disk => "disk",
        }
    }

    /// How a person mends it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Full => "free some space",
            Self::ReadOnly => "make it writable for this process; its file system may be mounted read-only",
            Self::Damaged => "look at the disk",
            Self::Busy => "end what else has the file open",
            Self::Disk => "look at the disk and at the kernel's log",
        }
    }
}
