//! The installed extension pg_stat_statements: its schema, its version, and how it is read.

use std::collections::BTreeMap;

use pharos_model::postgres::privilege::sql::{identifier, requoted};
use pharos_model::postgres::statements::{
    Detail, DetailSet, StatementCounters, StatementKey, StatementRow, StatementsInfo, StatementsRead,
};
use pharos_model::snapshot::PartId;
use tokio_postgres::types::Type;

use crate::collect::postgres::rights::{self, Right};
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{Row, Session, Versioned};

const PART: PartId = PartId::Statements;

/// SQL by the server version whose extension added the columns. The version of the extension decides, since it can be older.
const STATEMENTS: Versioned = Versioned::new(&[
    (14, include_str!("../sql/statements.sql")),
    (15, include_str!("../sql/statements.15.sql")),
    (17, include_str!("../sql/statements.17.sql")),
]);

/// Most entries that are read. The extension has 5,000 unless it is configured otherwise.
const READ_MAX: i64 = 20_000;
/// The source of all entries, if there cannot be more than `READ_MAX`.
const ALL: &str = "{schema}.pg_stat_statements(false)";

/// The columns of the details. A column that the extension lacks is null in each row.
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

/// The installed extension, which was found in the datname of the session.
pub(super) struct Extension {
    pub schema: String,
    pub entries_max: f64,
    /// Major version of the server whose columns the extension has.
    pub major: u32,
    /// Whether statements must be sent without a list of known states, because that list would cost more than it saves.
    must_ask_briefly: bool,
}

/// The rows that were read from the view.
pub(super) struct View {
    pub read: StatementsRead,
    /// Number of entries beyond those that were read.
    pub left_out: u64,
    /// Number of entries of datnames and roles that no longer exist. They count nothing any more.
    pub dropped: u64,
    /// Which details the extension counts. It is unknown if no entry was read.
    pub counted: Option<DetailSet>,
    pub names: Names,
}

/// The names of the datnames and roles of entries, by their numbers (oid).
#[derive(Debug, Default)]
pub(super) struct Names {
    datnames: BTreeMap<u32, String>,
    roles: BTreeMap<u32, String>,
}

impl Names {
    /// Whether a datname or role that is in both has another name.
    pub(super) fn differ(&self, others: &Self) -> bool {
        let differ = |known: &BTreeMap<u32, String>, read: &BTreeMap<u32, String>| {
            read.iter().any(|(oid, name)| known.get(oid).is_some_and(|known| known != name))
        };
        differ(&self.datnames, &others.datnames) || differ(&self.roles, &others.roles)
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.datnames.extend(others.datnames);
        self.roles.extend(others.roles);
    }
}

impl Extension {
    /// Finds the extension, or the reason why it cannot be read.
    pub(super) async fn find(session: &Session) -> Result<Self, CollectError> {
        if session.is_elsewhere() {
            let why = "the datname of the URL accepts no session, and pg_stat_statements is searched only there";
            return Err(CollectError::Unsupported(Missing::new(why)));
        }
        let rows = query(session, PART, include_str!("../sql/extension.sql")).await?;
        let Some(row) = rows.first().map(|row| Fields::new(PART, row)) else {
            return Err(CollectError::Unsupported(
                Missing::new("the extension pg_stat_statements is not installed in this database")
                    .cured_by("CREATE EXTENSION pg_stat_statements"),
            ));
        };
        if !row.field::<bool>("preloaded")? {
            let why = "pg_stat_statements is not loaded; add it to shared_preload_libraries and restart the server";
            return Err(CollectError::Unsupported(Missing::new(why)));
        }
        let (schema, role) = (row.text("schema")?, session.role());
        if !row.field::<bool>("may_use")? {
            let schema = if row.is_escaped("schema") { "<the schema of pg_stat_statements>".to_owned() } else { requoted(schema) };
            let why = format!("role `{role}` may not use the schema of pg_stat_statements");
            let cure = format!("GRANT USAGE ON SCHEMA {schema} TO {}", identifier(role));
            return Err(CollectError::Privilege(Missing::new(why).cured_by(cure)));
        }
        if row.is_escaped("schema") || (session.is_encoded() && !schema.is_ascii()) {
            return Err(CollectError::Unsupported(
                Missing::new("the name of the schema of pg_stat_statements is not UTF-8")
                    .cured_by("ALTER EXTENSION pg_stat_statements SET SCHEMA public"),
            ));
        }
        let version = row.text("version")?;
        let major = match parse_version(version) {
            Some(version) if version >= (1, 11) => 17,
            Some(version) if version >= (1, 10) => 15,
            Some(version) if version >= (1, 9) => 14,
            _ => {
                let why = format!("pg_stat_statements is still at version {version}");
                return Err(CollectError::Unsupported(Missing::new(why).cured_by("ALTER EXTENSION pg_stat_statements UPDATE")));
            }
        };
        Ok(Self {
            schema: schema.to_owned(),
            major,
            entries_max: row.number("entries_max")?.unwrap_or(0.0),
            must_ask_briefly: row.field("must_ask_briefly")?,
        })
    }

    /// Reads entries, up to the limit. `known` returns the states that need not be read again, given the evictions and resets of the
    /// server. If the view is reset meanwhile, the rows mix two times, so all are read once more. A second reset counts as a later one.
    pub(super) async fn read(
        &self,
        session: &Session,
        known: impl FnOnce(StatementsInfo) -> Option<Vec<i64>>,
    ) -> Result<View, CollectError> {
        let before = self.info(session).await?;
        let states = known(before.0).filter(|_| self.has_room() && !self.must_ask_briefly);
        let rows = self.rows(session, states.as_deref().unwrap_or_default()).await?;
        let after = self.info(session).await?;
        if after.0.stats_reset == before.0.stats_reset {
            return self.view(session, &rows, states.is_some(), before).await;
        }
        let rows = self.rows(session, &[]).await?;
        self.view(session, &rows, false, after).await
    }

    /// Whether all entries are within the limit.
    fn has_room(&self) -> bool {
        self.entries_max <= READ_MAX as f64
    }

    async fn rows(&self, session: &Session, states: &[i64]) -> Result<Vec<Row>, CollectError> {
        // The entries that took most time, for which the server has to sort them.
        let foremost = || format!("(SELECT * FROM {ALL} e ORDER BY e.total_exec_time DESC LIMIT {READ_MAX})");
        let entries = if self.has_room() { ALL.to_owned() } else { foremost() };
        let sql = self.sql(&STATEMENTS.sql(self.major).replace("{entries}", &entries));
        rights::query_with(session, PART, Right::Stats, &sql, &[(&states, Type::INT8_ARRAY)]).await
    }

    async fn left_out(&self, session: &Session, read: usize) -> Result<u64, CollectError> {
        let read = read as u64;
        if self.has_room() || read < READ_MAX.unsigned_abs() {
            return Ok(0);
        }
        let rows = query(session, PART, &self.sql(include_str!("../sql/statements_count.sql"))).await?;
        let entries = rows.first().map(|row| Fields::new(PART, row).field::<i64>("entries")).transpose()?;
        Ok(entries.map_or(0, |entries| entries.unsigned_abs().saturating_sub(read)))
    }

    /// Reads the counters of the extension itself, and the time of the server's clock.
    async fn info(&self, session: &Session) -> Result<(StatementsInfo, f64), CollectError> {
        let rows = query(session, PART, &self.sql(include_str!("../sql/statements_info.sql"))).await?;
        let Some(row) = rows.first().map(|row| Fields::new(PART, row)) else {
            return Err(CollectError::Unsupported(Missing::new("pg_stat_statements_info is empty")));
        };
        let info = StatementsInfo { dealloc: row.field::<i64>("dealloc")?.unsigned_abs(), stats_reset: row.number("stats_reset")? };
        Ok((info, row.number("taken_at")?.unwrap_or(0.0)))
    }

    /// Inserts the schema of the extension into a template.
    pub(super) fn sql(&self, template: &str) -> String {
        template.replace("{schema}", &self.schema)
    }

    async fn view(
        &self,
        session: &Session,
        rows: &[Row],
        is_partial: bool,
        (info, taken_at): (StatementsInfo, f64),
    ) -> Result<View, CollectError> {
        let left_out = self.left_out(session, rows.len()).await?;
        let counted = rows.first().map(|row| counted(&Fields::new(PART, row))).transpose()?;
        // An entry that one read leaves out may be old when the next read has it. The same is true for hidden rows.
        let read = StatementsRead { taken_at, rows: Vec::new(), is_partial, hidden_rows: left_out, info: Some(info) };
        let mut view = View { read, left_out, dropped: 0, counted, names: Names::default() };
        for row in rows {
            view.add(&Fields::new(PART, row))?;
        }
        Ok(view)
    }
}

impl View {
    fn add(&mut self, row: &Fields<'_>) -> Result<(), CollectError> {
        // The role may not see this row.
        let Some(queryid) = row.field::<Option<i64>>("queryid")? else {
            self.read.hidden_rows += 1;
            return Ok(());
        };
        let (Some(datname), Some(user)) = (row.field::<Option<String>>("datname")?, row.field::<Option<String>>("user")?) else {
            self.dropped += 1;
            return Ok(());
        };
        self.names.datnames.insert(row.field("dbid")?, datname.clone());
        self.names.roles.insert(row.field("userid")?, user.clone());
        self.read.rows.push(statement(row, StatementKey { datname, user, queryid, toplevel: row.field("toplevel")? })?);
        Ok(())
    }
}

fn counted(row: &Fields<'_>) -> Result<DetailSet, CollectError> {
    let mut counted = DetailSet::default();
    for (column, detail) in DETAILS {
        if row.field::<Option<f64>>(column)?.is_some() {
            counted.insert(detail);
        }
    }
    Ok(counted)
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn statement(row: &Fields<'_>, key: StatementKey) -> Result<StatementRow, CollectError> {
    let count = |column: &str| row.field::<i64>(column).map(i64::unsigned_abs);
    let number = |column: &str| row.number(column).map(|number| number.unwrap_or(0.0));
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
    Ok(StatementRow {
        key,
        counters,
        mean_seconds: number("mean_seconds")?,
        stddev_seconds: number("stddev_seconds")?,
        stats_since: row.number("stats_since")?,
        state: row.field("state")?,
    })
}
