//! One change of one alert: what is stored, shown, and perhaps told to somebody.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::now::Now;
use super::record::Alert;
use super::state::AlertState;
use crate::finding::Severity;

/// Why an alert changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The condition began; its rule asks to wait.
    Raised,
    /// It ended before it fired.
    Cleared,
    Firing,
    SeverityChanged {
        from: Severity,
    },
    /// The condition ended; its rule asks to wait.
    Recovering,
    /// It is raised again before it resolved: the same incident, so nobody is told again.
    Returned,
    Resolved,
    /// It came and went so often that people hear no more of it until it is calm.
    FlappingStarted,
    /// It is calm: from here on it fires or resolves as ever.
    FlappingEnded,
    /// The series it was about is gone: nobody knows whether it was ever fine.
    Gone,
    /// The plugin no longer declares the rule.
    RuleRemoved,
    /// The plugin is gone for good.
    PluginRemoved,
    /// The subject is no longer watched.
    SubjectRemoved,
}

/// A [`Reason`] without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    Raised,
    Cleared,
    Firing,
    SeverityChanged,
    Recovering,
    Returned,
    Resolved,
    FlappingStarted,
    FlappingEnded,
    Gone,
    RuleRemoved,
    PluginRemoved,
    SubjectRemoved,
}

/// No reason has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no reason has this name")]
pub struct UnknownReason;

impl ReasonKind {
    /// Every kind with its name, as it is stored, counted and written in cases of rules.
    const ALL: [(Self, &'static str); 13] = [
        (Self::Raised, "raised"),
        (Self::Cleared, "cleared"),
        (Self::Firing, "firing"),
        (Self::SeverityChanged, "severity-changed"),
        (Self::Recovering, "recovering"),
        (Self::Returned, "returned"),
        (Self::Resolved, "resolved"),
        (Self::FlappingStarted, "flapping-started"),
        (Self::FlappingEnded, "flapping-ended"),
        (Self::Gone, "gone"),
        (Self::RuleRemoved, "rule-removed"),
        (Self::PluginRemoved, "plugin-removed"),
        (Self::SubjectRemoved, "subject-removed"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl FromStr for ReasonKind {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(kind, _)| kind).ok_or(UnknownReason)
    }
}

impl Reason {
    /// Every name that [`as_str`](Self::as_str) returns.
    pub const NAMES: [&'static str; ReasonKind::ALL.len()] = {
        let mut names = [""; ReasonKind::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = ReasonKind::ALL[index].1;
            index += 1;
        }
        names
    };

    pub fn kind(self) -> ReasonKind {
        match self {
            Self::Raised => ReasonKind::Raised,
            Self::Cleared => ReasonKind::Cleared,
            Self::Firing => ReasonKind::Firing,
            Self::SeverityChanged { .. } => ReasonKind::SeverityChanged,
            Self::Recovering => ReasonKind::Recovering,
            Self::Returned => ReasonKind::Returned,
            Self::Resolved => ReasonKind::Resolved,
            Self::FlappingStarted => ReasonKind::FlappingStarted,
            Self::FlappingEnded => ReasonKind::FlappingEnded,
            Self::Gone => ReasonKind::Gone,
            Self::RuleRemoved => ReasonKind::RuleRemoved,
            Self::PluginRemoved => ReasonKind::PluginRemoved,
            Self::SubjectRemoved => ReasonKind::SubjectRemoved,
        }
    }

    pub fn as_str(self) -> &'static str {
        self.kind().as_str()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One change of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub fingerprint: Fingerprint,
    pub incident: u64,
    /// Counts the transitions of one incident, from 1.
    pub step: u32,
    pub from: AlertState,
    pub to: AlertState,
    pub severity: Severity,
    pub reason: Reason,
    /// The alert as it is after the change.
    pub alert: Alert,
    pub at: Now,
}

impl Transition {
    /// Stable and unique: what makes a second delivery of it recognisable.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.fingerprint, self.incident, self.step)
    }

    /// Whether people should hear of it. A `resolved` of whatever reason follows a `firing` that was told.
    pub fn notifies(&self) -> bool {
        matches!(self.reason, Reason::Firing | Reason::SeverityChanged { .. } | Reason::FlappingStarted) || self.to == AlertState::Resolved
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Alert { rule, subject, .. } = &self.alert;
        write!(f, "{rule} of {}: {} → {} ({}, {})", subject.key(), self.from, self.to, self.reason, self.severity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wall_clock_that_goes_with_the_monotonic_one_was_not_set() {
        let at = |monotonic_s, wall_ms| Now { monotonic: Duration::from_secs(monotonic_s), wall_ms };
        assert_eq!(at(20, 1_010_000).stepped_since(at(10, 1_000_000)), 0.0);
        assert_eq!(at(20, 4_610_000).stepped_since(at(10, 1_000_000)), 3_600.0);
        assert_eq!(at(20, 1_000).stepped_since(at(10, 1_000_000)), -1_009.0);
    }

    #[test]
    fn every_reason_is_found_by_its_name() {
        for (index, (kind, name)) in ReasonKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, kind.as_str(), name.parse()), (index, name, Ok(kind)));
        }
    }

    #[test]
    fn every_reason_has_its_name() {
        for name in Reason::NAMES {
            // The one that carries a value is written as an object.
            let text = if name == "severity-changed" { format!("{{\"{name}\":{{\"from\":\"info\"}}}}") } else { format!("\"{name}\"") };
            let reason: Reason = serde_json::from_str(&text).unwrap();
            assert_eq!(reason.as_str(), name);
        }
    }
}
