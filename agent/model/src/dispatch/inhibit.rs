//! Alerts that make others needless: while one of them fires, those that it explains are told to nobody.
//!
//! A rule of the config is the operator's word. The one that is built in rests on what plugins call their rules, so the agent's own facts
//! must agree: a server is muted by its being unreachable, never by a plugin's words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Matcher, Matchers, label_of};
use crate::{
    alert::{Alert, AlertBook, AlertState, Fingerprint},
    snapshot::Snapshot,
    subject::SubjectKey,
};

/// The inhibition that is built in.
pub(super) const UNREACHABLE: &str = "unreachable";
/// The rule by which plugins say that a server cannot be reached.
const UNREACHABLE_RULE: &str = "server-down";

/// While an alert fires that matches `source`, alerts that match `target` are not told, if both agree in the labels `equal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibition {
    pub name: String,
    pub source: Matchers,
    pub target: Matchers,
    pub equal: Vec<String>,
    /// A source counts only while the agent itself finds that its server cannot be reached.
    pub needs_proof: bool,
}

impl Inhibition {
    /// A server that cannot be reached explains whatever else is wrong with it.
    pub fn unreachable() -> Self {
        Self {
            name: UNREACHABLE.to_owned(),
            source: Matchers(vec![Matcher::equals("rule", UNREACHABLE_RULE)]),
            target: Matchers::default(),
            equal: vec!["kind".to_owned(), "subject".to_owned()],
            needs_proof: true,
        }
    }

    fn equal_values(&self, alert: &Alert) -> Vec<String> {
        self.equal.iter().map(|name| label_of(alert, name).unwrap_or_default().to_owned()).collect()
    }
}

/// Alerts that fire, by the values of the labels that a rule wants to be equal.
type Sources = HashMap<Vec<String>, BTreeSet<Fingerprint>>;

/// Which alerts fire that explain others, found by what they have to share with them.
#[derive(Debug, Clone, Default)]
pub struct Inhibitions {
    rules: Vec<(Inhibition, Sources)>,
    /// Where each source stands, so that it can leave when its labels have changed.
    sources: BTreeMap<Fingerprint, Vec<(usize, Vec<String>)>>,
    /// Plugins and servers: the plugin was last asked about a snapshot in which the server could not be reached.
    unreachable: BTreeSet<(String, SubjectKey)>,
}

impl Inhibitions {
    pub fn new(rules: Vec<Inhibition>) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, HashMap::new())).collect();
        Self { rules, sources: BTreeMap::new(), unreachable: BTreeSet::new() }
    }

    /// An alert fires, as it is now. True if it explains less than before.
    pub fn fires(&mut self, alert: &Alert) -> bool {
        let before = self.sources.get(&alert.fingerprint).cloned().unwrap_or_default();
        self.ended(alert.fingerprint);
        let is_proven = self.unreachable.contains(&(alert.plugin.clone(), alert.subject.key()));
        let mut places = Vec::new();
        for (index, (rule, sources)) in self.rules.iter_mut().enumerate() {
            if rule.source.hold(alert) && (is_proven || !rule.needs_proof) {
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

    /// A plugin was asked about this snapshot, and `book` has its alerts since. True if some explain less than before.
    pub fn asked(&mut self, plugin: &str, snapshot: &Snapshot, book: &AlertBook) -> bool {
        let Some(is_reachable) = snapshot.is_reachable() else { return false };
        let subject = snapshot.subject.key();
        if !is_reachable {
            return self.proves(plugin, subject, book);
        }
        if !self.unreachable.iter().any(|(_, unreachable)| *unreachable == subject) {
            return false;
        }
        // An alert that recovers ends by itself. One that no plugin judges any more would explain others for ever.
        let contradicts = |alert: &&Alert| alert.frozen.is_some() || (alert.plugin == plugin && alert.state == AlertState::Firing);
        let is_source = |alert: &&Alert| alert.subject.key() == subject && self.sources.contains_key(&alert.fingerprint);
        let contradicted: Vec<&Alert> = book.alerts().filter(is_source).filter(contradicts).collect();
        for plugin in contradicted.iter().map(|alert| alert.plugin.as_str()).chain([plugin]) {
            self.unreachable.remove(&(plugin.to_owned(), subject.clone()));
        }
        let mut explains_less = false;
        for alert in contradicted {
            explains_less |= self.fires(alert);
        }
        explains_less
    }

    /// The proof is here. After a restart it comes later than the alert that needs it, which does not change any more.
    fn proves(&mut self, plugin: &str, subject: SubjectKey, book: &AlertBook) -> bool {
        let is_new = self.unreachable.insert((plugin.to_owned(), subject.clone()));
        let stands = |alert: &&Alert| matches!(alert.state, AlertState::Firing | AlertState::Recovering);
        let of_plugin = |alert: &&Alert| is_new && alert.plugin == plugin && alert.subject.key() == subject;
        let mut explains_less = false;
        for alert in book.alerts().filter(of_plugin).filter(stands) {
            explains_less |= self.fires(alert);
        }
        explains_less
    }

    /// A process before this one held alerts back because of this one, as the server could not be reached.
    pub fn was_proven(&mut self, alert: &Alert) {
        self.unreachable.insert((alert.plugin.clone(), alert.subject.key()));
    }

    /// It does not any more. True if it explained others.
    pub fn ended(&mut self, fingerprint: Fingerprint) -> bool {
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

    /// What explains an alert: the rule's name and the alert that fires. An alert that could be a source of the rule itself is never
    /// explained by it, so that two cannot hide each other.
    pub fn explains(&self, alert: &Alert) -> Option<(&str, Fingerprint)> {
        self.rules.iter().find_map(|(rule, sources)| {
            let source = sources.get(&rule.equal_values(alert))?.iter().find(|source| **source != alert.fingerprint)?;
            (rule.target.hold(alert) && !rule.source.hold(alert)).then_some((rule.name.as_str(), *source))
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
        inhibitions.fires(&down);
        assert_eq!(inhibitions.explains(&lag), None, "so far these are words");
        inhibitions.was_proven(&down);
        assert!(!inhibitions.fires(&down) && !inhibitions.fires(&lag));
        assert_eq!(inhibitions.explains(&lag), Some(("unreachable", down.fingerprint)));
        assert_eq!(inhibitions.explains(&other), None);
        assert_eq!(inhibitions.explains(&down), None, "not itself");
        assert!(inhibitions.ended(down.fingerprint) && !inhibitions.ended(down.fingerprint));
        assert_eq!(inhibitions.explains(&lag), None);
    }

    #[test]
    fn alerts_that_explain_never_hide_each_other() {
        let rule = Inhibition {
            name: "any".to_owned(),
            source: Matchers(vec![Matcher::equals("subject", "db1")]),
            target: Matchers::default(),
            equal: Vec::new(),
            needs_proof: false,
        };
        let mut inhibitions = Inhibitions::new(vec![rule]);
        let (one, two, far) = (alert("a", "db1"), alert("b", "db1"), alert("c", "db2"));
        inhibitions.fires(&one);
        inhibitions.fires(&two);
        assert_eq!((inhibitions.explains(&one), inhibitions.explains(&two)), (None, None));
        assert!(inhibitions.explains(&far).is_some());
        inhibitions.ended(one.fingerprint);
        assert_eq!(inhibitions.explains(&far), Some(("any", two.fingerprint)));
    }
}
