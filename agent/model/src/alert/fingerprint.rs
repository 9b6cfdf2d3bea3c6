//! The fingerprint identifies an alert by plugin, rule, subject and labels. Severity, value and version do not change it.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::subject::{Label, SubjectKey};

/// The first eight bytes of a SHA-256 hash, shown as 16 hex digits. Among 10^11 agents with 10 000 alerts each, about one has two alerts
/// with the same fingerprint. The alert book itself distinguishes alerts by rule and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Number of hex digits of a fingerprint as text.
    pub const DIGITS: usize = 16;

    /// Computes the fingerprint. `labels` must be sorted. The length of each field is hashed before the field, so that different lists of
    /// fields never give the same bytes.
    pub fn of(plugin: &str, rule: &str, subject: &SubjectKey, labels: &[Label]) -> Self {
        let mut hash = Sha256::new();
        let mut field = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        for text in [plugin, rule, subject.kind.as_str(), &subject.id] {
            field(text);
        }
        for Label { name, value } in labels {
            field(name);
            field(value);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The error for a text that is not 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint of 16 hex digits")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        if text.len() != Self::DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAFingerprint);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAFingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plugin: &str, rule: &str, labels: &[(&str, &str)]) -> Fingerprint {
        let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, *value)).collect();
        let subject = SubjectKey { kind: "postgres".into(), id: "db1:5432".into() };
        Fingerprint::of(plugin, rule, &subject, &labels)
    }

    #[test]
    fn a_fingerprint_never_changes_between_releases() {
        // Silences, receivers and histories refer to it.
        assert_eq!(of("threshold", "lag", &[("replica", "db2")]).to_string(), "edf6855c0dd80a65");
    }

    #[test]
    fn fields_with_the_same_joined_text_have_different_fingerprints() {
        let all = [
            of("ab", "c", &[]),
            of("a", "bc", &[]),
            of("a", "b", &[("c", "d")]),
            of("a", "b", &[("cd", "")]),
            of("a", "b", &[("c", ""), ("d", "")]),
        ];
        let distinct: std::collections::BTreeSet<Fingerprint> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_displayed_fingerprint_parses_to_the_same_fingerprint() {
        let fingerprint = of("a", "b", &[]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for bad in ["", "+123456789abcdef", "0123456789abcdef0", "0123456789abcdeg"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad}");
        }
    }
}
