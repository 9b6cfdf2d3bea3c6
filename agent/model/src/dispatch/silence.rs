//! Silences and acknowledgements: with them people hold notifications back.

use serde::{Deserialize, Serialize};

use super::matchers::Matchers;
use crate::alert::Alert;
use crate::finding::Severity;

/// Most silences in memory, expired ones included.
pub const SILENCES_MAX: usize = 1_000;
/// Most memory of all silences, in bytes: texts, and the compiled patterns of those that are not expired.
pub const SILENCES_BYTES_MAX: usize = 8 << 20;
/// Longest silence, in milliseconds. A longer one is a change of the routes, or a mistake.
pub(super) const SILENCE_MS_MAX: u64 = 366 * 24 * 3_600_000;
/// Most bytes of an author, and of a comment.
pub(super) const TEXT_BYTES_MAX: usize = 2_000;

/// Holds matching alerts back between two instants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Id of the silence.
    pub id: String,
    /// Matchers of the alerts that the silence holds back.
    pub matchers: Matchers,
    /// Wall clock, milliseconds since 1970. All fields that end in `_ms` use it.
    pub starts_at_ms: u64,
    /// End of the silence.
    pub ends_at_ms: u64,
    /// Author as given by the person.
    pub author: String,
    /// Reason as given by the person.
    pub comment: String,
    /// Time at which the silence was added.
    pub created_at_ms: u64,
    /// True once the silence has expired. A clock that is set back does not start it again.
    pub over: bool,
    /// True for silences of the config file, which only an edit of that file can change.
    #[serde(default)]
    pub configured: bool,
}

/// State of a silence at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// The silence has not begun.
    Pending,
    /// The silence is in force.
    Active,
    /// The silence is over.
    Expired,
}

impl SilenceState {
    /// Name of the state in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// Why a silence is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("a silence needs a matcher; one that matches every alert would hide everything")]
    TakesAll,
    #[error("the silence would end before it begins")]
    Backwards,
    #[error("the silence would be over already")]
    Past,
    #[error("a silence lasts at most a year")]
    TooLong,
    #[error("a silence needs an author and a comment, so that others know whom to ask and why")]
    Unsigned,
    #[error("an author or a comment has at most {TEXT_BYTES_MAX} bytes")]
    TooMuchText,
    #[error("there are {SILENCES_MAX} silences already; expire some")]
    TooMany,
    #[error(
        "all silences together would take more than {} MiB; expire some, or write simpler regular expressions",
        SILENCES_BYTES_MAX >> 20
    )]
    TooLarge,
    #[error("no silence has the id `{0}`")]
    Unknown(String),
    #[error("the silence `{0}` stands in the config file; remove it there")]
    Configured(String),
}

impl Silence {
    /// Checks a new silence: its matchers, its times, its author and its comment.
    pub fn check(&self, now_ms: u64) -> Result<(), SilenceError> {
        if self.matchers.fit_all() {
            return Err(SilenceError::TakesAll);
        }
        if self.ends_at_ms <= self.starts_at_ms {
            return Err(SilenceError::Backwards);
        }
        if self.ends_at_ms <= now_ms && !self.configured {
            return Err(SilenceError::Past);
        }
        if self.ends_at_ms - self.starts_at_ms > SILENCE_MS_MAX {
            return Err(SilenceError::TooLong);
        }
        check_signed(&self.author, &self.comment)
    }

    /// State of the silence at this wall time.
    pub fn state(&self, now_ms: u64) -> SilenceState {
        match () {
            () if self.over || self.ends_at_ms <= now_ms => SilenceState::Expired,
            () if self.starts_at_ms > now_ms => SilenceState::Pending,
            () => SilenceState::Active,
        }
    }

    /// Returns true if the silence is in force and matches the alert.
    pub fn hides(&self, alert: &Alert, now_ms: u64) -> bool {
        self.state(now_ms) == SilenceState::Active && self.matchers.fit(alert)
    }

    /// Memory of the silence, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.author.len() + self.comment.len() + self.matchers.bytes()
    }

    /// Wall clock, milliseconds since 1970, at which the silence begins or ends next; `None` after its end.
    pub fn changes_at_ms(&self, now_ms: u64) -> Option<u64> {
        match self.state(now_ms) {
            SilenceState::Pending => Some(self.starts_at_ms),
            SilenceState::Active => Some(self.ends_at_ms),
            SilenceState::Expired => None,
        }
    }
}

/// A person takes care of an incident. Reminders stop and new receivers get nothing, until the incident ends or becomes graver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Author as given by the person.
    pub author: String,
    /// Comment as given by the person.
    pub comment: String,
    /// Wall clock of the acknowledgement, milliseconds since 1970.
    pub at_ms: u64,
    /// Severity of the alert at the acknowledgement. The acknowledgement does not hold for a higher one.
    pub severity: Severity,
}

impl Acknowledgement {
    /// Returns true unless the alert became graver since the acknowledgement.
    pub fn holds(&self, alert: &Alert) -> bool {
        alert.severity <= self.severity
    }
}

/// Checks that author and comment are neither empty nor too long.
pub(super) fn check_signed(author: &str, comment: &str) -> Result<(), SilenceError> {
    if author.trim().is_empty() || comment.trim().is_empty() {
        return Err(SilenceError::Unsigned);
    }
    if author.len() > TEXT_BYTES_MAX || comment.len() > TEXT_BYTES_MAX {
        return Err(SilenceError::TooMuchText);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matchers: &[&str], from: u64, to: u64) -> Silence {
        Silence {
            id: "s1".to_owned(),
            matchers: Matchers(matchers.iter().map(|text| text.parse().expect("right")).collect()),
            starts_at_ms: from,
            ends_at_ms: to,
            author: "ann".to_owned(),
            comment: "maintenance".to_owned(),
            created_at_ms: 0,
            over: false,
            configured: false,
        }
    }

    #[test]
    fn impossible_silences_are_refused() {
        let refused = |silence: Silence| silence.check(100).expect_err("it is wrong");
        assert_eq!(refused(silence(&[], 0, 200)), SilenceError::TakesAll);
        assert_eq!(refused(silence(&["rule=~.*"], 0, 200)), SilenceError::TakesAll);
        assert_eq!(refused(silence(&["rule=a"], 300, 200)), SilenceError::Backwards);
        assert_eq!(refused(silence(&["rule=a"], 0, 100)), SilenceError::Past);
        assert_eq!(refused(silence(&["rule=a"], 0, u64::MAX)), SilenceError::TooLong);
        assert_eq!(refused(Silence { comment: " ".to_owned(), ..silence(&["rule=a"], 0, 200) }), SilenceError::Unsigned);
        assert_eq!(refused(Silence { author: "x".repeat(2_001), ..silence(&["rule=a"], 0, 200) }), SilenceError::TooMuchText);
        assert_eq!(silence(&["rule=a"], 0, 200).check(100), Ok(()));
    }

    #[test]
    fn a_silence_is_active_once_between_its_times() {
        let silence = silence(&["rule=a"], 100, 200);
        let states: Vec<&str> = [99, 100, 199, 200].iter().map(|now| silence.state(*now).as_str()).collect();
        assert_eq!(states, ["pending", "active", "active", "expired"]);
        assert_eq!([99, 100, 200].map(|now| silence.changes_at_ms(now)), [Some(100), Some(200), None]);
        assert_eq!(Silence { over: true, ..silence }.state(150), SilenceState::Expired, "the clock went back");
    }
}
