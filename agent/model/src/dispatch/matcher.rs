//! Which alerts are meant: `name=value`, `name!=value`, `name=~regex`, `name!~regex`, all of which must hold.

use std::{fmt, str::FromStr};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::alert::Alert;

/// Matchers of one route, silence or inhibition.
pub const MATCHERS_MAX: usize = 50;
const NAME_BYTES_MAX: usize = 200;
const VALUE_BYTES_MAX: usize = 2_000;
/// A regular expression that compiles to more than this is refused.
const REGEX_BYTES_MAX: usize = 1 << 18;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    Differs,
    Fits,
    FitsNot,
}

impl Operator {
    /// The longer ones first, so that `=~` is not read as `=`.
    const ALL: [(Self, &'static str); 4] = [(Self::Fits, "=~"), (Self::FitsNot, "!~"), (Self::Differs, "!="), (Self::Equals, "=")];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(operator, _)| *operator == self).map_or("=", |(_, text)| text)
    }
}

/// One condition on one label. Of a label that is not there the value is empty.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    operator: Operator,
    value: String,
    /// Of the two operators that need one; fits the whole value.
    regex: Option<Regex>,
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
}

impl Matcher {
    pub fn equals(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), operator: Operator::Equals, value: value.to_owned(), regex: None }
    }

    /// One of several values.
    pub fn any_of(name: &str, values: &[String]) -> Result<Self, MatcherError> {
        match values {
            [value] => Ok(Self::equals(name, value)),
            values => {
                let alternatives: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
                Self::new(name, Operator::Fits, alternatives.join("|"))
            }
        }
    }

    fn new(name: &str, operator: Operator, value: String) -> Result<Self, MatcherError> {
        let text = || format!("{name}{}{value}", operator.as_str());
        if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(MatcherError::TooLong(text().chars().take(80).collect()));
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return Err(MatcherError::Name(text()));
        }
        let regex = match operator {
            Operator::Equals | Operator::Differs => None,
            Operator::Fits | Operator::FitsNot => {
                let whole = RegexBuilder::new(&format!("^(?:{value})$")).size_limit(REGEX_BYTES_MAX).build();
                Some(whole.map_err(|err| MatcherError::Regex { text: text(), why: last_line(&err) })?)
            }
        };
        Ok(Self { name: name.to_owned(), operator, value, regex })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn holds(&self, alert: &Alert) -> bool {
        let value = label_of(alert, &self.name).unwrap_or_default();
        let fits = self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.operator {
            Operator::Equals => value == self.value,
            Operator::Differs => value != self.value,
            Operator::Fits => fits,
            Operator::FitsNot => !fits,
        }
    }

    /// Whether an alert without this label is meant too.
    fn takes_nothing(&self) -> bool {
        match self.operator {
            Operator::Equals => self.value.is_empty(),
            Operator::Differs => !self.value.is_empty(),
            Operator::Fits => self.regex.as_ref().is_some_and(|regex| regex.is_match("")),
            Operator::FitsNot => !self.regex.as_ref().is_some_and(|regex| regex.is_match("")),
        }
    }
}

/// What a regular expression's error ends with is what went wrong; before that it is drawn.
fn last_line(err: &regex::Error) -> String {
    err.to_string().lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.name, self.operator.as_str())
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        let at = text.find(['=', '!']).ok_or_else(|| MatcherError::Form(text.to_owned()))?;
        let (name, rest) = text.split_at(at);
        let found = Operator::ALL.into_iter().find_map(|(operator, sign)| Some((operator, rest.strip_prefix(sign)?)));
        let (operator, value) = found.ok_or_else(|| MatcherError::Form(text.to_owned()))?;
        let value = unquoted(value.trim()).ok_or_else(|| MatcherError::Quotes(text.to_owned()))?;
        Self::new(name.trim(), operator, value)
    }
}

/// A value may stand in double quotes, in which `\"`, `\\` and `\n` mean what they usually do.
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
                // Of a regular expression, which needs no doubling here.
                char => out.extend(['\\', char]),
            },
            char => out.push(char),
        }
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// All of them must hold; none of them: everything is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(pub Vec<Matcher>);

impl Matchers {
    pub fn hold(&self, alert: &Alert) -> bool {
        self.0.iter().all(|matcher| matcher.holds(alert))
    }

    /// The first that does not hold, and what the label is instead.
    pub fn objection(&self, alert: &Alert) -> Option<String> {
        let matcher = self.0.iter().find(|matcher| !matcher.holds(alert))?;
        Some(match label_of(alert, &matcher.name) {
            Some(value) => format!("{matcher}, but {} is \"{value}\"", matcher.name),
            None => format!("{matcher}, but there is no label {}", matcher.name),
        })
    }

    /// Whether they mean every alert, because each of them also takes one without its label.
    pub fn take_all(&self) -> bool {
        self.0.iter().all(Matcher::takes_nothing)
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Matcher::to_string).collect();
        write!(f, "{{{}}}", all.join(","))
    }
}

/// A label of the finding or of its subject; severity, rule, plugin, subject and kind count as labels too.
pub fn label_of<'a>(alert: &'a Alert, name: &str) -> Option<&'a str> {
    match name {
        "severity" => Some(alert.severity.as_str()),
        "rule" => Some(&alert.rule),
        "plugin" => Some(&alert.plugin),
        "subject" => Some(&alert.subject.id),
        "kind" => Some(&alert.subject.kind),
        _ => {
            let labels = alert.labels.iter().chain(&alert.subject.labels);
            labels.into_iter().find(|label| label.name == name).map(|label| label.value.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::stories::alert;

    #[track_caller]
    fn check(text: &str, holds: bool) {
        let matcher: Matcher = text.parse().unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(matcher.holds(&alert("lag", "db1")), holds, "{text}");
        assert_eq!(matcher.to_string().parse::<Matcher>(), Ok(matcher), "{text}");
    }

    #[test]
    fn matchers_ask_for_labels_and_for_what_counts_as_one() {
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
    fn mistakes_say_what_is_wrong() {
        let why = |text: &str| text.parse::<Matcher>().expect_err("it is wrong").to_string();
        assert_eq!(why("rule"), "`rule` is no matcher; write name=value, name!=value, name=~regex or name!~regex");
        assert_eq!(why("=x"), "`=x`: a label's name is made of letters, digits, `_`, `-` and `.`");
        assert_eq!(why("rule=\"x"), "`rule=\"x`: the quotes do not end at the end of the value");
        assert_eq!(why("rule=~("), "`rule=~(`: unclosed group");
        assert!(why("rule=~(x{1000}){1000}").contains("size limit"));
    }

    #[test]
    fn matchers_that_mean_everything_are_known() {
        let all = |texts: &[&str]| Matchers(texts.iter().map(|text| text.parse().expect("right")).collect()).take_all();
        assert!(all(&[]) && all(&["rule=~.*"]) && all(&["rule!=x", "rule=~.*"]));
        assert!(!all(&["rule=~.+"]) && !all(&["rule=~.*", "severity=info"]));
    }

    #[test]
    fn any_of_takes_each_and_no_other() {
        let matcher = Matcher::any_of("rule", &["l.g".to_owned(), "lag".to_owned()]).expect("right");
        assert!(matcher.holds(&alert("lag", "db1")) && matcher.holds(&alert("l.g", "db1")) && !matcher.holds(&alert("log", "db1")));
    }
}
