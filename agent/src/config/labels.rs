//! Checks of labels: a label that routes, inhibitions and silences use must exist on alerts.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::catalogue::metrics::Metrics;
use pharos_model::dispatch::{LabelMatcher, Matchers};

use super::load::Mistake;
use super::root::Config;
use super::shape::did_you_mean;

/// Labels of every alert and of its subject.
const OF_EVERY_ALERT: [&str; 8] = ["agent", "database", "kind", "plugin", "rule", "server", "severity", "subject"];
/// Labels of the shipped checks that no metric has. `mistakes::every_label_of_a_shipped_check_is_known` compares them with the checks.
const OF_CHECKS: [&str; 4] = ["counter", "plugin_id", "rule_id", "store"];

/// Every label that an alert of a shipped plugin can have.
pub fn known() -> BTreeSet<&'static str> {
    let of_metrics = Metrics::shipped().iter().flat_map(|(_, spec)| spec.labels.iter().map(String::as_str));
    of_metrics.chain(OF_EVERY_ALERT).chain(OF_CHECKS).collect()
}

/// Rules of the shipped plugins with checks, one a line. `mistakes::every_rule_of_a_shipped_check_is_known` compares them with the checks.
const SHIPPED_RULES: &str = include_str!("../../../config/rules.txt");

/// Reports matchers that fit no known value of their label, if all values of the label are known. A later plugin file may add values, so
/// these are notes only. `plugins` are the ids of the present plugins.
pub fn unmatched_values(config: &Config, plugins: &[String]) -> Vec<Mistake> {
    let known = known_values(config, plugins);
    let unmatched = |UsedLabel { path, matcher, .. }: UsedLabel| {
        let matcher = matcher?;
        let values = known.get(matcher.name())?;
        // A missing label counts as the empty text.
        let is_possible = matcher.fits_value("") || values.iter().any(|value| matcher.fits_value(value));
        let hint = did_you_mean(matcher.value(), values.iter().copied());
        (!is_possible).then(|| Mistake::at(path, format!("no {} that is known here fits `{matcher}`{hint}", matcher.name())))
    };
    used_labels(config).into_iter().filter_map(unmatched).collect()
}

/// All values of those labels whose values the config and the shipped plugins determine.
fn known_values<'a>(config: &'a Config, plugins: &'a [String]) -> BTreeMap<&'static str, BTreeSet<&'a str>> {
    let databases =
        config.database.iter().map(|database| database.name.as_str()).chain(config.redis.iter().map(|redis| redis.name.as_str()));
    let thresholds = config.plugin.get("threshold").and_then(|plugin| plugin.settings.get("rules")?.as_array());
    let thresholds = thresholds.into_iter().flatten().filter_map(|rule| rule.get("id")?.as_str());
    BTreeMap::from([
        ("database", databases.collect()),
        ("plugin", plugins.iter().map(String::as_str).collect()),
        ("rule", SHIPPED_RULES.lines().chain(thresholds).collect()),
    ])
}

/// Reports used labels that do not exist. A plugin of the user may have further labels, so with such plugins these are only guesses.
pub fn unknown(config: &Config) -> Vec<Mistake> {
    let known = known();
    let mut unknown = used_labels(config);
    unknown.retain(|used| !known.contains(used.label.as_str()));
    // Many values of one label are reported once.
    unknown.dedup_by(|one, other| one.path == other.path);
    unknown.into_iter().map(|used| Mistake::at(used.path, unknown_label(&used.label, &known))).collect()
}

pub fn unknown_label(name: &str, known: &BTreeSet<&'static str>) -> String {
    format!("no alert has a label `{name}`{}", did_you_mean(name, known.iter().copied()))
}

/// A label that the config uses.
struct UsedLabel {
    path: String,
    label: String,
    /// The matcher of its value. `None` if the label only groups alerts.
    matcher: Option<LabelMatcher>,
}

/// Every label that routes, inhibitions and silences use, with its path. Matchers that cannot be parsed are reported elsewhere.
fn used_labels(config: &Config) -> Vec<UsedLabel> {
    let mut used = Vec::new();
    for (index, route) in config.route.iter().enumerate() {
        for (label, values) in &route.matches {
            let path = format!("route[{index}].match.{label}");
            let equals =
                |value: &String| UsedLabel { path: path.clone(), label: label.clone(), matcher: Some(LabelMatcher::equals(label, value)) };
            used.extend(values.0.iter().map(equals));
        }
        if let Ok(matchers) = Matchers::parse(&route.matchers) {
            used.extend(matched(&format!("route[{index}].matchers"), matchers));
        }
        used.extend(grouped(&format!("route[{index}].group_by"), &route.group_by));
    }
    for (index, inhibition) in config.inhibit.iter().enumerate() {
        if let Ok(inhibition) = inhibition.inhibition() {
            used.extend(matched(&format!("inhibit[{index}].source"), inhibition.source));
            used.extend(matched(&format!("inhibit[{index}].target"), inhibition.target));
        }
        used.extend(grouped(&format!("inhibit[{index}].equal"), &inhibition.equal));
    }
    for (index, silence) in config.silence.iter().enumerate() {
        if let Ok(silence) = silence.silence() {
            used.extend(matched(&format!("silence[{index}].matchers"), silence.matchers));
        }
    }
    used
}

fn matched(path: &str, matchers: Matchers) -> impl Iterator<Item = UsedLabel> {
    let each = move |(index, matcher): (usize, LabelMatcher)| UsedLabel {
        path: format!("{path}[{index}]"),
        label: matcher.name().to_owned(),
        matcher: Some(matcher),
    };
    matchers.0.into_iter().enumerate().map(each)
}

fn grouped(path: &str, labels: &[String]) -> impl Iterator<Item = UsedLabel> {
    labels.iter().enumerate().map(move |(index, label)| UsedLabel { path: format!("{path}[{index}]"), label: label.clone(), matcher: None })
}
