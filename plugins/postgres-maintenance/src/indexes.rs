//! Checks of indexes: invalid, duplicate, redundant and unused indexes.

use std::time::Duration;

use pharos_plugin::checks::{Case, Cells, Check, Explanation, Grading, Observation, Scope, each_row, evidence, unjudged, unvisited};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, Table, sql, text};

use crate::bloat::{INDEX, INDEXES};

const UNUSED: &str = "pharos_database_unused_indexes";

const MIB: f64 = 1_048_576.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "index-invalid",
        summary: "an index is written and never read",
        category: "schema",
        scope: Scope::Shared,
        labels: &INDEX,
        needs: &[INDEXES, "index_facts"],
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| facts(snapshot, "invalid", |_, _| true),
        explain: index_invalid,
    },
    Check {
        id: "index-duplicate",
        summary: "an index is the same as another one",
        category: "schema",
        scope: Scope::Shared,
        labels: &INDEX,
        needs: &[INDEXES, "index_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising_info(MIB, 0.5 * MIB),
        observe: |snapshot| facts(snapshot, "duplicate", may_go),
        explain: index_duplicate,
    },
    Check {
        id: "index-redundant",
        summary: "an index is covered by another index",
        category: "schema",
        scope: Scope::Shared,
        labels: &INDEX,
        needs: &[INDEXES, "index_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising_info(10.0 * MIB, 8.0 * MIB),
        observe: |snapshot| facts(snapshot, "redundant", may_go),
        explain: index_redundant,
    },
];

/// The check that reads all servers of a database. An index may be unused on the primary but used on a standby.
pub(crate) const CHECKS_OF_ALL_MEMBERS: &[Check] = &[Check {
    id: "index-unused",
    summary: "no server uses an index",
    category: "schema",
    scope: Scope::Each,
    labels: &INDEX,
    needs: &[UNUSED, "unused_indexes"],
    hold_off: Duration::ZERO,
    keep_firing: Duration::ZERO,
    grading: Grading::rising_info(10.0 * MIB, 8.0 * MIB),
    observe: unused,
    explain: index_unused,
}];

/// Whether the index of a row may be dropped. The column `guard` has the reason why an index must stay.
fn may_go(table: &Table, row: usize) -> bool {
    table.text("guard", row).is_none()
}

/// The columns with the size of an index. The index of a partitioned table has no size of its own: a drop removes the indexes of all
/// partitions.
const SIZES: [&str; 2] = ["size_bytes", "partitions_size_bytes"];

/// Observes the indexes with this fact for which `counts` is true. The value is the size in bytes.
fn facts(snapshot: &Snapshot, fact: &str, counts: fn(&Table, usize) -> bool) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "indexes");
    all.extend(unjudged(snapshot, "index_facts", fact));
    if let Some(table) = snapshot.table("index_facts") {
        let size = |row: usize| {
            let is_so = table.has("fact", row, fact) && counts(&table, row);
            is_so.then(|| SIZES.iter().find_map(|size| table.number(size, row)).unwrap_or_default())
        };
        all.extend(each_row(&table, &INDEX, size));
    }
    Ok(all)
}

/// Observes the unused indexes of a database. The value is the size in bytes. An index is unknown while a server is unreachable, or while
/// its statistics are too young, as after a reset.
fn unused(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unjudged(snapshot, "unused_indexes", "size_bytes");
    for member in snapshot.members().iter().filter_map(|member| snapshot.member(&member.id)) {
        // Several servers may report the same unread datname.
        let unvisited = unvisited(&member, "indexes").into_iter().filter(|one| !all.iter().any(|known| known.labels == one.labels));
        all.extend(unvisited.collect::<Vec<_>>());
    }
    let Some(table) = snapshot.table("unused_indexes") else { return Ok(all) };
    let number = |column: &str, row: usize| table.number(column, row);
    let is_asked = |row: usize| number("members_asked", row).zip(number("members_total", row)).is_none_or(|(asked, all)| asked >= all);
    // The agent decides from which age on statistics are old enough (`collect.unused_after`).
    let is_known = |row: usize| number("stats_age_seconds", row).is_some() && !table.is("is_too_young", row);
    all.extend(each_row(&table, &INDEX, |row| if is_asked(row) && is_known(row) { number("size_bytes", row) } else { None }));
    for row in (0..table.row_count()).filter(|row| !is_asked(*row) || !is_known(*row)) {
        let reason = if is_asked(row) {
            SkipReason::Unsupported(
                "its scans are counted for less than collect.unused_after, or the start of the count is unknown".to_owned(),
            )
        } else {
            SkipReason::PartFailed("not every server could be read".to_owned())
        };
        all.push(Observation::unknown_up_to(table.labels(&INDEX, row), number("size_bytes", row), reason));
    }
    Ok(all)
}

/// The name of another index that the fact refers to, and the collector's facts as evidence.
fn replacement_and_evidence(case: &Case) -> (Option<String>, Vec<Label>) {
    let Some(cells) = case.cells("index_facts") else { return (None, Vec::new()) };
    let why = cells.text("evidence").map(|why| evidence("why", why));
    let lines = [
        why,
        cells.line("size", "size_bytes", text::bytes),
        cells.line("size in all partitions", "partitions_size_bytes", text::bytes),
        cells.line("scans", "scans", text::count),
    ];
    (cells.text("other"), lines.into_iter().flatten().collect())
}

/// The statement that drops an index. The index of a partitioned table cannot be dropped concurrently.
fn drop_statement(case: &Case) -> String {
    let (datname, name) = (case.label("datname"), sql::relation(case.label("schema"), case.label("index")));
    if case.cells("index_facts").is_some_and(|cells| cells.number("size_bytes").is_none()) {
        return format!("In {datname}, where all partitions may be locked for a moment: `SET lock_timeout = '2s'; DROP INDEX {name};`");
    }
    format!("In {datname}: `DROP INDEX CONCURRENTLY {name};`")
}

fn index_invalid(case: &Case) -> Explanation {
    let (datname, index) = (case.label("datname"), case.label("index"));
    let (cause, fix) = cause_and_fix_of_invalid(case);
    Explanation {
        title: format!("index {index} of {datname} is invalid"),
        detail: format!("No query may use index {index} on {} of {datname}, while writes may keep it up to date.", case.label("relation")),
        cause,
        fix: format!("In {datname}{fix}"),
        evidence: replacement_and_evidence(case).1,
    }
}

fn cause_and_fix_of_invalid(case: &Case) -> (String, String) {
    let cells = case.cells("index_facts");
    if let Some(dropper) = cells.as_ref().and_then(Dropper::read) {
        return dropper.cause_and_fix();
    }
    let cell = |column: &str| cells.as_ref().and_then(|cells| cells.text(column));
    let schema = cell("index_schema").unwrap_or_else(|| case.label("schema").to_owned());
    let name = sql::relation(&schema, case.label("index"));
    let is_true = |column: &str| cells.as_ref().is_some_and(|cells| cells.number(column) == Some(1.0));
    let reindex =
        if is_true("is_exclusion") { format!("`REINDEX INDEX {name};`") } else { format!("`REINDEX INDEX CONCURRENTLY {name};`") };
    let drop = format!("`DROP INDEX CONCURRENTLY {name};`");
    const FAILED: &str = "`CREATE INDEX CONCURRENTLY` or `REINDEX CONCURRENTLY` failed or was cancelled and left it behind.";
    if let Some(needed_by) = cell("guard") {
        return (FAILED.to_owned(), format!(": {reindex}. It cannot be dropped: {needed_by}."));
    }
    if let Some(other) = cell("other") {
        return (
            format!("`REINDEX CONCURRENTLY` of {other} failed or was cancelled and left this copy behind."),
            format!(": {drop}. {other} itself stays."),
        );
    }
    match cell("key_columns") {
        Some(keys) => {
            let relation = sql::relation(case.label("schema"), case.label("relation"));
            let condition = cell("duplicates_where").map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
            (
                format!("{FAILED} It is unique: the usual reason is that rows have the same key."),
                format!(
                    ", as the owner of the table, see which keys occur more than once: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT \
                     {keys}, count(*) FROM {relation}{condition} GROUP BY {keys} HAVING count(*) > 1 LIMIT 20; COMMIT;`. Once there is \
                     none: {reindex}. If the index is not needed: {drop}."
                ),
            )
        }
        // The key calls functions of other users. A search for duplicates would run them with the rights of the person who searches.
        None if is_true("is_unique") => (
            format!("{FAILED} It is unique: the usual reason is that rows have the same key."),
            format!(
                ", as the owner of the table and as no superuser, look for rows with the same key: the key calls functions that users \
                 created. Once there are none: {reindex}. If the index is not needed: {drop}."
            ),
        ),
        None => (FAILED.to_owned(), format!(": {reindex} if it is wanted, else {drop}.")),
    }
}

/// A session that is dropping the index and has not finished.
struct Dropper {
    pid: i64,
    user: Option<String>,
    started_at: Option<f64>,
    waits: bool,
}

impl Dropper {
    fn read(cells: &Cells) -> Option<Self> {
        Some(Self {
            pid: cells.number("dropper_pid")? as i64,
            user: cells.text("dropper_user"),
            started_at: cells.number("dropper_start"),
            waits: cells.number("dropper_waits") == Some(1.0),
        })
    }

    fn cause_and_fix(&self) -> (String, String) {
        let Self { pid, user, started_at, waits } = self;
        let whose = user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
        let blockers = format!(
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, state, xact_start FROM pg_stat_activity WHERE pid = ANY \
             (pg_blocking_pids({pid})); COMMIT;` names who it waits for. Let them finish, or end who does nothing: `SELECT \
             pg_catalog.pg_terminate_backend(<pid>);`."
        );
        if *waits {
            let cause = format!(
                "Process {pid}{whose} drops or changes the index, and waits: DROP INDEX CONCURRENTLY waits for every older transaction \
                 that may still use the index."
            );
            return (cause, format!(": {blockers}"));
        }
        (
            format!("Process {pid}{whose} drops or changes the index in a transaction that stays open."),
            format!(": let it finish. If it waits, {blockers} If it does nothing: `{}`.", sql::terminate(*pid, *started_at)),
        )
    }
}

fn index_duplicate(case: &Case) -> Explanation {
    let (datname, index) = (case.label("datname"), case.label("index"));
    let (other, evidence) = replacement_and_evidence(case);
    let other = other.unwrap_or_else(|| "another one".to_owned());
    Explanation {
        title: format!("index {index} of {datname} is the same as {other}"),
        detail: format!(
            "Index {index} on {} has the same columns, order and condition as {other}. Every write pays for both.",
            case.label("relation")
        ),
        cause: "It was created twice, or once by hand and once by a constraint.".to_owned(),
        fix: format!("{}.", drop_statement(case)),
        evidence,
    }
}

fn index_redundant(case: &Case) -> Explanation {
    let (datname, index) = (case.label("datname"), case.label("index"));
    let (other, evidence) = replacement_and_evidence(case);
    let other = other.unwrap_or_else(|| "another one".to_owned());
    Explanation {
        title: format!("index {index} of {datname} is covered by {other}"),
        detail: format!(
            "Index {other} on {} begins with all columns of {index}, so it answers the same queries. {index} is smaller, and costs every \
             write.",
            case.label("relation")
        ),
        cause: "An index with more columns was added later and the shorter one stayed.".to_owned(),
        fix: format!("{}, unless queries that must be fast read {index} alone.", drop_statement(case)),
        evidence,
    }
}

fn index_unused(case: &Case) -> Explanation {
    let (datname, index) = (case.label("datname"), case.label("index"));
    let cells = case.cells("unused_indexes");
    let cell = |name: &str, column: &str, show: fn(f64) -> String| cells.as_ref().and_then(|cells| cells.line(name, column, show));
    let size = text::bytes(case.value);
    Explanation {
        title: format!("index {index} of {datname} is not used by any server"),
        detail: format!(
            "Index {index} on {} of {datname} takes {size} and was not scanned on any server since its statistics began. Every write pays for \
             it.",
            case.label("relation")
        ),
        cause: "The query that needed it is gone, or never used it.".to_owned(),
        fix: format!(
            "Keep its definition: in {datname}, `SELECT pg_catalog.pg_get_indexdef({}::pg_catalog.regclass);`. {}, if no yearly report needs it.",
            sql::relation_text(case.label("schema"), index),
            drop_statement(case)
        ),
        evidence: [
            cell("scans", "scans", text::count),
            cell("servers asked", "members_asked", text::count),
            cell("statistics since", "stats_age_seconds", |seconds| format!("{} ago", text::duration(seconds))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}
