//! Names, texts and sessions inside the statements of a fix, so that they run as they are written and meet nobody else.
//!
//! The owner of a datname can preset a `search_path` in which their functions and operators come before PostgreSQL's own, and a superuser
//! who pastes `SELECT … FROM pg_stat_activity` runs them. A statement that reads therefore begins with [`PINNED`], and one that
//! only calls a function names it with `pg_catalog.`.

use crate::civil_date;

/// A name, quoted: without quotes `Order` would be folded and `user` is a keyword.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation or index in its schema.
pub fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// A text.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A word of a command line: whoever names a table shall not run commands in the shell of who repairs it.
pub fn shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What a printed `SELECT … FROM` begins with. It lasts for the session of who pastes it.
pub const PINNED: &str = "SET search_path = pg_catalog;";

/// Drops a replication slot. PostgreSQL refuses while a consumer uses it.
pub fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot({});", literal(slot))
}

/// Ends a session, unless its number belongs to another one by now.
pub fn terminate(pid: i64, started_at: Option<f64>) -> String {
    of_session("pg_terminate_backend", pid, started_at)
}

/// Cancels what a session runs, unless its number belongs to another one by now. It does nothing to a session that is idle in transaction.
pub fn cancel(pid: i64, started_at: Option<f64>) -> String {
    of_session("pg_cancel_backend", pid, started_at)
}

/// `started_at` is its `backend_start`, in seconds since 1970.
fn of_session(function: &str, pid: i64, started_at: Option<f64>) -> String {
    let started = started_at.map(|seconds| format!(" AND backend_start = {}", timestamp(seconds))).unwrap_or_default();
    format!("{PINNED} SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid}{started};")
}

/// Twice what a number is set to, and no less than `least`: a value that is written down here may be lower than the one in force.
pub fn raised(now: Option<f64>, least: f64) -> String {
    now.filter(|now| *now > 0.0).map_or_else(|| "<more>".to_owned(), |now| (now * 2.0).max(least).ceil().to_string())
}

/// The same of a size in bytes, as settings take it.
pub fn raised_size(now: Option<f64>, least: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    now.filter(|now| *now > 0.0).map_or_else(|| "<more>".to_owned(), |now| format!("'{}MB'", ((now * 2.0).max(least) / MIB).ceil()))
}

/// A point in time, to the microsecond, as PostgreSQL keeps it.
pub fn timestamp(seconds: f64) -> String {
    let microseconds = (seconds.max(0.0) * 1e6).round() as u64;
    let time = civil_date::rfc3339(microseconds / 1_000);
    format!("'{} {}.{:06}+00'", &time[..10], &time[11..19], microseconds % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_stay_inside_their_quotes() {
        assert_eq!(relation("public", r#"odd"name"#), r#""public"."odd""name""#);
        assert_eq!(literal("o'hara"), "'o''hara'");
    }

    #[test]
    fn a_name_runs_nothing_in_a_shell() {
        assert_eq!(shell("a'; rm -rf $HOME #`id`"), r"'a'\''; rm -rf $HOME #`id`'");
    }

    #[test]
    fn a_limit_is_raised_from_where_it_is_and_nothing_is_guessed() {
        assert_eq!([raised(Some(3.0), 10.0), raised(Some(64.0), 10.0), raised(None, 10.0)], ["10", "128", "<more>"]);
        let gib = 1_073_741_824.0;
        assert_eq!([raised_size(Some(gib), gib), raised_size(Some(-1.0), gib)], ["'2048MB'", "<more>"], "-1 means no limit");
    }

    #[test]
    fn a_session_is_ended_only_while_it_is_the_same() {
        assert_eq!(
            terminate(4711, Some(1_700_000_000.123456)),
            "SET search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 4711 AND backend_start = \
             '2023-11-14 22:13:20.123456+00';"
        );
        assert_eq!(
            cancel(4711, None),
            "SET search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 4711;"
        );
        assert_eq!(timestamp(1_700_000_000.000_001), "'2023-11-14 22:13:20.000001+00'");
    }
}
