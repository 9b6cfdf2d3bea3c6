//! The setup of a session: it is checked to be the agent's own, its settings are set, and facts about the server are read.
//!
//! Server, datname and role may preset any setting for a session, and the owner of a datname may be hostile. The first statements are
//! therefore utility statements. They take no snapshot, so no isolation level can refuse or delay them. They name no function that
//! `search_path` could redirect. They set everything that later statements depend on. Settings are not sent with the login: the
//! server would then no longer show what is preset. Only a [`guard`] is sent, if presets would end the session otherwise.

use std::time::Duration;

use futures_util::future::try_join_all;
use pharos_model::postgres::server_text::Encoding;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use tracing::debug;

use super::connect_error::ConnectError;
use super::limits::SessionLimits;

/// The mark in the texts of the agent's statements. It shows the cost of each collector in pg_stat_statements.
pub const MARK: &str = "/* pharos ";

/// Settings that a guarded session sets at its start. The server's own values of these are then unknown.
pub const GUARDS: [&str; 4] = ["idle_session_timeout", "lock_timeout", "statement_timeout", "transaction_timeout"];

/// Adds the name of its collector to a statement. The mark comes after the first word: PostgreSQL drops comments before it.
pub(super) fn marked(sql: &str, collector: &str) -> String {
    let statement = sql.lines().position(|line| !line.starts_with("--")).unwrap_or(0);
    let statement = sql.lines().skip(statement).collect::<Vec<_>>().join("\n");
    let first = statement.find(char::is_whitespace).unwrap_or(statement.len());
    let (first, rest) = statement.split_at(first);
    format!("{first} {MARK}{collector} */{rest}")
}

/// Returns the options that open a session: a sign that identifies it, and a fixed `search_path`. A pooler that lends another client's
/// session refuses the sign or does not return it, before anything was set there. The fixed `search_path` prevents that a function of the
/// same name in another schema runs with the agent's role.
pub(super) fn options(sign: &str, guard: Option<&str>) -> String {
    let guard = guard.unwrap_or_default();
    format!("-c pharos.session={sign} -c search_path=pg_catalog{guard}")
}

/// Returns time limits that apply from the start of a session, for presets that would end it before it could set its own. A server refuses
/// a session with a setting that it does not have, so `major` is needed.
pub(super) fn guard(limits: &SessionLimits, major: u32) -> String {
    let common = format!(
        " -c idle_session_timeout=0 -c lock_timeout={} -c statement_timeout={}",
        millis(limits.lock_timeout),
        millis(limits.statement_timeout)
    );
    if major >= 17 { common + " -c transaction_timeout=0" } else { common }
}

/// Checks by its sign that the session is the one that was opened. A pooler would lend another one.
pub(super) async fn check_sign(client: &Client, sign: &str) -> Result<(), ConnectError> {
    let unknown = || ConnectError::Pooler { seen: "it did not pass on the options of the session".to_owned() };
    let rows = match client.query_typed(&marked("SHOW pharos.session", "session"), &[]).await {
        Ok(rows) => rows,
        Err(err) if err.code() == Some(&SqlState::UNDEFINED_OBJECT) => return Err(unknown()),
        Err(err) => return Err(ConnectError::from_setup(err)),
    };
    let shown = rows.first().map(|row| row.try_get::<_, Option<&str>>(0)).transpose().map_err(ConnectError::from_setup)?;
    if shown.flatten() == Some(sign) { Ok(()) } else { Err(unknown()) }
}

/// Reads the major version from a server's version: 17 from `17.2 (Debian 17.2-1)`, or 0 if there is none.
pub(super) fn major(version: &str) -> u32 {
    let digits = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().unwrap_or(0)
}

/// Resets settings that are preset for the datname or the role to the defaults of PostgreSQL. With presets of the planner, their owner
/// would decide what each statement costs. Each setting is set by itself, so that a failure does not affect the others.
pub(super) async fn reset_presets(client: &Client) -> Result<(), ConnectError> {
    let rows = match client.query_typed(&marked(include_str!("presets.sql"), "session"), &[]).await {
        Ok(rows) => rows,
        Err(err) => return log_not_reset(client, "settings that are preset", err),
    };
    let set = rows.iter().map(async |row| {
        let name: &str = row.try_get("name").map_err(ConnectError::from_setup)?;
        let shipped: Option<&str> = row.try_get("shipped").map_err(ConnectError::from_setup)?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&shipped, Type::TEXT)];
        match client.query_typed(&marked("SELECT set_config($1, $2, false)", "session"), &parameters).await {
            Ok(_) => Ok(()),
            Err(err) => log_not_reset(client, name, err),
        }
    });
    try_join_all(set).await.map(drop)
}

/// Logs a setting that could not be reset. The server still answers, so it is monitored all the same.
fn log_not_reset(client: &Client, setting: &str, err: tokio_postgres::Error) -> Result<(), ConnectError> {
    if err.as_db_error().is_none() || client.is_closed() {
        return Err(ConnectError::from_setup(err));
    }
    debug!(setting, error = %err, "a setting that is preset for the datname or the role could not be reset");
    Ok(())
}

/// Returns the statements that make a session read-only, limit it, and set everything that later statements depend on.
pub(super) fn settings(limits: &SessionLimits, major: u32) -> String {
    let set_limits = format!(
        "SET lock_timeout = {}; {}; SET idle_in_transaction_session_timeout = {}",
        millis(limits.lock_timeout),
        set_statement_timeout(limits.statement_timeout),
        millis(limits.deadline),
    );
    let settings = SETTINGS.map(|(name, value)| format!("; SET {name} = {value}")).concat();
    // Each statement is a transaction, so the limit for statements is enough.
    let since_17 = if major >= 17 { "; SET transaction_timeout = 0" } else { "" };
    format!("{set_limits}{settings}{since_17}")
}

const SETTINGS: [(&str, &str); 17] = [
    // With SQL_ASCII the server neither converts nor checks texts. Otherwise one name in another encoding would fail a whole answer.
    ("client_encoding", "SQL_ASCII"),
    ("default_transaction_read_only", "on"),
    // Serializable is refused on a standby. On a primary it waits if it is deferrable.
    ("default_transaction_isolation", "'read committed'"),
    ("default_transaction_deferrable", "off"),
    ("idle_session_timeout", "0"),
    ("row_security", "on"),
    ("bytea_output", "hex"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("client_min_messages", "warning"),
    ("jit", "off"),
    // Statements of the agent use one process each.
    ("max_parallel_workers_per_gather", "0"),
];

pub(super) fn set_statement_timeout(timeout: Duration) -> String {
    format!("SET statement_timeout = {}", millis(timeout))
}

/// Returns at least 1 ms: 0 would be no limit at all.
fn millis(timeout: Duration) -> u128 {
    timeout.as_millis().max(1)
}

/// The server and the role of a session, as the server reports them.
pub(super) struct Introduction {
    pub version_num: u32,
    pub version: String,
    /// When the postmaster started, microseconds since 1970.
    pub started_at_us: u64,
    pub system_identifier: Option<String>,
    pub role: String,
    pub login: String,
    /// The encoding of names in the datname.
    pub encoding: Option<Encoding>,
}

/// Reads the server, the role and the rights of the session. Restores the role of the login if it has more rights.
pub(super) async fn read_introduction(client: &Client) -> Result<Introduction, ConnectError> {
    let mut row = read_facts(client).await?;
    // If a preset changed the role to one with fewer rights, the role of the login is restored. A role with more rights stays.
    if row.try_get::<_, bool>("login_has_more").map_err(ConnectError::from_setup)? {
        client.batch_execute("SET ROLE NONE").await.map_err(ConnectError::from_setup)?;
        row = read_facts(client).await?;
    }
    let system_identifier = system_identifier(client).await;
    let read = || -> Result<Introduction, tokio_postgres::Error> {
        Ok(Introduction {
            version_num: row.try_get::<_, i32>("version_num")?.unsigned_abs(),
            version: row.try_get("version")?,
            started_at_us: row.try_get::<_, i64>("started_at_us")?.unsigned_abs(),
            system_identifier,
            role: row.try_get("role")?,
            login: row.try_get("login")?,
            encoding: Encoding::of_server(row.try_get("encoding")?),
        })
    };
    read().map_err(ConnectError::from_setup)
}

async fn read_facts(client: &Client) -> Result<Row, ConnectError> {
    let rows = client.query_typed(&marked(include_str!("session.sql"), "session"), &[]).await.map_err(ConnectError::from_setup)?;
    rows.into_iter().next().ok_or_else(|| ConnectError::TooOld("without an answer to the first query".to_owned()))
}

/// Reads the identifier of the cluster. Hosted services may refuse it, which must not end the session.
async fn system_identifier(client: &Client) -> Option<String> {
    let rows = client.query_typed(&marked(include_str!("cluster.sql"), "session"), &[]).await.ok()?;
    rows.first()?.try_get("system_identifier").ok()
}
