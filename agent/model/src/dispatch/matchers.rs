//! The matchers of one route, silence or inhibition.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::matcher::{LabelMatcher, MATCHERS_BYTES_MAX, MATCHERS_MAX, MatcherError, Room, label_of};
use crate::alert::Alert;
use crate::finding::Severity;
use crate::subject::SubjectKind;

/// List of matchers, all of which must fit. An empty list fits every alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(pub Vec<LabelMatcher>);

impl Matchers {
    /// Parses matchers in order. Stops with an error at a wrong matcher, and at the limits of number and memory.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Self, MatcherError> {
        let mut matchers = Self::default();
        for text in texts {
            matchers.push(text.parse()?)?;
        }
        Ok(matchers)
    }

    /// Adds a matcher. An error if there are then too many, or too large ones.
    pub fn push(&mut self, matcher: LabelMatcher) -> Result<(), MatcherError> {
        if self.0.len() >= MATCHERS_MAX {
            return Err(MatcherError::TooMany);
        }
        self.0.push(matcher);
        if self.bytes() > MATCHERS_BYTES_MAX { Err(MatcherError::TooLarge) } else { Ok(()) }
    }

    /// Returns true if every matcher fits the alert.
    pub fn fit(&self, alert: &Alert) -> bool {
        self.0.iter().all(|matcher| matcher.fits(alert))
    }

    /// Describes the first matcher that does not fit, and the label's actual value; `None` if all fit.
    pub fn objection(&self, alert: &Alert) -> Option<String> {
        let matcher = self.0.iter().find(|matcher| !matcher.fits(alert))?;
        if let Some(why) = matcher.problem() {
            return Some(format!("{matcher}, which cannot be used: {why}"));
        }
        Some(match label_of(alert, matcher.name()) {
            Some(value) => format!("{matcher}, but {} is \"{value}\"", matcher.name()),
            None => format!("{matcher}, but there is no label {}", matcher.name()),
        })
    }

    /// Returns true if the matchers fit every alert, because each also fits a missing label.
    pub fn fit_all(&self) -> bool {
        self.0.iter().all(|matcher| matcher.fits_value(""))
    }

    /// Why no alert can ever match: a severity or a kind of subject that does not exist.
    pub fn never(&self) -> Option<Never> {
        let severities = [Severity::Info, Severity::Warning, Severity::Critical].map(Severity::as_str);
        [("severity", severities.to_vec()), ("kind", SubjectKind::NAMES.to_vec())].into_iter().find_map(|(label, known)| {
            let about: Vec<&LabelMatcher> = self.0.iter().filter(|matcher| matcher.name() == label).collect();
            let possible = known.iter().any(|value| about.iter().all(|matcher| matcher.fits_value(value)));
            let text = about.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            (!possible).then(|| Never { text, label, given: about.iter().map(|matcher| matcher.value().to_owned()).collect(), known })
        })
    }

    /// Why the matchers are not in force: a stored pattern that does not compile, or has no room.
    pub fn problem(&self) -> Option<&str> {
        self.0.iter().find_map(LabelMatcher::problem)
    }

    /// Memory of all matchers, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(LabelMatcher::bytes).sum()
    }

    /// Compiles the patterns that came from a store. If a pattern cannot be used, all are released, and [`Self::problem`] returns why.
    pub fn compile(&mut self, room: &mut Room) {
        let bytes = room.bytes.min(MATCHERS_BYTES_MAX);
        let mut own = Room { bytes, work: room.work };
        for matcher in &mut self.0 {
            matcher.compile(&mut own);
            // Further patterns would be dropped anyway.
            if matcher.problem().is_some() {
                break;
            }
        }
        room.work = own.work;
        match self.problem() {
            Some(_) => self.release(),
            None => room.bytes -= bytes - own.bytes,
        }
    }

    /// Frees the memory of the compiled patterns. The matchers fit nothing until they are compiled again.
    pub fn release(&mut self) {
        self.0.iter_mut().for_each(LabelMatcher::release);
    }
}

/// Matchers that no alert can fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    /// Text of the matchers of this label.
    pub text: String,
    /// Name of the label.
    pub label: &'static str,
    /// Values that the matchers name.
    pub given: Vec<String>,
    /// Values that exist.
    pub known: Vec<&'static str>,
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` never matches: a {} is one of {}", self.text, self.label, self.known.join(", "))
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(LabelMatcher::to_string).collect();
        write!(f, "{{{}}}", all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { bytes: 1 << 20, work: 1 << 20 };

    fn parse(texts: &[&str]) -> Result<Matchers, MatcherError> {
        Matchers::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn matchers_that_fit_every_alert_are_recognised() {
        let all = |texts: &[&str]| parse(texts).expect("right").fit_all();
        assert!(all(&[]) && all(&["rule=~.*"]) && all(&["rule!=x", "rule=~.*"]));
        assert!(!all(&["rule=~.+"]) && !all(&["rule=~.*", "severity=info"]));
    }

    #[test]
    fn number_and_memory_of_matchers_are_limited() {
        assert_eq!(parse(&["rule=a"; MATCHERS_MAX + 1]), Err(MatcherError::TooMany));
        let large = r"rule=~(\pL|\pN){3}";
        assert!(large.parse::<LabelMatcher>().expect("one alone is small").bytes() < MATCHERS_BYTES_MAX);
        assert_eq!(parse(&[large; MATCHERS_MAX]), Err(MatcherError::TooLarge));
        assert!(parse(&[r"rule=~\w+"; 4]).expect("small").bytes() < MATCHERS_BYTES_MAX);
    }

    #[test]
    fn matchers_that_no_alert_fits_are_recognised() {
        let never = |texts: &[&str]| parse(texts).expect("right").never().map(|never| never.to_string());
        assert_eq!(
            never(&["severity=critcal"]).as_deref(),
            Some("`severity=\"critcal\"` never matches: a severity is one of info, warning, critical")
        );
        assert_eq!(
            never(&["severity=warning", "severity=critical"]).as_deref(),
            Some("`severity=\"warning\",severity=\"critical\"` never matches: a severity is one of info, warning, critical")
        );
        assert!(never(&["kind=~postgresql"]).is_some() && never(&["severity="]).is_some());
        assert_eq!([never(&["severity=~warn.*"]), never(&["severity!=info"]), never(&["rule=x"]), never(&[])], [None, None, None, None]);
    }

    #[test]
    fn stored_patterns_are_compiled_within_their_limit_and_hide_nothing_until_then() {
        let alert = crate::dispatch::stories::alert("lag", "db1");
        let stored = serde_json::to_string(&parse(&["rule=~l.g", "rule!~x"]).expect("right")).expect("JSON");
        let read = || serde_json::from_str::<Matchers>(&stored).expect("it was written so");
        let mut matchers = read();
        assert!(!matchers.fit(&alert), "a pattern that is not compiled holds for nothing");
        matchers.compile(&mut ROOM.clone());
        assert!(matchers.fit(&alert) && matchers.problem().is_none());
        matchers.release();
        assert!(!matchers.fit(&alert));
        let mut without_room = read();
        without_room.compile(&mut Room { bytes: 100, ..ROOM });
        assert!(!without_room.fit(&alert));
        assert!(without_room.problem().is_some_and(|why| why.contains("no room")), "{:?}", without_room.problem());
        assert_eq!(without_room, read(), "it is kept as it was");
        let broken: Matchers = serde_json::from_str(r#"["rule=~("]"#).expect("its form is right");
        let mut broken = broken;
        broken.compile(&mut ROOM.clone());
        assert_eq!(broken.problem(), Some("unclosed group"));
    }
}
