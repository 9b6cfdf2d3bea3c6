//! Each check with facts that raise it, and the tables against the files that describe them.

mod bloat;
mod schema;
mod vacuum;
mod wraparound;

use std::collections::BTreeSet;

use expect_test::Expect;
use pharos_plugin::testing::{Facts, manual, render};

use super::*;

/// Everything one check says about these facts; the others are turned off.
fn judge(check: &str, facts: &Facts) -> Report {
    let others = Family::all(&FAMILIES).filter(|other| other.id != check);
    let off: Vec<_> = others.map(|other| format!(r#""{}":{{"enabled":false}}"#, other.id)).collect();
    let settings = pharos_plugin::settings::parse(&format!(r#"{{"checks":{{{}}}}}"#, off.join(","))).expect("well-formed");
    let plugin = PostgresMaintenance::new(settings).expect("every id exists");
    plugin.evaluate(&facts.snapshot()).expect("judging cannot fail")
}

#[track_caller]
fn check(check: &str, facts: &str, expected: Expect) {
    expected.assert_eq(&render(&judge(check, &Facts::postgres(facts))));
}

/// The whole of the first finding, as a person reads it.
#[track_caller]
fn check_words(check: &str, facts: &str, expected: Expect) {
    let report = judge(check, &Facts::postgres(facts));
    expected.assert_eq(&words(&report.findings[0]));
}

fn words(finding: &pharos_plugin::Finding) -> String {
    let mut words = format!("{}\n{}\n", finding.title, finding.detail);
    for part in [&finding.cause, &finding.fix].into_iter().flatten() {
        words += &format!("> {part}\n");
    }
    for line in &finding.evidence {
        words += &format!("- {}: {}\n", line.name, line.value);
    }
    words
}

#[test]
fn the_schema_and_the_readme_are_what_the_checks_say() {
    manual::check(env!("CARGO_MANIFEST_DIR"), PostgresMaintenance::DESCRIPTION.id, &FAMILIES);
}

#[test]
fn every_check_reads_metrics_that_exist_and_has_a_case() {
    let mut ids = BTreeSet::new();
    for check in Family::all(&FAMILIES) {
        assert!(ids.insert(check.id), "{} is there twice", check.id);
        assert!(include_str!("../tests.toml").contains(&format!("rule = \"{}\"", check.id)), "{} has a case in tests.toml", check.id);
        for metric in check.needs.iter().filter(|need| need.starts_with("pharos_")) {
            assert!(include_str!("../../../config/metrics.toml").contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
}

#[test]
fn the_defaults_are_accepted() {
    let plugin = PostgresMaintenance::new(Settings::default()).expect("defaults are in order");
    assert_eq!(plugin.rules().len(), Family::all(&FAMILIES).count());
}
