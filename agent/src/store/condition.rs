//! The condition of the store: what a failed write means, and the texts that report it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use rusqlite::{Error, ErrorCode, ffi};

use super::error::StoreError;

/// The kinds of failures, as the metric labels them.
const KINDS: [&str; 7] = ["full", "read-only", "damaged", "busy", "disk", "statement", "deadline"];

/// The condition of the store, for the status and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The present trouble and its cure, as a sentence. `None` while the store writes everything.
    pub trouble: Option<String>,
    /// The path of the store that was found damaged last.
    pub damaged: Option<PathBuf>,
    /// A trouble since the start that is over, as a sentence.
    pub past_trouble: Option<String>,
    /// The database, its log and its index together.
    pub size_bytes: u64,
    /// The number of failures since the start, by kind.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Default for Condition {
    fn default() -> Self {
        // The first failure of a kind must be seen as an increase.
        let failures = KINDS.map(|kind| (kind, 0)).into();
        Self { trouble: None, damaged: None, past_trouble: None, size_bytes: 0, failures }
    }
}

impl Condition {
    /// Every reason why the store is degraded, as one text. `None` if there is no reason.
    pub fn cause(&self) -> Option<String> {
        let damaged = self
            .damaged
            .as_ref()
            .map(|aside| format!("the store was damaged; it is now {}, and what was stored only there is lost", aside.display()));
        let causes: Vec<String> = self.trouble.iter().chain(&damaged).chain(&self.past_trouble).cloned().collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }
}

/// A condition of the file or its disk that makes statements fail. A wrong statement is no such condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    Full,
    /// The file cannot be written.
    ReadOnly,
    /// The contents of the file are not those of a database.
    Damaged,
    /// Another process holds the file for too long.
    Busy,
    /// The disk fails to read or write.
    Disk,
}

impl Harm {
    pub(super) fn of(err: &Error) -> Option<Self> {
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

    /// Classifies a failure to open the store. `None`: the store must not be opened by this agent.
    pub(super) fn of_opening(err: &StoreError) -> Option<Self> {
        match err {
            StoreError::Directory { source, .. } => Some(Self::of_io(source)),
            StoreError::Open { source, .. } => Some(Self::of(source).unwrap_or(Self::Disk)),
            _ => None,
        }
    }

    pub(super) fn of_io(err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Disk,
        }
    }

    /// The name of the failure in metrics.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Damaged => "damaged",
            Self::Busy => "busy",
            Self::Disk => "disk",
        }
    }

    /// The advice for the person who repairs it.
    pub(super) fn cure(self) -> &'static str {
        match self {
            Self::Full => "free some space",
            Self::ReadOnly => "make it writable for this process; its file system may be mounted read-only",
            Self::Damaged => "check the disk",
            Self::Busy => "end the other program that has the file open",
            Self::Disk => "check the disk and the kernel's log",
        }
    }
}
