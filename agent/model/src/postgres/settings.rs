//! Settings of a server: changes between two readings, values that may be shown, and values as numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Most stored changes; older ones are removed.
const CHANGES_MAX: usize = 100;
/// Text shown instead of a possible secret.
const HIDDEN: &str = "(hidden)";

/// Setting as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRead {
    /// Name of the setting.
    pub name: String,
    /// Value; `None` for null.
    pub value: Option<String>,
    /// True if the value is the built-in default.
    pub is_default: bool,
}

/// A setting that differs between two readings, with both values in their shown form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Name of the setting.
    pub setting: String,
    /// Value before. `None` if the setting did not exist: a library or its configuration added it.
    pub before: Option<String>,
    /// Value after. `None` if the setting does not exist any more.
    pub after: Option<String>,
    /// Wall time of the second reading, milliseconds since 1970.
    pub seen_at_ms: u64,
}

/// Last reading and the changes so far. Secrets are not stored. In memory, a digest shows whether a secret changed; even the digest is not
/// stored, because a secret could be guessed from it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SettingHistory {
    known: Option<BTreeMap<String, Known>>,
    /// Settings that were never read, because the session overrides them. Their first value is no change.
    #[serde(default)]
    hidden: BTreeSet<String>,
    changes: VecDeque<SettingChange>,
    #[serde(skip)]
    changes_total: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    shown: Option<String>,
    #[serde(skip)]
    digest: Option<u64>,
    is_default: bool,
}

impl SettingHistory {
    /// Compares a reading with the one before, and returns the number of new changes. For settings in `hides`, earlier values stay.
    pub fn observe(&mut self, read: impl IntoIterator<Item = SettingRead>, hides: &[&str], now_ms: u64) -> usize {
        let mut read: BTreeMap<String, Known> =
            read.into_iter().filter(|read| !hides.contains(&read.name.as_str())).map(Known::new).collect();
        for name in hides {
            match self.known.as_ref().and_then(|known| known.get(*name)) {
                Some(before) => drop(read.insert((*name).to_owned(), before.clone())),
                None => drop(self.hidden.insert((*name).to_owned())),
            }
        }
        let first: BTreeSet<String> = self.hidden.iter().filter(|name| read.contains_key(*name)).cloned().collect();
        self.hidden.retain(|name| !first.contains(name));
        let Some(known) = self.known.replace(read) else { return 0 };
        let read = self.known.iter().flatten();
        let mut new: Vec<SettingChange> = read
            .filter_map(|(name, after)| match known.get(name) {
                Some(before) => before.differs(after).then(|| change(name, Some(before), Some(after), now_ms)),
                // A library that was loaded meanwhile adds settings that no person changed.
                None => (!after.is_default && !first.contains(name)).then(|| change(name, None, Some(after), now_ms)),
            })
            .collect();
        let is_gone = |name: &str| self.known.as_ref().is_some_and(|read| !read.contains_key(name));
        let gone = known.iter().filter(|(name, before)| !before.is_default && is_gone(name));
        new.extend(gone.map(|(name, before)| change(name, Some(before), None, now_ms)));
        let count = new.len();
        self.changes_total += count as u64;
        self.changes.extend(new);
        self.changes.drain(..self.changes.len().saturating_sub(CHANGES_MAX));
        count.min(CHANGES_MAX)
    }

    /// The latest changes, at most `count`, oldest first.
    pub fn latest(&self, count: usize) -> impl Iterator<Item = &SettingChange> {
        self.changes.iter().skip(self.changes.len().saturating_sub(count))
    }

    /// All stored changes, oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &SettingChange> + Clone {
        self.changes.iter()
    }

    /// Number of changes since the first reading, removed ones included.
    pub fn changes_total(&self) -> u64 {
        self.changes_total
    }
}

impl Known {
    fn new(read: SettingRead) -> (String, Self) {
        let mut hasher = DefaultHasher::new();
        read.value.hash(&mut hasher);
        let shown = read.value.as_deref().map(|value| shown(&read.name, value).into_owned());
        (read.name, Self { shown, digest: Some(hasher.finish()), is_default: read.is_default })
    }

    fn differs(&self, after: &Self) -> bool {
        self.shown != after.shown || self.digest.zip(after.digest).is_some_and(|(before, after)| before != after)
    }
}

fn change(name: &str, before: Option<&Known>, after: Option<&Known>, seen_at_ms: u64) -> SettingChange {
    let text = |known: Option<&Known>| known.and_then(|known| known.shown.clone());
    SettingChange { setting: name.to_owned(), before: text(before), after: text(after), seen_at_ms }
}

/// A setting's value as it may be shown. A command is reduced to its program, because its arguments may hold passwords.
pub fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let name = name.to_ascii_lowercase();
    if value.is_empty() {
        return Cow::Borrowed(value);
    }
    if is_secret(&name) || holds_secret(value) {
        return Cow::Borrowed(HIDDEN);
    }
    if !name.ends_with("_command") {
        return Cow::Borrowed(value);
    }
    match value.split_once(char::is_whitespace) {
        _ if value.starts_with(['"', '\'']) || value.contains('=') && !value.contains(char::is_whitespace) => Cow::Borrowed(HIDDEN),
        None => Cow::Borrowed(value),
        Some((program, _)) if program.contains(['=', '"', '\'']) => Cow::Borrowed(HIDDEN),
        Some((program, _)) => Cow::Owned(format!("{program} {HIDDEN}")),
    }
}

/// Returns true if the name suggests a secret. Settings of applications and extensions are judged more strictly than the server's own.
fn is_secret(name: &str) -> bool {
    const ANYWHERE: [&str; 6] = ["conninfo", "passphrase", "passwd", "secret", "credential", "api_key"];
    const FOREIGN: [&str; 9] = ["password", "pass", "token", "key", "auth", "salt", "jwt", "dsn", "url"];
    if name.ends_with("_file") {
        return false;
    }
    ANYWHERE.iter().any(|word| name.contains(word)) || name.contains('.') && FOREIGN.iter().any(|word| name.contains(word))
}

/// Returns true if the value has the form of a secret: `password=...`, `PGPASSWORD=...`, `--token x`, `user:password@host`.
fn holds_secret(value: &str) -> bool {
    static SECRET: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?i)(pass(word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|credentials?)['\x22]?\s*[=:]|--?(pass\w*|pwd|secret|token|\w*key)\s+\S|://[^/\s@]*:[^/\s@]+@";
        Regex::new(pattern).expect("the pattern is right")
    });
    SECRET.is_match(value)
}

/// A setting's value in base units: bytes, seconds, 1 for on. `None` if it is no number. -1 has a special meaning and stays.
pub fn number(kind: &str, value: &str, unit: Option<&str>) -> Option<f64> {
    match kind {
        "bool" => match value {
            "on" => Some(1.0),
            "off" => Some(0.0),
            _ => None,
        },
        "integer" | "real" => {
            let number: f64 = value.parse().ok().filter(|number: &f64| number.is_finite())?;
            if number < 0.0 { Some(number) } else { Some(number * unit.map_or(Some(1.0), unit_size)?) }
        }
        _ => None,
    }
}

/// Size of a unit in base units. A unit may have a factor: `8kB` is a block.
fn unit_size(unit: &str) -> Option<f64> {
    let digits = unit.len() - unit.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let count: f64 = if digits == 0 { 1.0 } else { unit[..digits].parse().ok()? };
    let size = match &unit[digits..] {
        "B" | "s" => 1.0,
        "kB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        "TB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Some(count * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Vec<SettingRead> {
        let setting = |(name, value): &(&str, &str)| SettingRead {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            is_default: *value == "default",
        };
        settings.iter().map(setting).collect()
    }

    fn change_texts(history: &SettingHistory) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or("nothing".to_owned());
        history.changes().map(|change| format!("{}: {} -> {}", change.setting, text(&change.before), text(&change.after))).collect()
    }

    #[test]
    fn the_first_reading_has_no_changes_and_the_next_ones_list_them() {
        let mut history = SettingHistory::default();
        assert_eq!(history.observe(read(&[("work_mem", "4096"), ("jit", "default")]), &[], 1), 0);
        assert_eq!(history.observe(read(&[("work_mem", "4096"), ("jit", "default")]), &[], 2), 0);
        assert_eq!(history.observe(read(&[("work_mem", "8192"), ("jit", "off")]), &[], 3), 2);
        assert_eq!(change_texts(&history), ["jit: default -> off", "work_mem: 4096 -> 8192"]);
        assert_eq!((history.changes_total(), history.changes().next().unwrap().seen_at_ms), (2, 3));
    }

    #[test]
    fn hidden_settings_keep_their_values_and_the_others_are_compared() {
        let hides = ["lock_timeout", "statement_timeout"];
        let mut history = SettingHistory::default();
        history.observe(read(&[("lock_timeout", "5000"), ("work_mem", "4096")]), &[], 1);
        assert_eq!(history.observe(read(&[("lock_timeout", "200"), ("work_mem", "8192")]), &hides, 2), 1);
        assert_eq!(history.observe(read(&[("work_mem", "8192")]), &hides, 3), 0);
        let stored = serde_json::to_value(&history).unwrap();
        let mut history: SettingHistory = serde_json::from_value(stored).unwrap();
        // The first was read before; for the second, this is the first known value.
        let shown = [("lock_timeout", "6000"), ("statement_timeout", "7000"), ("work_mem", "8192")];
        assert_eq!(history.observe(read(&shown), &[], 4), 1);
        assert_eq!(change_texts(&history), ["work_mem: 4096 -> 8192", "lock_timeout: 5000 -> 6000"]);
        assert_eq!(history.observe(read(&[("lock_timeout", "6000"), ("work_mem", "8192")]), &[], 5), 1);
    }

    #[test]
    fn defaults_of_a_loaded_library_are_no_change_and_configured_values_are() {
        let mut history = SettingHistory::default();
        history.observe(read(&[]), &[], 1);
        assert_eq!(history.observe(read(&[("pg_stat_statements.max", "default")]), &[], 2), 0);
        assert_eq!(history.observe(read(&[]), &[], 3), 0);
        assert_eq!(history.observe(read(&[("auto_explain.log_min_duration", "100")]), &[], 4), 1);
        assert_eq!(history.observe(read(&[]), &[], 5), 1);
        assert_eq!(
            change_texts(&history),
            ["auto_explain.log_min_duration: nothing -> 100", "auto_explain.log_min_duration: 100 -> nothing"]
        );
    }

    #[test]
    fn a_changed_secret_is_reported_and_not_shown() {
        let mut history = SettingHistory::default();
        history.observe(read(&[("primary_conninfo", "host=a password=one")]), &[], 1);
        history.observe(read(&[("primary_conninfo", "host=a password=two")]), &[], 2);
        assert_eq!(change_texts(&history), ["primary_conninfo: (hidden) -> (hidden)"]);
        assert!(!format!("{history:?}").contains("password"));
    }

    #[test]
    fn a_stored_history_continues_and_contains_no_secret() {
        let mut history = SettingHistory::default();
        history.observe(read(&[("work_mem", "4096"), ("primary_conninfo", "password=one")]), &[], 1);
        history.observe(read(&[("work_mem", "8192"), ("primary_conninfo", "password=one")]), &[], 2);
        let stored = serde_json::to_value(&history).unwrap();
        assert_eq!(stored["known"]["primary_conninfo"], serde_json::json!({ "shown": "(hidden)", "is_default": false }));
        let mut history: SettingHistory = serde_json::from_value(stored).unwrap();
        let news = history.observe(read(&[("work_mem", "1024"), ("primary_conninfo", "password=two")]), &[], 3);
        assert_eq!((news, history.changes_total(), history.latest(1).count()), (1, 1, 1));
        assert_eq!(change_texts(&history), ["work_mem: 4096 -> 8192", "work_mem: 8192 -> 1024"]);
        assert_eq!(history.observe(read(&[("work_mem", "1024"), ("primary_conninfo", "password=three")]), &[], 4), 1);
    }

    #[test]
    fn a_hundred_changes_are_kept_and_all_are_counted() {
        let mut history = SettingHistory::default();
        for round in 0..=150 {
            history.observe(read(&[("work_mem", &round.to_string())]), &[], round);
        }
        assert_eq!((history.changes().count(), history.changes_total()), (100, 150));
        assert_eq!(change_texts(&history)[99], "work_mem: 149 -> 150");
    }

    #[test]
    fn possible_secrets_are_hidden_and_other_values_are_shown() {
        for (name, value, expected) in [
            ("primary_conninfo", "host=db1 user=replicator", "(hidden)"),
            ("ssl_passphrase_command", "echo hunter2", "(hidden)"),
            ("ssl_key_file", "server.key", "server.key"),
            ("password_encryption", "scram-sha-256", "scram-sha-256"),
            ("archive_command", "false", "false"),
            ("archive_command", "", ""),
            ("archive_command", "pgbackrest --stanza=main archive-push %p", "pgbackrest (hidden)"),
            ("archive_command", "curl -u ann:hunter2 https://host/%f", "curl (hidden)"),
            ("archive_command", "PGPASSWORD=hunter2 copy %p", "(hidden)"),
            ("archive_command", "KEY=hunter2 copy %p", "(hidden)"),
            ("archive_command", "KEY=hunter2", "(hidden)"),
            ("restore_command", "'/opt/my tool' %f", "(hidden)"),
            ("app.jwt_secret", "abc", "(hidden)"),
            ("app.service_key", "abc", "(hidden)"),
            ("pg_stat_statements.track", "all", "all"),
            ("synchronous_standby_names", "ANY 1 (a, b)", "ANY 1 (a, b)"),
            ("some.thing", "postgresql://ann:hunter2@db1/app", "(hidden)"),
            ("log_line_prefix", "%m [%p] %q%u@%d ", "%m [%p] %q%u@%d "),
            ("shared_preload_libraries", "pg_stat_statements,passwordcheck", "pg_stat_statements,passwordcheck"),
        ] {
            assert_eq!(shown(name, value), expected, "{name} = {value}");
        }
    }

    #[test]
    fn numbers_are_in_base_units() {
        for (kind, value, unit, expected) in [
            ("integer", "16384", Some("8kB"), Some(134_217_728.0)),
            ("integer", "4096", Some("kB"), Some(4_194_304.0)),
            ("integer", "1024", Some("MB"), Some(1_073_741_824.0)),
            ("integer", "300", Some("s"), Some(300.0)),
            ("integer", "5", Some("min"), Some(300.0)),
            ("real", "250", Some("ms"), Some(0.25)),
            ("integer", "-1", Some("ms"), Some(-1.0)),
            ("integer", "100", None, Some(100.0)),
            ("real", "0.2", None, Some(0.2)),
            ("bool", "on", None, Some(1.0)),
            ("bool", "off", None, Some(0.0)),
            ("enum", "replica", None, None),
            ("integer", "1", Some("parsec"), None),
        ] {
            assert_eq!(number(kind, value, unit), expected, "{value} {unit:?}");
        }
    }
}
