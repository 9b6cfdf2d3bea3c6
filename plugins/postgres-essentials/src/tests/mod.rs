//! Tests of each check with facts that raise it, and of the files that describe the checks.

mod connections;
mod limits;
mod locks;
mod restarts;
mod settings;
mod statements;
mod storage;
mod waits;
mod wal;

use expect_test::Expect;
use pharos_plugin::testing::checks::{self, finding_text};
use pharos_plugin::testing::{Facts, manual, render};

use super::*;

/// The report of a single check on these facts, with all other checks turned off.
#[track_caller]
fn judge(check: &str, facts: &Facts) -> Report {
    checks::judge::<PostgresEssentials>(&FAMILIES, check, facts)
}

#[track_caller]
fn check(check: &str, facts: &str, expected: Expect) {
    expected.assert_eq(&render(&judge(check, &Facts::postgres(facts))));
}

/// Compares all texts of the first finding.
#[track_caller]
fn check_texts(check: &str, facts: &str, expected: Expect) {
    expected.assert_eq(&finding_text(&judge(check, &Facts::postgres(facts)).findings[0]));
}

#[test]
fn the_schema_and_the_readme_match_the_checks() {
    manual::check(env!("CARGO_MANIFEST_DIR"), PostgresEssentials::DESCRIPTION.id, &FAMILIES);
}

#[test]
fn every_check_is_on_reads_metrics_that_exist_and_has_a_case() {
    checks::complete::<PostgresEssentials>(&FAMILIES, include_str!("../../tests.toml"), include_str!("../../../../config/metrics.toml"));
}
