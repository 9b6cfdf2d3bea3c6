//! Labels that routes, inhibitions and silences ask for, and that no alert of the shipped plugins has.

use std::collections::BTreeSet;

use pharos_model::dispatch::Matchers;
use pharos_model::metric::Catalogue;

use super::shape::did_you_mean;
use super::{Config, Mistake};

/// What counts as a label of every alert, and the labels of subjects.
const OF_EVERY_ALERT: [&str; 8] = ["agent", "database", "kind", "plugin", "rule", "server", "severity", "subject"];
/// Labels of the shipped checks that no metric has. `mistakes::every_label_of_a_shipped_check_is_known` compares them with the checks.
const OF_CHECKS: [&str; 4] = ["counter", "plugin_id", "rule_id", "store"];

/// Every label that an alert of a shipped plugin can have.
pub fn known() -> BTreeSet<&'static str> {
    let of_metrics = Catalogue::shipped().iter().flat_map(|(_, spec)| spec.labels.iter().map(String::as_str));
    of_metrics.chain(OF_EVERY_ALERT).chain(OF_CHECKS).collect()
}

/// Labels that are asked for and do not exist. Plugins of the user's own have labels of their own, so with such it is only a guess.
pub fn unknown(config: &Config) -> Vec<Mistake> {
    let mut asked = Vec::new();
    for (index, route) in config.route.iter().enumerate() {
        asked.extend(route.matches.keys().map(|name| (format!("route[{index}].match.{name}"), name.clone())));
        if let Ok(matchers) = Matchers::parse(&route.matchers) {
            asked.extend(names(&format!("route[{index}].matchers"), &matchers));
        }
        asked.extend(listed(&format!("route[{index}].group_by"), &route.group_by));
    }
    for (index, inhibition) in config.inhibit.iter().enumerate() {
        if let Ok(inhibition) = inhibition.inhibition() {
            asked.extend(names(&format!("inhibit[{index}].source"), &inhibition.source));
            asked.extend(names(&format!("inhibit[{index}].target"), &inhibition.target));
        }
        asked.extend(listed(&format!("inhibit[{index}].equal"), &inhibition.equal));
    }
    for (index, silence) in config.silence.iter().enumerate() {
        if let Ok(silence) = silence.silence() {
            asked.extend(names(&format!("silence[{index}].matchers"), &silence.matchers));
        }
    }
    let known = known();
    let mistake = |(path, name): (String, String)| {
        Mistake::at(path, format!("no alert has a label `{name}`{}", did_you_mean(&name, known.iter().copied())))
    };
    asked.into_iter().filter(|(_, name)| !known.contains(name.as_str())).map(mistake).collect()
}

fn names(path: &str, matchers: &Matchers) -> Vec<(String, String)> {
    matchers.0.iter().enumerate().map(|(index, matcher)| (format!("{path}[{index}]"), matcher.name().to_owned())).collect()
}

fn listed(path: &str, names: &[String]) -> Vec<(String, String)> {
    names.iter().enumerate().map(|(index, name)| (format!("{path}[{index}]"), name.clone())).collect()
}
