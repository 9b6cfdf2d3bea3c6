//! Conditions on labels that select alerts: `name=value`, `name!=value`, `name=~regex`, `name!~regex`.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pattern::{PATTERN_BYTES_MAX, Pattern};
use crate::alert::Alert;

/// Most matchers of one route, silence or inhibition.
pub const MATCHERS_MAX: usize = 50;
/// Most memory of one list of matchers, in bytes: texts and compiled patterns.
pub const MATCHERS_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a label's name in a matcher, more than any label of the catalogue has.
const NAME_BYTES_MAX: usize = 200;
/// Most bytes of a value or pattern in a matcher, enough for a list of many names.
const VALUE_BYTES_MAX: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    Differs,
    Fits,
    FitsNot,
}

impl Operator {
    /// Longer signs come first, so that `=~` is not read as `=`.
    const ALL: [(Self, &'static str); 4] = [(Self::Fits, "=~"), (Self::FitsNot, "!~"), (Self::Differs, "!="), (Self::Equals, "=")];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(operator, _)| *operator == self).map_or("=", |(_, text)| text)
    }
}

/// Condition on one label. A missing label has the empty value.
#[derive(Debug, Clone)]
pub struct LabelMatcher {
    name: String,
    operator: Operator,
    value: String,
    fit: Fit,
}

/// The right side of a condition, prepared for comparison.
#[derive(Debug, Clone)]
enum Fit {
    /// The matcher's own text.
    Value,
    /// A list of texts, any of which may be equal.
    AnyOf(Vec<String>),
    Pattern(Pattern),
    /// A pattern from the store. It was valid when it was stored, and is compiled when there is room for it.
    Uncompiled,
    /// A pattern that cannot be used, with the reason. The matcher fits no alert.
    Unusable(String),
}

/// Why a matcher is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    #[error("`{0}` is no matcher; write name=value, name!=value, name=~regex or name!~regex")]
    Form(String),
    #[error("`{0}`: a label's name is made of letters, digits, `_`, `-` and `.`")]
    Name(String),
    #[error("`{0}`: the quotes do not end at the end of the value")]
    Quotes(String),
    #[error("`{0}` is longer than a matcher may be")]
    TooLong(String),
    #[error("`{text}`: {why}")]
    Regex { text: String, why: String },
    #[error("`{0}`: an empty list of values matches nothing; name a value, or remove the line")]
    Empty(String),
    #[error("there are more than {MATCHERS_MAX} matchers")]
    TooMany,
    #[error("the matchers take more than {} KiB together; write simpler regular expressions, without Unicode classes or counted repetitions", MATCHERS_BYTES_MAX >> 10)]
    TooLarge,
    #[error("`{0}`: there is no room for another regular expression; expire some silences")]
    NoRoom(String),
}

impl LabelMatcher {
    /// Creates the matcher `name="value"`.
    pub fn equals(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), operator: Operator::Equals, value: value.to_owned(), fit: Fit::Value }
    }

    /// Creates a matcher that fits any of several values. An empty list is an error.
    pub fn any_of(name: &str, values: &[String]) -> Result<Self, MatcherError> {
        match values {
            [] => Err(MatcherError::Empty(name.to_owned())),
            [value] => Self::new(name, Operator::Equals, value.clone(), Reading::Whole),
            values => {
                let alternatives: Vec<String> = values.iter().map(|value| regex_syntax::escape(value)).collect();
                let shown = Self::new(name, Operator::Fits, alternatives.join("|"), Reading::Form)?;
                Ok(Self { fit: Fit::AnyOf(values.to_vec()), ..shown })
            }
        }
    }

    fn new(name: &str, operator: Operator, value: String, reading: Reading) -> Result<Self, MatcherError> {
        let text = || format!("{name}{}{value}", operator.as_str());
        if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(MatcherError::TooLong(text().chars().take(80).collect()));
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return Err(MatcherError::Name(text()));
        }
        let fit = match (operator, reading) {
            (Operator::Equals | Operator::Differs, _) => Fit::Value,
            (Operator::Fits | Operator::FitsNot, Reading::Form) => Fit::Uncompiled,
            (Operator::Fits | Operator::FitsNot, Reading::Whole) => {
                Fit::Pattern(Pattern::new(&value).map_err(|why| MatcherError::Regex { text: text(), why })?)
            }
        };
        Ok(Self { name: name.to_owned(), operator, value, fit })
    }

    fn parse(text: &str, reading: Reading) -> Result<Self, MatcherError> {
        let at = text.find(['=', '!']).ok_or_else(|| MatcherError::Form(shortened(text)))?;
        let (name, rest) = text.split_at(at);
        let found = Operator::ALL.into_iter().find_map(|(operator, sign)| Some((operator, rest.strip_prefix(sign)?)));
        let (operator, value) = found.ok_or_else(|| MatcherError::Form(shortened(text)))?;
        let value = unquoted(value.trim()).ok_or_else(|| MatcherError::Quotes(shortened(text)))?;
        Self::new(name.trim(), operator, value, reading)
    }

    /// Name of the label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Value or pattern on the right side.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns true if the alert's label fits. A missing label has the empty value.
    pub fn fits(&self, alert: &Alert) -> bool {
        self.fits_value(label_of(alert, &self.name).unwrap_or_default())
    }

    /// Returns true if a label with this value fits. A pattern that is not compiled fits nothing, whatever the operator. An alert too many
    /// is better than one hidden by mistake.
    pub fn fits_value(&self, value: &str) -> bool {
        let fits = match &self.fit {
            Fit::Value => value == self.value,
            Fit::AnyOf(values) => values.iter().any(|wanted| wanted == value),
            Fit::Pattern(pattern) => pattern.fits(value),
            Fit::Uncompiled | Fit::Unusable(_) => return false,
        };
        match self.operator {
            Operator::Equals | Operator::Fits => fits,
            Operator::Differs | Operator::FitsNot => !fits,
        }
    }

    /// Why the pattern cannot be used; `None` if it can.
    pub fn problem(&self) -> Option<&str> {
        match &self.fit {
            Fit::Unusable(why) => Some(why),
            _ => None,
        }
    }

    /// Memory of the matcher, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let fit = match &self.fit {
            Fit::Value | Fit::Uncompiled => 0,
            Fit::AnyOf(values) => values.iter().map(|value| size_of::<String>() + value.len()).sum(),
            Fit::Pattern(pattern) => pattern.bytes(),
            Fit::Unusable(why) => why.len(),
        };
        size_of::<Self>() + self.name.len() + self.value.len() + fit
    }

    /// Compiles a pattern from the store, if there is room. A failure counts as the work of the largest pattern, because it may have taken
    /// as long.
    pub(super) fn compile(&mut self, room: &mut Room) {
        if !matches!(self.fit, Fit::Uncompiled) {
            return;
        }
        let no_room = || MatcherError::NoRoom(self.to_string()).to_string();
        let compiled = if room.work == 0 { Err(no_room()) } else { Pattern::new(&self.value) };
        room.work = room.work.saturating_sub(compiled.as_ref().map_or(PATTERN_BYTES_MAX, Pattern::bytes));
        let kept = compiled.and_then(|pattern| {
            room.bytes = room.bytes.checked_sub(pattern.bytes()).ok_or_else(no_room)?;
            Ok(pattern)
        });
        self.fit = kept.map_or_else(Fit::Unusable, Fit::Pattern);
    }

    /// Frees the memory of the compiled pattern.
    pub(super) fn release(&mut self) {
        if matches!(self.fit, Fit::Pattern(_)) {
            self.fit = Fit::Uncompiled;
        }
    }
}

/// Limits for compiling the patterns of a store.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes left for compiled patterns.
    pub bytes: usize,
    /// Bytes left for all compilations, also of patterns that are then dropped. This limits the time of a start.
    pub work: usize,
}

/// How completely a matcher is read.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Whole,
    /// Reads the text without compiling its pattern.
    Form,
}

/// The beginning of a text, for error messages.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

impl PartialEq for LabelMatcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for LabelMatcher {}

impl fmt::Display for LabelMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.name, self.operator.as_str())
    }
}

impl FromStr for LabelMatcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        Self::parse(text, Reading::Whole)
    }
}

/// Removes double quotes around a value, and resolves `\"`, `\\` and `\n`. `None` if the quotes do not end at the end.
fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut out = String::new();
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                char @ ('"' | '\\') => out.push(char),
                // Other escapes belong to the regular expression, which needs no doubled backslashes here.
                char => out.extend(['\\', char]),
            },
            char => out.push(char),
        }
    }
}

impl Serialize for LabelMatcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a stored matcher. Its pattern is compiled later, by [`Matchers::compile`].
impl<'de> Deserialize<'de> for LabelMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?, Reading::Form).map_err(D::Error::custom)
    }
}

/// Returns a label of the subject or of the alert. `severity`, `rule`, `plugin`, `subject` and `kind` count as labels too.
pub fn label_of<'a>(alert: &'a Alert, name: &str) -> Option<&'a str> {
    match name {
        "severity" => Some(alert.severity.as_str()),
        "rule" => Some(&alert.rule),
        "plugin" => Some(&alert.plugin),
        "subject" => Some(&alert.subject.id),
        "kind" => Some(alert.subject.kind.as_str()),
        _ => {
            // Labels of the subject come first: the host sets them, and a plugin's label of the same name cannot replace them.
            let labels = alert.subject.labels.iter().chain(&alert.labels);
            labels.into_iter().find(|label| label.name == name).map(|label| label.value.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::stories::alert;

    #[track_caller]
    fn check(text: &str, fits: bool) {
        let matcher: LabelMatcher = text.parse().unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(matcher.fits(&alert("lag", "db1")), fits, "{text}");
        assert_eq!(matcher.to_string().parse::<LabelMatcher>(), Ok(matcher), "{text}");
    }

    #[test]
    fn matchers_compare_labels_and_the_fields_that_count_as_labels() {
        check("rule=lag", true);
        check("rule=\"lag\"", true);
        check("rule = lag", true);
        check("subject=~db[0-9]", true);
        check("subject=~db", false);
        check("subject!~\"db|x\"", true);
        check("severity!=warning", false);
        check("kind=postgres", true);
        check("nowhere=", true);
        check("nowhere=x", false);
        check("nowhere!=x", true);
        check(r#"rule=~"l\w+""#, true);
    }

    #[test]
    fn errors_name_the_mistake() {
        let why = |text: &str| text.parse::<LabelMatcher>().expect_err("it is wrong").to_string();
        assert_eq!(why("rule"), "`rule` is no matcher; write name=value, name!=value, name=~regex or name!~regex");
        assert_eq!(why("=x"), "`=x`: a label's name is made of letters, digits, `_`, `-` and `.`");
        assert_eq!(why("rule=\"x"), "`rule=\"x`: the quotes do not end at the end of the value");
        assert_eq!(why("rule=~("), "`rule=~(`: unclosed group");
        assert!(why("rule=~(x{1000}){1000}").contains("size limit"));
    }

    #[test]
    fn any_of_fits_each_value_and_no_other() {
        let matcher = LabelMatcher::any_of("rule", &["l.g".to_owned(), "lag".to_owned()]).expect("right");
        assert!(matcher.fits(&alert("lag", "db1")) && matcher.fits(&alert("l.g", "db1")) && !matcher.fits(&alert("log", "db1")));
        assert_eq!(matcher.to_string(), r#"rule=~"l\\.g|lag""#);
        let nothing = LabelMatcher::any_of("severity", &[]).expect_err("it matches nothing");
        assert_eq!(nothing.to_string(), "`severity`: an empty list of values matches nothing; name a value, or remove the line");
    }
}
