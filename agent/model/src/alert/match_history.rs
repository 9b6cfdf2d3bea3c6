//! Finds rules that never match: a rule with a misspelt label value would stay silent for ever.
//!
//! A rule has matched as soon as one subject had the series that the rule needs. Until then the time between evaluations is added up, also
//! over restarts. An evaluation that could not read its facts adds no time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cycle::{Cycle, Outcome};
use super::series::Series;
use crate::finding::{Report, RuleSpec, SkipReason};
use crate::snapshot::Snapshot;

/// Whether each rule has matched so far, by plugin and rule.
#[derive(Debug, Clone, Default)]
pub struct MatchHistory(BTreeMap<String, BTreeMap<String, RuleHistory>>);

/// A rule that has not matched yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedRule {
    /// Id of the plugin.
    pub plugin: String,
    /// Id of the rule.
    pub rule: String,
    /// Time for which the rule was evaluated without a match.
    pub searched: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct RuleHistory {
    matched: bool,
    /// Time for which the rule was evaluated without a match.
    searched: Duration,
    /// Monotonic time of the last evaluation in this process.
    at: Option<Duration>,
    /// True after [`MatchHistory::take_changes`] returned the rule as one that never matches.
    reported: bool,
}

/// Whether the series of a rule were there in one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Observation {
    /// The facts could not be read.
    Unknown,
    NoMatch,
    Match,
}

impl MatchHistory {
    /// Continues with the times that an earlier process stored.
    pub fn restore(unmatched: impl IntoIterator<Item = UnmatchedRule>) -> Self {
        let mut history = Self::default();
        for UnmatchedRule { plugin, rule, searched } in unmatched {
            history.0.entry(plugin).or_default().insert(rule, RuleHistory { searched, ..RuleHistory::default() });
        }
        history
    }

    /// Adds one evaluation. Call it before the alert book applies the evaluation. With `is_general`, the rules of the plugin watch for
    /// things that not every subject has, so a rule that is clear without any series counts as matched. `now` is monotonic.
    pub fn observe(&mut self, cycle: &Cycle<'_>, is_general: bool, now: Duration) {
        let rules = self.0.entry(cycle.plugin.to_owned()).or_default();
        for rule in cycle.rules {
            let rule_history = rules.entry(rule.id.clone()).or_default();
            let before = rule_history.at.replace(now);
            if rule_history.matched {
                continue;
            }
            let observation = match &cycle.outcome {
                Outcome::Failed(_) => Observation::Unknown,
                Outcome::Judged(report) => observation(rule, report, cycle.snapshot, is_general),
            };
            match observation {
                Observation::Unknown => {}
                Observation::NoMatch => rule_history.searched += now.saturating_sub(before.unwrap_or(now)),
                Observation::Match => rule_history.matched = true,
            }
        }
    }

    /// Plugin and rule of each change since the last call. True means that the rule has now had no match for the time `after`. False means
    /// that a rule that was returned with true has matched now.
    pub fn take_changes(&mut self, after: Duration) -> Vec<(String, String, bool)> {
        let mut changes = Vec::new();
        for (plugin, rules) in &mut self.0 {
            for (rule, rule_history) in rules {
                // A restored rule that was not evaluated in this process may belong to a plugin that is gone.
                let never = !rule_history.matched && rule_history.at.is_some() && rule_history.searched >= after;
                if std::mem::replace(&mut rule_history.reported, never) != never {
                    changes.push((plugin.clone(), rule.clone(), never));
                }
            }
        }
        changes
    }

    /// Removes all rules of the plugin except these, and returns the removed ones.
    pub fn retain_rules(&mut self, plugin: &str, rules: &[String]) -> Vec<String> {
        let Some(known) = self.0.get_mut(plugin) else { return Vec::new() };
        known.extract_if(.., |rule, _| !rules.contains(rule)).map(|(rule, _)| rule).collect()
    }

    /// Removes all rules of a plugin.
    pub fn remove_plugin(&mut self, plugin: &str) {
        self.0.remove(plugin);
    }

    /// Removes rules that were not evaluated in this process, because their plugin is no longer there.
    pub fn remove_unevaluated(&mut self) {
        self.0.values_mut().for_each(|rules| rules.retain(|_, rule_history| rule_history.at.is_some()));
        self.0.retain(|_, rules| !rules.is_empty());
    }

    /// All rules without a match, which must be stored for the next process.
    pub fn unmatched(&self) -> Vec<UnmatchedRule> {
        let of_plugin = |(plugin, rules): (&String, &BTreeMap<String, RuleHistory>)| {
            let unmatched = rules.iter().filter(|(_, rule_history)| !rule_history.matched && !rule_history.searched.is_zero());
            let one = |(rule, rule_history): (&String, &RuleHistory)| UnmatchedRule {
                plugin: plugin.clone(),
                rule: rule.clone(),
                searched: rule_history.searched,
            };
            unmatched.map(one).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_plugin).collect()
    }
}

fn observation(rule: &RuleSpec, report: &Report, snapshot: &Snapshot, is_general: bool) -> Observation {
    if report.findings.iter().any(|finding| finding.rule == rule.id) {
        return Observation::Match;
    }
    let skips = report.skipped.iter().filter(|skip| skip.rule == rule.id);
    let skipped = skips.map(|skip| match (&skip.reason, Series::of(rule, &skip.labels, snapshot)) {
        (SkipReason::NoData, Series::Present) => Observation::Match,
        (SkipReason::NoData, Series::Unreadable(_)) => Observation::Unknown,
        (SkipReason::NoData, Series::Missing { .. } | Series::Undetermined { .. }) => Observation::NoMatch,
        // The mistake is in the rule: no collector reads what it needs.
        (SkipReason::Unsupported(_), Series::Undetermined { read_at: None }) => Observation::NoMatch,
        (SkipReason::Unsupported(_) | SkipReason::PartFailed(_), _) => Observation::Unknown,
    });
    skipped.max().unwrap_or_else(|| match Series::of(rule, &[], snapshot) {
        Series::Missing { .. } if !is_general => Observation::NoMatch,
        Series::Unreadable(_) => Observation::Unknown,
        Series::Present | Series::Missing { .. } | Series::Undetermined { .. } => Observation::Match,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::stories::{SLOT_ACTIVE, rule, slots, snapshot};
    use crate::finding::Skipped;
    use crate::snapshot::Part;
    use crate::subject::Label;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NO_CHANGES: [bool; 0] = [];

    /// The answer of the rule to one evaluation.
    #[derive(Clone, Copy)]
    enum Answer<'a> {
        Fine,
        Skips(&'a SkipReason),
        SkipsAt(&'a str),
        Fails,
    }

    fn observe_part(history: &mut MatchHistory, answer: Answer<'_>, part: Part, is_general: bool, hour: u32) {
        let rule = RuleSpec { needs: vec![SLOT_ACTIVE.to_owned()], ..rule(Duration::ZERO, Duration::ZERO) };
        let skip = |labels, reason: &SkipReason| Report {
            skipped: vec![Skipped { rule: rule.id.clone(), labels, reason: reason.clone() }],
            ..Report::default()
        };
        let outcome = match answer {
            Answer::Fine => Outcome::Judged(Report::default()),
            Answer::Skips(reason) => Outcome::Judged(skip(Vec::new(), reason)),
            Answer::SkipsAt(slot) => Outcome::Judged(skip(vec![Label::new("slot", slot)], &SkipReason::NoData)),
            Answer::Fails => Outcome::Failed("trapped".to_owned()),
        };
        let snapshot = snapshot([("replication", part)]);
        let cycle = Cycle { plugin: "p", snapshot: &snapshot, rules: std::slice::from_ref(&rule), outcome };
        history.observe(&cycle, is_general, HOUR * hour);
    }

    fn observe(history: &mut MatchHistory, answer: Answer<'_>, slots_there: &[&str], hour: u32) {
        observe_part(history, answer, slots(slots_there, HOUR), false, hour);
    }

    fn changes(history: &mut MatchHistory) -> Vec<bool> {
        history.take_changes(HOUR * 3).into_iter().map(|(_, _, never)| never).collect()
    }

    fn searched(history: &MatchHistory) -> u64 {
        history.unmatched().iter().map(|unmatched| unmatched.searched.as_secs() / 3_600).sum()
    }

    #[test]
    fn a_rule_without_data_is_reported_once_and_again_when_it_matches() {
        let mut history = MatchHistory::default();
        for hour in 0..3 {
            observe(&mut history, Answer::SkipsAt("nope"), &["a"], hour);
            assert_eq!(changes(&mut history), NO_CHANGES);
        }
        observe(&mut history, Answer::SkipsAt("nope"), &["a"], 3);
        assert_eq!((changes(&mut history), changes(&mut history)), (vec![true], vec![]));
        observe(&mut history, Answer::Fine, &["a"], 4);
        assert_eq!((changes(&mut history), history.unmatched()), (vec![false], vec![]));
        observe(&mut history, Answer::SkipsAt("nope"), &["a"], 99);
        assert_eq!(changes(&mut history), NO_CHANGES, "it matched once");
    }

    #[test]
    fn time_continues_after_a_restart_and_counts_only_between_evaluations_that_could_judge() {
        let mut history = MatchHistory::default();
        observe(&mut history, Answer::Skips(&SkipReason::NoData), &[], 0);
        observe(&mut history, Answer::Skips(&SkipReason::NoData), &[], 2);
        let mut history = MatchHistory::restore(history.unmatched());
        assert_eq!((searched(&history), changes(&mut history)), (2, vec![]));
        observe(&mut history, Answer::Skips(&SkipReason::NoData), &[], 50);
        assert_eq!(searched(&history), 2, "the time between two processes is not known to have been spent looking");
        observe(&mut history, Answer::Fails, &[], 60);
        observe_part(&mut history, Answer::Fine, Part::failed("refused"), false, 70);
        observe(&mut history, Answer::Skips(&SkipReason::PartFailed("refused".into())), &[], 80);
        observe(&mut history, Answer::Skips(&SkipReason::Unsupported("no extension".into())), &[], 90);
        assert_eq!(searched(&history), 2);
        observe(&mut history, Answer::Skips(&SkipReason::NoData), &[], 91);
        assert_eq!((searched(&history), changes(&mut history)), (3, vec![true]));
    }

    #[test]
    fn a_series_without_a_rate_yet_counts_as_a_match() {
        let mut history = MatchHistory::default();
        observe(&mut history, Answer::SkipsAt("a"), &["a"], 0);
        observe(&mut history, Answer::SkipsAt("nope"), &["a"], 9);
        assert_eq!((searched(&history), changes(&mut history)), (0, vec![]));
    }

    #[test]
    fn a_rule_that_is_clear_without_series_has_matched_only_if_it_is_general() {
        for (is_general, expected) in [(true, vec![]), (false, vec![true])] {
            let mut history = MatchHistory::default();
            observe_part(&mut history, Answer::Fine, slots(&[], HOUR), is_general, 0);
            observe_part(&mut history, Answer::Fine, slots(&[], HOUR), is_general, 9);
            assert_eq!(changes(&mut history), expected, "{is_general}");
        }
    }

    #[test]
    fn rules_that_no_plugin_has_any_more_are_removed() {
        let restored = |rule: &str| UnmatchedRule { plugin: "p".into(), rule: rule.into(), searched: HOUR * 9 };
        let mut history = MatchHistory::restore([restored("lag"), restored("other")]);
        assert_eq!(changes(&mut history), NO_CHANGES, "they were not evaluated yet");
        assert_eq!(history.retain_rules("p", &["lag".to_owned()]), ["other"]);
        assert_eq!(history.unmatched(), [restored("lag")]);
        observe(&mut history, Answer::Skips(&SkipReason::NoData), &[], 0);
        history.remove_unevaluated();
        assert_eq!(changes(&mut history), [true]);
        history.remove_plugin("p");
        assert_eq!(history.unmatched(), []);
        let mut history = MatchHistory::restore([restored("lag")]);
        history.remove_unevaluated();
        assert_eq!(history.unmatched(), []);
    }
}
