//! Check of conflicts: queries on a standby that replay had to cancel.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Scope, Thresholds, each_increase};
use pharos_plugin::{sql, text};

const CONFLICTS: &str = "pharos_postgres_standby_conflicts_total";

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "standby-conflicts",
    summary: "replay cancels queries on a standby",
    category: "replication",
    scope: Scope::Standby,
    labels: &["datname", "reason"],
    needs: &[CONFLICTS],
    hold_off: Duration::ZERO,
    keep_firing: Duration::from_mins(15),
    grading: Grading::Scale(Direction::Rising, Thresholds { info: Some(1.0), warning: Some(10.0), critical: None, clear: 0.0 }),
    observe: |snapshot| each_increase(snapshot, CONFLICTS),
    explain: standby_conflicts,
}];

fn standby_conflicts(case: &Case) -> Explanation {
    let (datname, reason) = (case.label("datname"), case.label("reason"));
    let queries = text::counted(case.value, "query", "queries");
    let (cause, fix) = match reason {
        "snapshot" => (
            "Rows that the query could still see were vacuumed on the primary.",
            "Let the standby report its snapshots to the primary: `ALTER SYSTEM SET hot_standby_feedback = on; SELECT \
             pg_catalog.pg_reload_conf();`; vacuum on the primary then waits.",
        ),
        "lock" => (
            "The query blocked a lock that a schema change on the primary took.",
            "Change the schema when no reports run, or give them time: `ALTER SYSTEM SET max_standby_streaming_delay = DELAY; SELECT \
             pg_catalog.pg_reload_conf();`; replay then waits.",
        ),
        "bufferpin" | "buffer_pin" => (
            "The query held a page that replay had to clean up.",
            "Give reports time: `ALTER SYSTEM SET max_standby_streaming_delay = DELAY; SELECT pg_catalog.pg_reload_conf();`; replay then \
             waits.",
        ),
        "tablespace" => ("A tablespace that held its temporary files was dropped.", "Set temp_tablespaces of the role to one that stays."),
        "deadlock" => ("Replay and the query waited for each other.", "Repeat the query; keep transactions on the standby short."),
        _ => (
            "What the query read was changed or removed on the primary.",
            "Give reports time: `ALTER SYSTEM SET max_standby_streaming_delay = DELAY; SELECT pg_catalog.pg_reload_conf();`; replay then \
             waits.",
        ),
    };
    Explanation {
        title: format!("replay cancelled {queries} in {datname} ({reason})"),
        detail: format!("Since the previous collection replay cancelled {queries} in {datname} on this standby, for reason {reason}."),
        cause: cause.to_owned(),
        fix: fix.replace("DELAY", &longer_delay(case)),
        evidence: Vec::new(),
    }
}

/// Twice the present `max_standby_streaming_delay`, and at least five minutes.
fn longer_delay(case: &Case) -> String {
    let settings = case.snapshot.values("pharos_postgres_setting").ok();
    let rows = settings.iter().flat_map(|settings| settings.rows());
    let now = rows.filter(|row| row.label("setting") == Some("max_standby_streaming_delay")).map(|row| row.value()).next();
    format!("'{}s'", now.map_or_else(|| "<more>".to_owned(), |now| sql::raised(Some(now), 300.0)))
}
