//! Alerts that make others needless: while one of them fires, those that it explains are told to nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Matcher, Matchers, label_of};
use crate::alert::{Alert, Fingerprint};

/// The rule by which plugins say that a server cannot be reached.
const UNREACHABLE_RULE: &str = "server-down";

/// While an alert fires that matches `source`, alerts that match `target` are not told, if both agree in the labels `equal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibition {
    pub name: String,
    pub source: Matchers,
    pub target: Matchers,
    pub equal: Vec<String>,
}

impl Inhibition {
    /// A server that cannot be reached explains whatever else is wrong with it.
    pub fn unreachable() -> Self {
        Self {
            name: "unreachable".to_owned(),
            source: Matchers(vec![Matcher::equals("rule", UNREACHABLE_RULE)]),
            target: Matchers::default(),
            equal: vec!["kind".to_owned(), "subject".to_owned()],
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
}

impl Inhibitions {
    pub fn new(rules: Vec<Inhibition>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule, HashMap::new())).collect(), sources: BTreeMap::new() }
    }

    /// An alert fires, as it is now. True if it explains others.
    pub fn fires(&mut self, alert: &Alert) -> bool {
        self.ended(alert.fingerprint);
        let mut places = Vec::new();
        for (index, (rule, sources)) in self.rules.iter_mut().enumerate() {
            if rule.source.hold(alert) {
                let values = rule.equal_values(alert);
                sources.entry(values.clone()).or_default().insert(alert.fingerprint);
                places.push((index, values));
            }
        }
        let explains = !places.is_empty();
        if explains {
            self.sources.insert(alert.fingerprint, places);
        }
        explains
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
        assert_eq!(inhibitions.explains(&lag), None);
        assert!(inhibitions.fires(&down) && !inhibitions.fires(&lag));
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
