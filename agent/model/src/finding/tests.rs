//! Repairs of reports that a plugin got wrong.

use std::fmt::Write;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::subject::SubjectKind;

fn rule(id: &str) -> RuleSpec {
    RuleSpec {
        id: id.into(),
        summary: String::new(),
        category: "test".into(),
        subject_kind: SubjectKind::Postgres,
        needs: Vec::new(),
        for_: Duration::ZERO,
        keep_firing: Duration::ZERO,
        runbook: None,
    }
}

fn finding(labels: &[(&str, &str)]) -> Finding {
    Finding {
        rule: "lag".into(),
        labels: labels.iter().map(|(name, value)| Label::new(*name, *value)).collect(),
        severity: Severity::Warning,
        strength: Strength::Raise,
        score: None,
        value: None,
        raise_at: None,
        clear_at: None,
        title: "lags".into(),
        detail: String::new(),
        cause: None,
        fix: None,
        evidence: Vec::new(),
    }
}

fn check(report: Report, expected: Expect) {
    let checked = report.checked(&[rule("lag"), rule("locks")]);
    let mut text = String::new();
    for finding in checked.report.findings.iter().take(4) {
        let Finding { rule, severity, strength, title, score, value, .. } = finding;
        write!(text, "{rule}").unwrap();
        for Label { name, value } in &finding.labels {
            write!(text, " {name}={value:?}").unwrap();
        }
        writeln!(text, " {severity} {strength:?} {title:?} score {score:?} value {value:?}").unwrap();
    }
    for Skipped { rule, labels, reason } in &checked.report.skipped {
        writeln!(text, "skipped {rule} {labels:?} {reason}").unwrap();
    }
    for repair in &checked.repairs {
        writeln!(text, "repair: {repair}").unwrap();
    }
    expected.assert_eq(&text);
}

fn found(findings: impl IntoIterator<Item = Finding>) -> Report {
    Report { findings: findings.into_iter().collect(), ..Report::default() }
}

#[test]
fn a_clean_report_passes_unchanged() {
    let report = Report {
        findings: vec![finding(&[("replica", "db2"), ("slot", "a")])],
        skipped: vec![Skipped { rule: "locks".into(), labels: Vec::new(), reason: SkipReason::NoData }],
        cut: Vec::new(),
    };
    assert_eq!(report.clone().checked(&[rule("lag"), rule("locks")]), CheckedReport { report, repairs: Vec::new() });
}

#[test]
fn a_finding_of_an_undeclared_rule_is_dropped_and_counted() {
    let unknown = || Finding { rule: "la\ng".into(), ..finding(&[]) };
    check(
        found([unknown(), finding(&[]), unknown()]),
        expect![[r#"
        lag warning Raise "lags" score None value None
        repair:  unknown_rule (2×): la g
    "#]],
    );
}

#[test]
fn invalid_numbers_become_absent_and_the_finding_stays() {
    let bad = Finding { score: Some(7.0), value: Some(f64::NAN), raise_at: Some(f64::INFINITY), ..finding(&[]) };
    check(
        found([bad]),
        expect![[r#"
        lag warning Raise "lags" score Some(1.0) value None
        repair: lag not_a_number (2×): value is NaN
        repair: lag out_of_range (1×): score is 7
    "#]],
    );
}

#[test]
fn text_is_cut_and_stripped() {
    let long = Finding { title: format!("\x1b[31m{}", "ä".repeat(400)), ..finding(&[("table", "a\r\nb")]) };
    let checked = found([long]).checked(&[rule("lag")]);
    let title = &checked.report.findings[0].title;
    assert!(title.len() <= 300 && title.starts_with("[31mä") && title.ends_with('…'), "{title}");
    assert!(checked.report.findings[0].labels[0].value.starts_with("a b~"));
}

#[test]
fn long_label_values_that_begin_alike_stay_two_alerts() {
    let long = "x".repeat(2_000);
    let values = [format!("{long}1"), format!("{long}2")];
    let checked = found(values.iter().map(|value| finding(&[("table", value)]))).checked(&[rule("lag")]);
    assert_eq!(checked.report.findings.len(), 2);
    assert!(checked.report.findings.iter().all(|finding| finding.labels[0].value.len() <= 500));
}

#[test]
fn labels_are_sorted_and_each_name_counts_once() {
    check(
        found([finding(&[("b", "1"), ("a", "2"), ("b", "3"), ("", "4")])]),
        expect![[r#"
        lag a="2" b="1" warning Raise "lags" score None value None
        repair: lag labels (2×): label b
    "#]],
    );
}

#[test]
fn the_graver_of_two_findings_with_one_identity_stays() {
    let hold = Finding { strength: Strength::Hold, severity: Severity::Critical, ..finding(&[("a", "1"), ("b", "2")]) };
    let raise = Finding { title: "raised".into(), ..finding(&[("b", "2"), ("a", "1")]) };
    check(
        found([hold.clone(), raise, hold]),
        expect![[r#"
        lag a="1" b="2" warning Raise "raised" score None value None
        repair: lag duplicate (2×): raised
    "#]],
    );
}

#[test]
fn a_flood_keeps_the_gravest_and_skips_the_rule() {
    let flood = (0..2_500).map(|i| {
        let severity = if i == 2_400 { Severity::Critical } else { Severity::Warning };
        Finding { severity, ..finding(&[("i", &i.to_string())]) }
    });
    let checked = found(flood).checked(&[rule("lag")]);
    assert_eq!(checked.report.findings.len(), FINDINGS_PER_RULE_MAX);
    assert!(checked.report.findings.iter().any(|finding| finding.severity == Severity::Critical));
    assert_eq!(checked.report.skipped[0].reason.to_string(), "2500 findings, of which 1000 are kept");
    assert_eq!(checked.repairs[0].count, 1_500);
    assert_eq!(checked.report.cut, [Cut { rule: "lag".into(), count: 1_500, severity: Severity::Warning }]);
}

#[test]
fn rules_with_ids_that_would_break_identities_are_refused() {
    let check = |rules: Vec<RuleSpec>| check_rules(rules).map(|_| ()).map_err(|error| error.to_string());
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(check(vec![rule("lag"), rule("lag")]), error("rule id `lag` is declared twice"));
    assert_eq!(check(vec![rule("la g")]), error("rule id `la g` is not 1 to 100 of letters, digits, `-`, `_` and `.`"));
    let forever = RuleSpec { for_: Duration::from_secs(1 << 30), ..rule("lag") };
    assert_eq!(check(vec![forever]), error("rule `lag`: for of 1073741824000 ms is longer than a month"));
    assert_eq!(check((0..501).map(|i| rule(&i.to_string())).collect()), error("501 rules, more than 500"));
    assert_eq!(check(vec![rule("lag"), rule("locks")]), Ok(()));
}
