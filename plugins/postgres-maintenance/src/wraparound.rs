//! Checks of wraparound: transaction ids and multixact ids run out unless vacuum freezes old rows in time.
//!
//! An age below `autovacuum_freeze_max_age` is normal. At that age PostgreSQL starts a vacuum against wraparound. The checks judge whether
//! that vacuum succeeds.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_value, evidence, label};
use pharos_plugin::{Label, SkipReason, Snapshot, sql, text};

use crate::freezing::{self, Freezing};
use crate::vacuum::{TABLES, observe_tables, relation_name};

const XID_AGE: &str = "pharos_postgres_xid_age_transactions";
const MULTIXACT_AGE: &str = "pharos_postgres_multixact_age_transactions";
const FREEZE_MAX: &str = "pharos_postgres_autovacuum_freeze_max_age_transactions";
const MULTIXACT_FREEZE_MAX: &str = "pharos_postgres_autovacuum_multixact_freeze_max_age_transactions";
const FAILSAFE_AGE: &str = "pharos_postgres_vacuum_failsafe_age_transactions";
const IN_RECOVERY: &str = "pharos_postgres_in_recovery";

/// Ids that PostgreSQL can distinguish. The server refuses new ids a few million before.
const WRAPAROUND: f64 = 2_147_483_648.0;
/// The default of `vacuum_failsafe_age`: from this age on, vacuum skips all other work in order to finish in time.
const FAILSAFE: f64 = 1.6e9;
/// The multiple of `autovacuum_freeze_max_age` up to which a running vacuum against wraparound prevents an alert.
const AT_WORK_MAX: f64 = 1.5;
/// The oldest tables that have alerts of their own. The age of a datname is that of its oldest table, so more tables add little.
const TABLES_MAX: usize = 20;

pub(crate) struct Counter {
    name: &'static str,
    /// The name in texts, such as `transaction id`.
    what: &'static str,
    age: &'static str,
    freeze_max: &'static str,
    /// The value of `freeze_max` if the setting is unreadable, in ids.
    freeze_max_default: f64,
    /// The column with the age in tables of relations.
    pub column: &'static str,
    /// The SQL expression for the age of a relation in `pg_class`.
    pub relation_age: &'static str,
}

const COUNTERS: [Counter; 2] = [
    Counter {
        name: "xid",
        what: "transaction id",
        age: XID_AGE,
        freeze_max: FREEZE_MAX,
        freeze_max_default: 200e6,
        column: "xid_age",
        relation_age: "age(relfrozenxid)",
    },
    Counter {
        name: "multixact",
        what: "multixact id",
        age: MULTIXACT_AGE,
        freeze_max: MULTIXACT_FREEZE_MAX,
        freeze_max_default: 400e6,
        column: "multixact_age",
        relation_age: "mxid_age(relminmxid)",
    },
];

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "wraparound-risk",
        summary: "transaction ids run out",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &["datname", "counter"],
        needs: &[XID_AGE, MULTIXACT_AGE],
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising(500e6, 1e9, 400e6),
        observe: ages_past_freezing,
        explain: wraparound_risk,
    },
    Check {
        id: "freeze-overdue",
        summary: "ids have passed the age at which they should be frozen, and the age does not fall",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &["datname", "counter"],
        needs: &[XID_AGE, MULTIXACT_AGE, FREEZE_MAX, MULTIXACT_FREEZE_MAX],
        // A vacuum begins within a minute and usually ends within an hour.
        hold_off: Duration::from_hours(1),
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising_warning(1.05, 1.0),
        observe: freezing_overdue_by,
        explain: freeze_overdue,
    },
    Check {
        id: "table-wraparound-risk",
        summary: "a table is not frozen in time",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &["datname", "schema", "relation", "counter"],
        needs: &[TABLES, "tables"],
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising(500e6, 1e9, 400e6),
        observe: table_ages,
        explain: table_wraparound_risk,
    },
];

impl Counter {
    fn from_case(case: &Case) -> &'static Self {
        let name = case.label("counter");
        COUNTERS.iter().find(|counter| counter.name == name).unwrap_or(&COUNTERS[0])
    }

    pub(crate) fn freeze_max(&self, snapshot: &Snapshot) -> f64 {
        snapshot.value(self.freeze_max).ok().flatten().unwrap_or(self.freeze_max_default)
    }

    pub(crate) fn counts_transactions(&self) -> bool {
        self.name == COUNTERS[0].name
    }

    fn label(&self) -> Label {
        label("counter", self.name)
    }
}

/// Observes the age of the datnames that have reached `autovacuum_freeze_max_age`, or the limit for multixacts.
fn ages_past_freezing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut observations = Vec::new();
    for counter in &COUNTERS {
        let freeze_max = counter.freeze_max(snapshot);
        let old = each_value(snapshot, counter.age)?.into_iter().filter(|age| age.value >= freeze_max);
        observations.extend(old.map(|age| Observation::new([age.labels, vec![counter.label()]].concat(), age.value)));
    }
    Ok(observations)
}

/// Observes the age of overdue datnames, as a multiple of the age at which a vacuum must begin. A running vacuum has time up to
/// [`AT_WORK_MAX`]. A standby cannot freeze, so it is not judged.
fn freezing_overdue_by(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    if snapshot.value(IN_RECOVERY).ok().flatten() == Some(1.0) {
        return Ok(Vec::new());
    }
    let at_work = datnames_at_work(snapshot);
    let mut observations = Vec::new();
    for counter in &COUNTERS {
        let freeze_max = counter.freeze_max(snapshot).max(1.0);
        for age in each_value(snapshot, counter.age)? {
            let overdue = age.value / freeze_max;
            let datname = age.labels.iter().find(|label| label.name == "datname").map_or("", |label| &label.value);
            if overdue > 1.0 && (overdue >= AT_WORK_MAX || !at_work.iter().any(|at_work| at_work == datname)) {
                observations.push(Observation::new([age.labels, vec![counter.label()]].concat(), overdue));
            }
        }
    }
    Ok(observations)
}

/// The datnames in which a worker vacuums against wraparound now.
fn datnames_at_work(snapshot: &Snapshot) -> Vec<String> {
    let Some(workers) = snapshot.table("autovacuum_workers") else { return Vec::new() };
    let at_work = (0..workers.row_count()).filter(|row| workers.is("is_wraparound", *row));
    at_work.filter_map(|row| workers.text("datname", row)).collect()
}

fn table_ages(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut observations = Vec::new();
    for counter in &COUNTERS {
        let freeze_max = counter.freeze_max(snapshot);
        let mut old =
            observe_tables(snapshot, counter.column, |table, row| table.number(counter.column, row).filter(|age| *age >= freeze_max));
        let unknown = old.extract_if(.., |age| age.unknown.is_some()).collect::<Vec<_>>();
        old.sort_by(|a, b| b.value.total_cmp(&a.value));
        let younger = old.split_off(old.len().min(TABLES_MAX));
        observations.extend(old.into_iter().map(|age| Observation::new([age.labels, vec![counter.label()]].concat(), age.value)));
        observations.extend(younger.into_iter().map(|age| {
            let reason = SkipReason::PartFailed(format!("{TABLES_MAX} tables are older"));
            Observation::unknown_up_to([age.labels, vec![counter.label()]].concat(), Some(age.value), reason)
        }));
        observations.extend(unknown.into_iter().map(|unknown| Observation {
            // An unread datname is unknown for both counters.
            labels: [unknown.labels, vec![counter.label()]].concat(),
            ..unknown
        }));
    }
    Ok(observations)
}

fn wraparound_risk(case: &Case) -> Explanation {
    let (counter, datname) = (Counter::from_case(case), case.label("datname"));
    let (what, age) = (counter.what, text::count(case.value));
    let used = text::percent(case.value / WRAPAROUND);
    let failsafe = case.related(FAILSAFE_AGE).unwrap_or(FAILSAFE);
    let urgency = if case.value >= failsafe {
        " Vacuum is past its failsafe age: it skips indexes and all throttling, and may still be too late."
    } else {
        ""
    };
    let Freezing { cause, fix, evidence: oldest } = freezing::obstacle_in(case.snapshot, datname, counter);
    Explanation {
        title: format!("oldest {what} in {datname} is {age} old"),
        detail: format!(
            "Database {datname} has not frozen its oldest {what} for {age} transactions, {used} of the id space. Shortly before its end \
             PostgreSQL refuses all writes.{urgency}"
        ),
        cause,
        fix,
        evidence: [vec![evidence("used of the id space", used)], oldest].concat(),
    }
}

fn freeze_overdue(case: &Case) -> Explanation {
    let (counter, datname) = (Counter::from_case(case), case.label("datname"));
    let (what, times) = (counter.what, text::number(case.value));
    let Freezing { cause, fix, evidence: oldest } = freezing::obstacle_in(case.snapshot, datname, counter);
    Explanation {
        title: format!("freezing {what}s of {datname} is overdue"),
        detail: format!(
            "The oldest {what} in {datname} is {times} times as old as {} allows, and no vacuum has frozen it. Users of the database are \
             not affected yet.",
            if counter.counts_transactions() { "autovacuum_freeze_max_age" } else { "autovacuum_multixact_freeze_max_age" }
        ),
        cause,
        fix,
        evidence: oldest,
    }
}

fn table_wraparound_risk(case: &Case) -> Explanation {
    let (counter, datname, name) = (Counter::from_case(case), case.label("datname"), relation_name(case));
    let age = text::count(case.value);
    let (cause, first) = freezing::held_by_horizon(case.snapshot, datname, counter).unwrap_or_else(freezing::too_slow);
    Explanation {
        title: format!("oldest {} in {name} of {datname} is {age} old", counter.what),
        detail: format!(
            "Table {name} of {datname} has not been frozen for {age} transactions. Shortly before {} PostgreSQL refuses all writes.",
            text::count(WRAPAROUND)
        ),
        cause,
        fix: format!("{first}In {datname}: `VACUUM (FREEZE, VERBOSE) {};`.", sql::relation(case.label("schema"), case.label("relation"))),
        evidence: vec![evidence("used of the id space", text::percent(case.value / WRAPAROUND))],
    }
}
