//! Check of the horizon: the oldest snapshot that still needs dead rows, so that vacuum cannot remove them.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Scope, each_value, evidence};
use pharos_plugin::{Label, Snapshot, Table, sql, text};

const HORIZON_AGE: &str = "pharos_postgres_horizon_age_transactions";

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "vacuum-held-back",
    summary: "an old snapshot keeps vacuum from cleaning",
    category: "maintenance",
    scope: Scope::Primary,
    labels: &["holder"],
    needs: &[HORIZON_AGE],
    hold_off: Duration::from_mins(10),
    keep_firing: Duration::ZERO,
    grading: Grading::rising(10e6, 100e6, 5e6),
    observe: |snapshot| each_value(snapshot, HORIZON_AGE),
    explain: vacuum_held_back,
}];

/// A holder of the horizon: a session, prepared transaction, replication slot or standby with an old snapshot.
pub(crate) struct Holder {
    kind: String,
    name: Option<String>,
    pid: Option<i64>,
    datname: Option<String>,
    user: Option<String>,
    application: Option<String>,
    state: Option<String>,
    pub age: f64,
    pub seconds: Option<f64>,
    /// The time at which the session began, in seconds since 1970.
    started_at: Option<f64>,
}

impl Holder {
    fn read(table: &Table, row: usize) -> Self {
        let cell = |column: &str| table.text(column, row).filter(|text| !text.is_empty());
        Self {
            kind: cell("holder").unwrap_or_default(),
            name: cell("name"),
            pid: table.integers("pid").get(row).copied().flatten(),
            datname: cell("datname"),
            user: cell("user"),
            application: cell("application"),
            state: cell("state"),
            age: table.number("age_transactions", row).unwrap_or_default(),
            seconds: table.number("seconds", row),
            started_at: table.number("backend_start", row),
        }
    }

    /// A holder of which only the kind is known.
    fn unnamed(kind: &str, age: f64) -> Self {
        Self {
            kind: kind.to_owned(),
            name: None,
            pid: None,
            datname: None,
            user: None,
            application: None,
            state: None,
            age,
            seconds: None,
            started_at: None,
        }
    }

    /// The name in texts: `process 4711 (app)`, `prepared transaction x`.
    pub(crate) fn title(&self) -> String {
        let name = |what: &str| self.name.as_ref().map_or_else(|| format!("a {what}"), |name| format!("{what} {name}"));
        match self.kind.as_str() {
            "slot" | "slot_catalog" => name("replication slot"),
            "prepared" => name("prepared transaction"),
            "standby" => name("standby"),
            _ => match (self.pid, self.name.as_ref().or(self.user.as_ref())) {
                (Some(pid), Some(whose)) => format!("process {pid} ({whose})"),
                (Some(pid), None) => format!("process {pid}"),
                _ => "a session".to_owned(),
            },
        }
    }

    fn facts(&self) -> String {
        let facts = [
            Some(format!("{} transactions", text::count(self.age))),
            self.seconds.map(|seconds| format!("for {}", text::duration(seconds))),
            self.state.clone(),
            self.application.as_ref().map(|application| format!("application {application}")),
            self.datname.as_ref().map(|datname| format!("in {datname}")),
        ];
        facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether the holder blocks vacuum in a datname. A session blocks only its own datname. A slot, a standby and an unknown kind block
    /// all datnames.
    fn concerns(&self, datname: &str) -> bool {
        let is_local = matches!(self.kind.as_str(), "backend" | "prepared" | "slot_catalog");
        !is_local || self.datname.as_deref().is_none_or(|own| own == datname)
    }

    pub(crate) fn cause(&self) -> &'static str {
        match self.kind.as_str() {
            "slot" => "The consumer of the slot holds an old snapshot, or is gone and left its slot behind.",
            "slot_catalog" => "A logical slot whose consumer is slow or gone keeps old rows of the system catalogue.",
            "prepared" => "The transaction manager that prepared it no longer runs or has lost it.",
            "standby" => "A long query on a standby with hot_standby_feedback.",
            _ => "A transaction left open, or a very long query.",
        }
    }

    /// The statement that releases the horizon, and a setting that prevents a repetition.
    pub(crate) fn fix(&self) -> String {
        let name = self.name.as_deref();
        match self.kind.as_str() {
            "slot" | "slot_catalog" => {
                let drop = name.map_or_else(
                    || {
                        "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT slot_name, active, age(xmin), age(catalog_xmin) FROM \
                         pg_replication_slots ORDER BY 3 DESC NULLS LAST; COMMIT;` names it"
                            .to_owned()
                    },
                    |slot| format!("`{}`", sql::drop_slot(slot)),
                );
                format!("Start the consumer or let it catch up; if it is gone for good: {drop}.")
            }
            "prepared" => {
                let end = name.map_or_else(
                    || {
                        "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT gid, prepared, owner, database FROM pg_prepared_xacts ORDER \
                         BY age(transaction) DESC; COMMIT;` names it"
                            .to_owned()
                    },
                    |gid| format!("`ROLLBACK PREPARED {};`", sql::literal(gid)),
                );
                let place = self.datname.as_ref().map(|datname| format!("in {datname}, ")).unwrap_or_default();
                format!("Ask the transaction manager how it ended; if it has no record of it: {place}{end}.")
            }
            "standby" => "On the standby: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, state, age(backend_xmin) FROM \
                          pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY 4 DESC LIMIT 5; COMMIT;` and end the first with \
                          `SELECT pg_catalog.pg_terminate_backend(<pid>);`. If reports there may be cancelled instead: `ALTER SYSTEM SET \
                          hot_standby_feedback = off; SELECT pg_catalog.pg_reload_conf();`."
                .to_owned(),
            // A process of the server itself has a name but no user.
            _ if self.user.is_none() && name.is_some() => match self.pid {
                Some(pid) => format!("Let it finish; if it hangs, `{}`.", sql::terminate(pid, self.started_at)),
                None => "Let it finish.".to_owned(),
            },
            _ => {
                let end = self.pid.map_or_else(
                    || {
                        "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, application_name, state, age(backend_xmin) FROM \
                         pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY 5 DESC LIMIT 5; COMMIT;` and end the first with `SELECT \
                         pg_catalog.pg_terminate_backend(<pid>);`"
                            .to_owned()
                    },
                    |pid| format!("`{}`", sql::terminate(pid, self.started_at)),
                );
                let role = self.user.as_deref().map_or_else(|| "<role>".to_owned(), sql::identifier);
                format!("{end}. To prevent a repetition: `ALTER ROLE {role} SET idle_in_transaction_session_timeout = '5min';`.")
            }
        }
    }
}

/// The holders of the horizon, oldest first. Empty if the snapshot has no table `horizon`.
pub(crate) fn holders(snapshot: &Snapshot) -> Vec<Holder> {
    let Some(table) = snapshot.table("horizon") else { return Vec::new() };
    let mut holders: Vec<_> = (0..table.row_count()).map(|row| Holder::read(&table, row)).collect();
    holders.sort_by(|a, b| b.age.total_cmp(&a.age));
    holders
}

/// The oldest holder that blocks vacuum in a datname.
pub(crate) fn oldest_in(snapshot: &Snapshot, datname: &str) -> Option<Holder> {
    holders(snapshot).into_iter().find(|holder| holder.concerns(datname))
}

fn vacuum_held_back(case: &Case) -> Explanation {
    let (kind, age) = (case.label("holder"), text::count(case.value));
    let holders: Vec<_> = holders(case.snapshot).into_iter().filter(|holder| holder.kind == kind).collect();
    let unnamed = Holder::unnamed(kind, case.value);
    let oldest = holders.first().unwrap_or(&unnamed);
    Explanation {
        title: format!("{} holds vacuum back by {age} transactions", oldest.title()),
        detail: format!(
            "Rows that {} may still see are from {age} transactions ago. Rows deleted since then stay, so tables and indexes bloat, and \
             transaction ids cannot be frozen.",
            oldest.title()
        ),
        cause: oldest.cause().to_owned(),
        fix: oldest.fix(),
        evidence: lines(&holders),
    }
}

pub(crate) fn lines(holders: &[Holder]) -> Vec<Label> {
    holders.iter().take(3).map(|holder| evidence(&holder.title(), holder.facts())).collect()
}
