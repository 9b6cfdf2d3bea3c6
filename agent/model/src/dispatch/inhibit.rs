//! Inhibitions: while a source alert fires, the alerts that it explains are not sent.
//!
//! An operator's inhibition in the config is trusted. The built-in inhibition depends on a rule name that any plugin can use, so the
//! agent's own readings must agree. Only a server that the agent cannot reach is muted, never one that a plugin calls unreachable.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::matcher::{LabelMatcher, label_of};
use super::matchers::Matchers;
use crate::alert::{Alert, AlertBook, AlertState, Fingerprint};
use crate::snapshot::Snapshot;
use crate::subject::SubjectKey;

/// Name of the built-in inhibition.
pub(super) const UNREACHABLE: &str = "unreachable";
/// Id of the rule with which plugins report that a server cannot be reached.
const UNREACHABLE_RULE: &str = "server-down";

/// Holds back alerts that match `target` while an alert that matches `source` fires. Both must have equal values of the labels in `equal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibition {
    /// Name from the config, which messages show.
    pub name: String,
    /// Matchers of the alerts that explain others.
    pub source: Matchers,
    /// Matchers of the alerts that are held back.
    pub target: Matchers,
    /// Names of the labels that source and target must have in common.
    pub equal: Vec<String>,
    /// True when a source counts only while the agent itself cannot reach the server.
    pub needs_proof: bool,
}

impl Inhibition {
    /// The built-in inhibition: a server that cannot be reached explains every other alert about it.
    pub fn unreachable() -> Self {
        Self {
            name: UNREACHABLE.to_owned(),
            source: Matchers(vec![LabelMatcher::equals("rule", UNREACHABLE_RULE)]),
            target: Matchers::default(),
            equal: vec!["kind".to_owned(), "subject".to_owned()],
            needs_proof: true,
        }
    }

    fn equal_values(&self, alert: &Alert) -> Vec<String> {
        self.equal.iter().map(|name| label_of(alert, name).unwrap_or_default().to_owned()).collect()
    }
}

/// Alerts that fire, by their values of the labels in `equal`.
type Sources = HashMap<Vec<String>, BTreeSet<Fingerprint>>;

/// Source alerts that fire, indexed by the label values that they share with their targets.
#[derive(Debug, Clone, Default)]
pub(super) struct Inhibitions {
    rules: Vec<(Inhibition, Sources)>,
    /// Rule index and label values of each source, so that a source can be removed after its labels changed.
    sources: BTreeMap<Fingerprint, Vec<(usize, Vec<String>)>>,
    /// Plugin and server, for each plugin whose latest snapshot shows that the server could not be reached.
    unreachable: BTreeSet<(String, SubjectKey)>,
}

impl Inhibitions {
    /// Creates the inhibitions without any source that fires.
    pub(super) fn new(rules: Vec<Inhibition>) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, HashMap::new())).collect();
        Self { rules, sources: BTreeMap::new(), unreachable: BTreeSet::new() }
    }

    /// Updates the inhibitions for an alert that fires. Returns true if the alert explains less than before.
    pub(super) fn record_firing(&mut self, alert: &Alert) -> bool {
        let before = self.sources.get(&alert.fingerprint).cloned().unwrap_or_default();
        self.remove_source(alert.fingerprint);
        let is_proven = self.unreachable.contains(&(alert.plugin.clone(), alert.subject.key()));
        let mut places = Vec::new();
        for (index, (rule, sources)) in self.rules.iter_mut().enumerate() {
            if rule.source.fit(alert) && (is_proven || !rule.needs_proof) {
                let values = rule.equal_values(alert);
                sources.entry(values.clone()).or_default().insert(alert.fingerprint);
                places.push((index, values));
            }
        }
        let explains_less = before.iter().any(|place| !places.contains(place));
        if !places.is_empty() {
            self.sources.insert(alert.fingerprint, places);
        }
        explains_less
    }

    /// Records a snapshot that a plugin judged; `book` has its alerts since then. Returns true if some alert explains less than before.
    pub(super) fn record_judged(&mut self, plugin: &str, snapshot: &Snapshot, book: &AlertBook) -> bool {
        let Some(is_reachable) = snapshot.is_reachable() else { return false };
        let subject = snapshot.subject.key();
        if !is_reachable {
            return self.record_unreachable(plugin, subject, book);
        }
        if !self.unreachable.iter().any(|(_, unreachable)| *unreachable == subject) {
            return false;
        }
        // A recovering alert ends by itself. A frozen alert, which no plugin judges any more, would explain others for ever.
        let contradicts = |alert: &&Alert| alert.frozen.is_some() || (alert.plugin == plugin && alert.state == AlertState::Firing);
        let is_source = |alert: &&Alert| alert.subject.key() == subject && self.sources.contains_key(&alert.fingerprint);
        let contradicted: Vec<&Alert> = book.alerts().filter(is_source).filter(contradicts).collect();
        for plugin in contradicted.iter().map(|alert| alert.plugin.as_str()).chain([plugin]) {
            self.unreachable.remove(&(plugin.to_owned(), subject.clone()));
        }
        let mut explains_less = false;
        for alert in contradicted {
            explains_less |= self.record_firing(alert);
        }
        explains_less
    }

    /// Records the proof that a server is unreachable. After a restart the alert may stand already and change no more, so its inhibition
    /// is updated here.
    fn record_unreachable(&mut self, plugin: &str, subject: SubjectKey, book: &AlertBook) -> bool {
        let is_new = self.unreachable.insert((plugin.to_owned(), subject.clone()));
        let stands = |alert: &&Alert| matches!(alert.state, AlertState::Firing | AlertState::Recovering);
        let of_plugin = |alert: &&Alert| is_new && alert.plugin == plugin && alert.subject.key() == subject;
        let mut explains_less = false;
        for alert in book.alerts().filter(of_plugin).filter(stands) {
            explains_less |= self.record_firing(alert);
        }
        explains_less
    }

    /// Restores the proof for an alert with which an earlier process held other alerts back.
    pub(super) fn restore_proof(&mut self, alert: &Alert) {
        self.unreachable.insert((alert.plugin.clone(), alert.subject.key()));
    }

    /// Removes a source that does not fire any more. Returns true if it explained other alerts.
    pub(super) fn remove_source(&mut self, fingerprint: Fingerprint) -> bool {
        let Some(places) = self.sources.remove(&fingerprint) else { return false };
        for (index, values) in places {
            let Some((_, sources)) = self.rules.get_mut(index) else { continue };
            if let Some(set) = sources.get_mut(&values) {
                set.remove(&fingerprint);
                if set.is_empty() {
                    sources.remove(&values);
                }
            }
        }
        true
    }

    /// Returns the rule name and the firing alert that explain an alert, or `None`. A possible source of a rule is never explained by that
    /// rule, so two sources cannot hide each other.
    pub(super) fn explanation(&self, alert: &Alert) -> Option<(&str, Fingerprint)> {
        self.rules.iter().find_map(|(rule, sources)| {
            let source = sources.get(&rule.equal_values(alert))?.iter().find(|source| **source != alert.fingerprint)?;
            (rule.target.fit(alert) && !rule.source.fit(alert)).then_some((rule.name.as_str(), *source))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::stories::alert;

    #[test]
    fn a_server_that_is_down_explains_its_alerts_and_no_others() {
        let mut inhibitions = Inhibitions::new(vec![Inhibition::unreachable()]);
        let (down, lag, other) = (alert("server-down", "db1"), alert("lag", "db1"), alert("lag", "db2"));
        inhibitions.record_firing(&down);
        assert_eq!(inhibitions.explanation(&lag), None, "no reading proves it yet");
        inhibitions.restore_proof(&down);
        assert!(!inhibitions.record_firing(&down) && !inhibitions.record_firing(&lag));
        assert_eq!(inhibitions.explanation(&lag), Some(("unreachable", down.fingerprint)));
        assert_eq!(inhibitions.explanation(&other), None);
        assert_eq!(inhibitions.explanation(&down), None, "not itself");
        assert!(inhibitions.remove_source(down.fingerprint) && !inhibitions.remove_source(down.fingerprint));
        assert_eq!(inhibitions.explanation(&lag), None);
    }

    #[test]
    fn alerts_that_explain_never_hide_each_other() {
        let rule = Inhibition {
            name: "any".to_owned(),
            source: Matchers(vec![LabelMatcher::equals("subject", "db1")]),
            target: Matchers::default(),
            equal: Vec::new(),
            needs_proof: false,
        };
        let mut inhibitions = Inhibitions::new(vec![rule]);
        let (one, two, far) = (alert("a", "db1"), alert("b", "db1"), alert("c", "db2"));
        inhibitions.record_firing(&one);
        inhibitions.record_firing(&two);
        assert_eq!((inhibitions.explanation(&one), inhibitions.explanation(&two)), (None, None));
        assert!(inhibitions.explanation(&far).is_some());
        inhibitions.remove_source(one.fingerprint);
        assert_eq!(inhibitions.explanation(&far), Some(("any", two.fingerprint)));
    }
}
