//! No printed statement is refused by a supported version of PostgreSQL.
//!
//! Every whole statement that the PostgreSQL plugins print in their own tests, on every supported major version: PostgreSQL understands it.
//!
//! The objects do not exist here, so other tests check what a statement does. These tests check that PostgreSQL can parse every statement
//! that a person may copy at night.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pharos::demo::postgres::SUPERUSER;
use tokio_postgres::error::SqlState;

use crate::fixture::{project, runtime_tasks};
use crate::versions::{MAJORS, start, versions};

/// What each needs to be found: fewer would mean that the tests of the plugins moved.
const STATEMENTS_MIN: usize = 100;

/// Statements between backquotes that end with a semicolon. A placeholder such as `<pid>` is left to the person, so it is none.
fn printed_in(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in path.read_dir().unwrap() {
            printed_in(&entry.unwrap().path(), found);
        }
    } else {
        let text = std::fs::read_to_string(path).unwrap();
        let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let has_placeholder = |text: &&str| text.split('<').skip(1).any(|rest| rest.starts_with(char::is_alphabetic));
        found.extend(quoted.filter(|text| text.ends_with(';') && !has_placeholder(text)).map(str::to_owned));
    }
}

/// Whether PostgreSQL did not understand a statement, whatever exists.
fn is_misunderstood(statement: &str, code: Option<&SqlState>) -> bool {
    let broken = [
        SqlState::SYNTAX_ERROR,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_COLUMN,
        SqlState::AMBIGUOUS_FUNCTION,
        SqlState::DATATYPE_MISMATCH,
        SqlState::INVALID_TEXT_REPRESENTATION,
    ];
    let of_setting = [SqlState::UNDEFINED_OBJECT, SqlState::INVALID_PARAMETER_VALUE, SqlState::CANT_CHANGE_RUNTIME_PARAM];
    code.is_none_or(|code| broken.contains(code) || statement.starts_with("ALTER SYSTEM") && of_setting.contains(code))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn printed_statements_are_understood_by_every_supported_version() {
    let mut printed = BTreeSet::new();
    for plugin in ["postgres-essentials", "postgres-maintenance", "postgres-replication"] {
        printed_in(&project().join("plugins").join(plugin).join("src/tests"), &mut printed);
    }
    assert!(printed.len() >= STATEMENTS_MIN, "{printed:#?}");
    printed.insert("SELECT pg_catalog.no_such_function();".to_owned());

    let folder = versions();
    let mut broken: BTreeMap<&str, BTreeMap<u32, String>> = BTreeMap::new();
    for major in MAJORS {
        let (tasks, _stop) = runtime_tasks();
        let server = start(&folder, major, &tasks).await;
        let session = server.connect(SUPERUSER, "postgres").await.unwrap();
        for statement in &printed {
            // As psql does: one after the other, since some cannot run beside others.
            for part in statement.split_inclusive("; ") {
                if let Err(err) = session.simple_query(part).await
                    && is_misunderstood(part, err.code())
                {
                    broken.entry(statement).or_default().insert(major, format!("{err:?}"));
                }
            }
            session.simple_query("RESET search_path").await.unwrap();
        }
    }
    assert_eq!(broken.remove("SELECT pg_catalog.no_such_function();").map_or(0, |errors| errors.len()), MAJORS.len());
    // A setting that only newer versions have is printed for those alone.
    broken.retain(|statement, errors| !statement.starts_with("ALTER SYSTEM") || errors.len() == MAJORS.len());
    assert!(broken.is_empty(), "{broken:#?}");
}
