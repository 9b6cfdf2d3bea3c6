//! Checks of labels: those that routes, inhibitions and silences ask for must exist on alerts.

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

/// Values that matchers ask for and no alert of this config has, where all values are known. A plugin file that comes later may bring
/// more, so each is worth a note and no more. `plugins` are the plugins that are there.
pub fn strange_values(config: &Config, plugins: &[String]) -> Vec<Mistake> {
    let known = known_values(config, plugins);
    let strange = |Asked { path, by, .. }: Asked| {
        let matcher = by?;
        let values = known.get(matcher.name())?;
        // A label that is not there is the empty text.
        let is_possible = matcher.takes("") || values.iter().any(|value| matcher.takes(value));
        let hint = did_you_mean(matcher.value(), values.iter().copied());
        (!is_possible).then(|| Mistake::at(path, format!("no {} that is known here fits `{matcher}`{hint}", matcher.name())))
    };
    asked(config).into_iter().filter_map(strange).collect()
}

/// Every value of a label, for those labels of which the config and the shipped plugins decide it.
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

/// Labels that are asked for and do not exist. A plugin of the user may have further labels, so with such plugins it is only a guess.
pub fn unknown(config: &Config) -> Vec<Mistake> {
    let known = known();
    let mut unknown = asked(config);
    unknown.retain(|asked| !known.contains(asked.label.as_str()));
    // Of one label many values may be asked for.
    unknown.dedup_by(|one, other| one.path == other.path);
    unknown.into_iter().map(|asked| Mistake::at(asked.path, unknown_label(&asked.label, &known))).collect()
}

pub fn unknown_label(name: &str, known: &BTreeSet<&'static str>) -> String {
    format!("no alert has a label `{name}`{}", did_you_mean(name, known.iter().copied()))
}

/// A label that the config asks for.
struct Asked {
    path: String,
    label: String,
    /// The matcher of its value. None where the label only groups alerts.
    by: Option<LabelMatcher>,
}

/// Every label that routes, inhibitions and silences ask for, with its place. Matchers that cannot be read are reported elsewhere.
fn asked(config: &Config) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (index, route) in config.route.iter().enumerate() {
        for (label, values) in &route.matches {
            let path = format!("route[{index}].match.{label}");
            let by = |value: &String| Asked { path: path.clone(), label: label.clone(), by: Some(LabelMatcher::equals(label, value)) };
            asked.extend(values.0.iter().map(by));
        }
        if let Ok(matchers) = Matchers::parse(&route.matchers) {
            asked.extend(matched(&format!("route[{index}].matchers"), matchers));
        }
        asked.extend(grouped(&format!("route[{index}].group_by"), &route.group_by));
    }
    for (index, inhibition) in config.inhibit.iter().enumerate() {
        if let Ok(inhibition) = inhibition.inhibition() {
            asked.extend(matched(&format!("inhibit[{index}].source"), inhibition.source));
            asked.extend(matched(&format!("inhibit[{index}].target"), inhibition.target));
        }
        asked.extend(grouped(&format!("inhibit[{index}].equal"), &inhibition.equal));
    }
    for (index, silence) in config.silence.iter().enumerate() {
        if let Ok(silence) = silence.silence() {
            asked.extend(matched(&format!("silence[{index}].matchers"), silence.matchers));
        }
    }
    asked
}

fn matched(path: &str, matchers: Matchers) -> impl Iterator<Item = Asked> {
    let each =
        move |(index, by): (usize, LabelMatcher)| Asked { path: format!("{path}[{index}]"), label: by.name().to_owned(), by: Some(by) };
    matchers.0.into_iter().enumerate().map(each)
}

fn grouped(path: &str, labels: &[String]) -> impl Iterator<Item = Asked> {
    labels.iter().enumerate().map(move |(index, label)| Asked { path: format!("{path}[{index}]"), label: label.clone(), by: None })
}
