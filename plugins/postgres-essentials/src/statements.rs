//! Checks of statements: slow statements, and entries that `pg_stat_statements` had to drop.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_increase, evidence};
use pharos_plugin::{Row, SkipReason, Snapshot, sql, text};

const MEAN_TIME: &str = "pharos_postgres_statement_mean_time_seconds";
const CALLS: &str = "pharos_postgres_statement_calls_total";
const P95: &str = "pharos_postgres_statement_time_p95_estimate_seconds";
const EVICTIONS: &str = "pharos_postgres_statements_evictions_total";
const TRACKED: &str = "pharos_postgres_statements_tracked";
const TRACKED_MAX: &str = "pharos_postgres_statements_max";

/// Calls per second from which on a mean time is judged. A mean of fewer calls may be chance.
const CALLS_PER_SECOND_MIN: f64 = 0.1;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "statement-slow",
        summary: "a statement that runs six times a minute or more takes long on average",
        category: "performance",
        scope: Scope::Each,
        labels: &["datname", "user", "fingerprint", "toplevel"],
        needs: &[MEAN_TIME, CALLS],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(0.5, 5.0, 0.3),
        observe: means,
        explain: statement_slow,
    },
    Check {
        id: "statement-evictions",
        summary: "pg_stat_statements drops statements",
        category: "performance",
        scope: Scope::Each,
        labels: &[],
        needs: &[EVICTIONS],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_hours(1),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: Some(1.0), warning: None, critical: None, clear: 0.0 }),
        observe: |snapshot| each_increase(snapshot, EVICTIONS),
        explain: statement_evictions,
    },
];

/// Observes the mean time of statements with enough calls, in seconds. Nested statements count in their callers. The fingerprint "other"
/// stands for many statements and is left out.
fn means(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let calls = snapshot.rates(CALLS)?;
    let calls: BTreeMap<_, _> = calls.rows().map(|row| (statement(row), row.value())).collect();
    let means = snapshot.values(MEAN_TIME)?;
    let observations = means
        .rows()
        .filter(|row| row.label("fingerprint") != Some("other") && row.label("toplevel") != Some("false"))
        .filter(|row| calls.get(&statement(*row)).is_some_and(|rate| *rate >= CALLS_PER_SECOND_MIN))
        .map(|row| Observation::new(row.labels_beyond(snapshot.subject()), row.value()))
        .collect();
    Ok(observations)
}

fn statement<'a>(row: Row<'a>) -> [Option<&'a str>; 4] {
    ["datname", "user", "fingerprint", "toplevel"].map(|name| row.label(name))
}

fn statement_slow(case: &Case) -> Explanation {
    let (fingerprint, datname, user) = (case.label("fingerprint"), case.label("datname"), case.label("user"));
    let mean = text::duration(case.value);
    let p95 = case.related_series(P95).map(|p95| evidence("95th percentile (estimated)", text::duration(p95)));
    Explanation {
        title: format!("statement {fingerprint} takes {mean} on average"),
        detail: format!("Statement {fingerprint}, run by {user} in {datname}, took {mean} on average since the previous collection."),
        cause: "A missing index, a plan that changed after statistics did, more rows than it was written for, or a wait for locks or \
                disk."
            .to_owned(),
        fix: format!(
            "Its text is in `GET /api/database/slow-queries` under this fingerprint. Log in as {user}, and never as superuser: its author \
             wrote the text, and even EXPLAIN runs the functions in it. Run `EXPLAIN (ANALYZE, BUFFERS)` of the text and `ANALYZE` of its \
             tables; then index the columns that it filters and joins by."
        ),
        evidence: p95.into_iter().collect(),
    }
}

fn statement_evictions(case: &Case) -> Explanation {
    let tracked = case.related(TRACKED).map(|count| evidence("statements tracked", text::count(count)));
    let max = case.related(TRACKED_MAX).map(|count| evidence("pg_stat_statements.max", text::count(count)));
    Explanation {
        title: "pg_stat_statements drops statements".to_owned(),
        detail: format!(
            "It dropped its least used entries {} times in the last {}, so rates and sums of statements are too low.",
            text::count(case.value),
            text::duration(case.snapshot.reading_seconds(EVICTIONS))
        ),
        cause: "More different statements than it can hold, often because values are written into the text: lists of varying length, \
                or temporary tables with names of their own."
            .to_owned(),
        fix: format!(
            "Pass values as parameters (`= ANY($1)` instead of a list), or `ALTER SYSTEM SET pg_stat_statements.max = {};`, which needs a \
             restart.",
            sql::raised(case.related(TRACKED_MAX), 10_000.0)
        ),
        evidence: [tracked, max].into_iter().flatten().collect(),
    }
}
