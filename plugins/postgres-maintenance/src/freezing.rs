//! The obstacle to the freezing of a datname: the holder of the horizon, or else the relation with the oldest ids.
//!
//! Only an obstacle as old as the alert counts. The end of a younger session, or the freezing of a younger table, changes nothing.

use pharos_plugin::checks::evidence;
use pharos_plugin::{Label, Snapshot, Table, sql, text};

use crate::horizon::oldest_in;
use crate::wraparound::Counter;

/// Relations that an alert lists. Younger relations matter only after these are frozen.
const NAMED_MAX: usize = 3;
/// The age in transactions from which on a holder of the horizon may block the freezing of multixacts. The horizon has no age in
/// multixacts, so this is a rough limit.
const HOLDER_AGE_MIN: f64 = 1e6;

pub(crate) struct Freezing {
    pub cause: String,
    pub fix: String,
    /// The oldest relations, each with its age.
    pub evidence: Vec<Label>,
}

pub(crate) fn obstacle_in(snapshot: &Snapshot, datname: &str, counter: &Counter) -> Freezing {
    let oldest = oldest(snapshot, datname, counter);
    let evidence = oldest.iter().map(|old| evidence(&format!("{}.{}", old.schema, old.relation), text::count(old.age))).collect();
    let (cause, fix) = match (held_by_horizon(snapshot, datname, counter), oldest.first()) {
        (Some((cause, first)), Some(old)) => (cause, format!("{first}{}", old.free(datname))),
        (Some((cause, first)), None) => (cause, format!("{first}{}", find(datname, counter))),
        (None, Some(old)) => (old.cause(), old.free(datname)),
        (None, None) => (too_slow().0, find(datname, counter)),
    };
    Freezing { cause, fix, evidence }
}

/// The cause and the first step of the fix, if a holder of the horizon blocks freezing. None if the holder is younger than the ids that
/// vacuum has to freeze.
pub(crate) fn held_by_horizon(snapshot: &Snapshot, datname: &str, counter: &Counter) -> Option<(String, String)> {
    let freeze_max = counter.freeze_max(snapshot);
    let age_min = if counter.counts_transactions() { freeze_max } else { freeze_max.min(HOLDER_AGE_MIN) };
    let holder = oldest_in(snapshot, datname).filter(|holder| holder.age >= age_min)?;
    let cause = format!(
        "Vacuum cannot freeze rows that {} may still see, from {} transactions ago. {}",
        holder.title(),
        text::count(holder.age),
        holder.cause()
    );
    Some((cause, format!("First: {} ", holder.fix())))
}

/// The cause without an obstacle. The first step of the fix is empty.
pub(crate) fn too_slow() -> (String, String) {
    const CAUSE: &str = "Autovacuum cannot finish freezing: it is too slow for the writes, or is cancelled again and again by statements that \
                         lock the table.";
    (CAUSE.to_owned(), String::new())
}

/// A relation whose age has reached `autovacuum_freeze_max_age`, or the limit for multixacts.
struct Old {
    schema: String,
    relation: String,
    age: f64,
    kind: Kind,
}

enum Kind {
    /// A table that any vacuum can freeze.
    Table,
    /// A temporary table of a session. Only this session can vacuum it.
    Temporary { pid: i64, user: Option<String>, started_at: Option<f64> },
    /// A temporary table of an unknown session.
    TemporaryOfUnknownSession,
    /// A temporary table of a session that ended.
    Orphaned,
}

fn oldest(snapshot: &Snapshot, datname: &str, counter: &Counter) -> Vec<Old> {
    let freeze_max = counter.freeze_max(snapshot);
    // An agent without the table `oldest_relations` collects no temporary tables. The table `tables` has all others.
    let Some(table) = snapshot.table("oldest_relations").or_else(|| snapshot.table("tables")) else { return Vec::new() };
    let in_datname = (0..table.row_count()).filter(|row| table.has("datname", *row, datname));
    let aged = in_datname.filter_map(|row| Some((table.number(counter.column, row)?, row)));
    let mut rows: Vec<_> = aged.filter(|(age, _)| *age >= freeze_max).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().take(NAMED_MAX).map(|(age, row)| Old::read(&table, row, age)).collect()
}

impl Old {
    fn read(table: &Table, row: usize, age: f64) -> Self {
        let cell = |column: &str| table.text(column, row).unwrap_or_default();
        let kind = match table.integers("pid").get(row).copied().flatten() {
            _ if !table.has("kind", row, "temporary") => Kind::Table,
            Some(pid) => Kind::Temporary { pid, user: table.text("user", row), started_at: table.number("backend_start", row) },
            None if table.is("is_orphaned", row) => Kind::Orphaned,
            None => Kind::TemporaryOfUnknownSession,
        };
        Self { schema: cell("schema"), relation: cell("relation"), age, kind }
    }

    fn cause(&self) -> String {
        let name = format!("Temporary table {}.{}", self.schema, self.relation);
        match &self.kind {
            Kind::Table => too_slow().0,
            Kind::Temporary { pid, user, .. } => {
                let whose = user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
                format!("{name} belongs to process {pid}{whose}, and only that session can vacuum and freeze it.")
            }
            Kind::TemporaryOfUnknownSession => {
                format!("{name} belongs to a session that has been open for a long time, and only that session can vacuum and freeze it.")
            }
            Kind::Orphaned => format!("{name} was left behind by a session that crashed, and no vacuum can freeze it."),
        }
    }

    /// The step that removes this relation from the obstacles. The age of the datname falls at the next vacuum of any of its tables.
    fn free(&self, datname: &str) -> String {
        let name = sql::relation(&self.schema, &self.relation);
        match &self.kind {
            Kind::Table => format!("In {datname}, beginning with the oldest table: `VACUUM (FREEZE, VERBOSE) {name};`."),
            Kind::Temporary { pid, started_at, .. } => format!(
                "Let its application drop {name}, or end the session: `{}`. The next vacuum in {datname} shows the new age.",
                sql::terminate(*pid, *started_at)
            ),
            Kind::TemporaryOfUnknownSession => format!(
                "Close the session that created {name}; it is one of the oldest: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, \
                 usename, application_name, backend_start FROM pg_stat_activity WHERE datname = {} ORDER BY backend_start; COMMIT;`. The \
                 next vacuum in {datname} shows the new age.",
                sql::literal(datname)
            ),
            Kind::Orphaned => format!("As superuser, in {datname}: `DROP TABLE {name};`. The next vacuum there shows the new age."),
        }
    }
}

fn find(datname: &str, counter: &Counter) -> String {
    let relation_age = counter.relation_age;
    let open = if datname == "template0" {
        "Open it, `ALTER DATABASE template0 ALLOW_CONNECTIONS true;`, and close it again afterwards. "
    } else {
        ""
    };
    format!(
        "{open}In {datname}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT oid::regclass, relkind, {relation_age} FROM pg_class WHERE \
         relkind IN ('r', 'm', 't') ORDER BY 3 DESC LIMIT 10; COMMIT;` shows the oldest tables. Only its session can drop a table of \
         pg_temp; for the others run `VACUUM (FREEZE, VERBOSE) <table>;`."
    )
}
