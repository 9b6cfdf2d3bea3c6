//! Checks of subscriptions: logical replication on the side of the receiver.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Explanation, Grading, Observation, Scope, each_increase, each_value, each_zero, evidence, unvisited,
};
use pharos_plugin::{Severity, SkipReason, Snapshot, sql, text};

const UP: &str = "pharos_postgres_subscription_up";
const ENABLED: &str = "pharos_postgres_subscription_enabled";
const MESSAGE_AGE: &str = "pharos_postgres_subscription_message_age_seconds";
const APPLY_ERRORS: &str = "pharos_postgres_subscription_apply_errors_total";
const SYNC_ERRORS: &str = "pharos_postgres_subscription_sync_errors_total";
const NOT_READY: &str = "pharos_postgres_subscription_tables_not_ready";

const SUBSCRIPTION: [&str; 2] = ["datname", "subscription"];

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "subscription-down",
        summary: "an enabled subscription has no worker",
        category: "replication",
        scope: Scope::Shared,
        labels: &SUBSCRIPTION,
        needs: &[UP, ENABLED],
        // PostgreSQL starts a failed worker again after five seconds.
        hold_off: Duration::from_mins(2),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: down_though_enabled,
        explain: subscription_down,
    },
    Check {
        id: "subscription-disabled",
        summary: "a subscription is disabled",
        category: "replication",
        scope: Scope::Shared,
        labels: &SUBSCRIPTION,
        needs: &[ENABLED],
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| each_zero(snapshot, ENABLED),
        explain: subscription_disabled,
    },
    Check {
        id: "subscription-silent",
        summary: "a subscription has received nothing from its publisher for a long time",
        category: "replication",
        scope: Scope::Shared,
        labels: &SUBSCRIPTION,
        needs: &[MESSAGE_AGE],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(120.0, 600.0, 60.0),
        observe: |snapshot| each_value(snapshot, MESSAGE_AGE),
        explain: subscription_silent,
    },
    Check {
        id: "subscription-errors",
        summary: "a subscription cannot apply what it receives",
        category: "replication",
        scope: Scope::Primary,
        labels: &SUBSCRIPTION,
        needs: &[APPLY_ERRORS],
        hold_off: Duration::ZERO,
        // A failing worker waits between its tries. A series of failures must stay a single alert.
        keep_firing: Duration::from_mins(15),
        grading: Grading::rising_warning(1.0, 0.0),
        observe: errors,
        explain: subscription_errors,
    },
    Check {
        id: "subscription-not-ready",
        summary: "tables of a subscription are not copied yet",
        category: "replication",
        scope: Scope::Shared,
        labels: &SUBSCRIPTION,
        needs: &[NOT_READY],
        hold_off: Duration::from_hours(1),
        keep_firing: Duration::ZERO,
        grading: Grading::rising_warning(1.0, 0.0),
        observe: tables_not_ready,
        explain: subscription_not_ready,
    },
];

/// Observes the subscriptions that are down. A disabled subscription is down on purpose and is left out.
fn down_though_enabled(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let disabled = each_zero(snapshot, ENABLED)?;
    let mut down = each_zero(snapshot, UP)?;
    down.retain(|subscription| !disabled.iter().any(|other| other.labels == subscription.labels));
    Ok(down)
}

/// Observes the errors of each subscription: while applying, and while copying if the server counts those.
fn errors(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_increase(snapshot, APPLY_ERRORS)?;
    let sync = each_increase(snapshot, SYNC_ERRORS).unwrap_or_default();
    for subscription in &mut all {
        subscription.value += sync.iter().find(|other| other.labels == subscription.labels).map_or(0.0, |other| other.value);
    }
    Ok(all)
}

/// Observes the number of tables that are not ready. The agent counts them in the datname of the subscription, so a datname that could
/// not be read is unknown.
fn tables_not_ready(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "subscription_tables");
    all.extend(each_value(snapshot, NOT_READY)?);
    Ok(all)
}

fn name(case: &Case) -> (String, String) {
    (case.label("subscription").to_owned(), case.label("datname").to_owned())
}

fn subscription_down(case: &Case) -> Explanation {
    let (subscription, datname) = name(case);
    Explanation {
        title: format!("subscription {subscription} of {datname} is down"),
        detail: format!(
            "Subscription {subscription} of {datname} is enabled and no worker runs for it. Its tables are not updated, and its slot on \
             the publisher keeps WAL there."
        ),
        cause: "The publisher is unreachable or refuses it, a change cannot be applied, or all of max_logical_replication_workers are in \
                use."
            .to_owned(),
        fix: format!(
            "The server's log says why. In {datname}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT subname, pid, received_lsn, \
             latest_end_time FROM pg_stat_subscription WHERE subname = {}; COMMIT;`. If all workers are in use: `ALTER SYSTEM SET \
             max_logical_replication_workers = <more>;`, which needs a restart.",
            sql::literal(&subscription)
        ),
        evidence: Vec::new(),
    }
}

fn subscription_disabled(case: &Case) -> Explanation {
    let (subscription, datname) = name(case);
    Explanation {
        title: format!("subscription {subscription} of {datname} is disabled"),
        detail: format!(
            "Subscription {subscription} of {datname} receives nothing, while its slot on the publisher keeps WAL until the disk there is full."
        ),
        cause: "It was disabled by hand, or by an error because disable_on_error is set.".to_owned(),
        fix: format!(
            "In {datname}: `ALTER SUBSCRIPTION {0} ENABLE;`, after reading the server's log; if it is no longer wanted, `DROP SUBSCRIPTION \
             {0};`, which drops its slot as well.",
            sql::identifier(&subscription)
        ),
        evidence: Vec::new(),
    }
}

fn subscription_silent(case: &Case) -> Explanation {
    let (subscription, datname) = name(case);
    let age = text::duration(case.value);
    Explanation {
        title: format!("subscription {subscription} of {datname} has received nothing for {age}"),
        detail: format!(
            "The publisher last sent something to subscription {subscription} of {datname} {age} ago. A healthy publisher sends at least a \
             keepalive message more often than that."
        ),
        cause: "The network between them loses packets, the publisher hangs, or the worker waits for a lock.".to_owned(),
        fix: format!(
            "In {datname}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE \
             backend_type = 'logical replication worker'; COMMIT;` shows a lock; otherwise reconnect it: `ALTER SUBSCRIPTION {0} DISABLE;` \
             and `ALTER SUBSCRIPTION {0} ENABLE;`.",
            sql::identifier(&subscription)
        ),
        evidence: Vec::new(),
    }
}

fn subscription_errors(case: &Case) -> Explanation {
    let (subscription, datname) = name(case);
    let errors = text::counted(case.value, "error", "errors");
    let total = case.related_series(APPLY_ERRORS).map(|total| evidence("errors while applying", text::count(total)));
    Explanation {
        title: format!("subscription {subscription} of {datname} fails"),
        detail: format!("Subscription {subscription} of {datname} had {errors} since the previous collection and makes no progress."),
        cause: "A change does not fit: a row that is already there, a column or table that is missing, a constraint of the subscriber."
            .to_owned(),
        fix: format!(
            "The server's log names the change and its last LSN. Correct the row or the table; to skip the change, from PostgreSQL 15 on, \
             in {datname}: `ALTER SUBSCRIPTION {} SKIP (lsn = <lsn>);` with the LSN of the log.",
            sql::identifier(&subscription)
        ),
        evidence: total.into_iter().collect(),
    }
}

fn subscription_not_ready(case: &Case) -> Explanation {
    let (subscription, datname) = name(case);
    let tables = text::counted(case.value, "table", "tables");
    Explanation {
        title: format!("{tables} of subscription {subscription} not copied"),
        detail: format!("{tables} of subscription {subscription} of {datname} are not copied yet, so changes of them are not applied."),
        cause: "The copy is large, fails and starts again, or has no worker: max_sync_workers_per_subscription.".to_owned(),
        fix: format!(
            "In {datname}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT srrelid::regclass, srsubstate FROM pg_subscription_rel \
             WHERE srsubstate <> 'r'; COMMIT;`, and the server's log. A table that was added later needs `ALTER SUBSCRIPTION {} REFRESH \
             PUBLICATION;`.",
            sql::identifier(&subscription)
        ),
        evidence: Vec::new(),
    }
}
