//! One change of one alert. It is stored, shown and perhaps sent.

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
    /// The condition began; its rule has a waiting time.
    Raised,
    /// The condition ended before the alert fired.
    Cleared,
    /// The alert began to fire.
    Firing,
    /// The severity of an alert that fires changed.
    SeverityChanged {
        /// Severity before the change.
        from: Severity,
    },
    /// The condition ended; its rule has a waiting time.
    Recovering,
    /// The condition returned before the alert resolved. It is the same incident, so no message is sent.
    Returned,
    /// The condition ended, and the waiting time of its rule is over.
    Resolved,
    /// The condition came and went so often that no more messages are sent until it is calm.
    FlappingStarted,
    /// The condition is calm again. From here on the alert fires and resolves as usual.
    FlappingEnded,
    /// The series of the alert is gone, so it is unknown whether the condition ended.
    Gone,
    /// The plugin no longer declares the rule.
    RuleRemoved,
    /// The plugin is gone for good.
    PluginRemoved,
    /// The subject is no longer monitored.
    SubjectRemoved,
}

/// A [`Reason`] without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// See [`Reason::Raised`].
    Raised,
    /// See [`Reason::Cleared`].
    Cleared,
    /// See [`Reason::Firing`].
    Firing,
    /// See [`Reason::SeverityChanged`].
    SeverityChanged,
    /// See [`Reason::Recovering`].
    Recovering,
    /// See [`Reason::Returned`].
    Returned,
    /// See [`Reason::Resolved`].
    Resolved,
    /// See [`Reason::FlappingStarted`].
    FlappingStarted,
    /// See [`Reason::FlappingEnded`].
    FlappingEnded,
    /// See [`Reason::Gone`].
    Gone,
    /// See [`Reason::RuleRemoved`].
    RuleRemoved,
    /// See [`Reason::PluginRemoved`].
    PluginRemoved,
    /// See [`Reason::SubjectRemoved`].
    SubjectRemoved,
}

/// The error for a text that is not the name of a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no reason has this name")]
pub struct UnknownReason;

impl ReasonKind {
    /// Every kind with its name. The name is used in the store, in metrics and in test cases of rules.
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

    /// Name of the kind.
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

    /// The reason without its values.
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

    /// Name of the reason.
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
    /// Identity of the alert.
    pub fingerprint: Fingerprint,
    /// Number of the incident.
    pub incident: u64,
    /// Number of the transition within its incident, from 1.
    pub step: u32,
    /// State before the change.
    pub from: AlertState,
    /// State after the change. Equal to `from` if only the severity or flapping changed.
    pub to: AlertState,
    /// Severity after the change.
    pub severity: Severity,
    /// Why the alert changed.
    pub reason: Reason,
    /// The alert as it is after the change.
    pub alert: Alert,
    /// Time of the judged snapshot.
    pub at: Now,
}

impl Transition {
    /// A stable and unique id, by which a receiver recognises a repeated delivery.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.fingerprint, self.incident, self.step)
    }

    /// Whether receivers get a message about it. Every alert that resolves has fired before, so its end is sent whatever the reason.
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
    fn a_changed_wall_clock_is_seen_by_its_difference_to_the_monotonic_clock() {
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
