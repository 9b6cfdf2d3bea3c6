//! Checks of settings and extensions: risks to data, changes, settings that need a restart, and outdated extensions.

use std::collections::BTreeSet;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_increase, each_value, each_zero, evidence};
use pharos_plugin::{Label, Row, Severity, SkipReason, Snapshot, civil_date, sql, text};

const SETTING: &str = "pharos_postgres_setting";
const PENDING_RESTART: &str = "pharos_postgres_settings_pending_restart";
const CHANGES: &str = "pharos_postgres_setting_changes_total";
const AUTOVACUUM: &str = "pharos_postgres_autovacuum_enabled";
const TRACK_COUNTS: &str = "pharos_postgres_track_counts";
const EXTENSIONS_OUTDATED: &str = "pharos_postgres_extensions_outdated";

/// Names that an alert lists. More names do not help a person to decide.
const NAMES_MAX: usize = 5;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "fsync-off",
        summary: "a crash may destroy the cluster",
        category: "storage",
        scope: Scope::Each,
        labels: &[],
        needs: &[SETTING],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| is_off(snapshot, "fsync"),
        explain: fsync_off,
    },
    Check {
        id: "full-page-writes-off",
        summary: "a crash may leave half-written pages",
        category: "storage",
        scope: Scope::Primary,
        labels: &[],
        needs: &[SETTING],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| is_off(snapshot, "full_page_writes"),
        explain: full_page_writes_off,
    },
    Check {
        id: "autovacuum-off",
        summary: "autovacuum is off on the server",
        category: "maintenance",
        scope: Scope::Primary,
        labels: &[],
        needs: &[AUTOVACUUM],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, AUTOVACUUM),
        explain: autovacuum_off,
    },
    Check {
        id: "track-counts-off",
        summary: "changed rows are not counted, so autovacuum finds no work",
        category: "maintenance",
        scope: Scope::Primary,
        labels: &[],
        needs: &[TRACK_COUNTS],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, TRACK_COUNTS),
        explain: track_counts_off,
    },
    Check {
        id: "settings-pending-restart",
        summary: "settings wait for a restart",
        category: "settings",
        scope: Scope::Each,
        labels: &[],
        needs: &[PENDING_RESTART],
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::rising_info(1.0, 0.0),
        observe: |snapshot| each_value(snapshot, PENDING_RESTART),
        explain: pending_restart,
    },
    Check {
        id: "settings-changed",
        summary: "settings have changed",
        category: "settings",
        scope: Scope::Each,
        labels: &[],
        needs: &[CHANGES],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_hours(1),
        grading: Grading::rising_info(1.0, 0.0),
        observe: |snapshot| each_increase(snapshot, CHANGES),
        explain: settings_changed,
    },
    Check {
        id: "extensions-outdated",
        summary: "extensions are older than the installed files",
        category: "settings",
        scope: Scope::Shared,
        labels: &["datname"],
        needs: &[EXTENSIONS_OUTDATED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising_info(1.0, 0.0),
        observe: outdated,
        explain: extensions_outdated,
    },
];

fn is_off(snapshot: &Snapshot, name: &str) -> Result<Vec<Observation>, SkipReason> {
    let settings = snapshot.values(SETTING)?;
    match settings.rows().find(|row| row.label("setting") == Some(name)).map(Row::value) {
        None => Err(SkipReason::NoData),
        Some(0.0) => Ok(vec![Observation::new(Vec::new(), 0.0)]),
        Some(_) => Ok(Vec::new()),
    }
}

fn outdated(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = pharos_plugin::checks::unvisited(snapshot, "extensions");
    all.extend(each_value(snapshot, EXTENSIONS_OUTDATED)?);
    Ok(all)
}

fn fsync_off(_: &Case) -> Explanation {
    Explanation {
        title: "fsync is off".to_owned(),
        detail: "PostgreSQL does not wait until its writes are on disk. After a crash of the host the cluster may not start again."
            .to_owned(),
        cause: "It was turned off to load data fast, and not turned on again.".to_owned(),
        fix: "`ALTER SYSTEM SET fsync = on; SELECT pg_catalog.pg_reload_conf();`, then `CHECKPOINT;`.".to_owned(),
        evidence: Vec::new(),
    }
}

fn full_page_writes_off(_: &Case) -> Explanation {
    Explanation {
        title: "full_page_writes is off".to_owned(),
        detail: "Pages that a crash leaves half-written cannot be repaired from WAL.".to_owned(),
        cause: "It was turned off to write less WAL. That is safe only if the file system writes pages as a whole, as ZFS does.".to_owned(),
        fix: "`ALTER SYSTEM SET full_page_writes = on; SELECT pg_catalog.pg_reload_conf();`. For less WAL: `ALTER SYSTEM SET \
              wal_compression = on;` and a larger max_wal_size."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn autovacuum_off(_: &Case) -> Explanation {
    Explanation {
        title: "autovacuum is off".to_owned(),
        detail: "Dead rows are not cleaned up and statistics are not renewed, so tables bloat and plans go wrong. PostgreSQL starts it \
                 only where transaction ids run out."
            .to_owned(),
        cause: "It was turned off for a load of data or during an incident, and not turned on again.".to_owned(),
        fix: "`ALTER SYSTEM SET autovacuum = on; SELECT pg_catalog.pg_reload_conf();`. If it disturbs other work, slow it down instead: \
              autovacuum_vacuum_cost_delay."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn track_counts_off(_: &Case) -> Explanation {
    Explanation {
        title: "track_counts is off".to_owned(),
        detail: "Changed rows are not counted, so autovacuum finds no work in any table.".to_owned(),
        cause: "It was turned off to save the cost of counting, which is small.".to_owned(),
        fix: "`ALTER SYSTEM SET track_counts = on; SELECT pg_catalog.pg_reload_conf();`.".to_owned(),
        evidence: Vec::new(),
    }
}

fn pending_restart(case: &Case) -> Explanation {
    let settings = text::counted(case.value, "setting waits", "settings wait");
    Explanation {
        title: format!("{settings} for a restart"),
        detail: format!("{settings} for a restart of the server: the values in the files are not yet in force."),
        cause: "A setting that the server reads only at its start was changed.".to_owned(),
        fix: "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT name, setting FROM pg_settings WHERE pending_restart; COMMIT;`, then \
              restart at a quiet hour, or undo the change."
            .to_owned(),
        evidence: pending(case.snapshot),
    }
}

fn pending(snapshot: &Snapshot) -> Vec<Label> {
    let Some(table) = snapshot.table("settings") else { return Vec::new() };
    let rows = (0..table.row_count()).filter(|row| table.is("pending_restart", *row)).take(NAMES_MAX);
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_default();
    rows.map(|row| evidence(&cell("setting", row), format!("in force: {}", cell("value", row)))).collect()
}

fn settings_changed(case: &Case) -> Explanation {
    let settings = text::counted(case.value, "setting has", "settings have");
    let changes = changes(case.snapshot);
    let mut names: Vec<_> = changes.iter().take(case.value as usize).map(|change| change.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    let title = if names.is_empty() { format!("{settings} changed") } else { format!("changed: {}", names.join(", ")) };
    Explanation {
        title,
        detail: format!("Since the previous collection {settings} another value."),
        cause: "`ALTER SYSTEM` or an edit of postgresql.conf, then a reload or a restart.".to_owned(),
        fix:
            "If the change was not planned: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT name, setting, sourcefile, sourceline FROM \
             pg_settings WHERE source = 'configuration file' ORDER BY name; COMMIT;` shows where each value comes from; `ALTER SYSTEM \
             RESET` removes a value that `ALTER SYSTEM` set."
                .to_owned(),
        evidence: changes,
    }
}

/// The latest changes of settings as evidence, newest first.
fn changes(snapshot: &Snapshot) -> Vec<Label> {
    let Some(table) = snapshot.table("setting_changes") else { return Vec::new() };
    let mut rows: Vec<_> = (0..table.row_count()).collect();
    let seen_at = |row: usize| table.number("seen_at_ms", row).unwrap_or_default();
    rows.sort_by(|a, b| seen_at(*b).total_cmp(&seen_at(*a)));
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_else(|| "nothing".to_owned());
    let line = |row: usize| {
        let when = civil_date::readable(seen_at(row).max(0.0) as u64);
        evidence(&cell("setting", row), format!("{} → {}, seen {when}", cell("before", row), cell("after", row)))
    };
    rows.into_iter().take(NAMES_MAX).map(line).collect()
}

fn extensions_outdated(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let extensions = text::counted(case.value, "extension", "extensions");
    let updates = updates(case.snapshot, datname);
    let statements: Vec<_> = updates.iter().map(|update| format!("ALTER EXTENSION {} UPDATE;", sql::identifier(&update.name))).collect();
    Explanation {
        title: format!("{extensions} of {datname} can be updated"),
        detail: format!("The server has newer files of {extensions} than {datname} uses, so its functions and views are the old ones."),
        cause: "Packages or the server were upgraded, which does not update the extensions in the databases.".to_owned(),
        fix: if statements.is_empty() {
            format!(
                "In {datname}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT name, installed_version, default_version FROM \
                 pg_available_extensions WHERE installed_version <> default_version; COMMIT;`."
            )
        } else {
            format!("In {datname}, after reading its release notes: `{}`.", statements.join(" "))
        },
        evidence: updates,
    }
}

fn updates(snapshot: &Snapshot, datname: &str) -> Vec<Label> {
    let Some(table) = snapshot.table("extensions") else { return Vec::new() };
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_default();
    let rows = (0..table.row_count()).filter(|row| {
        let available = table.text("available", *row);
        table.has("datname", *row, datname) && available.is_some() && available != table.text("installed", *row)
    });
    rows.take(NAMES_MAX)
        .map(|row| evidence(&cell("extension", row), format!("{} → {}", cell("installed", row), cell("available", row))))
        .collect()
}
