//! Reads a file of cases. The result is the checked cases, or all mistakes in the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pharos_model::rule_case::{ExpectedAlert, ExpectedTransition, Timeline};

use super::check::Check;
use super::file::{CaseTable, ExpectTable, SHAPE, SubjectTable, SuiteTable, TransitionTable};
use super::timeline;
use crate::config::LoadError;
use crate::config::load::{Document, document, folder_of, read};
use crate::config::problem::{Problem, locate};
use crate::config::shape::{Places, did_you_mean};

const INTERVAL: Duration = Duration::from_secs(10);

/// The cases of one file.
pub(super) struct Suite {
    pub path: PathBuf,
    /// Id of a plugin, or a path that ends in `.wasm`, as written in the file.
    pub plugin: String,
    pub cases: Vec<Case>,
    text: String,
    places: Places,
}

/// A case that was checked.
pub(super) struct Case {
    pub name: String,
    pub line: usize,
    pub timeline: Timeline,
    pub settings: toml::Table,
    /// Expectations in the order of time.
    pub expectations: Vec<Expectation>,
}

/// Everything that is expected after a tick.
pub(super) struct Expectation {
    pub tick: u32,
    pub line: usize,
    pub alerts: Option<Vec<ExpectedAlert>>,
    /// Transitions since the expectation before this one.
    pub transitions: Option<Vec<ExpectedTransition>>,
    /// Those of the transitions that notify receivers.
    pub told: Option<Vec<ExpectedTransition>>,
    pub skipped: Vec<String>,
}

impl Suite {
    pub(super) fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read(path)?;
        let Document { value, places, problems } = document::<SuiteTable>(&text, &SHAPE);
        let mut check = Check { text: &text, places, problems, folder: folder_of(path) };
        let (plugin, cases) = match value {
            Some(file) => check.suite(file),
            None => (String::new(), Vec::new()),
        };
        let Check { places, problems, .. } = check;
        if problems.is_empty() {
            return Ok(Self { path: path.to_owned(), plugin, cases, text, places });
        }
        Err(invalid(path, &text, problems))
    }

    /// Path of the plugin's file, if the suite names a file and not an id.
    pub(super) fn plugin_file(&self) -> Option<PathBuf> {
        self.plugin.ends_with(".wasm").then(|| folder_of(&self.path).join(&self.plugin))
    }

    /// Makes an error of mistakes that were found after loading, each with the path of its value in the file.
    pub(super) fn refuse(&self, problems: Vec<(String, String)>) -> LoadError {
        let problems = problems.into_iter().map(|(path, message)| Problem { place: self.places.find(&path), message }).collect();
        invalid(&self.path, &self.text, problems)
    }

    /// Full path of a setting of a case: in the case itself if the case sets that key, else at the top of the file.
    pub(super) fn settings_path(&self, case: usize, path: &str) -> String {
        let own = format!("case[{case}].settings");
        let first_key: String = path.chars().take(1).chain(path.chars().skip(1).take_while(|char| !matches!(char, '.' | '['))).collect();
        if self.places.has(&format!("{own}{first_key}")) { format!("{own}{path}") } else { format!("settings{path}") }
    }

    /// Rules that a case names and the plugin does not have: path in the file, and message.
    pub(super) fn unknown_rules(&self, case: usize, known: &[&str]) -> Vec<(String, String)> {
        let mut named = Vec::new();
        for (index, expectation) in self.cases[case].expectations.iter().enumerate() {
            let at = format!("case[{case}].expect[{index}]");
            let alerts = expectation.alerts.iter().flatten().map(|alert| alert.rule.as_str());
            named.extend(alerts.enumerate().map(|(index, rule)| (format!("{at}.alerts[{index}].rule"), rule)));
            for (key, list) in [("transitions", &expectation.transitions), ("told", &expectation.told)] {
                let rules = list.iter().flatten().map(|transition| transition.rule.as_str());
                named.extend(rules.enumerate().map(|(index, rule)| (format!("{at}.{key}[{index}].rule"), rule)));
            }
            named.extend(expectation.skipped.iter().enumerate().map(|(index, rule)| (format!("{at}.skipped[{index}]"), rule.as_str())));
        }
        let message = |rule: &str| {
            let hint = did_you_mean(rule, known.iter().copied());
            let hint = if hint.is_empty() { format!("; its rules are {}", known.join(", ")) } else { hint };
            format!("the plugin has no rule `{rule}`{hint}")
        };
        named.into_iter().filter(|(_, rule)| !known.contains(rule)).map(|(path, rule)| (path, message(rule))).collect()
    }
}

fn invalid(path: &Path, text: &str, problems: Vec<Problem>) -> LoadError {
    LoadError::Invalid { path: path.to_owned(), problems: locate(text, problems) }
}

impl Check<'_> {
    fn suite(&mut self, file: SuiteTable) -> (String, Vec<Case>) {
        let SuiteTable { plugin, subject, interval, settings, case } = file;
        if interval.is_some_and(|interval| interval.is_zero()) {
            self.report("interval", "must not be 0");
        }
        if case.is_empty() {
            self.report("case", "there is none");
        }
        let mut names = BTreeSet::new();
        let mut cases = Vec::new();
        for (index, mut table) in case.into_iter().enumerate() {
            let path = format!("case[{index}]");
            if !names.insert(table.name.clone()) {
                self.report(&format!("{path}.name"), "another case has this name");
            }
            table.interval = table.interval.or(interval);
            table.settings = overlay(settings.clone(), std::mem::take(&mut table.settings));
            cases.extend(self.case(&path, table, &subject));
        }
        (plugin, cases)
    }

    fn case(&mut self, path: &str, mut table: CaseTable, subject: &SubjectTable) -> Option<Case> {
        let interval = table.interval.filter(|interval| !interval.is_zero());
        if table.interval.is_some() && interval.is_none() {
            self.report(&format!("{path}.interval"), "must not be 0");
        }
        let interval = interval.unwrap_or(INTERVAL);
        let expectations = self.expectations(path, std::mem::take(&mut table.expect), interval);
        let timeline = timeline::timeline(self, path, &table, subject, interval)?;
        Some(Case { name: table.name, line: self.line(path), timeline, settings: table.settings, expectations })
    }

    fn expectations(&mut self, path: &str, tables: Vec<ExpectTable>, interval: Duration) -> Vec<Expectation> {
        if tables.is_empty() {
            self.report(path, "the case expects nothing; write an [[case.expect]]");
        }
        let mut expectations = Vec::new();
        let mut latest = Duration::ZERO;
        for (index, table) in tables.into_iter().enumerate() {
            let path = format!("{path}.expect[{index}]");
            let ExpectTable { at, alerts, transitions, told, skipped } = table;
            if alerts.is_none() && transitions.is_none() && told.is_none() && skipped.is_empty() {
                self.report(&path, "it expects nothing; give `alerts` (`[]` is none), `transitions`, `told` or `skipped`");
            }
            let tick = self.tick(&format!("{path}.at"), at, interval);
            if at < std::mem::replace(&mut latest, at) {
                self.report(&format!("{path}.at"), "is before the expectation above it; write them in the order of time");
            }
            let checked = |list: Option<Vec<TransitionTable>>| list.map(|list| list.into_iter().map(transition).collect());
            let (transitions, told) = (checked(transitions), checked(told));
            expectations.push(Expectation { tick, line: self.line(&path), alerts, transitions, told, skipped });
        }
        expectations
    }
}

fn transition(table: TransitionTable) -> ExpectedTransition {
    let TransitionTable { rule, labels, reason, severity, at } = table;
    ExpectedTransition { rule, labels, reason, severity, at }
}

/// Merges settings over others: tables are merged, every other value replaces the one below.
fn overlay(mut under: toml::Table, over: toml::Table) -> toml::Table {
    for (key, value) in over {
        let merged = match (under.remove(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => toml::Value::Table(overlay(under, over)),
            (_, over) => over,
        };
        under.insert(key, merged);
    }
    under
}
