//! A plugin's table of checks with the operator's settings applied: its rules, and its judgement of a snapshot.

use super::settings::{Override, Settings, grading, refuse_unknown};
use super::{Case, Check, Explanation, Grading, Observation};
use crate::duration::millis;
use crate::{Failure, Finding, Report, Rule, SkipReason, Snapshot};

pub struct Suite {
    subject_kind: &'static str,
    enabled: Vec<Enabled>,
}

struct Enabled {
    check: &'static Check,
    grading: Grading,
    hold_off_ms: u64,
    keep_firing_ms: u64,
}

impl Suite {
    /// Families are the plugin's files; checks keep their order.
    pub fn new(subject_kind: &'static str, families: &[&'static [Check]], settings: &Settings) -> Result<Self, Failure> {
        let checks = || families.iter().copied().flatten();
        refuse_unknown(settings, &checks().map(|check| check.id).collect::<Vec<_>>())?;
        let unchanged = Override::default();
        let mut enabled = Vec::new();
        for check in checks() {
            let change = settings.checks.get(check.id).unwrap_or(&unchanged);
            let armed = Enabled {
                check,
                grading: grading(check, change)?,
                hold_off_ms: change.hold_off.map_or(millis(check.hold_off), |duration| duration.as_millis()),
                keep_firing_ms: change.keep_firing_for.map_or(millis(check.keep_firing), |duration| duration.as_millis()),
            };
            if change.enabled != Some(false) {
                enabled.push(armed);
            }
        }
        Ok(Self { subject_kind, enabled })
    }

    pub fn rules(&self) -> Vec<Rule> {
        self.enabled.iter().map(|enabled| enabled.rule(self.subject_kind)).collect()
    }

    pub fn evaluate(&self, snapshot: &Snapshot) -> Report {
        let mut report = Report::empty();
        if snapshot.subject().kind == self.subject_kind {
            for enabled in &self.enabled {
                enabled.judge(snapshot, &mut report);
            }
        }
        report
    }
}

impl Enabled {
    fn rule(&self, subject_kind: &str) -> Rule {
        Rule {
            id: self.check.id.to_owned(),
            summary: self.check.summary.to_owned(),
            category: self.check.category.to_owned(),
            subject_kind: subject_kind.to_owned(),
            needs: self.check.needs.iter().map(|metric| (*metric).to_owned()).collect(),
            for_ms: self.hold_off_ms,
            keep_firing_ms: self.keep_firing_ms,
            runbook: None,
        }
    }

    fn judge(&self, snapshot: &Snapshot, report: &mut Report) {
        let observed = self.check.needs.iter().try_for_each(|metric| snapshot.readable(metric));
        match observed.and_then(|()| (self.check.observe)(snapshot)) {
            Err(reason) => report.skip(self.check.id, Vec::new(), reason),
            Ok(observations) => {
                for observation in observations {
                    self.judge_one(snapshot, observation, report);
                }
            }
        }
    }

    fn judge_one(&self, snapshot: &Snapshot, observation: Observation, report: &mut Report) {
        let Observation { labels, value } = observation;
        if value.is_nan() {
            return report.skip(self.check.id, labels, SkipReason::NoData);
        }
        let Some(grade) = self.grading.grade(value) else { return };
        let case = Case { snapshot, labels: &labels, value, severity: grade.severity };
        let Explanation { title, detail, cause, fix, evidence } = (self.check.explain)(&case);
        let mut finding = Finding::new(self.check.id, grade.severity, title)
            .strength(grade.strength)
            .labels(labels)
            .value(value)
            .score(grade.score)
            .detail(detail)
            .cause(cause)
            .fix(fix);
        finding.evidence = evidence;
        if let Some((raise_at, clear_at)) = grade.thresholds {
            finding = finding.thresholds(raise_at, clear_at);
        }
        report.findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::checks::{each_value, each_zero};
    use crate::testing::{Facts, render};
    use crate::{Severity, settings, text};

    static CHECKS: &[Check] = &[
        Check {
            id: "server-down",
            summary: "the server does not answer",
            category: "availability",
            needs: &["pharos_redis_up"],
            hold_off: Duration::from_secs(5),
            keep_firing: Duration::ZERO,
            grading: Grading::Fact(Severity::Critical),
            observe: |snapshot| each_zero(snapshot, "pharos_redis_up"),
            explain: |_| Explanation { title: "down".to_owned(), ..Explanation::default() },
        },
        Check {
            id: "clients-used",
            summary: "few clients more can connect",
            category: "connections",
            needs: &["pharos_redis_clients_used_ratio"],
            hold_off: Duration::from_secs(60),
            keep_firing: Duration::ZERO,
            grading: Grading::rising(0.8, 0.9, 0.7),
            observe: |snapshot| each_value(snapshot, "pharos_redis_clients_used_ratio"),
            explain: |case| Explanation { title: text::percent(case.value), ..Explanation::default() },
        },
    ];

    fn suite(settings: &str) -> Result<Suite, Failure> {
        Suite::new("redis", &[CHECKS], &settings::parse(settings)?)
    }

    #[track_caller]
    fn check(settings: &str, facts: &str, expected: Expect) {
        let suite = suite(settings).expect("the settings are right");
        expected.assert_eq(&render(&suite.evaluate(&Facts::redis(facts).snapshot())));
    }

    #[track_caller]
    fn check_refused(settings: &str, expected: Expect) {
        match suite(settings).map(|_| ()) {
            Err(Failure::InvalidConfig(message)) => expected.assert_eq(&message),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn facts_and_scales_are_both_found() {
        check(
            "{}",
            "up present\npharos_redis_up 0\ninfo present\npharos_redis_clients_used_ratio 0.85",
            expect![[r#"
                server-down: raise critical: down
                clients-used: raise warning: 85 %
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_read_is_skipped_and_its_part_named() {
        check(
            "{}",
            "up present\npharos_redis_up 0\ninfo failed connection refused\npharos_redis_clients_used_ratio",
            expect![[r#"
                server-down: raise critical: down
                clients-used: skipped: part `info` failed: connection refused
            "#]],
        );
        check(
            "{}",
            "up stale 45000\npharos_redis_up 1",
            expect![[r#"
                server-down: skipped: part `up` is stale: last read 45 s ago
                clients-used: skipped: nobody collects `pharos_redis_clients_used_ratio` for a subject of kind `redis`
            "#]],
        );
    }

    #[test]
    fn a_value_that_is_no_number_is_skipped() {
        check(
            r#"{"checks":{"server-down":{"enabled":false}}}"#,
            "info present\npharos_redis_clients_used_ratio NaN",
            expect![[r#"
                clients-used: skipped: no data
            "#]],
        );
    }

    #[test]
    fn a_subject_of_another_kind_is_not_judged() {
        let report = suite("{}").expect("defaults").evaluate(&Facts::postgres("up present").snapshot());
        assert_eq!(report, Report::empty());
    }

    #[test]
    fn a_moved_threshold_moves_clear_in_proportion() {
        let moved = r#"{"checks":{"clients-used":{"warning":0.4}}}"#;
        check(
            moved,
            "up present\npharos_redis_up 1\ninfo present\npharos_redis_clients_used_ratio 0.36",
            expect![[r#"
                clients-used: hold warning: 36 %
            "#]],
        );
        check(moved, "up present\npharos_redis_up 1\ninfo present\npharos_redis_clients_used_ratio 0.34", expect![""]);
    }

    #[test]
    fn the_operator_sets_for() {
        let rules = suite(r#"{"checks":{"clients-used":{"for":"10m"}}}"#).expect("right").rules();
        assert_eq!(rules.iter().map(|rule| rule.for_ms).collect::<Vec<_>>(), [5_000, 600_000]);
    }

    #[test]
    fn mistakes_say_how_to_mend_them() {
        check_refused(
            r#"{"checks":{"client-used":{}}}"#,
            expect!["settings.checks.client-used: no such check; did you mean `clients-used`?"],
        );
        check_refused(
            r#"{"checks":{"disk":{}}}"#,
            expect!["settings.checks.disk: no such check; the checks are server-down, clients-used"],
        );
        check_refused(
            r#"{"checks":{"clients-used":{"warnin":0.9}}}"#,
            expect![
                "settings.checks.clients-used: unknown field `warnin`, expected one of `enabled`, `info`, `warning`, `critical`, `clear`, `for`, `keep_firing_for`; did you mean `warning`?"
            ],
        );
        check_refused(
            r#"{"checks":{"clients-used":{"warning":0.95}}}"#,
            expect![
                "settings.checks.clients-used: `warning` (0.95) must be below `critical` (0.9); raise `critical` or move `warning` as well"
            ],
        );
        check_refused(
            r#"{"checks":{"server-down":{"critical":1}}}"#,
            expect!["settings.checks.server-down: `critical` has no meaning here: it is wrong or it is not; remove the key"],
        );
    }
}
