//! The scope of a check: the servers that it judges, and the owner of its alerts (server or database).
//!
//! A standby is a copy. A problem of a table on the primary exists on every standby, and only the primary can solve it. Such a problem is
//! a single alert of the database, which outlives a failover. An alert for every server would repeat it.

use std::rc::Rc;

use crate::{SkipReason, Snapshot};

pub(super) const DATABASE: &str = "database";
const PRIMARY_INFO: &str = "pharos_database_primary_info";
const IN_RECOVERY: &str = "pharos_postgres_in_recovery";

/// The servers that a check judges, and the owner of its alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Judges every subject by itself, whatever its role.
    Each,
    /// Judges a server while it is the primary. A standby does not do this work, or only follows its primary.
    Primary,
    /// Judges a server while it is a standby.
    Standby,
    /// Judges facts that the servers of a database share. The facts are read from the primary, and the alert belongs to the database.
    Shared,
}

/// The role of a server in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Standby,
}

impl Scope {
    /// The kind of subject that owns the alerts of a check. `family` is the subject kind of the check's family.
    pub fn subject_kind(self, family: &'static str) -> &'static str {
        match self {
            Self::Shared => DATABASE,
            Self::Each | Self::Primary | Self::Standby => family,
        }
    }

    /// The text for the column "judged" in the README of a plugin.
    pub fn as_str(self, family: &str) -> &'static str {
        match (self, family) {
            (Self::Each, DATABASE) => "all servers together",
            (Self::Each, "agent") => "the agent",
            (Self::Each, _) => "each server",
            (Self::Primary, _) => "the primary",
            (Self::Standby, _) => "each standby",
            (Self::Shared, _) => "the database, as its primary shows it",
        }
    }

    /// Whether a check of this scope judges a subject now. Fails for `Primary` and `Standby` if the server does not report its role.
    pub fn applies_to(self, snapshot: &Snapshot) -> Result<bool, SkipReason> {
        match self {
            Self::Each | Self::Shared => Ok(true),
            Self::Primary => Ok(role(snapshot)? == Role::Primary),
            Self::Standby => Ok(role(snapshot)? == Role::Standby),
        }
    }
}

fn role(snapshot: &Snapshot) -> Result<Role, SkipReason> {
    match snapshot.value(IN_RECOVERY)? {
        Some(0.0) => Ok(Role::Primary),
        Some(_) => Ok(Role::Standby),
        None => Err(SkipReason::NoData),
    }
}

/// The snapshot of a database's primary. Fails between two primaries, and shared alerts then stay as they are.
pub(super) fn primary(database: &Snapshot) -> Result<Rc<Snapshot>, SkipReason> {
    let known = database.values(PRIMARY_INFO)?;
    let unknown = || SkipReason::PartFailed("no server of the database is known to be its primary".to_owned());
    let primary = known.rows().find_map(|row| row.label("member")).ok_or_else(unknown)?;
    database.member(primary).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use crate::checks::{Check, Explanation, Family, Grading, Settings, Suite, each_value};
    use crate::testing::{Facts, render};
    use crate::{Severity, settings};

    use super::*;

    const fn check_of(id: &'static str, scope: Scope) -> Check {
        Check {
            id,
            summary: "a test",
            category: "tests",
            scope,
            labels: &["datname"],
            needs: &["pharos_postgres_tables"],
            hold_off: Duration::ZERO,
            keep_firing: Duration::ZERO,
            grading: Grading::Fact(Severity::Warning),
            observe: |snapshot| each_value(snapshot, "pharos_postgres_tables"),
            explain: |case| Explanation { title: format!("{} on {}", case.value, case.snapshot.subject().id), ..Explanation::default() },
        }
    }

    static CHECKS: &[Check] = &[
        check_of("each", Scope::Each),
        check_of("primary", Scope::Primary),
        check_of("standby", Scope::Standby),
        check_of("shared", Scope::Shared),
    ];

    fn server(in_recovery: &str, tables: u32) -> String {
        format!(
            "server present\npharos_postgres_in_recovery{in_recovery}\ntables present\npharos_postgres_tables{{datname=\"app\"}} {tables}"
        )
    }

    fn suite(settings: &str) -> Suite {
        let settings: Settings = settings::parse(settings).expect("well-formed");
        Suite::new(&[Family::new("postgres", CHECKS)], &settings).expect("the settings are right")
    }

    #[track_caller]
    fn check(facts: &Facts, expected: Expect) {
        expected.assert_eq(&render(&suite("{}").evaluate(&facts.snapshot())));
    }

    #[test]
    fn a_server_is_judged_by_its_role() {
        check(
            &Facts::postgres(&server(" 0", 3)),
            expect![[r#"
                each{datname=app}: raise warning: 3 on db1:5432
                primary{datname=app}: raise warning: 3 on db1:5432
            "#]],
        );
        check(
            &Facts::postgres(&server(" 1", 3)),
            expect![[r#"
                each{datname=app}: raise warning: 3 on db1:5432
                standby{datname=app}: raise warning: 3 on db1:5432
            "#]],
        );
    }

    #[test]
    fn a_server_without_a_reported_role_is_judged_as_none() {
        check(
            &Facts::postgres(&server("", 3)),
            expect![[r#"
                each{datname=app}: raise warning: 3 on db1:5432
                primary: skipped: no data
                standby: skipped: no data
            "#]],
        );
    }

    #[test]
    fn shared_facts_are_judged_once_on_the_primary() {
        let (one, other) = (server(" 1", 3), server(" 0", 4));
        let database = |info: &str| {
            Facts::database(&format!("topology present\npharos_database_primary_info{info}"), &[("db1:5432", &one), ("db2:5432", &other)])
        };
        check(
            &database("{member=\"db2:5432\"} 1"),
            expect![[r#"
                shared{datname=app}: raise warning: 4 on db2:5432
            "#]],
        );
        check(
            &database(""),
            expect![[r#"
                shared: skipped: no server of the database is known to be its primary
            "#]],
        );
        let report = suite("{}").evaluate(&database("{member=\"db2:5432\"} 1").snapshot());
        let evidence: Vec<_> = report.findings[0].evidence.iter().map(|line| (line.name.as_str(), line.value.as_str())).collect();
        assert_eq!(evidence, [("primary", "db2:5432")]);
        assert_eq!(
            suite("{}").rules().iter().map(|rule| rule.subject_kind.as_str()).collect::<Vec<_>>(),
            ["postgres", "postgres", "postgres", "database"]
        );
    }

    #[test]
    fn a_shared_check_cannot_be_selected_by_server_since_the_next_primary_would_not_be_judged() {
        let shared = suite(r#"{"checks":{"shared":{"except":{"server":["db1:5432"]}},"each":{"except":{"server":["db1:5432"]}}}}"#);
        let ignored: Vec<_> = shared.ignored().iter().map(|ignored| format!("{}: {}", ignored.place, ignored.why)).collect();
        assert_eq!(ignored, ["settings.checks.shared.except: `server` is no label of this check; it has database, datname"]);
        let database =
            Facts::database("topology present\npharos_database_primary_info{member=\"db1:5432\"} 1", &[("db1:5432", &server(" 0", 3))]);
        assert_eq!(shared.evaluate(&database.snapshot()).findings.len(), 1);
    }
}
