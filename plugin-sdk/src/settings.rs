//! Settings: the JSON of the host becomes the type of the plugin. An error names the wrong key and suggests the nearest one.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Failure;

/// Parses settings from JSON. Fails with `Failure::InvalidConfig`, whose text has the path of the wrong key and the nearest valid name.
pub fn parse<S: DeserializeOwned>(json: &str) -> Result<S, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::InvalidConfig(explain(json, &error)))
}

/// The candidate nearest to `given`, for a "did you mean". None if more than a third of the letters of `given` differ.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerance = given.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A setting that is invalid and was left out, while all other settings stay in force.
///
/// The host shows the setting in its log, at `/api/plugins`, as a metric and as an alert. A plugin whose schema has
/// `"x-pharos-wrong-settings": "ignored"` is loaded despite invalid settings, and must leave them out itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The path of the setting: `settings.rules[0].above`.
    pub place: String,
    /// The reason, for the operator.
    pub why: String,
}

impl Ignored {
    /// A setting that was left out at this path, for this reason.
    pub fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into() }
    }

    /// Splits the text of a failure into path and reason, at the first colon. The path is `settings` if the text names none.
    pub fn from_failure(failure: Failure) -> Self {
        let text = match failure {
            Failure::InvalidConfig(text) | Failure::Internal(text) | Failure::Denied(text) | Failure::Unsupported(text) => text,
            Failure::Transient(failure) => failure.reason,
        };
        match text.split_once(": ") {
            Some((place, why)) if place.starts_with("settings") => Self::new(place, why),
            _ => Self::new("settings", text),
        }
    }

    /// Places the path below the table that holds the setting: `settings.above` under `settings.rules[0]` becomes
    /// `settings.rules[0].above`.
    #[must_use]
    pub fn under(self, place: &str) -> Self {
        let below = self.place.strip_prefix("settings").unwrap_or(&self.place);
        Self { place: format!("{place}{below}"), ..self }
    }

    /// Reports the setting to the host. Does nothing outside a component.
    pub fn report(&self) {
        #[cfg(target_arch = "wasm32")]
        crate::log::warn(&self.why, &[("setting", &self.place)]);
    }
}

/// Parses a table from its valid keys alone. Each key is tried by itself, and each invalid key goes into `ignored`. None if the value is no
/// table, or the valid keys together do not form an `S`.
pub fn parse_leniently<S: DeserializeOwned>(value: Value, place: &str, ignored: &mut Vec<Ignored>) -> Option<S> {
    let Value::Object(table) = value else {
        ignored.push(Ignored::new(place, "must be a table"));
        return None;
    };
    let mut right = serde_json::Map::new();
    for (key, value) in table {
        let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
        match parse::<S>(&alone.to_string()) {
            Ok(_) => drop(right.insert(key, value)),
            Err(failure) => {
                let wrong = Ignored::from_failure(failure).under(place);
                let place = if wrong.place == place { format!("{place}.{key}") } else { wrong.place };
                ignored.push(Ignored { place, why: wrong.why });
            }
        }
    }
    parse(&Value::Object(right).to_string()).map_err(|failure| ignored.push(Ignored::from_failure(failure).under(place))).ok()
}

fn explain(json: &str, error: &serde_json::Error) -> String {
    let message = error.to_string();
    // The position in the JSON would mislead: the operator wrote TOML.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let place = display(&path_at(json, offset(json, error)));
    let hint = did_you_mean(message).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    format!("{place}: {message}{hint}")
}

/// The nearest valid name in an error of serde. Serde quotes in backticks first the given name, then the valid ones.
fn did_you_mean(message: &str) -> Option<&str> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = quoted.next()?;
    nearest(given, quoted)
}

fn offset(json: &str, error: &serde_json::Error) -> usize {
    let line_start: usize = json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    line_start + error.column()
}

enum Step {
    Key(Option<String>),
    Index(usize),
}

/// The path of the byte at `end` in the document. Serde has read the text up to that byte, so it is well-formed.
fn path_at(json: &str, end: usize) -> Vec<Step> {
    let mut path = Vec::new();
    let mut last_text = String::new();
    let mut chars = json.char_indices().take_while(|(at, _)| *at < end).map(|(_, c)| c);
    while let Some(c) = chars.next() {
        match c {
            '"' => last_text = quoted(&mut chars),
            '{' => path.push(Step::Key(None)),
            '[' => path.push(Step::Index(0)),
            '}' | ']' => drop(path.pop()),
            ':' => path.last_mut().into_iter().for_each(|step| *step = Step::Key(Some(last_text.clone()))),
            ',' => path.last_mut().into_iter().for_each(advance),
            _ => {}
        }
    }
    path
}

fn quoted(chars: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

fn advance(step: &mut Step) {
    match step {
        Step::Key(key) => *key = None,
        Step::Index(index) => *index += 1,
    }
}

fn display(path: &[Step]) -> String {
    let mut text = "settings".to_owned();
    for step in path {
        match step {
            Step::Key(Some(key)) => text.extend([".", key]),
            Step::Key(None) => {}
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::HumanDuration;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "lowercase")]
    #[expect(dead_code, reason = "only parsed")]
    struct Settings {
        #[serde(default)]
        rules: Vec<Rule>,
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Rule {
        id: String,
        above: f64,
        wait: Option<HumanDuration>,
    }

    #[track_caller]
    fn check(json: &str, expected: &str) {
        match parse::<Settings>(json) {
            Err(Failure::InvalidConfig(message)) => assert_eq!(message, expected),
            other => panic!("expected an error, got {other:?}"),
        }
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        check(
            r#"{"name":"a \" b","rules":[{"id":"a","above":1},{"id":"b","above":"high"}]}"#,
            r#"settings.rules[1].above: invalid type: string "high", expected f64"#,
        );
    }

    #[test]
    fn an_unknown_key_suggests_the_nearest() {
        check(
            r#"{"name":"x","rules":[{"id":"a","abov":1}]}"#,
            "settings.rules[0]: unknown field `abov`, expected one of `id`, `above`, `wait`; did you mean `above`?",
        );
    }

    #[test]
    fn a_missing_key_names_its_object() {
        check("{\n \"name\": \"x\",\n \"rules\": [{\"above\": 1, \"wait\": \"5m\"}]\n}", "settings.rules[0]: missing field `id`");
        check("{}", "settings: missing field `name`");
    }

    #[test]
    fn a_wrong_duration_names_its_key() {
        check(
            r#"{"name":"x","rules":[{"id":"a","above":1,"wait":"soon"}]}"#,
            r#"settings.rules[0].wait: `soon` is no duration: write it like "500ms", "5m" or "1h30m""#,
        );
    }

    #[test]
    fn nothing_far_off_is_suggested() {
        assert_eq!(nearest("warnin", ["warning", "critical"]), Some("warning"));
        assert_eq!(nearest("colour", ["warning", "critical"]), None);
    }
}
