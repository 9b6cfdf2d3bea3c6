//! A plugin's table of checks with the operator's settings applied: its rules, and its judgement of a snapshot.

use super::grade::{Grade, Grading};
use super::scope::{DATABASE, Scope, primary};
use super::settings::{Gradings, Override, Settings, unknown};
use super::worst::worst;
use super::{Case, Check, Explanation, Family, Observation, evidence, one_line};
use crate::duration::millis;
use crate::settings::Ignored;
use crate::sql::marked;
use crate::{Failure, Finding, Report, Rule, SkipReason, Snapshot, Strength};

pub struct Suite {
    enabled: Vec<Enabled>,
    ignored: Vec<Ignored>,
}

struct Enabled {
    check: &'static Check,
    /// What its alerts are about.
    subject_kind: &'static str,
    gradings: Gradings,
    hold_off_ms: u64,
    keep_firing_ms: u64,
}

impl Suite {
    /// Checks keep their order. A setting that makes no sense is left out and reported; its check has its defaults, all others go on.
    pub fn new(families: &[Family], settings: &Settings) -> Result<Self, Failure> {
        let mut ignored = settings.ignored.clone();
        ignored.extend(unknown(settings, &Family::all(families).map(|check| check.id).collect::<Vec<_>>()));
        let unchanged = Override::default();
        let mut enabled = Vec::new();
        for Family { subject_kind, checks } in families {
            for check in *checks {
                let change = settings.checks.get(check.id).unwrap_or(&unchanged);
                let armed = Enabled {
                    check,
                    subject_kind: check.scope.subject_kind(subject_kind),
                    gradings: Gradings::new(check, subject_kind, change, &mut ignored),
                    hold_off_ms: change.hold_off.map_or(millis(check.hold_off), |duration| duration.as_millis()),
                    keep_firing_ms: change.keep_firing_for.map_or(millis(check.keep_firing), |duration| duration.as_millis()),
                };
                if change.enabled != Some(false) {
                    enabled.push(armed);
                }
            }
        }
        ignored.iter().for_each(Ignored::report);
        Ok(Self { enabled, ignored })
    }

    /// Settings that were left out, and why.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    pub fn rules(&self) -> Vec<Rule> {
        self.enabled.iter().map(Enabled::rule).collect()
    }

    pub fn evaluate(&self, snapshot: &Snapshot) -> Report {
        let mut report = Report::empty();
        let of_kind = self.enabled.iter().filter(|enabled| enabled.subject_kind == snapshot.subject().kind);
        let (shared, own): (Vec<&Enabled>, Vec<&Enabled>) = of_kind.partition(|enabled| enabled.check.scope == Scope::Shared);
        own.into_iter().for_each(|enabled| enabled.judge(snapshot, &mut report));
        if !shared.is_empty() {
            judge_shared(&shared, snapshot, &mut report);
        }
        report
    }
}

/// Judges what the servers of a database have in common by its primary, which is asked for once.
fn judge_shared(checks: &[&Enabled], database: &Snapshot, report: &mut Report) {
    match primary(database) {
        Ok(primary) => checks.iter().for_each(|enabled| enabled.judge(&primary, report)),
        Err(reason) => {
            let concerned = checks.iter().filter(|enabled| enabled.gradings.selection.may_take(&[&database.subject().labels]));
            concerned.for_each(|enabled| report.skip(enabled.check.id, Vec::new(), reason.clone()));
        }
    }
}

impl Enabled {
    fn rule(&self) -> Rule {
        Rule {
            id: self.check.id.to_owned(),
            summary: self.check.summary.to_owned(),
            category: self.check.category.to_owned(),
            subject_kind: self.subject_kind.to_owned(),
            needs: self.check.needs.iter().map(|need| (*need).to_owned()).collect(),
            for_ms: self.hold_off_ms,
            keep_firing_ms: self.keep_firing_ms,
            runbook: None,
        }
    }

    fn judge(&self, snapshot: &Snapshot, report: &mut Report) {
        if !self.gradings.selection.may_take(&[&snapshot.subject().labels]) {
            return;
        }
        match self.observe(snapshot) {
            Err(reason) => report.skip(self.check.id, Vec::new(), reason),
            Ok(observations) => {
                let bad = observations.into_iter().filter_map(|one| Some((self.grade(snapshot, &one, report)?, one))).collect();
                for (grade, observation) in worst(bad, self.check.id, report) {
                    self.find(snapshot, grade, observation, report);
                }
            }
        }
    }

    /// A server in another role than the check's has nothing to observe.
    fn observe(&self, snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
        if !self.check.scope.takes(snapshot)? {
            return Ok(Vec::new());
        }
        self.check.needs.iter().try_for_each(|need| readable(snapshot, need))?;
        (self.check.observe)(snapshot)
    }

    /// How bad it is; none where it is fine, left out by the operator, or unknown, which is reported.
    fn grade(&self, snapshot: &Snapshot, observation: &Observation, report: &mut Report) -> Option<Grade> {
        let Observation { labels, value, severity_max, unknown, is_minimum, .. } = observation;
        debug_assert!(labels.iter().all(|label| self.check.labels.contains(&label.name.as_str())), "{}: {labels:?}", self.check.id);
        let every_label = [&snapshot.subject().labels[..], labels];
        let grade = |grading: Grading| grading.at_most(*severity_max).grade(*value);
        let is_chosen = self.gradings.selection.takes(&every_label);
        let graded = || if is_chosen { grade(self.gradings.for_labels(&every_label)) } else { None };
        let Some(reason) = unknown else { return graded() };
        if *is_minimum && let Some(bad) = graded().filter(|grade| grade.strength == Strength::Raise) {
            return Some(bad);
        }
        // Something unknown may have labels that an override names.
        let is_fine =
            !is_minimum && !value.is_nan() && self.gradings.possible(&every_label).into_iter().all(|grading| grade(grading).is_none());
        if !is_fine && self.gradings.selection.may_take(&every_label) {
            report.skip(self.check.id, labels.clone(), reason.clone());
        }
        None
    }

    fn find(&self, snapshot: &Snapshot, grade: Grade, observation: Observation, report: &mut Report) {
        let Observation { labels, value, row, .. } = observation;
        let case = Case { snapshot, labels: &labels, value, severity: grade.severity, row };
        let Explanation { title, detail, cause, fix, evidence: mut lines } = (self.check.explain)(&case);
        if self.check.scope == Scope::Shared {
            // The alert has no label of a server, and its fix needs one.
            lines.push(evidence("primary", &snapshot.subject().id));
        }
        let [title, detail, cause, fix] = [title, detail, cause, marked(fix)].map(one_line);
        let mut finding = Finding::new(self.check.id, grade.severity, title)
            .strength(grade.strength)
            .labels(labels)
            .value(value)
            .score(grade.score)
            .detail(detail)
            .cause(cause)
            .fix(fix);
        finding.evidence = lines;
        if let Some((raise_at, clear_at)) = grade.thresholds {
            finding = finding.thresholds(raise_at, clear_at);
        }
        report.findings.push(finding);
    }
}

/// Names of metrics begin with those of the agent or of its process; any other is a table's. What the servers of a database have is read
/// from each of them by the check itself.
fn readable(snapshot: &Snapshot, need: &str) -> Result<(), SkipReason> {
    if snapshot.subject().kind == DATABASE && need.starts_with("pharos_postgres_") {
        return Ok(());
    }
    if need.starts_with("pharos_") || need.starts_with("process_") {
        return snapshot.readable(need);
    }
    match snapshot.table(need) {
        Some(_) => Ok(()),
        None => Err(SkipReason::PartFailed(format!("there is no table `{need}`"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::checks::{Grading, each_value, each_zero, label};
    use crate::testing::{Facts, render};
    use crate::{Severity, settings, text};

    static CHECKS: &[Check] = &[
        Check {
            id: "server-down",
            summary: "the server does not answer",
            category: "availability",
            scope: Scope::Each,
            labels: &[],
            needs: &["pharos_redis_up"],
            hold_off: Duration::from_secs(5),
            keep_firing: Duration::ZERO,
            grading: Grading::Fact(Severity::Critical),
            observe: |snapshot| each_zero(snapshot, "pharos_redis_up"),
            explain: |_| Explanation { title: "down".to_owned(), ..Explanation::default() },
        },
        CLIENTS_USED,
    ];

    const CLIENTS_USED: Check = Check {
        id: "clients-used",
        summary: "few clients more can connect",
        category: "connections",
        scope: Scope::Each,
        labels: &["user"],
        needs: &["pharos_redis_clients_used_ratio"],
        hold_off: Duration::from_secs(60),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(0.8, 0.9, 0.7),
        observe: |snapshot| each_value(snapshot, "pharos_redis_clients_used_ratio"),
        explain: |case| Explanation { title: text::percent(case.value), ..Explanation::default() },
    };

    fn suite(settings: &str) -> Result<Suite, Failure> {
        Suite::new(&[Family::of("redis", CHECKS)], &settings::parse(settings)?)
    }

    #[track_caller]
    fn check(settings: &str, facts: &str, expected: Expect) {
        let suite = suite(settings).expect("the settings are right");
        expected.assert_eq(&render(&suite.evaluate(&Facts::redis(facts).snapshot())));
    }

    /// A wrong setting is left out, and every check is there all the same.
    #[track_caller]
    fn check_ignored(settings: &str, expected: Expect) {
        let suite = suite(settings).expect("wrong settings are left out");
        assert_eq!(suite.rules().len(), CHECKS.len());
        let ignored: Vec<String> = suite.ignored().iter().map(|ignored| format!("{}: {}", ignored.place, ignored.why)).collect();
        expected.assert_eq(&ignored.join("\n"));
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
    fn what_a_list_leaves_out_stands_still_as_far_as_it_may_be_bad() {
        static LISTED: &[Check] = &[Check {
            id: "pressure",
            labels: &["datname", "relation"],
            needs: &[],
            observe: |_| {
                let left_out = |datname: &str, greatest| {
                    let reason = SkipReason::PartFailed("30 more".to_owned());
                    Observation::unknown_up_to(vec![label("datname", datname)], greatest, reason)
                };
                Ok(vec![left_out("fine", Some(0.5)), left_out("held", Some(0.75)), left_out("untold", None)])
            },
            ..CLIENTS_USED
        }];
        let judged = |overrides: &str| {
            let settings = format!(r#"{{"checks":{{"pressure":{{"overrides":[{overrides}]}}}}}}"#);
            let suite = Suite::new(&[Family::of("redis", LISTED)], &settings::parse(&settings).expect("well-formed")).expect("defaults");
            render(&suite.evaluate(&Facts::redis("up present").snapshot()))
        };
        let held = || {
            expect![[r#"
            pressure{datname=held}: skipped: 30 more
            pressure{datname=untold}: skipped: 30 more
        "#]]
        };
        held().assert_eq(&judged(""));
        held().assert_eq(&judged(r#"{"only":{"datname":["other"]},"warning":0.4}"#));
        // One of those left out may be the one that the override names.
        expect![[r#"
            pressure{datname=fine}: skipped: 30 more
            pressure{datname=held}: skipped: 30 more
            pressure{datname=untold}: skipped: 30 more
        "#]]
        .assert_eq(&judged(r#"{"only":{"relation":["orders"]},"warning":0.4}"#));
    }

    #[test]
    fn what_is_at_least_so_much_is_bad_or_stands_still_and_never_fine() {
        static LISTED: &[Check] = &[Check {
            id: "pressure",
            labels: &["datname"],
            needs: &[],
            observe: |_| {
                let least = |datname: &str, least| {
                    Observation::at_least(vec![label("datname", datname)], least, SkipReason::PartFailed("since the start".to_owned()))
                };
                Ok(vec![least("low", 0.0), least("near", 0.78), least("high", 0.85)])
            },
            ..CLIENTS_USED
        }];
        let suite = Suite::new(&[Family::of("redis", LISTED)], &settings::parse("{}").expect("well-formed")).expect("defaults");
        expect![[r#"
            pressure{datname=high}: raise warning: 85 %
            pressure{datname=low}: skipped: since the start
            pressure{datname=near}: skipped: since the start
        "#]]
        .assert_eq(&render(&suite.evaluate(&Facts::redis("up present").snapshot())));
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

    const TWO_USERS: &str = "
        up present
        pharos_redis_up 1
        info present
        pharos_redis_clients_used_ratio{user=\"app\"} 0.85
        pharos_redis_clients_used_ratio{user=\"etl\"} 0.85";

    #[test]
    fn a_check_is_limited_to_some_series_or_subjects() {
        let one = || {
            expect![[r#"
                clients-used{user=app}: raise warning: 85 %
            "#]]
        };
        check(r#"{"checks":{"clients-used":{"only":{"user":["app"]}}}}"#, TWO_USERS, one());
        check(r#"{"checks":{"clients-used":{"except":{"user":["e*"]}}}}"#, TWO_USERS, one());
        check(r#"{"checks":{"clients-used":{"only":{"server":["other:6379"]}}}}"#, TWO_USERS, expect![""]);
        // Nor is it said that it could not look.
        check(
            r#"{"checks":{"clients-used":{"except":{"server":["cache1:*"]}}}}"#,
            "up present\npharos_redis_up 1\ninfo failed connection refused\npharos_redis_clients_used_ratio",
            expect![""],
        );
    }

    #[test]
    fn what_is_wrong_with_a_check_takes_nothing_else_of_it_along() {
        let one = || {
            expect![[r#"
                clients-used{user=app}: raise warning: 85 %
            "#]]
        };
        // A threshold, the other selection, an override: what is left goes on to choose.
        for wrong in [r#""warning":0.95"#, r#""only":{"usr":["app"]}"#, r#""overrides":[{"warning":0.95}]"#] {
            check(&format!(r#"{{"checks":{{"clients-used":{{"except":{{"user":["etl"]}},{wrong}}}}}}}"#), TWO_USERS, one());
        }
        // The override that is right.
        check(
            r#"{"checks":{"clients-used":{"overrides":[{"except":{"slot":["a"]},"warning":0.5},{"only":{"user":["etl"]},"warning":0.86}]}}}"#,
            TWO_USERS,
            expect![[r#"
                clients-used{user=app}: raise warning: 85 %
                clients-used{user=etl}: hold warning: 85 %
            "#]],
        );
    }

    #[test]
    fn some_series_have_thresholds_of_their_own() {
        check(
            r#"{"checks":{"clients-used":{"overrides":[{"only":{"user":["etl"]},"warning":0.7,"critical":0.8}]}}}"#,
            TWO_USERS,
            expect![[r#"
                clients-used{user=app}: raise warning: 85 %
                clients-used{user=etl}: raise critical: 85 %
            "#]],
        );
    }

    #[test]
    fn the_severity_of_a_fact_may_be_another() {
        check(
            r#"{"checks":{"server-down":{"severity":"warning"},"clients-used":{"enabled":false}}}"#,
            "up present\npharos_redis_up 0",
            expect![[r#"
                server-down: raise warning: down
            "#]],
        );
    }

    #[test]
    fn the_operator_sets_for() {
        let rules = suite(r#"{"checks":{"clients-used":{"for":"10m"}}}"#).expect("right").rules();
        assert_eq!(rules.iter().map(|rule| rule.for_ms).collect::<Vec<_>>(), [5_000, 600_000]);
    }

    #[test]
    fn mistakes_say_how_to_mend_them() {
        check_ignored(
            r#"{"checks":{"client-used":{}}}"#,
            expect!["settings.checks.client-used: no such check; did you mean `clients-used`?"],
        );
        check_ignored(
            r#"{"checks":{"disk":{}}}"#,
            expect!["settings.checks.disk: no such check; the checks are server-down, clients-used"],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"warnin":0.9}}}"#,
            expect![
                "settings.checks.clients-used.warnin: unknown field `warnin`, expected one of `enabled`, `info`, `warning`, `critical`, `clear`, `severity`, `for`, `keep_firing_for`, `only`, `except`, `overrides`; did you mean `warning`?"
            ],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"warning":0.95}}}"#,
            expect![
                "settings.checks.clients-used: `warning` (0.95) must be below `critical` (0.9); raise `critical` or move `warning` as well"
            ],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"only":{"usr":["app"]}}}}"#,
            expect!["settings.checks.clients-used.only: `usr` is no label of this check; did you mean `user`?"],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"overrides":[{"except":{"slot":["a"]},"warning":0.5}]}}}"#,
            expect!["settings.checks.clients-used.overrides[0].except: `slot` is no label of this check; it has database, server, user"],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"overrides":[{"warning":0.95}]}}}"#,
            expect![
                "settings.checks.clients-used.overrides[0]: `warning` (0.95) must be below `critical` (0.9); raise `critical` or move `warning` as well"
            ],
        );
        check_ignored(
            r#"{"checks":{"clients-used":{"severity":"info"}}}"#,
            expect![
                "settings.checks.clients-used: `severity` has no meaning here: it follows the value; set `info`, `warning` or `critical`"
            ],
        );
        check_ignored(
            r#"{"checks":{"server-down":{"critical":1}}}"#,
            expect!["settings.checks.server-down: `critical` has no meaning here: it is wrong or it is not; set `severity`"],
        );
    }

    #[test]
    fn a_wrong_setting_costs_nothing_but_itself() {
        let wrong =
            r#"{"rulez":1,"checks":{"clients-used":{"for":"10m","warning":"80%","critcal":1},"server-down":{"severity":"info"},"x":5}}"#;
        check_ignored(
            wrong,
            expect![[r#"
                settings.checks.clients-used.critcal: unknown field `critcal`, expected one of `enabled`, `info`, `warning`, `critical`, `clear`, `severity`, `for`, `keep_firing_for`, `only`, `except`, `overrides`; did you mean `critical`?
                settings.checks.clients-used.warning: invalid type: string "80%", expected f64
                settings.checks.x: must be a table
                settings.rulez: unknown key
                settings.checks.x: no such check; the checks are server-down, clients-used"#]],
        );
        let loaded = suite(wrong).expect("wrong settings are left out");
        assert_eq!(loaded.rules().iter().map(|rule| rule.for_ms).collect::<Vec<_>>(), [5_000, 600_000], "what is right counts");
        let facts = Facts::redis("up present\npharos_redis_up 0\ninfo present\npharos_redis_clients_used_ratio 0.85");
        expect![[r#"
            server-down: raise info: down
            clients-used: raise warning: 85 %
        "#]]
        .assert_eq(&render(&loaded.evaluate(&facts.snapshot())));
        // A check that was turned off stays off, whatever else is wrong with its settings.
        let off = r#"{"checks":{"clients-used":{"enabled":false,"warning":0.95}}}"#;
        assert_eq!(suite(off).expect("it is left out").rules().len(), 1);
        check_ignored(r#"{"checks":[]}"#, expect!["settings.checks: must be a table"]);
    }
}
