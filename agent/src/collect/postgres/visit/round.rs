//! The outcome of a round: the datnames that were visited, and why others were not.

use std::collections::BTreeSet;

use pharos_model::snapshot::FailureReason;

use crate::collect::{CollectError, Missing};

/// The datnames that were visited in a round, and those that were not.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The epoch of the server's counters.
    pub epoch: u64,
    /// Numbers (oid) of all datnames that exist, if they could be listed.
    pub listed: Option<BTreeSet<u32>>,
    /// Number of datnames beyond the limit of the list. They are not visited.
    pub unlisted: u64,
    pub visited: Vec<Visited>,
}

/// A datname that a round tried to visit.
#[derive(Debug, Clone)]
pub(super) struct Visited {
    pub datname: String,
    /// Why the visit failed, if it did.
    pub failure: Option<Failure>,
}

/// Why a visit of a datname read nothing.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The reason as a sentence, in one line.
    pub why: String,
    pub reason: FailureReason,
    /// The statement that removes the cause, if one exists.
    pub cure: Option<String>,
    /// Whether the datname does not offer these facts, so that asking again is of no use.
    is_unsupported: bool,
}

impl Failure {
    pub(super) fn new(reason: FailureReason, why: &str) -> Self {
        // A server answers in several lines.
        let why = why.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        Self { why, reason, cure: None, is_unsupported: reason == FailureReason::Unsupported }
    }

    /// Makes a failure of facts that the datname does not offer.
    pub(super) fn unsupported(reason: FailureReason, missing: Missing) -> Self {
        Self { is_unsupported: true, ..Self::new(reason, &missing.why) }.cured_by(missing.cure)
    }

    pub(super) fn cured_by(self, cure: Option<String>) -> Self {
        Self { cure, ..self }
    }

    /// Formats the reason and the cure as one text.
    pub(super) fn text(&self) -> String {
        self.missing().to_string()
    }

    pub(super) fn missing(&self) -> Missing {
        Missing { why: self.why.clone(), cure: self.cure.clone() }
    }

    pub(super) fn of(err: &CollectError) -> Self {
        match err {
            CollectError::Unsupported(missing) | CollectError::Privilege(missing) => Self::unsupported(err.reason(), missing.clone()),
            _ => Self::new(err.reason(), &err.text()),
        }
    }

    /// Name of the state in the table `visits`.
    pub(super) fn state(&self) -> &'static str {
        match self.reason {
            FailureReason::NotReached => self.reason.as_str(),
            _ if self.is_unsupported => "unsupported",
            _ => "failed",
        }
    }
}

impl Round {
    /// Returns the first failure as the error of the whole round, if no datname was visited.
    pub(super) fn whole_failure(&self) -> Option<CollectError> {
        if self.visited.iter().any(|visited| visited.failure.is_none()) {
            return None;
        }
        let first = self.visited.first();
        let failure = first.and_then(|visited| visited.failure.clone());
        let failure = failure.unwrap_or_else(|| Failure::new(FailureReason::Unsupported, "the server has no datname that can be visited"));
        let datname = first.map(|visited| visited.datname.clone()).unwrap_or_default();
        Some(match failure.reason {
            FailureReason::Privilege if failure.is_unsupported => CollectError::Privilege(failure.missing()),
            _ if failure.is_unsupported => CollectError::Unsupported(failure.missing()),
            _ => CollectError::Visit { datname, why: failure.why, reason: failure.reason },
        })
    }
}
