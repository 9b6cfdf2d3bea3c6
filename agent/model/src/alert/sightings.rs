//! Rules that never saw anything: a misspelt label value finds nothing for ever, and says nothing for ever.
//!
//! A rule has matched once any subject had what it looks for. Until then the time is gathered from evaluation to evaluation, over
//! restarts too; an evaluation that could not look adds none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cycle::{Cycle, Outcome};
use super::series::Series;
use crate::finding::{Report, RuleSpec, SkipReason};
use crate::snapshot::Snapshot;

/// What every rule saw so far, by plugin and rule.
#[derive(Debug, Clone, Default)]
pub struct Sightings(BTreeMap<String, BTreeMap<String, Sighting>>);

/// A rule that has not matched yet, and for how long it has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    pub plugin: String,
    pub rule: String,
    pub looked: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sighting {
    matched: bool,
    /// How long it has looked in vain.
    looked: Duration,
    /// The last evaluation of this process.
    at: Option<Duration>,
    /// Said to be one that never matches.
    reported: bool,
}

/// What one evaluation showed of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// Nobody could look.
    Unknown,
    Nothing,
    Something,
}

impl Sightings {
    /// Goes on with what an agent before this one gathered.
    pub fn restore(unseen: impl IntoIterator<Item = Unseen>) -> Self {
        let mut sightings = Self::default();
        for Unseen { plugin, rule, looked } in unseen {
            sightings.0.entry(plugin).or_default().insert(rule, Sighting { looked, ..Sighting::default() });
        }
        sightings
    }

    /// Takes in one evaluation, before the book does. `is_general`: the plugin's rules watch for what not every subject has, so one that
    /// is content without any series has matched.
    pub fn look(&mut self, cycle: &Cycle<'_>, is_general: bool, now: Duration) {
        let rules = self.0.entry(cycle.plugin.to_owned()).or_default();
        for rule in cycle.rules {
            let sighting = rules.entry(rule.id.clone()).or_default();
            let before = sighting.at.replace(now);
            if sighting.matched {
                continue;
            }
            let sight = match &cycle.outcome {
                Outcome::Failed(_) => Sight::Unknown,
                Outcome::Judged(report) => sight(rule, report, cycle.snapshot, is_general),
            };
            match sight {
                Sight::Unknown => {}
                Sight::Nothing => sighting.looked += now.saturating_sub(before.unwrap_or(now)),
                Sight::Something => sighting.matched = true,
            }
        }
    }

    /// Plugin and rule of what changed since the last call: true where a rule has now looked in vain for this long, false where one that
    /// was said to have done so has matched after all.
    pub fn news(&mut self, after: Duration) -> Vec<(String, String, bool)> {
        let mut news = Vec::new();
        for (plugin, rules) in &mut self.0 {
            for (rule, sighting) in rules {
                // One that no plugin of this process has is restored and nothing else.
                let never = !sighting.matched && sighting.at.is_some() && sighting.looked >= after;
                if std::mem::replace(&mut sighting.reported, never) != never {
                    news.push((plugin.clone(), rule.clone(), never));
                }
            }
        }
        news
    }

    /// The plugin has these rules and no others; returns those that left.
    pub fn keep(&mut self, plugin: &str, rules: &[String]) -> Vec<String> {
        let Some(known) = self.0.get_mut(plugin) else { return Vec::new() };
        known.extract_if(.., |rule, _| !rules.contains(rule)).map(|(rule, _)| rule).collect()
    }

    /// The plugin is gone.
    pub fn forget(&mut self, plugin: &str) {
        self.0.remove(plugin);
    }

    /// Rules that nobody evaluated in this process leave: their plugin is not there.
    pub fn forget_unjudged(&mut self) {
        self.0.values_mut().for_each(|rules| rules.retain(|_, sighting| sighting.at.is_some()));
        self.0.retain(|_, rules| !rules.is_empty());
    }

    /// What must outlive the process.
    pub fn unseen(&self) -> Vec<Unseen> {
        let of_plugin = |(plugin, rules): (&String, &BTreeMap<String, Sighting>)| {
            let unseen = rules.iter().filter(|(_, sighting)| !sighting.matched && !sighting.looked.is_zero());
            let one =
                |(rule, sighting): (&String, &Sighting)| Unseen { plugin: plugin.clone(), rule: rule.clone(), looked: sighting.looked };
            unseen.map(one).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_plugin).collect()
    }
}

fn sight(rule: &RuleSpec, report: &Report, snapshot: &Snapshot, is_general: bool) -> Sight {
    if report.findings.iter().any(|finding| finding.rule == rule.id) {
        return Sight::Something;
    }
    let skips = report.skipped.iter().filter(|skip| skip.rule == rule.id);
    let skipped = skips.map(|skip| match (&skip.reason, Series::of(rule, &skip.labels, snapshot)) {
        (SkipReason::NoData, Series::There) => Sight::Something,
        (SkipReason::NoData, Series::Unreadable(_)) => Sight::Unknown,
        (SkipReason::NoData, Series::Missing { .. } | Series::Untold { .. }) => Sight::Nothing,
        // Not the subject is at fault, but the rule: nobody collects what it wants.
        (SkipReason::Unsupported(_), Series::Untold { read_at: None }) => Sight::Nothing,
        (SkipReason::Unsupported(_) | SkipReason::PartFailed(_), _) => Sight::Unknown,
    });
    skipped.max().unwrap_or_else(|| match Series::of(rule, &[], snapshot) {
        Series::Missing { .. } if !is_general => Sight::Nothing,
        Series::Unreadable(_) => Sight::Unknown,
        Series::There | Series::Missing { .. } | Series::Untold { .. } => Sight::Something,
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
    const NO_NEWS: [bool; 0] = [];

    /// What the rule says.
    #[derive(Clone, Copy)]
    enum Says<'a> {
        Fine,
        Skips(&'a SkipReason),
        SkipsAt(&'a str),
        Fails,
    }

    fn look_at(sightings: &mut Sightings, says: Says<'_>, part: Part, is_general: bool, hour: u32) {
        let rule = RuleSpec { needs: vec![SLOT_ACTIVE.to_owned()], ..rule(Duration::ZERO, Duration::ZERO) };
        let skip = |labels, reason: &SkipReason| Report {
            skipped: vec![Skipped { rule: rule.id.clone(), labels, reason: reason.clone() }],
            ..Report::default()
        };
        let outcome = match says {
            Says::Fine => Outcome::Judged(Report::default()),
            Says::Skips(reason) => Outcome::Judged(skip(Vec::new(), reason)),
            Says::SkipsAt(slot) => Outcome::Judged(skip(vec![Label::new("slot", slot)], &SkipReason::NoData)),
            Says::Fails => Outcome::Failed("trapped".to_owned()),
        };
        let snapshot = snapshot([("replication", part)]);
        let cycle = Cycle { plugin: "p", snapshot: &snapshot, rules: std::slice::from_ref(&rule), outcome };
        sightings.look(&cycle, is_general, HOUR * hour);
    }

    fn look(sightings: &mut Sightings, says: Says<'_>, slots_there: &[&str], hour: u32) {
        look_at(sightings, says, slots(slots_there, HOUR), false, hour);
    }

    fn news(sightings: &mut Sightings) -> Vec<bool> {
        sightings.news(HOUR * 3).into_iter().map(|(_, _, never)| never).collect()
    }

    fn looked(sightings: &Sightings) -> u64 {
        sightings.unseen().iter().map(|unseen| unseen.looked.as_secs() / 3_600).sum()
    }

    #[test]
    fn a_rule_that_sees_no_data_for_long_is_reported_once_and_again_when_it_matches() {
        let mut sightings = Sightings::default();
        for hour in 0..3 {
            look(&mut sightings, Says::SkipsAt("nope"), &["a"], hour);
            assert_eq!(news(&mut sightings), NO_NEWS);
        }
        look(&mut sightings, Says::SkipsAt("nope"), &["a"], 3);
        assert_eq!((news(&mut sightings), news(&mut sightings)), (vec![true], vec![]));
        look(&mut sightings, Says::Fine, &["a"], 4);
        assert_eq!((news(&mut sightings), sightings.unseen()), (vec![false], vec![]));
        look(&mut sightings, Says::SkipsAt("nope"), &["a"], 99);
        assert_eq!(news(&mut sightings), NO_NEWS, "it matched once");
    }

    #[test]
    fn time_goes_on_after_a_restart_and_counts_only_where_somebody_looked() {
        let mut sightings = Sightings::default();
        look(&mut sightings, Says::Skips(&SkipReason::NoData), &[], 0);
        look(&mut sightings, Says::Skips(&SkipReason::NoData), &[], 2);
        let mut sightings = Sightings::restore(sightings.unseen());
        assert_eq!((looked(&sightings), news(&mut sightings)), (2, vec![]));
        look(&mut sightings, Says::Skips(&SkipReason::NoData), &[], 50);
        assert_eq!(looked(&sightings), 2, "the time between two processes is not known to have been spent looking");
        look(&mut sightings, Says::Fails, &[], 60);
        look_at(&mut sightings, Says::Fine, Part::failed("refused"), false, 70);
        look(&mut sightings, Says::Skips(&SkipReason::PartFailed("refused".into())), &[], 80);
        look(&mut sightings, Says::Skips(&SkipReason::Unsupported("no extension".into())), &[], 90);
        assert_eq!(looked(&sightings), 2);
        look(&mut sightings, Says::Skips(&SkipReason::NoData), &[], 91);
        assert_eq!((looked(&sightings), news(&mut sightings)), (3, vec![true]));
    }

    #[test]
    fn a_rate_that_is_not_there_yet_is_of_a_series_that_is() {
        let mut sightings = Sightings::default();
        look(&mut sightings, Says::SkipsAt("a"), &["a"], 0);
        look(&mut sightings, Says::SkipsAt("nope"), &["a"], 9);
        assert_eq!((looked(&sightings), news(&mut sightings)), (0, vec![]));
    }

    #[test]
    fn a_general_rule_that_is_content_without_series_has_matched_and_one_made_for_something_has_not() {
        for (is_general, expected) in [(true, vec![]), (false, vec![true])] {
            let mut sightings = Sightings::default();
            look_at(&mut sightings, Says::Fine, slots(&[], HOUR), is_general, 0);
            look_at(&mut sightings, Says::Fine, slots(&[], HOUR), is_general, 9);
            assert_eq!(news(&mut sightings), expected, "{is_general}");
        }
    }

    #[test]
    fn what_no_plugin_has_any_more_is_forgotten() {
        let restored = |rule: &str| Unseen { plugin: "p".into(), rule: rule.into(), looked: HOUR * 9 };
        let mut sightings = Sightings::restore([restored("lag"), restored("other")]);
        assert_eq!(news(&mut sightings), NO_NEWS, "nobody evaluated them yet");
        assert_eq!(sightings.keep("p", &["lag".to_owned()]), ["other"]);
        assert_eq!(sightings.unseen(), [restored("lag")]);
        look(&mut sightings, Says::Skips(&SkipReason::NoData), &[], 0);
        sightings.forget_unjudged();
        assert_eq!(news(&mut sightings), [true]);
        sightings.forget("p");
        assert_eq!(sightings.unseen(), []);
        let mut sightings = Sightings::restore([restored("lag")]);
        sightings.forget_unjudged();
        assert_eq!(sightings.unseen(), []);
    }
}
