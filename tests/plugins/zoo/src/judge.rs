//! The zoo as an alert rule.

use pharos_plugin::export::{alert_rule, plugin};
use pharos_plugin::{Failure, Finding, Label, Report, Rule, Severity, Strength, telemetry};
use plugin::pharos::plugin::snapshots::{Reading, Snapshot};
use plugin::pharos::plugin::state;

use crate::orders::{counted, text};
use crate::{Zoo, deeds, rants};

impl alert_rule::exports::pharos::plugin::alert_rule::Guest for Zoo {
    fn rules() -> Result<Vec<Rule>, Failure> {
        let order = text("rules", "");
        deeds::act(&order);
        let many = match counted(&order) {
            ("many", number) => number,
            _ => 0,
        };
        let named = ["always", "other", "third"].map(str::to_owned);
        Ok(named.into_iter().chain((0..many).map(|number| format!("rule-{number}"))).map(rule).collect())
    }

    fn evaluate(at: Snapshot) -> Result<Report, Failure> {
        telemetry::counter_add("evaluations", 1);
        deeds::act(&text("evaluate", ""));
        let armed: f64 = at.samples("pharos_redis_keys", &[], Reading::Value).values.iter().sum();
        let mut findings: Vec<Finding> = text("finds", "always").split(',').filter(|rule| !rule.is_empty()).map(finding).collect();
        let is_meant = at.subject().id.starts_with(&text("armed-for", ""));
        let order = if armed > 0.0 && is_meant { text("armed", "") } else { String::new() };
        deeds::act(&order);
        match counted(&order) {
            ("rant", _) => return Err(Failure::Internal(rants::ordered("armed").unwrap_or_default())),
            ("fail", _) => return Err(Failure::Internal("ordered to fail".to_owned())),
            ("many", number) => findings.extend((0..number).map(numbered)),
            // As many of one rule as there may be.
            ("spread", number) => {
                findings.extend((0..number).map(|number| Finding { rule: format!("rule-{}", number / 1_000), ..numbered(number) }))
            }
            ("garbage", _) => findings.extend(garbage()),
            ("remember", _) => remember(),
            ("forget", _) => std::mem::forget(at),
            _ => {}
        }
        #[cfg(feature = "outside")]
        findings.extend(crate::outside::attempts().into_iter().map(attempt));
        Ok(Report { findings, skipped: Vec::new() })
    }
}

fn rule(id: String) -> Rule {
    Rule {
        id,
        summary: "something is always wrong".to_owned(),
        category: "tests".to_owned(),
        subject_kind: text("kind", "redis"),
        needs: Vec::new(),
        for_ms: 0,
        keep_firing_ms: 0,
        runbook: None,
    }
}

fn finding(rule: &str) -> Finding {
    let finding = Finding::new(rule, Severity::Warning, format!("found by {}", text("version", "1.0.0"))).value(1.0);
    if text("explains", "").is_empty() {
        return finding;
    }
    let explained = finding.detail("Two lines\nof detail.").cause("A <b>pool</b>.").fix("SELECT 1;");
    explained.evidence("idle", "61 sessions").evidence("oldest", "12 min")
}

fn numbered(number: u64) -> Finding {
    finding("other").labels(vec![Label { name: "number".to_owned(), value: number.to_string() }])
}

#[cfg(feature = "outside")]
fn attempt((what, outcome): (&str, String)) -> Finding {
    Finding::new("other", Severity::Warning, outcome).labels(vec![Label { name: "attempt".to_owned(), value: what.to_owned() }])
}

fn garbage() -> Vec<Finding> {
    let mut wrong =
        finding("third").value(f64::NAN).thresholds(f64::INFINITY, f64::NEG_INFINITY).score(-7.0).detail("one\u{0}\u{1b}[2Jtwo");
    wrong.title = "\u{7}title\r\nwith\u{1b}[31m control\u{202e}".to_owned();
    wrong.strength = Strength::Raise;
    wrong.labels = vec![
        Label { name: "name\n".to_owned(), value: "va\u{0}lue".to_owned() },
        Label { name: String::new(), value: "x".repeat(100_000) },
    ];
    vec![finding("nobody-declared-this"), finding(""), wrong]
}

/// Counts its calls in the host's keeping.
fn remember() {
    let before = state::get("calls").ok().flatten().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    let _ = state::put("calls", &(before + 1).to_le_bytes(), None);
    telemetry::gauge_set("remembered", (before + 1) as f64);
}

alert_rule::export! { Zoo with_types_in alert_rule }
