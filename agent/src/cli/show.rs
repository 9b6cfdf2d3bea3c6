//! One alert for a terminal: what is wrong, why, what to do, and what was measured.

use std::fmt::Write as _;

use serde_json::Value;

use super::reach::shown;

/// The `alert` of the answer of `/api/alerts/{fingerprint}`.
pub fn text(alert: &Value) -> String {
    let mut out = format!("{}\n\n", shown(&alert["title"]));
    for (name, fact) in facts(alert) {
        let _ = writeln!(out, "{name:13} {fact}");
    }
    let detail = shown(&alert["detail"]);
    if !detail.is_empty() {
        let _ = writeln!(out, "\n{detail}");
    }
    for (heading, key) in [("Cause", "cause"), ("Fix", "fix")] {
        block(&mut out, heading, shown(&alert[key]).lines());
    }
    let line = |line: &Value| format!("{}: {}", shown(&line["name"]), shown(&line["value"]));
    let evidence: Vec<String> = alert["evidence"].as_array().into_iter().flatten().map(line).collect();
    block(&mut out, "Evidence", evidence.iter().map(String::as_str));
    block(&mut out, "Runbook", shown(&alert["runbook"]).lines());
    let _ = write!(out, "\nWho was told of it: pharos alerts explain {}", shown(&alert["fingerprint"]));
    out
}

/// Nothing where there are no lines.
fn block<'a>(out: &mut String, heading: &str, lines: impl Iterator<Item = &'a str>) {
    let lines: Vec<&str> = lines.collect();
    if !lines.is_empty() {
        let _ = writeln!(out, "\n{heading}");
        lines.iter().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
}

/// Name and text of what is known, in the order of reading.
fn facts(alert: &Value) -> Vec<(&'static str, String)> {
    let text = |key: &str| Some(shown(&alert[key])).filter(|text| !text.is_empty());
    let labels =
        alert["labels"].as_object().into_iter().flatten().map(|(name, value)| format!("{}={}", shown(&name.as_str().into()), shown(value)));
    let limits = [("raises at", "raise_at"), ("clears at", "clear_at")];
    let limits: Vec<String> = limits.into_iter().filter_map(|(name, key)| Some(format!("{name} {}", text(key)?))).collect();
    let value = text("value").map(|value| if limits.is_empty() { value } else { format!("{value} ({})", limits.join(", ")) });
    let word = &alert["acknowledgement"];
    let acknowledged =
        (!word.is_null()).then(|| format!("by {} at {}: {}", shown(&word["author"]), shown(&word["at"]), shown(&word["comment"])));
    let silences: Vec<String> = alert["silenced_by"].as_array().into_iter().flatten().map(shown).collect();
    let all = [
        ("State", Some(format!("{}, {} since {}", shown(&alert["severity"]), shown(&alert["state"]), shown(&alert["since"])))),
        ("Began", text("started_at")),
        ("Where", Some(format!("{} {}", shown(&alert["subject"]["kind"]), shown(&alert["subject"]["id"])))),
        ("Rule", Some(format!("{}/{}", shown(&alert["plugin"]), shown(&alert["rule"])))),
        ("Labels", Some(labels.collect::<Vec<_>>().join("  ")).filter(|labels| !labels.is_empty())),
        ("Value", value),
        ("Not judged", text("frozen").map(|why| format!("since {}: {why}", shown(&alert["frozen_since"])))),
        ("Silenced", (!silences.is_empty()).then(|| format!("by {}: pharos silence list", silences.join(", ")))),
        ("Flaps", text("flapping_since").map(|since| format!("since {since}"))),
        ("Acknowledged", acknowledged),
        ("Fingerprint", Some(shown(&alert["fingerprint"]))),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_is_shown_with_all_that_helps_and_steers_no_terminal() {
        let alert = json!({
            "fingerprint": "3f2a000000000001", "incident": 7, "rule": "idle-in-transaction", "plugin": "postgres-essentials",
            "subject": { "kind": "postgres", "id": "db1:5432" }, "labels": { "database": "app", "datname": "a\u{1b}[2Jb" },
            "severity": "warning", "state": "firing", "since": "2026-01-31T08:00:30.000Z", "started_at": "2026-01-31T08:00:00.000Z",
            "value": 720.0, "raise_at": 300.0, "clear_at": null, "title": "a session waits \u{202e}in its transaction",
            "detail": "It holds locks.\nOthers wait.", "cause": "`billing` forgot to commit.", "fix": "SELECT 1;\nSELECT 2;",
            "runbook": null, "evidence": [{ "name": "waiting", "value": "3 sessions" }, { "name": "xmin", "value": "12 min old" }],
            "frozen": null, "flapping_since": null, "acknowledgement": null,
        });
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

            Who was told of it: pharos alerts explain 3f2a000000000001"#]]
        .assert_eq(&text(&alert));
    }
}
