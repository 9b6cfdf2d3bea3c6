//! Each check with facts that raise it, and the tables against the files that describe them.

mod connections;
mod locks;
mod replication;
mod statements;
mod storage;

use std::collections::BTreeSet;

use expect_test::Expect;
use pharos_plugin::settings;
use pharos_plugin::testing::{Facts, render};

use super::*;

/// Everything one check says about these facts; the others are turned off.
fn judge(check: &str, facts: &str) -> Report {
    let others = FAMILIES.iter().copied().flatten().filter(|other| other.id != check);
    let off: Vec<_> = others.map(|other| format!(r#""{}":{{"enabled":false}}"#, other.id)).collect();
    let settings = settings::parse(&format!(r#"{{"checks":{{{}}}}}"#, off.join(","))).expect("well-formed");
    let plugin = PostgresEssentials::new(settings).expect("every id exists");
    plugin.evaluate(&Facts::postgres(facts).snapshot()).expect("judging cannot fail")
}

#[track_caller]
fn check(check: &str, facts: &str, expected: Expect) {
    expected.assert_eq(&render(&judge(check, facts)));
}

/// The whole of the first finding, as a person reads it.
#[track_caller]
fn check_words(check: &str, facts: &str, expected: Expect) {
    let report = judge(check, facts);
    let finding = &report.findings[0];
    let mut words = format!("{}\n{}\n", finding.title, finding.detail);
    for line in &finding.evidence {
        words += &format!("- {}: {}\n", line.name, line.value);
    }
    expected.assert_eq(&words);
}

#[test]
fn every_check_is_in_the_schema_and_the_readme_and_reads_metrics_that_exist() {
    let schema: serde_json::Value = serde_json::from_str(PostgresEssentials::DESCRIPTION.settings_schema).expect("the schema is JSON");
    let described = schema["properties"]["checks"]["properties"].as_object().expect("checks are properties");
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    let checks: Vec<_> = FAMILIES.iter().copied().flatten().collect();
    let ids: BTreeSet<_> = checks.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), checks.len(), "ids are unique");
    assert_eq!(described, ids);
    for check in checks {
        assert!(include_str!("../README.md").contains(&format!("`{}`", check.id)), "{} is in the readme", check.id);
        for metric in check.needs {
            assert!(include_str!("../../../config/metrics.toml").contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
}

#[test]
fn the_defaults_are_accepted() {
    let plugin = PostgresEssentials::new(Settings::default()).expect("defaults are in order");
    assert_eq!(plugin.rules().len(), FAMILIES.iter().map(|family| family.len()).sum::<usize>());
}
