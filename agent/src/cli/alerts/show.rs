//! An alert for a terminal: what is wrong, why, what to do, and what was measured.

use std::fmt::Write as _;

use crate::api::alert::AlertItem;
use crate::cli::terminal::{shown, shown_list, shown_number};

pub(super) fn text(alert: &AlertItem) -> String {
    let mut out = format!("{}\n\n", shown(&alert.title));
    for (name, fact) in facts(alert) {
        let _ = writeln!(out, "{name:13} {fact}");
    }
    let detail = shown(&alert.detail);
    if !detail.is_empty() {
        let _ = writeln!(out, "\n{detail}");
    }
    for (heading, text) in [("Cause", &alert.cause), ("Fix", &alert.fix)] {
        block(&mut out, heading, shown(text.as_deref().unwrap_or_default()).lines());
    }
    let evidence = alert.evidence.iter().flatten().map(|measured| format!("{}: {}", shown(&measured.name), shown(&measured.value)));
    let evidence: Vec<String> = evidence.collect();
    block(&mut out, "Evidence", evidence.iter().map(String::as_str));
    block(&mut out, "Runbook", shown(alert.runbook.as_deref().unwrap_or_default()).lines());
    let _ = write!(out, "\nWhich receivers were notified: pharos alerts explain {}", shown(&alert.fingerprint));
    out
}

/// Writes a heading with its lines. Writes nothing if there are no lines.
fn block<'a>(out: &mut String, heading: &str, lines: impl Iterator<Item = &'a str>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(out, "\n{heading}");
        lines.for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
}

/// Name and text of each fact that the alert has, in the order of printing.
fn facts(alert: &AlertItem) -> Vec<(&'static str, String)> {
    let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{}={}", shown(name), shown(value))).collect();
    let frozen_since = alert.frozen_since.as_ref().map(|since| shown(&since.0)).unwrap_or_default();
    let acknowledged = |given: &crate::api::alert::AcknowledgementItem| {
        format!("by {} at {}: {}", shown(&given.author), shown(&given.at.0), shown(&given.comment))
    };
    let all = [
        ("State", Some(format!("{}, {} since {}", alert.severity, alert.state, shown(&alert.since.0)))),
        ("Began", Some(shown(&alert.started_at.0))),
        ("Where", Some(format!("{} {}", shown(&alert.subject.kind), shown(&alert.subject.id)))),
        ("Rule", Some(format!("{}/{}", shown(&alert.plugin), shown(&alert.rule)))),
        ("Labels", Some(labels.join("  ")).filter(|labels| !labels.is_empty())),
        ("Value", value(alert)),
        ("Not judged", alert.frozen.as_ref().map(|why| format!("since {frozen_since}: {}", shown(why)))),
        (
            "Silenced",
            Some(&alert.silenced_by).filter(|ids| !ids.is_empty()).map(|ids| format!("by {}: pharos silence list", shown_list(ids, ", "))),
        ),
        ("Flaps", alert.flapping_since.as_ref().map(|since| format!("since {}", shown(&since.0)))),
        ("Acknowledged", alert.acknowledgement.as_ref().map(acknowledged)),
        ("Fingerprint", Some(shown(&alert.fingerprint))),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// The measured value with the limits of the rule.
fn value(alert: &AlertItem) -> Option<String> {
    let value = shown_number(alert.value?);
    let limits = [("raises at", alert.raise_at), ("clears at", alert.clear_at)];
    let limits: Vec<String> = limits.into_iter().filter_map(|(name, limit)| Some(format!("{name} {}", shown_number(limit?)))).collect();
    Some(if limits.is_empty() { value } else { format!("{value} ({})", limits.join(", ")) })
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    pub(crate) fn alert() -> AlertItem {
        serde_json::from_value(json!({
            "fingerprint": "3f2a000000000001", "incident": 7, "rule": "idle-in-transaction", "plugin": "postgres-essentials",
            "subject": { "kind": "postgres", "id": "db1:5432" }, "labels": { "database": "app", "datname": "a\u{1b}[2Jb" },
            "severity": "warning", "state": "firing", "since": "2026-01-31T08:00:30.000Z", "started_at": "2026-01-31T08:00:00.000Z",
            "value": 720.0, "raise_at": 300.0, "clear_at": null, "title": "a session waits \u{202e}in its transaction",
            "detail": "It holds locks.\nOthers wait.", "cause": "`billing` forgot to commit.", "fix": "SELECT 1;\nSELECT 2;",
            "runbook": null, "evidence": [{ "name": "waiting", "value": "3 sessions" }, { "name": "xmin", "value": "12 min old" }],
            "frozen": null, "frozen_since": null, "frozen_evaluations": 0, "flapping_since": null, "acknowledgement": null,
            "silenced_by": [],
        }))
        .unwrap()
    }

    #[test]
    fn an_alert_is_shown_with_all_that_helps_and_steers_no_terminal() {
        expect![[r#"
            a session waits �in its transaction

            State         warning, firing since 2026-01-31T08:00:30.000Z
            Began         2026-01-31T08:00:00.000Z
            Where         postgres db1:5432
            Rule          postgres-essentials/idle-in-transaction
            Labels        database=app  datname=a�[2Jb
            Value         720.0 (raises at 300.0)
            Fingerprint   3f2a000000000001

            It holds locks.
            Others wait.

            Cause
              `billing` forgot to commit.

            Fix
              SELECT 1;
              SELECT 2;

            Evidence
              waiting: 3 sessions
              xmin: 12 min old

            Which receivers were notified: pharos alerts explain 3f2a000000000001"#]]
        .assert_eq(&text(&alert()));
    }
}
