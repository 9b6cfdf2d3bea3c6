//! What statements cost (pg_stat_statements): counters without text on each tick, text only for statements not seen before.

mod texts;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};
use pharos_model::statements::{
    StatementCounters, StatementDelta, StatementKey, StatementRow, StatementSeries, Statements as Accounts, StatementsInfo, StatementsRead,
};
use tokio_postgres::Row;

use self::texts::Texts;
use super::need_all_stats;
use super::row::{Fields, query};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::{Session, Versioned};

pub const NAME: &str = "statements";

/// By the server version whose extension brought the columns; chosen by the extension's own version, which can lag behind.
const STATEMENTS: Versioned = Versioned::new(&[(14, include_str!("sql/statements.sql")), (17, include_str!("sql/statements.17.sql"))]);

/// Statements of the latest window that are listed, the most expensive first.
const LISTED_MAX: usize = 200;

const SERIES_METRICS: [&str; 6] = [
    "pharos_postgres_statement_calls_total",
    "pharos_postgres_statement_time_seconds_total",
    "pharos_postgres_statement_rows_total",
    "pharos_postgres_statement_blocks_hit_total",
    "pharos_postgres_statement_blocks_read_total",
    "pharos_postgres_statement_temp_blocks_written_total",
];
const WINDOW_METRICS: [&str; 2] = ["pharos_postgres_statement_mean_time_seconds", "pharos_postgres_statement_time_p95_estimate_seconds"];
const LABELS: [&str; 4] = ["datname", "user", "fingerprint", "toplevel"];

pub struct Statements {
    interval: Duration,
    accounts: Accounts,
    texts: Texts,
}

impl Statements {
    pub fn new(interval: Duration) -> Self {
        Self { interval, accounts: Accounts::default(), texts: Texts::default() }
    }

    async fn collect(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        need_all_stats(session)?;
        let extension = Extension::find(session).await?;
        let info = extension.info(session).await?;
        let read = extension.read(session, &info).await?;
        let tracked = read.rows.len();
        let stats_reset = read.info.and_then(|info| info.stats_reset);
        let evictions = read.info.map(|info| info.dealloc);
        let tick = self.accounts.observe(read);
        let listed = most_expensive(&tick.deltas);
        let wanted = self.accounts.series().filter_map(|series| series.key).chain(listed.iter().map(|delta| &delta.key));
        self.texts.learn(session, &extension.schema, wanted.map(|key| key.queryid), now).await?;
        let mut families = series_families(self.accounts.series());
        families.extend(window_families(self.accounts.series(), &tick.deltas));
        families.push(Family::scalar("pharos_postgres_statements_tracked", tracked as f64));
        families.push(Family::scalar("pharos_postgres_statements_max", extension.entries_max));
        families.extend(evictions.map(|count| Family::scalar("pharos_postgres_statements_evictions_total", count as f64)));
        families.extend(stats_reset.map(|at| Family::scalar("pharos_postgres_statements_reset_timestamp_seconds", at)));
        let tables = vec![self.table(&listed)];
        Ok(Facts { epoch: session.epoch(), families, tables, ..Facts::default() })
    }

    /// The most expensive statements of the latest window.
    fn table(&self, listed: &[&StatementDelta]) -> Table {
        let floats = |value: fn(&StatementDelta) -> Option<f64>| listed.iter().map(move |delta| value(delta));
        let fingerprints: Vec<String> = listed.iter().map(|delta| delta.key.fingerprint()).collect();
        Table::new(
            "statements",
            vec![
                Column::text("fingerprint", fingerprints.iter().map(|text| Some(text.as_str()))),
                Column::text("datname", listed.iter().map(|delta| Some(delta.key.datname.as_str()))),
                Column::text("user", listed.iter().map(|delta| Some(delta.key.user.as_str()))),
                Column::integer("toplevel", listed.iter().map(|delta| Some(i64::from(delta.key.toplevel)))),
                Column::float("calls", "calls", floats(|delta| Some(delta.counters.calls as f64))),
                Column::float("time_seconds", "seconds", floats(|delta| Some(delta.counters.seconds))),
                Column::float("mean_seconds", "seconds", floats(|delta| delta.window.map(|window| window.mean_seconds))),
                Column::float("p95_estimate_seconds", "seconds", floats(|delta| delta.window.map(|window| window.p95_seconds))),
                Column::float("rows", "rows", floats(|delta| Some(delta.counters.rows as f64))),
                Column::text("query", listed.iter().map(|delta| self.texts.text(delta.key.queryid))),
            ],
        )
    }
}

impl Collector<Session> for Statements {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.collect(session, now).boxed()
    }
}

/// The extension as it is installed here.
struct Extension {
    schema: String,
    major: u32,
    entries_max: f64,
}

impl Extension {
    async fn find(session: &Session) -> Result<Self, CollectError> {
        let rows = query(session, NAME, include_str!("sql/extension.sql")).await?;
        let Some(row) = rows.first().map(|row| Fields::new(NAME, row)) else {
            return Err(CollectError::Unsupported(
                "the extension pg_stat_statements is not installed in this database; run: CREATE EXTENSION pg_stat_statements".to_owned(),
            ));
        };
        if !row.field::<bool>("preloaded")? {
            return Err(CollectError::Unsupported(
                "pg_stat_statements is not loaded; add it to shared_preload_libraries and restart the server".to_owned(),
            ));
        }
        let version = row.text("version")?;
        let major = match parse_version(version) {
            Some(version) if version >= (1, 11) => 17,
            Some(version) if version >= (1, 9) => 14,
            _ => {
                return Err(CollectError::Unsupported(format!(
                    "pg_stat_statements is still at version {version}; run: ALTER EXTENSION pg_stat_statements UPDATE"
                )));
            }
        };
        Ok(Self { schema: row.text("schema")?.to_owned(), major, entries_max: row.number("entries_max")?.unwrap_or(0.0) })
    }

    async fn info(&self, session: &Session) -> Result<(StatementsInfo, f64), CollectError> {
        let rows = query(session, NAME, &self.sql(include_str!("sql/statements_info.sql"))).await?;
        let Some(row) = rows.first().map(|row| Fields::new(NAME, row)) else {
            return Err(CollectError::Unsupported("pg_stat_statements_info is empty".to_owned()));
        };
        let info = StatementsInfo { dealloc: row.field::<i64>("dealloc")?.unsigned_abs(), stats_reset: row.number("stats_reset")? };
        Ok((info, row.number("taken_at")?.unwrap_or(0.0)))
    }

    async fn read(&self, session: &Session, (info, taken_at): &(StatementsInfo, f64)) -> Result<StatementsRead, CollectError> {
        let rows = query(session, NAME, &self.sql(STATEMENTS.sql(self.major))).await?;
        let read = rows.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        let hidden_rows = read.iter().filter(|row| row.is_none()).count() as u64;
        Ok(StatementsRead { taken_at: *taken_at, rows: read.into_iter().flatten().collect(), hidden_rows, info: Some(*info) })
    }

    fn sql(&self, template: &str) -> String {
        template.replace("{schema}", &self.schema)
    }
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// None where the role may not see the statement.
fn statement(row: &Row) -> Result<Option<StatementRow>, CollectError> {
    let row = Fields::new(NAME, row);
    let Some(queryid) = row.field::<Option<i64>>("queryid")? else { return Ok(None) };
    let count = |column: &str| row.field::<i64>(column).map(i64::unsigned_abs);
    let key = StatementKey {
        datname: row.text("datname")?.to_owned(),
        user: row.text("user")?.to_owned(),
        queryid,
        toplevel: row.field("toplevel")?,
    };
    let counters = StatementCounters {
        calls: count("calls")?,
        seconds: row.number("seconds")?.unwrap_or(0.0),
        rows: count("rows")?,
        shared_blocks_hit: count("blocks_hit")?,
        shared_blocks_read: count("blocks_read")?,
        temp_blocks_written: count("temp_blocks_written")?,
    };
    let number = |column: &str| row.number(column).map(|number| number.unwrap_or(0.0));
    Ok(Some(StatementRow {
        key,
        counters,
        mean_seconds: number("mean_seconds")?,
        stddev_seconds: number("stddev_seconds")?,
        stats_since: row.number("stats_since")?,
    }))
}

fn most_expensive(deltas: &[StatementDelta]) -> Vec<&StatementDelta> {
    let mut listed: Vec<&StatementDelta> = deltas.iter().filter(|delta| delta.counters.calls > 0).collect();
    listed.sort_by(|a, b| b.counters.seconds.total_cmp(&a.counters.seconds).then_with(|| a.key.cmp(&b.key)));
    listed.truncate(LISTED_MAX);
    listed
}

/// The labels of a series; those of `other` are empty but for its name.
fn with_labels(key: Option<&StatementKey>, mut push: impl FnMut(&[&str])) {
    match key {
        Some(key) => push(&[&key.datname, &key.user, &key.fingerprint(), if key.toplevel { "true" } else { "false" }]),
        None => push(&["", "", "other", ""]),
    }
}

fn series_families<'a>(series: impl Iterator<Item = StatementSeries<'a>>) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&LABELS, &SERIES_METRICS);
    for StatementSeries { key, counters } in series {
        let values = [
            counters.calls as f64,
            counters.seconds,
            counters.rows as f64,
            counters.shared_blocks_hit as f64,
            counters.shared_blocks_read as f64,
            counters.temp_blocks_written as f64,
        ];
        with_labels(key, |labels| families.push(labels, &values.map(Some)));
    }
    families.finish()
}

/// Only statements with a series of their own have these two: a mean over all others says nothing.
fn window_families<'a>(series: impl Iterator<Item = StatementSeries<'a>>, deltas: &[StatementDelta]) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&LABELS, &WINDOW_METRICS);
    for key in series.filter_map(|series| series.key) {
        let Ok(index) = deltas.binary_search_by(|delta| delta.key.cmp(key)) else { continue };
        let Some(window) = deltas[index].window else { continue };
        with_labels(Some(key), |labels| families.push(labels, &[Some(window.mean_seconds), Some(window.p95_seconds)]));
    }
    families.finish()
}
