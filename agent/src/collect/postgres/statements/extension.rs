//! The extension as it is installed: where, in which version, and how it is read.

use pharos_model::statements::{Detail, DetailSet, StatementCounters, StatementKey, StatementRow, StatementsInfo, StatementsRead};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::row::{Fields, query, query_with};
use super::NAME;
use crate::collect::CollectError;
use crate::postgres::{Session, Versioned};

/// By the server version whose extension brought the columns; chosen by the extension's own version, which can lag behind.
const STATEMENTS: Versioned = Versioned::new(&[
    (14, include_str!("../sql/statements.sql")),
    (15, include_str!("../sql/statements.15.sql")),
    (17, include_str!("../sql/statements.17.sql")),
]);

/// Entries that are read, those that took most time; the extension keeps 5,000 unless told otherwise.
const READ_MAX: i64 = 20_000;

/// The columns of the details. One that the extension does not have is null in each row.
const DETAILS: [(&str, Detail); 17] = [
    ("plans", Detail::Plans),
    ("plan_seconds", Detail::PlanSeconds),
    ("blocks_dirtied", Detail::SharedBlocksDirtied),
    ("blocks_written", Detail::SharedBlocksWritten),
    ("local_blocks_hit", Detail::LocalBlocksHit),
    ("local_blocks_read", Detail::LocalBlocksRead),
    ("local_blocks_dirtied", Detail::LocalBlocksDirtied),
    ("local_blocks_written", Detail::LocalBlocksWritten),
    ("temp_blocks_read", Detail::TempBlocksRead),
    ("block_read_seconds", Detail::BlockReadSeconds),
    ("block_write_seconds", Detail::BlockWriteSeconds),
    ("temp_block_read_seconds", Detail::TempBlockReadSeconds),
    ("temp_block_write_seconds", Detail::TempBlockWriteSeconds),
    ("wal_records", Detail::WalRecords),
    ("wal_full_page_images", Detail::WalFullPageImages),
    ("wal_bytes", Detail::WalBytes),
    ("jit_seconds", Detail::JitSeconds),
];

pub struct Extension {
    pub schema: String,
    pub entries_max: f64,
    major: u32,
}

/// The view, and which details the extension counts.
pub struct View {
    pub read: StatementsRead,
    /// Entries that there are beyond those that were read.
    pub left_out: u64,
    pub counted: DetailSet,
}

impl Extension {
    pub async fn find(session: &Session) -> Result<Self, CollectError> {
        let rows = query(session, NAME, include_str!("../sql/extension.sql")).await?;
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
        let (schema, role) = (row.text("schema")?, session.role());
        if !row.field::<bool>("may_use")? {
            return Err(CollectError::Unsupported(format!(
                "role `{role}` may not use the schema of pg_stat_statements; run: GRANT USAGE ON SCHEMA {schema} TO \"{role}\""
            )));
        }
        let version = row.text("version")?;
        let major = match parse_version(version) {
            Some(version) if version >= (1, 11) => 17,
            Some(version) if version >= (1, 10) => 15,
            Some(version) if version >= (1, 9) => 14,
            _ => {
                return Err(CollectError::Unsupported(format!(
                    "pg_stat_statements is still at version {version}; run: ALTER EXTENSION pg_stat_statements UPDATE"
                )));
            }
        };
        Ok(Self { schema: schema.to_owned(), major, entries_max: row.number("entries_max")?.unwrap_or(0.0) })
    }

    /// Reads what there is, within bounds. What was reset meanwhile is a mixture of two times, so it is read once more; a second reset counts as a later one.
    pub async fn read(&self, session: &Session) -> Result<View, CollectError> {
        let before = self.info(session).await?;
        let rows = self.rows(session).await?;
        let after = self.info(session).await?;
        let (info, rows) = if after.0.stats_reset == before.0.stats_reset { (before, rows) } else { (after, self.rows(session).await?) };
        let left_out = self.left_out(session, rows.len()).await?;
        view(&rows, left_out, info)
    }

    async fn rows(&self, session: &Session) -> Result<Vec<Row>, CollectError> {
        query_with(session, NAME, &self.sql(STATEMENTS.sql(self.major)), &[(&READ_MAX, Type::INT8)]).await
    }

    async fn left_out(&self, session: &Session, read: usize) -> Result<u64, CollectError> {
        let read = read as u64;
        if read < READ_MAX.unsigned_abs() {
            return Ok(0);
        }
        let rows = query(session, NAME, &self.sql(include_str!("../sql/statements_count.sql"))).await?;
        let entries = rows.first().map(|row| Fields::new(NAME, row).field::<i64>("entries")).transpose()?;
        Ok(entries.map_or(0, |entries| entries.unsigned_abs().saturating_sub(read)))
    }

    /// With the server's clock.
    async fn info(&self, session: &Session) -> Result<(StatementsInfo, f64), CollectError> {
        let rows = query(session, NAME, &self.sql(include_str!("../sql/statements_info.sql"))).await?;
        let Some(row) = rows.first().map(|row| Fields::new(NAME, row)) else {
            return Err(CollectError::Unsupported("pg_stat_statements_info is empty".to_owned()));
        };
        let info = StatementsInfo { dealloc: row.field::<i64>("dealloc")?.unsigned_abs(), stats_reset: row.number("stats_reset")? };
        Ok((info, row.number("taken_at")?.unwrap_or(0.0)))
    }

    pub fn sql(&self, template: &str) -> String {
        template.replace("{schema}", &self.schema)
    }
}

fn view(rows: &[Row], left_out: u64, (info, taken_at): (StatementsInfo, f64)) -> Result<View, CollectError> {
    let mut counted = DetailSet::default();
    if let Some(first) = rows.first().map(|row| Fields::new(NAME, row)) {
        for (column, detail) in DETAILS {
            if first.field::<Option<f64>>(column)?.is_some() {
                counted.insert(detail);
            }
        }
    }
    let read = rows.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
    // What one read leaves out and the next one has may be old, as with rows that the role may not see.
    let hidden_rows = read.iter().filter(|row| row.is_none()).count() as u64 + left_out;
    let read = StatementsRead { taken_at, rows: read.into_iter().flatten().collect(), hidden_rows, info: Some(info) };
    Ok(View { read, left_out, counted })
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
    let number = |column: &str| row.number(column).map(|number| number.unwrap_or(0.0));
    let key = StatementKey {
        datname: row.text("datname")?.to_owned(),
        user: row.text("user")?.to_owned(),
        queryid,
        toplevel: row.field("toplevel")?,
    };
    let mut counters = StatementCounters {
        calls: count("calls")?,
        seconds: number("seconds")?,
        rows: count("rows")?,
        shared_blocks_hit: count("blocks_hit")?,
        shared_blocks_read: count("blocks_read")?,
        temp_blocks_written: count("temp_blocks_written")?,
        ..StatementCounters::default()
    };
    for (column, detail) in DETAILS {
        counters.details[detail] = number(column)?;
    }
    Ok(Some(StatementRow {
        key,
        counters,
        mean_seconds: number("mean_seconds")?,
        stddev_seconds: number("stddev_seconds")?,
        stats_since: row.number("stats_since")?,
    }))
}
