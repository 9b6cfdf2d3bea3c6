//! Plays a case: gives its snapshots to the plugin and to an alert book, whose clock is the ticks.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::{AlertBook, Cycle, Now, Outcome, Transition};
use pharos_model::delta::Deltas;
use pharos_model::finding::{RuleSpec, Skipped};
use pharos_model::rule_case::expectation::compare_transitions;
use pharos_model::rule_case::{ComparedLine, Mark, TickOutcome, duration_text};
use pharos_model::snapshot::Change;

use super::suite::{Case, Expectation};
use crate::plugin::LoadedPlugin;

/// The result of a case.
#[derive(Default)]
pub(super) struct Played {
    pub mismatches: Vec<Mismatch>,
    /// Failures of the plugin itself.
    pub failures: Vec<String>,
    /// Oddities of the plugin that may be intended.
    pub notes: Vec<String>,
}

impl Played {
    pub(super) fn passed(&self) -> bool {
        self.mismatches.is_empty() && self.failures.is_empty()
    }
}

/// An expectation that was not met.
pub(super) struct Mismatch {
    pub at: Duration,
    pub line: usize,
    pub what: &'static str,
    pub lines: Vec<ComparedLine>,
    /// Why rules of this expectation were skipped.
    pub skipped: Vec<String>,
}

pub(super) async fn play(case: &Case, plugin: &LoadedPlugin) -> Played {
    let mut played = Played::default();
    let (mut deltas, mut alerts) = (Deltas::default(), AlertBook::default());
    let mut transitions = Vec::new();
    let kind = &case.timeline.subject.kind;
    // As in the agent, only rules about this kind of subject are evaluated.
    let rules: Vec<RuleSpec> = plugin.rules().iter().filter(|rule| rule.subject_kind == *kind).cloned().collect();
    let mut expectations = case.expectations.iter().peekable();
    for (tick, snapshot) in (0..).zip(case.timeline.snapshots()) {
        if expectations.peek().is_none() {
            break;
        }
        let change = Arc::new(deltas.push(snapshot));
        let now = Now { monotonic: change.snapshot.taken_at, wall_ms: change.snapshot.taken_at_ms };
        let (outcome, skipped) = judge(plugin, &change, now, &mut played).await;
        let id = &plugin.description().id;
        transitions.extend(alerts.apply(Cycle { plugin: id, snapshot: &change.snapshot, rules: &rules, outcome }, now));
        while let Some(expectation) = expectations.next_if(|expectation| expectation.tick == tick) {
            let open = alerts.alerts().collect();
            let seen = TickOutcome { at: now.monotonic, wall_ms: now.wall_ms, alerts: open, rules: &rules, skipped: &skipped };
            played.mismatches.extend(compare(expectation, &seen, &transitions));
            transitions.clear();
        }
    }
    played
}

async fn judge(plugin: &LoadedPlugin, change: &Arc<Change>, now: Now, played: &mut Played) -> (Outcome, Vec<Skipped>) {
    let at = duration_text(now.monotonic);
    match plugin.evaluate(Arc::clone(change)).await.1 {
        Ok(checked) => {
            played.notes.extend(checked.repairs.iter().map(|repair| format!("at {at} its report was repaired: {repair}")));
            let skipped = checked.report.skipped.clone();
            (Outcome::Judged(checked.report), skipped)
        }
        Err(err) => {
            let list = if err.is_offence() { &mut played.failures } else { &mut played.notes };
            list.push(format!("at {at} the plugin {err}"));
            // A plugin that crashes on every snapshot writes the same text each time, so it is noted once.
            if let Some(words) = err.last_words().filter(|words| !list.iter().any(|known| known.ends_with(words))) {
                list.push(format!("it wrote to standard error:\n{words}"));
            }
            (Outcome::Failed(err.to_string()), Vec::new())
        }
    }
}

fn compare(expectation: &Expectation, seen: &TickOutcome<'_>, transitions: &[Transition]) -> Vec<Mismatch> {
    let happened: Vec<&Transition> = transitions.iter().collect();
    let told: Vec<&Transition> = transitions.iter().filter(|transition| transition.notifies()).collect();
    let compared = [
        ("open alerts", expectation.alerts.as_ref().map(|expected| seen.compare_alerts(expected))),
        ("transitions", expectation.transitions.as_ref().map(|expected| compare_transitions(expected, &happened))),
        ("what people are told", expectation.told.as_ref().map(|expected| compare_transitions(expected, &told))),
        ("skipped rules", Some(seen.compare_skipped(&expectation.skipped))),
    ];
    let wrong = compared.into_iter().filter_map(|(what, lines)| Some((what, lines?)));
    wrong
        .filter(|(_, lines)| lines.iter().any(|line| line.mark != Mark::Met))
        .map(|(what, lines)| Mismatch { at: seen.at, line: expectation.line, what, lines, skipped: skips(expectation, seen) })
        .collect()
}

fn skips(expectation: &Expectation, seen: &TickOutcome<'_>) -> Vec<String> {
    let transitions = expectation.transitions.iter().chain(&expectation.told).flatten().map(|transition| transition.rule.as_str());
    let rules: Vec<&str> = expectation.alerts.iter().flatten().map(|alert| alert.rule.as_str()).chain(transitions).collect();
    seen.skips_of(|rule| rules.contains(&rule))
}
